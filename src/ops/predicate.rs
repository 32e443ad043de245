//! Questions about each element, and negation.
//!
//! Paddle: `phi/kernels/{isfinite,logical,bitwise}_kernel.h`. ONNX: IsNaN, IsInf, Not, BitwiseNot.

use super::composite::Parts;
use super::def::{ANY, Accuracy, NUMBERS, OpDef};
use super::operator::{Fact, Facts, Function, Parsed};
use super::reader::OpReader;
use super::unary::{of_x, plain};
use crate::error::{Error, Result};
use crate::lower::{Lowering, TensorId};
use crate::normalise::{Builder, Draft};
use crate::program::{OpKind, ValueId};
use crate::reference::{Values, map};
use crate::tensor::DType::{self, Bool, I8, I16, I32, I64, U8};
use crate::tensor::{Array, Element, Tensor, with_array};

pub(super) const OPS: &[OpDef] = &[
    of_x(
        "isnan",
        &[plain(&["isnan_v2"]), plain(&["isnan"]).rewriting(any)],
        |op| Predicate::parse(op, Question::Nan),
    )
    .taking(NUMBERS)
    .with_accuracy(Accuracy::Exact),
    of_x(
        "isinf",
        &[plain(&["isinf_v2"]), plain(&["isinf"]).rewriting(any)],
        |op| Predicate::parse(op, Question::Infinite),
    )
    .taking(NUMBERS)
    .with_accuracy(Accuracy::Exact),
    of_x("isfinite", &[plain(&["isfinite_v2"])], |op| {
        Predicate::parse(op, Question::Finite)
    })
    .taking(NUMBERS)
    .with_accuracy(Accuracy::Exact),
    of_x("logical_not", &[plain(&["logical_not"])], |op| {
        Predicate::parse(op, Question::Zero)
    })
    .taking(ANY)
    .with_accuracy(Accuracy::Exact),
    of_x("bitwise_not", &[plain(&["bitwise_not"])], |op| {
        let x = op.operand("x")?;
        Ok(Box::new(BitwiseNot { x }))
    })
    .taking(&[Bool, U8, I8, I16, I32, I64])
    .with_accuracy(Accuracy::Exact),
];

/// The ops of Paddle 1 that have no suffix: whether the answer is yes for any element, in a vector.
fn any(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let name = match draft.kind {
        OpKind::Known(name) => name,
        OpKind::Unknown(_) => return Err(Error::internal("a question without a definition")),
    };
    let mut parts = Parts::new(builder, draft);
    let x = parts.operand(0)?;
    let answers = parts.typed_op(name, &[x], Bool, parts.rank(x));
    let any = parts.op("any", &[Some(answers), None], &[], 0);
    let result = parts.reshaped(any, &[1]);
    parts.finish(&[result])
}

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

/// The answer to a question about each element.
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
            // Integers are finite. ONNX asks floats alone, so that the answer is that for zeros.
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

/// All bits the other way round; of bools, which have one, the opposite.
struct BitwiseNot {
    x: ValueId,
}

impl Function for BitwiseNot {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        Ok(Fact::new(facts.dtype(self.x), facts.shape(self.x).to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        Ok(match g.dtype(self.x) {
            Bool => g.node("Not", &[x], []),
            dtype => g.bitwise_not(x, dtype),
        })
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        fn not<T: Element>(x: &Array<T>) -> Result<Tensor> {
            Ok(T::tensor(map::map(x, |x| T::from_i64(!x.to_i64()))?.into()))
        }
        match values.get(self.x)? {
            Tensor::Bool(x) => Ok(Tensor::Bool(map::map(x, |x| !x)?.into())),
            x if x.dtype().is_float() => Err(Error::unsupported("bits of floats")),
            x => with_array!(x, x => not(x)),
        }
    }
}
