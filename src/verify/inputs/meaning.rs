//! What the numbers of an input stand for, as far as the program or the input's name tells: indices, lengths, divisors,
//! masks, the size of a picture.

use std::collections::HashMap;

use super::names;
use crate::analyse::Analysis;
use crate::operator::{ParsedOp, Registry};
use crate::program::{Facts, Op, Operand, Program, ValueId};
use crate::tensor::Dim;

/// Ops whose results hold elements of their first operand, or of those in its list, at most moved, repeated or cast.
const MOVES: &[&str] = &[
    "assign",
    "cast",
    "concat",
    "expand",
    "expand_as",
    "flatten",
    "flatten2",
    "reshape",
    "slice",
    "squeeze",
    "stack",
    "strided_slice",
    "tile",
    "transpose",
    "unsqueeze",
];

/// Comparisons, as of lengths with the numbers from 0.
const COMPARISONS: &[&str] = &["less_than", "less_equal", "greater_than", "greater_equal"];

/// Ops that divide by their second operand.
const DIVISIONS: &[&str] = &["divide", "floor_divide", "remainder"];

/// Operands that are extents or counts of results, which are to have elements, and not too many.
const COUNTS: &[&str] = &[
    "shape",
    "out_size",
    "output_size",
    "size_tensor",
    "output_shape",
    "repeat_times",
    "repeats",
    "num",
    "number",
    "num_rows",
    "num_columns",
    "num_classes",
    "num_samples",
    "minlength",
    "max_len",
    "end",
    "step",
];

/// The largest count, where nothing limits it.
const LARGEST_COUNT: u64 = 8;

/// What the numbers of an input stand for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Meaning {
    /// Nothing that is known.
    Any,
    /// Whole numbers from `low` up to, not including, `high`.
    Whole { low: u64, high: u64 },
    /// What is divided or scaled by: positive, and neither close to 0 nor large.
    Factor,
    /// Zeros and ones. Each row starts with a one, and if it is longer ends with a zero, so that it masks something, but
    /// not everything, whichever of both is what counts.
    Mask,
    /// Shares of a whole.
    Share,
    /// Whole numbers with this sum.
    Parts(u64),
    /// These numbers in each row.
    Rows(Vec<f64>),
}

impl Meaning {
    /// From 1 to `most`.
    pub fn count(most: u64) -> Self {
        Meaning::Whole {
            low: 1,
            high: most.max(1) + 1,
        }
    }

    /// What both say, where both are ranges of whole numbers that overlap; otherwise the first that says something.
    fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Meaning::Whole { low: a, high: b }, Meaning::Whole { low: c, high: d }) => {
                let (low, high) = (*a.max(c), *b.min(d));
                if low < high {
                    return Meaning::Whole { low, high };
                }
                self.clone()
            }
            (Meaning::Any, other) => other.clone(),
            _ => self.clone(),
        }
    }
}

/// What each input of a program stands for, at the shapes that the program declares: those of a run, as a rule.
pub(super) fn meanings(program: &Program, registry: &Registry) -> Vec<Meaning> {
    let mut found: HashMap<ValueId, Meaning> = HashMap::new();
    // Of a program that can't be analysed, the names alone tell something; the error shows when it is run.
    if let Ok(analysis) = Analysis::of(program, registry) {
        let sources = Sources::of(&analysis);
        for (op, parsed) in analysis.ops() {
            for (value, meaning) in read_as(op, parsed, registry, &analysis.facts, &sources) {
                for input in sources.of_value(value) {
                    let known = found.entry(*input).or_insert(Meaning::Any);
                    *known = known.and(&meaning);
                }
            }
        }
    }
    let inputs = program.inputs().iter();
    let meanings = inputs.map(|id| match found.remove(id) {
        Some(meaning @ (Meaning::Whole { .. } | Meaning::Parts(_))) => meaning,
        known => {
            let named = names::meaning(program, *id);
            named.and(&known.unwrap_or(Meaning::Any))
        }
    });
    meanings.collect()
}

/// The inputs from which the indices of an op come, each with the number of positions that it indexes.
pub(super) fn indexed(analysis: &Analysis<'_>, op: &str) -> Vec<(ValueId, i64)> {
    let sources = Sources::of(analysis);
    let ops = analysis
        .ops()
        .filter(|(other, _)| other.source.to_string() == op);
    let indices = ops.flat_map(|(_, parsed)| parsed.indexes(&analysis.facts));
    let indices = indices.filter_map(|(index, positions)| Some((index, positions.known()?)));
    let inputs = indices.flat_map(|(index, positions)| {
        let inputs = sources.of_value(index).iter();
        inputs.map(move |input| (*input, positions))
    });
    inputs.collect()
}

/// The values that hold elements of inputs, or the numbers from 0.
struct Sources {
    /// For each value that holds elements of inputs, these inputs.
    inputs: HashMap<ValueId, Vec<ValueId>>,
    /// For each value that holds consecutive numbers, how many these are.
    ranges: HashMap<ValueId, u64>,
}

