//! Layers in a row, of which one is a layer norm: `skip_layernorm`, `fused_fc_elementwise_layernorm`,
//! `fused_bias_dropout_residual_layer_norm`, `fused_feedforward`, `fused_bias_residual_layernorm`,
//! `fused_embedding_eltwise_layernorm`.
//!
//! Paddle: documentation and Python code in `incubate/nn/functional/`;
//! `phi/kernels/fusion/gpu/{skip_layernorm,fused_fc_elementwise_layernorm,fused_layernorm}_kernel.cu`,
//! `phi/kernels/fusion/gpu/{fused_bias_dropout_residual_layer_norm,fused_feedforward}_kernel.cu`,
//! `phi/kernels/fusion/gpu/fused_embedding_eltwise_layernorm_kernel.cu`. ONNX: LayerNormalization, MatMul, Add, Mul,
//! Gather, and the operators of the activations.

use super::activation::{QUANTISATION, activated, refuse_quantisation};
use crate::error::{Error, Result};
use crate::operator::{Arg, Binding, FLOATS, Form, OpDef};
use crate::ops::shared::decomposition::{Decomposition, decomposed};
use crate::ops::shared::layers::{Norm, dropout};
use crate::program::{Attr, Builder, Draft, ValueId};
use crate::tensor::DType;

const SKIP: &[Binding] = &[
    Binding::Slot("X"),
    Binding::Slot("Y"),
    Binding::Optional("Scale"),
    Binding::Optional("Bias"),
];

const CONNECTED: &[Binding] = &[
    Binding::Slot("X"),
    Binding::Slot("W"),
    Binding::Slot("Y"),
    Binding::Optional("Bias0"),
    Binding::Optional("Scale"),
    Binding::Optional("Bias1"),
];

const RESIDUAL: &[Binding] = &[
    Binding::Slot("X"),
    Binding::Slot("Residual"),
    Binding::Optional("Bias"),
    Binding::Optional("LnScale"),
    Binding::Optional("LnBias"),
];

const FEED_FORWARD: &[Binding] = &[
    Binding::Slot("X"),
    // Seeds of the random numbers of dropout, which are drawn in training alone.
    Binding::Optional("Dropout1Seed"),
    Binding::Optional("Dropout2Seed"),
    Binding::Slot("Linear1Weight"),
    Binding::Optional("Linear1Bias"),
    Binding::Slot("Linear2Weight"),
    Binding::Optional("Linear2Bias"),
    Binding::Optional("Ln1Scale"),
    Binding::Optional("Ln1Bias"),
    Binding::Optional("Ln2Scale"),
    Binding::Optional("Ln2Bias"),
];

/// Attributes of the random numbers of dropout, which are drawn in training alone.
const FEED_FORWARD_IGNORED: &[&str] = &[
    "dropout1_fix_seed",
    "dropout2_fix_seed",
    "dropout1_seed",
    "dropout2_seed",
    "dropout1_seed_val",
    "dropout2_seed_val",
];

const BIAS_NORM: &[Binding] = &[
    Binding::Slot("x"),
    Binding::Optional("bias"),
    Binding::Optional("residual"),
    Binding::Optional("norm_weight"),
    Binding::Optional("norm_bias"),
];

const SUMMED: &[Binding] = &[
    Binding::List("Ids"),
    Binding::List("Embs"),
    Binding::Slot("Bias"),
    Binding::Slot("Scale"),
];

