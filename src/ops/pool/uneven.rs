//! Windows of several sizes along spatial axes, in ONNX: their elements are gathered and reduced.

use ndarray::{Array2, s};

use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::pool::Span;
use crate::tensor::{DType, Element};

/// The first element of each window along a spatial axis, and the one behind its last, as int64 vectors.
pub(super) struct Bounds {
    pub starts: TensorId,
    pub ends: TensorId,
    /// The extent of the longest window, if it is known.
    pub longest: Option<usize>,
    /// What each element of the axis contributes to the mean of each window, `[windows, elements]`, if the windows are known
    /// and these are not too many numbers.
    pub shares: Option<Array2<f64>>,
}

fn on_axis(axis: usize) -> (&'static str, NodeAttr) {
    ("axis", NodeAttr::Int(axis as i64))
}

/// The most shares that are written down.
const LARGEST: usize = 1 << 16;

/// See [`Bounds::shares`].
fn shares(spans: &[Span], extent: usize) -> Array2<f64> {
    let mut shares = Array2::zeros((spans.len(), extent));
    for (mut row, span) in shares.rows_mut().into_iter().zip(spans) {
        let share = 1.0 / span.inside.len() as f64;
        row.slice_mut(s![span.inside.clone()]).fill(share);
    }
    shares
}

impl Bounds {
    /// The bounds of known windows along an axis of this extent.
    pub fn listed(g: &mut Lowering<'_>, spans: &[Span], extent: usize) -> Self {
        let starts: Vec<i64> = spans.iter().map(|span| span.inside.start as i64).collect();
        let ends: Vec<i64> = spans.iter().map(|span| span.inside.end as i64).collect();
        Self {
            starts: g.vector(&starts),
            ends: g.vector(&ends),
            longest: spans.iter().map(|span| span.inside.len()).max(),
            shares: (spans.len() * extent <= LARGEST).then(|| shares(spans, extent)),
        }
    }

    /// Emits the index of the last element of each window, `[windows, 1]`.
    fn last(&self, g: &mut Lowering<'_>) -> TensorId {
        let one = g.scalar(DType::I64, 1.0);
        let last = g.node("Sub", &[self.ends, one], []);
        g.unsqueeze(last, &[1])
    }

    /// Emits the indices of the elements of each window, `[windows, elements]`. The rows of windows that have fewer
    /// elements than the longest end with `filler`.
    fn members(&self, g: &mut Lowering<'_>, filler: TensorId) -> TensorId {
        let one = g.scalar(DType::I64, 1.0);
        let steps = match self.longest {
            Some(longest) => {
                let steps: Vec<i64> = (0..longest as i64).collect();
                g.vector(&steps)
            }
            None => {
                let lengths = g.node("Sub", &[self.ends, self.starts], []);
                let longest = g.reduce("ReduceMax", lengths, &[], false);
                let zero = g.scalar(DType::I64, 0.0);
                g.node("Range", &[zero, longest, one], [])
            }
        };
        let starts = g.unsqueeze(self.starts, &[1]);
        let members = g.node("Add", &[starts, steps], []);
        let ends = g.unsqueeze(self.ends, &[1]);
        let is_inside = g.node("Less", &[members, ends], []);
        g.node("Where", &[is_inside, members, filler], [])
    }

    /// Emits the largest element of each window along an axis of `x`.
    pub fn max(&self, g: &mut Lowering<'_>, x: TensorId, axis: usize) -> TensorId {
        let last = self.last(g);
        let members = self.members(g, last);
        let gathered = g.node("Gather", &[x, members], [on_axis(axis)]);
        g.reduce("ReduceMax", gathered, &[axis + 1], false)
    }

