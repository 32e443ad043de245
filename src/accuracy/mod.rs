//! How often a classifier is right: Top-1 and Top-5 over pictures whose classes are known.
//!
//! The ONNX model looks at all pictures in ONNX Runtime, and the original at a sample of them in the
//! [reference interpreter](crate::reference), which is slower. In go a model and [`Labelled`] pictures, out comes an
//! [`AccuracyReport`], which [`html`](fn@html) shows as a page. A picture that can't be read is counted and named, and does
//! not end the run; a class that the model does not have does, since then the list is that of another model.

mod html;
mod list;

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use serde::Serialize;

pub use html::html;
pub use list::{Labelled, read_folders, read_list};

use crate::error::{Error, Result};
use crate::model::Model;
use crate::operator::Precision;
use crate::reference::Reference;
use crate::runtime::{OnnxRuntime, Session};
use crate::tensor::Tensor;
use crate::verify::inputs::Pictures;
use crate::verify::{ImageInputs, Labels, Side, SideTop, distance, scores, top};

/// The size of the sample, where none is asked for.
pub const DEFAULT_SAMPLE: usize = 32;

/// How many pictures are prepared at a time, for each core.
const CHUNK_PER_CORE: usize = 4;

/// What to look at, and how.
#[derive(Debug, Clone)]
pub struct AccuracyOptions {
    /// The pictures.
    pub pictures: Vec<Labelled>,
    /// How they are prepared, and the names of the classes; its paths are not looked at.
    pub images: ImageInputs,
    /// How many pictures the reference looks at, evenly spaced among all.
    pub sample: usize,
    /// The file or folder of ONNX Runtime's library, if it is not to be looked for.
    pub ort_lib: Option<PathBuf>,
}

/// How far the work is.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// What is being prepared.
    Preparing(&'a str),
    /// How many pictures of how many are done.
    Pictures(usize, usize),
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct AccuracyReport {
    /// The version of ONNX Runtime.
    pub onnx_runtime: String,
    /// The output with the scores of the classes.
    pub output: String,
    /// The number of classes.
    pub classes: usize,
    /// What the ONNX model makes of all pictures.
    pub all: Score,
    /// What both make of the sample; None if there is none.
    pub sample: Option<Sample>,
    /// The pictures that could not be read.
    pub unreadable: Vec<Unreadable>,
    /// How long everything took, in seconds: reading and preparing the pictures as well.
    pub seconds: f64,
}

/// How often a side is right.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Score {
    /// How many pictures it looked at.
    pub pictures: usize,
    /// How many of them it gives the highest score in their class.
    pub top1: usize,
    /// How many have their class among the five of the highest scores.
    pub top5: usize,
    /// The share of the former in percent.
    pub top1_percent: f64,
    /// The share of the latter in percent.
    pub top5_percent: f64,
    /// How many pictures it looks at in a second, which are prepared already.
    pub pictures_per_second: f64,
}

/// What both sides make of the pictures of a sample.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// The ONNX model in ONNX Runtime.
    pub onnx_runtime: Score,
    /// The original in the reference interpreter.
    pub reference: Score,
    /// The largest difference of any score; infinite if one is not a number on one side alone.
    pub max_abs: f64,
    /// The pictures that the sides take for different things.
    pub differing: Vec<Differing>,
}

/// A picture that the sides take for different things.
#[derive(Debug, Clone, Serialize)]
pub struct Differing {
    /// The file.
    pub path: PathBuf,
    /// The number of its class.
    pub class: usize,
    /// The largest difference of its scores.
    pub max_abs: f64,
    /// The top five of each side.
    pub sides: Vec<SideTop>,
}

/// A picture that could not be read.
#[derive(Debug, Clone, Serialize)]
pub struct Unreadable {
    /// The file.
    pub path: PathBuf,
    /// The line of the list that names it, from 1, if there is a list.
    pub line: Option<usize>,
    /// Why not.
    pub reason: String,
}

