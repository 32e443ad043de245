//! `box_coder`: boxes as distances from prior ones in units of their sizes, and back.
//!
//! Paddle: `phi/kernels/cpu/box_coder_kernel.cc`. ONNX: arithmetic, Exp and Log.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::Real;
use crate::kernels::boxes::all_sides;
use crate::kernels::with_real;
use crate::operator::{Accuracy, Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::values::same_type;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{F32, F64};
use crate::tensor::{Array, Dim, Tensor, display_shape, refuse_too_large};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "box_coder",
    &[
        Arg::Tensor("prior_box"),
        Arg::Optional("prior_box_var"),
        Arg::Tensor("target_box"),
    ],
    &[Form::legacy(
        &["box_coder"],
        &[
            Binding::Slot("PriorBox"),
            Binding::Optional("PriorBoxVar"),
            Binding::Slot("TargetBox"),
        ],
        &["OutputBox"],
    )],
    Coder::parse,
)
.with_opset(11)
.with_results(&["output_box"])
.with_dtypes(&[F32, F64])
.with_accuracy(Accuracy::Accumulated)];

/// Encodes each of the `target` boxes, `[n, 4]`, against each of the `priors`, `[m, 4]`; or decodes `target`, `[n, m, 4]`,
/// with the prior of the same position on one axis. The result is `[n, m, 4]`: centres and sizes if encoded, and sides if
/// decoded. The numbers are in units of `variances`, which are `[m, 4]` like the priors, or four numbers for all.
struct Coder {
    priors: ValueId,
    variances: Option<ValueId>,
    /// The variances of all boxes, where these are no operand.
    variance: [f64; 4],
    target: ValueId,
    way: Way,
    /// 1 if boxes are pixels, the last of which is included.
    offset: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Encode,
    /// The axis of `target` to which the priors belong.
    Decode {
        by_columns: bool,
    },
}

impl Coder {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let kind: String = op.attr_or("code_type", "encode_center_size".to_owned())?;
        let axis: i64 = op.attr_or("axis", 0)?;
        let way = match (kind.as_str(), axis) {
            ("encode_center_size", _) => Way::Encode,
            ("decode_center_size", 0 | 1) => Way::Decode {
                by_columns: axis == 0,
            },
            _ => return Err(Error::malformed(format!("a code {kind:?} of axis {axis}"))),
        };
        let variance: Vec<f64> = op.attr_or("variance", Vec::new())?;
        let variance = match variance.as_slice() {
            [] => [1.0; 4],
            &[x, y, width, height] => [x, y, width, height],
            other => return Err(Error::malformed(format!("variances {other:?}"))),
        };
        Ok(Box::new(Self {
            priors: op.operand("prior_box")?,
            variances: op.optional("prior_box_var")?,
            variance,
            target: op.operand("target_box")?,
            way,
            offset: if op.attr_or("box_normalized", true)? {
                0.0
            } else {
                1.0
            },
        }))
    }

    /// The shape of the result.
    fn shape<T: Clone>(&self, priors: &[T], target: &[T]) -> Option<Vec<T>> {
        match (self.way, priors, target) {
            (Way::Encode, [count, sides], [rows, _]) => {
                Some(vec![rows.clone(), count.clone(), sides.clone()])
            }
            (Way::Decode { .. }, [_, _], [_, _, _]) => Some(target.to_vec()),
            _ => None,
        }
    }

    fn run<T: Real>(
        &self,
        priors: &Array<T>,
        variances: Option<&Array<T>>,
        target: &Array<T>,
    ) -> Result<ndarray::ArrayD<T>> {
        let misfit = || {
            let (priors, target) = (priors.shape(), target.shape());
            Error::malformed(format!("boxes {target:?} with priors {priors:?}"))
        };
        let shape = self
            .shape(priors.shape(), target.shape())
            .ok_or_else(misfit)?;
        refuse_too_large(&shape)?;
        let (priors, target) = (all_sides(priors)?, all_sides(target)?);
        let variances = variances.map(all_sides).transpose()?;
        let same = self.variance.map(T::from_f64);
        let mut result = Vec::with_capacity(shape.iter().product());
        for (row, column) in (0..shape[0]).flat_map(|row| (0..shape[1]).map(move |c| (row, c))) {
            let (prior, number) = match self.way {
                Way::Encode => (column, row),
                Way::Decode { by_columns } => (
                    if by_columns { column } else { row },
                    row * shape[1] + column,
                ),
            };
            let variance = match &variances {
                Some(all) => *all.get(prior).ok_or_else(misfit)?,
                None => same,
            };
            let prior = *priors.get(prior).ok_or_else(misfit)?;
            let target = *target.get(number).ok_or_else(misfit)?;
            result.extend(if self.way == Way::Encode {
                self.encode(prior, variance, target)
            } else {
                self.decode(prior, variance, target)
            });
        }
        ndarray::ArrayD::from_shape_vec(shape, result).map_err(|_| misfit())
    }

    fn encode<T: Real>(&self, prior: [T; 4], variance: [T; 4], target: [T; 4]) -> [T; 4] {
        let (offset, two) = (T::from_f64(self.offset), T::from_f64(2.0));
        let mut code = [T::zero(); 4];
        for axis in 0..2 {
            let size = prior[axis + 2] - prior[axis] + offset;
            let centre = prior[axis] + size / two;
            let target_centre = (target[axis + 2] + target[axis]) / two;
            let target_size = target[axis + 2] - target[axis] + offset;
            code[axis] = (target_centre - centre) / size / variance[axis];
            code[axis + 2] = (target_size / size).abs().ln() / variance[axis + 2];
        }
        code
    }

    fn decode<T: Real>(&self, prior: [T; 4], variance: [T; 4], code: [T; 4]) -> [T; 4] {
        let (offset, two) = (T::from_f64(self.offset), T::from_f64(2.0));
        let mut sides = [T::zero(); 4];
        for axis in 0..2 {
            let size = prior[axis + 2] - prior[axis] + offset;
            let centre = prior[axis] + size / two;
            let centre = variance[axis] * code[axis] * size + centre;
            let half = (variance[axis + 2] * code[axis + 2]).exp() * size / two;
            sides[axis] = centre - half;
            sides[axis + 2] = centre + half - offset;
        }
        sides
    }
}

