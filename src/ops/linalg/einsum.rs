//! Einstein summation: `einsum`.
//!
//! Paddle: `phi/kernels/einsum_kernel.h`; its Python interface writes one op per pair of operands. Paddle 2 leaves an
//! ellipsis in the equation. ONNX: Einsum.

use std::collections::BTreeMap;

use ndarray::{ArrayD, ArrayViewD, Axis, Dimension, IxDyn};

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::{Real, map, matmul, reduce, with_real, with_reals};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, Macs, OpDef, OpReader, Parsed, Values,
};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, Dim, Tensor};

/// Names an axis in an equation.
type Label = char;

/// Stands for an ellipsis among labels: the axes of an operand that have no label of their own.
const ELLIPSIS: Label = '.';

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "einsum",
    &[Arg::List("x")],
    &[Form::legacy(
        &["einsum"],
        &[Binding::List("Operands")],
        &["Out"],
    )],
    Einsum::parse,
)
.with_limits(&["more than two operands", "a sum over an ellipsis"])
.with_dtypes(FLOATS)
.with_opset(12)
.with_accuracy(Accuracy::Accumulated)];

/// Products of the elements of one or two operands whose positions along axes of the same label agree, summed over the
/// labels that the output does not have.
struct Einsum {
    x: Vec<ValueId>,
    /// The labels of each operand.
    inputs: Vec<Vec<Label>>,
    output: Vec<Label>,
}

impl Einsum {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let equation: String = op.attr("equation")?;
        let x = op.list("x")?;
        let malformed = || Error::malformed(format!("`{equation}` is no equation of an einsum"));
        let equation = equation.replace("...", "…");
        let (inputs, output) = equation.split_once("->").ok_or_else(malformed)?;
        let labels = |text: &str| -> Result<Vec<Label>> {
            let labels = text.chars().filter(|label| *label != ' ');
            let checked = labels.map(|label| match label {
                '…' => Ok(ELLIPSIS),
                label if label.is_ascii_alphabetic() => Ok(label),
                _ => Err(malformed()),
            });
            checked.collect()
        };
        let inputs = inputs.split(',').map(labels).collect::<Result<Vec<_>>>()?;
        let output = labels(output)?;
        let is_given = |label: &Label| inputs.iter().any(|labels| labels.contains(label));
        let count =
            |labels: &[Label], label| labels.iter().filter(|other| **other == label).count();
        let has_one = inputs.iter().all(|labels| count(labels, ELLIPSIS) <= 1);
        let is_once = |label: &Label| count(&output, *label) == 1;
        if inputs.len() != x.len()
            || !has_one
            || !output.iter().all(|label| is_given(label) && is_once(label))
        {
            return Err(malformed());
        }
        if is_given(&ELLIPSIS) && !output.contains(&ELLIPSIS) {
            return Err(Error::unsupported("an einsum that sums an ellipsis"));
        }
        if x.len() > 2 {
            return Err(Error::unsupported("an einsum of more than two operands"));
        }
        Ok(Box::new(Self { x, inputs, output }))
    }

    /// The equation with labels in the place of ellipses, for operands of these ranks. Axes without labels are aligned
    /// from the last, as for broadcasting.
    fn labelled(&self, ranks: &[usize]) -> Result<Self> {
        let rests = self.inputs.iter().zip(ranks).filter_map(|(labels, rank)| {
            let has_rest = labels.contains(&ELLIPSIS);
            has_rest.then(|| (rank + 1).checked_sub(labels.len()))
        });
        let rests: Option<Vec<usize>> = rests.collect();
        let rests =
            rests.ok_or_else(|| Error::malformed("an operand with fewer axes than labels"))?;
        let is_free = |label: &Label| !self.inputs.iter().flatten().any(|other| other == label);
        let free: Vec<Label> = ('A'..='Z').chain('a'..='z').filter(is_free).collect();
        let longest = rests.iter().max().copied().unwrap_or(0);
        let rest = free.get(..longest);
        let rest = rest.ok_or_else(|| Error::unsupported("an einsum of more than 52 axes"))?;
        let fill = |labels: &[Label], count: usize| -> Vec<Label> {
            let of_label = |label: &Label| match *label {
                ELLIPSIS => rest[rest.len() - count..].to_vec(),
                label => vec![label],
            };
            labels.iter().flat_map(of_label).collect()
        };
        let inputs = self.inputs.iter().zip(ranks).map(|(labels, rank)| {
            let count = (rank + 1).saturating_sub(labels.len()).min(rest.len());
            fill(labels, count)
        });
        Ok(Self {
            x: self.x.clone(),
            inputs: inputs.collect(),
            output: fill(&self.output, longest),
        })
    }

    /// As [`Einsum::labelled`], by the ranks that the operands are known to have before a run.
    fn labelled_by(&self, facts: &Facts<'_>) -> Result<Self> {
        let ranks = self.x.iter().map(|x| facts.shape(*x).len());
        self.labelled(&ranks.collect::<Vec<_>>())
    }

    /// The extent of each label. An extent of 1 is broadcast.
    fn extents(&self, facts: &Facts<'_>) -> Result<BTreeMap<Label, Dim>> {
        let mut extents: BTreeMap<Label, Dim> = BTreeMap::new();
        for (x, labels) in self.x.iter().zip(&self.inputs) {
            let shape = facts.shape(*x);
            if shape.len() != labels.len() {
                return Err(Error::malformed(format!(
                    "an operand of rank {} has {} labels",
                    shape.len(),
                    labels.len()
                )));
            }
            for (label, dim) in labels.iter().zip(shape) {
                let known = extents.entry(*label).or_insert_with(|| dim.clone());
                if let (Dim::Known(a), Dim::Known(b)) = (&*known, dim)
                    && a != b
                    && *a != 1
                    && *b != 1
                {
                    return Err(Error::malformed(format!("`{label}` is {a} and {b} long")));
                }
                *known = match (&*known, dim) {
                    (Dim::Known(1), other) => other.clone(),
                    (known, Dim::Known(1)) => known.clone(),
                    (known, other) => known.or(other),
                };
            }
        }
        Ok(extents)
    }

    /// The equation as ONNX's Einsum takes it.
    fn equation(&self) -> String {
        let inputs: Vec<String> = self
            .inputs
            .iter()
            .map(|labels| labels.iter().collect())
            .collect();
        let output: String = self.output.iter().collect();
        format!("{}->{output}", inputs.join(","))
    }
}

