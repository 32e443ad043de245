//! A part of a tensor by its offset and shape, and parts that move along the time of a video.
//!
//! Paddle: `phi/kernels/{crop,temporal_shift}_kernel.h`. ONNX: Slice, Pad, Concat.

use std::collections::BTreeMap;

use ndarray::{Axis, Slice};

use super::def::{Arg, FLOATS, Form, From, OpDef};
use super::image::Layout;
use super::operator::{Fact, Facts, Function, Parsed};
use super::reader::OpReader;
use super::unary::plain;
use crate::error::{Error, Result};
use crate::lower::{Lowering, NodeAttr, TensorId};
use crate::normalise::{Builder, Draft};
use crate::program::{Attr, Operand, ValueId};
use crate::reference::{Values, map};
use crate::tensor::{Array, DType, Dim, Element, Tensor, display_shape, with_array};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "crop",
        &[
            Arg::Tensor("x"),
            Arg::IntArray("shape"),
            Arg::IntArray("offsets"),
        ],
        &[
            Form::legacy(
                &["crop_tensor"],
                &[
                    From::Slot("X"),
                    From::IntArray {
                        attr: "shape",
                        slots: &["Shape", "ShapeTensor"],
                    },
                    From::IntArray {
                        attr: "offsets",
                        slots: &["Offsets", "OffsetsTensor"],
                    },
                ],
                &["Out"],
            ),
            // The first version may be given a tensor of the shape instead.
            Form::legacy(
                &["crop"],
                &[
                    From::Slot("X"),
                    From::Optional("Y"),
                    From::IntArray {
                        attr: "offsets",
                        slots: &["Offsets"],
                    },
                ],
                &["Out"],
            )
            .rewriting(like_another),
        ],
        Crop::parse,
    ),
    OpDef::new(
        "temporal_shift",
        &[Arg::Tensor("x")],
        &[plain(&["temporal_shift"])],
        TemporalShift::parse,
    )
    .taking(FLOATS),
];

/// Puts the shape of the operand `shape` in its place if that is given, else the attribute.
fn like_another(builder: &mut Builder, mut draft: Draft) -> Result<Vec<ValueId>> {
    let shape = draft.attrs.remove("shape");
    let shape = match (draft.operands.get(1), shape) {
        (Some(Operand::One(like)), _) => {
            let ty = (DType::I32, vec![Dim::from(builder.rank(*like))]);
            builder.insert("shape", vec![Operand::One(*like)], BTreeMap::new(), ty)
        }
        (_, Some(Attr::Ints(shape))) => builder.constant(Tensor::vector(shape)),
        _ => return Err(Error::malformed("a part of no shape")),
    };
    if let Some(operand) = draft.operands.get_mut(1) {
        *operand = Operand::One(shape);
    }
    Ok(builder.emit(draft))
}

/// The elements from `offsets` on, as many as `shape` says, or to the end where that is -1.
struct Crop {
    x: ValueId,
    shape: ValueId,
    offsets: ValueId,
}

impl Crop {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            shape: op.operand("shape")?,
            offsets: op.operand("offsets")?,
        }))
    }

    /// Refuses what is not one number for each axis, none of them negative.
    fn refuse(rank: usize, shape: &[Dim], offsets: &[i64]) -> Result<()> {
        let is_odd = |dim: &Dim| dim.known().is_some_and(|extent| extent < -1);
        if shape.len() != rank
            || offsets.len() != rank
            || shape.iter().any(is_odd)
            || offsets.iter().any(|offset| *offset < 0)
        {
            let (shape, offsets) = (display_shape(shape), display_shape(offsets));
            return Err(Error::malformed(format!(
                "a part of shape {shape} at {offsets} of a tensor of rank {rank}"
            )));
        }
        Ok(())
    }
}

