//! Diagonals of matrices: taken (`diagonal`), summed (`trace`), overwritten (`fill_diagonal`, `fill_diagonal_tensor`),
//! and made into matrices (`diag_embed`, `diag`, which also takes them).
//!
//! Paddle: `phi/kernels/{diag,diagonal,diag_embed,fill_diagonal,fill_diagonal_tensor,trace}_kernel.h`.
//! ONNX: Gather from the flattened matrices; Where with a mask of the diagonal; ReduceSum for `trace`.

use ndarray::{Dimension, IxDyn};

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::operator::{
    Accuracy, Arg, Binding, Form, Function, NUMBERS, OpDef, OpReader, Parsed, Values,
};
use crate::ops::shared::decomposition::{Decomposition, decomposed};
use crate::ops::shared::pointwise::plain;
use crate::program::{Attr, Builder, Draft, Fact, Facts, ValueId};
use crate::tensor::{
    Array, DType, Dim, Element, Tensor, normalize_axis, refuse_too_large, with_array, with_arrays,
};

const INPUT: &[Binding] = &[Binding::Slot("Input")];

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "diagonal",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["diagonal"], INPUT, &["Out"])],
        |op| Diagonal::parse(op, ["axis1", "axis2"]),
    )
    .part_by_part(&["x"]),
    OpDef::new(
        "diag_embed",
        &[Arg::Tensor("input")],
        &[Form::legacy(&["diag_embed"], INPUT, &["Out"])],
        Embedded::parse,
    )
    .with_opset(11)
    .part_by_part(&["input"]),
    OpDef::new(
        "diag",
        &[Arg::Tensor("x")],
        &[plain(&["diag_v2"])],
        Diag::parse,
    )
    .part_by_part(&["x"]),
    OpDef::new(
        "fill_diagonal",
        &[Arg::Tensor("x")],
        &[plain(&["fill_diagonal"])],
        FillDiagonal::parse,
    )
    .with_opset(9),
    OpDef::new(
        "fill_diagonal_tensor",
        &[Arg::Tensor("x"), Arg::Tensor("y")],
        &[Form::legacy(
            &["fill_diagonal_tensor"],
            &[Binding::Slot("X"), Binding::Slot("Y")],
            &["Out"],
        )],
        FillDiagonalTensor::parse,
    )
    .with_opset(11),
    decomposed(
        "trace",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["trace"], INPUT, &["Out"])
            // Up to Paddle 1.8.
            .renaming(&[("dim1", "axis1"), ("dim2", "axis2")])],
        NUMBERS,
        trace,
    )
    .with_accuracy(Accuracy::Accumulated),
];

/// `trace`: the sum of a diagonal, taken apart into `diagonal` and `sum`.
fn trace(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let x = parts.operand(0)?;
    let offset = parts.attr("offset", 0)?;
    let mut axes = [parts.attr("axis1", 0)?, parts.attr("axis2", 1)?];
    // Kernels before Paddle 3 take the axes in ascending order.
    if parts.is_former() {
        axes.sort_by_key(|axis| normalize_axis(*axis, parts.rank(x)).ok());
    }
    let attrs = [("offset", offset), ("axis1", axes[0]), ("axis2", axes[1])];
    let attrs = attrs.map(|(name, number)| (name, Attr::Int(number)));
    let rank = parts.rank(x).saturating_sub(1);
    let diagonal = parts.op("diagonal", &[x], &attrs, rank);
    let last = parts.integers(&[-1]);
    let dtype = Attr::Int(parts.dtype(x).paddle_code());
    parts.last(
        "sum",
        &[diagonal, last],
        &[("dtype", dtype), ("keepdim", Attr::Bool(false))],
    )
}

/// A diagonal of the matrices that two axes of a tensor hold, `rows` and `columns`: the elements in each row `i` and
/// the column `i + offset`.
#[derive(Debug, Clone, Copy)]
struct Place {
    offset: i64,
    rows: i64,
    columns: i64,
}

impl Place {
    /// Reads a diagonal; the axes are attributes of these names.
    fn parse(
        op: &mut OpReader<'_>,
        [rows, columns]: [&str; 2],
        defaults: [i64; 2],
    ) -> Result<Self> {
        let place = Self {
            offset: op.attr_or("offset", 0)?,
            rows: op.attr_or(rows, defaults[0])?,
            columns: op.attr_or(columns, defaults[1])?,
        };
        if i32::try_from(place.offset).is_err() {
            return Err(Error::malformed(format!("a diagonal at {}", place.offset)));
        }
        Ok(place)
    }

