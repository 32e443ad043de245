//! Losses of predictions against labels, element by element: `log_loss`, `bce_loss`, `kldiv_loss`,
//! `sigmoid_cross_entropy_with_logits`, `huber_loss`.
//!
//! Paddle: `phi/kernels/{huber_loss,log_loss,kldiv_loss,bce_loss,sigmoid_cross_entropy_with_logits}_kernel.h`.
//! ONNX: Add, Sub, Mul, Neg, Log, Exp, Abs, Max, Min and Where; ReduceMean, ReduceSum and Div for reductions.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::{Real, map, reduce, with_real, with_reals};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, Macs, OpDef, OpReader, Operator, Parse, Parsed,
    Values,
};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, DType, Dim, Tensor, broadcast_dims};

pub(super) const OPS: &[OpDef] = &[
    loss(
        "log_loss",
        &[Arg::Tensor("input"), Arg::Tensor("label")],
        &[Form::legacy(
            &["log_loss"],
            &[Binding::Slot("Predicted"), Binding::Slot("Labels")],
            &["Loss"],
        )],
        |op| {
            let epsilon = op.attr("epsilon")?;
            Loss::parse(op, "input", Formula::Log { epsilon })
        },
    ),
    loss(
        "bce_loss",
        &[Arg::Tensor("input"), Arg::Tensor("label")],
        &[Form::legacy(
            &["bce_loss"],
            &[Binding::Slot("X"), Binding::Slot("Label")],
            &["Out"],
        )],
        |op| Loss::parse(op, "input", Formula::Binary),
    )
    .with_opset(8),
    loss(
        "kldiv_loss",
        &[Arg::Tensor("x"), Arg::Tensor("label")],
        &[Form::legacy(
            &["kldiv_loss"],
            &[Binding::Slot("X"), Binding::Slot("Target")],
            &["Loss"],
        )],
        |op| {
            let log_target = op.attr_or("log_target", false)?;
            Loss::parse(op, "x", Formula::Divergence { log_target })
        },
    )
    .with_opset(9),
    loss(
        "sigmoid_cross_entropy_with_logits",
        &[
            Arg::Tensor("x"),
            Arg::Tensor("label"),
            Arg::Optional("pos_weight"),
        ],
        &[Form::legacy(
            &["sigmoid_cross_entropy_with_logits"],
            &[
                Binding::Slot("X"),
                Binding::Slot("Label"),
                Binding::Optional("pos_weight"),
            ],
            &["Out"],
        )],
        Logits::parse,
    )
    .with_opset(9),
    loss(
        "huber_loss",
        &[Arg::Tensor("input"), Arg::Tensor("label")],
        &[Form::legacy(
            &["huber_loss"],
            &[Binding::Slot("X"), Binding::Slot("Y")],
            &["Out", "Residual"],
        )],
        Huber::parse,
    )
    .with_opset(8)
    .with_results(&["out", "residual"]),
];

const fn loss(
    name: &'static str,
    operands: &'static [Arg],
    legacy: &'static [Form],
    parse: Parse,
) -> OpDef {
    OpDef::new(name, operands, legacy, parse)
        .with_dtypes(FLOATS)
        .with_accuracy(Accuracy::Accumulated)
}

/// How the losses of all elements are reduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reduction {
    None,
    Mean,
    Sum,
    /// The sum, divided by the batch size, which is the extent of the first axis.
    BatchMean,
}

impl Reduction {
    pub(super) fn parse(op: &mut OpReader<'_>) -> Result<Self> {
        let name: String = op.attr_or("reduction", "none".to_owned())?;
        match name.as_str() {
            "none" => Ok(Self::None),
            "mean" => Ok(Self::Mean),
            "sum" => Ok(Self::Sum),
            "batchmean" => Ok(Self::BatchMean),
            _ => Err(Error::malformed(format!("the reduction `{name}`"))),
        }
    }
}

/// The loss of one prediction `x` with the label `y`.
#[derive(Debug, Clone, Copy)]
enum Formula {
    /// `-y ln(x + epsilon) - (1 - y) ln(1 - x + epsilon)`
    Log { epsilon: f64 },
    /// `(y - 1) max(ln(1 - x), -100) - y max(ln x, -100)`
    Binary,
    /// `y (ln y - x)`, or 0 if `y` is not above 0; with `log_target`, where `y` is a logarithm, `exp(y) (y - x)`
    Divergence { log_target: bool },
}

