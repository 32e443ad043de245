//! What stands in the way of a conversion, all of it at once.

use super::context::Lowering;
use super::refuse_opset;
use crate::error::{Error, Result};
use crate::ops::{self, Facts, Operator};
use crate::program::{Program, Source};
use crate::simplify::simplify;

/// Every op that can't be converted to `opset`, in the order of the program, with the reason. After
/// one of them, what the program declares of its results is taken for granted.
///
/// # Errors
/// When nothing at all can be written in `opset`.
pub(crate) fn obstacles(program: &Program, opset: u32) -> Result<Vec<(Source, Error)>> {
    refuse_opset(program, opset)?;
    let program = &simplify(program);
    let mut obstacles = Vec::new();
    let mut operators: Vec<Option<Box<dyn Operator>>> = Vec::new();
    let mut facts = Facts::declared(program);
    for op in program.ops() {
        let operator = ops::parse(op).and_then(|operator| {
            ops::infer_op(op, &*operator, &mut facts)?;
            Ok(operator)
        });
        operators.push(
            operator
                .map_err(|e| obstacles.push((op.source.clone(), e)))
                .ok(),
        );
    }
    let mut lowering = Lowering::new(&facts, opset);
    for (op, operator) in program.ops().iter().zip(&operators) {
        let lowered = match operator {
            Some(operator) => lowering.op(op, &**operator),
            None => {
                lowering.skip(op);
                Ok(())
            }
        };
        if let Err(e) = lowered {
            lowering.skip(op);
            obstacles.push((op.source.clone(), e));
        }
    }
    obstacles.sort_by_key(|(source, _)| source.index);
    Ok(obstacles)
}
