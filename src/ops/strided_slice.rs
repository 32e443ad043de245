//! Parts of a tensor by steps, and writing to them.
//!
//! Paddle: `phi/kernels/{strided_slice,set_value}_kernel.h`,
//! `phi/kernels/funcs/{strided_slice,slice_utils}.h`. ONNX: Slice, ScatterElements.

use std::collections::BTreeSet;

use ndarray::{Axis, IxDyn};

use super::creation::merge_values;
use super::def::{Arg, Form, From, OpDef};
use super::operator::{Fact, Facts, Function, Parsed};
use super::reader::OpReader;
use crate::error::{Error, Result};
use crate::lower::{Lowering, NodeAttr, TensorId};
use crate::normalise::{Builder, Draft};
use crate::program::{Attr, FromAttr, Operand, ValueId};
use crate::reference::{Values, map};
use crate::tensor::{Array, DType, Dim, Element, Tensor, normalize_axis, with_array};

const BOUNDS: [Arg; 3] = [
    Arg::IntArray("starts"),
    Arg::IntArray("ends"),
    Arg::IntArray("steps"),
];

/// The bounds of an op whose attributes and lists of tensors have these names.
const fn bound(attr: &'static str, slots: &'static [&'static str]) -> From {
    From::IntArray { attr, slots }
}

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "strided_slice",
        &[
            Arg::Tensor("x"),
            Arg::IntArray("starts"),
            Arg::IntArray("ends"),
            Arg::IntArray("strides"),
        ],
        &[Form::legacy(
            &["strided_slice"],
            &[
                From::Slot("Input"),
                bound("starts", &["StartsTensor", "StartsTensorList"]),
                bound("ends", &["EndsTensor", "EndsTensorList"]),
                bound("strides", &["StridesTensor", "StridesTensorList"]),
            ],
            &["Out"],
        )
        // Says which bounds are known when the program is built; here the operands say it.
        .ignoring(&["infer_flags"])
        .formerly(OLDER_BOUNDS)],
        StridedSlice::parse,
    ),
    OpDef::new(
        "set_value_with_tensor",
        &[
            Arg::Tensor("x"),
            Arg::Tensor("values"),
            BOUNDS[0],
            BOUNDS[1],
            BOUNDS[2],
        ],
        &[Form::legacy(
            &["set_value"],
            &[
                From::Slot("Input"),
                From::Optional("ValueTensor"),
                bound("starts", &["StartsTensorList"]),
                bound("ends", &["EndsTensorList"]),
                bound("steps", &["StepsTensorList"]),
            ],
            &["Out"],
        )
        // That of the operand counts.
        .ignoring(&["dtype"])
        .formerly(OLDER_BOUNDS)
        .rewriting(value_as_operand)],
        SetValue::parse,
    )
    .spelled(&[Form::pir(
        &["set_value"],
        &["x", "starts", "ends", "steps"],
        &[
            From::Slot("x"),
            From::Rewrite,
            bound("starts", &["starts"]),
            bound("ends", &["ends"]),
            bound("steps", &["steps"]),
        ],
    )
    .overwriting("x")
    .rewriting(value_as_operand)]),
];

/// Before Paddle 3, an end of -1 with a negative stride is no position: it is how `x[::-1]` is
/// written. Since then, that is [`OPEN_END`], and -1 the last element, as in NumPy. Other bounds that
/// lie before the first element, with a negative stride, stood for the first.
const OLDER_BOUNDS: &str = "older_bounds";

/// The end of a way back that takes the first element as well.
const OPEN_END: i64 = i32::MIN as i64;

/// Numbers that the program spells out become an operand.
fn value_as_operand(builder: &mut Builder, mut draft: Draft) -> Result<Vec<ValueId>> {
    merge_values(&mut draft);
    let values = draft.attrs.remove("values");
    let shape = draft.attrs.remove("shape");
    if let [Operand::One(x), Operand::Absent, ..] = draft.operands[..] {
        let shape = shape.as_ref().and_then(Vec::<i64>::from_attr);
        let shape = shape.unwrap_or_default().into_iter().map(usize::try_from);
        let shape: Vec<usize> = shape
            .collect::<Result<_, _>>()
            .map_err(|_| Error::malformed("a negative extent"))?;
        let values = match values {
            Some(Attr::Ints(values)) => Tensor::from_elements(&shape, values)?,
            Some(Attr::Floats(values)) => Tensor::from_elements(&shape, values)?,
            Some(Attr::Bools(values)) => Tensor::from_elements(&shape, values)?,
            _ => return Err(Error::malformed("no values are given")),
        };
        let values = builder.constant(values.cast(builder.dtype(x)));
        if let Some(operand) = draft.operands.get_mut(1) {
            *operand = Operand::One(values);
        }
    }
    Ok(builder.emit(draft))
}

