//! Random numbers, drawn anew in each run: `uniform`, `gaussian`, `randint`, `bernoulli`, `multinomial`.
//!
//! Paddle: `phi/kernels/{uniform,gaussian,randint,bernoulli,multinomial}_kernel.h`. ONNX: RandomUniform, RandomNormal,
//! their variants that take the shape of a tensor (RandomUniformLike, RandomNormalLike), and Multinomial. Paddle's
//! generator has no counterpart in ONNX, so seeds are not passed on: the distribution of the values is the same, but
//! the values are not.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, OpDef, OpReader, Parse, Parsed, Values,
};
use crate::ops::shared::axes::length;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{BF16, F16, F32, F64, I32, I64};
use crate::tensor::{DType, Dim, Tensor, refuse_too_large};

const SHAPE: Binding = Binding::IntArray {
    attr: "shape",
    slots: &["ShapeTensor", "ShapeTensorList"],
};

const X: &[Binding] = &[Binding::Slot("X")];

/// The attribute that seeds Paddle's generator, which has no counterpart in ONNX.
const SEED: &[&str] = &["seed"];

pub(super) const OPS: &[OpDef] = &[
    random(
        "uniform",
        &[
            Arg::IntArray("shape"),
            Arg::Scalar("min"),
            Arg::Scalar("max"),
        ],
        &[Form::legacy(
            &["uniform_random"],
            &[
                SHAPE,
                Binding::Scalar {
                    attr: "min",
                    slots: &[],
                },
                Binding::Scalar {
                    attr: "max",
                    slots: &[],
                },
            ],
            &["Out"],
        )
        .ignoring(SEED)],
        &[I32, I64],
        |op| {
            // `diag_num` elements are set to `diag_val`, each `diag_step + 1` positions behind the one before.
            let diagonal: i64 = op.attr_or("diag_num", 0)?;
            if diagonal != 0 {
                return Err(Error::unsupported(
                    "`diag_num`: random numbers with a diagonal",
                ));
            }
            op.ignore("diag_step");
            op.ignore("diag_val");
            let (min, max) = (op.operand("min")?, op.operand("max")?);
            Samples::parse(op, F32, Distribution::Uniform { min, max })
        },
    )
    .with_limits(&["computed bounds"]),
    random(
        "gaussian",
        &[Arg::IntArray("shape")],
        &[Form::legacy(&["gaussian_random"], &[SHAPE], &["Out"]).ignoring(SEED)],
        &[I32, I64],
        |op| {
            let (mean, std) = (op.attr_or("mean", 0.0)?, op.attr_or("std", 1.0)?);
            Samples::parse(op, F32, Distribution::Normal { mean, std })
        },
    ),
    random(
        "randint",
        &[Arg::IntArray("shape")],
        &[Form::legacy(&["randint"], &[SHAPE], &["Out"]).ignoring(SEED)],
        &[I32, I64],
        |op| {
            let (low, high) = (op.attr("low")?, op.attr("high")?);
            if low >= high {
                return Err(Error::malformed(format!("no integer from {low} to {high}")));
            }
            Samples::parse(op, I64, Distribution::Integers { low, high })
        },
    )
    .with_opset(8),
    random(
        "bernoulli",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["bernoulli"], X, &["Out"])],
        FLOATS,
        |op| {
            Ok(Box::new(Bernoulli {
                x: op.operand("x")?,
            }))
        },
    ),
    random(
        "multinomial",
        &[Arg::Tensor("x"), Arg::Scalar("num_samples")],
        &[Form::legacy(
            &["multinomial"],
            &[
                Binding::Slot("X"),
                Binding::Scalar {
                    attr: "num_samples",
                    slots: &[],
                },
            ],
            &["Out"],
        )],
        &[F32, F64],
        Multinomial::parse,
    )
    .with_limits(&["several samples without replacement"]),
];

/// The definition of an op that draws random numbers. `dtypes` are the element types of its first operand, which is as
/// a rule the shape.
const fn random(
    name: &'static str,
    operands: &'static [Arg],
    legacy: &'static [Form],
    dtypes: &'static [DType],
    parse: Parse,
) -> OpDef {
    OpDef::new(name, operands, legacy, parse)
        .with_dtypes(dtypes)
        .with_accuracy(Accuracy::Random)
}

/// What numbers are drawn from.
enum Distribution {
    /// Uniform from `min` to `max`.
    Uniform { min: ValueId, max: ValueId },
    /// Normal around `mean`, with a standard deviation of `std`.
    Normal { mean: f64, std: f64 },
    /// Uniform over the integers from `low` up to, but without, `high`.
    Integers { low: i64, high: i64 },
}

/// Samples of a distribution in a tensor of a given shape: `uniform`, `gaussian`, `randint`.
struct Samples {
    shape: ValueId,
    dtype: DType,
    distribution: Distribution,
}

