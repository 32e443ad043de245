//! Shapes as tensors: constants where they are known, else taken from the inputs.

use super::context::Lowering;
use super::graph::{NodeAttr, TensorId};
use crate::error::Result;
use crate::program::ValueId;
use crate::tensor::{DType, Dim, Symbol, Tensor};

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

    /// A list of integers as an int64 vector. Where its elements are known or extents of inputs,
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

    /// Extents as an int64 vector, if each is known or an extent of an input.
    pub fn dims(&mut self, dims: &[Dim]) -> Option<TensorId> {
        let mut parts = Vec::new();
        let mut known = Vec::new();
        for dim in dims {
            match dim {
                Dim::Known(extent) => known.push(*extent),
                Dim::Symbol(symbol) => {
                    if !known.is_empty() {
                        parts.push(self.vector(&std::mem::take(&mut known)));
                    }
                    parts.push(self.symbol(symbol)?);
                }
                Dim::Unknown => return None,
            }
        }
        if !known.is_empty() || parts.is_empty() {
            parts.push(self.vector(&known));
        }
        Some(self.concat(&parts, 0))
    }

    /// The extent that a symbol stands for, as a vector of one element.
    fn symbol(&mut self, symbol: &Symbol) -> Option<TensorId> {
        let program = self.program();
        let (input, axis) = program.inputs().iter().find_map(|id| {
            let shape = &program[*id].shape;
            let is_here = |dim: &Dim| matches!(dim, Dim::Symbol(other) if other == symbol);
            Some((*id, shape.iter().position(is_here)? as i64))
        })?;
        let input = self.value(input).ok()?;
        Some(self.shape_slice(input, axis, axis + 1))
    }

    /// The tensor with another shape, if at most one extent has to be left to the run or all are
    /// known or extents of inputs.
    pub fn reshape(&mut self, x: TensorId, shape: &[Dim]) -> Option<TensorId> {
        let free = shape.iter().filter(|dim| dim.known().is_none()).count();
        let is_empty = shape.contains(&Dim::Known(0));
        let target = if free == 0 || (free == 1 && !is_empty) {
            let extents = shape.iter().map(|dim| dim.known().unwrap_or(-1));
            let extents: Vec<i64> = extents.collect();
            self.vector(&extents)
        } else {
            self.dims(shape)?
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
