//! A Paddle model: what callers open, inspect and convert.

mod findings;
mod metadata;
mod summary;

use std::collections::BTreeSet;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::analyse::Analysis;
use crate::error::{Error, Result};
use crate::graph::{DEFAULT_OPSET, OPSETS, OnnxModel};
use crate::lower;
use crate::normalise;
use crate::operator::{Precision, Registry};
use crate::program::{Origin, Program};
use crate::read::{self, Format, ModelFiles};
use crate::reference::Reference;
use crate::simplify::{
    Goal, HalfPrecision, InputShape, REWRITES, Renaming, cropped, dequantize, halved,
    refuse_without_match, renamed, simplify, starting_at, with_limit, with_shapes, without_choices,
};
use crate::tensor::{DType, Tensor};
use crate::write::{self, Progress, Weights, Written};
pub use findings::{Note, Obstacle};
use metadata::Metadata;
pub use summary::{MacCount, Port, Summary};

/// An opened model. Its weights stay in their files.
#[derive(Debug, Clone)]
pub struct Model {
    files: ModelFiles,
    format: Format,
    /// The SHA-256 of the program's file, in hexadecimal digits.
    sha256: String,
    program: Program,
    registry: Registry,
    /// The names of the rewrites that are not made.
    left_out: Vec<&'static str>,
    /// The domain of operators that the runtime has beside ONNX's own.
    domain: Option<&'static str>,
    /// How ONNX is written in half precision, if it is.
    half: Option<HalfPrecision>,
}

/// The options of [`Model::convert`].
pub struct ConvertOptions<'a> {
    /// The version of ONNX's operator set, one of [`crate::OPSETS`].
    pub opset: u32,
    /// The version of ONNX's format; None for the lowest that the opset and the model allow.
    pub ir_version: Option<u32>,
    /// Where the weights are stored.
    pub weights: Weights,
    /// Whether a quantised model is written as the float model behind it, for runtimes without integer kernels.
    pub dequantize: bool,
    /// Called while the files are written, with the number of bytes so far; may stop the conversion.
    pub progress: &'a dyn Progress,
}

impl Default for ConvertOptions<'_> {
    fn default() -> Self {
        Self {
            opset: DEFAULT_OPSET,
            ir_version: None,
            weights: Weights::Auto,
            dequantize: false,
            progress: &|_, _| ControlFlow::Continue(()),
        }
    }
}

/// The lowest opset that a model can be converted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LowestOpset {
    /// The opset.
    pub opset: u32,
    /// What needs it, with its place, as in ``op 12 `roi_align`: a RoiAlign of aligned boxes``. None if the opset is the
    /// lowest of all.
    pub needed_by: Option<String>,
}

/// What [`Model::convert`] has written.
#[derive(Debug, Clone)]
pub struct Conversion {
    /// The files that were written.
    pub written: Written,
    /// The number of nodes of the graph, with those in bodies of control flow, but without those in model functions.
    pub nodes: usize,
    /// Where the model is not in every respect what the program is, in the order of the program.
    pub notes: Vec<Note>,
    /// What the ONNX model says of where it comes from, and of what its inputs and outputs mean: keys and values.
    pub metadata: Vec<(String, String)>,
    /// Why the settings beside the program, or a part of them, are not among the metadata, in sentences.
    pub remarks: Vec<String>,
}

/// What [`Model::convert_to`] has written.
#[derive(Debug, Clone)]
pub struct Streamed {
    /// The number of bytes.
    pub bytes: u64,
    /// The number of nodes, as in [`Conversion::nodes`].
    pub nodes: usize,
    /// The notes, as in [`Conversion::notes`].
    pub notes: Vec<Note>,
    /// The remarks, as in [`Conversion::remarks`].
    pub remarks: Vec<String>,
}

