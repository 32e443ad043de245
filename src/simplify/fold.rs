//! Constant folding: results that are known before a run become constants.
//!
//! A result is known if all operands of its op are, by the kernel of the op; or if inference knows all its elements, as
//! it does for extents. A division by the square root of an extent, and by the same number again, before the pass:
//!
//! ```text
//! input %0:x : float32 [batch, 4]
//! %1:shape64 = shape64(%0:x) : int64 [2]
//! %4:slice = slice(%1:shape64, [1], [2]) axes=[0] decrease_axis=[] infer_flags=[1] : int64 [1]
//! %5:cast = cast(%4:slice) dtype=5 : float32 [1]
//! %6:sqrt = sqrt(%5:cast) : float32 [1]
//! %7:divide = divide(%0:x, %6:sqrt) : float32 [?, 4]
//! %11:divide_1 = divide(%0:x, [2.0]) : float32 [?, 4]
//! %12:add = add(%7:divide, %11:divide_1) : float32 [?, 4]
//! output fetch_name_0 = %12:add
//! ```
//!
//! After it (`shape64` stays, since the batch is not known):
//!
//! ```text
//! input %0:x : float32 [batch, 4]
//! %1:shape64 = shape64(%0:x) : int64 [2]
//! %7:divide = divide(%0:x, [2.0]) : float32 [?, 4]
//! %11:divide_1 = divide(%0:x, [2.0]) : float32 [?, 4]
//! %12:add = add(%7:divide, %11:divide_1) : float32 [?, 4]
//! output fetch_name_0 = %12:add
//! ```

use std::cell::OnceCell;

use super::rewrites::stored;
use crate::error::Result;
use crate::operator::{Operator, Registry, evaluate_constant};
use crate::program::{Facts, Op, OpKind, Operand, Origin, Program, ValueId};
use crate::tensor::{DType, Dim, Tensor};

/// The most elements of a result that is computed by a kernel: 1 MiB of float32, which the masks and position tables of
/// transformers have room in.
const LARGEST_RESULT: i64 = 1 << 18;

/// The most elements of a constant that are all the same. A node makes more of them in less room.
const LARGEST_UNIFORM: usize = 4096;

/// Ops that put elements elsewhere. Weights that only such ops stand behind become constants in their new order.
const MOVES: [&str; 8] = [
    "flatten",
    "gather",
    "index_select",
    "reshape",
    "slice",
    "squeeze",
    "transpose",
    "unsqueeze",
];

/// Drops each op whose results are all known, and makes constants of these. One pass through the ops in order is
/// enough, since a result is known by what comes before it alone. Random ops and ops that can't be read stay.
pub(super) fn fold(program: &mut Program, registry: &Registry) {
    let folded = known_results(program, registry);
    drop_folded(&mut program.ops, &folded);
    for (value, tensor) in program.values.iter_mut().zip(folded) {
        if let Some(tensor) = tensor {
            value.origin = Origin::Constant(tensor);
        }
    }
}

fn drop_folded(ops: &mut Vec<Op>, folded: &[Option<Tensor>]) {
    ops.retain(|op| {
        let mut results = op.results.iter();
        op.results.is_empty() || !results.all(|id| folded[id.index()].is_some())
    });
    for block in ops.iter_mut().flat_map(|op| &mut op.blocks) {
        drop_folded(&mut block.ops, folded);
    }
}

/// For every value, by its index: its tensor, if it is a result of an op whose results are all known.
fn known_results(program: &Program, registry: &Registry) -> Vec<Option<Tensor>> {
    let results: Vec<OnceCell<Tensor>> = vec![OnceCell::new(); program.values().count()];
    let facts = Facts::declared(program);
    let tensors = program.values();
    let mut folding = Folding {
        registry,
        tensors: tensors
            .map(|(id, _)| facts.constant_value(id).cloned())
            .collect(),
        facts,
        results: &results,
    };
    program.ops().iter().for_each(|op| folding.op(op));
    results.into_iter().map(OnceCell::into_inner).collect()
}

/// What is known so far.
struct Folding<'f> {
    registry: &'f Registry,
    facts: Facts<'f>,
    /// By the index of the value, the tensors of those that are known.
    tensors: Vec<Option<Tensor>>,
    /// The same, for results alone.
    results: &'f [OnceCell<Tensor>],
}

impl Folding<'_> {
    /// Looks at an op, and at those in its blocks, of whose values is known what holds in every round.
    fn op(&mut self, op: &Op) {
        let Ok(parsed) = self.registry.parse(op) else {
            return;
        };
        if parsed.infer(op, &mut self.facts).is_err() || self.registry.is_random(op) {
            return;
        }
        for op in op.blocks.iter().flat_map(|block| &block.ops) {
            self.op(op);
        }
        // A constant would not be taken for what it is handed on with.
        let mut ids = op.results.iter();
        if ids.any(|id| self.facts.get(*id).is_undefined) {
            return;
        }
        let known = results_by_content(op, &self.facts).or_else(|| {
            let operator = parsed.operator()?;
            let weights = self.take_moved_weights(op);
            let results = results_by_kernel(op, operator, &self.facts, &self.tensors);
            for id in weights {
                self.tensors[id.index()] = None;
            }
            results.ok().flatten()
        });
        let known = known.unwrap_or_default();
        let is_large = |tensor: &Tensor| tensor.len() > LARGEST_UNIFORM && is_uniform(tensor);
        // The op stays for all of its results or for none.
        let stays = known.iter().any(is_large);
        for (id, tensor) in op.results.iter().zip(known) {
            self.tensors[id.index()] = Some(tensor.clone());
            if stays {
                continue;
            }
            let result = self.results[id.index()].get_or_init(|| tensor);
            self.facts.fix(*id, result);
        }
    }

    /// Reads the small weights that an op moves, and returns which these are. Other ops are not to know them: what
    /// dequantises a weight would be gone.
    fn take_moved_weights(&mut self, op: &Op) -> Vec<ValueId> {
        if !MOVES.iter().any(|name| op.kind == OpKind::Known(name)) {
            return Vec::new();
        }
        let program = self.facts.program();
        let operands = op.operands.iter().flat_map(Operand::values).copied();
        let (weights, others): (Vec<ValueId>, Vec<ValueId>) =
            operands.partition(|id| matches!(program[*id].origin, Origin::Parameter(_)));
        if others.iter().any(|id| self.tensors[id.index()].is_none()) {
            return Vec::new();
        }
        for id in &weights {
            self.tensors[id.index()] = stored(program, *id);
        }
        weights
    }
}

/// The results of an op, if inference knows every element of each, as for integers that follow from shapes.
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

/// The results of an op by its kernel, if all operands are known and no result is large.
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

/// Whether all elements have the same bits.
fn is_uniform(tensor: &Tensor) -> bool {
    let bytes = tensor.to_le_bytes();
    let mut elements = bytes.chunks_exact(tensor.dtype().size());
    let first = elements.next();
    elements.all(|element| Some(element) == first)
}

fn is_small(shape: &[Dim]) -> bool {
    let mut extents = shape.iter().map(Dim::known);
    let elements = extents.try_fold(1_i64, |elements, extent| elements.checked_mul(extent?));
    elements.is_some_and(|elements| elements <= LARGEST_RESULT)
}
