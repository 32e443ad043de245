//! Operators that differ between the versions of ONNX's operator set.
//!
//! Each method emits one operator, or in opsets that lack it what computes the same. Element types for which ONNX
//! Runtime has no kernel of an operator are avoided, too.

use std::ops::RangeInclusive;

use super::context::Lowering;
use super::nodes::{Node, NodeAttr, TensorId};
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

/// The versions of ONNX's operator set that can be written.
pub const OPSETS: RangeInclusive<u32> = 7..=25;

/// The version written by default: the first with LayerNormalization.
pub const DEFAULT_OPSET: u32 = 17;

/// Operators whose last outputs are optional, each with the number of outputs that are not.
const OPTIONAL_OUTPUTS: &[(&str, usize)] = &[("MaxPool", 1)];

/// The number of outputs that a node must have, whether anything reads them or not.
pub(super) fn required_outputs(node: &Node) -> usize {
    let mut operators = OPTIONAL_OUTPUTS.iter();
    let known = operators.find(|(op_type, _)| node.domain.is_empty() && node.op_type == *op_type);
    known.map_or(node.outputs.len(), |(_, required)| *required)
}

impl Lowering<'_> {
    /// The version of the operator set that is written.
    pub fn opset(&self) -> u32 {
        self.opset
    }

    /// Refuses opsets below `opset`, the first that expresses `what`, which completes "… needs opset 18".
    ///
    /// # Errors
    /// When the opset that is written is lower. [`Error::needed_opset`] is `opset` then.
    pub fn require_opset(&self, opset: u32, what: &str) -> Result<()> {
        if self.opset < opset {
            return Err(Error::needs_opset(opset, what));
        }
        Ok(())
    }

    /// Emits QuantizeLinear to int8, or DequantizeLinear from it, with one step, or one for each position along an axis, which
    /// takes opset 13. The zero points are 0. From opset 21 on they are left out, since ONNX Runtime 1.32 refuses the models
    /// of these opsets in which a Reshape, a Transpose or a MaxPool reads the result of a DequantizeLinear that has one.
    pub fn quantization(
        &mut self,
        op_type: &'static str,
        x: TensorId,
        steps: &[f32],
        axis: Option<usize>,
    ) -> TensorId {
        let (steps, zeros) = match axis {
            Some(_) => (
                Tensor::vector(steps.to_vec()),
                Tensor::vector(vec![0_i8; steps.len()]),
            ),
            None => (Tensor::scalar(steps[0]), Tensor::scalar(0_i8)),
        };
        let mut operands = vec![x, self.constant(steps)];
        let axis = axis.map(|axis| ("axis", NodeAttr::Int(axis as i64)));
        let mut attrs: Vec<_> = axis.into_iter().collect();
        if self.opset < 21 {
            operands.push(self.constant(zeros));
        } else if op_type == "QuantizeLinear" {
            let int8 = i64::from(DType::I8.onnx_code());
            attrs.push(("output_dtype", NodeAttr::Int(int8)));
        }
        self.node(op_type, &operands, attrs)
    }

    /// Emits `op_type`, Max or Min, of two tensors of the type `dtype`, which are broadcast. Before opset 12, these
    /// operators take floating-point types alone; for others, emits Greater or Less, and Where.
    pub fn extreme(
        &mut self,
        op_type: &'static str,
        x: TensorId,
        y: TensorId,
        dtype: DType,
    ) -> TensorId {
        if self.opset >= 12 || dtype.is_float() {
            return self.node(op_type, &[x, y], []);
        }
        let comparison = if op_type == "Max" { "Greater" } else { "Less" };
        let takes_x = self.node(comparison, &[x, y], []);
        self.node("Where", &[takes_x, x, y], [])
    }

    /// Emits GreaterOrEqual, or LessOrEqual: the comparison that is true where `strict` (Greater or Less) is, and where
    /// `x` equals `y`. Before opset 12, the first with these operators, emits `strict`, Equal and Or.
    pub fn compare_or_equal(&mut self, strict: &'static str, x: TensorId, y: TensorId) -> TensorId {
        if self.opset >= 12 {
            let op_type = if strict == "Greater" {
                "GreaterOrEqual"
            } else {
                "LessOrEqual"
            };
            return self.node(op_type, &[x, y], []);
        }
        let differs = self.node(strict, &[x, y], []);
        let equals = self.node("Equal", &[x, y], []);
        self.node("Or", &[differs, equals], [])
    }

    /// Emits Clip: `min(max(x, min), max)`, with bounds of rank 0 and of the type of `x`, `dtype`. Before opset 12, the
    /// operator takes floating-point types alone, and ONNX Runtime has no kernel of it for float64; for integers and
    /// float64, emits Less, Greater and Where.
    pub fn clip(&mut self, x: TensorId, dtype: DType, min: TensorId, max: TensorId) -> TensorId {
        if self.opset >= 12 || matches!(dtype, DType::F32 | DType::F16) {
            return self.node("Clip", &[x, min, max], []);
        }
        let is_low = self.node("Less", &[x, min], []);
        let x = self.node("Where", &[is_low, min, x], []);
        let is_high = self.node("Greater", &[x, max], []);
        self.node("Where", &[is_high, max, x], [])
    }

    /// Emits `op_type`, Softmax or LogSoftmax, along one axis of a tensor of `rank` axes. Before opset 13, these
    /// operators normalise over all axes from `axis` on together, so `axis` is swapped with the last by Transpose, and
    /// back.
    pub fn softmax(
        &mut self,
        op_type: &'static str,
        x: TensorId,
        axis: usize,
        rank: usize,
    ) -> TensorId {
        let last = rank as i64 - 1;
        // Opsets before 11 have no axes that count from the end.
        let from_end = if self.opset >= 11 { -1 } else { last };
        if axis as i64 == last {
            return self.node(op_type, &[x], [("axis", NodeAttr::Int(from_end))]);
        }
        if self.opset >= 13 {
            return self.node(op_type, &[x], [("axis", NodeAttr::Int(axis as i64))]);
        }
        let mut swap: Vec<usize> = (0..rank).collect();
        swap.swap(axis, rank - 1);
        let x = self.transpose(x, &swap);
        let y = self.node(op_type, &[x], [("axis", NodeAttr::Int(from_end))]);
        self.transpose(y, &swap)
    }

    /// Emits LayerNormalization: `(x - mean) / √(variance + epsilon) · scale + bias` over the axes from `axis` on.
    /// `scale` and `bias` have the extents of these axes, and `x` has this element type and rank. The operator needs a
    /// scale, so a missing one is an Expand of 1. Before opset 17, the first with the operator, emits
    /// [`Lowering::standardize`], Mul and Add.
    pub fn layer_norm(
        &mut self,
        x: TensorId,
        (dtype, rank): (DType, usize),
        axis: usize,
        epsilon: f64,
        scale: Option<TensorId>,
        bias: Option<TensorId>,
    ) -> TensorId {
        if self.opset >= 17 {
            let scale = scale.unwrap_or_else(|| {
                let one = self.scalar(dtype, 1.0);
                let shape = self.shape_slice(x, axis as i64, rank as i64);
                self.node("Expand", &[one, shape], [])
            });
            let attrs = [
                ("axis", NodeAttr::Int(axis as i64)),
                ("epsilon", NodeAttr::Float(epsilon as f32)),
            ];
            let inputs = [Some(x), Some(scale), bias];
            return self.node_with_outputs("LayerNormalization", inputs.into(), attrs, 1)[0];
        }
        let axes: Vec<usize> = (axis..rank).collect();
        let mut y = self.standardize(x, dtype, &axes, epsilon);
        if let Some(scale) = scale {
            y = self.node("Mul", &[y, scale], []);
        }
        match bias {
            Some(bias) => self.node("Add", &[y, bias], []),
            None => y,
        }
    }

    /// Emits RMSNormalization: `x / √(mean(x²) + epsilon) · scale` over the axes from `axis` on. `x` has this element type and
    /// rank, and `scale` the extents of these axes. Before opset 23, the first with the operator, and without a scale, which
    /// it needs, emits its definition, in float32 where `x` is of half precision: squares of numbers above 255 overflow in
    /// float16.
    pub fn rms_norm(
        &mut self,
        x: TensorId,
        (dtype, rank): (DType, usize),
        axis: usize,
        epsilon: f64,
        scale: Option<TensorId>,
    ) -> TensorId {
        if let Some(scale) = scale.filter(|_| self.opset >= 23) {
            let attrs = [
                ("axis", NodeAttr::Int(axis as i64)),
                ("epsilon", NodeAttr::Float(epsilon as f32)),
            ];
            return self.node("RMSNormalization", &[x, scale], attrs);
        }
        let wide = match dtype {
            DType::F16 | DType::BF16 => DType::F32,
            other => other,
        };
        let y = self.cast(x, dtype, wide);
        let axes: Vec<usize> = (axis..rank).collect();
        let square = self.node("Mul", &[y, y], []);
        let mean = self.reduce("ReduceMean", square, &axes, true);
        let epsilon = self.scalar(wide, epsilon);
        let mean = self.node("Add", &[mean, epsilon], []);
        let root = self.node("Sqrt", &[mean], []);
        let y = self.node("Div", &[y, root], []);
        let y = self.cast(y, wide, dtype);
        match scale {
            Some(scale) => self.node("Mul", &[y, scale], []),
            None => y,
        }
    }

    /// Emits ReduceMean and arithmetic for `(x - mean) / √(variance + epsilon)` over `axes`. The variance is the biased
    /// one, the mean of the squared deviations.
    pub fn standardize(
        &mut self,
        x: TensorId,
        dtype: DType,
        axes: &[usize],
        epsilon: f64,
    ) -> TensorId {
        let mean = self.reduce("ReduceMean", x, axes, true);
        let centered = self.node("Sub", &[x, mean], []);
        let square = self.node("Mul", &[centered, centered], []);
        let variance = self.reduce("ReduceMean", square, axes, true);
        let epsilon = self.scalar(dtype, epsilon);
        let variance = self.node("Add", &[variance, epsilon], []);
        let deviation = self.node("Sqrt", &[variance], []);
        self.node("Div", &[centered, deviation], [])
    }

    /// Emits GridSample of `inputs`: a tensor of this rank, which is 2 plus its number of spatial axes, and a grid.
    /// Before opset 20, the operator takes two spatial axes alone, and calls linear interpolation bilinear.
    ///
    /// # Errors
    /// When there are more than two spatial axes, and the opset is below 20. Opsets below 16 do not have the operator.
    pub fn grid_sample(
        &mut self,
        inputs: [TensorId; 2],
        rank: usize,
        is_nearest: bool,
        padding_mode: &'static str,
        align_corners: bool,
    ) -> Result<TensorId> {
        if rank > 4 {
            self.require_opset(20, "a GridSample of volumes")?;
        }
        let mode = match (is_nearest, self.opset) {
            (true, _) => "nearest",
            (false, ..20) => "bilinear",
            (false, _) => "linear",
        };
        let attrs = [
            ("mode", NodeAttr::String(mode)),
            ("padding_mode", NodeAttr::String(padding_mode)),
            ("align_corners", NodeAttr::Int(align_corners.into())),
        ];
        Ok(self.node("GridSample", &inputs, attrs))
    }

    /// Emits DFT of `x` along `axis`, whose last axis has the real and the imaginary parts, or the real ones alone. An
    /// `is_inverse` one divides by the extent. With `is_onesided`, the first half of the spectrum of real numbers.
    ///
    /// # Errors
    /// When the opset is below 17, the first with the operator.
    pub fn dft(
        &mut self,
        x: TensorId,
        axis: usize,
        is_inverse: bool,
        is_onesided: bool,
    ) -> Result<TensorId> {
        self.require_opset(17, "a Fourier transform of an open or a great length")?;
        let attrs = [
            ("inverse", NodeAttr::Int(is_inverse.into())),
            ("onesided", NodeAttr::Int(is_onesided.into())),
        ];
        let axis = self.constant(Tensor::scalar(axis as i64));
        let inputs = vec![Some(x), None, Some(axis)];
        Ok(self.node_with_outputs("DFT", inputs, attrs, 1)[0])
    }

    /// Emits DeformConv. None before opset 19, the first with the operator.
    pub fn deform_conv(
        &mut self,
        inputs: Vec<Option<TensorId>>,
        attrs: impl IntoIterator<Item = (&'static str, NodeAttr)>,
    ) -> Option<TensorId> {
        let has_node = self.opset >= 19;
        has_node.then(|| self.node_with_outputs("DeformConv", inputs, attrs, 1)[0])
    }

    /// Emits RoiAlign of `inputs` (the features, the boxes, and the batch index of each box). Boxes that are `aligned`
    /// are moved by half an element. From opset 16 on, the attribute `coordinate_transformation_mode` says whether they
    /// are; before, they never are.
    ///
    /// # Errors
    /// When boxes are `aligned`, and the opset is below 16.
    pub fn roi_align(
        &mut self,
        inputs: &[TensorId],
        aligned: bool,
        mut attrs: Vec<(&'static str, NodeAttr)>,
    ) -> Result<TensorId> {
        if aligned {
            self.require_opset(16, "a RoiAlign of aligned boxes")?;
        }
        if self.opset >= 16 {
            let mode = if aligned {
                "half_pixel"
            } else {
                "output_half_pixel"
            };
            attrs.push(("coordinate_transformation_mode", NodeAttr::String(mode)));
        }
        Ok(self.node("RoiAlign", inputs, attrs))
    }

    /// Emits Resize by `scales`, a float32 vector, or to `extents`, an int64 vector, with one element for each axis of
    /// `x`. The region of interest is not given, nor is the other of the two. Before opset 13, empty tensors stand for
    /// them.
    pub fn resize(
        &mut self,
        x: TensorId,
        scales: Option<TensorId>,
        extents: Option<TensorId>,
        attrs: Vec<(&'static str, NodeAttr)>,
    ) -> TensorId {
        let filler = (self.opset < 13).then(|| self.constant(Tensor::vector::<f32>(Vec::new())));
        let mut inputs = vec![Some(x), filler, scales.or(filler)];
        inputs.extend(extents.map(Some));
        self.node_with_outputs("Resize", inputs, attrs, 1)[0]
    }

    /// Emits Unsqueeze: `x` with axes of extent 1 at these positions of the result. Returns `x` itself if there are
    /// none.
    pub fn unsqueeze(&mut self, x: TensorId, axes: &[i64]) -> TensorId {
        if axes.is_empty() {
            return x;
        }
        let axes = self.vector(axes);
        self.node("Unsqueeze", &[x, axes], [])
    }

    /// Emits Squeeze: `x` without these axes, which have extent 1. Returns `x` itself if there are none.
    pub fn squeeze(&mut self, x: TensorId, axes: &[i64]) -> TensorId {
        if axes.is_empty() {
            return x;
        }
        let axes = self.vector(axes);
        self.node("Squeeze", &[x, axes], [])
    }

    /// Emits the reduction `op_type`, such as ReduceMean, over these axes, or over all if there are none. With
    /// `keepdims`, they stay with extent 1.
    pub fn reduce(
        &mut self,
        op_type: &'static str,
        x: TensorId,
        axes: &[usize],
        keepdims: bool,
    ) -> TensorId {
        let keepdims = ("keepdims", NodeAttr::Int(keepdims.into()));
        if axes.is_empty() {
            return self.node(op_type, &[x], [keepdims]);
        }
        let axes: Vec<i64> = axes.iter().map(|axis| *axis as i64).collect();
        let axes = self.vector(&axes);
        self.node(op_type, &[x, axes], [keepdims])
    }

    /// Emits Split of `x` into parts of these extents along `axis`.
    pub fn split(&mut self, x: TensorId, extents: &[i64], axis: i64) -> Vec<TensorId> {
        let inputs = vec![Some(x), Some(self.vector(extents))];
        let axis = ("axis", NodeAttr::Int(axis));
        self.node_with_outputs("Split", inputs, [axis], extents.len())
    }

    /// Emits Split of `x` into `count` parts along `axis`, whose `extents` a run computes, an int64 vector of `count`
    /// elements. Before opset 13, the extents of the operator can't be computed, so that each part is a Slice.
    pub fn split_by(
        &mut self,
        x: TensorId,
        extents: TensorId,
        count: usize,
        axis: i64,
    ) -> Vec<TensorId> {
        if self.opset >= 13 {
            let axis = ("axis", NodeAttr::Int(axis));
            return self.node_with_outputs("Split", vec![Some(x), Some(extents)], [axis], count);
        }
        let axis = self.vector(&[axis]);
        let mut start = self.vector(&[0]);
        let parts = (0..count as i64).map(|part| {
            let extent = self.slice(extents, part, part + 1, 0);
            let end = self.node("Add", &[start, extent], []);
            let part = self.node("Slice", &[x, start, end, axis], []);
            start = end;
            part
        });
        parts.collect()
    }

    /// Emits Split of `x` into `count` equal parts along an axis whose extent is not known. The number of parts is the
    /// attribute `num_outputs` from opset 18 on; before, it follows from the number of outputs.
    pub fn split_evenly(&mut self, x: TensorId, count: usize, axis: i64) -> Vec<TensorId> {
        let axis = ("axis", NodeAttr::Int(axis));
        if self.opset < 18 {
            return self.node_with_outputs("Split", vec![Some(x)], [axis], count);
        }
        let number = ("num_outputs", NodeAttr::Int(count as i64));
        self.node_with_outputs("Split", vec![Some(x)], [axis, number], count)
    }

    /// Emits Trilu: the lower or the upper triangles of the matrices in the last two axes of `x`, including the
    /// `diagonal` (0 is the main one, and positive ones are above it), and zeros elsewhere. `x` has this element type
    /// and rank. Before opset 14, the first with the operator, and for element types for which runtimes have no kernel
    /// of it, emits a comparison of Ranges and Where.
    pub fn triangle(
        &mut self,
        x: TensorId,
        (dtype, rank): (DType, usize),
        diagonal: i64,
        is_lower: bool,
    ) -> TensorId {
        let has_kernel = matches!(dtype, DType::F32 | DType::F64 | DType::I64 | DType::Bool);
        if self.opset >= 14 && has_kernel {
            let diagonal = self.constant(Tensor::scalar(diagonal));
            let upper = ("upper", NodeAttr::Int((!is_lower).into()));
            return self.node("Trilu", &[x, diagonal], [upper]);
        }
        let rank = rank as i64;
        let rows = self.shape_slice(x, rank - 2, rank - 1);
        let rows = self.count_up(rows);
        let columns = self.shape_slice(x, rank - 1, rank);
        let columns = self.count_up(columns);
        let rows = self.unsqueeze(rows, &[1]);
        let diagonal = self.constant(Tensor::scalar(diagonal));
        let on_diagonal = self.node("Add", &[rows, diagonal], []);
        let goes = if is_lower {
            self.node("Less", &[on_diagonal, columns], [])
        } else {
            self.node("Less", &[columns, on_diagonal], [])
        };
        // Runtimes have no kernel of Where for these types either.
        let wide = match dtype {
            DType::Bool | DType::I8 | DType::I16 => DType::I32,
            other => other,
        };
        let (x, zero) = (self.cast(x, dtype, wide), self.scalar(wide, 0.0));
        let triangle = self.node("Where", &[goes, zero, x], []);
        self.cast(triangle, wide, dtype)
    }
}
