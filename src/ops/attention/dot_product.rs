//! Attention in one op: `fused_attention` (a whole layer), `multihead_matmul` (with the projections), `flash_attn`,
//! `memory_efficient_attention` and `self_dp_attention`. All are taken apart into `softmax(scale · q · kᵀ + mask) · v`
//! and the layers around it.
//!
//! Paddle: `phi/kernels/fusion/gpu/{fused_attention,multihead_matmul}_kernel.cu`, `phi/kernels/flash_attn_kernel.h`,
//! `phi/kernels/fusion/cutlass/memory_efficient_attention.cu`, `phi/kernels/fusion/cpu/self_dp_attention_kernel.cc`;
//! pseudo code in `incubate/nn/functional/fused_transformer.py` and `nn/functional/flash_attention.py`. ONNX: MatMul,
//! Add, Mul, Softmax, Reshape, Transpose and others.

use crate::error::{Error, Result};
use crate::operator::{Arg, Binding, FLOATS, Form, OpDef};
use crate::ops::shared::decomposition::{Decomposition, decomposed};
use crate::ops::shared::layers::{Norm, dropout};
use crate::program::{Attr, Builder, Draft, ValueId};
use crate::tensor::DType;

/// Attributes of the random numbers of dropout, which are drawn in training alone.
const LAYER_IGNORED: &[&str] = &[
    "attn_dropout_fix_seed",
    "attn_dropout_seed",
    "attn_dropout_seed_val",
    "dropout_fix_seed",
    "dropout_seed",
    "dropout_seed_val",
];

const LAYER: &[Binding] = &[
    Binding::Slot("X"),
    Binding::Optional("LnScale"),
    Binding::Optional("LnBias"),
    Binding::Slot("QKVW"),
    Binding::Optional("QKVBias"),
    Binding::Optional("CacheKV"),
    Binding::Optional("SrcMask"),
    Binding::Slot("OutLinearW"),
    Binding::Optional("OutLinearBias"),
    Binding::Optional("Ln2Scale"),
    Binding::Optional("Ln2Bias"),
];

const MULTIHEAD: &[Binding] = &[
    Binding::Slot("Input"),
    Binding::Slot("W"),
    Binding::Slot("Bias"),
    Binding::Optional("BiasQK"),
];

const FLASH: &[Binding] = &[
    Binding::Slot("q"),
    Binding::Slot("k"),
    Binding::Slot("v"),
    // The seed of the random numbers of dropout, which are drawn in training alone.
    Binding::Optional("fixed_seed_offset"),
    Binding::Optional("attn_mask"),
];

const MEMORY_EFFICIENT: &[Binding] = &[
    Binding::Slot("query"),
    Binding::Slot("key"),
    Binding::Slot("value"),
    Binding::Optional("bias"),
    Binding::Optional("cu_seqlens_q"),
    Binding::Optional("cu_seqlens_k"),
    Binding::Optional("causal_diagonal"),
    Binding::Optional("seqlen_k"),
];

const QKV: &[Binding] = &[Binding::Slot("X")];

/// The name of the generator of random numbers, and whether the probabilities are a result as well, which is not
/// computed here.
const FLASH_IGNORED: &[&str] = &["rng_name", "return_softmax"];

/// The lengths of the longest sequences, by which kernels size their buffers.
const LONGEST: &[&str] = &["max_seqlen_q", "max_seqlen_k"];

