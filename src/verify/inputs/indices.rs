//! What integer inputs may be at most, because they are positions in something.

use std::collections::HashMap;

use crate::analyse::Analysis;
use crate::operator::Registry;
use crate::program::{Operand, Program, ValueId};

/// Ops that hand on the numbers of their first operand.
const MOVES: &[&str] = &[
    "assign",
    "cast",
    "expand",
    "expand_as",
    "flatten",
    "flatten2",
    "reshape",
    "slice",
    "squeeze",
    "strided_slice",
    "tile",
    "transpose",
    "unsqueeze",
];

/// For each input, the number of positions in the smallest table, or other tensor, that it is an
/// index into; none for inputs that are not.
pub(super) fn bounds(program: &Program, registry: &Registry) -> Vec<Option<u64>> {
    let mut bounds = HashMap::new();
    // Whoever wants to run a program that is not understood is told so elsewhere.
    if let Ok(analysis) = Analysis::of(program, registry) {
        // The input that each value is made of.
        let inputs = program.inputs().iter();
        let mut sources: HashMap<ValueId, ValueId> = inputs.map(|id| (*id, *id)).collect();
        for (op, parsed) in analysis.ops() {
            let first = op.operands.first().map(Operand::values).unwrap_or_default();
            if let ([first], [result]) = (first, op.results.as_slice())
                && MOVES.contains(&op.kind.name())
                && let Some(source) = sources.get(first)
            {
                sources.insert(*result, *source);
            }
            let Some((index, positions)) = parsed.operator().indexes(&analysis.facts) else {
                continue;
            };
            let positions = positions
                .known()
                .and_then(|count| u64::try_from(count).ok());
            if let (Some(source), Some(count @ 1..)) = (sources.get(&index), positions) {
                let bound = bounds.entry(*source).or_insert(count);
                *bound = count.min(*bound);
            }
        }
    }
    let inputs = program.inputs().iter();
    inputs.map(|id| bounds.get(id).copied()).collect()
}
