//! What ops on images `[n, c, …]` (or `[n, …, c]`) share, of one to three axes: their layout, padding
//! and strides.

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::operator::OpReader;
use crate::tensor::{Array, Element};

/// The order of an image's axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    ChannelsFirst,
    ChannelsLast,
}

/// The extents of a batch of images.
#[derive(Debug, Clone)]
pub(crate) struct Extents<T> {
    pub batch: T,
    pub channels: T,
    pub image: Vec<T>,
}

impl<T> From<[T; 4]> for Extents<T> {
    fn from([batch, channels, height, width]: [T; 4]) -> Self {
        Self {
            batch,
            channels,
            image: vec![height, width],
        }
    }
}

impl Layout {
    pub fn parse(op: &mut OpReader<'_>) -> Result<Self> {
        let format: String = op.attr_or("data_format", "NCHW".to_owned())?;
        Self::of(&format)
    }

    pub fn of(format: &str) -> Result<Self> {
        match format {
            // AnyLayout is what Paddle 1.x wrote for its only layout.
            "NCHW" | "NCDHW" | "NCL" | "NC" | "AnyLayout" => Ok(Layout::ChannelsFirst),
            "NHWC" | "NDHWC" | "NLC" => Ok(Layout::ChannelsLast),
            other => Err(Error::unsupported(format!("data_format {other:?}"))),
        }
    }

    /// The extents of images of this shape.
    ///
    /// # Errors
    /// When they don't have that many axes.
    pub fn extents<T: Clone>(self, shape: &[T], axes: usize) -> Result<Extents<T>> {
        let (Some(batch), true) = (shape.first(), shape.len() == axes + 2) else {
            let (rank, due) = (shape.len(), axes + 2);
            return Err(Error::malformed(format!("rank {rank} where {due} is due")));
        };
        let (channels, image) = match self {
            Layout::ChannelsFirst => (&shape[1], &shape[2..]),
            Layout::ChannelsLast => (&shape[axes + 1], &shape[1..=axes]),
        };
        Ok(Extents {
            batch: batch.clone(),
            channels: channels.clone(),
            image: image.to_vec(),
        })
    }

    /// The extents `[n, c, h, w]` of images of this shape.
    ///
    /// # Errors
    /// When they don't have two axes.
    pub fn planar<T: Clone>(self, shape: &[T]) -> Result<[T; 4]> {
        let extents = self.extents(shape, 2)?;
        let [height, width] = extents.image.as_slice() else {
            return Err(Error::internal("images of two axes with others"));
        };
        let (height, width) = (height.clone(), width.clone());
        Ok([extents.batch, extents.channels, height, width])
    }

    /// The shape of images of these extents.
    pub fn shape<T>(self, extents: Extents<T>) -> Vec<T> {
        let Extents {
            batch,
            channels,
            image,
        } = extents;
        let mut shape = vec![batch];
        match self {
            Layout::ChannelsFirst => {
                shape.push(channels);
                shape.extend(image);
            }
            Layout::ChannelsLast => {
                shape.extend(image);
                shape.push(channels);
            }
        }
        shape
    }

    /// Where images of this layout have the axes of channels-first ones.
    fn to_first(self, rank: usize) -> Vec<usize> {
        let mut axes: Vec<usize> = (0..rank).collect();
        if self == Layout::ChannelsLast && rank > 2 {
            axes[1..].rotate_right(1);
        }
        axes
    }

    /// And back.
    fn back_from_first(self, rank: usize) -> Vec<usize> {
        let mut axes: Vec<usize> = (0..rank).collect();
        if self == Layout::ChannelsLast && rank > 2 {
            axes[1..].rotate_left(1);
        }
        axes
    }

    /// Emits what brings images of this layout to channels first.
    pub fn lower_from(self, g: &mut Lowering<'_>, x: TensorId, rank: usize) -> TensorId {
        g.transpose(x, &self.to_first(rank))
    }

    /// Emits what brings channels-first images to this layout.
    pub fn lower_to(self, g: &mut Lowering<'_>, x: TensorId, rank: usize) -> TensorId {
        g.transpose(x, &self.back_from_first(rank))
    }

