//! `affine_grid`: the regular grid of points of a tensor, moved by an affine map.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::matmul::matmul;
use crate::kernels::{Real, map, with_real};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, OpDef, OpReader, Parsed, Values,
};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, DType, Dim, Tensor, display_shape, refuse_too_large};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "affine_grid",
    &[Arg::Tensor("input"), Arg::IntArray("output_shape")],
    &[Form::legacy(
        &["affine_grid"],
        &[
            Binding::Slot("Theta"),
            Binding::IntArray {
                attr: "output_shape",
                slots: &["OutputShape"],
            },
        ],
        &["Output"],
    )
    .ignoring(&["use_cudnn"])],
    AffineGrid::parse,
)
.with_dtypes(FLOATS)
.with_accuracy(Accuracy::Accumulated)];

/// For each spatial position of a tensor of shape `[n, c, h, w]`, the matrix of its batch item (`matrices` are
/// `[n, 2, 3]`) times its coordinates `(x, y, 1)`: a grid `[n, h, w, 2]`, as `grid_sample` takes it. With a third
/// spatial axis, matrices `[n, 3, 4]` give a grid `[n, d, h, w, 3]`.
///
/// Coordinates go from -1 to 1 along each axis. These are the centres of the first and the last element, or without
/// `align_corners` their outer edges.
///
/// Paddle: `phi/kernels/cpu/affine_grid_kernel.cc`. ONNX: Mul and Add with broadcasting, at all opsets and for all
/// extents.
struct AffineGrid {
    matrices: ValueId,
    shape: ValueId,
    align_corners: bool,
}

impl AffineGrid {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            matrices: op.operand("input")?,
            shape: op.operand("output_shape")?,
            align_corners: op.attr_or("align_corners", true)?,
        }))
    }

    /// The number of spatial axes, from the shape of the matrices.
    fn axes(matrices: &[Dim]) -> Result<usize> {
        let known = |dim: &Dim| dim.extent();
        match matrices {
            [_, rows, columns]
                if known(rows).is_none_or(|rows| rows == 2) && known(columns) == Some(3) =>
            {
                Ok(2)
            }
            [_, rows, columns]
                if known(rows).is_none_or(|rows| rows == 3) && known(columns) == Some(4) =>
            {
                Ok(3)
            }
            other => {
                let shape = display_shape(other);
                Err(Error::unsupported(format!("affine maps of shape {shape}")))
            }
        }
    }

    /// The first coordinate along an axis of this extent, and the distance to the next.
    fn first_and_step<T: Real>(&self, extent: T) -> [T; 2] {
        let one = T::one();
        let steps = extent - one;
        if self.align_corners {
            [-one, (one + one) / steps]
        } else {
            [-steps / extent, (one + one) / extent]
        }
    }

    /// The coordinates of the elements along an axis of this extent.
    fn coordinates<T: Real>(&self, extent: usize) -> Vec<T> {
        let [first, step] = self.first_and_step(T::from_f64(extent as f64));
        (0..extent)
            .map(|number| first + T::from_f64(number as f64) * step)
            .collect()
    }

    /// Emits the coordinates of the elements along an axis of the operand `output_shape`.
    fn lower_coordinates(&self, g: &mut Lowering<'_>, axis: usize) -> Result<TensorId> {
        let dtype = g.dtype(self.matrices);
        let extent = g
            .content(self.shape)
            .and_then(|shape| shape.get(axis)?.extent());
        if let Some(extent) = extent.filter(|extent| *extent <= LONGEST) {
            let coordinates = self.coordinates::<f64>(extent);
            return Ok(g.constant(Tensor::vector(coordinates).cast(dtype)));
        }
        let shape = g.int_array(self.shape)?;
        let axis = axis as i64;
        let count = g.slice(shape, axis, axis + 1, 0);
        let numbers = g.count_up(count);
        let numbers = g.cast(numbers, DType::I64, dtype);
        let extent = g.cast(count, DType::I64, dtype);
        let (one, two) = (g.scalar(dtype, 1.0), g.scalar(dtype, 2.0));
        let steps = g.node("Sub", &[extent, one], []);
        let from_zero = |g: &mut Lowering<'_>, by| {
            let doubled = g.node("Mul", &[numbers, two], []);
            g.node("Div", &[doubled, by], [])
        };
        Ok(if self.align_corners {
            let coordinates = from_zero(g, steps);
            g.node("Sub", &[coordinates, one], [])
        } else {
            let coordinates = from_zero(g, extent);
            let first = g.node("Div", &[steps, extent], []);
            g.node("Sub", &[coordinates, first], [])
        })
    }

    fn grid<T: Real>(&self, matrices: &Array<T>, shape: &[i64]) -> Result<Array<T>> {
        let fail = || Error::malformed(format!("images of shape {shape:?}"));
        let dims: Vec<Dim> = matrices.shape().iter().map(|e| Dim::from(*e)).collect();
        let axes = Self::axes(&dims)?;
        // The batch size and the number of channels in `shape` are not read.
        let image = shape.get(2..).filter(|image| image.len() == axes);
        let image = image.ok_or_else(fail)?.iter();
        let image: Option<Vec<usize>> = image.map(|e| usize::try_from(*e).ok()).collect();
        let image = &image.ok_or_else(fail)?[..];
        let n = matrices.shape()[0];
        let result = [&[n], image, &[axes]].concat();
        refuse_too_large(&[image, &[n + 1, axes + 1]].concat())?;
        // One row for each point: the coordinates from the last axis to the first, and 1.
        let along: Vec<Vec<T>> = image
            .iter()
            .map(|extent| self.coordinates(*extent))
            .collect();
        let count: usize = image.iter().product();
        let mut points = Vec::with_capacity(count * (axes + 1));
        for point in 0..count {
            let mut rest = point;
            for along in along.iter().rev() {
                points.push(along[rest % along.len()]);
                rest /= along.len();
            }
            points.push(T::one());
        }
        let points = ndarray::ArrayD::from_shape_vec(vec![count, axes + 1], points);
        let points = points.map_err(|_| Error::internal("points without coordinates"))?;
        let columns = matrices.clone().permuted_axes(vec![0, 2, 1]);
        map::reshape(&matmul(&points.into(), &columns)?.into(), &result)
    }
}

