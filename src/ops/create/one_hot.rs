//! One-hot encoding of classes: `one_hot`.
//!
//! Paddle: `phi/kernels/one_hot_kernel.h`. ONNX: Equal and Cast.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::program::{Fact, Facts, ValueId, single};
use crate::tensor::{DType, Dim, Tensor, refuse_too_large};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "one_hot",
    &[Arg::Tensor("x"), Arg::Scalar("num_classes")],
    &[Form::legacy(
        &["one_hot_v2"],
        &[
            Binding::Slot("X"),
            Binding::Scalar {
                attr: "depth",
                slots: &["depth_tensor"],
            },
        ],
        &["Out"],
    )
    // A class that is out of range becomes zeros, whether `allow_out_of_range` is set or not. The result is float32
    // whatever `dtype` says.
    .ignoring(&["allow_out_of_range", "dtype"])],
    OneHot::parse,
)
.with_dtypes(&[DType::I32, DType::I64])];

/// Along a new last axis of extent `depth`, for each element of `x`, zeros with a one at the position that the element
/// names, if that is in range.
struct OneHot {
    x: ValueId,
    depth: ValueId,
}

impl OneHot {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            depth: op.operand("num_classes")?,
        }))
    }
}

impl Function for OneHot {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let mut shape = facts.shape(self.x).to_vec();
        shape.push(match facts.content(self.depth) {
            Some([depth]) => depth.clone(),
            _ => Dim::Unknown,
        });
        Ok(Fact::new(DType::F32, shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let x = g.cast(x, g.dtype(self.x), DType::I64);
        let x = g.unsqueeze(x, &[g.rank(self.x) as i64]);
        // Not by ONNX's OneHot, which counts negative classes from the end: here they become zeros.
        let depth = g.int_array(self.depth)?;
        let known = match g.content(self.depth) {
            Some([depth]) => depth.known(),
            _ => None,
        };
        let places = g.positions(depth, known);
        let is_here = g.node("Equal", &[x, places], []);
        Ok(g.cast(is_here, DType::Bool, DType::F32))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let depth = single(&values.integers(self.depth)?, "num_classes")?;
        let depth = usize::try_from(depth).map_err(|_| Error::malformed("a negative depth"))?;
        let x = values.get(self.x)?;
        let mut shape = x.shape().to_vec();
        shape.push(depth);
        refuse_too_large(&shape)?;
        let mut elements = vec![0.0_f32; shape.iter().product()];
        for (row, place) in x.to_i64_vec().into_iter().enumerate() {
            if let Some(place) = usize::try_from(place).ok().filter(|place| *place < depth) {
                elements[row * depth + place] = 1.0;
            }
        }
        Ok(Tensor::from_elements(&shape, elements)?.cast(values.dtype(DType::F32)))
    }
}