    /// The axes of the rows and of the columns, counted from 0, in a tensor of this rank.
    fn axes(self, rank: usize) -> Result<[usize; 2]> {
        let (rows, columns) = (
            normalize_axis(self.rows, rank)?,
            normalize_axis(self.columns, rank)?,
        );
        if rows == columns {
            return Err(Error::malformed(format!("a diagonal of axis {rows} alone")));
        }
        Ok([rows, columns])
    }

    /// All axes of a tensor of this rank, with those of the matrices last.
    fn order(self, rank: usize) -> Result<Vec<usize>> {
        let matrix = self.axes(rank)?;
        let others = (0..rank).filter(|axis| !matrix.contains(axis));
        Ok(others.chain(matrix).collect())
    }

    /// The row and the column where the diagonal starts.
    fn start(self) -> [i64; 2] {
        [(-self.offset).max(0), self.offset.max(0)]
    }

    /// The number of elements of the diagonal in a matrix with so many rows and columns.
    fn length(self, rows: i64, columns: i64) -> i64 {
        let [row, column] = self.start();
        (rows - row).min(columns - column).max(0)
    }
}

/// The inverse of a permutation of axes.
fn inverse(order: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; order.len()];
    for (position, axis) in order.iter().enumerate() {
        inverse[*axis] = position;
    }
    inverse
}

/// The elements of a diagonal, along a new last axis in the place of the two axes of the matrices.
struct Diagonal {
    x: ValueId,
    place: Place,
}

impl Diagonal {
    fn parse(op: &mut OpReader<'_>, names: [&str; 2]) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            place: Place::parse(op, names, [0, 1])?,
        }))
    }
}

impl Function for Diagonal {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.shape(self.x);
        let order = self.place.order(x.len())?;
        let mut shape: Vec<Dim> = order.iter().map(|axis| x[*axis].clone()).collect();
        let (Some(columns), Some(rows)) = (shape.pop(), shape.pop()) else {
            return Err(Error::malformed("a diagonal of less than two axes"));
        };
        shape.push(match (rows.known(), columns.known()) {
            (Some(rows), Some(columns)) => Dim::Known(self.place.length(rows, columns)),
            _ if rows.same(&columns) && self.place.offset == 0 => rows,
            _ => Dim::Unknown,
        });
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let rank = g.rank(self.x);
        let order = self.place.order(rank)?;
        let others = rank - 2;
        let extents = [others, others + 1].map(|at| g.shape(self.x)[order[at]].known());
        let x = g.value(self.x)?;
        let x = g.transpose(x, &order);
        let [row, column] = self.place.start();
        let places = if let [Some(rows), Some(columns)] = extents {
            let length = self.place.length(rows, columns);
            let places = (0..length).map(|step| (row + step) * columns + column + step);
            g.vector(&places.collect::<Vec<i64>>())
        } else {
            let last = rank as i64;
            let rows = g.shape_slice(x, last - 2, last - 1);
            let columns = g.shape_slice(x, last - 1, last);
            let [zero, one] = [0, 1].map(|number| g.vector(&[number]));
            let [row, column] = [row, column].map(|number| g.vector(&[number]));
            let down = g.node("Sub", &[rows, row], []);
            let right = g.node("Sub", &[columns, column], []);
            let length = g.extreme("Min", down, right, DType::I64);
            let length = g.extreme("Max", length, zero, DType::I64);
            let steps = g.count_up(length);
            let stride = g.node("Add", &[columns, one], []);
            let start = g.node("Mul", &[row, columns], []);
            let start = g.node("Add", &[start, column], []);
            let places = g.node("Mul", &[steps, stride], []);
            g.node("Add", &[places, start], [])
        };
        let mut flat = vec![0; others];
        flat.push(-1);
        let flat = g.vector(&flat);
        let x = g.node("Reshape", &[x, flat], []);
        let axis = ("axis", NodeAttr::Int(others as i64));
        Ok(g.node("Gather", &[x, places], [axis]))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        fn taken<T: Element>(x: &Array<T>, place: Place) -> Result<Tensor> {
            let x = x.clone().permuted_axes(place.order(x.ndim())?);
            let (shape, matrix) = x.shape().split_at(x.ndim() - 2);
            let length = place.length(matrix[0] as i64, matrix[1] as i64) as usize;
            let [row, column] = place.start().map(|start| start as usize);
            let others = shape.len();
            let shape = [shape, &[length]].concat();
            let diagonal = Array::from_shape_fn(IxDyn(&shape), |at| {
                let mut from = at.slice().to_vec();
                let step = from[others];
                from[others] = row + step;
                from.push(column + step);
                x[IxDyn(&from)]
            });
            Ok(T::tensor(diagonal))
        }
        with_array!(values.get(self.x)?, x => taken(x, self.place))
    }
}

