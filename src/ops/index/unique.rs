//! The distinct elements of a tensor, or the distinct slices along an axis: `unique`, and
//! `unique_consecutive`, which compares neighbours alone.
//!
//! Paddle: `phi/kernels/{unique,unique_consecutive}_kernel.h`. ONNX: Unique for `unique`; Equal, Compress,
//! CumSum and NonZero for `unique_consecutive`.

use std::cmp::Ordering;

use ndarray::Axis;

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::map;
use crate::kernels::order::sort_positions;
use crate::operator::{Arg, Binding, Form, Macs, OpDef, OpReader, Operator, Parsed, Values, WIDE};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{BF16, Bool, F16, F32, F64, I32, I64};
use crate::tensor::{Array, DType, Dim, Element, Tensor, normalize_axis, with_array};

const X: &[Binding] = &[Binding::Slot("X")];

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "unique",
        &[Arg::Tensor("x")],
        &[
            Form::legacy(&["unique"], X, &["Out", "Indices", "Index", "Counts"]),
            Form::legacy(
                &["unique_with_counts"],
                X,
                &["Out", "Indices", "Index", "Count"],
            ),
        ],
        Unique::all,
    )
    .with_opset(11)
    .with_dtypes(WIDE)
    .with_results(&["out", "indices", "inverse", "counts"]),
    OpDef::new(
        "unique_consecutive",
        &[Arg::Tensor("x")],
        &[Form::legacy(
            &["unique_consecutive"],
            X,
            &["Out", "Index", "Counts"],
        )],
        Unique::runs,
    )
    .with_opset(11)
    .with_dtypes(WIDE)
    .with_results(&["out", "index", "counts"]),
];

/// What a result of `unique` or `unique_consecutive` holds. "Elements" are slices if there is an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// The distinct elements.
    Elements,
    /// For each distinct element, the position where it occurs first.
    First,
    /// For each element of the operand, its position among the distinct ones.
    Inverse,
    /// For each distinct element, how often it occurs.
    Counts,
}

/// Which elements count as one, and in which order the distinct ones are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// All that are equal; the distinct ones are sorted.
    Sorted,
    /// All that are equal; the distinct ones are in the order of their first occurrences.
    AsSeen,
    /// Those that are equal and adjacent; the distinct ones keep their order.
    Runs,
}

/// The distinct elements or slices of `x`, with the positions and counts that the op has as results.
struct Unique {
    x: ValueId,
    /// The axis whose slices are compared; none for single elements.
    axis: Option<i64>,
    which: Which,
    /// The element type of positions and counts.
    dtype: DType,
    /// What the results of the op hold, in their order.
    pieces: Vec<Piece>,
}

/// Where the distinct slices of a tensor are: see [`Piece`].
struct Found {
    /// The position where each distinct slice occurs first.
    first: Vec<i64>,
    inverse: Vec<i64>,
    counts: Vec<i64>,
}

impl Unique {
    /// Reads a `unique`. Results that its flags do not ask for may be absent, or be listed although Paddle
    /// does not compute them: the number of results tells which there are.
    fn all(op: &mut OpReader<'_>) -> Parsed {
        let which = if op.attr_or("is_sorted", false)? {
            Which::Sorted
        } else {
            Which::AsSeen
        };
        let has_first = op.attr_or("return_index", false)?;
        let has_inverse = op.attr_or("return_inverse", false)?;
        let has_counts = op.attr_or("return_counts", false)?;
        let pieces = |flags: [bool; 4]| {
            let pieces = [Piece::Elements, Piece::First, Piece::Inverse, Piece::Counts];
            let chosen = pieces.into_iter().zip(flags).filter(|(_, flag)| *flag);
            chosen.map(|(piece, _)| piece).collect::<Vec<Piece>>()
        };
        let count = op.result_count();
        let possible = [
            [true; 4],
            [true, has_first, true, has_counts],
            [true, has_first, has_inverse, has_counts],
            // What Paddle 1 called `unique_with_counts`.
            [true, false, true, true],
        ];
        let pieces = possible.map(pieces).into_iter().find(|p| p.len() == count);
        Self::parse(op, which, pieces)
    }

