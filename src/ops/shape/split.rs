//! One tensor cut into several along an axis: `split`, `split_with_num`, `unbind` and `unstack`.
//!
//! Paddle: `phi/kernels/{split,unbind,unstack}_kernel.h`. ONNX: Split, or Slice where one part takes what is
//! left of an unknown extent; Squeeze for `unbind` and `unstack`.

use ndarray::Axis;

use super::concat::AXIS;
use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::map::part_of;
use crate::operator::{Arg, Binding, Form, Macs, OpDef, OpReader, Operator, Parsed, Values};
use crate::ops::shared::axes::length;
use crate::program::{Attr, Builder, Draft, Fact, Facts, OpKind, ValueId, single};
use crate::tensor::{Dim, Element, Tensor, display_shape, normalize_axis, with_array};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "split",
        &[
            Arg::Tensor("x"),
            Arg::IntArray("sections"),
            Arg::Scalar("axis"),
        ],
        &[Form::legacy(
            &["split"],
            &[
                Binding::Slot("X"),
                Binding::IntArray {
                    attr: "sections",
                    slots: &["SectionsTensorList"],
                },
                AXIS,
            ],
            &["Out"],
        )
        .rewriting(split_by_sections_or_number)],
        Split::parse,
    )
    .part_by_part(&["x"])
    .with_limits(&["a computed axis"]),
    OpDef::new(
        "split_with_num",
        &[Arg::Tensor("x"), Arg::Scalar("axis")],
        &[],
        Split::parse_number,
    )
    .part_by_part(&["x"])
    .with_limits(&["a computed axis"]),
    OpDef::new(
        "unbind",
        &[Arg::Tensor("input")],
        &[Form::legacy(&["unbind"], &[Binding::Slot("X")], &["Out"])],
        |op| Unbind::parse(op, "input"),
    )
    .part_by_part(&["input"])
    .with_limits(&["an open extent"]),
    OpDef::new(
        "unstack",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["unstack"], &[Binding::Slot("X")], &["Y"])],
        |op| {
            // It repeats the extent of the axis.
            op.ignore("num");
            Unbind::parse(op, "x")
        },
    )
    .part_by_part(&["x"])
    .with_limits(&["an open extent"]),
];

/// The legacy `split` has both a number of parts, `num`, and their extents; the number counts unless it
/// is 0.
fn split_by_sections_or_number(builder: &mut Builder, mut draft: Draft) -> Result<Vec<ValueId>> {
    match draft.attrs.get("num") {
        None | Some(Attr::Int(0)) => {
            draft.attrs.remove("num");
        }
        Some(_) => {
            draft.kind = OpKind::Known("split_with_num");
            draft.operands.remove(1);
        }
    }
    Ok(builder.emit(draft))
}

/// The consecutive parts of `x` along `axis`.
struct Split {
    x: ValueId,
    axis: ValueId,
    parts: Sections,
}

enum Sections {
    /// The extents of the parts; one may be -1, which stands for what the others leave.
    Sections(ValueId),
    /// The number of parts, all of the same extent.
    Number(i64),
}

