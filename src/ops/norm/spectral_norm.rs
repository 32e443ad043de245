//! `spectral_norm`: a weight divided by its largest singular value, by power iteration.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::matmul::matmul;
use crate::kernels::{Real, map, with_real};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, OpDef, OpReader, Parsed, Values,
};
use crate::ops::shared::values::same_type;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, Dim, Element, Tensor, display_shape, normalize_axis};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "spectral_norm",
    &[Arg::Tensor("weight"), Arg::Tensor("u"), Arg::Tensor("v")],
    &[Form::legacy(
        &["spectral_norm"],
        &[
            Binding::Slot("Weight"),
            Binding::Slot("U"),
            Binding::Slot("V"),
        ],
        &["Out"],
    )],
    SpectralNorm::parse,
)
.with_dtypes(FLOATS)
.with_accuracy(Accuracy::Accumulated)];

/// `weight / (uᵀ W v)`, where `W` is the matrix of `weight` with the axis `dim` as its rows and all others flattened as
/// its columns. Before, `v = Wᵀ u / (|Wᵀ u| + eps)` and `u = W v / (|W v| + eps)` are repeated `power_iters` times.
///
/// Paddle: `phi/kernels/impl/spectral_norm_kernel_impl.h`. ONNX: MatMul, ReduceSumSquare, Sqrt, Add and Div.
struct SpectralNorm {
    weight: ValueId,
    u: ValueId,
    v: ValueId,
    dim: i64,
    power_iters: usize,
    eps: f64,
}

/// The most power iterations, each of which is several nodes of the graph.
const MOST_ITERATIONS: i64 = 1000;

impl SpectralNorm {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let iterations: i64 = op.attr_or("power_iters", 1)?;
        let power_iters = usize::try_from(iterations).ok();
        let power_iters = power_iters.filter(|_| iterations <= MOST_ITERATIONS);
        Ok(Box::new(Self {
            weight: op.operand("weight")?,
            u: op.operand("u")?,
            v: op.operand("v")?,
            dim: op.attr_or("dim", 0)?,
            power_iters: power_iters
                .ok_or_else(|| Error::unsupported(format!("power_iters {iterations}")))?,
            eps: op.attr_or("eps", 1e-12)?,
        }))
    }

    /// The axes of a weight of this rank, with `dim` as the first.
    fn order(&self, rank: usize) -> Result<Vec<usize>> {
        let dim = normalize_axis(self.dim, rank)?;
        let others = (0..rank).filter(|axis| *axis != dim);
        Ok(std::iter::once(dim).chain(others).collect())
    }

    fn normalize<T: Real>(
        &self,
        weight: &Array<T>,
        u: &Array<T>,
        v: &Array<T>,
    ) -> Result<ndarray::ArrayD<T>> {
        let order = self.order(weight.ndim())?;
        let rows = weight.shape()[order[0]];
        let columns = weight.len() / rows.max(1);
        let matrix = weight.clone().permuted_axes(order);
        let matrix = map::reshape(&matrix, &[rows, columns])?;
        let transposed = matrix.clone().permuted_axes(vec![1, 0]);
        let eps = T::from_f64(self.eps);
        let unit = |x: Array<T>| -> Result<Array<T>> {
            let squares: f64 = x.iter().map(|x| Element::to_f64(*x).powi(2)).sum();
            let norm = T::from_f64(squares.sqrt());
            Ok(map::map(&x, |x| x / (norm + eps))?.into())
        };
        let mut u = map::reshape(u, &[rows, 1])?;
        let mut v = map::reshape(v, &[columns, 1])?;
        for _ in 0..self.power_iters {
            v = unit(matmul(&transposed, &u)?.into())?;
            u = unit(matmul(&matrix, &v)?.into())?;
        }
        let product = matmul(&matrix, &v)?;
        let terms = u.iter().zip(&product);
        let sigma: f64 = terms
            .map(|(u, wv)| Element::to_f64(*u) * Element::to_f64(*wv))
            .sum();
        let sigma = T::from_f64(sigma);
        map::map(weight, |x| x / sigma)
    }
}

impl Function for SpectralNorm {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let weight = facts.get(self.weight);
        let dim = normalize_axis(self.dim, weight.shape.len())?;
        let differs = |a: &Dim, b: &Dim| matches!((a, b), (Dim::Known(a), Dim::Known(b)) if a != b);
        match facts.shape(self.u) {
            [rows] if !differs(rows, &weight.shape[dim]) => {}
            other => {
                let (u, shape) = (display_shape(other), display_shape(&weight.shape));
                return Err(Error::malformed(format!(
                    "a vector of shape {u} for a weight of shape {shape}"
                )));
            }
        }
        Ok(Fact::new(weight.dtype, weight.shape.clone()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let dtype = g.dtype(self.weight);
        let order = self.order(g.rank(self.weight))?;
        let weight = g.value(self.weight)?;
        let matrix = g.transpose(weight, &order);
        let flat = g.vector(&[0, -1]);
        let matrix = g.node("Reshape", &[matrix, flat], []);
        let transposed = g.transpose(matrix, &[1, 0]);
        let eps = g.scalar(dtype, self.eps);
        let unit = |g: &mut Lowering<'_>, x| {
            let squares = g.reduce("ReduceSumSquare", x, &[0], true);
            let norm = g.node("Sqrt", &[squares], []);
            let norm = g.node("Add", &[norm, eps], []);
            g.node("Div", &[x, norm], [])
        };
        // As columns: ONNX Runtime's fusions get products with vectors wrong.
        let [u, v] = [g.value(self.u)?, g.value(self.v)?];
        let [mut u, mut v] = [u, v].map(|vector| g.unsqueeze(vector, &[1]));
        for _ in 0..self.power_iters {
            v = g.node("MatMul", &[transposed, u], []);
            v = unit(g, v);
            u = g.node("MatMul", &[matrix, v], []);
            u = unit(g, u);
        }
        let product = g.node("MatMul", &[matrix, v], []);
        let terms = g.node("Mul", &[u, product], []);
        let sigma = g.reduce("ReduceSum", terms, &[], false);
        Ok(g.node("Div", &[weight, sigma], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (u, v) = (values.get(self.u)?, values.get(self.v)?);
        with_real!(values.get(self.weight)?, weight => {
            self.normalize(weight, same_type(u, weight)?, same_type(v, weight)?)?
        })
    }
}
