//! Where an ONNX model goes wrong: op by op, on the same operands.
//!
//! The nodes that an op of the program has become are cut out of the model and run alone, on the
//! operands that the reference has, so that an error is charged to the op that makes it and not to
//! its successors. Run on the results of the preceding nodes instead, they show how errors grow. ONNX
//! Runtime can't fuse the nodes of different ops here, so that a defect of such a fusion does not
//! show.

mod absorbed;
mod own;
mod report;
mod tensors;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;

pub use report::{
    Culprit, NotCompared, OpReport, OwnError, PerOp, Statistics, Worst, in_words, whole_place,
};

use super::inputs::Set;
use super::metrics::{Metrics, Tolerance};
use super::onnx_file::{OnnxFile, Part};
use super::subject::Subject;
use crate::error::{Error, Result};
use crate::graph::{DEFAULT_OPSET, OPSETS};
use crate::model::Model;
use crate::operator::{ONNX_RUNTIME_DOMAIN, Precision};
use crate::program::{Op, OpKind, Operand, Program, ValueId};
use crate::reference::{Rounds, Step};
use crate::runtime::{OnnxRuntime, Session};
use crate::tensor::{DType, Tensor};
use absorbed::Absorbed;
use own::own_error;
use tensors::Tensors;

/// What to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    /// The ops up to the first that is wrong.
    Culprit,
    /// All ops, in these rounds of loops, each alone and on the results of the nodes before, to show how errors grow.
    Everything(Rounds),
}

impl Search {
    /// In which rounds of loops to look.
    fn rounds(self) -> Rounds {
        match self {
            Search::Culprit => Rounds::FirstAndLast,
            Search::Everything(rounds) => rounds,
        }
    }
}

/// Compares the part of a model that is judged with an ONNX file, op by op, on one set of inputs.
///
/// # Errors
/// When the file can't be read, or is not one that this version of this crate has written for the
/// model: tensors are recognised by their names. When no loop has the round that is asked for.
pub(super) fn compare(
    subject: &Subject<'_>,
    onnx: &Path,
    runtime: &OnnxRuntime,
    set: &Set,
    search: Search,
    progress: &dyn Fn(&str),
) -> Result<PerOp> {
    let model = subject.model;
    let graph = OnnxFile::read(onnx)?;
    let opset = graph.opset().filter(|opset| OPSETS.contains(opset));
    let domain = Some(ONNX_RUNTIME_DOMAIN).filter(|domain| graph.imports(domain));
    let lowered = model.clone().with_operators_of(domain);
    let lowered = lowered.lower(opset.unwrap_or(DEFAULT_OPSET))?;
    refuse_other(&subject.program, &lowered.tensors, &graph).map_err(|e| e.in_file(onnx))?;
    let tensors = Tensors::new(&subject.program, lowered, &graph)?;
    let reference = subject.reference(Precision::Single)?;
    let mut comparison = Comparison {
        model,
        program: &subject.program,
        graph,
        runtime,
        set,
        search,
        tensors,
        computed: HashMap::new(),
        absorbed: Absorbed::default(),
        report: PerOp {
            inputs: set.label.clone(),
            ops: Vec::new(),
            compared: 0,
            without_nodes: 0,
            not_compared: Vec::new(),
            culprit: None,
        },
    };
    let ops = subject.program.ops().len();
    let (mut number, mut is_round_met) = (1, false);
    reference.run_by_op(&set.tensors, search.rounds(), &mut |step| {
        progress(&format!("{}: comparing op {number} of {ops}", set.label));
        number += usize::from(step.around.is_empty());
        is_round_met |= step.around.iter().any(|block| block.round.is_some());
        comparison.step(&step)
    })?;
    match search.rounds() {
        Rounds::Only(round) if !is_round_met => Err(Error::invalid(format!(
            "no loop has a round {round} on these inputs: {}",
            set.label
        ))),
        _ => Ok(comparison.report),
    }
}

