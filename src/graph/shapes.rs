//! Shapes as int64 vectors: constants where they are known, and otherwise taken from tensors by Shape.

use super::context::Lowering;
use super::nodes::{Kind, NodeAttr, TensorId};
use super::rows::Rows;
use crate::error::Result;
use crate::program::ValueId;
use crate::tensor::{DType, Dim, Tensor};

impl Lowering<'_> {
    /// Emits Shape: the extents `start..end` of `x`, as an int64 vector. The bounds are attributes from opset 15 on;
    /// before, Slice takes these extents from all.
    pub fn shape_slice(&mut self, x: TensorId, start: i64, end: i64) -> TensorId {
        if self.opset() < 15 {
            let shape = self.node("Shape", &[x], []);
            return self.slice(shape, start, end, 0);
        }
        let attrs = [("start", NodeAttr::Int(start)), ("end", NodeAttr::Int(end))];
        self.node("Shape", &[x], attrs)
    }

    /// Emits Where: `result`, or `otherwise`, of the same type, where `x`, of this shape, has no elements along `axes`
    /// (all, if none are listed). Returns `result` itself where it is known that there are some. ONNX leaves open what
    /// its reductions make of no elements; runtimes give 0 as their mean, for example.
    pub fn unless_empty(
        &mut self,
        result: TensorId,
        (x, shape): (TensorId, &[Dim]),
        axes: &[usize],
        otherwise: Tensor,
    ) -> TensorId {
        let is_concerned = |axis: usize| axes.is_empty() || axes.contains(&axis);
        let is_open = |axis: &usize| shape[*axis].known().is_none_or(|extent| extent == 0);
        let open: Vec<usize> = (0..shape.len())
            .filter(|axis| is_concerned(*axis) && is_open(axis))
            .collect();
        if open.is_empty() {
            return result;
        }
        let extents: Vec<TensorId> = (open.iter())
            .map(|axis| self.shape_slice(x, *axis as i64, *axis as i64 + 1))
            .collect();
        let extents = self.concat(&extents, 0);
        let least = self.reduce("ReduceMin", extents, &[], false);
        let has_elements = self.cast(least, DType::I64, DType::Bool);
        let otherwise = self.constant(otherwise);
        self.node("Where", &[has_elements, result, otherwise], [])
    }

    /// The list of integers that a value holds, as an int64 vector. Where each element is known or an extent of a
    /// tensor, [`Lowering::dims`] builds it, and the ops by which the program computes it are left unread. Otherwise
    /// emits Cast of the value, and Unsqueeze of rank 0.
    ///
    /// # Errors
    /// Those of [`Lowering::value`].
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

    /// Emits Concat of constants and of extents that Shape takes from tensors: these extents, as an int64 vector. It is
    /// a constant if all are known. None if an extent is unknown, or that of a value which no tensor holds yet.
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

    /// The vector that holds these extents, if one was built that can be read at this place.
    fn known_extents(&self, dims: &[Dim]) -> Option<TensorId> {
        let mut scopes = self.scopes.iter().rev();
        scopes.find_map(|scope| scope.extents.get(dims).copied())
    }

    /// An extent of an input, or of a result that a tensor holds by now, as a vector of one element.
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

    /// Emits Reshape of `x` to `shape`, or an initializer if `x` is a weight and all extents are known. One extent need not
    /// be known, since Reshape takes it from the number of elements, unless another is 0. None if more have to be known, and
    /// [`Lowering::dims`] can't build them. An extent of 0 needs the attribute `allowzero`, and with it opset 14.
    pub fn reshape(&mut self, x: TensorId, shape: &[Dim]) -> Option<TensorId> {
        self.reshape_from(x, &[], shape)
    }

    /// Emits Reshape as [`Lowering::reshape`] does, for a tensor `x` of the shape `old`. An extent that `x` has on the
    /// same axis need not be known either, since Reshape can copy it.
    pub fn reshape_from(&mut self, x: TensorId, old: &[Dim], shape: &[Dim]) -> Option<TensorId> {
        if let Some(stored) = self.reshaped_weight(x, shape) {
            return Some(stored);
        }
        let is_empty = shape.contains(&Dim::Known(0));
        let target = match constant_target(old, shape) {
            Some(target) => self.vector(&target),
            None => self.dims(shape)?,
        };
        // Without `allowzero`, 0 would stand for the extent of `x` on the same axis.
        Some(if is_empty {
            self.node("Reshape", &[x, target], [("allowzero", NodeAttr::Int(1))])
        } else {
            self.node("Reshape", &[x, target], [])
        })
    }

    /// The bytes of a weight as an initializer of another shape.
    fn reshaped_weight(&mut self, x: TensorId, shape: &[Dim]) -> Option<TensorId> {
        let Kind::Parameter(value) = self.graph.tensors[x.index()] else {
            return None;
        };
        let extents: Vec<i64> = shape.iter().map(Dim::known).collect::<Option<_>>()?;
        let count = self.shape(value).first()?.known()?;
        let whole = Rows {
            value,
            start: 0,
            count,
        };
        self.rows(&[whole], &extents).ok()
    }

    /// Emits Range: the int64 numbers 0, 1, … below `count`, which is an int64 vector of one element.
    pub fn count_up(&mut self, count: TensorId) -> TensorId {
        let count = self.squeeze(count, &[0]);
        let (zero, one) = (
            self.constant(Tensor::scalar(0_i64)),
            self.constant(Tensor::scalar(1_i64)),
        );
        self.node("Range", &[zero, count, one], [])
    }

    /// The int64 vector 0, 1, … below `count`, which is an int64 vector of one element: a constant if the number is
    /// known and small, else counted up in a run, as by [`Lowering::count_up`].
    pub fn positions(&mut self, count: TensorId, known: Option<i64>) -> TensorId {
        match known {
            Some(known @ 0..=1024) => self.vector(&(0..known).collect::<Vec<i64>>()),
            _ => self.count_up(count),
        }
    }
}

/// The constant shape with which ONNX's Reshape gives `shape`, if there is one. Reshape reads 0 as the extent of `old`
/// on the same axis, and -1, which it takes once, as the extent that the number of elements leaves.
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