    /// Reads a `unique_consecutive`. The number of results tells which there are.
    fn runs(op: &mut OpReader<'_>) -> Parsed {
        let has_inverse = op.attr_or("return_inverse", false)?;
        op.ignore("return_counts");
        let pieces = match op.result_count() {
            1 => vec![Piece::Elements],
            2 if has_inverse => vec![Piece::Elements, Piece::Inverse],
            2 => vec![Piece::Elements, Piece::Counts],
            _ => vec![Piece::Elements, Piece::Inverse, Piece::Counts],
        };
        Self::parse(op, Which::Runs, Some(pieces))
    }

    fn parse(op: &mut OpReader<'_>, which: Which, pieces: Option<Vec<Piece>>) -> Parsed {
        let axis: Vec<i64> = op.attr_or("axis", Vec::new())?;
        let dtype = op.attr_or("dtype", I64)?;
        if axis.len() > 1 || !matches!(dtype, I32 | I64) {
            return Err(Error::malformed(format!(
                "distinct elements along {axis:?}, with positions of {dtype}"
            )));
        }
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis: axis.first().copied(),
            which,
            dtype,
            pieces: pieces.ok_or_else(|| Error::malformed("results that do not fit the op"))?,
        }))
    }

    fn axis(&self, rank: usize) -> Result<Option<usize>> {
        let axis = self.axis.map(|axis| normalize_axis(axis, rank));
        axis.transpose()
    }

    /// The type and shape of a result.
    fn fact(&self, facts: &Facts<'_>, piece: Piece, axis: Option<usize>) -> Fact {
        let x = facts.get(self.x);
        let extent = match (axis, x.shape.as_slice()) {
            (Some(axis), shape) => shape[axis].clone(),
            (None, [only]) => only.clone(),
            (None, shape) => Macs::product(shape)
                .and_then(|count| i64::try_from(count).ok())
                .map_or(Dim::Unknown, Dim::Known),
        };
        match (piece, axis) {
            (Piece::Elements, Some(axis)) => {
                let mut shape = x.shape.clone();
                shape[axis] = Dim::Unknown;
                Fact::new(x.dtype, shape)
            }
            (Piece::Elements, None) => Fact::new(x.dtype, vec![Dim::Unknown]),
            (Piece::Inverse, _) => Fact::new(self.dtype, vec![extent]),
            (Piece::First | Piece::Counts, _) => Fact::new(self.dtype, vec![Dim::Unknown]),
        }
    }

    /// Finds the distinct ones of `slices`, each of which has its elements in row-major order.
    fn find<T: Element + PartialOrd>(&self, slices: &[Vec<T>]) -> Found {
        let mut sorted: Vec<usize> = (0..slices.len()).collect();
        if self.which != Which::Runs {
            sort_positions(&mut sorted, &|a, b| {
                let order = slices[a].partial_cmp(&slices[b]);
                order.unwrap_or(Ordering::Equal)
            });
        }
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for position in sorted {
            match groups.last_mut() {
                Some(group) if slices[group[0]] == slices[position] => group.push(position),
                _ => groups.push(vec![position]),
            }
        }
        if self.which == Which::AsSeen {
            groups.sort_by_key(|group| group[0]);
        }
        let mut inverse = vec![0; slices.len()];
        for (number, group) in groups.iter().enumerate() {
            for position in group {
                inverse[*position] = number as i64;
            }
        }
        Found {
            first: groups.iter().map(|group| group[0] as i64).collect(),
            counts: groups.iter().map(|group| group.len() as i64).collect(),
            inverse,
        }
    }

    fn evaluated<T: Element + PartialOrd>(&self, x: &Array<T>) -> Result<Vec<Tensor>> {
        let axis = self.axis(x.ndim())?;
        let x = match axis {
            Some(_) => x.clone(),
            None => map::reshape(x, &[x.len()])?,
        };
        // Paddle swaps the axis with the first, which changes the order in which the elements of slices are
        // compared.
        let axis = axis.unwrap_or(0);
        let mut swapped = x.clone();
        swapped.swap_axes(0, axis);
        let slices = swapped
            .outer_iter()
            .map(|slice| slice.iter().copied().collect());
        let found = self.find(&slices.collect::<Vec<Vec<T>>>());
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Elements => {
                let first: Vec<usize> = found.first.iter().map(|first| *first as usize).collect();
                T::tensor(x.select(Axis(axis), &first).into())
            }
            Piece::First => Tensor::vector(found.first.clone()).cast(self.dtype),
            Piece::Inverse => Tensor::vector(found.inverse.clone()).cast(self.dtype),
            Piece::Counts => Tensor::vector(found.counts.clone()).cast(self.dtype),
        });
        Ok(pieces.collect())
    }

    /// Emits a Unique, and gives the distinct elements, their first positions, the inverse, and the counts.
    fn lower_all(&self, g: &mut Lowering<'_>, x: TensorId, axis: Option<usize>) -> [TensorId; 4] {
        let rank = g.rank(self.x);
        let mut swap: Vec<usize> = (0..rank).collect();
        // A swap of the first two axes leaves the order of the others as it is, and so needs no Transpose.
        let far = axis.filter(|axis| *axis > 1);
        let x = match far {
            Some(axis) => {
                swap.swap(0, axis);
                g.transpose(x, &swap)
            }
            None => x,
        };
        let is_sorted = NodeAttr::Int((self.which == Which::Sorted).into());
        let mut attrs = vec![("sorted", is_sorted)];
        let node_axis = if far.is_some() { Some(0) } else { axis };
        attrs.extend(node_axis.map(|axis| ("axis", NodeAttr::Int(axis as i64))));
        let found = g.node_with_outputs("Unique", vec![Some(x)], attrs, 4);
        let elements = match far {
            Some(_) => g.transpose(found[0], &swap),
            None => found[0],
        };
        [elements, found[1], found[2], found[3]]
    }

    /// Emits what finds runs, each of which begins with an element that differs from the one before, and
    /// gives the same as [`Unique::lower_all`].
    fn lower_runs(&self, g: &mut Lowering<'_>, x: TensorId, axis: Option<usize>) -> [TensorId; 4] {
        let rank = axis.map_or(1, |_| g.rank(self.x));
        let x = match axis {
            Some(_) => x,
            None => {
                let flat = g.vector(&[-1]);
                g.node("Reshape", &[x, flat], [])
            }
        };
        let axis = axis.unwrap_or(0);
        let before = g.slice(x, 0, -1, axis as i64);
        let behind = g.slice(x, 1, i64::MAX, axis as i64);
        let is_equal = g.node("Equal", &[before, behind], []);
        let is_other = g.node("Not", &[is_equal], []);
        let mut is_other = g.cast(is_other, Bool, I32);
        let others: Vec<usize> = (0..rank).filter(|other| *other != axis).collect();
        if !others.is_empty() {
            is_other = g.reduce("ReduceMax", is_other, &others, false);
        }
        let first = g.constant(Tensor::vector(vec![1_i32]));
        let starts = g.concat(&[first, is_other], 0);
        let is_start = g.cast(starts, I32, Bool);
        let axis = NodeAttr::Int(axis as i64);
        let elements = g.node("Compress", &[x, is_start], [("axis", axis.clone())]);
        let zero = g.constant(Tensor::scalar(0_i64));
        let one = g.constant(Tensor::scalar(1_i64));
        let starts = g.cast(starts, I32, I64);
        let number = g.node("CumSum", &[starts, zero], []);
        let inverse = g.node("Sub", &[number, one], []);
        let places = g.node("NonZero", &[is_start], []);
        let places = g.squeeze(places, &[0]);
        let next = g.slice(places, 1, i64::MAX, 0);
        let length = g.node("Shape", &[is_start], []);
        let ends = g.concat(&[next, length], 0);
        let counts = g.node("Sub", &[ends, places], []);
        [elements, places, inverse, counts]
    }
}

/// The element type in which elements are compared: one for which ONNX Runtime has the kernels.
fn compared(dtype: DType) -> DType {
    match dtype {
        F16 | BF16 => F32,
        F32 | F64 => dtype,
        _ => I64,
    }
}

impl Operator for Unique {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let axis = self.axis(facts.rank(self.x))?;
        let pieces = self.pieces.iter();
        Ok(pieces.map(|piece| self.fact(facts, *piece, axis)).collect())
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let axis = self.axis(g.rank(self.x))?;
        let dtype = g.dtype(self.x);
        let x = g.value(self.x)?;
        let x = g.cast(x, dtype, compared(dtype));
        let [elements, first, inverse, counts] = if self.which == Which::Runs {
            self.lower_runs(g, x, axis)
        } else {
            self.lower_all(g, x, axis)
        };
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Elements => g.cast(elements, compared(dtype), dtype),
            Piece::First => g.cast(first, I64, self.dtype),
            Piece::Inverse => g.cast(inverse, I64, self.dtype),
            Piece::Counts => g.cast(counts, I64, self.dtype),
        });
        Ok(pieces.collect())
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        with_array!(values.get(self.x)?, x => self.evaluated(x))
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}
