//! Comparisons of two tensors, whose results are bools: `equal`, `not_equal`, `less_than`, `less_equal`,
//! `greater_than`, `greater_equal`, `isclose`, `allclose`, `equal_all`.
//!
//! Paddle: `phi/kernels/{compare,isclose,allclose}_kernel.h`. ONNX: Equal, Less, LessOrEqual, Greater, GreaterOrEqual,
//! Not; for `isclose` and `allclose` Sub, Abs, Mul, Add and Or as well; for scalar results ReduceMin.

use std::marker::PhantomData;

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::map;
use crate::operator::{
    ANY, Accuracy, Arg, Binding, FLOATS, Form, Function, OpDef, OpReader, Parse, Parsed, Values,
};
use crate::ops::shared::binary::{binary, form};
use crate::ops::shared::broadcast::Pair;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{Bool, F64, I32};
use crate::tensor::{Array, Dim, Element, Tensor, with_arrays};

pub(super) const OPS: &[OpDef] = &[
    comparison("equal", &[compared(&["equal"])], compare::<Equal>),
    comparison(
        "not_equal",
        &[compared(&["not_equal"])],
        compare::<NotEqual>,
    ),
    comparison("less_than", &[compared(&["less_than"])], compare::<Less>),
    comparison(
        "less_equal",
        &[compared(&["less_equal"])],
        compare::<LessEqual>,
    )
    .with_opset(9),
    comparison(
        "greater_than",
        &[compared(&["greater_than"])],
        compare::<Greater>,
    ),
    comparison(
        "greater_equal",
        &[compared(&["greater_equal"])],
        compare::<GreaterEqual>,
    )
    .with_opset(9),
    closeness("isclose", &[close(&["isclose"])], |op| {
        Close::parse(op, false)
    })
    .with_opset(11),
    closeness("allclose", &[close(&["allclose"])], |op| {
        Close::parse(op, true)
    })
    .with_opset(11),
    comparison("equal_all", &[form(&["equal_all"])], EqualAll::parse)
        .with_limits(&["extents that may differ"]),
];

/// An op on two tensors of any type whose result is exact.
pub(super) const fn comparison(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    binary(name, legacy, parse)
        .with_dtypes(ANY)
        .with_accuracy(Accuracy::Exact)
}

/// The legacy form of a comparison. `force_cpu` says where the result is computed, and has no bearing on it.
const fn compared(names: &'static [&'static str]) -> Form {
    form(names).ignoring(&["force_cpu"])
}

const fn closeness(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    let mut def = comparison(name, legacy, parse).with_dtypes(FLOATS);
    def.operands = &[
        Arg::Tensor("x"),
        Arg::Tensor("y"),
        Arg::Scalar("rtol"),
        Arg::Scalar("atol"),
    ];
    def
}

const fn close(names: &'static [&'static str]) -> Form {
    const OPERANDS: &[Binding] = &[
        Binding::Slot("Input"),
        Binding::Slot("Other"),
        Binding::Scalar {
            attr: "rtol",
            slots: &["Rtol"],
        },
        Binding::Scalar {
            attr: "atol",
            slots: &["Atol"],
        },
    ];
    Form::legacy(names, OPERANDS, &["Out"])
}

/// What one comparison computes, and how it is lowered.
trait Kernel: Send + Sync + 'static {
    fn lower(g: &mut Lowering<'_>, x: TensorId, y: TensorId) -> TensorId;

    fn holds<T: PartialOrd>(x: T, y: T) -> bool;
}

struct Equal;

impl Kernel for Equal {
    fn lower(g: &mut Lowering<'_>, x: TensorId, y: TensorId) -> TensorId {
        g.node("Equal", &[x, y], [])
    }

    fn holds<T: PartialOrd>(x: T, y: T) -> bool {
        x == y
    }
}

struct NotEqual;

impl Kernel for NotEqual {
    fn lower(g: &mut Lowering<'_>, x: TensorId, y: TensorId) -> TensorId {
        let equal = g.node("Equal", &[x, y], []);
        g.node("Not", &[equal], [])
    }

    fn holds<T: PartialOrd>(x: T, y: T) -> bool {
        x != y
    }
}

