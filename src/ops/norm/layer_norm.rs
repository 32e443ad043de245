//! `layer_norm`: layer normalisation.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::norm;
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, OpDef, OpReader, Parsed, Values,
};
use crate::ops::shared::values::same_type;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Dim, Tensor, normalize_axis, reshape_dims};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "layer_norm",
    &[
        Arg::Tensor("x"),
        Arg::Optional("scale"),
        Arg::Optional("bias"),
    ],
    &[Form::legacy(
        &["layer_norm"],
        &[
            Binding::Slot("X"),
            Binding::Optional("Scale"),
            Binding::Optional("Bias"),
        ],
        &["Y"],
    )],
    LayerNorm::parse,
)
.with_dtypes(FLOATS)
.with_accuracy(Accuracy::Accumulated)
.speculatable()];

/// `(x - mean) / √(variance + epsilon) · scale + bias` over the axes from `begin_norm_axis` on.
///
/// Paddle: `phi/kernels/layer_norm_kernel.h`. ONNX: LayerNormalization. Paddle's scale and bias have one axis, ONNX's
/// those that are normalised.
struct LayerNorm {
    x: ValueId,
    scale: Option<ValueId>,
    bias: Option<ValueId>,
    begin_norm_axis: i64,
    epsilon: f64,
}

impl LayerNorm {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            scale: op.optional("scale")?,
            bias: op.optional("bias")?,
            begin_norm_axis: op.attr_or("begin_norm_axis", 1)?,
            epsilon: op.attr_or("epsilon", 1e-5)?,
        }))
    }
}

/// Emits a scale or a bias in the shape of the axes that are normalised.
///
/// # Errors
/// When it has another rank, and several of these extents are not known.
pub(super) fn normalized_parameter(
    g: &mut Lowering<'_>,
    id: ValueId,
    normalized: &[Dim],
) -> Result<TensorId> {
    let tensor = g.value(id)?;
    if g.rank(id) == normalized.len() {
        return Ok(tensor);
    }
    g.reshape(tensor, normalized)
        .ok_or_else(|| Error::needs_extents("a norm over several axes of unknown extents"))
}

impl Function for LayerNorm {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let axis = normalize_axis(self.begin_norm_axis, facts.rank(self.x))?;
        let normalized = reshape_dims(&facts.shape(self.x)[axis..], &[Dim::Known(-1)])?;
        for parameter in [self.scale, self.bias].into_iter().flatten() {
            let elements = reshape_dims(facts.shape(parameter), &[Dim::Known(-1)])?;
            if let ([Dim::Known(a)], [Dim::Known(b)]) = (elements.as_slice(), normalized.as_slice())
                && a != b
            {
                return Err(Error::malformed(format!(
                    "a scale or bias has {a} elements where {b} are normalised"
                )));
            }
        }
        Ok(Fact::new(facts.dtype(self.x), facts.shape(self.x).to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let axis = normalize_axis(self.begin_norm_axis, g.rank(self.x))?;
        let normalized = g.shape(self.x)[axis..].to_vec();
        let mut parameter = |id: Option<ValueId>| {
            id.map(|id| normalized_parameter(g, id, &normalized))
                .transpose()
        };
        let (scale, bias) = (parameter(self.scale)?, parameter(self.bias)?);
        let ty = (g.dtype(self.x), g.rank(self.x));
        Ok(g.layer_norm(x, ty, axis, self.epsilon, scale, bias))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let axis = normalize_axis(self.begin_norm_axis, x.shape().len())?;
        let get = |id: Option<ValueId>| id.map(|id| values.get(id)).transpose();
        let (scale, bias) = (get(self.scale)?, get(self.bias)?);
        crate::kernels::with_real!(x, x => {
            let scale = scale.map(|scale| same_type(scale, x)).transpose()?;
            let bias = bias.map(|bias| same_type(bias, x)).transpose()?;
            norm::layer_norm(x, scale, bias, axis, self.epsilon)?
        })
    }
}
