//! How a worker ended and what it printed → the result of its task.

use std::process::ExitStatus;

use serde::Deserialize;

use super::manifest::{Expectation, Task};
use super::report::{Agreement, ModelResult, Pair, Status};
use super::settings::Limits;
use super::worker::Ended;

/// How many of the last lines on stderr are kept of a worker that crashed or took too long.
const LAST_LINES: usize = 8;

/// The exit codes of `convert`.
const SUCCESS: i32 = 0;
const NO_PARITY: i32 = 1;
const REFUSED: i32 = 2;
const UNDECIDED: i32 = 3;

/// What `convert --json` prints, as far as it matters here.
#[derive(Deserialize)]
struct Converted {
    nodes: u64,
    seconds: f64,
    verification: Option<Verification>,
}

#[derive(Deserialize, PartialEq, Eq, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Parity,
    ParityByOp,
    PartialParity,
    Undecided,
    NoParity,
}

#[derive(Deserialize)]
struct Verification {
    verdict: Verdict,
    remarks: Vec<String>,
    onnx_runtime: String,
    runs: Vec<Run>,
    per_op: Option<PerOp>,
}

/// The result of the search for the op to blame.
#[derive(Deserialize)]
struct PerOp {
    culprit: Option<Culprit>,
}

#[derive(Deserialize)]
struct Culprit {
    index: u64,
    op: String,
    place: String,
    #[serde(default)]
    within: Vec<Within>,
}

/// A block around an op.
#[derive(Deserialize)]
struct Within {
    index: u64,
    op: String,
    round: Option<u64>,
}

#[derive(Deserialize)]
struct Run {
    inputs: String,
    outputs: Vec<Output>,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    /// Whether it depends on random numbers, so that its values were not compared.
    #[serde(default)]
    random: bool,
    comparisons: Vec<Comparison>,
}

#[derive(Deserialize)]
struct Comparison {
    side: String,
    against: String,
    agrees: bool,
    metrics: Option<Metrics>,
}

/// The distance of two sides. An infinite one is null, since JSON has no infinity.
#[derive(Deserialize)]
struct Metrics {
    max_abs: Option<f64>,
    max_rel: Option<f64>,
    argmax: Option<Argmax>,
}

#[derive(Deserialize)]
struct Argmax {
    same: u64,
    rows: u64,
}

/// A result, and the version of ONNX Runtime that took part in it.
pub(super) struct Judged {
    pub result: ModelResult,
    pub onnx_runtime: Option<String>,
}

/// Judges a task by how its worker ended and what it printed.
pub(super) fn judge(task: &Task, ended: &Ended) -> Judged {
    let mut judged = Judged {
        result: ModelResult {
            name: task.name.clone(),
            opset: task.opset,
            path: task.model.clone(),
            status: Status::Crashed,
            message: String::new(),
            stderr: String::new(),
            seconds: ended.time.as_secs_f64(),
            conversion_seconds: None,
            nodes: None,
            pairs: Vec::new(),
        },
        onnx_runtime: None,
    };
    let result = &mut judged.result;
    let Some(status) = ended.status else {
        result.status = Status::TimedOut;
        result.message = format!("ended after {:.1} s", result.seconds);
        result.stderr = last_lines(&ended.stderr);
        return judged;
    };
    match status.code() {
        Some(REFUSED) => refused(result, &task.expectation, &ended.stderr),
        Some(SUCCESS | NO_PARITY | UNDECIDED) => match serde_json::from_slice(&ended.stdout) {
            Ok(converted) => judged.converted(&task.expectation, converted),
            Err(e) => crashed(
                result,
                format!("its output can't be read: {e}"),
                &ended.stderr,
            ),
        },
        _ => crashed(result, how_it_ended(status), &ended.stderr),
    }
    judged
}

/// The result of a task whose worker could not be started or waited for.
pub(super) fn not_started(task: &Task, why: &str) -> ModelResult {
    let nothing = Ended {
        status: None,
        stdout: Vec::new(),
        stderr: String::new(),
        time: std::time::Duration::ZERO,
    };
    let mut result = judge(task, &nothing).result;
    crashed(&mut result, why.to_owned(), "");
    result
}

