//! Repetition along axes: `tile` repeats all of a tensor, `repeat_interleave` each slice of it.
//!
//! Paddle: `phi/kernels/{tile,repeat_interleave}_kernel.h`. ONNX: Tile for `tile`; Gather for
//! `repeat_interleave`, or Expand of a single slice.

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::{index, map};
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::axes::length;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{
    Array, DType, Dim, Element, Tensor, normalize_axis, refuse_too_large, with_array,
};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "tile",
        &[Arg::Tensor("x"), Arg::IntArray("repeat_times")],
        &[
            Form::legacy(
                &["tile"],
                &[
                    Binding::Slot("X"),
                    Binding::IntArray {
                        attr: "repeat_times",
                        slots: &["RepeatTimes", "repeat_times_tensor"],
                    },
                ],
                &["Out"],
            ),
            // The `expand` of Paddle 1.x repeats; PHI's op of this name broadcasts.
            Form::legacy(
                &["expand"],
                &[
                    Binding::Slot("X"),
                    Binding::IntArray {
                        attr: "expand_times",
                        slots: &["ExpandTimes", "expand_times_tensor"],
                    },
                ],
                &["Out"],
            ),
        ],
        Tile::parse,
    )
    .part_by_part(&["x"]),
    OpDef::new(
        "repeat_interleave",
        &[Arg::Tensor("x"), Arg::IntArray("repeats")],
        &[Form::legacy(
            &["repeat_interleave"],
            &[
                Binding::Slot("X"),
                Binding::IntArray {
                    attr: "Repeats",
                    slots: &["RepeatsTensor"],
                },
            ],
            &["Out"],
        )
        .renaming(&[("dim", "axis")])],
        RepeatInterleave::parse,
    )
    .part_by_part(&["x"])
    .with_pir(&[Form::pir(
        &["repeat_interleave_with_tensor_index"],
        &["x", "repeats"],
        &[
            Binding::Slot("x"),
            Binding::IntArray {
                attr: "repeats",
                slots: &["repeats"],
            },
        ],
    )]),
];

/// `x` repeated `repeat_times[i]` times along each axis `i`. The shorter of `repeat_times` and the shape
/// of `x` is padded with ones in front.
struct Tile {
    x: ValueId,
    repeat_times: ValueId,
}

impl Tile {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            repeat_times: op.operand("repeat_times")?,
        }))
    }

    /// The list with ones in front, up to the length `rank`.
    fn padded<T: Clone>(list: &[T], rank: usize, one: &T) -> Vec<T> {
        let mut padded = vec![one.clone(); rank.saturating_sub(list.len())];
        padded.extend_from_slice(list);
        padded
    }
}

impl Function for Tile {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.get(self.x);
        let times = match facts.content(self.repeat_times) {
            Some(times) => times.to_vec(),
            None => vec![Dim::Unknown; length(facts, self.repeat_times)?],
        };
        let rank = times.len().max(x.shape.len());
        let one = Dim::Known(1);
        let times = Self::padded(&times, rank, &one);
        let dims = Self::padded(&x.shape, rank, &one).into_iter().zip(times);
        let dims = dims.map(|(dim, times)| match (dim, times) {
            (dim, Dim::Known(1)) => Ok(dim),
            (Dim::Known(1), times) => Ok(times),
            (Dim::Known(dim), Dim::Known(times)) => dim
                .checked_mul(times)
                .map(Dim::Known)
                .ok_or_else(|| Error::malformed(format!("an axis of {dim} taken {times} times"))),
            _ => Ok(Dim::Unknown),
        });
        Ok(Fact::new(x.dtype, dims.collect::<Result<_>>()?))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let rank = g.rank(self.x);
        let count = length(g, self.repeat_times)?;
        let x = g.value(self.x)?;
        let new: Vec<i64> = (0..count.saturating_sub(rank) as i64).collect();
        let x = g.unsqueeze(x, &new);
        let mut times = g.int_array(self.repeat_times)?;
        if count < rank {
            let ones = g.vector(&vec![1; rank - count]);
            times = g.concat(&[ones, times], 0);
        }
        if rank.max(count) == 0 {
            return Ok(x);
        }
        Ok(g.node("Tile", &[x, times], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let times = values.integers(self.repeat_times)?;
        let times: Option<Vec<usize>> = times.iter().map(|t| usize::try_from(*t).ok()).collect();
        let times = times.ok_or_else(|| Error::malformed("a negative number of copies"))?;
        let rank = times.len().max(x.shape().len());
        let shape = Self::padded(x.shape(), rank, &1);
        let times = Self::padded(&times, rank, &1);
        with_array!(x, x => tiled(x, &shape, &times))
    }
}

fn tiled<T: Element>(x: &Array<T>, shape: &[usize], times: &[usize]) -> Result<Tensor> {
    let mut tiled = map::reshape(x, shape)?;
    for (axis, (extent, times)) in shape.iter().zip(times).enumerate() {
        let count = extent.checked_mul(*times);
        let count = count.ok_or_else(|| Error::malformed("too many copies"))?;
        refuse_too_large(&[count])?;
        let positions: Vec<i64> = (0..count)
            .map(|position| (position % extent) as i64)
            .collect();
        tiled = index::select(&tiled, axis, &positions)?.into();
    }
    Ok(T::tensor(tiled))
}

/// The slices of `x` along `axis`, repeated: all of them `repeats` times if that is a scalar, or slice `i`
/// `repeats[i]` times if it is a vector. A scalar must be known before a run.
struct RepeatInterleave {
    x: ValueId,
    repeats: ValueId,
    axis: i64,
}

impl RepeatInterleave {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        // The sum of `repeats`, which follows from them.
        op.ignore("output_size");
        Ok(Box::new(Self {
            x: op.operand("x")?,
            repeats: op.operand("repeats")?,
            axis: op.attr("axis")?,
        }))
    }

