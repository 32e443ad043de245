//! Branches and loops that contradict themselves, in both formats: each is refused by one sentence, soon, and without
//! running out of stack or memory.
//!
//! The programs are those of `fixtures/paddle-*/control_flow/` with blocks exchanged.

#![cfg(feature = "cli")]

mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use prost::Message;
use serde_json::{Value, json};
use support::command::{Ran, command, is_refusal, names_in, run};
use support::fixture;
use support::framework::{AttrType, BlockDesc, OpDesc, ProgramDesc};

/// Far above what a refusal takes in a debug build, and far below what nested blocks take that double at each level.
const LONGEST: Duration = Duration::from_secs(30);

/// Far above what a refusal takes in a debug build: the largest of the programs has 10,000 blocks.
const MOST_MEMORY: i64 = 512 << 20;

/// The peak memory in bytes of the largest process that this one has waited for.
fn peak_memory() -> i64 {
    // SAFETY: all zeros are a valid `rusage`, and `getrusage` writes nothing else.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage), 0);
        usage
    };
    // macOS counts bytes, all others kibibytes.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    usage.ru_maxrss * unit
}

/// Converts a program of these bytes, which must be refused soon, with little memory, and leave nothing behind.
fn convert(name: &str, bytes: &[u8]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let start = Instant::now();
    let ran = run(command([Path::new("convert"), &path]));
    assert!(start.elapsed() < LONGEST, "{:?}: {ran}", start.elapsed());
    assert!(peak_memory() < MOST_MEMORY, "{}: {ran}", peak_memory());
    assert_eq!(names_in(folder.path()), [name], "{ran}");
    ran
}

/// Refuses a `ProgramDesc` after `edit`.
fn refuses_desc(case: &str, edit: impl Fn(&mut ProgramDesc), words: &[&str]) {
    let source = fixture(&format!(
        "paddle-2.6.2/control_flow/{case}/inference.pdmodel"
    ));
    let mut program = ProgramDesc::decode(fs::read(source).unwrap().as_slice()).unwrap();
    edit(&mut program);
    is_refusal(&convert("m.pdmodel", &program.encode_to_vec()), words);
}

/// Refuses a program in PIR after `edit`.
fn refuses_pir(case: &str, edit: impl Fn(&mut Value), words: &[&str]) {
    let source = fixture(&format!("paddle-3.3.1/control_flow/{case}/inference.json"));
    let mut program: Value = serde_json::from_slice(&fs::read(source).unwrap()).unwrap();
    edit(&mut program);
    is_refusal(&convert("m.json", program.to_string().as_bytes()), words);
}

/// The first op of this type in a block.
fn op<'b>(block: &'b mut BlockDesc, kind: &str) -> &'b mut OpDesc {
    let found = block.ops.iter_mut().find(|op| op.r#type == kind);
    found.unwrap()
}

/// Makes an op hold another block.
fn hold(op: &mut OpDesc, number: usize) {
    let block = i32::from(AttrType::Block);
    let attr = op.attrs.iter_mut().find(|attr| attr.r#type == block);
    attr.unwrap().block_idx = Some(i32::try_from(number).unwrap());
}

/// Puts blocks into each other in place of all but the main block, each with `width` ops of this type, that hold the
/// next. The last is that of the first of these ops.
fn nest(program: &mut ProgramDesc, kind: &str, depth: usize, width: usize) {
    let holder = op(&mut program.blocks[0], kind).clone();
    let last = program.blocks.swap_remove(1);
    program.blocks.truncate(1);
    hold(op(&mut program.blocks[0], kind), 1);
    for number in 1..=depth {
        let mut block = BlockDesc {
            idx: i32::try_from(number).unwrap(),
            parent_idx: i32::try_from(number - 1).unwrap(),
            ..BlockDesc::default()
        };
        if number < depth {
            block.ops = vec![holder.clone(); width];
            let ops = block.ops.iter_mut();
            ops.for_each(|op| hold(op, number + 1));
        } else {
            block.vars.clone_from(&last.vars);
            block.ops.clone_from(&last.ops);
        }
        program.blocks.push(block);
    }
}

#[test]
fn blocks_deep_inside_of_each_other() {
    for (case, kind) in [("if", "conditional_block"), ("while", "while")] {
        let deep = |program: &mut ProgramDesc| nest(program, kind, 10_000, 1);
        let words = [
            "m.pdmodel",
            &format!("`{kind}`"),
            "inside of each other, more than 64 deep",
        ];
        refuses_desc(case, deep, &words);
    }
    let source = fixture("paddle-3.3.1/control_flow/if/inference.json");
    let text = fs::read_to_string(source).unwrap();
    let open =
        r##"{"#":"1.if","I":[{"%":1}],"O":[],"A":[],"regions":[{"blocks":[{"args":[],"ops":["##;
    let nested = format!("{}{}", open.repeat(10_000), "]}]}]}".repeat(10_000));
    let deep = text.replacen("\"ops\":[", &format!("\"ops\":[{nested},"), 1);
    assert!(deep.len() > text.len());
    let ran = convert("m.json", deep.as_bytes());
    is_refusal(&ran, &["m.json", "byte ", "recursion limit"]);
}

#[test]
fn blocks_that_several_ops_hold() {
    for (case, kind) in [("if", "conditional_block"), ("while", "while")] {
        for depth in [3, 60, 1000] {
            let shared = |program: &mut ProgramDesc| nest(program, kind, depth, 3);
            let fault = match depth {
                1000 => "more than 64 deep",
                _ => "which another op holds as well",
            };
            refuses_desc(case, shared, &[&format!("`{kind}`"), fault]);
        }
    }
}

#[test]
fn blocks_that_are_not_there() {
    for (case, kind) in [("if", "conditional_block"), ("while", "while")] {
        let words = [&format!("`{kind}`"), "holds a block that is not there"];
        for number in [0, 7, 1_000_000] {
            let elsewhere = |program: &mut ProgramDesc| {
                hold(op(&mut program.blocks[0], kind), number);
            };
            refuses_desc(case, elsewhere, &words);
        }
        let itself = |program: &mut ProgramDesc| {
            let mut copy = op(&mut program.blocks[0], kind).clone();
            hold(&mut copy, 1);
            program.blocks[1].ops.push(copy);
        };
        refuses_desc(case, itself, &words);
        let none = |program: &mut ProgramDesc| {
            let block = i32::from(AttrType::Block);
            let attrs = &mut op(&mut program.blocks[0], kind).attrs;
            attrs.retain(|attr| attr.r#type != block);
        };
        refuses_desc(case, none, &[&format!("`{kind}`"), "other than one block"]);
    }
}

#[test]
fn branches_that_do_not_write_what_is_selected() {
    let silent = |program: &mut ProgramDesc| program.blocks[1].ops.clear();
    refuses_desc("if", silent, &["`select_input`", "before anything"]);
    let twofold = |program: &mut ProgramDesc| {
        let out = &mut op(&mut program.blocks[0], "select_input").outputs[0];
        out.arguments.extend_from_within(..);
    };
    refuses_desc("if", twofold, &["`Out` holds 2 variables"]);
    let undeclared = |program: &mut ProgramDesc| {
        let last = program.blocks[1].ops.last_mut().unwrap();
        last.outputs[0].arguments = vec!["nowhere".to_owned()];
    };
    refuses_desc("if", undeclared, &["`nowhere`", "not declared"]);
}

#[test]
fn loops_that_redefine_what_they_carry() {
    // A variable of the block's own hides the condition, which no round changes then.
    let hidden = |program: &mut ProgramDesc| {
        let condition = op(&mut program.blocks[0], "while").inputs[0].arguments[0].clone();
        let vars = program.blocks[0].vars.iter();
        let vars: Vec<_> = vars.filter(|var| var.name == condition).cloned().collect();
        program.blocks[1].vars.extend(vars);
    };
    refuses_desc(
        "while",
        hidden,
        &["`while`", "no round writes its condition"],
    );
    let twice = |program: &mut ProgramDesc| {
        let vars = program.blocks[1].vars.clone();
        program.blocks[1].vars.extend(vars);
    };
    refuses_desc("while", twice, &["declared twice"]);
}

/// The first op of this name in the main block.
fn pir_op<'p>(program: &'p mut Value, name: &str) -> &'p mut Value {
    let ops = &mut program["program"]["regions"][0]["blocks"][0]["ops"];
    let mut ops = ops.as_array_mut().unwrap().iter_mut();
    ops.find(|op| op["#"] == name).unwrap()
}

