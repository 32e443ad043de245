//! `iou_similarity`: how much each of some boxes overlaps each of others.
//!
//! Paddle: `fluid/operators/detection/iou_similarity_op.h`. ONNX: Max, Min and arithmetic.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::boxes::all_sides;
use crate::kernels::{Real, with_real};
use crate::operator::{Accuracy, Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::values::same_type;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{F32, F64};
use crate::tensor::{Array, Dim, Tensor, display_shape, refuse_too_large};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "iou_similarity",
    &[Arg::Tensor("x"), Arg::Tensor("y")],
    &[Form::legacy(
        &["iou_similarity"],
        &[Binding::Slot("X"), Binding::Slot("Y")],
        &["Out"],
    )],
    Similarity::parse,
)
.with_opset(11)
.with_dtypes(&[F32, F64])
.with_accuracy(Accuracy::Accumulated)];

/// What is added to the area that both boxes cover.
const EPSILON: f64 = 1e-10;

/// The area that each box of `x`, `[n, 4]`, has in common with each of `y`, `[m, 4]`, divided by the area that both
/// cover: `[n, m]`.
struct Similarity {
    x: ValueId,
    y: ValueId,
    /// 1 if boxes are pixels, the last of which is included.
    offset: f64,
}

impl Similarity {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let is_normalized = op.attr_or("box_normalized", true)?;
        Ok(Box::new(Self {
            x: op.operand("x")?,
            y: op.operand("y")?,
            offset: if is_normalized { 0.0 } else { 1.0 },
        }))
    }

    fn run<T: Real>(&self, x: &Array<T>, y: &Array<T>) -> Result<ndarray::ArrayD<T>> {
        let (x, y) = (all_sides(x)?, all_sides(y)?);
        let shape = [x.len(), y.len()];
        refuse_too_large(&shape)?;
        let offset = T::from_f64(self.offset);
        let area = |sides: &[T; 4]| (sides[3] - sides[1] + offset) * (sides[2] - sides[0] + offset);
        let of = |a: &[T; 4], b: &[T; 4]| {
            let extent = |axis: usize| {
                let extent = a[axis + 2].min(b[axis + 2]) - a[axis].max(b[axis]) + offset;
                extent.max(T::zero())
            };
            let common = extent(0) * extent(1);
            common / (area(a) + area(b) - common + T::from_f64(EPSILON))
        };
        let pairs = x.iter().flat_map(|a| y.iter().map(move |b| of(a, b)));
        ndarray::ArrayD::from_shape_vec(shape.to_vec(), pairs.collect())
            .map_err(|_| Error::internal("pairs were lost"))
    }

    fn lower_offset(&self, g: &mut Lowering<'_>, extent: TensorId) -> TensorId {
        if self.offset == 0.0 {
            return extent;
        }
        let offset = g.scalar(g.dtype(self.x), self.offset);
        g.node("Add", &[extent, offset], [])
    }

    /// Emits the product of the width and height in the last axis of extents.
    fn lower_area(g: &mut Lowering<'_>, extents: TensorId) -> TensorId {
        let width = g.slice(extents, 0, 1, -1);
        let height = g.slice(extents, 1, 2, -1);
        let area = g.node("Mul", &[height, width], []);
        g.squeeze(area, &[-1])
    }
}

impl Function for Similarity {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let (x, y) = (facts.shape(self.x), facts.shape(self.y));
        let is_four = |sides: &Dim| sides.known().is_none_or(|sides| sides == 4);
        match (x, y) {
            ([rows, sides], [columns, other]) if is_four(sides) && is_four(other) => {
                let shape = vec![rows.clone(), columns.clone()];
                Ok(Fact::new(facts.dtype(self.x), shape))
            }
            _ => {
                let (x, y) = (display_shape(x), display_shape(y));
                Err(Error::malformed(format!("boxes of shapes {x} and {y}")))
            }
        }
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let dtype = g.dtype(self.x);
        let (x, y) = (g.value(self.x)?, g.value(self.y)?);
        let x = g.unsqueeze(x, &[1]);
        let y = g.unsqueeze(y, &[0]);
        let [x, y] = [x, y].map(|boxes| g.split(boxes, &[2, 2], 2));
        let areas = [&x, &y].map(|boxes| {
            let extents = g.node("Sub", &[boxes[1], boxes[0]], []);
            let extents = self.lower_offset(g, extents);
            Self::lower_area(g, extents)
        });
        let start = g.node("Max", &[x[0], y[0]], []);
        let end = g.node("Min", &[x[1], y[1]], []);
        let extents = g.node("Sub", &[end, start], []);
        let extents = self.lower_offset(g, extents);
        let zero = g.scalar(dtype, 0.0);
        let extents = g.node("Max", &[extents, zero], []);
        let common = Self::lower_area(g, extents);
        let both = g.node("Add", &areas, []);
        let covered = g.node("Sub", &[both, common], []);
        let epsilon = g.scalar(dtype, EPSILON);
        let covered = g.node("Add", &[covered, epsilon], []);
        Ok(g.node("Div", &[common, covered], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let y = values.get(self.y)?;
        with_real!(values.get(self.x)?, x => self.run(x, same_type(y, x)?)?)
    }
}
