//! Ops whose operands and attributes are read, with those of their blocks.

use super::control::Control;
use super::definition::OpDef;
use super::interface::{Macs, Operator};
use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::program::{Block, Fact, Facts, Op, Operand, ValueId};
use crate::tensor::{Dim, display_shape};

/// An op whose operands and attributes are read.
pub(crate) struct ParsedOp {
    /// None if it is passed through.
    pub(super) def: Option<&'static OpDef>,
    pub(super) behaviour: Behaviour,
    /// The ops of each of its blocks.
    pub blocks: Vec<Vec<ParsedOp>>,
}

/// What an op does: by itself, or with its blocks.
pub(crate) enum Behaviour {
    Plain(Box<dyn Operator>),
    Control(Box<dyn Control>),
}

/// What becomes of an op that can't be lowered: an error ends the lowering.
pub(crate) type OnRefusal<'a> = dyn FnMut(&Op, Error) -> Result<()> + 'a;

impl ParsedOp {
    pub fn behaviour(&self) -> &Behaviour {
        &self.behaviour
    }

    /// What an op without blocks does.
    pub fn operator(&self) -> Option<&dyn Operator> {
        match &self.behaviour {
            Behaviour::Plain(operator) => Some(&**operator),
            Behaviour::Control(_) => None,
        }
    }

    /// The multiply-accumulates of one run.
    pub fn macs(&self, facts: &Facts<'_>) -> Macs {
        match &self.behaviour {
            Behaviour::Plain(operator) => operator.macs(facts),
            Behaviour::Control(control) => control.macs(),
        }
    }

    /// The operands that hold indices, its own and those of the ops in its blocks, as [`Operator::indexes`] has them.
    pub fn indexes(&self, facts: &Facts<'_>) -> Vec<(ValueId, Dim)> {
        match &self.behaviour {
            Behaviour::Plain(operator) => operator.indexes(facts),
            Behaviour::Control(_) => {
                let inner = self.blocks.iter().flatten();
                inner.flat_map(|op| op.indexes(facts)).collect()
            }
        }
    }

    /// Adds what is known of the results of `op`, from which this was read, and of all values in its blocks.
    ///
    /// # Errors
    /// When its operands don't fit it.
    pub fn infer(&self, op: &Op, facts: &mut Facts<'_>) -> Result<()> {
        let inferred = self.inferred(op, facts).map_err(|e| e.at_op(&op.source))?;
        for (result, fact) in op.results.iter().zip(inferred) {
            facts.refine(*result, fact);
        }
        Ok(())
    }

    fn inferred(&self, op: &Op, facts: &mut Facts<'_>) -> Result<Vec<Fact>> {
        self.refuse_type(op, facts)?;
        let inferred = match &self.behaviour {
            Behaviour::Plain(operator) => operator.infer(facts)?,
            Behaviour::Control(control) => control.infer(facts, &mut |facts, number, given| {
                let (block, parsed) = numbered(op, &self.blocks, number)?;
                infer_block(block, parsed, facts, given)
            })?,
        };
        if inferred.len() != op.results.len() {
            let (due, found) = (inferred.len(), op.results.len());
            return Err(Error::malformed(format!(
                "writes {found} variables where it has {due} results"
            )));
        }
        if let Some(fact) = inferred.iter().find(|fact| fact.is_impossible()) {
            let shape = display_shape(&fact.shape);
            return Err(Error::malformed(format!(
                "a result of the impossible shape {shape}"
            )));
        }
        Ok(inferred)
    }

    /// Refuses complex numbers, and a first operand of a type that the op's definition does not list.
    fn refuse_type(&self, op: &Op, facts: &Facts<'_>) -> Result<()> {
        let mut operands = op.operands.iter().flat_map(Operand::values);
        let mut values = operands.clone().chain(&op.results);
        if let Some(value) = values.find(|value| facts.dtype(**value).is_complex()) {
            return Err(Error::unsupported(format!(
                "{} numbers are not supported",
                facts.dtype(*value)
            )));
        }
        let (Some(def), Some(value)) = (self.def, operands.next().or(op.results.first())) else {
            return Ok(());
        };
        let dtype = facts.dtype(*value);
        if def.dtypes.contains(&dtype) {
            return Ok(());
        }
        let taken: Vec<&str> = def.dtypes.iter().map(|dtype| dtype.name()).collect();
        let message = format!("it takes {}, not {dtype}", taken.join(", "));
        Err(Error::unsupported(message))
    }

    /// Emits the nodes of `op`, from which this was read, and those of its blocks.
    ///
    /// # Errors
    /// Those of `on_refusal`, which gets each op that can't be lowered.
    pub fn lower(
        &self,
        op: &Op,
        g: &mut Lowering<'_>,
        on_refusal: &mut OnRefusal<'_>,
    ) -> Result<()> {
        let lowered = g.op(op, |g| match &self.behaviour {
            Behaviour::Plain(operator) => operator.lower(g),
            Behaviour::Control(control) => control.lower(g, &mut |g, number, arguments| {
                let (block, parsed) = numbered(op, &self.blocks, number)?;
                lower_block(block, parsed, g, arguments, on_refusal)
            }),
        });
        lowered.or_else(|e| {
            g.skip(op);
            on_refusal(op, e)
        })
    }
}

/// The block of this number, with its ops as they were read.
fn numbered<'o>(
    op: &'o Op,
    parsed: &'o [Vec<ParsedOp>],
    number: usize,
) -> Result<(&'o Block, &'o [ParsedOp])> {
    let block = op.blocks.get(number).zip(parsed.get(number));
    let block = block.map(|(block, parsed)| (block, parsed.as_slice()));
    block.ok_or_else(|| Error::internal("a block that the op does not hold"))
}

/// What is known of the results of a block. Extents and elements that are those of values in the block are not known
/// outside, except for those of its arguments, which a loop compares.
fn infer_block(
    block: &Block,
    parsed: &[ParsedOp],
    facts: &mut Facts<'_>,
    arguments: &[Fact],
) -> Result<Vec<Fact>> {
    for (argument, fact) in block.arguments.iter().zip(arguments) {
        facts.refine(*argument, fact.clone());
    }
    for (op, parsed) in block.ops.iter().zip(parsed) {
        parsed.infer(op, facts)?;
    }
    let inner = block.ops.iter().flat_map(|op| &op.results).copied();
    let inner = inner.collect();
    let results = block.results.iter();
    Ok(results.map(|id| facts.get(*id).without(&inner)).collect())
}

fn lower_block(
    block: &Block,
    parsed: &[ParsedOp],
    g: &mut Lowering<'_>,
    arguments: &[TensorId],
    on_refusal: &mut OnRefusal<'_>,
) -> Result<Vec<TensorId>> {
    for (argument, tensor) in block.arguments.iter().zip(arguments) {
        g.bind(*argument, *tensor);
    }
    for (op, parsed) in block.ops.iter().zip(parsed) {
        parsed.lower(op, g, on_refusal)?;
    }
    block.results.iter().map(|id| g.value(*id)).collect()
}
