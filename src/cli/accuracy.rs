//! `accuracy`: how often a classifier is right, on pictures whose classes are known.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use paddle2onnx::accuracy::{
    AccuracyOptions, AccuracyReport, DEFAULT_SAMPLE, Differing, Labelled, Sample, Score, Step,
    html, read_folders, read_list,
};
use paddle2onnx::runtime::OnnxRuntime;
use paddle2onnx::verify::About;
use paddle2onnx::{ErrorKind, Model};

use super::comparing::Preparing;
use super::interrupt;
use super::loudness::{Loudness, is_verbose};
use super::model_and_onnx::ModelAndOnnx;
use super::outcome::{Failure, Outcome, Result};
use super::output::Pending;
use super::progress::Line;
use super::shortened;
use super::stdout::{print, print_json};
use super::style::{BAD, GOOD, HEADING, WARNING};

/// How many pictures of one kind the text names.
const SHOWN: usize = 10;

/// The width of the column of sides.
const SIDE: usize = 24;

/// Measures how often a classifier is right: Top-1 and Top-5 on pictures whose classes are known.
///
/// The ONNX model looks at all pictures in ONNX Runtime, and the Paddle program at a sample of them in the reference
/// interpreter. Pictures (PNG or JPEG) are prepared as PaddleClas does for evaluation. Those that can't be read are counted
/// and named.
///
/// The exit code is 0 if both take every picture of the sample for the same, 1 if not, and 2 if the accuracy could not be
/// measured.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    sides: ModelAndOnnx,

    /// The pictures and their classes, as in PaddleClas' val_list.txt: a path and the number of a class in each line
    #[arg(long, value_name = "FILE", required_unless_present = "images")]
    list: Option<PathBuf>,

    /// The folder that the paths of the list are relative to [default: that of the list]. Without a list, a folder with one
    /// folder for each class, which are numbered in the order of their names, or by these, if all are numbers
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,

    /// How many pictures the reference looks at, evenly spaced among all [default: 32]
    #[arg(long, value_name = "N")]
    sample: Option<usize>,

    #[command(flatten)]
    preparing: Preparing,

    /// Print a JSON object instead of text
    #[arg(long)]
    json: bool,

    /// Write the results as a page as well, with the pictures that both take for different things
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    #[command(flatten)]
    loudness: Loudness,

    /// ONNX Runtime's library, or its folder [default: $ORT_DYLIB_PATH, else beside this program, in the system's folders
    /// and in Python's packages]
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  The figures of PaddleClas' table for a vision transformer:
      paddle2onnx-rs accuracy model --list val_list.txt --images ILSVRC2012 \\
          --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5

  Pictures in one folder per class, of which the reference looks at 200:
      paddle2onnx-rs accuracy model --images pictures --sample 200 --html accuracy.html";

/// Measures the given ONNX model, or one that is converted for the purpose.
pub(super) fn run(args: &Args) -> Result<Outcome> {
    args.loudness.apply();
    interrupt::install()?;
    let model = args.sides.open()?;
    let pictures = match (&args.list, &args.images) {
        (Some(list), images) => read_list(list, images.as_deref())?,
        (None, Some(images)) => read_folders(images)?,
        (None, None) => return Err(Failure::new("neither --list nor --images is given")),
    };
    // Loaded here so that a missing library is reported before the work.
    let runtime = OnnxRuntime::load(args.ort_lib.as_deref())?;
    if is_verbose() {
        runtime.show_log();
    }
    let report = args
        .sides
        .with_onnx(&model, |onnx| measured(&model, onnx, pictures, args))?;
    if args.json {
        print_json(&args.sides.titled(&report))?;
    } else {
        print(&text(&report))?;
    }
    let differs = |sample: &Sample| !sample.differing.is_empty();
    Ok(if report.sample.as_ref().is_some_and(differs) {
        Outcome::NoParity
    } else {
        Outcome::Success
    })
}

/// Measures, and writes the page.
fn measured(
    model: &Model,
    onnx: &Path,
    pictures: Vec<Labelled>,
    args: &Args,
) -> Result<AccuracyReport> {
    interrupt::while_writing(|| {
        // Opened before the work, so that a wrong path is known at once.
        let page = args.html.as_deref().map(Pending::create).transpose()?;
        let report = measure(model, onnx, pictures, args)?;
        if let Some(page) = page {
            let given = args.sides.onnx.as_ref();
            let about = About {
                model: args.sides.model.display().to_string(),
                format: model.format().to_string(),
                onnx: given.map(|onnx| onnx.display().to_string()),
                made: SystemTime::now(),
            };
            page.finish(&html(&report, &about))?;
        }
        Ok(report)
    })
}

