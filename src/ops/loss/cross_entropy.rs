//! Losses of the probabilities that a network gives to classes: `cross_entropy_with_softmax`, `nll_loss`.
//!
//! Paddle: `phi/kernels/{cross_entropy,nll_loss}_kernel.h`. ONNX: Softmax, LogSoftmax, GatherElements, Gather, Where,
//! ReduceSum. ONNX's own SoftmaxCrossEntropyLoss takes no soft labels, and no labels that have the class axis.

use super::loss::Reduction;
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::{Real, index, map, norm, reduce, with_real, with_reals};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Macs, OpDef, OpReader, Operator, Parsed, Values,
};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, DType, Dim, Tensor, normalize_axis};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "cross_entropy_with_softmax",
        &[Arg::Tensor("input"), Arg::Tensor("label")],
        &[Form::legacy(
            &["softmax_with_cross_entropy"],
            &[Binding::Slot("Logits"), Binding::Slot("Label")],
            &["Softmax", "Loss"],
        )],
        CrossEntropy::parse,
    )
    .with_opset(8)
    .with_dtypes(FLOATS)
    .with_accuracy(Accuracy::Accumulated)
    .with_results(&["softmax", "loss"]),
    OpDef::new(
        "nll_loss",
        &[
            Arg::Tensor("input"),
            Arg::Tensor("label"),
            Arg::Optional("weight"),
        ],
        &[Form::legacy(
            &["nll_loss"],
            &[
                Binding::Slot("X"),
                Binding::Slot("Label"),
                Binding::Optional("Weight"),
            ],
            &["Out", "Total_weight"],
        )],
        LogLikelihood::parse,
    )
    .with_opset(11)
    .with_dtypes(FLOATS)
    .with_accuracy(Accuracy::Accumulated)
    .with_results(&["out", "total_weight"]),
];

/// Labels that are indices of classes, with an extent of 1 along the class axis.
struct Labels {
    /// Whether each label is ignored.
    is_ignored: TensorId,
    /// The int64 labels, with 0 in place of ignored ones.
    classes: TensorId,
}

impl Labels {
    /// Emits the parts of int64 `labels`, of which `ignored` is the one to ignore.
    fn lower(g: &mut Lowering<'_>, labels: TensorId, ignored: i64) -> Self {
        let ignored = g.constant(Tensor::scalar(ignored));
        let is_ignored = g.node("Equal", &[labels, ignored], []);
        let zero = g.scalar(DType::I64, 0.0);
        let classes = g.node("Where", &[is_ignored, zero, labels], []);
        Self {
            is_ignored,
            classes,
        }
    }

    /// Emits the negated elements of `x` at the labels along `axis`.
    fn negative(&self, g: &mut Lowering<'_>, x: TensorId, axis: usize) -> TensorId {
        let axis = ("axis", NodeAttr::Int(axis as i64));
        let found = g.node("GatherElements", &[x, self.classes], [axis]);
        g.node("Neg", &[found], [])
    }

    /// Emits `x` with 0 at ignored labels.
    fn kept(&self, g: &mut Lowering<'_>, x: TensorId, dtype: DType) -> TensorId {
        let zero = g.scalar(dtype, 0.0);
        g.node("Where", &[self.is_ignored, zero, x], [])
    }
}

/// The negated logarithms at the labels along `axis`, and 0 at ignored labels. Other negative labels are refused.
fn at_labels<T: Real>(
    logarithms: &Array<T>,
    labels: &Array<i64>,
    axis: usize,
    ignored: i64,
) -> Result<Array<T>> {
    if labels.iter().any(|label| *label < 0 && *label != ignored) {
        return Err(Error::malformed("a label below 0"));
    }
    let classes = map::map(labels, |label| if label == ignored { 0 } else { label })?;
    let mut found = index::take_along(logarithms, &classes.into(), axis)?;
    for (x, label) in found.iter_mut().zip(labels.iter()) {
        *x = if *label == ignored { T::zero() } else { -*x };
    }
    Ok(found.into())
}

/// The least value of a logarithm, which `ln 0` becomes.
const LEAST_LOGARITHM: f64 = -1e20;

/// `softmax(x)` along an axis, and the loss, which has an extent of 1 along it: `-ln softmax(x)[label]`, or for soft
/// labels, which are probabilities, `-Σ label · ln softmax(x)`. Without `use_softmax`, x is itself the softmax.
///
/// Paddle's kernel for CPUs takes the logarithm of the softmax, and so loses those of probabilities that are close to
/// 0. Here, the logarithm of the softmax is computed in one step, as in Paddle's kernel for GPUs.
struct CrossEntropy {
    x: ValueId,
    label: ValueId,
    soft_label: bool,
    use_softmax: bool,
    ignored: i64,
    axis: i64,
}

