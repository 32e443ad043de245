//! A Paddle model: what callers open, inspect and convert.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::analyse::Analysis;
use crate::error::{Error, Result};
use crate::graph::{DEFAULT_OPSET, OPSETS, OnnxModel};
use crate::lower;
use crate::normalise;
use crate::operator::{Macs, Precision, Registry};
use crate::program::{OpKind, Operand, Origin, Program, Value, ValueId};
use crate::read::{self, Format, ModelFiles};
use crate::reference::Reference;
use crate::simplify::simplify;
use crate::tensor::{DType, Dim};
use crate::write::{self, Progress, Weights, Written};

/// An opened model. Its weights stay in their files.
#[derive(Debug)]
pub struct Model {
    files: ModelFiles,
    format: Format,
    program: Program,
    registry: Registry,
}

/// How to convert.
pub struct ConvertOptions<'a> {
    /// The version of ONNX's operator set, one of [`crate::OPSETS`].
    pub opset: u32,
    /// Where the weights go.
    pub weights: Weights,
    /// Told how far the writing is.
    pub progress: &'a dyn Progress,
}

impl Default for ConvertOptions<'_> {
    fn default() -> Self {
        Self {
            opset: DEFAULT_OPSET,
            weights: Weights::Auto,
            progress: &|_, _| ControlFlow::Continue(()),
        }
    }
}

/// A reason why ops of one kind can't be converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The name of the op in the file.
    pub op: String,
    /// What can't be converted.
    pub reason: String,
    /// The lowest opset in which it can be, if there is one.
    pub needed_opset: Option<u32>,
    /// Where it is, as `op 12 `relu` in /Net/Block`.
    pub places: Vec<String>,
}

/// What a conversion made.
#[derive(Debug, Clone)]
pub struct Conversion {
    /// The files.
    pub written: Written,
    /// The number of nodes.
    pub nodes: usize,
}

/// What a model consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The inputs, in the order of the file.
    pub inputs: Vec<Port>,
    /// The outputs, in the order of the file; their shapes as far as the ops tell.
    pub outputs: Vec<Port>,
    /// How often each op occurs, by PHI name (the file's name where it is not supported).
    pub ops: BTreeMap<String, usize>,
    /// The names of ops that can't be converted.
    pub unsupported: Vec<String>,
    /// If all ops are supported but one is not what its definition expects: what is wrong.
    pub problem: Option<String>,
    /// The elements of all weights that the program reads.
    pub parameters: u64,
    /// Those of layers alone, which is what published figures count: weights of products, scales
    /// and biases. A position embedding that is merely added is not among them. None if an op is
    /// not supported.
    pub layer_parameters: Option<u64>,
    /// Multiply-accumulates, if all ops are supported and their costs are known.
    pub macs: Option<MacCount>,
}

/// A tensor that goes in or comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The name by which callers know it.
    pub name: String,
    /// The element type.
    pub dtype: DType,
    /// The shape; symbols stand for what the inputs set.
    pub shape: Vec<Dim>,
}

/// Multiply-accumulates of one run at batch 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MacCount {
    /// Of layers: an activation times a trained weight. What published figures count.
    pub layers: u64,
    /// Of products of two activations, as in attention.
    pub activations: u64,
}

impl Model {
    /// Opens the model at `path`: a `.pdmodel`, a `__model__`, a `.json` of Paddle 3, or a folder
    /// with one of them.
    /// `params` names the weights where they are not at their conventional place.
    ///
    /// # Errors
    /// When the files can't be found or read, contradict themselves or each other, or are of a
    /// format that is not read.
    pub fn open(path: &Path, params: Option<&Path>) -> Result<Self> {
        Self::open_with(path, params, &Registry::standard())
    }

    /// The same with ops of the caller's own, or without some of this crate's.
    ///
    /// # Errors
    /// Those of [`Model::open`].
    pub fn open_with(path: &Path, params: Option<&Path>, registry: &Registry) -> Result<Self> {
        let files = read::locate(path, params)?;
        let bytes = read::program(&files.program)?;
        let (program, format) = normalise::program(&bytes, &files, registry)?;
        Ok(Self {
            files,
            format,
            program,
            registry: registry.clone(),
        })
    }