fn measure(
    model: &Model,
    onnx: &Path,
    pictures: Vec<Labelled>,
    args: &Args,
) -> Result<AccuracyReport> {
    let options = AccuracyOptions {
        pictures,
        images: args.preparing.images(Vec::new()),
        sample: args.sample.unwrap_or(DEFAULT_SAMPLE),
        ort_lib: args.ort_lib.clone(),
    };
    let line = Line::pictures();
    let progress = |step: Step<'_>| {
        match step {
            Step::Preparing(what) => line.say(what.to_owned()),
            Step::Pictures(done, count) => line.count(done, count),
        }
        interrupt::flow()
    };
    let report = paddle2onnx::accuracy::accuracy(model, onnx, &options, &progress);
    report.map_err(|e| match e.kind() {
        ErrorKind::Interrupted => Failure::interrupted(),
        _ => e.into(),
    })
}

fn text(report: &AccuracyReport) -> String {
    let mut text = format!(
        "{HEADING}{:SIDE$}  pictures    Top-1    Top-5  per second{HEADING:#}\n",
        ""
    );
    row(&mut text, "ONNX Runtime", &report.all);
    if let Some(sample) = &report.sample {
        row(&mut text, "ONNX Runtime, sample", &sample.onnx_runtime);
        row(&mut text, "reference, sample", &sample.reference);
        text.push('\n');
        compared(&mut text, sample);
    }
    if !report.unreadable.is_empty() {
        let count = report.unreadable.len();
        let _ = writeln!(
            text,
            "\n{WARNING}Pictures that could not be read: {count}{WARNING:#}"
        );
        for picture in report.unreadable.iter().take(SHOWN) {
            let line = picture
                .line
                .map_or_else(String::new, |line| format!(" (line {line})"));
            let _ = writeln!(text, "{}{line}: {}", picture.path.display(), picture.reason);
        }
        and_more(&mut text, count);
    }
    let _ = writeln!(
        text,
        "\nOutput {} of {} classes, {:.1} s in all\npaddle2onnx-rs {}, ONNX Runtime {}",
        report.output,
        report.classes,
        report.seconds,
        env!("CARGO_PKG_VERSION"),
        report.onnx_runtime
    );
    text
}

fn row(text: &mut String, side: &str, score: &Score) {
    let _ = writeln!(
        text,
        "{side:SIDE$}  {:>8}  {:>5.2} %  {:>5.2} %  {:>10.1}",
        score.pictures, score.top1_percent, score.top5_percent, score.pictures_per_second
    );
}

fn compared(text: &mut String, sample: &Sample) {
    let (count, differing) = (sample.reference.pictures, sample.differing.len());
    if differing == 0 {
        let _ = writeln!(
            text,
            "{GOOD}Both take all {count} pictures of the sample for the same{GOOD:#} (largest difference of a score {:.1e})",
            sample.max_abs
        );
        return;
    }
    let _ = writeln!(
        text,
        "{BAD}{differing} of {count} pictures are taken for different things:{BAD:#}"
    );
    for Differing {
        path,
        class,
        max_abs,
        sides,
    } in sample.differing.iter().take(SHOWN)
    {
        let _ = writeln!(
            text,
            "{} (class {class}), largest difference of a score {max_abs:.1e}",
            path.display()
        );
        for side in sides {
            let first = side.classes.first().map_or_else(String::new, |class| {
                let label = class.label.as_deref().unwrap_or_default();
                format!("{} ({:.4}) {label}", class.index, class.score)
            });
            let line = format!("    {}: {}", side.side.label(), first.trim_end());
            let _ = writeln!(text, "{}", shortened::to_start(&line, 80));
        }
    }
    and_more(text, differing);
}

/// Says how many there are beyond those that are shown.
fn and_more(text: &mut String, count: usize) {
    let rest = count.saturating_sub(SHOWN);
    if rest > 0 {
        let _ = writeln!(text, "and {rest} more");
    }
}
