//! The runtimes that people convert models for, and what they need.
//!
//! A row of [`TARGETS`] says in what the model for a runtime differs from the portable one, and why. What a user asks for goes
//! before it. What a row asks for and the conversion can't give by itself, such as shapes, becomes a remark that names the
//! option.

use crate::error::{Error, Result};
use crate::graph::DEFAULT_OPSET;
use crate::model::Model;
use crate::operator::ONNX_RUNTIME_DOMAIN;
use crate::tensor::{Dim, display_shape};

/// A runtime, as a profile of the conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name in options.
    pub name: &'static str,
    /// What it is, and whether models were run in it.
    pub what: &'static str,
    /// The opset that is written for it.
    pub opset: u32,
    /// The domain of operators that it has beside ONNX's own, and that models for it are written with.
    pub domain: Option<&'static str>,
    /// The newest opset that it reads; None if no limit is known.
    pub newest_opset: Option<u32>,
    /// What it needs of the model.
    pub needs: &'static [TargetNeed],
    /// Why this is so: a sentence for each field in which the row differs from the portable one.
    pub reasons: &'static [&'static str],
}

/// What a runtime needs of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetNeed {
    /// Inputs whose shapes are known before a run.
    KnownShapes,
    /// No choice among boxes that overlap.
    NoChoices,
}

/// All targets, the default first.
pub const TARGETS: &[Target] = &[
    Target {
        name: "portable",
        what: "what all of them take (tested with ONNX Runtime, OpenVINO, MNN, NCNN and tract)",
        ..PORTABLE
    },
    Target {
        name: "onnxruntime",
        what: "ONNX Runtime from 1.21 on (tested)",
        domain: Some(ONNX_RUNTIME_DOMAIN),
        reasons: &["its own operators of attention are faster than the products and the softmax"],
        ..PORTABLE
    },
    Target {
        name: "tensorrt",
        what: "TensorRT from 10.6 on (not tested, as that takes its hardware)",
        newest_opset: Some(22),
        needs: &[TargetNeed::NoChoices],
        reasons: &[
            "its parser knows the operators of ONNX 1.17, whose opset is 22",
            "its plugin EfficientNMS chooses among boxes in one kernel of a fixed size",
        ],
        ..PORTABLE
    },
    Target {
        name: "openvino",
        what: "OpenVINO (tested)",
        ..PORTABLE
    },
    Target {
        name: "ncnn",
        what: "NCNN, by way of pnnx (tested)",
        needs: &[TargetNeed::KnownShapes, TargetNeed::NoChoices],
        reasons: &[
            "pnnx infers shapes from those of the inputs, from the model or its argument inputshape",
            "NCNN has no layer that chooses among boxes",
        ],
        ..PORTABLE
    },
    Target {
        name: "mnn",
        what: "MNN, by way of mnnconvert (tested)",
        ..PORTABLE
    },
    Target {
        name: "tract",
        what: "tract (tested by hand)",
        ..PORTABLE
    },
    Target {
        name: "rknn",
        what: "RKNN Toolkit2 from 1.6 on (not tested, as that takes its hardware)",
        opset: 19,
        domain: None,
        newest_opset: Some(19),
        needs: &[TargetNeed::KnownShapes, TargetNeed::NoChoices],
        reasons: &[
            "the toolkit refuses opsets above 19, and recommends 19 where it finds a lower one",
            "the NPU runs graphs whose shapes are all known",
            "detectors for it choose among boxes behind the model, on the CPU",
        ],
    },
];

/// What the rows differ from.
const PORTABLE: Target = Target {
    name: "",
    what: "",
    opset: DEFAULT_OPSET,
    domain: None,
    newest_opset: None,
    needs: &[],
    reasons: &[],
};

impl Target {
    /// The target of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(name: &str) -> Result<&'static Self> {
        let known = TARGETS.iter().find(|target| target.name == name);
        known.ok_or_else(|| {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            Error::invalid(format!(
                "no target is called {name:?}; there are {}",
                names.join(", ")
            ))
        })
    }

    /// What a model that is converted to `opset` does not give the runtime, each with the option that helps.
    pub fn remarks(&self, model: &Model, opset: u32) -> Vec<String> {
        let mut remarks = Vec::new();
        if let Some(newest) = self.newest_opset.filter(|newest| opset > *newest) {
            remarks.push(format!(
                "{} reads opsets up to {newest}, and the model is of opset {opset}; convert it with --opset {newest}",
                self.name
            ));
        }
        for need in self.needs {
            match need {
                TargetNeed::KnownShapes => remarks.extend(self.open_inputs(model)),
                TargetNeed::NoChoices if model.chooses_boxes() => remarks.push(format!(
                    "the model chooses among boxes that overlap, which is done outside of it with {}; convert it with \
                     --drop-nms",
                    self.name
                )),
                TargetNeed::NoChoices => {}
            }
        }
        remarks
    }

    /// A remark on each input whose shape is open.
    fn open_inputs(&self, model: &Model) -> Vec<String> {
        let program = model.program();
        let inputs = program.inputs().iter().map(|id| &program[*id]);
        let open = inputs.filter(|input| input.shape.iter().any(|dim| dim.known().is_none()));
        let remarks = open.map(|input| {
            let extents = input.shape.iter().map(|dim| match dim {
                Dim::Known(extent) => extent.to_string(),
                _ => "…".to_owned(),
            });
            let extents: Vec<String> = extents.collect();
            format!(
                "the input `{}` has the open shape {}, and {} takes shapes that are known; give it one with --input-shape \
                 {}={}",
                input.name,
                display_shape(&input.shape),
                self.name,
                input.name,
                extents.join(",")
            )
        });
        remarks.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::OPSETS;

    #[test]
    fn the_default_is_what_is_written_without_a_target() {
        let portable = &TARGETS[0];
        let expected = Target {
            name: portable.name,
            what: portable.what,
            ..PORTABLE
        };
        assert_eq!((portable.name, portable), ("portable", &expected));
    }

    #[test]
    fn what_differs_has_a_reason() {
        for target in TARGETS {
            assert!(OPSETS.contains(&target.opset), "{target:?}");
            assert!(
                target
                    .newest_opset
                    .is_none_or(|newest| newest >= target.opset)
            );
            let limits = usize::from(target.newest_opset.is_some());
            let differences = limits + target.needs.len() + usize::from(target.domain.is_some());
            assert_eq!(target.reasons.len(), differences, "{target:?}");
            // Another opset has the reason of the limit.
            assert!(target.opset == DEFAULT_OPSET || limits == 1, "{target:?}");
            assert_eq!(Target::named(target.name).unwrap(), target);
        }
        let error = Target::named("tensor_rt").unwrap_err().to_string();
        assert!(error.contains("portable, onnxruntime, tensorrt"), "{error}");
    }
}
