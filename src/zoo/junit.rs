//! A report as JUnit XML, which CI systems show as tests.

use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::report::{ModelResult, Report, Status};
use crate::error::{Error, Result};

/// The report as XML: one test case per model and opset.
pub fn junit(report: &Report) -> Result<String> {
    let mut suite = TestSuite::new("zoo");
    suite.set_time(seconds(report.seconds));
    for result in &report.results {
        let regressions = report.regressions.iter();
        let worse = regressions.filter(|r| r.name == result.name && r.opset == result.opset);
        let worse: Vec<&str> = worse
            .map(|regression| regression.message.as_str())
            .collect();
        let mut case = TestCase::new(result.title(), status(result, &worse));
        case.set_classname("zoo").set_time(seconds(result.seconds));
        // JUnit has but one kind of success. What kind it is stands in what the test has printed.
        if result.status.is_pass() && !result.message.is_empty() {
            case.set_system_out(format!("{}: {}", result.status.label(), result.message));
        }
        if !result.stderr.is_empty() {
            case.set_system_err(&result.stderr);
        }
        suite.add_test_case(case);
    }
    for shard in &report.missing_shards {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message("there is no report of this shard");
        let mut case = TestCase::new(format!("shard {shard}"), status);
        case.set_classname("zoo");
        suite.add_test_case(case);
    }
    let mut xml = quick_junit::Report::new("paddle2onnx-rs zoo");
    xml.set_time(seconds(report.seconds)).add_test_suite(suite);
    xml.to_string()
        .map_err(|e| Error::internal(format!("the report can't be written as XML: {e}")))
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

fn status(result: &ModelResult, worse: &[&str]) -> TestCaseStatus {
    let failed = |kind, message: String| {
        let mut status = TestCaseStatus::non_success(kind);
        status.set_message(message);
        status
    };
    match result.status {
        Status::Passed | Status::PassedByOp | Status::PassedInPart if worse.is_empty() => {
            TestCaseStatus::success()
        }
        Status::Passed | Status::PassedByOp | Status::PassedInPart => failed(
            NonSuccessKind::Failure,
            format!("worse than the baseline: {}", worse.join("; ")),
        ),
        Status::ExpectedFailure => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(format!("fails: {}", result.message));
            status
        }
        Status::Undecided => failed(
            NonSuccessKind::Failure,
            format!("undecided: {}", result.message),
        ),
        Status::Failed | Status::UnexpectedPass => {
            failed(NonSuccessKind::Failure, result.message.clone())
        }
        Status::Crashed | Status::TimedOut => failed(
            NonSuccessKind::Error,
            format!("{}: {}", result.status.label(), result.message),
        ),
    }
}
