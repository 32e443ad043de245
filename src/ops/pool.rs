//! Pooling.

use super::def::{Accuracy, Arg, FLOATS, Form, From, OpDef};
use super::image::{Layout, Padding, pixels, positive_pair, same};
use super::operator::{Fact, Facts, Function, Parsed};
use super::reader::OpReader;
use crate::error::{Error, Result};
use crate::lower::{Lowering, NodeAttr, TensorId};
use crate::program::ValueId;
use crate::reference::pool::{Reduction, Span, Windows, pool2d};
use crate::reference::{Real, Values, with_real};
use crate::tensor::{Array, Dim, Tensor, display_shape, refuse_too_large};

pub(super) const OPS: &[OpDef] = &[OpDef {
    name: "pool2d",
    operands: &[Arg::Tensor("x"), Arg::IntArray("kernel_size")],
    results: &["out"],
    legacy: &[Form::legacy(
        &["pool2d"],
        &[
            From::Slot("X"),
            From::IntArray {
                attr: "ksize",
                slots: &[],
            },
        ],
        &["Out"],
    )
    .ignoring(&["is_test"])],
    pir: &[],
    dtypes: FLOATS,
    opset: 11,
    accuracy: Accuracy::Accumulated,
    parse: Pool2d::parse,
}];

/// Which windows there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Of the kernel's size, a stride apart.
    Kernel,
    /// One over the whole image.
    Global,
    /// As many as the kernel's size says, which together cover the image.
    Adaptive,
}

/// The largest or the mean element of each window of an image `[n, c, h, w]` (or `[n, h, w, c]`).
///
/// A mean counts what is in the image, or with `exclusive` off the padding as well.
///
/// Paddle: `phi/kernels/funcs/pooling.cc`, `UpdatePadding` in `pooling.h`. ONNX: MaxPool,
/// AveragePool, GlobalMaxPool, GlobalAveragePool.
struct Pool2d {
    x: ValueId,
    kernel: ValueId,
    reduction: Reduction,
    extent: Extent,
    strides: [usize; 2],
    padding: Padding,
    ceil_mode: bool,
    exclusive: bool,
    layout: Layout,
}

