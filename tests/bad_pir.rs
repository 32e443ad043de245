//! Programs of Paddle 3 that are damaged, contradict themselves or hold what is not known give one clear
//! paragraph that names the file and the op, and exit code 2, and leave no file behind.
//!
//! The programs are those of `fixtures/paddle-3.3.1/` with one thing changed.

#![cfg(feature = "cli")]

mod support;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use support::command::{Ran, command, copy_of, is_refusal, names_in, run};
use support::fixture;

const VIT: &str = "paddle-3.3.1/vit/ViT_base_patch16_224";

/// Converts a fixture of the ops after `edit`, in a folder of its own.
fn convert_edited(case: &str, edit: impl Fn(&mut Value)) -> Ran {
    let source = fixture(&format!("paddle-3.3.1/ops/{case}.json"));
    let mut program: Value = serde_json::from_slice(&fs::read(&source).unwrap()).unwrap();
    edit(&mut program);
    let folder = tempfile::tempdir().unwrap();
    let weights = source.with_extension("pdiparams");
    if weights.exists() {
        fs::copy(weights, folder.path().join("m.pdiparams")).unwrap();
    }
    convert(folder.path(), program.to_string().as_bytes())
}

/// Converts a program of these bytes. A refusal must leave nothing behind.
fn convert(folder: &Path, program: &[u8]) -> Ran {
    let path = folder.join("m.json");
    fs::write(&path, program).unwrap();
    let before = names_in(folder);
    let ran = run(command([Path::new("convert"), &path]));
    if ran.code != Some(0) {
        assert_eq!(names_in(folder), before, "{ran}");
    }
    ran
}

fn refuses(case: &str, edit: impl Fn(&mut Value), words: &[&str]) {
    let words = [&["/m.json"], words].concat();
    is_refusal(&convert_edited(case, edit), &words);
}

/// The ops of the main block.
fn ops(program: &mut Value) -> &mut Vec<Value> {
    let ops = &mut program["program"]["regions"][0]["blocks"][0]["ops"];
    ops.as_array_mut().unwrap()
}

/// The first op of this name.
fn op<'p>(program: &'p mut Value, name: &str) -> &'p mut Value {
    let mut ops = ops(program).iter_mut();
    ops.find(|op| op["#"] == name).unwrap()
}

/// The value of an attribute.
fn attribute<'o>(op: &'o mut Value, name: &str) -> &'o mut Value {
    let mut entries = op["A"].as_array_mut().unwrap().iter_mut();
    &mut entries.find(|entry| entry["N"] == name).unwrap()["AT"]
}