/// Refuses a graph in which none of the tensors is made that hold the values of the model.
fn refuse_other(
    program: &Program,
    tensors: &HashMap<ValueId, String>,
    graph: &OnnxFile,
) -> Result<()> {
    let inputs = program.inputs().iter();
    let inputs: Vec<&str> = inputs.map(|id| program[*id].name.as_str()).collect();
    let mut made = tensors.values();
    // A program of which no op becomes a node makes no tensors at all.
    let makes_none = made.all(|name| inputs.contains(&name.as_str()));
    if makes_none || tensors.values().any(|name| graph.makes(name)) {
        return Ok(());
    }
    Err(Error::unsupported(
        "none of the program's values has a tensor of its name in the model; it can be compared op by op only as this \
         version has written it",
    ))
}

/// A comparison under way.
struct Comparison<'c> {
    model: &'c Model,
    program: &'c Program,
    graph: OnnxFile,
    runtime: &'c OnnxRuntime,
    set: &'c Set,
    search: Search,
    tensors: Tensors,
    /// By value, what the nodes have computed from one another's results.
    computed: HashMap<ValueId, Tensor>,
    absorbed: Absorbed,
    report: PerOp,
}

/// Whether a value of this run is in half precision.
fn is_half(step: &Step<'_>, id: ValueId) -> bool {
    let dtype = step.tensor(id).map(Tensor::dtype);
    matches!(dtype, Some(DType::F16 | DType::BF16))
}

