//! Products and a softmax that are attention become one op, for which runtimes have kernels that never hold all scores.
//!
//! From each `softmax` over the last axis, the pass looks back to the product of queries and keys, past a scale and a mask,
//! and forward to the product with the values. Where the heads were only made an axis for these products, they stay side by
//! side, as the layers before and behind them have them. Before the pass:
//!
//! ```text
//! input %0:x : float32 [batch, 5, 36]
//! %1:reshape = reshape(%0:x, [-1, 5, 6, 6]) : float32 [batch, 5, 6, 6]
//! %2:transpose = transpose(%1:reshape) perm=[0, 2, 1, 3] : float32 [batch, 6, 5, 6]
//! %3:q, %4:k, %5:v = split(%2:transpose, [2, 2, 2], 1) : float32 [batch, 2, 5, 6], …
//! %6:matmul = matmul(%3:q, %4:k) transpose_y=true : float32 [batch, 2, 5, 5]
//! %7:scale = scale(%6:matmul, 0.5) bias=0.0 : float32 [batch, 2, 5, 5]
//! %8:softmax = softmax(%7:scale) axis=-1 : float32 [batch, 2, 5, 5]
//! %9:matmul = matmul(%8:softmax, %5:v) : float32 [batch, 2, 5, 6]
//! %10:transpose = transpose(%9:matmul) perm=[0, 2, 1, 3] : float32 [batch, 5, 2, 6]
//! %11:y = reshape(%10:transpose, [-1, 5, 12]) : float32 [batch, 5, 12]
//! ```
//!
//! After it:
//!
//! ```text
//! input %0:x : float32 [batch, 5, 36]
//! %12, %13, %14 = split(%0:x, [12, 12, 12], 2) : float32 [batch, 5, 12], …
//! %11:y = scaled_dot_product_attention(%12, %13, %14) num_heads=2 scale=0.5 : float32 [batch, 5, 12]
//! ```

use std::collections::HashMap;

use super::weights::like;
use super::{
    count_reads, each_list, factor, ints, is, known_shapes, maker, numbers, operand, split,
};
use crate::operator::Registry;
use crate::program::{Attr, Attributes, Op, OpKind, Operand, Program, ValueId};
use crate::tensor::{DType, Dim, normalize_axis};

/// The op that is ONNX's attention.
pub(super) const SCALED_DOT_PRODUCT: &str = "scaled_dot_product_attention";
/// The op that is ONNX Runtime's attention.
pub(super) const MULTI_HEAD: &str = "multi_head_attention";
/// The order of axes that exchanges heads and positions.
const HEADS_FIRST: &[i64] = &[0, 2, 1, 3];
/// The order of axes that transposes the matrices of each head.
const TRANSPOSED: &[i64] = &[0, 1, 3, 2];

/// Makes ONNX's attention of products around a softmax.
pub(super) fn rewrite(program: &mut Program, registry: &Registry) {
    fuse(program, registry, SCALED_DOT_PRODUCT);
}

/// Makes ONNX Runtime's attention of products around a softmax. Its heads lie side by side, and its mask has all axes, of
/// which those of the batch and of the heads are broadcast.
pub(super) fn rewrite_for_onnx_runtime(program: &mut Program, registry: &Registry) {
    fuse(program, registry, MULTI_HEAD);
}

/// Makes attention of this name of products around a softmax.
fn fuse(program: &mut Program, registry: &Registry, name: &'static str) {
    let mut fusing = Fusing {
        name,
        reads: count_reads(program),
        shapes: known_shapes(program, registry),
        program,
    };
    let ops = std::mem::take(&mut fusing.program.ops);
    fusing.program.ops = each_list(ops, &mut |ops| fusing.fused(ops));
}

/// What is known of a program in which attention is looked for.
struct Fusing<'f> {
    /// The op that is made.
    name: &'static str,
    program: &'f mut Program,
    reads: HashMap<ValueId, usize>,
    /// The shape of each value before the pass, by its index.
    shapes: Vec<Vec<Dim>>,
}

