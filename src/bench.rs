//! How long does one run take?
//!
//! Measures the converted model in ONNX Runtime at several batch sizes, and beside it the
//! [reference interpreter](crate::reference). Both take turns, so that what slows the machine down
//! for a while slows down both.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::Result;
use crate::model::Model;
use crate::operator::Precision;
use crate::runtime::OnnxRuntime;
use crate::verify::inputs::{self, Set};
use crate::verify::{Inputs, RandomInputs, Side};

/// The batch sizes, where none are asked for.
pub const DEFAULT_BENCH_BATCHES: [usize; 3] = [1, 4, 8];

/// What to measure, and how thoroughly.
#[derive(Debug, Clone)]
pub struct BenchOptions {
    /// The inputs; one measurement per run that they make.
    pub inputs: RandomInputs,
    /// How often each side runs, at most.
    pub runs: usize,
    /// How often each side runs before that, unmeasured, at most.
    pub warmup: usize,
    /// How long each side may run per measurement. Each runs once nevertheless.
    pub budget: Duration,
    /// Whether to measure the reference interpreter, too.
    pub reference: bool,
    /// Where ONNX Runtime is, if it is not to be looked for.
    pub ort_lib: Option<PathBuf>,
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self {
            inputs: RandomInputs {
                batches: DEFAULT_BENCH_BATCHES.to_vec(),
                ..RandomInputs::default()
            },
            runs: 20,
            warmup: 3,
            budget: Duration::from_secs(20),
            reference: true,
            ort_lib: None,
        }
    }
}

/// All measurements.
#[derive(Debug, Clone, Serialize)]
pub struct BenchReport {
    /// The version of ONNX Runtime.
    pub onnx_runtime: String,
    /// How many threads may run at once on this machine.
    pub threads: usize,
    /// One per batch size.
    pub measurements: Vec<Measurement>,
}

/// All sides at one batch size.
#[derive(Debug, Clone, Serialize)]
pub struct Measurement {
    /// What the inputs are: a batch size or shapes.
    pub inputs: String,
    /// The first extent of the first input; 1 if it has none.
    pub batch: usize,
    /// How long each side takes.
    pub sides: Vec<Latency>,
}

/// How long the runs of one side took.
#[derive(Debug, Clone, Serialize)]
pub struct Latency {
    /// Whose they are.
    pub side: Side,
    /// How many were measured.
    pub runs: usize,
    /// The median, in seconds.
    pub median_seconds: f64,
    /// What 95 % of the runs did not exceed, in seconds.
    pub p95_seconds: f64,
    /// Batch size by median: how many images, sentences or the like one second is enough for.
    pub items_per_second: f64,
}

/// Measures `onnx`, which was made of `model`. `progress` is told what is about to be done.
///
/// # Errors
/// When a side can't run at all: ONNX Runtime is missing or refuses the model, an op is not
/// supported, or the inputs don't fit.
pub fn bench(
    model: &Model,
    onnx: &Path,
    options: &BenchOptions,
    progress: &dyn Fn(&str),
) -> Result<BenchReport> {
    let random = Inputs::Random(options.inputs.clone());
    let sets = inputs::sets(model, &random)?;
    let runtime = OnnxRuntime::load(options.ort_lib.as_deref())?;
    progress("opening the ONNX model");
    let mut session = runtime.open(onnx)?;
    let program = &model.files().program;
    let mut reference = None;
    if options.reference {
        progress("loading the weights");
        reference = Some(model.reference(Precision::Single)?);
    }
    let mut measurements = Vec::with_capacity(sets.len());
    for set in &sets {
        progress(&format!("{}: measuring", set.label));
        let prepared = session.prepare(&set.tensors).map_err(|e| e.in_file(onnx))?;
        let mut contenders = vec![Contender::new(Side::OnnxRuntime, || {
            session.run_prepared(&prepared).map_err(|e| e.in_file(onnx))
        })];
        if let Some(reference) = &reference {
            contenders.push(Contender::new(Side::Reference, || {
                let outputs = reference.run(&set.tensors);
                outputs.map(drop).map_err(|e| e.in_file(program))
            }));
        }
        measurements.push(measure(set, contenders, options)?);
    }
    Ok(BenchReport {
        onnx_runtime: runtime.version().to_owned(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        measurements,
    })
}

/// One side, ready to run.
struct Contender<'a> {
    side: Side,
    run: Box<dyn FnMut() -> Result<()> + 'a>,
    spent: Duration,
    seconds: Vec<f64>,
}

