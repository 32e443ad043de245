//! Programs as older releases of Paddle wrote them: those of Paddle 2.6, with the attributes, types and slots of their
//! time (docs/paddle-history.md). They compute what Paddle 2.6 has recorded, or are refused by name.

mod support;

/// The schema of programs, as the build script compiles it for the library.
#[allow(missing_docs, dead_code, reason = "generated")]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/paddle.framework.proto.rs"));
}

use std::fs;
use std::path::Path;

use paddle2onnx::verify::{Inputs, Tolerance, VerifyOptions, verify};
use paddle2onnx::{ConvertOptions, Model, Result};
use prost::Message;
use proto::op_desc::{Attr, Slot};
use proto::{AttrType, OpDesc, ProgramDesc};
use support::{fixture, goldens, onnx_runtime};

/// Changes each op of this type in a case of Paddle 2.6, and compares what the program computes then with what Paddle
/// has recorded of the case.
fn aged(case: &str, op_type: &str, change: impl Fn(&mut OpDesc)) -> Result<()> {
    let program = fixture(&format!("paddle-2.6.2/ops/{case}.pdmodel"));
    let scratch = tempfile::tempdir().unwrap();
    let changed = scratch.path().join("inference.pdmodel");
    let mut desc = ProgramDesc::decode(fs::read(&program).unwrap().as_slice()).unwrap();
    let ops = desc.blocks[0].ops.iter_mut();
    let mut found = 0;
    for op in ops.filter(|op| op.r#type == op_type) {
        change(op);
        found += 1;
    }
    assert!(found > 0, "no {op_type} in {case}");
    fs::write(&changed, desc.encode_to_vec()).unwrap();
    let weights = program.with_extension("pdiparams");
    if weights.exists() {
        fs::copy(&weights, changed.with_extension("pdiparams")).unwrap();
    }
    let model = Model::open(&changed, None)?;
    let onnx = scratch.path().join("model.onnx");
    model.convert(&onnx, &ConvertOptions::default())?;
    let recorded = goldens(&program);
    let options = VerifyOptions {
        inputs: Inputs::Files(recorded.clone()),
        expected: recorded,
        tolerance: Some(Tolerance {
            atol: 1e-5,
            rtol: 1e-5,
        }),
        ort_lib: Some(onnx_runtime().to_path_buf()),
        ..VerifyOptions::default()
    };
    let report = verify(&model, &onnx, &options, &|_| {})?;
    assert!(report.verdict.is_pass(), "{case}: {report:?}");
    Ok(())
}

fn attr(name: &str, kind: AttrType) -> Attr {
    Attr {
        name: name.to_owned(),
        r#type: kind.into(),
        ..Attr::default()
    }
}

fn int(name: &str, value: i32) -> Attr {
    Attr {
        i: Some(value),
        ..attr(name, AttrType::Int)
    }
}

fn boolean(name: &str, value: bool) -> Attr {
    Attr {
        b: Some(value),
        ..attr(name, AttrType::Boolean)
    }
}

fn float(name: &str, value: f32) -> Attr {
    Attr {
        f: Some(value),
        ..attr(name, AttrType::Float)
    }
}

fn text(name: &str, value: &str) -> Attr {
    Attr {
        s: Some(value.to_owned()),
        ..attr(name, AttrType::String)
    }
}

/// Gives an op an attribute, in the place of the one of its name.
fn set(op: &mut OpDesc, attr: Attr) {
    op.attrs.retain(|old| old.name != attr.name);
    op.attrs.push(attr);
}

fn rename(op: &mut OpDesc, from: &str, to: &str) {
    let mut attrs = op.attrs.iter_mut();
    attrs.find(|attr| attr.name == from).unwrap().name = to.to_owned();
}

#[test]
fn is_test_is_an_integer_up_to_1_6() {
    for (case, op_type) in [
        ("batch_norm/plain", "batch_norm"),
        ("dropout/upscale", "dropout"),
        ("dropout/downgrade", "dropout"),
        ("conv2d/groups", "conv2d"),
        ("pool2d/avg_plain", "pool2d"),
        ("softmax/last", "softmax"),
    ] {
        aged(case, op_type, |op| set(op, int("is_test", 1))).unwrap();
    }
    let training = aged("batch_norm/plain", "batch_norm", |op| {
        set(op, int("is_test", 0))
    });
    assert!(training.unwrap_err().to_string().contains("training"));
    let neither = aged("batch_norm/plain", "batch_norm", |op| {
        set(op, int("is_test", 2))
    });
    assert!(
        neither
            .unwrap_err()
            .to_string()
            .contains("`is_test` is an integer (2)")
    );
}