pub(super) const OPS: &[OpDef] = &[
    decomposed(
        "fused_attention",
        &[
            Arg::Tensor("x"),
            Arg::Optional("ln_scale"),
            Arg::Optional("ln_bias"),
            Arg::Tensor("qkv_weight"),
            Arg::Optional("qkv_bias"),
            Arg::Optional("cache_kv"),
            Arg::Optional("src_mask"),
            Arg::Tensor("out_linear_weight"),
            Arg::Optional("out_linear_bias"),
            Arg::Optional("ln_scale_2"),
            Arg::Optional("ln_bias_2"),
        ],
        &[Form::legacy(&["fused_attention"], LAYER, &["Y"])],
        FLOATS,
        attention_layer,
    )
    .with_limits(&["a cache", "several devices"])
    .with_result_positions(&[19])
    .ignoring(LAYER_IGNORED),
    decomposed(
        "multihead_matmul",
        &[
            Arg::Tensor("input"),
            Arg::Tensor("w"),
            Arg::Tensor("bias"),
            Arg::Optional("bias_qk"),
        ],
        &[
            Form::legacy(&["multihead_matmul"], MULTIHEAD, &["Out"]).renaming(&[
                ("transpose_Q", "transpose_q"),
                ("transpose_K", "transpose_k"),
                ("transpose_V", "transpose_v"),
            ]),
        ],
        FLOATS,
        multihead,
    ),
    decomposed(
        "flash_attn",
        &[
            Arg::Tensor("q"),
            Arg::Tensor("k"),
            Arg::Tensor("v"),
            Arg::Optional("fixed_seed_offset"),
            Arg::Optional("attn_mask"),
        ],
        &[Form::legacy(&["flash_attn"], FLASH, &["out"])],
        FLOATS,
        flash,
    )
    .ignoring(FLASH_IGNORED),
    decomposed(
        "memory_efficient_attention",
        &[
            Arg::Tensor("query"),
            Arg::Tensor("key"),
            Arg::Tensor("value"),
            Arg::Optional("bias"),
            Arg::Optional("cu_seqlens_q"),
            Arg::Optional("cu_seqlens_k"),
            Arg::Optional("causal_diagonal"),
            Arg::Optional("seqlen_k"),
        ],
        &[Form::legacy(
            &["memory_efficient_attention"],
            MEMORY_EFFICIENT,
            &["output"],
        )],
        FLOATS,
        memory_efficient,
    )
    .with_pir(&[Form::pir(
        &["memory_efficient_attention"],
        &[
            "query",
            "key",
            "value",
            "bias",
            "cu_seqlens_q",
            "cu_seqlens_k",
            "causal_diagonal",
            "seqlen_k",
            "max_seqlen_q",
            "max_seqlen_k",
        ],
        MEMORY_EFFICIENT,
    )])
    .ignoring(LONGEST),
    decomposed(
        "self_dp_attention",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["self_dp_attention"], QKV, &["Out"])],
        &[DType::F32, DType::F64],
        self_attention,
    ),
];

/// What is done to the scores (`[batch, heads, queries, keys]`), and to the probabilities.
struct Attention {
    /// What the products of queries and keys are multiplied by.
    scale: f64,
    /// What is added to the scores, a tensor of floats.
    mask: Option<ValueId>,
    /// Whether queries attend to no keys behind their own positions.
    causal: bool,
    /// The factor by which dropout scales the probabilities at inference.
    kept: f64,
}

impl Attention {
    /// `kept · softmax(scale · q · kᵀ + mask) · v`, with operands and a result of `[batch, heads, length, extent]`.
    fn of(&self, parts: &mut Decomposition<'_>, [q, k, v]: [ValueId; 3]) -> Result<ValueId> {
        if let Some(mask) = self.mask
            && !parts.dtype(mask).is_float()
        {
            return Err(Error::unsupported("a mask of attention that is no float"));
        }
        let q = parts.scaled(q, self.scale);
        let transpose = [("transpose_y", Attr::Bool(true))];
        let scores = parts.op("matmul", &[q, k], &transpose, 4);
        let scores = parts.plus(scores, self.mask);
        let probabilities = if self.causal {
            // With as many keys as queries, kernels don't differ in how they align them under a causal mask.
            let square = [("is_square", Attr::Bool(true))];
            parts.op("fused_softmax_mask_upper_triangle", &[scores], &square, 4)
        } else {
            parts.op("softmax", &[scores], &[("axis", Attr::Int(-1))], 4)
        };
        let probabilities = parts.scaled(probabilities, self.kept);
        Ok(parts.op("matmul", &[probabilities, v], &[], 4))
    }

