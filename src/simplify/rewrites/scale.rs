//! The scale of attention goes into the weights of the queries, and costs nothing in a run.
//!
//! From a `scale` of queries, or of their product with the keys, the pass goes back through views to the linear layer that
//! makes them. Where this makes keys and values, too, a part of its outputs alone is scaled. Before the pass:
//!
//! ```text
//! input %9:x : float32 [batch, 5, 4]
//! %1:matmul = matmul(%9:x, %0:w) : float32 [?, 5, 8]
//! %2:q = reshape(%1:matmul, [-1, 5, 2, 4]) : float32 [?, 5, 2, 4]
//! %4:product = matmul(%2:q, %3:k) : float32 [?, 5, 2, 2]
//! %5:scale = scale(%4:product, 0.5) bias=0.0 : float32 [?, 5, 2, 2]
//! ```
//!
//! After it:
//!
//! ```text
//! input %9:x : float32 [batch, 5, 4]
//! %6:w = scale_weight(%0:w, [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]) axis=1 : float32 [4, 8]
//! %7:matmul = matmul(%9:x, %6:w) : float32 [?, 5, 8]
//! %8:q = reshape(%7:matmul, [-1, 5, 2, 4]) : float32 [?, 5, 2, 4]
//! %5:scale = matmul(%8:q, %3:k) : float32 [?, 5, 2, 2]
//! ```
//!
//! Values on the way are new ones, since they are not what the program has there.

use std::collections::HashMap;
use std::ops::Range;

use super::products::adds_along_last;
use super::weights::{constant, like, scaled, stored};
use super::{count_reads, each_list, factor, ints, is, is_view, maker, numbers, operand};
use crate::operator::Registry;
use crate::program::{Attr, Op, Operand, Origin, Program, ValueId};
use crate::tensor::{DType, Dim, Tensor};

/// Folds `scale`s into the weights that their operands come from.
pub(super) fn rewrite(program: &mut Program, _: &Registry) {
    if program.missing_weights.is_some() {
        return;
    }
    let reads = count_reads(program);
    let ops = std::mem::take(&mut program.ops);
    program.ops = each_list(ops, &mut |ops| folded(ops, program, &reads));
}

fn folded(mut ops: Vec<Op>, program: &mut Program, reads: &HashMap<ValueId, usize>) -> Vec<Op> {
    let mut position = 0;
    while position < ops.len() {
        let path = Search {
            ops: &ops,
            program,
            reads,
        }
        .path(position);
        if !path.is_some_and(|path| fold(&mut ops, program, &path)) {
            position += 1;
        }
    }
    ops
}

/// The way from a `scale` back to a weight.
struct Path {
    /// The position of the `scale`, and its factor.
    scale: usize,
    factor: f64,
    /// The ops in front of it, from the last to the product with the weight: the position of each, and which of its
    /// results is scaled.
    ops: Vec<(usize, usize)>,
    /// The columns of the weight that are scaled.
    columns: Range<usize>,
    /// The weight, which is the second operand of the last of `ops`, and the number of its columns.
    weight: (ValueId, usize),
    /// The position of the op that adds a bias, and the bias, which is its second operand.
    bias: Option<(usize, ValueId)>,
}

/// What is known of the program in which a way is looked for.
struct Search<'s> {
    ops: &'s [Op],
    program: &'s Program,
    reads: &'s HashMap<ValueId, usize>,
}