impl Comparison<'_> {
    fn shows_everything(&self) -> bool {
        matches!(self.search, Search::Everything(_))
    }

    /// Compares the op that the reference has just run. Breaks when the culprit is found, if nothing
    /// else is looked for.
    fn step(&mut self, step: &Step<'_>) -> Result<ControlFlow<()>> {
        if self.model.registry().is_random(step.op) {
            // Random results can't be compared. The ops after it get the numbers of the reference.
            let results = step.op.results.iter();
            let drawn = results.filter_map(|id| Some((*id, step.tensor(*id)?.clone())));
            self.computed.extend(drawn);
        } else if let Some((part, positions)) = self.part(step)? {
            self.compare(step, &part, &positions)?;
        } else {
            self.report.without_nodes += 1;
            self.pass_on(step.op);
            let mut results = step.op.results.iter();
            // What is rounded to half precision is so in the model, too.
            if results.all(|id| self.tensors.name(*id).is_none() && !is_half(step, *id)) {
                let accuracy = self.model.registry().accuracy(step.op);
                self.absorbed.add(step, accuracy)?;
            }
        }
        for id in self.tensors.keep(step) {
            self.computed.remove(&id);
        }
        self.absorbed.remove(step.dead());
        let is_done = !self.shows_everything() && self.report.culprit.is_some();
        Ok(if is_done {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    }

    /// Runs the nodes of an op on the operands of the reference, and reports how far their results are off. `positions`
    /// are those of the results that the nodes give.
    fn compare(&mut self, step: &Step<'_>, part: &Part, positions: &[usize]) -> Result<()> {
        let given = |id| self.tensors.tensor(id, step);
        let results: Vec<ValueId> = positions.iter().map(|p| step.op.results[*p]).collect();
        let run = || -> Result<(Session, Vec<Tensor>)> {
            let mut session = self.runtime.open_bytes(&part.model)?;
            let found = self.run(&mut session, part, &results, &given)?;
            Ok((session, found))
        };
        // ONNX Runtime reads and arranges weights on one thread, and the reference converts them on one.
        let (ran, exact) = rayon::join(run, || step.exact_results(&|id| self.absorbed.exact(id)));
        let (mut session, found) = match ran {
            Ok(ran) => ran,
            Err(_) if self.reads_undefined(step) => {
                self.report.without_nodes += 1;
                return Ok(());
            }
            // The whole model ran on these inputs, so that this says something of the part alone.
            Err(e) => {
                self.report.not_compared.push(NotCompared {
                    index: step.op.source.index,
                    op: step.op.kind.name().to_owned(),
                    within: step.around.to_vec(),
                    place: place(step.op),
                    reason: format!("its nodes do not run alone: {}", e.message()),
                });
                return Ok(());
            }
        };
        self.report.compared += 1;
        let exact = exact?;
        let rounding = self.model.registry().accuracy(step.op);
        let rounding = self.absorbed.rounding(step, rounding);
        let (worst, own) = own_error(step, rounding, positions, &found, &exact);
        let mut report = self.describe(step, own);
        if self.shows_everything() && step.around.is_empty() {
            report.accumulated = self.accumulate(step, (part, &mut session), &results);
        }
        if !report.own.agrees && self.report.culprit.is_none() {
            let id = step.op.results[positions[worst]];
            let results = (id, found.get(worst), exact.get(positions[worst]));
            self.report.culprit = Some(self.accuse(step, report.clone(), results));
        }
        if self.shows_everything() {
            self.report.ops.push(report);
        }
        Ok(())
    }

    /// Runs the nodes of an op on the results of the nodes before, and returns how far the first result is from the
    /// reference.
    fn accumulate(
        &mut self,
        step: &Step<'_>,
        (part, session): (&Part, &mut Session),
        results: &[ValueId],
    ) -> Option<Metrics> {
        let outputs = self.run(session, part, results, &|id| self.computed.get(&id));
        let outputs = outputs.ok()?;
        let first = outputs.first().zip(results.first());
        let metrics = first
            .and_then(|(output, id)| Metrics::of(output, step.tensor(*id)?, &Tolerance::default()));
        self.computed.extend(results.iter().copied().zip(outputs));
        metrics
    }

    /// The nodes that an op has become, and the positions of the results that they give; None if there are none.
    fn part(&mut self, step: &Step<'_>) -> Result<Option<(Part, Vec<usize>)>> {
        let mut named = self.tensors.results(step.op);
        named.retain(|(_, id, _)| self.is_defined(step, *id));
        let typed = named
            .iter()
            .map(|(_, id, name)| Some((*name, self.tensors.held_as(name, dtype(step, *id)?))));
        let Some(results) = typed.collect::<Option<Vec<_>>>().filter(|r| !r.is_empty()) else {
            return Ok(None);
        };
        let known = |name: &str| self.tensors.dtype(name, step);
        let part = self.graph.part(&results, &known)?;
        let positions = named.iter().map(|(position, ..)| *position).collect();
        Ok(part.map(|part| (part, positions)))
    }

    /// Whether a result has a value in this run. Otherwise a branch or a loop returns a variable that nothing has
    /// written, for which Paddle has something of another type or shape, or an op in a block reads such a variable.
    fn is_defined(&self, step: &Step<'_>, id: ValueId) -> bool {
        let is_plain = step.op.blocks.is_empty() && step.around.is_empty();
        is_plain || self.is_as_declared(step, id)
    }

    /// Whether a value of this run has the element type and the rank that the program declares.
    fn is_as_declared(&self, step: &Step<'_>, id: ValueId) -> bool {
        let declared = &self.program[id];
        step.tensor(id).is_some_and(|tensor| {
            tensor.dtype() == declared.dtype && tensor.shape().len() == declared.shape.len()
        })
    }

    /// Whether an op reads, also in its blocks, a variable that nothing has written yet, such as an empty list.
    fn reads_undefined(&self, step: &Step<'_>) -> bool {
        let makes_undefined = |op: &Op| {
            let kinds = ["undefined", "create_array"].map(OpKind::Known);
            kinds.contains(&op.kind)
        };
        let mut is_undefined = false;
        step.op.each_read(&mut |id| {
            is_undefined |= step.tensor(id).is_some() && !self.is_as_declared(step, id);
        });
        // Elsewhere, it is the file that declares something else than what is there.
        is_undefined && self.program.all_ops().any(makes_undefined)
    }

    /// Runs the nodes that compute these results of an op on the program's inputs and on the values that `tensor` has.
    ///
    /// # Errors
    /// When `tensor` lacks a value that the nodes read, or ONNX Runtime fails.
    fn run<'t>(
        &self,
        session: &mut Session,
        part: &Part,
        results: &[ValueId],
        tensor: &dyn Fn(ValueId) -> Option<&'t Tensor>,
    ) -> Result<Vec<Tensor>> {
        let mut inputs = Vec::with_capacity(part.inputs.len());
        for name in &part.inputs {
            let given = self.set.tensors.iter().find(|(input, _)| input == name);
            let found = given.map(|(_, tensor)| tensor.clone());
            let held = |id| Some(self.tensors.held(id, name, tensor(id)?));
            let found = found.or_else(|| self.tensors.values(name).find_map(held));
            let found = found.ok_or_else(|| Error::internal(format!("no value of `{name}`")))?;
            inputs.push((name.clone(), found));
        }
        let outputs = session.run(&inputs)?.into_iter().zip(results);
        let values = outputs.map(|((name, tensor), id)| self.tensors.value_of(*id, &name, tensor));
        Ok(values.collect())
    }

    /// Copies to the results of an op without nodes what the nodes before have computed for its operand:
    /// the value that the same ONNX tensor holds.
    fn pass_on(&mut self, op: &Op) {
        for result in &op.results {
            let Some(name) = self.tensors.name(*result) else {
                continue;
            };
            let held = |id| Some(self.tensors.held(id, name, self.computed.get(&id)?));
            if let Some(tensor) = self.tensors.values(name).find_map(held) {
                let value = self.tensors.value_of(*result, name, tensor);
                self.computed.insert(*result, value);
            }
        }
    }

    /// The report on an op, so far without the accumulated error.
    fn describe(&self, step: &Step<'_>, own: OwnError) -> OpReport {
        let result = step.op.results.first();
        let tensor = result.and_then(|id| self.tensors.name(*id));
        let shape = result.and_then(|id| step.tensor(*id));
        OpReport {
            index: step.op.source.index,
            op: step.op.kind.name().to_owned(),
            within: step.around.to_vec(),
            place: place(step.op),
            absorbed: self.absorbed.ops(step),
            tensor: tensor.unwrap_or_default().to_owned(),
            shape: shape.map_or_else(Vec::new, |tensor| tensor.shape().to_vec()),
            own,
            accumulated: None,
        }
    }

    /// The details of an op with a result that was found to be something else than the exact one.
    fn accuse(
        &self,
        step: &Step<'_>,
        report: OpReport,
        (result, found, exact): (ValueId, Option<&Tensor>, Option<&Tensor>),
    ) -> Culprit {
        let name = |id: ValueId| self.program[id].name.as_str();
        let statistics = |id: &ValueId| Some(Statistics::of(name(*id), step.tensor(*id)?));
        let operands = step.op.operands.iter().flat_map(Operand::values);
        let label = name(result);
        Culprit {
            attributes: step
                .op
                .attrs
                .iter()
                .map(|(name, attr)| (name.clone(), attr.to_string()))
                .collect(),
            operands: operands.filter_map(statistics).collect(),
            expected: Statistics::of(label, exact.unwrap_or(&Tensor::scalar(0.0_f64))),
            found: found.map(|tensor| Statistics::of(label, tensor)),
            worst: found
                .zip(exact)
                .and_then(|(found, exact)| Worst::of(found, exact)),
            report,
        }
    }
}

/// The layer of an op, or else the variable that it writes.
fn place(op: &Op) -> String {
    match &op.source.layer {
        Some(layer) => layer.to_string(),
        None => op.source.output.to_string(),
    }
}

fn dtype(step: &Step<'_>, id: ValueId) -> Option<DType> {
    step.tensor(id).map(Tensor::dtype)
}
