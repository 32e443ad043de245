//! What ops on images `[n, c, h, w]` (or `[n, h, w, c]`) share: their layout, padding and strides.

use super::reader::OpReader;
use crate::error::{Error, Result};
use crate::lower::{Lowering, NodeAttr, TensorId};
use crate::tensor::{Array, Element};

/// The order of an image's axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    ChannelsFirst,
    ChannelsLast,
}

/// Where a channels-last image has its axes, seen from a channels-first one, and back.
const TO_CHANNELS_FIRST: [usize; 4] = [0, 3, 1, 2];
const TO_CHANNELS_LAST: [usize; 4] = [0, 2, 3, 1];

impl Layout {
    pub fn parse(op: &mut OpReader<'_>) -> Result<Self> {
        let format: String = op.attr_or("data_format", "NCHW".to_owned())?;
        match format.as_str() {
            // AnyLayout is what Paddle 1.x wrote for its only layout.
            "NCHW" | "AnyLayout" => Ok(Layout::ChannelsFirst),
            "NHWC" => Ok(Layout::ChannelsLast),
            other => Err(Error::unsupported(format!("data_format {other:?}"))),
        }
    }

    /// The extents `[n, c, h, w]` of an image of this shape.
    pub fn extents<T: Clone>(self, shape: &[T]) -> Result<[T; 4]> {
        let shape: [T; 4] = shape
            .to_vec()
            .try_into()
            .map_err(|_| Error::malformed(format!("rank {} where 4 is due", shape.len())))?;
        Ok(match self {
            Layout::ChannelsFirst => shape,
            Layout::ChannelsLast => TO_CHANNELS_FIRST.map(|axis| shape[axis].clone()),
        })
    }

    /// The shape of an image of these extents.
    pub fn shape<T>(self, [n, c, h, w]: [T; 4]) -> Vec<T> {
        match self {
            Layout::ChannelsFirst => vec![n, c, h, w],
            Layout::ChannelsLast => vec![n, h, w, c],
        }
    }

    /// Emits what brings an image of this layout to channels first.
    pub fn lower_from(self, g: &mut Lowering<'_>, x: TensorId) -> TensorId {
        match self {
            Layout::ChannelsFirst => x,
            Layout::ChannelsLast => g.transpose(x, &TO_CHANNELS_FIRST),
        }
    }

    /// Emits what brings a channels-first image to this layout.
    pub fn lower_to(self, g: &mut Lowering<'_>, x: TensorId) -> TensorId {
        match self {
            Layout::ChannelsFirst => x,
            Layout::ChannelsLast => g.transpose(x, &TO_CHANNELS_LAST),
        }
    }

    /// An image of this layout, channels first.
    pub fn view_from<T: Element>(self, x: Array<T>) -> Array<T> {
        match self {
            Layout::ChannelsFirst => x,
            Layout::ChannelsLast => x.permuted_axes(TO_CHANNELS_FIRST.as_slice()),
        }
    }

    /// A channels-first image in this layout.
    pub fn view_to<T: Element>(self, x: Array<T>) -> Array<T> {
        match self {
            Layout::ChannelsFirst => x,
            Layout::ChannelsLast => x.permuted_axes(TO_CHANNELS_LAST.as_slice()),
        }
    }
}

/// What surrounds the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Padding {
    /// Zeros before and after each axis.
    Explicit([[usize; 2]; 2]),
    /// As many as make the output `⌈extent / stride⌉` long, the odd one behind. Dilation counts as
    /// 1 here, as in Paddle.
    Same,
}

impl Padding {
    pub fn parse(op: &mut OpReader<'_>) -> Result<Self> {
        let algorithm: String = op.attr_or("padding_algorithm", "EXPLICIT".to_owned())?;
        let paddings: Vec<i64> = op.attr_or("paddings", vec![0, 0])?;
        match algorithm.as_str() {
            "SAME" => return Ok(Padding::Same),
            "VALID" => return Ok(Padding::Explicit([[0; 2]; 2])),
            "EXPLICIT" => {}
            other => return Err(Error::unsupported(format!("padding_algorithm {other:?}"))),
        }
        let pads: Option<Vec<usize>> = paddings.iter().map(|pad| pixels(*pad)).collect();
        match pads.as_deref() {
            Some(&[h, w]) => Ok(Padding::Explicit([[h; 2], [w; 2]])),
            Some(&[top, bottom, left, right]) => {
                Ok(Padding::Explicit([[top, bottom], [left, right]]))
            }
            _ => Err(Error::malformed(format!("paddings {paddings:?}"))),
        }
    }

    /// The attribute of an ONNX node.
    pub fn attr(self) -> (&'static str, NodeAttr) {
        match self {
            Padding::Explicit([[top, bottom], [left, right]]) => {
                let pads = [top, left, bottom, right].map(|pad| pad as i64);
                ("pads", NodeAttr::Ints(pads.to_vec()))
            }
            Padding::Same => ("auto_pad", NodeAttr::String("SAME_UPPER")),
        }
    }
}

/// The zeros before and after an axis with which a window fits as often as there are strides.
pub(super) fn same(image: usize, kernel: usize, stride: usize) -> [usize; 2] {
    let steps = image.div_ceil(stride);
    let covered = steps.saturating_sub(1).saturating_mul(stride);
    let total = covered.saturating_add(kernel).saturating_sub(image);
    [total / 2, total - total / 2]
}

/// A number of Paddle's, which has 32 bits for it.
pub(super) fn pixels(value: i64) -> Option<usize> {
    usize::try_from(i32::try_from(value).ok()?).ok()
}

pub(super) fn positive_pair(op: &mut OpReader<'_>, name: &str) -> Result<[usize; 2]> {
    let values: Vec<i64> = op.attr_or(name, vec![1, 1])?;
    let positive = values
        .iter()
        .map(|value| pixels(*value).filter(|value| *value > 0))
        .collect::<Option<Vec<usize>>>();
    positive
        .and_then(|values| values.try_into().ok())
        .ok_or_else(|| {
            Error::malformed(format!(
                "{name} {values:?} where two positive numbers are due"
            ))
        })
}