impl Split {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis: op.operand("axis")?,
            parts: Sections::Sections(op.operand("sections")?),
        }))
    }

    fn parse_number(op: &mut OpReader<'_>) -> Parsed {
        let number: i64 = op.attr("num")?;
        if !(1..=i64::from(u16::MAX)).contains(&number) {
            return Err(Error::malformed(format!("a split into {number} parts")));
        }
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis: op.operand("axis")?,
            parts: Sections::Number(number),
        }))
    }

    /// The extents of the parts of an axis of `extent`, with what the others leave in the place of a -1.
    /// Refuses parts that do not add up.
    fn extents(parts: &[Dim], extent: &Dim) -> Result<Vec<Dim>> {
        let is_free = |part: &&Dim| part.known().is_some_and(|part| part < 0);
        let sum = parts.iter().try_fold(0_i64, |sum, part| {
            let part = part.known().unwrap_or(0).max(0);
            sum.checked_add(part)
        });
        let is_computed = parts.iter().any(|part| part.known().is_none());
        let free = parts.iter().filter(is_free).count();
        let rest = extent.known().zip(sum).map(|(extent, sum)| extent - sum);
        let fits = match rest {
            _ if sum.is_none() || free > 1 => false,
            Some(rest) if free == 0 && !is_computed => rest == 0,
            Some(rest) => rest >= 0,
            None => true,
        };
        if !fits {
            let parts = display_shape(parts);
            return Err(Error::malformed(format!(
                "can't split an extent of {extent} into {parts}"
            )));
        }
        let rest = rest
            .filter(|_| !is_computed)
            .map_or(Dim::Unknown, Dim::Known);
        let part = |part: &Dim| {
            if is_free(&part) {
                rest.clone()
            } else {
                part.clone()
            }
        };
        Ok(parts.iter().map(part).collect())
    }

    /// The extents of `number` equal parts of an axis. Refuses an `extent` that `number` does not divide.
    fn equal(number: i64, extent: &Dim) -> Result<Vec<Dim>> {
        let part = match extent {
            Dim::Known(extent) if extent % number == 0 => Dim::Known(extent / number),
            Dim::Known(extent) => {
                return Err(Error::malformed(format!(
                    "can't split an extent of {extent} into {number} equal parts"
                )));
            }
            _ => Dim::Unknown,
        };
        Ok(std::iter::repeat_n(part, usize::try_from(number).unwrap_or(0)).collect())
    }

    fn axis_and_extents(&self, facts: &Facts<'_>) -> Result<(usize, Vec<Dim>)> {
        let shape = facts.shape(self.x);
        let axis = normalize_axis(facts.constant_integer(self.axis, "axis")?, shape.len())?;
        let extents = match self.parts {
            Sections::Number(number) => Self::equal(number, &shape[axis])?,
            Sections::Sections(sections) => match facts.content(sections) {
                Some(sections) => Self::extents(sections, &shape[axis])?,
                None => vec![Dim::Unknown; length(facts, sections)?],
            },
        };
        Ok((axis, extents))
    }
}

/// Emits the parts of an axis of unknown extent, one of which takes what the others leave. The bounds of
/// the parts before it count from the start of the axis, those of the parts after it from the end.
fn lower_around(g: &mut Lowering<'_>, x: TensorId, extents: &[Dim], axis: i64) -> Vec<TensorId> {
    let free = extents.iter().position(|extent| extent.known().is_none());
    let mut start = 0;
    let parts = extents.iter().enumerate().map(|(position, extent)| {
        let begin = start;
        let behind = extents[position + 1..]
            .iter()
            .filter_map(Dim::known)
            .sum::<i64>();
        let counts_from_end = free.is_some_and(|free| position >= free);
        let end = match extent.known() {
            Some(extent) if !counts_from_end => begin + extent,
            // Counted from the end, this would be 0, which Slice reads as the start of the axis.
            _ if behind == 0 => i64::MAX,
            _ => -behind,
        };
        start = end;
        g.slice(x, begin, end, axis)
    });
    parts.collect()
}

/// Emits the extents of parts, where these are computed, with what the others leave in the place of a -1.
fn lower_sections(
    g: &mut Lowering<'_>,
    sections: ValueId,
    x: TensorId,
    axis: i64,
) -> Result<TensorId> {
    let is_extent =
        |dim: &Dim| matches!(dim, Dim::Symbol(_) | Dim::Computed { .. } | Dim::Known(0..));
    let is_whole = g
        .content(sections)
        .is_some_and(|dims| dims.iter().all(is_extent));
    let sections = g.int_array(sections)?;
    if is_whole {
        return Ok(sections);
    }
    let zero = g.constant(Tensor::scalar(0_i64));
    let is_free = g.node("Less", &[sections, zero], []);
    let sum = g.reduce("ReduceSum", sections, &[0], true);
    let others = g.node("Sub", &[sum, sections], []);
    let extent = g.shape_slice(x, axis, axis + 1);
    let rest = g.node("Sub", &[extent, others], []);
    Ok(g.node("Where", &[is_free, rest, sections], []))
}

