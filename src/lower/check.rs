//! All ops that stand in the way of a conversion, at once, those in blocks of control flow included.

use crate::error::Error;
use crate::graph::Lowering;
use crate::operator::{ParsedOp, Registry};
use crate::program::{Facts, Op, Program, Source};

/// Every op that can't be converted to `opset`, in the order of the program, with the reason. For the ops that read its
/// results, these are taken to be what the program declares.
pub(crate) fn obstacles(
    program: &Program,
    registry: &Registry,
    opset: u32,
) -> Vec<(Source, Error)> {
    let mut obstacles = Vec::new();
    let mut facts = Facts::declared(program);
    let mut read = |op: &Op| {
        let parsed = registry.parse(op)?;
        parsed.infer(op, &mut facts)?;
        Ok(parsed)
    };
    let mut parsed: Vec<Option<ParsedOp>> = Vec::new();
    for op in program.ops() {
        let mut read_or_list = |op: &Op| {
            let parsed = read(op);
            parsed
                .map_err(|e| obstacles.push((op.source.clone(), e)))
                .ok()
        };
        parsed.push(read_or_list(op));
        // No op with blocks has a definition, so those in them are read, but not lowered.
        op.inner_ops().for_each(|op| {
            read_or_list(op);
        });
    }
    let mut lowering = Lowering::new(&facts, opset);
    for (op, parsed) in program.ops().iter().zip(&parsed) {
        let lowered = match parsed {
            Some(parsed) => lowering.op(op, |g| parsed.operator().lower(g)),
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
    obstacles
}
