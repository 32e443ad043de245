//! Programs that are valid files and say nonsense: each is refused by one sentence that names the
//! op, and none makes anything panic or allocate without bound.
//!
//! The programs are those of `fixtures/paddle-2.6.2/ops/` with one thing changed.

#![cfg(feature = "cli")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use paddle2onnx::{ConvertOptions, Model};
use prost::Message;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use support::command::{command, is_refusal, names_in, run};
use support::fixture;
use support::framework::op_desc::{Attr, Slot};
use support::framework::{AttrType, BlockDesc, OpDesc, ProgramDesc, VarDesc};

/// An allocator that records the largest allocation, which a few damaged bytes must not dictate.
struct Watched;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

/// The largest allocation allowed, in bytes: well above what the fixtures need, and far below what hurts.
const LARGEST_ALLOWED: usize = 64 << 20;

#[global_allocator]
static ALLOCATOR: Watched = Watched;

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the same contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the same contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// A value to give to an attribute.
enum To {
    Int(i64),
    Float(f32),
    Text(&'static str),
    Ints(&'static [i64]),
}

use To::{Float, Int, Ints, Text};

/// One change to the op that a case is about, or to what surrounds it.
enum Change {
    /// Sets an attribute, whether it is there or not.
    Set(&'static str, To),
    /// Removes an attribute.
    Unset(&'static str),
    /// Removes an attribute's value, but not its name.
    Void(&'static str),
    /// Lets an input slot hold these variables.
    Read(&'static str, &'static [&'static str]),
    /// Lets an output slot hold these variables.
    Write(&'static str, &'static [&'static str]),
    /// Gives the first input other extents.
    Input(&'static [i64]),
    /// Any other change.
    Program(fn(&mut BlockDesc)),
}

use Change::{Input, Program, Read, Set, Unset, Void, Write};

/// What changes, and what the error must contain.
type Case = (&'static [Change], &'static [&'static str]);

/// A fixture, the type of the op in it that is changed, and the cases. The errors must contain the
/// op's type too, unless it is empty here.
type Group = (&'static str, &'static str, &'static [Case]);

fn attribute(name: &str, value: &To) -> Attr {
    let mut attr = Attr {
        name: name.to_owned(),
        ..Attr::default()
    };
    let kind = match value {
        Int(value) => {
            attr.l = Some(*value);
            AttrType::Long
        }
        Float(value) => {
            attr.f = Some(*value);
            AttrType::Float
        }
        Text(value) => {
            attr.s = Some((*value).to_owned());
            AttrType::String
        }
        Ints(values) => {
            attr.longs = values.to_vec();
            AttrType::Longs
        }
    };
    attr.set_type(kind);
    attr
}

impl Attr {
    fn set_type(&mut self, kind: AttrType) {
        self.r#type = kind.into();
    }
}

fn bind(slots: &mut Vec<Slot>, name: &str, variables: &[&str]) {
    slots.retain(|slot| slot.parameter != name);
    slots.push(Slot {
        parameter: name.to_owned(),
        arguments: variables.iter().map(ToString::to_string).collect(),
    });
}

fn op<'b>(block: &'b mut BlockDesc, kind: &str) -> &'b mut OpDesc {
    let found = block.ops.iter_mut().find(|op| op.r#type == kind);
    found.unwrap_or_else(|| panic!("no op `{kind}` in the fixture"))
}

fn var<'b>(block: &'b mut BlockDesc, name: &str) -> &'b mut VarDesc {
    let mut vars = block.vars.iter_mut();
    vars.find(|var| var.name == name).unwrap()
}

/// The variable that the first `feed` writes.
fn input(block: &mut BlockDesc) -> &mut VarDesc {
    let name = op(block, "feed").outputs[0].arguments[0].clone();
    let found = block.vars.iter_mut().find(|var| var.name == name);
    found.unwrap()
}

fn dims(variable: &mut VarDesc) -> &mut Vec<i64> {
    &mut variable.r#type.lod_tensor.as_mut().unwrap().tensor.dims
}

fn apply(block: &mut BlockDesc, kind: &str, change: &Change) {
    match change {
        Set(name, value) => {
            let attrs = &mut op(block, kind).attrs;
            attrs.retain(|attr| attr.name != *name);
            attrs.push(attribute(name, value));
        }
        Unset(name) => {
            let attrs = &mut op(block, kind).attrs;
            assert!(attrs.iter().any(|attr| attr.name == *name), "no `{name}`");
            attrs.retain(|attr| attr.name != *name);
        }
        Void(name) => {
            let mut attr = attribute(name, &Int(0));
            attr.l = None;
            let attrs = &mut op(block, kind).attrs;
            attrs.retain(|attr| attr.name != *name);
            attrs.push(attr);
        }
        Read(slot, variables) => bind(&mut op(block, kind).inputs, slot, variables),
        Write(slot, variables) => bind(&mut op(block, kind).outputs, slot, variables),
        Input(extents) => *dims(input(block)) = extents.to_vec(),
        Program(change) => change(block),
    }
}

/// What is wrong with how a case is refused; nothing if all is right.
fn complaint(name: &str, kind: &str, (changes, words): &Case) -> Option<String> {
    let source = fixture(&format!("paddle-2.6.2/ops/{name}.pdmodel"));
    let mut program = ProgramDesc::decode(fs::read(&source).unwrap().as_slice()).unwrap();
    for change in *changes {
        apply(&mut program.blocks[0], kind, change);
    }
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("m.pdmodel");
    fs::write(&model, program.encode_to_vec()).unwrap();
    let weights = source.with_extension("pdiparams");
    if weights.exists() {
        fs::copy(weights, folder.path().join("m.pdiparams")).unwrap();
    }
    let before = names_in(folder.path());
    let ran = run(command([Path::new("convert"), &model]));
    let message = ran.stderr.strip_prefix("error: ").unwrap_or_default();
    let op = format!("`{kind}`");
    let mut words = [&["/m.pd"], *words].concat();
    if !kind.is_empty() {
        words.push(&op);
    }
    let missing: Vec<&&str> = words
        .iter()
        .filter(|word| !message.contains(**word))
        .collect();
    let is_clean = names_in(folder.path()) == before;
    let is_right = ran.code == Some(2)
        && ran.stdout.is_empty()
        && message.find('\n') == Some(message.len().wrapping_sub(1))
        && missing.is_empty()
        && is_clean;
    (!is_right).then(|| format!("{name}, expecting {words:?} ({missing:?} missing): {ran}"))
}

fn refuses(groups: &[Group]) {
    let cases = groups
        .iter()
        .flat_map(|(name, kind, cases)| cases.iter().map(|case| complaint(name, kind, case)));
    let complaints: Vec<String> = cases.flatten().collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

// Skipped by rustfmt to keep one case on one line.
#[rustfmt::skip]
const TYPES: &[Group] = &[
    ("softmax/last", "softmax", &[
        (&[Set("axis", Text("last"))], &["`axis`", "a string (\"last\")", "an integer"]),
        (&[Set("axis", Float(1.5))], &["`axis`", "1.5", "an integer"]),
        (&[Void("axis")], &["`axis`", "no value"]),
        (&[Set("temperature", Float(2.0))], &["not known", "`temperature` = 2.0"]),
    ]),
    ("transpose/matrix", "transpose2", &[
        (&[Unset("axis")], &["`perm`", "missing"]),
        (&[Set("axis", Int(1))], &["`perm`", "a list of integers"]),
    ]),
    ("full/f32", "fill_constant", &[
        (&[Unset("dtype")], &["`dtype`", "missing"]),
        (&[Set("dtype", Int(99))], &["`dtype`", "99"]),
        (&[Set("str_value", Text("many"))], &["`str_value`", "\"many\""]),
        (&[Set("shape", Text("big"))], &["\"big\"", "no number"]),
    ]),
    ("cast/f32_to_i32", "cast", &[
        (&[Set("out_dtype", Int(-1))], &["`dtype`", "-1", "an element type"]),
    ]),
    ("conv2d/same", "conv2d", &[
        (&[Set("padding_algorithm", Text("FULL"))], &["padding_algorithm", "FULL"]),
        (&[Set("data_format", Text("CHWN"))], &["data_format", "CHWN"]),
    ]),
];

// Skipped by rustfmt to keep one case on one line.
#[rustfmt::skip]
const RANGES: &[Group] = &[
    ("softmax/last", "softmax", &[
        (&[Set("axis", Int(1_000_000_000))], &["axis 1000000000", "out of range"]),
        (&[Set("axis", Int(i64::MIN))], &["axis -9223372036854775808"]),
    ]),
    ("layer_norm/last_axis", "layer_norm", &[
        (&[Set("begin_norm_axis", Int(1_000_000_000))], &["1000000000"]),
    ]),
    ("lrn/plain", "lrn", &[
        (&[Set("n", Int(4))], &["4 channels", "odd"]),
        (&[Set("n", Int(0))], &["0 channels"]),
        (&[Set("n", Int(-1))], &["-1 channels"]),
    ]),
    ("flatten/middle", "flatten_contiguous_range", &[
        (&[Set("start_axis", Int(i64::MAX))], &["out of range"]),
        (&[Set("start_axis", Int(-1)), Set("stop_axis", Int(0))], &["flatten"]),
    ]),
    ("concat/three", "concat", &[
        (&[Set("axis", Int(1_000_000_000))], &["axis 1000000000"]),
    ]),
    ("stack/first", "stack", &[
        (&[Set("axis", Int(-1_000_000_000))], &["axis -1000000000"]),
    ]),
    ("squeeze/one", "squeeze2", &[
        (&[Set("axes", Ints(&[7]))], &["axis 7"]),
    ]),
    ("unsqueeze/one", "unsqueeze2", &[
        (&[Set("axes", Ints(&[0, 9]))], &["axis 9"]),
    ]),
    ("transpose/matrix", "transpose2", &[
        (&[Set("axis", Ints(&[0, 0]))], &["not a permutation", "[0, 0]"]),
        (&[Set("axis", Ints(&[0, 1, 2]))], &["axis 2"]),
    ]),
    ("reshape/infer", "reshape2", &[
        (&[Set("shape", Ints(&[-1, -1]))], &["can't reshape", "[-1, -1]"]),
        (&[Set("shape", Ints(&[0, 0, 0, 0, 0]))], &["kept"]),
        (&[Set("shape", Ints(&[-2, 3]))], &["-2"]),
    ]),
    ("expand/attribute", "expand_v2", &[
        (&[Set("shape", Ints(&[5]))], &["can't expand"]),
        (&[Set("shape", Ints(&[-7, -7, -7, -7]))], &["-7"]),
    ]),
    ("full/f32", "fill_constant", &[
        (&[Set("shape", Ints(&[-3]))], &["impossible shape [-3]"]),
        (&[Set("shape", Ints(&[1 << 40, 1 << 40]))], &["impossible shape [1099511627776, 1099511627776]"]),
    ]),
    ("assign_value/f32", "assign_value", &[
        (&[Set("shape", Ints(&[1 << 40, 1 << 40]))], &["elements"]),
        (&[Set("shape", Ints(&[-1]))], &["[-1]"]),
    ]),
    ("full_batch_size_like/first", "fill_constant_batch_size_like", &[
        (&[Set("output_dim_idx", Int(9))], &["axis 9"]),
        (&[Set("input_dim_idx", Int(9))], &["input_dim_idx 9"]),
    ]),
];

// Skipped by rustfmt to keep one case on one line.
#[rustfmt::skip]
const PARTS: &[Group] = &[
    ("conv2d/two_paddings", "conv2d", &[
        (&[Set("groups", Int(-2))], &["-2 groups"]),
        (&[Set("groups", Int(0))], &["0 groups"]),
        (&[Set("groups", Int(i64::MAX))], &["9223372036854775807 groups"]),
        (&[Set("groups", Int(1 << 30))], &["channels"]),
        (&[Set("strides", Ints(&[0, 1]))], &["strides [0, 1]"]),
        (&[Set("strides", Ints(&[1]))], &["strides [1]"]),
        (&[Set("dilations", Ints(&[1, -1]))], &["dilations [1, -1]"]),
        (&[Set("dilations", Ints(&[i64::MAX, i64::MAX]))], &["dilations"]),
        (&[Set("paddings", Ints(&[-1, 0]))], &["paddings [-1, 0]"]),
        (&[Set("paddings", Ints(&[i64::MAX, i64::MAX]))], &["padding"]),
        (&[Set("paddings", Ints(&[1, 2, 3]))], &["paddings [1, 2, 3]"]),
    ]),
    ("pool2d/max_dynamic", "pool2d", &[
        (&[Set("padding_algorithm", Text("SAME")), Set("strides", Ints(&[3, 1]))], &["SAME", "unknown extent"]),
    ]),
    ("strided_slice/back", "strided_slice", &[
        (&[Set("ends", Ints(&[7]))], &["backwards"]),
    ]),
    ("atan2/f32", "atan2", &[
        (&[Input(&[3, 8])], &["two shapes"]),
    ]),
    ("slice/one_axis", "", &[
        (&[Program(negative_extent)], &["`reshape2`", "-3, -4, -5"]),
    ]),
    ("slice/one_axis", "slice", &[
        (&[Set("starts", Ints(&[1, 2]))], &["2 starts"]),
        (&[Set("ends", Ints(&[]))], &["0 ends"]),
        (&[Set("axes", Ints(&[1_000_000_000]))], &["axis 1000000000"]),
        (&[Set("axes", Ints(&[1, 1])), Set("starts", Ints(&[0, 0])), Set("ends", Ints(&[2, 3]))], &["twice"]),
    ]),
    ("slice/index", "slice", &[
        (&[Set("decrease_axis", Ints(&[9]))], &["axis 9"]),
    ]),
    ("concat/three", "concat", &[
        (&[Read("X", &[])], &["`x`", "empty list"]),
    ]),
    ("stack/first", "stack", &[
        (&[Read("X", &[])], &["`x`", "empty list"]),
    ]),
    ("split/num", "split", &[
        (&[Set("num", Int(0)), Unset("sections")], &["`sections`", "missing"]),
        (&[Set("num", Int(0))], &["can't split"]),
        (&[Set("num", Int(-3))], &["-3 parts"]),
        (&[Set("num", Int(4))], &["4 equal parts"]),
        (&[Set("num", Int(1_000_000_000))], &["1000000000 parts"]),
        (&[Set("num", Int(2))], &["writes 3 variables", "2 results"]),
    ]),
    ("split/sections", "split", &[
        (&[Set("num", Int(0)), Set("sections", Ints(&[i64::MAX, i64::MAX]))], &["9223372036854775807"]),
        (&[Set("num", Int(0)), Set("sections", Ints(&[-1, -1, 2]))], &["can't split"]),
        (&[Set("num", Int(0)), Set("sections", Ints(&[]))], &["can't split"]),
    ]),
];

// Skipped by rustfmt to keep one case on one line.
#[rustfmt::skip]
const OPERANDS: &[Group] = &[
    ("softmax/last", "softmax", &[
        (&[Read("X", &[])], &["`X`", "0 tensors"]),
        (&[Read("X", &["x", "x"])], &["`X`", "2 tensors"]),
        (&[Read("X", &["nowhere"])], &["`nowhere`", "before anything writes it"]),
        (&[Read("X", &["softmax.tmp_0"])], &["`softmax.tmp_0`", "before anything"]),
        (&[Read("Mask", &["x"])], &["`Mask`", "not supported"]),
        (&[Write("Out", &["nowhere"])], &["`nowhere`", "not declared"]),
        (&[Program(|b| var(b, "softmax.tmp_0").r#type.r#type = 13)], &["`softmax.tmp_0`", "else than a dense tensor"]),
        (&[Write("Out", &["x", "softmax.tmp_0"])], &["writes 2 variables", "1 results"]),
    ]),
    ("matmul/plain", "matmul_v2", &[
        (&[Read("Y", &[])], &["`Y`", "0 tensors"]),
    ]),
    ("concat/three", "concat", &[
        (&[Input(&[7, 77])], &["operands of shapes"]),
        (&[Input(&[7])], &["operands of shapes"]),
    ]),
    ("stack/first", "stack", &[
        (&[Input(&[7, 77])], &["operands of shapes"]),
    ]),
    ("softmax/last", "softmax", &[
        (&[Input(&[1 << 40, 1 << 40, 4])], &["impossible shape"]),
    ]),
    ("matmul/plain", "matmul_v2", &[
        (&[Input(&[])], &["rank 0"]),
        (&[Input(&[7, 77])], &["77"]),
    ]),
    ("conv2d/two_paddings", "conv2d", &[
        (&[Input(&[4, 4])], &["rank 2"]),
        (&[Input(&[1, 77, 8, 8])], &["77 channels"]),
    ]),
    ("rnn/lstm", "rnn", &[
        (&[Set("mode", Text("ODD"))], &["`ODD`"]),
        (&[Set("num_layers", Int(-1))], &["-1 layers"]),
        (&[Set("num_layers", Int(i64::MAX))], &["4 weights"]),
        (&[Set("hidden_size", Int(i64::MAX))], &["units"]),
        (&[Set("hidden_size", Int(0))], &["0 units"]),
        (&[Read("PreState", &["h"])], &["1 states"]),
        (&[Read("WeightList", &["w00", "w01", "w02"])], &["3 weights"]),
        (&[Read("WeightList", &["w01", "w00", "w02", "w03"])], &["shape [28, 7] where [28, 5]"]),
        (&[Read("WeightList", &["h", "w00", "w02", "w03"])], &["where [28, 5]"]),
        (&[Input(&[3, 5])], &["shape [3, 5]"]),
    ]),
    ("rnn/lstm_dropout", "rnn", &[(&[Set("is_test", Int(0))], &["dropout", "evaluation mode"])]),
    ("viterbi_decode/ends", "viterbi_decode", &[(&[Read("Input", &["w"])], &["shape [5, 5]"])]),
    ("crf_decoding/f32", "crf_decoding", &[(&[Read("Length", &[])], &["without `length`", "LoD"])]),
    ("ctc_align/merged", "ctc_align", &[(&[Read("InputLength", &[])], &["without `input_length`", "LoD"])]),
    ("gather_tree/i64", "gather_tree", &[(&[Input(&[3, 5])], &["shape [3, 5]"])]),
    ("softmax/last", "", &[
        (&[Program(|b| b.vars.extend_from_within(..))], &["declared twice"]),
        (&[Program(|b| b.ops.retain(|op| op.r#type != "fetch"))], &["no `fetch` op"]),
        (&[Program(|b| op(b, "feed").attrs.clear())], &["`feed`", "column"]),
        (&[Program(|b| op(b, "fetch").inputs.clear())], &["`fetch`", "variable"]),
        (&[Program(|b| input(b).r#type.r#type = 13)], &["`x`", "not declared as a tensor"]),
        (&[Program(|b| input(b).persistable = Some(true))], &["1 weights", "--params"]),
    ]),
    ("conv2d/two_paddings", "", &[
        (&[Program(overflow)], &["m.pdiparams", "`filter`", "the program expects"]),
    ]),
];

#[test]
fn attributes_that_are_not_what_they_should_be() {
    refuses(TYPES);
}

#[test]
fn attributes_out_of_range() {
    refuses(RANGES);
}

#[test]
fn windows_slices_and_parts_that_can_not_be() {
    refuses(PARTS);
}

#[test]
fn operands_and_variables_that_do_not_fit() {
    refuses(OPERANDS);
}

/// Inserts a reshape to negative extents before the slice.
fn negative_extent(block: &mut BlockDesc) {
    let place = block
        .ops
        .iter()
        .position(|op| op.r#type == "slice")
        .unwrap();
    let mut copy = input(block).clone();
    copy.name = "y".to_owned();
    block.vars.push(copy);
    let mut reshape = OpDesc {
        r#type: "reshape2".to_owned(),
        ..OpDesc::default()
    };
    bind(&mut reshape.inputs, "X", &["x"]);
    bind(&mut reshape.outputs, "Out", &["y"]);
    reshape.attrs = vec![attribute("shape", &Ints(&[-3, -4, -5]))];
    bind(&mut block.ops[place].inputs, "Input", &["y"]);
    block.ops.insert(place, reshape);
}

/// Gives a weight so large a shape that the number of its elements overflows.
fn overflow(block: &mut BlockDesc) {
    let filter = block
        .vars
        .iter_mut()
        .find(|var| var.name == "filter")
        .unwrap();
    *dims(filter) = vec![i64::MAX; 4];
}

/// A `conditional_block` of the earliest releases runs if tensors have elements, which its attribute says by its absence.
#[test]
fn conditions_that_are_no_scalars() {
    let source = fixture("paddle-2.6.2/control_flow/if/inference.pdmodel");
    let mut program = ProgramDesc::decode(fs::read(source).unwrap().as_slice()).unwrap();
    let branch = op(&mut program.blocks[0], "conditional_block");
    branch
        .attrs
        .retain(|attr| attr.name != "is_scalar_condition");
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("m.pdmodel");
    fs::write(&model, program.encode_to_vec()).unwrap();
    let ran = run(command([Path::new("convert"), &model]));
    is_refusal(&ran, &["`conditional_block`", "its condition is no scalar"]);
}

/// Input shapes that no memory holds are legal until a run. To inspect and convert them must not allocate.
#[test]
fn huge_inputs_cost_nothing() {
    for extents in [
        vec![1 << 40, 1 << 40, 4],
        vec![1; 10_000],
        vec![i64::MAX; 3],
    ] {
        let source = fixture("paddle-2.6.2/ops/softmax/last.pdmodel");
        let mut program = ProgramDesc::decode(fs::read(source).unwrap().as_slice()).unwrap();
        *dims(input(&mut program.blocks[0])) = extents;
        use_damaged(
            &fixture("paddle-2.6.2/ops/softmax/last.pdmodel"),
            &program.encode_to_vec(),
        );
    }
    assert!(LARGEST.load(Ordering::Relaxed) <= LARGEST_ALLOWED);
}

/// Does all that can be done with a program without running it.
fn use_damaged(source: &Path, bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("damaged.pdmodel");
    fs::write(&program, bytes).unwrap();
    let weights = source.with_extension("pdiparams");
    let weights = weights.exists().then_some(weights);
    if let Ok(model) = Model::open(&program, weights.as_deref()) {
        let _ = model.summary();
        let output = folder.path().join("m.onnx");
        if model.convert(&output, &ConvertOptions::default()).is_err() {
            assert_eq!(names_in(folder.path()), ["damaged.pdmodel"]);
        }
    }
}

/// Flips bits and replaces bytes of programs, the same ones in every run.
#[test]
fn damaged_programs_never_panic() {
    let mut programs: Vec<PathBuf> = support::programs("paddle-2.6.2/ops");
    programs.push(fixture(
        "paddle-2.6.2/vit/ViT_small_patch16_224/inference.pdmodel",
    ));
    let sources: Vec<Vec<u8>> = programs
        .iter()
        .map(|path| fs::read(path).unwrap())
        .collect();
    let mut failures = Vec::new();
    for seed in 0..2000 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let chosen = below(&mut random, programs.len());
        let mut bytes = sources[chosen].clone();
        let region = damage_region(&bytes);
        for _ in 0..=below(&mut random, 4) {
            let place = below(&mut random, region);
            bytes[place] = if random.next_u32().is_multiple_of(2) {
                bytes[place] ^ (1 << below(&mut random, 8))
            } else {
                random.next_u32().to_le_bytes()[0]
            };
        }
        let work = AssertUnwindSafe(|| use_damaged(&programs[chosen], &bytes));
        if catch_unwind(work).is_err() {
            failures.push(format!("seed {seed}: {}", programs[chosen].display()));
        }
    }
    assert!(failures.is_empty(), "panics:\n{}", failures.join("\n"));
    let largest = LARGEST.load(Ordering::Relaxed);
    assert!(
        largest <= LARGEST_ALLOWED,
        "an allocation of {largest} bytes"
    );
}

/// How many of the bytes are worth damaging: behind them Paddle lists the versions of all its ops,
/// which nothing reads.
fn damage_region(bytes: &[u8]) -> usize {
    let versions = b"distribute_fpn_proposals";
    let start = bytes
        .windows(versions.len())
        // A program may have the op as well.
        .rposition(|window| window == versions);
    start.unwrap_or(bytes.len())
}

fn below(random: &mut ChaCha8Rng, limit: usize) -> usize {
    random.next_u32() as usize % limit
}
