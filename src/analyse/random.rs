//! Which outputs are others in each run.

use std::collections::BTreeSet;

use crate::operator::Registry;
use crate::program::{Operand, Program, ValueId};

/// Whether each output of a program depends on random numbers: no two runs give the same then.
pub(crate) fn random_outputs(program: &Program, registry: &Registry) -> Vec<bool> {
    let mut random: BTreeSet<ValueId> = BTreeSet::new();
    for op in program.ops() {
        let mut operands = op.operands.iter().flat_map(Operand::values);
        // The shape of random numbers is none.
        let reads_values = !matches!(op.kind.name(), "shape" | "shape64");
        if registry.is_random(op) || (reads_values && operands.any(|id| random.contains(id))) {
            random.extend(&op.results);
        }
    }
    let outputs = program.outputs().iter();
    outputs
        .map(|output| random.contains(&output.value))
        .collect()
}
