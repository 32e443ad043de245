//! Shapes as tensors: constants where they are known, else taken from the inputs.

use super::context::Lowering;
use super::nodes::{NodeAttr, TensorId};
use crate::error::Result;
use crate::program::ValueId;
use crate::tensor::{DType, Dim, Tensor};

impl Lowering<'_> {
    /// The extents `start..end` of a tensor, as an int64 vector.
    pub fn shape_slice(&mut self, x: TensorId, start: i64, end: i64) -> TensorId {
        if self.opset() < 15 {
            let shape = self.node("Shape", &[x], []);
            return self.slice(shape, start, end, 0);
        }
        let attrs = [("start", NodeAttr::Int(start)), ("end", NodeAttr::Int(end))];
        self.node("Shape", &[x], attrs)
    }

    /// A list of integers as an int64 vector. Where its elements are known or extents of tensors,
    /// it is built from those, whatever way the program takes.
    pub fn int_array(&mut self, id: ValueId) -> Result<TensorId> {
        let content = self.content(id).map(<[Dim]>::to_vec);
        if let Some(tensor) = content.and_then(|dims| self.dims(&dims)) {
            return Ok(tensor);
        }
        let x = self.value(id)?;
        let x = self.cast(x, self.dtype(id), DType::I64);
        Ok(if self.rank(id) == 0 {
            self.unsqueeze(x, &[0])
        } else {
            x
        })
    }

    /// Extents as an int64 vector, if each is known or an extent of a tensor.
    pub fn dims(&mut self, dims: &[Dim]) -> Option<TensorId> {
        if let Some(tensor) = self.known_extents(dims) {
            return Some(tensor);
        }
        let mut parts = Vec::new();
        let mut known = Vec::new();
        for dim in dims {
            match dim {
                Dim::Known(extent) => known.push(*extent),
                open => {
                    if !known.is_empty() {
                        parts.push(self.vector(&std::mem::take(&mut known)));
                    }
                    parts.push(self.open_extent(open)?);
                }
            }
        }
        if !known.is_empty() || parts.is_empty() {
            parts.push(self.vector(&known));
        }
        let tensor = self.concat(&parts, 0);
        self.scope().extents.insert(dims.to_vec(), tensor);
        Some(tensor)
    }

    /// The vector that holds these extents, if one was built.
    fn known_extents(&self, dims: &[Dim]) -> Option<TensorId> {
        let mut scopes = self.scopes.iter().rev();
        scopes.find_map(|scope| scope.extents.get(dims).copied())
    }

    /// An extent of an input, or of a result that is there by now, as a vector of one element.
    fn open_extent(&mut self, dim: &Dim) -> Option<TensorId> {
        if let Some(extent) = self.known_extents(std::slice::from_ref(dim)) {
            return Some(extent);
        }
        let program = self.program();
        let (value, axis) = match ValueId::of_extent(dim) {
            Some((value, axis)) => (value, i64::from(axis)),
            None => program.inputs().iter().find_map(|id| {
                let axis = program[*id].shape.iter().position(|other| other == dim)?;
                Some((*id, axis as i64))
            })?,
        };
        let tensor = self.bound(value)?;
        let extent = self.shape_slice(tensor, axis, axis + 1);
        self.scope().extents.insert(vec![dim.clone()], extent);
        Some(extent)
    }

    /// The tensor with another shape, if at most one extent has to be left to the run or all are
    /// known or extents of tensors.
    pub fn reshape(&mut self, x: TensorId, shape: &[Dim]) -> Option<TensorId> {
        self.reshape_from(x, &[], shape)
    }

    /// As [`Lowering::reshape`], of a tensor whose shape was `old`. Extents that stay where they
    /// are need not be known.
    pub fn reshape_from(&mut self, x: TensorId, old: &[Dim], shape: &[Dim]) -> Option<TensorId> {
        let is_empty = shape.contains(&Dim::Known(0));
        let target = match constant_target(old, shape) {
            Some(target) => self.vector(&target),
            None => self.dims(shape)?,
        };
        // Without it, an extent of 0 would mean the one of `x`.
        Some(if is_empty {
            self.node("Reshape", &[x, target], [("allowzero", NodeAttr::Int(1))])
        } else {
            self.node("Reshape", &[x, target], [])
        })
    }

    /// The numbers 0, 1, … below a count, which is an int64 vector of one element.
    pub fn count_up(&mut self, count: TensorId) -> TensorId {
        let count = self.squeeze(count, &[0]);
        let (zero, one) = (
            self.constant(Tensor::scalar(0_i64)),
            self.constant(Tensor::scalar(1_i64)),
        );
        self.node("Range", &[zero, count, one], [])
    }
}

/// What ONNX's Reshape takes for the shape, if at most one extent is left to the run. It reads 0
/// as the extent of `old` at this place, and -1 as what is left over.
fn constant_target(old: &[Dim], shape: &[Dim]) -> Option<Vec<i64>> {
    let is_open = |dim: &&Dim| dim.known().is_none();
    let open = shape.iter().filter(is_open).count();
    let is_empty = shape.contains(&Dim::Known(0));
    if open > 0 && is_empty {
        return None;
    }
    let target = shape.iter().enumerate().map(|(axis, dim)| {
        let stays = open > 1 && old.get(axis).is_some_and(|old| old.same(dim));
        dim.known().unwrap_or(if stays { 0 } else { -1 })
    });
    let target: Vec<i64> = target.collect();
    let left_over = target.iter().filter(|extent| **extent < 0).count();
    (left_over <= 1).then_some(target)
}
