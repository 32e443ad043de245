//! `abs_max`: the scale by which the largest element becomes the largest level.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::{Real, with_real};
use crate::operator::{Arg, Function, OpDef, OpReader, Parsed, Values};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, Channels, DType, Dim, Tensor};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new("abs_max", &[Arg::Tensor("x")], &[], AbsMax::parse)
        .with_dtypes(&[DType::F32])
        .in_no_file(),
];

/// The largest magnitude of an element of `x`, as a vector of one element; or those for each position along `axis`, if
/// that is not negative.
///
/// Paddle: `FindAbsMaxFunctor` and `FindChannelAbsMaxFunctor` in `phi/kernels/funcs/fake_quantize_functor.cc`. ONNX: a
/// constant for a weight, otherwise Abs, ReduceMax and Reshape.
struct AbsMax {
    x: ValueId,
    axis: Option<usize>,
}

impl AbsMax {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let axis: i64 = op.attr("axis")?;
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis: usize::try_from(axis).ok(),
        }))
    }

    fn largest<T: Real>(&self, x: &Array<T>) -> Result<ndarray::ArrayD<T>> {
        let shape: Vec<Dim> = x.shape().iter().map(|extent| Dim::from(*extent)).collect();
        let channels = Channels::of(&shape, self.axis);
        let count = self.axis.map_or(1, |axis| x.shape()[axis]);
        let mut largest = vec![T::zero(); count];
        for (position, element) in x.iter().enumerate() {
            let largest = &mut largest[channels.at(position)];
            *largest = largest.max(element.abs());
        }
        ndarray::ArrayD::from_shape_vec(vec![count], largest)
            .map_err(|_| Error::internal("as many scales as positions"))
    }
}

impl Function for AbsMax {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let shape = facts.shape(self.x);
        let count = match self.axis {
            None => Dim::Known(1),
            Some(axis) => shape
                .get(axis)
                .cloned()
                .ok_or_else(|| Error::malformed(format!("no axis {axis}")))?,
        };
        Ok(Fact::new(facts.dtype(self.x), vec![count]))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let shape = g.shape(self.x).to_vec();
        let channels = Channels::of(&shape, self.axis);
        let count = self.axis.map_or(Some(1), |axis| shape[axis].extent());
        let mut largest = vec![0.0_f32; count.unwrap_or(0)];
        let is_weight = count.is_some()
            && g.visit_weight(self.x, &mut |position, x| {
                let largest = &mut largest[channels.at(position)];
                *largest = largest.max(x.abs());
            })?;
        if is_weight {
            return Ok(g.constant(Tensor::vector(largest)));
        }
        let x = g.value(self.x)?;
        let abs = g.node("Abs", &[x], []);
        let axes = (0..shape.len()).filter(|axis| Some(*axis) != self.axis);
        let axes: Vec<usize> = axes.collect();
        let largest = g.reduce("ReduceMax", abs, &axes, false);
        let vector = g.vector(&[-1]);
        Ok(g.node("Reshape", &[largest, vector], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        with_real!(values.get(self.x)?, x => self.largest(x)?)
    }
}
