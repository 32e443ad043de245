//! Element types: each node is given those that its operator takes in the opset, and that runtimes have kernels for.
//!
//! When an op is lowered, its nodes pass through here. What is to be computed in half precision, but can't be, is
//! computed in float32 between Casts; that is what Paddle's kernels do. What ONNX Runtime's build for CPUs can't
//! compute in float64 is made of other operators (`float64`). Where neither is possible, the op is refused if ONNX does
//! not allow the type, and noted if only a kernel is missing.

use std::collections::HashMap;

use super::context::Lowering;
use super::nodes::{Kind, Node, NodeAttr, TensorId};
use super::operators::{OPERATORS, Row};
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

/// An operator as an opset has it.
#[derive(Clone, Copy)]
struct Operator {
    inputs: &'static str,
    outputs: &'static str,
    types: &'static str,
}

impl Operator {
    /// The operator of this name in `opset`, or in the first opset that has it, if that is later.
    fn find(name: &str, opset: u32) -> Option<Self> {
        let mut former = rows(name).filter(|(_, since, ..)| *since <= opset);
        let (_, _, inputs, outputs, types) = *former.next_back().or_else(|| rows(name).next())?;
        Some(Self {
            inputs,
            outputs,
            types,
        })
    }

    /// The types that a variable stands for: those that ONNX allows, and those that ONNX Runtime has kernels for.
    fn types(self, variable: char) -> (&'static str, &'static str) {
        let position = (variable as usize).saturating_sub('A' as usize);
        let types = self.types.split(' ').nth(position);
        types
            .and_then(|types| types.split_once(':'))
            .unwrap_or(("", ""))
    }

    /// The type that a variable stands for, if there is just one.
    fn only_type(self, variable: char) -> Option<DType> {
        let all = DType::ALL.into_iter();
        let mut allowed = all.filter(|dtype| self.allows(variable, *dtype));
        let first = allowed.next();
        first.filter(|_| allowed.next().is_none())
    }

    /// Whether ONNX allows a type for a variable.
    fn allows(self, variable: char, dtype: DType) -> bool {
        self.types(variable).0.contains(character(dtype))
    }

    /// Whether ONNX Runtime computes an allowed type. It casts float16 to float32 by itself.
    fn computes(self, variable: char, dtype: DType) -> bool {
        let kernels = self.types(variable).1;
        kernels.contains(character(dtype)) || dtype == DType::F16 && kernels.contains('f')
    }
}

/// The rows of an operator, by their opsets.
fn rows(name: &str) -> impl DoubleEndedIterator<Item = &'static Row> {
    OPERATORS.iter().filter(move |(known, ..)| *known == name)
}

/// The first opset above `opset` with an operator like that of a node, and as many inputs and outputs. None if `opset` has
/// it, and for operators that the table does not have.
pub(super) fn needed_opset(node: &Node, opset: u32) -> Option<u32> {
    let has_room = |signature: &str, count| signature.ends_with('+') || signature.len() >= count;
    let is_like = |(_, _, inputs, outputs, _): &&Row| {
        has_room(inputs, node.inputs.len()) && has_room(outputs, node.outputs.len())
    };
    let mut former = rows(&node.op_type).filter(|(_, since, ..)| *since <= opset);
    if former.next_back().as_ref().is_some_and(is_like) {
        return None;
    }
    let mut later = rows(&node.op_type).filter(|(_, since, ..)| *since > opset);
    later.find(is_like).map(|(_, since, ..)| *since)
}

/// The character of an element type in the table.
fn character(dtype: DType) -> char {
    match dtype {
        DType::Bool => '?',
        DType::U8 => 'B',
        DType::I8 => 'b',
        DType::I16 => 'h',
        DType::I32 => 'i',
        DType::I64 => 'l',
        DType::F16 => 'e',
        DType::BF16 => 'y',
        DType::F32 => 'f',
        DType::F64 => 'd',
        // No tensor holds complex numbers, and the table has no column for them.
        DType::C64 | DType::C128 => '-',
    }
}

/// The characters of `count` inputs or outputs, of which the last may be repeated.
fn expanded(signature: &str, count: usize) -> Vec<char> {
    let mut characters: Vec<char> = signature.chars().collect();
    if characters.last() == Some(&'+') {
        characters.pop();
        let last = characters.last().copied().unwrap_or('-');
        characters.resize(count.max(characters.len()), last);
    }
    characters.truncate(count);
    characters
}

/// The element type that a node's attributes state for its output.
fn stated(node: &Node) -> Option<DType> {
    let mut attrs = node.attrs.iter();
    attrs.find_map(|(name, attr)| match (name.as_ref(), attr) {
        ("to" | "dtype" | "output_datatype" | "output_dtype", NodeAttr::Int(code)) => {
            let mut all = DType::ALL.into_iter();
            all.find(|dtype| i64::from(dtype.onnx_code()) == *code)
        }
        ("value", NodeAttr::Tensor(tensor)) => Some(tensor.dtype()),
        _ => None,
    })
}