fn crashed(result: &mut ModelResult, message: String, stderr: &str) {
    result.status = Status::Crashed;
    result.message = message;
    result.stderr = last_lines(stderr);
}

fn refused(result: &mut ModelResult, expectation: &Expectation, stderr: &str) {
    let said = error_message(stderr);
    match expectation {
        Expectation::Failure {
            message: Some(message),
            ..
        } if !said.contains(message) => {
            result.status = Status::Failed;
            result.message = format!("it fails without saying `{message}`: {said}");
        }
        Expectation::Failure { reason, .. } => {
            result.status = Status::ExpectedFailure;
            result.message = reason.clone();
        }
        Expectation::Parity { .. } => {
            result.status = Status::Failed;
            result.message = said;
        }
    }
}

impl Judged {
    fn converted(&mut self, expectation: &Expectation, converted: Converted) {
        let result = &mut self.result;
        result.conversion_seconds = Some(converted.seconds);
        result.nodes = Some(converted.nodes);
        let Expectation::Parity { limits, .. } = expectation else {
            result.status = Status::UnexpectedPass;
            result.message = "it converts, though the manifest says that it fails".into();
            return;
        };
        let Some(verification) = converted.verification else {
            result.message = "it was not verified".into();
            return;
        };
        result.pairs = pairs(&verification);
        let mut problems: Vec<String> = first_disagreement(&verification).into_iter().collect();
        problems.extend(exceeded(limits, result));
        result.status = match verification.verdict {
            _ if !problems.is_empty() => Status::Failed,
            Verdict::Parity => Status::Passed,
            Verdict::ParityByOp => Status::PassedByOp,
            Verdict::PartialParity => Status::PassedInPart,
            Verdict::Undecided | Verdict::NoParity => Status::Undecided,
        };
        if problems.is_empty() && result.status != Status::Passed {
            problems.clone_from(&verification.remarks);
        }
        result.message = problems.join("; ");
        self.onnx_runtime = Some(verification.onnx_runtime);
    }
}

/// The worst of every pair of sides over all runs and outputs, in the order in which the pairs are first
/// compared.
fn pairs(verification: &Verification) -> Vec<Pair> {
    let mut pairs: Vec<Pair> = Vec::new();
    let outputs = verification.runs.iter().flat_map(|run| &run.outputs);
    let outputs = outputs.filter(|output| !output.random);
    for comparison in outputs.flat_map(|output| &output.comparisons) {
        let metrics = comparison.metrics.as_ref();
        let argmax = metrics.and_then(|metrics| metrics.argmax.as_ref());
        let agreement = Agreement {
            max_abs: metrics.and_then(|metrics| metrics.max_abs),
            max_rel: metrics.and_then(|metrics| metrics.max_rel),
            argmax_same: argmax.map_or(0, |argmax| argmax.same),
            argmax_rows: argmax.map_or(0, |argmax| argmax.rows),
        };
        let (side, against) = (&comparison.side, &comparison.against);
        let known = pairs
            .iter_mut()
            .find(|p| p.side == *side && p.against == *against);
        match known {
            Some(pair) => pair.agreement = pair.agreement.worse(agreement),
            None => pairs.push(Pair {
                side: side.clone(),
                against: against.clone(),
                agreement,
            }),
        }
    }
    pairs
}

