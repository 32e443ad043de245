//! Vectors as the coordinates of a grid: `meshgrid`.
//!
//! Paddle: `phi/kernels/meshgrid_kernel.h`. ONNX: Unsqueeze and Expand.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::map;
use crate::operator::{Arg, Binding, Form, Macs, OpDef, OpReader, Operator, Parsed, Values};
use crate::ops::shared::broadcast_tensors::broadcast;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Dim, Element, Tensor, with_array};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "meshgrid",
    &[Arg::List("inputs")],
    &[Form::legacy(&["meshgrid"], &[Binding::List("X")], &["Out"])],
    Meshgrid::parse,
)
.with_opset(8)
.part_by_part(&["inputs"])];

/// One result for each operand, a vector or a scalar. The axes of all results are those of the grid, one for each
/// operand: a result holds the elements of its operand along the operand's own axis, and repeats them along all others.
struct Meshgrid {
    inputs: Vec<ValueId>,
}

impl Meshgrid {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            inputs: op.list("inputs")?,
        }))
    }

    fn shape(&self, facts: &Facts<'_>) -> Result<Vec<Dim>> {
        let extents = self.inputs.iter().map(|id| match facts.shape(*id) {
            [] => Ok(Dim::Known(1)),
            [extent] => Ok(extent.clone()),
            shape => Err(Error::malformed(format!(
                "coordinates of rank {}",
                shape.len()
            ))),
        });
        extents.collect()
    }
}

impl Operator for Meshgrid {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let shape = self.shape(facts)?;
        let inputs = self.inputs.iter();
        Ok(inputs
            .map(|id| Fact::new(facts.dtype(*id), shape.clone()))
            .collect())
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let shape = self.shape(g)?;
        let mut vectors = Vec::with_capacity(self.inputs.len());
        for id in &self.inputs {
            let x = g.value(*id)?;
            vectors.push(if g.rank(*id) == 0 {
                g.unsqueeze(x, &[0])
            } else {
                x
            });
        }
        let target = match g.dims(&shape) {
            Some(target) => target,
            None => {
                let extents = vectors.iter().map(|x| g.node("Shape", &[*x], []));
                let extents: Vec<TensorId> = extents.collect();
                g.concat(&extents, 0)
            }
        };
        let rank = vectors.len() as i64;
        let grids = (0_i64..).zip(vectors).map(|(axis, x)| {
            let others: Vec<i64> = (0..rank).filter(|other| *other != axis).collect();
            let column = g.unsqueeze(x, &others);
            g.node("Expand", &[column, target], [])
        });
        Ok(grids.collect())
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        let mut extents = Vec::with_capacity(self.inputs.len());
        for id in &self.inputs {
            extents.push(values.get(*id)?.shape().first().copied().unwrap_or(1));
        }
        let grids = self.inputs.iter().enumerate().map(|(axis, id)| {
            let mut shape = vec![1; extents.len()];
            shape[axis] = extents[axis];
            let x = with_array!(values.get(*id)?, x => Element::tensor(map::reshape(x, &shape)?));
            broadcast(&x, &extents)
        });
        grids.collect()
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}
