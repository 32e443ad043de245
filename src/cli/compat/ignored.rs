//! Flags without a meaning here.

use super::literal::Boolean;

/// Flags that are accepted and have no effect.
#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub(super) struct Ignored {
    /// Whether ONNX's checker looks at the model
    #[arg(long, value_name = "BOOL")]
    enable_onnx_checker: Option<Boolean>,

    /// Whether to take composite ops apart
    #[arg(long, value_name = "BOOL")]
    enable_dist_prim_all: Option<Boolean>,

    /// Whether to say more
    #[arg(long, value_name = "BOOL")]
    enable_verbose: Option<Boolean>,

    /// What optimises the model: polygraphy, onnxoptimizer or None
    #[arg(long, value_name = "NAME", value_parser = ["polygraphy", "onnxoptimizer", "None"], hide_possible_values = true)]
    optimize_tool: Option<String>,

    /// The file of a calibration for TensorRT
    #[arg(long, value_name = "FILE")]
    save_calibration_file: Option<String>,

    /// The file of the weights of a large model
    #[arg(long, value_name = "NAME")]
    external_filename: Option<String>,

    /// Whether unsupported ops become ops of Paddle
    #[arg(long, value_name = "BOOL")]
    enable_paddle_fallback: Option<Boolean>,

    /// Whether to convert with what was new in Paddle2ONNX 0.9
    #[arg(long, value_name = "BOOL")]
    enable_dev_version: Option<Boolean>,
}

impl Ignored {
    /// The flags that are given, each with the reason why it has no effect.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let all = [
            (
                self.enable_onnx_checker.is_some(),
                "enable_onnx_checker",
                "models are right by construction",
            ),
            (
                self.enable_dist_prim_all.is_some(),
                "enable_dist_prim_all",
                "composite ops are converted as they are",
            ),
            (
                self.enable_verbose.is_some(),
                "enable_verbose",
                "all that is worth knowing is said",
            ),
            (
                self.optimize_tool.is_some(),
                "optimize_tool",
                "models need no other tool",
            ),
            (
                self.save_calibration_file.is_some(),
                "save_calibration_file",
                "the scales of a quantised model are in the model",
            ),
            (
                self.external_filename.is_some(),
                "external_filename",
                "the weights of a model beyond 2 GiB go to NAME.onnx.data",
            ),
            (
                self.enable_paddle_fallback.is_some(),
                "enable_paddle_fallback",
                "ops that are not supported are refused, unless --custom_ops names operators for them",
            ),
            (
                self.enable_dev_version.is_some(),
                "enable_dev_version",
                "there is one version",
            ),
        ];
        let given = all.into_iter().filter(|(is_given, ..)| *is_given);
        given.map(|(_, flag, why)| (flag, why))
    }
}
