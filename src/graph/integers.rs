//! Weights whose elements become others when the model is written, such as integers of 8 bits or numbers of half precision,
//! and tensors of whole numbers that are kept as such integers.

use std::fmt;
use std::sync::Arc;

use half::vec::HalfFloatVecExt;
use half::{bf16, f16};

use super::context::Lowering;
use super::nodes::{Kind, Node, TensorId};
use crate::error::{Error, Result};
use crate::program::{Origin, ValueId};
use crate::read::{ByteRange, pieces};
use crate::tensor::{Channels, DType, ElementMap};

/// What makes each element of a tensor of that of a weight.
#[derive(Clone)]
pub struct Mapping {
    /// The element type of the weight, float32 or int8.
    from: DType,
    /// The element type of the tensor: float32, float16, bfloat16 or int8.
    to: DType,
    map: ElementMap,
}

/// The elements that are mapped at a time.
const RUN: usize = 4096;

impl Mapping {
    /// The element type of the tensor.
    pub(super) fn dtype(&self) -> DType {
        self.to
    }

    /// The number of elements in so many bytes of a weight.
    pub(crate) fn elements(&self, len: u64) -> usize {
        // What a file holds can be counted in memory.
        usize::try_from(len / self.from.size() as u64).unwrap_or(usize::MAX)
    }

    /// The number of bytes that are made of these of a weight.
    pub(crate) fn size(&self, len: u64) -> u64 {
        len / self.from.size() as u64 * self.to.size() as u64
    }

    /// Appends the bytes of the elements that these of a weight become, of which the first is at a position.
    pub(crate) fn append(&self, mut position: usize, piece: &[u8], to: &mut Vec<u8>) {
        let mut elements = Vec::with_capacity(RUN);
        for run in piece.chunks(RUN * self.from.size()) {
            elements.clear();
            decode(self.from, run, &mut elements);
            (self.map)(position, &mut elements);
            match self.to {
                DType::I8 => to.extend(elements.iter().map(|x| *x as i8 as u8)),
                DType::F16 => encode(&Vec::from_f32_slice(&elements), f16::to_le_bytes, to),
                DType::BF16 => encode(&Vec::from_f32_slice(&elements), bf16::to_le_bytes, to),
                _ => encode(&elements, f32::to_le_bytes, to),
            }
            position += elements.len();
        }
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mapping({} to {})", self.from, self.to)
    }
}

/// Appends the bytes of each element.
fn encode<T: Copy, const SIZE: usize>(
    elements: &[T],
    each: impl Fn(T) -> [u8; SIZE],
    to: &mut Vec<u8>,
) {
    let start = to.len();
    to.resize(start + elements.len() * SIZE, 0);
    let (bytes, _) = to[start..].as_chunks_mut();
    let pairs = bytes.iter_mut().zip(elements);
    pairs.for_each(|(bytes, x)| *bytes = each(*x));
}

/// Appends the elements of bytes of float32 or int8.
fn decode(dtype: DType, bytes: &[u8], elements: &mut Vec<f32>) {
    match dtype {
        DType::I8 => elements.extend(bytes.iter().map(|byte| f32::from(*byte as i8))),
        _ => elements.extend(bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes)),
    }
}

