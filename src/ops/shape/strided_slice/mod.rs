//! Slices with strides, and writing to them: `strided_slice`, and `set_value_with_tensor` with its form
//! `set_value`.
//!
//! Paddle: `phi/kernels/{strided_slice,set_value}_kernel.h`,
//! `phi/kernels/funcs/{strided_slice,slice_utils}.h`. ONNX: Slice and Squeeze; ScatterElements to write.

mod bounds;
mod set_value;

use ndarray::Axis;

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Element, Tensor, with_array};
use bounds::{Bounds, Steps, distinct_axes};
use set_value::{SetValue, value_as_operand};

const BOUNDS: [Arg; 3] = [
    Arg::IntArray("starts"),
    Arg::IntArray("ends"),
    Arg::IntArray("steps"),
];

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "strided_slice",
        &[
            Arg::Tensor("x"),
            Arg::IntArray("starts"),
            Arg::IntArray("ends"),
            Arg::IntArray("strides"),
        ],
        &[Form::legacy(
            &["strided_slice"],
            &[
                Binding::Slot("Input"),
                bound("starts", &["StartsTensor", "StartsTensorList"]),
                bound("ends", &["EndsTensor", "EndsTensorList"]),
                bound("strides", &["StridesTensor", "StridesTensorList"]),
            ],
            &["Out"],
        )
        // Says which bounds are known when the program is built; here the operands say it.
        .ignoring(&["infer_flags"])],
        StridedSlice::parse,
    )
    .with_opset(10)
    .part_by_part(&["x"])
    .with_limits(&["slices backwards that end behind the last element, in Paddle 2"]),
    OpDef::new(
        "set_value_with_tensor",
        &[
            Arg::Tensor("x"),
            Arg::Tensor("values"),
            BOUNDS[0],
            BOUNDS[1],
            BOUNDS[2],
        ],
        &[Form::legacy(
            &["set_value"],
            &[
                Binding::Slot("Input"),
                Binding::Optional("ValueTensor"),
                bound("starts", &["StartsTensorList"]),
                bound("ends", &["EndsTensorList"]),
                bound("steps", &["StepsTensorList"]),
            ],
            &["Out"],
        )
        // The element type of `x` counts.
        .ignoring(&["dtype"])
        .rewriting(value_as_operand)],
        SetValue::parse,
    )
    .with_opset(8)
    .part_by_part(&["x", "values"])
    .with_pir(&[Form::pir(
        &["set_value"],
        &["x", "starts", "ends", "steps"],
        &[
            Binding::Slot("x"),
            Binding::Rewrite,
            bound("starts", &["starts"]),
            bound("ends", &["ends"]),
            bound("steps", &["steps"]),
        ],
    )
    .overwriting("x")
    .rewriting(value_as_operand)])
    .with_limits(&["negative ends with negative steps, in Paddle 2"]),
];

/// A list of bounds or strides, from an attribute or from the tensors in one of `slots`.
const fn bound(attr: &'static str, slots: &'static [&'static str]) -> Binding {
    Binding::IntArray { attr, slots }
}

/// Every `strides[i]`-th element along `axes[i]`, from `starts[i]` up to, not including, `ends[i]`. Axes
/// in `decrease_axis` must have one element left, and are removed.
struct StridedSlice {
    x: ValueId,
    bounds: Bounds,
    decrease_axis: Vec<i64>,
}

impl StridedSlice {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let mut bounds = Bounds::parse(op, "strides")?;
        bounds.take_first = op.is_before(2, 2);
        Ok(Box::new(Self {
            x: op.operand("x")?,
            bounds,
            decrease_axis: op.attr_or("decrease_axis", Vec::new())?,
        }))
    }
}

impl Function for StridedSlice {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.get(self.x);
        let steps = self.bounds.known(facts, self.x)?;
        let mut shape = self.bounds.sliced(&x.shape, steps.as_deref())?;
        let extent = |steps: &Steps| x.shape[steps.axis].known();
        let ends_behind = |steps: &Steps| {
            steps.stride < 0 && extent(steps).is_some_and(|extent| steps.end >= extent)
        };
        if self.bounds.are_older && steps.iter().flatten().any(ends_behind) {
            return Err(Error::unsupported(
                "a slice backwards that ends behind the last element, where Paddle 2 takes some all the same",
            ));
        }
        let skips = |steps: &Steps| steps.stride < -1;
        if self.bounds.take_first && steps.iter().flatten().any(skips) {
            return Err(Error::unsupported(
                "a stride below -1, with which Paddle up to 2.1 may begin elsewhere",
            ));
        }
        let content = match (steps.as_deref(), x.content.as_deref(), x.shape.len()) {
            (Some([steps]), Some(content), 1) => {
                let positions = steps.positions(content.len()).into_iter();
                Some(
                    positions
                        .map(|position| content[position].clone())
                        .collect(),
                )
            }
            _ => None,
        };
        for axis in distinct_axes(&self.decrease_axis, shape.len())?
            .into_iter()
            .rev()
        {
            if shape[axis].known().is_some_and(|extent| extent != 1) {
                return Err(Error::malformed(format!(
                    "axis {axis} has {} elements where 1 is taken",
                    shape[axis]
                )));
            }
            shape.remove(axis);
        }
        Ok(Fact::new(x.dtype, shape).with_content(content))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let slice = self.bounds.lower(g, x, self.x)?;
        let removed = distinct_axes(&self.decrease_axis, g.rank(self.x))?;
        let removed: Vec<i64> = removed.into_iter().map(|axis| axis as i64).collect();
        Ok(g.squeeze(slice, &removed))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let rank = x.shape().len();
        let steps = self.bounds.of(values, x.shape())?;
        let removed = distinct_axes(&self.decrease_axis, rank)?;
        with_array!(x, x => {
            let mut part = x.to_owned();
            for steps in &steps {
                let positions = steps.positions(part.len_of(Axis(steps.axis)));
                part = part.select(Axis(steps.axis), &positions);
            }
            for axis in removed.into_iter().rev() {
                if part.len_of(Axis(axis)) != 1 {
                    return Err(Error::malformed(format!("several elements along axis {axis}")));
                }
                part = part.index_axis_move(Axis(axis), 0);
            }
            Ok(Element::tensor(part.into()))
        })
    }
}