/// Tensors that hold the first two and the last two numbers of boxes.
type Halves = [TensorId; 2];

impl Coder {
    /// Emits Sub: the sizes of boxes from their sides.
    fn lower_size(&self, g: &mut Lowering<'_>, [start, end]: Halves) -> TensorId {
        let size = g.node("Sub", &[end, start], []);
        self.lower_offset(g, "Add", size)
    }

    /// Emits Add or Sub of the pixel that is included at the end of boxes, if one is.
    fn lower_offset(&self, g: &mut Lowering<'_>, op_type: &'static str, x: TensorId) -> TensorId {
        if self.offset == 0.0 {
            return x;
        }
        let offset = g.scalar(g.dtype(self.priors), self.offset);
        g.node(op_type, &[x, offset], [])
    }

    fn lower_half(&self, g: &mut Lowering<'_>, x: TensorId) -> TensorId {
        let half = g.scalar(g.dtype(self.priors), 0.5);
        g.node("Mul", &[x, half], [])
    }

    fn lower_encoded(
        &self,
        g: &mut Lowering<'_>,
        (size, centre): (TensorId, TensorId),
        target: Halves,
        variance: Option<Halves>,
    ) -> Halves {
        let both = g.node("Add", &target, []);
        let target_centre = self.lower_half(g, both);
        let target_size = self.lower_size(g, target);
        let distance = g.node("Sub", &[target_centre, centre], []);
        let distance = g.node("Div", &[distance, size], []);
        let ratio = g.node("Div", &[target_size, size], []);
        let ratio = g.node("Abs", &[ratio], []);
        let ratio = g.node("Log", &[ratio], []);
        match variance {
            Some([near, wide]) => [
                g.node("Div", &[distance, near], []),
                g.node("Div", &[ratio, wide], []),
            ],
            None => [distance, ratio],
        }
    }

    fn lower_decoded(
        &self,
        g: &mut Lowering<'_>,
        (size, centre): (TensorId, TensorId),
        mut target: Halves,
        variance: Option<Halves>,
    ) -> Halves {
        if let Some(variance) = variance {
            target = [0, 1].map(|half| g.node("Mul", &[variance[half], target[half]], []));
        }
        let distance = g.node("Mul", &[target[0], size], []);
        let centre = g.node("Add", &[distance, centre], []);
        let ratio = g.node("Exp", &[target[1]], []);
        let size = g.node("Mul", &[ratio, size], []);
        let half = self.lower_half(g, size);
        let end = g.node("Add", &[centre, half], []);
        [
            g.node("Sub", &[centre, half], []),
            self.lower_offset(g, "Sub", end),
        ]
    }
}

impl Function for Coder {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let (priors, target) = (facts.shape(self.priors), facts.shape(self.target));
        let sides = [priors, target].map(|shape| shape.last().and_then(Dim::known).unwrap_or(4));
        let shape = self.shape(priors, target).filter(|_| sides == [4, 4]);
        let shape = shape.ok_or_else(|| {
            let (priors, target) = (display_shape(priors), display_shape(target));
            Error::malformed(format!("boxes {target} with priors {priors}"))
        })?;
        Ok(Fact::new(facts.dtype(self.target), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let axis = match self.way {
            Way::Decode { by_columns: false } => 1,
            _ => 0,
        };
        let halves = |g: &mut Lowering<'_>, x: TensorId| {
            let parts = g.split(x, &[2, 2], -1);
            [parts[0], parts[1]]
        };
        let priors = g.value(self.priors)?;
        let priors = g.unsqueeze(priors, &[axis]);
        let priors = halves(g, priors);
        let mut target = g.value(self.target)?;
        if self.way == Way::Encode {
            target = g.unsqueeze(target, &[1]);
        }
        let target = halves(g, target);
        let variance = match self.variances {
            Some(variances) => {
                let variances = g.value(variances)?;
                let variances = g.unsqueeze(variances, &[axis]);
                Some(halves(g, variances))
            }
            None if self.variance == [1.0; 4] => None,
            None => {
                let dtype = g.dtype(self.priors);
                let [x, y, width, height] = self.variance;
                let pairs = [[x, y], [width, height]];
                Some(pairs.map(|pair| g.constant(Tensor::vector(pair.to_vec()).cast(dtype))))
            }
        };
        let size = self.lower_size(g, priors);
        let half = self.lower_half(g, size);
        let centre = g.node("Add", &[priors[0], half], []);
        let result = if self.way == Way::Encode {
            self.lower_encoded(g, (size, centre), target, variance)
        } else {
            self.lower_decoded(g, (size, centre), target, variance)
        };
        Ok(g.concat(&result, -1))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let target = values.get(self.target)?;
        let variances = self.variances.map(|id| values.get(id)).transpose()?;
        with_real!(values.get(self.priors)?, priors => {
            let variances = variances.map(|tensor| same_type(tensor, priors)).transpose()?;
            self.run(priors, variances, same_type(target, priors)?)?
        })
    }
}
