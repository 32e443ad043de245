//! Loop-invariant values: what every round of a loop would compute anew is computed once, before the loop.
//!
//! An op moves out of a loop if it reads nothing that the loop carries or makes, and may be computed where the loop has no
//! round, in which Paddle would not run it. Before the pass:
//!
//! ```text
//! %9:h = while(%2:less_than, [%1:h]) : float32 [?, 4]
//!     block(%3:h)
//!         %4:matmul = matmul(%0:x, %5:w) : float32 [?, 4]
//!         %6:add = add(%3:h, %4:matmul) : float32 [?, 4]
//!         …
//!     yield %8:less_than, %6:add
//! ```
//!
//! After it:
//!
//! ```text
//! %4:matmul = matmul(%0:x, %5:w) : float32 [?, 4]
//! %9:h = while(%2:less_than, [%1:h]) : float32 [?, 4]
//!     block(%3:h)
//!         %6:add = add(%3:h, %4:matmul) : float32 [?, 4]
//!         …
//!     yield %8:less_than, %6:add
//! ```

use std::collections::HashSet;

use crate::operator::Registry;
use crate::program::{Block, Op, OpKind, Program, ValueId};

/// Moves the ops of loops whose results are the same in every round in front of these loops.
pub(super) fn hoist(program: &mut Program, registry: &Registry) {
    let ops = std::mem::take(&mut program.ops);
    program.ops = hoisted(ops, registry);
}

/// Ops, with what moves out of their blocks in front of each. The innermost loops come first, so that an op may move out
/// of several.
fn hoisted(ops: Vec<Op>, registry: &Registry) -> Vec<Op> {
    let mut all = Vec::with_capacity(ops.len());
    for mut op in ops {
        for block in &mut op.blocks {
            let ops = std::mem::take(&mut block.ops);
            block.ops = hoisted(ops, registry);
            if op.kind == OpKind::Known("while") {
                all.extend(take_invariant(block, registry));
            }
        }
        all.push(op);
    }
    all
}

/// Takes the ops out of the block of a loop that compute the same in every round.
fn take_invariant(block: &mut Block, registry: &Registry) -> Vec<Op> {
    let results = block.ops.iter().flat_map(|op| &op.results);
    let mut changing: HashSet<ValueId> = block.arguments.iter().chain(results).copied().collect();
    let ops = std::mem::take(&mut block.ops);
    let (invariant, kept) = ops.into_iter().partition(|op| {
        let mut reads_changing = false;
        op.each_read(&mut |id| reads_changing |= changing.contains(&id));
        let moves = !reads_changing && registry.is_speculatable(op);
        if moves {
            op.results.iter().for_each(|id| {
                changing.remove(id);
            });
        }
        moves
    });
    block.ops = kept;
    invariant
}