/// The least value of the logarithms in `bce_loss`.
const LEAST_LOGARITHM: f64 = -100.0;

impl Formula {
    fn of<T: Real>(self, x: T, y: T) -> T {
        let (zero, one) = (T::zero(), T::one());
        match self {
            Self::Log { epsilon } => {
                let epsilon = T::from_f64(epsilon);
                -y * (x + epsilon).ln() - (one - y) * (one - x + epsilon).ln()
            }
            Self::Binary => {
                let least = T::from_f64(LEAST_LOGARITHM);
                let logarithm = |x: T| x.ln().max(least);
                (y - one) * logarithm(one - x) - y * logarithm(x)
            }
            Self::Divergence { log_target: true } => y.exp() * (y - x),
            Self::Divergence { .. } if y <= zero => zero,
            Self::Divergence { .. } => y * (y.ln() - x),
        }
    }

    fn lower(self, g: &mut Lowering<'_>, x: TensorId, y: TensorId, dtype: DType) -> TensorId {
        let (zero, one) = (g.scalar(dtype, 0.0), g.scalar(dtype, 1.0));
        match self {
            Self::Log { .. } | Self::Binary => {
                let not_x = g.node("Sub", &[one, x], []);
                let not_y = g.node("Sub", &[one, y], []);
                let parts = [(x, y), (not_x, not_y)].map(|(x, y)| {
                    let logarithm = self.lower_logarithm(g, x, dtype);
                    g.node("Mul", &[y, logarithm], [])
                });
                let sum = g.node("Add", &parts, []);
                g.node("Neg", &[sum], [])
            }
            Self::Divergence { log_target: true } => {
                let difference = g.node("Sub", &[y, x], []);
                let chance = g.node("Exp", &[y], []);
                g.node("Mul", &[chance, difference], [])
            }
            Self::Divergence { .. } => {
                let counts = g.node("Greater", &[y, zero], []);
                let logarithm = g.node("Log", &[y], []);
                let difference = g.node("Sub", &[logarithm, x], []);
                let product = g.node("Mul", &[y, difference], []);
                g.node("Where", &[counts, product, zero], [])
            }
        }
    }

    /// Emits `ln(x + epsilon)` for `log_loss`, and `max(ln x, -100)` for `bce_loss`.
    fn lower_logarithm(self, g: &mut Lowering<'_>, x: TensorId, dtype: DType) -> TensorId {
        if let Self::Log { epsilon } = self {
            let epsilon = g.scalar(dtype, epsilon);
            let x = g.node("Add", &[x, epsilon], []);
            return g.node("Log", &[x], []);
        }
        let logarithm = g.node("Log", &[x], []);
        let least = g.scalar(dtype, LEAST_LOGARITHM);
        g.extreme("Max", logarithm, least, dtype)
    }
}

/// The loss of each element, or the reduction of all losses to a scalar.
struct Loss {
    x: ValueId,
    label: ValueId,
    formula: Formula,
    reduction: Reduction,
}

impl Loss {
    fn parse(op: &mut OpReader<'_>, x: &str, formula: Formula) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand(x)?,
            label: op.operand("label")?,
            formula,
            reduction: Reduction::parse(op)?,
        }))
    }

    fn computed<T: Real>(&self, x: &Array<T>, label: &Array<T>) -> Result<Array<T>> {
        let losses: Array<T> = map::zip(x, label, |x, y| self.formula.of(x, y))?.into();
        let axes: Vec<usize> = (0..losses.ndim()).collect();
        let rows = x.shape().first().copied().unwrap_or(1);
        Ok(match self.reduction {
            Reduction::None => losses,
            Reduction::Mean => reduce::reduce(&losses, &axes, reduce::mean)?.into(),
            Reduction::Sum => reduce::reduce(&losses, &axes, reduce::sum_real)?.into(),
            Reduction::BatchMean => {
                let rows = T::from_f64(rows as f64);
                let sum = reduce::reduce(&losses, &axes, reduce::sum_real)?;
                map::map(&sum.into(), |sum| sum / rows)?.into()
            }
        })
    }
}

