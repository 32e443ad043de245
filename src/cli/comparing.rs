//! The arguments that say what to compare, with which inputs, and how closely.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;
use paddle2onnx::runtime::OnnxRuntime;
use paddle2onnx::verify::{
    DEFAULT_SEED, Distribution, ImageInputs, Inputs, RandomInputs, Range, Tolerance, VerifyOptions,
};

use super::loudness::is_verbose;
use super::outcome::Result;

/// What to compare, and how closely.
///
/// Every argument belongs to one of the parts, whose groups `convert` ties to --verify. One that stood
/// here directly would be in no group: clap leaves the group of a struct with flattened parts empty.
#[derive(clap::Args)]
#[command(mut_group("Preparing", |group| group.requires("image")))]
pub(super) struct Comparing {
    #[command(flatten)]
    random: Random,

    #[command(flatten)]
    given: Given,

    #[command(flatten)]
    preparing: Preparing,

    #[command(flatten)]
    judging: Judging,
}

/// The arguments of [`Random`], which mean nothing for inputs that are given.
const RANDOM: [&str; 5] = ["batch", "shape", "seed", "distribution", "range"];

/// Which inputs to draw at random.
#[derive(clap::Args)]
pub(super) struct Random {
    /// The batch sizes of runs on random inputs [default: 1,3]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    batch: Vec<NonZeroUsize>,

    /// The shape of an input, as in x=1x3x224x224; repeat it for more runs, or for other inputs [default:
    /// small ones that the model takes]
    #[arg(long, value_name = "INPUT=SHAPE")]
    shape: Vec<Named<Shape>>,

    /// The seed of the random inputs [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// How random floating-point numbers are distributed: normal around 0, or uniform from 0 to 1
    /// [default: normal]
    #[arg(long, value_name = "NAME", value_enum, hide_possible_values = true)]
    distribution: Option<RandomKind>,

    /// The range of an input's random numbers, as in ids=0..1000; integers stay below its end
    #[arg(long, value_name = "INPUT=LOW..HIGH")]
    range: Vec<Named<Range>>,
}

/// Which inputs to take instead of random ones.
#[derive(clap::Args)]
struct Given {
    /// Inputs instead of random ones: one .npz per run, with one array per input; or a .npy, for a
    /// model with one input
    #[arg(long, value_name = "FILE", num_args = 1.., group = "given", conflicts_with_all = RANDOM)]
    inputs: Vec<PathBuf>,

    /// Pictures (PNG or JPEG) instead of random inputs, one run each, prepared as PaddleClas does
    /// for evaluation; the report shows the top 5 classes of all sides
    #[arg(long, value_name = "FILE", num_args = 1.., group = "given", conflicts_with_all = RANDOM)]
    image: Vec<PathBuf>,
}

/// How to prepare pictures.
#[derive(clap::Args)]
pub(super) struct Preparing {
    /// What to resize the short side of pictures to [default: 256 for a model of 224, the same ratio
    /// below 384, the model's size from there on]
    #[arg(long, value_name = "N")]
    resize_short: Option<NonZeroUsize>,

    /// The size of pictures for a model that leaves it open
    #[arg(long, value_name = "N")]
    crop: Option<NonZeroUsize>,

    /// The mean of red, green and blue, between 0 and 1 [default: 0.485,0.456,0.406; PaddleClas'
    /// vision transformers use 0.5,0.5,0.5]
    #[arg(long, value_name = "R,G,B", value_parser = mean)]
    mean: Option<[f32; 3]>,

    /// Their standard deviation [default: 0.229,0.224,0.225; PaddleClas' vision transformers use
    /// 0.5,0.5,0.5]
    #[arg(long, value_name = "R,G,B", value_parser = deviation)]
    std: Option<[f32; 3]>,

    /// Names of classes, one per line, as in PaddleClas' imagenet1k_label_list.txt
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
}

/// What to compare the outputs with, and how closely.
#[derive(clap::Args)]
struct Judging {
    /// Recorded outputs to compare with: one .npz per run, with one array per output
    #[arg(long, value_name = "FILE.npz", num_args = 1.., requires = "given")]
    expected: Vec<PathBuf>,

