//! Batch normalisation: `batch_norm`, also written `sync_batch_norm`.
//!
//! At inference, with the statistics of training as a rule. Those of `x` itself are asked for by layers that normalise
//! their own weights, and by programs that were exported in training mode. Paddle: `phi/kernels/batch_norm_kernel.h`.
//! ONNX: BatchNormalization; ReduceMean and arithmetic with the statistics of `x`.

use super::channels::check_parameters;
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::{norm, with_real};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, OpDef, OpReader, Parsed, Values,
};
use crate::ops::shared::image::Layout;
use crate::ops::shared::values::same_type;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, Dim, Element, Tensor};

const FROM: &[Binding] = &[
    Binding::Slot("X"),
    Binding::Slot("Mean"),
    Binding::Slot("Variance"),
    Binding::Optional("Scale"),
    Binding::Optional("Bias"),
];

/// The operands of the PIR op. It overwrites two of them with its results. These are what it has read, or they are
/// statistics for the next batches, which nothing reads at inference.
const POSITIONS: &[&str] = &["X", "Mean", "Variance", "Scale", "Bias"];

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "batch_norm",
    &[
        Arg::Tensor("x"),
        Arg::Tensor("mean"),
        Arg::Tensor("variance"),
        Arg::Optional("scale"),
        Arg::Optional("bias"),
    ],
    &[
        Form::legacy(&["batch_norm", "sync_batch_norm"], FROM, &["Y"])
            .renaming(&[("data_layout", "data_format")]),
    ],
    BatchNorm::parse,
)
.with_pir(&[
    Form::pir(&["batch_norm_", "sync_batch_norm"], POSITIONS, FROM).keeping(&[(1, 1), (2, 2)]),
])
.with_dtypes(FLOATS)
.with_accuracy(Accuracy::Accumulated)
.speculatable()];

/// `(x - mean) / √(variance + epsilon) · scale + bias`, where all but `x` are vectors over the channels of `x`. The
/// channel axis is axis 1, or the last one.
///
/// With the statistics of `x`, `mean` and `variance` are those of each channel, and a channel of one element stays as it
/// is.
struct BatchNorm {
    x: ValueId,
    mean: ValueId,
    variance: ValueId,
    scale: Option<ValueId>,
    bias: Option<ValueId>,
    epsilon: f64,
    channels_last: bool,
    /// Whether the statistics are those of `x`, and not the operands.
    is_of_x: bool,
}

impl BatchNorm {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        // How fast the statistics follow the batches in training.
        op.ignore("momentum");
        let is_trainable: bool = op.attr_or("trainable_statistics", false)?;
        let is_test = op.attr_or("is_test", false)? && !is_trainable;
        let is_global: bool = op.attr_or("use_global_stats", false)?;
        Ok(Box::new(Self {
            x: op.operand("x")?,
            mean: op.operand("mean")?,
            variance: op.operand("variance")?,
            scale: op.optional("scale")?,
            bias: op.optional("bias")?,
            epsilon: op.attr_or("epsilon", 1e-5)?,
            channels_last: Layout::parse(op)? == Layout::ChannelsLast,
            is_of_x: !is_test && !is_global,
        }))
    }

    /// The channel axis of an operand of this rank.
    fn axis(&self, rank: usize) -> Result<usize> {
        match rank {
            0 | 1 => Err(Error::malformed(format!(
                "an operand of rank {rank}, which has no channels"
            ))),
            _ if self.channels_last => Ok(rank - 1),
            _ => Ok(1),
        }
    }

    /// Emits the nodes for the statistics of `x`.
    fn lower_of_x(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        g.note(
            "normalises by the statistics of its operand, as in training; where that is not meant, call eval() on the \
             model before it is exported",
        );
        let (x, dtype, shape) = (g.value(self.x)?, g.dtype(self.x), g.shape(self.x).to_vec());
        let axis = self.axis(shape.len())?;
        let others: Vec<usize> = (0..shape.len()).filter(|other| *other != axis).collect();
        let mut extents = others.iter().map(|other| shape[*other].known());
        let count = extents.try_fold(1_i64, |count, extent| count.checked_mul(extent?));
        if count == Some(1) {
            return Ok(x);
        }
        let mut y = g.standardize(x, dtype, &others, self.epsilon);
        let behind: Vec<i64> = (1..(shape.len() - axis) as i64).collect();
        for (op_type, parameter) in [("Mul", self.scale), ("Add", self.bias)] {
            if let Some(parameter) = parameter {
                let parameter = g.value(parameter)?;
                let parameter = g.unsqueeze(parameter, &behind);
                y = g.node(op_type, &[y, parameter], []);
            }
        }
        if count.is_some() {
            return Ok(y);
        }
        let channels = g.shape_slice(x, axis as i64, axis as i64 + 1);
        let elements = g.node("Size", &[x], []);
        let is_single = g.node("Equal", &[elements, channels], []);
        Ok(g.node("Where", &[is_single, x, y], []))
    }

    /// Emits a vector over the channels, with the same value for each.
    fn uniform(&self, g: &mut Lowering<'_>, value: f64) -> Result<TensorId> {
        let channels = g.shape(self.mean).first().and_then(Dim::extent);
        let channels = channels.ok_or_else(|| {
            Error::needs_extents(
                "batch_norm without scale or bias over an unknown number of channels",
            )
        })?;
        let values = Tensor::vector(vec![value; channels]);
        let dtype = g.dtype(self.mean);
        Ok(g.constant(values.cast(dtype)))
    }
}

