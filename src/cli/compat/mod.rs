//! `compat`: the command line of Paddle2ONNX 1.x and 2.x.
//!
//! A flag that has no meaning here is accepted with a line that says so. One that asks for what is not done is an error.

mod backend;
mod ignored;
mod literal;
mod spelling;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use paddle2onnx::program::Origin;
use paddle2onnx::tensor::DType;
use paddle2onnx::{HalfPrecision, Model, OPSETS, Registry};

use super::conversion::{self, How};
use super::convert::Converted;
use super::outcome::{Failure, Outcome, Result};
use super::stderr::{note, warn};
use super::stdout::print;
use super::{interrupt, notes};
use backend::Backend;
use ignored::Ignored;
use literal::{Boolean, Operators, Renamed, Shapes};

pub use backend::refuse_backend;
pub(super) use spelling::spelled_out;

/// Converts a model, with the flags of Paddle2ONNX 1.x and 2.x.
///
/// They can also be given to a link to this program that is called `paddle2onnx`. Booleans, lists and dictionaries are
/// written as in Python. A flag that has no meaning here is accepted with a line that says so; one that asks for what is
/// not done is an error.
///
/// The exit code is 0 if the model was converted, and 2 if not.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// [-m] The folder with the model
    #[arg(long = "model_dir", value_name = "DIR")]
    model_dir: Option<PathBuf>,

    /// [-mf] The program in that folder [default: the only one]
    #[arg(long = "model_filename", value_name = "NAME")]
    model_filename: Option<PathBuf>,

    /// [-pf] The weights in that folder [default: those beside the program]
    #[arg(long = "params_filename", value_name = "NAME")]
    params_filename: Option<PathBuf>,

    /// [-s] Where to write the ONNX model, in a folder that is made if there is none
    #[arg(long = "save_file", value_name = "FILE")]
    save_file: Option<PathBuf>,

    /// [-ov] The version of ONNX's operator set
    #[arg(long = "opset_version", value_name = "N", default_value_t = 9)]
    opset_version: u32,

    /// Whether to take the lowest version from there on that the model can be converted to [default: True]
    #[arg(long = "enable_auto_update_opset", value_name = "BOOL")]
    auto_update_opset: Option<Boolean>,

    /// Operators of the domain `Paddle` for ops that are not supported, as in {'paddle_op': 'OnnxOp'}
    #[arg(long = "custom_ops", value_name = "DICT")]
    custom_ops: Option<Operators>,

    /// [-on] Other names for the outputs: a list of all, or a dictionary of old and new ones
    #[arg(long = "output_names", value_name = "NAMES")]
    output_names: Option<Renamed>,

    /// [-d] What quantised models and detectors are for: onnxruntime, tensorrt, rknn or others. Only the first is done
    /// [default: onnxruntime]
    #[arg(
        long = "deploy_backend",
        value_name = "NAME",
        ignore_case = true,
        hide_possible_values = true
    )]
    deploy_backend: Option<Backend>,

    /// Whether the model is to be in float16, with inputs and outputs of float32 [default: False]
    #[arg(long = "export_fp16_model", value_name = "BOOL")]
    fp16: Option<Boolean>,

    /// [-isd] The shapes of inputs, as in {'x': [1, 3, 224, 224]}, where -1 stands for an extent that each run sets
    #[arg(long = "input_shape_dict", value_name = "DICT")]
    input_shapes: Option<Shapes>,

    /// [-v] Print the version
    #[arg(long)]
    version: bool,

    #[command(flatten, next_help_heading = "Without effect")]
    ignored: Ignored,
}

const EXAMPLES: &str = "\
Examples:
  Convert as Paddle2ONNX does:
      paddle2onnx-rs compat --model_dir model --model_filename inference.pdmodel \\
          --params_filename inference.pdiparams --save_file model.onnx --opset_version 13

  Have scripts that call `paddle2onnx` call this program:
      ln -s \"$(which paddle2onnx-rs)\" ~/bin/paddle2onnx";