impl Sources {
    fn of(analysis: &Analysis<'_>) -> Self {
        let program = analysis.facts.program();
        let inputs = program.inputs().iter();
        let mut sources = Self {
            inputs: inputs.map(|id| (*id, vec![*id])).collect(),
            ranges: HashMap::new(),
        };
        for op in program.ops() {
            let [result] = op.results.as_slice() else {
                continue;
            };
            if op.kind.name() == "arange"
                && let Some(count) = analysis.facts.shape(*result).first().and_then(extent)
            {
                sources.ranges.insert(*result, count);
            }
            if !MOVES.contains(&op.kind.name()) {
                continue;
            }
            let first = op.operands.first().map(Operand::values).unwrap_or_default();
            let inputs: Vec<ValueId> = first
                .iter()
                .flat_map(|id| sources.of_value(*id))
                .copied()
                .collect();
            sources.inputs.insert(*result, inputs);
            if let [first] = first
                && let Some(count) = sources.ranges.get(first).copied()
            {
                sources.ranges.insert(*result, count);
            }
        }
        sources
    }

    fn of_value(&self, value: ValueId) -> &[ValueId] {
        self.inputs
            .get(&value)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }
}

fn extent(dim: &Dim) -> Option<u64> {
    u64::try_from(dim.known()?)
        .ok()
        .filter(|extent| *extent > 0)
}

/// What an op takes the elements of its operands for.
fn read_as(
    op: &Op,
    parsed: &ParsedOp,
    registry: &Registry,
    facts: &Facts<'_>,
    sources: &Sources,
) -> Vec<(ValueId, Meaning)> {
    let indices = parsed.indexes(facts).into_iter();
    let indices = indices.filter_map(|(index, positions)| {
        let high = extent(&positions)?;
        Some((index, Meaning::Whole { low: 0, high }))
    });
    let mut read: Vec<(ValueId, Meaning)> = indices.collect();
    let name = op.kind.name();
    let definition = registry.find(name);
    let arguments = definition.map(|def| def.operands).unwrap_or_default();
    for (position, (argument, operand)) in arguments.iter().zip(&op.operands).enumerate() {
        let argument = argument.name();
        let meaning = if position == 1 && DIVISIONS.contains(&name) {
            Some(Meaning::Factor)
        } else {
            argument_meaning(op, argument, facts)
        };
        if let Some(meaning) = meaning {
            read.extend(
                operand
                    .values()
                    .iter()
                    .map(|value| (*value, meaning.clone())),
            );
        }
    }
    if COMPARISONS.contains(&name)
        && let [Operand::One(left), Operand::One(right), ..] = op.operands.as_slice()
    {
        for (value, other) in [(left, right), (right, left)] {
            if let Some(count) = sources.ranges.get(other) {
                read.push((*value, Meaning::count(*count)));
            }
        }
    }
    read
}

/// What an op takes the elements of an argument for, by the argument's name in the PHI signature.
fn argument_meaning(op: &Op, argument: &str, facts: &Facts<'_>) -> Option<Meaning> {
    let first = op.operands.first().map(Operand::values).unwrap_or_default();
    match (op.kind.name(), argument) {
        ("sequence_mask", "x") => {
            let last = op.results.first().and_then(|id| facts.shape(*id).last());
            Some(Meaning::count(
                last.and_then(extent).unwrap_or(LARGEST_COUNT),
            ))
        }
        ("crop", "offsets") => Some(Meaning::Whole { low: 0, high: 1 }),
        ("crop", "shape") => smallest(facts, first).map(Meaning::count),
        (_, "boxes_num") => {
            let boxes = op.operands.get(1).map(Operand::values).unwrap_or_default();
            let boxes = facts.shape(*boxes.first()?).first().and_then(extent);
            boxes.map(Meaning::Parts)
        }
        (_, "img_size" | "im_shape" | "im_info") => Some(names::picture_size(facts.program())),
        // The first axis of what a recurrent layer reads is that of time.
        (_, "sequence_length") => {
            let time = facts.shape(*first.first()?).first().and_then(extent);
            time.map(Meaning::count)
        }
        // The second axis of what a decoder reads is.
        (
            "viterbi_decode" | "crf_decoding" | "ctc_align",
            "lengths" | "length" | "input_length",
        ) => {
            let time = facts.shape(*first.first()?).get(1).and_then(extent);
            time.map(Meaning::count)
        }
        (_, "scale_tensor") => Some(Meaning::Factor),
        (_, "starts") => smallest(facts, first).map(|extent| Meaning::Whole {
            low: 0,
            high: (extent / 2).max(1),
        }),
        (_, "ends") => smallest(facts, first).map(|extent| Meaning::Whole {
            low: extent / 2 + 1,
            high: extent + 1,
        }),
        (_, "axis" | "axes") => {
            let rank = facts.rank(*first.first()?) as u64;
            Some(Meaning::Whole {
                low: 0,
                high: rank.max(1),
            })
        }
        (_, "paddings") => Some(Meaning::Whole { low: 0, high: 3 }),
        (_, "k") => smallest(facts, first).map(Meaning::count),
        (_, argument) if COUNTS.contains(&argument) => Some(Meaning::count(LARGEST_COUNT)),
        _ => None,
    }
}

/// The smallest extent of an operand.
fn smallest(facts: &Facts<'_>, operand: &[ValueId]) -> Option<u64> {
    let extents = facts.shape(*operand.first()?).iter().map(extent);
    extents.min().flatten()
}
