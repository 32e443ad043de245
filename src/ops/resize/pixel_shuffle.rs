//! Elements that move between channels and spatial axes (`pixel_shuffle`, `pixel_unshuffle`), between channels
//! (`channel_shuffle`), and between frames (`temporal_shift`).
//!
//! Paddle: `phi/kernels/impl/{pixel_shuffle,pixel_unshuffle,channel_shuffle}_kernel_impl.h`,
//! `phi/kernels/temporal_shift_kernel.h`. ONNX: DepthToSpace; SpaceToDepth, Reshape and Transpose; Reshape and
//! Transpose; Slice, Pad and Concat.

use ndarray::{Axis, Slice};

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::map;
use crate::operator::{Arg, FLOATS, Form, Function, OpDef, OpReader, Parse, Parsed, Values};
use crate::ops::shared::image::Layout;
use crate::ops::shared::pointwise::plain;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, Dim, Element, Tensor, with_array};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "temporal_shift",
        &[Arg::Tensor("x")],
        &[plain(&["temporal_shift"])],
        TemporalShift::parse,
    )
    .with_dtypes(FLOATS),
    moving("pixel_shuffle", &[plain(&["pixel_shuffle"])], |op| {
        Shuffle::parse(op, "upscale_factor", Shuffling::ToPixels)
    })
    .with_opset(11),
    moving("pixel_unshuffle", &[plain(&["pixel_unshuffle"])], |op| {
        Shuffle::parse(op, "downscale_factor", Shuffling::ToChannels)
    })
    .with_limits(&["an open number of channels"]),
    moving(
        "channel_shuffle",
        &[
            plain(&["channel_shuffle"]),
            plain(&["shuffle_channel"]).renaming(&[("group", "groups")]),
        ],
        |op| Shuffle::parse(op, "groups", Shuffling::Channels),
    )
    .with_limits(&["an open number of channels"]),
];

/// Channels of videos that are shifted in time. `x` and the result are `[n · t, c, h, w]` (or `[n · t, h, w, c]`), with
/// `t` frames for each video. The first `⌊c · ratio⌋` channels come from the frame before, those up to
/// `⌊2 c · ratio⌋` from the frame behind, with zeros beyond the video; the others stay.
struct TemporalShift {
    x: ValueId,
    /// The number of frames of each video, `seg_num`.
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

    /// The end of the channels that come from the frame before, and of those that come from the frame behind.
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
            .ok_or_else(|| Error::needs_extents("a number of channels that is not known"))?;
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

const fn moving(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    OpDef::new(name, &[Arg::Tensor("x")], legacy, parse).with_dtypes(FLOATS)
}

/// Which elements a shuffle moves, where `r` is its factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shuffling {
    /// `[n, c · r², h, w]` to `[n, c, h · r, w · r]`: channel `(c, i, j)` has row `i` and column `j` of each block.
    /// ONNX: DepthToSpace.
    ToPixels,
    /// `[n, c, h · r, w · r]` to `[n, c · r², h, w]`, the inverse. ONNX: SpaceToDepth, which puts the channels in the
    /// order `(i, j, c)`, and Transpose.
    ToChannels,
    /// Channel `(i, c)` of `r` groups becomes channel `(c, i)`. ONNX: Transpose.
    Channels,
}

/// A pixel shuffle, its inverse, or a channel shuffle of `x` (`[n, c, h, w]`, or `[n, h, w, c]`).
struct Shuffle {
    x: ValueId,
    /// The factor between the extents, or the number of groups of channels.
    factor: usize,
    shuffling: Shuffling,
    layout: Layout,
}

impl Shuffle {
    fn parse(op: &mut OpReader<'_>, factor: &str, shuffling: Shuffling) -> Parsed {
        let value: i64 = op.attr_or(factor, 1)?;
        let number = usize::try_from(value)
            .ok()
            .filter(|n| (1..=1 << 15).contains(n));
        Ok(Box::new(Self {
            x: op.operand("x")?,
            factor: number.ok_or_else(|| Error::malformed(format!("{factor} {value}")))?,
            shuffling,
            layout: Layout::parse(op)?,
        }))
    }