    /// As [`Self::of`], with operands and a result of `[batch, length, heads, extent]`.
    fn of_swapped(&self, parts: &mut Decomposition<'_>, qkv: [ValueId; 3]) -> Result<ValueId> {
        let swapped = qkv.map(|x| parts.transposed(x, SWAPPED));
        let result = self.of(parts, swapped)?;
        Ok(parts.transposed(result, SWAPPED))
    }
}

/// The permutation that swaps the axes of heads and of positions.
const SWAPPED: &[i64] = &[0, 2, 1, 3];

/// The usual scale of scores: one over the square root of the extent of a head.
fn scale_of(extent: i64) -> f64 {
    1.0 / (extent as f64).sqrt()
}

/// Queries, keys and values, each of `[batch, heads, length, extent]`, from one tensor of
/// `[batch, length, 3, heads, extent]`.
fn taken_apart(parts: &mut Decomposition<'_>, qkv: ValueId) -> [ValueId; 3] {
    let qkv = parts.transposed(qkv, &[2, 0, 3, 1, 4]);
    [0, 1, 2].map(|part| {
        let (start, end) = (parts.integers(&[part]), parts.integers(&[part + 1]));
        let axis = Attr::Ints(vec![0]);
        let attrs = [("axes", axis.clone()), ("decrease_axis", axis)];
        parts.op("slice", &[qkv, start, end], &attrs, 4)
    })
}

/// Attention with queries, keys and values from one tensor of `[batch, length, 3, heads, extent]`. The result is
/// `[batch, length, width]`, where `width` is `heads · extent`.
fn attended(
    parts: &mut Decomposition<'_>,
    qkv: ValueId,
    width: i64,
    attention: &Attention,
) -> Result<ValueId> {
    let qkv = taken_apart(parts, qkv);
    let heads = attention.of(parts, qkv)?;
    let heads = parts.transposed(heads, SWAPPED);
    Ok(parts.reshaped(heads, &[0, 0, width]))
}

/// `fused_attention`: `nn.MultiHeadAttention` with a dropout, a residual, and a layer norm before or behind.
fn attention_layer(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let norm_first = parts.attr("pre_layer_norm", false)?;
    let epsilons = [
        parts.attr("epsilon", 1e-5)?,
        parts.attr("ln_epsilon", 1e-5)?,
    ];
    let is_packed = parts.attr("transpose_qkv_wb", false)?;
    let heads: i64 = parts.attr("num_heads", -1)?;
    let adds_residual = parts.attr("add_residual", true)?;
    let kept = dropout(
        &mut parts,
        "attn_dropout_rate",
        "attn_dropout_implementation",
        UPSCALE,
        "attn_dropout_is_test",
    )?;
    let kept_last = dropout(
        &mut parts,
        "dropout_rate",
        "dropout_implementation",
        DOWNGRADE,
        "dropout_is_test",
    )?;
    parts.attr("is_test", false)?;
    if parts.attr("ring_id", -1_i64)? != -1 {
        return Err(Error::unsupported(
            "`ring_id`: attention that is split over several devices",
        ));
    }
    if parts.optional(5).is_some() {
        return Err(Error::unsupported("a cache of keys and values"));
    }
    let residual = parts.operand(0)?;
    let mut x = residual;
    if norm_first {
        let norm = Norm {
            scale: parts.optional(1),
            bias: parts.optional(2),
            epsilon: epsilons[0],
        };
        x = norm.of_last(&mut parts, x);
    }
    x = projected_attention(&mut parts, x, is_packed.then_some(heads), kept)?;
    x = parts.scaled(x, kept_last);
    x = parts.plus(x, adds_residual.then_some(residual));
    if !norm_first {
        let norm = Norm {
            scale: parts.optional(9),
            bias: parts.optional(10),
            epsilon: epsilons[1],
        };
        x = norm.of_last(&mut parts, x);
    }
    parts.finish(&[x])
}

