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

use std::collections::{BTreeMap, HashMap};

use super::weights::constant;
use super::{count_reads, each_list, ints, is, known_shapes, operand};
use crate::operator::Registry;
use crate::program::{Attr, Op, OpKind, Operand, Program, ValueId};
use crate::simplify::replaced::Replaced;
use crate::tensor::{Dim, Tensor};

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

    /// Rewrites each op by `rewritten`, which is given what the ops before it made their results of.
    fn each_op(mut self, rewritten: fn(&mut Self, &mut Op, &mut Views)) {
        let ops = std::mem::take(&mut self.program.ops);
        let ops = each_list(ops, &mut |mut ops| {
            let mut views = Views::new();
            for op in &mut ops {
                rewritten(&mut self, op, &mut views);
            }
            ops
        });
        self.program.ops = ops;
        self.replaced.apply(self.program);
    }

    /// The view that an op looks at, which nothing else does.
    fn inner<'v>(&self, op: &Op, views: &'v Views) -> Option<&'v View> {
        let looked_at = operand(op, 0)?;
        let view = views.get(&looked_at)?;
        (self.reads.get(&looked_at) == Some(&1)).then_some(view)
    }
}

/// By their results, the tensors that views look at and how they permute the axes of these.
type Views = HashMap<ValueId, View>;

#[derive(Clone)]
struct View {
    of: ValueId,
    perm: Vec<i64>,
}

/// Has each op that reshapes what others have reshaped do so at once.
pub(super) fn reshape_once(program: &mut Program, registry: &Registry) {
    Search::of(program, registry).each_op(|search, op, views| {
        let is_reshaping = RESHAPING.iter().any(|name| is(op, name));
        let Some(x) = operand(op, 0).filter(|_| is_reshaping && op.results.len() == 1) else {
            return;
        };
        let of = search.inner(op, views).map(|view| view.of);
        let (shape, inner) = (&search.shapes[op.results[0].index()], of.unwrap_or(x));
        if of.is_some() && is_same(shape, &search.shapes[inner.index()]) {
            search.replaced.insert(op.results[0], inner);
        } else if let Some(target) = of.and_then(|_| target(shape)) {
            let shape = constant(search.program, String::new(), Tensor::vector(target));
            op.kind = OpKind::Known("reshape");
            op.operands = vec![Operand::One(inner), Operand::One(shape)];
            op.attrs = BTreeMap::new();
        } else {
            views.insert(
                op.results[0],
                View {
                    of: x,
                    perm: Vec::new(),
                },
            );
            return;
        }
        views.insert(
            op.results[0],
            View {
                of: inner,
                perm: Vec::new(),
            },
        );
    });
}

/// Has each op that transposes what another has transposed do so at once.
pub(super) fn transpose_once(program: &mut Program, registry: &Registry) {
    Search::of(program, registry).each_op(|search, op, views| {
        let perm = ints(op, "perm").or_else(|| ints(op, "axis"));
        let (Some(x), Some(perm)) = (operand(op, 0), perm.filter(|_| is(op, "transpose"))) else {
            return;
        };
        let rank = perm.len() as i64;
        let perm = perm.iter().map(|axis| axis.rem_euclid(rank)).collect();
        let mut view = View { of: x, perm };
        if let Some(inner) = search.inner(op, views) {
            let perm = view.perm.iter().map(|axis| inner.perm[*axis as usize]);
            view = View {
                of: inner.of,
                perm: perm.collect(),
            };
            if view.perm.iter().copied().eq(0..rank) {
                search.replaced.insert(op.results[0], view.of);
            } else {
                op.operands[0] = Operand::One(view.of);
                op.attrs = BTreeMap::from([("perm".to_owned(), Attr::Ints(view.perm.clone()))]);
            }
        }
        views.insert(op.results[0], view);
    });
}

fn is_same(shape: &[Dim], other: &[Dim]) -> bool {
    let mut pairs = shape.iter().zip(other);
    shape.len() == other.len() && pairs.all(|(extent, other)| extent.same(other))
}

/// The target with which `reshape` gives a shape whatever it is given, if there is one.
fn target(shape: &[Dim]) -> Option<Vec<i64>> {
    let extents: Vec<i64> = shape.iter().map(|dim| dim.known().unwrap_or(-1)).collect();
    let open = extents.iter().filter(|extent| **extent < 0).count();
    (!extents.is_empty() && open <= 1 && !extents.contains(&0)).then_some(extents)
}
