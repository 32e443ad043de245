//! Images and volumes sampled at the points of a grid.
//!
//! Paddle: `phi/kernels/cpu/grid_sample_kernel.cc`, `grid_sample_utils.h`. ONNX: GridSample.

use super::def::{Accuracy, Arg, FLOATS, Form, From, OpDef};
use super::operator::{Fact, Facts, Function, Parsed};
use super::reader::OpReader;
use crate::error::{Error, Result};
use crate::lower::{Lowering, TensorId};
use crate::program::ValueId;
use crate::reference::grid::{Points, blend, point, sample};
use crate::reference::interpolate::Tap;
use crate::reference::{Real, Values, with_reals};
use crate::tensor::{Array, Dim, Element, Tensor, display_shape};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "grid_sample",
    &[Arg::Tensor("x"), Arg::Tensor("grid")],
    &[Form::legacy(
        &["grid_sampler"],
        &[From::Slot("X"), From::Slot("Grid")],
        &["Output"],
    )
    .ignoring(&["use_cudnn"])],
    GridSample::parse,
)
.taking(FLOATS)
.since(16)
.with_accuracy(Accuracy::Accumulated)];

/// What lies beyond the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beyond {
    Zeros,
    /// The elements at the edge.
    Border,
    /// The image in a mirror.
    Reflection,
}

/// `out[n, c, p] = x[n, c]` at the point `grid[n, p]`, whose coordinates go from -1 to 1, the last
/// axis of the image first.
///
/// -1 and 1 are the centres of the elements at the edge, or without `align_corners` their outer
/// edges. The nearest element is the one with an even index where two are as near; before Paddle 3
/// it was the one further from the centre.
struct GridSample {
    x: ValueId,
    grid: ValueId,
    is_nearest: bool,
    beyond: Beyond,
    align_corners: bool,
}

impl GridSample {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let mode: String = op.attr_or("mode", "bilinear".to_owned())?;
        let beyond: String = op.attr_or("padding_mode", "zeros".to_owned())?;
        Ok(Box::new(Self {
            x: op.operand("x")?,
            grid: op.operand("grid")?,
            is_nearest: match mode.as_str() {
                "bilinear" => false,
                "nearest" => true,
                other => return Err(Error::unsupported(format!("mode {other:?}"))),
            },
            beyond: match beyond.as_str() {
                "zeros" => Beyond::Zeros,
                "border" => Beyond::Border,
                "reflection" => Beyond::Reflection,
                other => return Err(Error::unsupported(format!("padding_mode {other:?}"))),
            },
            align_corners: op.attr_or("align_corners", true)?,
        }))
    }

    fn refuse_shapes(x: &[Dim], grid: &[Dim]) -> Result<()> {
        let axes = x.len().saturating_sub(2);
        let coordinates = grid.last().and_then(Dim::known);
        let fits = (2..=3).contains(&axes)
            && grid.len() == x.len()
            && coordinates.is_none_or(|count| count == axes as i64);
        if fits {
            return Ok(());
        }
        let (x, grid) = (display_shape(x), display_shape(grid));
        Err(Error::malformed(format!(
            "a grid of shape {grid} for images of shape {x}"
        )))
    }

    /// A coordinate as a position among `extent` elements.
    fn position<T: Real>(&self, coordinate: T, extent: usize) -> T {
        let real = T::from_f64;
        let (one, two, size) = (T::one(), real(2.0), real(extent as f64));
        let last = size - one;
        let position = if self.align_corners {
            (coordinate + one) / two * last
        } else {
            ((coordinate + one) * size - one) / two
        };
        let clip = |position: T| position.max(T::zero()).min(last);
        match self.beyond {
            Beyond::Zeros => position,
            Beyond::Border => clip(position),
            Beyond::Reflection if self.align_corners && extent == 1 => T::zero(),
            Beyond::Reflection => {
                let (shift, span) = if self.align_corners {
                    (T::zero(), two * last)
                } else {
                    (real(0.5), two * size)
                };
                let distance = (position + shift).abs() % span;
                clip(distance.min(span - distance) - shift)
            }
        }
    }

    /// The elements along one axis that a position is made of, with those beyond the image.
    fn taps<T: Real>(&self, position: T) -> Vec<(i64, f64)> {
        let position = Element::to_f64(position);
        if self.is_nearest {
            return vec![(position.round_ties_even() as i64, 1.0)];
        }
        blend(position)
    }

    /// What a point with these coordinates is made of.
    fn point<T: Real>(&self, coordinates: &[T], extents: &[usize]) -> Vec<Tap> {
        let axes = coordinates.iter().rev().zip(extents);
        let along = axes.map(|(coordinate, extent)| self.taps(self.position(*coordinate, *extent)));
        point(&along.collect::<Vec<_>>(), extents)
    }

    fn sample<T: Real>(&self, x: &Array<T>, grid: &Array<T>) -> Result<ndarray::ArrayD<T>> {
        let dims = |shape: &[usize]| shape.iter().map(|e| Dim::from(*e)).collect::<Vec<_>>();
        Self::refuse_shapes(&dims(x.shape()), &dims(grid.shape()))?;
        if x.shape()[0] != grid.shape()[0] {
            return Err(Error::malformed("as many grids as images are due"));
        }
        let axes = x.ndim() - 2;
        let shape = &grid.shape()[1..=axes];
        let extents = &x.shape()[2..];
        let grid = grid.as_standard_layout();
        let coordinates = grid
            .as_slice()
            .ok_or_else(|| Error::internal("an array without an order"))?;
        let each = (axes * shape.iter().product::<usize>()).max(1);
        let points = coordinates.chunks(each).map(|image| -> Points {
            let points = image.chunks(axes);
            points.map(|point| self.point(point, extents)).collect()
        });
        sample(x, &points.collect::<Vec<_>>(), shape)
    }
}

impl Function for GridSample {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let (x, grid) = (facts.shape(self.x), facts.shape(self.grid));
        Self::refuse_shapes(x, grid)?;
        let batch = x[0].or(&grid[0]);
        let points = &grid[1..grid.len() - 1];
        let shape = [&[batch, x[1].clone()], points].concat();
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let inputs = [g.value(self.x)?, g.value(self.grid)?];
        let beyond = match self.beyond {
            Beyond::Zeros => "zeros",
            Beyond::Border => "border",
            Beyond::Reflection => "reflection",
        };
        let rank = g.rank(self.x);
        g.grid_sample(inputs, rank, self.is_nearest, beyond, self.align_corners)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (x, grid) = (values.get(self.x)?, values.get(self.grid)?);
        with_reals!(x, grid, (x, grid) => self.sample(x, grid)?)
    }
}
