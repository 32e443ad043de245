//! Max pooling with windows at fractions of elements: `fractional_max_pool2d`, `fractional_max_pool3d`.

use super::uneven::{Bounds, lower_positions};
use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::pool::{Span, Window, max_pool, pool};
use crate::kernels::{Real, on_real};
use crate::operator::{Arg, Binding, Form, Macs, OpDef, OpReader, Operator, Parse, Parsed, Values};
use crate::ops::shared::image::{Extents, Layout};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{F32, F64, I32, I64};
use crate::tensor::{Array, Dim, Element, Tensor, refuse_too_large};

pub(super) const OPS: &[OpDef] = &[
    definition(
        "fractional_max_pool2d",
        &[form(&["fractional_max_pool2d"])],
        FractionalMaxPool::parse::<2>,
    )
    .with_opset(11),
    definition(
        "fractional_max_pool3d",
        &[form(&["fractional_max_pool3d"])],
        FractionalMaxPool::parse::<3>,
    )
    .with_opset(11),
];

const fn form(names: &'static [&'static str]) -> Form {
    Form::legacy(names, &[Binding::Slot("x")], &["out", "mask"])
}

const fn definition(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    OpDef::new(name, &[Arg::Tensor("x")], legacy, parse)
        .with_results(&["out", "mask"])
        .with_dtypes(&[F32, F64])
        .with_limits(&["windows at random (`random_u` 0)"])
}

/// The largest element of each window of `x` (`[n, c, …]`), and its position, of equal ones the first: an int32 that
/// counts the elements of its channel in row-major order. The results are `[n, c, …]` with the extents `output_size`.
///
/// Along an axis, windows start at whole parts of multiples of the ratio of both extents, to which a random number was
/// added. They have the extent of the kernel, or end where the next one starts if that is 0.
///
/// Paddle: `FractionalMaxPool2dFunctor` in `phi/kernels/funcs/pooling.cc`. ONNX: Gather, ReduceMax and ArgMax.
struct FractionalMaxPool {
    x: ValueId,
    axes: Vec<Fractions>,
}

/// The windows along a spatial axis. All arithmetic is in float32, as Paddle's.
#[derive(Debug, Clone, Copy)]
struct Fractions {
    /// The number of windows.
    count: usize,
    /// Their extent, if it is given.
    kernel: Option<usize>,
    /// The random number, between 0 and 1.
    u: f32,
}

impl FractionalMaxPool {
    fn parse<const AXES: usize>(op: &mut OpReader<'_>) -> Parsed {
        let counts: Vec<i64> = op.attr("output_size")?;
        let kernel: Vec<i64> = op.attr_or("kernel_size", vec![0; AXES])?;
        let u: f64 = op.attr_or("random_u", 0.0)?;
        // The mask is a result in any case.
        op.ignore("return_mask");
        if u == 0.0 {
            return Err(Error::unsupported(
                "windows at random: export with `random_u`, by which all runs have the same",
            ));
        }
        let malformed = || {
            Error::malformed(format!(
                "output_size {counts:?}, kernel_size {kernel:?}, random_u {u}"
            ))
        };
        if counts.len() != AXES || kernel.len() != AXES || !(0.0..1.0).contains(&u) {
            return Err(malformed());
        }
        let axes = counts.iter().zip(&kernel).map(|(count, kernel)| {
            let count = usize::try_from(*count).ok().filter(|count| *count > 0);
            let kernel = u32::try_from(*kernel).map_err(|_| malformed())? as usize;
            let fractions = Fractions {
                count: count.ok_or_else(malformed)?,
                kernel: (kernel > 0).then_some(kernel),
                u: u as f32,
            };
            if fractions.count == 1 && fractions.kernel.is_some() {
                return Err(Error::unsupported(
                    "a single window of a given extent, whose place Paddle computes by a division by 0",
                ));
            }
            Ok(fractions)
        });
        let axes: Vec<Fractions> = axes.collect::<Result<_>>()?;
        let all: Vec<usize> = axes.iter().map(|axis| axis.count).collect();
        refuse_too_large(&all)?;
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axes,
        }))
    }

    fn run<T: Real>(&self, x: &Array<T>) -> Result<Vec<Tensor>> {
        let image = Layout::ChannelsFirst
            .extents(x.shape(), self.axes.len())?
            .image;
        let spans = self.axes.iter().zip(&image);
        let spans: Vec<Vec<Span>> = spans
            .map(|(fractions, extent)| fractions.spans(*extent))
            .collect::<Result<_>>()?;
        let values = max_pool(x, &spans)?;
        let positions = pool(x, &spans, |window: Window<'_, T>| window.position_of_max())?;
        Ok(vec![
            T::tensor(values.into()),
            i32::tensor(positions.into()),
        ])
    }
}

impl Fractions {
    /// The number of windows but for one that has to fit in where their extent is given.
    fn steps(self) -> usize {
        self.count - usize::from(self.kernel.is_some())
    }

