//! Elements written to where an index says: `scatter`, `scatter_nd_add` and `put_along_axis`.
//!
//! Paddle: `phi/kernels/{scatter,scatter_nd_add,put_along_axis}_kernel.h`.
//! ONNX: ScatterND for `scatter` and `scatter_nd_add`, ScatterElements for `put_along_axis`.

use super::gather::{depth, indexes_along, narrowest};
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::index::Combine;
use crate::kernels::{index, map};
use crate::operator::{
    Accuracy, Arg, Binding, Form, Function, NUMBERS, OpDef, OpReader, Parsed, Values,
};
use crate::ops::shared::values::{indices, same_type};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{DType, Dim, Element, Tensor, normalize_axis, with_array};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "scatter",
        &[
            Arg::Tensor("x"),
            Arg::Tensor("index"),
            Arg::Tensor("updates"),
        ],
        &[Form::legacy(
            &["scatter"],
            &[
                Binding::Slot("X"),
                Binding::Slot("Ids"),
                Binding::Slot("Updates"),
            ],
            &["Out"],
        )],
        Scatter::parse,
    )
    .with_opset(11)
    .part_by_part(&["x", "updates"]),
    OpDef::new(
        "scatter_nd_add",
        &[
            Arg::Tensor("x"),
            Arg::Tensor("index"),
            Arg::Tensor("updates"),
        ],
        &[Form::legacy(
            &["scatter_nd_add"],
            &[
                Binding::Slot("X"),
                Binding::Slot("Index"),
                Binding::Slot("Updates"),
            ],
            &["Out"],
        )],
        ScatterNdAdd::parse,
    )
    .part_by_part(&["x", "updates"])
    .with_dtypes(NUMBERS)
    .with_opset(16)
    .with_accuracy(Accuracy::Rounded),
    OpDef::new(
        "put_along_axis",
        &[
            Arg::Tensor("arr"),
            Arg::Tensor("indices"),
            Arg::Tensor("values"),
        ],
        &[Form::legacy(
            &["put_along_axis"],
            &[
                Binding::Slot("Input"),
                Binding::Slot("Index"),
                Binding::Slot("Value"),
            ],
            &["Result"],
        )
        .renaming(&[
            ("Axis", "axis"),
            ("Reduce", "reduce"),
            ("Include_self", "include_self"),
        ])],
        PutAlong::parse,
    )
    .with_opset(11)
    .part_by_part(&["arr", "values"])
    .with_limits(&["`include_self`=False"])
    .with_dtypes(NUMBERS)
    .with_accuracy(Accuracy::Rounded),
];

/// A result of the type and shape of `x`.
fn like(facts: &Facts<'_>, x: ValueId) -> Fact {
    Fact::new(facts.dtype(x), facts.shape(x).to_vec())
}

/// `x` with each row `index[i]` replaced by row `i` of `updates`, where rows are slices along the first axis.
/// Of several updates of one row, the last stays; without `overwrite`, it is their sum, to which the row of
/// `x` adds nothing.
struct Scatter {
    x: ValueId,
    index: ValueId,
    updates: ValueId,
    overwrite: bool,
}

impl Scatter {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            index: op.operand("index")?,
            updates: op.operand("updates")?,
            overwrite: op.attr_or("overwrite", true)?,
        }))
    }
}

impl Function for Scatter {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let rank = facts.rank(self.index);
        if rank > 2 || facts.rank(self.x) == 0 {
            return Err(Error::malformed(format!("an index of rank {rank}")));
        }
        if rank == 0 {
            return Err(Error::unsupported("a scatter to a single row of rank 0"));
        }
        Ok(like(facts, self.x))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (x, index, updates) = (
            g.value(self.x)?,
            g.value(self.index)?,
            g.value(self.updates)?,
        );
        let mut index = g.cast(index, g.dtype(self.index), DType::I64);
        if g.rank(self.index) == 1 {
            index = g.unsqueeze(index, &[1]);
        }
        if self.overwrite {
            return Ok(g.node("ScatterND", &[x, index, updates], []));
        }
        // The sum has no part of `x`, so the rows that are written to are cleared first.
        let shape = g.node("Shape", &[updates], []);
        let zero = g.scalar(g.dtype(self.x), 0.0);
        let zeros = g.node("Expand", &[zero, shape], []);
        let cleared = g.node("ScatterND", &[x, index, zeros], []);
        let add = ("reduction", NodeAttr::String("add"));
        Ok(g.node("ScatterND", &[cleared, index, updates], [add]))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let index = indices(values, self.index)?;
        let index = map::reshape(&index, &[index.len(), 1])?;
        let updates = values.get(self.updates)?;
        with_array!(values.get(self.x)?, x => {
            let updates = same_type(updates, x)?;
            if self.overwrite {
                let put = index::put_slices(x, &index, updates, Combine::Assign)?;
                return Ok(Element::tensor(put.into()));
            }
            let zeros = updates.mapv(|_| Default::default()).into();
            let cleared = index::put_slices(x, &index, &zeros, Combine::Assign)?;
            let sum = index::put_slices(&cleared.into(), &index, updates, Combine::Add)?;
            Ok(Element::tensor(sum.into()))
        })
    }

    fn indexes(&self, facts: &Facts<'_>) -> Vec<(ValueId, Dim)> {
        indexes_along(facts, self.x, self.index, 0)
    }
}