impl Function for Einsum {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let labelled = self.labelled_by(facts)?;
        let extents = labelled.extents(facts)?;
        let dims = labelled
            .output
            .iter()
            .filter_map(|label| extents.get(label));
        let dtype = self.x.first().map(|x| facts.dtype(*x));
        let dtype = dtype.ok_or_else(|| Error::malformed("an einsum of nothing"))?;
        Ok(Fact::new(dtype, dims.cloned().collect()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let inputs = self
            .x
            .iter()
            .map(|x| g.value(*x))
            .collect::<Result<Vec<_>>>()?;
        let equation = ("equation", NodeAttr::Text(self.labelled_by(g)?.equation()));
        Ok(g.node("Einsum", &inputs, [equation]))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let ranks = self.x.iter().map(|x| Ok(values.get(*x)?.shape().len()));
        let labelled = self.labelled(&ranks.collect::<Result<Vec<_>>>()?)?;
        match (self.x.as_slice(), labelled.inputs.as_slice()) {
            ([x], [labels]) => {
                with_real!(values.get(*x)?, x => {
                    Term::of(x, labels)?.keeping(&labelled.output)?.array
                })
            }
            ([x, y], [x_labels, y_labels]) => {
                with_reals!(values.get(*x)?, values.get(*y)?, (x, y) => {
                    labelled.product(&Term::of(x, x_labels)?, &Term::of(y, y_labels)?)?
                })
            }
            _ => Err(Error::internal("an einsum of more than two operands")),
        }
    }

    fn macs(&self, facts: &Facts<'_>) -> Macs {
        let labelled = self.labelled_by(facts).ok();
        let count = labelled.and_then(|labelled| labelled.extents(facts).ok());
        match count.and_then(|extents| Macs::product(extents.values())) {
            None => Macs::Unknown,
            Some(_) if self.x.len() < 2 => Macs::None,
            Some(count) if self.x.iter().any(|x| facts.is_parameter(*x)) => Macs::Weighted(count),
            Some(count) => Macs::Activations(count),
        }
    }
}

impl Einsum {
    /// The einsum of two operands as one batched matrix product: the labels that both operands and the output have are
    /// the batch, and those that both operands, but not the output, have are summed by the product.
    fn product<T: Real>(&self, x: &Term<T>, y: &Term<T>) -> Result<Array<T>> {
        let wanted = |other: &Term<T>, label: &Label| {
            self.output.contains(label) || other.labels.contains(label)
        };
        let labels = |term: &Term<T>, other: &Term<T>| -> Vec<Label> {
            let labels = term.labels.iter();
            labels
                .filter(|label| wanted(other, label))
                .copied()
                .collect()
        };
        let (x, y) = (x.keeping(&labels(x, y))?, y.keeping(&labels(y, x))?);
        let shared = |label: &&Label| y.labels.contains(label);
        let is_kept = |label: &&Label| self.output.contains(label);
        let common: Vec<Label> = x.labels.iter().filter(shared).copied().collect();
        let batch: Vec<Label> = common.iter().filter(is_kept).copied().collect();
        let summed: Vec<Label> = common.iter().filter(|l| !is_kept(l)).copied().collect();
        let own = |term: &Term<T>| -> Vec<Label> {
            let labels = term.labels.iter();
            labels
                .filter(|label| !common.contains(label))
                .copied()
                .collect()
        };
        let (rows, columns) = (own(&x), own(&y));
        let extent = |label: &Label| x.extent(*label).max(y.extent(*label));
        let extents = |labels: &[Label]| labels.iter().map(extent).collect::<Vec<usize>>();
        let size = |labels: &[Label]| extents(labels).iter().product::<usize>();
        let left = x.arranged(&[batch.as_slice(), &rows, &summed].concat(), extent)?;
        let right = y.arranged(&[batch.as_slice(), &summed, &columns].concat(), extent)?;
        let left = map::reshape(&left, &[size(&batch), size(&rows), size(&summed)])?;
        let right = map::reshape(&right, &[size(&batch), size(&summed), size(&columns)])?;
        let product = matmul::matmul(&left, &right)?.into();
        let labels = [batch, rows, columns].concat();
        let array = map::reshape(&product, &extents(&labels))?;
        Ok(Term { array, labels }.keeping(&self.output)?.array)
    }
}

/// An array with a label for each of its axes, no two of them the same.
struct Term<T> {
    array: Array<T>,
    labels: Vec<Label>,
}

impl<T: Real> Term<T> {
    /// An operand. Of axes with the same label, only the diagonal is kept.
    fn of(x: &Array<T>, labels: &[Label]) -> Result<Self> {
        if x.ndim() != labels.len() {
            return Err(Error::malformed(
                "an operand with more or fewer axes than labels",
            ));
        }
        let mut array = x.clone();
        let mut labels = labels.to_vec();
        let twice = |labels: &[Label]| {
            let pairs = (0..labels.len()).flat_map(|a| (a + 1..labels.len()).map(move |b| (a, b)));
            pairs.into_iter().find(|(a, b)| labels[*a] == labels[*b])
        };
        while let Some((a, b)) = twice(&labels) {
            array = diagonal(&array.view(), a, b)?.into();
            labels.remove(b);
        }
        Ok(Self { array, labels })
    }

