//! Notes on a conversion: on stderr, or in what `--json` prints.

use paddle2onnx::Note;
use serde::Serialize;

use super::stderr::note;

/// A note, as `--json` prints it.
#[derive(Serialize)]
pub(super) struct Noted {
    op: String,
    text: String,
    places: Vec<String>,
}

impl From<&Note> for Noted {
    fn from(note: &Note) -> Self {
        Self {
            op: note.op.clone(),
            text: note.text.clone(),
            places: note.places.clone(),
        }
    }
}

/// Says each note, with the first of its places and the number of the others.
pub(super) fn print(notes: &[Note]) {
    for Note { text, places, .. } in notes {
        let place = places.first().map_or("", String::as_str);
        let others = match places.len().saturating_sub(1) {
            0 => String::new(),
            others => format!(", and {others} more"),
        };
        note(&format!("{place}{others}: {text}"));
    }
}
