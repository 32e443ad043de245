//! An ONNX file, and parts of it as models of their own: the nodes that one op of the program has become, or those
//! that some outputs need.
//!
//! Refused are files that are not ONNX models, and parts whose weights are neither raw nor external data.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use prost::Message;
use prost::bytes::Bytes;

use crate::error::{Error, Result};
use crate::proto::onnx::tensor_proto::DataLocation;
use crate::proto::onnx::{
    GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto, type_proto,
};
use crate::tensor::DType;

/// A decoded ONNX file. Its weights stay in files mapped into memory until a part needs them.
pub(super) struct OnnxFile {
    path: PathBuf,
    /// The model without its nodes.
    model: ModelProto,
    /// The nodes of the graph and of the bodies inside of it, each after those that it needs.
    nodes: Vec<NodeProto>,
    /// By the name of a tensor, the position of the node that computes it.
    producers: HashMap<String, usize>,
    /// By the name of an initializer, its position.
    initializers: HashMap<String, usize>,
    /// The names of the inputs of the graph and of the bodies.
    inputs: BTreeSet<String>,
    /// The files of external data that are mapped so far.
    maps: HashMap<PathBuf, Bytes>,
}

/// The nodes that compute some tensors from others, as a model of their own.
pub(super) struct Part {
    /// The encoded model, with its weights.
    pub model: Vec<u8>,
    /// The names of the model's inputs.
    pub inputs: Vec<String>,
}

/// The nodes between known tensors and results, and what the nodes read.
struct Trace {
    nodes: Vec<NodeProto>,
    /// The names of the known tensors that are read.
    inputs: Vec<String>,
    /// The positions of the initializers that are read.
    constants: Vec<usize>,
}

