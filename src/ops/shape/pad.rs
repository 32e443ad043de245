//! Padding, which adds elements around those of a tensor: `pad`, `pad3d` and `pad2d`.
//!
//! Paddle: `phi/kernels/{pad,pad3d}_kernel.h`. ONNX: Pad; Gather for circular padding, which Pad has only
//! from opset 19 on.

use ndarray::{ArrayD, Axis};

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{BF16, F16, F32, F64, I32, I64};
use crate::tensor::{Array, DType, Dim, Element, Tensor, display_shape, refuse_too_large};

const X: Binding = Binding::Slot("X");

const TYPES: &[DType] = &[I32, I64, F16, BF16, F32, F64];

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "pad",
        &[
            Arg::Tensor("x"),
            Arg::Scalar("pad_value"),
            Arg::IntArray("paddings"),
        ],
        &[Form::legacy(
            &["pad"],
            &[X, scalar("pad_value"), amounts(&[])],
            &["Out"],
        )],
        |op| Pad::parse(op, |_, rank| Ok((0..rank).map(Some).collect())),
    )
    .part_by_part(&["x", "pad_value"])
    .with_dtypes(TYPES),
    OpDef::new(
        "pad3d",
        &[
            Arg::Tensor("x"),
            Arg::IntArray("paddings"),
            Arg::Scalar("pad_value"),
        ],
        &[Form::legacy(
            &["pad3d"],
            &[X, amounts(&["Paddings"]), scalar("value")],
            &["Out"],
        )],
        |op| Pad::parse(op, volume),
    )
    .part_by_part(&["x", "pad_value"])
    .with_limits(&["computed paddings of `mode` circular"])
    .with_dtypes(TYPES),
    // Not in PHI: the predecessor of `pad3d`, of which PHI has no kernel.
    OpDef::new(
        "pad2d",
        &[
            Arg::Tensor("x"),
            Arg::IntArray("paddings"),
            Arg::Scalar("pad_value"),
        ],
        &[Form::legacy(
            &["pad2d"],
            &[X, amounts(&["Paddings"]), scalar("pad_value")],
            &["Out"],
        )],
        |op| Pad::parse(op, image),
    )
    .with_dtypes(TYPES),
];

/// The operand `paddings`: an attribute, or the tensor in one of `slots`.
const fn amounts(slots: &'static [&'static str]) -> Binding {
    Binding::IntArray {
        attr: "paddings",
        slots,
    }
}

/// A number that is always an attribute.
const fn scalar(attr: &'static str) -> Binding {
    Binding::Scalar { attr, slots: &[] }
}

/// The order in `pad2d`, of a tensor with two spatial axes: the pair of the first comes first.
fn image(is_channels_last: bool, rank: usize) -> Result<Vec<Option<usize>>> {
    if rank != 4 {
        return Err(Error::malformed(format!("an image of rank {rank}")));
    }
    Ok(if is_channels_last {
        vec![None, Some(0), Some(1), None]
    } else {
        vec![None, None, Some(0), Some(1)]
    })
}

/// The order in `pad3d`, of a tensor with three spatial axes: the pair of the last comes first.
fn volume(is_channels_last: bool, rank: usize) -> Result<Vec<Option<usize>>> {
    if rank != 5 {
        return Err(Error::malformed(format!("a volume of rank {rank}")));
    }
    Ok(if is_channels_last {
        vec![None, Some(2), Some(1), Some(0), None]
    } else {
        vec![None, None, Some(2), Some(1), Some(0)]
    })
}

/// What the added elements are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The padding value.
    Constant,
    /// The elements of the axis mirrored at its edge, without the one at the edge.
    Reflect,
    /// The element at the edge of the axis.
    Replicate,
    /// The elements of the axis from its other end, as if it went on periodically.
    Circular,
}

impl Mode {
    /// The position in an axis of `extent` whose element is found at `position`, which counts from the
    /// first element of the axis and is negative in the padding before it. `None` for the padding value.
    fn source(self, position: i64, extent: i64) -> Option<i64> {
        let inside = |position: i64| Some(position).filter(|p| (0..extent).contains(p));
        match self {
            Mode::Constant => inside(position),
            Mode::Reflect => {
                let position = position.abs();
                inside(position.min(2 * extent - 2 - position))
            }
            Mode::Replicate => inside(position.clamp(0, (extent - 1).max(0))),
            Mode::Circular => inside(position.checked_rem_euclid(extent)?),
        }
    }
}

