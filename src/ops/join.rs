//! Several tensors into one, and one into several.
//!
//! Paddle: `phi/kernels/{concat,stack,split}_kernel.h`. ONNX: Concat, Split.

use ndarray::{ArrayViewD, Axis};

use super::def::{Arg, Form, From, OpDef};
use super::operator::{Fact, Facts, Function, Macs, Operator, Parsed, single};
use super::reader::OpReader;
use super::reshape::length;
use crate::error::{Error, Result};
use crate::lower::{Lowering, TensorId};
use crate::normalise::{Builder, Draft};
use crate::program::{Attr, OpKind, ValueId};
use crate::reference::Values;
use crate::tensor::{Dim, Element, Tensor, display_shape, normalize_axis, with_array};

const AXIS: From = From::Scalar {
    attr: "axis",
    slots: &["AxisTensor"],
};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "concat",
        &[Arg::List("x"), Arg::Scalar("axis")],
        &[Form::legacy(
            &["concat"],
            &[From::List("X"), AXIS],
            &["Out"],
        )],
        Concat::parse,
    ),
    OpDef::new(
        "stack",
        &[Arg::List("x")],
        &[Form::legacy(&["stack"], &[From::List("X")], &["Y"])],
        Stack::parse,
    ),
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
                From::Slot("X"),
                From::IntArray {
                    attr: "sections",
                    slots: &["SectionsTensorList"],
                },
                AXIS,
            ],
            &["Out"],
        )
        .rewriting(split_by_sections_or_number)],
        Split::parse,
    ),
    OpDef::new(
        "split_with_num",
        &[Arg::Tensor("x"), Arg::Scalar("axis")],
        &[],
        Split::parse_number,
    ),
];

/// The legacy split has both a number of parts and their extents; the number counts if it is set.
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

/// The elements of a vector that is joined from tensors of this rank.
fn joined_content(facts: &Facts<'_>, tensors: &[ValueId], rank: usize) -> Option<Vec<Dim>> {
    let content = |id: &ValueId| facts.content(*id).filter(|_| facts.rank(*id) == rank);
    let parts: Option<Vec<&[Dim]>> = tensors.iter().map(content).collect();
    Some(parts?.concat())
}

/// Adds what another operand says of the shape that all have, but for the axis that is `joined`.
pub(super) fn merge(shape: &mut [Dim], other: &[Dim], joined: Option<usize>) -> Result<()> {
    let differ = |(axis, (a, b)): (usize, (&Dim, &Dim))| {
        Some(axis) != joined && a.known().zip(b.known()).is_some_and(|(a, b)| a != b)
    };
    if shape.len() != other.len() || shape.iter().zip(other).enumerate().any(differ) {
        let (shape, other) = (display_shape(shape), display_shape(other));
        return Err(Error::malformed(format!(
            "operands of shapes {shape} and {other}"
        )));
    }
    for (dim, other) in shape.iter_mut().zip(other) {
        *dim = dim.or(other);
    }
    Ok(())
}

/// The arrays of tensors of one type.
fn views<'t, T: Element>(tensors: &[&'t Tensor]) -> Result<Vec<ArrayViewD<'t, T>>> {
    let views = tensors.iter().map(|tensor| {
        let array = T::array(tensor).ok_or_else(|| {
            let (first, other) = (T::DTYPE, tensor.dtype());
            Error::unsupported(format!("operands of two types, {first} and {other}"))
        })?;
        Ok(array.view())
    });
    views.collect()
}

fn concatenate<T: Element>(tensors: &[&Tensor], axis: usize) -> Result<Tensor> {
    ndarray::concatenate(Axis(axis), &views::<T>(tensors)?)
        .map(|array| T::tensor(array.into()))
        .map_err(|e| Error::malformed(format!("the operands do not fit together: {e}")))
}

/// The element type of the first tensor picks the kernel.
macro_rules! concatenate {
    ($tensors:expr, $axis:expr) => {{
        fn kernel<T: Element>(_: &crate::tensor::Array<T>) -> fn(&[&Tensor], usize) -> Result<Tensor> {
            concatenate::<T>
        }
        with_array!($tensors[0], first => kernel(first))(&$tensors, $axis)
    }};
}

/// The tensors one after the other along an axis that they have.
struct Concat {
    x: Vec<ValueId>,
    axis: ValueId,
}

impl Concat {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.list("x")?,
            axis: op.operand("axis")?,
        }))
    }

    fn axis(&self, facts: &Facts<'_>) -> Result<usize> {
        let axis = facts.constant_integer(self.axis, "axis")?;
        normalize_axis(axis, facts.rank(self.x[0]))
    }
}

