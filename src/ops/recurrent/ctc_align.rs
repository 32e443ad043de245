//! `ctc_align`: the text of a CTC path, without blanks and repetitions.
//!
//! Paddle: `phi/kernels/impl/ctc_align_kernel_impl.h`. ONNX: CumSum gives each token its place, and ScatterElements
//! puts it there.

use ndarray::{ArrayD, Axis, IxDyn};

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::operator::{Arg, Binding, Form, Macs, OpDef, OpReader, Operator, Parsed, Values};
use crate::ops::shared::values::indices;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, DType, Dim, Tensor, display_shape};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "ctc_align",
    &[Arg::Tensor("input"), Arg::Optional("input_length")],
    &[Form::legacy(
        &["ctc_align"],
        &[Binding::Slot("Input"), Binding::Optional("InputLength")],
        &["Output", "OutputLength"],
    )],
    CtcAlign::parse,
)
.with_opset(11)
.with_results(&["output", "output_length"])
.with_dtypes(&[DType::I32, DType::I64])
.with_limits(&["sequences by LoD"])];

/// The tokens of each row of `input`, `[batch, steps]`, that are not `blank` and, if `merge_repeated`, not the same as
/// the one before, up to the length of the row; behind them `padding_value`. The second result is their number,
/// `[batch, 1]`, as are the lengths.
struct CtcAlign {
    input: ValueId,
    lengths: ValueId,
    blank: i64,
    merge_repeated: bool,
    padding_value: i64,
}

impl CtcAlign {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let lengths = op.optional("input_length")?;
        Ok(Box::new(Self {
            input: op.operand("input")?,
            lengths: lengths.ok_or_else(|| super::needs_lod("input_length"))?,
            blank: op.attr_or("blank", 0)?,
            merge_repeated: op.attr_or("merge_repeated", true)?,
            padding_value: op.attr_or("padding_value", 0)?,
        }))
    }

    /// The text of a row, given up to its length.
    fn text(&self, row: impl Iterator<Item = i64>) -> Vec<i64> {
        // Paddle takes the token before the first one for -1.
        let mut before = -1;
        let kept = row.filter(|token| {
            let is_repeated = std::mem::replace(&mut before, *token) == *token;
            *token != self.blank && !(self.merge_repeated && is_repeated)
        });
        kept.collect()
    }

    /// Emits whether each token stays.
    fn lower_kept(&self, g: &mut Lowering<'_>, x: TensorId, framed: TensorId) -> Result<TensorId> {
        let differs = |g: &mut Lowering<'_>, from: TensorId| {
            let same = g.node("Equal", &[x, from], []);
            g.node("Not", &[same], [])
        };
        let blank = g.scalar(DType::I64, self.blank as f64);
        let mut kept = differs(g, blank);
        if self.merge_repeated {
            let before = g.slice(framed, 0, -1, 1);
            let is_new = differs(g, before);
            kept = g.node("And", &[kept, is_new], []);
        }
        let steps = g.shape_slice(x, 1, 2);
        let known = g.shape(self.input)[1].known();
        let steps = g.positions(steps, known);
        let lengths = g.value(self.lengths)?;
        let lengths = g.cast(lengths, g.dtype(self.lengths), DType::I64);
        let column = g.vector(&[-1, 1]);
        let lengths = g.node("Reshape", &[lengths, column], []);
        let is_inside = g.node("Less", &[steps, lengths], []);
        Ok(g.node("And", &[kept, is_inside], []))
    }
}

impl Operator for CtcAlign {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let [batch, _] = facts.shape(self.input) else {
            return Err(Error::malformed(format!(
                "an input of shape {} where [batch, steps] was expected",
                display_shape(facts.shape(self.input))
            )));
        };
        super::check_lengths(facts, self.lengths, batch)?;
        let dtype = facts.dtype(self.input);
        Ok(vec![
            Fact::new(dtype, facts.shape(self.input).to_vec()),
            Fact::new(dtype, vec![batch.clone(), Dim::Known(1)]),
        ])
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let dtype = g.dtype(self.input);
        let x = g.value(self.input)?;
        let x = g.cast(x, dtype, DType::I64);
        // A column more, in front, than there are tokens.
        let (pads, before) = (g.vector(&[0, 1, 0, 0]), g.scalar(DType::I64, -1.0));
        let framed = g.node("Pad", &[x, pads, before], []);
        let kept = self.lower_kept(g, x, framed)?;
        let ones = g.cast(kept, DType::Bool, DType::I64);
        let counts = g.reduce("ReduceSum", ones, &[1], true);
        // What does not stay goes to the column behind the last.
        let axis = g.scalar(DType::I64, 1.0);
        let exclusive = [("exclusive", NodeAttr::Int(1))];
        let place = g.node("CumSum", &[ones, axis], exclusive);
        let behind = g.shape_slice(x, 1, 2);
        let place = g.node("Where", &[kept, place, behind], []);
        let padding = g.scalar(DType::I64, self.padding_value as f64);
        let shape = g.node("Shape", &[framed], []);
        let blank = g.node("Expand", &[padding, shape], []);
        let along = [("axis", NodeAttr::Int(1))];
        let text = g.node("ScatterElements", &[blank, place, x], along);
        let text = g.slice(text, 0, -1, 1);
        Ok([text, counts]
            .map(|x| g.cast(x, DType::I64, dtype))
            .to_vec())
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        let input = indices(values, self.input)?;
        let lengths = values.integers(self.lengths)?;
        let &[batch, steps] = input.shape() else {
            return Err(Error::malformed(format!(
                "an input of shape {:?}",
                input.shape()
            )));
        };
        let mut output: Array<i64> =
            ArrayD::from_elem(IxDyn(&[batch, steps]), self.padding_value).into();
        let mut counts = Vec::with_capacity(batch);
        for (item, mut row) in output.axis_iter_mut(Axis(0)).enumerate() {
            let length = lengths
                .get(item)
                .and_then(|length| usize::try_from(*length).ok());
            let length = length.filter(|length| *length <= steps).ok_or_else(|| {
                Error::malformed(format!(
                    "lengths of {lengths:?} for {batch} rows of {steps} steps"
                ))
            })?;
            let tokens = input.index_axis(Axis(0), item);
            let text = self.text(tokens.iter().copied().take(length));
            counts.push(text.len() as i64);
            row.iter_mut().zip(text).for_each(|(to, from)| *to = from);
        }
        let dtype = values.get(self.input)?.dtype();
        let counts = Tensor::from_elements(&[batch, 1], counts)?;
        Ok(vec![Tensor::I64(output).cast(dtype), counts.cast(dtype)])
    }

    fn macs(&self, _facts: &Facts<'_>) -> Macs {
        Macs::None
    }
}
