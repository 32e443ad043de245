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
    let each = found.into_iter().map(|(source, error)| Obstacle {
        op: source.name.to_string(),
        reason: error.message().to_owned(),
        needed_opset: error.needed_opset(),
        places: vec![source.to_string()],
    });
    let alike = |a: &Obstacle, b: &Obstacle| a.op == b.op && a.reason == b.reason;
    gathered(each, alike, |obstacle| &mut obstacle.places)
}

/// A note for each kind of op and each text, in the order of their first places.
pub(super) fn notes(found: Vec<graph::Note>) -> Vec<Note> {
    let each = found.into_iter().map(|note| Note {
        op: note.source.name.to_string(),
        text: note.text,
        places: vec![note.source.to_string()],
    });
    let alike = |a: &Note, b: &Note| a.op == b.op && a.text == b.text;
    gathered(each, alike, |note| &mut note.places)
}

/// The first of those that are alike, with the places of all.
fn gathered<T>(
    each: impl Iterator<Item = T>,
    alike: impl Fn(&T, &T) -> bool,
    places: impl Fn(&mut T) -> &mut Vec<String>,
) -> Vec<T> {
    let mut gathered: Vec<T> = Vec::new();
    for mut one in each {
        match gathered.iter_mut().find(|known| alike(known, &one)) {
            Some(known) => places(known).append(places(&mut one)),
            None => gathered.push(one),
        }
    }
    gathered
}
