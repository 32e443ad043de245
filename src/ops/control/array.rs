//! Lists of tensors, to which a program appends (`create_array`, `array_write`, `array_read`, `array_length`,
//! `array_to_tensor`).
//!
//! A list is one tensor here, with its items along a new first axis, so that all have one shape. Nothing is known of
//! that shape before the first item is written: an empty list is undefined ([`super::undefined`]), and takes on the shape
//! of what it is handed on with. Where that is not known before a run, an item is compared with those of a list that has
//! some alone. Paddle: `phi/kernels/array_kernel.h`. ONNX: Concat, Gather and Reshape.

use ndarray::Axis;

use super::condition::scalar;
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::index::concatenated;
use crate::kernels::map::reshape;
use crate::operator::{
    Arg, Binding, Form, Function, Macs, OpDef, OpReader, Operator, Parsed, Values,
};
use crate::program::{Fact, Facts, ValueId, single};
use crate::tensor::{
    DType, Dim, Element, Tensor, display_shape, normalize_axis, with_array, with_arrays,
};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new("create_array", &[], &[], Create::parse)
        // The declared type of the list has the element type.
        .ignoring(&["dtype"]),
    OpDef::new(
        "array_write",
        &[Arg::Tensor("array"), Arg::Tensor("x"), Arg::Tensor("i")],
        &[Form::legacy(
            &["write_to_array"],
            &[Binding::Slot("Out"), Binding::Slot("X"), Binding::Slot("I")],
            &["Out"],
        )
        .overwriting("Out")],
        Write::parse,
    )
    .with_pir(&[Form::pir(
        &["array_write_"],
        &["array", "x", "i"],
        &[
            Binding::Slot("array"),
            Binding::Slot("x"),
            Binding::Slot("i"),
        ],
    )
    .overwriting("array")]),
    OpDef::new(
        "array_read",
        &[Arg::Tensor("array"), Arg::Tensor("i")],
        &[Form::legacy(
            &["read_from_array"],
            &[Binding::Slot("X"), Binding::Slot("I")],
            &["Out"],
        )],
        Read::parse,
    )
    // `list[i]`, where the position may count from the end.
    .with_pir(&[Form::pir(
        &["slice_array_dense"],
        &["input", "starts"],
        &[Binding::Slot("input"), Binding::Slot("starts")],
    )]),
    OpDef::new(
        "array_length",
        &[Arg::Tensor("x")],
        &[Form::legacy(
            &["lod_array_length"],
            &[Binding::Slot("X")],
            &["Out"],
        )],
        Length::parse,
    ),
    OpDef::new(
        "array_to_tensor",
        &[Arg::Tensor("x")],
        &[Form::legacy(
            &["tensor_array_to_tensor"],
            &[Binding::Slot("X")],
            &["Out", "OutIndex"],
        )],
        ToTensor::parse,
    )
    .with_results(&["out", "out_index"]),
];

/// An empty list.
struct Create {
    /// The result, of which the file declares the element type and the rank.
    list: ValueId,
}

impl Create {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let list = op.results().first().copied();
        let list = list.ok_or_else(|| Error::malformed("a list without a name"))?;
        Ok(Box::new(Self { list }))
    }

    fn shape(&self, facts: &Facts<'_>) -> Vec<usize> {
        vec![0; facts.program()[self.list].shape.len()]
    }
}

impl Function for Create {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let mut shape = vec![Dim::Unknown; self.shape(facts).len()];
        if let Some(count) = shape.first_mut() {
            *count = Dim::Known(0);
        }
        let dtype = facts.program()[self.list].dtype;
        Ok(Fact::new(dtype, shape).undefined())
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let empty = Tensor::from_elements(&self.shape(g), Vec::<i64>::new())?;
        let dtype = g.dtype(self.list);
        Ok(g.constant(empty.cast(dtype)))
    }

    fn evaluate(&self, _: &Values<'_>) -> Result<Tensor> {
        // Of any rank and type, since an item is not compared with those of an empty list.
        Tensor::from_elements(&[0], Vec::<i64>::new())
    }
}

/// A list with an item more, or another one at a position.
struct Write {
    array: ValueId,
    x: ValueId,
    i: ValueId,
}

impl Write {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            array: op.operand("array")?,
            x: op.operand("x")?,
            i: op.operand("i")?,
        }))
    }

    /// The tensor of a list, with a list of one item in place of that at the position `i`, or behind all.
    fn replaced(g: &mut Lowering<'_>, array: TensorId, i: TensorId, item: TensorId) -> TensorId {
        let (zero, one, last) = (g.vector(&[0]), g.vector(&[1]), g.vector(&[i64::MAX]));
        let next = g.node("Add", &[i, one], []);
        let before = g.node("Slice", &[array, zero, i, zero], []);
        let after = g.node("Slice", &[array, next, last, zero], []);
        g.concat(&[before, item, after], 0)
    }
}

