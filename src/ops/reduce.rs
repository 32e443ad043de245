//! Reductions along axes.
//!
//! Paddle: `phi/kernels/reduce_{mean,sum,max,min}_kernel.h`. ONNX: ReduceMean and its like.

use super::def::{ANY, Accuracy, Arg, Form, From, NUMBERS, OpDef};
use super::operator::{Fact, Facts, Function, Parsed};
use super::reader::OpReader;
use crate::error::{Error, Result};
use crate::lower::{Lowering, TensorId};
use crate::normalise::{Builder, Draft};
use crate::program::{Attr, FromAttr, Operand, ValueId};
use crate::reference::{Values, map, reduce};
use crate::tensor::{Array, DType, Dim, Element, Tensor, normalize_axis};

pub(super) const OPS: &[OpDef] = &[
    reduction("mean", &[form(&["reduce_mean"])], |op| {
        Reduce::parse(op, Kind::Mean)
    })
    .taking(NUMBERS),
    reduction("sum", &[SUM], |op| Reduce::parse(op, Kind::Sum)),
    reduction("max", &[form(&["reduce_max"])], |op| {
        Reduce::parse(op, Kind::Max)
    })
    .taking(NUMBERS)
    .with_accuracy(Accuracy::Exact),
    reduction("min", &[form(&["reduce_min"])], |op| {
        Reduce::parse(op, Kind::Min)
    })
    .taking(NUMBERS)
    .with_accuracy(Accuracy::Exact),
];

const OPERANDS: &[From] = &[
    From::Slot("X"),
    From::IntArray {
        attr: "dim",
        slots: &[],
    },
];

const fn form(names: &'static [&'static str]) -> Form {
    Form::legacy(names, OPERANDS, &["Out"])
        .renaming(&[("keep_dim", "keepdim")])
        .ignoring(&["in_dtype", "out_dtype"])
        .rewriting(all_axes)
}

/// A sum alone heeds the type that is stated.
const SUM: Form = form(&["reduce_sum"])
    .renaming(&[("keep_dim", "keepdim"), ("out_dtype", "dtype")])
    .ignoring(&["in_dtype"]);

const fn reduction(
    name: &'static str,
    legacy: &'static [Form],
    parse: fn(&mut OpReader<'_>) -> Parsed,
) -> OpDef {
    OpDef {
        name,
        operands: &[Arg::Tensor("x"), Arg::IntArray("axis")],
        results: &["out"],
        legacy,
        pir: &[],
        dtypes: ANY,
        opset: 11,
        accuracy: Accuracy::Accumulated,
        parse,
    }
}

/// Before Paddle 3, a flag says that all axes go, whatever is listed.
fn all_axes(builder: &mut Builder, mut draft: Draft) -> Result<Vec<ValueId>> {
    if draft.attrs.remove("reduce_all") == Some(Attr::Bool(true)) {
        draft.operands.truncate(1);
        draft.operands.push(Operand::Absent);
    }
    Ok(builder.emit(draft))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mean,
    Sum,
    Max,
    Min,
}

/// One number for all along `axis`; an empty list names all axes.
struct Reduce {
    x: ValueId,
    axis: Option<ValueId>,
    keepdim: bool,
    kind: Kind,
    /// The type that `x` is converted to, if it is stated.
    dtype: Option<DType>,
}

impl Reduce {
    fn parse(op: &mut OpReader<'_>, kind: Kind) -> Parsed {
        // -1 stands for the type that follows from that of x.
        let dtype = op.attr_or("dtype", Attr::Int(-1))?;
        let dtype = match dtype {
            Attr::Int(-1) => None,
            stated => Some(DType::from_attr(&stated).ok_or_else(|| {
                Error::malformed(format!(
                    "the attribute `dtype` is no element type: {stated}"
                ))
            })?),
        };
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis: op.optional("axis")?,
            keepdim: op.attr_or("keepdim", false)?,
            kind,
            dtype,
        }))
    }

    /// The type in which this op computes. Paddle counts bools and sums int32 in int64.
    fn dtype(&self, x: DType) -> DType {
        self.dtype.unwrap_or(match (self.kind, x) {
            (Kind::Sum, DType::Bool | DType::I32) => DType::I64,
            _ => x,
        })
    }

    /// The axes that go, in ascending order.
    fn axes(listed: &[i64], rank: usize) -> Result<Vec<usize>> {
        if listed.is_empty() || rank == 0 {
            return Ok((0..rank).collect());
        }
        let mut axes: Vec<usize> = listed
            .iter()
            .map(|axis| normalize_axis(*axis, rank))
            .collect::<Result<_>>()?;
        axes.sort_unstable();
        axes.dedup();
        Ok(axes)
    }

    fn known_axes(&self, facts: &Facts<'_>) -> Result<Vec<usize>> {
        let listed = self
            .axis
            .map_or(Ok(Vec::new()), |axis| facts.constant_integers(axis, "axis"))?;
        Self::axes(&listed, facts.rank(self.x))
    }

    /// The shape of the result, from that of `x`.
    fn shape<T: Clone>(&self, x: &[T], axes: &[usize], one: &T) -> Vec<T> {
        let dims = x.iter().enumerate();
        let kept = dims.filter_map(|(axis, dim)| match axes.contains(&axis) {
            true => self.keepdim.then(|| one.clone()),
            false => Some(dim.clone()),
        });
        kept.collect()
    }
}

