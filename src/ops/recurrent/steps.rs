//! Steps through a sequence, as ONNX's Loop takes them.

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::program::Fact;
use crate::tensor::{DType, Dim, Tensor};

/// The order in which the steps are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    FirstToLast,
    LastToFirst,
}

/// Emits Loop over the first axis of sequences with as many steps as `like` has there. `step` gets the position of the
/// step, a scalar of int64, and the states before it, and returns the states behind it and, last, what it gives. States
/// are matrices, each of the element type that comes with it.
/// Returns the last states and all that was given, by the position of the step.
///
/// Scan would be shorter, but ONNX Runtime's takes no sequences without steps.
///
/// # Errors
/// Those of `step`.
pub(super) fn steps(
    g: &mut Lowering<'_>,
    like: TensorId,
    order: Order,
    states: &[(TensorId, DType)],
    step: impl FnOnce(&mut Lowering<'_>, TensorId, &[TensorId]) -> Result<Vec<TensorId>>,
) -> Result<Vec<TensorId>> {
    let count = g.shape_slice(like, 0, 1);
    let count = g.squeeze(count, &[0]);
    let body = g.body(2 + states.len(), |g, inputs| {
        let [number, _, states @ ..] = inputs else {
            return Err(Error::internal(
                "a body has other inputs than were asked for",
            ));
        };
        let mut position = *number;
        if order == Order::LastToFirst {
            let one = g.scalar(DType::I64, 1.0);
            let last = g.node("Sub", &[count, one], []);
            position = g.node("Sub", &[last, position], []);
        }
        let goes_on = g.constant(Tensor::scalar(true));
        let outputs = step(g, position, states)?;
        Ok(std::iter::once(goes_on).chain(outputs).collect())
    })?;
    let matrix = |dtype: DType| Fact::new(dtype, vec![Dim::Unknown; 2]);
    let scalars = [DType::I64, DType::Bool].map(|dtype| Fact::new(dtype, Vec::new()));
    let carried = states.iter().map(|(_, dtype)| matrix(*dtype));
    let body = body.given(scalars.into_iter().chain(carried).collect());
    let mut inputs = vec![Some(count), None];
    inputs.extend(states.iter().map(|(state, _)| Some(*state)));
    let attrs = [("body", NodeAttr::Graph(body))];
    let mut outputs = g.node_with_outputs("Loop", inputs, attrs, states.len() + 1);
    if let (Some(given), Order::LastToFirst) = (outputs.last_mut(), order) {
        let vectors = [-1, i64::MIN, 0, -1].map(|element| g.vector(&[element]));
        *given = g.node("Slice", &[&[*given], &vectors[..]].concat(), []);
    }
    Ok(outputs)
}

/// Emits Gather: what a sequence has at a step.
pub(super) fn at(g: &mut Lowering<'_>, sequence: TensorId, position: TensorId) -> TensorId {
    g.node(
        "Gather",
        &[sequence, position],
        [("axis", NodeAttr::Int(0))],
    )
}