/// A sentence on the first comparison that does not agree, how many more there are, and the op to blame.
fn first_disagreement(verification: &Verification) -> Option<String> {
    let mut differing = Vec::new();
    for run in &verification.runs {
        for output in &run.outputs {
            let disagrees = output.comparisons.iter().filter(|c| !c.agrees);
            differing.extend(disagrees.map(|comparison| (run, output, comparison)));
        }
    }
    let Some((run, output, comparison)) = differing.first() else {
        // The worker may have a reason that no comparison shows.
        return (verification.verdict == Verdict::NoParity).then(|| {
            let culprit = culprit(verification).unwrap_or_default();
            format!("no parity{culprit}")
        });
    };
    let pair = Pair {
        side: comparison.side.clone(),
        against: comparison.against.clone(),
        agreement: Agreement {
            max_abs: None,
            max_rel: None,
            argmax_same: 0,
            argmax_rows: 0,
        },
    };
    let distance = match comparison.metrics.as_ref().map(|metrics| metrics.max_abs) {
        None => "another shape or type".to_owned(),
        Some(None) => "max abs infinite".to_owned(),
        Some(Some(max_abs)) => format!("max abs {max_abs:.2e}"),
    };
    let others = match differing.len() - 1 {
        0 => String::new(),
        others => format!(", and {others} more"),
    };
    let culprit = culprit(verification).unwrap_or_default();
    Some(format!(
        "no parity: {}, `{}`, {}: {distance}{others}{culprit}",
        pair.title(),
        output.name,
        run.inputs
    ))
}

/// A clause on the op to blame, if it was found.
fn culprit(verification: &Verification) -> Option<String> {
    let found = verification.per_op.as_ref()?;
    let Culprit {
        index,
        op,
        place,
        within,
    } = found.culprit.as_ref()?;
    let around = within.iter().rev().map(|block| {
        let round = block.round.map(|round| format!("round {round} of "));
        format!(
            ", in {}op {} `{}`",
            round.unwrap_or_default(),
            block.index,
            block.op
        )
    });
    let around: String = around.collect();
    Some(format!(
        "; the op to blame is op {index}, `{op}` ({place}{around})"
    ))
}

/// The limits that a result exceeds, in a phrase for each.
fn exceeded(limits: &Limits, result: &ModelResult) -> Vec<String> {
    let mut problems = Vec::new();
    let worst = result.worst();
    let errors = [
        (
            "max abs",
            limits.max_abs,
            worst.and_then(|worst| worst.max_abs),
        ),
        (
            "max rel",
            limits.max_rel,
            worst.and_then(|worst| worst.max_rel),
        ),
    ];
    for (name, limit, value) in errors {
        match (limit, value) {
            (Some(limit), Some(value)) if value > limit => {
                problems.push(format!(
                    "{name} {value:.2e} exceeds the limit of {limit:.0e}"
                ));
            }
            (Some(limit), None) => {
                problems.push(format!("{name} exceeds the limit of {limit:.0e}"))
            }
            _ => {}
        }
    }
    if let (Some(limit), Some(nodes)) = (limits.nodes, result.nodes)
        && nodes > limit
    {
        problems.push(format!("{nodes} nodes exceed the limit of {limit}"));
    }
    if let Some(worst) = worst.filter(|_| limits.argmax == Some(true)) {
        let others = worst.argmax_rows.saturating_sub(worst.argmax_same);
        if others > 0 {
            problems.push(format!("the argmax of {others} rows differs"));
        }
    }
    problems
}

/// The last message after `error:`, or else the last line that is not empty.
fn error_message(stderr: &str) -> String {
    let lines = stderr.lines().rev();
    let message = lines.clone().find_map(|line| line.strip_prefix("error: "));
    let last = || lines.clone().find(|line| !line.trim().is_empty());
    message
        .or_else(last)
        .unwrap_or("it says nothing")
        .to_owned()
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(LAST_LINES);
    lines.get(first..).unwrap_or_default().join("\n")
}

#[cfg(unix)]
fn how_it_ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;

    /// The signal that the kernel sends when memory runs out.
    const KILL: i32 = 9;
    match status.signal() {
        Some(KILL) => "killed by signal 9, as the system does when memory runs out".into(),
        Some(signal) => format!("killed by signal {signal}"),
        None => exit_code(status),
    }
}

#[cfg(not(unix))]
fn how_it_ended(status: ExitStatus) -> String {
    exit_code(status)
}

fn exit_code(status: ExitStatus) -> String {
    status
        .code()
        .map_or_else(|| "ended".into(), |code| format!("exit code {code}"))
}
