//! Elements that change places: between channels and pixels, and along an axis.
//!
//! Paddle: `phi/kernels/impl/{pixel_shuffle,pixel_unshuffle,channel_shuffle}_kernel_impl.h`,
//! `phi/kernels/{flip,roll}_kernel.h`.

use ndarray::{Axis, Slice};

use super::def::{ANY, Arg, FLOATS, Form, From, OpDef};
use super::image::Layout;
use super::operator::{Fact, Facts, Function, Parsed};
use super::reader::OpReader;
use super::unary::plain;
use crate::error::{Error, Result};
use crate::lower::{Lowering, NodeAttr, TensorId};
use crate::normalise::{Builder, Draft};
use crate::program::{Attr, Operand, ValueId};
use crate::reference::{Values, map};
use crate::tensor::{Array, Dim, Element, Tensor, normalize_axis, with_array};

pub(super) const OPS: &[OpDef] = &[
    moving("pixel_shuffle", &[plain(&["pixel_shuffle"])], |op| {
        Shuffle::parse(op, "upscale_factor", Kind::ToPixels)
    }),
    moving("pixel_unshuffle", &[plain(&["pixel_unshuffle"])], |op| {
        Shuffle::parse(op, "downscale_factor", Kind::ToChannels)
    }),
    moving(
        "channel_shuffle",
        &[
            plain(&["channel_shuffle"]),
            plain(&["shuffle_channel"]).renaming(&[("group", "groups")]),
        ],
        |op| Shuffle::parse(op, "groups", Kind::Channels),
    ),
    moving("flip", &[plain(&["flip", "reverse"])], Flip::parse)
        .taking(ANY)
        .spelled(&[Form::pir(
            &["reverse"],
            &["x", "axis"],
            &[
                From::Slot("x"),
                From::IntArray {
                    attr: "axis",
                    slots: &["axis"],
                },
            ],
        )
        .rewriting(constant_axis)]),
    OpDef::new(
        "roll",
        &[Arg::Tensor("x"), Arg::IntArray("shifts")],
        &[Form::legacy(
            &["roll"],
            &[
                From::Slot("X"),
                From::IntArray {
                    attr: "shifts",
                    slots: &["ShiftsTensor"],
                },
            ],
            &["Out"],
        )],
        Roll::parse,
    ),
];

