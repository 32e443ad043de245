//! What follows a convolution, and scales and shifts each channel, goes into its weights and its bias.
//!
//! That is `add`, `subtract`, `multiply`, `scale`, `batch_norm` and `affine_channel` with operands that are known: all ops
//! that call themselves affine ([`Operator::affine_in`](crate::operator::Operator::affine_in)). Their kernels are run on zeros
//! and on ones, in float64, to learn factor and bias of each channel. Before the pass:
//!
//! ```text
//! input %5:x : float32 [batch, 2, 8, 8]
//! %6:conv2d = conv2d(%5:x, %4:w, -) : float32 [?, 3, 8, 8]
//! %7:batch_norm = batch_norm(%6:conv2d, %0:mean, %1:variance, %2:scale, %3:bias) : float32 [?, 3, 8, 8]
//! ```
//!
//! After it:
//!
//! ```text
//! input %5:x : float32 [batch, 2, 8, 8]
//! %9:conv2d/filter = scale_weight(%4:w, [0.5, -1.25, 2.0]) axis=0 : float32 [3, 2, 3, 3]
//! %7:batch_norm = conv2d(%5:x, %9:conv2d/filter, [1.0, 0.75, -0.5]) : float32 [?, 3, 8, 8]
//! ```
//!
//! A filter that is read elsewhere, or that is no float32 weight, as in quantised networks, stays as it is.

use std::collections::{HashMap, HashSet};

use super::weights::{constant, scaled, stored};
use super::{count_reads, each_list, is_view};
use crate::operator::{Convolution, Operator, Precision, Registry, Values, evaluate};
use crate::program::{Op, OpKind, Operand, Origin, Program, ValueId};
use crate::tensor::{DType, Dim, Tensor};

/// Folds all affine ops into the convolutions before them.
pub(super) fn rewrite(program: &mut Program, registry: &Registry) {
    if program.missing_weights.is_some() {
        return;
    }
    let mut folding = Folding {
        reads: count_reads(program),
        tensors: vec![None; program.values.len()],
        registry,
        program,
    };
    let ops = std::mem::take(&mut folding.program.ops);
    folding.program.ops = each_list(ops, &mut |ops| folding.folded(ops));
}

/// What a convolution and the affine ops behind it make of each channel: `factors · (filter * x) + shifts`.
struct Affine {
    factors: Vec<f64>,
    shifts: Vec<f64>,
}

impl Affine {
    /// This function, and then another.
    fn then(&self, next: &Affine) -> Self {
        let factors = self.factors.iter().zip(&next.factors);
        let shifts = self.shifts.iter().zip(&next.factors).zip(&next.shifts);
        Self {
            factors: factors.map(|(a, b)| a * b).collect(),
            shifts: shifts.map(|((a, factor), b)| a * factor + b).collect(),
        }
    }

    fn has_factors(&self) -> bool {
        self.factors.iter().any(|factor| *factor != 1.0)
    }

    /// Whether the numbers, and what comes of them, can be expected to be in the range of float32.
    fn is_tame(&self) -> bool {
        let mut all = self.factors.iter().chain(&self.shifts);
        all.all(|x| x.abs() < 1e30)
    }
}

/// What is known of a program that is rewritten.
struct Folding<'f> {
    program: &'f mut Program,
    registry: &'f Registry,
    reads: HashMap<ValueId, usize>,
    /// By the index of the value, constants, small weights, and views of these, as far as they were asked for.
    tensors: Vec<Option<Tensor>>,
}

