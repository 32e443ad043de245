//! Layer normalisation.

use super::def::{Accuracy, Arg, Form, From, OpDef};
use super::operator::{Fact, Facts, Function, Parsed};
use super::reader::OpReader;
use crate::error::{Error, Result};
use crate::lower::{Lowering, NodeAttr, TensorId};
use crate::program::ValueId;
use crate::reference::{Values, normalize};
use crate::tensor::{Dim, Element, Tensor, normalize_axis, reshape_dims};

pub(super) const OPS: &[OpDef] = &[OpDef {
    name: "layer_norm",
    operands: &[
        Arg::Tensor("x"),
        Arg::Optional("scale"),
        Arg::Optional("bias"),
    ],
    results: &["out"],
    legacy: &[Form::legacy(
        &["layer_norm"],
        &[
            From::Slot("X"),
            From::Optional("Scale"),
            From::Optional("Bias"),
        ],
        &["Y"],
    )
    .ignoring(&["is_test"])],
    pir: &[],
    accuracy: Accuracy::Accumulated,
    parse: LayerNorm::parse,
}];

/// `(x - mean) / √(variance + epsilon) · scale + bias` over the axes from `begin_norm_axis` on.
///
/// Paddle: `phi/kernels/layer_norm_kernel.h`. ONNX: LayerNormalization (opset 17). Paddle's scale
/// and bias have one axis, ONNX's those that are normalised.
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

    /// A parameter with the normalised axes.
    fn parameter(&self, g: &mut Lowering<'_>, id: ValueId, normalized: &[Dim]) -> Result<TensorId> {
        let tensor = g.value(id)?;
        if normalized.len() == 1 {
            return Ok(tensor);
        }
        g.reshape(tensor, normalized)
            .ok_or_else(|| Error::unsupported("layer_norm over several axes of unknown extents"))
    }

    /// ONNX can't leave out the scale.
    fn ones(&self, g: &mut Lowering<'_>, x: TensorId, axis: i64) -> TensorId {
        let one = g.scalar(g.dtype(self.x), 1.0);
        let rank = g.rank(self.x) as i64;
        let shape = g.shape_slice(x, axis, rank);
        g.node("Expand", &[one, shape], [])
    }
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
        let axis = axis as i64;
        let scale = match self.scale {
            Some(scale) => self.parameter(g, scale, &normalized)?,
            None => self.ones(g, x, axis),
        };
        let mut inputs = vec![x, scale];
        if let Some(bias) = self.bias {
            inputs.push(self.parameter(g, bias, &normalized)?);
        }
        let attrs = [
            ("axis", NodeAttr::Int(axis)),
            ("epsilon", NodeAttr::Float(self.epsilon as f32)),
        ];
        Ok(g.node("LayerNormalization", &inputs, attrs))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let axis = normalize_axis(self.begin_norm_axis, x.shape().len())?;
        let get = |id: Option<ValueId>| id.map(|id| values.get(id)).transpose();
        let (scale, bias) = (get(self.scale)?, get(self.bias)?);
        crate::reference::with_real!(x, x => {
            let scale = scale.map(|scale| same_type(scale, x)).transpose()?;
            let bias = bias.map(|bias| same_type(bias, x)).transpose()?;
            normalize::layer_norm(x, scale, bias, axis, self.epsilon)?
        })
    }
}

/// The array in `tensor`, of the element type of `like`.
pub(super) fn same_type<'t, T: Element>(
    tensor: &'t Tensor,
    _like: &crate::tensor::Array<T>,
) -> Result<&'t crate::tensor::Array<T>> {
    T::array(tensor).ok_or_else(|| {
        Error::unsupported(format!(
            "operands of two types, {} and {}",
            T::DTYPE,
            tensor.dtype()
        ))
    })
}
