//! What the file says → one [`Program`].
//!
//! Each format has a reader of its own ([`legacy`], [`pir`]), which follows the file from op to op.
//! Both hand every op with its operands to [`forms`], which gives it the names and operands of its
//! definition: what may be an attribute or a tensor becomes an operand. An op without a definition
//! is kept as it is, so that a program can be inspected whatever it holds. Refused are programs
//! that contradict themselves, and weights that don't match.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::as_conversions
    )
)]

mod forms;
mod legacy;
mod pir;
mod weights;

use crate::error::Result;
use crate::operator::Registry;
use crate::program::Program;
use crate::read::pir as pir_file;
use crate::read::{Format, ModelFiles, program_desc};

/// Turns the bytes of a program file into the one form.
///
/// # Errors
/// When they are not those of a program, or what [`legacy::program`] and [`pir::program`] say.
pub(crate) fn program(
    bytes: &[u8],
    files: &ModelFiles,
    registry: &Registry,
) -> Result<(Program, Format)> {
    let path = files.program.as_path();
    if pir_file::is_json(bytes) {
        let decoded = pir_file::decode(bytes, path)?;
        let program = pir::program(&decoded, files, registry).map_err(|e| e.in_file(path))?;
        let version = decoded.version;
        return Ok((program, Format::Pir { version }));
    }
    let decoded = program_desc::decode(bytes, path)?;
    let program = legacy::program(&decoded, files, registry).map_err(|e| e.in_file(path))?;
    Ok((program, Format::ProgramDesc))
}