pub(super) const OPS: &[OpDef] = &[
    decomposed(
        "skip_layernorm",
        &[
            Arg::Tensor("x"),
            Arg::Tensor("y"),
            Arg::Optional("scale"),
            Arg::Optional("bias"),
        ],
        &[Form::legacy(&["skip_layernorm"], SKIP, &["Out"])],
        FLOATS,
        skip_norm,
    ),
    decomposed(
        "fused_fc_elementwise_layernorm",
        &[
            Arg::Tensor("x"),
            Arg::Tensor("w"),
            Arg::Tensor("y"),
            Arg::Optional("bias0"),
            Arg::Optional("scale"),
            Arg::Optional("bias1"),
        ],
        &[Form::legacy(
            &["fused_fc_elementwise_layernorm"],
            CONNECTED,
            &["Out"],
        )],
        FLOATS,
        connected_norm,
    ),
    decomposed(
        "fused_bias_dropout_residual_layer_norm",
        &[
            Arg::Tensor("x"),
            Arg::Tensor("residual"),
            Arg::Optional("bias"),
            Arg::Optional("ln_scale"),
            Arg::Optional("ln_bias"),
        ],
        &[Form::legacy(
            &["fused_bias_dropout_residual_layer_norm"],
            RESIDUAL,
            &["Y"],
        )],
        FLOATS,
        residual_norm,
    )
    .ignoring(&["dropout_fix_seed", "dropout_seed"]),
    decomposed(
        "fused_feedforward",
        &[
            Arg::Tensor("x"),
            Arg::Optional("dropout1_seed"),
            Arg::Optional("dropout2_seed"),
            Arg::Tensor("linear1_weight"),
            Arg::Optional("linear1_bias"),
            Arg::Tensor("linear2_weight"),
            Arg::Optional("linear2_bias"),
            Arg::Optional("ln1_scale"),
            Arg::Optional("ln1_bias"),
            Arg::Optional("ln2_scale"),
            Arg::Optional("ln2_bias"),
        ],
        &[
            Form::legacy(&["fused_feedforward"], FEED_FORWARD, &["Out"]).renaming(&[
                ("dropout1_rate", "dropout1_prob"),
                ("dropout2_rate", "dropout2_prob"),
            ]),
        ],
        FLOATS,
        feed_forward,
    )
    .ignoring(FEED_FORWARD_IGNORED),
    decomposed(
        "fused_bias_residual_layernorm",
        &[
            Arg::Tensor("x"),
            Arg::Optional("bias"),
            Arg::Optional("residual"),
            Arg::Optional("norm_weight"),
            Arg::Optional("norm_bias"),
        ],
        &[Form::legacy(
            &["fused_bias_residual_layernorm"],
            BIAS_NORM,
            &["out", "residual_out"],
        )],
        FLOATS,
        biased_norm,
    )
    .ignoring(QUANTISATION)
    .with_results(&["out", "residual_out"]),
    decomposed(
        "fused_embedding_eltwise_layernorm",
        &[
            Arg::List("ids"),
            Arg::List("embs"),
            Arg::Tensor("bias"),
            Arg::Tensor("scale"),
        ],
        &[Form::legacy(
            &["fused_embedding_eltwise_layernorm"],
            SUMMED,
            &["Out"],
        )],
        &[DType::I32, DType::I64],
        embeddings_norm,
    ),
];

/// `layer_norm(x + y)` over the last axis.
fn skip_norm(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let norm = Norm {
        scale: parts.optional(2),
        bias: parts.optional(3),
        epsilon: parts.attr("epsilon", 1e-5)?,
    };
    let x = parts.operand(0)?;
    let begin: i64 = parts.attr("begin_norm_axis", 1)?;
    // The kernel does not read `begin_norm_axis`, and normalises the last of three axes.
    if parts.rank(x) != 3 || begin != 2 {
        return Err(Error::unsupported(
            "a norm of another axis than the last of three",
        ));
    }
    let sum = parts.plus(x, parts.optional(1));
    let result = norm.of(&mut parts, sum, begin);
    parts.finish(&[result])
}

/// `layer_norm(activation(x · w + bias0) + y)` over the axes from `begin_norm_axis` on.
fn connected_norm(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let columns: i64 = parts.attr("x_num_col_dims", 1)?;
    let activation: String = parts.attr("activation_type", String::new())?;
    let begin = parts.attr("begin_norm_axis", 1)?;
    let norm = Norm {
        scale: parts.optional(4),
        bias: parts.optional(5),
        epsilon: parts.attr("epsilon", 1e-5)?,
    };
    let (x, w, y) = (parts.operand(0)?, parts.operand(1)?, parts.operand(2)?);
    let attrs = [
        ("x_num_col_dims", Attr::Int(columns)),
        ("y_num_col_dims", Attr::Int(1)),
    ];
    let rank = usize::try_from(columns).map_or(0, |columns| columns.saturating_add(1));
    let rank = rank.min(parts.rank(x));
    let product = parts.op("matmul_with_flatten", &[x, w], &attrs, rank);
    let sum = parts.plus(product, parts.optional(3));
    let activation = activated(&mut parts, sum, &activation, false)?;
    let sum = parts.op("add", &[activation, y], &[], parts.rank(y));
    let result = norm.of(&mut parts, sum, begin);
    parts.finish(&[result])
}

/// `layer_norm(residual + dropout(x + bias))` over the last axis.
fn residual_norm(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let kept = dropout(
        &mut parts,
        "dropout_rate",
        "dropout_implementation",
        "downgrade_in_infer",
        "dropout_is_test",
    )?;
    parts.attr("is_test", false)?;
    let norm = Norm {
        scale: parts.optional(3),
        bias: parts.optional(4),
        epsilon: parts.attr("ln_epsilon", 1e-5)?,
    };
    let (x, residual) = (parts.operand(0)?, parts.operand(1)?);
    let x = parts.plus(x, parts.optional(2));
    let x = parts.scaled(x, kept);
    let x = parts.plus(x, Some(residual));
    let result = norm.of_last(&mut parts, x);
    parts.finish(&[result])
}

