//! Reductions along axes: `mean`, `sum`, `max`, `min`, `amax`, `amin`, `prod`, `all`, `any`, `logsumexp`,
//! `frobenius_norm`; along all axes: `mean_all`, `squared_l2_norm`; to the shape of another tensor: `reduce_as`.
//!
//! Paddle: `phi/kernels/reduce_{mean,sum,max,min,amax,amin,all,any}_kernel.h` and
//! `phi/kernels/{prod,logsumexp,frobenius_norm,mean_all,squared_l2_norm,reduce_as}_kernel.h`. ONNX: ReduceMean,
//! ReduceSum, ReduceMax, ReduceMin, ReduceProd, ReduceLogSumExp, and ReduceSumSquare with Sqrt.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::{map, reduce};
use crate::operator::{
    ANY, Accuracy, Arg, Binding, FLOATS, Form, Function, NUMBERS, OpDef, OpReader, Parse, Parsed,
    Values,
};
use crate::ops::shared::axes::{listed_axes, reduced_shape};
use crate::ops::shared::pointwise::{of_x, plain};
use crate::program::{Attr, Fact, Facts, FromAttr, ValueId};
use crate::tensor::{Array, DType, Dim, Element, Tensor, with_array};

pub(super) const OPS: &[OpDef] = &[
    reduction("mean", &[form(&["reduce_mean"])], |op| {
        Reduce::parse(op, Reduction::Mean)
    })
    .part_by_part(&["x"])
    .with_dtypes(NUMBERS),
    reduction("sum", &[SUM], |op| Reduce::parse(op, Reduction::Sum)).part_by_part(&["x"]),
    extreme("max", &[form(&["reduce_max"])], |op| {
        Reduce::parse(op, Reduction::Max)
    }),
    extreme("min", &[form(&["reduce_min"])], |op| {
        Reduce::parse(op, Reduction::Min)
    }),
    // `amax` and `amin` differ from `max` and `min` by their gradients alone.
    extreme("amax", &[form_with_tensors(&["reduce_amax"])], |op| {
        Reduce::parse(op, Reduction::Max)
    }),
    extreme("amin", &[form_with_tensors(&["reduce_amin"])], |op| {
        Reduce::parse(op, Reduction::Min)
    }),
    reduction("prod", &[form(&["reduce_prod"])], |op| {
        Reduce::parse(op, Reduction::Prod)
    })
    .with_dtypes(NUMBERS),
    extreme("all", &[form_with_tensors(&["reduce_all"])], |op| {
        Reduce::parse(op, Reduction::All)
    })
    .with_dtypes(ANY),
    extreme("any", &[form_with_tensors(&["reduce_any"])], |op| {
        Reduce::parse(op, Reduction::Any)
    })
    .with_opset(9)
    .with_dtypes(ANY),
    reduction("logsumexp", &[LOG_SUM_EXP], |op| {
        Reduce::parse(op, Reduction::LogSumExp)
    })
    .with_dtypes(FLOATS),
    reduction("frobenius_norm", &[form(&["frobenius_norm"])], |op| {
        Reduce::parse(op, Reduction::Norm)
    })
    .with_dtypes(FLOATS)
    .with_pir(&[Form::pir(
        &["frobenius_norm"],
        &["x", "axis"],
        &[
            Binding::Slot("x"),
            Binding::IntArray {
                attr: "axis",
                slots: &["axis"],
            },
        ],
    )
    .renaming(&[("keep_dim", "keepdim")])]),
    of_x("mean_all", &[plain(&["mean"])], |op| {
        Reduce::parse_whole(op, Reduction::Mean, false)
    })
    .part_by_part(&["x"]),
    OpDef::new(
        "reduce_as",
        &[Arg::Tensor("x"), Arg::Tensor("target")],
        &[Form::legacy(
            &["reduce_as"],
            &[Binding::Slot("x"), Binding::Slot("target")],
            &["out"],
        )],
        ReduceAs::parse,
    )
    .with_limits(&["axes that depend on the inputs"])
    .with_accuracy(Accuracy::Accumulated),
    of_x("squared_l2_norm", &[plain(&["squared_l2_norm"])], |op| {
        Reduce::parse_whole(op, Reduction::SumOfSquares, true)
    }),
];

