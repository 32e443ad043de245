//! Convolution of elements that lie where another tensor says.

use super::windows::{Windows, filter_macs};
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::conv::WindowAxis;
use crate::kernels::grid::{Points, blend, point, sample};
use crate::kernels::matmul::matmul;
use crate::kernels::{Real, map, with_real};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, Macs, OpDef, OpReader, Parsed, Values,
};
use crate::ops::shared::image::{Layout, Padding, ints, pixels};
use crate::ops::shared::values::same_type;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, DType, Dim, Element, Tensor, display_shape, refuse_too_large};

/// How many images are convolved at a time.
const BATCHING: &[&str] = &["im2col_step"];

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "deformable_conv",
    &[
        Arg::Tensor("x"),
        Arg::Tensor("offset"),
        Arg::Tensor("filter"),
        Arg::Optional("mask"),
    ],
    &[
        Form::legacy(
            &["deformable_conv"],
            &[
                Binding::Slot("Input"),
                Binding::Slot("Offset"),
                Binding::Slot("Filter"),
                Binding::Optional("Mask"),
            ],
            &["Output"],
        )
        .ignoring(BATCHING),
        // The first version has no mask.
        Form::legacy(
            &["deformable_conv_v1"],
            &[
                Binding::Slot("Input"),
                Binding::Slot("Offset"),
                Binding::Slot("Filter"),
                Binding::Rewrite,
            ],
            &["Output"],
        )
        .ignoring(BATCHING),
    ],
    DeformableConv::parse,
)
.with_dtypes(FLOATS)
.with_accuracy(Accuracy::Accumulated)];

/// A convolution of `x` (`[n, c, h, w]`) with `filter` (`[o, c / groups, kh, kw]`) in which each tap of
/// each window is moved by what `offset` (`[n, 2 · deformable_groups · taps, …]`, rows first) says, and
/// multiplied by `mask` (`[n, deformable_groups · taps, …]`). Positions between elements are blended from
/// the four around them, with zeros beyond the image. Each of the `deformable_groups` moves its own part
/// of the channels.
///
/// Paddle: `phi/kernels/impl/deformable_conv_kernel_impl.h`. ONNX: DeformConv, or before opset 19 a
/// gather for each of the four, and a product of matrices.
struct DeformableConv {
    x: ValueId,
    offset: ValueId,
    filter: ValueId,
    mask: Option<ValueId>,
    windows: Windows,
    groups: usize,
}

/// Longer lists of positions are made in the run.
const LONGEST: usize = 1 << 16;

/// What has to be known of the extents.
struct Sizes {
    channels: usize,
    outputs: usize,
    kernel: [usize; 2],
}

impl Sizes {
    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }
}