impl Function for Loss {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let mut shape = broadcast_dims(facts.shape(self.x), facts.shape(self.label))?;
        if self.reduction != Reduction::None {
            shape.clear();
        }
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let dtype = g.dtype(self.x);
        let (x, label) = (g.value(self.x)?, g.value(self.label)?);
        let losses = self.formula.lower(g, x, label, dtype);
        Ok(match self.reduction {
            Reduction::None => losses,
            Reduction::Mean => {
                let shape = broadcast_dims(g.shape(self.x), g.shape(self.label))?;
                let mean = g.reduce("ReduceMean", losses, &[], false);
                let nan = Tensor::scalar_of(dtype, f64::NAN);
                g.unless_empty(mean, (losses, &shape), &[], nan)
            }
            Reduction::Sum => g.reduce("ReduceSum", losses, &[], false),
            Reduction::BatchMean => {
                let sum = g.reduce("ReduceSum", losses, &[], false);
                let rows = if let Some(rows) = g.shape(self.x).first().and_then(Dim::known) {
                    g.scalar(dtype, rows as f64)
                } else {
                    let rows = g.shape_slice(x, 0, 1);
                    let rows = g.squeeze(rows, &[0]);
                    g.cast(rows, DType::I64, dtype)
                };
                g.node("Div", &[sum, rows], [])
            }
        })
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        with_reals!(values.get(self.x)?, values.get(self.label)?, (x, label) => {
            self.computed(x, label)?
        })
    }
}

/// `(1 - y) x + w (max(-x, 0) + ln(1 + exp(-|x|)))` of logits x and labels y, or 0 where the label is the ignored one;
/// the weight w is 1 unless it is given. With `normalize`, each loss is divided by the number of labels that are not
/// ignored. Paddle 2 computes `max(x, 0) - x y + w ln(1 + exp(-|x|))`, which is another loss unless the weight is 1.
struct Logits {
    x: ValueId,
    label: ValueId,
    weight: Option<ValueId>,
    normalize: bool,
    ignored: i64,
    /// Whether the weight is that of the logarithm alone.
    is_former: bool,
}

impl Logits {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            label: op.operand("label")?,
            weight: op.optional("pos_weight")?,
            normalize: op.attr_or("normalize", false)?,
            ignored: op.attr_or("ignore_index", -100)?,
            is_former: op.is_former(),
        }))
    }

    fn computed<T: Real>(
        &self,
        x: &Array<T>,
        y: &Array<T>,
        weight: Option<&Array<T>>,
    ) -> Result<Array<T>> {
        let (zero, one) = (T::zero(), T::one());
        let is_former = self.is_former;
        let tail = |x: T| {
            let logarithm = (-x.abs()).exp().ln_1p();
            match is_former {
                true => logarithm,
                false => (-x).max(zero) + logarithm,
            }
        };
        let tails: Array<T> = map::map(x, tail)?.into();
        let tails = match weight {
            Some(weight) => map::zip(&tails, weight, |tail, weight| tail * weight)?.into(),
            None => tails,
        };
        let head = |x: T, y: T| match is_former {
            true => x.max(zero) - x * y,
            false => (one - y) * x,
        };
        let heads: Array<T> = map::zip(x, y, head)?.into();
        let losses: Array<T> = map::zip(&heads, &tails, |head, tail| head + tail)?.into();
        let ignored = T::from_f64(self.ignored as f64);
        let kept = |loss: T, y: T| if y.trunc() == ignored { zero } else { loss };
        let losses: Array<T> = map::zip(&losses, y, kept)?.into();
        if !self.normalize {
            return Ok(losses);
        }
        let near = T::from_f64(1e-6);
        let is_far = |y: &&T| (**y - ignored).abs() > near;
        let count = T::from_f64(y.iter().filter(is_far).count() as f64);
        Ok(map::map(&losses, |loss| loss / count)?.into())
    }
}

