//! Dead code: ops that no output of the program depends on are dropped.
//!
//! Before the pass, `shape64` and the second `divide` are needed by nothing:
//!
//! ```text
//! input %0:x : float32 [batch, 4]
//! %1:shape64 = shape64(%0:x) : int64 [2]
//! %7:divide = divide(%0:x, [2.0]) : float32 [?, 4]
//! %11:divide_1 = divide(%0:x, [2.0]) : float32 [?, 4]
//! %12:add = add(%7:divide, %7:divide) : float32 [?, 4]
//! output fetch_name_0 = %12:add
//! ```
//!
//! After it:
//!
//! ```text
//! input %0:x : float32 [batch, 4]
//! %7:divide = divide(%0:x, [2.0]) : float32 [?, 4]
//! %12:add = add(%7:divide, %7:divide) : float32 [?, 4]
//! output fetch_name_0 = %12:add
//! ```

use std::collections::HashSet;

use crate::program::{Program, ValueId};

/// Drops the ops of which no result is read by an output, or by an op that is needed itself.
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
