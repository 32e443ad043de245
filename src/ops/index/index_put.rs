//! Slices written to where indices say: `index_put`, as `x[i, j] = value` does, and `index_add`.
//!
//! Paddle: `phi/kernels/{index_put,index_add}_kernel.h`. ONNX: ScatterND, or Where for a mask and a single
//! value, for `index_put`; ScatterElements for `index_add`.

use ndarray::Array1;

use super::gather::indexes_along;
use super::nonzero::positions;
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::index::Combine;
use crate::kernels::{index, map};
use crate::operator::{
    Accuracy, Arg, Binding, Form, Function, NUMBERS, OpDef, OpReader, Operator, Parsed, Values,
};
use crate::ops::shared::broadcast_tensors::{BroadcastTensors, broadcast};
use crate::ops::shared::values::indices;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, DType, Dim, Element, Tensor, normalize_axis, with_array};

const ADD: (&str, NodeAttr) = ("reduction", NodeAttr::String("add"));

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "index_put",
        &[Arg::Tensor("x"), Arg::List("indices"), Arg::Tensor("value")],
        &[Form::legacy(
            &["index_put"],
            &[
                Binding::Slot("x"),
                Binding::List("indices"),
                Binding::Slot("value"),
            ],
            &["out"],
        )],
        IndexPut::parse,
    )
    .with_opset(9)
    .part_by_part(&["x", "value"])
    .with_limits(&["a mask among several indices"])
    .with_accuracy(Accuracy::Rounded),
    OpDef::new(
        "index_add",
        &[
            Arg::Tensor("x"),
            Arg::Tensor("index"),
            Arg::Tensor("add_value"),
        ],
        &[Form::legacy(
            &["index_add"],
            &[
                Binding::Slot("X"),
                Binding::Slot("Index"),
                Binding::Slot("AddValue"),
            ],
            &["Out"],
        )],
        IndexAdd::parse,
    )
    .part_by_part(&["x", "add_value"])
    .with_dtypes(NUMBERS)
    .with_opset(16)
    .with_accuracy(Accuracy::Rounded),
];

/// `x` with `value` written to `x[indices[0], indices[1], …]`, or added there with `accumulate`. The indices
/// are broadcast to one shape, and `value` to that of the slices. A mask stands for the positions where
/// it is true, and must be the only index.
struct IndexPut {
    x: ValueId,
    indices: Vec<ValueId>,
    value: ValueId,
    accumulate: bool,
}

impl IndexPut {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            indices: op.list("indices")?,
            value: op.operand("value")?,
            accumulate: op.attr_or("accumulate", false)?,
        }))
    }

    /// The mask, if the only index is one.
    fn mask(&self, facts: &Facts<'_>) -> Result<Option<ValueId>> {
        let is_mask = |id: &ValueId| facts.dtype(*id) == DType::Bool;
        match self.indices.as_slice() {
            [mask] if is_mask(mask) => Ok(Some(*mask)),
            several if several.iter().any(is_mask) => {
                Err(Error::unsupported("a mask among several indices"))
            }
            _ => Ok(None),
        }
    }

    /// How many axes of `x`, from the first on, are indexed.
    fn depth(&self, facts: &Facts<'_>) -> Result<usize> {
        let mask = self.mask(facts)?;
        let depth = mask.map_or(self.indices.len(), |mask| facts.rank(mask));
        if depth == 0 || depth > facts.rank(self.x) {
            return Err(Error::malformed(format!(
                "{depth} indices into {} axes",
                facts.rank(self.x)
            )));
        }
        Ok(depth)
    }

    /// Emits the indices as ScatterND takes them: vectors along the last axis.
    fn lower_index(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        if let Some(mask) = self.mask(g)? {
            let mask = g.value(mask)?;
            let positions = g.node("NonZero", &[mask], []);
            return Ok(g.transpose(positions, &[1, 0]));
        }
        let indices = BroadcastTensors {
            input: self.indices.clone(),
        };
        let rank = indices.shape(g)?.len() as i64;
        let mut columns = indices.lower(g)?;
        for (column, id) in columns.iter_mut().zip(&self.indices) {
            let index = g.cast(*column, g.dtype(*id), DType::I64);
            *column = g.unsqueeze(index, &[rank]);
        }
        Ok(g.concat(&columns, rank))
    }
}

