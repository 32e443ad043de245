//! Ops that look for elements by their order along an axis, and say where they are.
//!
//! Paddle: `phi/kernels/{argsort,top_k,kthvalue,arg_min_max}_kernel.h`. ONNX: TopK, ArgMax, ArgMin.

use std::cmp::Ordering;

use super::def::{Arg, Form, From, NUMBERS, OpDef};
use super::operator::{Fact, Facts, Function, Macs, Operator, Parsed, single};
use super::reader::OpReader;
use super::reduce::reduced_shape;
use crate::error::{Error, Result};
use crate::lower::{Lowering, NodeAttr, TensorId};
use crate::program::{Attr, FromAttr, ValueId};
use crate::reference::{Values, order};
use crate::tensor::{DType, Dim, Element, Tensor, normalize_axis, with_array};

const X: From = From::Slot("X");

pub(super) const OPS: &[OpDef] = &[
    arg_extreme("argmax", &[arg_form(&["arg_max"])], |op| {
        ArgExtreme::parse(op, true)
    }),
    arg_extreme("argmin", &[arg_form(&["arg_min"])], |op| {
        ArgExtreme::parse(op, false)
    }),
    selection(
        "argsort",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["argsort"], &[X], &["Out", "Indices"])],
        Selection::argsort,
    ),
    selection(
        "topk",
        &[Arg::Tensor("x"), Arg::Scalar("k")],
        &[Form::legacy(
            &["top_k_v2", "top_k"],
            &[X, K],
            &["Out", "Indices"],
        )],
        Selection::topk,
    ),
    selection(
        "kthvalue",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["kthvalue"], &[X], &["Out", "Indices"])],
        Selection::kthvalue,
    ),
];

const K: From = From::Scalar {
    attr: "k",
    slots: &["K"],
};

const fn arg_form(names: &'static [&'static str]) -> Form {
    const OPERANDS: &[From] = &[
        X,
        From::Scalar {
            attr: "axis",
            slots: &[],
        },
    ];
    Form::legacy(names, OPERANDS, &["Out"])
}

const fn arg_extreme(
    name: &'static str,
    legacy: &'static [Form],
    parse: fn(&mut OpReader<'_>) -> Parsed,
) -> OpDef {
    OpDef::new(
        name,
        &[Arg::Tensor("x"), Arg::Scalar("axis")],
        legacy,
        parse,
    )
    .taking(NUMBERS)
}

const fn selection(
    name: &'static str,
    operands: &'static [Arg],
    legacy: &'static [Form],
    parse: fn(&mut OpReader<'_>) -> Parsed,
) -> OpDef {
    OpDef::new(name, operands, legacy, parse)
        .with_results(&["out", "indices"])
        .taking(NUMBERS)
}

/// The position of the largest or smallest element along an axis, or among all; the first of
/// those that are tied.
struct ArgExtreme {
    x: ValueId,
    axis: ValueId,
    keepdims: bool,
    flatten: bool,
    dtype: DType,
    is_largest: bool,
}

impl ArgExtreme {
    fn parse(op: &mut OpReader<'_>, is_largest: bool) -> Parsed {
        // -1 stands for int64.
        let dtype = match op.attr_or("dtype", Attr::Int(-1))? {
            Attr::Int(-1) => Some(DType::I64),
            stated => DType::from_attr(&stated),
        };
        let dtype = dtype.filter(|dtype| matches!(dtype, DType::I32 | DType::I64));
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis: op.operand("axis")?,
            keepdims: op.attr_or("keepdims", false)?,
            flatten: op.attr_or("flatten", false)?,
            dtype: dtype
                .ok_or_else(|| Error::unsupported("positions that are not int32 or int64"))?,
            is_largest,
        }))
    }

    /// The axis, or none where all elements count.
    fn axis(&self, facts: &Facts<'_>) -> Result<Option<usize>> {
        let rank = facts.rank(self.x);
        if self.flatten || rank == 0 {
            return Ok(None);
        }
        let axis = facts.constant_integer(self.axis, "axis")?;
        normalize_axis(axis, rank).map(Some)
    }
}

