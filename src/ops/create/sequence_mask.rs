//! Masks of sequences by their lengths: `sequence_mask`.
//!
//! Paddle: `phi/kernels/sequence_mask_kernel.h`. ONNX: Range and Less; ReduceMax where no length of the mask is given.

use crate::error::Result;
use crate::graph::{Lowering, TensorId};
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values, WIDE};
use crate::program::{Fact, Facts, ValueId, single};
use crate::tensor::DType::{Bool, I64};
use crate::tensor::{DType, Dim, Tensor, refuse_too_large};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "sequence_mask",
    &[Arg::Tensor("x"), Arg::Scalar("max_len")],
    &[Form::legacy(
        &["sequence_mask"],
        &[
            Binding::Slot("X"),
            Binding::Scalar {
                attr: "maxlen",
                slots: &["MaxLenTensor"],
            },
        ],
        &["Y"],
    )],
    SequenceMask::parse,
)
.with_opset(9)
.with_dtypes(WIDE)];

/// Along a new last axis, for each length in `x`, as many ones, and zeros behind them. The extent of that axis is the
/// operand `length`; if there is none, or it is negative, the extent is the largest element of `x`.
struct SequenceMask {
    x: ValueId,
    length: Option<ValueId>,
    dtype: DType,
}

impl SequenceMask {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            length: op.optional("max_len")?,
            dtype: op.attr_or("out_dtype", I64)?,
        }))
    }

    /// The extent of the last axis, where it is stated and known before a run.
    fn stated(&self, facts: &Facts<'_>) -> Option<Dim> {
        match facts.content(self.length?) {
            Some([Dim::Known(..0)]) | None => None,
            Some([length]) => Some(length.clone()),
            Some(_) => None,
        }
    }

    /// Whether the extent of the last axis is the largest element of `x`, as far as is known before a run.
    fn is_open(&self, facts: &Facts<'_>) -> bool {
        let length = self.length.and_then(|length| facts.content(length));
        self.length.is_none() || matches!(length, Some([Dim::Known(..0)]))
    }
}

impl Function for SequenceMask {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let mut shape = facts.shape(self.x).to_vec();
        shape.push(self.stated(facts).unwrap_or(Dim::Unknown));
        Ok(Fact::new(self.dtype, shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let rank = g.rank(self.x);
        let x = g.value(self.x)?;
        let x = g.cast(x, g.dtype(self.x), I64);
        let length = match self.length {
            Some(length) if !self.is_open(g) => {
                let length = g.int_array(length)?;
                let zero = g.vector(&[0]);
                g.extreme("Max", length, zero, I64)
            }
            _ => {
                let axes: Vec<usize> = (0..rank).collect();
                let largest = g.reduce("ReduceMax", x, &axes, false);
                g.unsqueeze(largest, &[0])
            }
        };
        let known = self.stated(g).and_then(|length| length.known());
        let places = g.positions(length, known);
        let x = g.unsqueeze(x, &[rank as i64]);
        let is_inside = g.node("Less", &[places, x], []);
        Ok(g.cast(is_inside, Bool, self.dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let lengths = x.to_i64_vec();
        let length = match self.length {
            Some(length) => single(&values.integers(length)?, "max_len")?,
            None => -1,
        };
        let largest = lengths.iter().copied().max().unwrap_or(0);
        let length = if length < 0 { largest } else { length };
        let row = usize::try_from(length).unwrap_or(0);
        let shape = [x.shape(), &[row]].concat();
        refuse_too_large(&shape)?;
        let positions = || 0..row as i64;
        let rows = lengths.iter();
        let inside = rows.flat_map(|length| positions().map(move |place| place < *length));
        let inside = Tensor::from_elements(&shape, inside.collect())?;
        Ok(inside.cast(values.dtype(self.dtype)))
    }
}
