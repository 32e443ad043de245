//! Graphs inside of the graph: bodies of control flow, and model functions.

use std::collections::HashMap;

use super::context::{Lowering, Scope};
use super::nodes::{Body, Function, Kind, Node, NodeAttr, TensorId};
use crate::error::{Error, Result};

impl Lowering<'_> {
    /// Builds the body of a node such as `If` or `Loop`, for an attribute [`NodeAttr::Graph`]: `emit` gets the tensors
    /// that go in, as many as `inputs`, and returns those that come out. It may read whatever was there before; what
    /// it makes is visible inside of the body alone.
    ///
    /// # Errors
    /// Those of `emit`.
    pub fn body(
        &mut self,
        inputs: usize,
        emit: impl FnOnce(&mut Self, &[TensorId]) -> Result<Vec<TensorId>>,
    ) -> Result<Body> {
        let outer = std::mem::take(&mut self.graph.nodes);
        self.scopes.push(Scope::default());
        let inputs: Vec<TensorId> = (0..inputs).map(|_| self.graph.tensor(Kind::Node)).collect();
        let outputs = emit(self, &inputs).map(|outputs| self.own_outputs(outputs));
        self.scopes.pop();
        let nodes = std::mem::replace(&mut self.graph.nodes, outer);
        Ok(Body {
            inputs,
            nodes,
            outputs: outputs?,
        })
    }

    /// The outputs of the body that is under construction. ONNX asks that each is one of a node inside: others go
    /// through Identity.
    fn own_outputs(&mut self, outputs: Vec<TensorId>) -> Vec<TensorId> {
        let mut own: Vec<TensorId> = Vec::with_capacity(outputs.len());
        for mut output in outputs {
            let mut nodes = self.graph.nodes.iter();
            let is_made = nodes.any(|node| node.outputs.contains(&output));
            if !is_made || own.contains(&output) {
                output = self.node("Identity", &[output], []);
            }
            own.push(output);
        }
        own
    }

    /// Calls the model function `name` of `domain`, and returns its outputs. At the first call, `define` says what it
    /// computes, from tensors that stand for the inputs of any call: a function reads nothing else but constants. So
    /// what sets it apart from other functions, such as attributes that `define` looks at, has to show in its name.
    ///
    /// # Errors
    /// Those of `define`, and when what it emits reads a tensor from outside.
    pub fn call(
        &mut self,
        (domain, name): (&str, &str),
        inputs: &[TensorId],
        define: impl FnOnce(&mut Self, &[TensorId]) -> Result<Vec<TensorId>>,
    ) -> Result<Vec<TensorId>> {
        let is_it = |known: &&Function| known.domain == domain && known.name == name;
        let outputs = match self.graph.functions.iter().find(is_it) {
            Some(known) => known.body.outputs.len(),
            None => {
                let body = self.body(inputs.len(), define)?;
                let body = self.closed(body)?;
                let outputs = body.outputs.len();
                self.graph.functions.push(Function {
                    domain: domain.to_owned(),
                    name: name.to_owned(),
                    body,
                });
                outputs
            }
        };
        let inputs = inputs.iter().copied().map(Some).collect();
        Ok(self.custom_node((domain, name), inputs, [], outputs))
    }

    /// The body of a function with its constants as nodes, since functions have no initializers.
    fn closed(&mut self, mut body: Body) -> Result<Body> {
        let mut inside = body.inputs.clone();
        for node in &body.nodes {
            node.visit(&mut |node| {
                inside.extend(&node.outputs);
                inside.extend(node.bodies().flat_map(|body| &body.inputs));
            });
        }
        let mut constants = HashMap::new();
        let mut nodes = Vec::new();
        for node in &mut body.nodes {
            self.close(node, &inside, &mut constants, &mut nodes)?;
        }
        nodes.append(&mut body.nodes);
        body.nodes = nodes;
        Ok(body)
    }

    /// Replaces the constants that a node of a function reads by outputs of new `nodes`.
    fn close(
        &mut self,
        node: &mut Node,
        inside: &[TensorId],
        constants: &mut HashMap<TensorId, TensorId>,
        nodes: &mut Vec<Node>,
    ) -> Result<()> {
        for input in node.inputs.iter_mut().flatten() {
            if inside.contains(input) {
                continue;
            }
            let Kind::Constant(tensor) = &self.graph.tensors[input.index()] else {
                return Err(Error::internal(
                    "a model function reads a tensor that is none of its inputs",
                ));
            };
            let tensor = tensor.clone();
            *input = *constants.entry(*input).or_insert_with(|| {
                let output = self.graph.tensor(Kind::Node);
                nodes.push(Node {
                    domain: "".into(),
                    op_type: "Constant".into(),
                    inputs: Vec::new(),
                    outputs: vec![output],
                    attrs: vec![("value".into(), NodeAttr::Tensor(tensor))],
                    label: String::new(),
                });
                output
            });
        }
        for body in node.bodies_mut() {
            for node in &mut body.nodes {
                self.close(node, inside, constants, nodes)?;
            }
        }
        Ok(())
    }
}