    /// For each slice of the result, its position along an axis of `extent`. With `is_one`, `repeats`
    /// holds one number for all slices.
    fn positions(repeats: &[i64], is_one: bool, extent: usize) -> Result<Vec<i64>> {
        let repeats = match repeats {
            [only] if is_one => vec![*only; extent],
            each if each.len() == extent => each.to_vec(),
            each => {
                return Err(Error::malformed(format!(
                    "{} numbers of copies for {extent} slices",
                    each.len()
                )));
            }
        };
        let mut positions = Vec::new();
        for (position, times) in (0_i64..).zip(repeats) {
            let times = usize::try_from(times)
                .map_err(|_| Error::malformed("a negative number of copies"))?;
            refuse_too_large(&[positions.len().saturating_add(times)])?;
            positions.extend(std::iter::repeat_n(position, times));
        }
        Ok(positions)
    }

    /// The numbers of copies, and whether there is one for all slices; none if there is one for each, and they are
    /// computed.
    fn known(&self, facts: &Facts<'_>) -> Result<Option<(Vec<i64>, bool)>> {
        match facts.rank(self.repeats) {
            0 => Ok(Some((
                facts.constant_integers(self.repeats, "repeats")?,
                true,
            ))),
            1 => Ok(facts.integers(self.repeats).map(|each| (each, false))),
            rank => Err(Error::malformed(format!(
                "numbers of copies of rank {rank}"
            ))),
        }
    }

    /// Emits the nodes for numbers of copies that are computed, one for each slice.
    fn lower_computed(&self, g: &mut Lowering<'_>, x: TensorId, axis: usize) -> Result<TensorId> {
        let repeats = g.int_array(self.repeats)?;
        if g.shape(self.repeats) == [Dim::Known(1)] {
            let mut extents = vec![g.vector(&vec![1; axis]), repeats];
            extents.push(g.vector(&vec![1; g.rank(self.x) - axis - 1]));
            let shape = g.concat(&extents, 0);
            return Ok(g.node("Expand", &[x, shape], []));
        }
        // The slice for a position is the number of slices whose copies end at it or before.
        let zero = g.constant(Tensor::scalar(0_i64));
        let ends = g.node("CumSum", &[repeats, zero], []);
        let count = g.reduce("ReduceSum", repeats, &[0], true);
        let positions = g.count_up(count);
        let column = g.unsqueeze(positions, &[1]);
        let is_behind = g.compare_or_equal("Less", ends, column);
        let is_behind = g.cast(is_behind, DType::Bool, DType::I64);
        let slices = g.reduce("ReduceSum", is_behind, &[1], false);
        Ok(g.node(
            "Gather",
            &[x, slices],
            [("axis", NodeAttr::Int(axis as i64))],
        ))
    }
}

impl Function for RepeatInterleave {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let mut shape = facts.shape(self.x).to_vec();
        let axis = normalize_axis(self.axis, shape.len())?;
        shape[axis] = match (self.known(facts)?, shape[axis].extent()) {
            (None, _) => match facts.content(self.repeats) {
                Some([only]) => only.clone(),
                _ => Dim::Unknown,
            },
            (Some((repeats, true)), _) if repeats == [1] => shape[axis].clone(),
            (Some((repeats, is_one)), Some(extent)) => {
                Dim::from(Self::positions(&repeats, is_one, extent)?.len())
            }
            (Some((each, false)), None) => {
                Dim::from(Self::positions(&each, false, each.len())?.len())
            }
            (Some(_), None) => Dim::Unknown,
        };
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let axis = normalize_axis(self.axis, g.rank(self.x))?;
        let Some((repeats, is_one)) = self.known(g)? else {
            return self.lower_computed(g, x, axis);
        };
        let extent = g.shape(self.x)[axis].extent();
        let extent = if is_one { extent } else { Some(repeats.len()) };
        let positions = match (extent, repeats.as_slice()) {
            (Some(extent), _) => g.vector(&Self::positions(&repeats, is_one, extent)?),
            (None, repeats) => {
                // The positions 0, 1, … as a column, broadcast to `repeats` columns and flattened.
                let count = g.shape_slice(x, axis as i64, axis as i64 + 1);
                let positions = g.count_up(count);
                let column = g.unsqueeze(positions, &[1]);
                let columns = g.vector(&[&[1], repeats].concat());
                let table = g.node("Expand", &[column, columns], []);
                let flat = g.vector(&[-1]);
                g.node("Reshape", &[table, flat], [])
            }
        };
        let axis = ("axis", NodeAttr::Int(axis as i64));
        Ok(g.node("Gather", &[x, positions], [axis]))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let axis = normalize_axis(self.axis, x.shape().len())?;
        let repeats = values.get(self.repeats)?;
        let is_one = repeats.shape().is_empty();
        let repeats = repeats.cast(DType::I64).to_i64_vec();
        let positions = Self::positions(&repeats, is_one, x.shape()[axis])?;
        with_array!(x, x => Ok(Element::tensor(index::select(x, axis, &positions)?.into())))
    }
}
