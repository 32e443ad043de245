//! A run, op by op and block by block.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::lifetimes::Lifetime;
use super::rounding::Rounding;
use crate::error::{Error, Result};
use crate::operator::{Behaviour, Control, ParsedOp, Precision, Run, Values, evaluate};
use crate::program::{Op, Operand, ValueId};
use crate::tensor::{DType, Panels, Tensor};

/// What is kept of a result.
pub(super) type Alter<'a> = dyn FnMut(Tensor, Made<'_>) -> Tensor + Send + 'a;

/// Where a result comes from.
pub(super) struct Made<'o> {
    /// The result's element type in the program.
    pub dtype: DType,
    pub op: &'o Op,
    tensors: &'o [Option<Tensor>],
}

impl Made<'_> {
    /// The number of elements of the op's largest operand.
    pub fn largest_operand(&self) -> usize {
        largest_operand(self.op, self.tensors)
    }
}

/// In which rounds of a loop the ops of its block are visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounds {
    FirstAndLast,
    /// In the round of this number; the first has the number 1.
    Only(usize),
}

/// What is called after each op: of the program, of branches that are taken, and of these rounds of loops.
pub(super) struct Visitor<'v> {
    pub visit: &'v mut dyn FnMut(Step<'_>) -> Result<ControlFlow<()>>,
    pub rounds: Rounds,
}

/// A block of an op, in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Within {
    /// The position of the op that holds the block, in the program's file.
    pub index: usize,
    /// The name of that op in the program.
    pub op: String,
    /// Which of its blocks it is. That of a branch which is taken if the condition holds is the block 0.
    pub block: usize,
    /// The number of the round, for a loop. The first has the number 1.
    pub round: Option<usize>,
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.round, self.block) {
            (Some(round), _) => write!(f, "round {round}")?,
            (None, 0) => f.write_str("the true branch")?,
            (None, _) => f.write_str("the false branch")?,
        }
        write!(f, " of op {} `{}`", self.index, self.op)
    }
}

/// A run under way.
pub(super) struct Walk<'w> {
    /// The tensor of each value that is alive.
    pub tensors: Vec<Option<Tensor>>,
    /// The weights that are in panels instead, by the number of their value.
    pub panels: &'w [Option<Panels>],
    /// The element type of each value in the program.
    pub dtypes: Arc<[DType]>,
    pub precision: Precision,
    /// Gets every result, and returns what is kept of it.
    pub alter: Option<&'w mut Alter<'w>>,
    /// None if no op is visited, or none any more.
    pub visitor: Option<Visitor<'w>>,
    /// The blocks around the ops that run now, from the outside in, where these are visited.
    pub around: Vec<Within>,
    /// Ends the run when it is set.
    pub stop: Option<Arc<AtomicBool>>,
}

impl Walk<'_> {
    /// Runs one op, keeps its results, has it visited, and drops the values that end with it.
    ///
    /// # Errors
    /// When it can't be computed, the run is stopped, and those of the visitor.
    pub fn op(&mut self, op: &Op, parsed: &ParsedOp, lifetime: &Lifetime) -> Result<()> {
        if self
            .stop
            .as_ref()
            .is_some_and(|stop| stop.load(Ordering::Relaxed))
        {
            return Err(Error::interrupted());
        }
        let results = self.results(op, parsed, lifetime);
        let results = results.map_err(|e| e.at_op(&op.source))?;
        for (id, tensor) in op.results.iter().zip(results) {
            self.tensors[id.index()] = Some(tensor);
        }
        if let Some(visitor) = &mut self.visitor {
            let step = Step {
                op,
                parsed,
                lifetime,
                around: &self.around,
                dtypes: &self.dtypes,
                tensors: &self.tensors,
            };
            if (visitor.visit)(step)?.is_break() {
                self.visitor = None;
            }
        }
        for id in &lifetime.dead {
            self.tensors[id.index()] = None;
        }
        Ok(())
    }

    /// The results of an op as they are kept.
    fn results(&mut self, op: &Op, parsed: &ParsedOp, lifetime: &Lifetime) -> Result<Vec<Tensor>> {
        let operator = match parsed.behaviour() {
            Behaviour::Plain(operator) => operator,
            // Its results are those of other ops, and kept as these are.
            Behaviour::Control(control) => return self.control(&**control, op, parsed, lifetime),
        };
        let values = Values {
            tensors: &self.tensors,
            panels: self.panels,
            precision: self.precision,
        };
        let results = evaluate(&**operator, op, &values)?;
        let kept = op.results.iter().zip(results).map(|(id, tensor)| {
            let declared = self.dtypes[id.index()];
            let dtype = self.precision.keeping(declared);
            let is_rounded = matches!(dtype, DType::F16 | DType::BF16);
            let tensor = if is_rounded {
                tensor.cast(dtype)
            } else {
                tensor
            };
            let made = Made {
                dtype: declared,
                op,
                tensors: &self.tensors,
            };
            match &mut self.alter {
                Some(alter) => alter(tensor, made),
                None => tensor,
            }
        });
        Ok(kept.collect())
    }

    /// The results of an op that holds blocks.
    fn control(
        &mut self,
        control: &dyn Control,
        op: &Op,
        parsed: &ParsedOp,
        lifetime: &Lifetime,
    ) -> Result<Vec<Tensor>> {
        let mut blocks = Blocks {
            walk: self,
            op,
            parsed,
            lifetime,
            is_loop: control.is_loop(),
            rounds: 0,
            last: None,
        };
        let results = control.evaluate(&mut blocks)?;
        blocks.visit_last()?;
        Ok(results)
    }

    fn value(&self, id: ValueId) -> Result<Tensor> {
        let tensor = self.tensors.get(id.index()).cloned().flatten();
        tensor.ok_or_else(|| Error::internal("a value is used before it is computed"))
    }
}