impl OnnxFile {
    /// Reads a model.
    ///
    /// # Errors
    /// When the file can't be read or is no ONNX model.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = map(path)?;
        let mut model = ModelProto::decode(bytes).map_err(|e| {
            Error::malformed(format!("not an ONNX model, or a damaged one: {e}")).in_file(path)
        })?;
        let graph = model.graph.get_or_insert_default();
        let inputs = graph.input.iter().map(|input| input.name().to_owned());
        let mut inputs: BTreeSet<String> = inputs.collect();
        let mut nodes = Vec::new();
        flatten(std::mem::take(&mut graph.node), &mut nodes, &mut inputs);
        let outputs = nodes.iter().enumerate();
        let producers = outputs.flat_map(|(position, node)| {
            let outputs = node.output.iter();
            outputs.map(move |output| (output.clone(), position))
        });
        let initializers = graph.initializer.iter().enumerate();
        let initializers = initializers.map(|(position, tensor)| (tensor.name().into(), position));
        Ok(Self {
            path: path.to_path_buf(),
            producers: producers.collect(),
            initializers: initializers.collect(),
            inputs,
            nodes,
            model,
            maps: HashMap::new(),
        })
    }

    /// The version of ONNX's own operator set that the model imports; None if it imports none.
    pub fn opset(&self) -> Option<u32> {
        let mut imports = self.model.opset_import.iter();
        let own = imports.find(|import| matches!(import.domain(), "" | "ai.onnx"))?;
        u32::try_from(own.version()).ok()
    }

    /// Whether its nodes may be operators of a domain.
    pub fn imports(&self, domain: &str) -> bool {
        let mut imports = self.model.opset_import.iter();
        imports.any(|import| import.domain() == domain)
    }

    /// What the metadata in the model say for a key.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        let mut entries = self.model.metadata_props.iter();
        let entry = entries.find(|entry| entry.key() == key)?;
        Some(entry.value())
    }

    /// Whether a weight or a constant of the graph is of an element type.
    pub fn has_weights_of(&self, dtype: DType) -> bool {
        let graph = self.model.graph.iter();
        let mut weights = graph.flat_map(|graph| &graph.initializer);
        weights.any(|tensor| tensor.data_type() == dtype.onnx_code())
    }

    /// Whether an input of the graph is of an element type.
    pub fn takes(&self, dtype: DType) -> bool {
        let graph = self.model.graph.iter();
        let types = graph.flat_map(|graph| &graph.input);
        let mut tensors = types.filter_map(|input| input.r#type.as_ref()?.tensor_type.as_ref());
        tensors.any(|tensor| tensor.elem_type() == dtype.onnx_code())
    }

    /// Whether a node gives a tensor of this name.
    pub fn makes(&self, name: &str) -> bool {
        self.producers.contains_key(name)
    }

    /// Whether a tensor of this name is an output of a node or an input of the graph or a body.
    pub fn gives(&self, name: &str) -> bool {
        self.makes(name) || self.inputs.contains(name)
    }

    fn graph(&self) -> Result<&GraphProto> {
        let graph = self.model.graph.as_ref();
        graph.ok_or_else(|| Error::internal("a model without a graph"))
    }

    /// The nodes that compute `results` from known tensors: those for which `known` has an element
    /// type. None if there are no such nodes, because the results are initializers, or if a result is
    /// an input of the graph or of a body, or needs one that is not known.
    ///
    /// # Errors
    /// When the results need a tensor that is neither computed nor given, or weights that can't be
    /// read.
    pub fn part(
        &mut self,
        results: &[(&str, DType)],
        known: &dyn Fn(&str) -> Option<DType>,
    ) -> Result<Option<Part>> {
        let Some(trace) = self.trace(results, known)? else {
            return Ok(None);
        };
        let constants = trace.constants.into_iter();
        let constants = constants.map(|position| self.constant(position));
        let inputs = trace.inputs.iter();
        let part = GraphProto {
            node: trace.nodes,
            name: Some("part".into()),
            initializer: constants.collect::<Result<_>>()?,
            input: inputs.map(|name| value_info(name, known(name))).collect(),
            output: results
                .iter()
                .map(|(name, dtype)| value_info(name, Some(*dtype)))
                .collect(),
            value_info: Vec::new(),
        };
        let model = ModelProto {
            graph: Some(part),
            ..without_graph(&self.model)
        };
        Ok(Some(Part {
            model: model.encode_to_vec(),
            inputs: trace.inputs,
        }))
    }

    /// The names of the known tensors that the nodes of [`OnnxFile::part`] read; empty if there are no such nodes.
    ///
    /// # Errors
    /// When the results need a tensor that is neither computed nor given.
    pub fn read_by(
        &self,
        results: &[(&str, DType)],
        known: &dyn Fn(&str) -> Option<DType>,
    ) -> Result<Vec<String>> {
        let trace = self.trace(results, known)?;
        Ok(trace.map_or_else(Vec::new, |trace| trace.inputs))
    }

    /// Walks back from the results to known tensors; None as for [`OnnxFile::part`].
    fn trace(
        &self,
        results: &[(&str, DType)],
        known: &dyn Fn(&str) -> Option<DType>,
    ) -> Result<Option<Trace>> {
        let mut nodes = BTreeSet::new();
        let (mut inputs, mut constants) = (BTreeSet::new(), BTreeSet::new());
        let mut left: Vec<&str> = results.iter().map(|(name, _)| *name).collect();
        while let Some(name) = left.pop() {
            let is_result = results.iter().any(|(result, _)| *result == name);
            if !is_result && known(name).is_some() {
                inputs.insert(name);
            } else if let Some(position) = self.producers.get(name) {
                if nodes.insert(*position) {
                    each_read(&self.nodes[*position], &mut |name| left.push(name));
                }
            } else if let Some(position) = self.initializers.get(name) {
                constants.insert(*position);
            } else if self.inputs.contains(name) {
                return Ok(None);
            } else {
                let error = Error::malformed(format!("nothing gives the tensor `{name}`"));
                return Err(error.in_file(&self.path));
            }
        }
        let nodes = nodes.into_iter().map(|position| {
            let mut node = self.nodes[position].clone();
            // What is known, too, is given, and what the node computes has another name.
            for output in &mut node.output {
                if inputs.contains(output.as_str()) {
                    output.push_str("/unread");
                }
            }
            node
        });
        let trace = Trace {
            nodes: nodes.collect(),
            inputs: inputs.into_iter().map(str::to_owned).collect(),
            constants: constants.into_iter().collect(),
        };
        Ok(Some(trace).filter(|trace| !trace.nodes.is_empty()))
    }

    /// An initializer with its data inside, also where the file keeps them in another one.
    fn constant(&mut self, position: usize) -> Result<TensorProto> {
        let mut tensor = self.graph()?.initializer[position].clone();
        if tensor.data_location() == DataLocation::External {
            tensor.raw_data = Some(self.external(&tensor)?);
            tensor.data_location = None;
            tensor.external_data.clear();
        } else if tensor.raw_data.is_none() && !tensor.dims.contains(&0) {
            return Err(Error::unsupported(format!(
                "the initializer `{}` is not stored as raw data",
                tensor.name()
            ))
            .in_file(&self.path));
        }
        Ok(tensor)
    }

    /// The data that an initializer has in another file, which is mapped at its first use.
    fn external(&mut self, tensor: &TensorProto) -> Result<Bytes> {
        let entry = |key: &str| {
            let mut entries = tensor.external_data.iter();
            entries.find(|entry| entry.key() == key).map(|e| e.value())
        };
        let number = |key: &str| entry(key).map(str::parse::<usize>).transpose().ok();
        let place = (entry("location"), number("offset"), number("length"));
        let (Some(location), Some(offset), Some(Some(length))) = place else {
            return Err(Error::malformed(format!(
                "the initializer `{}` has no place in another file",
                tensor.name()
            ))
            .in_file(&self.path));
        };
        let path = self.path.with_file_name(location);
        if !self.maps.contains_key(&path) {
            self.maps.insert(path.clone(), map(&path)?);
        }
        let offset = offset.unwrap_or(0);
        let range = offset..offset.saturating_add(length);
        let bytes = self.maps.get(&path);
        let inside = bytes.filter(|bytes| range.end <= bytes.len());
        inside.map(|bytes| bytes.slice(range)).ok_or_else(|| {
            Error::malformed(format!("the file ends inside of `{}`", tensor.name())).in_file(&path)
        })
    }
}

