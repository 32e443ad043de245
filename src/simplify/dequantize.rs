//! Dequantisation: the float model behind a quantised one.
//!
//! What is quantised and dequantised again stays what it was, and weights that are stored as integers become floats on
//! their scales. Before the pass:
//!
//! ```text
//! input %0:x : float32 [batch, 4]
//! parameter %1:w : int8 [4, 3]
//! %2:q = quantize_linear(%0:x, [0.5]) quant_axis=-1 : float32 [batch, 4]
//! %3:d = dequantize_linear(%2:q, [0.5]) quant_axis=-1 : float32 [batch, 4]
//! %4:v = dequantize_linear(%1:w, [2.0]) quant_axis=-1 : float32 [4, 3]
//! %5:y = matmul(%3:d, %4:v) : float32 [batch, 3]
//! ```
//!
//! After it:
//!
//! ```text
//! input %0:x : float32 [batch, 4]
//! parameter %1:w : int8 [4, 3]
//! %4:v = dequantize_weight(%1:w, [2.0]) quant_axis=-1 : float32 [4, 3]
//! %5:y = matmul(%0:x, %4:v) : float32 [batch, 3]
//! ```

use std::collections::HashMap;

use super::dead::drop_unneeded;
use super::operands::dequantize_operands;
use super::replaced::Replaced;
use crate::error::{Error, Result};
use crate::operator::Registry;
use crate::program::{Op, OpKind, Operand, Program, ValueId};

/// Removes quantisation from a program.
///
/// # Errors
/// When an op computes with the whole numbers themselves, and is no product that is dequantised behind it.
pub(crate) fn dequantize(program: &mut Program, registry: &Registry) -> Result<()> {
    dequantize_operands(program, registry);
    let mut operands = HashMap::new();
    let mut replaced = Replaced::default();
    dequantize_ops(&mut program.ops, &mut operands, &mut replaced);
    replaced.apply(program);
    drop_unneeded(program);
    let mut left = program.all_ops();
    let left = left.find(|op| op.kind == OpKind::Known("quantize_linear"));
    match left {
        None => Ok(()),
        Some(op) => Err(Error::unsupported(
            "the quantised values are read by ops that compute with whole numbers, so that they can't be left out; \
             convert without --dequantize",
        )
        .at_op(&op.source)),
    }
}

/// For the results of `quantize_linear`, `operands` has the values that were quantised.
fn dequantize_ops(
    ops: &mut [Op],
    operands: &mut HashMap<ValueId, ValueId>,
    replaced: &mut Replaced,
) {
    for op in ops {
        for block in &mut op.blocks {
            dequantize_ops(&mut block.ops, operands, replaced);
        }
        let (Some(Operand::One(x)), Some(result)) = (op.operands.first(), op.results.first())
        else {
            continue;
        };
        match op.kind {
            OpKind::Known("quantize_linear") => {
                operands.insert(*result, *x);
            }
            OpKind::Known("dequantize_linear") => match operands.get(x) {
                Some(quantized) => replaced.insert(*result, *quantized),
                None => op.kind = OpKind::Known("dequantize_weight"),
            },
            _ => {}
        }
    }
}
