//! The frames of a signal: `frame`, which cuts them out, and `overlap_add`, which adds them up again.
//!
//! Paddle: `phi/kernels/{frame,overlap_add}_kernel.h`. With the axis -1, the signal is along the last axis, and its
//! frames along the last two: the positions in a frame, then the frames. With the axis 0, it is along the first axis,
//! and its frames along the first two: the frames, then the positions. ONNX: Gather; Pad, Slice and Add.

use ndarray::{ArrayD, Axis};

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::index;
use crate::operator::{Accuracy, Arg, Function, NUMBERS, OpDef, OpReader, Parsed, Values, WIDE};
use crate::ops::shared::pointwise::plain;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, Dim, Element, Tensor, with_array};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "frame",
        &[Arg::Tensor("x")],
        &[plain(&["frame"])],
        Frame::parse,
    )
    .with_dtypes(NUMBERS)
    .part_by_part(&["x"]),
    OpDef::new(
        "overlap_add",
        &[Arg::Tensor("x")],
        &[plain(&["overlap_add"])],
        OverlapAdd::parse,
    )
    .with_opset(11)
    .with_dtypes(WIDE)
    .with_accuracy(Accuracy::Rounded)
    .with_limits(&["frames of which more than 64 overlap"])
    .part_by_part(&["x"]),
];

/// Where the signal and its frames are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    First,
    Last,
}

impl Side {
    fn parse(op: &mut OpReader<'_>) -> Result<Self> {
        match op.attr_or("axis", -1)? {
            0 => Ok(Side::First),
            -1 => Ok(Side::Last),
            axis => Err(Error::malformed(format!(
                "the axis {axis}, which is neither 0 nor -1"
            ))),
        }
    }
}

/// A positive attribute.
fn positive(op: &mut OpReader<'_>, name: &str) -> Result<usize> {
    let number: i64 = op.attr(name)?;
    let positive = usize::try_from(number).ok().filter(|number| *number > 0);
    positive.ok_or_else(|| Error::malformed(format!("the attribute `{name}` is {number}")))
}

/// Parts of a signal, each of `length` elements, which start at every `hop`-th.
struct Frame {
    x: ValueId,
    length: usize,
    hop: usize,
    side: Side,
}

impl Frame {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            length: positive(op, "frame_length")?,
            hop: positive(op, "hop_length")?,
            side: Side::parse(op)?,
        }))
    }

    fn axis(&self, rank: usize) -> Result<usize> {
        match self.side {
            _ if rank == 0 => Err(Error::malformed("a signal of rank 0")),
            Side::First => Ok(0),
            Side::Last => Ok(rank - 1),
        }
    }

    /// The number of frames of a signal of this extent.
    fn count(&self, extent: usize) -> Result<usize> {
        let rest = extent.checked_sub(self.length);
        let rest = rest.ok_or_else(|| {
            Error::malformed(format!(
                "frames of {} elements in a signal of {extent}",
                self.length
            ))
        })?;
        Ok(rest / self.hop + 1)
    }

    /// The two axes of the frames, from their number and what is along a frame.
    fn both<T>(&self, count: T, inner: T) -> [T; 2] {
        match self.side {
            Side::First => [count, inner],
            Side::Last => [inner, count],
        }
    }
}

impl Function for Frame {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let mut shape = facts.shape(self.x).to_vec();
        let axis = self.axis(shape.len())?;
        let count = match shape[axis].extent() {
            Some(extent) => Dim::from(self.count(extent)?),
            None => Dim::Unknown,
        };
        shape.splice(axis..=axis, self.both(count, Dim::from(self.length)));
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let shape = g.shape(self.x).to_vec();
        let axis = self.axis(shape.len())?;
        let x = g.value(self.x)?;
        let (length, hop) = (self.length as i64, self.hop as i64);
        let count = match shape[axis].extent() {
            Some(extent) => g.vector(&[self.count(extent)? as i64]),
            None => {
                let extent = g.shape_slice(x, axis as i64, axis as i64 + 1);
                let (length, hop) = (g.vector(&[length - hop]), g.vector(&[hop]));
                let rest = g.node("Sub", &[extent, length], []);
                g.node("Div", &[rest, hop], [])
            }
        };
        let known = shape[axis].extent().map(|extent| self.count(extent));
        let known = known.transpose()?.map(|count| count as i64);
        let frames = g.positions(count, known);
        let hop = g.vector(&[hop]);
        let starts = g.node("Mul", &[frames, hop], []);
        let inner = g.vector(&(0..length).collect::<Vec<i64>>());
        let [first, second] = self.both(starts, inner);
        let first = g.unsqueeze(first, &[1]);
        let positions = g.node("Add", &[first, second], []);
        let axis = ("axis", NodeAttr::Int(axis as i64));
        Ok(g.node("Gather", &[x, positions], [axis]))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let axis = self.axis(x.shape().len())?;
        let count = self.count(x.shape()[axis])?;
        let [rows, columns] = self.both(count, self.length);
        let positions = (0..rows * columns).map(|position| {
            let (row, column) = (position / columns, position % columns);
            match self.side {
                Side::First => row * self.hop + column,
                Side::Last => column * self.hop + row,
            }
        });
        let positions: Vec<usize> = positions.collect();
        let mut shape = x.shape().to_vec();
        shape.splice(axis..=axis, [rows, columns]);
        with_array!(x, x => {
            let picked = index::picked(x, axis, &positions)?;
            let framed = picked.into_shape_with_order(shape);
            let framed = framed.map_err(|_| Error::internal("frames lost elements"))?;
            Ok(Element::tensor(framed.into()))
        })
    }
}