/// Shows all pictures to `onnx`, which was converted from `model`, and a sample of them to `model`. `progress` is told each
/// step, and can end the run.
///
/// # Errors
/// When the model does not take one picture, no output or several are scores of classes, a class is beyond them, labels are
/// of another number, a side can't run at all, no picture could be read, or `progress` breaks off.
pub fn accuracy(
    model: &Model,
    onnx: &Path,
    options: &AccuracyOptions,
    progress: &dyn Fn(Step<'_>) -> ControlFlow<()>,
) -> Result<AccuracyReport> {
    let start = Instant::now();
    let say = |step| match progress(step) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::interrupted()),
    };
    let pictures = Pictures::new(model, &options.images)?;
    let labels = Labels::of_images(&options.images)?;
    let runtime = OnnxRuntime::load(options.ort_lib.as_deref())?;
    say(Step::Preparing("opening the ONNX model"))?;
    let session = runtime.open(onnx)?;
    let count = options.pictures.len();
    let sampled = sample(count, options.sample);
    let mut reference = None;
    if !sampled.is_empty() {
        say(Step::Preparing("loading the weights for the reference"))?;
        reference = Some(model.reference(Precision::Single)?);
    }
    let mut viewer = Viewer {
        model,
        onnx,
        session,
        reference,
        labels,
        output: None,
        all: Tally::default(),
        sample: [Tally::default(), Tally::default()],
        max_abs: 0.0,
        differing: Vec::new(),
    };
    let mut unreadable = Vec::new();
    let chunk = CHUNK_PER_CORE * rayon::current_num_threads();
    let mut done = 0;
    for labelled in options.pictures.chunks(chunk) {
        let paths = labelled.par_iter();
        let prepared: Vec<Result<(String, Tensor)>> = paths
            .map(|labelled| pictures.prepare(&labelled.path))
            .collect();
        for (labelled, input) in labelled.iter().zip(prepared) {
            say(Step::Pictures(done, count))?;
            match input {
                Ok(input) => viewer.look(labelled, input, sampled.contains(&done))?,
                Err(e) => unreadable.push(Unreadable {
                    path: labelled.path.clone(),
                    line: labelled.line,
                    reason: e.message().to_owned(),
                }),
            }
            done += 1;
        }
    }
    viewer.report(runtime.version(), unreadable, start.elapsed())
}

/// The positions of the sample: `size` of `count`, evenly spaced.
fn sample(count: usize, size: usize) -> HashSet<usize> {
    let size = size.min(count);
    (0..size).map(|number| number * count / size).collect()
}

/// Both sides, and what they have seen.
struct Viewer<'m> {
    model: &'m Model,
    onnx: &'m Path,
    session: Session,
    /// None if there is no sample.
    reference: Option<Reference<'m>>,
    labels: Labels,
    /// The output with the scores: its position, its name, and the number of classes. None before the first picture.
    output: Option<(usize, String, usize)>,
    all: Tally,
    /// Those of ONNX Runtime and of the reference.
    sample: [Tally; 2],
    max_abs: f64,
    differing: Vec<Differing>,
}

impl Viewer<'_> {
    /// Shows a picture to ONNX Runtime, and if it is of the sample to the reference.
    fn look(
        &mut self,
        picture: &Labelled,
        input: (String, Tensor),
        is_sampled: bool,
    ) -> Result<()> {
        let inputs = [input];
        let begin = Instant::now();
        let found = self
            .session
            .run(&self.model.as_taken(&inputs))
            .map_err(|e| e.in_file(self.onnx))?;
        let time = begin.elapsed();
        let position = self.output_in(&found, picture)?;
        let runtime = self.row(found.get(position).map(|(_, tensor)| tensor))?;
        self.all.add(&runtime, picture.class, time);
        let Some(reference) = self.reference.as_ref().filter(|_| is_sampled) else {
            return Ok(());
        };
        let begin = Instant::now();
        let found = reference.run(&inputs);
        let found = found.map_err(|e| e.in_file(&self.model.files().program))?;
        let reference_time = begin.elapsed();
        let reference = self.row(found.get(position))?;
        self.sample[0].add(&runtime, picture.class, time);
        self.sample[1].add(&reference, picture.class, reference_time);
        self.compare(picture, &runtime, &reference);
        Ok(())
    }

    /// The position of the output with the scores, which the first picture shows. Refuses a class beyond them.
    fn output_in(&mut self, found: &[(String, Tensor)], picture: &Labelled) -> Result<usize> {
        if self.output.is_none() {
            self.output = Some(only_scores(found).map_err(|e| e.in_file(self.onnx))?);
        }
        let Some((position, name, classes)) = &self.output else {
            return Err(Error::internal("no output was chosen"));
        };
        self.labels.refuse_others_than(*classes)?;
        if picture.class >= *classes {
            let line = picture
                .line
                .map(|line| format!("line {line} of the list: "));
            return Err(Error::invalid(format!(
                "{}the class {} is beyond the output `{name}`, which has the classes 0 to {}",
                line.unwrap_or_default(),
                picture.class,
                classes - 1
            ))
            .in_file(&picture.path));
        }
        Ok(*position)
    }

    /// The scores in an output.
    fn row(&self, output: Option<&Tensor>) -> Result<Vec<f64>> {
        let row = output.and_then(scores);
        let classes = self.output.as_ref().map(|(_, _, classes)| *classes);
        row.filter(|row| Some(row.len()) == classes).ok_or_else(|| {
            Error::invalid(
                "an output has one row of scores for one picture, and another shape for the next",
            )
            .in_file(self.onnx)
        })
    }

    /// Notes how far the sides are apart.
    fn compare(&mut self, picture: &Labelled, runtime: &[f64], reference: &[f64]) {
        let distances = runtime.iter().zip(reference).map(|(a, b)| distance(*a, *b));
        let max_abs = distances.fold(0.0, f64::max);
        self.max_abs = self.max_abs.max(max_abs);
        let sides = [(Side::OnnxRuntime, runtime), (Side::Reference, reference)];
        let sides = sides.map(|(side, row)| SideTop {
            side,
            classes: top(row, &self.labels),
        });
        let first = |side: &SideTop| side.classes.first().map(|class| class.index);
        if first(&sides[0]) != first(&sides[1]) {
            self.differing.push(Differing {
                path: picture.path.clone(),
                class: picture.class,
                max_abs,
                sides: sides.into(),
            });
        }
    }

    fn report(
        self,
        version: &str,
        unreadable: Vec<Unreadable>,
        time: Duration,
    ) -> Result<AccuracyReport> {
        let Some((_, output, classes)) = self.output else {
            let first = unreadable.first();
            let first = first.map(|first| format!("{}: {}", first.path.display(), first.reason));
            return Err(Error::invalid(format!(
                "none of the {} pictures could be read; {}",
                unreadable.len(),
                first.unwrap_or_default()
            )));
        };
        let [onnx_runtime, reference] = self.sample.map(|tally| tally.score());
        Ok(AccuracyReport {
            onnx_runtime: version.to_owned(),
            output,
            classes,
            all: self.all.score(),
            sample: (reference.pictures > 0).then_some(Sample {
                onnx_runtime,
                reference,
                max_abs: self.max_abs,
                differing: self.differing,
            }),
            unreadable,
            seconds: time.as_secs_f64(),
        })
    }
}

