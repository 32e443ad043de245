//! Ops whose result is an operand as it is, such as casts to the type that is there: what reads the result reads the operand.
//! Before the pass:
//!
//! ```text
//! input %0:x : float32 [batch, 4]
//! %1:cast = cast(%0:x) dtype=5 : float32 [?, 4]
//! %2:assign = assign(%1:cast) : float32 [?, 4]
//! %3:relu = relu(%2:assign) : float32 [?, 4]
//! ```
//!
//! After it (what nothing reads is left to [`super::dead`]):
//!
//! ```text
//! input %0:x : float32 [batch, 4]
//! %1:cast = cast(%0:x) dtype=5 : float32 [?, 4]
//! %2:assign = assign(%0:x) : float32 [?, 4]
//! %3:relu = relu(%0:x) : float32 [?, 4]
//! ```

use super::replaced::Replaced;
use super::rewrites::known_facts;
use crate::operator::Registry;
use crate::program::Program;

/// Makes all that reads the result of an op that is an operand of it read the operand.
pub(super) fn pass_on(program: &mut Program, registry: &Registry) {
    let facts = known_facts(program, registry);
    let mut replaced = Replaced::default();
    for op in program.all_ops() {
        let parsed = registry.parse(op).ok();
        let operator = parsed.as_ref().and_then(|parsed| parsed.operator());
        let operand = operator.and_then(|operator| operator.passes_on(&facts));
        if let (Some(x), [result]) = (operand, &op.results[..]) {
            replaced.insert(*result, x);
        }
    }
    replaced.apply(program);
}
