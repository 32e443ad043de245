//! The variables that the blocks of a `ProgramDesc` declare.

use std::collections::BTreeMap;

use super::desc::BlockDesc;
use crate::error::{Error, Result};
use crate::program::{Declared, declared_dim};
use crate::proto::framework::{TensorDesc, VarDesc};
use crate::read::params::Expected;
use crate::tensor::DType;

/// The codes of a dense tensor and of a list of such in `VarType.Type` of Paddle's `framework.proto`. The holders `feed`
/// and `fetch` and others have codes of their own.
const DENSE_TENSOR: i32 = 7;
const TENSOR_ARRAY: i32 = 13;

/// What is said of a variable that is a dense tensor, or of the items of one that is a list of such.
#[derive(Clone, Copy)]
struct Declaration<'a> {
    tensor: &'a TensorDesc,
    is_list: bool,
}

/// The variables that can be seen from a block.
pub(super) struct Variables<'a> {
    /// Those that each block declares, by name, with what is said of those that are dense tensors or lists of such: the
    /// main block first, then the blocks in it that are being read.
    blocks: Vec<BTreeMap<&'a str, Option<Declaration<'a>>>>,
    /// The weights, which the main block declares.
    persistable: Vec<&'a str>,
}

impl<'a> Variables<'a> {
    /// Those of the main block.
    ///
    /// # Errors
    /// When a variable is declared twice.
    pub fn of(main: &'a BlockDesc) -> Result<Self> {
        let mut all = Self {
            blocks: Vec::new(),
            persistable: Vec::new(),
        };
        all.enter(main)?;
        let weights = main.vars.iter().filter(|variable| variable.persistable());
        let weights = weights.filter(|v| declaration(v).is_some_and(|found| !found.is_list));
        all.persistable = weights.map(|variable| variable.name.as_str()).collect();
        Ok(all)
    }

    /// Adds those of a block inside of the present one, which hide others of their names until [`Variables::leave`].
    ///
    /// # Errors
    /// When a variable is declared twice.
    pub fn enter(&mut self, block: &'a BlockDesc) -> Result<()> {
        let mut variables = BTreeMap::new();
        for variable in &block.vars {
            let name = variable.name.as_str();
            let tensor = declaration(variable);
            if variables.insert(name, tensor).flatten().is_some() && tensor.is_some() {
                return Err(Error::malformed(format!(
                    "the variable `{name}` is declared twice"
                )));
            }
        }
        self.blocks.push(variables);
        Ok(())
    }

    /// Ends the block that was entered last.
    pub fn leave(&mut self) {
        self.blocks.pop();
    }

    /// The lists that the block declares that was entered last.
    pub fn lists(&self) -> Vec<&'a str> {
        let own = self.blocks.last().into_iter().flatten();
        let lists = own.filter(|(_, found)| found.is_some_and(|found| found.is_list));
        lists.map(|(name, _)| *name).collect()
    }

    fn find(&self, name: &str) -> Option<Declaration<'a>> {
        let mut inner_first = self.blocks.iter().rev();
        inner_first.find_map(|variables| variables.get(name).copied())?
    }

    /// Whether a variable of this name is declared, as whatever it is.
    pub fn knows(&self, name: &str) -> bool {
        let mut blocks = self.blocks.iter();
        blocks.any(|variables| variables.contains_key(name))
    }

    /// The declared type of a variable, if it is a dense tensor. A list of such is one with the items along a first axis.
    ///
    /// # Errors
    /// When its element type is not supported.
    pub fn get(&self, name: &str) -> Result<Option<Declared>> {
        let Some(found) = self.find(name) else {
            return Ok(None);
        };
        let count = found.is_list.then_some(-1);
        let extents = count.into_iter().chain(found.tensor.dims.iter().copied());
        Ok(Some(Declared {
            name: name.to_owned(),
            dtype: dtype(name, found.tensor)?,
            shape: extents.map(declared_dim).collect(),
        }))
    }

    /// The weights that the files must hold: all persistable tensors.
    ///
    /// # Errors
    /// When the element type of one is not supported.
    pub fn weights(&self) -> Result<Vec<Expected>> {
        let mut expected = Vec::with_capacity(self.persistable.len());
        for name in &self.persistable {
            if let Some(Declaration { tensor: desc, .. }) = self.find(name) {
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
    DType::declared(code).ok_or_else(|| {
        Error::unsupported(format!(
            "the variable `{name}` has Paddle's element type {code}, which is not supported"
        ))
    })
}

fn declaration(variable: &VarDesc) -> Option<Declaration<'_>> {
    let is_list = match variable.r#type.r#type {
        DENSE_TENSOR => false,
        TENSOR_ARRAY => true,
        _ => return None,
    };
    let desc = if is_list {
        variable.r#type.tensor_array.as_ref()
    } else {
        variable.r#type.lod_tensor.as_ref()
    };
    desc.map(|desc| Declaration {
        tensor: &desc.tensor,
        is_list,
    })
}
