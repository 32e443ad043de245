//! Transposes that cancel out are left out. What is transposed is kept in mind rather than made, until an op needs it: those
//! that work on each element for itself, join tensors, or reshape them, take what was transposed; and those of channels last
//! become such of channels first, whose operand and result are transposed. Before the pass:
//!
//! ```text
//! %2:turned = transpose(%0:x) perm=[0, 2, 3, 1] : float32 [?, 8, 8, 3]
//! %3:conv2d = conv2d(%2:turned, %1:w, -) data_format="NHWC" : float32 [?, 8, 8, 4]
//! %4:relu = relu(%3:conv2d) : float32 [?, 8, 8, 4]
//! %5:out = transpose(%4:relu) perm=[0, 3, 1, 2] : float32 [?, 4, 8, 8]
//! ```
//!
//! After it:
//!
//! ```text
//! %6:conv2d = conv2d(%0:x, %1:w, -) data_format="NCHW" : float32 [?, 4, 8, 8]
//! %7:relu = relu(%6:conv2d) : float32 [?, 4, 8, 8]
//! output out = %7:relu
//! ```
//!
//! A program that has no fewer transposes afterwards stays as it is.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::views::{RESHAPING, target};
use super::weights::{constant, like};
use super::{concats, each_list, ints, is, known_shapes, operand};
use crate::operator::Registry;
use crate::program::{Attr, Attributes, Op, OpKind, Operand, Program, Transposed, ValueId};
use crate::simplify::dead::drop_unneeded;
use crate::simplify::replaced::Replaced;
use crate::tensor::{Dim, Tensor, normalize_axis};

/// The ops on images that have a layout, which they share with their result. The image is their first operand.
const OF_IMAGES: [&str; 9] = [
    "batch_norm",
    "bicubic_interp",
    "bilinear_interp",
    "conv2d",
    "conv2d_transpose",
    "depthwise_conv2d",
    "depthwise_conv2d_transpose",
    "nearest_interp",
    "pool2d",
];

/// The permutation from channels last to channels first, and back.
const TO_FIRST: [usize; 4] = [0, 3, 1, 2];
const TO_LAST: [usize; 4] = [0, 2, 3, 1];

/// Leaves out transposes that cancel out.
pub(super) fn rewrite(program: &mut Program, registry: &Registry) {
    let mut turned = program.clone();
    turn(&mut turned, registry);
    drop_unneeded(&mut turned);
    if count(&turned) < count(program) {
        *program = turned;
    }
}

/// How many transposes a program has, with those that are made for ops of channels last.
fn count(program: &Program) -> usize {
    let counts = program.all_ops().map(|op| match op {
        _ if is(op, "transpose") => 1,
        _ if is_channels_last(op) => 2,
        _ => 0,
    });
    counts.sum()
}

fn is_channels_last(op: &Op) -> bool {
    let is_last = op.attrs.get("data_format") == Some(&Attr::String("NHWC".to_owned()));
    is_last && OF_IMAGES.iter().any(|name| is(op, name))
}

fn turn(program: &mut Program, registry: &Registry) {
    let mut turning = Turning {
        shapes: known_shapes(program, registry),
        registry,
        program,
        transposed: BTreeMap::new(),
        made: HashSet::new(),
        first: HashMap::new(),
        replaced: Replaced::default(),
        ops: Vec::new(),
    };
    let ops = std::mem::take(&mut turning.program.ops);
    turning.program.ops = each_list(ops, &mut |ops| turning.list(ops));
    let replaced = turning.replaced;
    replaced.apply(program);
}

/// A value that is another one transposed, and the op that gives it in the program.
type Kept = (Transposed, Op);

/// A program on the way through its ops.
struct Turning<'t> {
    program: &'t mut Program,
    registry: &'t Registry,
    /// The shapes of the values, by their indices.
    shapes: Vec<Vec<Dim>>,
    transposed: BTreeMap<ValueId, Kept>,
    /// Those of them that an op has made.
    made: HashSet<ValueId>,
    /// For images of channels last, the same with channels first.
    first: HashMap<ValueId, ValueId>,
    replaced: Replaced,
    /// The ops of the list so far.
    ops: Vec<Op>,
}

