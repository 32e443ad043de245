//! The end of a lowering: drops what nothing needs, and names what is left.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::context::Lowering;
use super::encode::{Names, typed, value_info};
use super::model::{Initializer, InitializerData, OnnxModel};
use super::nodes::{Graph, Kind, Node, TensorId};
use super::notes;
use super::opset::required_outputs;
use super::scoping::refuse_misnamed;
use crate::error::{Error, Result};
use crate::program::{Facts, Origin, Program, UniqueNames, ValueId};
use crate::proto::onnx::{GraphProto, ModelProto, OperatorSetIdProto, ValueInfoProto};
use crate::tensor::{DType, Dim};

/// The ONNX model of a program whose ops are all lowered. What nothing needs is dropped, and the rest gets its names.
///
/// # Errors
/// When an output of the program is not lowered, a parameter is in no file, or a name is not in order: defects of this
/// crate.
pub(crate) fn finish(mut lowering: Lowering<'_>) -> Result<OnnxModel> {
    let outputs = bind_outputs(&mut lowering)?;
    let Lowering {
        facts,
        opset,
        mut graph,
        scopes,
        closed,
        notes,
        ..
    } = lowering;
    graph.forget_constants();
    let kept = outputs.iter().map(|(_, tensor, _)| *tensor);
    drop_unneeded(&mut graph, kept.collect());
    let notes = notes::kept(notes, &graph);
    let scopes = scopes.into_iter().flat_map(|scope| scope.tensors);
    let mut values: Vec<(ValueId, TensorId)> = scopes.chain(closed).collect();
    keep_as_int8(&graph, &mut values);
    values.sort_unstable();
    let mut names = names(facts, &graph, &outputs, &values);
    let nodes = graph.nodes.iter().map(|node| names.node(node)).collect();
    let imports = imports(&graph, opset);
    let functions = graph.functions.iter();
    let functions = functions.map(|function| names.function(function, &imports));
    let functions = functions.collect();
    let between = between(facts, &graph, &outputs, &values, &mut names);
    let (input, output) = ports(facts, &outputs);
    let proto = ModelProto {
        ir_version: Some(ir_version(opset, &graph)),
        producer_name: Some(env!("CARGO_PKG_NAME").into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        opset_import: imports,
        metadata_props: Vec::new(),
        functions,
        graph: Some(GraphProto {
            node: nodes,
            name: Some("main".into()),
            initializer: Vec::new(),
            input,
            output,
            value_info: between,
        }),
    };
    let initializers = initializers(facts, &graph, &mut names)?;
    let mut tensors = given(&values, &graph, &mut names);
    let transposed = add_transposed(facts.program(), &mut tensors);
    let int8 = graph.int8.values();
    let int8: HashSet<String> = int8.map(|tensor| names.tensor(*tensor, "")).collect();
    let model = OnnxModel {
        proto,
        initializers,
        tensors,
        transposed,
        int8,
        notes,
    };
    refuse_misnamed(&model)?;
    Ok(model)
}

/// Puts the int8 tensor in the place of a float32 tensor that holds the same and that no node needs.
fn keep_as_int8(graph: &Graph, values: &mut [(ValueId, TensorId)]) {
    if graph.int8.is_empty() {
        return;
    }
    let mut made: HashSet<TensorId> = HashSet::new();
    for node in &graph.nodes {
        node.visit(&mut |node| made.extend(&node.outputs));
    }
    for (_, tensor) in values {
        if let Some(int8) = graph.int8.get(tensor).filter(|_| !made.contains(tensor)) {
            *tensor = *int8;
        }
    }
}

/// Names for tensors: those by which callers know the outputs, and those of Paddle's variables.
fn names(
    facts: &Facts<'_>,
    graph: &Graph,
    outputs: &[(String, TensorId, ValueId)],
    values: &[(ValueId, TensorId)],
) -> Names {
    let called = outputs
        .iter()
        .map(|(name, tensor, _)| (name.as_str(), *tensor));
    let mut names = Names::new(facts, graph, called);
    let read: HashSet<TensorId> = read_by_nodes(graph).into_iter().collect();
    for (value, tensor) in values {
        // The name of a weight of which others are made alone is left to these.
        let kind = &graph.tensors[tensor.index()];
        if read.contains(tensor) || !matches!(kind, Kind::Parameter(_)) {
            names.prefer(*tensor, &facts.program()[*value].name);
        }
    }
    let whole = graph
        .rows
        .iter()
        .filter_map(|((rows, _), tensor)| match rows[..] {
            [rows] => Some((*tensor, rows.value)),
            _ => None,
        });
    for (tensor, value) in whole.collect::<BTreeMap<_, _>>() {
        names.prefer(tensor, &facts.program()[value].name);
    }
    names
}

/// The tensors that nodes read, in their order.
fn read_by_nodes(graph: &Graph) -> Vec<TensorId> {
    let mut read = Vec::new();
    for node in &graph.nodes {
        node.visit(&mut |node| read.extend(node.inputs.iter().flatten()));
    }
    read
}

/// For each value that an input of the graph or a node gives, the name of the tensor that holds it.
fn given(
    values: &[(ValueId, TensorId)],
    graph: &Graph,
    names: &mut Names,
) -> HashMap<ValueId, String> {
    let is_given =
        |tensor: &TensorId| matches!(graph.tensors[tensor.index()], Kind::Node | Kind::Input(_));
    let given = values.iter().filter(|(_, tensor)| is_given(tensor));
    let given = given.map(|(value, tensor)| (*value, names.tensor(*tensor, "")));
    given.collect()
}

/// Adds the values that `tensors` hold with their axes in another order, and returns this order for each.
fn add_transposed(
    program: &Program,
    tensors: &mut HashMap<ValueId, String>,
) -> HashMap<ValueId, Vec<usize>> {
    let mut transposed = HashMap::new();
    for of in &program.transposed {
        let name = tensors.get(&of.source).cloned();
        if let Some(name) = name.filter(|_| !tensors.contains_key(&of.value)) {
            tensors.insert(of.value, name);
            transposed.insert(of.value, of.perm.clone());
        }
    }
    transposed
}

/// The element types and shapes of the inputs and of the outputs of the graph.
fn ports(
    facts: &Facts<'_>,
    outputs: &[(String, TensorId, ValueId)],
) -> (Vec<ValueInfoProto>, Vec<ValueInfoProto>) {
    let program = facts.program();
    let inputs = program.inputs().iter();
    let inputs = inputs.map(|id| value_info(facts, *id, &program[*id].name));
    let outputs = outputs.iter();
    let outputs = outputs.map(|(name, _, value)| value_info(facts, *value, name));
    (inputs.collect(), outputs.collect())
}

/// The element types and shapes of the tensors that nodes of the graph give, in their order: of those that hold a value of
/// the program, and are no outputs of the graph, whose types are declared there.
fn between(
    facts: &Facts<'_>,
    graph: &Graph,
    outputs: &[(String, TensorId, ValueId)],
    values: &[(ValueId, TensorId)],
    names: &mut Names,
) -> Vec<ValueInfoProto> {
    let int8: HashSet<TensorId> = graph.int8.values().copied().collect();
    let mut held: HashMap<TensorId, (DType, Vec<Dim>)> = HashMap::new();
    for (value, tensor) in values {
        let fact = facts.get(*value);
        let dtype = if int8.contains(tensor) {
            DType::I8
        } else {
            fact.dtype
        };
        // A variable that nothing has written is of no type.
        if !fact.is_undefined {
            let (_, known) = held
                .entry(*tensor)
                .or_insert_with(|| (dtype, fact.shape.clone()));
            let extents = known.iter_mut().zip(&fact.shape);
            extents.for_each(|(known, extent)| *known = known.or(extent));
        }
    }
    for (_, tensor, _) in outputs {
        held.remove(tensor);
    }
    let tensors = graph.nodes.iter().flat_map(|node| &node.outputs);
    let between = tensors.filter_map(|tensor| {
        let (dtype, shape) = held.get(tensor)?;
        Some(typed(names.tensor(*tensor, ""), *dtype, shape))
    });
    between.collect()
}

/// The oldest IR version that knows `opset`, and model functions if there are any.
fn ir_version(opset: u32, graph: &Graph) -> i64 {
    match opset {
        ..=14 if !graph.functions.is_empty() => 8,
        // Opsets 7 and 8 are older, but before version 4 each weight has to be an input of the graph as well.
        ..=9 => 4,
        10 => 5,
        11 => 6,
        12..=14 => 7,
        15..=18 => 8,
        19..=20 => 9,
        21..=22 => 10,
        23 => 11,
        24 => 12,
        _ => 13,
    }
}

/// The operator sets that the nodes use: ONNX's own in version `opset`, and version 1 of every other domain.
fn imports(graph: &Graph, opset: u32) -> Vec<OperatorSetIdProto> {
    let mut domains = BTreeSet::new();
    let functions = graph
        .functions
        .iter()
        .flat_map(|function| &function.body.nodes);
    for node in graph.nodes.iter().chain(functions) {
        node.visit(&mut |node| {
            domains.insert(node.domain.as_ref());
        });
    }
    domains.remove("");
    let others = domains.into_iter().map(|domain| (domain, 1));
    let all = std::iter::once(("", i64::from(opset))).chain(others);
    all.map(|(domain, version)| OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version),
    })
    .collect()
}

