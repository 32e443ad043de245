//! What the ops in a block of a `ProgramDesc` mention, with those in the blocks inside of it.
//!
//! Whether blocks are too deep inside of each other, or held by several ops, is not known yet here. Each counts once,
//! and none before the one that holds it, so that no program takes long.

use std::collections::{BTreeSet, HashMap};

use super::attrs;
use super::desc::{BlockDesc, OpDesc};

/// The variables that an op reads and writes itself.
pub(super) fn variables(op: &OpDesc) -> impl Iterator<Item = &str> {
    let slots = op.inputs.iter().chain(&op.outputs);
    slots.flat_map(|slot| &slot.arguments).map(String::as_str)
}

/// The ops of a block, and of those inside of it.
pub(super) fn ops_in(blocks: &[BlockDesc], number: usize) -> impl Iterator<Item = &OpDesc> {
    let found = blocks_from(blocks, number).into_iter();
    found.flat_map(|(_, block)| &block.ops)
}

/// The variables from around a block that it and those inside of it write.
pub(super) fn written_by(blocks: &[BlockDesc], number: usize) -> BTreeSet<&str> {
    let mut written: HashMap<usize, BTreeSet<&str>> = HashMap::new();
    // Those inside of a block come before it.
    for (number, block) in blocks_from(blocks, number).into_iter().rev() {
        let outputs = block.ops.iter().flat_map(|op| &op.outputs);
        let outputs = outputs.flat_map(|slot| &slot.arguments);
        let mut names: BTreeSet<&str> = outputs.map(String::as_str).collect();
        for inner in block.ops.iter().flat_map(|op| inside(op, number)) {
            names.append(&mut written.remove(&inner).unwrap_or_default());
        }
        for own in &block.vars {
            names.remove(own.name.as_str());
        }
        written.insert(number, names);
    }
    written.remove(&number).unwrap_or_default()
}

/// A block and those inside of it, in the order of their numbers.
fn blocks_from(blocks: &[BlockDesc], number: usize) -> Vec<(usize, &BlockDesc)> {
    let mut open = BTreeSet::from([number]);
    let mut found = Vec::new();
    while let Some(number) = open.pop_first() {
        if let Some(block) = blocks.get(number) {
            open.extend(block.ops.iter().flat_map(|op| inside(op, number)));
            found.push((number, block));
        }
    }
    found
}

/// The blocks that an op of the block `number` holds: Paddle numbers a block before those inside of it.
fn inside(op: &OpDesc, number: usize) -> impl Iterator<Item = usize> {
    let numbers = attrs::blocks(op).filter_map(|inner| usize::try_from(inner).ok());
    numbers.filter(move |inner| *inner > number)
}
