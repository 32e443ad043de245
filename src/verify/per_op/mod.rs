//! Where an ONNX model goes wrong: op by op, on the same operands.
//!
//! The nodes that an op of the program has become are cut out of the model and run alone, on the
//! operands that the reference has, so that an error is charged to the op that makes it and not to
//! its successors. Run on the results of the preceding nodes instead, they show how errors grow. ONNX
//! Runtime can't fuse the nodes of different ops here, so that a defect of such a fusion does not
//! show.

mod report;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;

pub use report::{Culprit, OpReport, OwnError, PerOp, Statistics, Worst};

use super::inputs::Set;
use super::judge::Noise;
use super::metrics::{Metrics, Tolerance};
use super::onnx_file::{OnnxFile, Part};
use super::subject::Subject;
use crate::error::{Error, Result};
use crate::graph::{DEFAULT_OPSET, OPSETS};
use crate::model::Model;
use crate::operator::Precision;
use crate::program::{Op, Operand, ValueId};
use crate::reference::Step;
use crate::runtime::OnnxRuntime;
use crate::tensor::{DType, Tensor};

/// What to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    /// The ops up to the first that is wrong.
    Culprit,
    /// All ops, each alone and on the results of the nodes before, to show how errors grow.
    Everything,
}

/// Compares the part of a model that is judged with an ONNX file, op by op, on one set of inputs.
///
/// # Errors
/// When the file can't be read, or is not one that this version of this crate has written for the
/// model: tensors are recognised by their names.
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
    let lowered = model.lower(opset.unwrap_or(DEFAULT_OPSET))?;
    let inputs = model.program().inputs().iter();
    let inputs: Vec<&str> = inputs
        .map(|id| model.program()[*id].name.as_str())
        .collect();
    let mut made = lowered.tensors.values();
    // A program of which no op becomes a node makes no tensors at all.
    let makes_none = made.all(|name| inputs.contains(&name.as_str()));
    if !makes_none && !lowered.tensors.values().any(|name| graph.makes(name)) {
        return Err(Error::unsupported(
            "none of the program's values has a tensor of its name in the model; it can be compared \
             op by op only as this version has written it",
        )
        .in_file(onnx));
    }
    let is_given = |(_, name): &(ValueId, String)| graph.gives(name);
    let names: HashMap<ValueId, String> = lowered.tensors.into_iter().filter(is_given).collect();
    let mut ids: HashMap<String, Vec<ValueId>> = HashMap::new();
    for (id, name) in &names {
        ids.entry(name.clone()).or_default().push(*id);
    }
    let reference = subject.reference(Precision::Single)?;
    let mut comparison = Comparison {
        model,
        graph,
        runtime,
        set,
        search,
        names,
        ids,
        computed: HashMap::new(),
        report: PerOp {
            inputs: set.label.clone(),
            ops: Vec::new(),
            compared: 0,
            without_nodes: 0,
            culprit: None,
        },
    };
    let ops = subject.program.ops().len();
    let mut number = 0;
    reference.run_by_op(&set.tensors, &mut |step| {
        number += 1;
        progress(&format!("{}: comparing op {number} of {ops}", set.label));
        comparison.step(&step)
    })?;
    Ok(comparison.report)
}

/// A comparison under way.
struct Comparison<'c> {
    model: &'c Model,
    graph: OnnxFile,
    runtime: &'c OnnxRuntime,
    set: &'c Set,
    search: Search,
    /// The name of the ONNX tensor that holds each value, where a node or an input gives it.
    names: HashMap<ValueId, String>,
    /// The values that each ONNX tensor holds: several where an op has become no node.
    ids: HashMap<String, Vec<ValueId>>,
    /// By value, what the nodes have computed from one another's results.
    computed: HashMap<ValueId, Tensor>,
    report: PerOp,
}

