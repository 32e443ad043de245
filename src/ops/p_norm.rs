//! The norm of any order along an axis, or of all elements.
//!
//! Paddle: `phi/kernels/cpu/p_norm_kernel.cc`. ONNX: ReduceMax, ReduceMin, ReduceSum, ReduceSumSquare.

use super::activation::plain;
use super::def::{Accuracy, Arg, FLOATS, OpDef};
use super::operator::{Fact, Facts, Function, Parsed};
use super::reader::OpReader;
use crate::error::Result;
use crate::lower::{Lowering, TensorId};
use crate::program::ValueId;
use crate::reference::{Values, map, reduce};
use crate::tensor::DType::Bool;
use crate::tensor::{Array, Dim, Element, Tensor, normalize_axis, with_array};

pub(super) const OPS: &[OpDef] = &[OpDef {
    name: "p_norm",
    operands: &[Arg::Tensor("x")],
    results: &["out"],
    legacy: &[plain(&["p_norm"])],
    pir: &[],
    dtypes: FLOATS,
    opset: 11,
    accuracy: Accuracy::Accumulated,
    parse: PNorm::parse,
}];

/// `(Σ |x|ᵖ)^(1/p)`; for the order 0 the number of elements other than 0, for ∞ the largest
/// absolute, for -∞ the smallest.
struct PNorm {
    x: ValueId,
    order: f64,
    axis: i64,
    keepdim: bool,
    /// Whether all axes go.
    as_vector: bool,
}

impl PNorm {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        // It keeps the gradient finite.
        op.ignore("epsilon");
        Ok(Box::new(Self {
            x: op.operand("x")?,
            order: op.attr_or("porder", 2.0)?,
            axis: op.attr_or("axis", -1)?,
            keepdim: op.attr_or("keepdim", false)?,
            as_vector: op.attr_or("asvector", false)?,
        }))
    }

    fn axes(&self, rank: usize) -> Result<Vec<usize>> {
        if self.as_vector {
            return Ok((0..rank).collect());
        }
        Ok(vec![normalize_axis(self.axis, rank)?])
    }

    fn shape<T: Clone>(&self, x: &[T], axes: &[usize], one: &T) -> Vec<T> {
        let dims = x.iter().enumerate();
        let kept = dims.filter_map(|(axis, dim)| match axes.contains(&axis) {
            true => self.keepdim.then(|| one.clone()),
            false => Some(dim.clone()),
        });
        kept.collect()
    }

    fn of_lane<T: Element>(&self, lane: &[T]) -> T {
        let absolutes = lane.iter().map(|x| x.to_f64().abs());
        T::from_f64(if self.order == 0.0 {
            absolutes.filter(|x| *x != 0.0).count() as f64
        } else if self.order == f64::INFINITY {
            absolutes.fold(0.0, f64::max)
        } else if self.order == f64::NEG_INFINITY {
            absolutes.fold(f64::INFINITY, f64::min)
        } else {
            let sum: f64 = absolutes.map(|x| x.powf(self.order)).sum();
            sum.powf(self.order.recip())
        })
    }

    fn computed<T: Element>(&self, x: &Array<T>, axes: &[usize]) -> Result<Tensor> {
        let norms = reduce::reduce(x, axes, |lane| self.of_lane(lane))?;
        let shape = self.shape(x.shape(), axes, &1);
        Ok(T::tensor(map::reshape(&norms.into(), &shape)?))
    }
}

impl Function for PNorm {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.get(self.x);
        let axes = self.axes(x.shape.len())?;
        Ok(Fact::new(
            x.dtype,
            self.shape(&x.shape, &axes, &Dim::Known(1)),
        ))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let dtype = g.dtype(self.x);
        let axes = self.axes(g.rank(self.x))?;
        let reduce = |g: &mut Lowering<'_>, op_type, x| g.reduce(op_type, x, &axes, self.keepdim);
        if self.order == 2.0 {
            let sum = reduce(g, "ReduceSumSquare", x);
            return Ok(g.node("Sqrt", &[sum], []));
        }
        if self.order == 0.0 {
            let differs = g.cast(x, dtype, Bool);
            let ones = g.cast(differs, Bool, dtype);
            return Ok(reduce(g, "ReduceSum", ones));
        }
        let absolute = g.node("Abs", &[x], []);
        if self.order.is_infinite() {
            let is_largest = self.order > 0.0;
            let op_type = if is_largest { "ReduceMax" } else { "ReduceMin" };
            return Ok(reduce(g, op_type, absolute));
        }
        if self.order == 1.0 {
            return Ok(reduce(g, "ReduceSum", absolute));
        }
        let order = g.scalar(dtype, self.order);
        let inverse = g.scalar(dtype, self.order.recip());
        let powers = g.node("Pow", &[absolute, order], []);
        let sum = reduce(g, "ReduceSum", powers);
        Ok(g.node("Pow", &[sum, inverse], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let axes = self.axes(x.shape().len())?;
        with_array!(x, x => self.computed(x, &axes))
    }
}
