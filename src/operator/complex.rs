//! How an op computes with complex numbers.

use crate::error::Result;
use crate::program::{Builder, Draft, Parts};

/// What a definition says of complex operands and results. A complex tensor is two real ones in the program
/// ([`Parts`]), so no op has a complex operand when it is parsed: one that has in the file is replaced by ops on parts.
#[derive(Clone, Copy)]
pub enum Complex {
    /// It takes none, and makes none.
    Refused,
    /// The real part of the result is what the op makes of the real parts of these operands, and so with the imaginary
    /// parts: it moves elements, or adds them up.
    PartByPart(&'static [&'static str]),
    /// The result, which is real, follows from the real parts of the operands, as does a shape.
    RealParts,
    /// It is other ops.
    Rewritten(ComplexRewrite),
}

/// Emits ops on parts for an op with complex operands or results, and returns the parts of its results. The complex
/// operands of the draft are those of the file, whose parts [`Builder::parts`] knows.
///
/// # Errors
/// When an operand or attribute is not what the op expects.
pub type ComplexRewrite = fn(&mut Builder, Draft) -> Result<Vec<Parts>>;