/// Converts the model.
pub(super) fn run(args: &Args) -> Result<Outcome> {
    if args.version {
        let version = env!("CARGO_PKG_VERSION");
        print(&format!("paddle2onnx-rs {version}\n"))?;
        return Ok(Outcome::Success);
    }
    let (Some(folder), Some(output)) = (&args.model_dir, &args.save_file) else {
        return Err(Failure::new(
            "--model_dir and --save_file are needed; --help shows all flags",
        ));
    };
    interrupt::install()?;
    let start = Instant::now();
    let model = args.open(folder)?;
    if let Some(backend) = args.deploy_backend {
        backend.refuse(&model)?;
    }
    for (flag, why) in args.ignored.given() {
        note(&format!("--{flag} has no effect: {why}"));
    }
    let how = How {
        opset: args.opset(&model)?,
        ..How::default()
    };
    make_folder(output)?;
    let conversion = conversion::write(&model, output, &how)?;
    notes::print(&conversion.notes);
    let seconds = start.elapsed().as_secs_f64();
    print(&Converted::new(output, &conversion, &how, seconds, None).text())?;
    Ok(Outcome::Success)
}

/// Opens a model. Scripts name a file of weights for programs without weights, too, of which Paddle writes none.
fn open(program: &Path, params: Option<&Path>, registry: &Registry) -> Result<Model> {
    if params.is_some_and(|params| !params.exists())
        && let Ok(model) = Model::open_with(program, None, registry)
        && !model
            .program()
            .values()
            .any(|(_, value)| matches!(value.origin, Origin::Parameter(_)))
    {
        return Ok(model);
    }
    Ok(Model::open_with(program, params, registry)?)
}

impl Args {
    /// Opens the model, with shapes of inputs and names of outputs as asked.
    fn open(&self, folder: &Path) -> Result<Model> {
        let mut registry = Registry::standard();
        for custom in self.custom_ops.iter().flat_map(|operators| &operators.0) {
            registry = registry.with_custom_op(custom.clone())?;
        }
        let program = match &self.model_filename {
            Some(name) => folder.join(name),
            None => folder.to_path_buf(),
        };
        let params = self.params_filename.as_ref().map(|name| folder.join(name));
        let model = open(&program, params.as_deref(), &registry)?;
        if let Some(warning) = model.format().warning() {
            warn(&format!("{}: {warning}", program.display()));
        }
        let model = match &self.input_shapes {
            Some(shapes) => shapes.applied(model)?,
            None => model,
        };
        let model = match &self.output_names {
            Some(names) => names.applied(model)?,
            None => model,
        };
        Ok(match self.fp16 {
            Some(Boolean(true)) => model.in_half_precision(HalfPrecision::new(DType::F16))?,
            _ => model,
        })
    }

    /// The opset to write.
    fn opset(&self, model: &Model) -> Result<u32> {
        let asked = self.opset_version;
        let opset = match self.auto_update_opset {
            Some(Boolean(false)) => asked,
            _ => asked.max(model.lowest_opset()?),
        };
        if OPSETS.contains(&opset) {
            return Ok(opset);
        }
        Err(Failure::new(format!(
            "--opset_version {asked}: the versions {} to {} can be written; without --enable_auto_update_opset False, the \
             lowest from there on that will do is taken",
            OPSETS.start(),
            OPSETS.end()
        )))
    }
}

/// Makes the folder of the output, if its parent has none.
fn make_folder(output: &Path) -> Result<()> {
    let folder = output.parent().filter(|folder| *folder != Path::new(""));
    let Some(folder) = folder.filter(|folder| !folder.exists()) else {
        return Ok(());
    };
    fs::create_dir_all(folder)
        .map_err(|e| Failure::new(format!("{}: could not create it: {e}", folder.display())))
}
