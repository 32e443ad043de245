//! Pooling without positions: `pool2d` and `pool3d` (maximum or mean), `lp_pool2d` (p-norm).

use super::adaptive;
use super::adaptive::PoolReduction;
use super::geometry::{PoolGeometry, WindowSize};
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::pool::{Window, max_pool, pool};
use crate::kernels::{Real, with_real};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, OpDef, OpReader, Parse, Parsed, Values,
};
use crate::ops::shared::image::{Extents, Layout, Padding, ints, pads_attr};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, DType, Dim, Tensor};

pub(super) const OPS: &[OpDef] = &[
    definition("pool2d", &[form(&["pool2d"])], Pool::parse::<2>).with_limits(&[
        "a computed kernel",
        "`ceil_mode` with padding that counts, over open axes",
    ]),
    definition("pool3d", &[form(&["pool3d"])], Pool::parse::<3>).with_limits(&[
        "a computed kernel",
        "`ceil_mode` with padding that counts, over open axes",
    ]),
    definition("lp_pool2d", &[NORMS], Pool::parse::<2>)
        .with_limits(&["a computed kernel", "`ceil_mode` over open extents"]),
];

/// `lp_pool2d` in the older format, which only Paddle 3 writes: Paddle 2 does not have the op.
const NORMS: Form = Form::legacy(
    &["lp_pool2d"],
    &[
        Binding::Slot("x"),
        Binding::IntArray {
            attr: "kernel_size",
            slots: &["KernelSizeTensor", "KernelSizeTensorList"],
        },
    ],
    &["out"],
);

/// Where the input and the kernel size come from in the older format.
pub(super) const FROM: &[Binding] = &[
    Binding::Slot("X"),
    Binding::IntArray {
        attr: "ksize",
        slots: &[],
    },
];

const fn form(names: &'static [&'static str]) -> Form {
    Form::legacy(names, FROM, &["Out"])
}

const fn definition(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    let operands = &[Arg::Tensor("x"), Arg::IntArray("kernel_size")];
    OpDef::new(name, operands, legacy, parse)
        .with_dtypes(FLOATS)
        .with_accuracy(Accuracy::Accumulated)
}

/// How a window is reduced to one element.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Pooling {
    Max,
    /// The mean of the elements of the input, or with `counts_padding` of the zeros around it as well.
    Average {
        counts_padding: bool,
    },
    /// `(Σ xᵖ)^(1 / p)`. Paddle takes powers of the elements, ONNX's LpPool of their magnitudes.
    Norm(f64),
}

/// The maximum, mean or p-norm of each window of `x` (`[n, c, …]`, or `[n, …, c]`).
///
/// Paddle: `phi/kernels/funcs/pooling.cc`. ONNX: MaxPool, AveragePool, GlobalMaxPool, GlobalAveragePool; for norms
/// Pow before and after an AveragePool or ReduceSum.
struct Pool {
    x: ValueId,
    kernel: ValueId,
    pooling: Pooling,
    geometry: PoolGeometry,
    layout: Layout,
}

impl Pool {
    fn parse<const AXES: usize>(op: &mut OpReader<'_>) -> Parsed {
        let kind: String = op.attr("pooling_type")?;
        let exclusive = op.attr_or("exclusive", true)?;
        let pooling = match kind.as_str() {
            "max" => Pooling::Max,
            "avg" => Pooling::Average {
                counts_padding: !exclusive,
            },
            "lp" => Pooling::Norm(op.attr("norm_type")?),
            other => return Err(Error::unsupported(format!("pooling_type {other:?}"))),
        };
        if let Pooling::Norm(p) = pooling
            && !(p.is_finite() && p != 0.0)
        {
            return Err(Error::unsupported(format!("`norm_type` {p}")));
        }
        let geometry = PoolGeometry::parse(op, AXES)?;
        if geometry.window_size == WindowSize::Adaptive
            && !matches!(pooling, Pooling::Average { .. })
        {
            return Err(Error::unsupported(
                "adaptive maxima or norms, for which this op of Paddle's has windows of another kind; \
                 Paddle's own functions write max_pool2d_with_index",
            ));
        }
        Ok(Box::new(Self {
            x: op.operand("x")?,
            kernel: op.operand("kernel_size")?,
            pooling,
            geometry,
            layout: Layout::parse(op)?,
        }))
    }