impl Function for Crop {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.get(self.x);
        let rank = x.shape.len();
        let offsets = facts.integers(self.offsets);
        let target = match facts.content(self.shape) {
            Some(content) => content.to_vec(),
            None => vec![Dim::Unknown; rank],
        };
        let known = offsets.clone().unwrap_or_else(|| vec![0; rank]);
        Self::refuse(rank, &target, &known)?;
        let axes = x.shape.iter().zip(target).enumerate();
        let shape = axes.map(|(axis, (extent, target))| {
            let offset = offsets.as_ref().map(|offsets| offsets[axis]);
            match (target, extent, offset) {
                (Dim::Known(-1), Dim::Known(extent), Some(offset)) => {
                    Dim::Known(extent.saturating_sub(offset))
                }
                (Dim::Known(-1), extent, Some(0)) => extent.clone(),
                (Dim::Known(-1), ..) => Dim::Unknown,
                (target, ..) => target,
            }
        });
        Ok(Fact::new(x.dtype, shape.collect()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let rank = g.rank(self.x);
        let axes: Vec<i64> = (0..rank as i64).collect();
        let axes = g.vector(&axes);
        let starts = g.int_array(self.offsets)?;
        let known = g.integers(self.shape).zip(g.integers(self.offsets));
        let ends = match known {
            Some((shape, offsets)) => {
                let ends = shape.iter().zip(&offsets);
                let ends = ends.map(|(extent, offset)| match extent {
                    -1 => i64::MAX,
                    extent => offset.saturating_add(*extent),
                });
                g.vector(&ends.collect::<Vec<_>>())
            }
            None => {
                let shape = g.int_array(self.shape)?;
                let ends = g.node("Add", &[starts, shape], []);
                let zero = g.constant(Tensor::scalar(0_i64));
                let no_end = g.constant(Tensor::scalar(i64::MAX));
                let is_open = g.node("Less", &[shape, zero], []);
                g.node("Where", &[is_open, no_end, ends], [])
            }
        };
        Ok(g.node("Slice", &[x, starts, ends, axes], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let (shape, offsets) = (values.integers(self.shape)?, values.integers(self.offsets)?);
        let dims: Vec<Dim> = shape.iter().copied().map(Dim::Known).collect();
        Self::refuse(x.shape().len(), &dims, &offsets)?;
        with_array!(x, x => {
            let mut view = x.view();
            for (axis, (extent, offset)) in shape.into_iter().zip(offsets).enumerate() {
                let whole = view.len_of(Axis(axis)) as i64;
                let end = if extent == -1 { whole } else { offset.saturating_add(extent) };
                if offset > end || end > whole {
                    let message = format!("elements {offset} to {end} of {whole}");
                    return Err(Error::malformed(message));
                }
                view.slice_axis_inplace(Axis(axis), Slice::from(offset as isize..end as isize));
            }
            Ok(Element::tensor(view.to_owned().into()))
        })
    }
}

/// Of `[n · t, c, h, w]`, the first `⌊c · ratio⌋` channels come from the frame before, those up to
/// `⌊2 c · ratio⌋` from the one behind, with zeros beyond the video.
struct TemporalShift {
    x: ValueId,
    frames: usize,
    ratio: f32,
    layout: Layout,
}

impl TemporalShift {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let frames: i64 = op.attr("seg_num")?;
        let ratio: f64 = op.attr_or("shift_ratio", 0.25)?;
        if !(0.0..=0.5).contains(&ratio) {
            return Err(Error::malformed(format!("a shift_ratio of {ratio}")));
        }
        let count = usize::try_from(frames).ok().filter(|frames| *frames > 0);
        Ok(Box::new(Self {
            x: op.operand("x")?,
            frames: count.ok_or_else(|| Error::malformed(format!("{frames} frames")))?,
            ratio: ratio as f32,
            layout: Layout::parse(op)?,
        }))
    }

    /// Where the channels end that come from the frame before, and those from the one behind.
    fn bounds(&self, channels: usize) -> [usize; 2] {
        let channels = channels as f32;
        [channels * self.ratio, channels * 2.0 * self.ratio].map(|bound| bound as usize)
    }

    fn shift<T: Element>(&self, x: &Array<T>) -> Result<Array<T>> {
        let [n, c, h, w] = self.layout.planar(x.shape())?;
        let x = self.layout.view_from(x.clone());
        let shape = [n / self.frames, self.frames, c, h, w];
        let x = map::reshape(&x, &shape)?;
        let mut y = x.to_owned();
        let [first, second] = self.bounds(c);
        let last = self.frames as isize - 1;
        let parts = [(0..first, 1..last + 1, 0..last, 0..1), {
            (first..second, 0..last, 1..last + 1, last..last + 1)
        }];
        for (channels, to, from, empty) in parts {
            let channels = Slice::from(channels.start as isize..channels.end as isize);
            let mut y = y.slice_axis_mut(Axis(2), channels);
            let x = x.slice_axis(Axis(2), channels);
            let moved = x.slice_axis(Axis(1), Slice::from(from));
            y.slice_axis_mut(Axis(1), Slice::from(to)).assign(&moved);
            y.slice_axis_mut(Axis(1), Slice::from(empty))
                .fill(T::default());
        }
        let y = map::reshape(&y.into(), &[n, c, h, w])?;
        Ok(self.layout.view_to(y))
    }
}

impl Function for TemporalShift {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.get(self.x);
        let [n, ..] = self.layout.planar(&x.shape)?;
        if n.extent().is_some_and(|n| n % self.frames != 0) {
            return Err(Error::malformed(format!(
                "{n} images in videos of {} frames",
                self.frames
            )));
        }
        Ok(Fact::new(x.dtype, x.shape.clone()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let [_, channels, ..] = self.layout.planar(g.shape(self.x))?;
        let channels = channels
            .extent()
            .ok_or_else(|| Error::unsupported("a number of channels that is not known"))?;
        let [first, second] = self.bounds(channels);
        let dtype = g.dtype(self.x);
        let x = g.value(self.x)?;
        let x = self.layout.lower_from(g, x, 4);
        let shape = g.node("Shape", &[x], []);
        let video = g.vector(&[-1, self.frames as i64]);
        let image = g.slice(shape, 1, 4, 0);
        let video = g.concat(&[video, image], 0);
        let video = g.node("Reshape", &[x, video], []);
        let zero = g.scalar(dtype, 0.0);
        let mut parts = Vec::new();
        let kept = (second..channels, 0, i64::MAX, [0; 2]);
        let bounds = [
            (0..first, 0, -1, [1, 0]),
            (first..second, 1, i64::MAX, [0, 1]),
            kept,
        ];
        for (channels, start, end, [before, after]) in bounds {
            if channels.is_empty() {
                continue;
            }
            let mut part = g.slice(video, channels.start as i64, channels.end as i64, 2);
            if before + after > 0 {
                part = g.slice(part, start, end, 1);
                let pads = g.vector(&[0, before, 0, 0, 0, 0, after, 0, 0, 0]);
                let mode = ("mode", NodeAttr::String("constant"));
                part = g.node("Pad", &[part, pads, zero], [mode]);
            }
            parts.push(part);
        }
        let y = g.concat(&parts, 2);
        let y = g.node("Reshape", &[y, shape], []);
        Ok(self.layout.lower_to(g, y, 4))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        with_array!(values.get(self.x)?, x => self.shift(x).map(Element::tensor))
    }
}
