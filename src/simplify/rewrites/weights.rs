//! Weights that rewrites read, and make others of.

use crate::program::{Attr, Attributes, Op, OpKind, Operand, Origin, Program, Value, ValueId};
use crate::read::pieces;
use crate::tensor::{Dim, Tensor};

/// The most elements of a weight that is read as a factor or a bias.
const LARGEST: usize = 1 << 16;

/// The elements of a constant, or of a small weight. None if it is neither, or the weight can't be read, which whoever
/// writes the model reports.
pub(in crate::simplify) fn stored(program: &Program, id: ValueId) -> Option<Tensor> {
    let value = &program[id];
    match &value.origin {
        Origin::Constant(tensor) => Some(tensor.clone()),
        Origin::Parameter(range) => {
            let extents = value.shape.iter().map(Dim::extent);
            let shape: Vec<usize> = extents.collect::<Option<_>>()?;
            if shape.iter().product::<usize>() > LARGEST {
                return None;
            }
            let mut bytes = Vec::new();
            let read = pieces(range, &mut |piece| {
                bytes.extend_from_slice(piece);
                Ok(())
            });
            read.ok()?;
            Tensor::from_le_bytes(value.dtype, &shape, &bytes).ok()
        }
        Origin::Input | Origin::Result => None,
    }
}

/// A new constant.
pub(super) fn constant(program: &mut Program, name: String, tensor: Tensor) -> ValueId {
    let extents = tensor.shape().iter();
    program.add_value(Value {
        name,
        dtype: tensor.dtype(),
        shape: extents.map(|extent| Dim::from(*extent)).collect(),
        origin: Origin::Constant(tensor),
    })
}

/// A new result of the name, the element type and, unless another is given, the shape of another value.
pub(super) fn like(program: &mut Program, other: ValueId, shape: Option<Vec<Dim>>) -> ValueId {
    let mut value = Value {
        origin: Origin::Result,
        ..program[other].clone()
    };
    if let Some(shape) = shape {
        value.shape = shape;
    }
    program.add_value(value)
}

/// The op that scales a weight of float32 for another op, by `factors` along an axis.
pub(super) fn scaled(
    program: &mut Program,
    reader: &Op,
    weight: ValueId,
    (factors, axis): (Vec<f64>, i64),
) -> Op {
    let factors = Tensor::vector(factors);
    // Layers that are alike, as those of a transformer, have factors in common.
    let known = program.values().find(|(_, value)| match &value.origin {
        Origin::Constant(known) => value.name.is_empty() && *known == factors,
        _ => false,
    });
    let known = known.map(|(id, _)| id);
    let factors = known.unwrap_or_else(|| constant(program, String::new(), factors));
    let result = like(program, weight, None);
    Op {
        kind: OpKind::Known("scale_weight"),
        operands: vec![Operand::One(weight), Operand::One(factors)],
        results: vec![result],
        attrs: Attributes::from([("axis".to_owned(), Attr::Int(axis))]),
        blocks: Vec::new(),
        release: reader.release,
        source: reader.source.clone(),
    }
}