/// `x` with slices of `updates` added to `x[i, j, …]`, for the vectors `(i, j, …)` along the last axis of
/// `index`.
struct ScatterNdAdd {
    x: ValueId,
    index: ValueId,
    updates: ValueId,
}

impl ScatterNdAdd {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            index: op.operand("index")?,
            updates: op.operand("updates")?,
        }))
    }
}

impl Function for ScatterNdAdd {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        depth(facts.shape(self.index), facts.rank(self.x))?;
        Ok(like(facts, self.x))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (x, index, updates) = (
            g.value(self.x)?,
            g.value(self.index)?,
            g.value(self.updates)?,
        );
        let index = g.cast(index, g.dtype(self.index), DType::I64);
        let add = ("reduction", NodeAttr::String("add"));
        Ok(g.node("ScatterND", &[x, index, updates], [add]))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let index = indices(values, self.index)?;
        let updates = values.get(self.updates)?;
        with_array!(values.get(self.x)?, x => {
            let updates = same_type(updates, x)?;
            let sum = index::put_slices(x, &index, updates, Combine::Add)?;
            Ok(Element::tensor(sum.into()))
        })
    }

    fn indexes(&self, facts: &Facts<'_>) -> Vec<(ValueId, Dim)> {
        narrowest(facts, self.x, self.index)
    }
}

/// `x` with elements of `values` written to positions along `axis` that `index` gives for each, as in NumPy's
/// `put_along_axis`: along axis 1 of three, `values[i, j, k]` goes to `x[i, index[i, j, k], k]`. It
/// replaces the element there, or is combined with it.
struct PutAlong {
    x: ValueId,
    index: ValueId,
    values: ValueId,
    axis: i64,
    combine: Combine,
    /// Whether a reduction takes in the elements of `x`.
    includes_self: bool,
}

impl PutAlong {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let reduce: String = op.attr_or("reduce", "assign".to_owned())?;
        let combine = match reduce.as_str() {
            "assign" => Combine::Assign,
            "add" => Combine::Add,
            "mul" | "multiply" => Combine::Multiply,
            "amin" => Combine::Min,
            "amax" => Combine::Max,
            other => return Err(Error::unsupported(format!("the reduction {other:?}"))),
        };
        Ok(Box::new(Self {
            x: op.operand("arr")?,
            index: op.operand("indices")?,
            values: op.operand("values")?,
            axis: op.attr("axis")?,
            combine,
            includes_self: op.attr_or("include_self", true)?,
        }))
    }
}

impl Function for PutAlong {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let (x, index) = (facts.rank(self.x), facts.rank(self.index));
        normalize_axis(self.axis, x)?;
        if x != index {
            return Err(Error::malformed(format!(
                "indices of rank {index} into a tensor of rank {x}"
            )));
        }
        if !self.includes_self && self.combine != Combine::Assign {
            return Err(Error::unsupported(
                "`include_self`=False: a reduction that leaves out the values that are there, which ONNX can't express",
            ));
        }
        Ok(like(facts, self.x))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (x, index, values) = (
            g.value(self.x)?,
            g.value(self.index)?,
            g.value(self.values)?,
        );
        let axis = normalize_axis(self.axis, g.rank(self.x))? as i64;
        let mut attrs = vec![("axis", NodeAttr::Int(axis))];
        let reduction = match self.combine {
            Combine::Assign => None,
            Combine::Add => Some("add"),
            Combine::Multiply => Some("mul"),
            Combine::Min => Some("min"),
            Combine::Max => Some("max"),
        };
        if matches!(self.combine, Combine::Min | Combine::Max) {
            g.require_opset(18, "the reductions min and max of ONNX's ScatterElements")?;
        }
        attrs.extend(reduction.map(|name| ("reduction", NodeAttr::String(name))));
        Ok(g.node("ScatterElements", &[x, index, values], attrs))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let axis = normalize_axis(self.axis, x.shape().len())?;
        let index = indices(values, self.index)?;
        let written = values.get(self.values)?;
        let how = (axis, self.combine, self.includes_self);
        with_array!(x, x => {
            let put = index::put_along(x, &index, same_type(written, x)?, how)?;
            Ok(Element::tensor(put.into()))
        })
    }
    fn indexes(&self, facts: &Facts<'_>) -> Vec<(ValueId, Dim)> {
        indexes_along(facts, self.x, self.index, self.axis)
    }
}
