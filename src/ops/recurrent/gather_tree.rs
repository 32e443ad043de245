//! `gather_tree`: the sequences that a beam search ends with.
//!
//! Paddle: `phi/kernels/cpu/gather_tree_kernel.cc`. ONNX: Loop from the last step to the first.

use ndarray::IxDyn;

use super::steps::{Order, at, steps};
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::values::indices;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, DType, Dim, Element, Tensor, display_shape, with_array};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "gather_tree",
    &[Arg::Tensor("ids"), Arg::Tensor("parents")],
    &[Form::legacy(
        &["gather_tree"],
        &[Binding::Slot("Ids"), Binding::Slot("Parents")],
        &["Out"],
    )],
    GatherTree::parse,
)
.with_opset(11)
.with_dtypes(&[DType::I32, DType::I64])];

/// For each beam of the last step, the `ids` on the way that the `parents` lead back from it. Both are
/// `[steps, batch, beams]`, as is the result; a parent is the beam of the step before that a beam continues.
struct GatherTree {
    ids: ValueId,
    parents: ValueId,
}

impl GatherTree {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            ids: op.operand("ids")?,
            parents: op.operand("parents")?,
        }))
    }
}

impl Function for GatherTree {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        for id in [self.ids, self.parents] {
            if facts.rank(id) != 3 {
                return Err(Error::malformed(format!(
                    "a tree of shape {} where [steps, batch, beams] was expected",
                    display_shape(facts.shape(id))
                )));
            }
        }
        let (ids, parents) = (facts.shape(self.ids), facts.shape(self.parents));
        let mut extents = ids.iter().zip(parents);
        if extents.any(|(ids, parents)| {
            ids.known()
                .zip(parents.known())
                .is_some_and(|(a, b)| a != b)
        }) {
            return Err(Error::malformed(format!(
                "ids of shape {} with parents of shape {}",
                display_shape(ids),
                display_shape(parents)
            )));
        }
        let shape = ids
            .iter()
            .zip(parents)
            .map(|(ids, parents)| ids.or(parents));
        Ok(Fact::new(facts.dtype(self.ids), shape.collect()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (ids, parents) = (g.value(self.ids)?, g.value(self.parents)?);
        let parents = g.cast(parents, g.dtype(self.parents), DType::I64);
        // At the last step, each beam is its own.
        let beams = g.shape_slice(ids, 2, 3);
        let known = g.shape(self.ids)[2].known();
        let beam = g.positions(beams, known);
        let batch_and_beams = g.shape_slice(ids, 1, 3);
        let beam = g.node("Expand", &[beam, batch_and_beams], []);
        let results = steps(
            g,
            ids,
            Order::LastToFirst,
            &[(beam, DType::I64)],
            |g, position, states| {
                let mut take = |of: TensorId| {
                    let here = at(g, of, position);
                    let along = [("axis", NodeAttr::Int(1))];
                    g.node("GatherElements", &[here, states[0]], along)
                };
                Ok(vec![take(parents), take(ids)])
            },
        )?;
        Ok(results[1])
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let parents = indices(values, self.parents)?;
        with_array!(values.get(self.ids)?, ids => walk(ids, &parents).map(Element::tensor))
    }

    fn indexes(&self, facts: &Facts<'_>) -> Vec<(ValueId, Dim)> {
        let beams = facts.shape(self.ids).last().cloned();
        vec![(self.parents, beams.unwrap_or(Dim::Unknown))]
    }
}

fn walk<T: Element>(ids: &Array<T>, parents: &Array<i64>) -> Result<Array<T>> {
    let (&[steps, batch, beams], true) = (ids.shape(), ids.shape() == parents.shape()) else {
        return Err(Error::malformed(format!(
            "ids of shape {:?} with parents of shape {:?}",
            ids.shape(),
            parents.shape()
        )));
    };
    let mut result = Array::from_elem(IxDyn(ids.shape()), T::default());
    for item in 0..batch {
        for last in 0..beams {
            let mut beam = last;
            for step in (0..steps).rev() {
                result[[step, item, last]] = ids[[step, item, beam]];
                let parent = parents[[step, item, beam]];
                if step > 0 {
                    let parent = usize::try_from(parent)
                        .ok()
                        .filter(|parent| *parent < beams);
                    beam = parent.ok_or_else(|| {
                        Error::malformed(format!("a parent that is none of {beams} beams"))
                    })?;
                }
            }
        }
    }
    Ok(result)
}
