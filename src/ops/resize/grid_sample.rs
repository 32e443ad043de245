//! `grid_sample`: a tensor with two or three spatial axes, sampled at the points of a grid.
//!
//! Paddle: `phi/kernels/cpu/grid_sample_kernel.cc`, `grid_sample_utils.h`. ONNX: GridSample.

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::grid::{Points, blend, point, sample};
use crate::kernels::interpolate::Tap;
use crate::kernels::{Real, with_reals};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, OpDef, OpReader, Parsed, Values,
};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, DType, Dim, Element, Tensor, display_shape, row_major};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "grid_sample",
    &[Arg::Tensor("x"), Arg::Tensor("grid")],
    &[Form::legacy(
        &["grid_sampler"],
        &[Binding::Slot("X"), Binding::Slot("Grid")],
        &["Output"],
    )
    .ignoring(&["use_cudnn"])],
    GridSample::parse,
)
.with_dtypes(FLOATS)
.with_opset(16)
.with_accuracy(Accuracy::Accumulated)];

/// The elements that a point takes its value from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The two elements around it along each axis, by linear interpolation.
    Linear,
    /// The nearest element, of two that are as near the one with an even index.
    Nearest,
    /// The nearest element, of two that are as near the one with the index further from 0, as before Paddle 3.
    NearestOutward,
}

/// What lies beyond the edges of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beyond {
    Zeros,
    /// The elements at the edge.
    Border,
    /// The elements of the input, reflected at the edges.
    Reflection,
}

/// `out[n, c, p]` is `x[n, c]` at the point `grid[n, p]`, whose coordinates go from -1 to 1, that of the last spatial
/// axis first.
///
/// -1 and 1 are the centres of the first and the last element, or without `align_corners` their outer edges.
struct GridSample {
    x: ValueId,
    grid: ValueId,
    mode: Mode,
    beyond: Beyond,
    align_corners: bool,
}

