//! The sum of any number of tensors of one shape: `add_n`.
//!
//! Paddle: `phi/kernels/add_n_kernel.h`. ONNX: Add.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::index::Combine;
use crate::kernels::map;
use crate::operator::{Accuracy, Arg, Binding, Form, Function, NUMBERS, OpDef, Values};
use crate::ops::shared::axes::merge;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, Element, Tensor, with_arrays};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "add_n",
    &[Arg::List("inputs")],
    &[Form::legacy(&["sum"], &[Binding::List("X")], &["Out"]).ignoring(&["mkldnn_data_type"])],
    |op| {
        Ok(Box::new(AddN {
            inputs: op.list("inputs")?,
        }))
    },
)
.part_by_part(&["inputs"])
.with_dtypes(NUMBERS)
.with_accuracy(Accuracy::Rounded)];

/// The sum of `inputs`, added from the first to the last. They are not broadcast.
struct AddN {
    inputs: Vec<ValueId>,
}

impl Function for AddN {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let first = facts.get(self.inputs[0]);
        let mut shape = first.shape.clone();
        for id in &self.inputs {
            merge(&mut shape, facts.shape(*id), None)?;
        }
        Ok(Fact::new(first.dtype, shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let dtype = g.dtype(self.inputs[0]);
        let wide = dtype.widened();
        let inputs = self.inputs.iter().map(|id| {
            let x = g.value(*id)?;
            Ok(g.cast(x, dtype, wide))
        });
        let inputs = inputs.collect::<Result<Vec<TensorId>>>()?;
        let sum = inputs.into_iter();
        let sum = sum.reduce(|sum, x| g.node("Add", &[sum, x], []));
        let sum = sum.ok_or_else(|| Error::internal("a sum of nothing"))?;
        Ok(g.cast(sum, wide, dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        fn add<T: Element>(x: &Array<T>, y: &Array<T>) -> Result<Tensor> {
            let sum = map::zip(x, y, |x, y| Combine::Add.apply(x, y))?;
            Ok(T::tensor(sum.into()))
        }
        let mut sum = values.get(self.inputs[0])?.clone();
        for id in &self.inputs[1..] {
            sum = with_arrays!(&sum, values.get(*id)?, (sum, x) => add(sum, x))?;
        }
        Ok(sum)
    }
}
