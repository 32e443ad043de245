//! Inputs: drawn at random, read from NumPy's files, or made of pictures.

#![cfg(feature = "verify")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use ndarray_npy::write_npy;
use paddle2onnx::Model;
use paddle2onnx::operator::Precision;
use paddle2onnx::tensor::{DType, Tensor};
use paddle2onnx::verify::inputs::{Set, sets};
use paddle2onnx::verify::{Distribution, ImageInputs, Inputs, RandomInputs, Range, read_npz};
use support::{OP_FOLDERS, fixture, programs};

const VIT: &str = "paddle-2.6.2/vit/ViT_base_patch16_224";

fn model(path: &str) -> Model {
    Model::open(&fixture(path), None).unwrap()
}

fn op(name: &str) -> Model {
    model(&format!("paddle-2.6.2/ops/{name}.pdmodel"))
}

/// A network whose inputs are open in more than the batch.
fn network(name: &str) -> Model {
    model(&format!("paddle-2.6.2/inputs/{name}"))
}

fn drawn(model: &Model, wish: RandomInputs) -> Vec<Set> {
    sets(model, &Inputs::Random(wish)).unwrap()
}

/// The message of the error for inputs that are refused.
fn refused(model: &Model, inputs: &Inputs) -> String {
    sets(model, inputs).unwrap_err().to_string()
}

fn shaped(shapes: &[(&str, &[usize])]) -> RandomInputs {
    let named = shapes.iter();
    RandomInputs {
        shapes: named
            .map(|(name, shape)| ((*name).to_owned(), shape.to_vec()))
            .collect(),
        ..RandomInputs::default()
    }
}

fn ranged(ranges: &[(&str, &str)]) -> RandomInputs {
    let named = ranges.iter();
    RandomInputs {
        ranges: named
            .map(|(name, range)| ((*name).to_owned(), range.parse::<Range>().unwrap()))
            .collect(),
        ..RandomInputs::default()
    }
}

fn shapes(sets: &[Set]) -> Vec<Vec<&[usize]>> {
    sets.iter()
        .map(|set| set.tensors.iter().map(|(_, t)| t.shape()).collect())
        .collect()
}

fn labels(sets: &[Set]) -> Vec<&str> {
    sets.iter().map(|set| set.label.as_str()).collect()
}

/// The numbers that a seed gives must never change, since recorded reports must stay comparable.
#[test]
fn a_seed_gives_the_same_numbers_forever() {
    let first = |wish| {
        let sets = drawn(&op("scale/plain"), wish);
        sets[0].tensors[0].1.to_f64_vec()[..3].to_vec()
    };
    let wish = shaped(&[("x", &[1, 3, 2])]);
    let normal = [1.3456858396530151, 0.8177695870399475, 0.5449939370155334];
    assert_eq!(first(wish.clone()), normal);
    let uniform = RandomInputs {
        distribution: Distribution::Uniform,
        ..wish
    };
    let numbers = [0.7844933867454529, 0.7555310130119324, 0.43489933013916016];
    assert_eq!(first(uniform), numbers);
    let sets = drawn(&op("add/i64"), RandomInputs::default());
    assert_eq!(sets[0].tensors[1].1.to_i64_vec(), [4, 1, 0, 0, 3]);
}

#[test]
fn a_batch_does_not_depend_on_others() {
    let vit = model(VIT);
    let batches = |batches: &[usize]| {
        drawn(
            &vit,
            RandomInputs {
                batches: batches.to_vec(),
                ..RandomInputs::default()
            },
        )
    };
    let (all, alone) = (batches(&[1, 2, 5]), batches(&[5]));
    assert_eq!(labels(&all), ["batch 1", "batch 2", "batch 5"]);
    assert_eq!(all[2].tensors, alone[0].tensors);
    let shaped = drawn(&vit, shaped(&[("x", &[5, 3, 32, 32])]));
    assert_eq!(labels(&shaped), ["x=5x3x32x32"]);
    assert_eq!(shaped[0].tensors, alone[0].tensors);
}

#[test]
fn shapes_are_matched_by_position() {
    let model = op("concat/middle_axis");
    let wish = shaped(&[
        ("x", &[1, 3, 5]),
        ("y", &[1, 2, 5]),
        ("y", &[4, 7, 5]),
        ("x", &[4, 3, 5]),
    ]);
    let sets = drawn(&model, wish);
    assert_eq!(labels(&sets), ["x=1x3x5, y=1x2x5", "x=4x3x5, y=4x7x5"]);
    assert_eq!(
        shapes(&sets),
        [[&[1, 3, 5], &[1, 2, 5]], [&[4, 3, 5], &[4, 7, 5]]]
    );
}

