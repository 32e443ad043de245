//! Which ONNX tensors hold which values of the program, and how long these are needed.
//!
//! The nodes of an op may read values that are none of its operands: the shape of another tensor, a cast that was
//! folded, a twin that was merged. The reference would have dropped such values by then, so they are kept here.

use std::collections::{HashMap, HashSet};

use crate::error::Result;
use crate::graph::OnnxModel;
use crate::program::{Op, Operand, Program, ValueId};
use crate::reference::Step;
use crate::tensor::{DType, Element, Tensor, with_array};
use crate::verify::onnx_file::OnnxFile;

pub(super) struct Tensors {
    /// The name of the ONNX tensor that holds each value, where a node or an input gives it.
    names: HashMap<ValueId, String>,
    /// The values that each ONNX tensor holds: several where an op has become no node.
    ids: HashMap<String, Vec<ValueId>>,
    /// For values whose axes their tensor has in another order, the tensor's axes in that of the value.
    transposed: HashMap<ValueId, Vec<usize>>,
    /// The names of those that hold whole numbers as int8, which are float32 in the program.
    int8: HashSet<String>,
    /// By value, the position in the program of the last op whose nodes read it, or those of an op in its blocks.
    last_read: HashMap<ValueId, usize>,
    /// Values that the reference has dropped, but whose last reader is still to come.
    kept: HashMap<ValueId, Tensor>,
    /// The number of the program's ops that have been run.
    position: usize,
}

impl Tensors {
    /// The tensors that hold the values of a program in an ONNX file, which was written of this model.
    ///
    /// # Errors
    /// When nothing gives a tensor that the file's nodes read.
    pub fn new(program: &Program, lowered: OnnxModel, graph: &OnnxFile) -> Result<Self> {
        let names = lowered.tensors.into_iter();
        let names: HashMap<ValueId, String> = names.filter(|(_, name)| graph.gives(name)).collect();
        let mut ids: HashMap<String, Vec<ValueId>> = HashMap::new();
        for (id, name) in &names {
            ids.entry(name.clone()).or_default().push(*id);
        }
        ids.values_mut().for_each(|ids| ids.sort());
        let mut tensors = Self {
            names,
            ids,
            transposed: lowered.transposed,
            int8: lowered.int8,
            last_read: HashMap::new(),
            kept: HashMap::new(),
            position: 0,
        };
        let mut computed = program.inputs().iter().copied().collect();
        for (position, op) in program.ops().iter().enumerate() {
            tensors.add_reads(op, position, program, graph, &mut computed)?;
        }
        Ok(tensors)
    }

    /// Records that the nodes of an op, and those of the ops in its blocks, read values at a position.
    fn add_reads(
        &mut self,
        op: &Op,
        position: usize,
        program: &Program,
        graph: &OnnxFile,
        computed: &mut HashSet<ValueId>,
    ) -> Result<()> {
        for block in &op.blocks {
            computed.extend(&block.arguments);
            for op in &block.ops {
                self.add_reads(op, position, program, graph, computed)?;
            }
        }
        let results = self.results(op).into_iter();
        let results: Vec<_> = results
            .map(|(_, id, name)| (name, program[id].dtype))
            .collect();
        let known = |name: &str| {
            let mut ids = self.values(name);
            Some(program[ids.find(|id| computed.contains(id))?].dtype)
        };
        let read = graph.read_by(&results, &known)?;
        for name in read {
            for id in self.ids.get(&name).into_iter().flatten() {
                self.last_read.insert(*id, position);
            }
        }
        computed.extend(&op.results);
        Ok(())
    }

    /// The results of an op that have a tensor, with their positions; none if the op has become no node of its own,
    /// since a result is one of its operands, in the same tensor.
    pub fn results(&self, op: &Op) -> Vec<(usize, ValueId, &str)> {
        let results = op.results.iter().enumerate();
        let named = results.filter_map(|(position, id)| Some((position, *id, self.name(*id)?)));
        let named: Vec<_> = named.collect();
        let mut operands = op.operands.iter().flat_map(Operand::values);
        let is_result = |name: &str| named.iter().any(|(_, _, result)| *result == name);
        if operands.any(|id| self.name(*id).is_some_and(is_result)) {
            return Vec::new();
        }
        named
    }

    /// The name of the tensor that holds a value.
    pub fn name(&self, id: ValueId) -> Option<&str> {
        self.names.get(&id).map(String::as_str)
    }

    /// The values that a tensor holds.
    pub fn values(&self, name: &str) -> impl Iterator<Item = ValueId> {
        self.ids.get(name).into_iter().flatten().copied()
    }

    /// The element type of a tensor, if a value that it holds is alive or kept.
    pub fn dtype(&self, name: &str, step: &Step<'_>) -> Option<DType> {
        let mut values = self.values(name);
        let value = values.find_map(|id| self.tensor(id, step))?;
        Some(self.held_as(name, value.dtype()))
    }

    /// The element type in which a tensor holds a value that is of another in the program.
    pub fn held_as(&self, name: &str, dtype: DType) -> DType {
        match self.int8.contains(name) {
            true => DType::I8,
            false => dtype,
        }
    }

    /// A value as its tensor, of this name, holds it.
    pub fn held(&self, id: ValueId, name: &str, value: &Tensor) -> Tensor {
        let value = match self.transposed.get(&id) {
            Some(perm) => {
                let mut axes = vec![0; perm.len()];
                perm.iter().zip(0..).for_each(|(to, axis)| axes[*to] = axis);
                permuted(value, &axes)
            }
            None => value.clone(),
        };
        match self.int8.contains(name) {
            true => value.cast(DType::I8),
            false => value,
        }
    }

    /// The value that the program has where its tensor, of this name, is `tensor`.
    pub fn value_of(&self, id: ValueId, name: &str, tensor: Tensor) -> Tensor {
        let tensor = match self.int8.contains(name) {
            true => tensor.cast(DType::F32),
            false => tensor,
        };
        match self.transposed.get(&id) {
            Some(perm) => permuted(&tensor, perm),
            None => tensor,
        }
    }

    /// A value that is alive or kept.
    pub fn tensor<'t>(&'t self, id: ValueId, step: &'t Step<'_>) -> Option<&'t Tensor> {
        step.tensor(id).or_else(|| self.kept.get(&id))
    }

    /// Keeps what the reference is about to drop but later ops read, and returns the values that nothing reads any more.
    /// In a block, any of the ops may be the later one, until the op that holds the block has run.
    pub fn keep(&mut self, step: &Step<'_>) -> Vec<ValueId> {
        let next = self.position + usize::from(step.around.is_empty());
        let is_read = |id: &ValueId| self.last_read.get(id).is_some_and(|last| *last >= next);
        let (kept, mut over): (Vec<_>, Vec<_>) = step.dead().iter().copied().partition(is_read);
        let past = self.kept.keys().copied().filter(|id| !is_read(id));
        over.extend(past.collect::<Vec<_>>());
        for id in &over {
            self.kept.remove(id);
        }
        for id in kept {
            if let Some(tensor) = step.tensor(id) {
                self.kept.insert(id, tensor.clone());
            }
        }
        self.position = next;
        over
    }
}

/// A tensor with its axes in this order. As it is if it has another rank, which a comparison will tell.
fn permuted(tensor: &Tensor, axes: &[usize]) -> Tensor {
    if tensor.shape().len() != axes.len() {
        return tensor.clone();
    }
    with_array!(tensor, x => Element::tensor(x.clone().permuted_axes(axes)))
}