impl CrossEntropy {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        // It chooses between two ways to compute the same numbers.
        op.ignore("numeric_stable_mode");
        Ok(Box::new(Self {
            x: op.operand("input")?,
            label: op.operand("label")?,
            soft_label: op.attr_or("soft_label", false)?,
            use_softmax: op.attr_or("use_softmax", true)?,
            ignored: op.attr_or("ignore_index", -100)?,
            axis: op.attr_or("axis", -1)?,
        }))
    }

    fn logarithms<T: Real>(&self, x: &Array<T>, axis: usize) -> Result<Array<T>> {
        let logarithms = if self.use_softmax {
            norm::log_softmax(x, axis)?
        } else {
            map::map(x, T::ln)?
        };
        let least = T::from_f64(LEAST_LOGARITHM);
        Ok(map::map(&logarithms.into(), |x| x.max(least))?.into())
    }
}

impl Operator for CrossEntropy {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let fact = facts.get(self.x);
        let axis = normalize_axis(self.axis, fact.shape.len())?;
        if facts.rank(self.label) != fact.shape.len() {
            return Err(Error::unsupported("labels of another rank than the logits"));
        }
        if self.soft_label != facts.dtype(self.label).is_float() {
            return Err(Error::malformed(format!(
                "labels of type {}",
                facts.dtype(self.label)
            )));
        }
        let mut shape = fact.shape.clone();
        shape[axis] = Dim::Known(1);
        let softmax = Fact::new(fact.dtype, fact.shape.clone());
        Ok(vec![softmax, Fact::new(fact.dtype, shape)])
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let (dtype, rank) = (g.dtype(self.x), g.rank(self.x));
        let axis = normalize_axis(self.axis, rank)?;
        let (x, labels) = (g.value(self.x)?, g.value(self.label)?);
        let (softmax, logarithms) = if self.use_softmax {
            let softmax = g.softmax("Softmax", x, axis, rank);
            (softmax, g.softmax("LogSoftmax", x, axis, rank))
        } else {
            (x, g.node("Log", &[x], []))
        };
        let least = g.scalar(dtype, LEAST_LOGARITHM);
        let logarithms = g.extreme("Max", logarithms, least, dtype);
        let loss = if self.soft_label {
            let weighted = g.node("Mul", &[labels, logarithms], []);
            let sum = g.reduce("ReduceSum", weighted, &[axis], true);
            g.node("Neg", &[sum], [])
        } else {
            let labels = g.cast(labels, g.dtype(self.label), DType::I64);
            let labels = Labels::lower(g, labels, self.ignored);
            let loss = labels.negative(g, logarithms, axis);
            labels.kept(g, loss, dtype)
        };
        Ok(vec![softmax, loss])
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        let (x, label) = (values.get(self.x)?, values.get(self.label)?);
        let axis = normalize_axis(self.axis, x.shape().len())?;
        let softmax: Result<Tensor> = if self.use_softmax {
            with_real!(x, x => norm::softmax(x, axis)?)
        } else {
            Ok(x.clone())
        };
        let loss: Result<Tensor> = if self.soft_label {
            with_reals!(x, label, (x, label) => {
                let logarithms = self.logarithms(x, axis)?;
                let weighted = map::zip(&logarithms, label, |x, label| -x * label)?;
                let mut sum = reduce::reduce(&weighted.into(), &[axis], reduce::sum_real)?;
                sum.insert_axis_inplace(ndarray::Axis(axis));
                sum
            })
        } else {
            let labels = Tensor::from_elements(label.shape(), label.to_i64_vec())?;
            let Tensor::I64(labels) = &labels else {
                return Err(Error::internal("labels are no integers"));
            };
            with_real!(x, x => {
                at_labels(&self.logarithms(x, axis)?, labels, axis, self.ignored)?
            })
        };
        Ok(vec![softmax?, loss?])
    }

    fn indexes(&self, facts: &Facts<'_>) -> Vec<(ValueId, Dim)> {
        let axis = normalize_axis(self.axis, facts.rank(self.x)).ok();
        let classes = axis.and_then(|axis| facts.shape(self.x).get(axis));
        let classes = classes.filter(|_| !self.soft_label);
        classes
            .map(|classes| (self.label, classes.clone()))
            .into_iter()
            .collect()
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}

/// The losses `-x[label] · weight[label]` of log-probabilities x of shape `[n, classes, …]` and labels of shape
/// `[n, …]`, their sum, or their mean, which is the sum divided by the sum of `weight[label]`. The second result is
/// that sum of weights, or 0 if the losses are not reduced.
struct LogLikelihood {
    x: ValueId,
    label: ValueId,
    weight: Option<ValueId>,
    ignored: i64,
    reduction: Reduction,
}

/// The class axis.
const CLASSES: usize = 1;