/// The outputs of the graph: the name, the tensor and the value of each. Each has a node of its own: an input, a
/// constant, or a tensor that is another output already goes through Identity.
fn bind_outputs(lowering: &mut Lowering<'_>) -> Result<Vec<(String, TensorId, ValueId)>> {
    let program = lowering.facts.program();
    let mut names = UniqueNames::default();
    for id in program.inputs() {
        names.claim(&program[*id].name);
    }
    let mut outputs: Vec<(String, TensorId, ValueId)> = Vec::new();
    for output in program.outputs() {
        let mut tensor = lowering.value(output.value)?;
        let is_node = matches!(lowering.graph.tensors[tensor.index()], Kind::Node);
        if !is_node || outputs.iter().any(|(_, other, _)| *other == tensor) {
            tensor = lowering.node("Identity", &[tensor], []);
        }
        outputs.push((names.claim(&output.name), tensor, output.value));
    }
    Ok(outputs)
}

/// Drops the nodes, the model functions and the optional outputs that nothing needs.
fn drop_unneeded(graph: &mut Graph, mut needed: HashSet<TensorId>) {
    drop_nodes(&mut graph.nodes, &mut needed);
    for function in &mut graph.functions {
        let mut needed = function.body.outputs.iter().copied().collect();
        drop_nodes(&mut function.body.nodes, &mut needed);
    }
    // A function is called by nodes, or by functions that were defined after it.
    for position in (0..graph.functions.len()).rev() {
        let callers = graph.functions[position + 1..].iter();
        let callers = callers.flat_map(|function| &function.body.nodes);
        let (callee, mut is_called) = (&graph.functions[position], false);
        for node in graph.nodes.iter().chain(callers) {
            node.visit(&mut |node| {
                is_called |= node.op_type == callee.name && node.domain == callee.domain;
            });
        }
        if !is_called {
            graph.functions.remove(position);
        }
    }
}