    /// Another side that computes the outputs, for comparison: `paddle` is Paddle Inference itself,
    /// in the Python of --python
    #[arg(long, value_name = "SIDE", value_enum)]
    reference: Option<Witness>,

    /// The Python that has Paddle [default: python3]
    #[arg(long, value_name = "FILE", requires = "reference")]
    python: Option<PathBuf>,

    /// Judge by a tolerance instead of the rounding noise: two numbers agree if
    /// |a - b| ≤ atol + rtol · |b| [default with --rtol: 1e-5]
    #[arg(long, value_name = "X", value_parser = tolerance)]
    atol: Option<f64>,

    /// The relative part of the tolerance [default with --atol: 1e-3]
    #[arg(long, value_name = "X", value_parser = tolerance)]
    rtol: Option<f64>,

    /// Compare every op as well, each on the operands that the reference has, and show where errors
    /// grow. Without it, the op to blame is looked for if an output disagrees
    #[arg(long)]
    per_op: bool,

    /// The round of loops whose ops are compared; the first is 1 [default: the first and the last]
    #[arg(long, value_name = "N", requires = "per_op")]
    round: Option<NonZeroUsize>,

    /// ONNX Runtime's library, or its folder [default: $ORT_DYLIB_PATH, else beside this program,
    /// in the system's folders and in Python's packages]
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,
}

/// A side beyond the two that always take part.
#[derive(Clone, Copy, ValueEnum)]
enum Witness {
    /// Paddle Inference, in Python
    Paddle,
}

#[derive(Clone, Copy, ValueEnum)]
enum RandomKind {
    Normal,
    Uniform,
}

impl From<RandomKind> for Distribution {
    fn from(kind: RandomKind) -> Self {
        match kind {
            RandomKind::Normal => Distribution::Normal,
            RandomKind::Uniform => Distribution::Uniform,
        }
    }
}

/// A value for one input, written as `NAME=VALUE`.
#[derive(Clone)]
struct Named<T> {
    name: String,
    value: T,
}

impl<T: FromStr<Err = String>> FromStr for Named<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // An input's name may hold an equals sign; values don't.
        match text.rsplit_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Self {
                name: name.to_owned(),
                value: value.parse()?,
            }),
            _ => Err("the input's name and an equals sign must come first".into()),
        }
    }
}

/// The extents of a shape, as in `1x3x224x224`.
#[derive(Clone)]
struct Shape(Vec<usize>);

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let extents = text
            .split('x')
            .map(|extent| extent.parse().ok().map(NonZeroUsize::get));
        let extents = extents.collect::<Option<_>>();
        extents
            .map(Self)
            .ok_or_else(|| "a shape is written as in 1x3x224x224, with no extent of 0".into())
    }
}

fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if value >= 0.0 && f64::is_finite(value) => Ok(value),
        _ => Err("a number of 0 or more is needed".into()),
    }
}

fn mean(text: &str) -> Result<[f32; 3], String> {
    let numbers = text.split(',').map(|number| {
        let number = number.trim().parse().ok();
        number.filter(|x: &f32| x.is_finite())
    });
    let numbers = numbers.collect::<Option<Vec<f32>>>().unwrap_or_default();
    <[f32; 3]>::try_from(numbers).map_err(|_| "three numbers are needed, as in 0.5,0.5,0.5".into())
}

fn deviation(text: &str) -> Result<[f32; 3], String> {
    match mean(text)? {
        numbers if numbers.iter().all(|x| *x > 0.0) => Ok(numbers),
        _ => Err("the numbers must be above 0".into()),
    }
}

impl Comparing {
    /// Finds ONNX Runtime, without which there is nothing to compare.
    pub fn require_runtime(&self) -> Result<OnnxRuntime> {
        let runtime = OnnxRuntime::load(self.judging.ort_lib.as_deref())?;
        if is_verbose() {
            runtime.show_log();
        }
        Ok(runtime)
    }