/// A single shape of an input serves all runs. Inputs without a given shape take the batch sizes.
#[test]
fn shapes_and_batches_go_together() {
    let model = network("picked");
    let wish = RandomInputs {
        batches: vec![2, 3],
        ..shaped(&[("x", &[6, 8])])
    };
    let sets = drawn(&model, wish);
    assert_eq!(labels(&sets), ["x=6x8, batch 2", "x=6x8, batch 3"]);
    assert_eq!(shapes(&sets), [[&[6, 8][..], &[2]], [&[6, 8], &[3]]]);
    let twice = shaped(&[("x", &[6, 8]), ("x", &[9, 8]), ("dst", &[4])]);
    assert_eq!(
        shapes(&drawn(&model, twice)),
        [[&[6, 8][..], &[4]], [&[9, 8], &[4]]]
    );
}

/// Sizes are chosen for what is open beside the batch: two of them, other ones in each run where the network allows it.
#[test]
fn sizes_are_found_for_open_extents() {
    for (name, expected) in [
        ("pyramid", ["x=1x3x64x96", "x=3x3x96x160"]),
        ("squares", ["x=1x3x32x32", "x=3x3x32x32"]),
        ("detector", ["image=1x3x64x96", "image=3x3x96x160"]),
        (
            "masked",
            [
                "ids=1x7, attention_mask=1x1x7x7",
                "ids=3x12, attention_mask=3x1x12x12",
            ],
        ),
        ("picked", ["batch 1", "batch 3"]),
    ] {
        let sets = drawn(&network(name), RandomInputs::default());
        assert_eq!(labels(&sets), expected, "{name}");
    }
    let batches = |batches: &[usize], sizes| {
        let wish = RandomInputs {
            batches: batches.to_vec(),
            sizes,
            ..RandomInputs::default()
        };
        let sets = drawn(&network("pyramid"), wish);
        sets.into_iter().map(|set| set.label).collect::<Vec<_>>()
    };
    assert_eq!(batches(&[2], 2), ["x=2x3x64x96", "x=2x3x96x160"]);
    assert_eq!(
        batches(&[2, 5, 4], 2),
        ["x=2x3x64x96", "x=5x3x96x160", "x=4x3x64x96"]
    );
    // As `bench` asks for them, whose measurements are to be comparable.
    assert_eq!(batches(&[1, 4], 1), ["x=1x3x64x96", "x=4x3x64x96"]);
}

/// What is open in some inputs follows from the shapes of others.
#[test]
fn sizes_fit_the_shapes_that_are_given() {
    let sets = drawn(&network("masked"), shaped(&[("ids", &[2, 9])]));
    let expected: [&[usize]; 3] = [&[2, 9], &[2, 1, 9, 9], &[2]];
    assert_eq!(shapes(&sets), [expected]);
    let said = refused(
        &network("pyramid"),
        &Inputs::Random(shaped(&[("x", &[1, 3, 48, 80])])),
    );
    for words in ["elementwise_add", "`x` [1, 3, 48, 80]", "--shape x="] {
        assert!(said.contains(words), "`{words}` is missing: {said}");
    }
    // No length is 5 and 6.
    let mask = shaped(&[("attention_mask", &[2, 1, 5, 6])]);
    let said = refused(&network("masked"), &Inputs::Random(mask));
    for words in [
        "elementwise_add",
        "no size was found",
        "others are refused",
        "--shape ids=2x",
    ] {
        assert!(said.contains(words), "`{words}` is missing: {said}");
    }
}