/// A bound of the distribution as a number, since ONNX takes it as an attribute.
fn bound(facts: &Facts<'_>, id: ValueId) -> Result<f64> {
    let numbers = facts.constant_value(id).map(Tensor::to_f64_vec);
    match numbers.as_deref() {
        Some([number]) => Ok(*number),
        _ => Err(Error::unsupported(
            "random numbers between bounds that are computed from the inputs",
        )),
    }
}

impl Samples {
    /// Reads an op that draws from `distribution`, with `default` as the element type if none is stated.
    fn parse(op: &mut OpReader<'_>, default: DType, distribution: Distribution) -> Parsed {
        op.ignore("seed");
        Ok(Box::new(Self {
            shape: op.operand("shape")?,
            dtype: op.attr_or("dtype", default)?,
            distribution,
        }))
    }

    /// The element type in which ONNX's nodes draw. For integers it is float64, which represents every int32 exactly.
    fn node_dtype(&self) -> DType {
        match self.dtype {
            F64 | I32 | I64 => F64,
            _ => F32,
        }
    }

    /// Emits a tensor of random numbers: by the operator `fixed` if the shape is known and not that of a scalar, else
    /// by `like`, which takes the shape from a tensor. `first` and `second` are the attributes of the distribution.
    fn lower_samples(
        &self,
        g: &mut Lowering<'_>,
        [fixed, like]: [&'static str; 2],
        [first, second]: [(&'static str, f64); 2],
    ) -> Result<TensorId> {
        let code = NodeAttr::Int(self.node_dtype().onnx_code().into());
        let mut attrs = vec![("dtype", code)];
        let numbers = [first, second].into_iter();
        attrs.extend(numbers.map(|(name, number)| (name, NodeAttr::Float(number as f32))));
        let shape = Function::infer(self, g)?.shape;
        let extents: Option<Vec<i64>> = shape.iter().map(Dim::known).collect();
        if let Some(extents) = extents.filter(|extents| !extents.is_empty()) {
            attrs.push(("shape", NodeAttr::Ints(extents)));
            return Ok(g.node_with_outputs(fixed, Vec::new(), attrs, 1)[0]);
        }
        let zero = g.scalar(F32, 0.0);
        let shape = g.int_array(self.shape)?;
        let zeros = g.node("Expand", &[zero, shape], []);
        Ok(g.node(like, &[zeros], attrs))
    }
}

const UNIFORM: [&str; 2] = ["RandomUniform", "RandomUniformLike"];

const NORMAL: [&str; 2] = ["RandomNormal", "RandomNormalLike"];

impl Function for Samples {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let has_numbers = match self.distribution {
            Distribution::Integers { .. } => matches!(self.dtype, I32 | I64),
            _ => matches!(self.dtype, F16 | BF16 | F32 | F64),
        };
        if !has_numbers {
            return Err(Error::unsupported(format!(
                "random numbers of {}",
                self.dtype
            )));
        }
        let shape = match facts.content(self.shape) {
            Some(shape) => shape.to_vec(),
            None => vec![Dim::Unknown; length(facts, self.shape)?],
        };
        Ok(Fact::new(self.dtype, shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let dtype = self.node_dtype();
        let samples = match self.distribution {
            Distribution::Uniform { min, max } => {
                let (low, high) = (bound(g, min)?, bound(g, max)?);
                self.lower_samples(g, UNIFORM, [("low", low), ("high", high)])?
            }
            Distribution::Normal { mean, std } => {
                self.lower_samples(g, NORMAL, [("mean", mean), ("scale", std)])?
            }
            Distribution::Integers { low, high } => {
                let unit = self.lower_samples(g, UNIFORM, [("low", 0.0), ("high", 1.0)])?;
                let count = g.scalar(dtype, high.saturating_sub(low) as f64);
                let low = g.scalar(dtype, low as f64);
                let last = g.scalar(dtype, high.saturating_sub(1) as f64);
                let scaled = g.node("Mul", &[unit, count], []);
                let moved = g.node("Add", &[scaled, low], []);
                let whole = g.node("Floor", &[moved], []);
                // Rounding may reach `high`, which is excluded.
                g.node("Min", &[whole, last], [])
            }
        };
        Ok(g.cast(samples, dtype, self.dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let shape = extents(&values.integers(self.shape)?)?;
        let mut generator = generator();
        let mut draw: Box<dyn FnMut() -> f64> = match self.distribution {
            Distribution::Uniform { min, max } => {
                let number = |id| -> Result<f64> {
                    let numbers = values.get(id)?.to_f64_vec();
                    let number = numbers.first().copied();
                    number.ok_or_else(|| Error::malformed("a bound without a number"))
                };
                let (min, max) = (number(min)?, number(max)?);
                Box::new(move || min + (max - min) * unit(&mut generator))
            }
            Distribution::Normal { mean, std } => Box::new(move || {
                let number: f64 = StandardNormal.sample(&mut generator);
                mean + std * number
            }),
            Distribution::Integers { low, high } => {
                let count = high.saturating_sub(low) as f64;
                Box::new(move || low as f64 + (count * unit(&mut generator)).floor())
            }
        };
        filled(&shape, &mut draw, values.dtype(self.dtype))
    }
}

/// The shape that a list of integers gives.
fn extents(shape: &[i64]) -> Result<Vec<usize>> {
    let extents = shape.iter().map(|extent| usize::try_from(*extent).ok());
    let extents: Option<Vec<usize>> = extents.collect();
    let extents = extents.ok_or_else(|| Error::malformed("a negative extent"))?;
    refuse_too_large(&extents)?;
    Ok(extents)
}

/// The generator of the reference, which draws the same numbers in each run.
fn generator() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(0)
}

/// Draws a number from 0 up to, but without, 1.
fn unit(generator: &mut ChaCha8Rng) -> f64 {
    f64::from(generator.next_u32()) / (f64::from(u32::MAX) + 1.0)
}

/// A tensor of this shape, with one call of `draw` for each element.
fn filled(shape: &[usize], draw: &mut dyn FnMut() -> f64, dtype: DType) -> Result<Tensor> {
    let numbers: Vec<f64> = (0..shape.iter().product()).map(|_| draw()).collect();
    Ok(Tensor::from_elements(shape, numbers)?.cast(dtype))
}

/// For each element of `x`, which is a probability: 1 with this probability, else 0.
///
/// ONNX: RandomUniformLike and Less.
struct Bernoulli {
    x: ValueId,
}

impl Function for Bernoulli {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        Ok(Fact::new(facts.dtype(self.x), facts.shape(self.x).to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let dtype = g.dtype(self.x);
        let x = g.value(self.x)?;
        let node_dtype = if dtype == F64 { F64 } else { F32 };
        let x = g.cast(x, dtype, node_dtype);
        let code = NodeAttr::Int(node_dtype.onnx_code().into());
        let unit = g.node("RandomUniformLike", &[x], [("dtype", code)]);
        let hit = g.node("Less", &[unit, x], []);
        Ok(g.cast(hit, DType::Bool, dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let mut probabilities = x.to_f64_vec().into_iter();
        let mut generator = generator();
        let mut draw = || {
            let probability = probabilities.next().unwrap_or_default();
            f64::from(u8::from(unit(&mut generator) < probability))
        };
        filled(x.shape(), &mut draw, x.dtype())
    }
}

/// Samples of positions along the last axis of `x`, which holds weights that are proportional to their probabilities.
/// The result is int64, with `count` samples along the last axis.
///
/// ONNX: Multinomial, which takes logarithms of the weights. It draws with replacement; without it, only a single
/// sample is supported.
struct Multinomial {
    x: ValueId,
    count: ValueId,
    replacement: bool,
}

impl Multinomial {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            count: op.operand("num_samples")?,
            replacement: op.attr_or("replacement", false)?,
        }))
    }
}

impl Function for Multinomial {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let count = facts.constant_integer(self.count, "num_samples")?;
        if !self.replacement && count != 1 {
            return Err(Error::unsupported(
                "a multinomial of several samples without replacement, which ONNX can't express",
            ));
        }
        let ([batch @ .., _], 1..=2) = (facts.shape(self.x), facts.rank(self.x)) else {
            return Err(Error::malformed(
                "a multinomial of neither a vector nor a matrix",
            ));
        };
        let shape = [batch, &[Dim::Known(count)]].concat();
        Ok(Fact::new(I64, shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let count = g.constant_integer(self.count, "num_samples")?;
        let (dtype, is_vector) = (g.dtype(self.x), g.rank(self.x) == 1);
        let x = g.value(self.x)?;
        let mut x = g.cast(x, dtype, F32);
        if is_vector {
            x = g.unsqueeze(x, &[0]);
        }
        let log = g.node("Log", &[x], []);
        let attrs = [
            ("sample_size", NodeAttr::Int(count)),
            ("dtype", NodeAttr::Int(I64.onnx_code().into())),
        ];
        let samples = g.node("Multinomial", &[log], attrs);
        Ok(if is_vector {
            g.squeeze(samples, &[0])
        } else {
            samples
        })
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let counts = values.integers(self.count)?;
        let ([batch @ .., classes], [count]) = (x.shape(), counts.as_slice()) else {
            return Err(Error::malformed("a multinomial without an axis or a count"));
        };
        let count = extents(&[*count])?;
        let shape = [batch, &count].concat();
        refuse_too_large(&shape)?;
        let mut generator = generator();
        let mut samples: Vec<i64> = Vec::new();
        for row in x.to_f64_vec().chunks((*classes).max(1)) {
            let total: f64 = row.iter().sum();
            for _ in 0..count.iter().sum() {
                let mut left = unit(&mut generator) * total;
                let hit = row.iter().position(|weight| {
                    left -= weight;
                    left < 0.0
                });
                samples.push(hit.unwrap_or(row.len() - 1) as i64);
            }
        }
        Tensor::from_elements(&shape, samples)
    }
}
