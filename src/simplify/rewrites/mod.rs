//! Rewrites: ops in place of others that compute the same, which runtimes run faster, or which more of them can run.
//!
//! Unlike the other passes, these change what is computed within rounding. They are made in the order of [`REWRITES`], of
//! which callers can leave out any by its name.

mod affine;
mod attention;
mod concats;
mod heads;
mod linear;
mod products;
mod scale;
mod search;
mod self_attention;
mod tokens;
mod transposes;
mod views;
mod weights;

use std::collections::HashMap;

pub(super) use weights::stored;

use super::dead::drop_unneeded;
use crate::operator::{ONNX_RUNTIME_DOMAIN, Registry};
use crate::program::{Attr, Attributes, Facts, Op, OpKind, Operand, Origin, Program, ValueId};
use crate::tensor::{DType, Dim, Tensor};
use weights::constant;

/// A rewrite.
pub struct Rewrite {
    /// Its name.
    pub name: &'static str,
    /// What it does, in a few words.
    pub what: &'static str,
    /// Whether it makes other weights of weights. It is left out where weights are to stay in Paddle's files.
    pub makes_weights: bool,
    /// The first opset that has what it makes, if not all have. It is left out at lower ones.
    pub opset: Option<u32>,
    /// The domain of the operators that it makes, if that is not ONNX's own. It is left out but for runtimes that have them
    /// ([`crate::Target::domain`]).
    pub domain: Option<&'static str>,
    apply: fn(&mut Program, &Registry),
}

/// All rewrites, in their order.
pub const REWRITES: &[Rewrite] = &[
    Rewrite {
        name: "affine-into-conv",
        what: "scales, biases and batch normalisation behind a convolution become its weights and its bias",
        makes_weights: true,
        opset: None,
        domain: None,
        apply: affine::rewrite,
    },
    Rewrite {
        name: "nested-concat",
        what: "a Concat of what other Concats have joined along its axis joins all parts at once",
        makes_weights: false,
        opset: None,
        domain: None,
        apply: concats::rewrite,
    },
    Rewrite {
        name: "tokens-into-positions",
        what: "learnt tokens in front of a sequence go into the embedding of positions that is added to both",
        makes_weights: true,
        opset: None,
        domain: None,
        apply: tokens::rewrite,
    },
    Rewrite {
        name: "picked-axis-to-split",
        what: "an axis that is moved to the front and taken apart, as for q, k and v, becomes a Split of the axis after it",
        makes_weights: false,
        opset: None,
        domain: None,
        apply: heads::rewrite,
    },
    // After the Splits, which it takes apart along the last axis.
    Rewrite {
        name: "attention",
        what: "the products and the softmax of attention become ONNX's Attention",
        makes_weights: false,
        opset: Some(23),
        domain: None,
        apply: attention::rewrite,
    },
    Rewrite {
        name: "multi-head-attention",
        what: "the products and the softmax of attention become ONNX Runtime's MultiHeadAttention",
        makes_weights: false,
        opset: None,
        domain: Some(ONNX_RUNTIME_DOMAIN),
        apply: attention::rewrite_for_onnx_runtime,
    },
    // After both, whose operands it looks at.
    Rewrite {
        name: "self-attention",
        what: "attention and the layer that makes queries, keys and values become ONNX Runtime's Attention",
        makes_weights: false,
        opset: None,
        domain: Some(ONNX_RUNTIME_DOMAIN),
        apply: self_attention::rewrite,
    },
    // After the Splits, which it follows to the weights, and attention, which has a scale of its own.
    Rewrite {
        name: "scale-into-weights",
        what: "a scale of attention goes into the weights of the queries",
        makes_weights: true,
        opset: None,
        domain: None,
        apply: scale::rewrite,
    },
    // After all that look for a reshape or a transpose where Paddle's layers have one.
    Rewrite {
        name: "nested-transpose",
        what: "transposes that cancel out are left out, also with element-wise ops and convolutions of channels last between them",
        makes_weights: false,
        opset: None,
        domain: None,
        apply: transposes::rewrite,
    },
    // After the transposes, between which there may be others.
    Rewrite {
        name: "nested-reshape",
        what: "what is reshaped several times is reshaped once, or not at all",
        makes_weights: false,
        opset: None,
        domain: None,
        apply: views::rewrite,
    },
    // After all that look for products, and for what is added to them.
    Rewrite {
        name: "linear-to-gemm",
        what: "a product of two matrices and what is added to its rows become ONNX's Gemm",
        makes_weights: false,
        opset: None,
        domain: None,
        apply: linear::rewrite,
    },
];

/// What a program is rewritten for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal<'g> {
    pub opset: u32,
    /// The domain of operators that the runtime has beside ONNX's own.
    pub domain: Option<&'static str>,
    /// The names of rewrites that are not made.
    pub left_out: &'g [&'static str],
}

