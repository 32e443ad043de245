//! Max pooling with the positions of the maxima: `max_pool2d_with_index`, `max_pool3d_with_index`.

use super::adaptive;
use super::adaptive::{AdaptiveSizes, PoolReduction};
use super::geometry::{PoolGeometry, WindowSize};
use super::pool::FROM;
use super::uneven::lower_positions;
use crate::error::Result;
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::Real;
use crate::kernels::pool::{Window, max_pool, pool};
use crate::operator::{Arg, Form, Macs, OpDef, OpReader, Operator, Parse, Parsed, Values};
use crate::ops::shared::image::{Extents, Layout, ints};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, DType, Dim, Element, Tensor};

pub(super) const OPS: &[OpDef] = &[
    definition(
        "max_pool2d_with_index",
        &[form(&["max_pool2d_with_index"])],
        MaxPool::parse::<2>,
    )
    .with_limits(&["a computed kernel"]),
    definition(
        "max_pool3d_with_index",
        &[form(&["max_pool3d_with_index"])],
        MaxPool::parse::<3>,
    ),
];

const fn form(names: &'static [&'static str]) -> Form {
    Form::legacy(names, FROM, &["Out", "Mask"])
}

const fn definition(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    OpDef::new(
        name,
        &[Arg::Tensor("x"), Arg::IntArray("kernel_size")],
        legacy,
        parse,
    )
    .with_results(&["out", "mask"])
    .with_dtypes(&[DType::F32, DType::F64])
}

/// The largest element of each window of `x` (`[n, c, …]`), and its position, of equal ones the first: an int32 that
/// counts the elements of its channel in row-major order.
///
/// Paddle: `MaxPool2dWithIndexFunctor` in `phi/kernels/funcs/pooling.cc`. ONNX: MaxPool, whose positions count the
/// elements of the whole tensor; GlobalMaxPool and ArgMax; Gather and ArgMax for uneven adaptive windows.
struct MaxPool {
    x: ValueId,
    kernel: ValueId,
    geometry: PoolGeometry,
}

impl MaxPool {
    fn parse<const AXES: usize>(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            kernel: op.operand("kernel_size")?,
            geometry: PoolGeometry::parse(op, AXES)?,
        }))
    }

    fn pool<T: Real>(&self, x: &Array<T>, kernel: &[i64]) -> Result<Vec<Tensor>> {
        let layout = Layout::ChannelsFirst;
        let image = layout.extents(x.shape(), self.geometry.axes())?.image;
        let spans = self.geometry.spans(kernel, &image, false)?;
        let values = max_pool(x, &spans)?;
        let positions = pool(x, &spans, |window: Window<'_, T>| window.position_of_max())?;
        Ok(vec![
            T::tensor(values.into()),
            i32::tensor(positions.into()),
        ])
    }

    /// Emits a MaxPool with these attributes: its maxima, and its positions as Paddle counts them.
    fn lower_windows(
        g: &mut Lowering<'_>,
        x: TensorId,
        axes: usize,
        attrs: Vec<(&'static str, NodeAttr)>,
    ) -> (TensorId, TensorId) {
        let results = g.node_with_outputs("MaxPool", vec![Some(x)], attrs, 2);
        let (values, positions) = (results[0], results[1]);
        let extents = g.shape_slice(x, 2, axes as i64 + 2);
        let pixels = g.reduce("ReduceProd", extents, &[0], true);
        (values, g.node("Mod", &[positions, pixels], []))
    }

    /// Emits the maximum over all spatial axes, and its position.
    fn lower_global(g: &mut Lowering<'_>, x: TensorId, axes: usize) -> (TensorId, TensorId) {
        let values = g.node("GlobalMaxPool", &[x], []);
        let shape = g.vector(&[0, 0, -1]);
        let images = g.node("Reshape", &[x, shape], []);
        let position = g.node("ArgMax", &[images], [("axis", NodeAttr::Int(2))]);
        let behind: Vec<i64> = (3..axes as i64 + 2).collect();
        (values, g.unsqueeze(position, &behind))
    }
}

impl Operator for MaxPool {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let layout = Layout::ChannelsFirst;
        let extents = layout.extents(facts.shape(self.x), self.geometry.axes())?;
        let kernel = self.geometry.kernel(facts.content(self.kernel))?;
        let axes = kernel.iter().zip(&extents.image).enumerate();
        let image = axes.map(|(axis, (size, image))| self.geometry.count(axis, size, image));
        let shape = layout.shape(Extents {
            image: image.collect::<Result<_>>()?,
            ..extents
        });
        Ok(vec![
            Fact::new(facts.dtype(self.x), shape.clone()),
            Fact::new(DType::I32, shape),
        ])
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let axes = self.geometry.axes();
        let image = Layout::ChannelsFirst.extents(g.shape(self.x), axes)?.image;
        let kernel = self.geometry.kernel(g.content(self.kernel))?;
        let x = g.value(self.x)?;
        let sizes = AdaptiveSizes {
            operand: self.kernel,
            kernel: &kernel,
            image: &image,
            dtype: g.dtype(self.x),
        };
        let is_one = kernel.iter().all(|size| *size == Dim::Known(1));
        let (values, positions) = match self.geometry.window_size {
            WindowSize::Global => Self::lower_global(g, x, axes),
            WindowSize::Adaptive if is_one => Self::lower_global(g, x, axes),
            WindowSize::Adaptive => match adaptive::fixed(&self.geometry, &sizes)? {
                Some([kernel, strides]) => {
                    let attrs = vec![("kernel_shape", ints(&kernel)), ("strides", ints(&strides))];
                    Self::lower_windows(g, x, axes, attrs)
                }
                None => {
                    let along = adaptive::all_bounds(g, x, &self.geometry, &sizes)?;
                    (
                        adaptive::lower(g, x, &self.geometry, &sizes, PoolReduction::Max)?,
                        lower_positions(g, x, &along),
                    )
                }
            },
            WindowSize::Kernel => {
                for (axis, (size, image)) in kernel.iter().zip(&image).enumerate() {
                    self.geometry.refuse_windows_behind(axis, size, image)?;
                }
                let kernel: Vec<usize> = kernel.iter().filter_map(Dim::extent).collect();
                let attrs = vec![
                    ("kernel_shape", ints(&kernel)),
                    ("strides", ints(&self.geometry.strides)),
                    self.geometry.padding.attr(),
                    ("ceil_mode", NodeAttr::Int(self.geometry.ceil_mode.into())),
                ];
                Self::lower_windows(g, x, axes, attrs)
            }
        };
        Ok(vec![values, g.cast(positions, DType::I64, DType::I32)])
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        let kernel = values.integers(self.kernel)?;
        match values.get(self.x)? {
            Tensor::F32(x) => self.pool(x, &kernel),
            Tensor::F64(x) => self.pool(x, &kernel),
            other => Err(crate::error::Error::unsupported(format!(
                "the reference has no kernel for {}",
                other.dtype()
            ))),
        }
    }

    fn macs(&self, _facts: &Facts<'_>) -> Macs {
        Macs::None
    }
}