/// Every `stride`-th element of one axis, from `start` up to, not including, `end`. Bounds count
/// from the end where they are negative, and are clipped, as in NumPy.
#[derive(Debug, Clone, Copy)]
struct Steps {
    axis: usize,
    start: i64,
    end: i64,
    stride: i64,
}

impl Steps {
    /// What these bounds, as Paddle had them before version 3, are in NumPy, along an axis of this
    /// extent.
    fn modern(mut self, extent: &Dim) -> Self {
        if self.stride < 0 {
            // Of an unknown axis, not as far back as what stands for no end.
            let first = extent.known().map_or(OPEN_END + 1, |extent| -extent);
            self.start = self.start.max(first);
            self.end = match self.end {
                -1 => OPEN_END,
                end => end.max(first),
            };
        }
        self
    }

    /// Whether [`Steps::modern`] says it all, since no bound lies before the first element of
    /// an axis that is not known.
    fn is_clear(self, extent: &Dim) -> bool {
        self.stride > 0 || extent.known().is_some() || self.start.min(self.end) >= -1
    }

    /// The first position in an axis of `extent`, and how many there are.
    fn range(self, extent: usize) -> (i64, usize) {
        let extent = i64::try_from(extent).unwrap_or(i64::MAX);
        // Going back, the position before the first is where to stop at the latest.
        let (low, high) = if self.stride > 0 {
            (0, extent)
        } else {
            (-1, extent - 1)
        };
        let clip = |position: i64| {
            let from_start = if position < 0 {
                position.saturating_add(extent)
            } else {
                position
            };
            from_start.clamp(low, high)
        };
        let (first, end) = (clip(self.start), clip(self.end));
        let distance = if self.stride > 0 {
            end - first
        } else {
            first - end
        };
        let count = u64::try_from(distance).map_or(0, |d| d.div_ceil(self.stride.unsigned_abs()));
        (first, usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// The positions in an axis of `extent`.
    fn positions(self, extent: usize) -> Vec<usize> {
        let (first, count) = self.range(extent);
        let places = (0..count as i64).map(|place| first + place * self.stride);
        places
            .filter_map(|position| usize::try_from(position).ok())
            .collect()
    }

    /// How many there are.
    fn count(self, extent: &Dim) -> Dim {
        const NO_END: i64 = i32::MAX as i64;
        match extent.extent() {
            Some(extent) => Dim::from(self.range(extent).1),
            None if self.stride == 1 && self.start == 0 && self.end >= NO_END => extent.clone(),
            None if self.stride == -1 && self.start >= NO_END && self.end < -NO_END => {
                extent.clone()
            }
            None => Dim::Unknown,
        }
    }
}

/// The bounds of each axis, from the lists of an op.
fn steps(
    axes: &[i64],
    rank: usize,
    (starts, ends, strides): (&[i64], &[i64], &[i64]),
) -> Result<Vec<Steps>> {
    if [starts, ends, strides]
        .iter()
        .any(|list| list.len() != axes.len())
    {
        return Err(Error::malformed(format!(
            "{} axes, {} starts, {} ends and {} strides",
            axes.len(),
            starts.len(),
            ends.len(),
            strides.len()
        )));
    }
    if strides.contains(&0) {
        return Err(Error::malformed("a stride of 0"));
    }
    let distinct: BTreeSet<usize> = distinct_axes(axes, rank)?;
    if distinct.len() != axes.len() {
        return Err(Error::malformed(format!("an axis twice in {axes:?}")));
    }
    let bounds = starts.iter().zip(ends).zip(strides);
    let all = axes
        .iter()
        .zip(bounds)
        .map(|(axis, ((start, end), stride))| {
            Ok(Steps {
                axis: normalize_axis(*axis, rank)?,
                start: *start,
                end: *end,
                stride: *stride,
            })
        });
    all.collect()
}

fn distinct_axes(axes: &[i64], rank: usize) -> Result<BTreeSet<usize>> {
    axes.iter()
        .map(|axis| normalize_axis(*axis, rank))
        .collect()
}

/// Where an op starts, ends and how it steps.
struct Bounds {
    starts: ValueId,
    ends: ValueId,
    strides: ValueId,
    axes: Vec<i64>,
    /// See [`OLDER_BOUNDS`].
    are_older: bool,
}

impl Bounds {
    fn parse(op: &mut OpReader<'_>, strides: &str) -> Result<Self> {
        Ok(Self {
            starts: op.operand("starts")?,
            ends: op.operand("ends")?,
            strides: op.operand(strides)?,
            axes: op.attr("axes")?,
            are_older: op.attr_or(OLDER_BOUNDS, false)?,
        })
    }

    /// The steps along axes of these extents.
    fn steps(
        &self,
        shape: &[Dim],
        starts: &[i64],
        ends: &[i64],
        strides: &[i64],
    ) -> Result<Vec<Steps>> {
        let mut all = steps(&self.axes, shape.len(), (starts, ends, strides))?;
        if self.are_older {
            for steps in &mut all {
                *steps = steps.modern(&shape[steps.axis]);
            }
        }
        Ok(all)
    }

    /// The bounds, if they are known before a run.
    fn known(&self, facts: &Facts<'_>, x: ValueId) -> Result<Option<Vec<Steps>>> {
        let shape = facts.shape(x);
        let [starts, ends, strides] =
            [self.starts, self.ends, self.strides].map(|id| facts.integers(id));
        let (Some(starts), Some(ends), Some(strides)) = (starts, ends, strides) else {
            distinct_axes(&self.axes, shape.len())?;
            return Ok(None);
        };
        self.steps(shape, &starts, &ends, &strides).map(Some)
    }

    /// The bounds in a run.
    fn of(&self, values: &Values<'_>, shape: &[usize]) -> Result<Vec<Steps>> {
        let shape: Vec<Dim> = shape.iter().copied().map(Dim::from).collect();
        let [starts, ends, strides] =
            [self.starts, self.ends, self.strides].map(|id| values.integers(id));
        self.steps(&shape, &starts?, &ends?, &strides?)
    }

    /// The shape of what they leave of `x`.
    fn sliced(&self, facts: &Facts<'_>, x: ValueId) -> Result<Vec<Dim>> {
        let mut shape = facts.shape(x).to_vec();
        match self.known(facts, x)? {
            Some(steps) => {
                for steps in steps {
                    shape[steps.axis] = steps.count(&shape[steps.axis]);
                }
            }
            None => {
                for axis in distinct_axes(&self.axes, shape.len())? {
                    shape[axis] = Dim::Unknown;
                }
            }
        }
        Ok(shape)
    }

    /// Emits the starts and ends as NumPy has them, of axes of a tensor of this shape.
    fn lower_bounds(
        &self,
        g: &mut Lowering<'_>,
        x: TensorId,
        shape: &[Dim],
    ) -> Result<[TensorId; 2]> {
        if !self.are_older {
            return Ok([g.int_array(self.starts)?, g.int_array(self.ends)?]);
        }
        let strides = g.constant_integers(self.strides, "strides")?;
        if strides.iter().all(|stride| *stride > 0) {
            return Ok([g.int_array(self.starts)?, g.int_array(self.ends)?]);
        }
        let ends = g.constant_integers(self.ends, "ends")?;
        if let Some(starts) = g.integers(self.starts) {
            let raw = steps(&self.axes, shape.len(), (&starts, &ends, &strides))?;
            if raw.iter().all(|steps| steps.is_clear(&shape[steps.axis])) {
                let clear = self.steps(shape, &starts, &ends, &strides)?;
                let [starts, ends] = [|s: &Steps| s.start, |s: &Steps| s.end]
                    .map(|bound| clear.iter().map(bound).collect::<Vec<i64>>());
                return Ok([g.vector(&starts), g.vector(&ends)]);
            }
        }
        // Where the way leads forth, this is no change.
        let (extents, axes) = (g.node("Shape", &[x], []), g.vector(&self.axes));
        let extents = g.node("Gather", &[extents, axes], []);
        let first = g.node("Neg", &[extents], []);
        let starts = g.int_array(self.starts)?;
        let starts = g.extreme("Max", starts, first, DType::I64);
        let bounds = ends.iter().zip(&strides);
        let is_open: Vec<bool> = bounds.map(|(end, s)| *end == -1 && *s < 0).collect();
        let is_open = g.constant(Tensor::vector(is_open));
        let (ends, open) = (g.vector(&ends), g.vector(&[OPEN_END]));
        let ends = g.extreme("Max", ends, first, DType::I64);
        Ok([starts, g.node("Where", &[is_open, open, ends], [])])
    }

    fn lower(&self, g: &mut Lowering<'_>, x: TensorId, shape: &[Dim]) -> Result<TensorId> {
        if self.axes.is_empty() {
            return Ok(x);
        }
        let [starts, ends] = self.lower_bounds(g, x, shape)?;
        let axes = g.vector(&self.axes);
        let strides = g.int_array(self.strides)?;
        Ok(g.node("Slice", &[x, starts, ends, axes, strides], []))
    }
}

/// Every `strides[i]`-th element along `axes[i]`, from `starts[i]` to `ends[i]`. Axes in
/// `decrease_axis`, which have one element then, are removed.
struct StridedSlice {
    x: ValueId,
    bounds: Bounds,
    decrease_axis: Vec<i64>,
}

impl StridedSlice {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            bounds: Bounds::parse(op, "strides")?,
            decrease_axis: op.attr_or("decrease_axis", Vec::new())?,
        }))
    }
}

