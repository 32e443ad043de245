//! The top classes of all sides beside each other, as text for people.

use std::fmt::Write;

use paddle2onnx::verify::{Class, SideTop, Top};

use super::shortened;
use super::style::HEADING;

/// The usual width of a terminal, in characters.
const WIDTH: usize = 80;

/// The width of the column of ranks, which stands before those of the sides.
const RANK: usize = 3;

/// The space between the columns of two sides.
const GAP: usize = 2;

/// A table per output, with a column per side.
pub(super) fn tables(text: &mut String, tops: &[Top]) {
    for top in tops {
        let _ = writeln!(text, "{HEADING}top classes: {}{HEADING:#}", top.output);
        table(text, &top.sides);
    }
}

fn table(text: &mut String, sides: &[SideTop]) {
    let width = (WIDTH - RANK) / sides.len().max(1) - GAP;
    let columns: Vec<Vec<String>> = sides.iter().map(|side| column(side, width)).collect();
    let height = columns.iter().map(Vec::len).max().unwrap_or(0);
    for line in 0..height {
        let rank = if line == 0 {
            String::new()
        } else {
            line.to_string()
        };
        let mut row = format!("{rank:RANK$}");
        for column in &columns {
            let cell = column.get(line).map_or("", String::as_str);
            let _ = write!(row, "{cell:width$}{:GAP$}", "");
        }
        let _ = writeln!(text, "{}", row.trim_end());
    }
}

/// The lines of a side's column: its name, then its classes.
fn column(side: &SideTop, width: usize) -> Vec<String> {
    let indices = side.classes.iter().map(|class| class.index.to_string());
    let index_width = indices.map(|index| index.len()).max().unwrap_or(0);
    let classes = side.classes.iter().map(|class| {
        let line = format!("{:index_width$}  {}", class.index, described(class));
        shortened::to_start(&line, width)
    });
    let heading = shortened::to_start(side.side.label(), width);
    std::iter::once(heading).chain(classes).collect()
}

fn described(class: &Class) -> String {
    let score = match class.score {
        score if score.abs() < 1e4 => format!("{score:.4}"),
        score => format!("{score:.3e}"),
    };
    match &class.label {
        Some(label) => format!("{score}  {label}"),
        None => score,
    }
}

#[cfg(test)]
mod tests {
    use paddle2onnx::verify::Side;

    use super::*;

    fn side(side: Side) -> SideTop {
        let class = |index, score| Class {
            index,
            score,
            label: Some(format!("a name that is too long for a column, {index}")),
        };
        SideTop {
            side,
            classes: vec![class(281, 0.5), class(7, 12345.0)],
        }
    }

    #[test]
    fn any_number_of_sides_fits_a_terminal() {
        let all = [
            Side::Reference,
            Side::OnnxRuntime,
            Side::Expected,
            Side::Paddle,
        ];
        for count in 1..=all.len() {
            let sides: Vec<SideTop> = all[..count].iter().map(|s| side(*s)).collect();
            let mut text = String::new();
            table(&mut text, &sides);
            for line in text.lines() {
                assert!(line.chars().count() <= WIDTH, "{line}");
            }
            assert_eq!(text.matches("281  0.5000").count(), count, "{text}");
            assert_eq!(text.matches("  7  1.23").count(), count, "{text}");
        }
    }
}
