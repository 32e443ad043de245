//! Functions of one tensor, of the same shape.
//!
//! Paddle: `phi/kernels/{gelu,softmax,activation}_kernel.h`.

use std::marker::PhantomData;

use super::def::{Accuracy, Arg, FLOATS, Form, From, OpDef};
use super::operator::{Fact, Facts, Function, Parsed};
use super::reader::OpReader;
use crate::error::Result;
use crate::lower::{Lowering, TensorId};
use crate::program::ValueId;
use crate::reference::{Real, Values, map, normalize, with_real};
use crate::tensor::{Tensor, normalize_axis};

pub(super) const OPS: &[OpDef] = &[
    of_x("gelu", &[plain(&["gelu"])], Gelu::parse),
    of_x(
        "softmax",
        // The layout is a hint to oneDNN; the axis alone says what is summed.
        &[plain(&["softmax"]).ignoring(&["is_test", "data_format"])],
        Softmax::parse,
    ),
    of_x("relu", &[plain(&["relu"])], unary::<Relu>),
    of_x("sigmoid", &[plain(&["sigmoid"])], unary::<Sigmoid>),
    of_x("tanh", &[plain(&["tanh"])], unary::<Tanh>),
    of_x("sqrt", &[plain(&["sqrt"])], unary::<Sqrt>),
    of_x("exp", &[plain(&["exp"])], unary::<Exp>),
];

/// An op type of which only the name differs.
pub(super) const fn plain(names: &'static [&'static str]) -> Form {
    Form::legacy(names, &[From::Slot("X")], &["Out"])
}

/// An op on one tensor that gives one of the same shape.
pub(super) const fn of_x(
    name: &'static str,
    legacy: &'static [Form],
    parse: fn(&mut OpReader<'_>) -> Parsed,
) -> OpDef {
    OpDef {
        name,
        operands: &[Arg::Tensor("x")],
        results: &["out"],
        legacy,
        pir: &[],
        dtypes: FLOATS,
        opset: 11,
        accuracy: Accuracy::Accumulated,
        parse,
    }
}

/// A function without attributes that ONNX has under a name of its own.
trait Kernel: Send + Sync + 'static {
    const ONNX: &'static str;

    fn real<T: Real>(x: T) -> T;
}

struct Relu;
impl Kernel for Relu {
    const ONNX: &'static str = "Relu";

    fn real<T: Real>(x: T) -> T {
        x.max(T::zero())
    }
}

struct Sigmoid;
impl Kernel for Sigmoid {
    const ONNX: &'static str = "Sigmoid";

    fn real<T: Real>(x: T) -> T {
        (T::one() + (-x).exp()).recip()
    }
}

struct Tanh;
impl Kernel for Tanh {
    const ONNX: &'static str = "Tanh";

    fn real<T: Real>(x: T) -> T {
        x.tanh()
    }
}

struct Sqrt;
impl Kernel for Sqrt {
    const ONNX: &'static str = "Sqrt";

    fn real<T: Real>(x: T) -> T {
        x.sqrt()
    }
}

struct Exp;
impl Kernel for Exp {
    const ONNX: &'static str = "Exp";

    fn real<T: Real>(x: T) -> T {
        x.exp()
    }
}

struct Unary<K> {
    x: ValueId,
    kernel: PhantomData<K>,
}

fn unary<K: Kernel>(op: &mut OpReader<'_>) -> Parsed {
    Ok(Box::new(Unary::<K> {
        x: op.operand("x")?,
        kernel: PhantomData,
    }))
}

impl<K: Kernel> Function for Unary<K> {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        Ok(Fact::new(facts.dtype(self.x), facts.shape(self.x).to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        Ok(g.node(K::ONNX, &[x], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        with_real!(values.get(self.x)?, x => map::map(x, K::real))
    }
}

/// `x · Φ(x)` with the normal distribution's Φ, or its approximation by tanh.
struct Gelu {
    x: ValueId,
    approximate: bool,
}

impl Gelu {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            approximate: op.attr_or("approximate", false)?,
        }))
    }
}

impl Function for Gelu {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        Ok(Fact::new(facts.dtype(self.x), facts.shape(self.x).to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let dtype = g.dtype(self.x);
        Ok(g.gelu(x, dtype, self.approximate))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        if self.approximate {
            with_real!(x, x => map::map(x, gelu_tanh))
        } else {
            with_real!(x, x => map::map(x, gelu_erf))
        }
    }
}

fn gelu_erf<T: Real>(x: T) -> T {
    let half = T::from_f64(0.5);
    x * half * (T::one() + (x * T::from_f64(std::f64::consts::FRAC_1_SQRT_2)).erf())
}

fn gelu_tanh<T: Real>(x: T) -> T {
    let half = T::from_f64(0.5);
    let root = T::from_f64(std::f64::consts::FRAC_2_PI.sqrt());
    let cubic = T::from_f64(0.044_715);
    x * half * (T::one() + (root * (x + cubic * x * x * x)).tanh())
}

/// `exp(x) / Σ exp(x)` along an axis.
struct Softmax {
    x: ValueId,
    axis: i64,
}

impl Softmax {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis: op.attr_or("axis", -1)?,
        }))
    }
}

impl Function for Softmax {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let rank = facts.rank(self.x);
        if rank > 0 {
            normalize_axis(self.axis, rank)?;
        }
        Ok(Fact::new(facts.dtype(self.x), facts.shape(self.x).to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let rank = g.rank(self.x);
        if rank == 0 {
            // ONNX has no axis to normalise along here. The only element becomes 1.
            let vector = g.unsqueeze(x, &[0]);
            let softmax = g.softmax("Softmax", vector, 0, 1);
            return Ok(g.squeeze(softmax, &[0]));
        }
        let axis = normalize_axis(self.axis, rank)?;
        Ok(g.softmax("Softmax", x, axis, rank))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        if x.shape().is_empty() {
            return Ok(Tensor::scalar_of(x.dtype(), 1.0));
        }
        let axis = normalize_axis(self.axis, x.shape().len())?;
        with_real!(x, x => normalize::softmax(x, axis)?)
    }
}
