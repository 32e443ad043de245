//! The position of the largest or smallest element: `argmax`, `argmin`.
//!
//! Paddle: `phi/kernels/arg_min_max_kernel.h`. ONNX: ArgMax, ArgMin.

use std::cmp::Ordering;

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::{order, reduce};
use crate::operator::{
    Arg, Binding, Form, Function, NUMBERS, OpDef, OpReader, Parse, Parsed, Values,
};
use crate::ops::shared::axes::reduced_shape;
use crate::program::{Attr, Fact, Facts, FromAttr, ValueId, single};
use crate::tensor::{DType, Dim, Element, Tensor, normalize_axis, with_array};

pub(super) const OPS: &[OpDef] = &[
    arg_extreme("argmax", &[arg_form(&["arg_max"])], |op| {
        ArgExtreme::parse(op, true)
    })
    .with_limits(&["a computed axis"]),
    arg_extreme("argmin", &[arg_form(&["arg_min"])], |op| {
        ArgExtreme::parse(op, false)
    })
    .with_limits(&["a computed axis"]),
];

const fn arg_form(names: &'static [&'static str]) -> Form {
    const OPERANDS: &[Binding] = &[
        Binding::Slot("X"),
        Binding::Scalar {
            attr: "axis",
            slots: &[],
        },
    ];
    Form::legacy(names, OPERANDS, &["Out"])
}

const fn arg_extreme(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    OpDef::new(
        name,
        &[Arg::Tensor("x"), Arg::Scalar("axis")],
        legacy,
        parse,
    )
    .with_dtypes(NUMBERS)
}

/// The position of the largest or smallest element along an axis or, with `flatten`, among all elements: the first one
/// of those that are tied.
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
            dtype: dtype.ok_or_else(|| {
                Error::unsupported("`dtype`: positions that are not int32 or int64")
            })?,
            is_largest,
        }))
    }

    /// The axis that is searched, or none if all elements are.
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
        let name = if self.is_largest { "argmax" } else { "argmin" };
        reduce::refuse_none(shape, &axes, name)?;
        let due = if self.is_largest {
            Ordering::Greater
        } else {
            Ordering::Less
        };
        let found = with_array!(x, x => order::position(x, &axes, due)?);
        let found =
            crate::kernels::map::reshape(&found, &reduced_shape(shape, &axes, self.keepdims, &1))?;
        Ok(i64::tensor(found).cast(self.dtype))
    }
}

/// The axes that are searched: `axis`, or all if there is none.
fn concerned(axis: Option<usize>, rank: usize) -> Vec<usize> {
    axis.map_or_else(|| (0..rank).collect(), |axis| vec![axis])
}
