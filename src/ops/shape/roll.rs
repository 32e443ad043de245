//! Elements in another order along axes: `flip` reverses them, `roll` shifts them around the end.
//!
//! Paddle: `phi/kernels/{flip,roll}_kernel.h`. ONNX: Slice for `flip`; Slice and Concat for `roll`, or
//! Gather where a shift or an extent is known only in a run.

use ndarray::{Axis, Slice};

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::map;
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::pointwise::plain;
use crate::program::{Attr, Builder, Draft, Fact, Facts, Operand, ValueId};
use crate::tensor::{Array, Dim, Element, Tensor, normalize_axis, with_array};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "flip",
        &[Arg::Tensor("x")],
        // `dims` up to Paddle 1.8.
        &[plain(&["flip", "reverse"]).renaming(&[("dims", "axis")])],
        Flip::parse,
    )
    .with_opset(10)
    .part_by_part(&["x"])
    .with_pir(&[Form::pir(
        &["reverse"],
        &["x", "axis"],
        &[
            Binding::Slot("x"),
            Binding::IntArray {
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
                Binding::Slot("X"),
                Binding::IntArray {
                    attr: "shifts",
                    slots: &["ShiftsTensor"],
                },
            ],
            &["Out"],
        )
        // Up to Paddle 2.0.
        .renaming(&[("dims", "axis")])],
        Roll::parse,
    )
    .part_by_part(&["x"]),
];

/// Makes the operand `axis` of PIR's `reverse` the attribute that `flip` has; it must be a constant.
fn constant_axis(builder: &mut Builder, mut draft: Draft) -> Result<Vec<ValueId>> {
    let axis = match draft.operands.pop() {
        Some(Operand::One(axis)) => builder.constant_value(axis).map(Tensor::to_i64_vec),
        _ => None,
    };
    let axis = axis.ok_or_else(|| Error::unsupported("axes that are not known before a run"))?;
    draft.attrs.insert("axis".to_owned(), Attr::Ints(axis));
    Ok(builder.emit(draft))
}

/// The elements of `x` in reverse order along the axes in `axis`.
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

    /// The axes to reverse, in ascending order. One that is listed twice is reversed once.
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
        // An end before the first element, so that it is taken as well; -1 would be the last one.
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

/// The elements of `x` moved by `shifts[i]` along each `axis[i]`; those that leave it come in again at its
/// other end. Without axes, the flattened tensor is rolled, and then gets its shape back.
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

    /// The axes to roll, of which the flattened tensor has one. There must be as many as `shifts`, if
    /// their number is known.
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

    /// Emits a roll by a known shift, of at least 0 and less than the extent of the axis.
    fn lower_known(g: &mut Lowering<'_>, x: TensorId, axis: i64, shift: i64) -> TensorId {
        if shift == 0 {
            return x;
        }
        let end = g.slice(x, -shift, i64::MAX, axis);
        let start = g.slice(x, 0, -shift, axis);
        g.concat(&[end, start], axis)
    }

    /// Emits a roll by a shift that is a tensor of one element, or along an axis of unknown extent: gathers
    /// from the positions that the elements come from.
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
