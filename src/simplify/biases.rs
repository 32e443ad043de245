//! Biases that are quantised become what their dequantisation gives.
//!
//! Where Paddle quantises all ops, it quantises the biases that they add as well, in each run. What comes of them is known
//! before, so that the pass makes constants of such a bias and of its scales, which [`fold`](super::fold) then computes with.
//! ONNX Runtime would refuse its own integer kernel of such an `Add` at opset 21. Before the pass:
//!
//! ```text
//! input %0:x : float32 [batch, 3]
//! parameter %1:b : float32 [3]
//! %2:q = quantize_linear(%1:b, [0.5], -) quant_axis=-1 : float32 [3]
//! %3:d = dequantize_linear(%2:q, [0.5], -) quant_axis=-1 : float32 [3]
//! %4:y = add(%0:x, %3:d) : float32 [batch, 3]
//! ```
//!
//! After it, and `fold`:
//!
//! ```text
//! input %0:x : float32 [batch, 3]
//! %4:y = add(%0:x, [1.0, -0.5, 0.0]) : float32 [batch, 3]
//! ```

use std::collections::HashMap;

use super::readers::Readers;
use super::rewrites::{is, is_view, operand, stored};
use crate::program::{Operand, Origin, Program, ValueId};
use crate::tensor::Tensor;

/// Makes constants of biases that are quantised, dequantised and added, and of their scales.
pub(super) fn know_biases(program: &mut Program) {
    if program.missing_weights.is_some() {
        return;
    }
    let readers = Readers::of(program);
    let mut known: HashMap<ValueId, Tensor> = HashMap::new();
    let adds = program.ops.iter().filter(|op| is(op, "add"));
    for id in adds.flat_map(|op| op.operands.iter().flat_map(Operand::values)) {
        known.extend(weights_of(program, &readers, *id).into_iter().flatten());
    }
    for (id, tensor) in known {
        program.values[id.index()].origin = Origin::Constant(tensor);
    }
}

/// The small weights of which a value is made, if it is one that was quantised and dequantised.
fn weights_of(
    program: &Program,
    readers: &Readers,
    mut id: ValueId,
) -> Option<Vec<(ValueId, Tensor)>> {
    let mut weights = Vec::new();
    let mut steps = ["dequantize_linear", "quantize_linear"]
        .into_iter()
        .peekable();
    while let Some(op) = readers.maker(program, id) {
        if !is_view(op) {
            let step = steps.next()?;
            is(op, step).then_some(())?;
        }
        for other in op.operands.iter().skip(1).flat_map(Operand::values) {
            weights.push((*other, stored(program, *other)?));
        }
        id = operand(op, 0)?;
    }
    let is_bias = matches!(program[id].origin, Origin::Parameter(_)) && steps.peek().is_none();
    is_bias.then_some(())?;
    weights.push((id, stored(program, id)?));
    Some(weights)
}
