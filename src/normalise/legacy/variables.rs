//! The variables that a block of a `ProgramDesc` declares.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::program::{Declared, declared_dim};
use crate::proto::framework::{BlockDesc, TensorDesc, VarDesc};
use crate::read::params::Expected;
use crate::tensor::DType;

/// The code of a dense tensor in `VarType.Type` of Paddle's `framework.proto`. The holders `feed` and `fetch`, tensor
/// arrays and others have codes of their own.
const DENSE_TENSOR: i32 = 7;

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
        let shape = desc.dims.iter().copied().map(declared_dim).collect();
        Ok(Some(Declared {
            name: name.to_owned(),
            dtype: dtype(name, desc)?,
            shape,
        }))
    }

    /// The weights that the files must hold: all persistable tensors.
    ///
    /// # Errors
    /// When the element type of one is not supported.
    pub fn weights(&self) -> Result<Vec<Expected>> {
        let mut expected = Vec::with_capacity(self.persistable.len());
        for name in &self.persistable {
            if let Some(desc) = self.tensors.get(name) {
                expected.push(Expected {
                    name: (*name).to_owned(),
                    dtype: dtype(name, desc)?,
                    shape: desc.dims.clone(),
                });
            }
        }
        Ok(expected)
    }
}

fn dtype(name: &str, desc: &TensorDesc) -> Result<DType> {
    let code = i64::from(desc.data_type);
    DType::from_paddle_code(code).ok_or_else(|| {
        Error::unsupported(format!(
            "the variable `{name}` has Paddle's element type {code}, which is not supported"
        ))
    })
}

fn dense_tensor(variable: &VarDesc) -> Option<&TensorDesc> {
    let is_dense = variable.r#type.r#type == DENSE_TENSOR;
    let desc = variable.r#type.lod_tensor.as_ref();
    desc.filter(|_| is_dense).map(|desc| &desc.tensor)
}
