//! The argument that chooses the version of ONNX's operator set.

use std::sync::LazyLock;

use paddle2onnx::{DEFAULT_OPSET, OPSETS};

/// The version of ONNX's operator set.
#[derive(clap::Args)]
pub(super) struct Opset {
    /// ONNX's operator set to convert to
    #[arg(
        long = "opset",
        value_name = "N",
        help = OPSET_HELP.as_str(),
        value_parser = clap::value_parser!(u32).range(i64::from(*OPSETS.start())..=i64::from(*OPSETS.end())),
    )]
    number: Option<u32>,
}

static OPSET_HELP: LazyLock<String> = LazyLock::new(|| {
    format!(
        "The version of ONNX's operator set to convert to, {} to {} [default: {DEFAULT_OPSET}]",
        OPSETS.start(),
        OPSETS.end()
    )
});

impl Opset {
    /// The version that was asked for, else the default.
    pub fn number(&self) -> u32 {
        self.number.unwrap_or(DEFAULT_OPSET)
    }
}