impl Function for StridedSlice {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.get(self.x);
        let mut shape = self.bounds.sliced(facts, self.x)?;
        let steps = self.bounds.known(facts, self.x)?;
        let extent = |steps: &Steps| x.shape[steps.axis].known();
        let ends_behind = |steps: &Steps| {
            steps.stride < 0 && extent(steps).is_some_and(|extent| steps.end >= extent)
        };
        if self.bounds.are_older && steps.iter().flatten().any(ends_behind) {
            return Err(Error::unsupported(
                "a slice backwards that ends behind the last element, where Paddle 2 takes some all the same",
            ));
        }
        let content = match (steps.as_deref(), x.content.as_deref(), x.shape.len()) {
            (Some([steps]), Some(content), 1) => {
                let positions = steps.positions(content.len()).into_iter();
                Some(
                    positions
                        .map(|position| content[position].clone())
                        .collect(),
                )
            }
            _ => None,
        };
        for axis in distinct_axes(&self.decrease_axis, shape.len())?
            .into_iter()
            .rev()
        {
            if shape[axis].known().is_some_and(|extent| extent != 1) {
                return Err(Error::malformed(format!(
                    "axis {axis} has {} elements where 1 is taken",
                    shape[axis]
                )));
            }
            shape.remove(axis);
        }
        Ok(Fact::new(x.dtype, shape).with_content(content))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let shape = g.shape(self.x).to_vec();
        let slice = self.bounds.lower(g, x, &shape)?;
        let removed = distinct_axes(&self.decrease_axis, g.rank(self.x))?;
        let removed: Vec<i64> = removed.into_iter().map(|axis| axis as i64).collect();
        Ok(g.squeeze(slice, &removed))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let rank = x.shape().len();
        let steps = self.bounds.of(values, x.shape())?;
        let removed = distinct_axes(&self.decrease_axis, rank)?;
        with_array!(x, x => {
            let mut part = x.to_owned();
            for steps in &steps {
                let positions = steps.positions(part.len_of(Axis(steps.axis)));
                part = part.select(Axis(steps.axis), &positions);
            }
            for axis in removed.into_iter().rev() {
                if part.len_of(Axis(axis)) != 1 {
                    return Err(Error::malformed(format!("several elements along axis {axis}")));
                }
                part = part.index_axis_move(Axis(axis), 0);
            }
            Ok(Element::tensor(part.into()))
        })
    }
}

