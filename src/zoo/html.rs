//! A report as an HTML page.

use std::fmt::Write;
use std::time::SystemTime;

use super::report::{Agreement, Machine, ModelResult, Report, Status};
use crate::html::{escape, page, put};

/// The report as a page that needs no network. `made` is the time of the run.
pub fn html(report: &Report, made: SystemTime) -> String {
    let mut body = String::new();
    summary(&mut body, report);
    problems(&mut body, report);
    regressions(&mut body, report);
    results(&mut body, report);
    details(&mut body, report);
    environment(&mut body, report, made);
    page("Model zoo: converted and verified", &body)
}

fn class(status: Status) -> &'static str {
    match status {
        Status::Passed | Status::PassedByOp | Status::PassedInPart => "good",
        Status::ExpectedFailure => "neutral",
        _ => "bad",
    }
}

fn summary(body: &mut String, report: &Report) {
    let class = if report.passed { "good" } else { "bad" };
    let (word, summary) = (report.verdict(), report.summary());
    put!(body, "<p><span class=\"badge {class}\">{word}</span></p>");
    put!(body, "<p>{summary}.</p>");
    if let Some(missing) = report.missing_shards() {
        put!(
            body,
            "<p class=\"bad\">There is no report of these shards: {missing}.</p>"
        );
    }
}

/// The results that are not as expected, which stand before the table of all.
fn problems(body: &mut String, report: &Report) {
    for (number, result) in report.results.iter().enumerate() {
        if result.status.is_good() {
            continue;
        }
        put!(
            body,
            "<p>{} <a href=\"#r{number}\">{}</a>: {}</p>",
            badge(result.status),
            escape(&result.title()),
            escape(&result.message)
        );
    }
}

fn regressions(body: &mut String, report: &Report) {
    if !report.regressions.is_empty() {
        put!(body, "<h2>Worse than the baseline</h2>\n<ul>");
        for regression in &report.regressions {
            let name = escape(&regression.name);
            let message = escape(&regression.message);
            put!(
                body,
                "<li class=\"bad\">{name} at opset {}: {message}</li>",
                regression.opset
            );
        }
        put!(body, "</ul>");
    }
    if !report.missing.is_empty() {
        put!(body, "<h2>Only in the baseline</h2>\n<ul>");
        for title in &report.missing {
            put!(body, "<li class=\"neutral\">{}</li>", escape(title));
        }
        put!(body, "</ul>");
    }
}

fn results(body: &mut String, report: &Report) {
    put!(
        body,
        "<h2>Results</h2>\n<div class=\"scroll\"><table class=\"numbers cards\">\n<thead><tr>\
         <th>model</th><th>opset</th><th>nodes</th><th>max abs</th><th>max rel</th>\
         <th>argmax</th><th>time</th><th>result</th></tr></thead>\n<tbody>"
    );
    for (number, result) in report.results.iter().enumerate() {
        let worst = result.worst();
        let cells = [
            ("opset", result.opset.to_string()),
            (
                "nodes",
                result
                    .nodes
                    .map_or_else(|| "–".into(), |nodes| nodes.to_string()),
            ),
            ("max abs", error(worst.map(|worst| worst.max_abs))),
            ("max rel", error(worst.map(|worst| worst.max_rel))),
            ("argmax", worst.map_or_else(|| "–".into(), argmax)),
            ("time", format!("{:.2} s", result.seconds)),
        ];
        let name = escape(&result.name);
        let _ = write!(
            body,
            "<tr><td class=\"name\"><a href=\"#r{number}\">{name}</a></td>"
        );
        for (label, text) in cells {
            let _ = write!(body, "<td data-label=\"{label}\">{text}</td>");
        }
        put!(
            body,
            "<td class=\"status\">{}</td></tr>",
            badge(result.status)
        );
    }
    put!(body, "</tbody>\n</table></div>");
}

fn badge(status: Status) -> String {
    format!(
        "<span class=\"badge {}\">{}</span>",
        class(status),
        status.label()
    )
}

/// An error as text. It is None if nothing was compared, and `Some(None)` if it is infinite or the
/// shapes or element types differ.
fn error(error: Option<Option<f64>>) -> String {
    match error {
        None => "–".into(),
        Some(None) => "∞".into(),
        Some(Some(error)) => format!("{error:.1e}"),
    }
}

fn argmax(agreement: Agreement) -> String {
    format!("{}/{}", agreement.argmax_same, agreement.argmax_rows)
}

fn details(body: &mut String, report: &Report) {
    // A browser opens a closed `details` if a link leads to something inside it, so the ids are inside.
    put!(body, "<h2>Details</h2>");
    for (number, result) in report.results.iter().enumerate() {
        put!(
            body,
            "<details>\n<summary>{} {}</summary>\n<div id=\"r{number}\">",
            escape(&result.title()),
            badge(result.status)
        );
        detail(body, result);
        put!(body, "</div>\n</details>");
    }
}

fn detail(body: &mut String, result: &ModelResult) {
    if !result.message.is_empty() {
        let class = class(result.status);
        put!(body, "<p class=\"{class}\">{}</p>", escape(&result.message));
    }
    if !result.stderr.is_empty() {
        put!(body, "<pre>{}</pre>", escape(&result.stderr));
    }
    let path = result.path.display().to_string();
    put!(body, "<dl><dt>model</dt><dd>{}</dd>", escape(&path));
    if let Some(conversion) = result.conversion_seconds {
        let rest = (result.seconds - conversion).max(0.0);
        put!(body, "<dt>conversion</dt><dd>{conversion:.2} s</dd>");
        if !result.pairs.is_empty() {
            put!(body, "<dt>verification</dt><dd>{rest:.2} s</dd>");
        }
    }
    put!(body, "</dl>");
    if result.pairs.is_empty() {
        return;
    }
    put!(
        body,
        "<div class=\"scroll\"><table class=\"numbers\">\n<thead><tr><th>sides</th>\
         <th>max abs</th><th>max rel</th><th>argmax</th></tr></thead>\n<tbody>"
    );
    for pair in &result.pairs {
        put!(
            body,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&pair.title()),
            error(Some(pair.agreement.max_abs)),
            error(Some(pair.agreement.max_rel)),
            argmax(pair.agreement)
        );
    }
    put!(body, "</tbody>\n</table></div>");
}

fn environment(body: &mut String, report: &Report, made: SystemTime) {
    put!(body, "<h2>Environment</h2>\n<dl>");
    let fields = [
        (
            "date",
            Some(humantime::format_rfc3339_seconds(made).to_string()),
        ),
        ("paddle2onnx-rs", Some(report.program.clone())),
        ("ONNX Runtime", report.onnx_runtime.clone()),
    ];
    let machines = std::iter::once(&report.machine).chain(&report.other_machines);
    let machines = machines.map(|machine| ("machine", Some(described(machine))));
    for (label, text) in fields.into_iter().chain(machines) {
        let text = text.as_deref().unwrap_or("–");
        put!(body, "<dt>{label}</dt><dd>{}</dd>", escape(text));
    }
    put!(body, "</dl>");
}

/// A machine in words, as in `linux x86_64, 4 cores, 15.2 GB of memory available`.
fn described(machine: &Machine) -> String {
    let memory = machine.memory.map_or_else(String::new, |bytes| {
        format!(", {:.1} GB of memory available", bytes as f64 / 1e9)
    });
    format!("{}, {} cores{memory}", machine.system, machine.cores)
}
