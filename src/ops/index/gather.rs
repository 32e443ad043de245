//! Elements picked by their positions: `gather`, `index_select`, `gather_nd`, `index_sample` and
//! `take_along_axis`.
//!
//! Paddle: `phi/kernels/{gather,gather_nd,index_select,index_sample,take_along_axis}_kernel.h`.
//! ONNX: Gather for `gather` and `index_select`, GatherND for `gather_nd`, GatherElements for the others.

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::{index, map};
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::values::indices;
use crate::program::{Fact, Facts, ValueId, single};
use crate::tensor::{DType, Dim, Element, Tensor, normalize_axis, with_array};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "gather",
        &[Arg::Tensor("x"), Arg::Tensor("index"), Arg::Scalar("axis")],
        &[Form::legacy(
            &["gather"],
            &[
                Binding::Slot("X"),
                Binding::Slot("Index"),
                Binding::Scalar {
                    attr: "axis",
                    slots: &["Axis"],
                },
            ],
            &["Out"],
        )
        // Concerns the gradient alone.
        .ignoring(&["overwrite"])],
        Gather::parse,
    )
    .part_by_part(&["x"])
    .with_limits(&["a computed axis"]),
    OpDef::new(
        "index_select",
        &[Arg::Tensor("x"), Arg::Tensor("index"), Arg::Scalar("axis")],
        &[Form::legacy(
            &["index_select"],
            &[
                Binding::Slot("X"),
                Binding::Slot("Index"),
                Binding::Scalar {
                    attr: "dim",
                    slots: &[],
                },
            ],
            &["Out"],
        )],
        Gather::parse,
    )
    .part_by_part(&["x"]),
    OpDef::new(
        "gather_nd",
        &[Arg::Tensor("x"), Arg::Tensor("index")],
        &[Form::legacy(
            &["gather_nd"],
            &[Binding::Slot("X"), Binding::Slot("Index")],
            &["Out"],
        )],
        GatherNd::parse,
    )
    .with_opset(11)
    .part_by_part(&["x"]),
    OpDef::new(
        "index_sample",
        &[Arg::Tensor("x"), Arg::Tensor("index")],
        &[Form::legacy(
            &["index_sample"],
            &[Binding::Slot("X"), Binding::Slot("Index")],
            &["Out"],
        )],
        |op| TakeAlong::parse(op, "x", "index", 1),
    )
    .with_opset(11)
    .part_by_part(&["x"]),
    OpDef::new(
        "take_along_axis",
        &[Arg::Tensor("arr"), Arg::Tensor("indices")],
        &[Form::legacy(
            &["take_along_axis"],
            &[Binding::Slot("Input"), Binding::Slot("Index")],
            &["Result"],
        )
        .renaming(&[("Axis", "axis")])],
        |op| {
            let axis = op.attr("axis")?;
            TakeAlong::parse(op, "arr", "indices", axis)
        },
    )
    .with_opset(11)
    .part_by_part(&["arr"]),
];

/// The slices of `x` along `axis` at the positions that `index` lists. An index of rank 0 removes the axis.
struct Gather {
    x: ValueId,
    index: ValueId,
    axis: Option<ValueId>,
}

impl Gather {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            index: op.operand("index")?,
            axis: op.optional("axis")?,
        }))
    }

    fn axis(&self, facts: &Facts<'_>) -> Result<usize> {
        let axis = self
            .axis
            .map_or(Ok(0), |axis| facts.constant_integer(axis, "axis"))?;
        normalize_axis(axis, facts.rank(self.x))
    }

    /// The extents that take the place of the axis, from the shape of the index: one of shape `[n, 1]`
    /// counts as a vector.
    fn extents<T: Clone>(index: &[T]) -> Result<Vec<T>> {
        match index {
            [] => Ok(Vec::new()),
            [count] | [count, _] => Ok(vec![count.clone()]),
            _ => Err(Error::malformed(format!("indices of rank {}", index.len()))),
        }
    }
}

impl Function for Gather {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let axis = self.axis(facts)?;
        let index = facts.get(self.index);
        let mut shape = facts.shape(self.x).to_vec();
        shape.splice(axis..=axis, Self::extents(&index.shape)?);
        let picked = |content: &[Dim], index: &Dim| {
            let position = index::position(index.known()?, content.len()).ok()?;
            content.get(position).cloned()
        };
        let content = facts.content(self.x).filter(|_| facts.rank(self.x) == 1);
        let content = content
            .zip(index.content.as_deref())
            .and_then(|(content, index)| {
                index.iter().map(|index| picked(content, index)).collect()
            });
        Ok(Fact::new(facts.dtype(self.x), shape).with_content(content))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let axis = self.axis(g)? as i64;
        let (x, mut index) = (g.value(self.x)?, g.value(self.index)?);
        if g.rank(self.index) == 2 {
            index = g.squeeze(index, &[1]);
        }
        Ok(g.node("Gather", &[x, index], [("axis", NodeAttr::Int(axis))]))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let axis = match self.axis {
            Some(axis) => single(&values.integers(axis)?, "axis")?,
            None => 0,
        };
        let axis = normalize_axis(axis, x.shape().len())?;
        let index = indices(values, self.index)?;
        let flat: Vec<i64> = index.iter().copied().collect();
        let mut shape = x.shape().to_vec();
        shape.splice(axis..=axis, Self::extents(index.shape())?);
        with_array!(x, x => {
            let picked = index::select(x, axis, &flat)?;
            Ok(Element::tensor(map::reshape(&picked.into(), &shape)?))
        })
    }

    fn indexes(&self, facts: &Facts<'_>) -> Vec<(ValueId, Dim)> {
        let axis = self.axis(facts).ok();
        let extent = axis.and_then(|axis| facts.shape(self.x).get(axis));
        extent
            .map(|extent| (self.index, extent.clone()))
            .into_iter()
            .collect()
    }
}