/// Companions get numbers that a network can take.
#[test]
fn companions_are_sane() {
    let named = |set: &Set, name: &str| -> Vec<f64> {
        let (_, tensor) = set.tensors.iter().find(|(other, _)| other == name).unwrap();
        tensor.to_f64_vec()
    };
    let sets = drawn(&network("detector"), RandomInputs::default());
    assert_eq!(named(&sets[0], "im_shape"), [64.0, 96.0]);
    assert_eq!(
        named(&sets[1], "im_shape"),
        [96.0, 160.0, 96.0, 160.0, 96.0, 160.0]
    );
    assert_eq!(named(&sets[1], "scale_factor"), [1.0; 6]);
    for set in drawn(&network("masked"), RandomInputs::default()) {
        let length = set.tensors[0].1.shape()[1];
        let lengths = named(&set, "lengths");
        assert!(
            lengths.iter().all(|x| (1.0..=length as f64).contains(x)),
            "{lengths:?}"
        );
        for row in named(&set, "attention_mask").chunks(length) {
            assert_eq!((row[0], row[length - 1]), (1.0, 0.0));
            assert!(row.iter().all(|x| *x == 0.0 || *x == 1.0), "{row:?}");
        }
    }
    // Rows of an input whose number is open.
    let wish = RandomInputs {
        batches: vec![40],
        ..shaped(&[("x", &[6, 8])])
    };
    let picked = named(&drawn(&network("picked"), wish)[0], "dst");
    assert_eq!(picked.iter().copied().fold(0.0, f64::max), 5.0);
}

#[test]
fn options_without_effect_are_noted() {
    let notes = |name: &str, batches: &[usize]| {
        let wish = RandomInputs {
            batches: batches.to_vec(),
            ..RandomInputs::default()
        };
        let sets = drawn(&op(name), wish);
        sets.into_iter()
            .flat_map(|set| set.notes)
            .collect::<Vec<_>>()
    };
    assert_eq!(notes("divide/i32_signs", &[]), [""; 0]);
    let noted = notes("divide/i32_signs", &[2]);
    assert!(
        noted.len() == 1 && noted[0].contains("--batch"),
        "{noted:?}"
    );
    assert_eq!(notes("scale/plain", &[2]), [""; 0]);
}

/// Ids of an embedding are rows of its table, of which there are nine.
#[test]
fn indices_fit_what_they_pick_from() {
    for (name, shape) in [
        ("embedding/plain", &[40, 3][..]),
        ("embedding/first", &[90, 1]),
        ("embedding/first_padding", &[30, 3, 1]),
    ] {
        let sets = drawn(&op(name), shaped(&[("x", shape)]));
        let ids = sets[0].tensors[0].1.to_i64_vec();
        assert_eq!(ids.iter().max(), Some(&8), "{name}");
        assert_eq!(ids.iter().min(), Some(&0), "{name}");
    }
}

/// Where all shapes are fixed, there is one run, since a batch size would make no difference.
#[test]
fn fixed_shapes_are_one_run() {
    let found = |name| drawn(&op(name), RandomInputs::default());
    let sets = found("divide/i32_signs");
    assert_eq!(labels(&sets), ["x=9, y=9"]);
    assert_eq!(labels(&found("stack/scalars")), ["x=scalar, y=scalar"]);
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let model = op("concat/middle_axis");
    for (wish, words) in [
        (
            shaped(&[("z", &[1, 3, 5])]),
            &["`z`", "--shape", "x, y"][..],
        ),
        (
            shaped(&[("x", &[1, 4, 5])]),
            &["`x`", "[x_dim0, 3, 5]", "[1, 4, 5]"],
        ),
        (shaped(&[("x", &[1, 3])]), &["`x`", "[1, 3]"]),
        (
            shaped(&[
                ("x", &[1, 3, 5]),
                ("x", &[2, 3, 5]),
                ("y", &[1, 3, 5]),
                ("y", &[1, 3, 5]),
                ("y", &[1, 3, 5]),
            ]),
            &["`x`", "2 shapes", "3"],
        ),
        (
            shaped(&[("x", &[usize::MAX, 3, 5]), ("y", &[1, 1, 5])]),
            &["`x`", "memory"],
        ),
        (ranged(&[("z", "0..1")]), &["`z`", "--range"]),
    ] {
        let said = refused(&model, &Inputs::Random(wish));
        for word in words {
            assert!(said.contains(word), "`{word}` is missing: {said}");
        }
    }
}