impl Function for Concat {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let axis = self.axis(facts)?;
        let first = facts.get(self.x[0]);
        let mut shape = first.shape.clone();
        let mut total = Some(0_i64);
        for id in &self.x {
            let dims = facts.shape(*id);
            merge(&mut shape, dims, Some(axis))?;
            total = total.and_then(|total| total.checked_add(dims[axis].known()?));
        }
        shape[axis] = total.map_or(Dim::Unknown, Dim::Known);
        let content = joined_content(facts, &self.x, 1);
        Ok(Fact::new(first.dtype, shape).with_content(content))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let axis = self.axis(g)? as i64;
        let tensors: Vec<TensorId> = self
            .x
            .iter()
            .map(|id| g.value(*id))
            .collect::<Result<_>>()?;
        Ok(g.concat(&tensors, axis))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let tensors: Vec<&Tensor> = self
            .x
            .iter()
            .map(|id| values.get(*id))
            .collect::<Result<_>>()?;
        let axis = single(&values.integers(self.axis)?, "axis")?;
        let axis = normalize_axis(axis, tensors[0].shape().len())?;
        concatenate!(tensors, axis)
    }
}

/// The tensors one after the other along a new axis.
struct Stack {
    x: Vec<ValueId>,
    axis: i64,
}

impl Stack {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.list("x")?,
            axis: op.attr_or("axis", 0)?,
        }))
    }
}

impl Function for Stack {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let first = facts.get(self.x[0]);
        let axis = normalize_axis(self.axis, first.shape.len() + 1)?;
        let mut shape = first.shape.clone();
        for id in &self.x {
            merge(&mut shape, facts.shape(*id), None)?;
        }
        shape.insert(axis, Dim::from(self.x.len()));
        let content = joined_content(facts, &self.x, 0);
        Ok(Fact::new(first.dtype, shape).with_content(content))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let axis = normalize_axis(self.axis, g.rank(self.x[0]) + 1)? as i64;
        let mut tensors = Vec::with_capacity(self.x.len());
        for id in &self.x {
            let tensor = g.value(*id)?;
            tensors.push(g.unsqueeze(tensor, &[axis]));
        }
        Ok(g.concat(&tensors, axis))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let mut tensors = Vec::with_capacity(self.x.len());
        for id in &self.x {
            let tensor = values.get(*id)?;
            let axis = Axis(normalize_axis(self.axis, tensor.shape().len() + 1)?);
            tensors.push(with_array!(tensor, x => Element::tensor(x.clone().insert_axis(axis))));
        }
        let axis = normalize_axis(self.axis, tensors[0].shape().len())?;
        let tensors: Vec<&Tensor> = tensors.iter().collect();
        concatenate!(tensors, axis)
    }
}

/// The parts of a tensor along an axis.
struct Split {
    x: ValueId,
    axis: ValueId,
    parts: Parts,
}

enum Parts {
    /// The extents; one may be -1, for what is left over.
    Sections(ValueId),
    /// That many, of equal extent.
    Number(i64),
}

impl Split {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis: op.operand("axis")?,
            parts: Parts::Sections(op.operand("sections")?),
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
            parts: Parts::Number(number),
        }))
    }

    /// The extents of the parts of an axis.
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
            Parts::Number(number) => Self::equal(number, &shape[axis])?,
            Parts::Sections(sections) => match facts.content(sections) {
                Some(sections) => Self::extents(sections, &shape[axis])?,
                None => vec![Dim::Unknown; length(facts, sections)?],
            },
        };
        Ok((axis, extents))
    }
}

/// The parts of an axis of unknown extent: those before the part that takes what is left over are
/// counted from the start, those behind it from the end.
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
            // Seen from the end, the last position is no position but "all".
            _ if behind == 0 => i64::MAX,
            _ => -behind,
        };
        start = end;
        g.slice(x, begin, end, axis)
    });
    parts.collect()
}

/// The extents of parts that are computed, with what is left over in the place of a -1.
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
            (None, Parts::Number(number)) => Ok(g.split_evenly(x, *number as usize, axis as i64)),
            (None, Parts::Sections(sections)) if g.integers(*sections).is_some() => {
                Ok(lower_around(g, x, &extents, axis as i64))
            }
            (None, Parts::Sections(sections)) => {
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
            Parts::Number(number) => Self::equal(number, &extent)?,
            Parts::Sections(sections) => {
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
                let part = x.slice_axis(Axis(axis), slice);
                Element::tensor(part.to_owned().into())
            })
        });
        Ok(parts.collect())
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}