/// Emits matrices on the last two axes: their diagonal holds the elements along the last axis of `y`, which is of this
/// rank, and their other elements are those of `elsewhere`. `matrix` is the number of rows and that of columns, each as
/// a tensor and, if it is known, as an integer.
fn lower_written(
    g: &mut Lowering<'_>,
    (y, rank): (TensorId, usize),
    offset: i64,
    matrix: [(TensorId, Option<i64>); 2],
    elsewhere: TensorId,
) -> TensorId {
    // `y` is padded to one element for each row or, if the diagonal starts below the first row, for each column. It can
    // then be broadcast along the other axis.
    let (along, axis) = if offset >= 0 {
        (matrix[0].0, rank)
    } else {
        (matrix[1].0, rank - 1)
    };
    let length = g.shape_slice(y, rank as i64 - 1, rank as i64);
    let missing = g.node("Sub", &[along, length], []);
    let none = g.vector(&vec![0; 2 * rank - 1]);
    let pads = g.concat(&[none, missing], 0);
    let y = g.node("Pad", &[y, pads], []);
    let y = g.unsqueeze(y, &[axis as i64]);
    let [rows, columns] = matrix.map(|(extent, known)| g.positions(extent, known));
    let offset = g.constant(Tensor::scalar(offset));
    let rows = g.unsqueeze(rows, &[1]);
    let due = g.node("Add", &[rows, offset], []);
    let is_diagonal = g.node("Equal", &[due, columns], []);
    g.node("Where", &[is_diagonal, y, elsewhere], [])
}

/// `elsewhere` with the elements of `y` along the last axis written to a diagonal of the matrices on the last two axes.
///
/// # Errors
/// When the other axes differ, or the diagonal is shorter than the last axis of `y`.
fn written<T: Element>(mut elsewhere: Array<T>, y: &Array<T>, place: Place) -> Result<Array<T>> {
    let fail = || Error::malformed("a diagonal that does not fit its matrices");
    let [row, column] = place.start().map(|start| start as usize);
    let others = elsewhere.ndim().checked_sub(2).ok_or_else(fail)?;
    if y.ndim() != others + 1 || y.shape()[..others] != elsewhere.shape()[..others] {
        return Err(fail());
    }
    for (at, element) in y.indexed_iter() {
        let mut to = at.slice().to_vec();
        let step = to[others];
        to[others] = row + step;
        to.push(column + step);
        *elsewhere.get_mut(IxDyn(&to)).ok_or_else(fail)? = *element;
    }
    Ok(elsewhere)
}

/// Square matrices with the elements along the last axis of `x` on a diagonal, and `padding` elsewhere: `diag_embed`,
/// and `diag` of a vector.
struct Embedded {
    x: ValueId,
    place: Place,
    padding: f64,
}

impl Embedded {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("input")?,
            place: Place::parse(op, ["dim1", "dim2"], [-2, -1])?,
            padding: 0.0,
        }))
    }

    /// The permutation that moves the matrices from the last two axes to those that the op names, for an `x` of this
    /// rank.
    fn back(&self, rank: usize) -> Result<Vec<usize>> {
        Ok(inverse(&self.place.order(rank + 1)?))
    }

    fn embedded<T: Element>(&self, x: &Array<T>) -> Result<Tensor> {
        let back = self.back(x.ndim())?;
        let (others, length) = x.shape().split_at(x.ndim().saturating_sub(1));
        let extent = length.iter().sum::<usize>() + self.place.offset.unsigned_abs() as usize;
        let shape = [others, &[extent, extent]].concat();
        refuse_too_large(&shape)?;
        let elsewhere = Array::from_elem(IxDyn(&shape), T::from_f64(self.padding));
        Ok(T::tensor(
            written(elsewhere, x, self.place)?.permuted_axes(back),
        ))
    }
}

