//! The weights that a program declares, with their places in its files.

use std::path::{Component, Path};

use crate::error::{Error, Result};
use crate::program::{Builder, Declared, Origin, ValueId, declared_dim};
use crate::read::params::{self, Expected, Found};
use crate::read::{ByteRange, WeightFiles, weights_in};

/// Adds the weights to the program, in the order of their names, which is that of a combined file. Returns the value of
/// each by its name. Where files are missing, the program gets the weights all the same, and notes what is missing.
///
/// # Errors
/// When the files that are there don't hold exactly these weights with these element types and shapes.
pub(super) fn define(
    builder: &mut Builder,
    mut expected: Vec<Expected>,
    files: &WeightFiles,
) -> Result<Vec<(String, ValueId)>> {
    expected.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    builder.program.missing_weights = missing(&expected, files)?;
    let found = match (files, &builder.program.missing_weights) {
        (_, Some(_)) => expected
            .iter()
            .map(|weight| nowhere(weight, files))
            .collect(),
        (WeightFiles::Combined(path), None) if !expected.is_empty() => {
            params::index(path, &expected)?
        }
        (WeightFiles::Separate(folder), None) => separate(folder, &expected)?,
        _ => Vec::new(),
    };
    let mut narrowed = Vec::new();
    let weights = expected.into_iter().zip(found).map(|(weight, found)| {
        let declared = Declared {
            name: weight.name.clone(),
            dtype: found.dtype,
            shape: found.shape.into_iter().map(declared_dim).collect(),
        };
        let is_narrowed = declared.dtype != weight.dtype;
        let value = declared.value(Origin::Parameter(found.range));
        let id = builder.program.add_value(value);
        narrowed.extend(Some(id).filter(|_| is_narrowed));
        (weight.name, id)
    });
    let weights = weights.collect();
    builder.program.narrowed = narrowed;
    Ok(weights)
}

/// What is missing of the files, and what to do. None if all are there.
///
/// # Errors
/// When a weight names a file outside the model's folder.
fn missing(expected: &[Expected], files: &WeightFiles) -> Result<Option<String>> {
    let count = expected.len();
    let (folder, what) = match files {
        WeightFiles::Missing(path) if count > 0 => (
            path.parent().unwrap_or(Path::new("")),
            format!(
                "but there is no {}; put it there or name it with --params",
                path.display()
            ),
        ),
        WeightFiles::Separate(folder) => {
            let mut absent = Vec::new();
            for weight in expected {
                let file = folder.join(file_name(weight)?);
                if !file.is_file() {
                    absent.push(file);
                }
            }
            let Some(first) = absent.first() else {
                return Ok(None);
            };
            let others = match absent.len().saturating_sub(1) {
                0 => String::new(),
                count => format!(", nor the files of {count} others"),
            };
            let what = format!(
                "but there is no {}{others}; put it there, or name the file of all weights with --params",
                first.display()
            );
            (folder.as_path(), what)
        }
        _ => return Ok(None),
    };
    let other = weights_in(folder).map(|path| format!(" ({} may be it)", path.display()));
    let checkpoint = match files {
        WeightFiles::Missing(path) => Some(path.with_extension("pdparams")),
        _ => None,
    };
    let checkpoint = checkpoint.filter(|path| path.is_file()).map(|path| {
        let path = path.display();
        format!(" ({path} is a training checkpoint: paddle.jit.save writes the weights)")
    });
    let hint = other.or(checkpoint).unwrap_or_default();
    Ok(Some(format!(
        "the program has {count} weights, {what}{hint}"
    )))
}

/// A weight whose file is missing, as the program declares it.
fn nowhere(weight: &Expected, files: &WeightFiles) -> Found {
    let (WeightFiles::Combined(path) | WeightFiles::Separate(path) | WeightFiles::Missing(path)) =
        files;
    Found {
        range: ByteRange {
            path: path.as_path().into(),
            offset: 0,
            len: params::byte_size(weight.dtype, &weight.shape).unwrap_or(0),
        },
        dtype: weight.dtype,
        shape: weight.shape.clone(),
    }
}

/// The place of each weight in a file of its own, which is named after it.
fn separate(folder: &Path, expected: &[Expected]) -> Result<Vec<Found>> {
    let mut found = Vec::with_capacity(expected.len());
    for weight in expected {
        let path = folder.join(file_name(weight)?);
        found.extend(params::index(&path, std::slice::from_ref(weight))?);
    }
    Ok(found)
}

/// The name of the file of a weight that has one of its own.
///
/// # Errors
/// When the name leads out of the folder of the weights.
fn file_name(weight: &Expected) -> Result<&Path> {
    let name = Path::new(&weight.name);
    let is_inside = name.components().all(|c| matches!(c, Component::Normal(_)));
    if is_inside {
        return Ok(name);
    }
    Err(Error::malformed(format!(
        "the weight `{}` names a file outside the model's folder",
        weight.name
    )))
}
