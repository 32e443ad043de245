//! Which outputs depend on ops that set them apart.

use std::collections::HashSet;

use crate::operator::Registry;
use crate::program::{Op, Program, ValueId};

/// Whether each output of a program depends on random numbers: no two runs give the same then.
pub(crate) fn random_outputs(program: &Program, registry: &Registry) -> Vec<bool> {
    // The shape of random numbers is none.
    let reads_elements = |op: &Op| !matches!(op.kind.name(), "shape" | "shape64");
    depending_outputs(program, |op| registry.is_random(op), reads_elements)
}

/// Whether each output of a program depends on an op that only another runtime can compute.
pub(crate) fn opaque_outputs(program: &Program, registry: &Registry) -> Vec<bool> {
    depending_outputs(program, |op| registry.is_opaque(op), |_| true)
}

/// Whether each output depends on a result of a source, by ways that lead through ops that `hands_on` what they read.
fn depending_outputs(
    program: &Program,
    is_source: impl Fn(&Op) -> bool,
    hands_on: impl Fn(&Op) -> bool,
) -> Vec<bool> {
    let mut depending: HashSet<ValueId> = HashSet::new();
    for op in program.ops() {
        let mut depends = is_source(op);
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
