//! Which outputs of a program depend on random numbers, or on ops that this crate can't compute.

use std::collections::HashSet;

use crate::operator::Registry;
use crate::program::{Op, Program, ValueId};

/// For each output of a program, in order, whether its elements depend on random numbers, so that they differ from run
/// to run.
pub(crate) fn random_outputs(program: &Program, registry: &Registry) -> Vec<bool> {
    // The shape of a tensor of random numbers is the same in each run.
    let reads_elements = |op: &Op| !matches!(op.kind.name(), "shape" | "shape64");
    depending_outputs(program, |op| registry.is_random(op), reads_elements)
}

/// For each output of a program, in order, whether it depends on an op that is passed through, which only another
/// runtime can compute.
pub(crate) fn opaque_outputs(program: &Program, registry: &Registry) -> Vec<bool> {
    depending_outputs(program, |op| registry.is_opaque(op), |_| true)
}

/// For each output, in order, whether it depends on a result of an op that `is_source`. The results of an op depend on
/// what it reads if `hands_on` says so of the op.
fn depending_outputs(
    program: &Program,
    is_source: impl Fn(&Op) -> bool,
    hands_on: impl Fn(&Op) -> bool,
) -> Vec<bool> {
    let mut depending: HashSet<ValueId> = HashSet::new();
    for op in program.ops() {
        let mut depends = is_source(op) || op.inner_ops().any(&is_source);
        if hands_on(op) {
            op.each_read(&mut |id| depends |= depending.contains(&id));
        }
        if depends {
            depending.extend(&op.results);
        }
    }
    let outputs = program.outputs().iter();
    outputs
        .map(|output| depending.contains(&output.value))
        .collect()
}