/// Attention that was found.
struct Found {
    /// Queries, keys and values, as `[batch, heads, length, extent]`.
    operands: [ValueId; 3],
    mask: Option<ValueId>,
    scale: f64,
    /// The position of the op with the last result, which is the product with the values, or what moves its heads back.
    last: usize,
    /// Where the heads of the operands lie side by side, if nothing else is done with the heads of the result.
    flat: Option<(i64, [Flat; 3])>,
}

/// Where the heads of an operand lie side by side: in a value `[batch, length, heads · extent]`, or in a part of one.
enum Flat {
    Whole(ValueId),
    /// A result of the `split` at a position, whose operand is `whole` with another order of axes.
    Part {
        split: usize,
        result: usize,
        whole: ValueId,
        /// The extents of the parts.
        extents: Vec<i64>,
    },
}

impl Fusing<'_> {
    /// A list of ops after the pass.
    fn fused(&mut self, mut ops: Vec<Op>) -> Vec<Op> {
        for position in (0..ops.len()).rev() {
            if let Some(found) = self.found(&ops, position) {
                let made = self.replacement(&ops, &found);
                // The ops before it, which nothing reads any more, are dropped by a later pass.
                ops.splice(found.last..=found.last, made);
            }
        }
        ops
    }

    /// The attention whose softmax is at a position.
    fn found(&self, ops: &[Op], position: usize) -> Option<Found> {
        let softmax = &ops[position];
        let result = *softmax.results.first().filter(|_| is(softmax, "softmax"))?;
        let rank = self.shape(result).len();
        let axis = match softmax.attrs.get("axis") {
            None => -1,
            Some(Attr::Int(axis)) => *axis,
            Some(_) => return None,
        };
        if rank != 4 || normalize_axis(axis, rank).ok()? != 3 {
            return None;
        }
        let (last, product) = self.only_reader(ops, result)?;
        let is_first = operand(product, 0) == Some(result);
        if !is(product, "matmul") || !is_first || is_set(product, "transpose_x") {
            return None;
        }
        let values = operand(product, 1).filter(|_| !is_set(product, "transpose_y"))?;
        let mut found = Found {
            operands: [values; 3],
            mask: None,
            scale: 1.0,
            last,
            flat: None,
        };
        self.look_back(ops, operand(softmax, 0)?, &mut found)?;
        self.fits(&found).then_some(())?;
        self.look_around(ops, product, &mut found);
        (self.name != MULTI_HEAD || self.is_multi_head(&found)).then_some(found)
    }

    /// Finds the queries, the keys, the scale and the mask of scores.
    fn look_back(&self, ops: &[Op], scores: ValueId, found: &mut Found) -> Option<()> {
        let mut op = self.only_maker(ops, scores)?;
        let is_trailing = matches!(op.attrs.get("axis"), None | Some(Attr::Int(-1)));
        if is(op, "add") && is_trailing {
            found.mask = Some(operand(op, 1)?);
            op = self.only_maker(ops, operand(op, 0)?)?;
        }
        if let Some(factor) = self.factor(op) {
            found.scale = factor;
            op = self.only_maker(ops, operand(op, 0)?)?;
        }
        if !is(op, "matmul") || is_set(op, "transpose_x") {
            return None;
        }
        let (mut queries, mut keys) = (operand(op, 0)?, operand(op, 1)?);
        if !is_set(op, "transpose_y") {
            let transpose = made_by(ops, keys)?;
            keys = operand(transpose, 0).filter(|_| transposes(transpose, TRANSPOSED))?;
        }
        if let Some((op, factor)) = self
            .only_maker(ops, queries)
            .and_then(|op| Some((op, self.factor(op)?)))
        {
            found.scale *= factor;
            queries = operand(op, 0)?;
        }
        found.operands = [queries, keys, found.operands[2]];
        Some(())
    }

    /// Whether ONNX's operator takes the operands: float32, as many heads in each, and a mask for all queries and keys.
    fn fits(&self, found: &Found) -> bool {
        let [q, k, v] = found.operands.map(|id| self.shape(id));
        let ([batch, heads, length, _], [.., keys, _]) = (q, k) else {
            return false;
        };
        let is_known = |dim: &Dim| *dim != Dim::Unknown;
        let alike = |other: &[Dim]| other.len() == 4 && other[..2] == q[..2];
        let fits = |mask: ValueId| {
            let shape = self.shape(mask);
            let [.., rows, columns] = shape else {
                return false;
            };
            let all = [batch, heads].into_iter().rev();
            let outer = shape.iter().rev().skip(2).zip(all);
            [2, 4].contains(&shape.len())
                && rows.same(length)
                && columns == keys
                && outer
                    .into_iter()
                    .all(|(own, dim)| own == dim || *own == Dim::Known(1))
        };
        let mut all = found.operands.into_iter().chain(found.mask);
        all.all(|id| self.program[id].dtype == DType::F32)
            && [batch, heads, keys].into_iter().all(is_known)
            && alike(k)
            && alike(v)
            && found.mask.is_none_or(fits)
    }

    /// Whether ONNX Runtime's operator takes the operands.
    fn is_multi_head(&self, found: &Found) -> bool {
        let has_all_axes = |mask| has_all_axes(self.shape(mask));
        found.flat.is_some() && found.mask.is_none_or(has_all_axes)
    }

    /// Finds where the heads lie side by side before the attention and behind it.
    fn look_around(&self, ops: &[Op], product: &Op, found: &mut Found) -> Option<()> {
        let (_, transpose) = self.only_reader(ops, *product.results.first()?)?;
        transposes(transpose, HEADS_FIRST).then_some(())?;
        let moved = *transpose.results.first()?;
        let (last, reshape) = self.only_reader(ops, moved)?;
        let (moved, merged) = (self.shape(moved), self.shape(*reshape.results.first()?));
        let is_view = is(reshape, "reshape") || is(reshape, "flatten");
        if !is_view || !is_merged(moved, merged) {
            return None;
        }
        let flats: Vec<_> = found
            .operands
            .iter()
            .map(|id| self.flat(ops, *id))
            .collect::<Option<_>>()?;
        let heads = flats.first()?.0;
        let is_same = flats.iter().all(|(other, _)| *other == heads);
        let flats: Vec<Flat> = flats.into_iter().map(|(_, flat)| flat).collect();
        let flats = flats.try_into().ok().filter(|_| is_same)?;
        found.flat = Some((heads, flats));
        found.last = last;
        Some(())
    }

    /// The number of heads of an operand, and where they lie side by side.
    fn flat(&self, ops: &[Op], id: ValueId) -> Option<(i64, Flat)> {
        let (position, result) = maker(ops, id)?;
        let op = &ops[position];
        if !is(op, "split") {
            let (heads, _, whole) = self.merged(ops, op)?;
            return Some((heads, Flat::Whole(whole)));
        }
        let (heads, extent, whole) = self.merged(ops, made_by(ops, operand(op, 0)?)?)?;
        let sections = numbers(self.program, operand(op, 1)?)?;
        let axis = numbers(self.program, operand(op, 2)?)?;
        let heads_of_part = *sections.get(result)?;
        let is_cut = axis == [1] && sections.iter().sum::<i64>() == heads;
        let extents = sections.iter().map(|section| section * extent).collect();
        let part = Flat::Part {
            split: position,
            result,
            whole,
            extents,
        };
        is_cut.then_some((heads_of_part, part))
    }

    /// For a `transpose` of heads that a `reshape` has made an axis: their number, the extent of each, and what was reshaped.
    fn merged(&self, ops: &[Op], transpose: &Op) -> Option<(i64, i64, ValueId)> {
        let apart = operand(transpose, 0).filter(|_| transposes(transpose, HEADS_FIRST))?;
        let reshape = made_by(ops, apart)?;
        let whole = operand(reshape, 0).filter(|_| is(reshape, "reshape"))?;
        let shape = self.shape(apart);
        let [_, _, heads, extent] = shape else {
            return None;
        };
        let is_merged = is_merged(shape, self.shape(whole));
        is_merged.then_some((heads.known()?, extent.known()?, whole))
    }

    /// The ops in place of the last one of attention.
    fn replacement(&mut self, ops: &[Op], found: &Found) -> Vec<Op> {
        let last = &ops[found.last];
        let mut made: Vec<Op> = Vec::new();
        let mut attrs = Attributes::from([("scale".to_owned(), Attr::Float(found.scale))]);
        let mut operands = found.operands;
        if let Some((heads, flats)) = &found.flat {
            attrs.insert("num_heads".to_owned(), Attr::Int(*heads));
            let mut splits: HashMap<usize, Vec<ValueId>> = HashMap::new();
            for (operand, flat) in operands.iter_mut().zip(flats) {
                *operand = match flat {
                    Flat::Whole(whole) => *whole,
                    Flat::Part {
                        split,
                        result,
                        whole,
                        extents,
                    } => {
                        let parts = splits.entry(*split).or_insert_with(|| {
                            let op = self.flat_split(*whole, extents, last);
                            made.push(op);
                            made[made.len() - 1].results.clone()
                        });
                        parts[*result]
                    }
                };
            }
        }
        let operands = operands.into_iter().map(Operand::One);
        let mask = found.mask.map_or(Operand::Absent, Operand::One);
        made.push(Op {
            kind: OpKind::Known(self.name),
            operands: operands.chain([mask]).collect(),
            attrs,
            ..last.clone()
        });
        made
    }

    /// The `split` of a value along its last axis.
    fn flat_split(&mut self, whole: ValueId, extents: &[i64], reader: &Op) -> Op {
        let shape = self.shape(whole).to_vec();
        let parts = extents.iter().map(|extent| {
            let mut shape = shape.clone();
            shape[2] = Dim::Known(*extent);
            like(self.program, whole, Some(shape))
        });
        let parts = parts.collect();
        split(self.program, reader, (whole, extents, 2), parts)
    }

    fn shape(&self, id: ValueId) -> &[Dim] {
        self.shapes.get(id.index()).map_or(&[], Vec::as_slice)
    }

    /// The op that makes a value which one op alone reads.
    fn only_maker<'o>(&self, ops: &'o [Op], id: ValueId) -> Option<&'o Op> {
        let op = made_by(ops, id);
        op.filter(|_| self.reads.get(&id) == Some(&1))
    }

    /// The position of the only op that reads a value, and the op.
    fn only_reader<'o>(&self, ops: &'o [Op], id: ValueId) -> Option<(usize, &'o Op)> {
        let mut all = ops.iter().enumerate();
        let reader =
            all.find(|(_, op)| (0..op.operands.len()).any(|at| operand(op, at) == Some(id)));
        reader.filter(|_| self.reads.get(&id) == Some(&1))
    }

    /// The factor of a `scale` whose square root is a number.
    fn factor(&self, op: &Op) -> Option<f64> {
        factor(self.program, op).filter(|factor| *factor > 0.0)
    }
}

