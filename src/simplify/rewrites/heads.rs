//! An axis that is moved and then taken apart, as that of query, key and value in attention, is never made.
//!
//! A `reshape` makes an axis of a known extent in front of another, a `transpose` moves it, and `slice`s pick all that is
//! read of it, one position each. Instead, the `reshape` leaves both axes in one, which `split` cuts behind the
//! `transpose`: the rank is lower by one, which NCNN needs, and there are fewer nodes. Before the pass:
//!
//! ```text
//! input %0:x : float32 [batch, 5, 54]
//! %1:reshape = reshape(%0:x, [-1, 5, 3, 3, 6]) : float32 [?, 5, 3, 3, 6]
//! %2:transpose = transpose(%1:reshape) perm=[2, 0, 3, 1, 4] : float32 [3, ?, 3, 5, 6]
//! %3:q = slice(%2:transpose, [0], [1]) axes=[0] decrease_axis=[0] : float32 [?, 3, 5, 6]
//! %4:k = slice(%2:transpose, [1], [2]) axes=[0] decrease_axis=[0] : float32 [?, 3, 5, 6]
//! ```
//!
//! After it:
//!
//! ```text
//! input %0:x : float32 [batch, 5, 54]
//! %5:reshape = reshape(%0:x, [-1, 5, 9, 6]) : float32 [?, 5, 9, 6]
//! %6:transpose = transpose(%5:reshape) perm=[0, 2, 1, 3] : float32 [?, 9, 5, 6]
//! %3:q, %4:k, %7 = split(%6:transpose, [3, 3, 3], 1) : float32 [?, 3, 5, 6], float32 [?, 3, 5, 6], float32 [?, 3, 5, 6]
//! ```

use std::collections::{HashMap, HashSet};

use super::weights::{constant, like};
use super::{count_reads, each_list, ints, is, known_shapes, maker, numbers, operand, split};
use crate::operator::Registry;
use crate::program::{Attr, Attributes, Op, Operand, Program, ValueId};
use crate::tensor::{Dim, Tensor};

/// Makes `split`s of all axes that are moved and taken apart.
pub(super) fn rewrite(program: &mut Program, registry: &Registry) {
    let mut splitting = Splitting {
        reads: count_reads(program),
        shapes: known_shapes(program, registry),
        program,
    };
    let ops = std::mem::take(&mut splitting.program.ops);
    splitting.program.ops = each_list(ops, &mut |ops| splitting.split(ops));
}

/// What is known of a program that is rewritten.
struct Splitting<'s> {
    program: &'s mut Program,
    reads: HashMap<ValueId, usize>,
    /// The shape of each value before the pass, by its index.
    shapes: Vec<Vec<Dim>>,
}

/// An axis that is moved and taken apart, by positions of ops.
struct Picked {
    reshape: usize,
    transpose: usize,
    /// The position of each slice, and which position on the axis it picks.
    slices: Vec<(usize, usize)>,
    /// The shape of the reshaped tensor without the axis, which is in the next one.
    shape: Vec<i64>,
    perm: Vec<i64>,
    /// The axis behind the transposition that holds both.
    axis: usize,
    /// How many parts it has, and the extent of each.
    parts: (usize, i64),
}

