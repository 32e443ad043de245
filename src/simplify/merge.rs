//! Common subexpressions: of ops that compute the same, all readers read the first.
//!
//! Two ops compute the same if they have the same definition, attributes and operands, are not random, and hold no
//! blocks. Constants that are equal to the bit count as the same operand. Before the pass:
//!
//! ```text
//! input %0:x : float32 [batch, 4]
//! %7:divide = divide(%0:x, [2.0]) : float32 [?, 4]
//! %11:divide_1 = divide(%0:x, [2.0]) : float32 [?, 4]
//! %12:add = add(%7:divide, %11:divide_1) : float32 [?, 4]
//! output fetch_name_0 = %12:add
//! ```
//!
//! After it (the second `divide`, which nothing reads, is left to [`super::dead`]):
//!
//! ```text
//! input %0:x : float32 [batch, 4]
//! %7:divide = divide(%0:x, [2.0]) : float32 [?, 4]
//! %11:divide_1 = divide(%0:x, [2.0]) : float32 [?, 4]
//! %12:add = add(%7:divide, %7:divide) : float32 [?, 4]
//! output fetch_name_0 = %12:add
//! ```

use std::collections::HashMap;

use crate::operator::Registry;
use crate::program::{Op, OpKind, Operand, Origin, Program, ValueId};
use crate::tensor::DType;

/// For each value that an equal one replaces, the value that replaces it.
type Kept = HashMap<ValueId, ValueId>;

/// Makes all that reads a result of an op read the result of the first equal op instead, and likewise for constants.
pub(super) fn merge(program: &mut Program, registry: &Registry) {
    let mut kept = equal_constants(program);
    let mut first: HashMap<(String, String, Vec<Operand>), Vec<ValueId>> = HashMap::new();
    for op in &mut program.ops {
        redirect(op, &kept);
        if !is_deterministic(op, registry) {
            continue;
        }
        // Attributes are compared as text, which tells 0.0 from -0.0, and in which NaN is equal to itself.
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

/// Whether an op is known to give the same results whenever it has the same operands and attributes.
fn is_deterministic(op: &Op, registry: &Registry) -> bool {
    let is_known = matches!(op.kind, OpKind::Known(_));
    is_known && op.blocks.is_empty() && !registry.is_random(op)
}

/// For each constant that is equal to an earlier one to the bit, the first of those that are equal to it. If that one
/// has no name, it gets the first name among the others.
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
