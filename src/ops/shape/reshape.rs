//! The elements of a tensor, in row-major order, with another shape: `reshape`, `flatten` and `flatten2`.
//!
//! Paddle: `phi/kernels/{reshape,flatten}_kernel.h`. ONNX: Reshape; Flatten for `flatten2`.

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::map;
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::axes::length;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{
    Dim, Element, Tensor, normalize_axis, open_extents, reshape_dims, same_shape, with_array,
};

pub(super) const X: Binding = Binding::Slot("X");

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "reshape",
        &[Arg::Tensor("x"), Arg::IntArray("shape")],
        &[Form::legacy(
            &["reshape2", "reshape"],
            &[
                X,
                Binding::IntArray {
                    attr: "shape",
                    slots: &["ShapeTensor", "Shape"],
                },
            ],
            &["Out"],
        )],
        Reshape::parse,
    )
    .part_by_part(&["x"])
    .speculatable()
    .with_pir(&[Form::pir(
        &["legacy_reshape"],
        &["x", "shape"],
        &[
            Binding::Slot("x"),
            Binding::IntArray {
                attr: "shape",
                slots: &["shape"],
            },
        ],
    )]),
    OpDef::new(
        "flatten",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["flatten_contiguous_range"], &[X], &["Out"])],
        Flatten::parse,
    )
    .part_by_part(&["x"])
    .speculatable(),
    // Not in PHI: the flatten of Paddle 1.x, which always gives a matrix.
    OpDef::new(
        "flatten2",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["flatten2", "flatten"], &[X], &["Out"])],
        FlattenToMatrix::parse,
    ),
];

/// `x` reshaped to `shape`, whose extents must all be known.
pub(super) fn reshaped(x: &Tensor, shape: &[Dim]) -> Result<Tensor> {
    let extents: Option<Vec<usize>> = shape.iter().map(Dim::extent).collect();
    let extents = extents.ok_or_else(|| Error::malformed("a negative extent"))?;
    with_array!(x, x => map::reshape(x, &extents).map(Element::tensor))
}

/// Emits `x` with another shape, by a Reshape unless `x` has that shape. `None` where
/// [`Lowering::reshape_from`] can't say the shape, so that it has to be computed.
fn lower_reshaped(g: &mut Lowering<'_>, x: ValueId, shape: &[Dim]) -> Result<Option<TensorId>> {
    let tensor = g.value(x)?;
    let old = g.shape(x);
    if same_shape(old, shape) {
        return Ok(Some(tensor));
    }
    let old = old.to_vec();
    Ok(g.reshape_from(tensor, &old, shape))
}

/// The shape of a tensor, as dimensions.
pub(super) fn extents(x: &Tensor) -> Vec<Dim> {
    x.shape().iter().map(|extent| Dim::from(*extent)).collect()
}

/// `x` with the shape `shape`, in which 0 keeps the extent of `x` at its position, and -1 stands for the
/// extent that the others leave.
struct Reshape {
    x: ValueId,
    shape: ValueId,
}

impl Reshape {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            shape: op.operand("shape")?,
        }))
    }
}

impl Function for Reshape {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.get(self.x);
        let shape = match facts.content(self.shape) {
            Some(target) => reshape_dims(&x.shape, target)?,
            None => vec![Dim::Unknown; length(facts, self.shape)?],
        };
        Ok(Fact::new(x.dtype, shape).with_content(x.content.clone()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let shape = self.infer(g)?.shape;
        if same_shape(g.shape(self.x), &shape) {
            return g.value(self.x);
        }
        let target = match g.integers(self.shape) {
            Some(target) if open_extents(&shape) > 1 && !shape.contains(&Dim::Known(0)) => {
                // ONNX reads 0 and -1 as Paddle does.
                let known = shape.iter().map(Dim::known).zip(target);
                let extents = known.map(|(known, target)| known.unwrap_or(target));
                g.vector(&extents.collect::<Vec<i64>>())
            }
            _ => match lower_reshaped(g, self.x, &shape)? {
                Some(result) => return Ok(result),
                None => g.int_array(self.shape)?,
            },
        };
        let x = g.value(self.x)?;
        Ok(g.node("Reshape", &[x, target], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let target = values.integers(self.shape)?.into_iter().map(Dim::Known);
        let target: Vec<Dim> = target.collect();
        reshaped(x, &reshape_dims(&extents(x), &target)?)
    }
}

/// `x` with the axes from `start_axis` to `stop_axis`, both included, merged into one. A scalar becomes a
/// vector of one element.
struct Flatten {
    x: ValueId,
    start_axis: i64,
    stop_axis: i64,
}

impl Flatten {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            start_axis: op.attr_or("start_axis", 1)?,
            stop_axis: op.attr_or("stop_axis", 1)?,
        }))
    }

    fn axes(&self, rank: usize) -> Result<(usize, usize)> {
        let start = normalize_axis(self.start_axis, rank)?;
        let stop = normalize_axis(self.stop_axis, rank)?;
        if start > stop {
            return Err(Error::malformed(format!(
                "flatten from axis {start} to axis {stop}"
            )));
        }
        Ok((start, stop))
    }

    fn flattened(&self, x: &[Dim]) -> Result<Vec<Dim>> {
        if x.is_empty() {
            return Ok(vec![Dim::Known(1)]);
        }
        let (start, stop) = self.axes(x.len())?;
        let merged = reshape_dims(&x[start..=stop], &[Dim::Known(-1)])?;
        Ok([&x[..start], &merged, &x[stop + 1..]].concat())
    }
}

impl Function for Flatten {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.get(self.x);
        let shape = self.flattened(&x.shape)?;
        Ok(Fact::new(x.dtype, shape).with_content(x.content.clone()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let shape = self.infer(g)?.shape;
        if let Some(result) = lower_reshaped(g, self.x, &shape)? {
            return Ok(result);
        }
        let x = g.value(self.x)?;
        let rank = g.rank(self.x);
        let (start, stop) = self.axes(rank)?;
        let before = g.shape_slice(x, 0, start as i64);
        let merged = g.vector(&[-1]);
        let after = g.shape_slice(x, stop as i64 + 1, rank as i64);
        let shape = g.concat(&[before, merged, after], 0);
        Ok(g.node("Reshape", &[x, shape], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        reshaped(x, &self.flattened(&extents(x))?)
    }
}

/// `x` as a matrix: the axes before `axis` become its rows, the others its columns.
struct FlattenToMatrix {
    x: ValueId,
    axis: i64,
}

impl FlattenToMatrix {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis: op.attr_or("axis", 1)?,
        }))
    }

    fn flattened(&self, x: &[Dim]) -> Result<Vec<Dim>> {
        let axis = usize::try_from(self.axis).ok();
        let axis = axis.filter(|axis| *axis <= x.len()).ok_or_else(|| {
            let rank = x.len();
            Error::malformed(format!(
                "axis {} is out of range for rank {rank}",
                self.axis
            ))
        })?;
        let rows = reshape_dims(&x[..axis], &[Dim::Known(-1)])?;
        let columns = reshape_dims(&x[axis..], &[Dim::Known(-1)])?;
        Ok([rows, columns].concat())
    }
}

impl Function for FlattenToMatrix {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let shape = self.flattened(facts.shape(self.x))?;
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        Ok(g.node("Flatten", &[x], [("axis", NodeAttr::Int(self.axis))]))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        reshaped(x, &self.flattened(&extents(x))?)
    }
}