impl Folding<'_> {
    /// A list of ops, of which affine ones have been folded into convolutions.
    fn folded(&mut self, mut ops: Vec<Op>) -> Vec<Op> {
        let mut readers: HashMap<ValueId, usize> = HashMap::new();
        for (position, op) in ops.iter().enumerate() {
            let operands = op.operands.iter().flat_map(Operand::values);
            readers.extend(operands.map(|id| (*id, position)));
            self.remember_view(op);
        }
        let mut dropped: HashSet<usize> = HashSet::new();
        let mut filters: HashMap<usize, Op> = HashMap::new();
        for position in 0..ops.len() {
            let Some((convolution, own)) = self.convolution(&ops[position]) else {
                continue;
            };
            let mut result = ops[position].results[0];
            let (mut affine, mut folded) = (own, Vec::new());
            while let Some(reader) = readers.get(&result).filter(|_| self.reads[&result] == 1)
                && let Some(next) = self.affine(&ops[*reader], result, &convolution)
                && next.is_tame()
                && (self.is_own_weight(convolution.filter) || !next.has_factors())
            {
                affine = affine.then(&next);
                folded.push(*reader);
                result = ops[*reader].results[0];
            }
            if folded.is_empty() {
                continue;
            }
            let name = self.bias_name(folded.iter().map(|reader| &ops[*reader]));
            dropped.extend(folded);
            let op = &mut ops[position];
            op.results[0] = result;
            op.operands.resize(3, Operand::Absent);
            let has_bias = convolution.bias.is_some();
            if has_bias || affine.shifts.iter().any(|shift| *shift != 0.0) {
                let bias = Tensor::vector(affine.shifts.clone()).cast(DType::F32);
                op.operands[2] = Operand::One(constant(self.program, name, bias));
            }
            if affine.has_factors() {
                let filter = scaled(self.program, op, convolution.filter, (affine.factors, 0));
                op.operands[1] = Operand::One(filter.results[0]);
                filters.insert(position, filter);
            }
        }
        self.tensors.resize(self.program.values.len(), None);
        let mut kept = Vec::with_capacity(ops.len());
        for (position, op) in ops.into_iter().enumerate() {
            kept.extend(filters.remove(&position));
            if !dropped.contains(&position) {
                kept.push(op);
            }
        }
        kept
    }

    /// What an op convolves with, if that is a weight of float32, and the bias that it has already.
    fn convolution(&mut self, op: &Op) -> Option<(Convolution, Affine)> {
        let parsed = self.registry.parse(op).ok()?;
        let convolution = parsed.operator()?.convolution()?;
        let filter = &self.program[convolution.filter];
        if filter.dtype != DType::F32 || !matches!(filter.origin, Origin::Parameter(_)) {
            return None;
        }
        let channels = filter.shape.first().and_then(Dim::extent)?;
        let shifts = match convolution.bias {
            Some(bias) => self.known(bias)?.to_f64_vec(),
            None => vec![0.0; channels],
        };
        let own = Affine {
            factors: vec![1.0; channels],
            shifts,
        };
        (own.shifts.len() == channels).then_some((convolution, own))
    }

    /// Whether a value is read once.
    fn is_own_weight(&self, filter: ValueId) -> bool {
        self.reads.get(&filter) == Some(&1)
    }

    /// What an op does to each channel of its operand `x`, if it does nothing else: what its kernel makes of zeros, and by
    /// how much more it makes of ones.
    fn affine(&mut self, op: &Op, x: ValueId, of: &Convolution) -> Option<Affine> {
        let parsed = self.registry.parse(op).ok()?;
        let operator = parsed.operator()?;
        let [result] = op.results[..] else {
            return None;
        };
        if !operator.affine_in().contains(&x) || self.program[result].dtype != DType::F32 {
            return None;
        }
        for id in op.operands.iter().flat_map(Operand::values) {
            if *id != x {
                self.known(*id)?;
            }
        }
        let mut shape = vec![1; self.program[x].shape.len()];
        let channels = self.program[of.filter].shape.first()?.extent()?;
        *shape.get_mut(of.channel_axis)? = channels;
        let shifts = self.of_constant(op, operator, x, (&shape, 0.0))?;
        let sums = self.of_constant(op, operator, x, (&shape, 1.0))?;
        let factors = sums.iter().zip(&shifts).map(|(sum, shift)| sum - shift);
        Some(Affine {
            factors: factors.collect(),
            shifts,
        })
    }

    /// What the kernel of an op makes of an operand `x` of this shape, whose elements are all the same. None if that has
    /// another shape, since another operand is larger.
    fn of_constant(
        &mut self,
        op: &Op,
        operator: &dyn Operator,
        x: ValueId,
        (shape, element): (&[usize], f64),
    ) -> Option<Vec<f64>> {
        let elements = vec![element; shape.iter().product()];
        self.tensors[x.index()] = Tensor::from_elements(shape, elements).ok();
        let results = evaluate(operator, op, &Values::new(&self.tensors, Precision::Double)).ok();
        self.tensors[x.index()] = None;
        let result = results?.pop()?;
        (result.shape() == shape).then(|| result.to_f64_vec())
    }

    /// The elements of a constant, of a small weight, or of a view of one.
    fn known(&mut self, id: ValueId) -> Option<&Tensor> {
        if self.tensors[id.index()].is_none() {
            self.tensors[id.index()] = stored(self.program, id);
        }
        self.tensors[id.index()].as_ref()
    }

    /// Keeps in mind what the result of an op is, if it is a view of something known.
    fn remember_view(&mut self, op: &Op) {
        let operands: Vec<ValueId> = op
            .operands
            .iter()
            .flat_map(Operand::values)
            .copied()
            .collect();
        let ([result], true) = (&op.results[..], is_view(op)) else {
            return;
        };
        if !operands.into_iter().all(|id| self.known(id).is_some()) {
            return;
        }
        if let Ok(parsed) = self.registry.parse(op)
            && let Some(operator) = parsed.operator()
            && let Ok(mut results) =
                evaluate(operator, op, &Values::new(&self.tensors, Precision::Single))
        {
            self.tensors[result.index()] = results.pop();
        }
    }

    /// The name of the weight that the only op adds, or none.
    fn bias_name<'o>(&self, mut folded: impl Iterator<Item = &'o Op>) -> String {
        let (Some(op), None) = (folded.next(), folded.next()) else {
            return String::new();
        };
        let mut operands = op.operands.iter().flat_map(Operand::values);
        let weight = operands.find(|id| matches!(self.program[**id].origin, Origin::Parameter(_)));
        match (&op.kind, weight) {
            (OpKind::Known("add"), Some(weight)) => self.program[*weight].name.clone(),
            _ => String::new(),
        }
    }
}