impl Search<'_> {
    /// The way from the op at a position to a weight, if the op is a `scale` for which there is one.
    fn path(&self, position: usize) -> Option<Path> {
        let op = &self.ops[position];
        // Nothing is left in a graph of a scale by 1, as of those that Paddle 1 and 2 put in front of outputs.
        let factor = factor(self.program, op).filter(|factor| *factor != 1.0)?;
        let mut id = operand(op, 0)?;
        let mut path = Path {
            scale: position,
            factor,
            ops: Vec::new(),
            columns: 0..0,
            weight: (id, 0),
            bias: None,
        };
        let mut part = None;
        // How many views may still come: after those of a part, or a bias, columns would be something else.
        let mut views = usize::MAX;
        loop {
            let (position, result) = self.maker(id, position)?;
            let op = &self.ops[position];
            path.ops.push((position, result));
            if is(op, "matmul") && self.weight(operand(op, 1)?).is_some() {
                let width = self.weight(operand(op, 1)?)?;
                let has_other =
                    !matches!(op.attrs.get("transpose_y"), None | Some(Attr::Bool(false)));
                path.weight = (operand(op, 1)?, width);
                path.columns = part.unwrap_or(0..width);
                let fits = path.columns.end <= width && !has_other;
                return fits.then_some(path);
            }
            if is(op, "add") && path.bias.is_none() {
                let bias = operand(op, 1)?;
                self.adds_vector(op, bias).then_some(())?;
                path.bias = Some((position, bias));
                views = 0;
            } else if is(op, "split") && part.is_none() {
                part = Some(self.part(op, result)?);
                views = 2;
            } else if is_view(op) {
                views = views.checked_sub(1)?;
            } else if !is(op, "matmul") || path.ops.len() > 1 {
                return None;
            }
            id = operand(op, 0)?;
        }
    }

    /// The op that makes a value which one op alone reads, before a position, and which of its results it is.
    fn maker(&self, id: ValueId, before: usize) -> Option<(usize, usize)> {
        if self.reads.get(&id) != Some(&1) || self.program[id].dtype != DType::F32 {
            return None;
        }
        maker(&self.ops[..before], id)
    }

    /// The number of columns of a weight of two axes that is read once.
    fn weight(&self, id: ValueId) -> Option<usize> {
        let value = &self.program[id];
        let is_stored = matches!(value.origin, Origin::Parameter(_)) && value.dtype == DType::F32;
        match value.shape.as_slice() {
            [_, columns] if is_stored && self.reads.get(&id) == Some(&1) => columns.extent(),
            _ => None,
        }
    }

    /// Whether an op adds a stored vector along the last axis.
    fn adds_vector(&self, add: &Op, bias: ValueId) -> bool {
        let rank = self.program[add.results[0]].shape.len();
        let bias = &self.program[bias];
        adds_along_last(add, rank) && bias.origin.is_stored() && bias.shape.len() == 1
    }

    /// The columns that a part of a `split` holds, where columns were made two axes, and the first of these is cut after a
    /// transposition.
    fn part(&self, split: &Op, result: usize) -> Option<Range<usize>> {
        let numbers = |id: ValueId| numbers(self.program, id);
        let made = |id: ValueId| {
            let (position, _) = self.maker(id, self.ops.len())?;
            Some(&self.ops[position])
        };
        let transpose = made(operand(split, 0)?).filter(|op| is(op, "transpose"))?;
        let reshape = made(operand(transpose, 0)?).filter(|op| is(op, "reshape"))?;
        let shape = numbers(operand(reshape, 1)?)?;
        let [.., _, inner] = shape[..] else {
            return None;
        };
        let axis = usize::try_from(numbers(operand(split, 2)?)?[0]).ok()?;
        let source = *ints(transpose, "perm")?.get(axis)?;
        let columns = self.program[operand(reshape, 0)?].shape.last();
        let is_of_columns = columns.and_then(Dim::known)
            == shape.iter().rev().take(2).copied().reduce(|a, b| a * b);
        if usize::try_from(source).ok()? + 2 != shape.len() || !is_of_columns {
            return None;
        }
        let sections = numbers(operand(split, 1)?)?;
        let start: i64 = sections.get(..result)?.iter().sum();
        let end = start + sections.get(result)?;
        let column = |row: i64| usize::try_from(row * inner).ok();
        Some(column(start)?..column(end)?)
    }
}

/// Scales the weight at the end of a way, and drops the `scale` at its start. False if the bias can't be read.
fn fold(ops: &mut Vec<Op>, program: &mut Program, path: &Path) -> bool {
    let (weight, width) = path.weight;
    let factors: Vec<f64> = (0..width)
        .map(|column| match path.columns.contains(&column) {
            true => path.factor,
            false => 1.0,
        })
        .collect();
    if let Some((position, bias)) = path.bias {
        let Some(elements) = stored(program, bias).filter(|bias| bias.len() == width) else {
            return false;
        };
        let elements = elements.to_f64_vec().into_iter().zip(&factors);
        let elements = Tensor::vector(elements.map(|(x, factor)| x * factor).collect());
        let name = program[bias].name.clone();
        let scaled = constant(program, name, elements.cast(DType::F32));
        ops[position].operands[1] = Operand::One(scaled);
    }
    // What is scaled is another value than before, from the weight on.
    let result = ops[path.scale].results[0];
    let mut reader = None;
    for (position, index) in &path.ops {
        let old = ops[*position].results[*index];
        let new = match reader {
            None => result,
            Some(_) => like(program, old, None),
        };
        ops[*position].results[*index] = new;
        if let Some(reader) = reader {
            let reader: &mut Op = &mut ops[reader];
            reader.operands[0] = Operand::One(new);
        }
        reader = Some(*position);
    }
    let last = path
        .ops
        .last()
        .map_or(path.scale, |(position, _)| *position);
    let scaled = scaled(program, &ops[last], weight, (factors, 1));
    ops[last].operands[1] = Operand::One(scaled.results[0]);
    ops.remove(path.scale);
    ops.insert(last, scaled);
    true
}
