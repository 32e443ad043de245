//! The part of a model that can be judged: all outputs but those that depend on a custom op, which only a runtime
//! that has it can compute.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Serialize;

use super::onnx_file::OnnxFile;
use crate::analyse::opaque_outputs;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::operator::Precision;
use crate::program::Program;
use crate::reference::Reference;
use crate::runtime::{OnnxRuntime, Session};
use crate::simplify::drop_unneeded;
use crate::tensor::DType;

/// An output that can't be judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotJudged {
    /// The output's name.
    pub output: String,
    /// Why not, as a clause that follows the output's name: `depends on …`.
    pub reason: String,
}

/// A model, with those of its outputs that can be judged.
pub(super) struct Subject<'m> {
    pub model: &'m Model,
    /// The program that the ONNX model is to compute, reduced to these outputs and the ops that they need: the original one,
    /// or what was made of it in half precision.
    pub program: Cow<'m, Program>,
    /// The original program, reduced so, where the other one is in half precision.
    original: Option<Cow<'m, Program>>,
    pub not_judged: Vec<NotJudged>,
    /// Ends runs of the reference when it is set.
    stop: Option<Arc<AtomicBool>>,
}

impl<'m> Subject<'m> {
    /// Sorts the outputs of a model into those that can be judged and those that can't. Runs of the reference end when
    /// `stop` is set.
    ///
    /// # Errors
    /// When the model has outputs, of which none can be judged, or can't be put into half precision although it is to be.
    pub fn of(model: &'m Model, stop: Option<Arc<AtomicBool>>) -> Result<Self> {
        let (program, registry) = (model.program(), model.registry());
        let is_opaque = opaque_outputs(program, registry);
        let outputs = program.outputs().iter().zip(is_opaque);
        let (opaque, judged): (Vec<_>, Vec<_>) = outputs.partition(|(_, is_opaque)| *is_opaque);
        let custom = program.all_ops().filter(|op| registry.is_opaque(op));
        let mut custom: Vec<&str> = custom.map(|op| op.kind.name()).collect();
        custom.sort_unstable();
        custom.dedup();
        let custom = custom.join(", ");
        if judged.is_empty() && !opaque.is_empty() {
            return Err(Error::unsupported(format!(
                "every output depends on a custom op ({custom}), which only a runtime that has it can compute: \
                 there is nothing to compare"
            ))
            .in_file(&model.files().program));
        }
        let not_judged = opaque.iter().map(|(output, _)| NotJudged {
            output: output.name.clone(),
            reason: format!(
                "depends on a custom op ({custom}), which only a runtime that has it can compute"
            ),
        });
        let not_judged: Vec<NotJudged> = not_judged.collect();
        let reduced = |program| {
            let mut reduced: Cow<'m, Program> = program;
            if !not_judged.is_empty() {
                let mut is_opaque = opaque_outputs(&reduced, registry).into_iter();
                let program = reduced.to_mut();
                program.outputs.retain(|_| is_opaque.next() == Some(false));
                drop_unneeded(program);
            }
            reduced
        };
        let original = reduced(Cow::Borrowed(program));
        let halved = model.halved()?;
        let (program, original) = match halved {
            Some(halved) => (reduced(Cow::Owned(halved)), Some(original)),
            None => (original, None),
        };
        Ok(Self {
            model,
            program,
            original,
            not_judged,
            stop,
        })
    }

    /// Whether the ONNX model is in half precision where the original is not.
    pub fn is_halved(&self) -> bool {
        self.original.is_some()
    }

    /// The names of the outputs that are judged.
    pub fn outputs(&self) -> Vec<String> {
        let outputs = self.program.outputs().iter();
        outputs.map(|output| output.name.clone()).collect()
    }

    /// The reduced program, ready to run in the reference interpreter, on inputs of its types.
    ///
    /// # Errors
    /// When an op is not supported or the weights can't be read.
    pub fn reference(&self, precision: Precision) -> Result<Reference<'_>> {
        let reference = self.model.reference_of(&self.program, precision)?;
        Ok(reference.stopped_by(self.stop.clone()))
    }

    /// The reduced original program, ready to run in the reference interpreter.
    ///
    /// # Errors
    /// Those of [`Subject::reference`].
    pub fn original(&self, precision: Precision) -> Result<Reference<'_>> {
        let program = self.original.as_ref().unwrap_or(&self.program);
        let reference = self.model.reference_of(program, precision)?;
        Ok(reference.stopped_by(self.stop.clone()))
    }

    /// An ONNX file, reduced to the outputs that are judged, ready to run in ONNX Runtime.
    ///
    /// # Errors
    /// When the file can't be read, lacks such an output, or is refused by ONNX Runtime.
    pub fn session(&self, runtime: &OnnxRuntime, onnx: &Path) -> Result<Session> {
        if self.not_judged.is_empty() {
            return runtime.open(onnx);
        }
        let program = &self.program;
        let input = |name: &str| -> Option<DType> {
            let inputs = program.inputs().iter();
            let mut inputs = inputs.map(|id| &program[*id]);
            Some(inputs.find(|value| value.name == name)?.dtype)
        };
        let outputs = program.outputs().iter();
        let outputs: Vec<(&str, DType)> = outputs
            .map(|output| (output.name.as_str(), program[output.value].dtype))
            .collect();
        let part = OnnxFile::read(onnx)?.part(&outputs, &input)?;
        let part = part.ok_or_else(|| Error::internal("outputs that no node gives"))?;
        runtime.open_bytes(&part.model)
    }
}
