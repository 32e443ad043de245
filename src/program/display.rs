//! The program as text, for snapshots and for people.
//!
//! First come the inputs and the parameters, then the ops in order, then the outputs, a line each:
//!
//! ```text
//! input %0:x : float32 [batch, 4, 6]
//! %2:sum = sum(%0:x, []) keepdim=false : float32 []
//! %6:greater_than = greater_than(%2:sum, [0.0]) : bool []
//! output fetch_name_0 = %6:greater_than
//! ```
//!
//! The line of an op has its results, its name, its operands in order, its attributes by name, and the declared types
//! of the results. A value is shown by its number and its name, a constant by its elements in row-major order, or by
//! its type if they are many. A list of tensors stands in brackets, and `-` for an operand that is absent. The blocks
//! of an op follow it, indented, each from its arguments to what it yields.

use std::fmt;

use super::{Block, Op, Operand, Origin, Program, ValueId};
use crate::tensor::{Tensor, display_shape};

/// The most elements of a constant that is shown by its elements.
const LONGEST_CONSTANT: usize = 8;

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, value) in self.values() {
            let kind = match value.origin {
                Origin::Input => "input",
                Origin::Parameter(_) => "parameter",
                Origin::Constant(_) | Origin::Result => continue,
            };
            writeln!(f, "{kind} {} : {}", self.label(id), self.type_of(id))?;
        }
        for op in &self.ops {
            self.fmt_op(op, 0, f)?;
        }
        for output in &self.outputs {
            writeln!(f, "output {} = {}", output.name, self.label(output.value))?;
        }
        Ok(())
    }
}

impl Program {
    fn fmt_op(&self, op: &Op, depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:width$}", "", width = 4 * depth)?;
        let results: Vec<String> = op.results.iter().map(|id| self.label(*id)).collect();
        let operands: Vec<String> = op
            .operands
            .iter()
            .map(|operand| self.operand(operand))
            .collect();
        write!(
            f,
            "{} = {}({})",
            results.join(", "),
            op.kind.name(),
            operands.join(", ")
        )?;
        for (name, attr) in op.attrs.iter() {
            write!(f, " {name}={attr}")?;
        }
        let types: Vec<String> = op.results.iter().map(|id| self.type_of(*id)).collect();
        writeln!(f, " : {}", types.join(", "))?;
        for block in &op.blocks {
            self.fmt_block(block, depth + 1, f)?;
        }
        Ok(())
    }

    fn fmt_block(&self, block: &Block, depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = |ids: &[ValueId]| {
            let labels: Vec<String> = ids.iter().map(|id| self.label(*id)).collect();
            labels.join(", ")
        };
        let width = 4 * depth;
        writeln!(f, "{:width$}block({})", "", labels(&block.arguments))?;
        for op in &block.ops {
            self.fmt_op(op, depth + 1, f)?;
        }
        writeln!(f, "{:width$}yield {}", "", labels(&block.results))
    }

    fn operand(&self, operand: &Operand) -> String {
        match operand {
            Operand::Absent => "-".into(),
            Operand::One(id) => self.label(*id),
            Operand::Many(ids) => {
                let labels: Vec<String> = ids.iter().map(|id| self.label(*id)).collect();
                format!("[{}]", labels.join(", "))
            }
        }
    }

    /// A value by its number and its name, which is not unique where a variable is written twice; a constant by its
    /// elements.
    fn label(&self, id: ValueId) -> String {
        let value = &self[id];
        match &value.origin {
            Origin::Constant(tensor) => constant(tensor),
            _ => format!("%{}:{}", id.index(), value.name),
        }
    }

    fn type_of(&self, id: ValueId) -> String {
        let value = &self[id];
        format!("{} {}", value.dtype, display_shape(&value.shape))
    }
}

fn constant(tensor: &Tensor) -> String {
    if tensor.len() > LONGEST_CONSTANT {
        return format!("{} {}", tensor.dtype(), display_shape(tensor.shape()));
    }
    if tensor.dtype().is_float() {
        format!("{:?}", tensor.to_f64_vec())
    } else {
        format!("{:?}", tensor.to_i64_vec())
    }
}
