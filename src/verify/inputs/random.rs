//! Inputs drawn at random: the same for the same seed on every machine.

use std::str::FromStr;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

use super::{Set, declared, indices};
use crate::error::{Error, Result};
use crate::operator::Registry;
use crate::program::{Program, Value};
use crate::tensor::{DType, Dim, Tensor, display_shape, refuse_too_large};
use crate::verify::{DEFAULT_BATCHES, DEFAULT_SEED};

/// Integers that have no range and are not known to be indices are drawn below this.
const LARGEST_INTEGER: u64 = 8;

/// The largest magnitude of the bounds of a range of integers: up to here, f64 holds every integer.
const LARGEST_EXACT: f64 = (1_u64 << 53) as f64;

/// Which random inputs to draw.
///
/// An input that `shapes` does not name takes an open extent from an input that it names, where both
/// extents are the same symbol of the program. If its first extent is still open, that is one of
/// `batches`.
#[derive(Debug, Clone, PartialEq)]
pub struct RandomInputs {
    /// The batch sizes, with one run each. A model all of whose inputs have known shapes runs once.
    pub batches: Vec<usize>,
    /// Shapes by input name. Several shapes of one input make several runs; the first shapes of all
    /// inputs make the first run. An input with one shape has it in all runs.
    pub shapes: Vec<(String, Vec<usize>)>,
    /// The same seed gives the same inputs on every machine.
    pub seed: u64,
    /// How floating-point inputs without a range are distributed.
    pub distribution: Distribution,
    /// Ranges by input name, in which the input's numbers are uniformly distributed.
    pub ranges: Vec<(String, Range)>,
}

impl Default for RandomInputs {
    /// Normally distributed numbers at the default batch sizes.
    fn default() -> Self {
        Self {
            batches: DEFAULT_BATCHES.to_vec(),
            shapes: Vec::new(),
            seed: DEFAULT_SEED,
            distribution: Distribution::Normal,
            ranges: Vec::new(),
        }
    }
}

/// How floating-point numbers are distributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// Normal, with mean 0 and standard deviation 1.
    Normal,
    /// Uniform from 0 to 1.
    Uniform,
}

/// The numbers from `low` to `high`; for integers `high` is not among them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    low: f64,
    high: f64,
}

impl FromStr for Range {
    type Err = String;

    /// Reads `LOW..HIGH`, as in `-1.5..2`.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().ok().filter(|x: &f64| x.is_finite());
        let bounds = text
            .split_once("..")
            .and_then(|(low, high)| Some((number(low)?, number(high)?)));
        match bounds {
            Some((low, high)) if low < high => Ok(Self { low, high }),
            Some(_) => Err("LOW must be smaller than HIGH".into()),
            None => Err("a range is written LOW..HIGH, as in -1.5..2".into()),
        }
    }
}

/// The sets of inputs: one for each position in the lists of shapes and, where these leave the batch
/// size open, for each batch size.
///
/// # Errors
/// When a shape or range names an input that the program does not have or does not fit its input, or
/// the shape of an input remains open.
pub(super) fn sets(
    program: &Program,
    registry: &Registry,
    wish: &RandomInputs,
) -> Result<Vec<Set>> {
    let inputs = declared(program);
    let known = |name: &str, option: &str| {
        if inputs.iter().any(|value| value.name == name) {
            return Ok(());
        }
        let names: Vec<&str> = inputs.iter().map(|value| value.name.as_str()).collect();
        Err(Error::invalid(format!(
            "there is no input `{name}`, which {option} names; the model has: {}",
            names.join(", ")
        )))
    };
    for (name, _) in &wish.shapes {
        known(name, "--shape")?;
    }
    for (name, _) in &wish.ranges {
        known(name, "--range")?;
    }
    let bounds = indices::bounds(program, registry);
    let mut sets = Vec::new();
    for run in runs(&inputs, wish)? {
        sets.push(draw_set(&inputs, &bounds, &run, wish)?);
    }
    Ok(sets)
}

/// The shapes of all inputs in one run, and a label of the run for people.
struct Shapes {
    label: String,
    shapes: Vec<Vec<usize>>,
}

/// The shapes of all runs.
fn runs(inputs: &[&Value], wish: &RandomInputs) -> Result<Vec<Shapes>> {
    let mut runs = Vec::new();
    for given in given_shapes(inputs, wish)? {
        let (shapes, uses_batch) = resolve(inputs, &given, 1)?;
        if !uses_batch {
            let all: Vec<_> = shapes.iter().map(|shape| Some(shape.as_slice())).collect();
            let shown = if given.iter().any(Option::is_some) {
                &given
            } else {
                &all
            };
            let label = shapes_label(inputs, shown);
            runs.push(Shapes { label, shapes });
            continue;
        }
        let label = shapes_label(inputs, &given);
        for batch in &wish.batches {
            let (shapes, _) = resolve(inputs, &given, *batch)?;
            let batch = format!("batch {batch}");
            let parts = [label.as_str(), batch.as_str()];
            let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            runs.push(Shapes {
                label: parts.join(", "),
                shapes,
            });
        }
    }
    Ok(runs)
}

