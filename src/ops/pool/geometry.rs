//! The geometry of a pooling op, and the windows that follow from it.

use crate::error::{Error, Result};
use crate::graph::NodeAttr;
use crate::kernels::pool::Span;
use crate::operator::OpReader;
use crate::ops::shared::image::{Padding, non_negative_i32, pads_attr, positive};
use crate::tensor::{Dim, display_shape, refuse_too_large};

/// Where the size of the windows comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WindowSize {
    /// It is the kernel size. Windows are a stride apart.
    Kernel,
    /// It is that of the input: there is one window.
    Global,
    /// It is what it takes to cover the input with as many windows as the kernel size says.
    Adaptive,
}

/// The geometry of a pooling op, but for the kernel size, which is an operand.
///
/// Paddle: `UpdatePadding`, `PoolOutputSize` and `AdaptStartIndex` in `phi/kernels/funcs/pooling.h`.
pub(super) struct PoolGeometry {
    pub window_size: WindowSize,
    pub strides: Vec<usize>,
    pub padding: Padding,
    /// Whether the number of windows is rounded up, so that the last may reach beyond the padding.
    pub ceil_mode: bool,
    /// Whether averages that count padding count what lies behind the padding, too, as up to Paddle 1.8.
    counts_beyond: bool,
}

/// Stands for an extent that is not known. What is derived from it holds for all extents, unless it depends on the
/// remainder of a division by the stride.
const LARGE: usize = 1 << 20;

impl PoolGeometry {
    /// Reads the attributes of an op with `axes` spatial axes.
    pub fn parse(op: &mut OpReader<'_>, axes: usize) -> Result<Self> {
        let is_global = op.attr_or("global_pooling", false)?;
        let is_adaptive = op.attr_or("adaptive", false)?;
        Ok(Self {
            window_size: match (is_global, is_adaptive) {
                (true, true) => {
                    return Err(Error::unsupported(
                        "a pool that is `global_pooling` and `adaptive` at once: Paddle gives its input back",
                    ));
                }
                (true, false) => WindowSize::Global,
                (false, true) => WindowSize::Adaptive,
                (false, false) => WindowSize::Kernel,
            },
            strides: positive(op, "strides", axes)?,
            padding: Padding::parse(op, axes)?,
            ceil_mode: op.attr_or("ceil_mode", false)?,
            counts_beyond: op.is_before(2, 0),
        })
    }

    /// Whether windows end with the input, and there is no padding that averages could count.
    pub fn ends_with_input(&self) -> bool {
        let is_none = |pads: &Vec<[usize; 2]>| pads.iter().all(|pads| *pads == [0, 0]);
        self.ceil_mode
            && !self.counts_beyond
            && matches!(&self.padding, Padding::Explicit(pads) if is_none(pads))
    }

    /// The number of spatial axes.
    pub fn axes(&self) -> usize {
        self.strides.len()
    }

    /// The kernel size along each spatial axis, from what is known of the operand that states it, with one number for
    /// all axes or one for each.
    ///
    /// # Errors
    /// When a number is not positive, or not known where it is the size of windows.
    pub fn kernel(&self, content: Option<&[Dim]>) -> Result<Vec<Dim>> {
        let kernel = match content {
            None => vec![Dim::Unknown; self.axes()],
            Some([all]) => vec![all.clone(); self.axes()],
            Some(each) if each.len() == self.axes() => each.to_vec(),
            Some(other) => {
                let shape = display_shape(other);
                return Err(Error::malformed(format!("a kernel of size {shape}")));
            }
        };
        // Nobody looks at the kernel size of a global pool, and older programs hold -1 there.
        if self.window_size == WindowSize::Global {
            return Ok(vec![Dim::Unknown; self.axes()]);
        }
        if let Some(size) = kernel.iter().filter_map(Dim::known).find(|size| *size < 1) {
            let help = match self.window_size {
                WindowSize::Adaptive => {
                    ", which Paddle can't run either: an adaptive pool whose output size is None along an open \
                     extent is written so; give it all of the output size"
                }
                _ => "",
            };
            return Err(Error::malformed(format!("a kernel of size {size}{help}")));
        }
        if self.window_size == WindowSize::Kernel
            && kernel.iter().any(|size| size.known().is_none())
        {
            return Err(Error::unsupported(
                "the operand `kernel_size` is computed from the inputs, where a constant is needed",
            ));
        }
        Ok(kernel)
    }