impl Function for BatchNorm {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let shape = facts.shape(self.x);
        let channels = &shape[self.axis(shape.len())?];
        let vectors = [Some(self.mean), Some(self.variance), self.scale, self.bias];
        check_parameters(facts, vectors.into_iter().flatten(), channels)?;
        Ok(Fact::new(facts.dtype(self.x), shape.to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        if self.is_of_x {
            return self.lower_of_x(g);
        }
        let mut x = g.value(self.x)?;
        let rank = g.rank(self.x);
        let axis = self.axis(rank)?;
        let scale = match self.scale {
            Some(scale) => g.value(scale)?,
            None => self.uniform(g, 1.0)?,
        };
        let bias = match self.bias {
            Some(bias) => g.value(bias)?,
            None => self.uniform(g, 0.0)?,
        };
        let (mean, variance) = (g.value(self.mean)?, g.value(self.variance)?);
        let mut to_second: Vec<usize> = (0..rank).collect();
        to_second.remove(axis);
        to_second.insert(1, axis);
        x = g.transpose(x, &to_second);
        let epsilon = ("epsilon", NodeAttr::Float(self.epsilon as f32));
        let y = g.node(
            "BatchNormalization",
            &[x, scale, bias, mean, variance],
            [epsilon],
        );
        let mut back: Vec<usize> = (0..rank).collect();
        back.remove(1);
        back.insert(axis, 1);
        Ok(g.transpose(y, &back))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let axis = self.axis(x.shape().len())?;
        let get = |id: Option<ValueId>| id.map(|id| values.get(id)).transpose();
        let (mean, variance) = (values.get(self.mean)?, values.get(self.variance)?);
        let (scale, bias) = (get(self.scale)?, get(self.bias)?);
        if self.is_of_x && x.len() == x.shape()[axis] {
            return Ok(x.clone());
        }
        with_real!(x, x => {
            let (mean, variance) = if self.is_of_x {
                norm::channel_statistics(x, axis)
            } else {
                (elements(mean, x)?, elements(variance, x)?)
            };
            let statistics = norm::Statistics {
                mean,
                variance,
                scale: scale.map(|scale| elements(scale, x)).transpose()?,
                bias: bias.map(|bias| elements(bias, x)).transpose()?,
                epsilon: self.epsilon,
            };
            norm::batch_norm(x, &statistics, axis)?
        })
    }

    fn affine_in(&self) -> Vec<ValueId> {
        match self.is_of_x {
            true => Vec::new(),
            false => vec![self.x],
        }
    }
}

/// The elements of a vector that has the element type of `like`.
fn elements<T: Element>(vector: &Tensor, like: &Array<T>) -> Result<Vec<T>> {
    same_type(vector, like).map(|array| array.iter().copied().collect())
}
