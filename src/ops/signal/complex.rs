//! Complex numbers from real ones, and real ones from complex: `complex`, `as_complex`, `as_real`, `real`, `imag`,
//! `conj`, `angle`.
//!
//! Paddle: `phi/kernels/{complex,as_complex,as_real,angle}_kernel.h`. A program has the parts of complex numbers in two
//! tensors, so most of these ops leave nothing behind.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::Real;
use crate::operator::{ANY, Accuracy, Arg, Form, NUMBERS, OpDef};
use crate::ops::shared::binary::form;
use crate::ops::shared::decomposition::{Decomposition, decomposed, left_whole};
use crate::ops::shared::pointwise::{Curve, of_x, plain, pointwise};
use crate::program::{Attr, Builder, Draft, OpKind, Operand, Parts, ValueId};
use crate::tensor::{DType, same_shape};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "complex",
        &[Arg::Tensor("real"), Arg::Tensor("imag")],
        &[form(&["complex"])],
        left_whole,
    )
    .with_dtypes(PARTS)
    .on_complex(complex),
    of_complex("as_complex", &[plain(&["as_complex"])], as_complex).with_dtypes(PARTS),
    of_complex("as_real", &[plain(&["as_real"])], as_real),
    of_complex("real", &[plain(&["real"])], real),
    of_complex("imag", &[plain(&["imag"])], imag),
    decomposed(
        "conj",
        &[Arg::Tensor("x")],
        &[plain(&["conj"])],
        ANY,
        conj_of_real,
    )
    .with_accuracy(Accuracy::Exact)
    .on_complex(conj),
    of_x("angle", &[plain(&["angle"])], |op| pointwise(op, Angle))
        .with_opset(9)
        .with_dtypes(NUMBERS)
        .on_complex(angle),
];

/// What the parts of complex numbers may be.
const PARTS: &[DType] = &[DType::F32, DType::F64];

/// The definition of an op that has no real operands and results.
const fn of_complex(
    name: &'static str,
    legacy: &'static [Form],
    rewrite: crate::operator::ComplexRewrite,
) -> OpDef {
    OpDef::new(name, &[Arg::Tensor("x")], legacy, left_whole)
        .with_dtypes(&[DType::C64, DType::C128])
        .on_complex(rewrite)
}

fn complex(builder: &mut Builder, draft: Draft) -> Result<Vec<Parts>> {
    let [Operand::One(real), Operand::One(imag)] = draft.operands[..] else {
        return Err(Error::malformed("an operand is missing"));
    };
    if same_shape(builder.shape(real), builder.shape(imag)) {
        let imag = Some(imag);
        return Ok(vec![Parts { real, imag }]);
    }
    let mut results = draft.results;
    results.extend(results.first().cloned());
    for declared in &mut results {
        declared.dtype = declared.dtype.real();
    }
    let both = builder.emit(Draft {
        kind: OpKind::Known("broadcast_tensors"),
        operands: vec![Operand::Many(vec![real, imag])],
        results,
        attrs: [].into(),
    });
    match both[..] {
        [real, imag] => Ok(vec![Parts {
            real,
            imag: Some(imag),
        }]),
        _ => Err(Error::malformed("has no result")),
    }
}

fn as_complex(builder: &mut Builder, draft: Draft) -> Result<Vec<Parts>> {
    let [Operand::One(pairs)] = draft.operands[..] else {
        return Err(Error::malformed("an operand is missing"));
    };
    let [real, imag] = [0, 1].map(|part| builder.part_of_pairs(pairs, part));
    let imag = Some(imag);
    Ok(vec![Parts { real, imag }])
}

fn as_real(builder: &mut Builder, draft: Draft) -> Result<Vec<Parts>> {
    let mut whole = Decomposition::new(builder, draft);
    let parts = whole.parts(0)?;
    let imag = whole.imaginary(parts);
    let (dtype, rank) = (whole.dtype(parts.real), whole.rank(parts.real) + 1);
    let operands = vec![Operand::Many(vec![parts.real, imag])];
    let pairs = whole.emit("stack", operands, &[("axis", Attr::Int(-1))], dtype, rank);
    whole.finish_parts(pairs, None)
}

fn real(builder: &mut Builder, draft: Draft) -> Result<Vec<Parts>> {
    let whole = Decomposition::new(builder, draft);
    let parts = whole.parts(0)?;
    whole.finish_parts(parts.real, None)
}

fn imag(builder: &mut Builder, draft: Draft) -> Result<Vec<Parts>> {
    let mut whole = Decomposition::new(builder, draft);
    let parts = whole.parts(0)?;
    let imag = whole.imaginary(parts);
    whole.finish_parts(imag, None)
}

/// A real number is its own conjugate. The op stays one where the file declares its operand as complex.
fn conj_of_real(builder: &mut Builder, mut draft: Draft) -> Result<Vec<ValueId>> {
    let values = draft.operands.iter().flat_map(Operand::values);
    let mut dtypes = values.map(|value| builder.dtype(*value));
    if !dtypes.any(DType::is_complex) {
        draft.kind = OpKind::Known("assign");
    }
    Ok(builder.emit(draft))
}

fn conj(builder: &mut Builder, draft: Draft) -> Result<Vec<Parts>> {
    let mut whole = Decomposition::new(builder, draft);
    let Parts { real, imag } = whole.parts(0)?;
    let imag = imag.map(|imag| whole.scaled(imag, -1.0));
    whole.finish_parts(real, imag)
}

fn angle(builder: &mut Builder, draft: Draft) -> Result<Vec<Parts>> {
    let mut whole = Decomposition::new(builder, draft);
    let Parts { real, imag } = whole.parts(0)?;
    let rank = whole.rank(real);
    let angle = match imag {
        Some(imag) => whole.op("atan2", &[imag, real], &[], rank),
        None => whole.op("angle", &[real], &[], rank),
    };
    whole.finish_parts(angle, None)
}

/// The angle of a real number: π if it is negative, else 0.
struct Angle;

impl Curve for Angle {
    fn at<T: Real>(&self, x: T) -> T {
        let angle = if x < T::zero() {
            std::f64::consts::PI
        } else {
            0.0
        };
        T::from_f64(angle)
    }

    fn lower(&self, g: &mut Lowering<'_>, x: TensorId, dtype: DType) -> TensorId {
        let zero = g.scalar(dtype, 0.0);
        let pi = g.scalar(dtype, std::f64::consts::PI);
        let is_negative = g.node("Less", &[x, zero], []);
        g.node("Where", &[is_negative, pi, zero], [])
    }
}