impl Function for ArgExtreme {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.shape(self.x);
        let axes = concerned(self.axis(facts)?, x.len());
        let shape = reduced_shape(x, &axes, self.keepdims, &Dim::Known(1));
        Ok(Fact::new(self.dtype, shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let axis = self.axis(g)?;
        let x = g.value(self.x)?;
        let dtype = g.dtype(self.x);
        let x = g.cast(x, dtype, dtype.widened());
        let op_type = if self.is_largest { "ArgMax" } else { "ArgMin" };
        let keepdims = ("keepdims", NodeAttr::Int(self.keepdims.into()));
        let found = if let Some(axis) = axis {
            let attrs = [("axis", NodeAttr::Int(axis as i64)), keepdims];
            g.node(op_type, &[x], attrs)
        } else {
            let shape = g.vector(&[-1]);
            let flat = g.node("Reshape", &[x, shape], []);
            let attrs = [("axis", NodeAttr::Int(0)), ("keepdims", NodeAttr::Int(0))];
            let found = g.node(op_type, &[flat], attrs);
            let rank = if self.keepdims { g.rank(self.x) } else { 0 };
            let axes: Vec<i64> = (0..rank as i64).collect();
            g.unsqueeze(found, &axes)
        };
        Ok(g.cast(found, DType::I64, self.dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let shape = x.shape();
        let axis = if self.flatten || shape.is_empty() {
            None
        } else {
            let axis = single(&values.integers(self.axis)?, "axis")?;
            Some(normalize_axis(axis, shape.len())?)
        };
        let axes = concerned(axis, shape.len());
        let due = if self.is_largest {
            Ordering::Greater
        } else {
            Ordering::Less
        };
        let found = with_array!(x, x => order::position(x, &axes, due)?);
        let found = crate::reference::map::reshape(
            &found,
            &reduced_shape(shape, &axes, self.keepdims, &1),
        )?;
        Ok(i64::tensor(found).cast(self.dtype))
    }
}

/// The one axis, or all.
fn concerned(axis: Option<usize>, rank: usize) -> Vec<usize> {
    axis.map_or_else(|| (0..rank).collect(), |axis| vec![axis])
}

/// How many elements are selected along the axis.
#[derive(Debug, Clone, Copy)]
enum Count {
    All,
    /// The `k` of a call: so many.
    First(ValueId),
    /// The k-th alone, counted from 1.
    Kth(i64),
}

/// Elements along an axis in their order, with their positions. Of those that are tied, the first
/// comes first: Paddle leaves that open where it selects some.
struct Selection {
    x: ValueId,
    axis: i64,
    count: Count,
    is_descending: bool,
    /// Whether the axis stays when a single element is selected.
    keepdim: bool,
}

impl Selection {
    fn argsort(op: &mut OpReader<'_>) -> Parsed {
        // ONNX's order is always a stable one.
        op.ignore("stable");
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis: op.attr_or("axis", -1)?,
            count: Count::All,
            is_descending: op.attr_or("descending", false)?,
            keepdim: true,
        }))
    }

