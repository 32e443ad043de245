//! The variables that a block declares, and the weights among them.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use crate::error::{Error, Result};
use crate::proto::framework::{BlockDesc, TensorDesc, VarDesc};
use crate::read::params::{self, Expected};
use crate::read::{ByteRange, WeightFiles};
use crate::tensor::DType;

/// `VarType.Type` of a dense tensor. The holders `feed` and `fetch`, tensor arrays and others
/// have codes of their own.
const DENSE_TENSOR: i32 = 7;

/// The declared type of a dense tensor; -1 is a size that is not known.
pub(super) struct Declared {
    pub dtype: DType,
    pub dims: Vec<i64>,
}

/// The dense tensors that a block declares, by name.
pub(super) struct Variables<'a> {
    tensors: BTreeMap<&'a str, &'a TensorDesc>,
    persistable: Vec<&'a str>,
}

impl<'a> Variables<'a> {
    pub fn of(block: &'a BlockDesc) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        let mut persistable = Vec::new();
        for variable in &block.vars {
            let name = variable.name.as_str();
            let Some(tensor) = dense_tensor(variable) else {
                continue;
            };
            if tensors.insert(name, tensor).is_some() {
                return Err(Error::malformed(format!(
                    "the variable `{name}` is declared twice"
                )));
            }
            if variable.persistable() {
                persistable.push(name);
            }
        }
        persistable.sort_unstable();
        Ok(Self {
            tensors,
            persistable,
        })
    }

    /// The declared type of a variable, if it is a dense tensor.
    ///
    /// # Errors
    /// When its element type is not supported.
    pub fn get(&self, name: &str) -> Result<Option<Declared>> {
        let Some(desc) = self.tensors.get(name) else {
            return Ok(None);
        };
        let code = i64::from(desc.data_type);
        let dtype = DType::from_paddle_code(code).ok_or_else(|| {
            Error::unsupported(format!(
                "the variable `{name}` has Paddle's element type {code}, which is not supported"
            ))
        })?;
        let dims = desc.dims.clone();
        Ok(Some(Declared { dtype, dims }))
    }

    /// The weights with their places, sorted by name.
    pub fn weights(&self, files: &WeightFiles) -> Result<Vec<(Expected, ByteRange)>> {
        let mut expected = Vec::with_capacity(self.persistable.len());
        for name in &self.persistable {
            if let Some(Declared { dtype, dims }) = self.get(name)? {
                expected.push(Expected {
                    name: (*name).to_owned(),
                    dtype,
                    shape: dims,
                });
            }
        }
        let ranges = match files {
            _ if expected.is_empty() => Vec::new(),
            WeightFiles::Combined(path) => params::index(path, &expected)?,
            WeightFiles::Separate(folder) => separate(folder, &expected)?,
            WeightFiles::Missing(path) => {
                return Err(Error::invalid(format!(
                    "the program has {} weights, but there is no {}; \
                     put it there or name it with --params",
                    expected.len(),
                    path.display()
                )));
            }
        };
        Ok(expected.into_iter().zip(ranges).collect())
    }
}

fn dense_tensor(variable: &VarDesc) -> Option<&TensorDesc> {
    let is_dense = variable.r#type.r#type == DENSE_TENSOR;
    let desc = variable.r#type.lod_tensor.as_ref();
    desc.filter(|_| is_dense).map(|desc| &desc.tensor)
}

/// One file per weight, named after it.
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
