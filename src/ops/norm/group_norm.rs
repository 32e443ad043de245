//! Normalisation of groups of channels (`group_norm`) or of each channel (`instance_norm`), for each batch item.

use super::channels::check_parameters;
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::{norm, with_real};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, Macs, OpDef, OpReader, Parse, Parsed, Values,
};
use crate::ops::shared::image::Layout;
use crate::ops::shared::values::same_type;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{DType, Dim, Tensor, display_shape};

pub(super) const OPS: &[OpDef] = &[
    of_images(
        "group_norm",
        &[form(&["group_norm"]).renaming(&[("data_layout", "data_format")])],
        |op| {
            let groups: i64 = op.attr_or("groups", -1)?;
            let count = usize::try_from(groups).ok().filter(|groups| *groups > 0);
            let count = count.ok_or_else(|| Error::malformed(format!("{groups} groups")))?;
            GroupNorm::parse(op, Groups::Count(count))
        },
    ),
    of_images("instance_norm", &[form(&["instance_norm"])], |op| {
        GroupNorm::parse(op, Groups::Channels)
    })
    .with_limits(&["an open number of channels"]),
];

const fn form(names: &'static [&'static str]) -> Form {
    let operands = &[
        Binding::Slot("X"),
        Binding::Optional("Scale"),
        Binding::Optional("Bias"),
    ];
    Form::legacy(names, operands, &["Y"])
}

const fn of_images(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    let operands = &[
        Arg::Tensor("x"),
        Arg::Optional("scale"),
        Arg::Optional("bias"),
    ];
    OpDef::new(name, operands, legacy, parse)
        .with_dtypes(FLOATS)
        .with_accuracy(Accuracy::Accumulated)
}

/// What is normalised together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Groups {
    /// The elements of each channel.
    Channels,
    /// The elements of each of this many groups of successive channels.
    Count(usize),
}

/// `(x - mean) / √(variance + epsilon) · scale + bias`, with the mean and the variance of each group of channels of
/// each batch item. `x` is `[n, c, …]` (or `[n, …, c]`); `scale` and `bias` are vectors over the channels.
///
/// Paddle: `phi/kernels/cpu/{group_norm,instance_norm}_kernel.cc`. ONNX: InstanceNormalization of `x` with each group
/// as one channel, then Mul and Add. GroupNormalization has no advantage: runtimes only expand it.
struct GroupNorm {
    x: ValueId,
    scale: Option<ValueId>,
    bias: Option<ValueId>,
    groups: Groups,
    epsilon: f64,
    layout: Layout,
}

impl GroupNorm {
    fn parse(op: &mut OpReader<'_>, groups: Groups) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            scale: op.optional("scale")?,
            bias: op.optional("bias")?,
            groups,
            epsilon: op.attr_or("epsilon", 1e-5)?,
            layout: Layout::parse(op)?,
        }))
    }

    /// The number of groups.
    fn count(&self, channels: Option<usize>) -> Result<usize> {
        match (self.groups, channels) {
            (Groups::Channels, Some(channels)) => Ok(channels),
            (Groups::Channels, None) => Err(Error::needs_extents(
                "instance_norm of an unknown number of channels",
            )),
            (Groups::Count(count), Some(channels)) if channels % count != 0 => Err(
                Error::malformed(format!("{channels} channels in {count} groups")),
            ),
            (Groups::Count(count), _) => Ok(count),
        }
    }

    /// Emits the normalisation of each channel of `x` (`[n, groups, …]`). The scale and the bias are for the node
    /// InstanceNormalization, and have no effect in float64, where there is none. ONNX has GroupNormalization from opset 21
    /// on, for which ONNX Runtime 1.32 has no kernel: what it makes of it takes more than twice as long.
    fn standardize(
        &self,
        g: &mut Lowering<'_>,
        x: TensorId,
        groups: usize,
        [scale, bias]: [Option<TensorId>; 2],
    ) -> TensorId {
        let dtype = g.dtype(self.x);
        // ONNX Runtime has a kernel of InstanceNormalization for float32 alone.
        if dtype == DType::F64 {
            return g.standardize(x, dtype, &[2], self.epsilon);
        }
        let mut parameter = |given: Option<TensorId>, neutral: f64| {
            let all = Tensor::vector(vec![neutral; groups]).cast(dtype);
            given.unwrap_or_else(|| g.constant(all))
        };
        let inputs = [x, parameter(scale, 1.0), parameter(bias, 0.0)];
        let epsilon = ("epsilon", NodeAttr::Float(self.epsilon as f32));
        g.node("InstanceNormalization", &inputs, [epsilon])
    }

    /// A shape of this layout as `[n, c, …]`.
    fn channels_first(&self, shape: &[Dim]) -> Result<Vec<Dim>> {
        let axes = shape.len().checked_sub(2);
        let axes = axes.ok_or_else(|| {
            let shape = display_shape(shape);
            Error::malformed(format!("an operand of shape {shape}, without channels"))
        })?;
        let extents = self.layout.extents(shape, axes)?;
        Ok(Layout::ChannelsFirst.shape(extents))
    }
}

