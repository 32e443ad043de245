//! `verify`.

use std::path::PathBuf;
use std::time::SystemTime;

use paddle2onnx::cli::printed;
use paddle2onnx::verify::{
    About, DEFAULT_BATCHES, Distribution, ImageInputs, Inputs, NamedTensors, RandomInputs, Range,
    Report, Tolerance, VerifyOptions, html,
};
use paddle2onnx::{Error, Model, Result};
use pyo3::prelude::*;

use crate::reading::Reading;
use crate::tensors::{self, Given, Returned};
use crate::work;

/// What to compare, and how, as a dictionary.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Comparing {
    onnx: PathBuf,
    /// How the page calls the ONNX model; None if it was converted for the comparison alone.
    onnx_name: Option<String>,
    /// Arrays, one list per run. An array without a name is that of the only input.
    arrays: Vec<Vec<Given>>,
    files: Vec<PathBuf>,
    expected_arrays: Vec<Vec<Given>>,
    expected_files: Vec<PathBuf>,
    images: Vec<PathBuf>,
    labels: Option<PathBuf>,
    resize_short: Option<usize>,
    crop: Option<usize>,
    mean: Option<[f32; 3]>,
    std: Option<[f32; 3]>,
    batch: Vec<usize>,
    shapes: Vec<(String, Vec<usize>)>,
    /// Each as `LOW..HIGH`.
    ranges: Vec<(String, String)>,
    seed: u64,
    uniform: bool,
    atol: Option<f64>,
    rtol: Option<f64>,
    per_op: bool,
    paddle: Option<PathBuf>,
    ort_lib: Option<PathBuf>,
}

/// The verdict, the text, the JSON and the page of a report, and what each side gave by run and output, with the names of
/// the sides.
type Reported<'py> = (bool, String, String, String, Vec<Vec<Vec<Returned<'py>>>>);

/// Compares a model with the ONNX model that was made of it. `progress` is called with each step.
#[pyfunction]
pub fn verify<'py>(
    py: Python<'py>,
    reading: Reading,
    comparing: Comparing,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<Reported<'py>> {
    let (report, page) = work::run(py, progress, |reporter| {
        let model = reading.open()?;
        let options = VerifyOptions {
            stop: Some(reporter.stop().clone()),
            ..comparing.options(&model)?
        };
        let say = |step: &str| reporter.tell((step.to_owned(),));
        let report = paddle2onnx::verify::verify(&model, &comparing.onnx, &options, &say)?;
        let about = About {
            model: model.files().program.display().to_string(),
            format: model.format().to_string(),
            onnx: comparing.onnx_name.clone(),
            made: SystemTime::now(),
        };
        let page = html(&report, &about);
        Ok((report, page))
    })?;
    let printed = printed::verification(&report);
    let values = values(py, &report);
    let agrees = report.verdict.is_pass();
    Ok((agrees, printed.text, printed.json, page, values))
}

/// What each side gave, by run and output.
fn values<'py>(py: Python<'py>, report: &Report) -> Vec<Vec<Vec<Returned<'py>>>> {
    let runs = report.runs.iter();
    runs.map(|run| {
        let outputs = run.outputs.iter();
        let outputs = outputs.map(|output| {
            let sides = output.values.iter();
            let sides = sides.map(|(side, tensor)| {
                let name = side.label().to_lowercase().replace(' ', "_");
                tensors::returned(py, &name, tensor)
            });
            sides.collect()
        });
        outputs.collect()
    })
    .collect()
}

impl Comparing {
    fn options(&self, model: &Model) -> Result<VerifyOptions> {
        let default = Tolerance::default();
        let tolerance = (self.atol.is_some() || self.rtol.is_some()).then(|| Tolerance {
            atol: self.atol.unwrap_or(default.atol),
            rtol: self.rtol.unwrap_or(default.rtol),
        });
        let summary = model.summary();
        let outputs = summary.outputs.iter().map(|port| port.name.as_str());
        let expected = self.expected_arrays.iter();
        let expected = expected.map(|arrays| named(arrays, &outputs.clone().collect::<Vec<_>>()));
        Ok(VerifyOptions {
            inputs: self.inputs(model)?,
            expected: self.expected_files.clone(),
            expected_tensors: expected.collect::<Result<_>>()?,
            paddle: self.paddle.clone(),
            tolerance,
            per_op: self.per_op,
            ort_lib: self.ort_lib.clone(),
            keep_values: true,
            ..VerifyOptions::default()
        })
    }

    fn inputs(&self, model: &Model) -> Result<Inputs> {
        if !self.arrays.is_empty() {
            let summary = model.summary();
            let names: Vec<&str> = summary.inputs.iter().map(|p| p.name.as_str()).collect();
            let runs = self.arrays.iter().map(|arrays| named(arrays, &names));
            return Ok(Inputs::Tensors(runs.collect::<Result<_>>()?));
        }
        if !self.files.is_empty() {
            return Ok(Inputs::Files(self.files.clone()));
        }
        if !self.images.is_empty() {
            return Ok(Inputs::Images(ImageInputs {
                labels: self.labels.clone(),
                resize_short: self.resize_short,
                crop: self.crop,
                mean: self.mean.unwrap_or(ImageInputs::MEAN),
                std: self.std.unwrap_or(ImageInputs::STD),
                ..ImageInputs::new(self.images.clone())
            }));
        }
        let ranges = self.ranges.iter().map(|(name, range)| {
            let range: Result<Range, String> = range.parse();
            let range = range.map_err(|e| Error::invalid(format!("ranges[{name:?}]: {e}")))?;
            Ok((name.clone(), range))
        });
        Ok(Inputs::Random(RandomInputs {
            batches: if self.batch.is_empty() {
                DEFAULT_BATCHES.to_vec()
            } else {
                self.batch.clone()
            },
            shapes: self.shapes.clone(),
            ranges: ranges.collect::<Result<_>>()?,
            seed: self.seed,
            distribution: if self.uniform {
                Distribution::Uniform
            } else {
                Distribution::Normal
            },
            ..RandomInputs::default()
        }))
    }
}

/// The tensors of a run. One without a name is the only one of `names`.
///
/// # Errors
/// When there is no name and several could be meant, or an array is of no type that tensors have.
fn named(arrays: &[Given], names: &[&str]) -> Result<NamedTensors> {
    let mut tensors = tensors::given(arrays)?;
    for (name, _) in &mut tensors {
        if !name.is_empty() {
            continue;
        }
        match names {
            [only] => (*only).clone_into(name),
            _ => {
                let (count, names) = (names.len(), names.join(", "));
                return Err(Error::invalid(format!(
                    "there are {count} tensors ({names}), so that arrays need their names: give a dictionary"
                )));
            }
        }
    }
    Ok(tensors)
}
