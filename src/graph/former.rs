//! Older opsets: nodes are emitted as the newer opsets spell them, and pass through here when an op is lowered. Inputs
//! that were attributes once become these, attributes that say what an operator did anyway are left out, and
//! operators that took less are told in another way what to do.
//!
//! ONNX: the change logs of its operators (`docs/Changelog.md`).

use std::borrow::Cow;

use super::context::Lowering;
use super::nodes::{Node, NodeAttr, TensorId};
use super::types::needed_opset;
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

/// What an attribute holds that is an input by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Int,
    Ints,
    Float,
    Floats,
}

/// Inputs that were attributes once: the operator, the position of the input, the attribute, what it held, and the
/// first opset in which it is an input.
#[rustfmt::skip]
const ATTRIBUTES_ONCE: &[(&str, usize, &str, Held, u32)] = &[
    ("Clip", 1, "min", Held::Float, 11),
    ("Clip", 2, "max", Held::Float, 11),
    ("DFT", 2, "axis", Held::Int, 20),
    ("Pad", 1, "pads", Held::Ints, 11),
    ("Pad", 2, "value", Held::Float, 11),
    ("ReduceL1", 1, "axes", Held::Ints, 18),
    ("ReduceL2", 1, "axes", Held::Ints, 18),
    ("ReduceLogSum", 1, "axes", Held::Ints, 18),
    ("ReduceLogSumExp", 1, "axes", Held::Ints, 18),
    ("ReduceMax", 1, "axes", Held::Ints, 18),
    ("ReduceMean", 1, "axes", Held::Ints, 18),
    ("ReduceMin", 1, "axes", Held::Ints, 18),
    ("ReduceProd", 1, "axes", Held::Ints, 18),
    ("ReduceSum", 1, "axes", Held::Ints, 13),
    ("ReduceSumSquare", 1, "axes", Held::Ints, 18),
    ("Slice", 1, "starts", Held::Ints, 10),
    ("Slice", 2, "ends", Held::Ints, 10),
    ("Slice", 3, "axes", Held::Ints, 10),
    ("Split", 1, "split", Held::Ints, 13),
    ("Squeeze", 1, "axes", Held::Ints, 13),
    ("TopK", 1, "k", Held::Int, 10),
    ("Unsqueeze", 1, "axes", Held::Ints, 13),
    ("Upsample", 1, "scales", Held::Floats, 9),
];

/// An attribute that opset 7 does not have: the operator, the attribute, the first opset that has it, and the value, of a
/// list the value for each axis, that says what older opsets do as well.
type NewerAttr = (&'static str, &'static str, u32, Option<i64>);

const NEWER_ATTRS: &[NewerAttr] = &[
    ("AveragePool", "ceil_mode", 10, Some(0)),
    ("DepthToSpace", "mode", 11, None),
    ("MaxPool", "ceil_mode", 10, Some(0)),
    ("MaxPool", "dilations", 10, Some(1)),
    ("MaxPool", "storage_order", 8, Some(0)),
    ("QuantizeLinear", "output_dtype", 21, None),
    ("Reshape", "allowzero", 14, None),
    ("ScatterElements", "reduction", 16, None),
    ("ScatterND", "reduction", 16, None),
    ("TopK", "largest", 11, Some(1)),
    ("TopK", "sorted", 11, Some(1)),
];

/// Attributes with numbers of axes, which count from the start before opset 11.
const AXES: [&str; 2] = ["axes", "axis"];

/// Operators that broadcast their inputs from opset 8 on.
const BROADCASTING: [&str; 4] = ["Max", "Mean", "Min", "Sum"];

