//! Attention as ONNX Runtime has it beside ONNX, which the program gets in place of what it consists of: with the layer that
//! makes queries, keys and values (`self_attention`), or without it (`multi_head_attention`). No file has them.
//!
//! ONNX Runtime: `docs/ContribOperators.md`, Attention and MultiHeadAttention of `com.microsoft`.

use super::scaled_dot_product::{Attention, Kernel, OPERANDS};
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::{Real, map, matmul, with_real};
use crate::operator::{
    Accuracy, Arg, Function, ONNX_RUNTIME_DOMAIN, OpDef, OpReader, Parsed, Values,
};
use crate::ops::shared::values::same_type;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, DType, Dim, Tensor};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "multi_head_attention",
        OPERANDS,
        &[],
        MultiHeadAttention::parse,
    )
    .with_dtypes(&[DType::F32])
    .with_accuracy(Accuracy::AlongAxis)
    .in_no_file(),
    OpDef::new(
        "self_attention",
        &[
            Arg::Tensor("x"),
            Arg::Tensor("weight"),
            Arg::Optional("bias"),
            Arg::Optional("attn_mask"),
        ],
        &[],
        SelfAttention::parse,
    )
    .with_dtypes(&[DType::F32])
    .with_accuracy(Accuracy::AlongAxis)
    .in_no_file(),
];

/// Emits an operator of ONNX Runtime that computes attention with heads side by side.
fn node(
    g: &mut Lowering<'_>,
    op_type: &str,
    inputs: Vec<Option<TensorId>>,
    kernel: &Kernel,
) -> Result<TensorId> {
    let heads = kernel.heads;
    let heads = heads.ok_or_else(|| Error::malformed("attention without num_heads"))?;
    let attrs = [
        ("num_heads".to_owned(), NodeAttr::Int(heads as i64)),
        ("scale".to_owned(), NodeAttr::Float(kernel.scale as f32)),
    ];
    let results = g.custom_node((ONNX_RUNTIME_DOMAIN, op_type), inputs, attrs, 1);
    let result = results.into_iter().next();
    result.ok_or_else(|| Error::internal("a node without a result"))
}

/// `softmax(scale · q · kᵀ + mask) · v`, for queries of shape `[batch, length, heads · extent]`, and keys and values of shape
/// `[batch, keys, heads · extent]`. The result has the axes of the queries. The mask has the shape `[batch, heads, length,
/// keys]`, or 1 for the first two extents.
struct MultiHeadAttention(Attention);

impl MultiHeadAttention {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self(Attention::read(op)?)))
    }
}

impl Function for MultiHeadAttention {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        self.0.infer(facts)
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let [q, k, v] = self.0.operands;
        let mut inputs = Vec::new();
        for operand in [q, k, v] {
            inputs.push(Some(g.value(operand)?));
        }
        if let Some(mask) = self.0.mask {
            // The bias and the keys that are padding.
            inputs.extend([None, None, Some(g.value(mask)?)]);
        }
        node(g, "MultiHeadAttention", inputs, &self.0.kernel)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        self.0.evaluate(values)
    }
}

/// [`MultiHeadAttention`] with queries, keys and values that are the three parts of `x · weight + bias` along the last axis,
/// for `x` of shape `[batch, length, depth]`, and a weight of shape `[depth, 3 · heads · extent]`.
struct SelfAttention {
    x: ValueId,
    weight: ValueId,
    bias: Option<ValueId>,
    mask: Option<ValueId>,
    kernel: Kernel,
}

impl SelfAttention {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            weight: op.operand("weight")?,
            bias: op.optional("bias")?,
            mask: op.optional("attn_mask")?,
            kernel: Kernel::read(op)?,
        }))
    }
}

impl Function for SelfAttention {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let ([batch, length, _], [_, Dim::Known(columns)]) =
            (facts.shape(self.x), facts.shape(self.weight))
        else {
            return Err(Error::malformed("attention of operands of another rank"));
        };
        let shape = vec![batch.clone(), length.clone(), Dim::Known(columns / 3)];
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let bias = match self.bias {
            Some(bias) => g.value(bias)?,
            // ONNX Runtime crashes without one, up to 1.23.
            None => {
                let columns = g.shape(self.weight).last().and_then(Dim::extent);
                g.constant(Tensor::vector(vec![0.0_f32; columns.unwrap_or(0)]))
            }
        };
        let mut inputs = vec![
            Some(g.value(self.x)?),
            Some(g.value(self.weight)?),
            Some(bias),
        ];
        if let Some(mask) = self.mask {
            // The keys that are padding, and the keys and values of an earlier run.
            inputs.extend([None, None, Some(g.value(mask)?)]);
        }
        node(g, "Attention", inputs, &self.kernel)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let [bias, mask] = [self.bias, self.mask].map(|id| id.map(|id| values.get(id)).transpose());
        let (bias, mask) = (bias?, mask?);
        with_real!(values.get(self.x)?, x => {
            let weight = same_type(values.get(self.weight)?, x)?;
            let bias = bias.map(|bias| same_type(bias, x)).transpose()?;
            let mask = mask.map(|mask| same_type(mask, x)).transpose()?;
            let [q, k, v] = projected(x, weight, bias)?;
            self.kernel.attend([&q, &k, &v], mask)?
        })
    }
}

/// The three parts of `x · weight + bias` along the last axis.
fn projected<T: Real>(
    x: &Array<T>,
    weight: &Array<T>,
    bias: Option<&Array<T>>,
) -> Result<[Array<T>; 3]> {
    let mut whole: Array<T> = matmul::matmul(x, weight)?.into();
    if let Some(bias) = bias {
        whole = map::zip(&whole, bias, |x, y| x + y)?.into();
    }
    let extent = whole.shape()[2] / 3;
    Ok([0, 1, 2].map(|part| {
        let mut view = whole.clone();
        let bounds = ndarray::Slice::from(part * extent..(part + 1) * extent);
        view.slice_axis_inplace(ndarray::Axis(2), bounds);
        view
    }))
}
