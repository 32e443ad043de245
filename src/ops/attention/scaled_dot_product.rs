//! `scaled_dot_product_attention`: attention in one op, which the program gets in place of the products and the softmax that
//! it consists of. No file has it: Paddle's function of this name writes those.

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::{Real, map, matmul, norm, with_real};
use crate::operator::{Accuracy, Arg, Function, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::values::same_type;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, DType, Dim, Tensor};

/// What [`Attention::read`] reads.
pub(super) const OPERANDS: &[Arg] = &[
    Arg::Tensor("query"),
    Arg::Tensor("key"),
    Arg::Tensor("value"),
    Arg::Optional("attn_mask"),
];

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "scaled_dot_product_attention",
    OPERANDS,
    &[],
    Attention::parse,
)
.with_dtypes(&[DType::F16, DType::BF16, DType::F32])
.with_opset(23)
.with_accuracy(Accuracy::AlongAxis)
.in_no_file()];

/// `softmax(scale · q · kᵀ + mask) · v`, for queries of shape `[batch, heads, length, extent]`, and keys and values of shape
/// `[batch, heads, keys, extent]`, or for heads that lie side by side along the last axis, as in `[batch, length, heads ·
/// extent]`. The result has the axes of the queries. The mask is broadcast to `[batch, heads, length, keys]`.
///
/// ONNX: Attention, since opset 23, with a softmax in float32 for half precision.
pub(super) struct Attention {
    pub operands: [ValueId; 3],
    pub mask: Option<ValueId>,
    pub kernel: Kernel,
}

/// What attention does to arrays.
pub(super) struct Kernel {
    pub scale: f64,
    /// The number of heads, if they lie side by side.
    pub heads: Option<usize>,
}

impl Attention {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self::read(op)?))
    }

    pub fn read(op: &mut OpReader<'_>) -> Result<Self> {
        Ok(Self {
            operands: [
                op.operand("query")?,
                op.operand("key")?,
                op.operand("value")?,
            ],
            mask: op.optional("attn_mask")?,
            kernel: Kernel::read(op)?,
        })
    }
}

impl Kernel {
    pub fn read(op: &mut OpReader<'_>) -> Result<Self> {
        let heads: i64 = op.attr_or("num_heads", 0)?;
        let heads = usize::try_from(heads).map_err(|_| Error::malformed("negative num_heads"))?;
        Ok(Self {
            scale: op.attr("scale")?,
            heads: (heads > 0).then_some(heads),
        })
    }

    /// `[batch, length, heads · extent]` as `[batch, heads, length, extent]`.
    fn taken_apart<T: Real>(&self, x: &Array<T>) -> Result<Array<T>> {
        let (Some(heads), &[batch, length, columns]) = (self.heads, x.shape()) else {
            return Ok(x.clone());
        };
        let mut apart = map::reshape(x, &[batch, length, heads, columns / heads])?;
        apart.swap_axes(1, 2);
        Ok(apart)
    }

    /// The result for queries, keys and values, and a mask.
    pub fn attend<T: Real>(
        &self,
        [q, k, v]: [&Array<T>; 3],
        mask: Option<&Array<T>>,
    ) -> Result<Array<T>> {
        let (q, mut k, v) = (
            self.taken_apart(q)?,
            self.taken_apart(k)?,
            self.taken_apart(v)?,
        );
        k.swap_axes(2, 3);
        let scale = T::from_f64(self.scale);
        let mut scores: Array<T> = matmul::matmul(&q, &k)?.into();
        scores.mapv_inplace(|x| x * scale);
        if let Some(mask) = mask {
            scores = map::zip(&scores, mask, |x, y| x + y)?.into();
        }
        let shares = norm::softmax(&scores, 3)?.into();
        let mut result: Array<T> = matmul::matmul(&shares, &v)?.into();
        if self.heads.is_some() {
            result.swap_axes(1, 2);
            let &[batch, length, heads, extent] = result.shape() else {
                return Err(Error::internal("attention without heads"));
            };
            result = map::reshape(&result, &[batch, length, heads * extent])?;
        }
        Ok(result)
    }
}

impl Function for Attention {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let [q, k, v] = self.operands.map(|id| facts.shape(id));
        let rank = if self.kernel.heads.is_some() { 3 } else { 4 };
        if [q, k, v].iter().any(|shape| shape.len() != rank) {
            return Err(Error::malformed("attention of operands of another rank"));
        }
        let mut shape: Vec<Dim> = q.to_vec();
        shape[rank - 1] = v[rank - 1].clone();
        Ok(Fact::new(facts.dtype(self.operands[0]), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let mut inputs = Vec::with_capacity(4);
        for operand in self.operands.into_iter().chain(self.mask) {
            inputs.push(g.value(operand)?);
        }
        let mut attrs = vec![("scale", NodeAttr::Float(self.kernel.scale as f32))];
        if g.dtype(self.operands[0]) != DType::F32 {
            let single = i64::from(DType::F32.onnx_code());
            attrs.push(("softmax_precision", NodeAttr::Int(single)));
        }
        if let Some(heads) = self.kernel.heads {
            attrs.push(("q_num_heads", NodeAttr::Int(heads as i64)));
            attrs.push(("kv_num_heads", NodeAttr::Int(heads as i64)));
        }
        Ok(g.node("Attention", &inputs, attrs))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let [q, k, v] = self.operands;
        let mask = self.mask.map(|mask| values.get(mask)).transpose()?;
        with_real!(values.get(q)?, q => {
            let (k, v) = (same_type(values.get(k)?, q)?, same_type(values.get(v)?, q)?);
            let mask = mask.map(|mask| same_type(mask, q)).transpose()?;
            self.kernel.attend([q, k, v], mask)?
        })
    }
}
