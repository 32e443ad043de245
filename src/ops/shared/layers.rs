//! Layers that several fused ops are taken apart into: dropout, and layer normalisation.

use super::decomposition::Decomposition;
use crate::error::{Error, Result};
use crate::program::{Attr, ValueId};

/// The parameters of a layer norm.
pub(crate) struct Norm {
    pub scale: Option<ValueId>,
    pub bias: Option<ValueId>,
    pub epsilon: f64,
}

impl Norm {
    /// Emits the layer norm of `x` over its last axis.
    pub fn of_last(&self, parts: &mut Decomposition<'_>, x: ValueId) -> ValueId {
        let last = i64::try_from(parts.rank(x)).unwrap_or(1) - 1;
        self.of(parts, x, last)
    }

    /// Emits the layer norm of `x` over the axes from `begin` on.
    pub fn of(&self, parts: &mut Decomposition<'_>, x: ValueId, begin: i64) -> ValueId {
        let attrs = [
            ("begin_norm_axis", Attr::Int(begin)),
            ("epsilon", Attr::Float(self.epsilon)),
        ];
        let operands = [Some(x), self.scale, self.bias];
        parts.op("layer_norm", &operands, &attrs, parts.rank(x))
    }
}

/// The factor by which dropout scales its operand at inference. `rate` and `implementation` are the names of its
/// attributes, and `usual` is the implementation by default. Paddle 2.2 has a flag `is_test` for each dropout, which is
/// the last of the names.
///
/// # Errors
/// When it would drop elements, as in training.
pub(crate) fn dropout(
    parts: &mut Decomposition<'_>,
    rate: &str,
    implementation: &str,
    usual: &str,
    is_test: &str,
) -> Result<f64> {
    let rate: f64 = parts.attr(rate, 0.5)?;
    let implementation: String = parts.attr(implementation, usual.to_owned())?;
    let is_test = parts.attr(is_test, false)? || parts.flag("is_test");
    if !is_test && rate != 0.0 {
        return Err(Error::unsupported(
            "dropout as in training (`is_test`=False): call eval() on the model before it is exported",
        ));
    }
    match implementation.as_str() {
        "upscale_in_train" => Ok(1.0),
        "downgrade_in_infer" | "downscale_in_infer" => Ok(1.0 - rate),
        other => Err(Error::unsupported(format!("dropout by `{other}`"))),
    }
}
