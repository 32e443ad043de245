//! The tags of sequences with the highest score: `viterbi_decode` and `crf_decoding`.
//!
//! Paddle: `phi/kernels/cpu/{viterbi_decode,crf_decoding}_kernel.cc`. ONNX: a Loop over the scores of all tags, and one
//! that goes back through the tags that they came from.

use ndarray::Ix2;

use super::steps::{Order, at, steps};
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::Real;
use crate::kernels::viterbi::{self, Scores};
use crate::operator::{
    Accuracy, Arg, Binding, Form, Macs, OpDef, OpReader, Operator, Parsed, Values,
};
use crate::ops::shared::values::{indices, same_type};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, DType, Dim, Tensor, display_shape};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "viterbi_decode",
        &[
            Arg::Tensor("potentials"),
            Arg::Tensor("transition_params"),
            Arg::Tensor("lengths"),
        ],
        &[Form::legacy(
            &["viterbi_decode"],
            &[
                Binding::Slot("Input"),
                Binding::Slot("Transition"),
                Binding::Slot("Length"),
            ],
            &["Scores", "Path"],
        )],
        Decode::parse_viterbi,
    )
    .with_opset(11)
    .with_results(&["scores", "path"])
    .with_dtypes(&[DType::F32, DType::F64])
    .with_accuracy(Accuracy::Accumulated),
    OpDef::new(
        "crf_decoding",
        &[
            Arg::Tensor("emission"),
            Arg::Tensor("transition"),
            Arg::Optional("label"),
            Arg::Optional("length"),
        ],
        &[Form::legacy(
            &["crf_decoding"],
            &[
                Binding::Slot("Emission"),
                Binding::Slot("Transition"),
                Binding::Optional("Label"),
                Binding::Optional("Length"),
            ],
            &["ViterbiPath"],
        )],
        Decode::parse_crf,
    )
    .with_opset(11)
    .with_results(&["viterbi_path"])
    .with_dtypes(&[DType::F32, DType::F64])
    .with_accuracy(Accuracy::Accumulated)
    .with_limits(&["sequences by LoD"]),
];

/// Where the scores of the first and the last tag are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// There are none.
    None,
    /// In the last row of the transitions and in the one before, which are those of two tags.
    LastRows,
    /// In the first and the second row of the transitions, which the others follow.
    FirstRows,
}

/// The tags with the highest score of each sequence of `emissions`, `[batch, steps, tags]`, up to its length. The score
/// is the sum of the emissions of the tags, of the `transitions` from each tag to the next, and of those at both ends.
///
/// `viterbi_decode` gives the scores, `[batch]`, and the tags, `[batch, longest]`, of which there are as many as the
/// longest sequence has. `crf_decoding` gives the tags, `[batch, steps]`, or whether each is that of a `label`.
struct Decode {
    emissions: ValueId,
    transitions: ValueId,
    lengths: ValueId,
    ends: Ends,
    label: Option<ValueId>,
}

/// The rows of the transitions, as tensors.
struct Transitions {
    inner: TensorId,
    start: Option<TensorId>,
    stop: Option<TensorId>,
}

