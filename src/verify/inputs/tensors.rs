//! Tensors in memory → the inputs of a run, or the outputs that were recorded of one.

use super::super::subject::Subject;
use super::{NamedTensors, Set, file};
use crate::error::{Error, Result};
use crate::program::Program;
use crate::tensor::Tensor;

/// The sets of inputs that are given.
///
/// # Errors
/// When an input is missing, or of another element type or shape, or a name is not that of an input.
pub(super) fn sets(program: &Program, runs: &[NamedTensors]) -> Result<Vec<Set>> {
    let wanted = file::wanted(program);
    let names: Vec<&str> = wanted.iter().map(|wanted| wanted.name.as_str()).collect();
    let sets = runs.iter().enumerate().map(|(position, given)| {
        let tensors = in_order(given, &names, "input")?;
        file::refuse_misfits(&wanted, &tensors)?;
        let names = names.iter().map(|name| (*name).to_owned());
        Ok(Set {
            label: match runs.len() {
                1 => "the given inputs".to_owned(),
                _ => format!("the given inputs {}", position + 1),
            },
            tensors: names.zip(tensors).collect(),
            notes: Vec::new(),
        })
    });
    sets.collect()
}

/// The recorded outputs of all runs, in the order of the program.
///
/// # Errors
/// When an output is missing, or a name is not that of an output.
pub(super) fn expected(subject: &Subject<'_>, runs: &[NamedTensors]) -> Result<Vec<Vec<Tensor>>> {
    let names = subject.outputs();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let runs = runs.iter();
    runs.map(|given| in_order(given, &names, "output"))
        .collect()
}

/// The tensors of these names, which are those of all inputs or outputs (`what`), in this order.
fn in_order(given: &NamedTensors, names: &[&str], what: &str) -> Result<Vec<Tensor>> {
    let fail = |problem: String| {
        let names = names.join(", ");
        Err(Error::invalid(format!(
            "{problem}; the model's {what}s are: {names}"
        )))
    };
    if let Some((other, _)) = given
        .iter()
        .find(|(name, _)| !names.contains(&name.as_str()))
    {
        return fail(format!("there is no {what} `{other}`"));
    }
    let mut tensors = Vec::with_capacity(names.len());
    for name in names {
        match given.iter().find(|(other, _)| other == name) {
            Some((_, tensor)) => tensors.push(tensor.clone()),
            None => return fail(format!("the {what} `{name}` is missing")),
        }
    }
    Ok(tensors)
}