    /// The windows along a spatial axis, for this kernel size and an input of extent `image`.
    pub fn axis(&self, axis: usize, size: &Dim, image: usize) -> Result<AxisWindows> {
        let size = size
            .known()
            .and_then(non_negative_i32)
            .filter(|size| *size > 0);
        let size = size.ok_or_else(|| Error::malformed("a kernel of no size"));
        let stride = self.strides[axis];
        let whole = AxisWindows {
            window_size: self.window_size,
            counts_beyond: self.counts_beyond,
            kernel: image,
            stride: 1,
            pads: [0; 2],
            image,
            count: 1,
        };
        Ok(match self.window_size {
            WindowSize::Global => whole,
            WindowSize::Adaptive => AxisWindows {
                count: size?,
                ..whole
            },
            WindowSize::Kernel => {
                let kernel = size?;
                let pads = self.padding.around(axis, image, kernel, stride);
                let padded = image.saturating_add(pads[0]).saturating_add(pads[1]);
                let room = padded.checked_sub(kernel).ok_or_else(|| {
                    Error::malformed(format!("a kernel of {kernel} in an image of {padded}"))
                })?;
                let steps = if self.ceil_mode {
                    room.div_ceil(stride)
                } else {
                    room / stride
                };
                AxisWindows {
                    kernel,
                    stride,
                    pads,
                    count: steps + 1,
                    ..whole
                }
            }
        })
    }

    /// The padding attribute of an ONNX node.
    ///
    /// # Errors
    /// For SAME padding of an input of unknown extent, with gaps between the windows, for which ONNX Runtime computes
    /// negative padding.
    pub fn pads_attr(&self, kernel: &[Dim], image: &[Dim]) -> Result<(&'static str, NodeAttr)> {
        let axes = kernel.iter().zip(image).enumerate();
        let windows = axes.map(|(axis, (size, image))| self.axis_of(axis, size, image));
        let windows: Vec<AxisWindows> = windows.collect::<Result<_>>()?;
        // Whether the padding is the same for all extents that the input may have.
        let is_fixed = |(windows, image): (&AxisWindows, &Dim)| {
            image.extent().is_some() || windows.stride == 1 || windows.kernel == 1
        };
        if self.padding != Padding::Same || windows.iter().zip(image).all(is_fixed) {
            let pads: Vec<[usize; 2]> = windows.iter().map(|windows| windows.pads).collect();
            return Ok(pads_attr(&pads));
        }
        if windows
            .iter()
            .any(|windows| windows.kernel < windows.stride)
        {
            return Err(Error::needs_extents(
                "`padding_algorithm` SAME on an image of unknown extent, with `strides` beyond the kernel's size",
            ));
        }
        Ok(self.padding.attr())
    }

    /// As [`Self::axis`], with a large extent in place of one that is not known.
    pub fn axis_of(&self, axis: usize, size: &Dim, image: &Dim) -> Result<AxisWindows> {
        self.axis(axis, size, image.extent().unwrap_or(LARGE))
    }

    /// The number of windows along a spatial axis.
    pub fn count(&self, axis: usize, size: &Dim, image: &Dim) -> Result<Dim> {
        match (self.window_size, image.extent()) {
            (WindowSize::Global, _) => Ok(Dim::Known(1)),
            (WindowSize::Adaptive, _) => Ok(size.clone()),
            (WindowSize::Kernel, None) => Ok(Dim::Unknown),
            (WindowSize::Kernel, Some(image)) => Ok(Dim::from(self.axis(axis, size, image)?.count)),
        }
    }

