//! What ops that are a function of each element of one tensor have in common.
//!
//! The function is a [`Curve`]. One without parameters is a [`Plain`] curve, written in one line:
//! `elementwise/unary.rs` has a table of them. `activation/pointwise.rs` has curves with parameters.

use ndarray::ArrayD;

use crate::error::Result;
use crate::graph::{Lowering, TensorId};
use crate::kernels::{Real, map, with_real};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, OpDef, OpReader, Parse, Parsed, Values,
};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, DType, Element, Tensor, with_array};

/// The form of an op on one tensor in the older format, under these names.
pub(crate) const fn plain(names: &'static [&'static str]) -> Form {
    Form::legacy(names, &[Binding::Slot("X")], &["Out"])
}

/// As [`plain`], for an op whose slots have the names of its operand and result in PHI, which are in lowercase.
pub(crate) const fn lowercase(names: &'static [&'static str]) -> Form {
    Form::legacy(names, &[Binding::Slot("x")], &["out"])
}

/// The definition of an op on one tensor `x`, of floating-point numbers.
pub(crate) const fn of_x(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    OpDef::new(name, &[Arg::Tensor("x")], legacy, parse)
        .with_dtypes(FLOATS)
        .with_accuracy(Accuracy::Accumulated)
        .speculatable()
}

/// A function of a number, which an op applies to each element.
pub(crate) trait Curve: Send + Sync + 'static {
    /// The function's value.
    fn at<T: Real>(&self, x: T) -> T;

    /// The function's values at all elements of `x`.
    ///
    /// # Errors
    /// Those of [`map::map`].
    fn at_each<T: Real>(&self, x: &Array<T>) -> Result<ArrayD<T>> {
        map::map(x, |x| self.at(x))
    }

    /// Emits the function of each element of a tensor of floats, of element type `dtype`.
    fn lower(&self, g: &mut Lowering<'_>, x: TensorId, dtype: DType) -> TensorId;

    /// What the op makes of integers, if it takes them.
    fn integers(&self) -> Integers {
        Integers::AsFloat
    }
}

/// What an op makes of a tensor of integers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Integers {
    /// The function's values in float32, which is then the element type of the result.
    AsFloat,
    /// The integers themselves.
    Kept,
    /// What this function makes of them, cut to their element type. The ONNX nodes take integers as well.
    Made(fn(i64) -> i64),
}

/// `curve` of each element of `x`.
pub(super) struct Pointwise<C> {
    x: ValueId,
    curve: C,
}

/// Reads an op that applies `curve` to each element of its operand.
pub(crate) fn pointwise<C: Curve>(op: &mut OpReader<'_>, curve: C) -> Parsed {
    let x = op.operand("x")?;
    Ok(Box::new(Pointwise { x, curve }))
}

impl<C: Curve> Pointwise<C> {
    /// The element type of the result, from that of the operand.
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

    fn elementwise_in(&self) -> Vec<ValueId> {
        vec![self.x]
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        fn made<T: Element>(x: &Array<T>, f: fn(i64) -> i64) -> Result<Tensor> {
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
                with_real!(&x, x => self.curve.at_each(x)?)
            }
        }
    }
}

/// A function without parameters.
pub(crate) struct Plain {
    lower: Emit,
    /// The function in float32, and in float64.
    single: fn(f32) -> f32,
    double: fn(f64) -> f64,
    integers: Integers,
}

/// Emits a function of each element of a tensor of floats of this element type.
pub(crate) type Lower = fn(&mut Lowering<'_>, TensorId, DType) -> TensorId;

/// How a function is written in ONNX.
enum Emit {
    /// By the operator of this name.
    Node(&'static str),
    /// By several operators.
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

    /// The same function, with this for integers.
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