impl Operator for Split {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let (axis, extents) = self.axis_and_extents(facts)?;
        let fact = |extent: Dim| {
            let mut shape = facts.shape(self.x).to_vec();
            shape[axis] = extent;
            Fact::new(facts.dtype(self.x), shape)
        };
        Ok(extents.into_iter().map(fact).collect())
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let x = g.value(self.x)?;
        let (axis, extents) = self.axis_and_extents(g)?;
        let known: Option<Vec<i64>> = extents.iter().map(Dim::known).collect();
        match (known, &self.parts) {
            (Some(known), _) => Ok(g.split(x, &known, axis as i64)),
            (None, Sections::Number(number)) => {
                Ok(g.split_evenly(x, *number as usize, axis as i64))
            }
            (None, Sections::Sections(sections)) if g.integers(*sections).is_some() => {
                Ok(lower_around(g, x, &extents, axis as i64))
            }
            (None, Sections::Sections(sections)) => {
                let sections = lower_sections(g, *sections, x, axis as i64)?;
                Ok(g.split_by(x, sections, extents.len(), axis as i64))
            }
        }
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        let x = values.get(self.x)?;
        let axis = single(&values.integers(self.axis)?, "axis")?;
        let axis = normalize_axis(axis, x.shape().len())?;
        let extent = Dim::from(x.shape()[axis]);
        let extents = match self.parts {
            Sections::Number(number) => Self::equal(number, &extent)?,
            Sections::Sections(sections) => {
                let sections = values.integers(sections)?.into_iter().map(Dim::Known);
                Self::extents(&sections.collect::<Vec<Dim>>(), &extent)?
            }
        };
        let mut start = 0;
        let parts = extents.into_iter().map(|extent| {
            let end = start + extent.known().unwrap_or(0) as isize;
            let slice = ndarray::Slice::from(start..end);
            start = end;
            with_array!(x, x => {
                let mut part = x.clone();
                part.slice_axis_inplace(Axis(axis), slice);
                part_of(x.len(), part).map(Element::tensor)
            })
        });
        parts.collect()
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}

/// The slices of `x` along `axis`, each without that axis.
struct Unbind {
    x: ValueId,
    axis: i64,
}

impl Unbind {
    fn parse(op: &mut OpReader<'_>, x: &str) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand(x)?,
            axis: op.attr_or("axis", 0)?,
        }))
    }

    fn axis_and_count(&self, facts: &Facts<'_>) -> Result<(usize, usize)> {
        /// An op with more results than this is taken for a damaged one.
        const LARGEST_COUNT: usize = u16::MAX as usize;
        let shape = facts.shape(self.x);
        let axis = normalize_axis(self.axis, shape.len())?;
        let count = shape[axis].extent().ok_or_else(|| {
            Error::needs_extents(format!(
                "the number of results is the extent of axis {axis}, which is open"
            ))
        })?;
        if count > LARGEST_COUNT {
            return Err(Error::malformed(format!("{count} results")));
        }
        Ok((axis, count))
    }
}

impl Operator for Unbind {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let (axis, count) = self.axis_and_count(facts)?;
        let mut shape = facts.shape(self.x).to_vec();
        shape.remove(axis);
        let content = facts.content(self.x).filter(|_| shape.is_empty());
        let fact = |position: usize| {
            let content = content.and_then(|content| Some(vec![content.get(position)?.clone()]));
            Fact::new(facts.dtype(self.x), shape.clone()).with_content(content)
        };
        Ok((0..count).map(fact).collect())
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let (axis, count) = self.axis_and_count(g)?;
        let axis = axis as i64;
        let x = g.value(self.x)?;
        let parts = if count == 1 {
            vec![x]
        } else {
            g.split(x, &vec![1; count], axis)
        };
        let parts = parts.into_iter();
        Ok(parts.map(|part| g.squeeze(part, &[axis])).collect())
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        let x = values.get(self.x)?;
        let axis = normalize_axis(self.axis, x.shape().len())?;
        with_array!(x, x => {
            let slices = (0..x.shape()[axis]).map(|index| {
                let slice = x.clone().index_axis_move(Axis(axis), index);
                part_of(x.len(), slice).map(Element::tensor)
            });
            slices.collect()
        })
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}