    /// Images of this layout, channels first.
    pub fn view_from<T: Element>(self, x: Array<T>) -> Array<T> {
        let axes = self.to_first(x.ndim());
        x.permuted_axes(axes)
    }

    /// Channels-first images in this layout.
    pub fn view_to<T: Element>(self, x: Array<T>) -> Array<T> {
        let axes = self.back_from_first(x.ndim());
        x.permuted_axes(axes)
    }
}

/// What surrounds the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Padding {
    /// Zeros before and after each axis.
    Explicit(Vec<[usize; 2]>),
    /// As many as make the output `⌈extent / stride⌉` long, the odd one behind. Dilation counts as
    /// 1 here, as in Paddle.
    Same,
}

impl Padding {
    pub fn parse(op: &mut OpReader<'_>, axes: usize) -> Result<Self> {
        let algorithm: String = op.attr_or("padding_algorithm", "EXPLICIT".to_owned())?;
        let paddings: Vec<i64> = op.attr_or("paddings", vec![0; axes])?;
        match algorithm.as_str() {
            "SAME" => return Ok(Padding::Same),
            "VALID" => return Ok(Padding::Explicit(vec![[0; 2]; axes])),
            "EXPLICIT" => {}
            other => return Err(Error::unsupported(format!("padding_algorithm {other:?}"))),
        }
        let pads: Option<Vec<usize>> = paddings.iter().map(|pad| pixels(*pad)).collect();
        match pads {
            Some(pads) if pads.len() == axes => Ok(Padding::Explicit(
                pads.iter().map(|pad| [*pad; 2]).collect(),
            )),
            Some(pads) if pads.len() == 2 * axes => {
                let pairs = pads.chunks_exact(2);
                Ok(Padding::Explicit(pairs.map(|p| [p[0], p[1]]).collect()))
            }
            _ => Err(Error::malformed(format!("paddings {paddings:?}"))),
        }
    }

    /// The zeros before and after an axis.
    pub fn around(&self, axis: usize, image: usize, kernel: usize, stride: usize) -> [usize; 2] {
        match self {
            Padding::Explicit(pads) => pads[axis],
            Padding::Same => same(image, kernel, stride),
        }
    }

    /// The attribute of an ONNX node.
    pub fn attr(&self) -> (&'static str, NodeAttr) {
        match self {
            Padding::Explicit(pads) => pads_attr(pads),
            Padding::Same => ("auto_pad", NodeAttr::String("SAME_UPPER")),
        }
    }
}

/// The attribute of an ONNX node for zeros before and after each axis.
pub(crate) fn pads_attr(pads: &[[usize; 2]]) -> (&'static str, NodeAttr) {
    let before = pads.iter().map(|pad| pad[0] as i64);
    let after = pads.iter().map(|pad| pad[1] as i64);
    ("pads", NodeAttr::Ints(before.chain(after).collect()))
}

/// An attribute of one number for each axis.
pub(crate) fn ints(values: &[usize]) -> NodeAttr {
    NodeAttr::Ints(values.iter().map(|value| *value as i64).collect())
}

/// The zeros before and after an axis with which a window fits as often as there are strides.
fn same(image: usize, kernel: usize, stride: usize) -> [usize; 2] {
    let steps = image.div_ceil(stride);
    let covered = steps.saturating_sub(1).saturating_mul(stride);
    let total = covered.saturating_add(kernel).saturating_sub(image);
    [total / 2, total - total / 2]
}

/// A number of Paddle's, which has 32 bits for it.
pub(crate) fn pixels(value: i64) -> Option<usize> {
    usize::try_from(i32::try_from(value).ok()?).ok()
}

/// An attribute of a positive number for each axis.
pub(crate) fn positive(op: &mut OpReader<'_>, name: &str, axes: usize) -> Result<Vec<usize>> {
    let values: Vec<i64> = op.attr_or(name, vec![1; axes])?;
    let positive = values
        .iter()
        .map(|value| pixels(*value).filter(|value| *value > 0));
    positive
        .collect::<Option<Vec<usize>>>()
        .filter(|values| values.len() == axes)
        .ok_or_else(|| {
            Error::malformed(format!(
                "{name} {values:?} where {axes} positive numbers are due"
            ))
        })
}
