//! The mechanism of ops that are a function of each element of one tensor.
//!
//! What such an op computes is a [`Curve`]. Those without parameters are a [`Plain`] curve, written
//! in one line; `math` has a table of them, and `activation` those with parameters.

use crate::error::Result;
use crate::graph::{Lowering, TensorId};
use crate::kernels::{Real, map, with_real};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, OpDef, OpReader, Parse, Parsed, Values,
};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{DType, Element, Tensor, with_array};

/// An op type of which only the name differs.
pub(crate) const fn plain(names: &'static [&'static str]) -> Form {
    Form::legacy(names, &[Binding::Slot("X")], &["Out"])
}

/// An op on one tensor that gives one of the same shape.
pub(crate) const fn of_x(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    OpDef::new(name, &[Arg::Tensor("x")], legacy, parse)
        .with_dtypes(FLOATS)
        .with_accuracy(Accuracy::Accumulated)
}

/// What is made of a number.
pub(crate) trait Curve: Send + Sync + 'static {
    fn at<T: Real>(&self, x: T) -> T;

    /// Emits the nodes that make it of a tensor of floats.
    fn lower(&self, g: &mut Lowering<'_>, x: TensorId, dtype: DType) -> TensorId;

    /// What is made of integers, if the op takes them.
    fn integers(&self) -> Integers {
        Integers::AsFloat
    }
}

/// What an op makes of a tensor of integers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Integers {
    /// What it makes of them in float32, which is then the type of the result.
    AsFloat,
    /// Themselves.
    Kept,
    /// Others of the same type, to which the result is cut. ONNX's node takes them as well.
    Made(fn(i64) -> i64),
}

/// An op that makes what `curve` says of each element.
pub(super) struct Pointwise<C> {
    x: ValueId,
    curve: C,
}

pub(crate) fn pointwise<C: Curve>(op: &mut OpReader<'_>, curve: C) -> Parsed {
    let x = op.operand("x")?;
    Ok(Box::new(Pointwise { x, curve }))
}

impl<C: Curve> Pointwise<C> {
    /// The type of the result.
    fn dtype(&self, x: DType) -> DType {
        match self.curve.integers() {
            Integers::AsFloat if !x.is_float() => DType::F32,
            _ => x,
        }
    }
}

impl<C: Curve> Function for Pointwise<C> {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let dtype = self.dtype(facts.dtype(self.x));
        Ok(Fact::new(dtype, facts.shape(self.x).to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let from = g.dtype(self.x);
        if let (false, Integers::Kept) = (from.is_float(), self.curve.integers()) {
            return Ok(x);
        }
        let dtype = self.dtype(from);
        let x = g.cast(x, from, dtype);
        Ok(self.curve.lower(g, x, dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        fn made<T: Element>(x: &crate::tensor::Array<T>, f: fn(i64) -> i64) -> Result<Tensor> {
            Ok(T::tensor(
                map::map(x, |x| T::from_i64(f(x.to_i64())))?.into(),
            ))
        }
        let x = values.get(self.x)?;
        let dtype = self.dtype(x.dtype());
        match self.curve.integers() {
            Integers::Kept if !dtype.is_float() => Ok(x.clone()),
            Integers::Made(f) if !dtype.is_float() => with_array!(x, x => made(x, f)),
            _ => {
                let x = x.cast(values.dtype(dtype));
                with_real!(&x, x => map::map(x, |x| self.curve.at(x))?)
            }
        }
    }
}

/// A function without parameters.
pub(crate) struct Plain {
    lower: Emit,
    single: fn(f32) -> f32,
    double: fn(f64) -> f64,
    integers: Integers,
}

/// Emits the nodes of a function of a tensor of floats.
pub(crate) type Lower = fn(&mut Lowering<'_>, TensorId, DType) -> TensorId;

/// How a function is written in ONNX.
enum Emit {
    /// By an operator of its own.
    Node(&'static str),
    Nodes(Lower),
}

impl Plain {
    /// A function for which ONNX has an operator.
    pub fn node(operator: &'static str, single: fn(f32) -> f32, double: fn(f64) -> f64) -> Self {
        Self {
            lower: Emit::Node(operator),
            single,
            double,
            integers: Integers::AsFloat,
        }
    }

    /// A function that takes several operators.
    pub fn nodes(lower: Lower, single: fn(f32) -> f32, double: fn(f64) -> f64) -> Self {
        Self {
            lower: Emit::Nodes(lower),
            ..Self::node("", single, double)
        }
    }

    /// The same, which makes this of integers.
    pub fn on_integers(mut self, integers: Integers) -> Self {
        self.integers = integers;
        self
    }
}

impl Curve for Plain {
    fn at<T: Real>(&self, x: T) -> T {
        T::version(self.single, self.double)(x)
    }

    fn lower(&self, g: &mut Lowering<'_>, x: TensorId, dtype: DType) -> TensorId {
        match self.lower {
            Emit::Node(operator) => g.node(operator, &[x], []),
            Emit::Nodes(lower) => lower(g, x, dtype),
        }
    }

    fn integers(&self) -> Integers {
        self.integers
    }
}