/// `x` with `values`, broadcast, written to a part of it: the one that a strided slice takes, of
/// which the axes in `decrease_axes` are removed and to which those in `none_axes` are added.
struct SetValue {
    x: ValueId,
    values: ValueId,
    bounds: Bounds,
    decrease_axes: Vec<i64>,
    none_axes: Vec<i64>,
}

impl SetValue {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            values: op.operand("values")?,
            bounds: Bounds::parse(op, "steps")?,
            decrease_axes: op.attr_or("decrease_axes", Vec::new())?,
            none_axes: op.attr_or("none_axes", Vec::new())?,
        }))
    }

    /// For each axis of the part as it is indexed, the axis of `x` that it comes from; none for
    /// those that are added. `none_axes` counts the axes of the slice before any is removed.
    fn axes(&self, rank: usize) -> Result<Vec<Option<usize>>> {
        let removed = distinct_axes(&self.decrease_axes, rank)?;
        let mut none = self.none_axes.iter().peekable();
        let mut axes = Vec::new();
        for axis in 0..rank {
            while none.next_if(|none| **none <= axis as i64).is_some() {
                axes.push(None);
            }
            if !removed.contains(&axis) {
                axes.push(Some(axis));
            }
        }
        axes.extend(none.map(|_| None));
        Ok(axes)
    }
}

