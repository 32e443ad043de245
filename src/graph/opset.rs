//! What the versions of the operator set spell differently.

use std::ops::RangeInclusive;

use super::context::Lowering;
use super::nodes::{Node, NodeAttr, TensorId};
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

/// The versions of ONNX's operator set that can be written.
pub const OPSETS: RangeInclusive<u32> = 11..=21;

/// The version written by default: the first with LayerNormalization.
pub const DEFAULT_OPSET: u32 = 17;

/// Operators that came after the oldest opset that is written, each with the first that has it.
const NEWER: &[(&str, u32)] = &[
    ("Celu", 12),
    ("Einsum", 12),
    ("GreaterOrEqual", 12),
    ("LessOrEqual", 12),
    ("Trilu", 14),
    ("Bernoulli", 15),
    ("GridSample", 16),
    ("BitwiseAnd", 18),
    ("BitwiseNot", 18),
    ("BitwiseOr", 18),
    ("BitwiseXor", 18),
    ("CenterCropPad", 18),
    ("Col2Im", 18),
    ("Mish", 18),
    ("DeformConv", 19),
    ("AffineGrid", 20),
    ("Gelu", 20),
];

/// Attributes that came after their operator, each with the first opset that has it.
const NEWER_ATTRS: &[(&str, &str, u32)] = &[
    ("Reshape", "allowzero", 14),
    ("ScatterElements", "reduction", 16),
    ("ScatterND", "reduction", 16),
];

/// Operators whose last outputs may be left out, each with the number of those that may not.
const OPTIONAL_OUTPUTS: &[(&str, usize)] = &[("MaxPool", 1)];

