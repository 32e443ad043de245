//! Ops that give the elements of one tensor other axes.
//!
//! Paddle: `phi/kernels/{reshape,flatten,transpose,squeeze,unsqueeze}_kernel.h`.

use super::def::{Arg, Form, From, OpDef};
use super::operator::{Fact, Facts, Function, Macs, Parsed};
use super::reader::OpReader;
use crate::error::{Error, Result};
use crate::lower::{Lowering, NodeAttr, TensorId};
use crate::program::ValueId;
use crate::reference::{Values, map};
use crate::tensor::{Dim, Element, Tensor, normalize_axis, reshape_dims, with_array};

const X: From = From::Slot("X");

/// NumPy's limit. A result of more axes is not meant.
const LARGEST_RANK: usize = 64;

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "reshape",
        &[Arg::Tensor("x"), Arg::IntArray("shape")],
        &[Form::legacy(
            &["reshape2", "reshape"],
            &[
                X,
                From::IntArray {
                    attr: "shape",
                    slots: &["ShapeTensor", "Shape"],
                },
            ],
            &["Out"],
        )],
        Reshape::parse,
    )
    .spelled(&[Form::pir(
        &["legacy_reshape"],
        &["x", "shape"],
        &[
            From::Slot("x"),
            From::IntArray {
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
    ),
    // Not in PHI: the flatten of Paddle 1.x, which always gives a matrix.
    OpDef::new(
        "flatten2",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["flatten2", "flatten"], &[X], &["Out"])],
        FlattenToMatrix::parse,
    ),
    OpDef::new(
        "transpose",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["transpose2", "transpose"], &[X], &["Out"])
            .renaming(&[("axis", "perm")])
            // A hint to oneDNN.
            .ignoring(&["data_format"])],
        Transpose::parse,
    ),
    OpDef::new(
        "squeeze",
        &[Arg::Tensor("x"), Arg::IntArray("axis")],
        &[Form::legacy(
            &["squeeze2", "squeeze"],
            &[
                X,
                From::IntArray {
                    attr: "axes",
                    slots: &[],
                },
            ],
            &["Out"],
        )],
        Squeeze::parse,
    ),
    OpDef::new(
        "unsqueeze",
        &[Arg::Tensor("x"), Arg::IntArray("axis")],
        &[Form::legacy(
            &["unsqueeze2", "unsqueeze"],
            &[
                X,
                From::IntArray {
                    attr: "axes",
                    slots: &["AxesTensorList", "AxesTensor"],
                },
            ],
            &["Out"],
        )],
        Unsqueeze::parse,
    ),
];

/// The elements of `x` in row-major order, with other axes.
fn reshaped(x: &Tensor, shape: &[Dim]) -> Result<Tensor> {
    let extents: Option<Vec<usize>> = shape.iter().map(Dim::extent).collect();
    let extents = extents.ok_or_else(|| Error::malformed("a negative extent"))?;
    with_array!(x, x => map::reshape(x, &extents).map(Element::tensor))
}

/// How many extents are not known before a run.
fn open_extents(shape: &[Dim]) -> usize {
    shape.iter().filter(|dim| dim.known().is_none()).count()
}

/// Emits a reshape, if one is needed, to a shape that the run does not have to compute.
fn lower_reshaped(g: &mut Lowering<'_>, x: ValueId, shape: &[Dim]) -> Result<Option<TensorId>> {
    let tensor = g.value(x)?;
    let old = g.shape(x);
    if old.len() == shape.len() && old.iter().zip(shape).all(|(a, b)| a.same(b)) {
        return Ok(Some(tensor));
    }
    let old = old.to_vec();
    Ok(g.reshape_from(tensor, &old, shape))
}

fn extents(x: &Tensor) -> Vec<Dim> {
    x.shape().iter().map(|extent| Dim::from(*extent)).collect()
}

/// `shape`: 0 keeps the extent at its position, -1 stands for what is left over.
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
        let from = g.shape(self.x);
        if from.len() == shape.len() && from.iter().zip(&shape).all(|(from, to)| from.same(to)) {
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

/// The number of elements of an operand that is a vector.
pub(super) fn length(facts: &Facts<'_>, id: ValueId) -> Result<usize> {
    let shape = facts.shape(id);
    let count = Macs::product(shape).ok_or_else(|| {
        Error::unsupported("the rank of the result depends on the inputs, which ONNX can't express")
    })?;
    usize::try_from(count)
        .ok()
        .filter(|count| *count <= LARGEST_RANK)
        .ok_or_else(|| Error::malformed(format!("a result of rank {count}")))
}

/// The axes from `start_axis` to `stop_axis`, both included, become one. A scalar becomes a
/// vector.
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

/// The axes before `axis` become the rows of a matrix, the others its columns.
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

/// Axis `i` of the result is axis `perm[i]` of `x`.
struct Transpose {
    x: ValueId,
    perm: Vec<i64>,
}

impl Transpose {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            perm: op.attr("perm")?,
        }))
    }

    fn perm(&self, rank: usize) -> Result<Vec<usize>> {
        let perm: Vec<usize> = self
            .perm
            .iter()
            .map(|axis| normalize_axis(*axis, rank))
            .collect::<Result<_>>()?;
        let is_complete = (0..rank).all(|axis| perm.contains(&axis)) && perm.len() == rank;
        if is_complete {
            return Ok(perm);
        }
        Err(Error::malformed(format!(
            "{:?} is not a permutation of {rank} axes",
            self.perm
        )))
    }
}

impl Function for Transpose {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.shape(self.x);
        let perm = self.perm(x.len())?;
        let shape = perm.into_iter().map(|axis| x[axis].clone()).collect();
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let perm = self.perm(g.rank(self.x))?;
        Ok(g.transpose(x, &perm))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let perm = self.perm(x.shape().len())?;
        Ok(with_array!(x, x => Element::tensor(x.clone().permuted_axes(perm.as_slice()))))
    }
}

/// Removes axes of extent 1: those listed, or all if none is. Listed ones of another extent stay.
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

    /// The axes that are listed, if they are known before a run.
    fn listed(&self, facts: &Facts<'_>) -> Option<Vec<i64>> {
        self.axis
            .map_or(Some(Vec::new()), |axis| facts.integers(axis))
    }
}

impl Squeeze {
    /// Axes that are computed are taken for axes of extent 1, as ONNX does: so many go.
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
                return g.with_computed_axes("Squeeze", x, axes);
            }
            (None, None) => Vec::new(),
        };
        let removed = Self::removed(g.shape(self.x), &listed)?;
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

/// Inserts axes of extent 1, one after the other: each position counts those inserted before.
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

    /// Which axes of the result are new.
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
}

impl Unsqueeze {
    fn lower_computed(&self, g: &mut Lowering<'_>, x: TensorId) -> Result<TensorId> {
        let axes = g.int_array(self.axis)?;
        let count = length(g, self.axis)? as i64;
        (0..count).try_fold(x, |x, position| {
            let axis = g.slice(axes, position, position + 1, 0);
            g.with_computed_axes("Unsqueeze", x, axis)
        })
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