/// For each run, the shape that is asked for each input, if any.
fn given_shapes<'w>(
    inputs: &[&Value],
    wish: &'w RandomInputs,
) -> Result<Vec<Vec<Option<&'w [usize]>>>> {
    let of = |value: &Value| -> Vec<&'w [usize]> {
        let shapes = wish.shapes.iter().filter(|(name, _)| *name == value.name);
        shapes.map(|(_, shape)| shape.as_slice()).collect()
    };
    let given: Vec<Vec<&[usize]>> = inputs.iter().map(|value| of(value)).collect();
    let count = given.iter().map(Vec::len).max().unwrap_or(0).max(1);
    for (value, shapes) in inputs.iter().zip(&given) {
        if shapes.len() > 1 && shapes.len() != count {
            return Err(Error::invalid(format!(
                "the input `{}` has {} shapes where another has {count}; give one --shape per run, \
                 or a single one for all runs",
                value.name,
                shapes.len()
            )));
        }
        for shape in shapes {
            check_shape(value, shape)?;
        }
    }
    let at = |shapes: &Vec<&'w [usize]>, run: usize| match shapes.as_slice() {
        [only] => Some(*only),
        several => several.get(run).copied(),
    };
    Ok((0..count)
        .map(|run| given.iter().map(|shapes| at(shapes, run)).collect())
        .collect())
}

/// Refuses a shape that does not fit the declaration of its input.
fn check_shape(value: &Value, shape: &[usize]) -> Result<()> {
    let fits = |(declared, extent): (&Dim, &usize)| {
        declared.known().is_none() || *declared == Dim::from(*extent)
    };
    if value.shape.len() == shape.len() && value.shape.iter().zip(shape).all(fits) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the input `{}` takes {}, which the --shape {} does not fit",
        value.name,
        display_shape(&value.shape),
        display_shape(shape)
    )))
}