/// The form of a reduction in `ProgramDesc`.
const fn form(names: &'static [&'static str]) -> Form {
    const OPERANDS: &[Binding] = &[
        Binding::Slot("X"),
        Binding::IntArray {
            attr: "dim",
            slots: &[],
        },
    ];
    Form::legacy(names, OPERANDS, &["Out"])
        .renaming(&[("keep_dim", "keepdim")])
        .ignoring(&["in_dtype", "out_dtype"])
}

/// As [`form`], for ops that also take their axes from tensors.
const fn form_with_tensors(names: &'static [&'static str]) -> Form {
    const OPERANDS: &[Binding] = &[
        Binding::Slot("X"),
        Binding::IntArray {
            attr: "dim",
            slots: &["AxisTensorList", "AxisTensor"],
        },
    ];
    let mut form = form(names);
    form.operands = OPERANDS;
    form
}

/// Of all reductions in `ProgramDesc`, the sum alone heeds the element type that is stated for the result.
const SUM: Form = form(&["reduce_sum"])
    .renaming(&[("keep_dim", "keepdim"), ("out_dtype", "dtype")])
    .ignoring(&["in_dtype"]);

const LOG_SUM_EXP: Form = Form::legacy(
    &["logsumexp"],
    &[
        Binding::Slot("X"),
        Binding::IntArray {
            attr: "axis",
            slots: &[],
        },
    ],
    &["Out"],
);

const fn reduction(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    OpDef::new(
        name,
        &[Arg::Tensor("x"), Arg::IntArray("axis")],
        legacy,
        parse,
    )
    .with_accuracy(Accuracy::Accumulated)
}

/// The definition of a reduction whose result is one of the elements, and so is exact.
const fn extreme(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    reduction(name, legacy, parse)
        .with_dtypes(NUMBERS)
        .with_accuracy(Accuracy::Exact)
}

/// What is made of the elements along the axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reduction {
    Mean,
    Sum,
    Max,
    Min,
    Prod,
    /// Whether all elements are true, as every number but 0 is.
    All,
    /// Whether any element is true.
    Any,
    /// `ln Σ exp(x)`
    LogSumExp,
    /// `√Σ x²`
    Norm,
    /// `Σ x²`
    SumOfSquares,
}

/// Reduces the elements along the axes in `axis` to one; no list, or an empty one, stands for all axes.
struct Reduce {
    x: ValueId,
    axis: Option<ValueId>,
    keepdim: bool,
    reduction: Reduction,
    /// The type that `x` is converted to, if it is stated.
    dtype: Option<DType>,
    /// Whether the result is a vector of one element instead of a scalar.
    is_vector: bool,
}