/// The number of elements of the largest operand of an op, of those that are alive.
fn largest_operand(op: &Op, tensors: &[Option<Tensor>]) -> usize {
    let operands = op.operands.iter().flat_map(Operand::values);
    let lengths = operands.filter_map(|id| Some(tensors.get(id.index())?.as_ref()?.len()));
    lengths.max().unwrap_or(0)
}

/// The blocks of an op, which a run runs.
struct Blocks<'b, 'w> {
    walk: &'b mut Walk<'w>,
    op: &'b Op,
    parsed: &'b ParsedOp,
    lifetime: &'b Lifetime,
    is_loop: bool,
    /// How many times a block has run.
    rounds: usize,
    /// The number of the block that ran last, and its arguments, if that round is to be visited if it is the last.
    last: Option<(usize, Vec<Tensor>)>,
}

impl Blocks<'_, '_> {
    /// Runs a block, with visits to its ops.
    fn visited(&mut self, number: usize, arguments: Vec<Tensor>) -> Result<Vec<Tensor>> {
        self.walk.around.push(Within {
            index: self.op.source.index,
            op: self.op.kind.name().to_owned(),
            block: number,
            round: self.is_loop.then_some(self.rounds),
        });
        let results = self.run(number, arguments);
        self.walk.around.pop();
        results
    }

    /// Runs a block, without visits to its ops.
    fn unseen(&mut self, number: usize, arguments: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let visitor = self.walk.visitor.take();
        let results = self.run(number, arguments);
        self.walk.visitor = visitor;
        results
    }

    fn run(&mut self, number: usize, arguments: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let block = self.op.blocks.get(number);
        let parsed = self.parsed.blocks.get(number);
        let parts = block.zip(parsed).zip(self.lifetime.blocks.get(number));
        let ((block, parsed), lifetimes) =
            parts.ok_or_else(|| Error::internal("a block that the op does not hold"))?;
        for (id, tensor) in block.arguments.iter().zip(arguments) {
            self.walk.tensors[id.index()] = Some(tensor);
        }
        let ops = block.ops.iter().zip(parsed).zip(&lifetimes.ops);
        for ((op, parsed), lifetime) in ops {
            self.walk.op(op, parsed, lifetime)?;
        }
        let results = block.results.iter();
        results.map(|id| self.walk.value(*id)).collect()
    }

    /// Runs the last round again, with visits: which round is the last is known after it.
    fn visit_last(&mut self) -> Result<()> {
        if let Some((number, arguments)) = self.last.take() {
            self.visited(number, arguments)?;
        }
        Ok(())
    }
}

impl Run for Blocks<'_, '_> {
    fn value(&self, id: ValueId) -> Result<Tensor> {
        self.walk.value(id)
    }

