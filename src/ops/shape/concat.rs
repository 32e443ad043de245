//! Several tensors joined into one: `concat` along an axis that they have, `stack` along a new one,
//! `partial_concat` and `partial_sum` on the same columns of several matrices.
//!
//! Paddle: `phi/kernels/{concat,stack,partial_concat,partial_sum}_kernel.h`. ONNX: Concat; Unsqueeze for
//! `stack`; Slice for columns, and Add for their sum.

use ndarray::Axis;

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::index::concatenated;
use crate::operator::{
    Accuracy, Arg, Binding, Form, Function, NUMBERS, OpDef, OpReader, Parsed, Values,
};
use crate::ops::shared::axes::merge;
use crate::ops::shared::decomposition::{Decomposition, decomposed};
use crate::program::{Attr, Builder, Draft, Fact, Facts, Operand, ValueId, single};
use crate::tensor::{Dim, Element, Tensor, normalize_axis, with_array};

pub(super) const AXIS: Binding = Binding::Scalar {
    attr: "axis",
    slots: &["AxisTensor"],
};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "concat",
        &[Arg::List("x"), Arg::Scalar("axis")],
        &[Form::legacy(
            &["concat"],
            &[Binding::List("X"), AXIS],
            &["Out"],
        )],
        Concat::parse,
    )
    .part_by_part(&["x"])
    .with_limits(&["a computed axis"]),
    OpDef::new(
        "stack",
        &[Arg::List("x")],
        &[Form::legacy(&["stack"], &[Binding::List("X")], &["Y"])],
        Stack::parse,
    )
    .part_by_part(&["x"]),
    decomposed(
        "partial_concat",
        &[Arg::List("x")],
        &[Form::legacy(
            &["partial_concat"],
            &[Binding::List("X")],
            &["Out"],
        )],
        NUMBERS,
        partial_concat,
    )
    .with_accuracy(Accuracy::Exact),
    decomposed(
        "partial_sum",
        &[Arg::List("x")],
        &[Form::legacy(
            &["partial_sum"],
            &[Binding::List("X")],
            &["Out"],
        )],
        NUMBERS,
        partial_sum,
    )
    .with_accuracy(Accuracy::Rounded),
];

/// More elements than are known of any tensor.
const LONGEST: usize = 1 << 10;

/// What is known before a run of the elements of a vector that is joined from tensors of this rank. Nothing is known of
/// the elements of some of them.
fn joined_content(facts: &Facts<'_>, tensors: &[ValueId], rank: usize) -> Option<Vec<Dim>> {
    let mut content = Vec::new();
    let mut is_known = false;
    for id in tensors.iter().filter(|id| facts.rank(**id) == rank) {
        match facts.content(*id) {
            Some(known) => {
                content.extend_from_slice(known);
                is_known = true;
            }
            None => {
                let count = facts.shape(*id).first().map_or(Some(1), Dim::extent)?;
                content.extend(std::iter::repeat_n(Dim::Unknown, count.min(LONGEST)));
            }
        }
    }
    let is_whole = tensors.iter().all(|id| facts.rank(*id) == rank);
    Some(content).filter(|_| is_known && is_whole)
}

/// The tensors, which must all have the element type `T`, joined along an axis.
fn concatenate<T: Element>(tensors: &[&Tensor], axis: usize) -> Result<Tensor> {
    let arrays = tensors.iter().map(|tensor| {
        T::array(tensor).ok_or_else(|| {
            let (first, other) = (T::DTYPE, tensor.dtype());
            Error::unsupported(format!("operands of two types, {first} and {other}"))
        })
    });
    let joined = concatenated(&arrays.collect::<Result<Vec<_>>>()?, axis)?;
    Ok(T::tensor(joined.into()))
}

/// Joins tensors along an axis that they have. The element type of the first picks the kernel.
macro_rules! concatenate {
    ($tensors:expr, $axis:expr) => {{
        fn kernel<T: Element>(_: &crate::tensor::Array<T>) -> fn(&[&Tensor], usize) -> Result<Tensor> {
            concatenate::<T>
        }
        with_array!($tensors[0], first => kernel(first))(&$tensors, $axis)
    }};
}

/// The tensors of a list, joined along an axis that they have.
struct Concat {
    x: Vec<ValueId>,
    axis: ValueId,
}

impl Concat {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.list("x")?,
            axis: op.operand("axis")?,
        }))
    }

    fn axis(&self, facts: &Facts<'_>) -> Result<usize> {
        let axis = facts.constant_integer(self.axis, "axis")?;
        normalize_axis(axis, facts.rank(self.x[0]))
    }
}

