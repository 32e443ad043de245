//! The weights of a program in memory.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;

use crate::error::{Error, Result};
use crate::operator::{ParsedOp, Precision};
use crate::program::{Origin, Program, Value, ValueId};
use crate::read::ByteRange;
use crate::tensor::{Panels, Tensor};

/// The weights and constants that are used, by the number of their value, in the type that a precision keeps.
pub(super) struct Weights {
    tensors: Vec<Option<Tensor>>,
    /// Those that are in panels instead.
    panels: Vec<Option<Panels>>,
}

impl Weights {
    /// Loads what a program with these ops needs.
    ///
    /// # Errors
    /// When the weights can't be read.
    pub fn load(program: &Program, ops: &[ParsedOp], precision: Precision) -> Result<Self> {
        let uses = program.use_counts();
        let mut products = vec![0; uses.len()];
        count_products(ops, &mut |id| products[id.index()] += 1);
        let mut maps: HashMap<Arc<Path>, Mmap> = HashMap::new();
        let mut weights = Self {
            tensors: vec![None; uses.len()],
            panels: vec![None; uses.len()],
        };
        for (id, value) in program.values() {
            let index = id.index();
            let tensor = match &value.origin {
                _ if uses[index] == 0 => continue,
                Origin::Constant(tensor) => tensor.clone(),
                Origin::Parameter(range) => load(value, range, &mut maps)?,
                Origin::Input | Origin::Result => continue,
            };
            let tensor = tensor.cast(precision.keeping(value.dtype));
            // What anything else reads is needed in rows.
            let is_in_panels = products[index] == uses[index];
            weights.panels[index] = is_in_panels.then(|| Panels::new(&tensor)).flatten();
            weights.tensors[index] = weights.panels[index].is_none().then_some(tensor);
        }
        Ok(weights)
    }

    /// The weights for a run. If somebody sees the operands of ops, all of them are tensors, and none is in panels.
    pub fn tensors_and_panels(&self, are_seen: bool) -> (Vec<Option<Tensor>>, &[Option<Panels>]) {
        let mut tensors = self.tensors.clone();
        if !are_seen {
            return (tensors, &self.panels);
        }
        for (tensor, panels) in tensors.iter_mut().zip(&self.panels) {
            if let Some(panels) = panels {
                *tensor = Some(panels.matrix());
            }
        }
        (tensors, &[])
    }
}

/// Calls `count` with the right matrix of each op that has one, those of blocks included.
fn count_products(ops: &[ParsedOp], count: &mut dyn FnMut(ValueId)) {
    for op in ops {
        let matrix = op.operator().and_then(|operator| operator.right_matrix());
        matrix.into_iter().for_each(&mut *count);
        for block in &op.blocks {
            count_products(block, count);
        }
    }
}

/// Copies a weight out of its file, which is mapped once for all weights.
fn load(value: &Value, range: &ByteRange, maps: &mut HashMap<Arc<Path>, Mmap>) -> Result<Tensor> {
    let fail = |e| Error::io(&range.path, "map the weights", e);
    if !maps.contains_key(&range.path) {
        let file = File::open(&range.path).map_err(fail)?;
        // SAFETY: the map is read only. If another process changes the file meanwhile, the weights
        // are wrong, as they would be with any other way of reading; if it truncates the file, the
        // process gets SIGBUS, which no way of mapping avoids.
        let map = unsafe { Mmap::map(&file) }.map_err(fail)?;
        maps.insert(range.path.clone(), map);
    }
    let end = range.offset.saturating_add(range.len);
    let bytes = usize::try_from(range.offset)
        .ok()
        .zip(usize::try_from(end).ok())
        .and_then(|(start, end)| maps.get(&range.path)?.get(start..end))
        .ok_or_else(|| Error::malformed("the weights have become shorter").in_file(&range.path))?;
    let shape: Vec<usize> = value
        .shape
        .iter()
        .filter_map(|dim| usize::try_from(dim.known()?).ok())
        .collect();
    Tensor::from_le_bytes(value.dtype, &shape, bytes)
}