impl Reduce {
    fn parse(op: &mut OpReader<'_>, reduction: Reduction) -> Parsed {
        // -1 stands for the type that follows from that of `x`.
        let dtype = op.attr_or("dtype", Attr::Int(-1))?;
        let dtype = match dtype {
            Attr::Int(-1) => None,
            stated => Some(DType::from_attr(&stated).ok_or_else(|| {
                Error::malformed(format!(
                    "the attribute `dtype` is no element type: {stated}"
                ))
            })?),
        };
        // With this flag all axes are reduced, whatever `axis` lists.
        let reduces_all = op.attr_or("reduce_all", false)?;
        let axis = op.optional("axis")?.filter(|_| !reduces_all);
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis,
            keepdim: op.attr_or("keepdim", false)?,
            reduction,
            dtype,
            is_vector: false,
        }))
    }

    /// Reads an op without attributes that reduces all axes.
    fn parse_whole(op: &mut OpReader<'_>, reduction: Reduction, is_vector: bool) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis: None,
            keepdim: false,
            reduction,
            dtype: None,
            is_vector,
        }))
    }

    /// The element type that `x` is converted to, which is that of the result as well. Paddle sums bools and int32 in
    /// int64.
    fn dtype(&self, x: DType) -> DType {
        self.dtype.unwrap_or(match (self.reduction, x) {
            (Reduction::Sum, DType::Bool | DType::I32) => DType::I64,
            (Reduction::All | Reduction::Any, _) => DType::Bool,
            _ => x,
        })
    }

    fn known_axes(&self, facts: &Facts<'_>) -> Result<Vec<usize>> {
        let listed = self
            .axis
            .map_or(Ok(Vec::new()), |axis| facts.constant_integers(axis, "axis"))?;
        listed_axes(&listed, facts.rank(self.x))
    }

    /// The shape of the result, from that of `x`, of which `axes` are reduced.
    fn shape<T: Clone>(&self, x: &[T], axes: &[usize], one: &T) -> Vec<T> {
        let mut shape = reduced_shape(x, axes, self.keepdim, one);
        shape.extend(self.is_vector.then(|| one.clone()));
        shape
    }
}

