//! `spp`: the spatial pyramid, which pools an image of any size into rows of one length.

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::pool::{Span, Window, max_pool, pool};
use crate::kernels::{Real, with_real};
use crate::operator::{Accuracy, Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::image::{Layout, ints, pads_attr};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{F32, F64};
use crate::tensor::{Array, Dim, Tensor};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "spp",
    &[Arg::Tensor("x")],
    &[Form::legacy(&["spp"], &[Binding::Slot("X")], &["Out"])],
    Spp::parse,
)
.with_dtypes(&[F32, F64])
.with_accuracy(Accuracy::Accumulated)
.with_limits(&["images of open extents"])];

/// Level `p` of the pyramid cuts `x` (`[n, c, h, w]`) into `2ᵖ` by `2ᵖ` windows of one size, of which those at the borders
/// reach beyond them, and takes the maximum or mean of each. The result has the windows of all levels in a row, `[n, c · (1 +
/// 4 + … )]`: those of the first level come first, and in each level those of the first channel.
///
/// Paddle 2: `fluid/operators/spp_op.h`. ONNX: MaxPool or AveragePool, Reshape and Concat.
struct Spp {
    x: ValueId,
    levels: u32,
    is_max: bool,
}

/// Beyond this many levels, an image has more windows than elements.
const MOST_LEVELS: i64 = 12;

/// The windows of a level along an axis.
#[derive(Debug, Clone, Copy)]
struct Level {
    bins: usize,
    /// The extent of a window.
    size: usize,
    padding: usize,
}

impl Level {
    fn of(number: u32, extent: usize) -> Result<Self> {
        let bins = 1_usize << number;
        let size = extent.div_ceil(bins);
        let padding = (size * bins - extent).div_ceil(2);
        // The last window begins in the image if the first one ends there, since at most as much is missing behind.
        if padding >= size {
            return Err(Error::unsupported(format!(
                "{bins} windows in an extent of {extent}, of which some hold no elements"
            )));
        }
        Ok(Self {
            bins,
            size,
            padding,
        })
    }

    fn spans(self, extent: usize) -> Vec<Span> {
        let spans = (0..self.bins).map(|bin| {
            let start = bin * self.size;
            let [start, end] = [start, start + self.size]
                .map(|place| place.saturating_sub(self.padding).min(extent));
            Span {
                inside: start..end,
                counted: end - start,
            }
        });
        spans.collect()
    }
}

impl Spp {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let levels: i64 = op.attr("pyramid_height")?;
        let kind: String = op.attr("pooling_type")?;
        if !(1..=MOST_LEVELS).contains(&levels) {
            return Err(Error::unsupported(format!("`pyramid_height` {levels}")));
        }
        Ok(Box::new(Self {
            x: op.operand("x")?,
            levels: levels as u32,
            is_max: match kind.as_str() {
                "max" => true,
                "avg" => false,
                other => return Err(Error::unsupported(format!("`pooling_type` {other:?}"))),
            },
        }))
    }

    fn run<T: Real>(&self, x: &Array<T>) -> Result<ndarray::ArrayD<T>> {
        let [batch, channels, height, width] = Layout::ChannelsFirst.planar(x.shape())?;
        let levels = (0..self.levels).map(|number| {
            let along = [height, width].map(|extent| {
                let level = Level::of(number, extent)?;
                Ok(level.spans(extent))
            });
            let [rows, columns] = along;
            let windows: [Vec<Span>; 2] = [rows?, columns?];
            let pooled = match self.is_max {
                true => max_pool(x, &windows)?,
                false => pool(x, &windows, |window: Window<'_, T>| window.average())?,
            };
            let shape = [batch, channels << (2 * number)];
            pooled
                .into_shape_with_order(shape)
                .map_err(|_| Error::internal("windows were lost"))
        });
        let levels: Vec<ndarray::Array2<T>> = levels.collect::<Result<_>>()?;
        let views: Vec<_> = levels.iter().map(|level| level.view()).collect();
        let rows = ndarray::concatenate(ndarray::Axis(1), &views);
        Ok(rows
            .map_err(|_| Error::internal("levels of several batches"))?
            .into_dyn())
    }
}

impl Function for Spp {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let [batch, channels, ..] = Layout::ChannelsFirst.planar(facts.shape(self.x))?;
        let windows = (0..self.levels).map(|number| 1_i64 << (2 * number)).sum();
        let length = match channels.known() {
            Some(channels) => channels
                .checked_mul(windows)
                .map_or(Dim::Unknown, Dim::Known),
            None => Dim::Unknown,
        };
        Ok(Fact::new(facts.dtype(self.x), vec![batch, length]))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let [_, _, height, width] = Layout::ChannelsFirst.planar(g.shape(self.x))?;
        let (Some(height), Some(width)) = (height.extent(), width.extent()) else {
            return Err(Error::needs_extents(
                "an image of unknown extents, on which the sizes of the windows depend",
            ));
        };
        let x = g.value(self.x)?;
        let flat = g.vector(&[0, -1]);
        let levels = (0..self.levels).map(|number| {
            let (rows, columns) = (Level::of(number, height)?, Level::of(number, width)?);
            let sizes = [rows.size, columns.size];
            let attrs = [
                ("kernel_shape", ints(&sizes)),
                ("strides", ints(&sizes)),
                pads_attr(&[rows, columns].map(|level| [level.padding; 2])),
            ];
            let pooled = match self.is_max {
                true => g.node("MaxPool", &[x], attrs),
                false => {
                    let [kernel, strides, pads] = attrs;
                    let counts = ("count_include_pad", NodeAttr::Int(0));
                    g.node("AveragePool", &[x], [kernel, strides, pads, counts])
                }
            };
            Ok(g.node("Reshape", &[pooled, flat], []))
        });
        let levels: Vec<TensorId> = levels.collect::<Result<_>>()?;
        Ok(g.concat(&levels, 1))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        with_real!(values.get(self.x)?, x => self.run(x)?)
    }
}
