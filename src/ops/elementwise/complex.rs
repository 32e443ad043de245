//! Arithmetic and functions of complex numbers, as ops on their real and imaginary parts.
//!
//! An operand or a result without an imaginary part is real. Paddle: `phi/common/complex.h`. The magnitude is an op of
//! its own, `hypot`, since the sum of the squares may overflow where the magnitude does not.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::{Real, map, with_reals};
use crate::operator::{FLOATS, Function, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::binary::binary;
use crate::ops::shared::broadcast::Pair;
use crate::ops::shared::decomposition::Decomposition;
use crate::program::{Attr, Builder, Draft, Fact, Facts, FromAttr, Operand, Parts, ValueId};
use crate::tensor::{DType, Tensor};

pub(super) const OPS: &[OpDef] = &[binary("hypot", &[], Hypot::parse)
    .with_dtypes(FLOATS)
    .in_no_file()];

/// The real and imaginary parts of a number whose imaginary part may be 0.
type Number = (ValueId, Option<ValueId>);

/// Arithmetic on the parts of complex numbers, as ops in the place of one.
struct Arithmetic<'b> {
    whole: Decomposition<'b>,
    /// The axis at which the second operand of the whole starts, where it has fewer axes.
    axis: i64,
}

impl<'b> Arithmetic<'b> {
    fn of(builder: &'b mut Builder, draft: Draft) -> Result<Self> {
        let mut whole = Decomposition::new(builder, draft);
        let axis = whole.attr("axis", -1)?;
        Ok(Self { whole, axis })
    }

    fn operand(&self, position: usize) -> Result<Number> {
        let Parts { real, imag } = self.whole.parts(position)?;
        Ok((real, imag))
    }

    fn of_one(&mut self, kind: &'static str, x: ValueId) -> ValueId {
        let rank = self.whole.rank(x);
        self.whole.op(kind, &[x], &[], rank)
    }

    fn of_two(&mut self, kind: &'static str, x: ValueId, y: ValueId) -> ValueId {
        let rank = self.whole.rank(x).max(self.whole.rank(y));
        // Numbers that were computed here have all axes.
        let is_lower = self.whole.rank(x) != self.whole.rank(y);
        let axis = if is_lower { self.axis } else { -1 };
        let attrs = [("axis", Attr::Int(axis))];
        self.whole.op(kind, &[x, y], &attrs, rank)
    }

    fn scaled(&mut self, x: ValueId, factor: f64) -> ValueId {
        self.whole.scaled(x, factor)
    }

    fn product(&mut self, x: Number, y: Number) -> Number {
        let times = |op: &mut Self, x, y| op.of_two("multiply", x, y);
        match (x, y) {
            ((a, None), (c, d)) => {
                let real = times(self, a, c);
                (real, d.map(|d| times(self, a, d)))
            }
            ((a, Some(b)), (c, None)) => (times(self, a, c), Some(times(self, b, c))),
            ((a, Some(b)), (c, Some(d))) => {
                let (ac, bd) = (times(self, a, c), times(self, b, d));
                let (ad, bc) = (times(self, a, d), times(self, b, c));
                let real = self.of_two("subtract", ac, bd);
                (real, Some(self.of_two("add", ad, bc)))
            }
        }
    }

    /// `x / y`, by the reciprocal of the squared magnitude of `y`.
    fn quotient(&mut self, x: Number, y: Number) -> Number {
        let (c, Some(d)) = y else {
            let over = |op: &mut Self, part| op.of_two("divide", part, y.0);
            return (over(self, x.0), x.1.map(|imag| over(self, imag)));
        };
        let minus_d = self.scaled(d, -1.0);
        let (real, imag) = self.product(x, (c, Some(minus_d)));
        let (cc, dd) = (self.of_two("multiply", c, c), self.of_two("multiply", d, d));
        let square = self.of_two("add", cc, dd);
        let mut over = |part| self.of_two("divide", part, square);
        (over(real), imag.map(over))
    }

    fn exponential(&mut self, (a, b): Number) -> Number {
        let size = self.of_one("exp", a);
        let Some(b) = b else {
            return (size, None);
        };
        let (cos, sin) = (self.of_one("cos", b), self.of_one("sin", b));
        let real = self.of_two("multiply", size, cos);
        (real, Some(self.of_two("multiply", size, sin)))
    }

