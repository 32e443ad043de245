//! What the file says → one [`Program`].
//!
//! Each format has a reader of its own ([`legacy`], [`pir`]), which follows the file from op to op.
//! Both hand every op with its operands to [`forms`], which gives it the names and operands of its
//! definition: what may be an attribute or a tensor becomes an operand. An op without a definition
//! is kept as it is, so that a program can be inspected whatever it holds. Then [`complex`] puts pairs of real numbers
//! in the place of complex ones.
//!
//! Refuses programs that contradict themselves, weights that are not those of the program, and operands, attributes and
//! types that are not known.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::as_conversions
    )
)]

mod complex;
mod forms;
mod legacy;
mod pir;
mod weights;

use crate::error::{Error, Result};
use crate::operator::Registry;
use crate::program::{OpKind, Program};
use crate::read::pir as pir_file;
use crate::read::{Format, ModelFiles, program_desc};

/// The program in the bytes of a file, and the format in which it is written.
///
/// # Errors
/// When the bytes are not those of a program. Otherwise those of [`legacy::program`] and [`pir::program`].
pub(crate) fn program(
    bytes: &[u8],
    files: &ModelFiles,
    registry: &Registry,
) -> Result<(Program, Format)> {
    let path = files.program.as_path();
    if pir_file::is_json(bytes) {
        let decoded = pir_file::decode(bytes, path)?;
        let program = pir::program(&decoded, files, registry);
        let program = program.and_then(with_narrowed_weights);
        let program = program.map(|program| complex::in_parts(program, registry));
        let program = program.map_err(|e| e.in_file(path))?;
        let version = decoded.version;
        return Ok((program, Format::Pir { version }));
    }
    let outline = program_desc::decode(bytes, path)?;
    let version = outline.version.map(|version| version.version());
    let program = legacy::program(outline, files, registry);
    let program = program.and_then(with_narrowed_weights);
    let program = program.map(|program| complex::in_parts(program, registry));
    let program = program.map_err(|e| e.in_file(path))?;
    let is_unreleased = version == Some(0);
    Ok((program, Format::ProgramDesc { is_unreleased }))
}

/// The program, if `dequantize_linear` alone reads what is int8 in the file and float32 in the program.
///
/// # Errors
/// When another op reads it: then the weights are those of another program.
fn with_narrowed_weights(program: Program) -> Result<Program> {
    for op in program.all_ops() {
        if op.kind == OpKind::Known("dequantize_linear") {
            continue;
        }
        let mut narrowed = None;
        op.each_read(&mut |id| {
            narrowed = narrowed.or(Some(id).filter(|id| program.narrowed.contains(id)));
        });
        if let Some(id) = narrowed.filter(|_| op.blocks.is_empty()) {
            return Err(Error::malformed(format!(
                "the file holds int8 where the program expects float32, in the weight `{}`; do these weights belong to \
                 another program?",
                program[id].name
            ))
            .at_op(&op.source));
        }
    }
    Ok(program)
}
