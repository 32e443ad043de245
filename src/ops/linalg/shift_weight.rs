//! `shift_weight`: a weight to whose first elements others are added, which the program gets where learnt tokens go into the
//! embedding of positions. No file has it.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::{Real, with_real};
use crate::operator::{Accuracy, Arg, Function, OpDef, OpReader, Parsed, Values};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, DType, ElementMap, Tensor};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "shift_weight",
    &[Arg::Tensor("weight"), Arg::Tensor("shifts")],
    &[],
    ShiftWeight::parse,
)
.with_dtypes(&[DType::F32])
.with_accuracy(Accuracy::Rounded)
.in_no_file()];

/// `weight` with `shifts` added to its first elements in row-major order, where `weight` is a stored weight of float32, and
/// `shifts` a constant vector of float32.
///
/// ONNX: an initializer, whose elements are computed when the model is written.
struct ShiftWeight {
    weight: ValueId,
    shifts: ValueId,
}

impl ShiftWeight {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            weight: op.operand("weight")?,
            shifts: op.operand("shifts")?,
        }))
    }
}

impl Function for ShiftWeight {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        Ok(facts.get(self.weight).clone())
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let map = self.weight_map(g).map(|(_, map)| map);
        let map = map.ok_or_else(|| Error::internal("shifts that are not known"))?;
        g.mapped_weight(self.weight, DType::F32, map)
    }

    fn weight_map(&self, facts: &Facts<'_>) -> Option<(ValueId, ElementMap)> {
        let shifts = facts.constant_value(self.shifts)?.to_f64_vec();
        let map = move |position: usize, elements: &mut [f32]| {
            let shifts = shifts.iter().skip(position);
            for (x, shift) in elements.iter_mut().zip(shifts) {
                *x = (f64::from(*x) + shift) as f32;
            }
        };
        Some((self.weight, Arc::new(map)))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let shifts = values.get(self.shifts)?.to_f64_vec();
        with_real!(values.get(self.weight)?, weight => shifted(weight, &shifts))
    }
}

fn shifted<T: Real>(weight: &Array<T>, shifts: &[f64]) -> Array<T> {
    let mut shifted = weight.clone();
    for (x, shift) in shifted.iter_mut().zip(shifts) {
        *x = T::from_f64(x.to_f64() + shift);
    }
    shifted
}
