//! Resizing of spatial axes, by size or by scale: `nearest_interp`, `linear_interp`, `bilinear_interp`,
//! `trilinear_interp`, `bicubic_interp`.
//!
//! Paddle: `phi/kernels/cpu/interpolate_kernel.cc`. ONNX: Resize where it does the same, else Gather and weighted sums.

use super::interpolation::{Interpolate, Method, OPERANDS, SIZES_ALONE};
use crate::error::Result;
use crate::graph::{Lowering, TensorId};
use crate::kernels::with_real;
use crate::operator::{ANY, Accuracy, Arg, FLOATS, Form, Function, OpDef, Parse, Values};
use crate::program::{Attr, Builder, Draft, Fact, Facts, ValueId};
use crate::tensor::{Element, Tensor, with_array};

pub(super) const OPS: &[OpDef] = &[
    interpolation(
        "linear_interp",
        &[second(&["linear_interp_v2"]), first(&["linear_interp"])],
        Interpolate::parse_line_or_volume,
    )
    .with_opset(9),
    interpolation(
        "bilinear_interp",
        &[second(&["bilinear_interp_v2"]), first(&["bilinear_interp"])],
        |op| Interpolate::parsed(op, Method::Linear),
    ),
    interpolation(
        "trilinear_interp",
        &[
            second(&["trilinear_interp_v2"]),
            first(&["trilinear_interp"]),
        ],
        Interpolate::parse_line_or_volume,
    )
    .with_opset(9),
    interpolation(
        "bicubic_interp",
        &[second(&["bicubic_interp_v2"]), first(&["bicubic_interp"])],
        |op| Interpolate::parsed(op, Method::Cubic),
    ),
    interpolation(
        "nearest_interp",
        &[second(&["nearest_interp_v2"]), first(&["nearest_interp"])],
        |op| Interpolate::parsed(op, Method::Nearest),
    )
    .with_dtypes(ANY)
    .with_accuracy(Accuracy::Exact),
];

const fn interpolation(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    OpDef::new(
        name,
        &[
            Arg::Tensor("x"),
            Arg::IntArray("out_size"),
            Arg::IntArray("size_tensor"),
            Arg::Optional("scale_tensor"),
        ],
        legacy,
        parse,
    )
    .with_results(&["output"])
    .with_dtypes(FLOATS)
    .with_accuracy(Accuracy::Positions)
}

/// The form of Paddle 2, and of Paddle 3 in the older format.
pub(super) const fn second(names: &'static [&'static str]) -> Form {
    Form::legacy(names, OPERANDS, &["Out"]).renaming(&[("data_layout", "data_format")])
}

/// The form of Paddle 1, with one scale for all axes, and 0 for none.
const fn first(names: &'static [&'static str]) -> Form {
    second(names).rewriting(one_scale)
}

/// Makes a list of the scale of Paddle 1, and marks the op as one.
fn one_scale(builder: &mut Builder, mut draft: Draft) -> Result<Vec<ValueId>> {
    if let Some(Attr::Float(scale)) = draft.attrs.remove("scale")
        && scale > 0.0
    {
        let scales = Attr::Floats(vec![scale]);
        draft.attrs.insert("scale".to_owned(), scales);
    }
    draft.attrs.insert(SIZES_ALONE.to_owned(), Attr::Bool(true));
    Ok(builder.emit(draft))
}

impl Function for Interpolate {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let mut shape = facts.shape(self.x).to_vec();
        let (start, count) = self.spatial(shape.len())?;
        let outputs = self.outputs(facts)?;
        shape[start..start + count].clone_from_slice(&outputs);
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        super::resample::lower(self, g)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let plan = self.plan(values)?;
        if self.method == Method::Nearest {
            return with_array!(x, x => Ok(Element::tensor(self.pick(x, &plan)?)));
        }
        with_real!(x, x => self.blend(x, &plan)?)
    }
}
