//! The protobuf framing of a model around its weights.
//!
//! A nested protobuf message is preceded by its size, so all sizes are added up before the first byte
//! is written. The bytes of each weight are then copied behind its header.

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::copy::Part;
use super::place::{Place, Plan, size};
use crate::graph::{Initializer, OnnxModel};
use crate::proto::onnx::tensor_proto::DataLocation;
use crate::proto::onnx::{GraphProto, ModelProto, StringStringEntryProto, TensorProto};

/// Field numbers of the messages that are framed by hand; see `proto/onnx.proto`.
const MODEL_GRAPH: u32 = 7;
const GRAPH_INITIALIZER: u32 = 5;
const TENSOR_RAW_DATA: u32 = 9;

/// The file of a model, as a sequence of headers and weights.
pub(super) struct Frames<'m> {
    /// Everything up to the first initializer.
    head: Vec<u8>,
    /// The header of each initializer, and the initializer if its data follow in this file.
    initializers: Vec<(Vec<u8>, Option<&'m Initializer>)>,
}

impl<'m> Frames<'m> {
    pub fn new(model: &'m OnnxModel, plan: &Plan) -> Self {
        let pairs = model.initializers.iter().zip(&plan.places);
        let initializers: Vec<_> = pairs.map(|(init, place)| frame(init, place)).collect();
        let tail: u64 = initializers.iter().map(framed_size).sum();
        let graph = model.proto.graph.as_ref().map(GraphProto::encode_to_vec);
        let graph = graph.unwrap_or_default();
        let mut head = ModelProto {
            graph: None,
            ..model.proto.clone()
        }
        .encode_to_vec();
        encode_key(MODEL_GRAPH, WireType::LengthDelimited, &mut head);
        encode_varint(graph.len() as u64 + tail, &mut head);
        head.extend(graph);
        Self { head, initializers }
    }

    /// The size of the model's file, in bytes.
    pub fn size(&self) -> u64 {
        let tail: u64 = self.initializers.iter().map(framed_size).sum();
        self.head.len() as u64 + tail
    }

    /// The parts of the model's file, which are all of it.
    pub fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = vec![Part::bytes(0, &self.head)];
        let mut offset = self.head.len() as u64;
        for framed in &self.initializers {
            let (header, data) = framed;
            parts.push(Part::bytes(offset, header));
            if let Some(initializer) = data {
                parts.extend(Part::of(&initializer.data, offset + header.len() as u64));
            }
            offset += framed_size(framed);
        }
        parts
    }
}

fn framed_size((header, data): &(Vec<u8>, Option<&Initializer>)) -> u64 {
    header.len() as u64 + data.map_or(0, size)
}

/// The header of an initializer, and the initializer if its data follow in the model's file.
fn frame<'m>(initializer: &'m Initializer, place: &Place) -> (Vec<u8>, Option<&'m Initializer>) {
    let mut tensor = TensorProto {
        dims: initializer.dims.clone(),
        data_type: Some(initializer.dtype.onnx_code()),
        name: Some(initializer.name.clone()),
        ..TensorProto::default()
    };
    let length = size(initializer);
    let data = match place {
        Place::Inline => Some(initializer),
        Place::External {
            location, offset, ..
        } => {
            let entries = [
                ("location".to_owned(), location.clone()),
                ("offset".to_owned(), offset.to_string()),
                ("length".to_owned(), length.to_string()),
            ];
            tensor.external_data = entries.iter().map(StringStringEntryProto::from).collect();
            tensor.set_data_location(DataLocation::External);
            None
        }
    };
    let mut body = tensor.encode_to_vec();
    let mut follows = 0;
    if data.is_some() {
        encode_key(TENSOR_RAW_DATA, WireType::LengthDelimited, &mut body);
        encode_varint(length, &mut body);
        follows = length;
    }
    let mut header = Vec::with_capacity(body.len() + 16);
    encode_key(GRAPH_INITIALIZER, WireType::LengthDelimited, &mut header);
    encode_varint(body.len() as u64 + follows, &mut header);
    header.extend(body);
    (header, data)
}
