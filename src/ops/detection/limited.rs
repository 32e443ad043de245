//! A fixed number of boxes in each image, whatever is found, from operators whose results have known extents.

use super::multiclass_nms::Prepared;
use super::suppression::{Candidates, ascending_most, descending};
use crate::error::Result;
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::tensor::DType::{self, Bool, I32, I64};

/// How many boxes are chosen.
pub(super) struct Limited {
    /// In each image, where rows of -1 stand for missing ones.
    pub limit: usize,
    /// How many candidates of each class are looked at.
    pub top_k: usize,
    /// The class that is left out.
    pub background: Option<usize>,
}

/// The boxes among which some are chosen, of one type.
pub(super) struct All {
    /// The sides of all boxes, `[all, 4]`.
    pub flat: TensorId,
    pub dtype: DType,
    /// The number of images, as a vector of one element.
    pub images: TensorId,
    /// The number of boxes of each image, likewise.
    pub boxes: TensorId,
    /// The number of candidates of each class, likewise.
    pub candidates: TensorId,
    /// The positions of the boxes of all candidates, `[images, classes, candidates]`.
    pub order: TensorId,
}

/// What is chosen in each image, `[images, limit]` each.
pub(super) struct Picked {
    /// The number of a candidate among those of all classes.
    position: TensorId,
    /// Whether there is one.
    is_found: TensorId,
    score: TensorId,
}

/// Emits GatherElements along the second of two axes.
fn along_rows(g: &mut Lowering<'_>, x: TensorId, positions: TensorId) -> TensorId {
    let along = [("axis", NodeAttr::Int(1))];
    g.node("GatherElements", &[x, positions], along)
}

impl Limited {
    /// Emits the rows `[images · limit, 6]`, the positions `[images · limit, 1]`, and the numbers of boxes that were found,
    /// `[images]`, of what suppression leaves of the candidates. Classes follow each other.
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
        let all = All {
            flat: prepared.flat,
            dtype: prepared.dtype,
            images: g.shape_slice(prepared.scores, 0, 1),
            boxes: prepared.count,
            candidates: count,
            order,
        };
        let mut picked = self.lower_best(g, &all, scores, DType::F32);
        self.lower_in_order(g, &mut picked);
        // Those that were sorted may have been rounded.
        let (class, place) = all.class_and_place(g, picked.position);
        let start = g.node("Mul", &[class, prepared.count], []);
        let position = g.node("Add", &[start, place], []);
        let flat = g.vector(&[0, -1]);
        let exact = g.node("Reshape", &[prepared.scores, flat], []);
        picked.score = along_rows(g, exact, position);
        Ok(self.lower_results(g, &all, &picked))
    }

    /// Emits the candidates of each image with the highest scores, from the highest on. `scores` are `[images, classes,
    /// candidates]`, and below all others where a candidate is none.
    pub fn lower_best(
        &self,
        g: &mut Lowering<'_>,
        all: &All,
        scores: TensorId,
        dtype: DType,
    ) -> Picked {
        let flat = g.vector(&[0, -1]);
        let scores = g.node("Reshape", &[scores, flat], []);
        // There may be fewer candidates than the limit.
        let infinite = g.scalar(dtype, f64::NEG_INFINITY);
        let limit = g.vector(&[self.limit as i64]);
        let shape = g.concat(&[all.images, limit], 0);
        let none = g.node("Expand", &[infinite, shape], []);
        let filled = g.concat(&[scores, none], 1);
        let (score, position) = descending(g, filled, limit, 1);
        let is_found = g.node("Greater", &[score, infinite], []);
        let zero = g.scalar(I64, 0.0);
        Picked {
            position: g.node("Where", &[is_found, position, zero], []),
            is_found,
            score,
        }
    }

    /// Emits the same candidates in the order of their numbers, but for their scores. Missing ones come last.
    fn lower_in_order(&self, g: &mut Lowering<'_>, picked: &mut Picked) {
        let behind = g.scalar(I64, f64::from(i32::MAX));
        let positions = g.node("Where", &[picked.is_found, picked.position, behind], []);
        let limit = g.vector(&[self.limit as i64]);
        let sorted = ascending_most(g, positions, limit, 1);
        picked.is_found = g.node("Less", &[sorted, behind], []);
        let zero = g.scalar(I64, 0.0);
        picked.position = g.node("Where", &[picked.is_found, sorted, zero], []);
    }

    /// Emits the three results of the boxes that are chosen.
    pub fn lower_results(&self, g: &mut Lowering<'_>, all: &All, picked: &Picked) -> Vec<TensorId> {
        let (class, place) = all.class_and_place(g, picked.position);
        let image = g.count_up(all.images);
        let start = g.node("Mul", &[image, all.boxes], []);
        let start = g.unsqueeze(start, &[1]);
        let index = g.node("Add", &[start, place], []);
        let label = super::labels(g, class, self.background);
        let label = g.cast(label, I64, all.dtype);
        let label = g.unsqueeze(label, &[2]);
        let score = g.unsqueeze(picked.score, &[2]);
        let sides = g.node("Gather", &[all.flat, index], []);
        let rows = g.concat(&[label, score, sides], 2);
        let none = g.scalar(all.dtype, -1.0);
        let is_row = g.unsqueeze(picked.is_found, &[2]);
        let rows = g.node("Where", &[is_row, rows, none], []);
        let none = g.scalar(I64, -1.0);
        let index = g.node("Where", &[picked.is_found, index, none], []);
        let index = g.cast(index, I64, I32);
        let results = [(rows, 6), (index, 1)].map(|(x, last)| {
            let shape = g.vector(&[-1, last]);
            g.node("Reshape", &[x, shape], [])
        });
        let is_found = g.cast(picked.is_found, Bool, I32);
        let numbers = g.reduce("ReduceSum", is_found, &[1], false);
        [&results[..], &[numbers]].concat()
    }
}

impl All {
    /// Emits the class and the position of the box of each candidate, `[images, limit]`.
    fn class_and_place(&self, g: &mut Lowering<'_>, position: TensorId) -> (TensorId, TensorId) {
        let flat = g.vector(&[0, -1]);
        let order = g.node("Reshape", &[self.order, flat], []);
        let class = g.node("Div", &[position, self.candidates], []);
        (class, along_rows(g, order, position))
    }
}
