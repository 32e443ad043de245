//! What a model consists of: its inputs and outputs, its ops, the sizes of its weights and the cost of a run.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::Model;
use crate::analyse::Analysis;
use crate::error::Result;
use crate::operator::Macs;
use crate::program::{OpKind, Operand, Origin, Value, ValueId};
use crate::tensor::{DType, Dim};

/// What a model consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The inputs, in the order in which Paddle takes them.
    pub inputs: Vec<Port>,
    /// The outputs, in the order in which Paddle returns them. Their shapes are inferred from the ops, or, where an op
    /// is not supported or not what its definition expects, those that the file declares.
    pub outputs: Vec<Port>,
    /// How often each op occurs, by PHI name (the file's name where it is not supported).
    pub ops: BTreeMap<String, usize>,
    /// The names in the file of the ops that are not supported, sorted.
    pub unsupported: Vec<String>,
    /// What is wrong with the first op that is not what its definition expects. None if there is no such op, or an op
    /// is not supported.
    pub problem: Option<String>,
    /// The number of elements of all weights that the program reads.
    pub parameters: u64,
    /// The number of elements of the weights of layers alone, which is what published figures count: the weights of
    /// convolutions and matrix products, and all vectors, which are scales and biases. A position embedding that is
    /// merely added is not counted. None if an op is not supported, there is a `problem`, or the program can't take
    /// inputs whose open extents are 1.
    pub layer_parameters: Option<u64>,
    /// The multiply-accumulates, if all ops are supported, and their costs are known where open extents are 1.
    pub macs: Option<MacCount>,
}

/// An input or an output of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The name by which callers know it.
    pub name: String,
    /// The element type.
    pub dtype: DType,
    /// The shape, in which a symbol stands for an extent that the inputs of a run set.
    pub shape: Vec<Dim>,
}

/// The multiply-accumulates of one run at batch 1. Other extents that the inputs leave open count as 1, too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MacCount {
    /// Products of an activation with a trained weight, which is what published figures count.
    pub layers: u64,
    /// Products of two activations, as in attention.
    pub activations: u64,
}

impl Model {
    /// Counts what the model consists of. A model with ops that are not supported has a summary, too.
    pub fn summary(&self) -> Summary {
        let program = &self.program;
        let mut counts = BTreeMap::new();
        let mut unsupported = BTreeSet::new();
        for op in program.all_ops() {
            *counts.entry(op.kind.name().to_owned()).or_insert(0) += 1;
            if let OpKind::Unknown(name) = &op.kind
                && !self.registry.knows(&op.kind)
            {
                unsupported.insert(name.clone());
            }
        }
        let mut summary = Summary {
            inputs: program
                .inputs()
                .iter()
                .map(|id| self.declared(*id))
                .collect(),
            outputs: program
                .outputs()
                .iter()
                .map(|o| self.declared(o.value))
                .collect(),
            ops: counts,
            unsupported: unsupported.into_iter().collect(),
            problem: None,
            parameters: self.parameters(|_, _| true),
            layer_parameters: None,
            macs: None,
        };
        for (port, output) in summary.outputs.iter_mut().zip(program.outputs()) {
            port.name.clone_from(&output.name);
        }
        if summary.unsupported.is_empty() {
            match self.analyse(&mut summary) {
                Ok(()) => {}
                Err(e) => summary.problem = Some(e.in_file(&self.files.program).to_string()),
            }
        }
        summary
    }

    fn declared(&self, id: ValueId) -> Port {
        let value = &self.program[id];
        Port {
            name: value.name.clone(),
            dtype: value.dtype,
            shape: value.shape.clone(),
        }
    }

    /// Adds what follows from the ops: the shapes of the outputs, and the counts of layers.
    fn analyse(&self, summary: &mut Summary) -> Result<()> {
        let facts = Analysis::of(&self.program, &self.registry)?.facts;
        for (port, output) in summary.outputs.iter_mut().zip(self.program.outputs()) {
            port.shape.clone_from(&facts.get(output.value).shape);
        }
        // Some programs can't take extents of 1, such as those that pad by reflection.
        if let Ok(costs) = self.costs() {
            summary.layer_parameters = Some(self.layer_parameters(&costs));
            summary.macs = total(&costs);
        }
        Ok(())
    }

    /// The number of elements of those weights that the program reads and `counts` accepts.
    fn parameters(&self, counts: impl Fn(ValueId, &Value) -> bool) -> u64 {
        let uses = self.program.use_counts();
        let weights = self.program.values().filter(|(id, value)| {
            let is_weight = matches!(value.origin, Origin::Parameter(_));
            is_weight && uses[id.index()] > 0 && counts(*id, value)
        });
        let elements = weights.map(|(_, value)| {
            let extents = value.shape.iter().filter_map(Dim::known);
            extents.map(i64::unsigned_abs).product::<u64>()
        });
        elements.sum()
    }

    fn layer_parameters(&self, costs: &[Macs]) -> u64 {
        let ops = self.program.ops().iter().zip(costs);
        let layers = ops.filter(|(_, cost)| matches!(cost, Macs::Weighted(_)));
        let operands = layers.flat_map(|(op, _)| &op.operands);
        let weights: HashSet<ValueId> = operands.flat_map(Operand::values).copied().collect();
        // Vectors are the scales and biases of layers.
        self.parameters(|id, value| value.shape.len() <= 1 || weights.contains(&id))
    }

    /// The multiply-accumulates of each op. Extents that the inputs leave open count as 1.
    fn costs(&self) -> Result<Vec<Macs>> {
        let program = self.program.with_input_shapes(|_, shape| {
            let extents = shape.iter().map(|dim| dim.known().unwrap_or(1));
            extents.map(Dim::Known).collect()
        });
        let Analysis { ops, facts } = Analysis::of(&program, &self.registry)?;
        let costs = ops.iter().map(|op| op.macs(&facts));
        Ok(costs.collect())
    }
}

/// The multiply-accumulates of all ops together. None if those of an op are not known, or a sum exceeds 64 bits.
fn total(costs: &[Macs]) -> Option<MacCount> {
    let mut count = MacCount::default();
    for cost in costs {
        match cost {
            Macs::None => {}
            Macs::Weighted(macs) => count.layers = count.layers.checked_add(*macs)?,
            Macs::Activations(macs) => count.activations = count.activations.checked_add(*macs)?,
            Macs::Unknown => return None,
        }
    }
    Some(count)
}