impl DeformableConv {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let groups: i64 = op.attr_or("deformable_groups", 1)?;
        op.ignore("im2col_step"); // See `BATCHING`.
        let windows = Windows::parse(op, 2)?;
        if windows.padding == Padding::Same || windows.layout != Layout::ChannelsFirst {
            return Err(Error::malformed(
                "a layout or paddings that the op does not have",
            ));
        }
        let groups = pixels(groups).filter(|groups| *groups > 0);
        Ok(Box::new(Self {
            x: op.operand("x")?,
            offset: op.operand("offset")?,
            filter: op.operand("filter")?,
            mask: op.optional("mask")?,
            windows,
            groups: groups.ok_or_else(|| Error::malformed("no deformable_groups"))?,
        }))
    }

    fn sizes(&self, filter: &[Dim]) -> Result<Sizes> {
        let fail = || {
            let shape = display_shape(filter);
            Error::malformed(format!("a filter of shape {shape}"))
        };
        let extents: Option<Vec<usize>> = filter.iter().map(Dim::extent).collect();
        let extents =
            extents.ok_or_else(|| Error::unsupported("a filter of extents that are not known"))?;
        let &[outputs, group_channels, height, width] = extents.as_slice() else {
            return Err(fail());
        };
        let channels = group_channels.checked_mul(self.windows.groups);
        let channels = channels.filter(|channels| {
            *channels > 0 && channels % self.groups == 0 && outputs % self.windows.groups == 0
        });
        let channels = channels.ok_or_else(fail)?;
        refuse_too_large(&[channels, outputs.max(2), height, width])?;
        Ok(Sizes {
            channels,
            outputs,
            kernel: [height, width],
        })
    }

    /// The taps of each window along an axis of the result, before they are moved: `start` for the
    /// first, and so on.
    fn window(&self, axis: usize, kernel: usize) -> WindowAxis {
        // Paddings are as many for an image of any extent.
        self.windows.axis(axis, 0, kernel)
    }

    /// Emits where each tap lies along an axis of the padded image, `[n, groups · taps, …]`, at most one
    /// element beyond the image.
    fn positions(
        &self,
        g: &mut Lowering<'_>,
        offset: TensorId,
        sizes: &Sizes,
        axis: usize,
    ) -> Result<TensorId> {
        let dtype = g.dtype(self.x);
        let window = self.window(axis, sizes.kernel[axis]);
        let (starts, ends) = (g.vector(&[axis as i64]), g.vector(&[i64::MAX]));
        let (axes, steps) = (g.vector(&[1]), g.vector(&[2]));
        let moves = g.node("Slice", &[offset, starts, ends, axes, steps], []);
        // Of the padded image, whose first element is number 0.
        let first = 1.0 - window.pads[0] as f64;
        let taps = (0..self.groups * sizes.taps()).map(|tap| {
            let tap = tap % sizes.taps();
            let along = [tap / sizes.kernel[1], tap % sizes.kernel[1]][axis];
            first + (along * window.dilation) as f64
        });
        let taps = Tensor::from_elements(&[self.groups * sizes.taps(), 1, 1], taps.collect())?;
        let taps = g.constant(taps.cast(dtype));
        let windows = self.starts(g, offset, axis, window.stride);
        // Those of rows stand below each other.
        let windows = g.unsqueeze(windows, [&[1][..], &[]][axis]);
        let regular = g.node("Add", &[taps, windows], []);
        let positions = g.node("Add", &[moves, regular], []);
        let zero = g.scalar(dtype, 0.0);
        let last = self.last(g, axis)?;
        Ok(g.clip(positions, dtype, zero, last))
    }

    /// Emits where the windows along an axis start.
    fn starts(
        &self,
        g: &mut Lowering<'_>,
        offset: TensorId,
        axis: usize,
        stride: usize,
    ) -> TensorId {
        let dtype = g.dtype(self.x);
        let count = g.shape(self.offset)[axis + 2].extent();
        if let Some(count) = count.filter(|count| *count <= LONGEST) {
            let starts = (0..count).map(|start| (start * stride) as f64);
            return g.constant(Tensor::vector(starts.collect::<Vec<_>>()).cast(dtype));
        }
        let axis = axis as i64 + 2;
        let count = g.shape_slice(offset, axis, axis + 1);
        let numbers = g.count_up(count);
        let numbers = g.cast(numbers, DType::I64, dtype);
        let stride = g.scalar(dtype, stride as f64);
        g.node("Mul", &[numbers, stride], [])
    }

    /// The number of the last element of the padded image along an axis, as a scalar.
    fn last(&self, g: &mut Lowering<'_>, axis: usize) -> Result<TensorId> {
        let dtype = g.dtype(self.x);
        if let Some(extent) = g.shape(self.x)[axis + 2].extent() {
            return Ok(g.scalar(dtype, extent as f64 + 1.0));
        }
        let x = g.value(self.x)?;
        let axis = axis as i64 + 2;
        let extent = g.shape_slice(x, axis, axis + 1);
        let extent = g.squeeze(extent, &[0]);
        let extent = g.cast(extent, DType::I64, dtype);
        let one = g.scalar(dtype, 1.0);
        Ok(g.node("Add", &[extent, one], []))
    }

    /// Emits the two elements around each position along an axis, with their shares.
    fn neighbours(
        &self,
        g: &mut Lowering<'_>,
        positions: TensorId,
        axis: usize,
    ) -> Result<[(TensorId, TensorId); 2]> {
        let dtype = g.dtype(self.x);
        let one = g.scalar(dtype, 1.0);
        let last = self.last(g, axis)?;
        let before = g.node("Floor", &[positions], []);
        let behind = g.node("Add", &[before, one], []);
        // Behind the last one lies nothing, and it has no share.
        let behind = g.extreme("Min", behind, last, dtype);
        let share = g.node("Sub", &[positions, before], []);
        let rest = g.node("Sub", &[one, share], []);
        let [before, behind] = [before, behind].map(|x| g.cast(x, dtype, DType::I64));
        Ok([(before, rest), (behind, share)])
    }

    /// Emits the elements of all windows as columns, `[n · groups, taps, windows, c / groups]`.
    fn columns(&self, g: &mut Lowering<'_>, sizes: &Sizes) -> Result<TensorId> {
        let (taps, channels) = (sizes.taps() as i64, (sizes.channels / self.groups) as i64);
        let offset = g.value(self.offset)?;
        let flat = g.vector(&[0, self.groups as i64 * taps, -1]);
        let grouped = g.vector(&[-1, taps, 0]);
        let by_group = |g: &mut Lowering<'_>, x: TensorId| {
            let x = g.node("Reshape", &[x, flat], []);
            g.node("Reshape", &[x, grouped], [])
        };
        let mut along = Vec::new();
        for axis in 0..2 {
            let positions = self.positions(g, offset, sizes, axis)?;
            let positions = by_group(g, positions);
            along.push(self.neighbours(g, positions, axis)?);
        }
        let (rows, lines, width) = self.rows(g, channels)?;
        let mut sum = None;
        for (y, y_share) in along[0] {
            let start = g.node("Mul", &[y, width], []);
            let start = g.node("Add", &[start, lines], []);
            for (x, x_share) in along[1] {
                let position = g.node("Add", &[start, x], []);
                let elements = g.node("Gather", &[rows, position], [("axis", NodeAttr::Int(0))]);
                let share = g.node("Mul", &[y_share, x_share], []);
                let share = g.unsqueeze(share, &[3]);
                let part = g.node("Mul", &[elements, share], []);
                sum = Some(match sum {
                    Some(sum) => g.node("Add", &[sum, part], []),
                    None => part,
                });
            }
        }
        let columns = sum.ok_or_else(|| Error::internal("a blend of nothing"))?;
        let Some(mask) = self.mask else {
            return Ok(columns);
        };
        let mask = g.value(mask)?;
        let mask = by_group(g, mask);
        let mask = g.unsqueeze(mask, &[3]);
        Ok(g.node("Mul", &[columns, mask], []))
    }

    /// Emits the elements of all images, padded by one zero on each side, as rows of the channels of a
    /// group; the number of the first row of each group, `[n · groups, 1, 1]`; and that of those in a
    /// line.
    fn rows(&self, g: &mut Lowering<'_>, channels: i64) -> Result<(TensorId, TensorId, TensorId)> {
        let dtype = g.dtype(self.x);
        let x = g.value(self.x)?;
        let x = if self.groups == 1 {
            x
        } else {
            let grouped = g.vector(&[-1, channels, 0, 0]);
            g.node("Reshape", &[x, grouped], [])
        };
        let pads = g.vector(&[0, 0, 1, 1, 0, 0, 1, 1]);
        let zero = g.scalar(dtype, 0.0);
        let mode = ("mode", NodeAttr::String("constant"));
        let x = g.node("Pad", &[x, pads, zero], [mode]);
        let images = g.shape_slice(x, 0, 1);
        let images = g.count_up(images);
        let height = g.shape_slice(x, 2, 3);
        let width = g.shape_slice(x, 3, 4);
        let plane = g.node("Mul", &[height, width], []);
        let starts = g.node("Mul", &[images, plane], []);
        let starts = g.unsqueeze(starts, &[1, 2]);
        let x = g.transpose(x, &[0, 2, 3, 1]);
        let rows = g.vector(&[-1, channels]);
        Ok((g.node("Reshape", &[x, rows], []), starts, width))
    }

    /// Emits the convolution in terms of older operators.
    fn decompose(&self, g: &mut Lowering<'_>, sizes: &Sizes) -> Result<TensorId> {
        let columns = self.columns(g, sizes)?;
        let columns = g.transpose(columns, &[0, 3, 1, 2]);
        let groups = self.windows.groups as i64;
        let depth = (sizes.channels * sizes.taps()) as i64 / groups;
        let grouped = g.vector(&[-1, groups, depth, 0]);
        let columns = g.node("Reshape", &[columns, grouped], []);
        let filter = g.value(self.filter)?;
        let matrices = g.vector(&[groups, sizes.outputs as i64 / groups, depth]);
        let filter = g.node("Reshape", &[filter, matrices], []);
        let y = g.node("MatMul", &[filter, columns], []);
        let offset = g.value(self.offset)?;
        let channels = g.vector(&[0, sizes.outputs as i64]);
        let image = g.shape_slice(offset, 2, 4);
        let shape = g.concat(&[channels, image], 0);
        Ok(g.node("Reshape", &[y, shape], []))
    }

    /// What the taps of all windows of a part of the channels are made of.
    fn points<T: Real>(&self, offsets: &[T], mask: Option<&[T]>, extents: &Convolved) -> Points {
        let [rows, columns] = extents.windows;
        let (windows, taps) = (rows * columns, extents.axes.map(|axis| axis.kernel));
        let places = (0..taps[0] * taps[1]).flat_map(|tap| (0..windows).map(move |w| (tap, w)));
        let points = places.map(|(tap, window)| {
            let number = [
                (tap / taps[1], window / columns),
                (tap % taps[1], window % columns),
            ];
            let along = [0, 1].map(|axis| {
                let (
                    WindowAxis {
                        stride,
                        dilation,
                        pads,
                        ..
                    },
                    (tap_along, step),
                ) = (extents.axes[axis], number[axis]);
                let regular = (step * stride + tap_along * dilation) as f64 - pads[0] as f64;
                let moved = offsets[(2 * tap + axis) * windows + window];
                blend(Element::to_f64(T::from_f64(regular) + moved))
            });
            let mut point = point(&along, &extents.image);
            if let Some(mask) = mask {
                let factor = Element::to_f64(mask[tap * windows + window]);
                point.iter_mut().for_each(|tap| tap.weight *= factor);
            }
            point
        });
        points.collect()
    }

    fn convolve<T: Real>(
        &self,
        [x, offset, filter]: [&Array<T>; 3],
        mask: Option<&Array<T>>,
    ) -> Result<Array<T>> {
        let dims = |x: &Array<T>| x.shape().iter().map(|e| Dim::from(*e)).collect::<Vec<_>>();
        let mask_shape = mask.map(dims);
        let shape = self.shape(
            &dims(x),
            &dims(offset),
            &dims(filter),
            mask_shape.as_deref(),
        )?;
        let sizes = self.sizes(&dims(filter))?;
        let [n, c, h, w] = Layout::ChannelsFirst.planar(x.shape())?;
        let [_, _, rows, columns] = Layout::ChannelsFirst.planar(offset.shape())?;
        let extents = Convolved {
            axes: [0, 1].map(|axis| self.window(axis, sizes.kernel[axis])),
            image: [h, w],
            windows: [rows, columns],
        };
        let due = |each: usize| [n, each * self.groups * sizes.taps(), rows, columns];
        if shape[2..] != [Dim::from(rows), Dim::from(columns)]
            || offset.shape() != due(2)
            || mask.is_some_and(|mask| mask.shape() != due(1))
        {
            return Err(Error::malformed("offsets for another number of windows"));
        }
        let windows = rows * columns;
        let elements = |x: &Array<T>| x.iter().copied().collect::<Vec<T>>();
        let offsets = elements(offset);
        let mask = mask.map(elements);
        let each = sizes.taps() * windows;
        let points = (0..n * self.groups).map(|group| {
            let mask = mask.as_deref().map(|mask| &mask[group * each..][..each]);
            self.points(&offsets[group * 2 * each..][..2 * each], mask, &extents)
        });
        let points: Vec<Points> = points.collect();
        let x = map::reshape(x, &[n * self.groups, c / self.groups, h, w])?;
        let sampled = sample(&x, &points, &[sizes.taps(), windows])?;
        let (groups, outputs) = (self.windows.groups, sizes.outputs);
        let depth = c / groups * sizes.taps();
        let sampled = map::reshape(&sampled.into(), &[n, groups, depth, windows])?;
        let filter = map::reshape(filter, &[1, groups, outputs / groups, depth])?;
        map::reshape(
            &matmul(&filter, &sampled)?.into(),
            &[n, outputs, rows, columns],
        )
    }

    /// The shape of the result.
    fn shape(
        &self,
        x: &[Dim],
        offset: &[Dim],
        filter: &[Dim],
        mask: Option<&[Dim]>,
    ) -> Result<Vec<Dim>> {
        let sizes = self.sizes(filter)?;
        let [batch, channels, height, width] = Layout::ChannelsFirst.planar(x)?;
        let [_, moves, rows, columns] = Layout::ChannelsFirst.planar(offset)?;
        let moved = self.groups.checked_mul(sizes.taps());
        let doubled = moved.and_then(|moved| moved.checked_mul(2));
        let is = |dim: &Dim, extent| dim.extent().is_none_or(|known| Some(known) == extent);
        let factors = mask
            .map(|mask| Layout::ChannelsFirst.planar(mask))
            .transpose()?;
        let fits = is(&channels, Some(sizes.channels))
            && is(&moves, doubled)
            && factors.is_none_or(|[_, factors, ..]| is(&factors, moved));
        if !fits {
            let (offset, filter) = (display_shape(offset), display_shape(filter));
            return Err(Error::malformed(format!(
                "offsets of shape {offset} for a filter of shape {filter}"
            )));
        }
        let mut shape = vec![batch, Dim::from(sizes.outputs)];
        for (axis, (image, given)) in [(height, rows), (width, columns)].into_iter().enumerate() {
            let window = self.window(axis, sizes.kernel[axis]);
            let count = image
                .extent()
                .map(|image| window.count(image))
                .transpose()?;
            shape.push(count.map_or(given, Dim::from));
        }
        Ok(shape)
    }
}

