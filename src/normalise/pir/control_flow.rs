//! Ops that hold blocks (`if`, `while`), and the blocks.
//!
//! A block returns what its `cf.yield` says. An op in it that overwrites a value from outside changes what later ops
//! outside read, so that value is returned as well: a branch that leaves it alone returns what it was, and a loop carries
//! it from round to round.

use std::collections::{BTreeMap, BTreeSet};

use super::{Reader, YIELD, attrs, split_name};
use crate::error::{Error, ErrorKind, Result};
use crate::operator::OpDef;
use crate::program::{Block, Declared, Draft, OpKind, Operand, ValueId};
use crate::read::pir::{self, Op};

/// A block that was read.
pub(super) struct Body {
    pub block: Block,
    /// The numbers from outside that ops in it overwrite, and what they stand for in the end.
    overwritten: BTreeMap<i64, ValueId>,
    /// For each of its results, the numbers from outside whose memory Paddle may return.
    returned: Vec<Vec<i64>>,
    /// Why what it returns can't be read, if so.
    unreadable: Option<String>,
}

impl Reader<'_> {
    /// Reads an op that holds blocks.
    pub(super) fn control_flow(&mut self, op: &Op<'_>, def: &'static OpDef) -> Result<()> {
        let operands = op.operands.iter();
        let operands = operands.map(|operand| self.numbers.read_one(operand.number));
        let operands: Vec<ValueId> = match operands.collect::<Result<_>>() {
            Err(e) if e.kind() == ErrorKind::Unsupported => {
                let (name, reason) = (def.name, e.message().to_owned());
                return self.keep(op, OpKind::Refused { name, reason });
            }
            operands => operands?,
        };
        let bodies = self.bodies(op)?;
        let Some((condition, carried)) = operands.split_first() else {
            return Err(Error::malformed("has no condition"));
        };
        let is_loop = def.operands.len() > 1;
        let mut operands = vec![Operand::One(*condition)];
        if is_loop {
            operands.push(Operand::Many(carried.to_vec()));
        } else if !carried.is_empty() {
            return Err(Error::malformed("has other operands than a condition"));
        }
        let mut draft = Draft {
            kind: OpKind::Known(def.name),
            operands,
            results: Vec::new(),
            attrs: attrs::decode_known(op),
        };
        if let Some(reason) = bodies.iter().find_map(|body| body.unreadable.clone()) {
            draft.kind = OpKind::Refused {
                name: def.name,
                reason,
            };
        }
        draft.results = self.declare(&op.results)?;
        let count = draft.results.len();
        let returned: Vec<_> = bodies.iter().map(|body| body.returned.clone()).collect();
        let (numbers, blocks) = self.with_overwritten(&mut draft, bodies)?;
        let ids = self.builder.emit_with_blocks(draft, blocks);
        let (results, overwritten) = ids.split_at(count.min(ids.len()));
        for (number, id) in numbers.into_iter().zip(overwritten) {
            self.overwrite(number, *id);
        }
        self.bind(op, |_| true, &[], results.to_vec())?;
        for returned in returned {
            // What a loop returns first is its condition.
            let results = returned.iter().skip(usize::from(is_loop));
            for (result, numbers) in op.results.iter().zip(results) {
                self.numbers.share(result.number, numbers);
            }
        }
        Ok(())
    }

    /// The blocks, which return what any of them overwrites as well, and the numbers of that.
    fn with_overwritten(
        &mut self,
        draft: &mut Draft,
        bodies: Vec<Body>,
    ) -> Result<(Vec<i64>, Vec<Block>)> {
        let overwritten = bodies.iter().flat_map(|body| body.overwritten.keys());
        let numbers: BTreeSet<i64> = overwritten.copied().collect();
        let mut blocks = Vec::with_capacity(bodies.len());
        for body in &bodies {
            blocks.push(body.block.clone());
        }
        for number in &numbers {
            let before = self.numbers.read_one(*number)?;
            let declared = Declared {
                name: self.names.claim(&self.builder.source.output),
                dtype: self.builder.dtype(before),
                shape: self.builder.shape(before).to_vec(),
            };
            let is_carried = draft.operands.len() > 1;
            for (block, body) in blocks.iter_mut().zip(&bodies) {
                let mut kept = before;
                if is_carried {
                    for argument in self.builder.define_arguments(vec![declared.clone()]) {
                        kept = argument;
                        block.arguments.push(argument);
                        block.replace(before, argument);
                    }
                }
                let after = body.overwritten.get(number).copied();
                block.results.push(after.unwrap_or(kept));
            }
            if let Some(Operand::Many(carried)) = draft.operands.get_mut(1) {
                carried.push(before);
            }
            draft.results.push(declared);
        }
        Ok((numbers.into_iter().collect(), blocks))
    }

    /// Reads the bodies of control flow that an op holds.
    pub(super) fn bodies(&mut self, op: &Op<'_>) -> Result<Vec<Body>> {
        let source = self.builder.source.clone();
        if op.regions.iter().any(|region| region.blocks.len() > 1) {
            return Err(Error::malformed("holds a region of several blocks"));
        }
        let outer = self.within.take();
        let mut bodies = Vec::new();
        let blocks = op.regions.iter().flat_map(|region| &region.blocks);
        for (number, block) in blocks.enumerate() {
            self.within = Some(source.inner_block(number));
            bodies.push(self.block(block)?);
        }
        self.within = outer;
        self.builder.source = source;
        Ok(bodies)
    }

    /// Reads a body of control flow.
    fn block(&mut self, block: &pir::Block<'_>) -> Result<Body> {
        self.numbers.open_scope();
        let mut arguments = Vec::new();
        for argument in block.args.iter().chain(&block.kwargs) {
            let declared = self.declare([argument])?;
            let ids = self.builder.define_arguments(declared);
            arguments.extend_from_slice(&ids);
            self.number(argument, &mut ids.into_iter())?;
        }
        self.builder.open_blocks.push(Block {
            arguments,
            ..Block::default()
        });
        let outer = self.unreadable.take();
        let before_last = block.ops.iter().rev().skip(1);
        if before_last.map(split_name).any(|name| name == YIELD) {
            return Err(Error::malformed("a block goes on behind its `cf.yield`"));
        }
        self.ops(&block.ops)?;
        let unreadable = std::mem::replace(&mut self.unreadable, outer);
        let last = block.ops.last().into_iter();
        let returned = last.flat_map(|op| &op.operands);
        let returned = returned.map(|operand| self.numbers.outside_of_block(operand.number));
        let returned = returned.collect();
        let overwritten = self.numbers.close_scope();
        let block = self.builder.open_blocks.pop();
        Ok(Body {
            block: block.ok_or_else(|| Error::internal("a block was closed twice"))?,
            overwritten,
            returned,
            unreadable,
        })
    }

    /// Reads `cf.yield`, which ends a body of control flow and returns its operands.
    pub(super) fn hand_out(&mut self, op: &Op<'_>) -> Result<()> {
        let mut results = Vec::new();
        for operand in &op.operands {
            match self.numbers.read(operand.number) {
                Err(e) if e.kind() == ErrorKind::Unsupported => {
                    self.unreadable = Some(e.message().to_owned());
                }
                values => results.extend(values?),
            }
        }
        match self.builder.open_blocks.last_mut() {
            Some(block) => block.results = results,
            None => return Err(Error::malformed("stands outside of any other op")),
        }
        Ok(())
    }
}
