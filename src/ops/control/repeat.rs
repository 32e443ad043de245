//! A block that runs again and again while a condition holds (`while`).
//!
//! The arguments of the block are the values that are carried from round to round; it returns the condition of the next
//! round, and what is carried on. Paddle: `pd_op.while`, whose block ends with `cf.yield`; in `ProgramDesc`, the block
//! of `while` overwrites the variables that are carried, and the condition among them. ONNX: Loop without a trip count.

use std::collections::HashSet;

use super::condition;
use super::undefined::handed_on;
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::operator::{
    Accuracy, Arg, Binding, Control, Form, InferBlock, LowerBlock, OpDef, OpReader, Reading, Run,
};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{DType, Dim, Tensor};

pub(super) const OPS: &[OpDef] = &[OpDef::read_by(
    "while",
    &[Arg::Tensor("cond"), Arg::List("x")],
    &[Form::legacy(
        &["while"],
        &[Binding::Slot("Condition"), Binding::List("X")],
        &["Out"],
    )],
    Reading::Control(Repeat::parse),
)
// Its results are those of the ops in its blocks.
.with_accuracy(Accuracy::Accumulated)
.with_dtypes(&[DType::Bool])];

struct Repeat {
    condition: ValueId,
    /// What is carried into the first round.
    initial: Vec<ValueId>,
    /// What is carried, as the ops of the block read it.
    arguments: Vec<ValueId>,
    /// The condition that the block returns.
    next: ValueId,
}

impl Repeat {
    fn parse(op: &mut OpReader<'_>) -> Result<Box<dyn Control>> {
        let block = &op.blocks(1)?[0];
        let initial = op.list_or_empty("x")?;
        let (arguments, results) = (block.arguments.len(), block.results.len());
        let due = initial.len();
        if arguments != due || results != due + 1 || op.result_count() != due {
            return Err(Error::malformed(format!(
                "carries {due} values, but its block takes {arguments} and returns {results}, and it has {} results",
                op.result_count()
            )));
        }
        Ok(Box::new(Self {
            condition: op.operand("cond")?,
            initial,
            arguments: block.arguments.clone(),
            next: block.results[0],
        }))
    }

    /// What holds of a carried value at the start of every round, if it holds before this one and `next` after it.
    fn widened(position: usize, before: &Fact, next: &Fact) -> Result<Fact> {
        before.common(next).ok_or_else(|| {
            Error::unsupported(format!(
                "the carried value {position} is {} of rank {}, and after a round {} of rank {}",
                before.dtype,
                before.shape.len(),
                next.dtype,
                next.shape.len()
            ))
        })
    }
}

impl Control for Repeat {
    /// Starts from what is known of the initial values, and drops what does not hold after a round, until nothing is
    /// left to drop.
    fn infer(&self, facts: &mut Facts<'_>, block: &mut InferBlock<'_>) -> Result<Vec<Fact>> {
        condition::refuse_other(facts.get(self.condition))?;
        let mut carried = Vec::with_capacity(self.initial.len());
        for (position, (initial, argument)) in self.initial.iter().zip(&self.arguments).enumerate()
        {
            let initial = facts.get(*initial);
            carried.push(match facts.invariant(*argument) {
                Some(known) => Self::widened(position, initial, known)?,
                None => initial.clone(),
            });
        }
        let inner: HashSet<ValueId> = self.arguments.iter().copied().collect();
        loop {
            let results = block(facts, 0, &carried)?;
            if let Some(next) = results.first() {
                condition::refuse_other(next)?;
            }
            let mut is_stable = true;
            for (position, next) in results.iter().skip(1).enumerate() {
                // In the round, an extent that is open is that of the argument, and is compared as such.
                let before = facts.get(self.arguments[position]);
                let both = Self::widened(position, before, next)?.without(&inner);
                is_stable &= both == carried[position];
                carried[position] = both;
            }
            if is_stable {
                break;
            }
        }
        for (argument, fact) in self.arguments.iter().zip(&carried) {
            facts.keep_invariant(*argument, fact.clone());
        }
        Ok(carried)
    }

    fn lower(&self, g: &mut Lowering<'_>, block: &mut LowerBlock<'_>) -> Result<Vec<TensorId>> {
        let condition = condition::lower(g, self.condition)?;
        let rank = g.rank(self.next);
        // The body is given the number of the round and the condition as well.
        let body = g.body(2 + self.initial.len(), |g, inputs| {
            let mut outputs = block(g, 0, &inputs[2..])?;
            outputs[0] = condition::scalar(g, outputs[0], rank);
            Ok(outputs)
        })?;
        let mut inputs = vec![None, Some(condition)];
        let scalar = |dtype| Fact::new(dtype, Vec::new());
        let mut given = vec![scalar(DType::I64), scalar(DType::Bool)];
        for (id, argument) in self.initial.iter().zip(&self.arguments) {
            let mut carried = g.get(*argument).clone();
            inputs.push(Some(handed_on(g, *id, &carried)?));
            if g.get(*id).is_undefined {
                carried.shape.fill(Dim::Unknown);
                g.note(
                    "carries a variable that nothing writes before the rounds: where there are none, it is a 0, while \
                     Paddle has another number there, or fails",
                );
            }
            given.push(carried);
        }
        let attrs = [("body", NodeAttr::Graph(body.given(given)))];
        Ok(g.node_with_outputs("Loop", inputs, attrs, self.initial.len()))
    }

    fn evaluate(&self, run: &mut dyn Run) -> Result<Vec<Tensor>> {
        let mut condition = run.value(self.condition)?;
        let initial = self.initial.iter().map(|id| run.value(*id));
        let mut carried: Vec<Tensor> = initial.collect::<Result<_>>()?;
        while condition::holds(&condition)? {
            let mut results = run.block(0, carried)?.into_iter();
            let next = results.next();
            condition = next.ok_or_else(|| Error::internal("a block without a condition"))?;
            carried = results.collect();
        }
        Ok(carried)
    }

    fn is_loop(&self) -> bool {
        true
    }
}