    /// The arguments as the library's options.
    pub fn options(&self) -> VerifyOptions {
        let judging = &self.judging;
        let python = judging.python.clone().unwrap_or_else(|| "python3".into());
        let random = || Inputs::Random(self.random.inputs(&RandomInputs::default()));
        VerifyOptions {
            inputs: self.given.inputs(&self.preparing).unwrap_or_else(random),
            expected: judging.expected.clone(),
            paddle: judging.reference.map(|Witness::Paddle| python),
            tolerance: judging.tolerance(),
            per_op: judging.per_op,
            round: judging.round,
            ort_lib: judging.ort_lib.clone(),
            ..VerifyOptions::default()
        }
    }
}

impl Judging {
    /// The tolerance that was asked for; None if neither of its parts is given.
    fn tolerance(&self) -> Option<Tolerance> {
        let default = Tolerance::default();
        (self.atol.is_some() || self.rtol.is_some()).then(|| Tolerance {
            atol: self.atol.unwrap_or(default.atol),
            rtol: self.rtol.unwrap_or(default.rtol),
        })
    }
}

impl Random {
    /// The random inputs to draw, at the batch sizes of `default` if none are given.
    pub fn inputs(&self, default: &RandomInputs) -> RandomInputs {
        let shapes = self.shape.iter();
        let ranges = self.range.iter();
        RandomInputs {
            batches: match self.batch.as_slice() {
                [] => default.batches.clone(),
                given => given.iter().map(|batch| batch.get()).collect(),
            },
            sizes: default.sizes,
            shapes: shapes
                .map(|shape| (shape.name.clone(), shape.value.0.clone()))
                .collect(),
            seed: self.seed.unwrap_or(DEFAULT_SEED),
            distribution: self.distribution.unwrap_or(RandomKind::Normal).into(),
            ranges: ranges
                .map(|range| (range.name.clone(), range.value))
                .collect(),
        }
    }
}

impl Given {
    /// The inputs that were given; None if they are to be drawn at random.
    fn inputs(&self, preparing: &Preparing) -> Option<Inputs> {
        if !self.inputs.is_empty() {
            return Some(Inputs::Files(self.inputs.clone()));
        }
        let has_images = !self.image.is_empty();
        has_images.then(|| Inputs::Images(preparing.images(self.image.clone())))
    }
}

impl Preparing {
    /// These pictures, prepared so.
    pub fn images(&self, paths: Vec<PathBuf>) -> ImageInputs {
        ImageInputs {
            paths,
            resize_short: self.resize_short.map(NonZeroUsize::get),
            crop: self.crop.map(NonZeroUsize::get),
            mean: self.mean.unwrap_or(ImageInputs::MEAN),
            std: self.std.unwrap_or(ImageInputs::STD),
            labels: self.labels.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_name_their_input() {
        let named: Named<Shape> = "a=b=2x3".parse().unwrap();
        assert_eq!((named.name.as_str(), named.value.0), ("a=b", vec![2, 3]));
        for text in ["2x3", "=2x3", "x=", "x=2x0", "x=2x-1", "x=2,3"] {
            assert!(text.parse::<Named<Shape>>().is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_take_negative_numbers_and_decimals() {
        for text in ["x=-1.5..2.5", "x=0..1", "x=-2..-1", "x=1e-3..1e3"] {
            assert!(text.parse::<Named<Range>>().is_ok(), "{text}");
        }
        for text in ["x=1..1", "x=2..1", "x=1", "x=0..nan", "x=..1", "0..1"] {
            assert!(text.parse::<Named<Range>>().is_err(), "{text}");
        }
    }

    #[test]
    fn colours_are_three_numbers() {
        assert_eq!(mean("0.5, 0,1").unwrap(), [0.5, 0.0, 1.0]);
        for text in ["0.5", "1,2,3,4", "a,b,c", "1,2,nan"] {
            assert!(mean(text).is_err(), "{text}");
        }
        assert!(deviation("0.5,0,1").is_err());
    }
}
