//! A tensor that is reshaped several times is reshaped once, and one that is transposed twice is transposed once, or not at
//! all if it comes back as it was. Before the passes:
//!
//! ```text
//! %2:windows = reshape(%0:x, [-1, 7, 7, 96]) : float32 [?, 7, 7, 96]
//! %4:rows = reshape(%2:windows, [-1, 49, 96]) : float32 [?, 49, 96]
//! %5:turned = transpose(%4:rows) perm=[0, 2, 1] : float32 [?, 96, 49]
//! %6:out = transpose(%5:turned) perm=[1, 0, 2] : float32 [96, ?, 49]
//! ```
//!
//! After them:
//!
//! ```text
//! %4:rows = reshape(%0:x, [-1, 49, 96]) : float32 [?, 49, 96]
//! %6:out = transpose(%4:rows) perm=[2, 0, 1] : float32 [96, ?, 49]
//! ```

use std::collections::HashMap;

use super::weights::constant;
use super::{count_reads, each_list, ints, is, known_shapes, operand};
use crate::operator::Registry;
use crate::program::{Attr, Attributes, Op, OpKind, Operand, Program, ValueId};
use crate::simplify::replaced::Replaced;
use crate::tensor::{Dim, Tensor, open_extents, same_shape};

/// Ops that leave the elements in their order.
const RESHAPING: [&str; 4] = ["flatten", "reshape", "squeeze", "unsqueeze"];

/// What is known of a program on the way through its ops.
struct Search<'s> {
    program: &'s mut Program,
    reads: HashMap<ValueId, usize>,
    shapes: Vec<Vec<Dim>>,
    replaced: Replaced,
}

impl<'s> Search<'s> {
    fn of(program: &'s mut Program, registry: &Registry) -> Self {
        Self {
            reads: count_reads(program),
            shapes: known_shapes(program, registry),
            replaced: Replaced::default(),
            program,
        }
    }

    /// Rewrites each op by `rewritten`, which keeps what it needs of the ops before it in a map.
    fn each_op<V>(mut self, rewritten: fn(&mut Self, &mut Op, &mut HashMap<ValueId, V>)) {
        let ops = std::mem::take(&mut self.program.ops);
        let ops = each_list(ops, &mut |mut ops| {
            let mut before = HashMap::new();
            for op in &mut ops {
                rewritten(&mut self, op, &mut before);
            }
            ops
        });
        self.program.ops = ops;
        self.replaced.apply(self.program);
    }

    /// What is known of the first operand of an op, if nothing else reads it.
    fn of_alone<'v, V>(&self, op: &Op, before: &'v HashMap<ValueId, V>) -> Option<&'v V> {
        let x = operand(op, 0)?;
        before.get(&x).filter(|_| self.reads.get(&x) == Some(&1))
    }
}

/// Has each op that reshapes what others have reshaped do so at once.
pub(super) fn reshape_once(program: &mut Program, registry: &Registry) {
    // By the results of ops that reshape, what they reshape.
    Search::of(program, registry).each_op::<ValueId>(|search, op, before| {
        let is_reshaping = RESHAPING.iter().any(|name| is(op, name));
        let Some(x) = operand(op, 0).filter(|_| is_reshaping && op.results.len() == 1) else {
            return;
        };
        let result = op.results[0];
        // Where an axis is open that is taken for 1, a run has to fail if it is not.
        let [given, left] = [x, result].map(|id| open_extents(&search.shapes[id.index()]));
        if is(op, "squeeze") && given != left {
            return;
        }
        before.insert(result, x);
        let Some(first) = search.of_alone(op, before).copied() else {
            return;
        };
        let shape = &search.shapes[result.index()];
        if same_shape(shape, &search.shapes[first.index()]) {
            search.replaced.insert(result, first);
        } else if let Some(target) = target(shape) {
            let shape = constant(search.program, String::new(), Tensor::vector(target));
            op.kind = OpKind::Known("reshape");
            op.operands = vec![Operand::One(first), Operand::One(shape)];
            op.attrs = Attributes::default();
        } else {
            return;
        }
        before.insert(result, first);
    });
}

/// Has each op that transposes what another has transposed do so at once.
pub(super) fn transpose_once(program: &mut Program, registry: &Registry) {
    // By the results of ops that transpose, what they transpose, and how.
    type Transposed = (ValueId, Vec<i64>);
    Search::of(program, registry).each_op::<Transposed>(|search, op, before| {
        let perm = ints(op, "perm");
        let (Some(x), Some(perm)) = (operand(op, 0), perm.filter(|_| is(op, "transpose"))) else {
            return;
        };
        let rank = perm.len() as i64;
        let perm: Vec<i64> = perm.iter().map(|axis| axis.rem_euclid(rank)).collect();
        let twice = search.of_alone(op, before).and_then(|(first, inner)| {
            let axes = perm.iter().map(|axis| inner.get(*axis as usize).copied());
            Some((*first, axes.collect::<Option<Vec<i64>>>()?))
        });
        if let Some((first, perm)) = &twice {
            if perm.iter().copied().eq(0..rank) {
                search.replaced.insert(op.results[0], *first);
            } else {
                op.operands[0] = Operand::One(*first);
                op.attrs = Attributes::from([("perm".to_owned(), Attr::Ints(perm.clone()))]);
            }
        }
        before.insert(op.results[0], twice.unwrap_or((x, perm)));
    });
}

/// The target with which `reshape` gives a shape whatever it is given, if there is one.
fn target(shape: &[Dim]) -> Option<Vec<i64>> {
    let extents: Vec<i64> = shape.iter().map(|dim| dim.known().unwrap_or(-1)).collect();
    (!extents.is_empty() && open_extents(shape) <= 1 && !extents.contains(&0)).then_some(extents)
}
