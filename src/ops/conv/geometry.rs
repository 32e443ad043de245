//! The geometry that all convolutions have: strides, dilations, padding, groups and layout.

use crate::error::{Error, Result};
use crate::graph::NodeAttr;
use crate::kernels::conv::WindowAxis;
use crate::operator::{Macs, OpReader};
use crate::ops::shared::image::{Layout, Padding, ints, non_negative_i32, positive};
use crate::program::{Facts, FromAttr, Op, ValueId};
use crate::tensor::Dim;

/// The geometry of a convolution, or of a transposed convolution, but for the extents of its operands.
///
/// Paddle: `UpdatePaddingAndDilation` in `phi/kernels/cpu/conv_util.h`.
pub(super) struct ConvGeometry {
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    pub padding: Padding,
    pub groups: usize,
    pub layout: Layout,
}

/// The axis of the channels in the result of a convolution, which has this rank.
pub(super) fn channel_axis(op: &Op, rank: usize) -> Option<usize> {
    let format = op.attrs.get("data_format").and_then(String::from_attr);
    match format.as_deref() {
        Some("NHWC" | "NDHWC") => rank.checked_sub(1),
        _ => Some(1),
    }
}

impl ConvGeometry {
    /// Reads the attributes of an op with `axes` spatial axes.
    pub fn parse(op: &mut OpReader<'_>, axes: usize) -> Result<Self> {
        let padding = Padding::parse(op, axes)?;
        let dilations = match padding {
            // Paddle resets them to 1.
            Padding::Same => {
                op.ignore("dilations");
                vec![1; axes]
            }
            Padding::Explicit(_) => positive(op, "dilations", axes)?,
        };
        let groups: i64 = op.attr_or("groups", 1)?;
        Ok(Self {
            strides: positive(op, "strides", axes)?,
            dilations,
            padding,
            groups: non_negative_i32(groups)
                .filter(|groups| *groups > 0)
                .ok_or_else(|| Error::malformed(format!("{groups} groups")))?,
            layout: Layout::parse(op)?,
        })
    }

    /// The number of spatial axes.
    pub fn axes(&self) -> usize {
        self.strides.len()
    }

    /// The rank of the input, which has a batch and a channel axis as well.
    pub fn rank(&self) -> usize {
        self.axes() + 2
    }

    /// The windows along one spatial axis, for an input of extent `image` and this kernel size.
    pub fn axis(&self, axis: usize, image: usize, kernel: usize) -> WindowAxis {
        let stride = self.strides[axis];
        WindowAxis {
            kernel,
            stride,
            dilation: self.dilations[axis],
            pads: self.padding.around(axis, image, kernel, stride),
        }
    }

    /// The windows along each spatial axis, for an input of the spatial extents `image` and a filter of this shape.
    pub fn along(&self, image: &[usize], filter: &[usize]) -> Result<Vec<WindowAxis>> {
        let taps = self.taps(filter)?;
        let axes = image.iter().zip(taps).enumerate();
        Ok(axes
            .map(|(axis, (image, taps))| self.axis(axis, *image, *taps))
            .collect())
    }

    /// The kernel size: the extents of a filter of this shape along the spatial axes.
    ///
    /// # Errors
    /// When the filter has another rank than the input.
    pub fn taps<'f, D>(&self, filter: &'f [D]) -> Result<&'f [D]> {
        match filter {
            [_, _, taps @ ..] if taps.len() == self.axes() => Ok(taps),
            _ => Err(Error::malformed(format!(
                "a filter of rank {} where {} is due",
                filter.len(),
                self.rank()
            ))),
        }
    }

    /// The attributes `strides`, `dilations` and `group` of an ONNX node.
    pub fn attrs(&self) -> [(&'static str, NodeAttr); 3] {
        [
            ("strides", ints(&self.strides)),
            ("dilations", ints(&self.dilations)),
            ("group", NodeAttr::Int(self.groups as i64)),
        ]
    }
}

/// The multiply-accumulates of a convolution. Each element of its result, whose shape is `images`, takes as many as the
/// filter has elements at each index of its first axis. For a transposed convolution, `images` is the shape of the
/// input.
pub(super) fn filter_macs(facts: &Facts<'_>, images: &[Dim], filter: ValueId) -> Macs {
    let window = facts.shape(filter).iter().skip(1);
    match Macs::product(images.iter().chain(window)) {
        None => Macs::Unknown,
        Some(count) if facts.is_parameter(filter) => Macs::Weighted(count),
        Some(count) => Macs::Activations(count),
    }
}