impl Decode {
    fn parse_viterbi(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            emissions: op.operand("potentials")?,
            transitions: op.operand("transition_params")?,
            lengths: op.operand("lengths")?,
            ends: if op.attr_or("include_bos_eos_tag", true)? {
                Ends::LastRows
            } else {
                Ends::None
            },
            label: None,
        }))
    }

    fn parse_crf(op: &mut OpReader<'_>) -> Parsed {
        let lengths = op.optional("length")?;
        Ok(Box::new(Self {
            emissions: op.operand("emission")?,
            transitions: op.operand("transition")?,
            lengths: lengths.ok_or_else(|| super::needs_lod("length"))?,
            ends: Ends::FirstRows,
            label: op.optional("label")?,
        }))
    }

    fn is_crf(&self) -> bool {
        self.ends == Ends::FirstRows
    }

    /// Emits the rows of the transitions.
    fn lower_transitions(&self, g: &mut Lowering<'_>) -> Result<Transitions> {
        let all = g.value(self.transitions)?;
        let mut row = |start: i64, end: i64| g.slice(all, start, end, 0);
        Ok(match self.ends {
            Ends::None => Transitions {
                inner: all,
                start: None,
                stop: None,
            },
            Ends::LastRows => Transitions {
                inner: all,
                start: Some(row(-1, i64::MAX)),
                stop: Some(row(-2, -1)),
            },
            Ends::FirstRows => Transitions {
                inner: row(2, i64::MAX),
                start: Some(row(0, 1)),
                stop: Some(row(1, 2)),
            },
        })
    }

    /// Emits a step: from the scores so far and the number of steps that are left to those behind it, and the tags that
    /// each came from.
    fn lower_step(
        &self,
        g: &mut Lowering<'_>,
        rows: &Transitions,
        emission: TensorId,
        (position, [score, left]): (TensorId, [TensorId; 2]),
    ) -> Vec<TensorId> {
        let (zero, one) = (g.scalar(DType::I64, 0.0), g.scalar(DType::I64, 1.0));
        let from = g.unsqueeze(score, &[2]);
        let ways = g.node("Add", &[from, rows.inner], []);
        let best = g.reduce("ReduceMax", ways, &[1], false);
        let tags = arg_max(g, ways, false);
        let next = g.node("Add", &[best, emission], []);
        let goes_on = g.node("Greater", &[left, zero], []);
        let mut behind = g.node("Where", &[goes_on, next, score], []);
        // The first step comes from nowhere.
        let first = match rows.start {
            Some(start) => g.node("Add", &[emission, start], []),
            None => emission,
        };
        let is_first = g.node("Equal", &[position, zero], []);
        behind = g.node("Where", &[is_first, first, behind], []);
        if let Some(stop) = rows.stop {
            let is_last = g.node("Equal", &[left, one], []);
            let none = g.scalar(g.dtype(self.emissions), 0.0);
            let stop = g.node("Where", &[is_last, stop, none], []);
            behind = g.node("Add", &[behind, stop], []);
        }
        vec![behind, g.node("Sub", &[left, one], []), tags]
    }

    /// Emits the scores of the tags behind the last step, `[batch, tags]`, the number of steps that are left then, which
    /// is negative where a sequence is shorter, and the tag before each tag, `[steps, batch, tags]`, of which those of
    /// the first step say nothing. `x` is `[steps, batch, tags]`, and `lengths` are `[batch, 1]`.
    fn lower_scores(
        &self,
        g: &mut Lowering<'_>,
        x: TensorId,
        lengths: TensorId,
    ) -> Result<Vec<TensorId>> {
        let rows = self.lower_transitions(g)?;
        let zero = g.scalar(DType::I64, 0.0);
        // Whatever the scores before the first step are.
        let any = at(g, x, zero);
        let states = [(any, g.dtype(self.emissions)), (lengths, DType::I64)];
        steps(g, x, Order::FirstToLast, &states, |g, position, states| {
            let emission = at(g, x, position);
            let states = [states[0], states[1]];
            Ok(self.lower_step(g, &rows, emission, (position, states)))
        })
    }

    /// Emits the tags of the sequences, `[steps, batch, 1]`, from the last `tag`, `[batch, 1]`, back through those that
    /// each came from.
    fn lower_path(
        &self,
        g: &mut Lowering<'_>,
        tag: TensorId,
        left: TensorId,
        from: TensorId,
    ) -> Result<TensorId> {
        let (zero, one) = (g.scalar(DType::I64, 0.0), g.scalar(DType::I64, 1.0));
        let states = [(tag, DType::I64), (left, DType::I64)];
        let results = steps(
            g,
            from,
            Order::LastToFirst,
            &states,
            |g, position, states| {
                let (tag, left) = (states[0], states[1]);
                let is_behind = g.node("Less", &[left, zero], []);
                let here = g.node("Where", &[is_behind, zero, tag], []);
                let from = at(g, from, position);
                let along = [("axis", NodeAttr::Int(1))];
                let before = g.node("GatherElements", &[from, tag], along);
                let tag = g.node("Where", &[is_behind, tag, before], []);
                Ok(vec![tag, g.node("Add", &[left, one], []), here])
            },
        )?;
        Ok(results[2])
    }

    /// Emits whether each tag of a path, `[batch, steps]`, is that of the label. None is behind the end.
    fn lower_equal(
        &self,
        g: &mut Lowering<'_>,
        path: TensorId,
        label: ValueId,
        lengths: TensorId,
    ) -> Result<TensorId> {
        let dtype = g.dtype(label);
        let label = g.value(label)?;
        let label = g.cast(label, dtype, DType::I64);
        let shape = g.node("Shape", &[path], []);
        let label = g.node("Reshape", &[label, shape], []);
        let is_equal = g.node("Equal", &[label, path], []);
        let steps = g.shape_slice(path, 1, 2);
        let known = g.shape(self.emissions)[1].known();
        let steps = g.positions(steps, known);
        let is_inside = g.node("Less", &[steps, lengths], []);
        let is_equal = g.node("And", &[is_equal, is_inside], []);
        Ok(g.cast(is_equal, DType::Bool, DType::I64))
    }

    /// The results in one of the types that kernels compute in.
    fn run<T: Real>(&self, values: &Values<'_>, emissions: &Array<T>) -> Result<Vec<Tensor>> {
        let transitions = same_type(values.get(self.transitions)?, emissions)?;
        let transitions = transitions.view().into_dimensionality::<Ix2>();
        let transitions =
            transitions.map_err(|_| Error::malformed("transitions that are no matrix"))?;
        let rows = transitions.nrows();
        if rows < 2 {
            return Err(Error::malformed(format!("transitions with {rows} rows")));
        }
        let row = |row: usize| Some(transitions.row(row));
        let scores = match self.ends {
            Ends::None => Scores {
                transitions,
                start: None,
                stop: None,
            },
            Ends::LastRows => Scores {
                transitions,
                start: row(rows - 1),
                stop: row(rows - 2),
            },
            Ends::FirstRows => Scores {
                transitions: transitions.slice(ndarray::s![2.., ..]),
                start: row(0),
                stop: row(1),
            },
        };
        let lengths = values.integers(self.lengths)?;
        let longest = lengths.iter().max().copied().unwrap_or(0);
        let width = match emissions.shape() {
            [_, steps, _] if !self.is_crf() => usize::try_from(longest).unwrap_or(0).min(*steps),
            [_, steps, _] => *steps,
            _ => 0,
        };
        let (best, path) = viterbi::decode(emissions, &scores, &lengths, width)?;
        let path = Tensor::from_elements(&[lengths.len(), width], path)?;
        if !self.is_crf() {
            return Ok(vec![Tensor::vector(best), path]);
        }
        let Some(label) = self.label else {
            return Ok(vec![path]);
        };
        let label = indices(values, label)?;
        let labels = label.iter().zip(path.to_i64_vec());
        let equal = labels.enumerate().map(|(place, (label, tag))| {
            let is_inside = ((place % width) as i64) < lengths[place / width];
            i64::from(*label == tag && is_inside)
        });
        Ok(vec![Tensor::from_elements(path.shape(), equal.collect())?])
    }
}

