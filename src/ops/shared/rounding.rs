//! The whole number nearest to a number.

use crate::graph::{Lowering, TensorId};
use crate::tensor::DType;

/// Emits `x` rounded to the nearest integer, halves away from zero: `sign(x) · ⌊|x|⌋`, or `sign(x) · (⌊|x|⌋ + 1)` if the
/// fraction is at least 1/2. All steps are exact, unlike those of `⌊|x| + 1/2⌋`.
pub(crate) fn lower_round_away(g: &mut Lowering<'_>, x: TensorId, dtype: DType) -> TensorId {
    let half = g.scalar(dtype, 0.5);
    let abs = g.node("Abs", &[x], []);
    let floor = g.node("Floor", &[abs], []);
    let rest = g.node("Sub", &[abs, floor], []);
    let is_below = g.node("Less", &[rest, half], []);
    let is_up = g.node("Not", &[is_below], []);
    let up = g.cast(is_up, DType::Bool, dtype);
    let rounded = g.node("Add", &[floor, up], []);
    let sign = g.node("Sign", &[x], []);
    g.node("Mul", &[sign, rounded], [])
}