    /// The extent of a label, or 1 if no axis has it.
    fn extent(&self, label: Label) -> usize {
        let axis = self.labels.iter().position(|other| *other == label);
        axis.map_or(1, |axis| self.array.shape()[axis])
    }

    /// The term with its axes in the order of `labels`, summed over all others.
    fn keeping(&self, labels: &[Label]) -> Result<Self> {
        let axes = 0..self.labels.len();
        let summed: Vec<usize> = axes
            .filter(|axis| !labels.contains(&self.labels[*axis]))
            .collect();
        let array = if summed.is_empty() {
            self.array.clone()
        } else {
            reduce::reduce(&self.array, &summed, reduce::sum_real)?.into()
        };
        let left = self.labels.iter().filter(|label| labels.contains(label));
        let left: Vec<Label> = left.copied().collect();
        let term = Self {
            array,
            labels: left,
        };
        Ok(Self {
            array: term.arranged(labels, |label| term.extent(*label))?,
            labels: labels.to_vec(),
        })
    }

    /// The array with its axes in the order of `labels`, and extents of 1 broadcast to those that `extent` gives.
    fn arranged(&self, labels: &[Label], extent: impl Fn(&Label) -> usize) -> Result<Array<T>> {
        let position = |label: &Label| self.labels.iter().position(|other| other == label);
        let order: Option<Vec<usize>> = labels.iter().map(position).collect();
        let order = order.filter(|order| order.len() == self.array.ndim());
        let order = order.ok_or_else(|| Error::internal("an axis got lost"))?;
        let shape: Vec<usize> = labels.iter().map(extent).collect();
        let array = self.array.clone().permuted_axes(order);
        let array = array.broadcast(IxDyn(&shape));
        let array = array.ok_or_else(|| Error::malformed("labels with two extents"))?;
        Ok(array.to_shared())
    }
}

/// The elements whose positions on axes `a` and `b` are the same, without axis `b`.
fn diagonal<T: Real>(x: &ArrayViewD<'_, T>, a: usize, b: usize) -> Result<ArrayD<T>> {
    if x.shape()[a] != x.shape()[b] {
        return Err(Error::malformed(
            "a diagonal of axes that are not equally long",
        ));
    }
    let mut shape = x.raw_dim().slice().to_vec();
    shape.remove(b);
    let mut result = ArrayD::zeros(IxDyn(&shape));
    for (position, mut lane) in result.axis_iter_mut(Axis(a)).enumerate() {
        let x = x.index_axis(Axis(b), position);
        lane.assign(&x.index_axis(Axis(a), position));
    }
    Ok(result)
}
