//! Where each initializer goes: into the model's file or a second one, or nowhere, if the model points to
//! Paddle's file.

use std::fs;
use std::path::Path;

use super::Weights;
use super::copy::Part;
use crate::error::{Error, Result};
use crate::graph::{Initializer, InitializerData, OnnxModel};
use crate::read::ByteRange;

/// The size of the largest file that protobuf readers accept, in bytes.
pub(super) const LARGEST_MODEL: u64 = i32::MAX as u64;

/// The bytes that [`Weights::Auto`] allows for everything in a model but its weights.
const GRAPH_ALLOWANCE: u64 = 64 << 20;

/// The size in bytes from which on initializers go into the second file. Smaller ones, such as shapes and
/// scalars, stay in the model, where tools read them.
const SMALLEST_EXTERNAL: u64 = 1024;

/// The alignment of tensors in the second file: whole pages, so that runtimes can map them.
const ALIGNMENT: u64 = 4096;

/// Where one initializer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In the model's file.
    Inline,
    /// In another file, whose path `location` is relative to the model's folder.
    External {
        location: String,
        offset: u64,
        /// Whether that file is written with the model; otherwise it is Paddle's.
        written: bool,
    },
}

/// Where all initializers of a model go.
pub(super) struct Plan {
    /// The place of each initializer, in their order.
    pub places: Vec<Place>,
    /// The size of the second file in bytes; 0 if there is none.
    pub data_size: u64,
}

impl Plan {
    pub fn new(
        model: &OnnxModel,
        folder: &Path,
        weights: Weights,
        data_name: &str,
    ) -> Result<Self> {
        let total: u64 = model.initializers.iter().map(size).sum();
        let weights = match weights {
            Weights::Auto if total + GRAPH_ALLOWANCE > LARGEST_MODEL => Weights::External,
            Weights::Auto => Weights::Inline,
            chosen => chosen,
        };
        let mut plan = Self {
            places: Vec::with_capacity(model.initializers.len()),
            data_size: 0,
        };
        for initializer in &model.initializers {
            let place = match (&initializer.data, weights) {
                (InitializerData::File(ranges), Weights::Link) => match ranges.as_slice() {
                    [range] => link(range, folder)?,
                    // External data has one offset and one length, so these are copied.
                    _ => Place::Inline,
                },
                (_, Weights::External) if size(initializer) >= SMALLEST_EXTERNAL => {
                    let offset = plan.data_size.next_multiple_of(ALIGNMENT);
                    plan.data_size = offset + size(initializer);
                    Place::External {
                        location: data_name.to_owned(),
                        offset,
                        written: true,
                    }
                }
                _ => Place::Inline,
            };
            plan.places.push(place);
        }
        Ok(plan)
    }

    /// All in the model's file.
    pub fn inline(model: &OnnxModel) -> Self {
        Self {
            places: model.initializers.iter().map(|_| Place::Inline).collect(),
            data_size: 0,
        }
    }

    /// The parts of the second file: the initializers at their offsets, with zeros between them.
    pub fn parts<'m>(&self, model: &'m OnnxModel) -> Vec<Part<'m>> {
        let places = model.initializers.iter().zip(&self.places);
        let parts = places.flat_map(|(initializer, place)| match place {
            Place::External {
                offset,
                written: true,
                ..
            } => Part::of(&initializer.data, *offset),
            _ => Vec::new(),
        });
        parts.collect()
    }
}

/// The size of an initializer's elements, in bytes.
pub(super) fn size(initializer: &Initializer) -> u64 {
    match &initializer.data {
        InitializerData::Memory(tensor) => (tensor.len() * tensor.dtype().size()) as u64,
        InitializerData::File(ranges) => ranges.iter().map(|range| range.len).sum(),
        InitializerData::Mapped(range, mapping) => mapping.size(range.len),
    }
}

/// A place in Paddle's file, which must be in the model's folder or below it.
fn link(range: &ByteRange, folder: &Path) -> Result<Place> {
    let canonical =
        |path: &Path| fs::canonicalize(path).map_err(|e| Error::io(path, "resolve the path", e));
    let weights = canonical(&range.path)?;
    let folder_path = canonical(folder)?;
    let location = weights
        .strip_prefix(&folder_path)
        .ok()
        .and_then(Path::to_str);
    let Some(location) = location else {
        return Err(Error::invalid(format!(
            "--weights link needs the output in the folder of the weights ({}), because runtimes \
             open external data only in or below the model's folder; write it there, or use \
             --weights inline",
            weights.display()
        ))
        .in_file(folder));
    };
    Ok(Place::External {
        location: location.replace(std::path::MAIN_SEPARATOR, "/"),
        offset: range.offset,
        written: false,
    })
}