impl Function for Embedded {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.get(self.x);
        let Some((length, others)) = x.shape.split_last() else {
            return Err(Error::malformed("a diagonal of rank 0"));
        };
        let extent = match length.known() {
            Some(length) => length.checked_add(self.place.offset.abs()).map(Dim::Known),
            None => Some(length.clone()).filter(|_| self.place.offset == 0),
        };
        let extent = extent.unwrap_or(Dim::Unknown);
        let shape = [others, &[extent.clone(), extent]].concat();
        let back = self.back(x.shape.len())?.into_iter();
        Ok(Fact::new(
            x.dtype,
            back.map(|axis| shape[axis].clone()).collect(),
        ))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (dtype, rank) = (g.dtype(self.x), g.rank(self.x));
        let wide = dtype.widened();
        let x = g.value(self.x)?;
        let x = g.cast(x, dtype, wide);
        let length = g.shape(self.x).last().and_then(Dim::known);
        let surplus = self.place.offset.abs();
        let extent = if let Some(length) = length {
            g.vector(&[length.saturating_add(surplus)])
        } else {
            let length = g.shape_slice(x, rank as i64 - 1, rank as i64);
            let surplus = g.vector(&[surplus]);
            g.node("Add", &[length, surplus], [])
        };
        let known = length.map(|length| length.saturating_add(surplus));
        let padding = g.scalar(wide, self.padding);
        let matrix = [(extent, known); 2];
        let y = lower_written(g, (x, rank), self.place.offset, matrix, padding);
        let y = g.transpose(y, &self.back(rank)?);
        Ok(g.cast(y, wide, dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        with_array!(values.get(self.x)?, x => self.embedded(x))
    }
}

/// A matrix with a vector on its diagonal, or the diagonal of a matrix, whichever `x` is: `diag`.
struct Diag {
    of_vector: Embedded,
    of_matrix: Diagonal,
}

impl Diag {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let x = op.operand("x")?;
        let place = Place {
            offset: op.attr_or("offset", 0)?,
            rows: 0,
            columns: 1,
        };
        let padding = op.attr_or("padding_value", 0.0)?;
        Ok(Box::new(Self {
            of_vector: Embedded { x, place, padding },
            of_matrix: Diagonal { x, place },
        }))
    }

    fn chosen(&self, rank: usize) -> Result<&dyn Function> {
        match rank {
            1 => Ok(&self.of_vector),
            2 => Ok(&self.of_matrix),
            _ => Err(Error::malformed(format!("a diagonal of rank {rank}"))),
        }
    }
}

impl Function for Diag {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        self.chosen(facts.rank(self.of_matrix.x))?.infer(facts)
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        self.chosen(g.rank(self.of_matrix.x))?.lower(g)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let rank = values.get(self.of_matrix.x)?.shape().len();
        self.chosen(rank)?.evaluate(values)
    }
}

/// A matrix with `value` on a diagonal: `fill_diagonal`. In a matrix with more rows than columns, the diagonal ends
/// with the square that the first rows form; with `wrap`, it starts again below that square, after one row in between.
struct FillDiagonal {
    x: ValueId,
    value: f64,
    offset: i64,
    wrap: bool,
}

impl FillDiagonal {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            value: op.attr_or("value", 0.0)?,
            offset: Place::parse(op, ["", ""], [0, 1])?.offset,
            wrap: op.attr_or("wrap", false)?,
        }))
    }
}

