//! Outputs of a user's choice, and no more of the program than they need.
//!
//! Unlike the passes this changes what a program returns, and is made on request alone.
//!
//! Before [`cropped`] to `relu`:
//!
//! ```text
//! input %0:x : float32 [batch, 4]
//! input %1:scale : float32 [batch, 1]
//! %2:relu = relu(%0:x) : float32 [batch, 4]
//! %3:product = multiply(%2:relu, %1:scale) : float32 [batch, 4]
//! output fetch_name_0 = %3:product
//! ```
//!
//! After it:
//!
//! ```text
//! input %0:x : float32 [batch, 4]
//! %2:relu = relu(%0:x) : float32 [batch, 4]
//! output relu = %2:relu
//! ```

use std::collections::HashSet;

use super::dead::{drop_remarks, drop_unneeded};
use crate::alike::hint;
use crate::error::{Error, Result};
use crate::program::{Op, Origin, Output, Program, Value, ValueId};
use crate::tensor::Dim;

/// The program that takes the values of these names in place of what computes them, beside the inputs that are still
/// needed. Their shapes are those that the program declares, in which open extents get names.
///
/// # Errors
/// When there is no such value, it is a weight, or a name is given twice.
pub(crate) fn starting_at(program: &Program, names: &[String]) -> Result<Program> {
    let mut program = program.clone();
    let mut starts: Vec<ValueId> = Vec::new();
    for name in names {
        let id = find(&program, name)?;
        if starts.contains(&id) {
            return Err(Error::invalid(format!("the input `{name}` is given twice")));
        }
        starts.push(id);
    }
    for id in &starts {
        let value = &mut program.values[id.index()];
        if matches!(value.origin, Origin::Result) {
            value.origin = Origin::Input;
            for (axis, dim) in value.shape.iter_mut().enumerate() {
                if dim.known().is_none() {
                    *dim = Dim::Symbol(format!("{}_dim{axis}", value.name).into());
                }
            }
        }
    }
    let mut ops = std::mem::take(&mut program.ops);
    // An op keeps its other results, and is dropped if nothing needs them.
    let results = ops.iter_mut().flat_map(|op| &mut op.results);
    for result in results.filter(|id| starts.contains(id)) {
        let unread = program[*result].clone();
        *result = program.add_value(Value {
            origin: Origin::Result,
            ..unread
        });
    }
    program.ops = ops;
    let others = program.inputs.iter().filter(|id| !starts.contains(id));
    program.inputs = starts.iter().chain(others).copied().collect();
    drop_what_is_left(&mut program);
    Ok(program)
}

/// The program that returns the values of these names, with the ops and inputs that these need. A name is that of an
/// output, or of a variable: of its last value outside of blocks, if it has several.
///
/// # Errors
/// When there is no such value, it is a weight, or a name is given twice.
pub(crate) fn cropped(program: &Program, names: &[String]) -> Result<Program> {
    let mut program = program.clone();
    let mut outputs: Vec<Output> = Vec::new();
    for name in names {
        if outputs.iter().any(|output| output.name == *name) {
            return Err(Error::invalid(format!(
                "the output `{name}` is given twice"
            )));
        }
        outputs.push(Output {
            name: name.clone(),
            value: find(&program, name)?,
        });
    }
    program.outputs = outputs;
    drop_what_is_left(&mut program);
    Ok(program)
}

/// Drops the ops, the inputs and the remarks that no output needs.
pub(super) fn drop_what_is_left(program: &mut Program) {
    drop_unneeded(program);
    let mut read: HashSet<ValueId> = program.outputs.iter().map(|output| output.value).collect();
    program.all_ops().for_each(|op| {
        op.each_read(&mut |id| {
            read.insert(id);
        });
    });
    program.inputs.retain(|id| read.contains(id));
    drop_remarks(program);
}

/// The value of this name.
fn find(program: &Program, name: &str) -> Result<ValueId> {
    if let Some(output) = program.outputs.iter().find(|output| output.name == name) {
        return Ok(output.value);
    }
    let results = program.ops.iter().rev().flat_map(|op: &Op| &op.results);
    let mut values = results.chain(&program.inputs);
    if let Some(id) = values.find(|id| program[**id].name == name) {
        return Ok(*id);
    }
    let mut others = program.values().map(|(_, value)| value);
    Err(match others.find(|value| value.name == name) {
        None => unknown(program, name),
        Some(value) if matches!(value.origin, Origin::Parameter(_)) => {
            Error::invalid(format!("`{name}` is a weight, which can't be an output"))
        }
        Some(_) => Error::invalid(format!(
            "`{name}` is inside of a branch or a loop; only what is outside can be an output"
        )),
    })
}

/// The error for a name that nothing has.
fn unknown(program: &Program, name: &str) -> Error {
    let results = program.ops.iter().flat_map(|op| &op.results);
    let names = results
        .chain(&program.inputs)
        .map(|id| program[*id].name.as_str());
    let outputs = program.outputs.iter().map(|output| output.name.as_str());
    let hint = hint(name, names.chain(outputs));
    Error::invalid(format!(
        "no value of the model is called `{name}`{hint}; names of values are those of the tensors in the ONNX model"
    ))
}
