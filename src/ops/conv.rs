//! Convolution.

use super::def::{Accuracy, Arg, Form, From, OpDef};
use super::operator::{Fact, Facts, Function, Macs, Parsed};
use super::reader::OpReader;
use crate::error::{Error, Result};
use crate::lower::{Lowering, NodeAttr, TensorId};
use crate::program::ValueId;
use crate::reference::conv::{Window, conv2d};
use crate::reference::{Real, Values, with_reals};
use crate::tensor::{Array, Dim, Tensor};

pub(super) const OPS: &[OpDef] = &[
    convolution("conv2d", &[form(&["conv2d"])]),
    // The same with as many groups as channels: only Paddle's choice of kernel differs.
    convolution("depthwise_conv2d", &[form(&["depthwise_conv2d"])]),
];

const fn form(names: &'static [&'static str]) -> Form {
    let operands = &[From::Slot("Input"), From::Slot("Filter")];
    Form::legacy(names, operands, &["Output"]).ignoring(&["is_test"])
}

const fn convolution(name: &'static str, legacy: &'static [Form]) -> OpDef {
    OpDef {
        name,
        operands: &[Arg::Tensor("input"), Arg::Tensor("filter")],
        results: &["out"],
        legacy,
        pir: &[],
        accuracy: Accuracy::Accumulated,
        parse: Conv2d::parse,
    }
}

/// Where a channels-last image has its axes, seen from a channels-first one, and back.
pub(super) const TO_CHANNELS_FIRST: [usize; 4] = [0, 3, 1, 2];
pub(super) const TO_CHANNELS_LAST: [usize; 4] = [0, 2, 3, 1];

/// What surrounds the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Padding {
    /// Zeros before and after each axis.
    Explicit([[usize; 2]; 2]),
    /// As many as make the output `⌈extent / stride⌉` long, the odd one behind. Dilation counts as
    /// 1 here, as in Paddle.
    Same,
}

/// A two-dimensional convolution without a bias: `input` is `[n, c, h, w]` (or `[n, h, w, c]`),
/// `filter` `[o, c / groups, kh, kw]` in either layout.
///
/// Paddle: `phi/kernels/conv_kernel.h` and `UpdatePaddingAndDilation` in
/// `phi/kernels/cpu/conv_util.h`. ONNX: Conv.
struct Conv2d {
    input: ValueId,
    filter: ValueId,
    strides: [usize; 2],
    dilations: [usize; 2],
    padding: Padding,
    groups: usize,
    channels_last: bool,
}

impl Conv2d {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let padding = padding(op)?;
        let dilations = match padding {
            Padding::Same => {
                op.ignore("dilations");
                [1, 1]
            }
            Padding::Explicit(_) => positive_pair(op, "dilations")?,
        };
        let groups: i64 = op.attr_or("groups", 1)?;
        Ok(Box::new(Self {
            input: op.operand("input")?,
            filter: op.operand("filter")?,
            strides: positive_pair(op, "strides")?,
            dilations,
            padding,
            groups: pixels(groups)
                .filter(|groups| *groups > 0)
                .ok_or_else(|| Error::malformed(format!("{groups} groups")))?,
            channels_last: channels_last(op)?,
        }))
    }

    /// The image's extents in a channels-first order.
    fn image<T: Clone>(&self, shape: &[T]) -> Result<[T; 4]> {
        let shape: [T; 4] = shape
            .to_vec()
            .try_into()
            .map_err(|_| Error::malformed(format!("rank {} where 4 is due", shape.len())))?;
        Ok(if self.channels_last {
            TO_CHANNELS_FIRST.map(|axis| shape[axis].clone())
        } else {
            shape
        })
    }

    fn window(&self, image: [usize; 2], kernel: [usize; 2]) -> Window {
        let pads = match self.padding {
            Padding::Explicit(pads) => pads,
            Padding::Same => [0, 1].map(|axis| same(image[axis], kernel[axis], self.strides[axis])),
        };
        Window {
            kernel,
            strides: self.strides,
            dilations: self.dilations,
            pads,
        }
    }

    fn kernel(&self, filter: &[usize]) -> Result<[usize; 2]> {
        match filter {
            &[_, _, h, w] if h > 0 && w > 0 => Ok([h, w]),
            _ => Err(Error::malformed(format!("a filter of shape {filter:?}"))),
        }
    }

    fn convolve<T: Real>(&self, x: &Array<T>, filter: &Array<T>) -> Result<Array<T>> {
        let kernel = self.kernel(filter.shape())?;
        let [_, _, h, w] = self.image(x.shape())?;
        let mut x = x.clone();
        if self.channels_last {
            x = x.permuted_axes(TO_CHANNELS_FIRST.as_slice());
        }
        let result = conv2d(&x, filter, self.window([h, w], kernel), self.groups)?;
        Ok(if self.channels_last {
            result.permuted_axes(TO_CHANNELS_LAST.as_slice()).into()
        } else {
            result.into()
        })
    }

    /// The extents of one output axis.
    fn output(&self, axis: usize, image: &Dim, kernel: &Dim) -> Result<Dim> {
        let known = |dim: &Dim| dim.known().and_then(|extent| usize::try_from(extent).ok());
        let (Some(image), Some(kernel)) = (known(image), known(kernel)) else {
            return Ok(Dim::Unknown);
        };
        let window = self.window([image; 2], self.kernel(&[1, 1, kernel, kernel])?);
        Ok(Dim::from(window.output([image; 2])?[axis]))
    }
}