impl<'a> Contender<'a> {
    fn new(side: Side, run: impl FnMut() -> Result<()> + 'a) -> Self {
        Self {
            side,
            run: Box::new(run),
            spent: Duration::ZERO,
            seconds: Vec::new(),
        }
    }

    fn run(&mut self) -> Result<Duration> {
        let start = Instant::now();
        (self.run)()?;
        let elapsed = start.elapsed();
        self.spent += elapsed;
        Ok(elapsed)
    }

    fn latency(mut self, batch: usize) -> Latency {
        self.seconds.sort_by(f64::total_cmp);
        let median = median(&self.seconds);
        Latency {
            side: self.side,
            runs: self.seconds.len(),
            median_seconds: median,
            p95_seconds: percentile(&self.seconds, 95),
            items_per_second: batch as f64 / median,
        }
    }
}

fn measure(
    set: &Set,
    mut contenders: Vec<Contender<'_>>,
    options: &BenchOptions,
) -> Result<Measurement> {
    for contender in &mut contenders {
        // A slow side has no time for more than one, which pages in its weights.
        for _ in 0..options.warmup {
            if contender.spent * 4 >= options.budget {
                break;
            }
            contender.run()?;
        }
    }
    for round in 0..options.runs.max(1) {
        for contender in &mut contenders {
            if round == 0 || contender.spent < options.budget {
                let elapsed = contender.run()?;
                contender.seconds.push(elapsed.as_secs_f64());
            }
        }
    }
    let first = set.tensors.first();
    let batch = first.and_then(|(_, tensor)| tensor.shape().first().copied());
    let batch = batch.unwrap_or(1);
    Ok(Measurement {
        inputs: set.label.clone(),
        batch,
        sides: contenders.into_iter().map(|c| c.latency(batch)).collect(),
    })
}

/// The middle of sorted numbers, or the mean of both middle ones; NaN of none.
fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// The smallest of sorted numbers that `percent` of them do not exceed; NaN of none.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    let found = rank.checked_sub(1).and_then(|place| sorted.get(place));
    found.copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles_are_those_of_their_definitions() {
        let numbers = |count: u32| (1..=count).map(f64::from).collect::<Vec<f64>>();
        for (count, middle, high) in [(1, 1.0, 1.0), (4, 2.5, 4.0), (20, 10.5, 19.0)] {
            let numbers = numbers(count);
            assert_eq!(median(&numbers), middle, "{count}");
            assert_eq!(percentile(&numbers, 95), high, "{count}");
        }
        assert_eq!(percentile(&numbers(100), 95), 95.0);
        assert!(median(&[]).is_nan() && percentile(&[], 95).is_nan());
    }

    /// A side without time left runs once, and does not hold up the other.
    #[test]
    fn sides_take_turns_until_their_time_is_up() {
        let order = std::cell::RefCell::new(Vec::new());
        let contenders = vec![
            Contender::new(Side::OnnxRuntime, || {
                order.borrow_mut().push("quick");
                Ok(())
            }),
            Contender::new(Side::Reference, || {
                order.borrow_mut().push("slow");
                std::thread::sleep(Duration::from_millis(200));
                Ok(())
            }),
        ];
        let set = Set {
            label: "none".into(),
            tensors: Vec::new(),
        };
        let options = BenchOptions {
            runs: 3,
            warmup: 1,
            budget: Duration::from_millis(150),
            ..BenchOptions::default()
        };
        let measured = measure(&set, contenders, &options).unwrap();
        let runs: Vec<usize> = measured.sides.iter().map(|side| side.runs).collect();
        assert_eq!(runs, [3, 1]);
        let expected = ["quick", "slow", "quick", "slow", "quick", "quick"];
        assert_eq!(*order.borrow(), expected);
    }
}
