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

use super::replaced::Replaced;
use crate::operator::Registry;
use crate::program::{Op, OpKind, Operand, Origin, Program, ValueId};
use crate::tensor::DType;

/// The results of the first op with this name, these attributes as text, and these operands.
type First = HashMap<Key, Vec<ValueId>>;
type Key = (String, String, Vec<Operand>);

/// Makes all that reads a result of an op read the result of the first equal op instead, and likewise for constants.
pub(super) fn merge(program: &mut Program, registry: &Registry) {
    let mut replaced = equal_constants(program);
    merge_ops(&mut program.ops, registry, &mut First::new(), &mut replaced);
    for output in &mut program.outputs {
        replaced.apply_to(&mut output.value);
    }
}

/// Merges the ops of a program or a block. `first` has those before them, which they can read.
fn merge_ops(ops: &mut [Op], registry: &Registry, first: &mut First, replaced: &mut Replaced) {
    let mut own: Vec<Key> = Vec::new();
    for op in ops {
        replaced.apply_to_op(op);
        for block in &mut op.blocks {
            merge_ops(&mut block.ops, registry, first, replaced);
            let results = block.results.iter_mut();
            results.for_each(|value| replaced.apply_to(value));
        }
        if !is_deterministic(op, registry) {
            continue;
        }
        // Attributes are compared as text, which tells 0.0 from -0.0, and in which NaN is equal to itself.
        let attrs = format!("{:?}", op.attrs);
        let key = (op.kind.name().to_owned(), attrs, op.operands.clone());
        match first.get(&key) {
            Some(results) if results.len() == op.results.len() => {
                replaced.extend(op.results.iter().copied().zip(results.iter().copied()));
            }
            Some(_) => {}
            None => {
                own.push(key.clone());
                first.insert(key, op.results.clone());
            }
        }
    }
    // Nothing outside of a block can read what is in it.
    for key in own {
        first.remove(&key);
    }
}

/// Whether an op is known to give the same results whenever it has the same operands and attributes.
fn is_deterministic(op: &Op, registry: &Registry) -> bool {
    let is_known = matches!(op.kind, OpKind::Known(_));
    is_known && op.blocks.is_empty() && !registry.is_random(op)
}

/// For each constant that is equal to an earlier one to the bit, the first of those that are equal to it. If that one
/// has no name, it gets the first name among the others.
fn equal_constants(program: &mut Program) -> Replaced {
    let mut first: HashMap<(DType, Vec<usize>, Vec<u8>), ValueId> = HashMap::new();
    let mut replaced = Replaced::default();
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
            replaced.insert(id, earlier);
            names.push((earlier, value.name.clone()));
        }
    }
    for (id, name) in names {
        let known = &mut program.values[id.index()].name;
        if known.is_empty() {
            *known = name;
        }
    }
    replaced
}
