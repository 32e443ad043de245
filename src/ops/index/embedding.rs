//! Rows of a table, picked by ids: `embedding`.
//!
//! Paddle: `phi/kernels/embedding_kernel.h`. ONNX: Gather; Equal and Where for the padding.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::{index, map};
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::values::indices;
use crate::program::{Builder, Draft, Fact, Facts, Operand, ValueId};
use crate::tensor::{DType, Dim, Element, Tensor, with_array};

/// Attributes that matter to training and to parameter servers alone.
const DISTRIBUTED: &[&str] = &[
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

const TABLE: &[Binding] = &[Binding::Slot("Ids"), Binding::Slot("W")];

pub(super) const OPS: &[OpDef] = &[OpDef::new(
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
.with_dtypes(&[DType::I32, DType::I64])];

/// Removes the last axis of the ids: those of the older `lookup_table` have one of extent 1 there, which
/// the result lacks.
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

/// The rows of `weight`, one for each id; zeros for ids that are `padding_idx`. Ids of any shape and a
/// weight of `[rows, width]` give the shape of the ids, followed by `width`.
struct Embedding {
    ids: ValueId,
    weight: ValueId,
    /// `None` if it is -1, which stands for no padding.
    padding_idx: Option<i64>,
}

impl Embedding {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        // Concerns the gradient alone.
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

    fn indexes(&self, facts: &Facts<'_>) -> Vec<(ValueId, Dim)> {
        let rows = facts.shape(self.weight).first();
        rows.map(|rows| (self.ids, rows.clone()))
            .into_iter()
            .collect()
    }
}