impl Function for Concat {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let axis = self.axis(facts)?;
        let first = facts.get(self.x[0]);
        let mut shape = first.shape.clone();
        let mut total = Some(0_i64);
        for id in &self.x {
            let dims = facts.shape(*id);
            merge(&mut shape, dims, Some(axis))?;
            total = total.and_then(|total| total.checked_add(dims[axis].known()?));
        }
        shape[axis] = total.map_or(Dim::Unknown, Dim::Known);
        let content = joined_content(facts, &self.x, 1);
        Ok(Fact::new(first.dtype, shape).with_content(content))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let axis = self.axis(g)? as i64;
        let tensors: Vec<TensorId> = self
            .x
            .iter()
            .map(|id| g.value(*id))
            .collect::<Result<_>>()?;
        Ok(g.concat(&tensors, axis))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let tensors: Vec<&Tensor> = self
            .x
            .iter()
            .map(|id| values.get(*id))
            .collect::<Result<_>>()?;
        let axis = single(&values.integers(self.axis)?, "axis")?;
        let axis = normalize_axis(axis, tensors[0].shape().len())?;
        concatenate!(tensors, axis)
    }
}

/// The tensors of a list, joined along a new axis.
struct Stack {
    x: Vec<ValueId>,
    axis: i64,
}

impl Stack {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.list("x")?,
            axis: op.attr_or("axis", 0)?,
        }))
    }
}

impl Function for Stack {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let first = facts.get(self.x[0]);
        let axis = normalize_axis(self.axis, first.shape.len() + 1)?;
        let mut shape = first.shape.clone();
        for id in &self.x {
            merge(&mut shape, facts.shape(*id), None)?;
        }
        shape.insert(axis, Dim::from(self.x.len()));
        let content = joined_content(facts, &self.x, 0);
        Ok(Fact::new(first.dtype, shape).with_content(content))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let axis = normalize_axis(self.axis, g.rank(self.x[0]) + 1)? as i64;
        let mut tensors = Vec::with_capacity(self.x.len());
        for id in &self.x {
            let tensor = g.value(*id)?;
            tensors.push(g.unsqueeze(tensor, &[axis]));
        }
        Ok(g.concat(&tensors, axis))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let mut tensors = Vec::with_capacity(self.x.len());
        for id in &self.x {
            let tensor = values.get(*id)?;
            let axis = Axis(normalize_axis(self.axis, tensor.shape().len() + 1)?);
            tensors.push(with_array!(tensor, x => Element::tensor(x.clone().insert_axis(axis))));
        }
        let axis = normalize_axis(self.axis, tensors[0].shape().len())?;
        let tensors: Vec<&Tensor> = tensors.iter().collect();
        concatenate!(tensors, axis)
    }
}

/// Emits a `slice` for each matrix of the list: `length` columns from `start_index` on, or all of them if
/// `length` is negative.
fn columns(parts: &mut Decomposition<'_>) -> Result<Vec<ValueId>> {
    let start: i64 = parts.attr("start_index", 0)?;
    let length: i64 = parts.attr("length", -1)?;
    let end = start.saturating_add(length);
    // Counted from the end, an end of 0 would be the first column.
    let is_open = length < 0 || (start < 0 && end >= 0);
    let end = if is_open { i64::MAX } else { end };
    let (starts, ends) = (parts.integers(&[start]), parts.integers(&[end]));
    let axes = [("axes", Attr::Ints(vec![1]))];
    let matrices = parts.list(0)?.into_iter();
    Ok(matrices
        .map(|x| parts.op("slice", &[x, starts, ends], &axes, 2))
        .collect())
}

/// The same columns of several matrices, side by side.
fn partial_concat(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let columns = columns(&mut parts)?;
    let axis = parts.integers(&[1]);
    parts.last_of(
        "concat",
        vec![Operand::Many(columns), Operand::One(axis)],
        &[],
    )
}

/// The sum of the same columns of several matrices.
fn partial_sum(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    if let Some(Attr::Int(..0)) = draft.attrs.get("start_index") {
        return Err(Error::unsupported(
            "a sum of columns from the end, of which Paddle takes others",
        ));
    }
    let mut parts = Decomposition::new(builder, draft);
    let columns = columns(&mut parts)?;
    parts.last_of("add_n", vec![Operand::Many(columns)], &[])
}