impl Lowering<'_> {
    /// The nodes of an op as the opset spells them, as far as it can. What it can't stays as it is, and is refused later.
    ///
    /// # Errors
    /// When an input is computed in a run where the opset has an attribute.
    pub(super) fn spelled(&mut self, nodes: Vec<Node>) -> Result<Vec<Node>> {
        let outer = std::mem::take(&mut self.graph.nodes);
        let spelled = nodes.into_iter().try_for_each(|node| self.respell(node));
        let nodes = std::mem::replace(&mut self.graph.nodes, outer);
        spelled.map(|()| nodes)
    }

    fn respell(&mut self, mut node: Node) -> Result<()> {
        for body in node.bodies_mut() {
            body.nodes = self.spelled(std::mem::take(&mut body.nodes))?;
        }
        if !node.domain.is_empty() {
            self.graph.nodes.push(node);
            return Ok(());
        }
        for (_, name, since, default) in newer_attrs(&node.op_type) {
            let is_said = |attr: &NodeAttr| default.is_some_and(|default| says(attr, default));
            if self.opset < *since {
                node.attrs
                    .retain(|(given, attr)| given != name || !is_said(attr));
            }
        }
        if self.opset < 11 {
            let Some(changed) = self.before_11(node)? else {
                return Ok(());
            };
            node = changed;
        }
        self.inputs_to_attributes(&mut node)?;
        self.graph.nodes.push(node);
        Ok(())
    }

    /// Makes attributes of the inputs that the opset does not have.
    fn inputs_to_attributes(&self, node: &mut Node) -> Result<()> {
        for (op_type, position, name, held, since) in ATTRIBUTES_ONCE {
            let input = node.inputs.get(*position).copied().flatten();
            let is_attribute = node.op_type == *op_type && self.opset < *since;
            let Some(input) = input.filter(|_| is_attribute) else {
                continue;
            };
            let Some(constant) = self.constant_of(input) else {
                let what = format!("a computed `{name}` of ONNX's {op_type}");
                return Err(Error::needs_opset(*since, what));
            };
            let attr = attribute(constant, *held)
                .ok_or_else(|| Error::internal(format!("`{name}` of {op_type} is empty")))?;
            node.inputs[*position] = None;
            node.attrs.push((Cow::Borrowed(name), attr));
        }
        while let Some(None) = node.inputs.last() {
            node.inputs.pop();
        }
        Ok(())
    }

    /// What operators of opset 11 are before: the node to go on with, or none if others were emitted in its place.
    fn before_11(&mut self, mut node: Node) -> Result<Option<Node>> {
        match node.op_type.as_ref() {
            "Clip" if self.has_computed_bounds(&node) => {
                self.clip_by_computed(&node);
                return Ok(None);
            }
            "Gemm" if node.inputs.len() == 2 => {
                let dtype = node.inputs[0].and_then(|x| self.tensor_dtype(x));
                let zero = self.scalar(dtype.unwrap_or(DType::F32), 0.0);
                node.inputs.push(Some(zero));
            }
            "Range" if self.opset >= 9 => return Ok(self.range_of_positions(node)),
            "Resize" => self.resize_by_scales(&mut node),
            "ScatterElements" if self.opset >= 9 && !has(&node, "reduction") => {
                node.op_type = "Scatter".into();
            }
            "Slice" if self.opset < 10 => self.slice_of_neighbours(&mut node)?,
            _ => {}
        }
        Ok(Some(node))
    }

    fn has_computed_bounds(&self, clip: &Node) -> bool {
        let mut bounds = clip.inputs.iter().skip(1).flatten();
        bounds.any(|bound| self.constant_of(*bound).is_none())
    }

    /// Emits Max and Min for a Clip whose bounds a run computes.
    fn clip_by_computed(&mut self, node: &Node) {
        let mut inputs = node.inputs.iter().copied();
        let mut x = inputs.next().flatten();
        for (op_type, bound) in ["Max", "Min"].into_iter().zip(inputs) {
            if let (Some(clipped), Some(bound)) = (x, bound) {
                x = Some(self.node(op_type, &[clipped, bound], []));
            }
        }
        self.give(node.outputs[0]);
    }

    /// Emits NonZero of ones for a Range of 0, 1, …, which is the only one that opset 9 can count.
    fn range_of_positions(&mut self, node: Node) -> Option<Node> {
        let constant = |input: Option<TensorId>| Some(self.constant_of(input?)?.to_i64_vec());
        let is = |input, value| constant(input).is_some_and(|found| found == [value]);
        let [start, Some(limit), step] = node.inputs[..] else {
            return Some(node);
        };
        if !is(start, 0) || !is(step, 1) || self.tensor_dtype(limit) != Some(DType::I64) {
            return Some(node);
        }
        let one = Tensor::vector(vec![1_i64]);
        let first = self.vector(&[1]);
        let count = self.node("Reshape", &[limit, first], []);
        let ones = self.node(
            "ConstantOfShape",
            &[count],
            [("value", NodeAttr::Tensor(one))],
        );
        let positions = self.node("NonZero", &[ones], []);
        let flat = self.vector(&[-1]);
        self.node("Reshape", &[positions, flat], []);
        self.give(node.outputs[0]);
        None
    }

    /// Gives Resize, which is Upsample before opset 10 and takes scales of 1 or more then, the only two inputs that it
    /// has, if it is to do what it does there: it finds a position by division by the scale, and the nearest element
    /// below where the scale is 1 or more.
    fn resize_by_scales(&self, node: &mut Node) {
        let scales = node.inputs.get(2).copied().flatten();
        let constant = scales.and_then(|scales| self.constant_of(scales));
        // Without scales, there is an empty vector.
        let Some(constant) = constant.filter(|scales| !scales.is_empty()) else {
            return;
        };
        let grows = constant.to_f64_vec().iter().all(|scale| *scale >= 1.0);
        let says = |name, value| {
            let mut attrs = node.attrs.iter();
            attrs.any(|(given, attr)| given == name && *attr == NodeAttr::String(value))
        };
        let is_alike = says("mode", "nearest") && says("nearest_mode", "floor") && grows
            || says("mode", "linear") && (grows || self.opset >= 10);
        if !is_alike || !says("coordinate_transformation_mode", "asymmetric") {
            return;
        }
        node.attrs.retain(|(name, _)| name == "mode");
        node.inputs = vec![node.inputs[0], scales];
        if self.opset < 10 {
            node.op_type = "Upsample".into();
        }
    }

    /// Leaves out the steps of a Slice, which can only be 1.
    fn slice_of_neighbours(&self, node: &mut Node) -> Result<()> {
        let steps = node.inputs.get(4).copied().flatten();
        let Some(steps) = steps else {
            return Ok(());
        };
        let constant = self.constant_of(steps).map(Tensor::to_i64_vec);
        if constant.is_none_or(|steps| steps.iter().any(|step| *step != 1)) {
            return Err(Error::needs_opset(10, "a Slice with steps"));
        }
        node.inputs.truncate(4);
        Ok(())
    }

    /// Refuses operators, attributes and numbers of operands, in nodes and in their bodies, that the opset does not have.
    pub(super) fn refuse_newer(&self, nodes: &[Node]) -> Result<()> {
        let mut all = Vec::new();
        for node in nodes {
            node.visit(&mut |node| all.push(node));
        }
        let mut needs = all.into_iter().flat_map(|node| needs(node, self.opset));
        needs.try_for_each(|(opset, what)| self.require_opset(opset, &what))
    }
}