#[test]
fn what_is_no_program() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(fixture("paddle-3.3.1/ops/softmax/last.json")).unwrap();
    let nested = "[".repeat(1_000_000);
    let attribute = r##"{"N": "a", "AT": {"#": "0.a_array", "D": "##;
    let hidden = format!(
        r##"{{"base_code": {{"magic": "pir", "version": 1}}, "program": {{"regions":
        [{{"blocks": [{{"ops": [{{"#": "1.x", "A": [{attribute}{nested}"##
    );
    let cases: [(&[u8], &[&str]); 8] = [
        (b"{", &["byte ", "EOF"]),
        (b"{}", &["missing field `base_code`"]),
        (&whole[..whole.len() / 2], &["byte ", "EOF"]),
        (&[&whole[..], b"}"].concat(), &["byte ", "trailing"]),
        (hidden.as_bytes(), &["byte ", "recursion limit"]),
        (nested.as_bytes(), &["text file"]),
        (
            br#"{"base_code": {"magic": "pir", "version": 1}, "program": {"regions": []}}"#,
            &["no ops"],
        ),
        (
            br#"{"base_code": {"magic": "pir", "version": 1.5}, "program": {"regions": []}}"#,
            &["byte ", "1.5"],
        ),
    ];
    for (bytes, words) in cases {
        is_refusal(
            &convert(folder.path(), bytes),
            &[&["/m.json"], words].concat(),
        );
    }
}

#[test]
fn nested_ops_are_bounded() {
    let mut op = json!({"#": "1.if", "I": [], "O": [], "A": []});
    for _ in 0..40 {
        op = json!({"#": "1.if", "I": [], "O": [], "A": [], "regions": [{"blocks": [{"args": [], "ops": [op]}]}]});
    }
    let edit = |program: &mut Value| ops(program).insert(1, op.clone());
    refuses("softmax/last", edit, &["byte ", "recursion limit"]);
}

#[test]
fn other_headers() {
    let set = |key: &'static str, value: Value| {
        move |program: &mut Value| program["base_code"][key] = value.clone()
    };
    refuses(
        "softmax/last",
        set("magic", json!("onnx")),
        &["\"onnx\"", "\"pir\""],
    );
    refuses("softmax/last", set("version", json!(-1)), &["byte ", "-1"]);
    for version in 0..=4 {
        let ran = convert_edited("softmax/last", set("version", json!(version)));
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");
    }
    let ran = convert_edited("softmax/last", set("version", json!(5)));
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(ran.stderr.starts_with("warning: "), "{ran}");
    for words in ["/m.json", "version 5 of PIR", "newer than 4"] {
        assert!(ran.stderr.contains(words), "{ran}");
    }
}

#[test]
fn numbers_that_contradict_each_other() {
    let softmax = |number: i64, key: &'static str| {
        move |program: &mut Value| op(program, "1.softmax")[key][0]["%"] = json!(number)
    };
    for number in [2, 9, -1, i64::MIN, i64::MAX] {
        let words = [
            &format!("value {number}"),
            "`softmax`",
            "nothing before it defines",
        ];
        refuses("softmax/last", softmax(number, "I"), &words);
    }
    refuses(
        "softmax/last",
        softmax(0, "I"),
        &["`softmax`", "`x`", "0 tensors"],
    );
    refuses(
        "softmax/last",
        softmax(1, "O"),
        &["value 1 is defined twice", "`softmax`"],
    );
    let swap = |program: &mut Value| ops(program).swap(1, 2);
    refuses(
        "softmax/last",
        swap,
        &["value 2", "`fetch`", "nothing before it defines"],
    );
    let twice = |program: &mut Value| {
        let input = op(program, "1.feed").clone();
        ops(program).insert(0, input);
    };
    refuses("softmax/last", twice, &["two inputs `x`"]);
    let unfetched = |program: &mut Value| drop(ops(program).pop());
    refuses("softmax/last", unfetched, &["no `fetch` op"]);
}

#[test]
fn operands_and_results_that_do_not_fit() {
    let add_operand = |program: &mut Value| {
        let operands = op(program, "1.softmax")["I"].as_array_mut().unwrap();
        operands.push(json!({"%": 1}));
    };
    refuses(
        "softmax/last",
        add_operand,
        &["`softmax`", "2 operands", "first 1"],
    );
    let no_result = |program: &mut Value| op(program, "1.softmax")["O"] = json!([]);
    refuses(
        "softmax/last",
        no_result,
        &["`softmax`", "0 results where 1"],
    );
    let list = |program: &mut Value| op(program, "1.fetch")["I"][0]["%"] = json!(4);
    refuses(
        "concat/axis_tensor",
        list,
        &["`fetch`", "value 4 holds 2 tensors"],
    );
    let statistics = |program: &mut Value| {
        let mean = op(program, "1.layer_norm")["O"][1]["%"].clone();
        op(program, "1.fetch")["I"][0]["%"] = mean;
    };
    let words = [
        "`fetch`",
        "a side output of op ",
        "`layer_norm`",
        "not supported",
    ];
    refuses("layer_norm/last_axis", statistics, &words);
    let short =
        |program: &mut Value| drop(op(program, "0.split")["O"].as_array_mut().unwrap().pop());
    refuses(
        "split/native_num",
        short,
        &["`builtin.split`", "splits a list of"],
    );
    let beyond = |program: &mut Value| attribute(op(program, "0.slice"), "index")["D"] = json!(7);
    refuses(
        "split/num",
        beyond,
        &["`builtin.slice`", "a list of 3 tensors"],
    );
}

#[test]
fn values_of_other_types() {
    let ty =
        |ty: Value| move |program: &mut Value| op(program, "1.feed")["O"][0]["TT"] = ty.clone();
    let tensor = |element: &str, dims: Value| json!({"#": "0.t_dtensor", "D": [{"#": element}, dims, "NCHW", [], 0]});
    let complex = tensor("0.t_c64", json!([2, 3]));
    refuses(
        "softmax/last",
        ty(complex),
        &["the input `x`, which is complex64", "paddle.as_complex"],
    );
    let sparse = json!({"#": "1.t_sparse_coo", "D": []});
    refuses(
        "softmax/last",
        ty(sparse),
        &["`x`", "1.t_sparse_coo", "not supported"],
    );
    refuses("softmax/last", ty(json!({"#": "NULL"})), &["`x`", "absent"]);
    refuses(
        "softmax/last",
        ty(json!({"#": "0.t_dtensor"})),
        &["byte ", "without element type"],
    );
    let words = tensor("0.t_f32", json!(["two", 3]));
    refuses(
        "softmax/last",
        ty(words),
        &["byte ", "without element type and extents"],
    );
    refuses(
        "softmax/last",
        ty(json!("float")),
        &["byte ", "invalid type: string"],
    );
    let operand = |program: &mut Value| op(program, "1.softmax")["I"][0]["%"] = json!("one");
    refuses("softmax/last", operand, &["byte ", "\"one\"", "i64"]);
    let number = |program: &mut Value| op(program, "1.softmax")["#"] = json!(1);
    refuses(
        "softmax/last",
        number,
        &["byte ", "invalid type: integer `1`"],
    );
}

#[test]
fn attributes_that_do_not_fit() {
    let axis = |value: Value| {
        move |program: &mut Value| *attribute(op(program, "1.softmax"), "axis") = value.clone()
    };
    let text = json!({"#": "0.a_str", "D": "last"});
    refuses(
        "softmax/last",
        axis(text),
        &["`softmax`", "`axis`", "a string", "an integer"],
    );
    let torn = json!({"#": "0.a_i32", "D": "last"});
    refuses("softmax/last", axis(torn), &["byte ", "0.a_i32"]);
    refuses(
        "softmax/last",
        axis(json!({"#": "0.a_i32"})),
        &["byte ", "0.a_i32"],
    );
    let half = json!({"#": "0.a_f32", "D": 0.5});
    refuses("softmax/last", axis(half), &["`softmax`", "`axis`", "0.5"]);
    let unknown = json!({"#": "0.a_pointer", "D": 5});
    refuses(
        "softmax/last",
        axis(unknown),
        &["`softmax`", "`axis`", "type not known"],
    );
    let large = json!({"#": "0.a_i64", "D": u64::MAX});
    refuses("softmax/last", axis(large), &["byte ", "63 bits"]);
    let infinite = json!({"#": "0.a_f32", "VD": "INF"});
    refuses(
        "softmax/last",
        axis(infinite),
        &["`softmax`", "`axis`", "inf"],
    );
    let new = |program: &mut Value| {
        let attributes = op(program, "1.softmax")["A"].as_array_mut().unwrap();
        attributes.push(json!({"N": "temperature", "AT": {"#": "0.a_f64", "D": 2.0}}));
    };
    refuses(
        "softmax/last",
        new,
        &["`softmax`", "not known", "`temperature` = 2.0"],
    );
}

/// Versions of Paddle write the same number in different types, so any type is read.
#[test]
fn numbers_of_any_type() {
    for number in [
        json!({"#": "0.a_i64", "D": -1}),
        json!({"#": "0.a_f64", "D": -1.0}),
    ] {
        let edit =
            |program: &mut Value| *attribute(op(program, "1.softmax"), "axis") = number.clone();
        let ran = convert_edited("softmax/last", edit);
        assert_eq!(ran.code, Some(0), "{ran}");
    }
    for number in [
        json!({"#": "0.a_f64", "D": 1e-5}),
        json!({"#": "0.a_i32", "D": 1}),
    ] {
        let edit = |program: &mut Value| {
            *attribute(op(program, "1.layer_norm"), "epsilon") = number.clone();
        };
        let ran = convert_edited("layer_norm/last_axis", edit);
        assert_eq!(ran.code, Some(0), "{ran}");
    }
}

/// A name whose dialect is spelled out (`pd_op.`) means the same as one with its number (`1.`).
#[test]
fn dialects_in_words() {
    let spelled = |program: &mut Value| {
        for op in ops(program) {
            let name = op["#"].as_str().unwrap();
            op["#"] = json!(name.replace("1.", "pd_op.").replace("0.", "builtin."));
        }
    };
    let ran = convert_edited("concat/axis_tensor", spelled);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");
}

#[test]
fn ops_that_are_not_known() {
    for (name, shown) in [
        ("1.svd", "`svd`"),
        ("3.my_op", "`custom_op.my_op`"),
        ("4.reshard", "`dist.reshard`"),
        ("7.op", "`7.op`"),
        ("onednn_op.softmax", "`onednn_op.softmax`"),
        ("0.constant", "`builtin.constant`"),
        ("nonsense", "`builtin.nonsense`"),
        ("", "`builtin.`"),
    ] {
        let edit = |program: &mut Value| op(program, "1.softmax")["#"] = json!(name);
        let words = [
            "1 kind of op that is not supported",
            shown,
            "1 ×, first at op 1",
        ];
        refuses("softmax/last", edit, &words);
    }
}

/// Ops of which it is known why they can't be converted are refused with the reason.
#[test]
fn ops_that_are_known_to_be_impossible() {
    for (name, reason) in [
        ("nextafter", "ONNX has no operator"),
        ("flash_attn_unpadded", "scaled_dot_product_attention"),
        ("fused_dot_product_attention", "on GPUs alone"),
        ("yolo_box_head", "which has `yolo_box` instead"),
        ("yolo_box_post", "which has `yolo_box` instead"),
    ] {
        let edit = |program: &mut Value| op(program, "1.softmax")["#"] = json!(format!("1.{name}"));
        refuses("softmax/last", edit, &[name, reason]);
    }
}

/// Blocks return what their op is said to return.
#[test]
fn blocks_return_what_is_due() {
    let refuses = |name: &str, edit: &dyn Fn(&mut Value), words: &[&str]| {
        let source = fixture(&format!("paddle-3.3.1/control_flow/{name}/inference.json"));
        let mut program: Value = serde_json::from_slice(&fs::read(source).unwrap()).unwrap();
        edit(&mut program);
        let folder = tempfile::tempdir().unwrap();
        let ran = convert(folder.path(), program.to_string().as_bytes());
        is_refusal(&ran, words);
    };
    fn inner<'p>(program: &'p mut Value, name: &str) -> &'p mut Vec<Value> {
        let block = &mut op(program, name)["regions"][0]["blocks"][0];
        block["ops"].as_array_mut().unwrap()
    }
    let silent = |program: &mut Value| {
        inner(program, "1.if").pop();
    };
    let words = ["`if`", "a branch returns 0 values where the op has 1"];
    refuses("if", &silent, &words);
    let endless = |program: &mut Value| {
        let end = inner(program, "1.while").last_mut().unwrap();
        end["I"].as_array_mut().unwrap().remove(0);
    };
    let words = ["`while`", "carries 2 values", "takes 2 and returns 2"];
    refuses("while", &endless, &words);
    let one_sided = |program: &mut Value| {
        let regions = op(program, "1.if")["regions"].as_array_mut().unwrap();
        regions.pop();
    };
    let words = ["`if`", "holds 1 blocks where 2 were expected"];
    refuses("if", &one_sided, &words);
    let numeric = |program: &mut Value| op(program, "1.if")["I"][0]["%"] = json!(1);
    refuses("if", &numeric, &["`if`", "it takes bool, not float32"]);
}

/// A branch may return a variable from outside. Whether it is overwritten together with the result is up to Paddle.
#[test]
fn shared_memory() {
    let source = fixture("paddle-3.3.1/control_flow/if/inference.json");
    let mut program: Value = serde_json::from_slice(&fs::read(source).unwrap()).unwrap();
    let input = op(&mut program, "1.data")["O"][0]["%"].clone();
    let branch = &mut op(&mut program, "1.if")["regions"][0]["blocks"][0]["ops"];
    let last = branch.as_array_mut().unwrap().last_mut().unwrap();
    assert_eq!(last["#"], "2.yield");
    last["I"][0]["%"] = input.clone();
    let note =
        "overwrites what a branch or a loop may return as one variable and have from another";
    for (name, is_noted) in [("1.scale", false), ("1.scale_", true)] {
        let after = ops(&mut program).iter_mut();
        let mut after = after.filter(|op| op["#"].as_str().unwrap().starts_with("1.scale"));
        after.next_back().unwrap()["#"] = json!(name);
        let folder = tempfile::tempdir().unwrap();
        let ran = convert(folder.path(), program.to_string().as_bytes());
        assert_eq!(ran.code, Some(0), "{ran}");
        assert_eq!(ran.stderr.contains(note), is_noted, "{ran}");
    }
}

/// What a loop keeps for its gradient is dropped, unless something reads it.
#[test]
fn stacks_for_gradients() {
    let source = fixture("paddle-3.3.1/control_flow/while/inference.json");
    let mut program: Value = serde_json::from_slice(&fs::read(source).unwrap()).unwrap();
    let typed = |number: i64, name: &str| json!({ "%": number, "TT": { "#": name } });
    let results = [
        typed(900, "cf.t_stack"),
        typed(901, "cf.t_inlet"),
        typed(902, "cf.t_outlet"),
    ];
    let create = json!({ "#": "2.stack_create", "I": [], "O": results, "A": [] });
    let push = json!({ "#": "2.tuple_push", "I": [{ "%": 901 }, { "%": -1 }], "O": [], "A": [] });
    let body = &mut op(&mut program, "1.while")["regions"][0]["blocks"][0]["ops"];
    body.as_array_mut().unwrap().insert(0, push);
    let place = |program: &mut Value, name: &str| {
        let mut all = ops(program).iter();
        all.position(|op| op["#"] == name).unwrap()
    };
    let at = place(&mut program, "1.while");
    ops(&mut program).insert(at, create);
    let folder = tempfile::tempdir().unwrap();
    let ran = convert(folder.path(), program.to_string().as_bytes());
    assert_eq!(ran.code, Some(0), "{ran}");

    let mut popped = op(&mut program, "1.fetch")["O"][0].clone();
    popped["%"] = json!(903);
    let pop = json!({ "#": "2.tuple_pop", "I": [{ "%": 902 }], "O": [popped], "A": [] });
    let at = place(&mut program, "1.fetch");
    ops(&mut program).insert(at, pop);
    op(&mut program, "1.fetch")["I"][0]["%"] = json!(903);
    let folder = tempfile::tempdir().unwrap();
    let ran = convert(folder.path(), program.to_string().as_bytes());
    is_refusal(
        &ran,
        &["`cf.tuple_pop`", "for the gradient", "paddle.jit.save"],
    );
}

/// An error of an op in a block names the block.
#[test]
fn places_in_blocks() {
    let source = fixture("paddle-3.3.1/control_flow/if_in_while/inference.json");
    let mut program: Value = serde_json::from_slice(&fs::read(source).unwrap()).unwrap();
    let body = &mut op(&mut program, "1.while")["regions"][0]["blocks"][0]["ops"];
    let mut inner = body.as_array_mut().unwrap().iter_mut();
    let branch = inner.find(|op| op["#"] == "1.if").unwrap();
    let branch = &mut branch["regions"][1]["blocks"][0]["ops"];
    let mut inner = branch.as_array_mut().unwrap().iter_mut();
    let op = inner
        .find(|op| !op["I"].as_array().unwrap().is_empty())
        .unwrap();
    op["I"][0]["%"] = json!(1000);
    let folder = tempfile::tempdir().unwrap();
    let ran = convert(folder.path(), program.to_string().as_bytes());
    is_refusal(&ran, &["value 1000", ", in block 1 of op ", "`if`"]);
}

/// What a block defines is gone when it ends, and what it reads must be there.
#[test]
fn blocks_keep_their_values() {
    let source = fixture("paddle-3.3.1/control_flow/if/inference.json");
    let program: Value = serde_json::from_slice(&fs::read(source).unwrap()).unwrap();
    let refuses = |edit: &dyn Fn(&mut Value), words: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let mut program = program.clone();
        edit(&mut program);
        let ran = convert(folder.path(), program.to_string().as_bytes());
        is_refusal(&ran, words);
    };
    let inner = |program: &mut Value| {
        let then = &mut op(program, "1.if")["regions"][0]["blocks"][0]["ops"];
        then.as_array_mut().unwrap().clone()
    };
    let leak = |program: &mut Value| {
        let number = inner(program)[1]["O"][0]["%"].clone();
        op(program, "1.scale")["I"][0]["%"] = number;
    };
    refuses(&leak, &["`scale`", "a block that has ended"]);
    let again = |program: &mut Value| {
        let number = inner(program)[1]["O"][0]["%"].clone();
        op(program, "1.fetch")["O"][0]["%"] = json!(99);
        op(program, "1.scale")["O"][0]["%"] = number;
    };
    refuses(&again, &["`scale`", "defined twice"]);
    let ahead = |program: &mut Value| {
        let then = &mut op(program, "1.if")["regions"][0]["blocks"][0]["ops"];
        then[1]["I"][0]["%"] = json!(1000);
    };
    refuses(
        &ahead,
        &["`scale`", "value 1000", "nothing before it defines"],
    );
    let outside = |program: &mut Value| {
        let end = inner(program).pop().unwrap();
        ops(program).insert(1, end);
    };
    refuses(&outside, &["`cf.yield`"]);
}

#[test]
fn weights_that_do_not_match() {
    let folder = tempfile::tempdir().unwrap();
    let model = copy_of(VIT, folder.path());
    let (program, weights) = (
        model.join("inference.json"),
        model.join("inference.pdiparams"),
    );
    let convert = |params: &[&Path]| {
        let fixed = [Path::new("convert"), &program];
        run(command(fixed.iter().chain(params)))
    };
    let other = fixture("paddle-3.3.1/vit/ViT_large_patch32_384/inference.pdiparams");
    let words = [
        "inference.pdiparams",
        "weight `",
        "the program expects",
        "another program?",
    ];
    is_refusal(&convert(&[Path::new("--params"), &other]), &words);
    let mut bytes = fs::read(&weights).unwrap();
    bytes.truncate(bytes.len() - 5);
    fs::write(&weights, bytes).unwrap();
    is_refusal(
        &convert(&[]),
        &["inference.pdiparams", "the file ends inside this weight"],
    );
    fs::remove_file(&weights).unwrap();
    is_refusal(
        &convert(&[]),
        &[
            "inference.json",
            "there is no ",
            "inference.pdiparams",
            "--params",
        ],
    );
}

#[test]
fn a_folder_with_both_formats_asks_which() {
    let folder = tempfile::tempdir().unwrap();
    let model = copy_of(VIT, folder.path());
    let legacy = fixture("paddle-2.6.2/vit/ViT_base_patch16_224/inference.pdmodel");
    fs::copy(legacy, model.join("inference.pdmodel")).unwrap();
    let ran = run(command([Path::new("convert"), &model]));
    let words = [
        "2 models",
        "name one of them",
        "inference.json",
        "inference.pdmodel",
    ];
    is_refusal(&ran, &words);
    for name in ["inference.json", "inference.pdmodel"] {
        let ran = run(command([Path::new("convert"), &model.join(name)]));
        assert_eq!(ran.code, Some(0), "{ran}");
    }
}

/// PaddleX and other tools put settings in JSON files beside a model.
#[test]
fn other_json_in_a_folder_is_no_program() {
    let folder = tempfile::tempdir().unwrap();
    let model = copy_of(VIT, folder.path());
    fs::write(model.join("config.json"), "{\"model_name\": \"ViT\"}").unwrap();
    let ran = run(command([Path::new("convert"), &model]));
    assert_eq!(ran.code, Some(0), "{ran}");
    fs::remove_file(model.join("inference.json")).unwrap();
    let ran = run(command([Path::new("convert"), &model]));
    is_refusal(&ran, &["no Paddle model", "*.json"]);
    let ran = run(command([
        Path::new("convert"),
        &model.join("inference.pdiparams"),
    ]));
    is_refusal(&ran, &["these are the weights", "inference.pdmodel"]);
}

#[test]
fn inspect_tells_the_format() {
    let inspect = |path: &str| {
        let ran = run(command([
            Path::new("inspect"),
            &fixture(path),
            Path::new("--json"),
        ]));
        let shown: Value = serde_json::from_str(&ran.stdout).unwrap();
        (shown["format"].clone(), shown["pir_version"].clone())
    };
    assert_eq!(inspect(VIT), (json!("PIR"), json!(4)));
    let legacy = inspect("paddle-2.6.2/vit/ViT_base_patch16_224");
    assert_eq!(legacy, (json!("ProgramDesc"), Value::Null));
}