    /// The extents `[n, c, h, w]` of the result.
    fn shuffled(&self, [n, c, h, w]: [Dim; 4]) -> Result<[Dim; 4]> {
        let r = self.factor as i64;
        let times = |dim: &Dim, factor: i64| match dim.known() {
            Some(extent) => Dim::Known(extent.saturating_mul(factor)),
            None => Dim::Unknown,
        };
        let over = |dim: &Dim, divisor: i64| match dim.known() {
            Some(extent) if extent % divisor != 0 => Err(Error::malformed(format!(
                "{extent} elements in parts of {divisor}"
            ))),
            Some(extent) => Ok(Dim::Known(extent / divisor)),
            None => Ok(Dim::Unknown),
        };
        Ok(match self.shuffling {
            Shuffling::ToPixels => [n, over(&c, r * r)?, times(&h, r), times(&w, r)],
            Shuffling::ToChannels => [n, times(&c, r * r), over(&h, r)?, over(&w, r)?],
            Shuffling::Channels => {
                over(&c, r)?;
                [n, c, h, w]
            }
        })
    }

    fn shuffle<T: Element>(&self, x: &Array<T>) -> Result<Array<T>> {
        let r = self.factor;
        let [n, c, h, w] = self.layout.planar(x.shape())?;
        let dims = [n, c, h, w].map(Dim::from);
        let shape = self
            .shuffled(dims)?
            .map(|dim| dim.extent().unwrap_or_default());
        let (split, perm): (Vec<usize>, &[usize]) = match self.shuffling {
            Shuffling::ToPixels => (vec![n, shape[1], r, r, h, w], &[0, 1, 4, 2, 5, 3]),
            Shuffling::ToChannels => (vec![n, c, shape[2], r, shape[3], r], &[0, 1, 3, 5, 2, 4]),
            Shuffling::Channels => (vec![n, r, c / r, h, w], &[0, 2, 1, 3, 4]),
        };
        let x = map::reshape(&self.layout.view_from(x.clone()), &split)?;
        let moved = map::reshape(&x.permuted_axes(perm), &shape)?;
        Ok(self.layout.view_to(moved))
    }
}

/// Emits a channel shuffle: channel `(i, c)` of `groups` groups becomes channel `(c, i)`.
fn shuffle_channels(g: &mut Lowering<'_>, x: TensorId, groups: usize, channels: i64) -> TensorId {
    let groups = groups as i64;
    let shape = g.node("Shape", &[x], []);
    let split = g.vector(&[0, groups, channels / groups, -1]);
    let split = g.node("Reshape", &[x, split], []);
    let swapped = g.transpose(split, &[0, 2, 1, 3]);
    g.node("Reshape", &[swapped, shape], [])
}

impl Function for Shuffle {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let extents = self.layout.planar(facts.shape(self.x))?;
        let shape = self.layout.shape(self.shuffled(extents)?.into());
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let [_, channels, ..] = self.layout.planar(g.shape(self.x))?;
        let channels = || {
            channels
                .known()
                .filter(|channels| *channels > 0)
                .ok_or_else(|| Error::needs_extents("a number of channels that is not known"))
        };
        let r = self.factor;
        let size = ("blocksize", NodeAttr::Int(r as i64));
        let x = g.value(self.x)?;
        let x = self.layout.lower_from(g, x, 4);
        let y = match self.shuffling {
            Shuffling::ToPixels => g.node(
                "DepthToSpace",
                &[x],
                [size, ("mode", NodeAttr::String("CRD"))],
            ),
            Shuffling::ToChannels => {
                let channels = channels()?.saturating_mul((r * r) as i64);
                let blocks = g.node("SpaceToDepth", &[x], [size]);
                shuffle_channels(g, blocks, r * r, channels)
            }
            Shuffling::Channels => shuffle_channels(g, x, r, channels()?),
        };
        Ok(self.layout.lower_to(g, y, 4))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        with_array!(values.get(self.x)?, x => self.shuffle(x).map(Element::tensor))
    }
}
