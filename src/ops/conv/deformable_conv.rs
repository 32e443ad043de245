//! Deformable convolution (`deformable_conv`), whose kernel reads the input at offsets that another tensor gives.

use super::geometry::{ConvGeometry, filter_macs};
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::conv::WindowAxis;
use crate::kernels::grid::{Points, blend, point, sample};
use crate::kernels::matmul::matmul;
use crate::kernels::{Real, map, with_real};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, Macs, OpDef, OpReader, Parsed, Values,
};
use crate::ops::shared::image::{Layout, Padding, ints, non_negative_i32};
use crate::ops::shared::values::same_type;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, DType, Dim, Element, Tensor, display_shape, refuse_too_large};

/// How many batch items Paddle's kernel convolves at a time, which does not change the result.
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
.with_opset(10)
.with_dtypes(FLOATS)
.with_accuracy(Accuracy::Accumulated)];

/// A convolution of `x` (`[n, c, h, w]`) with `filter` (`[o, c / groups, kh, kw]`) in which each tap of each window is
/// moved by an offset and multiplied by an element of `mask`. Positions between elements are interpolated
/// bilinearly, with zeros beyond the edges of `x`.
///
/// With `taps = kh · kw`, `offset` is `[n, 2 · deformable_groups · taps, …]`, where the vertical offset of each tap
/// stands before its horizontal one, and `mask` is `[n, deformable_groups · taps, …]`. The channels of `x` are
/// divided into the `deformable_groups`, each of which has its own offsets.
///
/// Paddle: `phi/kernels/impl/deformable_conv_kernel_impl.h`. ONNX: DeformConv; before opset 19 a Gather of each of
/// the four elements around each tap, and MatMul.
struct DeformableConv {
    x: ValueId,
    offset: ValueId,
    filter: ValueId,
    mask: Option<ValueId>,
    geometry: ConvGeometry,
    /// The number of `deformable_groups`.
    groups: usize,
}

/// The longest list of positions that is written as a constant. Longer ones are computed in the run.
const LONGEST: usize = 1 << 16;

/// The extents that follow from the shape of the filter, which has to be known before a run.
struct FilterExtents {
    /// The channels of the input, those of all groups.
    channels: usize,
    /// The channels of the result.
    outputs: usize,
    kernel: [usize; 2],
}

impl FilterExtents {
    /// The number of elements of the kernel.
    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }
}

