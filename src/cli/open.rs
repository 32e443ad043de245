//! Opens the Paddle model that the arguments name.

use std::path::Path;

use clap::builder::{PossibleValue, PossibleValuesParser};
use paddle2onnx::operator::CustomOp;
use paddle2onnx::{InputShape, Model, REWRITES, Registry, Renaming};

use super::outcome::Result;
use super::stderr::warn;

/// How a model is read.
#[derive(clap::Args)]
pub(super) struct Reading {
    /// Pass an op that is not supported through to an ONNX operator of yours, with its operands and attributes; may be
    /// given several times
    #[arg(long = "custom-op", value_name = "PADDLE_NAME=DOMAIN::NAME")]
    custom_ops: Vec<CustomOp>,

    /// Make these values the outputs, and leave out the ops and inputs that they don't need; their names are those of the
    /// tensors in the ONNX model
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    outputs: Vec<String>,

    /// Take these values in place of what computes them, beside the inputs that are still needed
    #[arg(long = "inputs-at", value_name = "NAME,…", value_delimiter = ',')]
    starts: Vec<String>,

    /// Give an input this shape, in numbers, or in names of extents that each run sets, as in x=batch,3,height,width; may be
    /// given several times
    #[arg(long = "input-shape", value_name = "NAME=1x3x224x224")]
    input_shapes: Vec<InputShape>,

    /// Give an input or an output another name; may be given several times
    #[arg(long = "rename", value_name = "OLD=NEW")]
    renamings: Vec<Renaming>,

    /// Leave out this rewrite on the way to ONNX; may be given several times
    #[arg(long = "no-rewrite", value_name = "NAME", value_parser = rewrite_names())]
    no_rewrites: Vec<String>,
}

impl Reading {
    /// Opens a model so, and warns if its format is newer than what the reader knows.
    pub fn open(&self, model: &Path, params: Option<&Path>) -> Result<Model> {
        let model = Model::open_with(model, params, &self.registry()?)?;
        if let Some(warning) = model.format().warning() {
            let program = model.files().program.display();
            warn(&format!("{program}: {warning}"));
        }
        self.warn_of_custom_ops(&model);
        let model = model.without_rewrites(&self.no_rewrites)?;
        let model = model.with_inputs(&self.starts)?;
        let model = if self.outputs.is_empty() {
            model
        } else {
            model.with_outputs(&self.outputs)?
        };
        let model = model.with_input_shapes(&self.input_shapes)?;
        Ok(model.renamed(&self.renamings)?)
    }

    /// Warns of custom ops that the model does not have, whose names may be misspelt.
    fn warn_of_custom_ops(&self, model: &Model) {
        let unsupported = || match model.summary().unsupported.as_slice() {
            [] => "all ops that it has are supported".to_owned(),
            names => format!("not supported are: {}", names.join(", ")),
        };
        for custom in &self.custom_ops {
            let mut ops = model.program().all_ops();
            if !ops.any(|op| custom.names(&op.source.name)) {
                warn(&format!(
                    "the model has no op `{}`, which --custom-op names; {}",
                    custom.name,
                    unsupported()
                ));
            }
        }
    }

    /// The ops that are supported, with those that are passed through.
    fn registry(&self) -> Result<Registry> {
        let mut registry = Registry::standard();
        for custom in &self.custom_ops {
            registry = registry.with_custom_op(custom.clone())?;
        }
        Ok(registry)
    }
}

/// The names of the rewrites, with what they do.
fn rewrite_names() -> PossibleValuesParser {
    let names = REWRITES.iter();
    PossibleValuesParser::new(
        names.map(|rewrite| PossibleValue::new(rewrite.name).help(rewrite.what)),
    )
}
