//! Inputs drawn at random: the same for the same seed on every machine.

use std::str::FromStr;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

use super::meaning::{self, Meaning};
use super::shapes::{self, Shapes};
use super::{Set, declared, with_shapes};
use crate::alike::hint;
use crate::error::{Error, Result};
use crate::operator::Registry;
use crate::program::{Program, Value};
use crate::tensor::{DType, Tensor, display_shape, refuse_too_large};
use crate::verify::DEFAULT_SEED;

/// Integers that have no range and are not known to be indices are drawn below this.
const LARGEST_INTEGER: u64 = 8;

/// The largest magnitude of the bounds of a range of integers: up to here, f64 holds every integer.
const LARGEST_EXACT: f64 = (1_u64 << 53) as f64;

/// Which random inputs to draw.
///
/// An input that `shapes` does not name takes an open extent from an input that it names, where both
/// extents are the same symbol of the program. If its first extent is still open, that is one of
/// `batches`. For other extents, sizes are found that the program accepts.
#[derive(Debug, Clone, PartialEq)]
pub struct RandomInputs {
    /// The batch sizes, with one run each. A model all of whose inputs have known shapes runs once. If empty, these
    /// are [`DEFAULT_BATCHES`](crate::verify::DEFAULT_BATCHES), or others where the program refuses them.
    pub batches: Vec<usize>,
    /// How many sizes to find for extents that are open beside the batch; there are as many runs at least.
    pub sizes: usize,
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
    /// Normally distributed numbers at the default batch sizes, and at two sizes of what else is open.
    fn default() -> Self {
        Self {
            batches: Vec::new(),
            sizes: 2,
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
/// the program takes no size that was tried for what is open.
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
        let hint = hint(name, names.iter().copied());
        Err(Error::invalid(format!(
            "there is no input `{name}`, which {option} names{hint}; the model has: {}",
            names.join(", ")
        )))
    };
    for (name, _) in &wish.shapes {
        known(name, "--shape")?;
    }
    for (name, _) in &wish.ranges {
        known(name, "--range")?;
    }
    let mut sets = Vec::new();
    for run in shapes::runs(program, registry, wish)? {
        sets.push(draw_set(program, registry, run, wish)?);
    }
    Ok(sets)
}

fn draw_set(
    program: &Program,
    registry: &Registry,
    run: Shapes,
    wish: &RandomInputs,
) -> Result<Set> {
    let mut rng = ChaCha8Rng::seed_from_u64(wish.seed);
    // Each batch size draws from a stream of its own, so that its inputs don't depend on which others
    // are asked for.
    let batch = run.shapes.iter().find_map(|shape| shape.first());
    rng.set_stream(batch.map_or(0, |batch| *batch as u64));
    let meanings = meaning::meanings(&with_shapes(program, &run.shapes), registry);
    let inputs = declared(program);
    let mut tensors = Vec::with_capacity(inputs.len());
    for ((value, shape), meaning) in inputs.iter().zip(&run.shapes).zip(&meanings) {
        // Of several ranges of one input the last counts, as for other options of the command line.
        let ranges = wish.ranges.iter().rev();
        let range = ranges
            .filter(|(name, _)| *name == value.name)
            .map(|(_, range)| range)
            .next();
        let tensor = match range {
            Some(range) => draw_within(value, shape, range, &mut rng)?,
            None => draw(value, shape, meaning, wish.distribution, &mut rng)?,
        };
        tensors.push((value.name.clone(), tensor.cast(value.dtype)));
    }
    Ok(Set {
        label: run.label,
        tensors,
        notes: run.notes,
    })
}

/// Draws the tensor of an input within the range that was asked for.
///
/// # Errors
/// When there is not enough memory, or the range does not fit the element type.
fn draw_within(
    value: &Value,
    shape: &[usize],
    range: &Range,
    rng: &mut ChaCha8Rng,
) -> Result<Tensor> {
    if value.dtype.is_float() {
        return draw_reals(value, shape, range.low, range.high, rng);
    }
    let (low, count) = range.integers(value)?;
    draw_integers(value, shape, low, count, rng)
}

/// Draws the tensor of an input by what its numbers stand for. If that is not known, floating-point numbers follow the
/// distribution, integers are small, and both booleans are equally likely.
///
/// # Errors
/// When there is not enough memory.
fn draw(
    value: &Value,
    shape: &[usize],
    meaning: &Meaning,
    distribution: Distribution,
    rng: &mut ChaCha8Rng,
) -> Result<Tensor> {
    let is_float = value.dtype.is_float();
    match meaning {
        Meaning::Whole { low, high } => {
            let first = i64::try_from(*low).unwrap_or_default();
            draw_integers(value, shape, first, high.saturating_sub(*low).max(1), rng)
        }
        Meaning::Factor if is_float => draw_reals(value, shape, 0.5, 2.0, rng),
        Meaning::Factor => draw_integers(value, shape, 1, LARGEST_INTEGER, rng),
        Meaning::Share => draw_reals(value, shape, 0.5, 1.0, rng),
        Meaning::Parts(sum) => {
            let count = element_count(value, shape)?;
            let sum = i64::try_from(*sum).unwrap_or_default();
            let divisor = i64::try_from(count.max(1)).unwrap_or(1);
            let part = |place: i64| sum / divisor + i64::from(place < sum % divisor);
            Tensor::from_elements::<i64>(shape, (0..).map(part).take(count).collect())
        }
        Meaning::Mask => {
            let drawn = draw_integers(value, shape, 0, 2, rng)?.to_i64_vec();
            let row = shape.last().copied().unwrap_or(1).max(1);
            let numbers = drawn
                .into_iter()
                .enumerate()
                .map(|(place, number)| match place % row {
                    0 => 1,
                    column if column + 1 == row => 0,
                    _ => number,
                });
            Tensor::from_elements::<i64>(shape, numbers.collect())
        }
        Meaning::Rows(row) => {
            let count = element_count(value, shape)?;
            let width = shape.last().copied().unwrap_or(1);
            let numbers = (0..count).map(|place| {
                let column = place % width.max(1);
                row.get(column).or(row.last()).copied().unwrap_or_default()
            });
            Tensor::from_elements::<f64>(shape, numbers.collect())
        }
        Meaning::Any if is_float && distribution == Distribution::Normal => {
            let count = element_count(value, shape)?;
            let numbers = (0..count).map(|_| StandardNormal.sample(rng));
            Tensor::from_elements::<f32>(shape, numbers.collect())
        }
        Meaning::Any if is_float => draw_reals(value, shape, 0.0, 1.0, rng),
        Meaning::Any if value.dtype == DType::Bool => draw_integers(value, shape, 0, 2, rng),
        Meaning::Any => draw_integers(value, shape, 0, LARGEST_INTEGER, rng),
    }
}

/// Uniform numbers from `low` up to `high`.
fn draw_reals(
    value: &Value,
    shape: &[usize],
    low: f64,
    high: f64,
    rng: &mut ChaCha8Rng,
) -> Result<Tensor> {
    let count = element_count(value, shape)?;
    let numbers = (0..count).map(|_| low + (high - low) * unit(rng));
    Tensor::from_elements::<f64>(shape, numbers.collect())
}

/// Integers from `low` on, of `values` values.
fn draw_integers(
    value: &Value,
    shape: &[usize],
    low: i64,
    values: u64,
    rng: &mut ChaCha8Rng,
) -> Result<Tensor> {
    let count = element_count(value, shape)?;
    let below = |rng: &mut ChaCha8Rng| match u32::try_from(values) {
        Ok(bound) => u64::from(rng.next_u32() % bound),
        Err(_) => rng.next_u64() % values,
    };
    let numbers = (0..count).map(|_| low.wrapping_add_unsigned(below(rng)));
    Tensor::from_elements::<i64>(shape, numbers.collect())
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