/// The slices `x[i, j, …]` for the vectors `(i, j, …)` along the last axis of `index`.
struct GatherNd {
    x: ValueId,
    index: ValueId,
}

impl GatherNd {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            index: op.operand("index")?,
        }))
    }
}

/// What an op indexes that picks from one axis of `x`: its extent.
pub(super) fn indexes_along(
    facts: &Facts<'_>,
    x: ValueId,
    index: ValueId,
    axis: i64,
) -> Vec<(ValueId, Dim)> {
    let axis = normalize_axis(axis, facts.rank(x)).ok();
    let extent = axis.and_then(|axis| facts.shape(x).get(axis));
    extent
        .map(|extent| (index, extent.clone()))
        .into_iter()
        .collect()
}

/// What an op indexes whose `index` has vectors along the last axis. All components of a vector share one range: the
/// narrowest, which fits each axis.
pub(super) fn narrowest(facts: &Facts<'_>, x: ValueId, index: ValueId) -> Vec<(ValueId, Dim)> {
    let Ok((depth, _)) = depth(facts.shape(index), facts.rank(x)) else {
        return Vec::new();
    };
    let extents: Option<Vec<i64>> = facts.shape(x)[..depth].iter().map(Dim::known).collect();
    let narrowest = extents.and_then(|extents| extents.into_iter().min());
    narrowest
        .map(|extent| (index, Dim::Known(extent)))
        .into_iter()
        .collect()
}

/// The number of axes that the vectors along the last axis of an index address, of a tensor of `rank`, and
/// the other extents of the index.
pub(super) fn depth(index: &[Dim], rank: usize) -> Result<(usize, &[Dim])> {
    let Some((last, others)) = index.split_last() else {
        return Err(Error::malformed("an index of rank 0"));
    };
    let depth = last.extent().ok_or_else(|| {
        Error::unsupported("the rank of the result depends on the inputs, which ONNX can't express")
    })?;
    if depth == 0 {
        return Err(Error::unsupported("an index of no axes"));
    }
    if depth > rank {
        return Err(Error::malformed(format!(
            "indices of {depth} numbers into {rank} axes"
        )));
    }
    Ok((depth, others))
}

impl Function for GatherNd {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.get(self.x);
        let (depth, others) = depth(facts.shape(self.index), x.shape.len())?;
        Ok(Fact::new(x.dtype, [others, &x.shape[depth..]].concat()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (x, index) = (g.value(self.x)?, g.value(self.index)?);
        let index = g.cast(index, g.dtype(self.index), DType::I64);
        Ok(g.node("GatherND", &[x, index], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let index = indices(values, self.index)?;
        with_array!(values.get(self.x)?, x => {
            Ok(Element::tensor(index::take_slices(x, &index)?.into()))
        })
    }

    fn indexes(&self, facts: &Facts<'_>) -> Vec<(ValueId, Dim)> {
        narrowest(facts, self.x, self.index)
    }
}

/// The elements of `x` at positions along `axis` that are given for each element of the result, as in
/// NumPy's `take_along_axis`: along axis 1 of three, `result[i, j, k] = x[i, index[i, j, k], k]`.
/// `index_sample` is the same along axis 1.
struct TakeAlong {
    x: ValueId,
    index: ValueId,
    axis: i64,
}

impl TakeAlong {
    fn parse(op: &mut OpReader<'_>, x: &str, index: &str, axis: i64) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand(x)?,
            index: op.operand(index)?,
            axis,
        }))
    }
}

impl Function for TakeAlong {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let (x, index) = (facts.get(self.x), facts.shape(self.index));
        normalize_axis(self.axis, x.shape.len())?;
        if x.shape.len() != index.len() {
            return Err(Error::malformed(format!(
                "indices of rank {} into a tensor of rank {}",
                index.len(),
                x.shape.len()
            )));
        }
        Ok(Fact::new(x.dtype, index.to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (x, index) = (g.value(self.x)?, g.value(self.index)?);
        let axis = normalize_axis(self.axis, g.rank(self.x))? as i64;
        Ok(g.node(
            "GatherElements",
            &[x, index],
            [("axis", NodeAttr::Int(axis))],
        ))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let axis = normalize_axis(self.axis, x.shape().len())?;
        let index = indices(values, self.index)?;
        with_array!(x, x => Ok(Element::tensor(index::take_along(x, &index, axis)?.into())))
    }

    fn indexes(&self, facts: &Facts<'_>) -> Vec<(ValueId, Dim)> {
        indexes_along(facts, self.x, self.index, self.axis)
    }
}
