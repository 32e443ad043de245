//! A report in the XML of JUnit, which CI systems show as tests.

use std::fmt::Write;

use super::report::{ModelResult, Report, Status};
use crate::html::escape;

/// The report as XML: one test case per model and opset.
pub fn junit(report: &Report) -> String {
    let cases = report.results.len();
    let skipped = report.count(Status::ExpectedFailure);
    let (mut failures, mut errors) = (0, 0);
    let mut body = String::new();
    for result in &report.results {
        let regressions = report.regressions.iter();
        let worse = regressions.filter(|r| r.name == result.name && r.opset == result.opset);
        let worse: Vec<&str> = worse
            .map(|regression| regression.message.as_str())
            .collect();
        let outcome = outcome(result, &worse);
        match outcome {
            Outcome::Failure(_) => failures += 1,
            Outcome::Error(_) => errors += 1,
            Outcome::Success | Outcome::Skipped(_) => {}
        }
        case(&mut body, result, &outcome);
    }
    let seconds = report.seconds;
    let counts = format!(
        "tests=\"{cases}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" \
         time=\"{seconds:.3}\""
    );
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuites name=\"paddle2onnx-rs zoo\" {counts}>\n\
         <testsuite name=\"zoo\" {counts}>\n{body}</testsuite>\n</testsuites>\n"
    )
}

enum Outcome {
    Success,
    Skipped(String),
    Failure(String),
    Error(String),
}

fn outcome(result: &ModelResult, worse: &[&str]) -> Outcome {
    match result.status {
        Status::Passed if worse.is_empty() => Outcome::Success,
        Status::Passed => {
            Outcome::Failure(format!("worse than the baseline: {}", worse.join("; ")))
        }
        Status::ExpectedFailure => Outcome::Skipped(format!("fails: {}", result.message)),
        Status::Failed | Status::UnexpectedPass => Outcome::Failure(result.message.clone()),
        Status::Crashed | Status::TimedOut => {
            Outcome::Error(format!("{}: {}", result.status.label(), result.message))
        }
    }
}

/// Writing to a string can't fail.
fn case(body: &mut String, result: &ModelResult, outcome: &Outcome) {
    let (name, seconds) = (escape(&result.title()), result.seconds);
    let _ = write!(
        body,
        "<testcase classname=\"zoo\" name=\"{name}\" time=\"{seconds:.3}\""
    );
    let (element, message) = match outcome {
        Outcome::Success => {
            body.push_str("/>\n");
            return;
        }
        Outcome::Skipped(message) => ("skipped", message),
        Outcome::Failure(message) => ("failure", message),
        Outcome::Error(message) => ("error", message),
    };
    let message = escape(message);
    let _ = writeln!(body, ">\n<{element} message=\"{message}\"/>");
    if !result.stderr.is_empty() {
        let _ = writeln!(body, "<system-err>{}</system-err>", escape(&result.stderr));
    }
    body.push_str("</testcase>\n");
}
