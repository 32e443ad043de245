//! Constant folding, with the ops' own kernels.

use std::collections::HashSet;

use crate::error::Result;
use crate::ops::{self, Facts, Operator};
use crate::program::{Op, Operand, Origin, Program, ValueId};
use crate::reference::evaluate_constant;
use crate::tensor::{DType, Dim, Tensor};

use super::is_deterministic;

/// Results with more elements stay ops: they would take more room in a file than what makes them.
const LARGEST_RESULT: i64 = 4096;

/// Makes constants of results that are known before a run. Returns whether there were any.
pub(super) fn fold(program: &mut Program) -> bool {
    let folded = known_results(program);
    for (id, tensor) in &folded {
        program.values[id.index()].origin = Origin::Constant(tensor.clone());
    }
    let ids: HashSet<ValueId> = folded.iter().map(|(id, _)| *id).collect();
    let is_folded =
        |op: &Op| !op.results.is_empty() && op.results.iter().all(|id| ids.contains(id));
    program.ops.retain(|op| !is_folded(op));
    !folded.is_empty()
}

/// The results of all ops of which every result is known.
fn known_results(program: &Program) -> Vec<(ValueId, Tensor)> {
    let mut facts = Facts::declared(program);
    let mut tensors: Vec<Option<Tensor>> = program
        .values()
        .map(|(_, value)| match &value.origin {
            Origin::Constant(tensor) => Some(tensor.clone()),
            _ => None,
        })
        .collect();
    let mut known = Vec::new();
    for op in program.ops() {
        let Ok(operator) = ops::parse(op) else {
            continue;
        };
        if ops::infer_op(op, &*operator, &mut facts).is_err() || !is_deterministic(op) {
            continue;
        }
        let results = results_by_content(op, &facts).or_else(|| {
            results_by_kernel(op, &*operator, &facts, &tensors)
                .ok()
                .flatten()
        });
        for (id, tensor) in op.results.iter().zip(results.unwrap_or_default()) {
            tensors[id.index()] = Some(tensor.clone());
            known.push((*id, tensor));
        }
    }
    known
}

/// The results, if all are integers that follow from the shapes of inputs alone.
fn results_by_content(op: &Op, facts: &Facts<'_>) -> Option<Vec<Tensor>> {
    let result = |id: &ValueId| {
        let elements = facts.integers(*id)?;
        let extents = facts.shape(*id).iter().map(Dim::extent);
        let shape: Vec<usize> = extents.collect::<Option<_>>()?;
        let tensor = Tensor::from_elements(&shape, elements).ok()?;
        Some(tensor.cast(facts.dtype(*id)))
    };
    op.results.iter().map(result).collect()
}

/// The results, if all operands are known and the results are small.
fn results_by_kernel(
    op: &Op,
    operator: &dyn Operator,
    facts: &Facts<'_>,
    tensors: &[Option<Tensor>],
) -> Result<Option<Vec<Tensor>>> {
    let is_known = |id: &ValueId| tensors[id.index()].is_some();
    let operands = op.operands.iter().flat_map(Operand::values);
    let mut results = op.results.iter();
    if !operands.clone().all(is_known) || !results.all(|id| is_small(facts.shape(*id))) {
        return Ok(None);
    }
    let dtypes: Vec<DType> = op.results.iter().map(|id| facts.dtype(*id)).collect();
    evaluate_constant(op, operator, tensors, &dtypes).map(Some)
}

fn is_small(shape: &[Dim]) -> bool {
    let mut extents = shape.iter().map(Dim::known);
    let elements = extents.try_fold(1_i64, |elements, extent| elements.checked_mul(extent?));
    elements.is_some_and(|elements| elements <= LARGEST_RESULT)
}