impl GridSample {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let outward = op.is_former();
        let mode: String = op.attr_or("mode", "bilinear".to_owned())?;
        let beyond: String = op.attr_or("padding_mode", "zeros".to_owned())?;
        Ok(Box::new(Self {
            x: op.operand("x")?,
            grid: op.operand("grid")?,
            mode: match mode.as_str() {
                "bilinear" => Mode::Linear,
                "nearest" if outward => Mode::NearestOutward,
                "nearest" => Mode::Nearest,
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

    /// A coordinate as a position among `extent` elements, clipped to or reflected at their ends if asked for.
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

    /// The indices of the elements along one axis that a position takes its value from, also beyond the edges, with
    /// their weights.
    fn taps<T: Real>(&self, position: T) -> Vec<(i64, f64)> {
        let position = Element::to_f64(position);
        match self.mode {
            Mode::Linear => blend(position),
            Mode::Nearest => vec![(position.round_ties_even() as i64, 1.0)],
            Mode::NearestOutward => vec![(position.round() as i64, 1.0)],
        }
    }

    /// The elements of a channel of these extents that a point takes its value from, with their weights.
    fn point<T: Real>(&self, coordinates: &[T], extents: &[usize]) -> Vec<Tap> {
        let axes = coordinates.iter().rev().zip(extents);
        let along = axes.map(|(coordinate, extent)| self.taps(self.position(*coordinate, *extent)));
        point(&along.collect::<Vec<_>>(), extents)
    }

    /// Emits the grid with each point moved to the centre of the nearest element, in coordinates without
    /// `align_corners`. GridSample can't be left to find it: ONNX Runtime rounds before it reflects, and ONNX has only
    /// one way to round.
    fn lower_centres(&self, g: &mut Lowering<'_>, x: TensorId, grid: TensorId) -> TensorId {
        let dtype = g.dtype(self.grid);
        let extents = self.lower_extents(g, x, dtype);
        let [one, two] = [1.0, 2.0].map(|number| g.scalar(dtype, number));
        let last = g.node("Sub", &[extents, one], []);
        let from_edge = g.node("Add", &[grid, one], []);
        let position = if self.align_corners {
            let part = g.node("Div", &[from_edge, two], []);
            g.node("Mul", &[part, last], [])
        } else {
            let twice = g.node("Mul", &[from_edge, extents], []);
            let twice = g.node("Sub", &[twice, one], []);
            g.node("Div", &[twice, two], [])
        };
        let position = match self.beyond {
            Beyond::Zeros => position,
            Beyond::Border => clamped(g, position, last, dtype),
            Beyond::Reflection => {
                let mirrored = self.lower_mirrored(g, position, [extents, last], dtype);
                clamped(g, mirrored, last, dtype)
            }
        };
        let index = match self.mode {
            Mode::NearestOutward => rounded_outward(g, position, dtype),
            Mode::Linear | Mode::Nearest => g.node("Round", &[position], []),
        };
        let twice = g.node("Mul", &[index, two], []);
        let twice = g.node("Add", &[twice, one], []);
        let part = g.node("Div", &[twice, extents], []);
        g.node("Sub", &[part, one], [])
    }

    /// Emits the spatial extents of `x` as a vector of this type, in the order of coordinates: the last axis first.
    fn lower_extents(&self, g: &mut Lowering<'_>, x: TensorId, dtype: DType) -> TensorId {
        let dims: Vec<Dim> = g.shape(self.x).iter().skip(2).rev().cloned().collect();
        let extents = g.dims(&dims).unwrap_or_else(|| {
            let axes = dims.len() as i64;
            let extents = g.shape_slice(x, 2, 2 + axes);
            let backwards = g.vector(&(0..axes).rev().collect::<Vec<_>>());
            g.node("Gather", &[extents, backwards], [])
        });
        g.cast(extents, DType::I64, dtype)
    }

    /// Emits positions, reflected at the edges of the input.
    fn lower_mirrored(
        &self,
        g: &mut Lowering<'_>,
        position: TensorId,
        [extents, last]: [TensorId; 2],
        dtype: DType,
    ) -> TensorId {
        let (shift, length) = if self.align_corners {
            (0.0, last)
        } else {
            (0.5, extents)
        };
        let [shift, one, two] = [shift, 1.0, 2.0].map(|number| g.scalar(dtype, number));
        let span = g.node("Mul", &[length, two], []);
        // The span is 0 for one element with `align_corners`, where Mod would make NaN of what is then clipped to 0.
        let span = g.node("Max", &[span, one], []);
        let shifted = g.node("Add", &[position, shift], []);
        let distance = g.node("Abs", &[shifted], []);
        let there = g.node("Mod", &[distance, span], [("fmod", NodeAttr::Int(1))]);
        let back = g.node("Sub", &[span, there], []);
        let nearer = g.node("Min", &[there, back], []);
        g.node("Sub", &[nearer, shift], [])
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
        let coordinates = row_major(grid);
        let each = (axes * shape.iter().product::<usize>()).max(1);
        let points = coordinates.chunks(each).map(|image| -> Points {
            let points = image.chunks(axes);
            points.map(|point| self.point(point, extents)).collect()
        });
        sample(x, &points.collect::<Vec<_>>(), shape)
    }
}

/// Emits positions, clipped to the range from 0 to `last`.
fn clamped(g: &mut Lowering<'_>, position: TensorId, last: TensorId, dtype: DType) -> TensorId {
    let zero = g.scalar(dtype, 0.0);
    let position = g.node("Max", &[position, zero], []);
    g.node("Min", &[position, last], [])
}

/// Emits the nearest integers, of two that are as near the one further from 0.
fn rounded_outward(g: &mut Lowering<'_>, x: TensorId, dtype: DType) -> TensorId {
    let half = g.scalar(dtype, 0.5);
    let size = g.node("Abs", &[x], []);
    let whole = g.node("Floor", &[size], []);
    // The sum of a magnitude and a half would itself be rounded.
    let rest = g.node("Sub", &[size, whole], []);
    let is_below = g.node("Less", &[rest, half], []);
    let is_above = g.node("Not", &[is_below], []);
    let one_more = g.cast(is_above, DType::Bool, dtype);
    let size = g.node("Add", &[whole, one_more], []);
    let sign = g.node("Sign", &[x], []);
    g.node("Mul", &[size, sign], [])
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
        let (x, grid) = (g.value(self.x)?, g.value(self.grid)?);
        let beyond = match self.beyond {
            Beyond::Zeros => "zeros",
            Beyond::Border => "border",
            Beyond::Reflection => "reflection",
        };
        let rank = g.rank(self.x);
        if self.mode == Mode::Linear {
            return g.grid_sample([x, grid], rank, false, beyond, self.align_corners);
        }
        // The centres are reflected already, so that none lies beyond the edges.
        let beyond = if beyond == "reflection" {
            "border"
        } else {
            beyond
        };
        let centres = self.lower_centres(g, x, grid);
        g.grid_sample([x, centres], rank, true, beyond, false)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (x, grid) = (values.get(self.x)?, values.get(self.grid)?);
        with_reals!(x, grid, (x, grid) => self.sample(x, grid)?)
    }
}
