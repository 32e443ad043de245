//! Elements picked by their positions.
//!
//! Paddle: `phi/kernels/{embedding,gather,gather_nd,index_select,index_sample,take_along_axis}_kernel.h`.
//! ONNX: Gather, GatherND, GatherElements.

use std::collections::BTreeMap;

use super::def::{Arg, Form, From, OpDef};
use super::operator::{Fact, Facts, Function, Parsed, single};
use super::reader::OpReader;
use crate::error::{Error, Result};
use crate::lower::{Lowering, NodeAttr, TensorId};
use crate::normalise::{Builder, Draft};
use crate::program::{Operand, ValueId};
use crate::reference::{Values, index, map};
use crate::tensor::{Array, DType, Dim, Element, Tensor, normalize_axis, with_array};

/// What training and parameter servers want to know of a table.
const DISTRIBUTED: &[&str] = &[
    "is_test",
    "is_sparse",
    "is_distributed",
    "remote_prefetch",
    "entry_config",
    "entry",
    "table_class",
    "table_names",
    "trainer_id",
    "slot",
    "grad_inplace",
    "epmap",
    "height_sections",
];

const TABLE: &[From] = &[From::Slot("Ids"), From::Slot("W")];

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "embedding",
        &[Arg::Tensor("x"), Arg::Tensor("weight")],
        &[
            Form::legacy(&["lookup_table_v2"], TABLE, &["Out"]).ignoring(DISTRIBUTED),
            Form::legacy(&["lookup_table"], TABLE, &["Out"])
                .ignoring(DISTRIBUTED)
                .rewriting(without_last_axis),
        ],
        Embedding::parse,
    )
    .taking(&[DType::I32, DType::I64]),
    OpDef::new(
        "gather",
        &[Arg::Tensor("x"), Arg::Tensor("index"), Arg::Scalar("axis")],
        &[Form::legacy(
            &["gather"],
            &[
                From::Slot("X"),
                From::Slot("Index"),
                From::Scalar {
                    attr: "axis",
                    slots: &["Axis"],
                },
            ],
            &["Out"],
        )
        // Of its gradient.
        .ignoring(&["overwrite"])],
        Gather::parse,
    ),
    OpDef::new(
        "index_select",
        &[Arg::Tensor("x"), Arg::Tensor("index"), Arg::Scalar("axis")],
        &[Form::legacy(
            &["index_select"],
            &[
                From::Slot("X"),
                From::Slot("Index"),
                From::Scalar {
                    attr: "dim",
                    slots: &[],
                },
            ],
            &["Out"],
        )],
        Gather::parse,
    ),
    OpDef::new(
        "gather_nd",
        &[Arg::Tensor("x"), Arg::Tensor("index")],
        &[Form::legacy(
            &["gather_nd"],
            &[From::Slot("X"), From::Slot("Index")],
            &["Out"],
        )],
        GatherNd::parse,
    ),
    OpDef::new(
        "index_sample",
        &[Arg::Tensor("x"), Arg::Tensor("index")],
        &[Form::legacy(
            &["index_sample"],
            &[From::Slot("X"), From::Slot("Index")],
            &["Out"],
        )],
        |op| TakeAlong::parse(op, "x", "index", 1),
    ),
    OpDef::new(
        "take_along_axis",
        &[Arg::Tensor("arr"), Arg::Tensor("indices")],
        &[Form::legacy(
            &["take_along_axis"],
            &[From::Slot("Input"), From::Slot("Index")],
            &["Result"],
        )
        .renaming(&[("Axis", "axis")])],
        |op| {
            let axis = op.attr("axis")?;
            TakeAlong::parse(op, "arr", "indices", axis)
        },
    ),
];

/// The indices of the first generation end with an axis of extent 1, which the result lacks.
fn without_last_axis(builder: &mut Builder, mut draft: Draft) -> Result<Vec<ValueId>> {
    if let Some(Operand::One(ids)) = draft.operands.first().cloned() {
        let rank = builder.rank(ids);
        let axis = Operand::One(builder.constant(Tensor::vector(vec![-1_i64])));
        let ty = (
            builder.dtype(ids),
            vec![Dim::Unknown; rank.saturating_sub(1)],
        );
        let ids = builder.insert(
            "squeeze",
            vec![Operand::One(ids), axis],
            BTreeMap::new(),
            ty,
        );
        if let Some(operand) = draft.operands.first_mut() {
            *operand = Operand::One(ids);
        }
    }
    Ok(builder.emit(draft))
}

