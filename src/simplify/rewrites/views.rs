//! A tensor that is reshaped several times is reshaped once, and not at all if it has its shape already. Before the pass:
//!
//! ```text
//! %2:windows = reshape(%0:x, [-1, 7, 7, 96]) : float32 [?, 7, 7, 96]
//! %4:rows = reshape(%2:windows, [-1, 49, 96]) : float32 [?, 49, 96]
//! ```
//!
//! After it:
//!
//! ```text
//! %4:rows = reshape(%0:x, [-1, 49, 96]) : float32 [?, 49, 96]
//! ```

use super::search::Search;
use super::weights::constant;
use super::{is, operand};
use crate::operator::Registry;
use crate::program::{Attributes, OpKind, Operand, Program, ValueId};
use crate::tensor::{Dim, Tensor, open_extents, same_shape};

/// Ops that leave the elements in their order.
pub(super) const RESHAPING: [&str; 4] = ["flatten", "reshape", "squeeze", "unsqueeze"];

/// Has each op that reshapes what others have reshaped do so at once.
pub(super) fn rewrite(program: &mut Program, registry: &Registry) {
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
        let first = search.of_elements_alone(op, before).copied();
        let source = first.unwrap_or(x);
        let shape = &search.shapes[result.index()];
        let mut reshaped = x;
        if same_shape(shape, &search.shapes[source.index()]) {
            search.replaced.insert(result, source);
            reshaped = source;
        } else if let Some((first, target)) = first.zip(target(shape)) {
            let shape = constant(search.program, String::new(), Tensor::vector(target));
            op.kind = OpKind::Known("reshape");
            op.operands = vec![Operand::One(first), Operand::One(shape)];
            op.attrs = Attributes::default();
            reshaped = first;
        }
        before.insert(result, reshaped);
    });
}

/// The target with which `reshape` gives a shape whatever it is given, if there is one.
pub(super) fn target(shape: &[Dim]) -> Option<Vec<i64>> {
    let extents: Vec<i64> = shape.iter().map(|dim| dim.known().unwrap_or(-1)).collect();
    (!extents.is_empty() && open_extents(shape) <= 1 && !extents.contains(&0)).then_some(extents)
}