impl Pool2d {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let kind: String = op.attr("pooling_type")?;
        let is_global = op.attr_or("global_pooling", false)?;
        let is_adaptive = op.attr_or("adaptive", false)?;
        let reduction = match kind.as_str() {
            "max" => Reduction::Max,
            "avg" => Reduction::Average,
            other => return Err(Error::unsupported(format!("pooling_type {other:?}"))),
        };
        if is_adaptive && reduction == Reduction::Max {
            return Err(Error::unsupported(
                "adaptive maxima, for which Paddle's pool2d has windows of another kind; its own \
                 functions write max_pool2d_with_index",
            ));
        }
        Ok(Box::new(Self {
            x: op.operand("x")?,
            kernel: op.operand("kernel_size")?,
            reduction,
            extent: match (is_global, is_adaptive) {
                (true, _) => Extent::Global,
                (false, true) => Extent::Adaptive,
                (false, false) => Extent::Kernel,
            },
            strides: positive_pair(op, "strides")?,
            padding: Padding::parse(op)?,
            ceil_mode: op.attr_or("ceil_mode", false)?,
            exclusive: op.attr_or("exclusive", true)?,
            layout: Layout::parse(op)?,
        }))
    }

    /// The windows of one axis.
    fn axis(&self, axis: usize, kernel: &[i64], image: usize) -> Result<AxisWindows> {
        let size = match kernel {
            [size] => *size,
            [_, _] => kernel[axis],
            other => {
                let shape = display_shape(other);
                return Err(Error::malformed(format!("a kernel of size {shape}")));
            }
        };
        let size = pixels(size).filter(|size| *size > 0);
        let size = size.ok_or_else(|| Error::malformed("a kernel of no size"))?;
        let windows = match self.extent {
            Extent::Global => AxisWindows {
                kernel: image,
                stride: 1,
                pads: [0; 2],
                image,
                count: 1,
            },
            Extent::Adaptive => AxisWindows {
                kernel: image.div_ceil(size),
                stride: image / size,
                pads: [0; 2],
                image,
                count: size,
            },
            Extent::Kernel => {
                let stride = self.strides[axis];
                let pads = match self.padding {
                    Padding::Explicit(pads) => pads[axis],
                    Padding::Same => same(image, size, stride),
                };
                let padded = image.saturating_add(pads[0]).saturating_add(pads[1]);
                let room = padded.checked_sub(size).ok_or_else(|| {
                    Error::malformed(format!("a kernel of {size} in an image of {padded}"))
                })?;
                let steps = if self.ceil_mode {
                    room.div_ceil(stride)
                } else {
                    room / stride
                };
                AxisWindows {
                    kernel: size,
                    stride,
                    pads,
                    image,
                    count: steps + 1,
                }
            }
        };
        Ok(windows)
    }

    fn pool<T: Real>(&self, x: &Array<T>, kernel: &[i64]) -> Result<Array<T>> {
        let [_, _, h, w] = self.layout.extents(x.shape())?;
        let spans = |axis: usize, image: usize| -> Result<Vec<Span>> {
            let windows = self.axis(axis, kernel, image)?;
            refuse_too_large(&[windows.count])?;
            let positions = 0..windows.count;
            Ok(positions
                .map(|position| self.span(&windows, position))
                .collect())
        };
        let windows = Windows {
            rows: spans(0, h)?,
            columns: spans(1, w)?,
        };
        let x = self.layout.view_from(x.clone());
        let result = pool2d(&x, &windows, self.reduction)?;
        Ok(self.layout.view_to(result))
    }

    /// The window at a position.
    fn span(&self, windows: &AxisWindows, position: usize) -> Span {
        let AxisWindows { image, count, .. } = *windows;
        if self.extent == Extent::Adaptive {
            let start = position * image / count;
            let end = ((position + 1) * image).div_ceil(count);
            return Span {
                inside: start..end,
                counted: end - start,
            };
        }
        // As Paddle counts: from the start of the padding, and to as much behind the image as there
        // is before it.
        let before = windows.pads[0];
        let start = position * windows.stride;
        let end = (start + windows.kernel).min(image + 2 * before);
        let inside = start.saturating_sub(before).min(image)..end.saturating_sub(before).min(image);
        Span {
            counted: if self.exclusive {
                inside.len()
            } else {
                end.saturating_sub(start)
            },
            inside,
        }
    }

    /// Refuses what ONNX counts otherwise than Paddle does.
    fn refuse_other_counts(&self, image: [&Dim; 2], kernel: &[i64]) -> Result<()> {
        for (axis, extent) in image.into_iter().enumerate() {
            let known = extent.extent();
            // What holds for an image of some size holds for all, but for the rest of a division.
            let windows = self.axis(axis, kernel, known.unwrap_or(1 << 20))?;
            let [before, after] = windows.pads;
            let (last, fits) = match known {
                Some(image) => {
                    let last = (windows.count - 1) * windows.stride;
                    (
                        last < image + before,
                        last + windows.kernel <= image + before + after,
                    )
                }
                None => (after + windows.stride <= windows.kernel, false),
            };
            if self.ceil_mode && !last {
                return Err(Error::unsupported(
                    "a window of ceil_mode that may begin behind the image, which ONNX leaves out",
                ));
            }
            let counts_padding = self.reduction == Reduction::Average && !self.exclusive;
            if counts_padding && (before != after || self.padding == Padding::Same) {
                return Err(Error::unsupported(
                    "an average that counts padding of two sizes, which Paddle does in its own way",
                ));
            }
            if counts_padding && self.ceil_mode && !fits {
                return Err(Error::unsupported(
                    "an average of ceil_mode that counts padding, on which runtimes don't agree",
                ));
            }
        }
        Ok(())
    }

    /// The kernel and stride with which fixed windows are the adaptive ones.
    fn evenly(&self, image: [&Dim; 2], kernel: &[i64]) -> Result<[usize; 2]> {
        let mut sizes = [0; 2];
        for (axis, extent) in image.into_iter().enumerate() {
            let known = extent.extent();
            let even = known
                .map(|image| self.axis(axis, kernel, image))
                .transpose()?;
            let even =
                even.filter(|windows| windows.count > 0 && windows.image % windows.count == 0);
            sizes[axis] = even.map(|windows| windows.kernel).ok_or_else(|| {
                Error::unsupported(format!(
                    "adaptive pooling of an image of {extent} to {}, which ONNX has no even windows \
                     for",
                    display_shape(kernel)
                ))
            })?;
        }
        Ok(sizes)
    }
}