#[test]
fn ranges_hold_every_number() {
    let values = |name: &str, range: &str| {
        let wish = RandomInputs {
            batches: vec![40],
            ..ranged(&[("x", range)])
        };
        let sets = drawn(&op(name), wish);
        let (_, tensor) = &sets[0].tensors[0];
        let values = tensor.to_f64_vec();
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (tensor.dtype(), low, high)
    };
    let (dtype, low, high) = values("add/f64", "-1.5..2");
    assert!(dtype == DType::F64 && (-1.5..-1.3).contains(&low) && (1.8..2.0).contains(&high));
    // The range of integers includes its start, and excludes its end.
    assert_eq!(values("add/i32", "-3..4"), (DType::I32, -3.0, 3.0));
    assert_eq!(values("add/i64", "7..8"), (DType::I64, 7.0, 7.0));
    assert_eq!(
        values("cast/u8_to_f32", "250..256"),
        (DType::U8, 250.0, 255.0)
    );
    assert_eq!(values("cast/bool_to_f32", "1..2"), (DType::Bool, 1.0, 1.0));
    let (_, low, high) = values("add/i64", "-9e15..9e15");
    assert!(low < -8e15 && high > 8e15, "{low} {high}");
}

#[test]
fn ranges_that_a_type_does_not_hold_are_refused() {
    for (name, range, word) in [
        ("add/i64", "0.5..2", "whole"),
        ("add/i64", "0..1e16", "whole"),
        ("add/i32", "0..3e9", "2999999999"),
        ("cast/u8_to_f32", "-1..3", "-1"),
        ("cast/bool_to_f32", "0..3", "2"),
    ] {
        let said = refused(&op(name), &Inputs::Random(ranged(&[("x", range)])));
        assert!(
            said.contains(word) && said.contains("`x`"),
            "{name}: {said}"
        );
    }
}

#[test]
fn a_single_array_is_enough_for_a_single_input() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    write_npy(&path, &ndarray::arr2(&[[1_i64, 2, 3]])).unwrap();
    let inputs = Inputs::Files(vec![path.clone()]);
    let found = sets(&op("assign/i64"), &inputs).unwrap();
    let expected = Tensor::from_elements(&[1, 3], vec![1_i64, 2, 3]).unwrap();
    assert_eq!(found[0].tensors, [("x".to_owned(), expected)]);
    let said = refused(&op("add/i64"), &inputs);
    assert!(said.contains(".npz") && said.contains("x, y"), "{said}");
    for (bytes, word) in [(&b"not an array"[..], "damaged"), (b"", "damaged")] {
        fs::write(&path, bytes).unwrap();
        let said = refused(&op("assign/i64"), &inputs);
        assert!(said.contains(word) && said.contains("x.npy"), "{said}");
    }
    let missing = Inputs::Files(vec![folder.path().join("none.npy")]);
    assert!(refused(&op("assign/i64"), &missing).contains("none.npy"));
}

fn picture(name: &str) -> PathBuf {
    fixture("images").join(name)
}

fn prepared(model: &Model, images: ImageInputs) -> Tensor {
    let mut found = sets(model, &Inputs::Images(images)).unwrap();
    found.remove(0).tensors.remove(0).1
}