/// `x` with `paddings[2i]` elements added before and `paddings[2i + 1]` after those of the axis whose place
/// in `order` is `i`. Negative numbers, which are for constant mode alone, remove elements.
struct Pad {
    x: ValueId,
    paddings: ValueId,
    value: Option<ValueId>,
    mode: Mode,
    is_channels_last: bool,
    order: Order,
}

/// For each axis, the place of its pair among the paddings, or `None` if it is not padded. Depends on the
/// layout (whether channels come last) and the rank.
type Order = fn(bool, usize) -> Result<Vec<Option<usize>>>;

impl Pad {
    fn parse(op: &mut OpReader<'_>, order: Order) -> Parsed {
        let mode: String = op.attr_or("mode", "constant".to_owned())?;
        let format: String = op.attr_or("data_format", "NCHW".to_owned())?;
        Ok(Box::new(Self {
            x: op.operand("x")?,
            paddings: op.operand("paddings")?,
            value: op.optional("pad_value")?,
            mode: match mode.as_str() {
                "constant" => Mode::Constant,
                "reflect" => Mode::Reflect,
                "replicate" | "edge" => Mode::Replicate,
                "circular" => Mode::Circular,
                other => return Err(Error::unsupported(format!("padding mode {other:?}"))),
            },
            is_channels_last: match format.as_str() {
                "NCHW" | "NCDHW" => false,
                "NHWC" | "NDHWC" => true,
                other => return Err(Error::unsupported(format!("data_format {other:?}"))),
            },
            order,
        }))
    }

    fn order(&self, rank: usize) -> Result<Vec<Option<usize>>> {
        (self.order)(self.is_channels_last, rank)
    }

    /// How many elements are added before and after those of each axis.
    fn amounts(&self, rank: usize, paddings: &[i64]) -> Result<Vec<[i64; 2]>> {
        let order = self.order(rank)?;
        let padded = order.iter().flatten().count();
        if paddings.len() != 2 * padded || paddings.iter().any(|n| n.unsigned_abs() > 1 << 31) {
            let found = display_shape(paddings);
            return Err(Error::malformed(format!(
                "paddings {found} for {padded} axes"
            )));
        }
        let amounts = order.into_iter().map(|place| match place {
            Some(place) => [paddings[2 * place], paddings[2 * place + 1]],
            None => [0; 2],
        });
        Ok(amounts.collect())
    }

    /// Refuses a padding that the mode can't make of the elements of an axis of `extent`.
    fn refuse_extent(&self, extent: i64, [before, after]: [i64; 2]) -> Result<()> {
        let most = before.max(after);
        let is_impossible = match self.mode {
            Mode::Constant => false,
            Mode::Reflect => most >= extent && most > 0,
            Mode::Replicate | Mode::Circular => extent == 0 && most > 0,
        };
        if is_impossible {
            return Err(Error::malformed(format!(
                "an axis of {extent} elements is padded by {most} others of it"
            )));
        }
        if before.min(after) < 0 && self.mode != Mode::Constant {
            return Err(Error::unsupported(
                "a negative padding with anything but a constant",
            ));
        }
        Ok(())
    }

    fn pad<T: Element>(&self, x: &Array<T>, amounts: &[[i64; 2]], value: T) -> Result<Tensor> {
        let mut result = x.to_owned();
        for (axis, [before, after]) in amounts.iter().enumerate() {
            if [*before, *after] == [0, 0] {
                continue;
            }
            let extent = result.shape()[axis] as i64;
            self.refuse_extent(extent, [*before, *after])?;
            let padded = usize::try_from(extent + before + after)
                .map_err(|_| Error::malformed("a padding that leaves no elements"))?;
            let mut shape = result.shape().to_vec();
            shape[axis] = padded;
            refuse_too_large(&shape)?;
            let mut next = ArrayD::from_elem(shape, value);
            for (position, mut lane) in (-before..).zip(next.axis_iter_mut(Axis(axis))) {
                if let Some(source) = self.mode.source(position, extent) {
                    lane.assign(&result.index_axis(Axis(axis), source as usize));
                }
            }
            result = next;
        }
        Ok(T::tensor(result.into()))
    }