/// What a node has that not all opsets have, with the first opset that has it. An operator is named if `opset` lacks it.
fn needs(node: &Node, opset: u32) -> Vec<(u32, String)> {
    let name = node.op_type.as_ref();
    let mut needs = Vec::new();
    if !node.domain.is_empty() {
        return needs;
    }
    let operator = needed_opset(node, opset).map(|since| (since, format!("ONNX's {name}")));
    needs.extend(operator);
    if BROADCASTING.contains(&name) {
        needs.push((8, format!("ONNX's {name} with broadcasting")));
    }
    let mut axes = node.attrs.iter();
    if axes.any(|(attr, value)| AXES.contains(&attr.as_ref()) && is_negative(value)) {
        needs.push((
            11,
            format!("an axis of ONNX's {name} that counts from the end"),
        ));
    }
    let newer = newer_attrs(name).filter(|(_, attr, ..)| has(node, attr));
    needs.extend(newer.map(|(_, attr, since, _)| (*since, format!("`{attr}` of ONNX's {name}"))));
    needs
}

fn has(node: &Node, attr: &str) -> bool {
    node.attrs.iter().any(|(given, _)| given == attr)
}

/// Whether an attribute is a number below 0, or has one.
fn is_negative(attr: &NodeAttr) -> bool {
    match attr {
        NodeAttr::Int(given) => *given < 0,
        NodeAttr::Ints(given) => given.iter().any(|given| *given < 0),
        _ => false,
    }
}

/// The rows of an operator.
fn newer_attrs(op_type: &str) -> impl Iterator<Item = &'static NewerAttr> {
    let rows = NEWER_ATTRS.iter();
    rows.filter(move |(newer, ..)| *newer == op_type)
}

/// Whether an attribute has this value, or a list of it.
fn says(attr: &NodeAttr, value: i64) -> bool {
    match attr {
        NodeAttr::Int(given) => *given == value,
        NodeAttr::Ints(given) => given.iter().all(|given| *given == value),
        _ => false,
    }
}

/// The attribute that holds a constant. None if it has no elements, and one is needed.
fn attribute(constant: &Tensor, held: Held) -> Option<NodeAttr> {
    let floats = || constant.to_f64_vec().into_iter().map(|value| value as f32);
    Some(match held {
        Held::Int => NodeAttr::Int(*constant.to_i64_vec().first()?),
        Held::Ints => NodeAttr::Ints(constant.to_i64_vec()),
        Held::Float => NodeAttr::Float(floats().next()?),
        Held::Floats => NodeAttr::Floats(floats().collect()),
    })
}