impl Splitting<'_> {
    /// A list of ops after the pass.
    fn split(&mut self, ops: Vec<Op>) -> Vec<Op> {
        let mut made: HashMap<usize, Vec<Op>> = HashMap::new();
        let mut is_dropped = vec![false; ops.len()];
        for transpose in 0..ops.len() {
            if let Some(picked) = self.picked(&ops, transpose) {
                let slices = picked.slices.iter().map(|(position, _)| *position);
                for position in slices.chain([picked.reshape, transpose]) {
                    is_dropped[position] = true;
                }
                made.insert(transpose, self.replacement(&ops, &picked));
            }
        }
        let mut kept = Vec::with_capacity(ops.len());
        for (position, op) in ops.into_iter().enumerate() {
            kept.extend(made.remove(&position).into_iter().flatten());
            if !is_dropped[position] {
                kept.push(op);
            }
        }
        kept
    }

    /// The axis that the `transpose` at a position moves, if a `reshape` makes it and `slice`s take it apart.
    fn picked(&self, ops: &[Op], position: usize) -> Option<Picked> {
        let transpose = &ops[position];
        let perm = ints(transpose, "perm").filter(|_| is(transpose, "transpose"))?;
        let (x, result) = (operand(transpose, 0)?, *transpose.results.first()?);
        let (reshape, _) = maker(&ops[..position], x)?;
        if !is(&ops[reshape], "reshape") || self.reads.get(&x) != Some(&1) {
            return None;
        }
        let (moved, slices) = self.slices(ops, result)?;
        let axis = usize::try_from(*perm.get(moved)?).ok()?;
        let shape = &self.shapes[x.index()];
        let (count, extent) = (shape.get(axis)?.known()?, shape.get(axis + 1)?.known()?);
        let count = usize::try_from(count).ok()?;
        if slices.iter().any(|(_, picked)| *picked >= count) || perm.len() != shape.len() {
            return None;
        }
        let mut merged: Vec<i64> = shape.iter().map(|dim| dim.known().unwrap_or(-1)).collect();
        merged[axis + 1] = extent.checked_mul(i64::try_from(count).ok()?)?;
        merged.remove(axis);
        let is_clear = merged.iter().filter(|extent| **extent < 0).count() <= 1;
        let mut perm: Vec<i64> = perm.to_vec();
        perm.remove(moved);
        let axis = i64::try_from(axis).ok()?;
        for source in perm.iter_mut().filter(|source| **source > axis) {
            *source -= 1;
        }
        is_clear.then_some(Picked {
            reshape,
            transpose: position,
            slices,
            shape: merged,
            axis: perm.iter().position(|source| *source == axis)?,
            perm,
            parts: (count, extent),
        })
    }

    /// The axis that `slice`s take apart, and their positions, if nothing else reads `x`, and no two pick the same.
    fn slices(&self, ops: &[Op], x: ValueId) -> Option<(usize, Vec<(usize, usize)>)> {
        let mut axis = None;
        let mut slices = Vec::new();
        for (position, op) in ops.iter().enumerate() {
            if operand(op, 0) != Some(x) || !is(op, "slice") {
                continue;
            }
            let ([own], [decreased]) = (ints(op, "axes")?, ints(op, "decrease_axis")?) else {
                return None;
            };
            let (start, end) = (self.number(operand(op, 1)?)?, self.number(operand(op, 2)?)?);
            if own != decreased
                || *axis.get_or_insert(*own) != *own
                || start.checked_add(1) != Some(end)
            {
                return None;
            }
            slices.push((position, usize::try_from(start).ok()?));
        }
        let picked: HashSet<usize> = slices.iter().map(|(_, part)| *part).collect();
        let is_all = self.reads.get(&x) == Some(&slices.len()) && picked.len() == slices.len();
        let axis = usize::try_from(axis?).ok()?;
        is_all.then_some((axis, slices))
    }

    /// The only element of a constant.
    fn number(&self, id: ValueId) -> Option<i64> {
        match numbers(self.program, id)?[..] {
            [number] => Some(number),
            _ => None,
        }
    }

    /// The ops in place of those that make, move and take apart an axis.
    fn replacement(&mut self, ops: &[Op], picked: &Picked) -> Vec<Op> {
        let (reshape, transpose) = (&ops[picked.reshape], &ops[picked.transpose]);
        let shape = Tensor::vector(picked.shape.clone());
        let shape = constant(self.program, String::new(), shape);
        let dims: Vec<Dim> = picked
            .shape
            .iter()
            .map(|extent| match extent {
                -1 => Dim::Unknown,
                extent => Dim::Known(*extent),
            })
            .collect();
        let mut reshape = Op {
            operands: vec![reshape.operands[0].clone(), Operand::One(shape)],
            ..reshape.clone()
        };
        let merged = like(self.program, reshape.results[0], Some(dims.clone()));
        reshape.results = vec![merged];
        let moved = picked
            .perm
            .iter()
            .map(|source| dims[*source as usize].clone());
        let moved: Vec<Dim> = moved.collect();
        let result = like(self.program, transpose.results[0], Some(moved.clone()));
        let perm = Attr::Ints(picked.perm.clone());
        let transpose = Op {
            operands: vec![Operand::One(merged)],
            results: vec![result],
            attrs: Attributes::from([("perm".to_owned(), perm)]),
            ..transpose.clone()
        };
        let split = self.split_of(ops, picked, (&transpose, moved));
        vec![reshape, transpose, split]
    }

    /// The `split` of the result of `transpose`, whose shape is `moved`.
    fn split_of(&mut self, ops: &[Op], picked: &Picked, (transpose, moved): (&Op, Vec<Dim>)) -> Op {
        let whole = transpose.results[0];
        let (count, extent) = picked.parts;
        let mut part_shape = moved;
        part_shape[picked.axis] = Dim::Known(extent);
        let parts: Vec<ValueId> = (0..count)
            .map(|part| {
                let mut slices = picked.slices.iter();
                match slices.find(|(_, picked)| *picked == part) {
                    Some((position, _)) => ops[*position].results[0],
                    None => like(self.program, whole, Some(part_shape.clone())),
                }
            })
            .collect();
        let extents = vec![extent; count];
        split(
            self.program,
            transpose,
            (whole, &extents, picked.axis),
            parts,
        )
    }
}