    fn block(&mut self, number: usize, arguments: Vec<Tensor>) -> Result<Vec<Tensor>> {
        self.rounds += 1;
        let Some(rounds) = self.walk.visitor.as_ref().map(|visitor| visitor.rounds) else {
            return self.run(number, arguments);
        };
        let is_visited = match rounds {
            _ if !self.is_loop => true,
            Rounds::FirstAndLast => self.rounds == 1,
            Rounds::Only(round) => self.rounds == round,
        };
        if is_visited {
            return self.visited(number, arguments);
        }
        if rounds == Rounds::FirstAndLast {
            self.last = Some((number, arguments.clone()));
        }
        self.unseen(number, arguments)
    }
}

/// An op of a run, with the values that are alive after it.
pub(crate) struct Step<'s> {
    pub op: &'s Op,
    pub(super) parsed: &'s ParsedOp,
    pub(super) lifetime: &'s Lifetime,
    /// The blocks around the op, from the outside in.
    pub around: &'s [Within],
    pub(super) dtypes: &'s Arc<[DType]>,
    pub(super) tensors: &'s [Option<Tensor>],
}

impl Step<'_> {
    /// The tensor of a value that is alive, such as an operand or result of the op.
    pub fn tensor(&self, id: ValueId) -> Option<&Tensor> {
        self.tensors.get(id.index())?.as_ref()
    }

    /// The number of elements of the op's largest operand.
    pub fn largest_operand(&self) -> usize {
        largest_operand(self.op, self.tensors)
    }

    /// The values that nothing reads after this op. They are dropped after the visit.
    pub fn dead(&self) -> &[ValueId] {
        &self.lifetime.dead
    }

    /// The results of the op in `precision`, from these tensors.
    fn results(&self, tensors: Vec<Option<Tensor>>, precision: Precision) -> Result<Vec<Tensor>> {
        if let Some(operator) = self.parsed.operator() {
            return evaluate(operator, self.op, &Values::new(&tensors, precision));
        }
        let mut walk = Walk {
            tensors,
            panels: &[],
            dtypes: self.dtypes.clone(),
            precision,
            alter: None,
            visitor: None,
            around: Vec::new(),
            stop: None,
        };
        walk.results(self.op, self.parsed, self.lifetime)
    }

    /// The results of the op, computed in float64 from its operands as `other` has them, or else as the run has them.
    pub fn exact_results(&self, other: &dyn Fn(ValueId) -> Option<Tensor>) -> Result<Vec<Tensor>> {
        let mut tensors = self.tensors.to_vec();
        self.op.each_read(&mut |id| {
            if let Some(tensor) = other(id) {
                tensors[id.index()] = Some(tensor);
            }
        });
        self.results(tensors, Precision::Double)
    }

    /// The results of the op, computed in float64 with a `factor` on its first operand.
    pub fn scaled_results(&self, factor: f64) -> Result<Vec<Tensor>> {
        let mut tensors = self.tensors.to_vec();
        let first = self.op.operands.iter().flat_map(Operand::values).next();
        let first = first.and_then(|id| tensors.get_mut(id.index())?.as_mut());
        if let Some(operand) = first.filter(|operand| operand.dtype().is_float()) {
            let elements = operand.to_f64_vec().into_iter().map(|x| x * factor);
            *operand = Tensor::from_elements(operand.shape(), elements.collect())?;
        }
        // All operands have to be of one type.
        for id in self.op.operands.iter().flat_map(Operand::values).skip(1) {
            if let Some(operand) = tensors.get_mut(id.index()).and_then(Option::as_mut) {
                let dtype = Precision::Double.computing(operand.dtype());
                *operand = operand.cast(dtype);
            }
        }
        self.results(tensors, Precision::Double)
    }

    /// The result at `position` as a run has it, and the exact one, of other operands: with other numbers of the same
    /// signs and magnitudes.
    pub fn other_result(
        &self,
        position: usize,
        rounding: &mut Rounding,
    ) -> Result<Option<(Tensor, Tensor)>> {
        let mut tensors = vec![None; self.tensors.len()];
        self.op.each_read(&mut |id| {
            tensors[id.index()] = self.tensor(id).map(|tensor| rounding.other_operand(tensor));
        });
        let result = |precision| {
            let results = self.results(tensors.clone(), precision)?;
            Ok(results.into_iter().nth(position))
        };
        let (rounded, exact) = (result(Precision::Single)?, result(Precision::Double)?);
        let kept = self
            .op
            .results
            .get(position)
            .and_then(|id| self.tensor(*id));
        let pair = rounded.zip(exact).zip(kept);
        Ok(pair.map(|((rounded, exact), kept)| (rounded.cast(kept.dtype()), exact)))
    }
}