/// The elements of an index.
pub(super) fn indices(values: &Values<'_>, id: ValueId) -> Result<Array<i64>> {
    match values.get(id)?.cast(DType::I64) {
        Tensor::I64(indices) => Ok(indices),
        _ => Err(Error::internal("a cast to int64 gave another type")),
    }
}

/// Rows of a table, one for each id; zeros for ids that are `padding_idx`.
struct Embedding {
    ids: ValueId,
    weight: ValueId,
    padding_idx: Option<i64>,
}

impl Embedding {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        // Of the gradient.
        op.ignore("sparse");
        let padding_idx: i64 = op.attr_or("padding_idx", -1)?;
        Ok(Box::new(Self {
            ids: op.operand("x")?,
            weight: op.operand("weight")?,
            padding_idx: Some(padding_idx).filter(|index| *index != -1),
        }))
    }
}

impl Function for Embedding {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let weight = facts.get(self.weight);
        let [_, width] = weight.shape.as_slice() else {
            return Err(Error::malformed(format!(
                "a table of rank {}",
                weight.shape.len()
            )));
        };
        let mut shape = facts.shape(self.ids).to_vec();
        shape.push(width.clone());
        Ok(Fact::new(weight.dtype, shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (ids, weight) = (g.value(self.ids)?, g.value(self.weight)?);
        let rows = g.node("Gather", &[weight, ids], []);
        let Some(padding_idx) = self.padding_idx else {
            return Ok(rows);
        };
        let padding = Tensor::scalar(padding_idx).cast(g.dtype(self.ids));
        let padding = g.constant(padding);
        let is_padding = g.node("Equal", &[ids, padding], []);
        let is_padding = g.unsqueeze(is_padding, &[g.rank(self.ids) as i64]);
        let zero = g.scalar(g.dtype(self.weight), 0.0);
        Ok(g.node("Where", &[is_padding, zero, rows], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let ids = indices(values, self.ids)?;
        let flat: Vec<i64> = ids.iter().copied().collect();
        let weight = values.get(self.weight)?;
        let width = weight.shape().get(1).copied().unwrap_or(1);
        let mut shape = ids.shape().to_vec();
        shape.push(width);
        with_array!(weight, weight => {
            let mut rows = index::select(weight, 0, &flat)?;
            for (mut row, id) in rows.outer_iter_mut().zip(&flat) {
                if Some(*id) == self.padding_idx {
                    row.fill(Default::default());
                }
            }
            Ok(Element::tensor(map::reshape(&rows.into(), &shape)?))
        })
    }

    fn indexes(&self, facts: &Facts<'_>) -> Option<(ValueId, Dim)> {
        Some((self.ids, facts.shape(self.weight).first()?.clone()))
    }
}

/// The slices of `x` at the positions along an axis that `index` lists. A single position of rank
/// 0 removes the axis.
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

    /// What takes the place of the axis: indices of shape `[n, 1]` count as a vector.
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

    fn indexes(&self, facts: &Facts<'_>) -> Option<(ValueId, Dim)> {
        let axis = self.axis(facts).ok()?;
        Some((self.index, facts.shape(self.x).get(axis)?.clone()))
    }
}

/// The slices `x[i, j, …]` for the vectors along the last axis of `index`.
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

/// How many axes the vectors of an index reach into, and its other axes.
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

    fn indexes(&self, facts: &Facts<'_>) -> Option<(ValueId, Dim)> {
        let (depth, _) = depth(facts.shape(self.index), facts.rank(self.x)).ok()?;
        // One range for all numbers of a vector: the narrowest.
        let extents: Option<Vec<i64>> = facts.shape(self.x)[..depth]
            .iter()
            .map(Dim::known)
            .collect();
        Some((self.index, Dim::Known(extents?.into_iter().min()?)))
    }
}

/// The elements of `x` at the places of `index`, but for the position along one axis, which is the
/// one that stands in `index`.
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

    fn indexes(&self, facts: &Facts<'_>) -> Option<(ValueId, Dim)> {
        let axis = normalize_axis(self.axis, facts.rank(self.x)).ok()?;
        Some((self.index, facts.shape(self.x).get(axis)?.clone()))
    }
}
