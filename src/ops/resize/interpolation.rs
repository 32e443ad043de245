//! A resize as it is read: its method and grid, the extents that it asks for, and its reference kernel.

use crate::error::{Error, Result};
use crate::kernels::Real;
use crate::kernels::index::picked;
use crate::kernels::interpolate::{Tap, resample};
use crate::operator::{Binding, OpReader, Parsed, Values};
use crate::program::{Facts, ValueId};
use crate::tensor::{Array, Dim, Element, display_shape, refuse_too_large};

/// Where the operands come from in the older format.
pub(super) const OPERANDS: &[Binding] = &[
    Binding::Slot("X"),
    Binding::IntArray {
        attr: "",
        slots: &["OutSize"],
    },
    Binding::IntArray {
        attr: "",
        slots: &["SizeTensor"],
    },
    Binding::Optional("Scale"),
];

/// An attribute that marks the ops of Paddle 1, which use a scale for the extents of the result alone.
pub(super) const SIZES_ALONE: &str = "ratios of sizes";

/// The elements of the input that an element of the result is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// The nearest element, or with [`Grid::Asymmetric`] the one at the integer part of the position.
    Nearest,
    /// The two elements around it along each axis.
    Linear,
    /// The four elements around it along each axis, by a cubic convolution with `A` = -0.75.
    Cubic,
}

/// The position of element `k` of the result along an axis of the input, where element `i` is at `i`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grid {
    /// `ratio · k`, with `(input - 1) / (output - 1)` for the ratio, so that the first and the last elements are
    /// aligned.
    Corners,
    /// `ratio · (k + ½) - ½`
    HalfPixel,
    /// `ratio · k`
    Asymmetric,
}

/// The extents that are asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Target {
    /// An operand with one integer for each axis.
    Computed(ValueId),
    /// One extent for each axis.
    Sizes(Vec<i64>),
    /// One scale for each axis. The extent is the integer part of the scale times that of `x`.
    Scales(Vec<f64>),
    /// An operand with one scale for all axes, or one for each.
    ComputedScales(ValueId),
}

/// Resizes the spatial axes of `x` (`[n, c, …]`, or `[n, …, c]`).
///
/// Along each axis, `ratio` is the extent of the input over that of the result, or the inverse of the scale, in
/// float32, and as a rule 0 for a result of one element. If no extent changes, the result is `x`.
pub(super) struct Interpolate {
    pub(super) x: ValueId,
    pub(super) method: Method,
    pub(super) grid: Grid,
    out_size: Option<ValueId>,
    size_tensor: Option<ValueId>,
    scale_tensor: Option<ValueId>,
    scale: Vec<f64>,
    /// The attributes `out_d`, `out_h` and `out_w`, -1 where absent.
    sizes: [i64; 3],
    pub(super) is_channels_last: bool,
    /// Whether extents are multiplied by scales in float32, else in float64.
    pub(super) is_single: bool,
    /// Whether a scale is used for the extents of the result alone.
    sizes_alone: bool,
    /// Whether the ratio is 0 for a result of one element.
    pub(super) takes_first: bool,
}

impl Interpolate {
    /// Reads an op of this method.
    pub fn parsed(op: &mut OpReader<'_>, method: Method) -> Parsed {
        Ok(Box::new(Self::parse(op, method)?))
    }

    /// Reads an op of one or three spatial axes, for which Paddle 3 has other ratios than for two.
    pub fn parse_line_or_volume(op: &mut OpReader<'_>) -> Parsed {
        let mut op = Self::parse(op, Method::Linear)?;
        op.takes_first = op.is_single || op.grid != Grid::HalfPixel;
        Ok(Box::new(op))
    }