/// Drops the nodes of which no output is `needed`, and adds to `needed` what the nodes that stay read.
fn drop_nodes(nodes: &mut Vec<Node>, needed: &mut HashSet<TensorId>) {
    let all = std::mem::take(nodes);
    for mut node in all.into_iter().rev() {
        let required = required_outputs(&node);
        let rest = node.outputs.iter().skip(required);
        if rest.clone().all(|output| !needed.contains(output)) {
            node.outputs.truncate(required);
        }
        if node.outputs.iter().any(|output| needed.contains(output)) {
            needed.extend(node.inputs.iter().flatten());
            for body in node.bodies_mut() {
                needed.extend(&body.outputs);
                drop_nodes(&mut body.nodes, needed);
            }
            nodes.push(node);
        }
    }
    nodes.reverse();
}

/// The weights and constants that nodes read, in the order of their first use.
fn initializers(facts: &Facts<'_>, graph: &Graph, names: &mut Names) -> Result<Vec<Initializer>> {
    let mut seen = HashSet::new();
    let mut initializers = Vec::new();
    for id in read_by_nodes(graph) {
        if !seen.insert(id) {
            continue;
        }
        let name = names.tensor(id, "constant");
        match &graph.tensors[id.index()] {
            Kind::Parameter(value) => initializers.push(parameter(facts, *value, name)?),
            Kind::Rows {
                dtype,
                dims,
                ranges,
            } => initializers.push(Initializer {
                name,
                dtype: *dtype,
                dims: dims.clone(),
                data: InitializerData::File(ranges.clone()),
            }),
            Kind::Mapped {
                value,
                range,
                mapping,
            } => initializers.push(Initializer {
                name,
                dtype: mapping.dtype(),
                dims: known_extents(facts, *value),
                data: InitializerData::Mapped(range.clone(), mapping.clone()),
            }),
            Kind::Constant(tensor) => initializers.push(Initializer {
                name,
                dtype: tensor.dtype(),
                dims: tensor.shape().iter().map(|extent| *extent as i64).collect(),
                data: InitializerData::Memory(tensor.clone()),
            }),
            Kind::Input(_) | Kind::Node => {}
        }
    }
    Ok(initializers)
}

/// The extents of a weight, all of which are known.
fn known_extents(facts: &Facts<'_>, id: ValueId) -> Vec<i64> {
    let shape = &facts.program()[id].shape;
    shape.iter().filter_map(Dim::known).collect()
}

fn parameter(facts: &Facts<'_>, id: ValueId, name: String) -> Result<Initializer> {
    let value = &facts.program()[id];
    let Origin::Parameter(range) = &value.origin else {
        return Err(Error::internal("a parameter without a place in a file"));
    };
    Ok(Initializer {
        name,
        dtype: value.dtype,
        dims: known_extents(facts, id),
        data: InitializerData::File(vec![range.clone()]),
    })
}
