//! Broadcasting to a given shape, or to that of other tensors: `expand`, `expand_as` and
//! `broadcast_tensors`.
//!
//! Paddle: `phi/kernels/{expand,expand_as,broadcast_tensors}_kernel.h`. ONNX: Expand.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::axes::length;
use crate::ops::shared::broadcast_tensors::{BroadcastTensors, broadcast};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Dim, Tensor, display_shape};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "expand",
        &[Arg::Tensor("x"), Arg::IntArray("shape")],
        &[Form::legacy(
            &["expand_v2"],
            &[
                Binding::Slot("X"),
                Binding::IntArray {
                    attr: "shape",
                    slots: &["Shape", "expand_shapes_tensor"],
                },
            ],
            &["Out"],
        )],
        Expand::parse,
    )
    .with_opset(8)
    .part_by_part(&["x"]),
    OpDef::new(
        "expand_as",
        &[Arg::Tensor("x"), Arg::Optional("y")],
        &[Form::legacy(
            &["expand_as_v2"],
            &[Binding::Slot("X"), Binding::Optional("Y")],
            &["Out"],
        )],
        ExpandAs::parse,
    )
    .with_opset(8)
    .part_by_part(&["x", "y"]),
    OpDef::new(
        "broadcast_tensors",
        &[Arg::List("input")],
        &[Form::legacy(
            &["broadcast_tensors"],
            &[Binding::List("X")],
            &["Out"],
        )],
        BroadcastTensors::parse,
    )
    .with_opset(8)
    .part_by_part(&["input"]),
];

/// `x` broadcast to `shape`, in which -1 keeps an extent of `x`.
struct Expand {
    x: ValueId,
    shape: ValueId,
}

impl Expand {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            shape: op.operand("shape")?,
        }))
    }

    /// The shape of the result, for `x` and `target` as they are aligned at their last axes.
    fn expanded(x: &[Dim], target: &[Dim]) -> Result<Vec<Dim>> {
        let fail = || {
            let (x, target) = (display_shape(x), display_shape(target));
            Error::malformed(format!("can't expand {x} to {target}"))
        };
        let added = target.len().checked_sub(x.len()).ok_or_else(fail)?;
        let dims = target.iter().enumerate().map(|(axis, target)| {
            let old = axis.checked_sub(added).map(|axis| &x[axis]);
            match (old, target) {
                (Some(old), Dim::Known(-1)) => Ok(old.clone()),
                (None, Dim::Known(-1)) => Err(fail()),
                (None | Some(Dim::Known(1)), target) => Ok(target.clone()),
                (Some(Dim::Known(old)), Dim::Known(target)) if old != target => Err(fail()),
                // An extent other than 1 can't be changed, so that both describe the same one.
                (Some(old), target) => Ok(old.or(target)),
            }
        });
        dims.collect()
    }
}

impl Function for Expand {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.shape(self.x);
        let shape = match facts.content(self.shape) {
            Some(target) => Self::expanded(x, target)?,
            None => {
                let unknown = vec![Dim::Unknown; length(facts, self.shape)?];
                Self::expanded(x, &unknown)?
            }
        };
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        // ONNX's Expand broadcasts both ways, so 1 keeps an extent.
        let keep = |dim: &Dim| match dim {
            Dim::Known(-1) => Dim::Known(1),
            other => other.clone(),
        };
        let target = g
            .content(self.shape)
            .map(|dims| dims.iter().map(keep).collect());
        let target = target.and_then(|dims: Vec<Dim>| g.dims(&dims));
        let target = match target {
            Some(target) => target,
            None => {
                let target = g.int_array(self.shape)?;
                // Only -1 can be negative, and its absolute value is what keeps an extent.
                g.node("Abs", &[target], [])
            }
        };
        Ok(g.node("Expand", &[x, target], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let dims = |extents: &[usize]| extents.iter().map(|e| Dim::from(*e)).collect::<Vec<_>>();
        let target = values.integers(self.shape)?.into_iter().map(Dim::Known);
        let shape = Self::expanded(&dims(x.shape()), &target.collect::<Vec<_>>())?;
        let shape = shape.iter().map(Dim::extent);
        let shape: Vec<usize> = shape
            .collect::<Option<_>>()
            .ok_or_else(|| Error::malformed("a negative extent"))?;
        broadcast(x, &shape)
    }
}

/// `x` broadcast to the shape of `y`, or to `target_shape` if there is no `y`.
struct ExpandAs {
    x: ValueId,
    y: Option<ValueId>,
    target_shape: Vec<i64>,
}

impl ExpandAs {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            y: op.optional("y")?,
            target_shape: op.attr_or("target_shape", Vec::new())?,
        }))
    }

    fn target(&self, facts: &Facts<'_>) -> Vec<Dim> {
        match self.y {
            Some(y) => facts.shape(y).to_vec(),
            None => self.target_shape.iter().copied().map(Dim::Known).collect(),
        }
    }
}

impl Function for ExpandAs {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let shape = Expand::expanded(facts.shape(self.x), &self.target(facts))?;
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let target = self.target(g);
        let target = match (g.dims(&target), self.y) {
            (Some(target), _) => target,
            (None, Some(y)) => {
                let y = g.value(y)?;
                g.node("Shape", &[y], [])
            }
            (None, None) => return Err(Error::malformed("a target that is not given")),
        };
        Ok(g.node("Expand", &[x, target], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let shape: Vec<usize> = match self.y {
            Some(y) => values.get(y)?.shape().to_vec(),
            None => {
                let shape = self.target_shape.iter().map(|e| usize::try_from(*e).ok());
                let shape: Option<_> = shape.collect();
                shape.ok_or_else(|| Error::malformed("a negative extent"))?
            }
        };
        broadcast(values.get(self.x)?, &shape)
    }
}