impl DeformableConv {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let groups: i64 = op.attr_or("deformable_groups", 1)?;
        op.ignore("im2col_step"); // See `BATCHING`.
        let geometry = ConvGeometry::parse(op, 2)?;
        if geometry.padding == Padding::Same || geometry.layout != Layout::ChannelsFirst {
            return Err(Error::malformed(
                "a layout or paddings that the op does not have",
            ));
        }
        let groups = non_negative_i32(groups).filter(|groups| *groups > 0);
        Ok(Box::new(Self {
            x: op.operand("x")?,
            offset: op.operand("offset")?,
            filter: op.operand("filter")?,
            mask: op.optional("mask")?,
            geometry,
            groups: groups.ok_or_else(|| Error::malformed("no deformable_groups"))?,
        }))
    }

    /// The extents that follow from a filter of this shape.
    ///
    /// # Errors
    /// When an extent is not known, or the groups don't divide the channels.
    fn sizes(&self, filter: &[Dim]) -> Result<FilterExtents> {
        let fail = || {
            let shape = display_shape(filter);
            Error::malformed(format!("a filter of shape {shape}"))
        };
        let extents: Option<Vec<usize>> = filter.iter().map(Dim::extent).collect();
        let extents = extents
            .ok_or_else(|| Error::needs_extents("a filter of extents that are not known"))?;
        let &[outputs, group_channels, height, width] = extents.as_slice() else {
            return Err(fail());
        };
        let channels = group_channels.checked_mul(self.geometry.groups);
        let channels = channels.filter(|channels| {
            *channels > 0 && channels % self.groups == 0 && outputs % self.geometry.groups == 0
        });
        let channels = channels.ok_or_else(fail)?;
        refuse_too_large(&[channels, outputs.max(2), height, width])?;
        Ok(FilterExtents {
            channels,
            outputs,
            kernel: [height, width],
        })
    }

    /// The windows along a spatial axis, before the offsets move their taps.
    fn window(&self, axis: usize, kernel: usize) -> WindowAxis {
        // Explicit padding is the same for every extent, so that any will do.
        self.geometry.axis(axis, 0, kernel)
    }

    /// Emits the positions of the taps along a spatial axis of the padded input that `rows` makes,
    /// `[n, groups · taps, …]`. They are clipped to the zeros around the input.
    fn positions(
        &self,
        g: &mut Lowering<'_>,
        offset: TensorId,
        sizes: &FilterExtents,
        axis: usize,
    ) -> Result<TensorId> {
        let dtype = g.dtype(self.x);
        let window = self.window(axis, sizes.kernel[axis]);
        let (starts, ends) = (g.vector(&[axis as i64]), g.vector(&[i64::MAX]));
        let (axes, steps) = (g.vector(&[1]), g.vector(&[2]));
        let moves = g.node("Slice", &[offset, starts, ends, axes, steps], []);
        // In the padded input, index 0 is a zero, and the first element of the input has index 1.
        let first = 1.0 - window.pads[0] as f64;
        let taps = (0..self.groups * sizes.taps()).map(|tap| {
            let tap = tap % sizes.taps();
            let along = [tap / sizes.kernel[1], tap % sizes.kernel[1]][axis];
            first + (along * window.dilation) as f64
        });
        let taps = Tensor::from_elements(&[self.groups * sizes.taps(), 1, 1], taps.collect())?;
        let taps = g.constant(taps.cast(dtype));
        let windows = self.starts(g, offset, axis, window.stride);
        // Vertical positions form a column, to be broadcast along the rows.
        let windows = g.unsqueeze(windows, [&[1][..], &[]][axis]);
        let regular = g.node("Add", &[taps, windows], []);
        let positions = g.node("Add", &[moves, regular], []);
        let zero = g.scalar(dtype, 0.0);
        let last = self.last(g, axis)?;
        Ok(g.clip(positions, dtype, zero, last))
    }

    /// Emits the position of the first tap of each window along a spatial axis, from the start of the op's padding, as
    /// a vector of the element type of `x`.
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

    /// Emits the last index along a spatial axis of the padded input that `rows` makes, as a scalar of the element
    /// type of `x`.
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

    /// Emits the indices of the two elements around each position along a spatial axis, with their weights.
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
        // Nothing lies behind the last element, but there the weight is 0.
        let behind = g.extreme("Min", behind, last, dtype);
        let share = g.node("Sub", &[positions, before], []);
        let rest = g.node("Sub", &[one, share], []);
        let [before, behind] = [before, behind].map(|x| g.cast(x, dtype, DType::I64));
        Ok([(before, rest), (behind, share)])
    }

    /// Emits the sampled elements of all windows, times the mask: `[n · groups, taps, windows, c / groups]`, with
    /// the `deformable_groups` as groups.
    fn columns(&self, g: &mut Lowering<'_>, sizes: &FilterExtents) -> Result<TensorId> {
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

    /// Emits three tensors: `x`, padded by one zero on each side, as a matrix with a row of `channels` elements for
    /// each spatial position of each group of each batch item; the number of the first row of each group,
    /// `[n · groups, 1, 1]`; and the width of the padded input, `[1]`.
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

    /// Emits the convolution for opsets without DeformConv.
    fn decompose(&self, g: &mut Lowering<'_>, sizes: &FilterExtents) -> Result<TensorId> {
        let columns = self.columns(g, sizes)?;
        let columns = g.transpose(columns, &[0, 3, 1, 2]);
        let groups = self.geometry.groups as i64;
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

    /// The elements of `x`, with their weights, that each tap of each window samples in one of the `deformable_groups`
    /// of one batch item.
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
        let (groups, outputs) = (self.geometry.groups, sizes.outputs);
        let depth = c / groups * sizes.taps();
        let sampled = map::reshape(&sampled.into(), &[n, groups, depth, windows])?;
        let filter = map::reshape(filter, &[1, groups, outputs / groups, depth])?;
        map::reshape(
            &matmul(&filter, &sampled)?.into(),
            &[n, outputs, rows, columns],
        )
    }

    /// The shape of the result.
    ///
    /// # Errors
    /// When the shapes of the operands don't fit each other.
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

/// The geometry of a convolution in a run, along both spatial axes.
struct Convolved {
    axes: [WindowAxis; 2],
    /// The extents of the input.
    image: [usize; 2],
    /// The extents of the result: it has an element for each window.
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
            self.geometry.padding.attr(),
        ];
        let attrs = self.geometry.attrs().into_iter().chain(own);
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
