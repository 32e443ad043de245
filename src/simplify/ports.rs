//! Shapes and names of inputs and outputs, as a user wants them.
//!
//! Unlike the passes these change how a program is called, and are made on request alone. Before [`with_shapes`] of
//! `x=1x3xheightx64`, and [`renamed`] by `fetch_name_0=y`:
//!
//! ```text
//! input %0:x : float32 [batch, 3, x_dim2, x_dim3]
//! %1:relu = relu(%0:x) : float32 [?, 3, ?, ?]
//! output fetch_name_0 = %1:relu
//! ```
//!
//! After both:
//!
//! ```text
//! input %0:x : float32 [1, 3, height, 64]
//! %1:relu = relu(%0:x) : float32 [?, 3, ?, ?]
//! output y = %1:relu
//! ```

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::program::Program;
use crate::tensor::{Dim, display_shape};

/// A shape for an input, such as `x=1x3x224x224` or `x=batch,3,max_height,width`: numbers, and names of extents that each run
/// sets. Extents of one name are equal. Names with an `x` in them need commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputShape {
    /// The name of the input.
    pub name: String,
    /// Its extents, known ones or symbols.
    pub shape: Vec<Dim>,
}

impl FromStr for InputShape {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let form = "NAME=1x3x224x224 or NAME=batch,3,height,width is expected";
        let (name, shape) = text.rsplit_once('=').ok_or(form)?;
        let extent = |text: &str| match text.parse::<i64>() {
            Ok(extent) if extent > 0 => Ok(Dim::Known(extent)),
            Ok(_) => Err(format!("an extent of {text}; extents are above 0")),
            Err(_) if is_symbol(text) => Ok(Dim::Symbol(text.into())),
            Err(_) => Err(format!("{text:?} is neither a number nor a name; {form}")),
        };
        let separator = if shape.contains(',') { ',' } else { 'x' };
        let shape = match shape {
            "" => Vec::new(),
            shape => shape
                .split(separator)
                .map(extent)
                .collect::<std::result::Result<_, _>>()?,
        };
        Ok(Self {
            name: name.to_owned(),
            shape,
        })
    }
}

fn is_symbol(text: &str) -> bool {
    let mut letters = text.chars();
    letters
        .next()
        .is_some_and(|first| first.is_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_alphanumeric() || letter == '_')
}

/// Another name for an input or an output, such as `fetch_name_0=probabilities`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renaming {
    /// The name in the program.
    pub old: String,
    /// The name in the ONNX model.
    pub new: String,
}

impl FromStr for Renaming {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.split_once('=') {
            Some((old, new)) if !old.is_empty() && !new.is_empty() => Ok(Self {
                old: old.to_owned(),
                new: new.to_owned(),
            }),
            _ => Err("OLD=NEW is expected".to_owned()),
        }
    }
}

impl fmt::Display for Renaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.old, self.new)
    }
}

/// The program with inputs of these shapes. What it declares of other values does not matter, since their shapes are
/// inferred.
///
/// # Errors
/// When there is no such input, it has another rank, or is given twice.
pub(crate) fn with_shapes(program: &Program, shapes: &[InputShape]) -> Result<Program> {
    let mut program = program.clone();
    let mut given = HashSet::new();
    for InputShape { name, shape } in shapes {
        let mut inputs = program.inputs.iter();
        let input = inputs.find(|id| program[**id].name == *name).copied();
        let input = input.ok_or_else(|| {
            let inputs = program.inputs.iter().map(|id| program[*id].name.as_str());
            let all: Vec<&str> = inputs.collect();
            Error::invalid(format!(
                "no input is called `{name}`; there is {}",
                all.join(", ")
            ))
        })?;
        if !given.insert(input) {
            return Err(Error::invalid(format!(
                "the shape of `{name}` is given twice"
            )));
        }
        let value = &mut program.values[input.index()];
        if value.shape.len() != shape.len() {
            return Err(Error::invalid(format!(
                "the input `{name}` has the shape {}, and {} another rank",
                display_shape(&value.shape),
                display_shape(shape)
            )));
        }
        value.shape.clone_from(shape);
    }
    Ok(program)
}

/// The program with other names of inputs and outputs, all of which are given at once, so that two can change places.
///
/// # Errors
/// When no input or output has a name, or two would have the same afterwards.
pub(crate) fn renamed(program: &Program, renamings: &[Renaming]) -> Result<Program> {
    let mut program = program.clone();
    let old_names: Vec<String> = {
        let inputs = program.inputs.iter().map(|id| program[*id].name.clone());
        inputs
            .chain(program.outputs.iter().map(|output| output.name.clone()))
            .collect()
    };
    let mut names = old_names.clone();
    for Renaming { old, new } in renamings {
        let mut is_known = false;
        for (name, _) in (names.iter_mut().zip(&old_names)).filter(|(_, other)| *other == old) {
            name.clone_from(new);
            is_known = true;
        }
        if !is_known {
            return Err(Error::invalid(format!(
                "no input or output is called `{old}`; their names are {}",
                old_names.join(", ")
            )));
        }
    }
    let mut taken: HashSet<&String> = HashSet::new();
    let is_new = |name: &String| renamings.iter().any(|renaming| renaming.new == *name);
    if let Some(twice) = names
        .iter()
        .find(|name| !taken.insert(name) && is_new(name))
    {
        return Err(Error::invalid(format!(
            "`{twice}` would be the name of several inputs or outputs"
        )));
    }
    let (inputs, outputs) = names.split_at(program.inputs.len());
    for (id, name) in program.inputs.clone().into_iter().zip(inputs) {
        program.values[id.index()].name.clone_from(name);
    }
    for (output, name) in program.outputs.iter_mut().zip(outputs) {
        output.name.clone_from(name);
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_are_separated_by_x_or_by_commas() {
        let shape = |text: &str| {
            text.parse::<InputShape>()
                .map(|input| display_shape(&input.shape))
        };
        assert_eq!(shape("x=1x3x224x224").unwrap(), "[1, 3, 224, 224]");
        assert_eq!(shape("x=batchx3xheight").unwrap(), "[batch, 3, height]");
        assert_eq!(shape("a=b=2,max_x,axis").unwrap(), "[2, max_x, axis]");
        assert_eq!(shape("x=").unwrap(), "[]");
        for wrong in ["x", "x=1,3xh", "x=maxx3", "x=0", "x=1x-1", "x=1x", "x=3.5"] {
            assert!(shape(wrong).is_err(), "{wrong}");
        }
    }
}
