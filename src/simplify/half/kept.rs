//! Which ops are computed in float32 where a model is written in half precision, and which in half precision.

/// Ops that stay in float32 in a model of half precision, and why.
pub struct KeptOps {
    /// Why, as a clause.
    pub reason: &'static str,
    /// The PHI names.
    pub ops: &'static [&'static str],
}

/// All ops that stay in float32. Others are computed in the type of what they read, products of weights in half precision.
pub const KEPT_IN_FLOAT32: &[KeptOps] = &[
    KeptOps {
        reason: "exponentials are added up",
        ops: &[
            "cross_entropy_with_softmax",
            "fused_softmax_mask",
            "fused_softmax_mask_upper_triangle",
            "log_softmax",
            "logcumsumexp",
            "logsumexp",
            "softmax",
        ],
    },
    KeptOps {
        reason: "squares are added up, and divided by",
        ops: &[
            "batch_norm",
            "clip_by_norm",
            "data_norm",
            "dist",
            "frobenius_norm",
            "group_norm",
            "instance_norm",
            "layer_norm",
            "lp_pool2d",
            "lrn",
            "norm",
            "p_norm",
            "renorm",
            "rms_norm",
            "spectral_norm",
            "squared_l2_norm",
        ],
    },
    KeptOps {
        reason: "any number of elements is added up or multiplied",
        ops: &[
            "bincount",
            "cumprod",
            "cumsum",
            "index_add",
            "mean",
            "prod",
            "reduce_as",
            "scatter_nd_add",
            "segment_pool",
            "send_u_recv",
            "send_ue_recv",
            "sum",
            "trace",
        ],
    },
    KeptOps {
        reason: "results are beyond float16 for operands that are not large, or lose what small operands differ by",
        ops: &[
            "acosh",
            "asinh",
            "atanh",
            "cosh",
            "digamma",
            "elementwise_pow",
            "erfinv",
            "exp",
            "expm1",
            "gammaln",
            "i0",
            "i0e",
            "i1",
            "i1e",
            "lgamma",
            "log",
            "log10",
            "log1p",
            "log2",
            "logit",
            "logsigmoid",
            "mish",
            "polygamma",
            "pow",
            "reciprocal",
            "rsqrt",
            "sinh",
            "soft_relu",
            "softplus",
            "sqrt",
            "square",
        ],
    },
    KeptOps {
        reason: "losses are sums of logarithms and squares",
        ops: &[
            "bce_loss",
            "huber_loss",
            "kldiv_loss",
            "log_loss",
            "nll_loss",
            "sigmoid_cross_entropy_with_logits",
        ],
    },
    KeptOps {
        reason: "positions, angles and boxes need more digits",
        ops: &[
            "acos",
            "affine_grid",
            "anchor_generator",
            "angle",
            "arange",
            "asin",
            "atan",
            "atan2",
            "box_coder",
            "collect_fpn_proposals",
            "cos",
            "deformable_conv",
            "density_prior_box",
            "distribute_fpn_proposals",
            "generate_proposals",
            "grid_sample",
            "iou_similarity",
            "linspace",
            "logspace",
            "matrix_nms",
            "multiclass_nms3",
            "nms",
            "prior_box",
            "psroi_pool",
            "roi_align",
            "roi_pool",
            "searchsorted",
            "sin",
            "tan",
            "yolo_box",
        ],
    },
    KeptOps {
        reason: "errors grow from step to step",
        ops: &[
            "crf_decoding",
            "cudnn_lstm",
            "gru_unit",
            "lstm_unit",
            "rnn",
            "viterbi_decode",
        ],
    },
    KeptOps {
        reason: "eliminations and transforms cancel digits",
        ops: &[
            "cholesky",
            "cholesky_solve",
            "determinant",
            "dft",
            "inverse",
            "lu",
            "lu_unpack",
            "matrix_power",
            "overlap_add",
            "qr",
            "slogdet",
            "solve",
            "stft",
            "triangular_solve",
        ],
    },
    KeptOps {
        reason: "statistics compare numbers that differ by little",
        ops: &[
            "histogram",
            "median",
            "mode",
            "nanmedian",
            "unique",
            "unique_consecutive",
        ],
    },
    KeptOps {
        reason: "random numbers are drawn in float32",
        ops: &["bernoulli", "gaussian", "multinomial", "randint", "uniform"],
    },
    KeptOps {
        reason: "loops carry lists of tensors and what nothing has written yet as they are declared",
        ops: &[
            "array_length",
            "array_pop",
            "array_read",
            "array_to_tensor",
            "array_write",
            "create_array",
            "slice_array",
            "undefined",
        ],
    },
    KeptOps {
        reason: "they are on scales of float32",
        ops: &[
            "abs_max",
            "dequantize_linear",
            "dequantize_weight",
            "scale_weight",
            "shift_weight",
        ],
    },
];

/// Why an op stays in float32, if it does wherever it stands.
pub(super) fn reason(op: &str) -> Option<&'static str> {
    let mut rows = KEPT_IN_FLOAT32.iter();
    let row = rows.find(|row| row.ops.contains(&op));
    row.map(|row| row.reason)
}

/// The products of activations and weights, which are what half precision is for: they are computed in it whatever they
/// read.
const PRODUCTS: [&str; 17] = [
    "addmm",
    "baddbmm",
    "conv2d",
    "conv2d_transpose",
    "conv3d",
    "conv3d_transpose",
    "depthwise_conv2d",
    "depthwise_conv2d_transpose",
    "dot",
    "einsum",
    "fc",
    "linear",
    "matmul",
    "matmul_with_flatten",
    "multi_dot",
    "row_conv",
    // Its softmax is in float32 inside.
    "scaled_dot_product_attention",
];

/// Whether an op is a product, which is computed in half precision whatever it reads.
pub(super) fn is_product(op: &str) -> bool {
    PRODUCTS.contains(&op)
}

/// Operands that are no data, but say what is done to it, and stay as they are: the op and the operand.
const SETTINGS: [(&str, &str); 6] = [
    ("bicubic_interp", "scale_tensor"),
    ("bilinear_interp", "scale_tensor"),
    ("linear_interp", "scale_tensor"),
    ("nearest_interp", "scale_tensor"),
    ("trilinear_interp", "scale_tensor"),
    ("dropout", "seed_tensor"),
];

/// Whether an operand says what is done to the data of an op.
pub(super) fn is_setting(op: &str, operand: &str) -> bool {
    SETTINGS.contains(&(op, operand))
}
