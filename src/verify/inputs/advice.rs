//! What helps where the program does not take its inputs.

use super::{Inputs, Set, meaning};
use crate::analyse::Analysis;
use crate::error::{Error, ErrorKind};
use crate::model::Model;
use crate::program::{Program, ValueId};
use crate::tensor::{Tensor, display_shape};

/// The error of an op that a run of the program met, with the inputs of the run, and with the option that would help:
/// other indices, or other shapes.
pub(in crate::verify) fn advise(error: Error, model: &Model, set: &Set, inputs: &Inputs) -> Error {
    if !matches!(error.kind(), ErrorKind::Malformed | ErrorKind::Invalid) {
        return error;
    }
    let Some(op) = error.place().op.clone() else {
        return error;
    };
    let program = model.program();
    let at_shapes = set.declared_in(program);
    let analysis = Analysis::of(&at_shapes, model.registry());
    let indices = analysis.map_or_else(|_| Vec::new(), |analysis| meaning::indexed(&analysis, &op));
    let mut indices = indices.into_iter();
    let advice = indices
        .find_map(|(input, positions)| other_indices(&program[input].name, positions, set, inputs));
    match advice.or_else(|| other_shapes(program, set, inputs)) {
        Some(advice) => error.with_advice(&advice),
        None => error,
    }
}

/// What to do about an input whose elements are no positions in what they index.
fn other_indices(name: &str, positions: i64, set: &Set, inputs: &Inputs) -> Option<String> {
    let (_, tensor) = set.tensors.iter().find(|(other, _)| other == name)?;
    let elements = tensor.to_i64_vec();
    let outside = elements
        .iter()
        .find(|index| !(0..positions).contains(*index))?;
    let option = match inputs {
        Inputs::Random(_) => format!("--range {name}=0..{positions} draws those"),
        _ => format!("{} has others", set.label),
    };
    Some(format!(
        "the input `{name}` holds {outside}, but it picks from {positions} positions, which are 0 to {}: {option}",
        positions - 1
    ))
}

/// What to do about shapes that an op refuses, if some are open.
fn other_shapes(program: &Program, set: &Set, inputs: &Inputs) -> Option<String> {
    let is_open = |id: &&ValueId| program[**id].shape.iter().any(|dim| dim.known().is_none());
    let open: Vec<&ValueId> = program.inputs().iter().filter(is_open).collect();
    let shape = |id: &&ValueId| -> Option<(String, &Tensor)> {
        let name = &program[**id].name;
        let (_, tensor) = set.tensors.iter().find(|(other, _)| other == name)?;
        Some((name.clone(), tensor))
    };
    let given: Vec<(String, &Tensor)> = open.iter().filter_map(shape).collect();
    let listed: Vec<String> = given
        .iter()
        .map(|(name, tensor)| format!("`{name}` {}", display_shape(tensor.shape())))
        .collect();
    let first = open.first()?;
    let option = match inputs {
        Inputs::Random(_) => format!("--shape {}=… gives others", program[**first].name),
        Inputs::Files(_) | Inputs::Tensors(_) => "other extents may help".to_owned(),
        Inputs::Images(_) => "--crop gives pictures of another size".to_owned(),
    };
    Some(format!("the program got {}: {option}", listed.join(", ")))
}