    fn parse(op: &mut OpReader<'_>, method: Method) -> Result<Self> {
        // The op's name says the same.
        op.ignore("interp_method");
        let align_corners: bool = op.attr_or("align_corners", true)?;
        let align_mode: i64 = op.attr_or("align_mode", 1)?;
        let grid = match (align_corners, method) {
            (true, _) => Grid::Corners,
            (false, Method::Nearest) => Grid::Asymmetric,
            (false, Method::Linear) if align_mode != 0 => Grid::Asymmetric,
            (false, _) => Grid::HalfPixel,
        };
        let format: String = op.attr_or("data_format", "NCHW".to_owned())?;
        let is_channels_last = match format.as_str() {
            "NCHW" | "NCDHW" | "NCW" => false,
            "NHWC" | "NDHWC" | "NWC" => true,
            other => return Err(Error::unsupported(format!("data_format {other:?}"))),
        };
        Ok(Self {
            x: op.operand("x")?,
            method,
            grid,
            out_size: op.optional("out_size")?,
            size_tensor: op.optional("size_tensor")?,
            scale_tensor: op.optional("scale_tensor")?,
            scale: op.attr_or("scale", Vec::new())?,
            sizes: [
                op.attr_or("out_d", -1)?,
                op.attr_or("out_h", -1)?,
                op.attr_or("out_w", -1)?,
            ],
            is_channels_last,
            is_single: op.is_former(),
            sizes_alone: op.attr_or(SIZES_ALONE, false)?,
            takes_first: true,
        })
    }

    /// The first spatial axis, and the number of spatial axes.
    pub(super) fn spatial(&self, rank: usize) -> Result<(usize, usize)> {
        if !(3..=5).contains(&rank) {
            return Err(Error::malformed(format!("an image of rank {rank}")));
        }
        Ok((if self.is_channels_last { 1 } else { 2 }, rank - 2))
    }

    /// What states the extents of the result along `count` spatial axes.
    pub(super) fn target(&self, count: usize) -> Result<Target> {
        let scales = match self.scale.as_slice() {
            [] => None,
            [scale] if self.sizes_alone => Some(vec![*scale; count]),
            scales if scales.len() == count => Some(scales.to_vec()),
            scales => {
                let found = display_shape(scales);
                return Err(Error::malformed(format!("scales {found} for {count} axes")));
            }
        };
        let has_scale = scales.is_some() || self.scale_tensor.is_some();
        if self.out_size.is_some() && has_scale && !self.sizes_alone {
            return Err(Error::unsupported(
                "a size and a scale, which Paddle mixes in its own way",
            ));
        }
        if let Some(size) = self.size_tensor.or(self.out_size) {
            return Ok(Target::Computed(size));
        }
        if let Some(scale) = self.scale_tensor {
            return Ok(Target::ComputedScales(scale));
        }
        if let Some(scales) = scales {
            if scales
                .iter()
                .any(|scale| !scale.is_finite() || *scale <= 0.0)
            {
                let found = display_shape(&scales);
                return Err(Error::malformed(format!("scales {found}")));
            }
            return Ok(Target::Scales(scales));
        }
        let sizes = self.sizes[3 - count..].to_vec();
        if sizes.iter().any(|size| *size <= 0) {
            return Err(Error::malformed(format!(
                "a size of {}",
                display_shape(&sizes)
            )));
        }
        Ok(Target::Sizes(sizes))
    }

    /// The extent of the result for a scale and the extent of the input.
    pub(super) fn scaled(&self, input: i64, scale: f64) -> i64 {
        if self.is_single {
            (input as f32 * scale as f32) as i64
        } else {
            (input as f64 * scale) as i64
        }
    }

    /// The scales, if ratios are their inverses; none if ratios come from extents.
    pub(super) fn ratio_scales<T>(&self, scales: T) -> Option<T> {
        let by_scale = !self.sizes_alone && self.grid != Grid::Corners;
        by_scale.then_some(scales)
    }

    /// What an index of the result is multiplied by to get a position in the input: in float32 as Paddle computes it, or
    /// in float64.
    pub(super) fn ratio<T: Real>(&self, input: usize, output: usize, scale: Option<f64>) -> T {
        let number = |extent: usize| T::from_f64(extent as f64);
        match (self.grid, scale) {
            _ if output <= 1 && self.takes_first => T::zero(),
            (Grid::Corners, _) => (number(input) - T::one()) / (number(output) - T::one()),
            (_, Some(scale)) => T::from_f64(1.0 / scale),
            (_, None) => number(input) / number(output),
        }
    }

