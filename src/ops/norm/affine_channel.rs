//! `affine_channel`: a scale and a bias for each channel.

use super::channels::check_parameters;
use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::{map, with_real};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, OpDef, OpReader, Parsed, Values,
};
use crate::ops::shared::image::Layout;
use crate::ops::shared::values::same_type;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::Tensor;

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "affine_channel",
    &[Arg::Tensor("x"), Arg::Tensor("scale"), Arg::Tensor("bias")],
    &[Form::legacy(
        &["affine_channel"],
        &[
            Binding::Slot("X"),
            Binding::Slot("Scale"),
            Binding::Slot("Bias"),
        ],
        &["Out"],
    )
    .renaming(&[("data_layout", "data_format")])],
    AffineChannel::parse,
)
.with_pir(&[Form::pir(
    &["affine_channel"],
    &["x", "scale", "bias"],
    &[
        Binding::Slot("x"),
        Binding::Slot("scale"),
        Binding::Slot("bias"),
    ],
)
.renaming(&[("data_layout", "data_format")])])
.with_dtypes(FLOATS)
.with_accuracy(Accuracy::Rounded)];

/// `x · scale + bias`, where `scale` and `bias` are vectors over the channels of `x` (`[n, c, …]`, or `[n, …, c]`).
///
/// Paddle: `phi/kernels/cpu/affine_channel_kernel.cc`. ONNX: Mul and Add.
struct AffineChannel {
    x: ValueId,
    scale: ValueId,
    bias: ValueId,
    layout: Layout,
}

impl AffineChannel {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            scale: op.operand("scale")?,
            bias: op.operand("bias")?,
            layout: Layout::parse(op)?,
        }))
    }

    /// The number of axes behind the channel axis.
    fn behind(&self, rank: usize) -> Result<usize> {
        let axes = rank.checked_sub(2);
        let axes = axes.ok_or_else(|| Error::malformed("an operand without channels"))?;
        Ok(match self.layout {
            Layout::ChannelsFirst => axes,
            Layout::ChannelsLast => 0,
        })
    }
}

impl Function for AffineChannel {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let shape = facts.shape(self.x);
        let channels = &shape[shape.len() - 1 - self.behind(shape.len())?];
        check_parameters(facts, [self.scale, self.bias], channels)?;
        Ok(Fact::new(facts.dtype(self.x), shape.to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let axes: Vec<i64> = (1..=self.behind(g.rank(self.x))? as i64).collect();
        let mut y = g.value(self.x)?;
        for (op_type, parameter) in [("Mul", self.scale), ("Add", self.bias)] {
            let parameter = g.value(parameter)?;
            let parameter = g.unsqueeze(parameter, &axes);
            y = g.node(op_type, &[y, parameter], []);
        }
        Ok(y)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (scale, bias) = (values.get(self.scale)?, values.get(self.bias)?);
        with_real!(values.get(self.x)?, x => {
            let mut shape = vec![1; self.behind(x.ndim())? + 1];
            let mut parameter = |of| {
                let of = same_type(of, x)?;
                shape[0] = of.len();
                map::reshape(of, &shape)
            };
            let (scale, bias) = (parameter(scale)?, parameter(bias)?);
            let scaled = map::zip(x, &scale, |x, scale| x * scale)?;
            map::zip(&scaled.into(), &bias, |x, bias| x + bias)?
        })
    }

    fn affine_in(&self) -> Vec<ValueId> {
        vec![self.x]
    }
}