/// Emits ArgMax along axis 1, which gives the first of several.
fn arg_max(g: &mut Lowering<'_>, x: TensorId, keepdims: bool) -> TensorId {
    let attrs = [
        ("axis", NodeAttr::Int(1)),
        ("keepdims", NodeAttr::Int(keepdims.into())),
    ];
    g.node("ArgMax", &[x], attrs)
}

impl Operator for Decode {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let [batch, steps, _] = facts.shape(self.emissions) else {
            return Err(Error::malformed(format!(
                "emissions of shape {} where [batch, steps, tags] was expected",
                display_shape(facts.shape(self.emissions))
            )));
        };
        super::check_lengths(facts, self.lengths, batch)?;
        if self.is_crf() {
            let shape = vec![batch.clone(), steps.clone()];
            return Ok(vec![Fact::new(DType::I64, shape)]);
        }
        let longest = facts.integers(self.lengths);
        let longest = longest.and_then(|lengths| lengths.into_iter().max());
        let width = longest.map_or(Dim::Unknown, Dim::Known);
        Ok(vec![
            Fact::new(facts.dtype(self.emissions), vec![batch.clone()]),
            Fact::new(DType::I64, vec![batch.clone(), width]),
        ])
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let mut x = g.value(self.emissions)?;
        let lengths = g.value(self.lengths)?;
        let lengths = g.cast(lengths, g.dtype(self.lengths), DType::I64);
        let column = g.vector(&[-1, 1]);
        let lengths = g.node("Reshape", &[lengths, column], []);
        if !self.is_crf() {
            let longest = g.reduce("ReduceMax", lengths, &[0], false);
            let (start, axis) = (g.vector(&[0]), g.vector(&[1]));
            x = g.node("Slice", &[x, start, longest, axis], []);
        }
        let x = g.transpose(x, &[1, 0, 2]);
        let results = self.lower_scores(g, x, lengths)?;
        let (score, left, from) = (results[0], results[1], results[2]);
        let tag = arg_max(g, score, true);
        let path = self.lower_path(g, tag, left, from)?;
        let path = g.squeeze(path, &[2]);
        let path = g.transpose(path, &[1, 0]);
        if !self.is_crf() {
            let best = g.reduce("ReduceMax", score, &[1], false);
            return Ok(vec![best, path]);
        }
        Ok(vec![match self.label {
            Some(label) => self.lower_equal(g, path, label, lengths)?,
            None => path,
        }])
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        match values.get(self.emissions)? {
            Tensor::F32(emissions) => self.run(values, emissions),
            Tensor::F64(emissions) => self.run(values, emissions),
            other => Err(Error::unsupported(format!(
                "the reference has no kernel for {}",
                other.dtype()
            ))),
        }
    }

    fn macs(&self, _facts: &Facts<'_>) -> Macs {
        Macs::None
    }
}
