//! Charts as inline SVG, in the colours of the page.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::html::{escape, put};
use crate::verify::per_op::OpReport;

/// The sizes of the drawings and the margins around their content, in units of the SVG's view box. A
/// narrow drawing fits the screen of a phone; a wide one scrolls there.
const NARROW: f64 = 360.0;
const WIDE: f64 = 720.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 34.0;

/// The beginning of a drawing, which `label` describes to those who can't see it; [`CLOSE`] is its end.
fn open(label: &str, width: f64) -> String {
    let class = if width > NARROW {
        "chart wide"
    } else {
        "chart"
    };
    format!(
        "<div class=\"scroll\"><svg class=\"{class}\" viewBox=\"0 0 {width} {HEIGHT}\" role=\"img\" \
         aria-label=\"{}\">\n",
        escape(label)
    )
}

const CLOSE: &str = "</svg></div>\n";

/// A logarithmic vertical axis, from 10 to the power of `low` to 10 to the power of `high`.
struct Scale {
    low: i32,
    high: i32,
}

impl Scale {
    /// The axis on which all positive, finite numbers of these fit; None if there are none.
    fn of(numbers: impl Iterator<Item = f64>) -> Option<Self> {
        let logs = numbers
            .filter(|n| *n > 0.0 && n.is_finite())
            .map(f64::log10);
        let (low, high) = logs.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), log| {
            (low.min(log), high.max(log))
        });
        (low <= high).then(|| Self {
            low: low.floor() as i32,
            high: (high.floor() as i32) + 1,
        })
    }

    /// The y coordinate of a number; 0 lies at the bottom.
    fn y(&self, number: f64) -> f64 {
        let span = f64::from(self.high - self.low);
        let log = if number > 0.0 {
            number.log10()
        } else {
            f64::NEG_INFINITY
        };
        let part = ((log - f64::from(self.low)) / span).clamp(0.0, 1.0);
        TOP + (1.0 - part) * (HEIGHT - TOP - BOTTOM)
    }

    /// Draws grid lines at powers of ten, with labels.
    fn axis(&self, svg: &mut String) {
        let every = ((self.high - self.low) / 6).max(1);
        for exponent in (self.low..=self.high).step_by(usize::try_from(every).unwrap_or(1)) {
            let y = self.y(10_f64.powi(exponent));
            put!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">1e{exponent}</text>",
                WIDE - RIGHT,
                LEFT - 6.0,
                y + 4.0
            );
        }
    }
}

/// A histogram of errors: by decade, the number of elements with such an error. `exact` is the number
/// of elements without one.
pub(super) fn histogram(decades: &BTreeMap<i32, usize>, exact: usize) -> String {
    let mut bars = vec![("0".to_owned(), exact)];
    if let (Some(first), Some(last)) = (decades.keys().next(), decades.keys().next_back()) {
        // Infinite errors count under the largest i32: up to there the bars would be countless.
        let last = (*last).min(first.saturating_add(40));
        for decade in *first..=last {
            let count = decades.get(&decade).copied().unwrap_or(0);
            bars.push((format!("1e{decade}"), count));
        }
    }
    let most = bars
        .iter()
        .map(|(_, count)| *count)
        .max()
        .unwrap_or(0)
        .max(1);
    let mut svg = open("How many elements have errors of which size", NARROW);
    let step = (NARROW - 2.0 * RIGHT) / bars.len() as f64;
    let floor = HEIGHT - BOTTOM;
    for (position, (label, count)) in bars.iter().enumerate() {
        let height = (floor - TOP - 14.0) * *count as f64 / most as f64;
        let x = RIGHT + step * position as f64;
        let (middle, y) = (x + step / 2.0, floor - height);
        put!(
            svg,
            "<rect class=\"bar\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>\
             <text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            x + step * 0.1,
            step * 0.8,
            floor + 16.0
        );
        if *count > 0 {
            put!(
                svg,
                "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{count}</text>",
                y - 4.0
            );
        }
    }
    put!(
        svg,
        "<line class=\"grid\" x1=\"{RIGHT}\" x2=\"{:.1}\" y1=\"{floor}\" y2=\"{floor}\"/>",
        NARROW - RIGHT
    );
    svg + CLOSE
}

/// The errors of single ops as dots, and the error of all ops so far as a line. Empty if there is no
/// error to draw.
pub(super) fn growth(ops: &[OpReport]) -> String {
    let own = |op: &OpReport| op.own.metrics.as_ref().map(|metrics| metrics.max_abs);
    let all = |op: &OpReport| op.accumulated.as_ref().map(|metrics| metrics.max_abs);
    let numbers = ops.iter().flat_map(|op| [own(op), all(op)]).flatten();
    let Some(scale) = Scale::of(numbers) else {
        return String::new();
    };
    let mut svg = open(
        "The error of each op, and the error of all ops so far",
        WIDE,
    );
    scale.axis(&mut svg);
    let step = (WIDE - LEFT - RIGHT) / ops.len() as f64;
    let x = |position: usize| LEFT + step * (position as f64 + 0.5);
    let line: Vec<String> = ops
        .iter()
        .enumerate()
        .filter_map(|(position, op)| Some(format!("{:.1},{:.1}", x(position), scale.y(all(op)?))))
        .collect();
    put!(
        svg,
        "<polyline class=\"line\" points=\"{}\"/>",
        line.join(" ")
    );
    let radius = (step / 2.0).clamp(1.5, 3.5);
    for (position, op) in ops.iter().enumerate() {
        let (class, error) = match (op.own.agrees, own(op)) {
            (true, Some(error)) => ("dot", error),
            (_, error) => ("dot wrong", error.unwrap_or(f64::MAX)),
        };
        put!(
            svg,
            "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius:.1}\"><title>op {} {} in \
             {}</title></circle>",
            x(position),
            scale.y(error),
            op.index,
            escape(&op.op),
            escape(&op.whole_place())
        );
    }
    put!(
        svg,
        "<text x=\"{LEFT}\" y=\"{:.1}\">first op</text>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">last op</text>",
        HEIGHT - 10.0,
        WIDE - RIGHT,
        HEIGHT - 10.0
    );
    svg + CLOSE
}