impl Function for Write {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let (array, x) = (facts.get(self.array), facts.get(self.x));
        let mut item = vec![Dim::Known(1)];
        item.extend_from_slice(&x.shape);
        let item = Fact::new(x.dtype, item);
        let mut list = array.common(&item).ok_or_else(|| {
            Error::unsupported(format!(
                "a list of {} of rank {}, to which {} of rank {} is written",
                array.dtype,
                array.shape.len().saturating_sub(1),
                x.dtype,
                x.shape.len()
            ))
        })?;
        if !array.is_undefined {
            let items = &array.shape[1..];
            let pairs = items.iter().zip(&x.shape);
            let mut known = pairs.clone().filter_map(|(a, b)| a.known().zip(b.known()));
            if known.any(|(a, b)| a != b) {
                return Err(Error::unsupported(format!(
                    "a list of tensors of the shape {}, to which one of the shape {} is written: one tensor holds the \
                     list in ONNX, and its items have to be alike",
                    display_shape(items),
                    display_shape(&x.shape)
                )));
            }
            list.shape = [Dim::Unknown]
                .into_iter()
                .chain(pairs.map(|(a, b)| a.or(b)))
                .collect();
        }
        Ok(Fact::new(list.dtype, list.shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let item = g.unsqueeze(x, &[0]);
        if g.get(self.array).is_undefined {
            return Ok(item);
        }
        let array = g.value(self.array)?;
        let i = g.value(self.i)?;
        let i = g.cast(i, g.dtype(self.i), DType::I64);
        let i = scalar(g, i, g.rank(self.i));
        let i = g.unsqueeze(i, &[0]);
        let mut items = g.shape(self.array)[1..].iter().zip(g.shape(self.x));
        if items.all(|(a, b)| a.same(b)) {
            return Ok(Self::replaced(g, array, i, item));
        }
        g.note(
            "takes all items of the list for tensors of one shape, and fails where they are not",
        );
        // An empty list has a shape that was made up, which no item need have.
        let count = g.shape_slice(array, 0, 1);
        let has_items = g.cast(count, DType::I64, DType::Bool);
        let has_items = scalar(g, has_items, 1);
        let then = g.body(0, |g, _| Ok(vec![Self::replaced(g, array, i, item)]))?;
        let otherwise = g.body(0, |_, _| Ok(vec![item]))?;
        let attrs = [
            ("then_branch", NodeAttr::Graph(then)),
            ("else_branch", NodeAttr::Graph(otherwise)),
        ];
        Ok(g.node("If", &[has_items], attrs))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (array, x) = (values.get(self.array)?, values.get(self.x)?);
        let i = single(&values.integers(self.i)?, "i")?;
        let i = usize::try_from(i).map_err(|_| Error::malformed(format!("item {i} of a list")))?;
        let item = with_array!(x, x => Element::tensor(x.clone().insert_axis(Axis(0))));
        let count = array.shape().first().copied().unwrap_or_default();
        match i {
            0 if count == 0 => Ok(item),
            i if i < count => {
                let before = slice(array, 0, i);
                let after = slice(array, i + 1, count);
                joined(&joined(&before, &item)?, &after)
            }
            i if i == count => joined(array, &item),
            i => Err(Error::unsupported(format!(
                "writes item {i} of a list of {count}, which leaves a gap"
            ))),
        }
    }
}

/// The items `start..end` of a list.
pub(super) fn slice(list: &Tensor, start: usize, end: usize) -> Tensor {
    with_array!(list, list => {
        let mut list = list.clone();
        list.slice_axis_inplace(Axis(0), (start..end).into());
        Element::tensor(list)
    })
}

/// Two lists behind each other.
pub(super) fn joined(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let differ = |_| Error::unsupported("a list of tensors of different shapes");
    with_arrays!(a, b, (a, b) => {
        let both = concatenated(&[a, b], 0).map_err(differ)?;
        Ok(Element::tensor(both.into()))
    })
}

/// The item of a list at a position, which counts from the end where it is negative, with the position from the start.
pub(super) fn item(list: &Tensor, i: i64) -> Result<(usize, Tensor)> {
    let count = list.shape().first().copied().unwrap_or_default();
    let position = if i < 0 { i + count as i64 } else { i };
    let position = usize::try_from(position).ok().filter(|i| *i < count);
    let position =
        position.ok_or_else(|| Error::malformed(format!("item {i} of a list of {count}")))?;
    let item =
        with_array!(list, list => Element::tensor(list.clone().index_axis_move(Axis(0), position)));
    Ok((position, item))
}

/// An item of a list.
struct Read {
    array: ValueId,
    i: ValueId,
}

impl Read {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            array: op.operand("array")?,
            i: op.operand("i")?,
        }))
    }
}

