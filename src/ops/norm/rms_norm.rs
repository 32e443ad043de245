//! `rms_norm`, also written `fused_rms_norm_quant`: normalisation by the root of the mean square.
//!
//! Paddle: `phi/kernels/gpu/rms_norm_kernel.cu`, `phi/kernels/fusion/cpu/fused_rms_norm_quant_avx_kernel.cc`.
//! ONNX: RMSNormalization, which exists from opset 23 on; Mul, ReduceMean, Add, Sqrt and Div before.

use super::layer_norm::normalized_parameter;
use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::{Real, map, norm, with_real};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Macs, OpDef, OpReader, Operator, Parsed, Values,
};
use crate::ops::shared::values::same_type;
use crate::program::{Attr, Builder, Draft, Fact, Facts, ValueId};
use crate::tensor::{Array, Dim, Tensor, display_shape, normalize_axis};

const OPERANDS: &[&str] = &["x", "bias", "residual", "norm_weight", "norm_bias"];

const FROM: &[Binding] = &[
    Binding::Slot("x"),
    Binding::Optional("bias"),
    Binding::Optional("residual"),
    Binding::Optional("norm_weight"),
    Binding::Optional("norm_bias"),
];

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "rms_norm",
    &[
        Arg::Tensor("x"),
        Arg::Optional("bias"),
        Arg::Optional("residual"),
        Arg::Optional("norm_weight"),
        Arg::Optional("norm_bias"),
    ],
    &[Form::legacy(&["rms_norm"], FROM, &["out", "residual_out"])],
    RmsNorm::parse,
)
.with_dtypes(FLOATS)
.with_accuracy(Accuracy::Accumulated)
.with_results(&["out", "residual_out"])
.with_pir(&[
    Form::pir(&["fused_rms_norm_quant"], OPERANDS, FROM),
    Form::pir(&["rms_norm"], OPERANDS, FROM).rewriting(of_either_signature),
])];

/// Brings the `rms_norm` of Paddle 3.3, which is another op, to the older signature. Its second operand is the scale,
/// training alone reads its second result, and `normalized_shape` replaces `begin_norm_axis`.
fn of_either_signature(builder: &mut Builder, mut draft: Draft) -> Result<Vec<ValueId>> {
    let Some(shape) = draft.attrs.remove("normalized_shape") else {
        return Ok(builder.emit(draft));
    };
    let count = match &shape {
        Attr::Ints(shape) => i64::try_from(shape.len()).ok().filter(|count| *count > 0),
        _ => None,
    };
    let count = count.ok_or_else(|| Error::malformed(format!("normalized_shape {shape}")))?;
    draft.operands.swap(1, 3);
    draft.results.truncate(1);
    let axis = ("begin_norm_axis".to_owned(), Attr::Int(-count));
    draft.attrs.extend([axis]);
    Ok(builder.emit(draft))
}

/// `x / √(mean(x²) + epsilon) · scale + bias`, over the axes from `begin_norm_axis` on. If there is a residual, it and
/// its bias are added to `x` before. The sum is the second result: empty without a residual, and absent in some
/// programs.
struct RmsNorm {
    x: ValueId,
    /// What is added to `x`: the residual and its bias.
    residual: [Option<ValueId>; 2],
    /// Whether the sum is a result.
    returns_sum: bool,
    scale: Option<ValueId>,
    bias: Option<ValueId>,
    begin_norm_axis: i64,
    epsilon: f64,
}