/// Adds nodes to `flat`, each after those of its bodies, and the names of the inputs of these bodies to `inputs`.
fn flatten(nodes: Vec<NodeProto>, flat: &mut Vec<NodeProto>, inputs: &mut BTreeSet<String>) {
    for node in nodes {
        for body in node.attribute.iter().filter_map(|attr| attr.g.as_ref()) {
            inputs.extend(body.input.iter().map(|input| input.name().to_owned()));
            flatten(body.node.clone(), flat, inputs);
        }
        flat.push(node);
    }
}

/// Visits the name of every tensor that a node reads: its inputs, and what its bodies read from outside.
fn each_read<'n>(node: &'n NodeProto, visit: &mut dyn FnMut(&'n str)) {
    let inputs = node.input.iter().filter(|name| !name.is_empty());
    inputs.for_each(|name| visit(name));
    for body in node.attribute.iter().filter_map(|attr| attr.g.as_ref()) {
        let arguments = body.input.iter().map(ValueInfoProto::name);
        let results = body.node.iter().flat_map(|node| &node.output);
        let inside: BTreeSet<&str> = arguments.chain(results.map(String::as_str)).collect();
        for node in &body.node {
            each_read(node, &mut |name| {
                if !inside.contains(name) {
                    visit(name);
                }
            });
        }
    }
}

fn map(path: &Path) -> Result<Bytes> {
    let fail = |e| Error::io(path, "map the ONNX model", e);
    let file = File::open(path).map_err(fail)?;
    // SAFETY: the map is read only. If another process changes the file during a verification, the
    // answer is wrong; if it truncates the file, this process gets SIGBUS.
    let map = unsafe { Mmap::map(&file) }.map_err(fail)?;
    Ok(Bytes::from_owner(map))
}

/// What a part takes over from the whole model: versions, operator sets and model functions.
fn without_graph(model: &ModelProto) -> ModelProto {
    ModelProto {
        ir_version: model.ir_version,
        opset_import: model.opset_import.clone(),
        functions: model.functions.clone(),
        ..ModelProto::default()
    }
}

/// The declaration of an input or output of a part, without a shape, which ONNX Runtime infers.
fn value_info(name: &str, dtype: Option<DType>) -> ValueInfoProto {
    let tensor_type = dtype.map(|dtype| type_proto::Tensor {
        elem_type: Some(dtype.onnx_code()),
        shape: None,
    });
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: tensor_type.map(|tensor| TypeProto {
            tensor_type: Some(tensor),
        }),
    }
}