impl Function for Conv2d {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let [n, c, h, w] = self.image(facts.shape(self.input))?;
        let [o, group_channels, kh, kw] = facts.shape(self.filter) else {
            return Err(Error::malformed("a filter without four axes"));
        };
        let channels = group_channels.known().zip(i64::try_from(self.groups).ok());
        let channels = channels.and_then(|(channels, groups)| channels.checked_mul(groups));
        if let (Some(expected), Some(found)) = (channels, c.known())
            && expected != found
        {
            return Err(Error::malformed(format!(
                "an image of {found} channels where the filter takes {expected}"
            )));
        }
        let outputs = o.known().and_then(|o| usize::try_from(o).ok());
        if outputs.is_some_and(|outputs| outputs % self.groups != 0) {
            return Err(Error::malformed(format!(
                "a filter of {o} outputs in {} groups",
                self.groups
            )));
        }
        let (h, w) = (self.output(0, &h, kh)?, self.output(1, &w, kw)?);
        let shape = if self.channels_last {
            vec![n, h, w, o.clone()]
        } else {
            vec![n, o.clone(), h, w]
        };
        Ok(Fact::new(facts.dtype(self.input), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let mut x = g.value(self.input)?;
        let filter = g.value(self.filter)?;
        if self.channels_last {
            x = g.transpose(x, &TO_CHANNELS_FIRST);
        }
        let pair = |values: [usize; 2]| NodeAttr::Ints(values.map(|v| v as i64).to_vec());
        let padding = match self.padding {
            Padding::Explicit([[top, bottom], [left, right]]) => {
                let pads = [top, left, bottom, right].map(|pad| pad as i64);
                ("pads", NodeAttr::Ints(pads.to_vec()))
            }
            Padding::Same => ("auto_pad", NodeAttr::String("SAME_UPPER")),
        };
        let attrs = [
            ("strides", pair(self.strides)),
            ("dilations", pair(self.dilations)),
            ("group", NodeAttr::Int(self.groups as i64)),
            padding,
        ];
        let y = g.node("Conv", &[x, filter], attrs);
        Ok(if self.channels_last {
            g.transpose(y, &TO_CHANNELS_LAST)
        } else {
            y
        })
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (input, filter) = (values.get(self.input)?, values.get(self.filter)?);
        with_reals!(input, filter, (x, filter) => self.convolve(x, filter)?)
    }

    fn macs(&self, facts: &Facts<'_>) -> Macs {
        let Ok(result) = self.infer(facts) else {
            return Macs::Unknown;
        };
        // Every output element sums one filter: all of its axes but the first.
        let window = facts.shape(self.filter).iter().skip(1);
        let extents = result.shape.iter().chain(window);
        match Macs::product(extents) {
            None => Macs::Unknown,
            Some(count) if facts.is_parameter(self.filter) => Macs::Weighted(count),
            Some(count) => Macs::Activations(count),
        }
    }
}

/// The zeros before and after an axis with which a window fits as often as there are strides.
pub(super) fn same(image: usize, kernel: usize, stride: usize) -> [usize; 2] {
    let steps = image.div_ceil(stride);
    let covered = steps.saturating_sub(1).saturating_mul(stride);
    let total = covered.saturating_add(kernel).saturating_sub(image);
    [total / 2, total - total / 2]
}

pub(super) fn padding(op: &mut OpReader<'_>) -> Result<Padding> {
    let algorithm: String = op.attr_or("padding_algorithm", "EXPLICIT".to_owned())?;
    let paddings: Vec<i64> = op.attr_or("paddings", vec![0, 0])?;
    match algorithm.as_str() {
        "SAME" => return Ok(Padding::Same),
        "VALID" => return Ok(Padding::Explicit([[0; 2]; 2])),
        "EXPLICIT" => {}
        other => return Err(Error::unsupported(format!("padding_algorithm {other:?}"))),
    }
    let pads: Option<Vec<usize>> = paddings.iter().map(|pad| pixels(*pad)).collect();
    match pads.as_deref() {
        Some(&[h, w]) => Ok(Padding::Explicit([[h; 2], [w; 2]])),
        Some(&[top, bottom, left, right]) => Ok(Padding::Explicit([[top, bottom], [left, right]])),
        _ => Err(Error::malformed(format!("paddings {paddings:?}"))),
    }
}

/// A number of Paddle's, which has 32 bits for it.
pub(super) fn pixels(value: i64) -> Option<usize> {
    usize::try_from(i32::try_from(value).ok()?).ok()
}

pub(super) fn positive_pair(op: &mut OpReader<'_>, name: &str) -> Result<[usize; 2]> {
    let values: Vec<i64> = op.attr_or(name, vec![1, 1])?;
    let positive = values
        .iter()
        .map(|value| pixels(*value).filter(|value| *value > 0))
        .collect::<Option<Vec<usize>>>();
    positive
        .and_then(|values| values.try_into().ok())
        .ok_or_else(|| {
            Error::malformed(format!(
                "{name} {values:?} where two positive numbers are due"
            ))
        })
}

pub(super) fn channels_last(op: &mut OpReader<'_>) -> Result<bool> {
    let format: String = op.attr_or("data_format", "NCHW".to_owned())?;
    match format.as_str() {
        // AnyLayout is what Paddle 1.x wrote for its only layout.
        "NCHW" | "AnyLayout" => Ok(false),
        "NHWC" => Ok(true),
        other => Err(Error::unsupported(format!("data_format {other:?}"))),
    }
}
