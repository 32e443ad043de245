//! Where each initializer goes.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use super::Weights;
use super::copy::Copier;
use crate::error::{Error, Result};
use crate::graph::{Initializer, InitializerData, OnnxModel};
use crate::read::ByteRange;

/// The largest file that protobuf readers accept.
pub(super) const LARGEST_MODEL: u64 = i32::MAX as u64;

/// Headroom for everything in a model but its weights, when the form is chosen by size.
const GRAPH_ALLOWANCE: u64 = 64 << 20;

/// Smaller initializers stay in the model: shapes and scalars, which tools read there.
const SMALLEST_EXTERNAL: u64 = 1024;

/// External tensors start at whole pages, so that runtimes can map them.
const ALIGNMENT: u64 = 4096;

/// Where one initializer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Into the model's file.
    Inline,
    /// Into another file, by its name relative to the model.
    External {
        location: String,
        offset: u64,
        /// Whether that file is written here, or is one of Paddle's.
        written: bool,
    },
}

/// Where every initializer goes, in their order.
pub(super) struct Plan {
    pub places: Vec<Place>,
    /// The size of the second file.
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
                (InitializerData::File(range), Weights::Link) => link(range, folder)?,
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

    /// Writes the second file.
    pub fn write_data(
        &self,
        model: &OnnxModel,
        copier: &mut Copier<'_>,
        file: &mut File,
    ) -> Result<()> {
        let mut writer = BufWriter::new(file);
        let mut position = 0;
        for (initializer, place) in model.initializers.iter().zip(&self.places) {
            if let Place::External {
                offset,
                written: true,
                ..
            } = place
            {
                let padding = usize::try_from(offset - position)
                    .map_err(|_| Error::internal("padding of more than memory"))?;
                copier.bytes(&vec![0; padding], &mut writer)?;
                copier.data(&initializer.data, &mut writer)?;
                position = offset + size(initializer);
            }
        }
        writer
            .flush()
            .map_err(|e| Error::io_somewhere("write the weights", e))
    }
}

/// The bytes of an initializer's elements.
pub(super) fn size(initializer: &Initializer) -> u64 {
    match &initializer.data {
        InitializerData::Bytes(bytes) => bytes.len() as u64,
        InitializerData::File(range) => range.len,
    }
}

/// Points into Paddle's file, which must be in the model's folder.
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