    fn topk(op: &mut OpReader<'_>) -> Parsed {
        // What need not be sorted may be.
        op.ignore("sorted");
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis: op.attr_or("axis", -1)?,
            count: Count::First(op.operand("k")?),
            is_descending: op.attr_or("largest", true)?,
            keepdim: true,
        }))
    }

    fn kthvalue(op: &mut OpReader<'_>) -> Parsed {
        let k: i64 = op.attr_or("k", 1)?;
        if k < 1 {
            return Err(Error::malformed(format!("the {k}-th element")));
        }
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis: op.attr_or("axis", -1)?,
            count: Count::Kth(k),
            is_descending: false,
            keepdim: op.attr_or("keepdim", false)?,
        }))
    }

    /// The extent of the axis in the result.
    fn extent(&self, facts: &Facts<'_>, along: &Dim) -> Dim {
        match self.count {
            Count::All => along.clone(),
            Count::First(k) => match facts.content(k) {
                Some([k]) => k.clone(),
                _ => Dim::Unknown,
            },
            Count::Kth(_) => Dim::Known(1),
        }
    }

    /// The number of elements for a TopK, as a vector.
    fn lower_count(&self, g: &mut Lowering<'_>, x: TensorId, axis: usize) -> Result<TensorId> {
        match self.count {
            Count::All => {
                let extent = g.shape(self.x).get(axis).cloned();
                let known = extent.and_then(|extent| g.dims(&[extent]));
                let axis = axis as i64;
                Ok(known.unwrap_or_else(|| g.shape_slice(x, axis, axis + 1)))
            }
            Count::First(k) => g.int_array(k),
            Count::Kth(k) => Ok(g.vector(&[k])),
        }
    }
}

impl Operator for Selection {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let mut shape = facts.shape(self.x).to_vec();
        if !shape.is_empty() {
            let axis = normalize_axis(self.axis, shape.len())?;
            if let (Dim::Known(extent), Count::Kth(k)) = (&shape[axis], self.count)
                && k > *extent
            {
                return Err(Error::malformed(format!("the {k}-th of {extent} elements")));
            }
            if self.keepdim {
                shape[axis] = self.extent(facts, &shape[axis]);
            } else {
                shape.remove(axis);
            }
        }
        let dtype = facts.dtype(self.x);
        Ok(vec![
            Fact::new(dtype, shape.clone()),
            Fact::new(DType::I64, shape),
        ])
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let x = g.value(self.x)?;
        let dtype = g.dtype(self.x);
        let rank = g.rank(self.x);
        if rank == 0 {
            let zero = g.scalar(DType::I64, 0.0);
            return Ok(vec![x, zero]);
        }
        let axis = normalize_axis(self.axis, rank)?;
        let count = self.lower_count(g, x, axis)?;
        let x = g.cast(x, dtype, dtype.widened());
        let node_axis = NodeAttr::Int(axis as i64);
        let largest = NodeAttr::Int(self.is_descending.into());
        let attrs = [("axis", node_axis), ("largest", largest)];
        let mut results = g.node_with_outputs("TopK", vec![Some(x), Some(count)], attrs, 2);
        if let Count::Kth(k) = self.count {
            for result in &mut results {
                *result = g.slice(*result, k - 1, k, axis as i64);
                if !self.keepdim {
                    *result = g.squeeze(*result, &[axis as i64]);
                }
            }
        }
        results[0] = g.cast(results[0], dtype.widened(), dtype);
        Ok(results)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        let x = values.get(self.x)?;
        let rank = x.shape().len();
        if rank == 0 {
            return Ok(vec![x.clone(), Tensor::scalar(0_i64)]);
        }
        let axis = normalize_axis(self.axis, rank)?;
        let extent = x.shape()[axis];
        let wanted = |k: i64| {
            let k = usize::try_from(k).ok().filter(|k| *k <= extent);
            k.ok_or_else(|| Error::malformed(format!("more than the {extent} elements there are")))
        };
        let range = match self.count {
            Count::All => 0..extent,
            Count::First(k) => 0..wanted(single(&values.integers(k)?, "k")?)?,
            Count::Kth(k) => wanted(k - 1)?..wanted(k)?,
        };
        let due = if self.is_descending {
            Ordering::Greater
        } else {
            Ordering::Less
        };
        let (found, positions) = with_array!(x, x => {
            let (found, positions) = order::select(x, axis, range, due)?;
            (Element::tensor(found), positions)
        });
        let results = [found, i64::tensor(positions)];
        if self.keepdim {
            return Ok(results.into());
        }
        let mut shape = x.shape().to_vec();
        shape.remove(axis);
        let reshaped = results.iter().map(|result| {
            with_array!(result, x => crate::reference::map::reshape(x, &shape).map(Element::tensor))
        });
        reshaped.collect()
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}
