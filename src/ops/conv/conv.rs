//! Convolution over two or three spatial axes: `conv2d`, `depthwise_conv2d`, `conv3d`. For one spatial axis, Paddle's
//! functions add another of extent 1.
//!
//! Paddle: `phi/kernels/{conv,depthwise_conv}_kernel.h`. ONNX: Conv.

use super::geometry::{ConvGeometry, channel_axis, filter_macs};
use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::conv::conv;
use crate::kernels::{Real, map, with_reals};
use crate::operator::{
    Accuracy, Arg, Binding, Convolution, FLOATS, Form, Function, Macs, OpDef, OpReader, Parse,
    Parsed, Values,
};
use crate::ops::shared::image::{Extents, Layout};
use crate::ops::shared::values::same_type;
use crate::program::{Fact, Facts, Op, ValueId};
use crate::tensor::{Array, Dim, Tensor, display_shape};

/// Where both formats have the operands. In Paddle 3, and in what users export with Paddle 2, the bias is an op of its own.
const FROM: &[Binding] = &[
    Binding::Slot("Input"),
    Binding::Slot("Filter"),
    Binding::Optional("Bias"),
];

/// The operands in Paddle 3.
const POSITIONS: &[&str] = &["Input", "Filter"];

pub(super) const OPS: &[OpDef] = &[
    convolution("conv2d", &[form(&["conv2d"])], Conv::parse::<2>).with_pir(&[Form::pir(
        &["conv2d"],
        POSITIONS,
        FROM,
    )]),
    // A conv2d with as many groups as channels, for which Paddle only chooses another kernel.
    convolution(
        "depthwise_conv2d",
        &[form(&["depthwise_conv2d"])],
        Conv::parse::<2>,
    )
    .with_pir(&[Form::pir(&["depthwise_conv2d"], POSITIONS, FROM)]),
    convolution("conv3d", &[form(&["conv3d"])], Conv::parse::<3>).with_pir(&[Form::pir(
        &["conv3d"],
        POSITIONS,
        FROM,
    )]),
];

const fn form(names: &'static [&'static str]) -> Form {
    Form::legacy(names, FROM, &["Output"])
}

const fn convolution(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    let operands = &[
        Arg::Tensor("input"),
        Arg::Tensor("filter"),
        Arg::Optional("bias"),
    ];
    OpDef::new(name, operands, legacy, parse)
        .with_dtypes(FLOATS)
        .with_accuracy(Accuracy::Accumulated)
        .with_channels(channels)
        .speculatable()
}

/// The channels of the result are along the first axis of the filter.
fn channels(op: &Op, [rank, _]: [usize; 2]) -> Option<[usize; 2]> {
    Some([channel_axis(op, rank)?, 0])
}

/// A convolution: `input` is `[n, c, …]` (or `[n, …, c]`), `filter` `[o, c / groups, …]` in either layout, and `bias`
/// `[o]`.
struct Conv {
    input: ValueId,
    filter: ValueId,
    bias: Option<ValueId>,
    geometry: ConvGeometry,
}

impl Conv {
    fn parse<const AXES: usize>(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            input: op.operand("input")?,
            filter: op.operand("filter")?,
            bias: op.optional("bias")?,
            geometry: ConvGeometry::parse(op, AXES)?,
        }))
    }

    fn convolve<T: Real>(
        &self,
        x: &Array<T>,
        filter: &Array<T>,
        bias: Option<&Tensor>,
    ) -> Result<Array<T>> {
        let ConvGeometry { layout, groups, .. } = self.geometry;
        let extents = layout.extents(x.shape(), self.geometry.axes())?;
        let window = self.geometry.along(&extents.image, filter.shape())?;
        let x = layout.view_from(x.clone());
        let mut y = conv(&x, filter, &window, groups)?;
        if let Some(bias) = bias {
            let mut shape = vec![1; y.ndim() - 1];
            shape[0] = bias.len();
            y = map::zip(
                &y.into(),
                &map::reshape(same_type(bias, &x)?, &shape)?,
                |y, b| y + b,
            )?;
        }
        Ok(layout.view_to(y.into()))
    }

    /// The extent of the result along a spatial axis, along which the input has the extent `image`.
    fn output(&self, axis: usize, image: &Dim, kernel: &Dim) -> Result<Dim> {
        let (Some(image), Some(kernel)) = (image.extent(), kernel.extent()) else {
            return Ok(Dim::Unknown);
        };
        let window = self.geometry.axis(axis, image, kernel);
        Ok(Dim::from(window.count(image)?))
    }
}

