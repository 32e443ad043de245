//! Common subexpressions: of ops that compute the same, the first is kept.

use std::collections::HashMap;

use crate::operator::Registry;
use crate::program::{Op, Operand, Origin, Program, ValueId};
use crate::tensor::DType;

/// For values that others stand for: which.
type Kept = HashMap<ValueId, ValueId>;

/// Redirects the readers of each op that an earlier one computes as well.
pub(super) fn merge(program: &mut Program, registry: &Registry) {
    let mut kept = equal_constants(program);
    let mut first: HashMap<(String, String, Vec<Operand>), Vec<ValueId>> = HashMap::new();
    for op in &mut program.ops {
        redirect(op, &kept);
        if !is_deterministic(op, registry) {
            continue;
        }
        // As text, in which numbers are equal that are so to the bit.
        let attrs = format!("{:?}", op.attrs);
        let key = (op.kind.name().to_owned(), attrs, op.operands.clone());
        let results = first.entry(key).or_insert_with(|| op.results.clone());
        if *results != op.results && results.len() == op.results.len() {
            kept.extend(op.results.iter().copied().zip(results.iter().copied()));
        }
    }
    for output in &mut program.outputs {
        redirect_value(&mut output.value, &kept);
    }
}

/// Whether an op gives the same results whenever it has the same operands.
fn is_deterministic(op: &Op, registry: &Registry) -> bool {
    let is_known = registry.find(op.kind.name()).is_some();
    is_known && op.blocks.is_empty() && !registry.is_random(op)
}

/// The first of those constants that are equal to the bit, for each of the others. It gets a name if
/// one of them has one.
fn equal_constants(program: &mut Program) -> Kept {
    let mut first: HashMap<(DType, Vec<usize>, Vec<u8>), ValueId> = HashMap::new();
    let mut kept = Kept::new();
    let mut names = Vec::new();
    for (id, value) in program.values() {
        let Origin::Constant(tensor) = &value.origin else {
            continue;
        };
        let key = (
            tensor.dtype(),
            tensor.shape().to_vec(),
            tensor.to_le_bytes(),
        );
        let earlier = *first.entry(key).or_insert(id);
        if earlier != id {
            kept.insert(id, earlier);
            names.push((earlier, value.name.clone()));
        }
    }
    for (id, name) in names {
        let known = &mut program.values[id.index()].name;
        if known.is_empty() {
            *known = name;
        }
    }
    kept
}

fn redirect(op: &mut Op, kept: &Kept) {
    for operand in &mut op.operands {
        match operand {
            Operand::Absent => {}
            Operand::One(value) => redirect_value(value, kept),
            Operand::Many(values) => values.iter_mut().for_each(|v| redirect_value(v, kept)),
        }
    }
    for block in &mut op.blocks {
        block.ops.iter_mut().for_each(|op| redirect(op, kept));
        block
            .results
            .iter_mut()
            .for_each(|v| redirect_value(v, kept));
    }
}

fn redirect_value(value: &mut ValueId, kept: &Kept) {
    *value = *kept.get(value).unwrap_or(value);
}
