//! ONNX's NonMaxSuppression with the results of Paddle's: what all ops share that drop boxes for better ones.

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::program::Fact;
use crate::tensor::DType::{self, Bool, F32, I64};
use crate::tensor::{Dim, Tensor};

/// Boxes whose sides are shorter or longer than this have areas that float32 does not hold.
const EXTREME_SIDES: [f64; 2] = [1e-18, 1e18];

/// The boxes among which some are chosen, and how.
#[derive(Clone, Copy)]
pub(super) struct Candidates {
    /// `[rows, boxes, 4]`: the sides of boxes. Each row is on its own.
    pub boxes: TensorId,
    /// `[rows, classes, boxes]`: the score of each box in each class. Each class is on its own.
    pub scores: TensorId,
    /// The element type of both.
    pub dtype: DType,
    /// Only boxes of higher scores are candidates. None if all are.
    pub score_threshold: Option<f64>,
    /// A box is dropped that overlaps a better one by more.
    pub threshold: f64,
    /// Whether boxes reach from the left side to the right one. Otherwise they are pixels, the last of which is included,
    /// so that a box is wider and higher by 1.
    pub is_normalized: bool,
}

impl Candidates {
    /// Emits what chooses boxes: the row, class and position of each in an int64 matrix `[chosen, 3]`, in the order of
    /// rows, classes, and scores from the highest on. Equal scores keep the order of their boxes.
    ///
    /// That is NonMaxSuppression, unless Paddle's definition of the overlap differs: it takes boxes without an area that
    /// touch for equal, gives some overlap to boxes that end before they begin, and none to boxes of pixels less than one
    /// pixel apart, which matters if they are very small. ONNX can't say which is meant. So a run in which a candidate is
    /// such a box takes the other branch of an If, where a Loop follows Paddle's definition. So does float64, and a
    /// threshold that NonMaxSuppression does not take.
    ///
    /// # Errors
    /// When a body can't be built.
    pub fn lower(self, g: &mut Lowering<'_>) -> Result<TensorId> {
        if self.dtype != F32 || !(0.0..=1.0).contains(&self.threshold) {
            return self.lower_loop(g);
        }
        let is_usual = self.lower_is_usual(g);
        let usual = g.body(0, |g, _| Ok(vec![self.lower_node(g)]))?;
        let unusual = g.body(0, |g, _| Ok(vec![self.lower_loop(g)?]))?;
        let branches = [
            ("then_branch", NodeAttr::Graph(usual)),
            ("else_branch", NodeAttr::Graph(unusual)),
        ];
        Ok(g.node("If", &[is_usual], branches))
    }

    /// Emits NonMaxSuppression.
    fn lower_node(self, g: &mut Lowering<'_>) -> TensorId {
        let boxes = if self.is_normalized {
            self.boxes
        } else {
            let wider = Tensor::vector(vec![0.0_f32, 0.0, 1.0, 1.0]);
            let wider = g.constant(wider);
            g.node("Add", &[self.boxes, wider], [])
        };
        let most = g.shape_slice(boxes, 1, 2);
        let threshold = g.constant(Tensor::vector(vec![self.threshold as f32]));
        let least = self.score_threshold;
        let least = least.map(|least| g.constant(Tensor::vector(vec![least as f32])));
        let mut inputs = vec![Some(boxes), Some(self.scores), Some(most), Some(threshold)];
        inputs.extend(least.map(Some));
        g.node_with_outputs("NonMaxSuppression", inputs, [], 1)[0]
    }

    /// Emits whether NonMaxSuppression and Paddle agree on the overlaps of all candidates.
    fn lower_is_usual(self, g: &mut Lowering<'_>) -> TensorId {
        let [mut least, most] = EXTREME_SIDES;
        if !self.is_normalized {
            // Boxes of pixels with a gap between them overlap by less than 1 / (2 · side + 1) in ONNX.
            least = (0.5 * (1.0 / self.threshold - 1.0) * 1.001).clamp(least, most);
        }
        let ends = g.slice(self.boxes, 2, 4, 2);
        let starts = g.slice(self.boxes, 0, 2, 2);
        let sides = g.node("Sub", &[ends, starts], []);
        let (low, high) = (g.scalar(self.dtype, least), g.scalar(self.dtype, most));
        let shortest = g.reduce("ReduceMin", sides, &[2], false);
        let longest = g.reduce("ReduceMax", sides, &[2], false);
        let is_long = g.node("Greater", &[shortest, low], []);
        let is_short = g.node("Less", &[longest, high], []);
        let is_usual = g.node("And", &[is_long, is_short], []);
        let mut is_unusual = g.node("Not", &[is_usual], []);
        if let Some(threshold) = self.score_threshold {
            let best = g.reduce("ReduceMax", self.scores, &[1], false);
            let threshold = g.scalar(self.dtype, threshold);
            let is_candidate = g.node("Greater", &[best, threshold], []);
            is_unusual = g.node("And", &[is_unusual, is_candidate], []);
        }
        let unusual = g.cast(is_unusual, Bool, I64);
        let count = g.reduce("ReduceSum", unusual, &[], false);
        let zero = g.scalar(I64, 0.0);
        g.node("Equal", &[count, zero], [])
    }