/// A node whose types are being looked at.
struct Typed {
    node: Node,
    inputs: Vec<char>,
    outputs: Vec<char>,
    /// The variables whose type is known.
    variables: Vec<(char, DType)>,
}

impl Typed {
    fn of(variable: char, variables: &[(char, DType)]) -> Option<DType> {
        let mut known = variables.iter().filter(|(known, _)| *known == variable);
        known.next().map(|(_, dtype)| *dtype)
    }

    /// The type of an output, from its character.
    fn output(&self, output: char) -> Option<DType> {
        let mut all = DType::ALL.into_iter();
        all.find(|dtype| character(*dtype) == output)
            .filter(|_| !output.is_ascii_uppercase())
            .or_else(|| Self::of(output, &self.variables))
    }
}

/// The tensors of an op in float32, by those in half precision that they would be rounded to.
type Wide = HashMap<TensorId, TensorId>;

impl Lowering<'_> {
    /// The element type of a tensor, if it is known.
    pub(super) fn tensor_dtype(&self, tensor: TensorId) -> Option<DType> {
        match &self.graph.tensors[tensor.index()] {
            Kind::Input(value) | Kind::Parameter(value) => Some(self.program()[*value].dtype),
            Kind::Constant(tensor) => Some(tensor.dtype()),
            Kind::Rows { dtype, .. } => Some(*dtype),
            Kind::Mapped { mapping, .. } => Some(mapping.dtype()),
            Kind::Node => self.graph.node_types.get(&tensor).copied(),
        }
    }

    /// The nodes of an op, as its operators take them.
    ///
    /// # Errors
    /// When ONNX does not allow a type, or not in the opset that is written.
    pub(super) fn fitted(&mut self, nodes: Vec<Node>) -> Result<Vec<Node>> {
        let outer = std::mem::take(&mut self.graph.nodes);
        let mut wide = Wide::new();
        let fitted = nodes
            .into_iter()
            .try_for_each(|node| self.fit(node, &mut wide));
        let mut nodes = std::mem::replace(&mut self.graph.nodes, outer);
        nodes.iter_mut().for_each(|node| node.is_fitted = true);
        fitted.map(|()| nodes)
    }

    fn fit(&mut self, mut node: Node, wide: &mut Wide) -> Result<()> {
        // Those of the ops in a block were seen to when these were lowered.
        if node.is_fitted {
            self.graph.nodes.push(node);
            return Ok(());
        }
        for body in node.bodies_mut() {
            let given = body.inputs.iter().zip(&body.given);
            let types = given.map(|(input, fact)| (*input, fact.dtype));
            self.graph.node_types.extend(types);
            body.nodes = self.fitted(std::mem::take(&mut body.nodes))?;
        }
        self.give_types(&node);
        let operator = Operator::find(&node.op_type, self.opset);
        let Some(operator) = operator.filter(|_| node.domain.is_empty()) else {
            self.graph.nodes.push(node);
            return Ok(());
        };
        let typed = self.typed(node, operator);
        for (output, character) in typed.node.outputs.iter().zip(&typed.outputs) {
            let dtype = typed.output(*character);
            self.graph
                .node_types
                .extend(dtype.map(|dtype| (*output, dtype)));
        }
        let mut widened = Vec::new();
        for (variable, dtype) in &typed.variables {
            let is_allowed = operator.allows(*variable, *dtype);
            if is_allowed && operator.computes(*variable, *dtype) {
                continue;
            }
            let is_half = matches!(dtype, DType::F16 | DType::BF16);
            if is_half && operator.allows(*variable, DType::F32) {
                widened.push(*variable);
                self.note_widened(&typed.node, *dtype, is_allowed);
            } else if !is_allowed {
                return Err(refusal(&typed.node, *variable, *dtype));
            } else if self.composed(&typed.node, *dtype) {
                return Ok(());
            } else {
                let op_type = &typed.node.op_type;
                let which = match last_computed(op_type, *variable, *dtype) {
                    Some(opset) => format!(" at opset {}, but up to {opset}", self.opset),
                    None => String::new(),
                };
                self.note(format!(
                    "ONNX Runtime's build for CPUs has no kernel of {op_type} for {dtype}{which}, and so can't run the model"
                ));
            }
        }
        self.push_widened(typed, &widened, wide);
        Ok(())
    }

    /// Notes the types of the outputs of a Loop, which are those of its body's outputs behind the condition.
    fn give_types(&mut self, node: &Node) {
        let body = node.bodies().next().filter(|_| node.op_type == "Loop");
        let given = body
            .into_iter()
            .flat_map(|body| body.outputs.iter().skip(1));
        let types: Vec<_> = (node.outputs.iter().zip(given))
            .filter_map(|(output, given)| Some((*output, self.tensor_dtype(*given)?)))
            .collect();
        self.graph.node_types.extend(types);
    }

    /// A node with what is known of its types.
    fn typed(&self, node: Node, operator: Operator) -> Typed {
        let inputs = expanded(operator.inputs, node.inputs.len());
        let outputs = expanded(operator.outputs, node.outputs.len());
        let mut variables: Vec<(char, DType)> = Vec::new();
        let mut bind = |character: char, dtype: Option<DType>| {
            let is_new =
                character.is_ascii_uppercase() && Typed::of(character, &variables).is_none();
            variables.extend(dtype.filter(|_| is_new).map(|dtype| (character, dtype)));
        };
        for (character, input) in inputs.iter().zip(&node.inputs) {
            bind(*character, input.and_then(|input| self.tensor_dtype(input)));
        }
        let given = inputs.iter().zip(&node.inputs);
        let given = given.filter(|(character, _)| **character != '-');
        let given: Vec<DType> = given
            .filter_map(|(_, input)| self.tensor_dtype((*input)?))
            .collect();
        for character in &outputs {
            let only = operator.only_type(*character);
            let mut fitting = given.iter().copied();
            let like = fitting.find(|dtype| operator.allows(*character, *dtype));
            bind(*character, only.or(stated(&node)).or(like));
        }
        Typed {
            node,
            inputs,
            outputs,
            variables,
        }
    }

    fn note_widened(&mut self, node: &Node, dtype: DType, is_allowed: bool) {
        let reason = if is_allowed {
            "for which ONNX Runtime's build for CPUs has no kernels".to_owned()
        } else {
            format!(
                "which ONNX's {} does not take at opset {}",
                node.op_type, self.opset
            )
        };
        self.note(format!(
            "computed in float32 and cast back to {dtype}, {reason}"
        ));
    }

    /// Emits a node with Casts to float32 of the inputs, and from it of the outputs, of some `widened` variables.
    fn push_widened(&mut self, typed: Typed, widened: &[char], wide: &mut Wide) {
        let Typed {
            mut node,
            inputs,
            outputs,
            ..
        } = typed;
        for (character, input) in inputs.iter().zip(&mut node.inputs) {
            if let Some(input) = input.as_mut().filter(|_| widened.contains(character)) {
                *input = self.widened(*input, wide);
            }
        }
        let mut narrow = Vec::new();
        for (character, output) in outputs.iter().zip(&mut node.outputs) {
            if widened.contains(character) {
                let computed = self.graph.tensor(Kind::Node);
                self.graph.node_types.insert(computed, DType::F32);
                wide.insert(*output, computed);
                narrow.push((computed, std::mem::replace(output, computed)));
            }
        }
        let is_stated = !widened.is_empty() && stated(&node).is_some_and(|dtype| dtype.is_float());
        for (name, attr) in node.attrs.iter_mut().filter(|_| is_stated) {
            match (name.as_ref(), attr) {
                ("dtype", NodeAttr::Int(code)) => *code = DType::F32.onnx_code().into(),
                ("value", NodeAttr::Tensor(tensor)) => *tensor = tensor.cast(DType::F32),
                _ => {}
            }
        }
        self.graph.nodes.push(node);
        for (computed, output) in narrow {
            let dtype = self.tensor_dtype(output).unwrap_or(DType::F32);
            self.cast(computed, DType::F32, dtype);
            self.give(output);
        }
    }

    /// Makes the last node have this output, which was the output of the node that it replaces.
    pub(super) fn give(&mut self, output: TensorId) {
        if let Some(last) = self.graph.nodes.last_mut() {
            last.outputs = vec![output];
        }
    }

    /// A tensor of half precision in float32: as it was before it was rounded, if the same op has computed it.
    fn widened(&mut self, tensor: TensorId, wide: &mut Wide) -> TensorId {
        if let Some(known) = wide.get(&tensor) {
            return *known;
        }
        let widened = match &self.graph.tensors[tensor.index()] {
            Kind::Constant(constant) => {
                let constant: Tensor = constant.cast(DType::F32);
                self.constant(constant)
            }
            _ => {
                let dtype = self.tensor_dtype(tensor).unwrap_or(DType::F32);
                self.cast(tensor, dtype, DType::F32)
            }
        };
        self.graph.node_types.insert(widened, DType::F32);
        wide.insert(tensor, widened);
        widened
    }
}

/// The last opset at which ONNX Runtime computes a type that it does not at a later one.
fn last_computed(op_type: &str, variable: char, dtype: DType) -> Option<u32> {
    let (mut last, mut is_computed) = (None, false);
    for (_, since, ..) in rows(op_type) {
        if is_computed {
            last = Some(since - 1);
        }
        let operator = Operator::find(op_type, *since);
        is_computed = operator.is_some_and(|operator| operator.computes(variable, dtype));
    }
    last.filter(|_| !is_computed)
}

/// The error for a node whose operator does not take a type in the opset that is written.
fn refusal(node: &Node, variable: char, dtype: DType) -> Error {
    let name = &node.op_type;
    let takes = |(_, since, inputs, outputs, types): &Row| {
        let operator = Operator {
            inputs,
            outputs,
            types,
        };
        operator.allows(variable, dtype).then_some(*since)
    };
    match rows(name).find_map(takes) {
        Some(since) => Error::needs_opset(since, format!("{name} of {dtype}")),
        None => Error::unsupported(format!("ONNX's {name} does not take {dtype}")),
    }
}
