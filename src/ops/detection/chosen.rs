//! The results of ops that choose boxes: classes, scores and sides in rows, with the positions and numbers of boxes.

use crate::error::Result;
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::Real;
use crate::kernels::boxes::Sides;
use crate::tensor::DType::{self, Bool, I32, I64};
use crate::tensor::{Element, Tensor};

use super::suppression::{ascending, descending};

/// The boxes that were chosen from several images, image by image.
#[derive(Default)]
pub(super) struct Chosen {
    /// The class, the score and the sides of each.
    rows: Vec<f64>,
    index: Vec<i32>,
    numbers: Vec<i32>,
}

impl Chosen {
    /// Adds those of an image: the class, the score and the position among all boxes of each.
    pub fn add<T: Real>(
        &mut self,
        found: impl Iterator<Item = (usize, T, usize)>,
        boxes: &[Sides<T>],
    ) {
        let before = self.index.len();
        for (class, score, position) in found {
            self.rows.extend([class as f64, Element::to_f64(score)]);
            self.rows.extend(boxes[position].map(Element::to_f64));
            self.index.push(position as i32);
        }
        self.numbers.push((self.index.len() - before) as i32);
    }

    /// The first `count` of the results: the rows `[chosen, 6]`, the positions `[chosen, 1]`, and the numbers `[images]`.
    /// If only the first is asked for, it is `[[-1]]` when nothing was chosen. With a `limit`, there are so many rows and
    /// positions of each image, and missing ones are -1.
    ///
    /// # Errors
    /// When there are too many boxes.
    pub fn results<T: Real>(mut self, count: usize, limit: Option<usize>) -> Result<Vec<Tensor>> {
        if let Some(limit) = limit {
            self.fill(limit);
        }
        let (chosen, images) = (self.index.len(), self.numbers.len());
        let rows = self.rows.into_iter().map(T::from_f64).collect();
        let rows = if count == 1 && chosen == 0 {
            Tensor::from_elements(&[1, 1], vec![-T::one()])?
        } else {
            Tensor::from_elements(&[chosen, 6], rows)?
        };
        let index = Tensor::from_elements(&[chosen, 1], self.index)?;
        let numbers = Tensor::from_elements(&[images], self.numbers)?;
        Ok([rows, index, numbers].into_iter().take(count).collect())
    }
}

impl Chosen {
    /// Gives each image exactly `limit` rows and positions.
    fn fill(&mut self, limit: usize) {
        let (mut rows, mut index, mut start) = (Vec::new(), Vec::new(), 0);
        for number in &self.numbers {
            let end = start + *number as usize;
            rows.extend_from_slice(&self.rows[start * 6..end * 6]);
            index.extend_from_slice(&self.index[start..end]);
            let missing = limit.saturating_sub(*number as usize);
            rows.extend(std::iter::repeat_n(-1.0, missing * 6));
            index.extend(std::iter::repeat_n(-1, missing));
            start = end;
        }
        (self.rows, self.index) = (rows, index);
    }
}

/// The tensors that hold what is known of chosen boxes, `[chosen]` each, image by image.
#[derive(Clone, Copy)]
pub(super) struct Found {
    /// int64.
    pub image: TensorId,
    /// The class, int64.
    pub label: TensorId,
    pub score: TensorId,
    /// The position among all boxes, int64.
    pub index: TensorId,
}

impl Found {
    /// Emits those at `positions`.
    fn at(self, g: &mut Lowering<'_>, positions: TensorId) -> Self {
        let mut at = |x: TensorId| g.node("Gather", &[x, positions], []);
        Self {
            image: at(self.image),
            label: at(self.label),
            score: at(self.score),
            index: at(self.index),
        }
    }

