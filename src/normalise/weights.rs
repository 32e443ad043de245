//! The weights that a program declares, with their places in its files.

use std::path::{Component, Path};

use crate::error::{Error, Result};
use crate::program::{Builder, Declared, Origin, ValueId};
use crate::read::params::{self, Expected};
use crate::read::{ByteRange, WeightFiles};
use crate::tensor::Dim;

/// Adds the weights to the program, in the order of their names, which is that of a combined file. Returns the value of
/// each by its name.
///
/// # Errors
/// When the files are not there, or don't hold exactly these weights with these element types and shapes.
pub(super) fn define(
    builder: &mut Builder,
    mut expected: Vec<Expected>,
    files: &WeightFiles,
) -> Result<Vec<(String, ValueId)>> {
    expected.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let ranges = places(&expected, files)?;
    let weights = expected.into_iter().zip(ranges).map(|(weight, range)| {
        let declared = Declared {
            name: weight.name.clone(),
            dtype: weight.dtype,
            shape: weight.shape.into_iter().map(Dim::Known).collect(),
        };
        let value = declared.value(Origin::Parameter(range));
        (weight.name, builder.program.add_value(value))
    });
    Ok(weights.collect())
}

fn places(expected: &[Expected], files: &WeightFiles) -> Result<Vec<ByteRange>> {
    match files {
        _ if expected.is_empty() => Ok(Vec::new()),
        WeightFiles::Combined(path) => params::index(path, expected),
        WeightFiles::Separate(folder) => separate(folder, expected),
        WeightFiles::Missing(path) => Err(Error::invalid(format!(
            "the program has {} weights, but there is no {}; \
             put it there or name it with --params",
            expected.len(),
            path.display()
        ))),
    }
}

/// The place of each weight in a file of its own, which is named after it.
fn separate(folder: &Path, expected: &[Expected]) -> Result<Vec<ByteRange>> {
    let mut ranges = Vec::with_capacity(expected.len());
    for weight in expected {
        let name = Path::new(&weight.name);
        let is_inside = name.components().all(|c| matches!(c, Component::Normal(_)));
        if !is_inside {
            return Err(Error::malformed(format!(
                "the weight `{}` names a file outside the model's folder",
                weight.name
            )));
        }
        ranges.extend(params::index(
            &folder.join(name),
            std::slice::from_ref(weight),
        )?);
    }
    Ok(ranges)
}
