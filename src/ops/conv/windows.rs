//! The geometry that all convolutions have: strides, dilations, padding and groups.

use crate::error::{Error, Result};
use crate::graph::NodeAttr;
use crate::kernels::conv::WindowAxis;
use crate::operator::{Macs, OpReader};
use crate::ops::shared::image::{Layout, Padding, ints, pixels, positive};
use crate::program::{Facts, ValueId};
use crate::tensor::Dim;

/// How the windows of a convolution, or of its transpose, move over an image.
///
/// Paddle: `UpdatePaddingAndDilation` in `phi/kernels/cpu/conv_util.h`.
pub(super) struct Windows {
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    pub padding: Padding,
    pub groups: usize,
    pub layout: Layout,
}

impl Windows {
    pub fn parse(op: &mut OpReader<'_>, axes: usize) -> Result<Self> {
        let padding = Padding::parse(op, axes)?;
        let dilations = match padding {
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
            groups: pixels(groups)
                .filter(|groups| *groups > 0)
                .ok_or_else(|| Error::malformed(format!("{groups} groups")))?,
            layout: Layout::parse(op)?,
        })
    }

    /// How many axes an image has.
    pub fn axes(&self) -> usize {
        self.strides.len()
    }

    /// The rank of a batch of images.
    pub fn rank(&self) -> usize {
        self.axes() + 2
    }

    pub fn axis(&self, axis: usize, image: usize, kernel: usize) -> WindowAxis {
        let stride = self.strides[axis];
        WindowAxis {
            kernel,
            stride,
            dilation: self.dilations[axis],
            pads: self.padding.around(axis, image, kernel, stride),
        }
    }

    /// The windows along every axis of an image, and the filter's extents behind the first two.
    pub fn along(&self, image: &[usize], filter: &[usize]) -> Result<Vec<WindowAxis>> {
        let taps = self.taps(filter)?;
        let axes = image.iter().zip(taps).enumerate();
        Ok(axes
            .map(|(axis, (image, taps))| self.axis(axis, *image, *taps))
            .collect())
    }

    /// The filter's extents along the axes of an image.
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

    /// The attributes of an ONNX node, but for the padding.
    pub fn attrs(&self) -> [(&'static str, NodeAttr); 3] {
        [
            ("strides", ints(&self.strides)),
            ("dilations", ints(&self.dilations)),
            ("group", NodeAttr::Int(self.groups as i64)),
        ]
    }
}

/// The multiply-accumulates of images of this shape, each element of which is paired with all of a
/// filter but its first axis.
pub(super) fn filter_macs(facts: &Facts<'_>, images: &[Dim], filter: ValueId) -> Macs {
    let window = facts.shape(filter).iter().skip(1);
    match Macs::product(images.iter().chain(window)) {
        None => Macs::Unknown,
        Some(count) if facts.is_parameter(filter) => Macs::Weighted(count),
        Some(count) => Macs::Activations(count),
    }
}
