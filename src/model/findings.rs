//! What is found on the way to ONNX, with one entry for all ops of one kind of which the same is to be said.

use crate::error::Error;
use crate::graph;
use crate::program::Source;

/// A reason why ops of one kind can't be converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The name of the op in the file.
    pub op: String,
    /// What can't be converted.
    pub reason: String,
    /// The lowest opset in which this reason is gone, if there is one.
    pub needed_opset: Option<u32>,
    /// The places of the ops that it concerns, each as in ``op 12 `relu` in /Net/Block``.
    pub places: Vec<String>,
}

/// Where the ONNX model is not in every respect what the program is, and what follows from that, for ops of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The name of the op in the file.
    pub op: String,
    /// What the model takes for granted, or does in another way.
    pub text: String,
    /// The places of the ops that it concerns, each as in ``op 12 `squeeze2` in /Net/Block``.
    pub places: Vec<String>,
}

/// An obstacle for each kind of op and each reason, in the order of their first places.
pub(super) fn obstacles(found: Vec<(Source, Error)>) -> Vec<Obstacle> {
    let mut obstacles: Vec<Obstacle> = Vec::new();
    for (source, error) in found {
        let place = source.to_string();
        let is_alike =
            |known: &&mut Obstacle| known.op == *source.name && known.reason == error.message();
        match obstacles.iter_mut().find(is_alike) {
            Some(known) => known.places.push(place),
            None => obstacles.push(Obstacle {
                op: source.name.to_string(),
                reason: error.message().to_owned(),
                needed_opset: error.needed_opset(),
                places: vec![place],
            }),
        }
    }
    obstacles
}

/// A note for each kind of op and each text, in the order of their first places.
pub(super) fn notes(found: Vec<graph::Note>) -> Vec<Note> {
    let mut notes: Vec<Note> = Vec::new();
    for note in found {
        let place = note.source.to_string();
        let is_alike = |known: &&mut Note| known.op == *note.source.name && known.text == note.text;
        match notes.iter_mut().find(is_alike) {
            Some(known) => known.places.push(place),
            None => notes.push(Note {
                op: note.source.name.to_string(),
                text: note.text,
                places: vec![place],
            }),
        }
    }
    notes
}