impl Function for IndexPut {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let (x, value) = (facts.dtype(self.x), facts.dtype(self.value));
        if x != value {
            return Err(Error::unsupported(format!("{value} written to {x}")));
        }
        self.depth(facts)?;
        if self.mask(facts)?.is_none() {
            let input = self.indices.clone();
            BroadcastTensors { input }.shape(facts)?;
        }
        Ok(Fact::new(x, facts.shape(self.x).to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (x, value) = (g.value(self.x)?, g.value(self.value)?);
        let (depth, rank) = (self.depth(g)? as i64, g.rank(self.x) as i64);
        let is_single = g.shape(self.value).iter().all(|dim| *dim == Dim::Known(1));
        let dtype = g.dtype(self.x);
        // ONNX Runtime has no kernel of Where for the narrow types.
        let has_kernel = !matches!(dtype, DType::Bool | DType::I8 | DType::I16);
        if let Some(mask) = self.mask(g)?
            && is_single
            && !self.accumulate
            && has_kernel
        {
            let mask = g.value(mask)?;
            let trailing: Vec<i64> = (depth..rank).collect();
            let mask = g.unsqueeze(mask, &trailing);
            let axes: Vec<i64> = (0..g.rank(self.value) as i64).collect();
            let value = g.squeeze(value, &axes);
            return Ok(g.node("Where", &[mask, value, x], []));
        }
        let index = self.lower_index(g)?;
        let places = g.shape_slice(index, 0, -1);
        let slice = g.shape_slice(x, depth, rank);
        let shape = g.concat(&[places, slice], 0);
        let value = g.node("Expand", &[value, shape], []);
        let add = self.accumulate.then_some(ADD);
        Ok(g.node("ScatterND", &[x, index, value], add))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let mut columns = Vec::new();
        for id in &self.indices {
            match values.get(*id)? {
                Tensor::Bool(mask) => {
                    let positions = positions(mask).into_iter();
                    columns.extend(positions.map(|column| Array1::from(column).into_dyn().into()));
                }
                _ => columns.push(indices(values, *id)?),
            }
        }
        let mut shape = Vec::new();
        for column in &columns {
            shape = map::broadcast_shape(&shape, column.shape())?;
        }
        let mut vectors = Vec::new();
        let columns = columns
            .iter()
            .map(|column| column.broadcast(shape.as_slice()));
        let columns: Option<Vec<_>> = columns.collect();
        let columns = columns.ok_or_else(|| Error::internal("broadcasting failed"))?;
        let columns: Vec<Vec<i64>> = columns
            .iter()
            .map(|c| c.iter().copied().collect())
            .collect();
        for place in 0..columns.first().map_or(0, Vec::len) {
            vectors.extend(columns.iter().map(|column| column[place]));
        }
        let depth = columns.len();
        let x = values.get(self.x)?;
        let slice = x.shape().get(depth..);
        let slice = slice.ok_or_else(|| Error::malformed("more indices than axes"))?;
        let value = broadcast(values.get(self.value)?, &[shape.as_slice(), slice].concat())?;
        shape.push(depth);
        let index = Tensor::from_elements(&shape, vectors)?;
        let Tensor::I64(index) = index else {
            return Err(Error::internal("indices of another type"));
        };
        let combine = if self.accumulate {
            Combine::Add
        } else {
            Combine::Assign
        };
        with_array!(x, x => put(x, &index, &value, combine))
    }

    fn indexes(&self, facts: &Facts<'_>) -> Vec<(ValueId, Dim)> {
        let is_index = |(id, _): &(&ValueId, &Dim)| facts.dtype(**id) != DType::Bool;
        let pairs = self.indices.iter().zip(facts.shape(self.x));
        pairs
            .filter(is_index)
            .map(|(id, extent)| (*id, extent.clone()))
            .collect()
    }
}

fn put<T: Element>(
    x: &Array<T>,
    index: &Array<i64>,
    value: &Tensor,
    combine: Combine,
) -> Result<Tensor> {
    let value = T::array(value).ok_or_else(|| Error::unsupported("operands of two types"))?;
    Ok(T::tensor(
        index::put_slices(x, index, value, combine)?.into(),
    ))
}

/// `x` with each slice `i` of `add_value` along `axis` added to the slice of `x` at `index[i]`.
struct IndexAdd {
    x: ValueId,
    index: ValueId,
    add_value: ValueId,
    axis: i64,
}

impl IndexAdd {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            index: op.operand("index")?,
            add_value: op.operand("add_value")?,
            axis: op.attr_or("axis", 0)?,
        }))
    }
}

impl Function for IndexAdd {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let rank = facts.rank(self.x);
        normalize_axis(self.axis, rank)?;
        if facts.rank(self.index) != 1 || facts.rank(self.add_value) != rank {
            return Err(Error::malformed("an index or values of another rank"));
        }
        Ok(Fact::new(facts.dtype(self.x), facts.shape(self.x).to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (x, index, values) = (
            g.value(self.x)?,
            g.value(self.index)?,
            g.value(self.add_value)?,
        );
        let rank = g.rank(self.x);
        let axis = normalize_axis(self.axis, rank)?;
        let others: Vec<i64> = (0..rank)
            .filter(|other| *other != axis)
            .map(|a| a as i64)
            .collect();
        let index = g.unsqueeze(index, &others);
        let shape = g.node("Shape", &[values], []);
        let index = g.node("Expand", &[index, shape], []);
        let axis = ("axis", NodeAttr::Int(axis as i64));
        Ok(g.node("ScatterElements", &[x, index, values], [axis, ADD]))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let axis = normalize_axis(self.axis, x.shape().len())?;
        let index = indices(values, self.index)?;
        let mut shape = vec![1; x.shape().len()];
        shape[axis] = index.len();
        let added = values.get(self.add_value)?;
        let index = map::reshape(&index, &shape)?;
        let index = broadcast(&Tensor::I64(index), added.shape())?;
        let Tensor::I64(index) = index else {
            return Err(Error::internal("indices of another type"));
        };
        with_array!(x, x => add_along(x, &index, added, axis))
    }

    fn indexes(&self, facts: &Facts<'_>) -> Vec<(ValueId, Dim)> {
        indexes_along(facts, self.x, self.index, self.axis)
    }
}

fn add_along<T: Element>(
    x: &Array<T>,
    index: &Array<i64>,
    added: &Tensor,
    axis: usize,
) -> Result<Tensor> {
    let added = T::array(added).ok_or_else(|| Error::unsupported("operands of two types"))?;
    let sum = index::put_along(x, index, added, (axis, Combine::Add, true))?;
    Ok(T::tensor(sum.into()))
}