impl Comparison<'_> {
    /// Compares the op that the reference has just run. Breaks when the culprit is found, if nothing
    /// else is looked for.
    fn step(&mut self, step: &Step<'_>) -> Result<ControlFlow<()>> {
        if self.model.registry().is_random(step.op) {
            // Random results can't be compared. The ops after it get the numbers of the reference.
            let results = step.op.results.iter();
            let drawn = results.filter_map(|id| Some((*id, step.tensor(*id)?.clone())));
            self.computed.extend(drawn);
            return Ok(ControlFlow::Continue(()));
        }
        let Some(part) = self.part(step)? else {
            self.report.without_nodes += 1;
            self.pass_on(step.op);
            return Ok(ControlFlow::Continue(()));
        };
        self.report.compared += 1;
        let exact = step.exact_results()?;
        let found = self.run(&part, &|id| step.tensor(id));
        let own = own_error(step, &exact, &found);
        let mut report = self.describe(step, own);
        if self.search == Search::Everything {
            let computed = std::mem::take(&mut self.computed);
            let outputs = self.run(&part, &|id| computed.get(&id)).unwrap_or_default();
            self.computed = computed;
            report.accumulated =
                outputs
                    .first()
                    .zip(step.op.results.first())
                    .and_then(|(output, result)| {
                        Metrics::of(output, step.tensor(*result)?, &Tolerance::default())
                    });
            self.computed
                .extend(step.op.results.iter().copied().zip(outputs));
        }
        if !report.own.agrees && self.report.culprit.is_none() {
            let found = found.unwrap_or_default();
            self.report.culprit = Some(self.accuse(step, report.clone(), &found, &exact));
        }
        let is_done = self.search == Search::Culprit && self.report.culprit.is_some();
        if self.search == Search::Everything {
            self.report.ops.push(report);
        }
        for id in step.dead {
            self.computed.remove(id);
        }
        Ok(if is_done {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    }

    /// The nodes that an op has become; None if there are none.
    fn part(&mut self, step: &Step<'_>) -> Result<Option<Part>> {
        let results = step.op.results.iter();
        let results = results.map(|id| Some((self.names.get(id)?.as_str(), dtype(step, *id)?)));
        // A result that no node gives is known before a run, or nothing needs it.
        let Some(results) = results.collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        let (program, ids) = (self.model.program(), &self.ids);
        let known = |name: &str| Some(program[*ids.get(name)?.first()?].dtype);
        let own = |name: &str| results.iter().any(|(result, _)| *result == name);
        // The result is the operand itself, in the same tensor.
        let mut operands = step.op.operands.iter().flat_map(Operand::values);
        if operands.any(|id| self.names.get(id).is_some_and(|name| own(name))) {
            return Ok(None);
        }
        self.graph.part(&results, &known)
    }

    /// Runs the nodes of an op on the program's inputs and on the values that `tensor` has.
    ///
    /// # Errors
    /// When `tensor` lacks a value that the nodes read, or ONNX Runtime fails.
    fn run<'t>(
        &self,
        part: &Part,
        tensor: &dyn Fn(ValueId) -> Option<&'t Tensor>,
    ) -> Result<Vec<Tensor>> {
        let mut inputs = Vec::with_capacity(part.inputs.len());
        for name in &part.inputs {
            let given = self.set.tensors.iter().find(|(input, _)| input == name);
            let ids = self.ids.get(name).into_iter().flatten();
            let found = given.map(|(_, tensor)| tensor);
            let found = found.or_else(|| ids.copied().find_map(tensor));
            let found = found.ok_or_else(|| Error::internal(format!("no value of `{name}`")))?;
            inputs.push((name.clone(), found.clone()));
        }
        let outputs = self.runtime.open_bytes(&part.model)?.run(&inputs)?;
        Ok(outputs.into_iter().map(|(_, tensor)| tensor).collect())
    }

    /// Copies to the results of an op without nodes what the nodes before have computed for its operand:
    /// the value that the same ONNX tensor holds.
    fn pass_on(&mut self, op: &Op) {
        for result in &op.results {
            let name = self.names.get(result);
            let ids = name.and_then(|name| self.ids.get(name));
            let mut ids = ids.into_iter().flatten();
            if let Some(tensor) = ids.find_map(|id| self.computed.get(id)) {
                self.computed.insert(*result, tensor.clone());
            }
        }
    }

    /// The report on an op, so far without the accumulated error.
    fn describe(&self, step: &Step<'_>, own: OwnError) -> OpReport {
        let source = &step.op.source;
        let result = step.op.results.first();
        let tensor = result.and_then(|id| self.names.get(id)).cloned();
        let shape = result.and_then(|id| step.tensor(*id));
        OpReport {
            index: source.index,
            op: step.op.kind.name().to_owned(),
            place: match &source.layer {
                Some(layer) => layer.to_string(),
                None => source.output.clone(),
            },
            tensor: tensor.unwrap_or_default(),
            shape: shape.map_or_else(Vec::new, |tensor| tensor.shape().to_vec()),
            own,
            accumulated: None,
        }
    }

    /// The details of an op whose nodes gave `found` instead of `exact`.
    fn accuse(
        &self,
        step: &Step<'_>,
        report: OpReport,
        found: &[Tensor],
        exact: &[Tensor],
    ) -> Culprit {
        let name = |id: ValueId| self.model.program()[id].name.as_str();
        let statistics = |id: &ValueId| Some(Statistics::of(name(*id), step.tensor(*id)?));
        let operands = step.op.operands.iter().flat_map(Operand::values);
        // The result that disagrees; most ops have only one.
        let (position, _) = worst_result(step, found, exact);
        let result = step.op.results.get(position);
        let (found, exact) = (found.get(position), exact.get(position));
        let label = result.map_or("", |id| name(*id));
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

fn dtype(step: &Step<'_>, id: ValueId) -> Option<DType> {
    step.tensor(id).map(Tensor::dtype)
}

/// The op's own error: that of the result which [`worst_result`] picks, or that the nodes did not run.
fn own_error(step: &Step<'_>, exact: &[Tensor], found: &Result<Vec<Tensor>>) -> OwnError {
    let found = match found {
        Ok(found) => found,
        Err(e) => {
            return OwnError {
                agrees: false,
                metrics: None,
                noise: None,
                failure: Some(e.to_string()),
            };
        }
    };
    worst_result(step, found, exact).1
}

/// The position of the first result that disagrees, else of the first of all, and its error.
fn worst_result(step: &Step<'_>, found: &[Tensor], exact: &[Tensor]) -> (usize, OwnError) {
    let first = judge(step, 0, found, exact);
    if !first.agrees {
        return (0, first);
    }
    let others = 1..step.op.results.len();
    let mut others = others.map(|position| (position, judge(step, position, found, exact)));
    let wrong = others.find(|(_, error)| !error.agrees);
    wrong.unwrap_or((0, first))
}

/// The error of the result at `position`: its distance from the exact result, or, for element types
/// without rounding noise, from the reference.
fn judge(step: &Step<'_>, position: usize, found: &[Tensor], exact: &[Tensor]) -> OwnError {
    let reference = step.op.results.get(position);
    let reference = reference.and_then(|id| step.tensor(*id));
    let (Some(reference), Some(found), Some(exact)) =
        (reference, found.get(position), exact.get(position))
    else {
        return OwnError {
            agrees: false,
            metrics: None,
            noise: None,
            failure: Some("the nodes give fewer results than the op".to_owned()),
        };
    };
    let noise = Noise::of(std::iter::once((reference, exact)));
    let metrics = match noise {
        Some(noise) if found.dtype() == reference.dtype() => {
            Metrics::of(&found.cast(exact.dtype()), exact, &noise.tolerance())
        }
        Some(_) => None,
        None => Metrics::of(found, reference, &Tolerance::default()),
    };
    OwnError {
        // `Metrics::agrees` would ask for the argmax as well, but which of two nearly equal elements is
        // the largest means nothing inside of a network.
        agrees: metrics
            .as_ref()
            .is_some_and(|metrics| metrics.disagreeing == 0),
        metrics,
        noise,
        failure: None,
    }
}