struct Less;

impl Kernel for Less {
    fn lower(g: &mut Lowering<'_>, x: TensorId, y: TensorId) -> TensorId {
        g.node("Less", &[x, y], [])
    }

    fn holds<T: PartialOrd>(x: T, y: T) -> bool {
        x < y
    }
}

struct LessEqual;

impl Kernel for LessEqual {
    fn lower(g: &mut Lowering<'_>, x: TensorId, y: TensorId) -> TensorId {
        g.compare_or_equal("Less", x, y)
    }

    fn holds<T: PartialOrd>(x: T, y: T) -> bool {
        x <= y
    }
}

struct Greater;

impl Kernel for Greater {
    fn lower(g: &mut Lowering<'_>, x: TensorId, y: TensorId) -> TensorId {
        g.node("Greater", &[x, y], [])
    }

    fn holds<T: PartialOrd>(x: T, y: T) -> bool {
        x > y
    }
}

struct GreaterEqual;

impl Kernel for GreaterEqual {
    fn lower(g: &mut Lowering<'_>, x: TensorId, y: TensorId) -> TensorId {
        g.compare_or_equal("Greater", x, y)
    }

    fn holds<T: PartialOrd>(x: T, y: T) -> bool {
        x >= y
    }
}

/// The comparison that `K` defines, of each pair of elements.
struct Comparison<K> {
    pair: Pair,
    kernel: PhantomData<K>,
}

fn compare<K: Kernel>(op: &mut OpReader<'_>) -> Parsed {
    Ok(Box::new(Comparison::<K> {
        pair: Pair::parse(op)?,
        kernel: PhantomData,
    }))
}

/// Emits the operands, lined up for broadcasting, in a type that ONNX Runtime compares.
fn lower_pair(g: &mut Lowering<'_>, pair: &Pair) -> Result<(TensorId, TensorId)> {
    let dtype = pair.dtype(g)?;
    let (x, y) = pair.lower(g)?;
    let wide = dtype.widened();
    Ok((g.cast(x, dtype, wide), g.cast(y, dtype, wide)))
}

fn compared_pairs<T: Element>(
    x: &Array<T>,
    y: &Array<T>,
    holds: impl Fn(T, T) -> bool + Sync + Send,
) -> Result<Tensor> {
    Ok(bool::tensor(map::zip(x, y, holds)?.into()))
}

impl<K: Kernel> Function for Comparison<K> {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        Ok(Fact::new(Bool, self.pair.shape(facts)?))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (x, y) = lower_pair(g, &self.pair)?;
        Ok(K::lower(g, x, y))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (x, y) = self.pair.values(values)?;
        with_arrays!(&x, &y, (x, y) => compared_pairs(x, y, K::holds))
    }
}

/// Whether `|x - y| ≤ atol + rtol · |y|`, for each pair of elements, or as a scalar for all of them. With
/// `equal_nan`, NaN is close to NaN.
struct Close {
    pair: Pair,
    rtol: ValueId,
    atol: ValueId,
    equal_nan: bool,
    is_for_all: bool,
}

impl Close {
    fn parse(op: &mut OpReader<'_>, is_for_all: bool) -> Parsed {
        Ok(Box::new(Self {
            pair: Pair::parse(op)?,
            rtol: op.operand("rtol")?,
            atol: op.operand("atol")?,
            equal_nan: op.attr_or("equal_nan", false)?,
            is_for_all,
        }))
    }

    fn holds(&self, x: f64, y: f64, rtol: f64, atol: f64) -> bool {
        if x.is_nan() || y.is_nan() {
            return self.equal_nan && x.is_nan() && y.is_nan();
        }
        x == y || (x - y).abs() <= atol + (rtol * y).abs()
    }

    /// A tolerance as a float64 scalar.
    fn lower_tolerance(g: &mut Lowering<'_>, id: ValueId) -> Result<TensorId> {
        if let Some(constant) = g.constant_value(id) {
            let tolerance = tolerance(constant)?;
            return Ok(g.scalar(F64, tolerance));
        }
        let tensor = g.value(id)?;
        let tensor = g.cast(tensor, g.dtype(id), F64);
        let shape = g.vector(&[]);
        Ok(g.node("Reshape", &[tensor, shape], []))
    }
}