    /// The windows along each spatial axis of an input of extents `image`. `padding` says whether averages count the
    /// padding in them.
    pub fn spans(&self, kernel: &[i64], image: &[usize], padding: bool) -> Result<Vec<Vec<Span>>> {
        let kernel: Vec<Dim> = kernel.iter().copied().map(Dim::Known).collect();
        let kernel = self.kernel(Some(&kernel))?;
        let axes = kernel.iter().zip(image).enumerate();
        axes.map(|(axis, (size, image))| {
            let windows = self.axis(axis, size, *image)?;
            refuse_too_large(&[windows.count])?;
            let positions = 0..windows.count;
            Ok(positions.map(|p| windows.span(p, padding)).collect())
        })
        .collect()
    }

    /// Refuses `ceil_mode` if a window may begin behind the input: ONNX leaves such windows out.
    pub fn refuse_windows_behind(&self, axis: usize, size: &Dim, image: &Dim) -> Result<()> {
        let windows = self.axis_of(axis, size, image)?;
        let [before, after] = windows.pads;
        let is_inside = match image.extent() {
            Some(image) => (windows.count - 1) * windows.stride < image + before,
            None => after + windows.stride <= windows.kernel,
        };
        if self.ceil_mode && !is_inside {
            let what =
                "a window of `ceil_mode` that begins behind the image, which ONNX leaves out";
            return Err(match image.extent() {
                Some(_) => Error::unsupported(what),
                None => Error::needs_extents(format!(
                    "{what}, is possible on an image of unknown extent"
                )),
            });
        }
        Ok(())
    }
}

/// The windows along one spatial axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct AxisWindows {
    window_size: WindowSize,
    counts_beyond: bool,
    pub kernel: usize,
    pub stride: usize,
    /// The padding before and after the input.
    pub pads: [usize; 2],
    /// The extent of the input.
    pub image: usize,
    /// The number of windows.
    pub count: usize,
}

/// The most windows along an axis that are looked at one by one before a run.
const MANY: usize = 1 << 12;

impl AxisWindows {
    /// Where the adaptive window at a position begins, and where the one before it ends.
    fn boundary(&self, position: usize) -> (usize, usize) {
        let product = position as u128 * self.image as u128;
        let count = self.count as u128;
        // Both are at most the extent of the input.
        ((product / count) as usize, product.div_ceil(count) as usize)
    }

    /// The window at a position, in which an average counts padding or does not.
    pub fn span(&self, position: usize, counts_padding: bool) -> Span {
        if self.window_size == WindowSize::Adaptive {
            let inside = self.boundary(position).0..self.boundary(position + 1).1;
            let counted = inside.len();
            return Span { inside, counted };
        }
        // As in Paddle, windows begin at the start of the padding, and end at the latest where the input is
        // padded by as much behind it as before it, whatever the padding behind it is.
        let (before, image) = (self.pads[0], self.image);
        let start = position * self.stride;
        let end = start + self.kernel;
        let end = match self.counts_beyond {
            true => end,
            false => end.min(image + 2 * before),
        };
        let inside = start.saturating_sub(before).min(image)..end.saturating_sub(before).min(image);
        let counted = if counts_padding {
            end.saturating_sub(start)
        } else {
            inside.len()
        };
        Span { inside, counted }
    }

    /// The kernel size and the stride that make the same windows as these adaptive ones, if there are such.
    pub fn evenly(&self) -> Option<[usize; 2]> {
        if self.count == 0 || self.image == 0 {
            return None;
        }
        if self.image.is_multiple_of(self.count) {
            return Some([self.image / self.count; 2]);
        }
        if self.count > MANY {
            return None;
        }
        let first = self.span(0, false).inside;
        let stride = match self.count {
            1 => 1,
            _ => self.span(1, false).inside.start,
        };
        let is_even = (0..self.count).all(|position| {
            let window = self.span(position, false).inside;
            window.start == position * stride && window.len() == first.len()
        });
        (is_even && stride > 0).then_some([first.len(), stride])
    }

    /// Each of the windows, with the padding counted, if they are not too many.
    pub fn listed(&self) -> Option<Vec<Span>> {
        (self.count <= MANY).then(|| (0..self.count).map(|p| self.span(p, true)).collect())
    }
}