impl Turning<'_> {
    fn list(&mut self, ops: Vec<Op>) -> Vec<Op> {
        for mut op in ops {
            self.replaced.apply_to_op(&mut op);
            let is_turned = self.transpose(&op)
                || self.image(&op)
                || self.elementwise(&op)
                || self.concat(&op)
                || self.reshape(&op);
            if !is_turned {
                let mut read = Vec::new();
                op.each_read(&mut |id| read.push(id));
                read.into_iter().for_each(|id| self.make(id));
                self.ops.push(op);
            }
        }
        // What the program or the block returns, and others that nothing needs.
        let all: Vec<ValueId> = self.transposed.keys().copied().collect();
        all.into_iter().for_each(|id| self.make(id));
        self.transposed.clear();
        self.first.clear();
        std::mem::take(&mut self.ops)
    }

    /// Makes a value, if it is one that was only kept in mind.
    fn make(&mut self, id: ValueId) {
        let Some((of, op)) = self.transposed.get(&id) else {
            return;
        };
        if self.made.insert(id) {
            let made = transpose(op, of.source, &of.perm, id);
            self.ops.push(made);
        }
    }

    /// Keeps in mind that a result of an op is another value transposed.
    fn keep(&mut self, op: &Op, source: ValueId, perm: Vec<usize>) {
        let value = op.results[0];
        if perm.iter().copied().eq(0..perm.len()) {
            self.replaced.insert(value, source);
        }
        let transposed = Transposed {
            value,
            source,
            perm,
        };
        self.program.transposed.push(transposed.clone());
        if !self.replaced.holds(value) {
            self.transposed.insert(value, (transposed, op.clone()));
        }
    }

    /// What `x` transposed is, of which value: `x` may be another one transposed.
    fn source(&self, x: ValueId, perm: &[usize]) -> (ValueId, Vec<usize>) {
        match self.transposed.get(&x) {
            Some((of, _)) => (of.source, perm.iter().map(|axis| of.perm[*axis]).collect()),
            None => (x, perm.to_vec()),
        }
    }

    /// A value for what the result of an op is with its axes at the places that they have before `perm`.
    fn before(&mut self, result: ValueId, perm: &[usize]) -> ValueId {
        let shape = &self.shapes[result.index()];
        let mut before = shape.clone();
        for (dim, axis) in shape.iter().zip(perm) {
            before[*axis] = dim.clone();
        }
        self.shapes.push(before.clone());
        like(self.program, result, Some(before))
    }

    fn rank(&self, id: ValueId) -> usize {
        self.shapes[id.index()].len()
    }

    fn transpose(&mut self, op: &Op) -> bool {
        let (Some(x), Some(perm)) = (operand(op, 0), ints(op, "perm")) else {
            return false;
        };
        let rank = self.rank(x);
        let perm: Option<Vec<usize>> = perm
            .iter()
            .map(|axis| normalize_axis(*axis, rank).ok())
            .collect();
        // What is no permutation is refused by whoever writes the model, as it stands in the program.
        let is_permutation =
            |perm: &Vec<usize>| perm.len() == rank && (0..rank).all(|axis| perm.contains(&axis));
        let Some(perm) = perm.filter(|perm| is(op, "transpose") && is_permutation(perm)) else {
            return false;
        };
        let (source, perm) = self.source(x, &perm);
        self.keep(op, source, perm);
        true
    }

    /// Has an op on images of channels last work on those of channels first.
    fn image(&mut self, op: &Op) -> bool {
        let (Some(x), [result]) = (operand(op, 0), &op.results[..]) else {
            return false;
        };
        if !is_channels_last(op) || self.rank(x) != 4 || self.rank(*result) != 4 {
            return false;
        }
        let x = self.channels_first(x, op);
        let others = op.operands.iter().skip(1).flat_map(Operand::values);
        let others: Vec<ValueId> = others.copied().collect();
        others.into_iter().for_each(|id| self.make(id));
        let mut turned = op.clone();
        turned.operands[0] = Operand::One(x);
        turned.results = vec![self.before(*result, &TO_LAST)];
        let first = Attr::String("NCHW".to_owned());
        turned.attrs.insert("data_format".to_owned(), first);
        self.keep(op, turned.results[0], TO_LAST.to_vec());
        self.ops.push(turned);
        true
    }

    /// An image of channels last, with channels first.
    fn channels_first(&mut self, x: ValueId, op: &Op) -> ValueId {
        let (source, perm) = self.source(x, &TO_FIRST);
        if perm == [0, 1, 2, 3] {
            return source;
        }
        if let Some(known) = self.first.get(&x) {
            return *known;
        }
        let first = self.before(x, &TO_LAST);
        let made = transpose(op, source, &perm, first);
        self.ops.push(made);
        self.first.insert(x, first);
        first
    }

    /// Has an op that works on each element for itself do so before the transpose.
    fn elementwise(&mut self, op: &Op) -> bool {
        let parsed = self.registry.parse(op).ok();
        let operator = parsed.as_ref().and_then(|parsed| parsed.operator());
        let operands = operator.map(|operator| operator.elementwise_in());
        let (Some(operands), [result]) = (operands, &op.results[..]) else {
            return false;
        };
        let transposed = operands.iter().find_map(|id| self.transposed.get(id));
        let Some(perm) = transposed.map(|(of, _)| of.perm.clone()) else {
            return false;
        };
        let is_alike = |id: &ValueId| match self.transposed.get(id) {
            Some((of, _)) => of.perm == perm,
            None => self.shapes[id.index()]
                .iter()
                .all(|dim| *dim == Dim::Known(1)),
        };
        if !operands.iter().all(is_alike) || self.rank(*result) != perm.len() {
            return false;
        }
        self.turned(op, perm, |_| {});
        true
    }

    /// Has a `concat` of tensors that are transposed alike join what was transposed.
    fn concat(&mut self, op: &Op) -> bool {
        let Some(axis) = concats::axis(op, self.program) else {
            return false;
        };
        let parts = op.operands[0].values().iter();
        let perms: Option<Vec<&Vec<usize>>> = parts
            .map(|part| Some(&self.transposed.get(part)?.0.perm))
            .collect();
        let Some([perm, others @ ..]) = perms.as_deref() else {
            return false;
        };
        let is_of_rank = axis < perm.len() && self.rank(op.results[0]) == perm.len();
        if !is_of_rank || others.iter().any(|other| other != perm) {
            return false;
        }
        let (perm, axis) = (perm.to_vec(), perm[axis] as i64);
        let axis = constant(self.program, String::new(), Tensor::scalar(axis));
        self.shapes.push(Vec::new());
        self.turned(op, perm, |turned| turned.operands[1] = Operand::One(axis));
        true
    }

    /// Adds an op that works on what its operands are transposed from, whose result transposed is that of the op.
    fn turned(&mut self, op: &Op, perm: Vec<usize>, change: impl FnOnce(&mut Op)) {
        let mut turned = op.clone();
        let operands = turned.operands.iter_mut();
        for id in operands.flat_map(Operand::values_mut) {
            if let Some((of, _)) = self.transposed.get(id) {
                *id = of.source;
            }
        }
        turned.results = vec![self.before(op.results[0], &perm)];
        change(&mut turned);
        self.keep(op, turned.results[0], perm);
        self.ops.push(turned);
    }

    /// Has an op reshape what was transposed, if that has moved axes of one element alone.
    fn reshape(&mut self, op: &Op) -> bool {
        let is_reshaping = RESHAPING.iter().any(|name| is(op, name));
        let (Some(x), [result], true) = (operand(op, 0), &op.results[..], is_reshaping) else {
            return false;
        };
        let target = target(&self.shapes[result.index()]);
        let (Some((of, _)), Some(target)) = (self.transposed.get(&x), target) else {
            return false;
        };
        let extents = &self.shapes[of.source.index()];
        let moved = of
            .perm
            .iter()
            .filter(|axis| extents[**axis] != Dim::Known(1));
        if !moved.is_sorted() {
            return false;
        }
        let source = of.source;
        let target = constant(self.program, String::new(), Tensor::vector(target));
        self.shapes.push(Vec::new());
        self.ops.push(Op {
            kind: OpKind::Known("reshape"),
            operands: [source, target].map(Operand::One).to_vec(),
            attrs: Attributes::default(),
            ..op.clone()
        });
        true
    }
}

/// The op that transposes a value for another op.
fn transpose(op: &Op, source: ValueId, perm: &[usize], result: ValueId) -> Op {
    let perm = perm.iter().map(|axis| *axis as i64).collect();
    Op {
        kind: OpKind::Known("transpose"),
        operands: vec![Operand::One(source)],
        results: vec![result],
        attrs: Attributes::from([("perm".to_owned(), Attr::Ints(perm))]),
        blocks: Vec::new(),
        release: op.release,
        source: op.source.clone(),
    }
}