impl Function for SetValue {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let rank = facts.rank(self.x);
        let steps = self.bounds.known(facts, self.x)?.unwrap_or_default();
        let is_odd = |steps: &Steps| steps.stride < 0 && (OPEN_END + 1..0).contains(&steps.end);
        if self.bounds.are_older && steps.iter().any(is_odd) {
            return Err(Error::unsupported(
                "a negative end with a negative step, which Paddle's versions take differently",
            ));
        }
        self.axes(rank)?;
        if facts.dtype(self.x) != facts.dtype(self.values) {
            let (x, values) = (facts.dtype(self.x), facts.dtype(self.values));
            return Err(Error::unsupported(format!("{values} written to {x}")));
        }
        Ok(Fact::new(facts.dtype(self.x), facts.shape(self.x).to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (x, values) = (g.value(self.x)?, g.value(self.values)?);
        let shape = g.node("Shape", &[x], []);
        let flat = g.vector(&[-1]);
        if self.bounds.axes.is_empty() && self.none_axes.is_empty() {
            let whole = g.node("Expand", &[values, shape], []);
            // The value may have more axes, of one element.
            return Ok(g.node("Reshape", &[whole, shape], []));
        }
        // The place of each element of x, of which the slice takes those that are written.
        let count = g.node("Size", &[x], []);
        let count = g.unsqueeze(count, &[0]);
        let places = g.count_up(count);
        let places = g.node("Reshape", &[places, shape], []);
        let extents = g.shape(self.x).to_vec();
        let mut part = self.bounds.lower(g, places, &extents)?;
        let rank = g.rank(self.x);
        let removed = distinct_axes(&self.decrease_axes, rank)?;
        let removed: Vec<i64> = removed.into_iter().map(|axis| axis as i64).collect();
        part = g.squeeze(part, &removed);
        let added = self.axes(rank)?.into_iter().enumerate();
        let added = added.filter(|(_, axis)| axis.is_none());
        let added: Vec<i64> = added.map(|(position, _)| position as i64).collect();
        part = g.unsqueeze(part, &added);
        let part_shape = g.node("Shape", &[part], []);
        let values = g.node("Expand", &[values, part_shape], []);
        let values = g.node("Reshape", &[values, flat], []);
        let places = g.node("Reshape", &[part, flat], []);
        let elements = g.node("Reshape", &[x, flat], []);
        let axis = ("axis", NodeAttr::Int(0));
        let written = g.node("ScatterElements", &[elements, places, values], [axis]);
        Ok(g.node("Reshape", &[written, shape], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let rank = x.shape().len();
        let steps = self.bounds.of(values, x.shape())?;
        let mut positions: Vec<Vec<usize>> = x.shape().iter().map(|e| (0..*e).collect()).collect();
        for steps in steps {
            positions[steps.axis] = steps.positions(x.shape()[steps.axis]);
        }
        let axes = self.axes(rank)?;
        let written = values.get(self.values)?.cast(x.dtype());
        with_array!(x, x => set(x, &written, &positions, &axes))
    }
}

/// `x` with the elements of `values` at the positions along each axis, of which `axes` says where
/// they stand in the shape that values are broadcast to.
fn set<T: Element>(
    x: &Array<T>,
    values: &Tensor,
    positions: &[Vec<usize>],
    axes: &[Option<usize>],
) -> Result<Tensor> {
    let fail = || Error::malformed("a value that does not fit what it is written to");
    let values = T::array(values).ok_or_else(fail)?;
    let extents = axes
        .iter()
        .map(|axis| axis.map_or(1, |axis| positions[axis].len()));
    let shape: Vec<usize> = extents.collect();
    let surplus = values.ndim().saturating_sub(shape.len());
    let values = map::reshape(values, &values.shape()[surplus..])?;
    let values = values.broadcast(IxDyn(&shape)).ok_or_else(fail)?;
    let mut result = x.to_owned();
    for (place, value) in values.indexed_iter() {
        // A removed axis has one position.
        let mut target: Vec<usize> = Vec::with_capacity(positions.len());
        for (axis, positions) in positions.iter().enumerate() {
            let at = axes.iter().position(|other| *other == Some(axis));
            let position = positions
                .get(at.map_or(0, |at| place[at]))
                .ok_or_else(fail)?;
            target.push(*position);
        }
        *result.get_mut(IxDyn(&target)).ok_or_else(fail)? = *value;
    }
    Ok(T::tensor(result.into()))
}
