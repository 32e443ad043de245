//! The operands of a PHI signature.

/// An argument of a PHI signature that is an operand, by its name there.
#[derive(Debug, Clone, Copy)]
pub enum Arg {
    /// One tensor.
    Tensor(&'static str),
    /// One tensor, which may be absent.
    Optional(&'static str),
    /// A list of tensors.
    List(&'static str),
    /// A list of integers: one tensor of rank 1, or a list of tensors with one element each.
    IntArray(&'static str),
    /// A single number.
    Scalar(&'static str),
}

impl Arg {
    /// The argument's name in the signature.
    pub const fn name(self) -> &'static str {
        match self {
            Arg::Tensor(name)
            | Arg::Optional(name)
            | Arg::List(name)
            | Arg::IntArray(name)
            | Arg::Scalar(name) => name,
        }
    }
}