/// The longest list of coordinates that is written as a constant. Longer ones are computed in the run.
const LONGEST: usize = 1 << 16;

impl Function for AffineGrid {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let matrices = facts.get(self.matrices);
        let axes = Self::axes(&matrices.shape)?;
        let image = match facts.content(self.shape) {
            Some(shape) if shape.len() == axes + 2 => shape[2..].to_vec(),
            Some(other) => {
                let shape = display_shape(other);
                return Err(Error::malformed(format!("images of shape {shape}")));
            }
            None => vec![Dim::Unknown; axes],
        };
        let (batch, coordinates) = (&matrices.shape[..1], &[Dim::from(axes)]);
        let shape = [batch, &image, coordinates].concat();
        Ok(Fact::new(matrices.dtype, shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let axes = Self::axes(g.shape(self.matrices))?;
        let matrices = g.value(self.matrices)?;
        // A column of the matrices for each coordinate, and one that is added: each is [n, 1, …, 1, axes].
        let rows = g.transpose(matrices, &[0, 2, 1]);
        let between: Vec<i64> = (2..=axes as i64).collect();
        let rows = g.unsqueeze(rows, &between);
        let columns = g.split(rows, &vec![1; axes + 1], 1);
        let mut sum = columns[axes];
        for (axis, column) in (0..axes).rev().zip(&columns) {
            let along = self.lower_coordinates(g, axis + 2)?;
            let behind: Vec<i64> = (1..=(axes - axis) as i64).collect();
            let along = g.unsqueeze(along, &behind);
            let part = g.node("Mul", &[along, *column], []);
            sum = g.node("Add", &[sum, part], []);
        }
        Ok(sum)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let shape = values.integers(self.shape)?;
        with_real!(values.get(self.matrices)?, matrices => self.grid(matrices, &shape)?)
    }
}
