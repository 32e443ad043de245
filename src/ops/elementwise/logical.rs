//! Logic, and questions whose answer is true or false for each element: `logical_and`, `logical_or`, `logical_xor`,
//! `logical_not`, `isnan`, `isinf`, `isfinite`.
//!
//! Paddle: `phi/kernels/{isfinite,logical}_kernel.h`. ONNX: IsNaN, IsInf, And, Or, Xor, Not.

use super::compare::comparison;
use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::operator::{ANY, Accuracy, Function, NUMBERS, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::binary::{form, integers};
use crate::ops::shared::broadcast::Pair;
use crate::ops::shared::decomposition::Decomposition;
use crate::ops::shared::pointwise::{of_x, plain};
use crate::program::{Builder, Draft, Fact, Facts, OpKind, ValueId};
use crate::tensor::DType::Bool;
use crate::tensor::{DType, Element, Tensor, with_array};

pub(super) const OPS: &[OpDef] = &[
    comparison("logical_and", &[form(&["logical_and"])], |op| {
        Logic::parse(op, Gate::And)
    }),
    comparison("logical_or", &[form(&["logical_or"])], |op| {
        Logic::parse(op, Gate::Or)
    }),
    comparison("logical_xor", &[form(&["logical_xor"])], |op| {
        Logic::parse(op, Gate::Xor)
    }),
    of_x(
        "isnan",
        &[plain(&["isnan_v2"]), plain(&["isnan"]).rewriting(any)],
        |op| Predicate::parse(op, Question::Nan),
    )
    .with_opset(9)
    .with_dtypes(NUMBERS)
    .with_accuracy(Accuracy::Exact),
    of_x(
        "isinf",
        &[plain(&["isinf_v2"]), plain(&["isinf"]).rewriting(any)],
        |op| Predicate::parse(op, Question::Infinite),
    )
    .with_opset(10)
    .with_dtypes(NUMBERS)
    .with_accuracy(Accuracy::Exact),
    of_x("isfinite", &[plain(&["isfinite_v2"])], |op| {
        Predicate::parse(op, Question::Finite)
    })
    .with_opset(10)
    .with_dtypes(NUMBERS)
    .with_accuracy(Accuracy::Exact),
    of_x("logical_not", &[plain(&["logical_not"])], |op| {
        Predicate::parse(op, Question::Zero)
    })
    .with_dtypes(ANY)
    .with_accuracy(Accuracy::Exact),
];

/// A logic gate with two inputs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Gate {
    And,
    Or,
    Xor,
}

impl Gate {
    /// The gate on each bit of two integers.
    pub fn of(self, x: i64, y: i64) -> i64 {
        match self {
            Gate::And => x & y,
            Gate::Or => x | y,
            Gate::Xor => x ^ y,
        }
    }

    /// ONNX's operator, which takes bools.
    pub fn onnx(self) -> &'static str {
        match self {
            Gate::And => "And",
            Gate::Or => "Or",
            Gate::Xor => "Xor",
        }
    }
}

/// A logic gate on two tensors, in which every number but 0 is true.
struct Logic {
    pair: Pair,
    gate: Gate,
}

impl Logic {
    fn parse(op: &mut OpReader<'_>, gate: Gate) -> Parsed {
        let pair = Pair::parse(op)?;
        Ok(Box::new(Self { pair, gate }))
    }
}

impl Function for Logic {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        Ok(Fact::new(Bool, self.pair.shape(facts)?))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let dtype = self.pair.dtype(g)?;
        let (x, y) = self.pair.lower(g)?;
        let (x, y) = (g.cast(x, dtype, Bool), g.cast(y, dtype, Bool));
        Ok(g.node(self.gate.onnx(), &[x, y], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (x, y) = self.pair.values(values)?;
        integers(&x.cast(Bool), &y.cast(Bool), |x, y| self.gate.of(x, y))
    }
}

/// `isnan` and `isinf` of Paddle 1, without the suffix `_v2`: whether the answer is yes for any element, as a vector of
/// one element.
fn any(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let name = match draft.kind {
        OpKind::Known(name) => name,
        OpKind::Unknown(_) | OpKind::Refused { .. } => {
            return Err(Error::internal("a question without a definition"));
        }
    };
    let mut parts = Decomposition::new(builder, draft);
    let x = parts.operand(0)?;
    let answers = parts.typed_op(name, &[x], Bool, parts.rank(x));
    let any = parts.op("any", &[Some(answers), None], &[], 0);
    let result = parts.reshaped(any, &[1]);
    parts.finish(&[result])
}

/// What is asked of each element. `Zero` is the question of `logical_not`.
#[derive(Debug, Clone, Copy)]
enum Question {
    Nan,
    Infinite,
    Finite,
    Zero,
}

impl Question {
    fn answer(self, x: f64) -> bool {
        match self {
            Question::Nan => x.is_nan(),
            Question::Infinite => x.is_infinite(),
            Question::Finite => x.is_finite(),
            Question::Zero => x == 0.0,
        }
    }
}

/// The answer to a question about each element, as a bool.
struct Predicate {
    x: ValueId,
    question: Question,
}

impl Predicate {
    fn parse(op: &mut OpReader<'_>, question: Question) -> Parsed {
        let x = op.operand("x")?;
        Ok(Box::new(Self { x, question }))
    }
}

impl Function for Predicate {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        Ok(Fact::new(Bool, facts.shape(self.x).to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let dtype = g.dtype(self.x);
        Ok(match self.question {
            Question::Zero => {
                let is_other = g.cast(x, dtype, Bool);
                g.node("Not", &[is_other], [])
            }
            // IsNaN and IsInf take floats alone. As float32, each integer is finite, too.
            _ if !dtype.is_float() => {
                let float = g.cast(x, dtype, DType::F32);
                self.lower_for_floats(g, float)
            }
            _ => self.lower_for_floats(g, x),
        })
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        Ok(with_array!(values.get(self.x)?, x => {
            let answers = x.mapv(|x| self.question.answer(x.to_f64()));
            Tensor::Bool(answers.into())
        }))
    }
}

impl Predicate {
    fn lower_for_floats(&self, g: &mut Lowering<'_>, x: TensorId) -> TensorId {
        match self.question {
            Question::Nan => g.node("IsNaN", &[x], []),
            Question::Infinite => g.node("IsInf", &[x], []),
            Question::Finite | Question::Zero => {
                let is_nan = g.node("IsNaN", &[x], []);
                let is_infinite = g.node("IsInf", &[x], []);
                let is_either = g.node("Or", &[is_nan, is_infinite], []);
                g.node("Not", &[is_either], [])
            }
        }
    }
}