impl Function for Read {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let array = facts.get(self.array);
        let item = array.shape.iter().skip(1).cloned().collect();
        Ok(Fact::new(array.dtype, item))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let array = g.value(self.array)?;
        let i = g.value(self.i)?;
        let i = scalar(g, i, g.rank(self.i));
        Ok(g.node("Gather", &[array, i], [("axis", NodeAttr::Int(0))]))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let i = single(&values.integers(self.i)?, "i")?;
        Ok(item(values.get(self.array)?, i)?.1)
    }
}

/// The number of items.
struct Length {
    x: ValueId,
}

impl Length {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
        }))
    }
}

impl Function for Length {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let count = facts.shape(self.x).first().cloned();
        let fact = Fact::new(DType::I64, vec![Dim::Known(1)]);
        Ok(fact.with_content(count.map(|count| vec![count])))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let list = g.value(self.x)?;
        Ok(g.shape_slice(list, 0, 1))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let count = values.get(self.x)?.shape().first().copied();
        Ok(Tensor::vector(vec![count.unwrap_or_default() as i64]))
    }
}

/// The items of a list, stacked along a new axis or joined along one that they have, and the extent of each there.
struct ToTensor {
    x: ValueId,
    axis: i64,
    is_stacked: bool,
}

impl ToTensor {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis: op.attr("axis")?,
            is_stacked: op.attr_or("use_stack", false)?,
        }))
    }

    /// The axis of the items, or the new one, of items of this rank.
    fn axis(&self, rank: usize) -> Result<usize> {
        normalize_axis(self.axis, rank + usize::from(self.is_stacked))
    }

    /// The axes of the list with the first in front of `axis` of the items.
    fn perm(rank: usize, axis: usize) -> Vec<usize> {
        let mut perm: Vec<usize> = (1..rank).collect();
        perm.insert(axis, 0);
        perm
    }
}

impl Operator for ToTensor {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let list = facts.get(self.x);
        let (count, item) = list
            .shape
            .split_first()
            .ok_or_else(|| Error::malformed("a tensor where a list was expected"))?;
        let axis = self.axis(item.len())?;
        let mut shape = item.to_vec();
        if self.is_stacked {
            shape.insert(axis, count.clone());
        } else {
            let joined = count.known().zip(item[axis].known());
            shape[axis] = joined.map_or(Dim::Unknown, |(a, b)| Dim::Known(a.saturating_mul(b)));
        }
        let index = Fact::new(DType::I32, vec![count.clone()]);
        Ok(vec![Fact::new(list.dtype, shape), index])
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let list = g.value(self.x)?;
        let shape = g.shape(self.x).to_vec();
        let axis = self.axis(shape.len() - 1)?;
        let moved = g.transpose(list, &Self::perm(shape.len(), axis));
        let count = g.shape_slice(list, 0, 1);
        let one = g.scalar(DType::I32, 1.0);
        if self.is_stacked {
            return Ok(vec![moved, g.node("Expand", &[one, count], [])]);
        }
        let mut parts: Vec<TensorId> = Vec::new();
        for (position, dim) in shape[1..].iter().enumerate() {
            let extent = match dim.known() {
                _ if position == axis => g.vector(&[-1]),
                Some(extent) => g.vector(&[extent]),
                None => g.shape_slice(list, position as i64 + 1, position as i64 + 2),
            };
            parts.push(extent);
        }
        let target = g.concat(&parts, 0);
        let joined = g.node("Reshape", &[moved, target], []);
        let extent = g.shape_slice(list, axis as i64 + 1, axis as i64 + 2);
        let extent = g.cast(extent, DType::I64, DType::I32);
        Ok(vec![joined, g.node("Expand", &[extent, count], [])])
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        let list = values.get(self.x)?;
        let Some((count, item)) = list.shape().split_first().filter(|(count, _)| **count > 0)
        else {
            return Err(Error::malformed("a tensor of the items of an empty list"));
        };
        let axis = self.axis(item.len())?;
        let extent = if self.is_stacked { 1 } else { item[axis] };
        let perm = Self::perm(item.len() + 1, axis);
        let mut shape = item.to_vec();
        if !self.is_stacked {
            shape[axis] *= count;
        }
        let tensor = with_array!(list, list => {
            let moved = list.clone().permuted_axes(perm);
            Element::tensor(if self.is_stacked {
                moved
            } else {
                reshape(&moved, &shape)?
            })
        });
        let extents = vec![extent as i64; *count];
        Ok(vec![tensor, Tensor::vector(extents).cast(DType::I32)])
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}