impl Model {
    /// Opens the model at `path`: a `.pdmodel`, a `__model__`, a `.json` of Paddle 3, or a folder
    /// with one of them.
    /// `params` is the file of the weights, or the folder with one file per weight, where they are not at their
    /// conventional place.
    ///
    /// # Errors
    /// When the program can't be found or read, the files contradict themselves or each other, or are of a
    /// format that is not read. Weights that are missing are an error only where they are needed: not to inspect the
    /// model, nor to list the obstacles of a conversion.
    pub fn open(path: &Path, params: Option<&Path>) -> Result<Self> {
        Self::open_with(path, params, &Registry::standard())
    }

    /// Opens a model as [`Model::open`] does, but with the ops of `registry` in place of [`Registry::standard`].
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
            sha256: metadata::sha256(&bytes),
            program,
            registry: registry.clone(),
            left_out: Vec::new(),
            domain: None,
            half: None,
        })
    }

    /// The paths of the program and of the weights.
    pub fn files(&self) -> &ModelFiles {
        &self.files
    }

    /// What is missing of the files with the weights, and what to do, as a sentence without its end. Without them, the
    /// model can be inspected, but neither converted nor run.
    pub fn missing_weights(&self) -> Option<&str> {
        self.program.missing_weights.as_deref()
    }

    /// The format of the program.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The program as it was read. [`Model::convert`] simplifies a copy of it.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The ops with which the program was read.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The model that returns the values of these names, and has no more ops and inputs than they need. A name is that of
    /// an output, or of a value in [`Model::program`]: of its last one outside of blocks, if there are several.
    ///
    /// # Errors
    /// When there is no such value, it is a weight or inside of a branch or a loop, or a name is given twice.
    pub fn with_outputs(self, names: &[String]) -> Result<Self> {
        let program = cropped(&self.program, names);
        self.with_program(program)
    }

    /// The model that takes the values of these names in place of what computes them, beside the inputs that it still needs.
    /// Names are those of [`Model::with_outputs`].
    ///
    /// # Errors
    /// When there is no such value, it is a weight or inside of a branch or a loop, or a name is given twice.
    pub fn with_inputs(self, names: &[String]) -> Result<Self> {
        let program = starting_at(&self.program, names);
        self.with_program(program)
    }

    /// The model with inputs of these shapes, from which those of all other values follow.
    ///
    /// # Errors
    /// When there is no such input, it has another rank, or is given twice. Shapes that an op can't take are found when
    /// the model is converted or run.
    pub fn with_input_shapes(self, shapes: &[InputShape]) -> Result<Self> {
        let program = with_shapes(&self.program, shapes);
        self.with_program(program)
    }

    /// The model with other names of inputs and outputs.
    ///
    /// # Errors
    /// When no input or output has a name, or two have the same afterwards.
    pub fn renamed(self, renamings: &[Renaming]) -> Result<Self> {
        let program = renamed(&self.program, renamings);
        self.with_program(program)
    }

    /// The model up to the boxes and scores among which detectors choose: its outputs are `boxes` (`[n, boxes, 4]`: left,
    /// top, right, bottom) and `scores` (`[n, boxes, classes]`), as TensorRT's EfficientNMS takes them, and those that do not
    /// depend on a choice.
    ///
    /// # Errors
    /// When no op drops boxes that overlap better ones, or one does in a block of control flow.
    pub fn without_nms(self) -> Result<Self> {
        let program = without_choices(&self.program, &self.registry);
        self.with_program(program)
    }

    /// The model that finds exactly `limit` boxes in each image, or as many as it keeps at most if these are fewer: rows of -1
    /// stand for boxes that are missing. So all extents are known if those of the inputs are. Of each class, the `limit`
    /// boxes of the highest scores are looked at.
    ///
    /// # Errors
    /// When no op drops boxes that overlap better ones, or one does in a block of control flow.
    pub fn with_nms_limit(self, limit: usize) -> Result<Self> {
        let program = with_limit(&self.program, &self.registry, limit);
        self.with_program(program)
    }

    /// The model of another program, which was made of its own. Errors name its file.
    fn with_program(mut self, program: Result<Program>) -> Result<Self> {
        self.program = program.map_err(|e| e.in_file(&self.files.program))?;
        Ok(self)
    }

    /// The model of which ONNX is written without the rewrites of these names ([`crate::REWRITES`]).
    ///
    /// # Errors
    /// When there is no rewrite of a name.
    pub fn without_rewrites(mut self, names: &[String]) -> Result<Self> {
        for name in names {
            let known = REWRITES.iter().find(|rewrite| rewrite.name == name);
            let known = known.ok_or_else(|| {
                let all: Vec<&str> = REWRITES.iter().map(|rewrite| rewrite.name).collect();
                Error::invalid(format!(
                    "no rewrite is called {name:?}; there are {}",
                    all.join(", ")
                ))
            })?;
            self.left_out.push(known.name);
        }
        Ok(self)
    }

    /// The model of which ONNX is written with the operators of a domain beside ONNX's own ([`crate::Target::domain`]), where
    /// rewrites make them ([`crate::Rewrite::domain`]). In half precision, none do: their kernels on CPUs take float32 alone.
    #[must_use]
    pub fn with_operators_of(mut self, domain: Option<&'static str>) -> Self {
        self.domain = domain;
        self
    }

    /// The model of which ONNX is written in half precision: what is float32 in Paddle becomes float16 or bfloat16, but for
    /// ops that need more digits ([`crate::KEPT_IN_FLOAT32`]), and the weights are rounded while they are written. Ops
    /// that read larger numbers than half precision holds stay in float32, with a note.
    ///
    /// ```
    /// use paddle2onnx::tensor::DType;
    /// use paddle2onnx::{ConvertOptions, HalfPrecision, Model};
    ///
    /// # fn main() -> paddle2onnx::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let output = folder.path().join("model.onnx");
    /// let model = Model::open("fixtures/paddle-3.3.1/vit/ViT_base_patch16_224".as_ref(), None)?;
    /// let half = HalfPrecision {
    ///     keep_f32: vec!["gelu".to_owned()],
    ///     ..HalfPrecision::new(DType::F16)
    /// };
    /// model.in_half_precision(half)?.convert(&output, &ConvertOptions::default())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When a type is none of these, or nothing has a name that is to stay in float32.
    pub fn in_half_precision(mut self, half: HalfPrecision) -> Result<Self> {
        half.refuse_other_types()?;
        refuse_without_match(&self.program, &self.registry, &half.keep_f32)
            .map_err(|e| e.in_file(&self.files.program))?;
        self.half = Some(half);
        Ok(self)
    }

    /// How ONNX is written in half precision, if it is.
    pub fn half_precision(&self) -> Option<&HalfPrecision> {
        self.half.as_ref()
    }

    /// The inputs of a run, as the program takes them, in the types in which the ONNX model takes them.
    pub(crate) fn as_taken(&self, inputs: &[(String, Tensor)]) -> Vec<(String, Tensor)> {
        let dtype = self.half.as_ref().map_or(DType::F32, |half| half.io_dtype);
        let taken = inputs.iter().map(|(name, tensor)| {
            let tensor = match tensor.dtype() {
                DType::F32 => tensor.cast(dtype),
                _ => tensor.clone(),
            };
            (name.clone(), tensor)
        });
        taken.collect()
    }

    /// The program as ONNX is written of it, if that is in half precision.
    ///
    /// # Errors
    /// When it is quantised, or weights can't be read.
    pub(crate) fn halved(&self) -> Result<Option<Program>> {
        let half = self.half.is_some();
        let program = half.then(|| self.simplified(&self.program, DEFAULT_OPSET, &self.left_out));
        program
            .transpose()
            .map_err(|e| e.in_file(&self.files.program))
    }

    /// The program in the reference interpreter, with its weights loaded, ready to run in `precision`.
    ///
    /// # Errors
    /// When an op is not supported or the weights can't be read.
    pub fn reference(&self, precision: Precision) -> Result<Reference<'_>> {
        self.reference_of(&self.program, precision)
    }

    /// A program that was made of the model's, as [`Model::reference`] has the whole.
    pub(crate) fn reference_of<'p>(
        &self,
        program: &'p Program,
        precision: Precision,
    ) -> Result<Reference<'p>> {
        self.refuse_missing_weights()?;
        let reference = Reference::new(program, &self.registry, precision);
        reference.map_err(|e| e.in_file(&self.files.program))
    }

    /// Writes the model as ONNX to the file `output`, and its weights where `options` says.
    ///
    /// # Errors
    /// When ops are not supported (all of them are listed), the opset can't be written or can't express an op, the
    /// output would replace the model itself or can't be written, or `options.progress` stops the conversion. No
    /// unfinished file is left then.
    pub fn convert(&self, output: &Path, options: &ConvertOptions<'_>) -> Result<Conversion> {
        self.refuse_overwriting(output)?;
        let (onnx, metadata) = self.lower_as(options)?;
        let written = write::write(&onnx, output, options.weights, options.progress)?;
        Ok(Conversion {
            written,
            nodes: onnx.node_count(),
            notes: findings::notes(onnx.notes),
            metadata: metadata.entries,
            remarks: metadata.remarks,
        })
    }

    /// Writes the model as ONNX to a stream, such as standard output or a vector of bytes. The weights are in it, whatever
    /// `options` says. Returns the number of nodes and bytes, and the notes.
    ///
    /// # Errors
    /// Those of [`Model::convert`], and when the model is too large for one file. The stream gets nothing before the model is
    /// complete.
    pub fn convert_to(
        &self,
        stream: &mut dyn Write,
        options: &ConvertOptions<'_>,
    ) -> Result<Streamed> {
        let (onnx, metadata) = self.lower_as(options)?;
        let bytes = write::write_to(&onnx, stream, options.progress)?;
        Ok(Streamed {
            bytes,
            nodes: onnx.node_count(),
            notes: findings::notes(onnx.notes),
            remarks: metadata.remarks,
        })
    }

    /// The ONNX model in memory, once it is known that its weights are there, and its metadata.
    fn lower_as(&self, options: &ConvertOptions<'_>) -> Result<(OnnxModel, Metadata)> {
        if let Some(half) = &self.half
            && options.weights == Weights::Link
        {
            return Err(Error::invalid(format!(
                "the weights can't stay in Paddle's file, which holds them in float32, if the model is to be {}; leave out \
                 --weights link",
                half.dtype
            )));
        }
        let onnx = self.lower_to(options.opset, options);
        let mut onnx = onnx.map_err(|e| e.in_file(&self.files.program))?;
        self.refuse_missing_weights()?;
        if let Some(version) = options.ir_version {
            onnx.raise_ir_version(version)?;
        }
        let metadata = Metadata::of(self);
        onnx.describe(&metadata.entries);
        Ok((onnx, metadata))
    }

    /// The ONNX model in memory, in an opset that may be another than that of `options`.
    fn lower_to(&self, opset: u32, options: &ConvertOptions<'_>) -> Result<OnnxModel> {
        if options.dequantize {
            self.dequantized(opset, options)
        } else {
            self.lower_program(&self.program, opset, options.weights)
        }
    }

    /// The ONNX model in memory. Its weights stay in Paddle's files.
    pub(crate) fn lower(&self, opset: u32) -> Result<OnnxModel> {
        self.lower_program(&self.program, opset, Weights::Auto)
    }

    /// The ONNX model in memory, in floats where the program is quantised.
    fn dequantized(&self, opset: u32, options: &ConvertOptions<'_>) -> Result<OnnxModel> {
        let mut program = self.program.clone();
        dequantize(&mut program, &self.registry)?;
        self.lower_program(&program, opset, options.weights)
    }

    fn lower_program(&self, program: &Program, opset: u32, weights: Weights) -> Result<OnnxModel> {
        let mut left_out = self.left_out.clone();
        if weights == Weights::Link {
            // What is not in Paddle's file can't be linked.
            let rewrites = REWRITES.iter().filter(|rewrite| rewrite.makes_weights);
            left_out.extend(rewrites.map(|rewrite| rewrite.name));
        }
        let program = self.simplified(program, opset, &left_out)?;
        lower::refuse_opset(&program, opset)?;
        let analysis = Analysis::of(&program, &self.registry)?;
        lower::lower(&analysis, opset)
    }

    /// A program of the model after all passes, in half precision if it is to be.
    fn simplified(
        &self,
        program: &Program,
        opset: u32,
        left_out: &[&'static str],
    ) -> Result<Program> {
        let goal = Goal {
            opset,
            domain: self.domain.filter(|_| self.half.is_none()),
            left_out,
        };
        let program = simplify(program, &self.registry, &goal);
        match &self.half {
            Some(half) => halved(&program, &self.registry, half),
            None => Ok(program),
        }
    }

    /// All ops that stand in the way of a conversion to `opset`, with one entry for each kind of op and each reason, in
    /// the order of their first places in the program. Empty if the model can be converted.
    ///
    /// # Errors
    /// When `opset` is not one of [`crate::OPSETS`], or has no bfloat16 where the program does.
    pub fn obstacles(&self, opset: u32) -> Result<Vec<Obstacle>> {
        let program = self.simplified(&self.program, opset, &self.left_out)?;
        lower::refuse_opset(&program, opset)?;
        let found = lower::obstacles(&program, &self.registry, opset);
        Ok(findings::obstacles(found))
    }

    /// The notes on a conversion to `opset`, which [`Model::convert`] returns as well.
    ///
    /// # Errors
    /// Those of [`Model::convert`], but for files.
    pub fn notes(&self, opset: u32) -> Result<Vec<Note>> {
        let onnx = self.lower(opset);
        let onnx = onnx.map_err(|e| e.in_file(&self.files.program))?;
        Ok(findings::notes(onnx.notes))
    }

    /// The lowest opset that the model can be converted to.
    ///
    /// # Errors
    /// When it can't be converted to any.
    pub fn lowest_opset(&self) -> Result<u32> {
        let lowest = self.lowest_opset_with(&ConvertOptions::default());
        lowest.map(|lowest| lowest.opset)
    }

    /// The lowest opset that the model can be converted to with `options`, whose own opset does not count, and what needs it.
    ///
    /// # Errors
    /// When it can't be converted to any.
    pub fn lowest_opset_with(&self, options: &ConvertOptions<'_>) -> Result<LowestOpset> {
        let mut lowest = LowestOpset {
            opset: *OPSETS.start(),
            needed_by: None,
        };
        loop {
            let Err(e) = self.lower_to(lowest.opset, options) else {
                return Ok(lowest);
            };
            match e.needed_opset().filter(|needed| *needed > lowest.opset) {
                Some(opset) => {
                    let needed_by = e.needed_by();
                    lowest = LowestOpset { opset, needed_by };
                }
                None => return Err(e.in_file(&self.files.program)),
            }
        }
    }

    /// Whether an op drops boxes that overlap better ones, which some runtimes do themselves.
    pub(crate) fn chooses_boxes(&self) -> bool {
        without_choices(&self.program, &self.registry).is_ok()
    }

    /// Refuses a model whose weights are not there: it can only be inspected.
    fn refuse_missing_weights(&self) -> Result<()> {
        match self.missing_weights() {
            Some(what) => Err(Error::invalid(what).in_file(&self.files.program)),
            None => Ok(()),
        }
    }

    /// Refuses an output whose files would replace the program or the weights.
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
}