/// The block of the first op of this name.
fn inner<'p>(program: &'p mut Value, name: &str) -> &'p mut Value {
    &mut pir_op(program, name)["regions"][0]["blocks"][0]
}

fn list<'v>(value: &'v mut Value, key: &str) -> &'v mut Vec<Value> {
    value[key].as_array_mut().unwrap()
}

#[test]
fn blocks_without_an_end_or_with_two() {
    let endless = |program: &mut Value| {
        list(inner(program, "1.while"), "ops").pop();
    };
    let words = ["`while`", "carries 2 values", "takes 2 and returns 0"];
    refuses_pir("while", endless, &words);
    for (case, name) in [("if", "1.if"), ("while", "1.while")] {
        let twice = |program: &mut Value| {
            let ops = list(inner(program, name), "ops");
            let end = ops.last().unwrap().clone();
            ops.insert(0, end);
        };
        refuses_pir(case, twice, &["behind its `cf.yield`"]);
        let joined = |program: &mut Value| {
            let blocks = list(&mut pir_op(program, name)["regions"][0], "blocks");
            blocks.extend_from_within(..);
        };
        refuses_pir(case, joined, &["region of several blocks"]);
    }
}

#[test]
fn more_results_than_blocks_return() {
    for (case, name, words) in [
        ("if", "1.if", ["`if`", "a branch returns 1 values"]),
        ("while", "1.while", ["`while`", "it has 3 results"]),
    ] {
        let more = |program: &mut Value| {
            let results = list(pir_op(program, name), "O");
            let mut result = results[0].clone();
            result["%"] = json!(9999);
            results.push(result);
        };
        refuses_pir(case, more, &words);
    }
    let yields = |program: &mut Value| {
        let end = list(inner(program, "1.if"), "ops").last_mut().unwrap();
        list(end, "I").extend_from_within(..);
    };
    refuses_pir("if", yields, &["`if`", "a branch returns 2 values"]);
}

#[test]
fn blocks_that_redefine_numbers() {
    let arguments = |program: &mut Value| {
        let args = list(inner(program, "1.while"), "args");
        args[1] = args[0].clone();
    };
    refuses_pir("while", arguments, &["`while`", "is defined twice"]);
    let results = |program: &mut Value| {
        let number = inner(program, "1.while")["args"][0]["#"].clone();
        let ops = list(inner(program, "1.while"), "ops");
        ops[0]["O"][0]["%"] = number;
    };
    refuses_pir("while", results, &["is defined twice"]);
    let itself = |program: &mut Value| {
        let number = pir_op(program, "1.while")["O"][0]["%"].clone();
        let ops = list(inner(program, "1.while"), "ops");
        list(ops.last_mut().unwrap(), "I")[1]["%"] = number;
    };
    refuses_pir(
        "while",
        itself,
        &["`cf.yield`", "nothing before it defines"],
    );
}
