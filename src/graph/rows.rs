//! Tensors that are made of rows of others, as where ONNX has the gates of an LSTM in another order than Paddle.

use super::context::Lowering;
use super::nodes::{Kind, TensorId};
use crate::error::{Error, Result};
use crate::program::{Origin, ValueId};
use crate::read::ByteRange;
use crate::tensor::Dim;

/// Consecutive parts of a value along its first axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rows {
    /// The value.
    pub value: ValueId,
    /// The position of the first row.
    pub start: i64,
    /// The number of rows.
    pub count: i64,
}

impl Lowering<'_> {
    /// The rows of values of one element type, one behind the other, as a tensor of the shape `dims`. If all values are
    /// weights, this is an initializer, whose bytes are copied from their places when the model is written. Otherwise
    /// emits Slice, Concat and Reshape.
    ///
    /// # Errors
    /// Those of [`Lowering::value`], and when a value is known not to have these rows.
    pub fn rows(&mut self, rows: &[Rows], dims: &[i64]) -> Result<TensorId> {
        let key = (rows.to_vec(), dims.to_vec());
        if let Some(known) = self.graph.rows.get(&key) {
            return Ok(*known);
        }
        let dtype = rows.first().map(|rows| self.dtype(rows.value));
        let dtype = dtype.ok_or_else(|| Error::internal("a tensor of no rows"))?;
        if rows.iter().any(|rows| self.dtype(rows.value) != dtype) {
            return Err(Error::malformed("the weights have several element types"));
        }
        let mut ranges: Vec<ByteRange> = Vec::new();
        for rows in rows {
            let Some(range) = self.stored(*rows)? else {
                return self.computed_rows(&key.0, dims);
            };
            match ranges.last_mut() {
                Some(last) if last.path == range.path && last.offset + last.len == range.offset => {
                    last.len += range.len;
                }
                _ => ranges.push(range),
            }
        }
        let tensor = self.graph.tensor(Kind::Rows {
            dtype,
            dims: dims.to_vec(),
            ranges,
        });
        self.graph.rows.insert(key, tensor);
        Ok(tensor)
    }

    /// Where rows are stored, if they are rows of a weight.
    ///
    /// # Errors
    /// When the value is known not to have them.
    fn stored(&self, rows: Rows) -> Result<Option<ByteRange>> {
        let extent = self.shape(rows.value).first().and_then(Dim::known);
        let end = rows.start.saturating_add(rows.count);
        if rows.start < 0 || rows.count < 0 || extent.is_some_and(|extent| end > extent) {
            return Err(Error::malformed(format!(
                "rows {} to {end} of `{}`, which has fewer",
                rows.start,
                self.program()[rows.value].name
            )));
        }
        let (Origin::Parameter(whole), Some(extent)) = (&self.program()[rows.value].origin, extent)
        else {
            return Ok(None);
        };
        let row = whole.len / extent.max(1).unsigned_abs();
        Ok(Some(ByteRange {
            path: whole.path.clone(),
            offset: whole.offset + rows.start.unsigned_abs() * row,
            len: rows.count.unsigned_abs() * row,
        }))
    }

    /// Emits Slice, Concat and Reshape.
    fn computed_rows(&mut self, rows: &[Rows], dims: &[i64]) -> Result<TensorId> {
        let mut parts = Vec::with_capacity(rows.len());
        for rows in rows {
            let value = self.value(rows.value)?;
            let is_whole = self.shape(rows.value).first() == Some(&Dim::Known(rows.count));
            parts.push(if is_whole {
                value
            } else {
                self.slice(value, rows.start, rows.start + rows.count, 0)
            });
        }
        let joined = self.concat(&parts, 0);
        let target = self.vector(dims);
        Ok(self.node("Reshape", &[joined, target], []))
    }
}
