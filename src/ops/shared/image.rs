//! What ops on tensors `[n, c, …]` (or `[n, …, c]`) with spatial axes share: layout, padding, and attributes with a
//! number for each spatial axis.

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::operator::OpReader;
use crate::tensor::{Array, Element};

/// The order of the axes of a tensor with spatial axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `[n, c, …]`
    ChannelsFirst,
    /// `[n, …, c]`
    ChannelsLast,
}

/// The extents of a tensor with spatial axes, whatever its layout.
#[derive(Debug, Clone)]
pub(crate) struct Extents<T> {
    pub batch: T,
    pub channels: T,
    /// The spatial extents.
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
    /// Reads the attribute `data_format`.
    pub fn parse(op: &mut OpReader<'_>) -> Result<Self> {
        let format: String = op.attr_or("data_format", "NCHW".to_owned())?;
        Self::of(&format)
    }

    /// The layout of a `data_format`.
    pub fn of(format: &str) -> Result<Self> {
        match format {
            // AnyLayout is what Paddle 1.x wrote for its only layout.
            "NCHW" | "NCDHW" | "NCL" | "NC" | "AnyLayout" => Ok(Layout::ChannelsFirst),
            "NHWC" | "NDHWC" | "NLC" => Ok(Layout::ChannelsLast),
            other => Err(Error::unsupported(format!("data_format {other:?}"))),
        }
    }

    /// The extents of a tensor of this layout and shape, with `axes` spatial axes.
    ///
    /// # Errors
    /// When its rank is another.
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

    /// The extents `[n, c, h, w]` of a tensor of this layout and shape.
    ///
    /// # Errors
    /// When it does not have two spatial axes.
    pub fn planar<T: Clone>(self, shape: &[T]) -> Result<[T; 4]> {
        let extents = self.extents(shape, 2)?;
        let [height, width] = extents.image.as_slice() else {
            return Err(Error::internal("images of two axes with others"));
        };
        let (height, width) = (height.clone(), width.clone());
        Ok([extents.batch, extents.channels, height, width])
    }

    /// The shape of a tensor of this layout and these extents.
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

    /// The permutation of axes from this layout to channels first.
    fn to_first(self, rank: usize) -> Vec<usize> {
        let mut axes: Vec<usize> = (0..rank).collect();
        if self == Layout::ChannelsLast && rank > 2 {
            axes[1..].rotate_right(1);
        }
        axes
    }

    /// The permutation of axes from channels first to this layout.
    fn back_from_first(self, rank: usize) -> Vec<usize> {
        let mut axes: Vec<usize> = (0..rank).collect();
        if self == Layout::ChannelsLast && rank > 2 {
            axes[1..].rotate_left(1);
        }
        axes
    }

    /// Emits a Transpose from this layout to channels first, if it is another.
    pub fn lower_from(self, g: &mut Lowering<'_>, x: TensorId, rank: usize) -> TensorId {
        g.transpose(x, &self.to_first(rank))
    }

    /// Emits a Transpose from channels first to this layout, if it is another.
    pub fn lower_to(self, g: &mut Lowering<'_>, x: TensorId, rank: usize) -> TensorId {
        g.transpose(x, &self.back_from_first(rank))
    }

    /// An array of this layout as one of channels first, without moving elements.
    pub fn view_from<T: Element>(self, x: Array<T>) -> Array<T> {
        let axes = self.to_first(x.ndim());
        x.permuted_axes(axes)
    }

    /// A channels-first array as one of this layout, without moving elements.
    pub fn view_to<T: Element>(self, x: Array<T>) -> Array<T> {
        let axes = self.back_from_first(x.ndim());
        x.permuted_axes(axes)
    }
}

/// What surrounds the input along each spatial axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Padding {
    /// The number of elements before and after each axis.
    Explicit(Vec<[usize; 2]>),
    /// As many elements as make the extent of the result `⌈extent / stride⌉`; an odd one goes behind. Dilation counts
    /// as 1 for it, as in Paddle.
    Same,
}

impl Padding {
    /// Reads `padding_algorithm` and `paddings`, with one or two numbers for each of `axes` spatial axes.
    pub fn parse(op: &mut OpReader<'_>, axes: usize) -> Result<Self> {
        let algorithm: String = op.attr_or("padding_algorithm", "EXPLICIT".to_owned())?;
        let paddings: Vec<i64> = op.attr_or("paddings", vec![0; axes])?;
        match algorithm.as_str() {
            "SAME" => return Ok(Padding::Same),
            "VALID" => return Ok(Padding::Explicit(vec![[0; 2]; axes])),
            "EXPLICIT" => {}
            other => return Err(Error::unsupported(format!("padding_algorithm {other:?}"))),
        }
        let pads: Option<Vec<usize>> = paddings.iter().map(|pad| non_negative_i32(*pad)).collect();
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

    /// The padding before and after a spatial axis, for an input of extent `image`.
    pub fn around(&self, axis: usize, image: usize, kernel: usize, stride: usize) -> [usize; 2] {
        match self {
            Padding::Explicit(pads) => pads[axis],
            Padding::Same => same(image, kernel, stride),
        }
    }

    /// The attribute of an ONNX node: `pads`, or `auto_pad`.
    pub fn attr(&self) -> (&'static str, NodeAttr) {
        match self {
            Padding::Explicit(pads) => pads_attr(pads),
            Padding::Same => ("auto_pad", NodeAttr::String("SAME_UPPER")),
        }
    }
}

/// The attribute `pads` of an ONNX node, from the padding before and after each spatial axis.
pub(crate) fn pads_attr(pads: &[[usize; 2]]) -> (&'static str, NodeAttr) {
    let before = pads.iter().map(|pad| pad[0] as i64);
    let after = pads.iter().map(|pad| pad[1] as i64);
    ("pads", NodeAttr::Ints(before.chain(after).collect()))
}

/// The value of an attribute with a number for each spatial axis.
pub(crate) fn ints(values: &[usize]) -> NodeAttr {
    NodeAttr::Ints(values.iter().map(|value| *value as i64).collect())
}

/// The padding before and after an axis with which `⌈image / stride⌉` windows fit.
fn same(image: usize, kernel: usize, stride: usize) -> [usize; 2] {
    let steps = image.div_ceil(stride);
    let covered = steps.saturating_sub(1).saturating_mul(stride);
    let total = covered.saturating_add(kernel).saturating_sub(image);
    [total / 2, total - total / 2]
}

/// A number that Paddle holds in a signed integer of 32 bits, if it fits and is not negative.
pub(crate) fn non_negative_i32(value: i64) -> Option<usize> {
    usize::try_from(i32::try_from(value).ok()?).ok()
}

/// Reads an attribute with a positive number for each spatial axis, 1 by default.
pub(crate) fn positive(op: &mut OpReader<'_>, name: &str, axes: usize) -> Result<Vec<usize>> {
    let values: Vec<i64> = op.attr_or(name, vec![1; axes])?;
    let positive = values
        .iter()
        .map(|value| non_negative_i32(*value).filter(|value| *value > 0));
    positive
        .collect::<Option<Vec<usize>>>()
        .filter(|values| values.len() == axes)
        .ok_or_else(|| {
            Error::malformed(format!(
                "{name} {values:?} where {axes} positive numbers are due"
            ))
        })
}