    /// The windows on an axis of this extent.
    ///
    /// # Errors
    /// When there are more windows than fit in.
    fn spans(self, extent: usize) -> Result<Vec<Span>> {
        let kernel = self.kernel.unwrap_or(0);
        if extent < self.count.saturating_add(kernel.saturating_sub(1)) {
            return Err(Error::malformed(format!(
                "{} windows of at least {} elements in an extent of {extent}",
                self.count,
                kernel.max(1)
            )));
        }
        let ratio = (extent - kernel) as f32 / self.steps() as f32;
        let u = match self.kernel {
            Some(_) => self.u,
            None => {
                let base = extent / self.count;
                let first = (base + 2) as f32 / ratio - 1.0;
                let second = (extent + 1 - base) as f32 / ratio - (self.count - 1) as f32;
                self.u * first.min(second)
            }
        };
        let before = (u * ratio) as usize;
        let at =
            |position: usize| (((position as f32 + u) * ratio) as usize).saturating_sub(before);
        let spans = (0..self.count).map(|position| {
            let start = at(position).min(extent);
            let end = match self.kernel {
                Some(kernel) => start + kernel,
                None => at(position + 1),
            };
            let inside = start..end.min(extent);
            Span {
                counted: inside.len(),
                inside,
            }
        });
        let spans: Vec<Span> = spans.collect();
        if spans.iter().any(|span| span.inside.is_empty()) {
            return Err(Error::unsupported("windows without elements"));
        }
        Ok(spans)
    }

    /// The windows along an axis of `x`, whose extent is known or not.
    fn lower(self, g: &mut Lowering<'_>, x: TensorId, axis: i64, extent: &Dim) -> Result<Bounds> {
        if let Some(extent) = extent.extent() {
            let spans = self.spans(extent)?;
            return Ok(Bounds::listed(g, &spans, extent));
        }
        let extent = g.shape_slice(x, axis, axis + 1);
        let kernel = g.vector(&[self.kernel.unwrap_or(0) as i64]);
        let room = g.node("Sub", &[extent, kernel], []);
        let room = g.cast(room, I64, F32);
        let steps = g.scalar(F32, self.steps() as f64);
        let ratio = g.node("Div", &[room, steps], []);
        let mut u = g.scalar(F32, self.u.into());
        if self.kernel.is_none() {
            let most = self.lower_most(g, extent, ratio);
            u = g.node("Mul", &[u, most], []);
        }
        let before = g.node("Mul", &[u, ratio], []);
        let before = g.cast(before, F32, I64);
        let at = |g: &mut Lowering<'_>, first: usize| {
            let positions = (first..first + self.count).map(|position| position as f32);
            let positions = g.constant(Tensor::vector(positions.collect()));
            let moved = g.node("Add", &[positions, u], []);
            let place = g.node("Mul", &[moved, ratio], []);
            let place = g.cast(place, F32, I64);
            g.node("Sub", &[place, before], [])
        };
        let starts = at(g, 0);
        let ends = match self.kernel {
            Some(_) => g.node("Add", &[starts, kernel], []),
            None => at(g, 1),
        };
        Ok(Bounds {
            starts,
            ends: g.extreme("Min", ends, extent, I64),
            longest: self.kernel,
            shares: None,
        })
    }

    /// Emits the largest number that may be added to positions, `[1]`.
    fn lower_most(self, g: &mut Lowering<'_>, extent: TensorId, ratio: TensorId) -> TensorId {
        let (count, two) = (g.vector(&[self.count as i64]), g.vector(&[2]));
        let base = g.node("Div", &[extent, count], []);
        let first = g.node("Add", &[base, two], []);
        let one = g.vector(&[1]);
        let second = g.node("Add", &[extent, one], []);
        let second = g.node("Sub", &[second, base], []);
        let rests = [(first, 1), (second, self.count - 1)].map(|(whole, less)| {
            let whole = g.cast(whole, I64, F32);
            let times = g.node("Div", &[whole, ratio], []);
            let less = g.scalar(F32, less as f64);
            g.node("Sub", &[times, less], [])
        });
        g.extreme("Min", rests[0], rests[1], F32)
    }
}

impl Operator for FractionalMaxPool {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let layout = Layout::ChannelsFirst;
        let extents = layout.extents(facts.shape(self.x), self.axes.len())?;
        let image = self.axes.iter().map(|axis| Dim::from(axis.count)).collect();
        let shape = layout.shape(Extents { image, ..extents });
        Ok(vec![
            Fact::new(facts.dtype(self.x), shape.clone()),
            Fact::new(I32, shape),
        ])
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let image = Layout::ChannelsFirst
            .extents(g.shape(self.x), self.axes.len())?
            .image;
        let x = g.value(self.x)?;
        let along = self.axes.iter().zip(&image).zip(2..);
        let along: Vec<Bounds> = along
            .map(|((fractions, extent), axis)| fractions.lower(g, x, axis, extent))
            .collect::<Result<_>>()?;
        let mut values = x;
        for (axis, bounds) in along.iter().enumerate() {
            values = bounds.max(g, values, axis + 2);
        }
        let positions = lower_positions(g, x, &along);
        Ok(vec![values, g.cast(positions, I64, I32)])
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        on_real!(values.get(self.x)?, x => self.run(x))
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}