    /// Emits what [`Candidates::lower`] does by Paddle's definition of the overlap.
    fn lower_loop(self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (is_candidate, _) = self.lower_masked(g);
        let candidates = g.cast(is_candidate, Bool, I64);
        let counts = g.reduce("ReduceSum", candidates, &[2], false);
        let most = g.reduce("ReduceMax", counts, &[], false);
        let most = g.unsqueeze(most, &[0]);
        let (scores, order) = self.lower_kept(g, most)?;
        let infinite = g.scalar(F32, f64::NEG_INFINITY);
        let stays = g.node("Greater", &[scores, infinite], []);
        let found = g.node("NonZero", &[stays], []);
        let found = g.transpose(found, &[1, 0]);
        let position = g.node("GatherND", &[order, found], []);
        let position = g.unsqueeze(position, &[1]);
        let place = g.slice(found, 0, 2, 1);
        Ok(g.concat(&[place, position], 1))
    }

    /// Emits whether boxes are candidates, and the scores, which are below all others where they are not.
    fn lower_masked(self, g: &mut Lowering<'_>) -> (TensorId, TensorId) {
        let infinite = g.scalar(self.dtype, f64::NEG_INFINITY);
        let threshold = self.score_threshold.unwrap_or(f64::NEG_INFINITY);
        let threshold = g.scalar(self.dtype, threshold);
        let is_candidate = g.node("Greater", &[self.scores, threshold], []);
        let scores = g.node("Where", &[is_candidate, self.scores, infinite], []);
        (is_candidate, scores)
    }

    /// Emits what stays of the first `count` candidates of each class: their scores in float32, `[rows, classes, count]`,
    /// from the highest on, which are below all others where a box is dropped or no candidate, and the positions of their
    /// boxes. A Loop has each candidate in turn drop those behind it.
    ///
    /// # Errors
    /// When a body can't be built.
    pub fn lower_kept(self, g: &mut Lowering<'_>, count: TensorId) -> Result<(TensorId, TensorId)> {
        let (_, scores) = self.lower_masked(g);
        // Paddle compares scores of float64 as float32.
        let scores = g.cast(scores, self.dtype, F32);
        let (scores, order) = descending(g, scores, count, 2);
        let infinite = g.scalar(F32, f64::NEG_INFINITY);
        let is_candidate = g.node("Greater", &[scores, infinite], []);
        let sides = self.lower_sorted_sides(g, order);
        let stays = self.lower_rounds(g, count, sides, is_candidate)?;
        Ok((g.node("Where", &[stays, scores, infinite], []), order))
    }

    /// Emits the left, top, right and bottom sides of the boxes in their `order`, `[rows, classes, candidates]`: as many
    /// each.
    pub fn lower_sorted_sides(self, g: &mut Lowering<'_>, order: TensorId) -> [TensorId; 4] {
        let four = g.vector(&[4]);
        let boxes = g.transpose(self.boxes, &[2, 0, 1]);
        let boxes = g.unsqueeze(boxes, &[2]);
        let shape = g.node("Shape", &[self.scores], []);
        let shape = g.concat(&[four, shape], 0);
        let boxes = g.node("Expand", &[boxes, shape], []);
        let shape = g.node("Shape", &[order], []);
        let shape = g.concat(&[four, shape], 0);
        let order = g.node("Expand", &[order, shape], []);
        let along = [("axis", NodeAttr::Int(3))];
        let sides = g.node("GatherElements", &[boxes, order], along);
        [0, 1, 2, 3].map(|side| {
            let side = g.slice(sides, side, side + 1, 0);
            g.squeeze(side, &[0])
        })
    }

    /// Emits the rounds, of which there are `count`: in each, the candidate of its number drops those behind it that
    /// overlap it by more than the threshold, if it has not been dropped itself.
    fn lower_rounds(
        self,
        g: &mut Lowering<'_>,
        count: TensorId,
        sides: [TensorId; 4],
        is_candidate: TensorId,
    ) -> Result<TensorId> {
        let area = self.lower_area(g, sides);
        let positions = g.count_up(count);
        let rounds = g.squeeze(count, &[0]);
        let body = g.body(3, |g, inputs| {
            let &[number, _, stays] = inputs else {
                return Err(Error::internal("a body has other inputs than asked for"));
            };
            let mut one = |all: TensorId| {
                let along = [("axis", NodeAttr::Int(2))];
                let one = g.node("Gather", &[all, number], along);
                g.unsqueeze(one, &[2])
            };
            let stays_itself = one(stays);
            let other = (sides.map(&mut one), one(area));
            let overlap = self.lower_overlap(g, (sides, area), other);
            let threshold = g.scalar(self.dtype, self.threshold);
            // NaN is not within the threshold.
            let fits = g.compare_or_equal("Less", overlap, threshold);
            let clashes = g.node("Not", &[fits], []);
            let is_behind = g.node("Greater", &[positions, number], []);
            let is_dropped = g.node("And", &[clashes, is_behind], []);
            let is_dropped = g.node("And", &[is_dropped, stays_itself], []);
            let is_left = g.node("Not", &[is_dropped], []);
            let stays = g.node("And", &[stays, is_left], []);
            let goes_on = g.constant(Tensor::scalar(true));
            Ok(vec![goes_on, stays])
        })?;
        let given = [
            Fact::new(I64, Vec::new()),
            Fact::new(Bool, Vec::new()),
            Fact::new(Bool, vec![Dim::Unknown; 3]),
        ];
        let attrs = [("body", NodeAttr::Graph(body.given(given.into())))];
        let inputs = vec![Some(rounds), None, Some(is_candidate)];
        Ok(g.node_with_outputs("Loop", inputs, attrs, 1)[0])
    }