/// Makes all rewrites that `goal` allows.
pub(super) fn rewrite(program: &mut Program, registry: &Registry, goal: &Goal<'_>) {
    let fits = |rewrite: &&Rewrite| {
        rewrite.opset.is_none_or(|first| first <= goal.opset)
            && (rewrite.domain.is_none() || rewrite.domain == goal.domain)
            && !goal.left_out.contains(&rewrite.name)
    };
    for rewrite in REWRITES.iter().filter(fits) {
        (rewrite.apply)(program, registry);
        // What is left over would count as readers in the next.
        drop_unneeded(program);
    }
}

/// A list of ops as `rewritten` makes it of them, and then the lists in its blocks.
fn each_list(ops: Vec<Op>, rewritten: &mut impl FnMut(Vec<Op>) -> Vec<Op>) -> Vec<Op> {
    let mut ops = rewritten(ops);
    for block in ops.iter_mut().flat_map(|op| &mut op.blocks) {
        block.ops = each_list(std::mem::take(&mut block.ops), rewritten);
    }
    ops
}

/// How often each value is read, by ops, blocks and outputs.
fn count_reads(program: &Program) -> HashMap<ValueId, usize> {
    let mut reads = HashMap::new();
    let mut count = |id: ValueId| *reads.entry(id).or_insert(0) += 1;
    program.ops.iter().for_each(|op| op.each_read(&mut count));
    program
        .outputs
        .iter()
        .for_each(|output| count(output.value));
    reads
}

/// What is known of the values of a program, as far as its ops can be read.
pub(super) fn known_facts<'p>(program: &'p Program, registry: &Registry) -> Facts<'p> {
    let mut facts = Facts::declared(program);
    for op in program.ops() {
        if let Ok(parsed) = registry.parse(op) {
            // The analysis of the whole program reports what is wrong with an op.
            let _ = parsed.infer(op, &mut facts);
        }
    }
    facts
}

/// The shapes of the values of a program, by their indices, as far as its ops can be read.
fn known_shapes(program: &Program, registry: &Registry) -> Vec<Vec<Dim>> {
    let facts = known_facts(program, registry);
    let values = program.values();
    values.map(|(id, _)| facts.shape(id).to_vec()).collect()
}

/// The only operand of an op that is one tensor, by its position.
pub(super) fn operand(op: &Op, position: usize) -> Option<ValueId> {
    match op.operands.get(position) {
        Some(Operand::One(id)) => Some(*id),
        _ => None,
    }
}

/// Whether an op is the one of this PHI name.
pub(super) fn is(op: &Op, name: &'static str) -> bool {
    op.kind == OpKind::Known(name)
}

/// Whether the result of an op is its operand in another shape or order, as a bias is before it is added.
pub(super) fn is_view(op: &Op) -> bool {
    ["reshape", "transpose", "squeeze", "unsqueeze", "flatten"]
        .iter()
        .any(|view| is(op, view))
}

/// An attribute that is a list of integers.
fn ints<'o>(op: &'o Op, name: &str) -> Option<&'o [i64]> {
    match op.attrs.get(name) {
        Some(Attr::Ints(ints)) => Some(ints),
        _ => None,
    }
}

/// The position of the op that makes a value, and which of its results it is.
fn maker(ops: &[Op], id: ValueId) -> Option<(usize, usize)> {
    let mut makers = ops.iter().enumerate().rev();
    makers.find_map(|(position, op)| {
        let mut results = op.results.iter();
        Some((position, results.position(|result| *result == id)?))
    })
}

/// The elements of a constant of integers.
fn numbers(program: &Program, id: ValueId) -> Option<Vec<i64>> {
    match &program[id].origin {
        Origin::Constant(tensor) if !tensor.dtype().is_float() => Some(tensor.to_i64_vec()),
        _ => None,
    }
}

/// The factor of a `scale` without a bias, if it is a number that weights may be scaled by.
fn factor(program: &Program, op: &Op) -> Option<f64> {
    let is_plain = matches!(op.attrs.get("bias"), None | Some(Attr::Float(0.0)));
    if !is(op, "scale") || !is_plain {
        return None;
    }
    match &program[operand(op, 1)?].origin {
        Origin::Constant(tensor) if tensor.len() == 1 => {
            let factor = tensor.cast(DType::F32).to_f64_vec()[0];
            (factor.is_normal() && factor.abs() < 1e6).then_some(factor)
        }
        _ => None,
    }
}

/// The `split` of a value into parts of these extents along an axis, for another op.
fn split(
    program: &mut Program,
    reader: &Op,
    (whole, extents, axis): (ValueId, &[i64], usize),
    parts: Vec<ValueId>,
) -> Op {
    let sections = constant(program, String::new(), Tensor::vector(extents.to_vec()));
    let axis = constant(program, String::new(), Tensor::scalar(axis as i64));
    Op {
        kind: OpKind::Known("split"),
        operands: [whole, sections, axis].map(Operand::One).to_vec(),
        results: parts,
        attrs: Attributes::default(),
        ..reader.clone()
    }
}
