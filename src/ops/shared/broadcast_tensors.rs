//! Tensors that are broadcast by NumPy's rules, to a shape or to each other.

use ndarray::IxDyn;

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::map;
use crate::operator::{Macs, OpReader, Operator, Parsed, Values};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{
    Dim, Element, Tensor, broadcast_dims, refuse_too_large, same_shape, with_array,
};

/// A tensor, broadcast to a shape by NumPy's rules.
pub(crate) fn broadcast(x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    refuse_too_large(shape)?;
    with_array!(x, x => {
        let view = x.broadcast(IxDyn(shape));
        let view = view.ok_or_else(|| Error::malformed("shapes that do not broadcast"))?;
        Ok(Element::tensor(view.to_owned().into()))
    })
}

/// The tensors of a list, each broadcast to the shape that all have in common.
///
/// Paddle: `phi/kernels/broadcast_tensors_kernel.h`. ONNX: Expand.
pub(crate) struct BroadcastTensors {
    pub input: Vec<ValueId>,
}

impl BroadcastTensors {
    pub fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            input: op.list("input")?,
        }))
    }

    /// The shape that all results have.
    pub fn shape(&self, facts: &Facts<'_>) -> Result<Vec<Dim>> {
        let mut shapes = self.input.iter().map(|id| facts.shape(*id));
        shapes.try_fold(Vec::new(), |shape, other| broadcast_dims(&shape, other))
    }
}

impl Operator for BroadcastTensors {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let shape = self.shape(facts)?;
        let input = self.input.iter();
        Ok(input
            .map(|id| Fact::new(facts.dtype(*id), shape.clone()))
            .collect())
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let shape = self.shape(g)?;
        let tensors = self.input.iter().map(|id| g.value(*id));
        let tensors = tensors.collect::<Result<Vec<TensorId>>>()?;
        let is_whole = |id: &ValueId| same_shape(g.shape(*id), &shape);
        let whole: Vec<bool> = self.input.iter().map(is_whole).collect();
        let target = g.dims(&shape);
        let mut results = Vec::with_capacity(tensors.len());
        for (position, (tensor, is_whole)) in tensors.iter().zip(whole).enumerate() {
            let mut result = *tensor;
            match target {
                _ if is_whole => {}
                Some(target) => result = g.node("Expand", &[result, target], []),
                // Expand broadcasts in both directions, so that it can go to the shape of each other in turn.
                None => {
                    for (_, other) in tensors.iter().enumerate().filter(|(p, _)| *p != position) {
                        let other = g.node("Shape", &[*other], []);
                        result = g.node("Expand", &[result, other], []);
                    }
                }
            }
            results.push(result);
        }
        Ok(results)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        let mut shape = Vec::new();
        for id in &self.input {
            shape = map::broadcast_shape(&shape, values.get(*id)?.shape())?;
        }
        let input = self.input.iter();
        input
            .map(|id| broadcast(values.get(*id)?, &shape))
            .collect()
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}