    /// Emits the positions of the `most` boxes of each image with the highest `scores`, which are all if there is no number,
    /// from the highest on. `images` is the number of images, as a vector of one element.
    fn lower_best(
        self,
        g: &mut Lowering<'_>,
        images: TensorId,
        most: Option<usize>,
        scores: TensorId,
    ) -> TensorId {
        let all = g.node("Shape", &[scores], []);
        let (_, order) = descending(g, scores, all, 0);
        let Some(most) = most else {
            return order;
        };
        let image = g.node("Gather", &[self.image, order], []);
        let is_of = self.lower_is_of(g, image, images);
        let zero = g.scalar(I64, 0.0);
        let counts = g.node("CumSum", &[is_of, zero], []);
        let counts = g.node("Mul", &[counts, is_of], []);
        let rank = g.reduce("ReduceMax", counts, &[1], false);
        let most = g.scalar(I64, most as f64);
        let stays = g.compare_or_equal("Less", rank, most);
        g.node("Compress", &[order, stays], [("axis", NodeAttr::Int(0))])
    }

    /// Emits the `most` boxes of each image with the highest `scores`, in the order that they have.
    pub fn best(
        self,
        g: &mut Lowering<'_>,
        images: TensorId,
        most: usize,
        scores: TensorId,
    ) -> Self {
        let best = self.lower_best(g, images, Some(most), scores);
        let (sorted, _) = ascending(g, best);
        self.at(g, sorted)
    }

    /// Emits the `most` boxes of each image with the highest scores, from the highest on; all, if there is no number.
    pub fn ranked(self, g: &mut Lowering<'_>, images: TensorId, most: Option<usize>) -> Self {
        let best = self.lower_best(g, images, most, self.score);
        let image = g.node("Gather", &[self.image, best], []);
        let (_, order) = ascending(g, image);
        let best = g.node("Gather", &[best, order], []);
        self.at(g, best)
    }

    /// Emits whether each box is of each image, as int64, `[chosen, images]`.
    fn lower_is_of(self, g: &mut Lowering<'_>, image: TensorId, images: TensorId) -> TensorId {
        let numbers = g.count_up(images);
        let image = g.unsqueeze(image, &[1]);
        let is_of = g.node("Equal", &[image, numbers], []);
        g.cast(is_of, Bool, I64)
    }

    /// Emits the class, score and sides of each box, `[chosen, 6]`. `boxes` are all boxes, `[all, 4]`.
    pub fn rows(self, g: &mut Lowering<'_>, boxes: TensorId, dtype: DType) -> TensorId {
        let label = g.cast(self.label, I64, dtype);
        let label = g.unsqueeze(label, &[1]);
        let score = g.unsqueeze(self.score, &[1]);
        let sides = g.node("Gather", &[boxes, self.index], []);
        g.concat(&[label, score, sides], 1)
    }

    /// Emits the positions, `[chosen, 1]`, as int32.
    pub fn index(self, g: &mut Lowering<'_>) -> TensorId {
        let index = g.cast(self.index, I64, I32);
        g.unsqueeze(index, &[1])
    }

    /// Emits the number of boxes of each image, as int32.
    pub fn numbers(self, g: &mut Lowering<'_>, images: TensorId) -> TensorId {
        let is_of = self.lower_is_of(g, self.image, images);
        let counts = g.reduce("ReduceSum", is_of, &[0], false);
        g.cast(counts, I64, I32)
    }

    /// Emits If: the rows, or `[[-1]]` if there are none.
    ///
    /// # Errors
    /// When a body can't be built.
    pub fn or_none(self, g: &mut Lowering<'_>, rows: TensorId, dtype: DType) -> Result<TensorId> {
        let count = g.node("Shape", &[self.score], []);
        let count = g.squeeze(count, &[0]);
        let has_some = g.cast(count, I64, Bool);
        let some = g.body(0, |_, _| Ok(vec![rows]))?;
        let none = g.body(0, |g, _| {
            let none = Tensor::from_elements(&[1, 1], vec![-1.0_f32])?;
            Ok(vec![g.constant(none.cast(dtype))])
        })?;
        let branches = [
            ("then_branch", NodeAttr::Graph(some)),
            ("else_branch", NodeAttr::Graph(none)),
        ];
        Ok(g.node("If", &[has_some], branches))
    }
}
