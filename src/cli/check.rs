//! `convert --check`: what stands in the way of a conversion.

use std::fmt::Write;

use paddle2onnx::{Model, Note, Obstacle};
use serde::Serialize;

use super::notes::{self, Noted};
use super::outcome::{Outcome, Result};
use super::stdout::{print, print_json};
use super::style::{BAD, GOOD};

/// How many places of one obstacle the text shows.
const PLACES: usize = 3;

/// What `--json` prints.
#[derive(Serialize)]
pub(super) struct Checked<'a> {
    convertible: bool,
    opset: u32,
    obstacles: Vec<Listed<'a>>,
    /// What is missing of the weights, without which nothing can be written, and what to do.
    missing_weights: Option<&'a str>,
    notes: Vec<Noted>,
}

#[derive(Serialize)]
struct Listed<'a> {
    op: &'a str,
    reason: &'a str,
    needed_opset: Option<u32>,
    places: &'a [String],
}

/// What stands in the way of a conversion of a model to an opset, and the notes on it if nothing does.
pub(super) struct Found<'m> {
    model: &'m Model,
    opset: u32,
    obstacles: Vec<Obstacle>,
    notes: Vec<Note>,
}

impl<'m> Found<'m> {
    /// # Errors
    /// When `opset` can't be written at all.
    pub fn of(model: &'m Model, opset: u32) -> paddle2onnx::Result<Self> {
        let obstacles = model.obstacles(opset)?;
        let notes = if obstacles.is_empty() {
            model.notes(opset)?
        } else {
            Vec::new()
        };
        Ok(Self {
            model,
            opset,
            obstacles,
            notes,
        })
    }

    /// What `--json` prints.
    pub fn checked(&self) -> Checked<'_> {
        Checked {
            convertible: self.obstacles.is_empty(),
            opset: self.opset,
            obstacles: self.obstacles.iter().map(listed).collect(),
            missing_weights: self.model.missing_weights(),
            notes: self.notes.iter().map(Noted::from).collect(),
        }
    }

    /// What is printed without `--json`.
    pub fn text(&self) -> String {
        let mut text = text(&self.obstacles, self.opset);
        if let Some(what) = self.model.missing_weights() {
            let _ = writeln!(text, "The weights are missing: {what}");
        }
        text
    }
}

/// Lists the obstacles of a conversion to `opset`, and writes no model.
pub(super) fn run(model: &Model, opset: u32, json: bool) -> Result<Outcome> {
    let found = Found::of(model, opset)?;
    if json {
        print_json(&found.checked())?;
    } else {
        notes::print(&found.notes);
        print(&found.text())?;
    }
    Ok(if found.obstacles.is_empty() {
        Outcome::Success
    } else {
        Outcome::NotConvertible
    })
}

fn listed(obstacle: &Obstacle) -> Listed<'_> {
    Listed {
        op: &obstacle.op,
        reason: &obstacle.reason,
        needed_opset: obstacle.needed_opset,
        places: &obstacle.places,
    }
}

fn text(obstacles: &[Obstacle], opset: u32) -> String {
    if obstacles.is_empty() {
        return format!("{GOOD}Nothing stands in the way of opset {opset}{GOOD:#}\n");
    }
    let mut text = String::new();
    let mut count = 0;
    for obstacle in obstacles {
        count += obstacle.places.len();
        let _ = writeln!(
            text,
            "{BAD}{}{BAD:#} ({} ×): {}",
            obstacle.op,
            obstacle.places.len(),
            obstacle.reason
        );
        for place in obstacle.places.iter().take(PLACES) {
            let _ = writeln!(text, "    {place}");
        }
        let rest = obstacle.places.len().saturating_sub(PLACES);
        if rest > 0 {
            let _ = writeln!(text, "    and {rest} more");
        }
    }
    let _ = writeln!(
        text,
        "\n{BAD}{count} ops stand in the way of opset {opset}{BAD:#}"
    );
    text
}