/// The attention of `fused_attention` with the projections before and behind. `x` and the result are
/// `[batch, length, width]`; `packed` is as in [`projected`], and `kept` as in [`Attention`].
fn projected_attention(
    parts: &mut Decomposition<'_>,
    x: ValueId,
    packed: Option<i64>,
    kept: f64,
) -> Result<ValueId> {
    let (weights, bias) = (parts.operand(3)?, parts.optional(4));
    let (qkv, [heads, extent]) = projected(parts, x, weights, bias, packed)?;
    let attention = Attention {
        scale: scale_of(extent),
        mask: parts.optional(6),
        causal: false,
        kept,
    };
    let width = product(heads, extent)?;
    let qkv = parts.reshaped(qkv, &[0, 0, 3, heads, extent]);
    let x = attended(parts, qkv, width, &attention)?;
    let out_weights = parts.operand(7)?;
    let x = parts.op("matmul", &[x, out_weights], &[], 3);
    Ok(parts.plus(x, parts.optional(8)))
}

/// The default implementation of the dropout of probabilities.
const UPSCALE: &str = "upscale_in_train";

/// The default implementation of the dropout behind the last projection.
const DOWNGRADE: &str = "downgrade_in_infer";

/// The product of two extents of weights.
fn product(a: i64, b: i64) -> Result<i64> {
    a.checked_mul(b)
        .ok_or_else(|| Error::malformed("weights of an absurd size"))
}

/// `x · weights + bias`, with queries, keys and values flattened on the last axis, and the number and the extent of
/// heads. `packed` is the number of heads where weights are `[width, 3 · heads · extent]`; others are
/// `[3, heads, extent, width]`, and say the number themselves.
fn projected(
    parts: &mut Decomposition<'_>,
    x: ValueId,
    weights: ValueId,
    bias: Option<ValueId>,
    packed: Option<i64>,
) -> Result<(ValueId, [i64; 2])> {
    if let Some(heads) = packed {
        let columns = parts.extent(weights, 1)?;
        let of_heads = heads.checked_mul(3).filter(|of_heads| *of_heads > 0);
        let extent = of_heads
            .filter(|of_heads| columns % of_heads == 0)
            .map(|of_heads| columns / of_heads);
        let extent = extent.ok_or_else(|| {
            Error::malformed(format!("{columns} columns of weights for {heads} heads"))
        })?;
        let qkv = parts.op("matmul", &[x, weights], &[], 3);
        return Ok((parts.plus(qkv, bias), [heads, extent]));
    }
    let [heads, extent] = [parts.extent(weights, 1)?, parts.extent(weights, 2)?];
    let width = parts.extent(weights, 3)?;
    let weights = parts.reshaped(weights, &[product(3, product(heads, extent)?)?, width]);
    let qkv = parts.op(
        "matmul",
        &[x, weights],
        &[("transpose_y", Attr::Bool(true))],
        3,
    );
    let bias = bias.map(|bias| parts.reshaped(bias, &[-1]));
    Ok((parts.plus(qkv, bias), [heads, extent]))
}

/// `multihead_matmul`: a projection by weights of `[depth, 3, heads · extent]`, and attention.
fn multihead(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let heads: i64 = parts.attr("head_number", 1)?;
    let scale = parts.attr("alpha", 1.0)?;
    for (name, usual) in [
        ("transpose_q", false),
        ("transpose_k", true),
        ("transpose_v", false),
    ] {
        if parts.attr(name, usual)? != usual {
            return Err(Error::unsupported(format!(
                "an unusual `{name}`, which no kernel reads"
            )));
        }
    }
    let (x, weights, bias) = (parts.operand(0)?, parts.operand(1)?, parts.operand(2)?);
    let (depth, width) = (parts.extent(weights, 0)?, parts.extent(weights, 2)?);
    if heads <= 0 || width % heads != 0 {
        return Err(Error::malformed(format!(
            "a width of {width} for {heads} heads"
        )));
    }
    let weights = parts.reshaped(weights, &[depth, product(3, width)?]);
    let bias = parts.reshaped(bias, &[-1]);
    let qkv = parts.op("matmul", &[x, weights], &[], 3);
    let qkv = parts.plus(qkv, Some(bias));
    let qkv = parts.reshaped(qkv, &[0, 0, 3, heads, width / heads]);
    let attention = Attention {
        scale,
        mask: parts.optional(3),
        causal: false,
        kept: 1.0,
    };
    let result = attended(&mut parts, qkv, width, &attention)?;
    parts.finish(&[result])
}