/// The settings with which PaddleClas' own operators prepared a picture, by the name of the recorded array.
fn settings(path: &Path) -> [(&'static str, ImageInputs); 3] {
    let imagenet = ImageInputs::new(vec![path.to_path_buf()]);
    let half = ImageInputs {
        mean: [0.5; 3],
        std: [0.5; 3],
        ..imagenet.clone()
    };
    let whole = ImageInputs {
        resize_short: Some(32),
        ..half.clone()
    };
    [("imagenet", imagenet), ("half", half), ("whole", whole)]
}

#[test]
fn pictures_are_prepared_as_paddleclas_does() {
    let vit = model(VIT);
    for name in ["wide.png", "high.png"] {
        let path = picture(name);
        for (array, images) in settings(&path) {
            let golden = read_npz(&picture(&format!("{name}.npz")), &[array]).unwrap();
            assert!(
                prepared(&vit, images) == golden[0],
                "{name}, {array}: not the same to the bit"
            );
        }
    }
}

/// JPEG decoders may round differently, so that these arrays are only close.
#[test]
fn photographs_are_nearly_what_paddleclas_makes() {
    let path = picture("wide.jpg");
    for (array, images) in settings(&path) {
        let golden = &read_npz(&picture("wide.jpg.npz"), &[array]).unwrap()[0];
        let unit = f64::from(1.0 / (255.0 * images.std[2]));
        let found = prepared(&model(VIT), images);
        assert_eq!(found.shape(), golden.shape());
        let pairs = found.to_f64_vec().into_iter().zip(golden.to_f64_vec());
        let largest = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(largest < 4.0 * unit, "{array}: {} units", largest / unit);
    }
}

#[test]
fn open_sizes_are_cropped_to_what_is_asked_for() {
    let images = ImageInputs {
        crop: Some(20),
        ..ImageInputs::new(vec![picture("wide.png")])
    };
    let nchw = op("transpose/old_four_dims");
    assert_eq!(prepared(&nchw, images).shape(), [1, 3, 20, 20]);
}

#[test]
fn pictures_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let damaged = folder.path().join("damaged.png");
    let mut bytes = fs::read(picture("wide.png")).unwrap();
    bytes.truncate(1000);
    fs::write(&damaged, bytes).unwrap();
    let text = folder.path().join("text.png");
    fs::write(&text, "no picture").unwrap();
    let small = ImageInputs {
        resize_short: Some(31),
        ..ImageInputs::new(vec![picture("wide.png")])
    };
    let of = |path: &Path| ImageInputs::new(vec![path.to_path_buf()]);
    let wide = of(&picture("wide.png"));
    for (model, images, words) in [
        (model(VIT), small, &["--resize-short", "wide.png"][..]),
        (model(VIT), of(&damaged), &["damaged.png", "PNG"]),
        (model(VIT), of(&text), &["text.png", "PNG"]),
        (model(VIT), of(Path::new("none.png")), &["none.png", "open"]),
        (op("add/i64"), wide.clone(), &["one input", "2"]),
        (op("scale/plain"), wide.clone(), &["`x`", "RGB"]),
        (op("transpose/old_four_dims"), wide, &["--crop"]),
    ] {
        let said = refused(&model, &Inputs::Images(images));
        for word in words {
            assert!(said.contains(word), "`{word}` is missing: {said}");
        }
    }
}

/// Cases that are refused at the inputs that are chosen, and why.
const REFUSED: &[(&str, &str)] = &[
    // Three inputs or four, with states and lengths among them, have to have a common extent on different axes.
    ("cudnn_lstm/both_ways", "no size was found"),
    ("rnn/gru_both_ways", "no size was found"),
    ("rnn/gru_f64", "no size was found"),
    ("rnn/gru_none", "no size was found"),
    ("rnn/lstm_both_ways", "no size was found"),
    ("rnn/lstm_f64", "no size was found"),
    ("rnn/lstm_lengths", "no size was found"),
    ("rnn/lstm_none", "no size was found"),
    ("rnn/relu_both_ways", "no size was found"),
    ("rnn/relu_f64", "no size was found"),
    ("rnn/relu_none", "no size was found"),
    ("rnn/tanh_both_ways", "no size was found"),
    ("rnn/tanh_f64", "no size was found"),
    ("rnn/tanh_none", "no size was found"),
    // Two inputs have to have a common extent, which is found out in a run alone.
    (
        "cross_entropy_with_softmax/axis",
        "more indices than elements",
    ),
    ("cross_entropy_with_softmax/soft", "do not broadcast"),
    ("deformable_conv/both_groups", "another number of windows"),
    ("deformable_conv/dynamic", "another number of windows"),
    ("deformable_conv/native_layer", "another number of windows"),
    (
        "deformable_conv/v1_both_groups",
        "another number of windows",
    ),
    ("deformable_conv/v1_dynamic", "another number of windows"),
    // Random matrices are not what can be decomposed.
    ("cholesky/f64", "positive definite"),
    ("cholesky/large", "positive definite"),
    ("cholesky/large_upper", "positive definite"),
    ("cholesky/lower", "positive definite"),
    ("cholesky/matrix", "positive definite"),
    ("cholesky/native_f64", "positive definite"),
    ("cholesky/native_large", "positive definite"),
    ("cholesky/native_large_upper", "positive definite"),
    ("cholesky/native_lower", "positive definite"),
    ("cholesky/native_matrix", "positive definite"),
    ("cholesky/native_upper", "positive definite"),
    ("cholesky/upper", "positive definite"),
    // Rows of two inputs belong together.
    ("box_coder/decode_attribute", "with priors"),
    ("box_coder/native_function", "with priors"),
    ("generate_proposals/dynamic", "that do not fit"),
    ("generate_proposals/native_function", "that do not fit"),
    ("matrix_nms/dynamic", "another number of boxes"),
    ("rms_norm/first_residual", "do not broadcast"),
    ("rms_norm/native_residual", "do not broadcast"),
    ("scatter/i32_index", "45 elements for 5 slices"),
    ("scatter/native_overwrite", "45 elements for 5 slices"),
    ("scatter/native_sum", "45 elements for 5 slices"),
    ("scatter/overwrite", "45 elements for 5 slices"),
    ("scatter/overwrite_twice", "45 elements for 5 slices"),
    ("scatter/sum", "45 elements for 5 slices"),
    ("scatter_nd_add/rows", "45 elements for 5 slices"),
    ("scattered/select_scatter_first", "does not fit"),
    ("setitem/ranges", "does not fit"),
    // Counts that are drawn for another number of boxes.
    ("collect_fpn_proposals/all", "of which images have"),
    ("collect_fpn_proposals/some", "of which images have"),
    ("collect_fpn_proposals/ties", "of which images have"),
    // Indices that the program computes from an input, or has for a larger batch.
    ("gather_nd/native_apart", "the index"),
    ("gather_nd/native_two_indices", "the index"),
    ("getitem/ids_apart", "the index"),
    ("getitem/ids_together", "the index"),
    ("getitem/list", "the index 1 of 1"),
    ("getitem/rows_of_each", "the index"),
    ("getitem/two_lists", "the index 1 of 1"),
    ("scattered/take", "the index"),
    // Extents that an input gives, whose sum or product is another extent.
    // Numbers of rows, which come from `lu`.
    ("lu_unpack/large", "a row that there is not"),
    ("lu_unpack/native_large", "a row that there is not"),
    ("lu_unpack/native_square", "a row that there is not"),
    ("lu_unpack/native_tall", "a row that there is not"),
    ("lu_unpack/native_wide", "a row that there is not"),
    ("lu_unpack/square", "a row that there is not"),
    ("lu_unpack/tall", "a row that there is not"),
    ("lu_unpack/wide", "a row that there is not"),
    ("reshape/native_input_shape", "can't reshape"),
    ("split/computed", "can't split"),
    ("split/computed_rest", "can't split"),
    ("turned/unflatten_tensor", "can't reshape"),
];

