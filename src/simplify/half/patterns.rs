//! Which ops a user names.

use crate::alike::hint;
use crate::error::{Error, Result};
use crate::operator::Registry;
use crate::program::{Op, Operand, Origin, Program, ValueId};

/// Whether a pattern names an op: it is the op's name, or it is found in the path of the op's layer or in the name of a
/// result or a weight of the op. The name of an op that has a definition stands for nothing else.
pub(super) fn names(pattern: &str, op: &Op, program: &Program, registry: &Registry) -> bool {
    if pattern == op.kind.name() || pattern == &*op.source.name {
        return true;
    }
    if registry.find(pattern).is_some() {
        return false;
    }
    let is_named = |id: &ValueId| found_in(pattern, &program[*id].name);
    let mut operands = op.operands.iter().flat_map(Operand::values);
    let layer = op.source.layer.as_deref();
    layer.is_some_and(|layer| found_in(pattern, layer))
        || op.results.iter().any(is_named)
        || operands.any(|id| matches!(program[*id].origin, Origin::Parameter(_)) && is_named(id))
}

/// Whether a text contains a pattern, in which `*` stands for any characters.
fn found_in(pattern: &str, text: &str) -> bool {
    let mut rest = text;
    pattern.split('*').all(|part| match rest.split_once(part) {
        Some((_, behind)) => {
            rest = behind;
            true
        }
        None => false,
    })
}

/// Refuses a pattern that names no op of a program.
///
/// # Errors
/// When there is such a pattern, or one is empty.
pub(crate) fn refuse_without_match(
    program: &Program,
    registry: &Registry,
    patterns: &[String],
) -> Result<()> {
    for pattern in patterns {
        let mut ops = program.all_ops();
        if !pattern.is_empty() && ops.any(|op| names(pattern, op, program, registry)) {
            continue;
        }
        let ops = program.all_ops();
        let known = ops.flat_map(|op| {
            let layer = op.source.layer.as_deref();
            [Some(op.kind.name()), layer].into_iter().flatten()
        });
        return Err(Error::invalid(format!(
            "nothing that could stay in float32 is called `{pattern}`: no op, and no layer, result or weight with that in \
             its name{}",
            hint(pattern, known)
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::found_in;

    #[test]
    fn a_star_stands_for_anything_and_the_ends_are_open() {
        let layer = "/VisionTransformer/Block_11/Attention/";
        for pattern in [
            "Block_11",
            "/Block*/Attention",
            "*",
            "Vision*11*/",
            "Block_1",
        ] {
            assert!(found_in(pattern, layer), "{pattern}");
        }
        for pattern in ["Block_12", "Attention*Block", "/Block/"] {
            assert!(!found_in(pattern, layer), "{pattern}");
        }
    }
}