/// The only output that is one row of scores: its position, its name and the number of classes.
fn only_scores(found: &[(String, Tensor)]) -> Result<(usize, String, usize)> {
    let rows = found
        .iter()
        .enumerate()
        .filter_map(|(position, (name, tensor))| {
            Some((position, name.clone(), scores(tensor)?.len()))
        });
    let rows: Vec<(usize, String, usize)> = rows.collect();
    match rows.as_slice() {
        [row] => Ok(row.clone()),
        [] => Err(Error::invalid(
            "no output is one row of scores for one picture: this is no classifier",
        )),
        several => {
            let names: Vec<&str> = several.iter().map(|(_, name, _)| name.as_str()).collect();
            Err(Error::invalid(format!(
                "several outputs are rows of scores: {}; choose one with --outputs",
                names.join(", ")
            )))
        }
    }
}

/// What a side has seen.
#[derive(Default)]
struct Tally {
    pictures: usize,
    top1: usize,
    top5: usize,
    time: Duration,
}

impl Tally {
    fn add(&mut self, row: &[f64], class: usize, time: Duration) {
        let best = top(row, &Labels::default());
        let is_class = |found: &crate::verify::Class| found.index == class;
        self.pictures += 1;
        self.top1 += usize::from(best.first().is_some_and(is_class));
        self.top5 += usize::from(best.iter().any(is_class));
        self.time += time;
    }

    fn score(&self) -> Score {
        let percent = |count: usize| count as f64 / self.pictures.max(1) as f64 * 100.0;
        Score {
            pictures: self.pictures,
            top1: self.top1,
            top5: self.top5,
            top1_percent: percent(self.top1),
            top5_percent: percent(self.top5),
            pictures_per_second: self.pictures as f64 / self.time.as_secs_f64().max(1e-9),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_evenly_spaced() {
        let positions = |count, size| {
            let mut positions: Vec<usize> = sample(count, size).into_iter().collect();
            positions.sort_unstable();
            positions
        };
        assert_eq!(positions(10, 4), [0, 2, 5, 7]);
        assert_eq!(positions(3, 9), [0, 1, 2]);
        assert!(positions(0, 4).is_empty() && positions(4, 0).is_empty());
    }

    #[test]
    fn tallies_count_the_first_and_the_first_five() {
        let row = [0.1, 0.7, 0.2, 0.6, 0.5, 0.4, 0.0];
        let mut tally = Tally::default();
        for class in [1, 3, 2, 6, 0] {
            tally.add(&row, class, Duration::from_millis(100));
        }
        let score = tally.score();
        assert_eq!((score.pictures, score.top1, score.top5), (5, 1, 3));
        assert_eq!((score.top1_percent, score.top5_percent), (20.0, 60.0));
        approx::assert_relative_eq!(score.pictures_per_second, 10.0);
    }
}