    /// The extents of the spatial axes of the result, as far as they are known.
    pub(super) fn outputs(&self, facts: &Facts<'_>) -> Result<Vec<Dim>> {
        let x = facts.shape(self.x);
        let (start, count) = self.spatial(x.len())?;
        let outputs = match self.target(count)? {
            Target::Sizes(sizes) => sizes.into_iter().map(Dim::Known).collect(),
            Target::Computed(size) => match facts.content(size) {
                Some(content) => content.to_vec(),
                None => vec![Dim::Unknown; count],
            },
            Target::Scales(scales) => {
                let scaled = x[start..].iter().zip(scales);
                let scaled = scaled.map(|(dim, scale)| match dim {
                    Dim::Known(extent) => Dim::Known(self.scaled(*extent, scale)),
                    dim if scale == 1.0 => dim.clone(),
                    _ => Dim::Unknown,
                });
                scaled.collect()
            }
            Target::ComputedScales(_) => vec![Dim::Unknown; count],
        };
        let is_empty = |dim: &Dim| dim.known().is_some_and(|extent| extent <= 0);
        if outputs.len() != count || outputs.iter().any(is_empty) {
            let found = display_shape(&outputs);
            return Err(Error::malformed(format!(
                "a size of {found} for {count} axes"
            )));
        }
        Ok(outputs)
    }

    /// The extents of the spatial axes of the result in a run, and the scales that ratios are the inverses of.
    fn outputs_of_run(
        &self,
        values: &Values<'_>,
        inputs: &[usize],
    ) -> Result<(Vec<usize>, Option<Vec<f64>>)> {
        let count = inputs.len();
        let (outputs, scales) = match self.target(count)? {
            Target::Sizes(sizes) => (sizes, None),
            Target::Computed(size) => (values.integers(size)?, None),
            Target::Scales(scales) => (Vec::new(), Some(scales)),
            Target::ComputedScales(scale) => {
                let mut scales = values.get(scale)?.to_f64_vec();
                if let [scale] = scales.as_slice() {
                    scales = vec![*scale; count];
                }
                (Vec::new(), Some(scales))
            }
        };
        let outputs = match &scales {
            Some(scales) => {
                let pairs = inputs.iter().zip(scales);
                let scaled = pairs.map(|(input, scale)| self.scaled(*input as i64, *scale));
                scaled.collect()
            }
            None => outputs,
        };
        let extents = outputs.iter().map(|extent| usize::try_from(*extent).ok());
        let extents = extents.map(|extent| extent.filter(|extent| *extent > 0));
        let extents: Option<Vec<usize>> = extents.collect();
        let extents = extents.filter(|extents| extents.len() == count);
        let extents = extents.ok_or_else(|| {
            Error::malformed(format!(
                "a size of {} for {count} axes",
                display_shape(&outputs)
            ))
        })?;
        Ok((extents, scales.and_then(|scales| self.ratio_scales(scales))))
    }

    /// The position along an axis of the input at which element `k` of the result lies.
    fn position(&self, ratio: Ratio, k: usize) -> f64 {
        match (self.grid, ratio) {
            (Grid::HalfPixel, ratio) => f64::from(ratio) * (k as f64 + 0.5) - 0.5,
            (Grid::Corners | Grid::Asymmetric, Ratio::Single(ratio)) => f64::from(ratio * k as f32),
            (Grid::Corners | Grid::Asymmetric, Ratio::Exact(ratio)) => ratio * k as f64,
        }
    }

    /// The index of the element of the input that [`Method::Nearest`] takes.
    fn nearest(&self, ratio: Ratio, k: usize) -> usize {
        let position = self.position(ratio, k);
        match self.grid {
            Grid::Corners => (position + 0.5) as usize,
            _ => position as usize,
        }
    }