/// The extents of a convolution: of the filter, the image and the result.
struct Convolved {
    axes: [WindowAxis; 2],
    image: [usize; 2],
    windows: [usize; 2],
}

impl Function for DeformableConv {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let shape = self.shape(
            facts.shape(self.x),
            facts.shape(self.offset),
            facts.shape(self.filter),
            self.mask.map(|mask| facts.shape(mask)),
        )?;
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let sizes = self.sizes(g.shape(self.filter))?;
        let mut inputs = vec![
            Some(g.value(self.x)?),
            Some(g.value(self.filter)?),
            Some(g.value(self.offset)?),
        ];
        if let Some(mask) = self.mask {
            inputs.extend([None, Some(g.value(mask)?)]);
        }
        let own = [
            ("kernel_shape", ints(&sizes.kernel)),
            ("offset_group", NodeAttr::Int(self.groups as i64)),
            self.windows.padding.attr(),
        ];
        let attrs = self.windows.attrs().into_iter().chain(own);
        match g.deform_conv(inputs, attrs) {
            Some(y) => Ok(y),
            None => self.decompose(g, &sizes),
        }
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (offset, filter) = (values.get(self.offset)?, values.get(self.filter)?);
        let mask = self.mask.map(|mask| values.get(mask)).transpose()?;
        with_real!(values.get(self.x)?, x => {
            let (offset, filter) = (same_type(offset, x)?, same_type(filter, x)?);
            let mask = mask.map(|mask| same_type(mask, x)).transpose()?;
            self.convolve([x, offset, filter], mask)?
        })
    }

    fn macs(&self, facts: &Facts<'_>) -> Macs {
        match self.infer(facts) {
            Ok(result) => filter_macs(facts, &result.shape, self.filter),
            Err(_) => Macs::Unknown,
        }
    }
}