/// What stands in the way of a run at the inputs that are chosen if nothing is asked for.
fn refusal(program: &Path) -> Option<String> {
    let model = Model::open(program, None).ok()?;
    // What can't be read can't be run either.
    let reference = model.reference(Precision::Single).ok()?;
    let run = || {
        for set in sets(&model, &Inputs::Random(RandomInputs::default()))? {
            reference.run(&set.tensors)?;
        }
        Ok::<(), paddle2onnx::Error>(())
    };
    let error = run().err()?;
    let name: Vec<_> = program.iter().rev().take(2).collect();
    let name = Path::new(name[1]).join(Path::new(name[0]).with_extension(""));
    Some(format!("{}: {error}", name.display()))
}

/// Every case of every op runs without options, except for those that need inputs of which shapes say nothing.
#[test]
fn inputs_are_found_for_every_program() {
    let mut all: Vec<PathBuf> = OP_FOLDERS
        .iter()
        .flat_map(|folder| programs(folder))
        .collect();
    for folder in ["vit", "transformers", "recurrent", "inputs"] {
        all.extend(programs(&format!("paddle-2.6.2/{folder}")));
        all.extend(programs(&format!("paddle-3.3.1/{folder}")));
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut found: Vec<String> = std::thread::scope(|scope| {
        let parts = all.chunks(all.len().div_ceil(threads)).map(|part| {
            scope.spawn(|| {
                part.iter()
                    .filter_map(|path| refusal(path))
                    .collect::<Vec<_>>()
            })
        });
        let parts: Vec<_> = parts.collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().unwrap())
            .collect()
    });
    found.sort();
    // Reductions over nothing are another matter than inputs.
    found.retain(|text| !text.contains("a reduction over no elements"));
    let is_listed = |text: &&String| {
        let mut listed = REFUSED.iter();
        listed.any(|(name, words)| text.starts_with(&format!("{name}: ")) && text.contains(words))
    };
    let (listed, others): (Vec<&String>, Vec<&String>) = found.iter().partition(is_listed);
    assert!(
        others.is_empty(),
        "{} of {}: {others:#?}",
        others.len(),
        all.len()
    );
    for (name, _) in REFUSED {
        let starts = |text: &&String| text.starts_with(&format!("{name}: "));
        assert!(
            listed.iter().copied().any(|text| starts(&text)),
            "{name} runs now"
        );
    }
}
