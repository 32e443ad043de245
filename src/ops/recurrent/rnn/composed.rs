//! Recurrent layers out of matrix products, step by step, for element types that runtimes have no kernels for.

use super::super::steps::{Order, at, steps};
use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::recurrence::Cell;
use crate::tensor::{DType, Tensor};

/// One direction of a layer.
pub(super) struct Direction {
    pub cell: Cell,
    pub dtype: DType,
    pub order: Order,
    /// The number of steps of each sequence, `[batch, 1]` of int64, if not all have as many as there are.
    pub lengths: Option<TensorId>,
    /// `[gates · hidden, inputs]`, the gates in Paddle's order.
    pub input: TensorId,
    /// `[gates · hidden, hidden]`.
    pub hidden: TensorId,
    /// `[gates · hidden]`, of the inputs and of the state.
    pub biases: [TensorId; 2],
}

impl Direction {
    /// Emits the direction for `x` of `[steps, batch, inputs]` and the `states` before the first step, each
    /// `[batch, hidden]`. Returns the outputs, `[steps, batch, hidden]`, and the states behind the last step.
    ///
    /// # Errors
    /// None but defects of this crate.
    pub fn lower(
        &self,
        g: &mut Lowering<'_>,
        x: TensorId,
        states: &[TensorId],
    ) -> Result<(TensorId, Vec<TensorId>)> {
        let [input, hidden] = [self.input, self.hidden].map(|w| g.transpose(w, &[1, 0]));
        let gates = g.node("MatMul", &[x, input], []);
        let gates = g.node("Add", &[gates, self.biases[0]], []);
        let carried = states.iter().map(|state| (*state, self.dtype));
        let carried: Vec<_> = carried.collect();
        let mut results = steps(g, gates, self.order, &carried, |g, position, states| {
            let gates = at(g, gates, position);
            let recurrent = g.node("MatMul", &[states[0], hidden], []);
            let recurrent = g.node("Add", &[recurrent, self.biases[1]], []);
            let next = self.lower_cell(g, gates, recurrent, states)?;
            let Some(lengths) = self.lengths else {
                let output = next[0];
                return Ok(next.into_iter().chain([output]).collect());
            };
            let is_inside = g.node("Less", &[position, lengths], []);
            let zero = g.constant(Tensor::scalar_of(self.dtype, 0.0));
            let output = g.node("Where", &[is_inside, next[0], zero], []);
            let kept = next.iter().zip(states);
            let kept = kept.map(|(next, state)| g.node("Where", &[is_inside, *next, *state], []));
            let mut kept: Vec<TensorId> = kept.collect();
            kept.push(output);
            Ok(kept)
        })?;
        let outputs = results.pop();
        let outputs = outputs.ok_or_else(|| Error::internal("a loop without outputs"))?;
        Ok((outputs, results))
    }

    /// Emits one step: the states behind it.
    fn lower_cell(
        &self,
        g: &mut Lowering<'_>,
        gates: TensorId,
        recurrent: TensorId,
        states: &[TensorId],
    ) -> Result<Vec<TensorId>> {
        let split = |g: &mut Lowering<'_>, x: TensorId| g.split_evenly(x, self.cell.gates(), 1);
        let unary = |g: &mut Lowering<'_>, op_type, x: TensorId| g.node(op_type, &[x], []);
        let both =
            |g: &mut Lowering<'_>, op_type, x: TensorId, y: TensorId| g.node(op_type, &[x, y], []);
        if self.cell == Cell::Gru {
            let (x, r) = (split(g, gates), split(g, recurrent));
            let [reset, z] = [0, 1].map(|gate| {
                let sum = both(g, "Add", x[gate], r[gate]);
                unary(g, "Sigmoid", sum)
            });
            let candidate = both(g, "Mul", reset, r[2]);
            let candidate = both(g, "Add", x[2], candidate);
            let candidate = unary(g, "Tanh", candidate);
            // z h + (1 - z) candidate
            let way = both(g, "Sub", states[0], candidate);
            let way = both(g, "Mul", z, way);
            return Ok(vec![both(g, "Add", candidate, way)]);
        }
        let sum = both(g, "Add", gates, recurrent);
        match self.cell {
            Cell::Tanh => Ok(vec![unary(g, "Tanh", sum)]),
            Cell::Relu => Ok(vec![unary(g, "Relu", sum)]),
            Cell::Lstm | Cell::Gru => {
                let gates = split(g, sum);
                let [i, f, o] = [0, 1, 3].map(|gate| unary(g, "Sigmoid", gates[gate]));
                let candidate = unary(g, "Tanh", gates[2]);
                let kept = both(g, "Mul", f, states[1]);
                let new = both(g, "Mul", i, candidate);
                let c = both(g, "Add", kept, new);
                let h = unary(g, "Tanh", c);
                Ok(vec![both(g, "Mul", o, h), c])
            }
        }
    }
}
