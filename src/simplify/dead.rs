//! Dead code: ops of which no output needs a result.

use std::collections::HashSet;

use crate::program::{Op, Operand, Program, ValueId};

/// Drops them.
pub(super) fn drop_unneeded(program: &mut Program) {
    let outputs = program.outputs.iter().map(|output| output.value);
    let mut needed: HashSet<ValueId> = outputs.collect();
    let ops = std::mem::take(&mut program.ops);
    for op in ops.into_iter().rev() {
        if op.results.iter().any(|result| needed.contains(result)) {
            needs(&op, &mut needed);
            program.ops.push(op);
        }
    }
    program.ops.reverse();
}

/// Adds what an op reads, and what its blocks read and hand out.
fn needs(op: &Op, needed: &mut HashSet<ValueId>) {
    needed.extend(op.operands.iter().flat_map(Operand::values));
    for block in &op.blocks {
        needed.extend(&block.results);
        block.ops.iter().for_each(|op| needs(op, needed));
    }
}