const fn moving(
    name: &'static str,
    legacy: &'static [Form],
    parse: fn(&mut OpReader<'_>) -> Parsed,
) -> OpDef {
    OpDef::new(name, &[Arg::Tensor("x")], legacy, parse).taking(FLOATS)
}

/// Makes an attribute of an operand that says which axes: ONNX takes them as constants.
fn constant_axis(builder: &mut Builder, mut draft: Draft) -> Result<Vec<ValueId>> {
    let axis = match draft.operands.pop() {
        Some(Operand::One(axis)) => builder.constant_value(axis).map(Tensor::to_i64_vec),
        _ => None,
    };
    let axis = axis.ok_or_else(|| Error::unsupported("axes that are not known before a run"))?;
    draft.attrs.insert("axis".to_owned(), Attr::Ints(axis));
    Ok(builder.emit(draft))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `[n, c · r², h, w]` to `[n, c, h · r, w · r]`: channel `(c, i, j)` has row `i` and column `j`
    /// of each block. ONNX: DepthToSpace.
    ToPixels,
    /// The way back. ONNX: SpaceToDepth, which puts the channels `(i, j, c)`.
    ToChannels,
    /// Channel `(i, c)` of as many groups becomes channel `(c, i)`.
    Channels,
}

/// Moves pixels of an image.
struct Shuffle {
    x: ValueId,
    factor: usize,
    kind: Kind,
    layout: Layout,
}

impl Shuffle {
    fn parse(op: &mut OpReader<'_>, factor: &str, kind: Kind) -> Parsed {
        let value: i64 = op.attr_or(factor, 1)?;
        let number = usize::try_from(value)
            .ok()
            .filter(|n| (1..=1 << 15).contains(n));
        Ok(Box::new(Self {
            x: op.operand("x")?,
            factor: number.ok_or_else(|| Error::malformed(format!("{factor} {value}")))?,
            kind,
            layout: Layout::parse(op)?,
        }))
    }

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
        Ok(match self.kind {
            Kind::ToPixels => [n, over(&c, r * r)?, times(&h, r), times(&w, r)],
            Kind::ToChannels => [n, times(&c, r * r), over(&h, r)?, over(&w, r)?],
            Kind::Channels => {
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
        let (split, perm): (Vec<usize>, &[usize]) = match self.kind {
            Kind::ToPixels => (vec![n, shape[1], r, r, h, w], &[0, 1, 4, 2, 5, 3]),
            Kind::ToChannels => (vec![n, c, shape[2], r, shape[3], r], &[0, 1, 3, 5, 2, 4]),
            Kind::Channels => (vec![n, r, c / r, h, w], &[0, 2, 1, 3, 4]),
        };
        let x = map::reshape(&self.layout.view_from(x.clone()), &split)?;
        let moved = map::reshape(&x.permuted_axes(perm), &shape)?;
        Ok(self.layout.view_to(moved))
    }
}

/// Emits what makes of channel `(i, c)` of `groups` groups channel `(c, i)`.
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
                .ok_or_else(|| Error::unsupported("a number of channels that is not known"))
        };
        let r = self.factor;
        let size = ("blocksize", NodeAttr::Int(r as i64));
        let x = g.value(self.x)?;
        let x = self.layout.lower_from(g, x, 4);
        let y = match self.kind {
            Kind::ToPixels => g.node(
                "DepthToSpace",
                &[x],
                [size, ("mode", NodeAttr::String("CRD"))],
            ),
            Kind::ToChannels => {
                let channels = channels()?.saturating_mul((r * r) as i64);
                let blocks = g.node("SpaceToDepth", &[x], [size]);
                shuffle_channels(g, blocks, r * r, channels)
            }
            Kind::Channels => shuffle_channels(g, x, r, channels()?),
        };
        Ok(self.layout.lower_to(g, y, 4))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        with_array!(values.get(self.x)?, x => self.shuffle(x).map(Element::tensor))
    }
}

/// The elements in reverse order along some axes. ONNX: Slice.
struct Flip {
    x: ValueId,
    axis: Vec<i64>,
}

impl Flip {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis: op.attr("axis")?,
        }))
    }

    fn axes(&self, rank: usize) -> Result<Vec<usize>> {
        let axes = self.axis.iter().map(|axis| normalize_axis(*axis, rank));
        let mut axes = axes.collect::<Result<Vec<usize>>>()?;
        axes.sort_unstable();
        axes.dedup();
        Ok(axes)
    }
}

impl Function for Flip {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        self.axes(facts.rank(self.x))?;
        Ok(Fact::new(facts.dtype(self.x), facts.shape(self.x).to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let axes = self.axes(g.rank(self.x))?;
        if axes.is_empty() {
            return Ok(x);
        }
        let count = axes.len();
        let axes: Vec<i64> = axes.into_iter().map(|axis| axis as i64).collect();
        let starts = g.vector(&vec![-1; count]);
        // Before the first element, which no other negative number says.
        let ends = g.vector(&vec![i64::MIN; count]);
        let axes = g.vector(&axes);
        let steps = g.vector(&vec![-1; count]);
        Ok(g.node("Slice", &[x, starts, ends, axes, steps], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let axes = self.axes(x.shape().len())?;
        with_array!(x, x => {
            let mut view = x.view();
            for axis in axes {
                view.invert_axis(Axis(axis));
            }
            Ok(Element::tensor(view.to_owned().into()))
        })
    }
}

/// Moves the elements of each `axis[i]` by `shifts[i]`, and those that leave it to its other end.
/// Without axes, those of the flat tensor.
struct Roll {
    x: ValueId,
    shifts: ValueId,
    axis: Vec<i64>,
}

impl Roll {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            shifts: op.operand("shifts")?,
            axis: op.attr_or("axis", Vec::new())?,
        }))
    }

    fn axes(&self, rank: usize, shifts: Option<usize>) -> Result<Vec<usize>> {
        let axes = self.axis.iter().map(|axis| normalize_axis(*axis, rank));
        let axes = if self.axis.is_empty() {
            vec![0]
        } else {
            axes.collect::<Result<Vec<usize>>>()?
        };
        if shifts.is_some_and(|shifts| shifts != axes.len()) {
            let (axes, shifts) = (axes.len(), shifts.unwrap_or_default());
            return Err(Error::malformed(format!("{shifts} shifts for {axes} axes")));
        }
        Ok(axes)
    }

    /// Moves by a number that is known, along an axis of an extent that is.
    fn lower_known(g: &mut Lowering<'_>, x: TensorId, axis: i64, shift: i64) -> TensorId {
        if shift == 0 {
            return x;
        }
        let end = g.slice(x, -shift, i64::MAX, axis);
        let start = g.slice(x, 0, -shift, axis);
        g.concat(&[end, start], axis)
    }

    /// Moves by any number: by the positions that the elements come from.
    fn lower_computed(g: &mut Lowering<'_>, x: TensorId, axis: i64, shift: TensorId) -> TensorId {
        let extent = g.shape_slice(x, axis, axis + 1);
        let count = g.squeeze(extent, &[0]);
        let (zero, one) = (
            g.constant(Tensor::scalar(0_i64)),
            g.constant(Tensor::scalar(1_i64)),
        );
        let positions = g.node("Range", &[zero, count, one], []);
        let positions = g.node("Sub", &[positions, shift], []);
        let positions = g.node("Mod", &[positions, extent], []);
        g.node("Gather", &[x, positions], [("axis", NodeAttr::Int(axis))])
    }
}

