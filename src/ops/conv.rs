//! Convolution.

use super::def::{Accuracy, Arg, FLOATS, Form, From, OpDef};
use super::image::{Layout, Padding, pixels, positive_pair, same};
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
        dtypes: FLOATS,
        opset: 11,
        accuracy: Accuracy::Accumulated,
        parse: Conv2d::parse,
    }
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
    layout: Layout,
}

impl Conv2d {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let padding = Padding::parse(op)?;
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
            layout: Layout::parse(op)?,
        }))
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
        let [_, _, h, w] = self.layout.extents(x.shape())?;
        let x = self.layout.view_from(x.clone());
        let result = conv2d(&x, filter, self.window([h, w], kernel), self.groups)?;
        Ok(self.layout.view_to(result.into()))
    }

    /// The extents of one output axis.
    fn output(&self, axis: usize, image: &Dim, kernel: &Dim) -> Result<Dim> {
        let (Some(image), Some(kernel)) = (image.extent(), kernel.extent()) else {
            return Ok(Dim::Unknown);
        };
        let window = self.window([image; 2], self.kernel(&[1, 1, kernel, kernel])?);
        Ok(Dim::from(window.output([image; 2])?[axis]))
    }
}

impl Function for Conv2d {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let [n, c, h, w] = self.layout.extents(facts.shape(self.input))?;
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
        let outputs = o.extent();
        if outputs.is_some_and(|outputs| outputs % self.groups != 0) {
            return Err(Error::malformed(format!(
                "a filter of {o} outputs in {} groups",
                self.groups
            )));
        }
        let (h, w) = (self.output(0, &h, kh)?, self.output(1, &w, kw)?);
        let shape = self.layout.shape([n, o.clone(), h, w]);
        Ok(Fact::new(facts.dtype(self.input), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.input)?;
        let x = self.layout.lower_from(g, x);
        let filter = g.value(self.filter)?;
        let pair = |values: [usize; 2]| NodeAttr::Ints(values.map(|v| v as i64).to_vec());
        let attrs = [
            ("strides", pair(self.strides)),
            ("dilations", pair(self.dilations)),
            ("group", NodeAttr::Int(self.groups as i64)),
            self.padding.attr(),
        ];
        let y = g.node("Conv", &[x, filter], attrs);
        Ok(self.layout.lower_to(g, y))
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