    fn pool<T: Real>(&self, x: &Array<T>, kernel: &[i64]) -> Result<Array<T>> {
        let image = self.layout.extents(x.shape(), self.geometry.axes())?.image;
        let counts_padding = matches!(
            self.pooling,
            Pooling::Average {
                counts_padding: true
            }
        );
        let spans = self.geometry.spans(kernel, &image, counts_padding)?;
        let x = self.layout.view_from(x.clone());
        let result = match self.pooling {
            Pooling::Max => max_pool(&x, &spans)?,
            Pooling::Average { .. } => pool(&x, &spans, |window: Window<'_, T>| window.average())?,
            Pooling::Norm(p) => pool(&x, &spans, |window: Window<'_, T>| window.norm(p))?,
        };
        Ok(self.layout.view_to(result.into()))
    }
}

impl Function for Pool {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let extents = self
            .layout
            .extents(facts.shape(self.x), self.geometry.axes())?;
        let kernel = self.geometry.kernel(facts.content(self.kernel))?;
        let axes = kernel.iter().zip(&extents.image).enumerate();
        let image = axes.map(|(axis, (size, image))| self.geometry.count(axis, size, image));
        let shape = self.layout.shape(Extents {
            image: image.collect::<Result<_>>()?,
            ..extents
        });
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let axes = self.geometry.axes();
        let image = self.layout.extents(g.shape(self.x), axes)?.image;
        let kernel = self.geometry.kernel(g.content(self.kernel))?;
        let x = g.value(self.x)?;
        let x = self.layout.lower_from(g, x, axes + 2);
        let y = match (self.pooling, self.geometry.window_size) {
            (Pooling::Max, WindowSize::Global) => g.node("GlobalMaxPool", &[x], []),
            (Pooling::Average { .. }, WindowSize::Global) => g.node("GlobalAveragePool", &[x], []),
            (Pooling::Average { .. }, WindowSize::Adaptive) => {
                let sizes = adaptive::AdaptiveSizes {
                    operand: self.kernel,
                    kernel: &kernel,
                    image: &image,
                    dtype: g.dtype(self.x),
                };
                adaptive::lower(g, x, &self.geometry, &sizes, PoolReduction::Average)?
            }
            (Pooling::Norm(p), _) => self.lower_norm(g, x, p, &image, &kernel)?,
            (Pooling::Max, _) => self.lower_max(g, x, &image, &kernel)?,
            (Pooling::Average { counts_padding }, _) => {
                if counts_padding && !self.geometry.ends_with_input() {
                    self.lower_counting(g, x, &image, &kernel)?
                } else {
                    self.lower_exclusive(g, x, &image, &kernel)?
                }
            }
        };
        Ok(self.layout.lower_to(g, y, axes + 2))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let kernel = values.integers(self.kernel)?;
        with_real!(values.get(self.x)?, x => self.pool(x, &kernel)?)
    }
}

/// A factor for each window along a spatial axis, or one for all.
enum Factors {
    Same(f64),
    Each(Vec<f64>),
}

impl Pool {
    /// The attributes `kernel_shape` and `strides`.
    fn attrs(&self, kernel: &[Dim]) -> [(&'static str, NodeAttr); 2] {
        let sizes: Vec<usize> = kernel.iter().filter_map(Dim::extent).collect();
        [
            ("kernel_shape", ints(&sizes)),
            ("strides", ints(&self.geometry.strides)),
        ]
    }

    /// All attributes of a pooling node that say where its windows are.
    fn padded_attrs(&self, kernel: &[Dim], image: &[Dim]) -> Result<Vec<(&'static str, NodeAttr)>> {
        let mut attrs = self.attrs(kernel).to_vec();
        attrs.push(self.geometry.pads_attr(kernel, image)?);
        attrs.push(("ceil_mode", NodeAttr::Int(self.geometry.ceil_mode.into())));
        Ok(attrs)
    }

    /// Refuses windows that may begin behind the input, along any spatial axis.
    fn refuse_windows_behind(&self, image: &[Dim], kernel: &[Dim]) -> Result<()> {
        let mut axes = kernel.iter().zip(image).enumerate();
        axes.try_for_each(|(axis, (size, image))| {
            self.geometry.refuse_windows_behind(axis, size, image)
        })
    }

    fn lower_max(
        &self,
        g: &mut Lowering<'_>,
        x: TensorId,
        image: &[Dim],
        kernel: &[Dim],
    ) -> Result<TensorId> {
        self.refuse_windows_behind(image, kernel)?;
        Ok(g.node("MaxPool", &[x], self.padded_attrs(kernel, image)?))
    }

    fn lower_exclusive(
        &self,
        g: &mut Lowering<'_>,
        x: TensorId,
        image: &[Dim],
        kernel: &[Dim],
    ) -> Result<TensorId> {
        self.refuse_windows_behind(image, kernel)?;
        let mut attrs = self.padded_attrs(kernel, image)?;
        attrs.push(("count_include_pad", NodeAttr::Int(0)));
        Ok(g.node("AveragePool", &[x], attrs))
    }

    fn lower_norm(
        &self,
        g: &mut Lowering<'_>,
        x: TensorId,
        p: f64,
        image: &[Dim],
        kernel: &[Dim],
    ) -> Result<TensorId> {
        let dtype = g.dtype(self.x);
        let (power, root) = (g.scalar(dtype, p), g.scalar(dtype, p.recip()));
        let powers = g.node("Pow", &[x, power], []);
        let sum = if self.geometry.window_size == WindowSize::Global {
            let axes: Vec<usize> = (2..image.len() + 2).collect();
            g.reduce("ReduceSum", powers, &axes, true)
        } else {
            self.refuse_windows_behind(image, kernel)?;
            let sizes = kernel.iter().filter_map(Dim::known);
            let factors = sizes.map(|size| Factors::Same(size as f64)).collect();
            self.lower_full_windows(g, powers, (image, kernel), factors)?
        };
        Ok(g.node("Pow", &[sum, root], []))
    }

    /// Emits averages that count padding: those of full windows, times the quotient of the kernel size and the number
    /// of elements that Paddle counts.
    fn lower_counting(
        &self,
        g: &mut Lowering<'_>,
        x: TensorId,
        image: &[Dim],
        kernel: &[Dim],
    ) -> Result<TensorId> {
        self.refuse_windows_behind(image, kernel)?;
        let axes = kernel.iter().zip(image).enumerate();
        let factors = axes.map(|(axis, (size, image))| {
            let windows = self.geometry.axis_of(axis, size, image)?;
            let [before, after] = windows.pads;
            let is_explicit = self.geometry.padding != Padding::Same;
            if !self.geometry.ceil_mode && is_explicit && after <= before {
                return Ok(Factors::Same(1.0));
            }
            let known = image.extent().and_then(|_| windows.listed());
            let spans = known.ok_or_else(|| {
                Error::needs_extents(
                    "`exclusive`=False where the last windows of an image of unknown extent are smaller, \
                     as by `ceil_mode`",
                )
            })?;
            let shares = spans
                .iter()
                .map(|span| windows.kernel as f64 / span.counted as f64);
            Ok(Factors::Each(shares.collect()))
        });
        let factors = factors.collect::<Result<_>>()?;
        self.lower_full_windows(g, x, (image, kernel), factors)
    }

    /// Emits the averages of full windows, in which all elements of the kernel size count, with zeros around the
    /// input, times a factor for each window.
    fn lower_full_windows(
        &self,
        g: &mut Lowering<'_>,
        x: TensorId,
        (image, kernel): (&[Dim], &[Dim]),
        factors: Vec<Factors>,
    ) -> Result<TensorId> {
        let is_known = image.iter().all(|extent| extent.extent().is_some());
        let mut attrs = self.attrs(kernel).to_vec();
        attrs.push(("count_include_pad", NodeAttr::Int(1)));
        if is_known {
            let axes = kernel.iter().zip(image).enumerate();
            let pads = axes.map(|(axis, (size, image))| {
                let windows = self.geometry.axis_of(axis, size, image)?;
                let [before, after] = windows.pads;
                // ONNX needs zeros as far as the last window reaches.
                let end = (windows.count - 1) * windows.stride + windows.kernel;
                let reached = end.saturating_sub(windows.image + before);
                Ok([before, reached.max(after)])
            });
            attrs.push(pads_attr(&pads.collect::<Result<Vec<_>>>()?));
        } else if self.geometry.ceil_mode {
            return Err(Error::needs_extents(
                "`ceil_mode` with a norm or `exclusive`=False, of an image of unknown extent",
            ));
        } else {
            attrs.push(self.geometry.pads_attr(kernel, image)?);
        }
        let y = g.node("AveragePool", &[x], attrs);
        Ok(match factor(&factors, g.dtype(self.x))? {
            None => y,
            Some(factor) => {
                let factor = g.constant(factor);
                g.node("Mul", &[y, factor], [])
            }
        })
    }
}

/// The product of the factors along each axis, to be broadcast over the result; none if all are 1.
fn factor(along: &[Factors], dtype: DType) -> Result<Option<Tensor>> {
    let mut shape = Vec::new();
    let mut product = vec![1.0];
    for factors in along {
        let same;
        let each = match factors {
            Factors::Each(each) => each.as_slice(),
            Factors::Same(factor) => {
                same = [*factor];
                &same
            }
        };
        shape.push(each.len());
        let outer = product.iter().flat_map(|x| each.iter().map(move |y| x * y));
        product = outer.collect();
    }
    if product.iter().all(|factor| *factor == 1.0) {
        return Ok(None);
    }
    Tensor::from_elements(&shape, product).map(|factor| Some(factor.cast(dtype)))
}
