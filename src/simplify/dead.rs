//! Dead code: ops of which no output needs a result.

use std::collections::HashSet;

use crate::program::{Program, ValueId};

/// Drops them.
pub(crate) fn drop_unneeded(program: &mut Program) {
    let outputs = program.outputs.iter().map(|output| output.value);
    let mut needed: HashSet<ValueId> = outputs.collect();
    let ops = std::mem::take(&mut program.ops);
    for op in ops.into_iter().rev() {
        if op.results.iter().any(|result| needed.contains(result)) {
            op.each_read(&mut |id| {
                needed.insert(id);
            });
            program.ops.push(op);
        }
    }
    program.ops.reverse();
}
