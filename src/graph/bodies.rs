//! Graphs inside of the graph: bodies of control flow, and model functions.

use std::collections::HashMap;

use super::context::{Lowering, Scope};
use super::nodes::{Body, Function, Kind, Node, NodeAttr, TensorId};
use crate::error::{Error, Result};

impl Lowering<'_> {
    /// Builds the body of a node such as If or Loop, for an attribute of type [`NodeAttr::Graph`].
    ///
    /// `emit` gets the tensors of the body's inputs, of which there are `inputs`, emits the nodes of the body, and
    /// returns its outputs. It may read every tensor that was made before, but nothing outside of the body may read the
    /// tensors that it makes.
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
        let scope = self.scopes.pop().unwrap_or_default();
        self.closed.extend(scope.tensors);
        let nodes = std::mem::replace(&mut self.graph.nodes, outer);
        Ok(Body {
            inputs,
            given: Vec::new(),
            nodes,
            outputs: outputs?,
        })
    }

    /// The outputs of the body that is under construction. In ONNX each is an output of a node inside of the body, and
    /// no two are the same tensor; others go through Identity.
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

    /// Emits a call of the model function `name` of `domain`, an operator that the model itself defines, and returns
    /// its outputs.
    ///
    /// Only the first call runs `define`, which gets tensors that stand for the inputs of any call, emits the nodes of
    /// the function, and returns its outputs. It may read these tensors and constants, and nothing else. Later calls
    /// get the same function, so whatever `define` depends on, such as the attributes of an op, has to be part of the
    /// name.
    ///
    /// # Errors
    /// Those of `define`, and when a node that it emits reads a tensor from outside of the function.
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
                self.refuse_newer(&body.nodes)?;
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

    /// The body of a function with Constant nodes for the constants that it reads: functions have no initializers.
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

    /// Makes a node of a function, and the nodes in its bodies, read the outputs of new Constant `nodes` in place of
    /// constants. `inside` has the tensors that are made in the function, and `constants` the replacement of each
    /// constant so far.
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
            let Some(tensor) = self.constant_of(*input) else {
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
                    is_fitted: true,
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