impl Function for GroupNorm {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let shape = facts.shape(self.x);
        let channels = &self.channels_first(shape)?[1];
        self.count(channels.extent())?;
        let parameters = [self.scale, self.bias].into_iter().flatten();
        check_parameters(facts, parameters, channels)?;
        Ok(Fact::new(facts.dtype(self.x), shape.to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let shape = self.channels_first(g.shape(self.x))?;
        let (rank, groups) = (shape.len(), self.count(shape[1].extent())?);
        let x = g.value(self.x)?;
        let x = self.layout.lower_from(g, x, rank);
        let mut parameter = |id: Option<ValueId>| id.map(|id| g.value(id)).transpose();
        let parameters = [parameter(self.scale)?, parameter(self.bias)?];
        let is_each = self.groups == Groups::Channels && g.dtype(self.x) != DType::F64;
        if is_each && rank > 2 {
            let y = self.standardize(g, x, groups, parameters);
            return Ok(self.layout.lower_to(g, y, rank));
        }
        // A known extent, if it is known: none can be found by division where the batch is empty.
        let elements = Macs::product(&shape[1..]).and_then(|count| i64::try_from(count).ok());
        let each = elements.map_or(-1, |elements| elements / groups as i64);
        let grouped = g.vector(&[0, groups as i64, each]);
        let rows = g.node("Reshape", &[x, grouped], []);
        let y = self.standardize(g, rows, groups, [None; 2]);
        let mut y = match g.reshape(y, &shape) {
            Some(y) => y,
            None => {
                let shape = g.node("Shape", &[x], []);
                g.node("Reshape", &[y, shape], [])
            }
        };
        let behind: Vec<i64> = (1..rank as i64 - 1).collect();
        for (op_type, parameter) in ["Mul", "Add"].into_iter().zip(parameters) {
            if let Some(parameter) = parameter {
                let parameter = g.unsqueeze(parameter, &behind);
                y = g.node(op_type, &[y, parameter], []);
            }
        }
        Ok(self.layout.lower_to(g, y, rank))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let get = |id: Option<ValueId>| id.map(|id| values.get(id)).transpose();
        let (scale, bias) = (get(self.scale)?, get(self.bias)?);
        with_real!(x, x => {
            let scale = scale.map(|scale| same_type(scale, x)).transpose()?;
            let bias = bias.map(|bias| same_type(bias, x)).transpose()?;
            let x = self.layout.view_from(x.clone());
            let channels = x.shape().get(1).copied();
            let groups = self.count(channels)?;
            let y = norm::group_norm(&x, groups, [scale, bias], self.epsilon)?;
            self.layout.view_to(y.into())
        })
    }
}