impl Function for Reduce {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let dtype = self.dtype(facts.dtype(self.x));
        if self.reduction == Reduction::Mean && !dtype.is_float() {
            return Err(Error::unsupported(format!("the mean of {dtype}")));
        }
        let axes = self.known_axes(facts)?;
        let shape = self.shape(facts.shape(self.x), &axes, &Dim::Known(1));
        Ok(Fact::new(dtype, shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let axes = self.known_axes(g)?;
        let (from, dtype) = (g.dtype(self.x), self.dtype(g.dtype(self.x)));
        let wide = dtype.widened();
        let x = g.value(self.x)?;
        let x = g.cast(x, from, dtype);
        let x = g.cast(x, dtype, wide);
        let op_type = match self.reduction {
            Reduction::Mean => "ReduceMean",
            Reduction::Sum => "ReduceSum",
            Reduction::Max | Reduction::Any => "ReduceMax",
            Reduction::Min | Reduction::All => "ReduceMin",
            Reduction::Prod => "ReduceProd",
            Reduction::LogSumExp => "ReduceLogSumExp",
            Reduction::Norm | Reduction::SumOfSquares => "ReduceSumSquare",
        };
        let mut result = g.reduce(op_type, x, &axes, self.keepdim);
        if self.reduction == Reduction::Mean {
            let shape = g.shape(self.x).to_vec();
            let nan = Tensor::scalar_of(dtype, f64::NAN);
            result = g.unless_empty(result, (x, &shape), &axes, nan);
        }
        if self.reduction == Reduction::Norm {
            result = g.node("Sqrt", &[result], []);
        }
        if self.is_vector {
            result = g.unsqueeze(result, &[0]);
        }
        if self.reduction == Reduction::Any {
            // Not Cast: the largest of no elements is the smallest number, which is not 0.
            let zero = g.scalar(wide, 0.0);
            return Ok(g.node("Greater", &[result, zero], []));
        }
        Ok(g.cast(result, wide, dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let listed = self
            .axis
            .map_or(Ok(Vec::new()), |axis| values.integers(axis))?;
        let axes = listed_axes(&listed, x.shape().len())?;
        let x = x.cast(values.dtype(self.dtype(x.dtype())));
        with_array!(&x, x => self.reduced(x, &axes))
    }
}

impl Reduce {
    fn reduced<T: Element + PartialOrd>(&self, x: &Array<T>, axes: &[usize]) -> Result<Tensor> {
        let shape = self.shape(x.shape(), axes, &1);
        let reduced = match self.reduction {
            Reduction::Mean => reduce::reduce(x, axes, reduce::mean),
            Reduction::Sum => reduce::reduce(x, axes, reduce::sum),
            Reduction::Max => {
                reduce::refuse_none(x.shape(), axes, "max")?;
                reduce::reduce(x, axes, reduce::extreme(T::gt))
            }
            Reduction::Min => {
                reduce::refuse_none(x.shape(), axes, "min")?;
                reduce::reduce(x, axes, reduce::extreme(T::lt))
            }
            Reduction::All => reduce::reduce(x, axes, reduce::all),
            Reduction::Any => reduce::reduce(x, axes, reduce::any),
            Reduction::Prod => reduce::reduce(x, axes, reduce::product),
            Reduction::LogSumExp => reduce::reduce(x, axes, reduce::log_sum_exp),
            Reduction::Norm => reduce::reduce(x, axes, |lane| {
                T::from_f64(reduce::sum_of_squares(lane).sqrt())
            }),
            Reduction::SumOfSquares => {
                reduce::reduce(x, axes, |lane| T::from_f64(reduce::sum_of_squares(lane)))
            }
        };
        Ok(T::tensor(map::reshape(&reduced?.into(), &shape)?))
    }
}

/// The sums of `x` over the axes along which a tensor of the shape of `target` would be broadcast to that of `x`: the
/// result has the shape of `target`.
struct ReduceAs {
    x: ValueId,
    target: ValueId,
}

impl ReduceAs {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            target: op.operand("target")?,
        }))
    }

    /// The axes of `x` that are summed, and how many of them, all in front, the result does not have.
    ///
    /// # Errors
    /// When `target` can't be broadcast to `x`, or the axes that are summed depend on the inputs.
    fn axes(x: &[Dim], target: &[Dim]) -> Result<(Vec<usize>, usize)> {
        let surplus = x.len().checked_sub(target.len());
        let surplus = surplus.ok_or_else(|| Error::malformed("a sum to a higher rank"))?;
        let mut axes: Vec<usize> = (0..surplus).collect();
        for (axis, (dim, target)) in x[surplus..].iter().zip(target).enumerate() {
            match (dim, target) {
                (Dim::Known(1), Dim::Known(1)) => {}
                (_, Dim::Known(1)) => axes.push(surplus + axis),
                (Dim::Known(_), Dim::Known(_)) if dim != target => {
                    return Err(Error::malformed(format!(
                        "a sum of {dim} elements to {target}"
                    )));
                }
                (_, Dim::Known(_)) | (Dim::Known(1), _) => {}
                _ if dim.same(target) => {}
                _ => {
                    return Err(Error::unsupported(
                        "a sum over axes that depend on the inputs, which ONNX can't express",
                    ));
                }
            }
        }
        Ok((axes, surplus))
    }

    fn lowered(&self, g: &mut Lowering<'_>, axes: &[usize], surplus: usize) -> Result<TensorId> {
        let dtype = g.dtype(self.x);
        let wide = dtype.widened();
        let mut x = g.value(self.x)?;
        if !axes.is_empty() {
            x = g.cast(x, dtype, wide);
            x = g.reduce("ReduceSum", x, axes, true);
            x = g.cast(x, wide, dtype);
        }
        let leading: Vec<i64> = (0..surplus as i64).collect();
        Ok(g.squeeze(x, &leading))
    }
}

impl Function for ReduceAs {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let (x, target) = (facts.get(self.x), facts.shape(self.target));
        let (axes, surplus) = Self::axes(&x.shape, target)?;
        let shape = reduced_shape(&x.shape, &axes, true, &Dim::Known(1));
        Ok(Fact::new(x.dtype, shape[surplus..].to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (axes, surplus) = Self::axes(g.shape(self.x), g.shape(self.target))?;
        self.lowered(g, &axes, surplus)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (x, target) = (values.get(self.x)?, values.get(self.target)?.shape());
        let dims = |shape: &[usize]| shape.iter().copied().map(Dim::from).collect::<Vec<Dim>>();
        let (axes, _) = Self::axes(&dims(x.shape()), &dims(target))?;
        with_array!(x, x => {
            let sums = reduce::reduce(x, &axes, reduce::sum)?;
            Ok(Element::tensor(map::reshape(&sums.into(), target)?))
        })
    }
}
