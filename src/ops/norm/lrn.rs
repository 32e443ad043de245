//! `lrn`: local response normalisation.

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::{Real, norm, with_real};
use crate::operator::{Accuracy, Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::image::{Layout, non_negative_i32};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, DType, Tensor};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "lrn",
    &[Arg::Tensor("x")],
    &[Form::legacy(&["lrn"], &[Binding::Slot("X")], &["Out"])],
    LocalResponse::parse,
)
.with_dtypes(&[DType::F32])
.with_accuracy(Accuracy::Accumulated)];

/// `x / (k + alpha · Σ x²)^beta`, where the sum for each channel is over `n` channels around it, an odd number. `x` is
/// `[n, c, h, w]` (or `[n, h, w, c]`).
///
/// Paddle: `phi/kernels/impl/lrn_kernel_impl.h`, which `nn.LocalResponseNorm` does not use. ONNX: LRN, which divides
/// `alpha` by the number of channels in a sum.
struct LocalResponse {
    x: ValueId,
    window: norm::Response,
    layout: Layout,
}

/// The number of spatial axes.
const AXES: usize = 2;

impl LocalResponse {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let n: i64 = op.attr_or("n", 5)?;
        let channels = non_negative_i32(n).filter(|channels| channels % 2 == 1);
        let channels = channels.ok_or_else(|| {
            Error::malformed(format!(
                "a sum over {n} channels, which is not an odd number"
            ))
        })?;
        Ok(Box::new(Self {
            x: op.operand("x")?,
            window: norm::Response {
                channels,
                k: op.attr_or("k", 2.0)?,
                alpha: op.attr_or("alpha", 1e-4)?,
                beta: op.attr_or("beta", 0.75)?,
            },
            layout: Layout::parse(op)?,
        }))
    }

    fn normalize<T: Real>(&self, x: &Array<T>) -> Result<Array<T>> {
        self.layout.extents(x.shape(), AXES)?;
        let x = self.layout.view_from(x.clone());
        let y = norm::local_response(&x, &self.window);
        Ok(self.layout.view_to(y.into()))
    }
}

impl Function for LocalResponse {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        self.layout.extents(facts.shape(self.x), AXES)?;
        Ok(Fact::new(facts.dtype(self.x), facts.shape(self.x).to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let norm::Response {
            channels,
            k,
            alpha,
            beta,
        } = self.window;
        let float = |value: f64| NodeAttr::Float(value as f32);
        let x = g.value(self.x)?;
        let x = self.layout.lower_from(g, x, AXES + 2);
        let attrs = [
            ("size", NodeAttr::Int(channels as i64)),
            ("alpha", float(alpha * channels as f64)),
            ("beta", float(beta)),
            ("bias", float(k)),
        ];
        let y = g.node("LRN", &[x], attrs);
        Ok(self.layout.lower_to(g, y, AXES + 2))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        with_real!(values.get(self.x)?, x => self.normalize(x)?)
    }
}
