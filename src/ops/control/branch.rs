//! One of two blocks, as a condition says (`if`).
//!
//! The blocks have no arguments: their ops read what they need from outside. Paddle: `pd_op.if`, whose blocks end with
//! `cf.yield`; in `ProgramDesc`, `conditional_block` runs its block if the condition holds, and `select_input` takes the
//! result of one of two such blocks. ONNX: If.

use super::condition;
use super::undefined::handed_on;
use crate::error::{Error, Result};
use crate::graph::{Body, Lowering, NodeAttr, TensorId};
use crate::operator::{
    Accuracy, Arg, Binding, Control, Form, InferBlock, LowerBlock, OpDef, OpReader, Reading, Run,
};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{DType, Tensor};

pub(super) const OPS: &[OpDef] = &[OpDef::read_by(
    "if",
    &[Arg::Tensor("cond")],
    &[Form::legacy(
        &[
            "conditional_block",
            "conditional_block_infer",
            "select_input",
        ],
        &[Binding::Slot("Cond")],
        &["Out"],
    )],
    Reading::Control(Branch::parse),
)
// Its results are those of the ops in its blocks.
.with_accuracy(Accuracy::Accumulated)
.with_dtypes(&[DType::Bool])];

/// The block that runs if the condition holds, and the one that runs if it does not.
const THEN: usize = 0;
const ELSE: usize = 1;

struct Branch {
    condition: ValueId,
    /// What the blocks return.
    results: [Vec<ValueId>; 2],
}

impl Branch {
    fn parse(op: &mut OpReader<'_>) -> Result<Box<dyn Control>> {
        let blocks = op.blocks(2)?;
        if blocks.iter().any(|block| !block.arguments.is_empty()) {
            return Err(Error::malformed("a branch with arguments"));
        }
        let counts = blocks.iter().map(|block| block.results.len());
        refuse_counts(counts, op.result_count())?;
        Ok(Box::new(Self {
            condition: op.operand("cond")?,
            results: [THEN, ELSE].map(|number| blocks[number].results.clone()),
        }))
    }
}

fn refuse_counts(mut found: impl Iterator<Item = usize>, due: usize) -> Result<()> {
    match found.find(|found| *found != due) {
        Some(found) => Err(Error::malformed(format!(
            "a branch returns {found} values where the op has {due} results"
        ))),
        None => Ok(()),
    }
}

impl Branch {
    /// The body of a block. What it returns undefined has the type and the rank of what the other returns.
    fn body(
        &self,
        g: &mut Lowering<'_>,
        number: usize,
        block: &mut LowerBlock<'_>,
    ) -> Result<Body> {
        let [own, other] = [&self.results[number], &self.results[1 - number]];
        g.body(0, |g, _| {
            let mut outputs = block(g, number, &[])?;
            for ((output, own), other) in outputs.iter_mut().zip(own).zip(other) {
                if g.get(*own).is_undefined {
                    let other = g.get(*other).clone();
                    *output = handed_on(g, *own, &other)?;
                }
            }
            Ok(outputs)
        })
    }
}

impl Control for Branch {
    fn infer(&self, facts: &mut Facts<'_>, block: &mut InferBlock<'_>) -> Result<Vec<Fact>> {
        condition::refuse_other(facts.get(self.condition))?;
        if let Some(known) = facts.constant_value(self.condition) {
            let taken = if condition::holds(known)? { THEN } else { ELSE };
            return block(facts, taken, &[]);
        }
        let sides = [block(facts, THEN, &[])?, block(facts, ELSE, &[])?];
        let [then, otherwise] = &sides;
        let pairs = then.iter().zip(otherwise).enumerate();
        let common = pairs.map(|(position, (a, b))| {
            a.common(b).ok_or_else(|| {
                Error::unsupported(format!(
                    "result {position} is {} of rank {} in one branch and {} of rank {} in the other",
                    a.dtype,
                    a.shape.len(),
                    b.dtype,
                    b.shape.len()
                ))
            })
        });
        common.collect()
    }

    fn lower(&self, g: &mut Lowering<'_>, block: &mut LowerBlock<'_>) -> Result<Vec<TensorId>> {
        let condition = condition::lower(g, self.condition)?;
        let then = self.body(g, THEN, block)?;
        let otherwise = self.body(g, ELSE, block)?;
        let [first, second] = &self.results;
        let is_same = |(a, b): (&ValueId, &ValueId)| {
            let mut extents = g.shape(*a).iter().zip(g.shape(*b));
            extents.all(|(a, b)| a.same(b))
        };
        if !first.iter().zip(second).all(is_same) {
            g.require_opset(11, "an If whose branches have results of several shapes")?;
        }
        let count = then.output_count();
        let attrs = [
            ("then_branch", NodeAttr::Graph(then)),
            ("else_branch", NodeAttr::Graph(otherwise)),
        ];
        Ok(g.node_with_outputs("If", vec![Some(condition)], attrs, count))
    }

    fn evaluate(&self, run: &mut dyn Run) -> Result<Vec<Tensor>> {
        let holds = condition::holds(&run.value(self.condition)?)?;
        run.block(if holds { THEN } else { ELSE }, Vec::new())
    }
}
