//! Copies of a tensor (`assign`), and tensors that are written out in the program (`assign_value`).
//!
//! Paddle: `phi/kernels/assign_kernel.h`. ONNX: no node for a copy, and a constant for what is written out.

use super::full::{int_array, undefined};
use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::values::merge_values;
use crate::program::{Attr, Builder, Draft, Fact, Facts, ValueId};
use crate::tensor::{DType, Tensor, display_shape};

/// The ops that copy a tensor from one device to another.
const COPIES: &[&str] = &["memcpy", "memcpy_h2d", "memcpy_d2h"];

/// The attribute for the memory layout of the copy.
const FORMAT: &[&str] = &["format"];

/// The attribute for the device that a copy goes to.
const PLACE: &[&str] = &["dst_place_type"];

/// The attributes for what is printed of a tensor, and how.
const PRINTED: &[&str] = &[
    "first_n",
    "message",
    "summarize",
    "print_tensor_name",
    "print_tensor_type",
    "print_tensor_shape",
    "print_tensor_layout",
    "print_tensor_lod",
    "print_phase",
    "is_forward",
];

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "assign",
        &[Arg::Tensor("x")],
        &[
            Form::legacy(&["assign", "share_data"], &[Binding::Slot("X")], &["Out"]),
            Form::legacy(COPIES, &[Binding::Slot("X")], &["Out"]).ignoring(PLACE),
            Form::legacy(&["npu_identity"], &[Binding::Slot("x")], &["out"]).ignoring(FORMAT),
            Form::legacy(&["print"], &[Binding::Slot("In")], &["Out"]).ignoring(PRINTED),
        ],
        Assign::parse,
    )
    .part_by_part(&["x"])
    // The tensor that `assign_out_` overwrites is one of its operands.
    .with_pir(&[
        Form::pir(&["assign_out_"], &["x", "output"], &[Binding::Slot("x")]).overwriting("output"),
        Form::pir(&["share_data"], &["x"], &[Binding::Slot("x")]),
        Form::pir(COPIES, &["x"], &[Binding::Slot("x")]).ignoring(PLACE),
        Form::pir(&["npu_identity"], &["x"], &[Binding::Slot("x")]).ignoring(FORMAT),
        Form::pir(&["print"], &["x"], &[Binding::Slot("x")]).ignoring(PRINTED),
    ]),
    OpDef::new(
        "assign_value",
        &[],
        &[Form::legacy(&["assign_value"], &[], &["Out"]).rewriting(assign_value)],
        AssignValue::parse,
    )
    .with_pir(&[
        Form::pir(&["assign_value_"], &["output"], &[]).overwriting("output"),
        Form::pir(&["full_int_array"], &[], &[])
            .renaming(&[("value", "values")])
            .rewriting(int_array),
    ]),
];

/// A copy of a tensor. In ONNX, it is the tensor itself.
struct Assign {
    x: ValueId,
}

impl Assign {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
        }))
    }
}

impl Function for Assign {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        Ok(facts.get(self.x).clone())
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        g.value(self.x)
    }

    fn passes_on(&self, _: &Facts<'_>) -> Option<ValueId> {
        Some(self.x)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        values.get(self.x).cloned()
    }
}

/// What `to_static` of Paddle 2 assigns to a variable that nothing has written, as a float32 or a float64.
const NO_VALUE: f32 = 1.77113e27;

fn assign_value(builder: &mut Builder, mut draft: Draft) -> Result<Vec<ValueId>> {
    merge_values(&mut draft);
    let is_no_value = |values: &[f64]| matches!(values, [value] if *value as f32 == NO_VALUE);
    if matches!(draft.attrs.get("values"), Some(Attr::Floats(values)) if is_no_value(values))
        && let [declared] = draft.results.as_slice()
    {
        let value = builder.constant(Tensor::vector(vec![NO_VALUE]));
        return Ok(undefined(builder, declared.clone(), value));
    }
    Ok(builder.emit(draft))
}

/// A constant that the program spells out.
struct AssignValue {
    tensor: Tensor,
    dtype: DType,
}

impl AssignValue {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let dtype: DType = op.attr("dtype")?;
        let shape: Vec<i64> = op.attr("shape")?;
        let extents: Option<Vec<usize>> = shape.iter().map(|e| usize::try_from(*e).ok()).collect();
        let extents = extents.ok_or_else(|| {
            Error::malformed(format!("a tensor of shape {}", display_shape(&shape)))
        })?;
        let tensor = match op.attr::<Attr>("values")? {
            Attr::Ints(values) => Tensor::from_elements(&extents, values)?,
            Attr::Floats(values) => Tensor::from_elements(&extents, values)?,
            Attr::Bools(values) => Tensor::from_elements(&extents, values)?,
            other => {
                return Err(Error::malformed(format!(
                    "the attribute `values` is {}",
                    other.type_name()
                )));
            }
        };
        let tensor = tensor.cast(dtype);
        Ok(Box::new(Self { tensor, dtype }))
    }
}

impl Function for AssignValue {
    fn infer(&self, _: &Facts<'_>) -> Result<Fact> {
        Ok(Fact::of_constant(&self.tensor))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        Ok(g.constant(self.tensor.clone()))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        Ok(self.tensor.cast(values.dtype(self.dtype)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{Declared, OpKind};
    use crate::tensor::Dim;

    #[test]
    fn what_to_static_makes_up_is_undefined() {
        for (number, kind) in [
            (f64::from(NO_VALUE), "undefined"),
            (1.77113e27, "undefined"),
            (1.7e27, "assign_value"),
        ] {
            let mut builder = Builder::new();
            let declared = Declared {
                name: "y".into(),
                dtype: DType::F32,
                shape: vec![Dim::Unknown, Dim::Known(8)],
            };
            let draft = Draft {
                kind: OpKind::Known("assign_value"),
                operands: Vec::new(),
                results: vec![declared],
                attrs: [("values".to_owned(), Attr::Floats(vec![number]))].into(),
            };
            assign_value(&mut builder, draft).unwrap();
            let kinds: Vec<&str> = builder
                .program
                .ops
                .iter()
                .map(|op| op.kind.name())
                .collect();
            assert_eq!(kinds, [kind], "{number}");
        }
    }
}
