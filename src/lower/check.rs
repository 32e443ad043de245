//! All ops that stand in the way of a conversion, at once, those in blocks of control flow included.

use crate::analyse::complex_ports;
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
    let mut obstacles = complex_ports(program);
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
                .map_err(|e: Error| obstacles.push((op.source.clone(), e)))
                .ok()
        };
        parsed.push(read_or_list(op));
        // An op that can't be read says what is wrong with the first op in its blocks alone.
        if parsed.last().is_some_and(Option::is_none) {
            op.inner_ops().for_each(|op| {
                read_or_list(op);
            });
        }
    }
    let mut lowering = Lowering::new(&facts, opset);
    for (op, parsed) in program.ops().iter().zip(&parsed) {
        let Some(parsed) = parsed else {
            lowering.skip(op);
            continue;
        };
        let mut list = |op: &Op, e: Error| {
            obstacles.push((op.source.clone(), e));
            Ok(())
        };
        if let Err(e) = parsed.lower(op, &mut lowering, &mut list) {
            obstacles.push((op.source.clone(), e));
        }
    }
    obstacles.sort_by_key(|(source, _)| source.index);
    obstacles
}
