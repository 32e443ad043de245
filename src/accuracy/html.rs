//! A report as a page, with the pictures that the sides take for different things.

use std::fmt::Write;
use std::path::Path;

use super::{AccuracyReport, Differing, Sample, Score};
use crate::html::{escape, page, put};
use crate::verify::inputs::thumbnail;
use crate::verify::{About, Class};

/// How many pictures are shown at most, so that the page can be opened whatever has happened.
const SHOWN: usize = 100;

/// The longest side of a picture on the page, in pixels.
const SIDE: u32 = 160;

/// The report as a single page, which loads nothing from elsewhere: pictures are in it.
pub fn html(report: &AccuracyReport, about: &About) -> String {
    let mut body = String::new();
    verdict(&mut body, report);
    scores(&mut body, report);
    if let Some(sample) = report
        .sample
        .as_ref()
        .filter(|sample| !sample.differing.is_empty())
    {
        differing(&mut body, sample);
    }
    unreadable(&mut body, report);
    environment(&mut body, report, about);
    page("Accuracy on pictures", &body)
}

fn verdict(body: &mut String, report: &AccuracyReport) {
    let Some(sample) = &report.sample else {
        return;
    };
    let (class, word) = match sample.differing.len() {
        0 => ("good", "Both sides see the same".to_owned()),
        count => (
            "bad",
            format!("Pictures on which the sides differ: {count}"),
        ),
    };
    put!(body, "<p><span class=\"badge {class}\">{word}</span></p>");
    put!(
        body,
        "<p>On a sample of {} pictures, the largest difference of a score is {:.1e}.</p>",
        sample.reference.pictures,
        sample.max_abs
    );
}

fn scores(body: &mut String, report: &AccuracyReport) {
    put!(
        body,
        "<div class=\"scroll\"><table class=\"numbers\"><thead><tr><th></th><th>pictures</th><th>Top-1</th>\
         <th>Top-5</th><th>pictures per second</th></tr></thead><tbody>"
    );
    let mut row = |name: &str, score: &Score| {
        put!(
            body,
            "<tr><td>{name}</td><td>{}</td><td>{:.2} %</td><td>{:.2} %</td><td>{:.1}</td></tr>",
            score.pictures,
            score.top1_percent,
            score.top5_percent,
            score.pictures_per_second
        );
    };
    row("ONNX Runtime", &report.all);
    if let Some(sample) = &report.sample {
        row("ONNX Runtime, on the sample", &sample.onnx_runtime);
        row("reference, on the sample", &sample.reference);
    }
    put!(body, "</tbody></table></div>");
}

fn differing(body: &mut String, sample: &Sample) {
    put!(
        body,
        "<h2>Pictures that the sides take for different things</h2>"
    );
    for differing in sample.differing.iter().take(SHOWN) {
        let Differing {
            path,
            class,
            max_abs,
            sides,
        } = differing;
        put!(body, "<h3>{}</h3>", escape(&path.display().to_string()));
        picture(body, path);
        put!(
            body,
            "<p>Class {class}. The largest difference of a score is {max_abs:.1e}.</p>"
        );
        put!(body, "<div class=\"scroll\"><table><thead><tr>");
        for side in sides {
            put!(body, "<th>{}</th>", side.side.label());
        }
        put!(body, "</tr></thead><tbody>");
        let height = sides
            .iter()
            .map(|side| side.classes.len())
            .max()
            .unwrap_or(0);
        for rank in 0..height {
            put!(body, "<tr>");
            for side in sides {
                let cell = side.classes.get(rank).map_or_else(String::new, described);
                put!(body, "<td>{cell}</td>");
            }
            put!(body, "</tr>");
        }
        put!(body, "</tbody></table></div>");
    }
    let rest = sample.differing.len().saturating_sub(SHOWN);
    if rest > 0 {
        put!(body, "<p>And {rest} more.</p>");
    }
}

fn described(class: &Class) -> String {
    let label = class.label.as_deref().map_or_else(String::new, escape);
    format!("{} ({:.4}) {label}", class.index, class.score)
}

/// The picture itself, which was read before; if that does not succeed again, the page goes without.
fn picture(body: &mut String, path: &Path) {
    if let Ok(jpeg) = thumbnail(path, SIDE) {
        put!(
            body,
            "<p><img alt=\"\" src=\"data:image/jpeg;base64,{}\"></p>",
            base64(&jpeg)
        );
    }
}

fn unreadable(body: &mut String, report: &AccuracyReport) {
    if report.unreadable.is_empty() {
        return;
    }
    put!(body, "<h2>Pictures that could not be read</h2>\n<ul>");
    for picture in &report.unreadable {
        let line = picture
            .line
            .map_or_else(String::new, |line| format!(" (line {line})"));
        put!(
            body,
            "<li class=\"bad\">{}{line}: {}</li>",
            escape(&picture.path.display().to_string()),
            escape(&picture.reason)
        );
    }
    put!(body, "</ul>");
}

fn environment(body: &mut String, report: &AccuracyReport, about: &About) {
    let onnx = about.onnx.as_deref().unwrap_or("converted for this alone");
    let versions = format!(
        "paddle2onnx-rs {}, ONNX Runtime {}",
        env!("CARGO_PKG_VERSION"),
        report.onnx_runtime
    );
    let made = humantime::format_rfc3339_seconds(about.made).to_string();
    put!(body, "<h2>Environment</h2>\n<dl>");
    for (term, text) in [
        ("Model", about.model.as_str()),
        ("Format", &about.format),
        ("ONNX", onnx),
        (
            "Output",
            &format!("{}, {} classes", report.output, report.classes),
        ),
        ("Time", &format!("{:.1} s", report.seconds)),
        ("Versions", &versions),
        ("Made", &made),
    ] {
        put!(body, "<dt>{term}</dt><dd>{}</dd>", escape(text));
    }
    put!(body, "</dl>");
}

/// Bytes in the letters of base64 (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |position: usize| u32::from(chunk.get(position).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        for (bytes, expected) in [
            ("", ""),
            ("a", "YQ=="),
            ("ab", "YWI="),
            ("abc", "YWJj"),
            ("abcd", "YWJjZA=="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), expected);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xbf]), "+/+/");
    }
}