    /// The elements that [`Method::Linear`] and [`Method::Cubic`] take, with their weights.
    fn taps(&self, input: usize, ratio: Ratio, k: usize) -> Vec<Tap> {
        let position = self.position(ratio, k);
        let last = input.saturating_sub(1);
        if self.method == Method::Linear {
            let position = position.max(0.0);
            let index = position as usize;
            let share = position - index as f64;
            let second = (index + 1).min(last);
            return vec![
                Tap {
                    index,
                    weight: 1.0 - share,
                },
                Tap {
                    index: second,
                    weight: share,
                },
            ];
        }
        let floor = position.floor();
        let share = position - floor;
        let weights = [
            outer_weight(share + 1.0),
            inner_weight(share),
            inner_weight(1.0 - share),
            outer_weight(2.0 - share),
        ];
        let taps = (-1..).zip(weights).map(|(offset, weight)| {
            let index = (floor as i64 + offset).clamp(0, last as i64) as usize;
            Tap { index, weight }
        });
        taps.collect()
    }

    /// The axes to resize in a run; none if no extent changes.
    pub fn plan(&self, values: &Values<'_>) -> Result<Vec<ResizedAxis>> {
        let shape = values.get(self.x)?.shape();
        let (start, count) = self.spatial(shape.len())?;
        let inputs = &shape[start..start + count];
        let (outputs, scales) = self.outputs_of_run(values, inputs)?;
        if inputs.contains(&0) {
            return Err(Error::malformed("an image without elements is resized"));
        }
        if inputs == outputs {
            return Ok(Vec::new());
        }
        let mut resized = shape.to_vec();
        resized[start..start + count].copy_from_slice(&outputs);
        refuse_too_large(&resized)?;
        let axes = inputs.iter().zip(outputs).enumerate();
        let plan = axes.map(|(position, (input, output))| {
            let scale = scales.as_ref().map(|scales| scales[position]);
            // Rounding may decide which element is the nearest, so that it belongs to the result there.
            let is_exact = values.are_exact() && self.method != Method::Nearest;
            ResizedAxis {
                axis: start + position,
                input: *input,
                output,
                ratio: if is_exact {
                    Ratio::Exact(self.ratio(*input, output, scale))
                } else {
                    Ratio::Single(self.ratio(*input, output, scale))
                },
            }
        });
        Ok(plan.collect())
    }

    /// The result by [`Method::Nearest`].
    pub fn pick<T: Element>(&self, x: &Array<T>, plan: &[ResizedAxis]) -> Result<Array<T>> {
        let mut result = x.clone();
        for axis in plan {
            let positions = 0..axis.output;
            let indices: Vec<usize> = positions.map(|k| self.nearest(axis.ratio, k)).collect();
            result = picked(&result, axis.axis, &indices)?.into();
        }
        Ok(result)
    }

    /// The result by [`Method::Linear`] or [`Method::Cubic`].
    pub fn blend<T: Real>(&self, x: &Array<T>, plan: &[ResizedAxis]) -> Result<Array<T>> {
        let mut result = x.clone();
        for axis in plan {
            let positions = 0..axis.output;
            let taps = positions.map(|k| self.taps(axis.input, axis.ratio, k));
            result = resample(&result, axis.axis, &taps.collect::<Vec<_>>())?.into();
        }
        Ok(result)
    }
}

/// An axis that is resized in a run.
pub(super) struct ResizedAxis {
    axis: usize,
    /// The extent of the input.
    input: usize,
    /// The extent of the result.
    output: usize,
    ratio: Ratio,
}

/// What an index of the result is multiplied by to get a position in the input.
#[derive(Debug, Clone, Copy)]
enum Ratio {
    /// As Paddle computes it, and the positions with it, whatever the element type.
    Single(f32),
    /// Without rounding.
    Exact(f64),
}

impl From<Ratio> for f64 {
    fn from(ratio: Ratio) -> Self {
        match ratio {
            Ratio::Single(ratio) => ratio.into(),
            Ratio::Exact(ratio) => ratio,
        }
    }
}

/// The kernel of the cubic convolution at a distance from 0 to 1 from its centre.
fn inner_weight(distance: f64) -> f64 {
    (1.25 * distance - 2.25) * distance * distance + 1.0
}

/// The kernel of the cubic convolution at a distance from 1 to 2 from its centre.
fn outer_weight(distance: f64) -> f64 {
    ((-0.75 * distance + 3.75) * distance - 6.0) * distance + 3.0
}
