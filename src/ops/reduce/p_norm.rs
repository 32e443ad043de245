//! Norms of vectors (`p_norm`), of the difference of two tensors (`dist`), and division by a norm (`norm`).
//!
//! Paddle: `phi/kernels/{p_norm,dist,norm}_kernel.h`. ONNX: ReduceL1, ReduceL2; Abs, Pow or Sign, ReduceSum, ReduceMax
//! and ReduceMin for other norms and for float64. `dist` and `norm` are taken apart into other ops when they are read.

use crate::error::Result;
use crate::graph::{Lowering, TensorId};
use crate::kernels::{Real, map, reduce, with_real};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, OpDef, OpReader, Parsed, Values,
};
use crate::ops::shared::axes::reduced_shape;
use crate::ops::shared::decomposition::{Decomposition, decomposed};
use crate::program::{Attr, Builder, Draft, Fact, Facts, ValueId};
use crate::tensor::{DType, Dim, Element, Tensor, normalize_axis};

const X: &[Binding] = &[Binding::Slot("X")];

const X_AND_Y: &[Binding] = &[Binding::Slot("X"), Binding::Slot("Y")];

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "p_norm",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["p_norm"], X, &["Out"])],
        Norm::parse,
    )
    .with_dtypes(FLOATS)
    .with_accuracy(Accuracy::Accumulated),
    decomposed(
        "dist",
        &[Arg::Tensor("x"), Arg::Tensor("y")],
        &[Form::legacy(&["dist"], X_AND_Y, &["Out"])],
        FLOATS,
        distance,
    ),
    decomposed(
        "norm",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["norm"], X, &["Out"])],
        FLOATS,
        normalised,
    ),
];

/// The norm of `x - y`, taken for one vector: `dist`.
fn distance(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let power: f64 = parts.attr("p", 2.0)?;
    let (x, y) = (parts.operand(0)?, parts.operand(1)?);
    let rank = parts.rank(x).max(parts.rank(y));
    let difference = parts.op("subtract", &[x, y], &[], rank);
    let attrs = [
        ("porder", Attr::Float(power)),
        ("asvector", Attr::Bool(true)),
    ];
    parts.last("p_norm", &[difference], &attrs)
}

/// `x / √(Σ x² + epsilon)` along an axis: `norm`.
fn normalised(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let axis: i64 = parts.attr("axis", -1)?;
    let epsilon: f64 = parts.attr("epsilon", 1e-10)?;
    let x = parts.operand(0)?;
    let rank = parts.rank(x);
    let squares = parts.op("multiply", &[x, x], &[], rank);
    let axis = parts.integers(&[axis]);
    let sum = parts.op(
        "sum",
        &[squares, axis],
        &[("keepdim", Attr::Bool(true))],
        rank,
    );
    let one = parts.number(1.0);
    let sum = parts.op(
        "scale",
        &[sum, one],
        &[("bias", Attr::Float(epsilon))],
        rank,
    );
    let length = parts.op("sqrt", &[sum], &[], rank);
    parts.last("divide", &[x, length], &[])
}

/// `(Σ |x|^p)^(1/p)`. If `p` is ∞ or -∞, it is the largest or smallest `|x|`; if `p` is 0, the number of elements that
/// are not 0. The norm of no elements is 0.
struct Norm {
    x: ValueId,
    /// The axis of the vectors; none if all of `x` is one vector.
    axis: Option<i64>,
    keepdim: bool,
    power: f64,
}

impl Norm {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        // It keeps the divisor of the gradient away from 0, and changes nothing here.
        op.ignore("epsilon");
        let axis = op.attr_or("axis", -1)?;
        let whole = op.attr_or("asvector", false)?;
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis: (!whole).then_some(axis),
            keepdim: op.attr_or("keepdim", false)?,
            power: op.attr_or("porder", 2.0)?,
        }))
    }

    fn axes(&self, rank: usize) -> Result<Vec<usize>> {
        match self.axis {
            Some(axis) if rank > 0 => Ok(vec![normalize_axis(axis, rank)?]),
            _ => Ok((0..rank).collect()),
        }
    }

    /// The shape of the result, from that of `x`, of which `axes` are reduced.
    fn shape<T: Clone>(&self, x: &[T], axes: &[usize], one: &T) -> Vec<T> {
        reduced_shape(x, axes, self.keepdim, one)
    }

    fn of_lane<T: Real>(&self, lane: &[T]) -> T {
        let sizes = lane.iter().map(|x| Element::to_f64(x.abs()));
        let norm = match self.power {
            _ if lane.is_empty() => 0.0,
            0.0 => sizes.filter(|size| *size != 0.0).count() as f64,
            f64::INFINITY => sizes.fold(0.0, f64::max),
            f64::NEG_INFINITY => sizes.fold(f64::INFINITY, f64::min),
            1.0 => sizes.sum(),
            2.0 => sizes.map(|size| size * size).sum::<f64>().sqrt(),
            power => sizes
                .map(|size| size.powf(power))
                .sum::<f64>()
                .powf(power.recip()),
        };
        <T as Element>::from_f64(norm)
    }
}

impl Function for Norm {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let axes = self.axes(facts.rank(self.x))?;
        let shape = self.shape(facts.shape(self.x), &axes, &Dim::Known(1));
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let axes = self.axes(g.rank(self.x))?;
        let dtype = g.dtype(self.x);
        let x = g.value(self.x)?;
        // ONNX Runtime has no kernels of ReduceL1 and ReduceL2 for float64.
        let is_double = dtype == DType::F64;
        if self.power == 2.0 && !is_double {
            return Ok(g.reduce("ReduceL2", x, &axes, self.keepdim));
        }
        if self.power == 1.0 && !is_double {
            return Ok(g.reduce("ReduceL1", x, &axes, self.keepdim));
        }
        let size = g.node("Abs", &[x], []);
        let (terms, reduction) = match self.power {
            0.0 => (g.node("Sign", &[size], []), "ReduceSum"),
            1.0 => (size, "ReduceSum"),
            f64::INFINITY => (size, "ReduceMax"),
            f64::NEG_INFINITY => (size, "ReduceMin"),
            power => {
                let power = g.scalar(dtype, power);
                (g.node("Pow", &[size, power], []), "ReduceSum")
            }
        };
        let mut result = g.reduce(reduction, terms, &axes, self.keepdim);
        if self.power.is_finite() && self.power != 0.0 && self.power != 1.0 {
            let root = g.scalar(dtype, self.power.recip());
            result = g.node("Pow", &[result, root], []);
        }
        if self.power.is_finite() && self.power >= 0.0 {
            return Ok(result);
        }
        let shape = g.shape(self.x).to_vec();
        let zero = Tensor::scalar_of(dtype, 0.0);
        Ok(g.unless_empty(result, (x, &shape), &axes, zero))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let axes = self.axes(x.shape().len())?;
        with_real!(x, x => {
            let norms = reduce::reduce(x, &axes, |lane| self.of_lane(lane))?;
            map::reshape(&norms.into(), &self.shape(x.shape(), &axes, &1))?
        })
    }
}
