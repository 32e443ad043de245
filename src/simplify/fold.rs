//! Constant folding, with the ops' own kernels.

use std::cell::OnceCell;

use crate::error::Result;
use crate::operator::{Operator, Registry, evaluate_constant};
use crate::program::{Facts, Op, Operand, Origin, Program, ValueId};
use crate::tensor::{DType, Dim, Tensor};

/// Results with more elements stay ops: they would take more room in a file than what makes them.
const LARGEST_RESULT: i64 = 4096;

/// Makes constants of the results of all ops of which every result is known. One pass is enough, since what is folded
/// tells more of what follows, and nothing of what comes before.
pub(super) fn fold(program: &mut Program, registry: &Registry) {
    let folded = known_results(program, registry);
    let is_folded = |op: &Op| {
        let mut results = op.results.iter();
        !op.results.is_empty() && results.all(|id| folded[id.index()].is_some())
    };
    program.ops.retain(|op| !is_folded(op));
    for (value, tensor) in program.values.iter_mut().zip(folded) {
        if let Some(tensor) = tensor {
            value.origin = Origin::Constant(tensor);
        }
    }
}

/// For every value, the tensor that it is if it is the result of an op of which every result is known.
fn known_results(program: &Program, registry: &Registry) -> Vec<Option<Tensor>> {
    let results: Vec<OnceCell<Tensor>> = vec![OnceCell::new(); program.values().count()];
    let mut facts = Facts::declared(program);
    let mut tensors: Vec<Option<Tensor>> = program
        .values()
        .map(|(id, _)| facts.constant_value(id).cloned())
        .collect();
    for op in program.ops() {
        let Ok(parsed) = registry.parse(op) else {
            continue;
        };
        if parsed.infer(op, &mut facts).is_err() || registry.is_random(op) {
            continue;
        }
        let known = results_by_content(op, &facts).or_else(|| {
            results_by_kernel(op, parsed.operator(), &facts, &tensors)
                .ok()
                .flatten()
        });
        for (id, tensor) in op.results.iter().zip(known.unwrap_or_default()) {
            tensors[id.index()] = Some(tensor.clone());
            facts.fix(*id, results[id.index()].get_or_init(|| tensor));
        }
    }
    results.into_iter().map(OnceCell::into_inner).collect()
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