    /// Emits the mean of each window along an axis of `x`, which has this rank: for known windows along one of the last two
    /// axes, a product with a matrix of shares, which every runtime has.
    pub fn average(
        &self,
        g: &mut Lowering<'_>,
        x: TensorId,
        (axis, rank): (usize, usize),
        dtype: DType,
    ) -> TensorId {
        if let Some(shares) = self.shares.as_ref().filter(|_| axis + 2 >= rank) {
            let is_last = axis + 1 == rank;
            let matrix = if is_last { shares.t() } else { shares.view() };
            let matrix = f64::tensor(matrix.to_owned().into_dyn().into()).cast(dtype);
            let matrix = g.constant(matrix);
            let operands = if is_last { [x, matrix] } else { [matrix, x] };
            return g.node("MatMul", &operands, []);
        }
        // The rows of short windows end with the index of the zero that is put behind the last element.
        let behind = g.shape_slice(x, axis as i64, axis as i64 + 1);
        let mut pads = vec![0; 2 * rank];
        pads[rank + axis] = 1;
        let (pads, zero) = (g.vector(&pads), g.scalar(dtype, 0.0));
        let mode = ("mode", NodeAttr::String("constant"));
        let x = g.node("Pad", &[x, pads, zero], [mode]);
        let members = self.members(g, behind);
        let gathered = g.node("Gather", &[x, members], [on_axis(axis)]);
        let sum = g.reduce("ReduceSum", gathered, &[axis + 1], false);
        let lengths = g.node("Sub", &[self.ends, self.starts], []);
        let lengths = g.cast(lengths, DType::I64, dtype);
        let others: Vec<i64> = (1..(rank - axis) as i64).collect();
        let lengths = g.unsqueeze(lengths, &others);
        g.node("Div", &[sum, lengths], [])
    }
}

/// Emits the position of the largest element of each window of `x` (`[n, c, …]`), of equal ones the first, as int64:
/// its index over the spatial axes in row-major order. `along` has the windows along each of these.
pub(super) fn lower_positions(g: &mut Lowering<'_>, x: TensorId, along: &[Bounds]) -> TensorId {
    let axes = along.len();
    let mut gathered = x;
    let mut all_members = Vec::new();
    for (axis, bounds) in along.iter().enumerate() {
        let last = bounds.last(g);
        let members = bounds.members(g, last);
        // Each axis before has become two, for windows and their elements.
        gathered = g.node("Gather", &[gathered, members], [on_axis(2 + 2 * axis)]);
        all_members.push(members);
    }
    // [n, c, windows …, elements …], with the axes of elements flattened.
    let windows_first = (0..axes).map(|axis| 2 + 2 * axis);
    let elements = (0..axes).map(|axis| 3 + 2 * axis);
    let order: Vec<usize> = [0, 1]
        .into_iter()
        .chain(windows_first)
        .chain(elements)
        .collect();
    let gathered = g.transpose(gathered, &order);
    let mut shape = vec![0; axes + 2];
    shape.push(-1);
    let shape = g.vector(&shape);
    let elements = g.node("Reshape", &[gathered, shape], []);
    let attrs = [("axis", NodeAttr::Int(-1)), ("keepdims", NodeAttr::Int(0))];
    let mut number = g.node("ArgMax", &[elements], attrs);
    // The number among the window's elements is taken apart into an index for each axis, the last axis first.
    let mut position = None;
    let mut lines = None;
    for (axis, (bounds, members)) in along.iter().zip(all_members).enumerate().rev() {
        let count = g.shape_slice(members, 1, 2);
        // Short windows repeat their last element, but behind it, so that ArgMax never finds the repetition.
        let tap = g.node("Mod", &[number, count], []);
        number = g.node("Div", &[number, count], []);
        let behind: Vec<i64> = (1..(axes - axis) as i64).collect();
        let start = g.unsqueeze(bounds.starts, &behind);
        let mut pixel = g.node("Add", &[start, tap], []);
        let extent = g.shape_slice(x, axis as i64 + 2, axis as i64 + 3);
        if let (Some(inner), Some(pixels)) = (position, lines) {
            pixel = g.node("Mul", &[pixel, pixels], []);
            pixel = g.node("Add", &[pixel, inner], []);
            lines = Some(g.node("Mul", &[extent, pixels], []));
        } else {
            lines = Some(extent);
        }
        position = Some(pixel);
    }
    position.unwrap_or(number)
}