impl Lowering<'_> {
    /// Whether a value is a weight of float32 or int8 whose file is there.
    pub fn is_stored(&self, id: ValueId) -> bool {
        self.stored_numbers(id).is_some()
    }

    /// Calls `visit` with each element of a weight of float32 or int8, and its position in row-major order. The weight is
    /// read piece by piece. False, without a call, if the value is no such weight, or its file is missing.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn visit_weight(&self, id: ValueId, visit: &mut dyn FnMut(usize, f32)) -> Result<bool> {
        let Some((dtype, range)) = self.stored_numbers(id) else {
            return Ok(false);
        };
        let (mut position, mut elements) = (0, Vec::new());
        pieces(range, &mut |piece| {
            decode(dtype, piece, &mut elements);
            for element in elements.drain(..) {
                visit(position, element);
                position += 1;
            }
            Ok(())
        })?;
        Ok(true)
    }

    /// The elements of a value, if they are known: those of a constant, or of a weight, which is read. Only for
    /// small ones, such as scales.
    ///
    /// # Errors
    /// When the weight can't be read.
    pub fn known_elements(&self, id: ValueId) -> Result<Option<Vec<f64>>> {
        if let Some(tensor) = self.constant_value(id) {
            return Ok(Some(tensor.to_f64_vec()));
        }
        let bound = self.bound(id).and_then(|tensor| self.constant_of(tensor));
        if let Some(tensor) = bound {
            return Ok(Some(tensor.to_f64_vec()));
        }
        let mut elements = Vec::new();
        let is_known = self.visit_weight(id, &mut |_, element| elements.push(element.into()))?;
        Ok(is_known.then_some(elements))
    }

    /// An initializer of the shape of a weight of float32 or int8, whose elements `each` makes of the weight's, and of their
    /// positions along `axis` (0 without one), as [`Lowering::mapped_weight`] does.
    ///
    /// # Errors
    /// Those of [`Lowering::mapped_weight`].
    pub fn weight_by_channel(
        &mut self,
        id: ValueId,
        to: DType,
        axis: Option<usize>,
        each: impl Fn(usize, f32) -> f32 + Send + Sync + 'static,
    ) -> Result<TensorId> {
        let map = Channels::of(self.shape(id), axis).mapping(each);
        self.mapped_weight(id, to, map)
    }

    /// An initializer of the shape of a weight of float32 or int8, whose elements `map` makes of the weight's when the model is
    /// written. They are of the type `to`: float32, or int8 for whole numbers in its range.
    ///
    /// # Errors
    /// When the value is no such weight, which is a defect of the caller.
    pub fn mapped_weight(&mut self, id: ValueId, to: DType, map: ElementMap) -> Result<TensorId> {
        let stored = self.stored_numbers(id);
        let (from, range) = stored.ok_or_else(|| Error::internal("a value that is no weight"))?;
        let range = range.clone();
        Ok(self.graph.tensor(Kind::Mapped {
            value: id,
            range,
            mapping: Mapping { from, to, map },
        }))
    }

    /// A constant or a weight of float32 in half precision, which needs no node: each element of a weight is rounded when the
    /// model is written. None for other tensors and types.
    pub(super) fn stored_in_half(&mut self, tensor: TensorId, to: DType) -> Option<TensorId> {
        if !matches!(to, DType::F16 | DType::BF16) {
            return None;
        }
        let (value, range, mapping) = match &self.graph.tensors[tensor.index()] {
            Kind::Constant(constant) if constant.dtype() == DType::F32 => {
                let rounded = constant.cast(to);
                return Some(self.constant(rounded));
            }
            Kind::Parameter(value) => {
                let (from, range) = self.stored_numbers(*value)?;
                let map: ElementMap = Arc::new(|_, _| {});
                (*value, range.clone(), Mapping { from, to, map })
            }
            Kind::Mapped {
                value,
                range,
                mapping,
            } if mapping.to == DType::F32 => {
                let mapping = Mapping {
                    to,
                    ..mapping.clone()
                };
                (*value, range.clone(), mapping)
            }
            _ => return None,
        };
        Some(self.graph.tensor(Kind::Mapped {
            value,
            range,
            mapping,
        }))
    }

    /// Casts an int8 tensor to float32, and keeps in mind that both hold the same. What reads the result through
    /// [`Lowering::as_int8`] needs no cast.
    pub fn whole_numbers(&mut self, int8: TensorId) -> TensorId {
        let float = self.cast(int8, DType::I8, DType::F32);
        self.graph.int8.insert(float, int8);
        float
    }

    /// The int8 tensor that holds the same as the float32 tensor of a value, if there is one.
    pub fn as_int8(&self, id: ValueId) -> Option<TensorId> {
        self.graph.int8.get(&self.bound(id)?).copied()
    }

    /// A tensor for a layer with these weights. Between quantised tensors, ONNX Runtime quantises float weights, too; a Clip
    /// without bounds, which changes nothing, keeps it from that.
    pub fn apart_from_weights(&mut self, x: TensorId, weights: TensorId) -> TensorId {
        let is_dequantized = |tensor| {
            let maker = self.maker(tensor);
            maker.is_some_and(|node| node.op_type == "DequantizeLinear")
        };
        if is_dequantized(x) && !is_dequantized(weights) {
            self.node("Clip", &[x], [])
        } else {
            x
        }
    }

    /// The node that makes a tensor.
    fn maker(&self, tensor: TensorId) -> Option<&Node> {
        let mut latest = self.graph.nodes.iter().rev();
        latest.find(|node| node.outputs.contains(&tensor))
    }

    /// Whether no element of a tensor is negative, as far as the operators tell that make it.
    pub fn is_nonnegative(&self, tensor: TensorId) -> bool {
        let Some(node) = self.maker(tensor) else {
            return false;
        };
        match node.op_type.as_ref() {
            "Relu" | "Sigmoid" | "HardSigmoid" | "Softmax" | "Abs" | "Exp" => true,
            "Clip" => {
                let lowest = node.inputs.get(1).copied().flatten();
                let lowest = lowest.and_then(|lowest| self.constant_of(lowest));
                lowest.is_some_and(|lowest| lowest.to_f64_vec().iter().all(|x| *x >= 0.0))
            }
            "MaxPool" | "AveragePool" | "GlobalAveragePool" | "GlobalMaxPool" | "Reshape"
            | "Flatten" | "Transpose" | "Squeeze" | "Unsqueeze" | "Identity" => {
                let input = node.inputs.first().copied().flatten();
                input.is_some_and(|input| self.is_nonnegative(input))
            }
            _ => false,
        }
    }

    /// The element type and the place of a weight of float32 or int8, if its file is there.
    fn stored_numbers(&self, id: ValueId) -> Option<(DType, &ByteRange)> {
        let program = self.program();
        let value = &program[id];
        match &value.origin {
            Origin::Parameter(range)
                if matches!(value.dtype, DType::F32 | DType::I8)
                    && program.missing_weights.is_none() =>
            {
                Some((value.dtype, range))
            }
            _ => None,
        }
    }
}