impl Function for Logits {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let mut shape = broadcast_dims(facts.shape(self.x), facts.shape(self.label))?;
        if let Some(weight) = self.weight {
            shape = broadcast_dims(&shape, facts.shape(weight))?;
        }
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let dtype = g.dtype(self.x);
        let (x, y) = (g.value(self.x)?, g.value(self.label)?);
        let (zero, one) = (g.scalar(dtype, 0.0), g.scalar(dtype, 1.0));
        let size = g.node("Abs", &[x], []);
        let size = g.node("Neg", &[size], []);
        let power = g.node("Exp", &[size], []);
        let sum = g.node("Add", &[one, power], []);
        let mut tail = g.node("Log", &[sum], []);
        let head = if self.is_former {
            let positive = g.extreme("Max", x, zero, dtype);
            let product = g.node("Mul", &[x, y], []);
            g.node("Sub", &[positive, product], [])
        } else {
            let opposite = g.node("Neg", &[x], []);
            let least = g.extreme("Max", opposite, zero, dtype);
            tail = g.node("Add", &[least, tail], []);
            let not_y = g.node("Sub", &[one, y], []);
            g.node("Mul", &[not_y, x], [])
        };
        if let Some(weight) = self.weight {
            let weight = g.value(weight)?;
            tail = g.node("Mul", &[tail, weight], []);
        }
        let loss = g.node("Add", &[head, tail], []);
        let whole = g.cast(y, dtype, DType::I64);
        let ignored = g.constant(Tensor::scalar(self.ignored));
        let is_ignored = g.node("Equal", &[whole, ignored], []);
        let loss = g.node("Where", &[is_ignored, zero, loss], []);
        if !self.normalize {
            return Ok(loss);
        }
        let ignored = g.scalar(dtype, self.ignored as f64);
        let difference = g.node("Sub", &[y, ignored], []);
        let distance = g.node("Abs", &[difference], []);
        let near = g.scalar(dtype, 1e-6);
        let is_far = g.node("Greater", &[distance, near], []);
        let far = g.cast(is_far, DType::Bool, dtype);
        let count = g.reduce("ReduceSum", far, &[], false);
        Ok(g.node("Div", &[loss, count], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let weight = self.weight.map(|weight| values.get(weight)).transpose()?;
        match (values.get(self.x)?, values.get(self.label)?, weight) {
            (x, y, None) => with_reals!(x, y, (x, y) => self.computed(x, y, None)?),
            (Tensor::F32(x), Tensor::F32(y), Some(Tensor::F32(weight))) => {
                Ok(Tensor::F32(self.computed(x, y, Some(weight))?))
            }
            (Tensor::F64(x), Tensor::F64(y), Some(Tensor::F64(weight))) => {
                Ok(Tensor::F64(self.computed(x, y, Some(weight))?))
            }
            _ => Err(Error::unsupported(
                "logits of one type and weights of another",
            )),
        }
    }
}

/// For the residual `r = label - input`, `r²/2` where `|r| ≤ delta`, and `delta (|r| - delta/2)` elsewhere. The second
/// result is r.
struct Huber {
    x: ValueId,
    label: ValueId,
    delta: f64,
}

impl Huber {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("input")?,
            label: op.operand("label")?,
            delta: op.attr_or("delta", 1.0)?,
        }))
    }
}

impl Operator for Huber {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let shape = broadcast_dims(facts.shape(self.x), facts.shape(self.label))?;
        let fact = Fact::new(facts.dtype(self.x), shape);
        Ok(vec![fact.clone(), fact])
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let dtype = g.dtype(self.x);
        let (x, label) = (g.value(self.x)?, g.value(self.label)?);
        let residual = g.node("Sub", &[label, x], []);
        let size = g.node("Abs", &[residual], []);
        // With c = min(|r|, delta), both cases are c (|r| - c/2).
        let delta = g.scalar(dtype, self.delta);
        let cut = g.extreme("Min", size, delta, dtype);
        let half = g.scalar(dtype, 0.5);
        let less = g.node("Mul", &[cut, half], []);
        let rest = g.node("Sub", &[size, less], []);
        Ok(vec![g.node("Mul", &[cut, rest], []), residual])
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        let (x, label) = (values.get(self.x)?, values.get(self.label)?);
        let residual: Result<Tensor> = with_reals!(x, label, (x, y) => {
            map::zip(x, y, |x, y| y - x)?
        });
        let residual = residual?;
        let loss: Result<Tensor> =
            with_real!(&residual, residual => map::map(residual, |r| huber(r, self.delta))?);
        Ok(vec![loss?, residual])
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}

fn huber<T: Real>(residual: T, delta: f64) -> T {
    let (size, delta, half) = (residual.abs(), T::from_f64(delta), T::from_f64(0.5));
    if size <= delta {
        half * size * size
    } else {
        delta * (size - half * delta)
    }
}
