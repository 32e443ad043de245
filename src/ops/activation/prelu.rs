//! A rectifier with trained slopes: `prelu`.
//!
//! Paddle: `phi/kernels/prelu_kernel.h`. ONNX: PRelu; Greater, Mul and Where for float64.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::{Real, map, with_reals};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, OpDef, OpReader, Parsed, Values,
};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, DType, Dim, Tensor, display_shape};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "prelu",
    &[Arg::Tensor("x"), Arg::Tensor("alpha")],
    &[Form::legacy(
        &["prelu"],
        &[Binding::Slot("X"), Binding::Slot("Alpha")],
        &["Out"],
    )],
    Prelu::parse,
)
.with_limits(&["`mode` element over open extents"])
.with_dtypes(FLOATS)
.with_accuracy(Accuracy::Rounded)];

/// Which elements share a slope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    /// All elements share one slope.
    All,
    /// Each channel has a slope. The channel axis is the last axis, or axis 1.
    Channel { last: bool },
    /// Each element of a sample has a slope, which all samples of a batch share.
    Element,
}

/// `x` if it is positive, else `alpha · x`.
struct Prelu {
    x: ValueId,
    alpha: ValueId,
    sharing: Sharing,
}

impl Prelu {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let layout: String = op.attr_or("data_format", "NCHW".to_owned())?;
        let mode: String = op.attr_or("mode", "all".to_owned())?;
        let sharing = match (mode.as_str(), layout.as_str()) {
            ("all", _) => Sharing::All,
            ("channel", "NHWC") => Sharing::Channel { last: true },
            ("channel", "NCHW") => Sharing::Channel { last: false },
            ("channel", other) => {
                return Err(Error::unsupported(format!("data_format {other:?}")));
            }
            ("element", _) => Sharing::Element,
            (other, _) => return Err(Error::malformed(format!("mode {other:?}"))),
        };
        Ok(Box::new(Self {
            x: op.operand("x")?,
            alpha: op.operand("alpha")?,
            sharing,
        }))
    }

    /// The shape with which the slopes broadcast against a tensor of shape `x`. `one` is an extent of 1.
    fn lined_up<T: Clone>(&self, x: &[T], one: &T) -> Result<Vec<T>> {
        let fail = || Error::malformed(format!("rank {} has no channels", x.len()));
        Ok(match self.sharing {
            Sharing::All => Vec::new(),
            Sharing::Channel { last: true } => vec![x.last().ok_or_else(fail)?.clone()],
            Sharing::Channel { last: false } => {
                let mut shape = vec![one.clone(); x.len().saturating_sub(1)];
                *shape.first_mut().ok_or_else(fail)? = x.get(1).ok_or_else(fail)?.clone();
                shape
            }
            Sharing::Element => x.get(1..).ok_or_else(fail)?.to_vec(),
        })
    }

    fn rectified<T: Real>(&self, x: &Array<T>, alpha: &Array<T>) -> Result<Array<T>> {
        let alpha = map::reshape(alpha, &self.lined_up(x.shape(), &1)?)?;
        let bent = map::zip(
            x,
            &alpha,
            |x, alpha| if x > T::zero() { x } else { alpha * x },
        );
        Ok(bent?.into())
    }
}

impl Function for Prelu {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.shape(self.x);
        let due = self.lined_up(x, &Dim::Known(1))?;
        let count = |dims: &[Dim]| {
            let mut dims = dims.iter();
            dims.try_fold(1_i64, |count, dim| count.checked_mul(dim.known()?))
        };
        if let (Some(due), Some(found)) = (count(&due), count(facts.shape(self.alpha)))
            && due != found
        {
            return Err(Error::malformed(format!(
                "{found} slopes for the shape {}, where {due} are due",
                display_shape(x)
            )));
        }
        Ok(Fact::new(facts.dtype(self.x), x.to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let mut alpha = g.value(self.alpha)?;
        let due = self.lined_up(g.shape(self.x), &Dim::Known(1))?;
        if due != g.shape(self.alpha) {
            alpha = g.reshape(alpha, &due).ok_or_else(|| {
                Error::needs_extents("`mode` element with slopes for extents that are open")
            })?;
        }
        if g.dtype(self.x) == DType::F64 {
            // ONNX Runtime has no PRelu kernel for float64, and decomposes the node at some opsets only.
            let zero = g.scalar(DType::F64, 0.0);
            let is_positive = g.node("Greater", &[x, zero], []);
            let scaled = g.node("Mul", &[x, alpha], []);
            return Ok(g.node("Where", &[is_positive, x, scaled], []));
        }
        Ok(g.node("PRelu", &[x, alpha], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (x, alpha) = (values.get(self.x)?, values.get(self.alpha)?);
        with_reals!(x, alpha, (x, alpha) => self.rectified(x, alpha)?)
    }
}