    /// Emits the amounts in ONNX's order: those before each axis, then those after each.
    fn lower_amounts(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let rank = g.rank(self.x);
        if let Some(paddings) = g.integers(self.paddings) {
            let amounts = self.amounts(rank, &paddings)?;
            let before = amounts.iter().map(|[before, _]| *before);
            let after = amounts.iter().map(|[_, after]| *after);
            return Ok(g.vector(&before.chain(after).collect::<Vec<_>>()));
        }
        let order = self.order(rank)?;
        let none = 2 * order.iter().flatten().count();
        let side = |side: usize| {
            let places = order.iter();
            places.map(move |place| place.map_or(none, |place| 2 * place + side) as i64)
        };
        let order: Vec<i64> = side(0).chain(side(1)).collect();
        let paddings = g.int_array(self.paddings)?;
        let zero = g.vector(&[0]);
        let paddings = g.concat(&[paddings, zero], 0);
        let order = g.vector(&order);
        Ok(g.node("Gather", &[paddings, order], [("axis", NodeAttr::Int(0))]))
    }

    /// Emits the padding value as a scalar of the element type of `x`.
    fn lower_value(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let dtype = g.dtype(self.x);
        let Some(id) = self.value else {
            return Ok(g.scalar(dtype, 0.0));
        };
        if let Some(value) = g.constant_value(id) {
            let value = value.to_f64_vec().first().copied().unwrap_or_default();
            return Ok(g.scalar(dtype, value));
        }
        let value = g.value(id)?;
        let value = g.cast(value, g.dtype(id), dtype);
        let shape = g.vector(&[]);
        Ok(g.node("Reshape", &[value, shape], []))
    }

    /// Emits a Gather for each padded axis, from positions modulo its extent. The paddings must be known
    /// before a run.
    fn lower_circular(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let rank = g.rank(self.x);
        let paddings = g.constant_integers(self.paddings, "paddings")?;
        let mut y = g.value(self.x)?;
        for (axis, [before, after]) in self.amounts(rank, &paddings)?.into_iter().enumerate() {
            if [before, after] == [0, 0] {
                continue;
            }
            let extent = match g.shape(self.x)[axis] {
                Dim::Known(extent) => g.constant(Tensor::scalar(extent)),
                _ => {
                    let extent = g.shape_slice(y, axis as i64, axis as i64 + 1);
                    g.squeeze(extent, &[0])
                }
            };
            let start = g.constant(Tensor::scalar(-before));
            let after = g.constant(Tensor::scalar(after));
            let one = g.constant(Tensor::scalar(1_i64));
            let end = g.node("Add", &[extent, after], []);
            let positions = g.node("Range", &[start, end, one], []);
            let index = g.node("Mod", &[positions, extent], []);
            y = g.node(
                "Gather",
                &[y, index],
                [("axis", NodeAttr::Int(axis as i64))],
            );
        }
        Ok(y)
    }
}

impl Function for Pad {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.get(self.x);
        let order = self.order(x.shape.len())?;
        let mut shape = x.shape.clone();
        match facts.integers(self.paddings) {
            Some(paddings) => {
                let amounts = self.amounts(shape.len(), &paddings)?;
                for (dim, [before, after]) in shape.iter_mut().zip(amounts) {
                    if [before, after] == [0, 0] {
                        continue;
                    }
                    *dim = match dim.known() {
                        Some(extent) => {
                            self.refuse_extent(extent, [before, after])?;
                            Dim::Known(extent.saturating_add(before + after))
                        }
                        None => Dim::Unknown,
                    };
                }
            }
            None => {
                for (dim, place) in shape.iter_mut().zip(order) {
                    if place.is_some() {
                        *dim = Dim::Unknown;
                    }
                }
            }
        }
        Ok(Fact::new(x.dtype, shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let mode = match self.mode {
            Mode::Constant => "constant",
            Mode::Reflect => "reflect",
            Mode::Replicate => "edge",
            Mode::Circular => return self.lower_circular(g),
        };
        let mut inputs = vec![g.value(self.x)?, self.lower_amounts(g)?];
        if self.mode == Mode::Constant {
            inputs.push(self.lower_value(g)?);
        }
        Ok(g.node("Pad", &inputs, [("mode", NodeAttr::String(mode))]))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let amounts = self.amounts(x.shape().len(), &values.integers(self.paddings)?)?;
        let value = match self.value {
            Some(value) => values.get(value)?.to_f64_vec().first().copied(),
            None => None,
        };
        let value = value.unwrap_or_default();
        match x {
            Tensor::F32(x) => self.pad(x, &amounts, value as f32),
            Tensor::F64(x) => self.pad(x, &amounts, value),
            Tensor::I32(x) => self.pad(x, &amounts, value as i32),
            Tensor::I64(x) => self.pad(x, &amounts, value as i64),
            other => Err(Error::unsupported(format!(
                "the reference has no kernel for {}",
                other.dtype()
            ))),
        }
    }
}