impl RmsNorm {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let quant_scale: f64 = op.attr_or("quant_scale", -1.0)?;
        if quant_scale > 0.0 {
            return Err(Error::unsupported(
                "`quant_scale`: a result that is quantised to int8",
            ));
        }
        for of_quantisation in ["quant_round_type", "quant_max_bound", "quant_min_bound"] {
            op.ignore(of_quantisation);
        }
        let residual = op.optional("residual")?;
        let bias = op.optional("bias")?.filter(|_| residual.is_some());
        Ok(Box::new(Self {
            x: op.operand("x")?,
            residual: [residual, bias],
            returns_sum: op.result_count() > 1,
            scale: op.optional("norm_weight")?,
            bias: op.optional("norm_bias")?,
            begin_norm_axis: op.attr_or("begin_norm_axis", 1)?,
            epsilon: op.attr_or("epsilon", 1e-5)?,
        }))
    }

    /// The operands that are added to `x`.
    fn added(&self) -> impl Iterator<Item = ValueId> {
        self.residual.into_iter().flatten()
    }

    fn sum<T: Real>(&self, x: &Array<T>, values: &Values<'_>) -> Result<Array<T>> {
        let mut sum = x.clone();
        for added in self.added() {
            let added = same_type(values.get(added)?, x)?;
            sum = map::zip(&sum, added, |x, y| x + y)?.into();
        }
        Ok(sum)
    }
}

impl Operator for RmsNorm {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let x = facts.get(self.x);
        let axis = normalize_axis(self.begin_norm_axis, x.shape.len())?;
        let normalized = Macs::product(&x.shape[axis..]);
        for parameter in [self.scale, self.bias].into_iter().flatten() {
            let elements = Macs::product(facts.shape(parameter));
            if normalized.zip(elements).is_some_and(|(a, b)| a != b) {
                let (shape, x) = (
                    display_shape(facts.shape(parameter)),
                    display_shape(&x.shape),
                );
                return Err(Error::malformed(format!(
                    "a parameter of shape {shape} for an operand of shape {x}"
                )));
            }
        }
        let out = Fact::new(x.dtype, x.shape.clone());
        let sum = match self.residual {
            _ if !self.returns_sum => None,
            [None, _] => Some(Fact::new(x.dtype, vec![Dim::Known(0)])),
            _ => Some(out.clone()),
        };
        Ok([Some(out), sum].into_iter().flatten().collect())
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let (dtype, rank) = (g.dtype(self.x), g.rank(self.x));
        let axis = normalize_axis(self.begin_norm_axis, rank)?;
        let normalized = g.shape(self.x)[axis..].to_vec();
        let mut x = g.value(self.x)?;
        for added in self.added() {
            let added = g.value(added)?;
            x = g.node("Add", &[x, added], []);
        }
        let mut parameter = |id: Option<ValueId>| {
            let parameter = id.map(|id| normalized_parameter(g, id, &normalized));
            parameter.transpose()
        };
        let (scale, bias) = (parameter(self.scale)?, parameter(self.bias)?);
        let mut y = g.rms_norm(x, (dtype, rank), axis, self.epsilon, scale);
        if let Some(bias) = bias {
            y = g.node("Add", &[y, bias], []);
        }
        Ok(match self.residual {
            _ if !self.returns_sum => vec![y],
            [None, _] => {
                let empty = Tensor::vector::<f64>(Vec::new()).cast(dtype);
                vec![y, g.constant(empty)]
            }
            _ => vec![y, x],
        })
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        let x = values.get(self.x)?;
        let axis = normalize_axis(self.begin_norm_axis, x.shape().len())?;
        let get = |id: Option<ValueId>| id.map(|id| values.get(id)).transpose();
        let parameters = [get(self.scale)?, get(self.bias)?];
        let sum: Result<Tensor> = with_real!(x, x => self.sum(x, values)?);
        let sum = sum?;
        let out: Result<Tensor> = with_real!(&sum, sum => {
            let [scale, bias] = parameters.map(|p| p.map(|p| same_type(p, sum)).transpose());
            norm::rms_norm(sum, [scale?, bias?], axis, self.epsilon)?
        });
        Ok(match self.residual {
            _ if !self.returns_sum => vec![out?],
            [None, _] => {
                let empty = Tensor::vector::<f64>(Vec::new());
                vec![out?, empty.cast(sum.dtype())]
            }
            _ => vec![out?, sum],
        })
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}