#[test]
fn is_test_says_nothing_on_activations() {
    for (case, op_type) in [
        ("relu/plain", "relu"),
        ("tanh/plain", "tanh"),
        ("sigmoid/plain", "sigmoid"),
        ("gelu/exact", "gelu"),
    ] {
        aged(case, op_type, |op| set(op, boolean("is_test", true))).unwrap();
        aged(case, op_type, |op| set(op, int("is_test", 1))).unwrap();
    }
}

#[test]
fn what_quantisers_note_says_nothing() {
    for (case, op_type) in [("conv2d/groups", "conv2d"), ("relu/plain", "relu")] {
        aged(case, op_type, |op| {
            set(op, float("out_threshold", 3.5));
            set(op, float("Output0_threshold", 3.5));
            set(op, float("conv2d_0.tmp_0.max", 3.5));
            set(op, float("conv2d_0.tmp_0.min", -3.5));
            set(op, int("bit_length", 8));
            set(op, int("activation_bits", 8));
            set(op, text("quantization_type", "qat_with_weight"));
            set(op, boolean("skip_quant", true));
        })
        .unwrap();
    }
    // These bits say that the weights in the file are integers.
    let weights = aged("conv2d/groups", "conv2d", |op| {
        set(op, int("quantize_weight_bits", 8))
    });
    assert!(
        weights
            .unwrap_err()
            .to_string()
            .contains("quantize_weight_bits")
    );
}

#[test]
fn a_fusion_is_accepted_where_it_is_off() {
    aged("conv2d/groups", "conv2d", |op| {
        set(op, boolean("fuse_eltwise", false));
        set(op, int("fuse_relu", 0));
        set(op, int("search_times", -1));
    })
    .unwrap();
    aged("softplus/usual", "softplus", |op| {
        set(op, text("fuse_activation_type", ""));
        set(op, float("fuse_activation_alpha", 0.5));
        set(op, float("fuse_activation_beta", 0.5));
        set(op, float("fuse_activation_scale", 1.0));
    })
    .unwrap();
    for attr in [boolean("fuse_eltwise", true), int("fuse_relu", 1)] {
        let name = attr.name.clone();
        let fused = aged("conv2d/groups", "conv2d", |op| set(op, attr.clone()));
        assert!(fused.unwrap_err().to_string().contains(&name));
    }
}

#[test]
fn the_kernel_size_of_a_global_pool_is_not_looked_at() {
    aged("pool2d/avg_global", "pool2d", |op| {
        set(
            op,
            Attr {
                ints: vec![-1, -1],
                ..attr("ksize", AttrType::Ints)
            },
        );
    })
    .unwrap();
    let both = aged("pool2d/avg_global", "pool2d", |op| {
        set(op, boolean("adaptive", true))
    });
    assert!(
        both.unwrap_err()
            .to_string()
            .contains("`global_pooling` and `adaptive`")
    );
}

#[test]
fn axes_were_called_dims() {
    aged("flip/one", "flip", |op| rename(op, "axis", "dims")).unwrap();
    aged("roll/two", "roll", |op| rename(op, "axis", "dims")).unwrap();
    aged("trace/batch", "trace", |op| {
        rename(op, "axis1", "dim1");
        rename(op, "axis2", "dim2");
    })
    .unwrap();
}

#[test]
fn slots_that_training_updates_are_not_read() {
    aged("batch_norm/plain", "batch_norm", |op| {
        let momentum = op
            .inputs
            .iter()
            .find(|slot| slot.parameter == "Mean")
            .unwrap();
        let arguments = momentum.arguments.clone();
        op.inputs.push(Slot {
            parameter: "MomentumTensor".to_owned(),
            arguments,
        });
    })
    .unwrap();
}

#[test]
fn a_product_for_each_head_is_refused() {
    let heads = |count| {
        aged("matmul/old_alpha", "matmul", |op| {
            set(op, int("head_number", count))
        })
    };
    heads(1).unwrap();
    assert!(heads(2).unwrap_err().to_string().contains("head_number"));
}

#[test]
fn what_could_matter_is_refused_by_name() {
    let unknown = aged("relu/plain", "relu", |op| set(op, float("slope", 0.1)));
    let said = unknown.unwrap_err().to_string();
    assert!(
        said.contains("`slope` = 0.1") && said.contains("relu"),
        "{said}"
    );
    assert!(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("docs/paddle-history.md")
            .exists()
    );
}
