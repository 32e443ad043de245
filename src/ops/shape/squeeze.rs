//! Axes of extent 1, removed by `squeeze` or inserted by `unsqueeze`.
//!
//! Paddle: `phi/kernels/{squeeze,unsqueeze}_kernel.h`. ONNX: Squeeze and Unsqueeze.

use super::reshape::{X, extents, reshaped};
use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::axes::length;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Dim, Tensor, normalize_axis};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "squeeze",
        &[Arg::Tensor("x"), Arg::IntArray("axis")],
        &[Form::legacy(
            &["squeeze2", "squeeze"],
            &[
                X,
                Binding::IntArray {
                    attr: "axes",
                    slots: &[],
                },
            ],
            &["Out"],
        )],
        Squeeze::parse,
    )
    .part_by_part(&["x"])
    .speculatable(),
    OpDef::new(
        "unsqueeze",
        &[Arg::Tensor("x"), Arg::IntArray("axis")],
        &[Form::legacy(
            &["unsqueeze2", "unsqueeze"],
            &[
                X,
                Binding::IntArray {
                    attr: "axes",
                    slots: &["AxesTensorList", "AxesTensor"],
                },
            ],
            &["Out"],
        )],
        Unsqueeze::parse,
    )
    .part_by_part(&["x"])
    .speculatable(),
];

/// `x` without its axes of extent 1: those listed in `axis`, or all if none is listed. A listed axis of
/// another extent stays.
struct Squeeze {
    x: ValueId,
    axis: Option<ValueId>,
}

impl Squeeze {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis: op.optional("axis")?,
        }))
    }

    /// The axes to remove. An extent that is not known counts as 1 if its axis is listed.
    fn removed(x: &[Dim], listed: &[i64]) -> Result<Vec<usize>> {
        if listed.is_empty() {
            let ones = (0..x.len()).filter(|axis| x[*axis] == Dim::Known(1));
            return Ok(ones.collect());
        }
        let listed: Vec<usize> = listed
            .iter()
            .map(|axis| normalize_axis(*axis, x.len().max(1)))
            .collect::<Result<_>>()?;
        let goes = |axis: &usize| listed.contains(axis) && x[*axis].known().is_none_or(|n| n == 1);
        Ok((0..x.len()).filter(goes).collect())
    }

    /// The listed axes, if they are known before a run.
    fn listed(&self, facts: &Facts<'_>) -> Option<Vec<i64>> {
        self.axis
            .map_or(Some(Vec::new()), |axis| facts.integers(axis))
    }

    /// The result where the axes are computed. Each listed axis is taken to have extent 1, as ONNX's Squeeze
    /// requires, so that the rank is known.
    fn infer_computed(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.get(self.x);
        let count = self.axis.map_or(Ok(0), |axis| length(facts, axis))?;
        let rank = x.shape.len().checked_sub(count).ok_or_else(|| {
            Error::malformed(format!("{count} of {} axes to remove", x.shape.len()))
        })?;
        Ok(Fact::new(x.dtype, vec![Dim::Unknown; rank]))
    }
}

impl Function for Squeeze {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.get(self.x);
        let Some(listed) = self.listed(facts) else {
            return self.infer_computed(facts);
        };
        let removed = Self::removed(&x.shape, &listed)?;
        let kept = (0..x.shape.len()).filter(|axis| !removed.contains(axis));
        let shape = kept.map(|axis| x.shape[axis].clone()).collect();
        Ok(Fact::new(x.dtype, shape).with_content(x.content.clone()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let listed = match (self.listed(g), self.axis) {
            (Some(listed), _) => listed,
            (None, Some(axis)) => {
                let axes = g.int_array(axis)?;
                g.note(
                    "the axes that it removes are computed, and taken to have extent 1: the model fails where one has \
                     not, while Paddle keeps that axis",
                );
                return Ok(g.node("Squeeze", &[x, axes], []));
            }
            (None, None) => Vec::new(),
        };
        let removed = Self::removed(g.shape(self.x), &listed)?;
        let mut open = removed
            .iter()
            .filter(|axis| g.shape(self.x)[**axis].known().is_none());
        if let Some(axis) = open.next() {
            g.note(format!(
                "the extent of axis {axis} is open, and taken for 1: the model fails where it is another, while \
                 Paddle keeps the axis then"
            ));
        }
        let mut open = g
            .shape(self.x)
            .iter()
            .map(|extent| extent.known().is_none());
        if listed.is_empty()
            && let Some(axis) = open.position(|is_open| is_open)
        {
            g.note(format!(
                "no axes are listed, and the extent of axis {axis} is open: the axis stays where it is 1, while Paddle \
                 removes it then"
            ));
        }
        let removed: Vec<i64> = removed.into_iter().map(|axis| axis as i64).collect();
        Ok(g.squeeze(x, &removed))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let listed = self
            .axis
            .map_or(Ok(Vec::new()), |axis| values.integers(axis))?;
        let shape = extents(x);
        let removed = Self::removed(&shape, &listed)?;
        let kept = (0..shape.len()).filter(|axis| !removed.contains(axis));
        reshaped(x, &kept.map(|axis| shape[axis].clone()).collect::<Vec<_>>())
    }
}

/// `x` with axes of extent 1 inserted one after the other: each position in `axis` counts the axes that
/// were inserted before it.
struct Unsqueeze {
    x: ValueId,
    axis: ValueId,
}

impl Unsqueeze {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis: op.operand("axis")?,
        }))
    }

    /// For each axis of the result, whether it is new.
    fn is_new(rank: usize, axes: &[i64]) -> Result<Vec<bool>> {
        let mut is_new = vec![false; rank];
        for axis in axes {
            let position = normalize_axis(*axis, is_new.len() + 1)?;
            is_new.insert(position, true);
        }
        Ok(is_new)
    }

    fn unsqueezed(x: &[Dim], axes: &[i64]) -> Result<Vec<Dim>> {
        let mut old = x.iter().cloned();
        let is_new = Self::is_new(x.len(), axes)?.into_iter();
        let dims = is_new.map(|is_new| {
            if is_new {
                Some(Dim::Known(1))
            } else {
                old.next()
            }
        });
        Ok(dims.flatten().collect())
    }

    /// Emits one Unsqueeze for each axis, since ONNX's positions all count the axes of the result.
    fn lower_computed(&self, g: &mut Lowering<'_>, x: TensorId) -> Result<TensorId> {
        let axes = g.int_array(self.axis)?;
        let count = length(g, self.axis)? as i64;
        Ok((0..count).fold(x, |x, position| {
            let axis = g.slice(axes, position, position + 1, 0);
            g.node("Unsqueeze", &[x, axis], [])
        }))
    }
}

impl Function for Unsqueeze {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.get(self.x);
        let Some(axes) = facts.integers(self.axis) else {
            let rank = x.shape.len() + length(facts, self.axis)?;
            return Ok(Fact::new(x.dtype, vec![Dim::Unknown; rank]));
        };
        let shape = Self::unsqueezed(&x.shape, &axes)?;
        Ok(Fact::new(x.dtype, shape).with_content(x.content.clone()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let Some(axes) = g.integers(self.axis) else {
            return self.lower_computed(g, x);
        };
        let is_new = Self::is_new(g.rank(self.x), &axes)?;
        let new = (0_i64..).zip(is_new).filter(|(_, is_new)| *is_new);
        let new: Vec<i64> = new.map(|(axis, _)| axis).collect();
        Ok(g.unsqueeze(x, &new))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let axes = values.integers(self.axis)?;
        reshaped(x, &Self::unsqueezed(&extents(x), &axes)?)
    }
}
