//! `bench`: how long does one run take?

use std::fmt::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use paddle2onnx::Model;
use paddle2onnx::bench::{BenchOptions, BenchReport, Latency, Measurement};
use paddle2onnx::runtime::OnnxRuntime;

use super::comparing::Random;
use super::interrupt;
use super::loudness::{Loudness, is_verbose};
use super::model_and_onnx::ModelAndOnnx;
use super::outcome::{Outcome, Result};
use super::progress::Line;
use super::stdout::{print, print_json};

/// Measures how long the converted model takes in ONNX Runtime.
///
/// The reference interpreter, which runs the Paddle program, is measured beside it; both take turns.
#[derive(clap::Args)]
#[command(
    after_long_help = EXAMPLES,
    mut_arg("batch", |batch| batch.help("The batch sizes of the random inputs [default: 1,4,8]")),
)]
pub(super) struct Args {
    #[command(flatten)]
    sides: ModelAndOnnx,

    #[command(flatten)]
    random: Random,

    /// How often each side runs at each batch size [default: 20]
    #[arg(long, value_name = "N")]
    runs: Option<NonZeroUsize>,

    /// How often each side runs before that, unmeasured [default: 3]
    #[arg(long, value_name = "N")]
    warmup: Option<usize>,

    /// After how many seconds each side has run enough at a batch size [default: 20]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    budget: Option<Duration>,

    /// Do not measure the reference interpreter
    #[arg(long)]
    no_reference: bool,

    /// ONNX Runtime's library, or its folder [default: $ORT_DYLIB_PATH, else beside this program,
    /// in the system's folders and in Python's packages]
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,

    #[command(flatten)]
    loudness: Loudness,

    /// Print a JSON object instead of text
    #[arg(long)]
    json: bool,

    /// Print a table in Markdown as that of PaddleClas' models, with a row for the model and a column for each batch size
    #[arg(long, conflicts_with = "json")]
    table: bool,
}

const EXAMPLES: &str = "\
Examples:
  Convert into a temporary folder, and measure at batch sizes 1, 4 and 8:
      paddle2onnx-rs bench model/inference.json

  Print the row of a table of models, as PaddleClas has them:
      paddle2onnx-rs bench model/inference.json --table --no-reference

  Measure a given ONNX model alone, at batch size 16:
      paddle2onnx-rs bench model --onnx vit.onnx --batch 16 --no-reference";

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok();
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "a number of seconds is needed".into())
}

/// Measures the given ONNX model, or one that is converted for the purpose.
pub(super) fn run(args: &Args) -> Result<Outcome> {
    args.loudness.apply();
    interrupt::install()?;
    let model = args.sides.open()?;
    // Loaded here so that a missing library is reported before the work.
    let runtime = OnnxRuntime::load(args.ort_lib.as_deref())?;
    if is_verbose() {
        runtime.show_log();
    }
    let report = args
        .sides
        .with_onnx(&model, |onnx| measure(&model, onnx, args))?;
    if args.json {
        print_json(&args.sides.titled(&report))?;
    } else if args.table {
        print(&table(&model.files().name(), &report))?;
    } else {
        print(&text(&report))?;
    }
    Ok(Outcome::Success)
}

fn measure(model: &Model, onnx: &Path, args: &Args) -> Result<BenchReport> {
    interrupt::check()?;
    let default = BenchOptions::default();
    let options = BenchOptions {
        inputs: args.random.inputs(&default.inputs),
        runs: args.runs.map_or(default.runs, NonZeroUsize::get),
        warmup: args.warmup.unwrap_or(default.warmup),
        budget: args.budget.unwrap_or(default.budget),
        reference: !args.no_reference,
        ort_lib: args.ort_lib.clone(),
    };
    let line = Line::stages();
    let say = |stage: &str| line.say(stage.to_owned());
    Ok(paddle2onnx::bench::bench(model, onnx, &options, &say)?)
}

const COLUMNS: [&str; 6] = ["", "", "median", "p95", "per second", "runs"];

fn text(report: &BenchReport) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(COLUMNS);
    for measurement in &report.measurements {
        for (position, latency) in measurement.sides.iter().enumerate() {
            table.add_row(row(measurement, latency, position == 0));
        }
    }
    for (position, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if position > 1 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = String::new();
    for line in table.lines() {
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let _ = writeln!(
        text,
        "\npaddle2onnx-rs {}, ONNX Runtime {}, {} threads",
        env!("CARGO_PKG_VERSION"),
        report.onnx_runtime,
        report.threads
    );
    text
}

fn row(measurement: &Measurement, latency: &Latency, first: bool) -> [String; 6] {
    [
        if first {
            measurement.inputs.clone()
        } else {
            String::new()
        },
        latency.side.label().to_owned(),
        duration(latency.median_seconds),
        duration(latency.p95_seconds),
        format!("{:.1}", latency.items_per_second),
        latency.runs.to_string(),
    ]
}

/// The latencies in milliseconds, with one row for each side.
fn table(name: &str, report: &BenchReport) -> String {
    let mut text = String::from("| Model | Runtime | Size |");
    for Measurement { batch, .. } in &report.measurements {
        let _ = write!(text, " Latency (ms) bs={batch} |");
    }
    let columns = report.measurements.len();
    let _ = writeln!(text, "\n| --- | --- | --- |{}", " ---: |".repeat(columns));
    let sides = report
        .measurements
        .first()
        .map_or(0, |first| first.sides.len());
    for side in 0..sides {
        let cells = report
            .measurements
            .iter()
            .filter_map(|m| Some((m, m.sides.get(side)?)));
        for (position, (measurement, latency)) in cells.enumerate() {
            if position == 0 {
                let (label, size) = (latency.side.label(), size(&measurement.shape));
                let _ = write!(text, "| {name} | {label} | {size} |");
            }
            let _ = write!(text, " {:.2} |", latency.median_seconds * 1e3);
        }
        text.push('\n');
    }
    text
}

/// The shape of an input without its batch; of a square picture, one side of it, as tables of models have it.
fn size(shape: &[usize]) -> String {
    match shape.get(1..).unwrap_or_default() {
        [3, height, width] | [height, width, 3] if height == width => height.to_string(),
        rest => {
            let extents: Vec<String> = rest.iter().map(usize::to_string).collect();
            extents.join("x")
        }
    }
}

/// A time with about three digits, as in `1.23 s`, `45.6 ms` or `0.012 ms`.
fn duration(seconds: f64) -> String {
    let milliseconds = seconds * 1e3;
    match milliseconds {
        1000.0.. => format!("{seconds:.2} s"),
        10.0.. => format!("{milliseconds:.1} ms"),
        1.0.. => format!("{milliseconds:.2} ms"),
        _ => format!("{milliseconds:.3} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_their_digits() {
        for (seconds, expected) in [
            (1.2345, "1.23 s"),
            (0.0456, "45.6 ms"),
            (0.00123, "1.23 ms"),
            (0.000_012, "0.012 ms"),
        ] {
            assert_eq!(duration(seconds), expected);
        }
    }

    #[test]
    fn sizes_are_those_of_tables() {
        for (shape, expected) in [
            (&[4, 3, 224, 224][..], "224"),
            (&[1, 384, 384, 3], "384"),
            (&[1, 3, 48, 320], "3x48x320"),
            (&[1, 7], "7"),
            (&[], ""),
        ] {
            assert_eq!(size(shape), expected);
        }
    }

    #[test]
    fn budgets_are_numbers_of_seconds() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["-1", "nan", "inf", "x", ""] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