/// `flash_attn`: attention with queries, keys and values of `[batch, length, heads, extent]`.
fn flash(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    refuse_training(&mut parts, "dropout")?;
    let causal = parts.attr("causal", false)?;
    let qkv = [parts.operand(0)?, parts.operand(1)?, parts.operand(2)?];
    let scale = scale_of(head_extent(&parts, qkv)?);
    let attention = Attention {
        scale,
        mask: parts.optional(4),
        causal,
        kept: 1.0,
    };
    let result = attention.of_swapped(&mut parts, qkv)?;
    parts.finish(&[result])
}

/// `memory_efficient_attention`: as [`flash`], with a scale that may be given.
fn memory_efficient(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    refuse_training(&mut parts, "dropout_p")?;
    let causal = parts.attr("causal", false)?;
    let scale: f64 = parts.attr("scale", -1.0)?;
    if (4..8).any(|position| parts.optional(position).is_some()) {
        return Err(Error::unsupported(
            "sequences of several lengths in one tensor",
        ));
    }
    let qkv = [parts.operand(0)?, parts.operand(1)?, parts.operand(2)?];
    let usual = scale_of(head_extent(&parts, qkv)?);
    let scale = if scale < 0.0 { usual } else { scale };
    let attention = Attention {
        scale,
        mask: parts.optional(3),
        causal,
        kept: 1.0,
    };
    let result = attention.of_swapped(&mut parts, qkv)?;
    parts.finish(&[result])
}

/// `self_dp_attention`: attention with queries, keys and values from one tensor, `[batch, length, 3, heads, extent]`.
fn self_attention(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let scale = parts.attr("alpha", 1.0)?;
    // The shape says the same.
    parts.attr("head_number", 1_i64)?;
    let x = parts.operand(0)?;
    if parts.rank(x) != 5 {
        return Err(Error::malformed(
            "attention of an operand without five axes",
        ));
    }
    let attention = Attention {
        scale,
        mask: None,
        causal: false,
        kept: 1.0,
    };
    let qkv = taken_apart(&mut parts, x);
    let heads = attention.of(&mut parts, qkv)?;
    let result = parts.transposed(heads, SWAPPED);
    parts.finish(&[result])
}

/// Takes the attributes of dropout, the probability of which is `rate`, and refuses it as in training.
fn refuse_training(parts: &mut Decomposition<'_>, rate: &str) -> Result<()> {
    let (rate, is_test): (f64, bool) = (parts.attr(rate, 0.0)?, parts.attr("is_test", false)?);
    if is_test || rate == 0.0 {
        return Ok(());
    }
    Err(Error::unsupported(
        "dropout as in training (`is_test`=False): call eval() on the model before it is exported",
    ))
}

/// The extent of a head of queries, keys and values of `[batch, length, heads, extent]`.
///
/// # Errors
/// When they have other ranks, or unequal numbers of heads.
fn head_extent(parts: &Decomposition<'_>, [q, k, v]: [ValueId; 3]) -> Result<i64> {
    if [q, k, v].iter().any(|x| parts.rank(*x) != 4) {
        return Err(Error::malformed("attention of operands without four axes"));
    }
    let heads = [q, k, v].map(|x| parts.extent(x, 2));
    if let [Ok(q), Ok(k), Ok(v)] = heads
        && (q != k || q != v)
    {
        return Err(Error::unsupported(
            "heads of keys that several heads of queries share",
        ));
    }
    parts.extent(q, 3)
}