/// How many outputs a node must have, whether they are needed or not.
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

    /// # Errors
    /// When the opset that is written comes before `opset`, the first that expresses `what`.
    pub fn require_opset(&self, opset: u32, what: &str) -> Result<()> {
        if self.opset < opset {
            return Err(Error::needs_opset(opset, what));
        }
        Ok(())
    }

    /// Refuses nodes from position `start` on that the opset does not have.
    pub(super) fn refuse_newer_nodes(&self, start: usize) -> Result<()> {
        let mut nodes = Vec::new();
        for node in &self.graph.nodes[start..] {
            node.visit(&mut |node| nodes.push(node));
        }
        for node in nodes.into_iter().filter(|node| node.domain.is_empty()) {
            let newer = NEWER.iter().find(|(name, _)| *name == node.op_type);
            if let Some((name, since)) = newer {
                self.require_opset(*since, &format!("ONNX's {name}"))?;
            }
            let has = |name: &str| node.attrs.iter().any(|(given, _)| *given == name);
            let mut attrs = NEWER_ATTRS.iter();
            let newer = attrs.find(|(op_type, name, _)| *op_type == node.op_type && has(name));
            if let Some((op_type, name, since)) = newer {
                self.require_opset(*since, &format!("`{name}` of ONNX's {op_type}"))?;
            }
        }
        Ok(())
    }

    /// `x · Φ(x)`: one Gelu node from opset 20 on, the definition before. The order of the
    /// operations is the one that runtimes recognise and fuse.
    pub fn gelu(&mut self, x: TensorId, dtype: DType, tanh: bool) -> TensorId {
        if self.opset >= 20 {
            let approximate = NodeAttr::String(if tanh { "tanh" } else { "none" });
            return self.node("Gelu", &[x], [("approximate", approximate)]);
        }
        let one = self.scalar(dtype, 1.0);
        let half = self.scalar(dtype, 0.5);
        if tanh {
            return self.gelu_tanh(x, dtype, one, half);
        }
        let root = self.scalar(dtype, std::f64::consts::SQRT_2);
        let scaled = self.node("Div", &[x, root], []);
        let erf = self.node("Erf", &[scaled], []);
        let sum = self.node("Add", &[erf, one], []);
        let product = self.node("Mul", &[x, sum], []);
        self.node("Mul", &[product, half], [])
    }

    /// `x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`
    fn gelu_tanh(&mut self, x: TensorId, dtype: DType, one: TensorId, half: TensorId) -> TensorId {
        let three = self.scalar(dtype, 3.0);
        let cubic = self.scalar(dtype, 0.044_715);
        let root = self.scalar(dtype, std::f64::consts::FRAC_2_PI.sqrt());
        let cube = self.node("Pow", &[x, three], []);
        let cube = self.node("Mul", &[cube, cubic], []);
        let inner = self.node("Add", &[x, cube], []);
        let inner = self.node("Mul", &[inner, root], []);
        let tanh = self.node("Tanh", &[inner], []);
        let sum = self.node("Add", &[tanh, one], []);
        let product = self.node("Mul", &[x, sum], []);
        self.node("Mul", &[product, half], [])
    }

    /// `x · min(max(x + 3, 0), 6) / 6`: one node from opset 14 on.
    pub fn hard_swish(&mut self, x: TensorId) -> TensorId {
        if self.opset >= 14 {
            return self.node("HardSwish", &[x], []);
        }
        let attrs = [
            ("alpha", NodeAttr::Float(1.0 / 6.0)),
            ("beta", NodeAttr::Float(0.5)),
        ];
        let gate = self.node("HardSigmoid", &[x], attrs);
        self.node("Mul", &[x, gate], [])
    }

    /// Max or Min of two tensors, which took floats alone before opset 12.
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

    /// `x ≥ y`, or `x ≤ y`, by the strict comparison: one node from opset 12 on.
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

    /// `min(max(x, min), max)` with scalars. Before opset 12, Clip took floats alone, and ONNX
    /// Runtime has no other kernel of it than that for float32.
    pub fn clip(&mut self, x: TensorId, dtype: DType, min: TensorId, max: TensorId) -> TensorId {
        if self.opset >= 12 || matches!(dtype, DType::F32 | DType::F16) {
            return self.node("Clip", &[x, min, max], []);
        }
        let is_low = self.node("Less", &[x, min], []);
        let x = self.node("Where", &[is_low, min, x], []);
        let is_high = self.node("Greater", &[x, max], []);
        self.node("Where", &[is_high, max, x], [])
    }

    /// `x`, or if it is negative, `alpha · (exp(x / alpha) - 1)`: one node from opset 12 on, which
    /// takes float32 alone, and one on a scaled tensor before, which needs a positive alpha and has
    /// no kernel for float64.
    pub fn celu(&mut self, x: TensorId, dtype: DType, alpha: f64) -> TensorId {
        if self.opset >= 12 && dtype == DType::F32 {
            return self.node("Celu", &[x], [("alpha", NodeAttr::Float(alpha as f32))]);
        }
        let (factor, one) = (self.scalar(dtype, alpha), self.scalar(dtype, 1.0));
        let scaled = self.node("Div", &[x, factor], []);
        if alpha > 0.0 && dtype != DType::F64 {
            let elu = self.node("Elu", &[scaled], []);
            return self.node("Mul", &[elu, factor], []);
        }
        let exp = self.node("Exp", &[scaled], []);
        let low = self.node("Sub", &[exp, one], []);
        let low = self.node("Mul", &[low, factor], []);
        let zero = self.scalar(dtype, 0.0);
        let is_low = self.node("Less", &[x, zero], []);
        self.node("Where", &[is_low, low, x], [])
    }

    /// `x · tanh(softplus(x))`: one node from opset 18 on.
    pub fn mish(&mut self, x: TensorId) -> TensorId {
        if self.opset >= 18 {
            return self.node("Mish", &[x], []);
        }
        let softplus = self.node("Softplus", &[x], []);
        let tanh = self.node("Tanh", &[softplus], []);
        self.node("Mul", &[x, tanh], [])
    }

    /// All bits the other way round: one node from opset 18 on, `-1 - x` before, in int64 since ONNX
    /// Runtime subtracts no narrow integers.
    pub fn bitwise_not(&mut self, x: TensorId, dtype: DType) -> TensorId {
        if self.opset >= 18 {
            return self.node("BitwiseNot", &[x], []);
        }
        let ones = self.scalar(DType::I64, -1.0);
        let x = self.cast(x, dtype, DType::I64);
        let not = self.node("Sub", &[ones, x], []);
        self.cast(not, DType::I64, dtype)
    }

    /// Softmax or LogSoftmax along one axis of `rank`. Before opset 13 they took in all axes behind
    /// it as well, so it has to be the last.
    pub fn softmax(
        &mut self,
        op_type: &'static str,
        x: TensorId,
        axis: usize,
        rank: usize,
    ) -> TensorId {
        let is_last = axis + 1 == rank;
        let node_axis = if is_last { -1 } else { axis as i64 };
        if is_last || self.opset >= 13 {
            return self.node(op_type, &[x], [("axis", NodeAttr::Int(node_axis))]);
        }
        let mut swap: Vec<usize> = (0..rank).collect();
        swap.swap(axis, rank - 1);
        let x = self.transpose(x, &swap);
        let y = self.node(op_type, &[x], [("axis", NodeAttr::Int(-1))]);
        self.transpose(y, &swap)
    }

    /// `x` with mean 0 and variance 1 over the axes from `axis` on, times `scale` plus `bias`: one
    /// node from opset 17 on, which can't leave out the scale. `ty` is the type and rank of `x`.
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

    /// `(x - mean) / √(variance + epsilon)` over some axes.
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

    /// A GridSample of images, or from opset 20 on of volumes. Then its blend is no more called
    /// bilinear.
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

    /// One node for a deformable convolution, from opset 19 on.
    pub fn deform_conv(
        &mut self,
        inputs: Vec<Option<TensorId>>,
        attrs: impl IntoIterator<Item = (&'static str, NodeAttr)>,
    ) -> Option<TensorId> {
        let has_node = self.opset >= 19;
        has_node.then(|| self.node_with_outputs("DeformConv", inputs, attrs, 1)[0])
    }

    /// A RoiAlign, of boxes that are moved by half an element if they are `aligned`, as they may be
    /// from opset 16 on. There they are unless it is declined.
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

    /// A Resize to extents or by scales, one for each axis. Before opset 13, an empty tensor stands
    /// for the one that is not given.
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

    /// A node on `x` and a list of axes, which is an input from opset `since` on and an attribute
    /// before.
    fn with_axes(
        &mut self,
        op_type: &'static str,
        x: TensorId,
        axes: &[i64],
        since: u32,
        mut attrs: Vec<(&'static str, NodeAttr)>,
    ) -> TensorId {
        let mut inputs = vec![x];
        if self.opset >= since {
            inputs.push(self.vector(axes));
        } else {
            attrs.push(("axes", NodeAttr::Ints(axes.to_vec())));
        }
        self.node(op_type, &inputs, attrs)
    }

    /// The tensor with axes of extent 1 at these positions of the result.
    pub fn unsqueeze(&mut self, x: TensorId, axes: &[i64]) -> TensorId {
        if axes.is_empty() {
            return x;
        }
        self.with_axes("Unsqueeze", x, axes, 13, Vec::new())
    }

    /// The tensor without these axes, which have extent 1.
    pub fn squeeze(&mut self, x: TensorId, axes: &[i64]) -> TensorId {
        if axes.is_empty() {
            return x;
        }
        self.with_axes("Squeeze", x, axes, 13, Vec::new())
    }

    /// An Unsqueeze or Squeeze with axes that are computed, which came with opset 13.
    ///
    /// # Errors
    /// When the opset that is written comes before.
    pub fn with_computed_axes(
        &mut self,
        op_type: &'static str,
        x: TensorId,
        axes: TensorId,
    ) -> Result<TensorId> {
        self.require_opset(13, "axes that are computed from the inputs")?;
        Ok(self.node(op_type, &[x, axes], []))
    }

    /// A Reduce node over some axes, or all.
    pub fn reduce(
        &mut self,
        op_type: &'static str,
        x: TensorId,
        axes: &[usize],
        keepdims: bool,
    ) -> TensorId {
        let attrs = vec![("keepdims", NodeAttr::Int(keepdims.into()))];
        if axes.is_empty() {
            return self.node(op_type, &[x], attrs);
        }
        let axes: Vec<i64> = axes.iter().map(|axis| *axis as i64).collect();
        let since = if op_type == "ReduceSum" { 13 } else { 18 };
        self.with_axes(op_type, x, &axes, since, attrs)
    }

    /// The parts of `x` along `axis`, of these extents.
    pub fn split(&mut self, x: TensorId, extents: &[i64], axis: i64) -> Vec<TensorId> {
        let mut inputs = vec![Some(x)];
        let mut attrs = vec![("axis", NodeAttr::Int(axis))];
        if self.opset >= 13 {
            inputs.push(Some(self.vector(extents)));
        } else {
            attrs.push(("split", NodeAttr::Ints(extents.to_vec())));
        }
        self.node_with_outputs("Split", inputs, attrs, extents.len())
    }

    /// `count` parts of `x` along `axis`, of extents that are computed: one node from opset 13 on.
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

    /// `count` equal parts of `x` along an axis whose extent is not known. Opset 18 has an
    /// attribute for their number; before, it is the number of outputs.
    pub fn split_evenly(&mut self, x: TensorId, count: usize, axis: i64) -> Vec<TensorId> {
        let axis = ("axis", NodeAttr::Int(axis));
        if self.opset < 18 {
            return self.node_with_outputs("Split", vec![Some(x)], [axis], count);
        }
        let number = ("num_outputs", NodeAttr::Int(count as i64));
        self.node_with_outputs("Split", vec![Some(x)], [axis, number], count)
    }

    /// The lower or the upper triangles of matrices, up to a diagonal: one node from opset 14 on,
    /// for the types that runtimes have it for. `ty` is the type and rank of `x`.
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
        // Where is another that not all types have a kernel for.
        let wide = match dtype {
            DType::Bool | DType::I8 | DType::I16 => DType::I32,
            other => other,
        };
        let (x, zero) = (self.cast(x, dtype, wide), self.scalar(wide, 0.0));
        let triangle = self.node("Where", &[goes, zero, x], []);
        self.cast(triangle, wide, dtype)
    }
}
