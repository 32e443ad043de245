//! Upper bounds of integer inputs that are indices into other tensors.

use std::collections::HashMap;

use crate::analyse::Analysis;
use crate::operator::Registry;
use crate::program::{Operand, Program, ValueId};

/// Ops whose results hold elements of their first operand, at most moved, repeated or cast.
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

/// For each input of the program, the number of positions that it may index, such as the rows of an
/// embedding table: the smallest, if it indexes several tensors. None for inputs that are no indices,
/// and where the number is not known.
pub(super) fn bounds(program: &Program, registry: &Registry) -> Vec<Option<u64>> {
    let mut bounds = HashMap::new();
    // A program that can't be analysed has no bounds; the error shows when it is run.
    if let Ok(analysis) = Analysis::of(program, registry) {
        // For each value that holds elements of an input, that input.
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
