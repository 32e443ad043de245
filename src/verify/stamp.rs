//! What a verification that passed leaves in the metadata of the ONNX model.
//!
//! | key | value |
//! | --- | --- |
//! | `verify.verdict` | `parity`, or `parity_by_op` |
//! | `verify.max_abs_error` | the largest error of an output in all runs, as the report has it |
//! | `verify.onnx_runtime` | the version of ONNX Runtime that ran the model |

use super::{Report, Side, Verdict};

impl Report {
    /// Keys and values that say what the verification has shown. None if it did not show that the model computes what the
    /// program computes.
    pub fn stamp(&self) -> Option<Vec<(String, String)>> {
        let verdict = match self.verdict {
            Verdict::Parity => "parity",
            Verdict::ParityByOp => "parity_by_op",
            Verdict::PartialParity | Verdict::Undecided | Verdict::NoParity => return None,
        };
        let outputs = self.runs.iter().flat_map(|run| &run.outputs);
        let comparisons = outputs.flat_map(|output| &output.comparisons);
        let own = comparisons.filter(|c| c.side == Side::OnnxRuntime && !c.against.is_witness());
        let errors = own.filter_map(|comparison| Some(comparison.metrics.as_ref()?.max_abs));
        let largest = errors.fold(0.0, f64::max);
        let entry = |key: &str, value: String| (format!("verify.{key}"), value);
        Some(vec![
            entry("verdict", verdict.to_owned()),
            entry("max_abs_error", format!("{largest:.2e}")),
            entry("onnx_runtime", self.onnx_runtime.clone()),
        ])
    }
}
