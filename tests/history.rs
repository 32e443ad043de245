//! Programs as older releases of Paddle wrote them: those of Paddle 2.6, with the attributes, types and slots of their
//! time (docs/paddle-history.md). They compute what Paddle 2.6 has recorded, or are refused by name.

#![cfg(feature = "verify")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use paddle2onnx::operator::Precision;
use paddle2onnx::tensor::{Dim, Tensor};
use paddle2onnx::verify::{Inputs, Tolerance, VerifyOptions, read_npz, verify};
use paddle2onnx::{ConvertOptions, Model, Result};
use prost::Message;
use support::framework::op_desc::{Attr, Slot};
use support::framework::{AttrType, OpDesc, ProgramDesc};
use support::{fixture, goldens, onnx_runtime};
use tempfile::TempDir;

/// A case of Paddle 2.6 with each op of this type changed, as a release wrote it.
struct Aged {
    folder: TempDir,
    recorded: Vec<PathBuf>,
    model: Model,
}

impl Aged {
    fn new(case: &str, op_type: &str, release: i64, change: impl Fn(&mut OpDesc)) -> Result<Self> {
        let program = fixture(&format!("paddle-2.6.2/ops/{case}.pdmodel"));
        let folder = tempfile::tempdir().unwrap();
        let changed = folder.path().join("inference.pdmodel");
        let mut desc = ProgramDesc::decode(fs::read(&program).unwrap().as_slice()).unwrap();
        desc.version.as_mut().unwrap().version = Some(release);
        let block = &mut desc.blocks[0];
        let ops = block.ops.iter_mut().filter(|op| op.r#type == op_type);
        let mut found = 0;
        for op in ops {
            change(op);
            found += 1;
        }
        assert!(found > 0, "no {op_type} in {case}");
        fs::write(&changed, desc.encode_to_vec()).unwrap();
        let weights = program.with_extension("pdiparams");
        if weights.exists() {
            fs::copy(&weights, changed.with_extension("pdiparams")).unwrap();
        }
        Ok(Self {
            folder,
            recorded: goldens(&program),
            model: Model::open(&changed, None)?,
        })
    }

    /// Converts the program, and compares the ONNX model with the reference, and both with what is expected.
    fn agrees(&self, expected: &[PathBuf]) -> Result<()> {
        let onnx = self.folder.path().join("model.onnx");
        self.model.convert(&onnx, &ConvertOptions::default())?;
        let options = VerifyOptions {
            inputs: Inputs::Files(self.recorded.clone()),
            expected: expected.to_vec(),
            tolerance: Some(Tolerance {
                atol: 1e-5,
                rtol: 1e-5,
            }),
            ort_lib: Some(onnx_runtime().to_path_buf()),
            ..VerifyOptions::default()
        };
        let report = verify(&self.model, &onnx, &options, &|_| {})?;
        assert!(report.verdict.is_pass(), "{report:?}");
        Ok(())
    }

    /// Compares the ONNX model with the reference, whose first output for the first recorded inputs has to be what
    /// `compute` makes of these and of the output that Paddle 2.6 has recorded.
    fn gives(&self, compute: impl Fn(&[Tensor], &Tensor) -> Tensor) -> Result<()> {
        self.agrees(&[])?;
        let program = self.model.program();
        let inputs = program.inputs().iter().map(|id| program[*id].name.as_str());
        let inputs: Vec<&str> = inputs.collect();
        let read = |names: &[&str]| read_npz(&self.recorded[0], names).unwrap();
        let tensors = read(&inputs);
        let recorded = read(&[&program.outputs()[0].name]).remove(0);
        let named = inputs.iter().map(|name| (*name).to_owned());
        let named: Vec<(String, Tensor)> = named.zip(tensors.clone()).collect();
        let results = self.model.reference(Precision::Single)?.run(&named)?;
        assert_eq!(results[0], compute(&tensors, &recorded));
        Ok(())
    }
}

/// Changes each op of this type in a case of Paddle 2.6, and compares what the program computes then with what Paddle
/// has recorded of the case.
fn aged(case: &str, op_type: &str, change: impl Fn(&mut OpDesc)) -> Result<()> {
    aged_in(2_006_002, case, op_type, change)
}

/// As [`aged`], in a program that this release of Paddle wrote.
fn aged_in(release: i64, case: &str, op_type: &str, change: impl Fn(&mut OpDesc)) -> Result<()> {
    let aged = Aged::new(case, op_type, release, change)?;
    aged.agrees(&aged.recorded)
}

fn remove(op: &mut OpDesc, name: &str) {
    let before = op.attrs.len();
    op.attrs.retain(|attr| attr.name != name);
    assert!(op.attrs.len() < before, "no {name}");
}

fn nothing(_: &mut OpDesc) {}

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
    let training = Aged::new("batch_norm/plain", "batch_norm", 2_006_002, |op| {
        set(op, int("is_test", 0));
    });
    let training = training.unwrap();
    training.agrees(&[]).unwrap();
    let onnx = training.folder.path().join("model.onnx");
    let converted = training.model.convert(&onnx, &ConvertOptions::default());
    let notes = converted.unwrap().notes;
    assert!(notes[0].text.contains("as in training"), "{notes:?}");
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
fn where_gave_positions_up_to_1_7() {
    let rename = |op: &mut OpDesc| op.r#type = "where".to_owned();
    aged_in(1_007_002, "nonzero/bool", "where_index", rename).unwrap();
    // With two tensors, it chooses.
    aged_in(1_008_000, "where/f32", "where", nothing).unwrap();
}

#[test]
fn attributes_that_came_later() {
    aged_in(1_008_004, "linspace/tensors", "linspace", |op| {
        remove(op, "dtype")
    })
    .unwrap();
    let set_value = "set_value_with_tensor/range";
    aged_in(2_000_002, set_value, "set_value", |op| remove(op, "steps")).unwrap();
    aged_in(2_001_003, "unpool/plain", "unpool", |op| {
        remove(op, "output_size");
        let ksize = attr("ksize", AttrType::Ints);
        let ints = vec![3, 3];
        set(op, Attr { ints, ..ksize });
    })
    .unwrap();
    let without = aged("unpool/plain", "unpool", |op| remove(op, "output_size"));
    assert!(without.unwrap_err().to_string().contains("output_size"));
}

#[test]
fn fill_any_had_two_values() {
    for (case, float_value, int_value) in
        [("full_like/any", 2.5, 7), ("full_like/any_i64", 0.5, -3)]
    {
        aged_in(2_003_000, case, "fill_any", |op| {
            remove(op, "value");
            set(op, float("value_float", float_value));
            set(op, int("value_int", int_value));
        })
        .unwrap();
    }
}

#[test]
fn fused_layers_of_2_2_have_a_flag_for_each_dropout() {
    for (case, op_type, flags) in [
        (
            "fused_attention/plain",
            "fused_attention",
            ["attn_dropout_is_test", "dropout_is_test"],
        ),
        (
            "fused_feedforward/plain",
            "fused_feedforward",
            ["dropout1_is_test", "dropout2_is_test"],
        ),
    ] {
        let flagged = |values: [bool; 2]| {
            aged_in(2_002_002, case, op_type, |op| {
                remove(op, "is_test");
                for (flag, value) in flags.iter().zip(values) {
                    set(op, boolean(flag, value));
                }
            })
        };
        flagged([true, true]).unwrap();
        for training in [[false, true], [true, false]] {
            let said = flagged(training).unwrap_err().to_string();
            assert!(said.contains("dropout as in training"), "{said}");
        }
    }
}

/// The results of `f` on pairs of integers.
fn pairs(tensors: &[Tensor], f: impl Fn(i64, i64) -> i64) -> Tensor {
    let [x, y] = [&tensors[0], &tensors[1]].map(Tensor::to_i64_vec);
    let results = x.into_iter().zip(y).map(|(x, y)| f(x, y)).collect();
    Tensor::vector::<i64>(results).cast(tensors[0].dtype())
}

#[test]
fn integers_were_divided_as_in_c() {
    let (floor, modulo) = ("floor_divide/i32_signs", "remainder/i64_signs");
    let aged = |case, op, release| Aged::new(case, op, release, nothing).unwrap();
    let old = aged(floor, "elementwise_floordiv", 2_004_002);
    old.gives(|x, _| pairs(x, |x, y| x / y)).unwrap();
    let new = aged(floor, "elementwise_floordiv", 2_005_000);
    new.gives(|_, recorded| recorded.clone()).unwrap();
    let old = aged(modulo, "elementwise_mod", 1_008_005);
    old.gives(|x, _| pairs(x, |x, y| x % y)).unwrap();
    let new = aged(modulo, "elementwise_mod", 2_000_000);
    new.gives(|_, recorded| recorded.clone()).unwrap();
    // Those of floats changed before.
    for release in [1_007_000, 2_000_000] {
        let floats = aged("remainder/f32_signs", "elementwise_mod", release);
        floats.gives(|_, recorded| recorded.clone()).unwrap();
    }
    let floats = aged("remainder/f32_signs", "elementwise_mod", 1_006_003);
    let c_remainder = |x: &[Tensor], _: &Tensor| {
        let [x, y] = [&x[0], &x[1]].map(Tensor::to_f64_vec);
        let results = x.into_iter().zip(y).map(|(x, y)| (x as f32) % (y as f32));
        Tensor::vector::<f32>(results.collect())
    };
    floats.gives(c_remainder).unwrap();
}

/// Up to Paddle 1.8, an average that counts padding divides by the whole kernel size, even behind the padding.
#[test]
fn averages_of_ceil_mode() {
    let aged = Aged::new("pool2d/avg_counting_ceil", "pool2d", 1_008_005, nothing).unwrap();
    aged.agrees(&[]).unwrap();
    let read = |name: &str| read_npz(&aged.recorded[0], &[name]).unwrap().remove(0);
    let recorded = read(&aged.model.program().outputs()[0].name);
    let reference = aged.model.reference(Precision::Single).unwrap();
    let inputs = [("x".to_owned(), read("x"))];
    let result = reference.run(&inputs).unwrap().remove(0);
    // Of 8 rows with 1 of padding on either side, and of 6 columns, the last windows hold 2 of 3.
    let [rows, columns] = [5, 3];
    assert_eq!(recorded.shape()[2..], [rows, columns]);
    let counted = |place: usize, count: usize| if place == count - 1 { 2.0 } else { 3.0 };
    let pairs = result.to_f64_vec().into_iter().zip(recorded.to_f64_vec());
    for (place, (result, recorded)) in pairs.enumerate() {
        let (row, column) = (place / columns % rows, place % columns);
        let expected = recorded * counted(row, rows) * counted(column, columns) / 9.0;
        assert!((result - expected).abs() < 1e-5, "{result} {expected}");
    }
}

/// Up to Paddle 2.1, an end far before the first element takes that as well.
#[test]
fn slices_backwards() {
    let bounds = |start, end, stride| {
        move |op: &mut OpDesc| {
            for (name, value) in [("starts", start), ("ends", end), ("strides", stride)] {
                let list = attr(name, AttrType::Ints);
                let ints = vec![value];
                set(op, Attr { ints, ..list });
            }
        }
    };
    let case = "strided_slice/reversed";
    let far = 10_000_000;
    aged_in(2_001_003, case, "strided_slice", bounds(far, -far, -1)).unwrap();
    aged_in(2_001_003, case, "strided_slice", bounds(far, -1, -1)).unwrap();
    let later = Aged::new(case, "strided_slice", 2_003_000, bounds(far, -far, -1)).unwrap();
    let summary = later.model.summary();
    assert_eq!(summary.outputs[0].shape[1], Dim::Known(6));
    let skips = aged_in(2_001_003, case, "strided_slice", bounds(far, -1, -2));
    assert!(skips.unwrap_err().to_string().contains("Paddle up to 2.1"));
}

#[test]
fn numbers_that_releases_take_differently() {
    for (case, op_type, name, value) in [
        ("leaky_relu/plain", "leaky_relu", "alpha", 1.5),
        ("elu/one", "elu", "alpha", -0.5),
        ("hardshrink/usual", "hard_shrink", "threshold", -0.5),
    ] {
        let change = |op: &mut OpDesc| set(op, float(name, value));
        let old = aged_in(1_008_005, case, op_type, change);
        let said = old.unwrap_err().to_string();
        assert!(said.contains("take differently"), "{said}");
        let new = Aged::new(case, op_type, 2_000_000, change).unwrap();
        new.agrees(&[]).unwrap();
        aged_in(1_008_005, case, op_type, nothing).unwrap();
    }
}

/// Up to Paddle 2.4, what is a scalar now was a vector of one element.
#[test]
fn scalars_had_one_axis() {
    for (release, rank) in [(1_008_005, 1), (2_004_002, 1), (2_005_000, 0)] {
        for (case, op_type) in [("sum/all", "reduce_sum"), ("argmax/flat", "arg_max")] {
            let program = fixture(&format!("paddle-2.6.2/ops/{case}.pdmodel"));
            let mut desc = ProgramDesc::decode(fs::read(&program).unwrap().as_slice()).unwrap();
            desc.version.as_mut().unwrap().version = Some(release);
            let block = &mut desc.blocks[0];
            let op = block.ops.iter().find(|op| op.r#type == op_type).unwrap();
            let result = op.outputs[0].arguments[0].clone();
            let var = block.vars.iter_mut().find(|var| var.name == result);
            let tensor = var.unwrap().r#type.lod_tensor.as_mut().unwrap();
            tensor.tensor.dims = vec![1];
            let folder = tempfile::tempdir().unwrap();
            let changed = folder.path().join("inference.pdmodel");
            fs::write(&changed, desc.encode_to_vec()).unwrap();
            let model = Model::open(&changed, None).unwrap();
            let shape = &model.summary().outputs[0].shape;
            assert_eq!(shape.len(), rank, "{case} of {release}");
        }
    }
}

/// A development build states no release, so that what is read by the release is uncertain.
#[test]
fn a_program_without_a_release_is_noted() {
    let warning = |release| {
        let aged = Aged::new("relu/plain", "relu", release, nothing).unwrap();
        aged.model.format().warning()
    };
    assert!(warning(0).unwrap().contains("which release of Paddle"));
    assert_eq!(warning(2_006_002), None);
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