    /// `f(a) · g(b)` and `h(a) · k(b)`, of the parts `a` and `b`.
    fn products(
        &mut self,
        (a, b): Number,
        of_a: [&'static str; 2],
        of_b: [&'static str; 2],
    ) -> Number {
        let Some(b) = b else {
            return (self.of_one(of_a[0], a), None);
        };
        let [real, imag] = [0, 1].map(|part| {
            let x = self.of_one(of_a[part], a);
            let y = self.of_one(of_b[part], b);
            self.of_two("multiply", x, y)
        });
        (real, Some(imag))
    }

    fn finish(self, (real, imag): Number) -> Result<Vec<Parts>> {
        self.whole.finish_parts(real, imag)
    }
}

pub(super) fn multiply(builder: &mut Builder, draft: Draft) -> Result<Vec<Parts>> {
    let mut op = Arithmetic::of(builder, draft)?;
    let (x, y) = (op.operand(0)?, op.operand(1)?);
    let product = op.product(x, y);
    op.finish(product)
}

pub(super) fn divide(builder: &mut Builder, draft: Draft) -> Result<Vec<Parts>> {
    let mut op = Arithmetic::of(builder, draft)?;
    let (x, y) = (op.operand(0)?, op.operand(1)?);
    let quotient = op.quotient(x, y);
    op.finish(quotient)
}

pub(super) fn square(builder: &mut Builder, draft: Draft) -> Result<Vec<Parts>> {
    let mut op = Arithmetic::of(builder, draft)?;
    let x = op.operand(0)?;
    let square = op.product(x, x);
    op.finish(square)
}

pub(super) fn reciprocal(builder: &mut Builder, draft: Draft) -> Result<Vec<Parts>> {
    let mut op = Arithmetic::of(builder, draft)?;
    let x = op.operand(0)?;
    let one = op.whole.tensor(Tensor::scalar_of(op.whole.dtype(x.0), 1.0));
    let quotient = op.quotient((one, None), x);
    op.finish(quotient)
}

pub(super) fn exp(builder: &mut Builder, draft: Draft) -> Result<Vec<Parts>> {
    let mut op = Arithmetic::of(builder, draft)?;
    let x = op.operand(0)?;
    let power = op.exponential(x);
    op.finish(power)
}

pub(super) fn log(builder: &mut Builder, draft: Draft) -> Result<Vec<Parts>> {
    let mut op = Arithmetic::of(builder, draft)?;
    let (a, b) = op.operand(0)?;
    let b = op.whole.imaginary(Parts { real: a, imag: b });
    let size = op.of_two("hypot", a, b);
    let real = op.of_one("log", size);
    let angle = op.of_two("atan2", b, a);
    op.finish((real, Some(angle)))
}

pub(super) fn sin(builder: &mut Builder, draft: Draft) -> Result<Vec<Parts>> {
    let mut op = Arithmetic::of(builder, draft)?;
    let x = op.operand(0)?;
    let sine = op.products(x, ["sin", "cos"], ["cosh", "sinh"]);
    op.finish(sine)
}

pub(super) fn cos(builder: &mut Builder, draft: Draft) -> Result<Vec<Parts>> {
    let mut op = Arithmetic::of(builder, draft)?;
    let x = op.operand(0)?;
    let (real, imag) = op.products(x, ["cos", "sin"], ["cosh", "sinh"]);
    let imag = imag.map(|imag| op.scaled(imag, -1.0));
    op.finish((real, imag))
}

pub(super) fn sinh(builder: &mut Builder, draft: Draft) -> Result<Vec<Parts>> {
    let mut op = Arithmetic::of(builder, draft)?;
    let x = op.operand(0)?;
    let sine = op.products(x, ["sinh", "cosh"], ["cos", "sin"]);
    op.finish(sine)
}

pub(super) fn cosh(builder: &mut Builder, draft: Draft) -> Result<Vec<Parts>> {
    let mut op = Arithmetic::of(builder, draft)?;
    let x = op.operand(0)?;
    let cosine = op.products(x, ["cosh", "sinh"], ["cos", "sin"]);
    op.finish(cosine)
}

pub(super) fn abs(builder: &mut Builder, draft: Draft) -> Result<Vec<Parts>> {
    let mut op = Arithmetic::of(builder, draft)?;
    let size = match op.operand(0)? {
        (real, Some(imag)) => op.of_two("hypot", real, imag),
        (real, None) => op.of_one("abs", real),
    };
    op.finish((size, None))
}

/// `x · scale + bias`: the bias is real.
pub(super) fn scale(builder: &mut Builder, draft: Draft) -> Result<Vec<Parts>> {
    let mut op = Arithmetic::of(builder, draft)?;
    let (real, imag) = op.operand(0)?;
    let scale = op.whole.operand(1)?;
    let bias: f64 = op.whole.attr("bias", 0.0)?;
    let is_after: bool = op.whole.attr("bias_after_scale", true)?;
    let mut scaled = |x: ValueId, bias: f64| {
        let attrs = [
            ("bias", Attr::Float(bias)),
            ("bias_after_scale", Attr::Bool(is_after)),
        ];
        let rank = op.whole.rank(x);
        op.whole.op("scale", &[x, scale], &attrs, rank)
    };
    let scaled = (scaled(real, bias), imag.map(|imag| scaled(imag, 0.0)));
    op.finish(scaled)
}

/// To a complex type, from one, or both.
pub(super) fn cast(builder: &mut Builder, draft: Draft) -> Result<Vec<Parts>> {
    let mut whole = Decomposition::new(builder, draft);
    let Parts { real, imag } = whole.parts(0)?;
    let code = whole.attr("dtype", Attr::Int(-1))?;
    let dtype = i64::from_attr(&code).and_then(DType::declared);
    let dtype =
        dtype.ok_or_else(|| Error::malformed("the attribute `dtype` is no element type"))?;
    let mut cast = |x: ValueId| {
        if whole.dtype(x) == dtype.real() {
            return x;
        }
        let attrs = [("dtype", Attr::Int(dtype.real().paddle_code()))];
        let rank = whole.rank(x);
        whole.emit("cast", vec![Operand::One(x)], &attrs, dtype.real(), rank)
    };
    let real = cast(real);
    if let (DType::Bool, Some(imag)) = (dtype, imag) {
        // A number is true if either part is not 0.
        let imag = cast(imag);
        let rank = whole.rank(real);
        let either = [real, imag].map(Operand::One).to_vec();
        let either = whole.emit("logical_or", either, &[], DType::Bool, rank);
        return whole.finish_parts(either, None);
    }
    let imag = imag.filter(|_| dtype.is_complex()).map(cast);
    whole.finish_parts(real, imag)
}

/// `√(x² + y²)`.
struct Hypot {
    pair: Pair,
}

impl Hypot {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            pair: Pair::parse(op)?,
        }))
    }
}

