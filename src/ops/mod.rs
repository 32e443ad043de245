//! Every op, defined once: its names, what is known of its result, its ONNX lowering and its reference kernel.
//!
//! One folder per family, one file for ops that are alike. To add an op, write its
//! [`OpDef`](crate::operator::OpDef) in the `OPS` of its file, and its cases in `fixtures/op_cases/`. Nothing else
//! has to be touched.

mod activation;
mod attention;
mod control;
mod conv;
mod create;
mod detection;
mod elementwise;
mod fused;
mod index;
mod linalg;
mod loss;
mod norm;
mod pool;
mod quantize;
mod recurrent;
mod reduce;
mod resize;
mod shape;
mod shared;
mod signal;

use std::sync::LazyLock;

use crate::operator::{OpDef, Registry};

/// The definitions of all families, file by file.
const FAMILIES: &[&[&[OpDef]]] = &[
    activation::OPS,
    attention::OPS,
    control::OPS,
    conv::OPS,
    create::OPS,
    detection::OPS,
    elementwise::OPS,
    fused::OPS,
    index::OPS,
    linalg::OPS,
    loss::OPS,
    norm::OPS,
    pool::OPS,
    quantize::OPS,
    recurrent::OPS,
    reduce::OPS,
    resize::OPS,
    shape::OPS,
    signal::OPS,
];

impl Registry {
    /// The ops that this crate defines.
    pub fn standard() -> Self {
        static STANDARD: LazyLock<Registry> = LazyLock::new(|| {
            let mut files = FAMILIES.iter().copied().flatten();
            let registry = files.try_fold(Registry::empty(), |registry, ops| registry.with(ops));
            let refusals = [
                (attention::FOR_GPUS, attention::IS_FOR_GPUS),
                (control::OF_TRAINING, control::IS_OF_TRAINING),
                (detection::FOR_TENSORRT, detection::IS_FOR_TENSORRT),
                (detection::NEED_LOD, detection::NEEDS_LOD),
                (detection::OF_TRAINING, detection::IS_OF_TRAINING),
                (elementwise::OF_BITS, elementwise::HAS_NO_BITS),
                (linalg::OF_VECTORS, linalg::HAS_SIGNS),
                (linalg::OF_VALUES, linalg::ITERATES),
                (recurrent::NEED_LOD, recurrent::NEEDS_LOD),
            ];
            let registry = refusals
                .into_iter()
                .fold(registry, |registry, (names, why)| {
                    registry?.with_refusals(names, why)
                });
            registry.expect("no op is defined twice")
        });
        STANDARD.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::FAMILIES;

    #[test]
    fn legacy_forms_give_every_operand() {
        for def in FAMILIES.iter().copied().flatten().copied().flatten() {
            for form in def.legacy {
                assert_eq!(form.operands.len(), def.operands.len(), "{}", def.name);
                assert_eq!(form.results.len(), def.results.len(), "{}", def.name);
            }
        }
    }
}