impl Function for Conv {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let ConvGeometry { layout, groups, .. } = self.geometry;
        let input = layout.extents(facts.shape(self.input), self.geometry.axes())?;
        let filter = facts.shape(self.filter);
        let taps = self.geometry.taps(filter)?;
        let (outputs, group_channels) = (&filter[0], &filter[1]);
        let channels = group_channels.known().zip(i64::try_from(groups).ok());
        let channels = channels.and_then(|(channels, groups)| channels.checked_mul(groups));
        if let (Some(expected), Some(found)) = (channels, input.channels.known())
            && expected != found
        {
            return Err(Error::malformed(format!(
                "an image of {found} channels where the filter takes {expected}"
            )));
        }
        if outputs
            .extent()
            .is_some_and(|outputs| outputs % groups != 0)
        {
            return Err(Error::malformed(format!(
                "a filter of {outputs} outputs in {groups} groups"
            )));
        }
        if let Some(bias) = self.bias {
            check_bias(facts.shape(bias), outputs)?;
        }
        let axes = input.image.iter().zip(taps).enumerate();
        let image = axes.map(|(axis, (image, taps))| self.output(axis, image, taps));
        let shape = layout.shape(Extents {
            batch: input.batch,
            channels: outputs.clone(),
            image: image.collect::<Result<_>>()?,
        });
        Ok(Fact::new(facts.dtype(self.input), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let ConvGeometry { layout, .. } = self.geometry;
        let rank = self.geometry.rank();
        let x = g.value(self.input)?;
        let x = layout.lower_from(g, x, rank);
        let filter = g.value(self.filter)?;
        let x = g.apart_from_weights(x, filter);
        let padding = self.geometry.padding.attr();
        let attrs = self.geometry.attrs().into_iter().chain([padding]);
        let mut inputs = vec![x, filter];
        if let Some(bias) = self.bias {
            inputs.push(g.value(bias)?);
        }
        let y = g.node("Conv", &inputs, attrs);
        Ok(layout.lower_to(g, y, rank))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (input, filter) = (values.get(self.input)?, values.get(self.filter)?);
        let bias = self.bias.map(|bias| values.get(bias)).transpose()?;
        with_reals!(input, filter, (x, filter) => self.convolve(x, filter, bias)?)
    }

    fn convolution(&self) -> Option<Convolution> {
        Some(Convolution {
            filter: self.filter,
            bias: self.bias,
            channel_axis: match self.geometry.layout {
                Layout::ChannelsFirst => 1,
                Layout::ChannelsLast => self.geometry.rank() - 1,
            },
        })
    }

    fn macs(&self, facts: &Facts<'_>) -> Macs {
        match self.infer(facts) {
            Ok(result) => filter_macs(facts, &result.shape, self.filter),
            Err(_) => Macs::Unknown,
        }
    }
}

/// Refuses a bias that is no vector over the output channels.
fn check_bias(bias: &[Dim], outputs: &Dim) -> Result<()> {
    match bias {
        [Dim::Known(len)] if outputs.known().is_none_or(|outputs| outputs == *len) => Ok(()),
        other => Err(Error::malformed(format!(
            "a bias of shape {} for {outputs} outputs",
            display_shape(other)
        ))),
    }
}