/// Whether ONNX Runtime's operators take a mask of this shape: with axes of the batch and of the heads.
pub(super) fn has_all_axes(mask: &[Dim]) -> bool {
    mask.len() == 4
}

/// The op that makes a value.
fn made_by(ops: &[Op], id: ValueId) -> Option<&Op> {
    ops.get(maker(ops, id)?.0)
}

/// Whether an op is a `transpose` into this order of axes.
fn transposes(op: &Op, perm: &[i64]) -> bool {
    is(op, "transpose") && ints(op, "perm") == Some(perm)
}

/// Whether a flag is set.
fn is_set(op: &Op, name: &str) -> bool {
    matches!(op.attrs.get(name), Some(Attr::Bool(true)))
}

/// Whether `merged` has the last two axes of `apart`, a shape of four axes, in one, and the others as they are.
fn is_merged(apart: &[Dim], merged: &[Dim]) -> bool {
    let ([batch, length, heads, extent], [outer, inner, columns]) = (apart, merged) else {
        return false;
    };
    let product = heads.known().zip(extent.known());
    let product = product.and_then(|(heads, extent)| heads.checked_mul(extent));
    product.is_some()
        && product == columns.known()
        && ![batch, length].contains(&&Dim::Unknown)
        && [batch, length] == [outer, inner]
}
