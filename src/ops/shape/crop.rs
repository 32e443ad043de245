//! A part of a tensor, by its offsets and shape: `crop`.
//!
//! Paddle: `phi/kernels/crop_kernel.h`. ONNX: Slice.

use std::collections::BTreeMap;

use ndarray::{Axis, Slice};

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::program::{Attr, Builder, Draft, Fact, Facts, Operand, ValueId};
use crate::tensor::{DType, Dim, Element, Tensor, display_shape, with_array};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "crop",
    &[
        Arg::Tensor("x"),
        Arg::IntArray("shape"),
        Arg::IntArray("offsets"),
    ],
    &[
        Form::legacy(
            &["crop_tensor"],
            &[
                Binding::Slot("X"),
                Binding::IntArray {
                    attr: "shape",
                    slots: &["Shape", "ShapeTensor"],
                },
                Binding::IntArray {
                    attr: "offsets",
                    slots: &["Offsets", "OffsetsTensor"],
                },
            ],
            &["Out"],
        ),
        // The op before `crop_tensor` takes the shape from an attribute, or from a tensor `Y` that has it.
        Form::legacy(
            &["crop"],
            &[
                Binding::Slot("X"),
                Binding::Optional("Y"),
                Binding::IntArray {
                    attr: "offsets",
                    slots: &["Offsets"],
                },
            ],
            &["Out"],
        )
        .rewriting(like_another),
    ],
    Crop::parse,
)
.part_by_part(&["x"])];

/// Replaces the operand `Y` by its shape, or by the attribute `shape` if it is not given.
fn like_another(builder: &mut Builder, mut draft: Draft) -> Result<Vec<ValueId>> {
    let shape = draft.attrs.remove("shape");
    let shape = match (draft.operands.get(1), shape) {
        (Some(Operand::One(like)), _) => {
            let ty = (DType::I32, vec![Dim::from(builder.rank(*like))]);
            builder.insert("shape", vec![Operand::One(*like)], BTreeMap::new(), ty)
        }
        (_, Some(Attr::Ints(shape))) => builder.constant(Tensor::vector(shape)),
        _ => return Err(Error::malformed("a part of no shape")),
    };
    if let Some(operand) = draft.operands.get_mut(1) {
        *operand = Operand::One(shape);
    }
    Ok(builder.emit(draft))
}

/// The part of `x` of shape `shape` that begins at `offsets`. Where `shape` is -1, it reaches to the end of
/// the axis.
struct Crop {
    x: ValueId,
    shape: ValueId,
    offsets: ValueId,
}

impl Crop {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            shape: op.operand("shape")?,
            offsets: op.operand("offsets")?,
        }))
    }

    /// Refuses lists without one number for each axis, extents below -1, and negative offsets.
    fn refuse(rank: usize, shape: &[Dim], offsets: &[i64]) -> Result<()> {
        let is_odd = |dim: &Dim| dim.known().is_some_and(|extent| extent < -1);
        if shape.len() != rank
            || offsets.len() != rank
            || shape.iter().any(is_odd)
            || offsets.iter().any(|offset| *offset < 0)
        {
            let (shape, offsets) = (display_shape(shape), display_shape(offsets));
            return Err(Error::malformed(format!(
                "a part of shape {shape} at {offsets} of a tensor of rank {rank}"
            )));
        }
        Ok(())
    }
}

impl Function for Crop {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.get(self.x);
        let rank = x.shape.len();
        let offsets = facts.integers(self.offsets);
        let target = match facts.content(self.shape) {
            Some(content) => content.to_vec(),
            None => vec![Dim::Unknown; rank],
        };
        let known = offsets.clone().unwrap_or_else(|| vec![0; rank]);
        Self::refuse(rank, &target, &known)?;
        let axes = x.shape.iter().zip(target).enumerate();
        let shape = axes.map(|(axis, (extent, target))| {
            let offset = offsets.as_ref().map(|offsets| offsets[axis]);
            match (target, extent, offset) {
                (Dim::Known(-1), Dim::Known(extent), Some(offset)) => {
                    Dim::Known(extent.saturating_sub(offset))
                }
                (Dim::Known(-1), extent, Some(0)) => extent.clone(),
                (Dim::Known(-1), ..) => Dim::Unknown,
                (target, ..) => target,
            }
        });
        Ok(Fact::new(x.dtype, shape.collect()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let rank = g.rank(self.x);
        let axes: Vec<i64> = (0..rank as i64).collect();
        let axes = g.vector(&axes);
        let starts = g.int_array(self.offsets)?;
        let known = g.integers(self.shape).zip(g.integers(self.offsets));
        let ends = match known {
            Some((shape, offsets)) => {
                let ends = shape.iter().zip(&offsets);
                let ends = ends.map(|(extent, offset)| match extent {
                    -1 => i64::MAX,
                    extent => offset.saturating_add(*extent),
                });
                g.vector(&ends.collect::<Vec<_>>())
            }
            None => {
                let shape = g.int_array(self.shape)?;
                let ends = g.node("Add", &[starts, shape], []);
                let zero = g.constant(Tensor::scalar(0_i64));
                let no_end = g.constant(Tensor::scalar(i64::MAX));
                let is_open = g.node("Less", &[shape, zero], []);
                g.node("Where", &[is_open, no_end, ends], [])
            }
        };
        Ok(g.node("Slice", &[x, starts, ends, axes], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let (shape, offsets) = (values.integers(self.shape)?, values.integers(self.offsets)?);
        let dims: Vec<Dim> = shape.iter().copied().map(Dim::Known).collect();
        Self::refuse(x.shape().len(), &dims, &offsets)?;
        with_array!(x, x => {
            let mut view = x.view();
            for (axis, (extent, offset)) in shape.into_iter().zip(offsets).enumerate() {
                let whole = view.len_of(Axis(axis)) as i64;
                let end = if extent == -1 { whole } else { offset.saturating_add(extent) };
                if offset > end || end > whole {
                    let message = format!("elements {offset} to {end} of {whole}");
                    return Err(Error::malformed(message));
                }
                view.slice_axis_inplace(Axis(axis), Slice::from(offset as isize..end as isize));
            }
            Ok(Element::tensor(view.to_owned().into()))
        })
    }
}