    /// Emits the area of each box, which is 0 where it ends before it begins.
    pub fn lower_area(
        self,
        g: &mut Lowering<'_>,
        [left, top, right, bottom]: [TensorId; 4],
    ) -> TensorId {
        let zero = g.scalar(self.dtype, 0.0);
        let width = g.node("Sub", &[right, left], []);
        let height = g.node("Sub", &[bottom, top], []);
        let wide = self.lower_wider(g, width);
        let high = self.lower_wider(g, height);
        let area = g.node("Mul", &[wide, high], []);
        let ends_early = g.node("Less", &[width, zero], []);
        let ends_above = g.node("Less", &[height, zero], []);
        let has_none = g.node("Or", &[ends_early, ends_above], []);
        g.node("Where", &[has_none, zero, area], [])
    }

    /// Emits a width or height with the pixel that is included at its end.
    fn lower_wider(self, g: &mut Lowering<'_>, extent: TensorId) -> TensorId {
        if self.is_normalized {
            return extent;
        }
        let one = g.scalar(self.dtype, 1.0);
        g.node("Add", &[extent, one], [])
    }

    /// Emits the overlap of boxes, given with their areas, by Paddle's definition. That of two boxes without an area that
    /// touch is NaN.
    pub fn lower_overlap(
        self,
        g: &mut Lowering<'_>,
        (a, a_area): ([TensorId; 4], TensorId),
        (b, b_area): ([TensorId; 4], TensorId),
    ) -> TensorId {
        let mut extent = |start: usize, end: usize| {
            let first = g.node("Max", &[a[start], b[start]], []);
            let last = g.node("Min", &[a[end], b[end]], []);
            let extent = g.node("Sub", &[last, first], []);
            let extent = self.lower_wider(g, extent);
            let is_behind = g.node("Greater", &[b[start], a[end]], []);
            let is_before = g.node("Less", &[b[end], a[start]], []);
            (extent, g.node("Or", &[is_behind, is_before], []))
        };
        let (width, is_beside) = extent(0, 2);
        let (height, is_above) = extent(1, 3);
        let common = g.node("Mul", &[width, height], []);
        let both = g.node("Add", &[a_area, b_area], []);
        let covered = g.node("Sub", &[both, common], []);
        let overlap = g.node("Div", &[common, covered], []);
        let is_apart = g.node("Or", &[is_beside, is_above], []);
        let zero = g.scalar(self.dtype, 0.0);
        g.node("Where", &[is_apart, zero, overlap], [])
    }
}

/// Emits TopK: the `count` largest elements along an axis from the largest on, and their positions. Equal ones keep their
/// order.
pub(super) fn descending(
    g: &mut Lowering<'_>,
    scores: TensorId,
    count: TensorId,
    axis: i64,
) -> (TensorId, TensorId) {
    let attrs = [("axis", NodeAttr::Int(axis))];
    let found = g.node_with_outputs("TopK", vec![Some(scores), Some(count)], attrs, 2);
    (found[0], found[1])
}

/// Emits TopK: the positions of all elements of a vector of int64, from the smallest on, and these. Equal ones keep their
/// order.
pub(super) fn ascending(g: &mut Lowering<'_>, x: TensorId) -> (TensorId, TensorId) {
    let count = g.node("Shape", &[x], []);
    let attrs = [("axis", NodeAttr::Int(0)), ("largest", NodeAttr::Int(0))];
    let found = g.node_with_outputs("TopK", vec![Some(x), Some(count)], attrs, 2);
    (found[0], found[1])
}

/// Emits TopK: the `count` smallest elements along an axis, from the smallest on.
pub(super) fn ascending_most(
    g: &mut Lowering<'_>,
    x: TensorId,
    count: TensorId,
    axis: i64,
) -> TensorId {
    let attrs = [("axis", NodeAttr::Int(axis)), ("largest", NodeAttr::Int(0))];
    g.node_with_outputs("TopK", vec![Some(x), Some(count)], attrs, 2)[0]
}