/// Frames of which more overlap would become more nodes than a model should have.
const MOST_OVERLAPPING: usize = 64;

/// The sum of frames, each of which starts `hop` elements behind the one before it.
struct OverlapAdd {
    x: ValueId,
    hop: usize,
    side: Side,
}

impl OverlapAdd {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            hop: positive(op, "hop_length")?,
            side: Side::parse(op)?,
        }))
    }

    /// The axis of the frames, that of the positions in a frame, and the first of both.
    fn axes(&self, rank: usize) -> Result<(usize, usize, usize)> {
        match self.side {
            _ if rank < 2 => Err(Error::malformed(format!("frames of rank {rank}"))),
            Side::First => Ok((0, 1, 0)),
            Side::Last => Ok((rank - 1, rank - 2, rank - 2)),
        }
    }

    fn extent(&self, count: usize, length: usize) -> Result<usize> {
        let starts = count.checked_sub(1);
        let starts = starts.and_then(|starts| starts.checked_mul(self.hop));
        let extent = starts.and_then(|starts| starts.checked_add(length));
        extent.ok_or_else(|| Error::malformed(format!("{count} frames of {length} elements")))
    }

    /// Emits the sum of `[…, length, count]` along both axes: the frames are cut into pieces of `hop` elements. Pieces
    /// at the same place of their frames lie beside each other in the result, which is the sum of such rows of pieces,
    /// each moved by one against the one before.
    fn lower_last(
        &self,
        g: &mut Lowering<'_>,
        x: TensorId,
        rank: usize,
        length: usize,
    ) -> Result<TensorId> {
        let hop = self.hop as i64;
        let pieces = length.div_ceil(self.hop);
        if pieces > MOST_OVERLAPPING {
            return Err(Error::unsupported(format!(
                "frames of {length} elements that start every {hop}, of which more than {MOST_OVERLAPPING} overlap"
            )));
        }
        let missing = (pieces * self.hop - length) as i64;
        let pad = |g: &mut Lowering<'_>, x: TensorId, axis: usize, [before, after]: [i64; 2]| {
            if (before, after) == (0, 0) {
                return x;
            }
            let mut amounts = vec![0; 2 * rank];
            amounts[axis] = before;
            amounts[rank + axis] = after;
            let amounts = g.vector(&amounts);
            g.node("Pad", &[x, amounts], [])
        };
        let whole = pad(g, x, rank - 2, [0, missing]);
        let mut sum = None;
        for piece in 0..pieces as i64 {
            let row = g.slice(whole, piece * hop, (piece + 1) * hop, -2);
            let row = pad(g, row, rank - 1, [piece, pieces as i64 - 1 - piece]);
            sum = Some(match sum {
                Some(sum) => g.node("Add", &[sum, row], []),
                None => row,
            });
        }
        let sum = sum.ok_or_else(|| Error::malformed("frames without elements"))?;
        let mut swap: Vec<usize> = (0..rank).collect();
        swap.swap(rank - 2, rank - 1);
        let rows = g.transpose(sum, &swap);
        let mut target = vec![0; rank - 2];
        target.push(-1);
        let target = g.vector(&target);
        let signal = g.node("Reshape", &[rows, target], []);
        Ok(match missing {
            0 => signal,
            missing => g.slice(signal, 0, -missing, -1),
        })
    }

    fn added<T: Element>(&self, x: &Array<T>) -> Result<ArrayD<T>> {
        let (frames, inner, first) = self.axes(x.ndim())?;
        let (count, length) = (x.shape()[frames], x.shape()[inner]);
        let mut shape = x.shape().to_vec();
        shape.splice(first..first + 2, [self.extent(count, length)?]);
        let is_float = T::DTYPE.is_float();
        let mut sum = ArrayD::from_elem(shape, T::from_i64(0));
        for frame in 0..count {
            let part = x.index_axis(Axis(frames), frame);
            for position in 0..length {
                let elements = part.index_axis(Axis(first), position);
                let mut target = sum.index_axis_mut(Axis(first), frame * self.hop + position);
                target.zip_mut_with(&elements, |sum, x| {
                    *sum = if is_float {
                        T::from_f64(sum.to_f64() + x.to_f64())
                    } else {
                        T::from_i64(sum.to_i64().wrapping_add(x.to_i64()))
                    };
                });
            }
        }
        Ok(sum)
    }
}

impl Function for OverlapAdd {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let mut shape = facts.shape(self.x).to_vec();
        let (frames, inner, first) = self.axes(shape.len())?;
        let extent = match (shape[frames].extent(), shape[inner].extent()) {
            (Some(count), Some(length)) => Dim::from(self.extent(count, length)?),
            _ => Dim::Unknown,
        };
        shape.splice(first..first + 2, [extent]);
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let rank = g.rank(self.x);
        let (_, inner, _) = self.axes(rank)?;
        let length = g.shape(self.x)[inner].extent();
        let length = length.ok_or_else(|| Error::unsupported("frames of an open length"))?;
        let x = g.value(self.x)?;
        match self.side {
            Side::Last => self.lower_last(g, x, rank, length),
            Side::First => {
                let perm: Vec<usize> = (2..rank).chain([1, 0]).collect();
                let x = g.transpose(x, &perm);
                let signal = self.lower_last(g, x, rank, length)?;
                let perm: Vec<usize> = std::iter::once(rank - 2).chain(0..rank - 2).collect();
                Ok(g.transpose(signal, &perm))
            }
        }
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        with_array!(values.get(self.x)?, x => Ok(Element::tensor(self.added(x)?.into())))
    }
}