/// The shapes as they are written on the command line: `x=2x3x224x224`.
fn shapes_label(inputs: &[&Value], given: &[Option<&[usize]>]) -> String {
    let parts = inputs.iter().zip(given).filter_map(|(value, shape)| {
        let extents: Vec<String> = shape.as_ref()?.iter().map(usize::to_string).collect();
        let extents = if extents.is_empty() {
            "scalar".to_owned()
        } else {
            extents.join("x")
        };
        Some(format!("{}={extents}", value.name))
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// The shapes of all inputs, and whether any of them depends on `batch`.
///
/// # Errors
/// When an extent other than the first is open.
fn resolve(
    inputs: &[&Value],
    given: &[Option<&[usize]>],
    batch: usize,
) -> Result<(Vec<Vec<usize>>, bool)> {
    let mut bound: Vec<(&Dim, usize)> = Vec::new();
    for (value, shape) in inputs.iter().zip(given) {
        for (dim, extent) in value.shape.iter().zip(shape.unwrap_or_default()) {
            if matches!(dim, Dim::Symbol(_)) {
                bound.push((dim, *extent));
            }
        }
    }
    let mut uses_batch = false;
    let mut shapes = Vec::with_capacity(inputs.len());
    for (value, shape) in inputs.iter().zip(given) {
        if let Some(shape) = shape {
            shapes.push(shape.to_vec());
            continue;
        }
        let extents = value.shape.iter().enumerate().map(|(axis, dim)| {
            if let Some(extent) = dim.known() {
                return usize::try_from(extent).ok();
            }
            if let Some((_, extent)) = bound.iter().find(|(other, _)| dim.same(other)) {
                return Some(*extent);
            }
            uses_batch |= axis == 0;
            (axis == 0).then_some(batch)
        });
        let shape: Option<Vec<usize>> = extents.collect();
        shapes.push(shape.ok_or_else(|| open(value))?);
    }
    Ok((shapes, uses_batch))
}

/// The error for an input of which other extents than the first are open.
fn open(value: &Value) -> Error {
    let example: Vec<String> = value
        .shape
        .iter()
        .enumerate()
        .map(|(axis, dim)| {
            let open = if axis == 0 { 1 } else { 32 };
            dim.known().unwrap_or(open).to_string()
        })
        .collect();
    Error::invalid(format!(
        "the input `{name}` of shape {} is open in more than its batch; say what to draw, as in \
         --shape {name}={}, or give it with --inputs",
        display_shape(&value.shape),
        example.join("x"),
        name = value.name,
    ))
}

fn draw_set(
    inputs: &[&Value],
    bounds: &[Option<u64>],
    run: &Shapes,
    wish: &RandomInputs,
) -> Result<Set> {
    let mut rng = ChaCha8Rng::seed_from_u64(wish.seed);
    // Each batch size draws from a stream of its own, so that its inputs don't depend on which others
    // are asked for.
    let batch = run.shapes.iter().find_map(|shape| shape.first());
    rng.set_stream(batch.map_or(0, |batch| *batch as u64));
    let mut tensors = Vec::with_capacity(inputs.len());
    for ((value, shape), bound) in inputs.iter().zip(&run.shapes).zip(bounds) {
        // Of several ranges of one input the last counts, as for other options of the command line.
        let ranges = wish.ranges.iter().rev();
        let range = ranges
            .filter(|(name, _)| *name == value.name)
            .map(|(_, range)| range)
            .next();
        let values = Values {
            range,
            bound: *bound,
            distribution: wish.distribution,
        };
        let tensor = draw(value, shape, &values, &mut rng)?;
        tensors.push((value.name.clone(), tensor));
    }
    Ok(Set {
        label: run.label.clone(),
        tensors,
    })
}

/// Which numbers the elements of an input may be.
struct Values<'w> {
    range: Option<&'w Range>,
    /// The number of positions that the input may index; None if it is not known to be an index.
    bound: Option<u64>,
    distribution: Distribution,
}

/// Draws the tensor of an input. Elements come from the input's range. Without one, floating-point
/// numbers follow the distribution, integers are indices within their bound or else small, and both
/// booleans are equally likely.
///
/// # Errors
/// When there is not enough memory, or the range does not fit the element type.
fn draw(
    value: &Value,
    shape: &[usize],
    values: &Values<'_>,
    rng: &mut ChaCha8Rng,
) -> Result<Tensor> {
    let dtype = value.dtype;
    let count = element_count(value, shape)?;
    let tensor = match (dtype.is_float(), values.range) {
        (true, None) if values.distribution == Distribution::Normal => {
            let numbers = (0..count).map(|_| StandardNormal.sample(rng));
            Tensor::from_elements::<f32>(shape, numbers.collect())?
        }
        (true, range) => {
            let (low, high) = range.map_or((0.0, 1.0), |range| (range.low, range.high));
            let numbers = (0..count).map(|_| low + (high - low) * unit(rng));
            Tensor::from_elements::<f64>(shape, numbers.collect())?
        }
        (false, range) => {
            let (low, count_of_values) = match range {
                Some(range) => range.integers(value)?,
                None if dtype == DType::Bool => (0, 2),
                None => (0, values.bound.unwrap_or(LARGEST_INTEGER)),
            };
            let below = |rng: &mut ChaCha8Rng| match u32::try_from(count_of_values) {
                Ok(bound) => u64::from(rng.next_u32() % bound),
                Err(_) => rng.next_u64() % count_of_values,
            };
            let numbers = (0..count).map(|_| low.wrapping_add_unsigned(below(rng)));
            Tensor::from_elements::<i64>(shape, numbers.collect())?
        }
    };
    Ok(tensor.cast(dtype))
}

/// A uniform number from 0 up to, not including, 1, with 24 bits, so that float32 holds it exactly.
fn unit(rng: &mut ChaCha8Rng) -> f64 {
    f64::from(rng.next_u32() >> 8) / f64::from(1 << 24)
}

impl Range {
    /// The smallest integer of the range, and the number of integers in it.
    ///
    /// # Errors
    /// When the bounds are not whole numbers, or the input's element type does not hold them.
    fn integers(&self, value: &Value) -> Result<(i64, u64)> {
        let whole = |x: f64| x.fract() == 0.0 && x.abs() <= LARGEST_EXACT;
        let fail = |why: String| {
            let name = &value.name;
            Error::invalid(format!("the --range of the input `{name}` {why}"))
        };
        if !whole(self.low) || !whole(self.high) {
            return Err(fail(format!(
                "must have whole numbers, since it is {}",
                value.dtype
            )));
        }
        let (low, high) = (self.low as i64, self.high as i64);
        for bound in [low, high - 1] {
            if Tensor::scalar(bound).cast(value.dtype).to_i64_vec() != [bound] {
                let dtype = value.dtype;
                return Err(fail(format!("holds {bound}, which {dtype} does not")));
            }
        }
        Ok((low, high.abs_diff(low)))
    }
}

/// The number of elements of an input.
///
/// # Errors
/// When there is not enough memory for them.
fn element_count(value: &Value, shape: &[usize]) -> Result<usize> {
    refuse_too_large(shape).map_err(|_| {
        Error::invalid(format!(
            "there is not enough memory for the input `{}` of shape {}; choose a smaller --batch \
             or --shape",
            value.name,
            display_shape(shape)
        ))
    })?;
    Ok(shape.iter().product())
}