impl Function for Roll {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let shifts = facts.content(self.shifts).map(<[Dim]>::len);
        if facts.rank(self.x) > 0 {
            self.axes(facts.rank(self.x), shifts)?;
        }
        Ok(Fact::new(facts.dtype(self.x), facts.shape(self.x).to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        if g.rank(self.x) == 0 {
            return Ok(x);
        }
        let axes = self.axes(g.rank(self.x), None)?;
        let known = g.integers(self.shifts);
        let mut extents = g.shape(self.x).to_vec();
        let is_flat = self.axis.is_empty();
        let mut y = x;
        if is_flat {
            let flat = g.vector(&[-1]);
            y = g.node("Reshape", &[x, flat], []);
            extents = vec![Dim::Unknown];
        }
        for (position, axis) in axes.into_iter().enumerate() {
            let shift = known
                .as_ref()
                .and_then(|known| known.get(position))
                .copied();
            y = match (shift, extents[axis].known()) {
                (Some(_), Some(0)) => y,
                (Some(shift), Some(extent)) => {
                    Self::lower_known(g, y, axis as i64, shift.rem_euclid(extent))
                }
                _ => {
                    let shifts = g.int_array(self.shifts)?;
                    let shift = g.slice(shifts, position as i64, position as i64 + 1, 0);
                    Self::lower_computed(g, y, axis as i64, shift)
                }
            };
        }
        if is_flat {
            let shape = g.node("Shape", &[x], []);
            y = g.node("Reshape", &[y, shape], []);
        }
        Ok(y)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        if x.shape().is_empty() {
            return Ok(x.clone());
        }
        let shifts = values.integers(self.shifts)?;
        let axes = self.axes(x.shape().len(), Some(shifts.len()))?;
        with_array!(x, x => {
            let shape = x.shape().to_vec();
            let mut y = if self.axis.is_empty() {
                map::reshape(x, &[x.len()])?
            } else {
                x.clone()
            };
            for (axis, shift) in axes.into_iter().zip(shifts) {
                y = rolled(&y, axis, shift);
            }
            map::reshape(&y, &shape).map(Element::tensor)
        })
    }
}

fn rolled<T: Element>(x: &Array<T>, axis: usize, shift: i64) -> Array<T> {
    let extent = x.shape()[axis] as i64;
    let Some(shift) = shift.checked_rem_euclid(extent) else {
        return x.clone();
    };
    let mut result = x.to_owned();
    let parts = [
        (0..extent - shift, shift..extent),
        (extent - shift..extent, 0..shift),
    ];
    for (from, to) in parts {
        let slice =
            |range: std::ops::Range<i64>| Slice::from(range.start as isize..range.end as isize);
        let elements = x.slice_axis(Axis(axis), slice(from));
        result
            .slice_axis_mut(Axis(axis), slice(to))
            .assign(&elements);
    }
    result.into()
}
