//! `nms`: which boxes do not overlap those before them.
//!
//! Paddle: `phi/kernels/nms_kernel.h`. ONNX: NonMaxSuppression.

use super::suppression::ascending;
use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::boxes::{Sides, all_sides, suppress};
use crate::kernels::{Real, on_real};
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{F32, I64};
use crate::tensor::{Array, Dim, Tensor, display_shape};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "nms",
    &[Arg::Tensor("x")],
    &[
        Form::legacy(&["nms"], &[Binding::Slot("Boxes")], &["KeepBoxesIdxs"])
            .renaming(&[("iou_threshold", "threshold")]),
    ],
    Nms::parse,
)
.with_opset(11)
.with_dtypes(&[F32])];

/// The positions of the boxes of `x`, `[n, 4]`, that do not overlap one before them that stays by more than `threshold`:
/// int64, from the first on.
struct Nms {
    x: ValueId,
    threshold: f64,
}

impl Nms {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let threshold: f64 = op.attr_or("threshold", 1.0)?;
        if threshold < 0.0 {
            return Err(Error::unsupported(format!(
                "a threshold of {threshold}, above which boxes overlap that are apart"
            )));
        }
        Ok(Box::new(Self {
            x: op.operand("x")?,
            threshold,
        }))
    }

    fn run<T: Real>(&self, x: &Array<T>) -> Result<Tensor> {
        let sides = all_sides(x)?;
        let positions: Vec<usize> = (0..sides.len()).collect();
        let threshold = T::from_f64(self.threshold);
        let kept = suppress(&positions, |a, b| overlap(sides[b], sides[a]) > threshold);
        let kept = kept.into_iter().map(|position| position as i64);
        Ok(Tensor::vector(kept.collect()))
    }
}

/// The area that boxes have in common, divided by the area that both cover.
fn overlap<T: Real>(a: Sides<T>, b: Sides<T>) -> T {
    let extent = |axis: usize| {
        let extent = a[axis + 2].min(b[axis + 2]) - a[axis].max(b[axis]);
        extent.max(T::zero())
    };
    let area = |sides: Sides<T>| (sides[2] - sides[0]) * (sides[3] - sides[1]);
    let common = extent(0) * extent(1);
    common / (area(a) + area(b) - common)
}

impl Function for Nms {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        match facts.shape(self.x) {
            [_, sides] if sides.known().is_none_or(|sides| sides == 4) => {
                Ok(Fact::new(I64, vec![Dim::Unknown]))
            }
            shape => Err(Error::malformed(format!(
                "boxes of shape {}",
                display_shape(shape)
            ))),
        }
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let boxes = g.value(self.x)?;
        // NonMaxSuppression swaps sides of boxes that end before they begin. Such a box overlaps none in Paddle, like one
        // without an area.
        let (starts, ends) = (g.slice(boxes, 0, 2, 1), g.slice(boxes, 2, 4, 1));
        let ends = g.node("Max", &[starts, ends], []);
        let boxes = g.concat(&[starts, ends], 1);
        let boxes = g.unsqueeze(boxes, &[0]);
        let count = g.shape_slice(boxes, 1, 2);
        let places = g.count_up(count);
        let places = g.cast(places, I64, F32);
        let scores = g.node("Neg", &[places], []);
        let scores = g.unsqueeze(scores, &[0, 1]);
        // No overlap is above 1.
        let threshold = Tensor::vector(vec![self.threshold.min(1.0) as f32]);
        let threshold = g.constant(threshold);
        let kept = g.node("NonMaxSuppression", &[boxes, scores, count, threshold], []);
        let kept = g.slice(kept, 2, 3, 1);
        let kept = g.squeeze(kept, &[1]);
        Ok(ascending(g, kept).0)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        on_real!(values.get(self.x)?, x => self.run(x))
    }
}