impl Function for FillDiagonal {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.get(self.x);
        if x.shape.len() != 2 {
            return Err(Error::unsupported(
                "a filled diagonal of more than two axes, of which Paddle fills the first element",
            ));
        }
        Ok(Fact::new(x.dtype, x.shape.clone()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let dtype = g.dtype(self.x);
        let x = g.value(self.x)?;
        let extents = [0, 1].map(|axis| g.shape(self.x)[axis].known());
        let [rows, columns] = [0, 1].map(|axis| g.shape_slice(x, axis, axis + 1));
        let (down, right) = (
            g.positions(rows, extents[0]),
            g.positions(columns, extents[1]),
        );
        let down = g.unsqueeze(down, &[1]);
        let offset = g.constant(Tensor::scalar(self.offset));
        let [zero, one] = [0, 1].map(|number| g.vector(&[number]));
        let column = g.node("Sub", &[right, offset], []);
        let mut distance = g.node("Sub", &[column, down], []);
        if self.wrap {
            let period = g.node("Add", &[columns, one], []);
            distance = g.node("Mod", &[distance, period], []);
        }
        let is_hit = g.node("Equal", &[distance, zero], []);
        let is_left = g.node("Less", &[column, zero], []);
        let is_inside = g.node("Less", &[column, columns], []);
        let is_right = g.node("Not", &[is_left], []);
        let is_inside = g.node("And", &[is_inside, is_right], []);
        let is_hit = g.node("And", &[is_hit, is_inside], []);
        let wide = dtype.widened();
        let value = Tensor::scalar(self.value).cast(dtype).cast(wide);
        let (x, value) = (g.cast(x, dtype, wide), g.constant(value));
        let filled = g.node("Where", &[is_hit, value, x], []);
        Ok(g.cast(filled, wide, dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        fn filled<T: Element>(op: &FillDiagonal, x: &Array<T>) -> Result<Tensor> {
            let [_, columns] = *x.shape() else {
                return Err(Error::malformed("not a matrix"));
            };
            let mut elements: Vec<T> = x.iter().copied().collect();
            let square = if op.wrap {
                usize::MAX
            } else {
                columns * columns
            };
            for start in (0..elements.len().min(square)).step_by(columns + 1) {
                let column = (start % columns) as i64 + op.offset;
                if (0..columns as i64).contains(&column) {
                    elements[start - start % columns + column as usize] = T::from_f64(op.value);
                }
            }
            Tensor::from_elements(x.shape(), elements)
        }
        with_array!(values.get(self.x)?, x => filled(self, x))
    }
}

/// `x` with the elements along the last axis of `y` written to a diagonal of its matrices: `fill_diagonal_tensor`.
struct FillDiagonalTensor {
    x: ValueId,
    y: ValueId,
    place: Place,
}

impl FillDiagonalTensor {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            y: op.operand("y")?,
            place: Place::parse(op, ["dim1", "dim2"], [0, 1])?,
        }))
    }

    /// The shape of `y`, without the axis in front that it may have where `x`, of this rank, is a single matrix.
    fn squeezed<T>(y: &[T], rank: usize) -> Result<&[T]> {
        match y {
            [_, length @ ..] if rank == 2 && length.len() == 1 => Ok(length),
            y if y.len() + 1 == rank => Ok(y),
            _ => Err(Error::malformed(
                "a diagonal that does not fit its matrices",
            )),
        }
    }
}

impl Function for FillDiagonalTensor {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let (x, y) = (facts.get(self.x), facts.get(self.y));
        self.place.axes(x.shape.len())?;
        Self::squeezed(&y.shape, x.shape.len())?;
        if x.dtype != y.dtype {
            return Err(Error::unsupported(format!(
                "{} written to {}",
                y.dtype, x.dtype
            )));
        }
        Ok(Fact::new(x.dtype, x.shape.clone()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (dtype, rank) = (g.dtype(self.x), g.rank(self.x));
        let wide = dtype.widened();
        let order = self.place.order(rank)?;
        let known = [rank - 2, rank - 1].map(|at| g.shape(self.x)[order[at]].known());
        let (x, y) = (g.value(self.x)?, g.value(self.y)?);
        let (x, mut y) = (g.cast(x, dtype, wide), g.cast(y, dtype, wide));
        if g.rank(self.y) == rank {
            y = g.squeeze(y, &[0]);
        }
        let x = g.transpose(x, &order);
        let last = rank as i64;
        let extents = [last - 2, last - 1].map(|axis| g.shape_slice(x, axis, axis + 1));
        let matrix = [(extents[0], known[0]), (extents[1], known[1])];
        let filled = lower_written(g, (y, rank - 1), self.place.offset, matrix, x);
        let filled = g.transpose(filled, &inverse(&order));
        Ok(g.cast(filled, wide, dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        fn filled<T: Element>(x: &Array<T>, y: &Array<T>, place: Place) -> Result<Tensor> {
            let order = place.order(x.ndim())?;
            let shape = FillDiagonalTensor::squeezed(y.shape(), x.ndim())?;
            let y = crate::kernels::map::reshape(y, shape)?;
            let filled = written(x.clone().permuted_axes(order.as_slice()), &y, place)?;
            Ok(T::tensor(filled.permuted_axes(inverse(&order))))
        }
        let (x, y) = (values.get(self.x)?, values.get(self.y)?);
        with_arrays!(x, y, (x, y) => filled(x, y, self.place))
    }
}
