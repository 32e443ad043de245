//! Parameters with one element for each channel, which several ops of this family have.

use crate::error::{Error, Result};
use crate::program::{Facts, ValueId};
use crate::tensor::{Dim, display_shape};

/// Checks that each of these parameters is a vector over the channels, as far as the extents are known before a run.
///
/// # Errors
/// When one is not.
pub(super) fn check_parameters(
    facts: &Facts<'_>,
    parameters: impl IntoIterator<Item = ValueId>,
    channels: &Dim,
) -> Result<()> {
    for parameter in parameters {
        match facts.shape(parameter) {
            [extent] if extent.known().is_none() || channels.known().is_none() => {}
            [extent] if extent.known() == channels.known() => {}
            other => {
                let shape = display_shape(other);
                return Err(Error::malformed(format!(
                    "a parameter of shape {shape} for {channels} channels"
                )));
            }
        }
    }
    Ok(())
}
