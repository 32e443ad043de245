//! A fixed number of boxes in each image, whatever is found, from operators whose results have known extents.

use super::multiclass_nms::Prepared;
use super::suppression::{Candidates, descending};
use crate::error::Result;
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::tensor::DType::{Bool, I32, I64};
use crate::tensor::Tensor;

/// How many boxes are chosen.
pub(super) struct Limited {
    /// In each image, where rows of -1 stand for missing ones.
    pub limit: usize,
    /// How many candidates of each class are looked at.
    pub top_k: usize,
    /// The class that is left out.
    pub background: Option<usize>,
}

/// Emits GatherElements along the second of two axes.
fn along_rows(g: &mut Lowering<'_>, x: TensorId, positions: TensorId) -> TensorId {
    let along = [("axis", NodeAttr::Int(1))];
    g.node("GatherElements", &[x, positions], along)
}

impl Limited {
    /// Emits the rows `[images · limit, 6]`, the positions `[images · limit, 1]`, and the numbers of boxes that were found,
    /// `[images]`.
    ///
    /// # Errors
    /// When a body can't be built.
    pub fn lower(
        self,
        g: &mut Lowering<'_>,
        candidates: Candidates,
        prepared: &Prepared,
    ) -> Result<Vec<TensorId>> {
        let most = g.vector(&[self.top_k as i64]);
        let count = g.extreme("Min", prepared.count, most, I64);
        let (scores, order) = candidates.lower_kept(g, count)?;
        let flat = g.vector(&[0, -1]);
        let [scores, order] = [scores, order].map(|x| g.node("Reshape", &[x, flat], []));
        let limit = g.vector(&[self.limit as i64]);
        let (position, is_found) = self.lower_best(g, scores, limit);
        let class = g.node("Div", &[position, count], []);
        let place = along_rows(g, order, position);
        let images = g.shape_slice(prepared.scores, 0, 1);
        let image = g.count_up(images);
        let start = g.node("Mul", &[image, prepared.count], []);
        let start = g.unsqueeze(start, &[1]);
        let index = g.node("Add", &[start, place], []);
        let label = super::labels(g, class, self.background);
        let label = g.cast(label, I64, prepared.dtype);
        let label = g.unsqueeze(label, &[2]);
        // Those that were sorted may have been rounded.
        let start = g.node("Mul", &[class, prepared.count], []);
        let position = g.node("Add", &[start, place], []);
        let exact = g.node("Reshape", &[prepared.scores, flat], []);
        let score = along_rows(g, exact, position);
        let score = g.unsqueeze(score, &[2]);
        let sides = g.node("Gather", &[prepared.flat, index], []);
        let rows = g.concat(&[label, score, sides], 2);
        let none = g.scalar(prepared.dtype, -1.0);
        let is_row = g.unsqueeze(is_found, &[2]);
        let rows = g.node("Where", &[is_row, rows, none], []);
        let none = g.scalar(I64, -1.0);
        let index = g.node("Where", &[is_found, index, none], []);
        let index = g.cast(index, I64, I32);
        let results = [(rows, 6), (index, 1)].map(|(x, last)| {
            let shape = g.vector(&[-1, last]);
            g.node("Reshape", &[x, shape], [])
        });
        let is_found = g.cast(is_found, Bool, I32);
        let numbers = g.reduce("ReduceSum", is_found, &[1], false);
        Ok([&results[..], &[numbers]].concat())
    }

    /// Emits the positions of the highest of each row of scores, of which there are `limit`, in ascending order, and whether
    /// there is a score. Where there is none, the position is 0.
    fn lower_best(
        &self,
        g: &mut Lowering<'_>,
        scores: TensorId,
        limit: TensorId,
    ) -> (TensorId, TensorId) {
        // There may be fewer candidates than the limit.
        let infinite = g.constant(Tensor::vector(vec![f32::NEG_INFINITY]));
        let images = g.shape_slice(scores, 0, 1);
        let shape = g.concat(&[images, limit], 0);
        let none = g.node("Expand", &[infinite, shape], []);
        let filled = g.concat(&[scores, none], 1);
        let (best, positions) = descending(g, filled, limit, 1);
        let is_found = g.node("Greater", &[best, infinite], []);
        let behind = g.scalar(I64, f64::from(i32::MAX));
        let positions = g.node("Where", &[is_found, positions, behind], []);
        let attrs = [("axis", NodeAttr::Int(1)), ("largest", NodeAttr::Int(0))];
        let inputs = vec![Some(positions), Some(limit)];
        let sorted = g.node_with_outputs("TopK", inputs, attrs, 2)[0];
        let is_found = g.node("Less", &[sorted, behind], []);
        let zero = g.scalar(I64, 0.0);
        (g.node("Where", &[is_found, sorted, zero], []), is_found)
    }
}
