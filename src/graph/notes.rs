//! Notes on a lowering: where the ONNX model is not in every respect what the program is.

use std::collections::BTreeSet;
use std::ops::Range;

use super::context::Lowering;
use super::nodes::Graph;
use crate::program::Source;

/// A note on one op, for whoever runs the ONNX model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    /// The op.
    pub source: Source,
    /// What the model takes for granted, or does in another way, and what follows from that.
    pub text: String,
}

/// A note, and the tensors that the op has made: if no node of the finished graph makes one of them, nothing is to be
/// noted.
pub(super) struct Pending {
    pub note: Note,
    pub tensors: Range<usize>,
}

impl Lowering<'_> {
    /// Notes on the op that is being lowered where ONNX can't follow Paddle: what the model takes for granted, or does
    /// in another way. The text is a clause in lower case, and says what follows from that. Notes of an op whose nodes are
    /// not needed in the end are dropped.
    pub fn note(&mut self, text: impl Into<String>) {
        self.note_on(&self.source.clone(), text);
    }

    /// Notes as [`Lowering::note`] does, on any op.
    pub fn note_on(&mut self, source: &Source, text: impl Into<String>) {
        let note = Note {
            source: source.clone(),
            text: text.into(),
        };
        if !self.notes.iter().any(|known| known.note == note) {
            let start = self.op_start;
            self.notes.push(Pending {
                note,
                tensors: start..start,
            });
        }
    }

    /// Ends the notes on an op, whose tensors are those that were made since it began.
    pub(super) fn end_notes(&mut self) {
        let (start, end) = (self.op_start, self.graph.tensors.len());
        for pending in self.notes.iter_mut().rev() {
            if pending.note.source != self.source {
                break;
            }
            pending.tensors = start..end;
        }
    }
}

/// The notes on ops of which something is left in the graph. An op without any tensor of its own, whose results are
/// those of other ops, keeps its notes.
pub(super) fn kept(pending: Vec<Pending>, graph: &Graph) -> Vec<Note> {
    let functions = graph.functions.iter();
    let inside = functions.flat_map(|function| &function.body.nodes);
    let mut made = BTreeSet::new();
    for node in graph.nodes.iter().chain(inside) {
        node.visit(&mut |node| made.extend(node.outputs.iter().map(|tensor| tensor.index())));
    }
    let is_left = |pending: &Pending| {
        pending.tensors.is_empty() || made.range(pending.tensors.clone()).next().is_some()
    };
    let left = pending.into_iter().filter(is_left);
    left.map(|pending| pending.note).collect()
}