    /// Where the model was found.
    pub fn files(&self) -> &ModelFiles {
        &self.files
    }

    /// The format of its program.
    pub fn format(&self) -> Format {
        self.format
    }

    /// What it computes.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The ops that it is read with.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The program, ready to run in the reference interpreter.
    ///
    /// # Errors
    /// When an op is not supported or the weights can't be read.
    pub fn reference(&self, precision: Precision) -> Result<Reference<'_>> {
        let reference = Reference::new(&self.program, &self.registry, precision);
        reference.map_err(|e| e.in_file(&self.files.program))
    }

    /// Writes the model as ONNX.
    ///
    /// # Errors
    /// When ops are not supported (all of them are listed) or the output can't be written. No
    /// file is left then.
    pub fn convert(&self, output: &Path, options: &ConvertOptions<'_>) -> Result<Conversion> {
        self.refuse_overwriting(output)?;
        let onnx = self.lower(options.opset);
        let onnx = onnx.map_err(|e| e.in_file(&self.files.program))?;
        let written = write::write(&onnx, output, options.weights, options.progress)?;
        Ok(Conversion {
            written,
            nodes: onnx.node_count(),
        })
    }

    /// The ONNX model, of which nothing is written yet.
    pub(crate) fn lower(&self, opset: u32) -> Result<OnnxModel> {
        lower::refuse_opset(&self.program, opset)?;
        let program = simplify(&self.program, &self.registry);
        let analysis = Analysis::of(&program, &self.registry)?;
        lower::lower(&analysis, opset)
    }

    /// All ops that stand in the way of a conversion to `opset`, by what is wrong with them, in the
    /// order of the program. None if the model can be converted.
    ///
    /// # Errors
    /// When nothing at all can be written in `opset`.
    pub fn obstacles(&self, opset: u32) -> Result<Vec<Obstacle>> {
        lower::refuse_opset(&self.program, opset)?;
        let program = simplify(&self.program, &self.registry);
        let mut obstacles: Vec<Obstacle> = Vec::new();
        for (source, error) in lower::obstacles(&program, &self.registry, opset) {
            let place = source.to_string();
            let is_alike =
                |known: &&mut Obstacle| known.op == source.name && known.reason == error.message();
            match obstacles.iter_mut().find(is_alike) {
                Some(known) => known.places.push(place),
                None => obstacles.push(Obstacle {
                    op: source.name.clone(),
                    reason: error.message().to_owned(),
                    needed_opset: error.needed_opset(),
                    places: vec![place],
                }),
            }
        }
        Ok(obstacles)
    }

    /// The lowest opset that the model can be converted to.
    ///
    /// # Errors
    /// When it can't be converted to any.
    pub fn lowest_opset(&self) -> Result<u32> {
        let mut opset = *OPSETS.start();
        loop {
            match self.lower(opset) {
                Ok(_) => return Ok(opset),
                Err(e) => match e.needed_opset().filter(|needed| *needed > opset) {
                    Some(needed) => opset = needed,
                    None => return Err(e.in_file(&self.files.program)),
                },
            }
        }
    }

    /// The output replaces what has its name, which must not be the model itself.
    fn refuse_overwriting(&self, output: &Path) -> Result<()> {
        let parameters = self.program.values().filter_map(|(_, v)| match &v.origin {
            Origin::Parameter(range) => Some(range.path.as_ref()),
            _ => None,
        });
        let inputs: BTreeSet<&Path> = parameters.chain([self.files.program.as_path()]).collect();
        let inputs: Vec<PathBuf> = inputs
            .into_iter()
            .filter_map(|path| path.canonicalize().ok())
            .collect();
        for path in write::replaced(output) {
            if path.canonicalize().is_ok_and(|path| inputs.contains(&path)) {
                return Err(
                    Error::invalid("the output would replace the model itself").in_file(&path)
                );
            }
        }
        Ok(())
    }

    /// Counts what the model consists of. Extents that the inputs leave open count as 1.
    pub fn summary(&self) -> Summary {
        let program = &self.program;
        let mut counts = BTreeMap::new();
        let mut unsupported = BTreeSet::new();
        for op in program.all_ops() {
            *counts.entry(op.kind.name().to_owned()).or_insert(0) += 1;
            if let OpKind::Unknown(name) = &op.kind
                && !self.registry.knows(&op.kind)
            {
                unsupported.insert(name.clone());
            }
        }
        let mut summary = Summary {
            inputs: program
                .inputs()
                .iter()
                .map(|id| self.declared(*id))
                .collect(),
            outputs: program
                .outputs()
                .iter()
                .map(|o| self.declared(o.value))
                .collect(),
            ops: counts,
            unsupported: unsupported.into_iter().collect(),
            problem: None,
            parameters: self.parameters(|_, _| true),
            layer_parameters: None,
            macs: None,
        };
        for (port, output) in summary.outputs.iter_mut().zip(program.outputs()) {
            port.name.clone_from(&output.name);
        }
        if summary.unsupported.is_empty() {
            match self.analyse(&mut summary) {
                Ok(()) => {}
                Err(e) => summary.problem = Some(e.in_file(&self.files.program).to_string()),
            }
        }
        summary
    }

    fn declared(&self, id: ValueId) -> Port {
        let value = &self.program[id];
        Port {
            name: value.name.clone(),
            dtype: value.dtype,
            shape: value.shape.clone(),
        }
    }

    /// Adds what only the ops know.
    fn analyse(&self, summary: &mut Summary) -> Result<()> {
        let facts = Analysis::of(&self.program, &self.registry)?.facts;
        for (port, output) in summary.outputs.iter_mut().zip(self.program.outputs()) {
            port.shape.clone_from(&facts.get(output.value).shape);
        }
        let costs = self.costs()?;
        summary.layer_parameters = Some(self.layer_parameters(&costs));
        summary.macs = total(&costs);
        Ok(())
    }

    /// The elements of those weights that the program reads and `counts` accepts.
    fn parameters(&self, counts: impl Fn(ValueId, &Value) -> bool) -> u64 {
        let uses = self.program.use_counts();
        let weights = self.program.values().filter(|(id, value)| {
            let is_weight = matches!(value.origin, Origin::Parameter(_));
            is_weight && uses[id.index()] > 0 && counts(*id, value)
        });
        let elements = weights.map(|(_, value)| {
            let extents = value.shape.iter().filter_map(Dim::known);
            extents.map(i64::unsigned_abs).product::<u64>()
        });
        elements.sum()
    }

    fn layer_parameters(&self, costs: &[Macs]) -> u64 {
        let ops = self.program.ops().iter().zip(costs);
        let layers = ops.filter(|(_, cost)| matches!(cost, Macs::Weighted(_)));
        let operands = layers.flat_map(|(op, _)| &op.operands);
        let weights: HashSet<ValueId> = operands.flat_map(Operand::values).copied().collect();
        // Vectors are the scales and biases of layers.
        self.parameters(|id, value| value.shape.len() <= 1 || weights.contains(&id))
    }

    /// The multiply-accumulates of each op at batch 1.
    fn costs(&self) -> Result<Vec<Macs>> {
        let program = self.program.with_input_shapes(|_, shape| {
            let extents = shape.iter().map(|dim| dim.known().unwrap_or(1));
            extents.map(Dim::Known).collect()
        });
        let Analysis { ops, facts } = Analysis::of(&program, &self.registry)?;
        let costs = ops.iter().map(|op| op.operator().macs(&facts));
        Ok(costs.collect())
    }
}

/// The sum of what is counted, unless something is not known.
fn total(costs: &[Macs]) -> Option<MacCount> {
    let mut count = MacCount::default();
    for cost in costs {
        match cost {
            Macs::None => {}
            Macs::Weighted(macs) => count.layers = count.layers.checked_add(*macs)?,
            Macs::Activations(macs) => count.activations = count.activations.checked_add(*macs)?,
            Macs::Unknown => return None,
        }
    }
    Some(count)
}