impl LogLikelihood {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let reduction = Reduction::parse(op)?;
        if reduction == Reduction::BatchMean {
            return Err(Error::malformed("the reduction `batchmean`"));
        }
        Ok(Box::new(Self {
            x: op.operand("input")?,
            label: op.operand("label")?,
            weight: op.optional("weight")?,
            ignored: op.attr_or("ignore_index", -100)?,
            reduction,
        }))
    }

    fn computed<T: Real>(
        &self,
        x: &Array<T>,
        labels: &Array<i64>,
        weight: Option<&Array<T>>,
    ) -> Result<[Array<T>; 2]> {
        let shape = labels.shape().to_vec();
        let row = [&shape[..1], &[1], &shape[1..]].concat();
        let labels = map::reshape(labels, &row)?;
        let losses = map::reshape(&at_labels(x, &labels, CLASSES, self.ignored)?, &shape)?;
        let weights = labels.iter().map(|label| {
            let weight = match (weight, usize::try_from(*label)) {
                _ if *label == self.ignored => Some(T::zero()),
                (Some(weight), Ok(label)) => weight.get([label].as_slice()).copied(),
                _ => Some(T::one()),
            };
            weight.ok_or_else(|| Error::malformed("a label without a weight"))
        });
        let weights = ndarray::ArrayD::from_shape_vec(shape, weights.collect::<Result<_>>()?);
        let weights: Array<T> = weights
            .map_err(|_| Error::internal("a weight got lost"))?
            .into();
        let losses: Array<T> = map::zip(&losses, &weights, |loss, weight| loss * weight)?.into();
        let zero = || ndarray::arr0(T::zero()).into_dyn().into();
        if self.reduction == Reduction::None {
            return Ok([losses, zero()]);
        }
        let axes: Vec<usize> = (0..losses.ndim()).collect();
        let sum = |x: &Array<T>| reduce::reduce(x, &axes, reduce::sum_real);
        let (loss, total) = (sum(&losses)?, sum(&weights)?.into());
        let is_mean = self.reduction == Reduction::Mean;
        let mean = |loss: T, total: T| {
            if is_mean && total != T::zero() {
                loss / total
            } else {
                loss
            }
        };
        let loss = map::zip(&loss.into(), &total, mean)?.into();
        Ok([loss, total])
    }
}

impl Operator for LogLikelihood {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let (fact, labels) = (facts.get(self.x), facts.shape(self.label));
        if fact.shape.len() < 2 || labels.len() + 1 != fact.shape.len() {
            return Err(Error::malformed(format!(
                "labels of rank {} for chances of rank {}",
                labels.len(),
                fact.shape.len()
            )));
        }
        if self.weight.is_some_and(|weight| facts.rank(weight) != 1) {
            return Err(Error::malformed("weights of classes that are no vector"));
        }
        let shape = if self.reduction == Reduction::None {
            labels.to_vec()
        } else {
            Vec::new()
        };
        let loss = Fact::new(fact.dtype, shape);
        Ok(vec![loss, Fact::new(fact.dtype, Vec::new())])
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let dtype = g.dtype(self.x);
        let (x, labels) = (g.value(self.x)?, g.value(self.label)?);
        let labels = g.cast(labels, g.dtype(self.label), DType::I64);
        let labels = g.unsqueeze(labels, &[CLASSES as i64]);
        let labels = Labels::lower(g, labels, self.ignored);
        let mut loss = labels.negative(g, x, CLASSES);
        let weights = if let Some(weight) = self.weight {
            let weight = g.value(weight)?;
            let weights = g.node("Gather", &[weight, labels.classes], []);
            loss = g.node("Mul", &[loss, weights], []);
            weights
        } else {
            g.scalar(dtype, 1.0)
        };
        let loss = labels.kept(g, loss, dtype);
        let zero = g.scalar(dtype, 0.0);
        if self.reduction == Reduction::None {
            return Ok(vec![g.squeeze(loss, &[CLASSES as i64]), zero]);
        }
        let weights = labels.kept(g, weights, dtype);
        let total = g.reduce("ReduceSum", weights, &[], false);
        let sum = g.reduce("ReduceSum", loss, &[], false);
        if self.reduction == Reduction::Sum {
            return Ok(vec![sum, total]);
        }
        let is_nothing = g.node("Equal", &[total, zero], []);
        let mean = g.node("Div", &[sum, total], []);
        Ok(vec![g.node("Where", &[is_nothing, sum, mean], []), total])
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        let weight = self.weight.map(|weight| values.get(weight)).transpose()?;
        let label = values.get(self.label)?;
        let labels = Tensor::from_elements(label.shape(), label.to_i64_vec())?;
        let Tensor::I64(labels) = &labels else {
            return Err(Error::internal("labels are no integers"));
        };
        if labels.ndim() == 0 {
            return Err(Error::malformed("labels of rank 0"));
        }
        let results = match (values.get(self.x)?, weight) {
            (Tensor::F32(x), None) => self.computed(x, labels, None)?.map(Tensor::F32).into(),
            (Tensor::F64(x), None) => self.computed(x, labels, None)?.map(Tensor::F64).into(),
            (Tensor::F32(x), Some(Tensor::F32(weight))) => self
                .computed(x, labels, Some(weight))?
                .map(Tensor::F32)
                .into(),
            (Tensor::F64(x), Some(Tensor::F64(weight))) => self
                .computed(x, labels, Some(weight))?
                .map(Tensor::F64)
                .into(),
            _ => {
                return Err(Error::unsupported(
                    "chances of one type and weights of another",
                ));
            }
        };
        Ok(results)
    }

    fn indexes(&self, facts: &Facts<'_>) -> Vec<(ValueId, Dim)> {
        let classes = facts.shape(self.x).get(CLASSES);
        classes
            .map(|classes| (self.label, classes.clone()))
            .into_iter()
            .collect()
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}