fn tolerance(tensor: &Tensor) -> Result<f64> {
    match tensor.to_f64_vec().as_slice() {
        [tolerance] => Ok(*tolerance),
        _ => Err(Error::malformed("a tolerance with several elements")),
    }
}

impl Function for Close {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let shape = self.pair.shape(facts)?;
        Ok(Fact::new(
            Bool,
            if self.is_for_all { Vec::new() } else { shape },
        ))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let dtype = self.pair.dtype(g)?;
        let (x, y) = self.pair.lower(g)?;
        // In float64, which is the type of Paddle's tolerances.
        let (x, y) = (g.cast(x, dtype, F64), g.cast(y, dtype, F64));
        let (rtol, atol) = (
            Self::lower_tolerance(g, self.rtol)?,
            Self::lower_tolerance(g, self.atol)?,
        );
        let difference = g.node("Sub", &[x, y], []);
        let difference = g.node("Abs", &[difference], []);
        let relative = g.node("Mul", &[rtol, y], []);
        let relative = g.node("Abs", &[relative], []);
        let limit = g.node("Add", &[atol, relative], []);
        let is_near = g.compare_or_equal("Less", difference, limit);
        // The difference of equal infinities is NaN.
        let is_equal = g.node("Equal", &[x, y], []);
        let mut is_close = g.node("Or", &[is_near, is_equal], []);
        if self.equal_nan {
            let x_is_number = g.node("Equal", &[x, x], []);
            let y_is_number = g.node("Equal", &[y, y], []);
            let is_number = g.node("Or", &[x_is_number, y_is_number], []);
            let is_nan = g.node("Not", &[is_number], []);
            is_close = g.node("Or", &[is_close, is_nan], []);
        }
        Ok(if self.is_for_all {
            every(g, is_close)
        } else {
            is_close
        })
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (x, y) = self.pair.values(values)?;
        let (rtol, atol) = (
            tolerance(values.get(self.rtol)?)?,
            tolerance(values.get(self.atol)?)?,
        );
        let holds = |x: f64, y: f64| self.holds(x, y, rtol, atol);
        let close = match (&x.cast(F64), &y.cast(F64)) {
            (Tensor::F64(x), Tensor::F64(y)) => map::zip(x, y, holds)?,
            _ => return Err(Error::internal("a cast to f64 gives another type")),
        };
        Ok(if self.is_for_all {
            Tensor::scalar(close.iter().all(|close| *close))
        } else {
            bool::tensor(close.into())
        })
    }
}

/// Whether all elements of a bool tensor are true, as a scalar.
fn every(g: &mut Lowering<'_>, x: TensorId) -> TensorId {
    let numbers = g.cast(x, Bool, I32);
    let least = g.reduce("ReduceMin", numbers, &[], false);
    g.cast(least, I32, Bool)
}

/// Whether two tensors have the same shape and equal elements, as a scalar.
struct EqualAll {
    pair: Pair,
}

impl EqualAll {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let pair = Pair::parse(op)?;
        Ok(Box::new(Self { pair }))
    }
}

impl Function for EqualAll {
    fn infer(&self, _: &Facts<'_>) -> Result<Fact> {
        Ok(Fact::new(Bool, Vec::new()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (x, y) = (g.shape(self.pair.x), g.shape(self.pair.y));
        let differs =
            |(x, y): (&Dim, &Dim)| matches!((x, y), (Dim::Known(x), Dim::Known(y)) if x != y);
        if x.len() != y.len() || x.iter().zip(y).any(differs) {
            return Ok(g.constant(Tensor::scalar(false)));
        }
        if !x.iter().zip(y).all(|(x, y)| x.same(y)) {
            return Err(Error::needs_extents(
                "a comparison of shapes that are not known before a run",
            ));
        }
        let (x, y) = lower_pair(g, &self.pair)?;
        let equal = g.node("Equal", &[x, y], []);
        Ok(every(g, equal))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (x, y) = (values.get(self.pair.x)?, values.get(self.pair.y)?);
        Ok(Tensor::scalar(x == y))
    }
}
