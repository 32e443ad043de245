//! Convolution over two or three spatial axes: `conv2d`, `depthwise_conv2d`, `conv3d`. For one spatial axis, Paddle's
//! functions add another of extent 1.
//!
//! Paddle: `phi/kernels/{conv,depthwise_conv}_kernel.h`. ONNX: Conv.

use super::geometry::{ConvGeometry, filter_macs};
use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::conv::conv;
use crate::kernels::{Real, with_reals};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, Macs, OpDef, OpReader, Parse, Parsed, Values,
};
use crate::ops::shared::image::Extents;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, Dim, Tensor};

pub(super) const OPS: &[OpDef] = &[
    convolution("conv2d", &[form(&["conv2d"])], Conv::parse::<2>),
    // A conv2d with as many groups as channels, for which Paddle only chooses another kernel.
    convolution(
        "depthwise_conv2d",
        &[form(&["depthwise_conv2d"])],
        Conv::parse::<2>,
    ),
    convolution("conv3d", &[form(&["conv3d"])], Conv::parse::<3>),
];

const fn form(names: &'static [&'static str]) -> Form {
    let operands = &[Binding::Slot("Input"), Binding::Slot("Filter")];
    Form::legacy(names, operands, &["Output"])
}

const fn convolution(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    let operands = &[Arg::Tensor("input"), Arg::Tensor("filter")];
    OpDef::new(name, operands, legacy, parse)
        .with_dtypes(FLOATS)
        .with_accuracy(Accuracy::Accumulated)
        .speculatable()
}

/// A convolution without a bias: `input` is `[n, c, …]` (or `[n, …, c]`), `filter`
/// `[o, c / groups, …]` in either layout.
struct Conv {
    input: ValueId,
    filter: ValueId,
    geometry: ConvGeometry,
}

impl Conv {
    fn parse<const AXES: usize>(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            input: op.operand("input")?,
            filter: op.operand("filter")?,
            geometry: ConvGeometry::parse(op, AXES)?,
        }))
    }

    fn convolve<T: Real>(&self, x: &Array<T>, filter: &Array<T>) -> Result<Array<T>> {
        let ConvGeometry { layout, groups, .. } = self.geometry;
        let extents = layout.extents(x.shape(), self.geometry.axes())?;
        let window = self.geometry.along(&extents.image, filter.shape())?;
        let x = layout.view_from(x.clone());
        Ok(layout.view_to(conv(&x, filter, &window, groups)?.into()))
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
        let padding = self.geometry.padding.attr();
        let attrs = self.geometry.attrs().into_iter().chain([padding]);
        let y = g.node("Conv", &[x, filter], attrs);
        Ok(layout.lower_to(g, y, rank))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (input, filter) = (values.get(self.input)?, values.get(self.filter)?);
        with_reals!(input, filter, (x, filter) => self.convolve(x, filter)?)
    }

    fn macs(&self, facts: &Facts<'_>) -> Macs {
        match self.infer(facts) {
            Ok(result) => filter_macs(facts, &result.shape, self.filter),
            Err(_) => Macs::Unknown,
        }
    }
}