/// The windows along one axis.
#[derive(Debug, Clone, Copy)]
struct AxisWindows {
    kernel: usize,
    stride: usize,
    /// What surrounds the image.
    pads: [usize; 2],
    image: usize,
    count: usize,
}

impl Function for Pool2d {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let [n, c, h, w] = self.layout.extents(facts.shape(self.x))?;
        let kernel = facts.constant_integers(self.kernel, "kernel_size")?;
        let output = |axis: usize, image: &Dim| {
            let known = image.extent();
            match (self.extent, known) {
                (Extent::Kernel, None) => Ok(Dim::Unknown),
                // The same whatever the image.
                (_, image) => Ok(Dim::from(
                    self.axis(axis, &kernel, image.unwrap_or(1))?.count,
                )),
            }
        };
        let shape = self.layout.shape([n, c, output(0, &h)?, output(1, &w)?]);
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let [_, _, h, w] = self.layout.extents(g.shape(self.x))?;
        let kernel = g.constant_integers(self.kernel, "kernel_size")?;
        let x = g.value(self.x)?;
        let x = self.layout.lower_from(g, x);
        let is_one = self.extent == Extent::Adaptive && kernel.iter().all(|size| *size == 1);
        let y = if self.extent == Extent::Global || is_one {
            let op_type = match self.reduction {
                Reduction::Max => "GlobalMaxPool",
                Reduction::Average => "GlobalAveragePool",
            };
            g.node(op_type, &[x], [])
        } else {
            self.lower_windows(g, x, [&h, &w], &kernel)?
        };
        Ok(self.layout.lower_to(g, y))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let kernel = values.integers(self.kernel)?;
        with_real!(values.get(self.x)?, x => self.pool(x, &kernel)?)
    }
}

impl Pool2d {
    fn lower_windows(
        &self,
        g: &mut Lowering<'_>,
        x: TensorId,
        image: [&Dim; 2],
        kernel: &[i64],
    ) -> Result<TensorId> {
        let ints = |values: &[usize]| NodeAttr::Ints(values.iter().map(|v| *v as i64).collect());
        let (sizes, strides, padding) = if self.extent == Extent::Adaptive {
            let even = self.evenly(image, kernel)?;
            (even, even, Padding::Explicit([[0; 2]; 2]))
        } else {
            self.refuse_other_counts(image, kernel)?;
            let size = |axis| Ok(self.axis(axis, kernel, 1 << 20)?.kernel);
            ([size(0)?, size(1)?], self.strides, self.padding)
        };
        let shape = ("kernel_shape", ints(&sizes));
        let strides = ("strides", ints(&strides));
        let ceil = ("ceil_mode", NodeAttr::Int(self.ceil_mode.into()));
        Ok(match self.reduction {
            Reduction::Max => g.node("MaxPool", &[x], [shape, strides, padding.attr(), ceil]),
            Reduction::Average => {
                let count = ("count_include_pad", NodeAttr::Int((!self.exclusive).into()));
                g.node(
                    "AveragePool",
                    &[x],
                    [shape, strides, padding.attr(), ceil, count],
                )
            }
        })
    }
}