/// Two linear layers with an activation in between, a residual, and a layer norm before or behind.
fn feed_forward(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let usual = "downgrade_in_infer";
    let kept = dropout(
        &mut parts,
        "dropout1_prob",
        "dropout1_implementation",
        usual,
        "dropout1_is_test",
    )?;
    let kept_last = dropout(
        &mut parts,
        "dropout2_prob",
        "dropout2_implementation",
        usual,
        "dropout2_is_test",
    )?;
    parts.attr("is_test", false)?;
    let norm_first = parts.attr("pre_layer_norm", false)?;
    let activation: String = parts.attr("act_method", "gelu".to_owned())?;
    let adds_residual = parts.attr("add_residual", true)?;
    if parts.attr("ring_id", -1_i64)? != -1 {
        return Err(Error::unsupported(
            "`ring_id`: layers that are split over several devices",
        ));
    }
    let mut norms = Vec::new();
    for (first, epsilon) in [(7, "ln1_epsilon"), (9, "ln2_epsilon")] {
        norms.push(Norm {
            scale: parts.optional(first),
            bias: parts.optional(first + 1),
            epsilon: parts.attr(epsilon, 1e-5)?,
        });
    }
    let residual = parts.operand(0)?;
    let (first, second) = (parts.operand(3)?, parts.operand(5)?);
    let rank = parts.rank(residual);
    let mut x = residual;
    if norm_first && let Some(norm) = norms.first() {
        x = norm.of_last(&mut parts, x);
    }
    x = parts.op("matmul", &[x, first], &[], rank);
    x = parts.plus(x, parts.optional(4));
    x = activated(&mut parts, x, &activation, false)?;
    x = parts.scaled(x, kept);
    x = parts.op("matmul", &[x, second], &[], rank);
    x = parts.plus(x, parts.optional(6));
    x = parts.scaled(x, kept_last);
    x = parts.plus(x, adds_residual.then_some(residual));
    if !norm_first && let Some(norm) = norms.last() {
        x = norm.of_last(&mut parts, x);
    }
    parts.finish(&[x])
}

/// Two results, of which the second is `y = x + bias + residual_alpha · residual`. The first is `layer_norm(y)` over
/// the axes from `begin_norm_axis` on, or `y` itself if the norm has neither a scale nor a bias. Without a residual,
/// `y` is `x`: the kernels don't read the bias then.
fn biased_norm(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    refuse_quantisation(&mut parts, 0..0)?;
    let alpha = parts.attr("residual_alpha", 1.0)?;
    let begin: i64 = parts.attr("begin_norm_axis", 1)?;
    let norm = Norm {
        scale: parts.optional(3),
        bias: parts.optional(4),
        epsilon: parts.attr("epsilon", 1e-5)?,
    };
    let mut sum = parts.operand(0)?;
    if let Some(residual) = parts.optional(2) {
        sum = parts.plus(sum, parts.optional(1));
        let residual = parts.scaled(residual, alpha);
        sum = parts.plus(sum, Some(residual));
    }
    if norm.scale.is_none() && norm.bias.is_none() {
        return parts.finish(&[sum, sum]);
    }
    let result = norm.of(&mut parts, sum, begin);
    parts.finish(&[result, sum])
}

/// `layer_norm(Σ embedding(ids, table))` over the last axis, with a sum over the lists of ids and tables.
fn embeddings_norm(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let (ids, tables) = (parts.list(0)?, parts.list(1)?);
    let norm = Norm {
        bias: Some(parts.operand(2)?),
        scale: Some(parts.operand(3)?),
        epsilon: parts.attr("epsilon", 1e-5)?,
    };
    if ids.len() != tables.len() {
        return Err(Error::malformed(format!(
            "{} lists of ids for {} tables",
            ids.len(),
            tables.len()
        )));
    }
    let mut sum: Option<ValueId> = None;
    for (ids, table) in ids.into_iter().zip(tables) {
        let ids = match parts.rank(ids) {
            3 => parts.reshaped(ids, &[0, 0]),
            _ => ids,
        };
        let rows = parts.typed_op("embedding", &[ids, table], parts.dtype(table), 3);
        sum = Some(parts.plus(rows, sum));
    }
    let sum = sum.ok_or_else(|| Error::malformed("a sum of no embeddings"))?;
    let result = norm.of_last(&mut parts, sum);
    parts.finish(&[result])
}
