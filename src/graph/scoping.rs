//! The last look at a finished model, before any file is written: whether every name is defined once, and before it is
//! read. Runtimes refuse a model otherwise, some without saying why.

use std::collections::HashSet;

use super::model::OnnxModel;
use crate::error::{Error, Result};
use crate::proto::onnx::{FunctionProto, GraphProto, NodeProto};

/// Checks the names of tensors in the graph, in the bodies of its nodes and in the model's functions. A body sees what
/// the graph around it has defined before, and a function nothing but its inputs.
///
/// # Errors
/// When a name is read that is not defined, or defined where it is already: a defect of an op's definition.
pub(super) fn refuse_misnamed(model: &OnnxModel) -> Result<()> {
    let mut names = Scope::default();
    for initializer in &model.initializers {
        names.define(&initializer.name, "an initializer")?;
    }
    if let Some(graph) = &model.proto.graph {
        names.graph(graph)?;
    }
    model.proto.functions.iter().try_for_each(function)
}

fn function(function: &FunctionProto) -> Result<()> {
    let mut names = Scope::default();
    let name = function.name();
    for input in &function.input {
        names.define(input, name)?;
    }
    names.nodes(&function.node)?;
    let mut outputs = function.output.iter();
    outputs.try_for_each(|output| names.read(output, name))
}

/// The names that are defined at one place of a model.
#[derive(Default)]
struct Scope<'m> {
    defined: HashSet<&'m str>,
    /// The order in which they were.
    order: Vec<&'m str>,
}

impl<'m> Scope<'m> {
    fn define(&mut self, name: &'m str, place: &str) -> Result<()> {
        if !self.defined.insert(name) {
            return Err(Error::internal(format!(
                "the ONNX model would define `{name}` twice, the second time in {place}"
            )));
        }
        self.order.push(name);
        Ok(())
    }

    fn read(&self, name: &str, place: &str) -> Result<()> {
        // The empty name is an operand that is left out.
        if name.is_empty() || self.defined.contains(name) {
            return Ok(());
        }
        Err(Error::internal(format!(
            "the ONNX model would read `{name}` in {place} before anything defines it"
        )))
    }

    /// Reads a graph, whose names are defined only inside of it.
    fn graph(&mut self, graph: &'m GraphProto) -> Result<()> {
        let outside = self.order.len();
        for input in &graph.input {
            self.define(input.name(), graph.name())?;
        }
        self.nodes(&graph.node)?;
        for output in &graph.output {
            self.read(output.name(), graph.name())?;
        }
        for name in self.order.drain(outside..) {
            self.defined.remove(name);
        }
        Ok(())
    }

    fn nodes(&mut self, nodes: &'m [NodeProto]) -> Result<()> {
        for node in nodes {
            for input in &node.input {
                self.read(input, node.name())?;
            }
            let bodies = node.attribute.iter().filter_map(|attr| attr.g.as_ref());
            for body in bodies {
                self.graph(body)?;
            }
            for output in node.output.iter().filter(|output| !output.is_empty()) {
                self.define(output, node.name())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::onnx::{AttributeProto, ModelProto, ValueInfoProto};

    fn node(name: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        NodeProto {
            name: Some(name.into()),
            input: owned(inputs),
            output: owned(outputs),
            ..NodeProto::default()
        }
    }

    fn graph(inputs: &[&str], nodes: Vec<NodeProto>, outputs: &[&str]) -> GraphProto {
        let values = |names: &[&str]| {
            let info = |name: &&str| ValueInfoProto {
                name: Some((*name).into()),
                ..ValueInfoProto::default()
            };
            names.iter().map(info).collect()
        };
        GraphProto {
            name: Some("graph".into()),
            node: nodes,
            input: values(inputs),
            output: values(outputs),
            ..GraphProto::default()
        }
    }

    /// A node that reads `x`, holds this body, and makes `y`.
    fn holder(body: GraphProto) -> NodeProto {
        let attribute = vec![AttributeProto {
            g: Some(body),
            ..AttributeProto::default()
        }];
        NodeProto {
            attribute,
            ..node("holder", &["x"], &["y"])
        }
    }

    /// What is wrong with a model of one graph that takes `x`.
    fn refusal(nodes: Vec<NodeProto>, output: &str) -> Option<String> {
        let model = OnnxModel {
            proto: ModelProto {
                graph: Some(graph(&["x"], nodes, &[output])),
                ..ModelProto::default()
            },
            initializers: Vec::new(),
            tensors: Default::default(),
            transposed: Default::default(),
            int8: Default::default(),
            notes: Vec::new(),
        };
        refuse_misnamed(&model).err().map(|e| e.to_string())
    }

    #[test]
    fn names_that_are_in_order_pass() {
        let body = graph(&["i"], vec![node("inner", &["i", "", "a"], &["b"])], &["b"]);
        let nodes = vec![node("first", &["x"], &["a"]), holder(body.clone())];
        // Two bodies may use the same names, since neither sees the other.
        let twice = NodeProto {
            output: vec!["z".into()],
            ..holder(body)
        };
        assert_eq!(refusal([nodes, vec![twice]].concat(), "z"), None);
    }

    #[test]
    fn names_that_are_not_in_order_are_refused() {
        let inner = |inputs: &[&str], output| {
            graph(&["i"], vec![node("inner", inputs, &[output])], &[output])
        };
        for (nodes, output, name) in [
            (
                vec![
                    node("first", &["a"], &["b"]),
                    node("second", &["x"], &["a"]),
                ],
                "b",
                "a",
            ),
            (vec![node("first", &["x"], &["x"])], "x", "x"),
            (
                vec![
                    node("first", &["x"], &["a"]),
                    node("second", &["x"], &["a"]),
                ],
                "a",
                "a",
            ),
            (vec![node("first", &["x"], &["a"])], "nothing", "nothing"),
            // What a body defines can't be read behind it, or be what is defined around it.
            (
                vec![holder(inner(&["i"], "b")), node("last", &["b"], &["c"])],
                "c",
                "b",
            ),
            (vec![holder(inner(&["i"], "x"))], "y", "x"),
            (vec![holder(inner(&["y"], "b"))], "y", "y"),
        ] {
            let refusal = refusal(nodes, output).unwrap();
            assert!(refusal.contains(&format!("`{name}`")), "{refusal}");
        }
    }
}
