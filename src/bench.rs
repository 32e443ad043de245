//! The latency of a model: how long one run takes.
//!
//! Measures the converted model in ONNX Runtime at several batch sizes, and the original in the
//! [reference interpreter](crate::reference). The two take turns, so that whatever slows the machine down
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

/// The batch sizes that are measured by default.
pub const DEFAULT_BENCH_BATCHES: [usize; 3] = [1, 4, 8];

/// What to measure, and how thoroughly.
#[derive(Debug, Clone)]
pub struct BenchOptions {
    /// The inputs. Each set of them is one measurement.
    pub inputs: RandomInputs,
    /// How often each side is measured, at most.
    pub runs: usize,
    /// How often each side runs unmeasured before that, at most.
    pub warmup: usize,
    /// How long each side may run per measurement, warm-up included. Each side is measured once even if its
    /// time is up.
    pub budget: Duration,
    /// Whether to measure the reference interpreter as well.
    pub reference: bool,
    /// The file or folder of ONNX Runtime's library, if it is not to be looked for.
    pub ort_lib: Option<PathBuf>,
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self {
            inputs: RandomInputs {
                batches: DEFAULT_BENCH_BATCHES.to_vec(),
                sizes: 1,
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

/// The measurements of a model.
#[derive(Debug, Clone, Serialize)]
pub struct BenchReport {
    /// The version of ONNX Runtime.
    pub onnx_runtime: String,
    /// The number of threads that can run at once on this machine.
    pub threads: usize,
    /// One measurement for each set of inputs, such as a batch size.
    pub measurements: Vec<Measurement>,
}

/// The latencies of all sides on the same inputs.
#[derive(Debug, Clone, Serialize)]
pub struct Measurement {
    /// What the inputs are: a batch size or shapes.
    pub inputs: String,
    /// The batch size: the extent of the first input's first axis, or 1 if there is none.
    pub batch: usize,
    /// The shape of the first input, or none if there is no input.
    pub shape: Vec<usize>,
    /// The latency of each side.
    pub sides: Vec<Latency>,
}

/// How long the runs of one side take.
#[derive(Debug, Clone, Serialize)]
pub struct Latency {
    /// The side that was measured.
    pub side: Side,
    /// The number of measured runs.
    pub runs: usize,
    /// The median of their durations, in seconds.
    pub median_seconds: f64,
    /// The 95th percentile of their durations, in seconds.
    pub p95_seconds: f64,
    /// The batch size divided by the median: how many batch elements are computed in a second.
    pub items_per_second: f64,
}

/// Measures `onnx`, which was converted from `model`. `progress` is told each step before it is taken.
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
        let taken = model.as_taken(&set.tensors);
        let prepared = session.prepare(&taken).map_err(|e| e.in_file(onnx))?;
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
        // A quarter of the time is for warm-up. A slow side gets a single run, which pages in its weights.
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
        shape: first.map_or_else(Vec::new, |(_, tensor)| tensor.shape().to_vec()),
        sides: contenders.into_iter().map(|c| c.latency(batch)).collect(),
    })
}

/// The median of sorted numbers: the middle one, or the mean of both middle ones. NaN if there are none.
fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// The percentile of sorted numbers, by nearest rank: the smallest of them that at least `percent` % of them
/// do not exceed. NaN if there are none.
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

    /// A side without time left is measured once, and does not hold up the other.
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
            notes: Vec::new(),
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