impl Function for Hypot {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        Ok(Fact::new(self.pair.dtype(facts)?, self.pair.shape(facts)?))
    }

    /// As the larger size times `√(1 + ratio²)`, whose square can't overflow, nor vanish.
    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let dtype = self.pair.dtype(g)?;
        let (x, y) = self.pair.lower(g)?;
        let (x, y) = (g.node("Abs", &[x], []), g.node("Abs", &[y], []));
        let (large, small) = (g.node("Max", &[x, y], []), g.node("Min", &[x, y], []));
        // The ratio of two zeros is 0.
        let least = match dtype {
            DType::F64 => f64::MIN_POSITIVE,
            DType::F16 => 2_f64.powi(-14),
            _ => f32::MIN_POSITIVE.into(),
        };
        let least = g.scalar(dtype, least);
        let divisor = g.node("Max", &[large, least], []);
        let ratio = g.node("Div", &[small, divisor], []);
        let square = g.node("Mul", &[ratio, ratio], []);
        let one = g.scalar(dtype, 1.0);
        let sum = g.node("Add", &[square, one], []);
        let root = g.node("Sqrt", &[sum], []);
        Ok(g.node("Mul", &[large, root], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        fn hypot<T: Real>(x: T, y: T) -> T {
            num_traits::Float::hypot(x, y)
        }
        let (x, y) = self.pair.values(values)?;
        with_reals!(&x, &y, (x, y) => map::zip(x, y, hypot)?)
    }
}