impl Function for Reduce {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let dtype = self.dtype(facts.dtype(self.x));
        if self.kind == Kind::Mean && !dtype.is_float() {
            return Err(Error::unsupported(format!("the mean of {dtype}")));
        }
        let axes = self.known_axes(facts)?;
        let shape = self.shape(facts.shape(self.x), &axes, &Dim::Known(1));
        Ok(Fact::new(dtype, shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let axes = self.known_axes(g)?;
        let from = g.dtype(self.x);
        let x = g.value(self.x)?;
        let x = g.cast(x, from, self.dtype(from));
        let op_type = match self.kind {
            Kind::Mean => "ReduceMean",
            Kind::Sum => "ReduceSum",
            Kind::Max => "ReduceMax",
            Kind::Min => "ReduceMin",
        };
        Ok(g.reduce(op_type, x, &axes, self.keepdim))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let listed = self
            .axis
            .map_or(Ok(Vec::new()), |axis| values.integers(axis))?;
        let axes = Self::axes(&listed, x.shape().len())?;
        match &x.cast(values.dtype(self.dtype(x.dtype()))) {
            Tensor::F32(x) => self.reduced(x, &axes, reduce::sum_real),
            Tensor::F64(x) => self.reduced(x, &axes, reduce::sum_real),
            Tensor::I32(x) => self.reduced(x, &axes, reduce::sum_integer),
            Tensor::I64(x) => self.reduced(x, &axes, reduce::sum_integer),
            other => Err(Error::unsupported(format!(
                "the reference has no kernel for {}",
                other.dtype()
            ))),
        }
    }
}

impl Reduce {
    fn reduced<T: Element + PartialOrd>(
        &self,
        x: &Array<T>,
        axes: &[usize],
        sum: fn(&[T]) -> T,
    ) -> Result<Tensor> {
        let shape = self.shape(x.shape(), axes, &1);
        let reduced = match self.kind {
            Kind::Mean => reduce::reduce(x, axes, reduce::mean),
            Kind::Sum => reduce::reduce(x, axes, sum),
            Kind::Max => reduce::reduce(x, axes, reduce::extreme(T::gt)),
            Kind::Min => reduce::reduce(x, axes, reduce::extreme(T::lt)),
        };
        Ok(T::tensor(map::reshape(&reduced?.into(), &shape)?))
    }
}
