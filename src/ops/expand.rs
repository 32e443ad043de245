//! Broadcasting to a given shape.
//!
//! Paddle: `phi/kernels/expand_kernel.h`. ONNX: Expand.

use ndarray::IxDyn;

use super::def::{ANY, Accuracy, Arg, Form, From, OpDef};
use super::operator::{Fact, Facts, Function, Parsed};
use super::reader::OpReader;
use super::reshape::length;
use crate::error::{Error, Result};
use crate::lower::{Lowering, TensorId};
use crate::program::ValueId;
use crate::reference::Values;
use crate::tensor::{Dim, Element, Tensor, display_shape, with_array};

pub(super) const OPS: &[OpDef] = &[OpDef {
    name: "expand",
    operands: &[Arg::Tensor("x"), Arg::IntArray("shape")],
    results: &["out"],
    legacy: &[Form::legacy(
        &["expand_v2"],
        &[
            From::Slot("X"),
            From::IntArray {
                attr: "shape",
                slots: &["Shape", "expand_shapes_tensor"],
            },
        ],
        &["Out"],
    )],
    pir: &[],
    dtypes: ANY,
    opset: 11,
    accuracy: Accuracy::Exact,
    parse: Expand::parse,
}];

/// `x` repeated along its axes of extent 1, and along new ones in front. In `shape`, -1 keeps an
/// extent.
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

    /// The resulting shape.
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
                // Any other extent can't be changed, so it is both.
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
        with_array!(x, x => {
            let view = x.broadcast(IxDyn(&shape));
            let view = view.ok_or_else(|| Error::internal("broadcasting failed"))?;
            Ok(Element::tensor(view.to_owned().into()))
        })
    }
}
