//! The inverse of max pooling: `unpool` and `unpool3d` put elements back where a pooling with positions found them.

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::{Real, with_real};
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parse, Parsed, Values};
use crate::ops::shared::image::{Extents, Layout, non_negative_i32};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, DType, Dim, Tensor, refuse_too_large};

pub(super) const OPS: &[OpDef] = &[
    definition(
        "unpool",
        &[form(&["unpool"]).ignoring(&["unpooling_type"])],
        Unpool::parse::<2>,
    )
    .with_opset(10)
    .with_limits(&["channels-last images"]),
    definition(
        "unpool3d",
        &[form(&["unpool3d"]).ignoring(&["unpooling_type"])],
        Unpool::parse::<3>,
    )
    .with_opset(10),
];

const fn form(names: &'static [&'static str]) -> Form {
    let operands = &[
        Binding::Slot("X"),
        Binding::Slot("Indices"),
        Binding::IntArray {
            attr: "output_size",
            slots: &[],
        },
    ];
    Form::legacy(names, operands, &["Out"])
}

const fn definition(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    let operands = &[
        Arg::Tensor("x"),
        Arg::Tensor("indices"),
        Arg::IntArray("output_size"),
    ];
    OpDef::new(name, operands, legacy, parse).with_dtypes(&[DType::F32, DType::F64])
}

/// Zeros with the spatial extents `output_size`, to which the elements of `x` (`[n, c, …]`) are scattered. Their
/// positions, `indices` (of the shape of `x`), count the elements of each channel of the result in row-major order.
///
/// Paddle: `phi/kernels/cpu/unpool_kernel.cc`, which reads neither the kernel size nor the layout. ONNX:
/// ScatterElements, since MaxUnpool counts the elements of the whole tensor.
struct Unpool {
    x: ValueId,
    indices: ValueId,
    size: Size,
    axes: usize,
}

/// The spatial extents of the result.
enum Size {
    Stated(ValueId),
    /// That of the image whose pooling, with this kernel size, stride and padding along each axis, gave `x`. Up to
    /// Paddle 2.1, none other is stated.
    Pooled(Vec<[i64; 3]>),
}

/// The kernel size, stride and padding along each axis.
fn pooled(op: &mut OpReader<'_>, axes: usize) -> Result<Vec<[i64; 3]>> {
    let mut read = |name: &str| {
        let numbers: Vec<i64> = op.attr(name)?;
        match numbers.len() == axes && numbers.iter().all(|number| i32::try_from(*number).is_ok()) {
            true => Ok(numbers),
            false => Err(Error::malformed(format!("{name} of {numbers:?}"))),
        }
    };
    let (sizes, strides, paddings) = (read("ksize")?, read("strides")?, read("paddings")?);
    let windows = sizes.into_iter().zip(strides).zip(paddings);
    Ok(windows
        .map(|((size, stride), padding)| [size, stride, padding])
        .collect())
}

/// The extent of the image of which a pooling gave `extent` elements.
fn grown(extent: i64, [size, stride, padding]: &[i64; 3]) -> i64 {
    let windows = extent.saturating_sub(1).saturating_mul(*stride);
    windows.saturating_add(size - 2 * padding)
}

impl Unpool {
    /// Emits the spatial extents of the result.
    fn lower_size(&self, g: &mut Lowering<'_>, x: TensorId) -> Result<TensorId> {
        let windows = match &self.size {
            Size::Stated(size) => return g.int_array(*size),
            Size::Pooled(windows) => windows,
        };
        let strides: Vec<i64> = windows.iter().map(|[_, stride, _]| *stride).collect();
        let rests: Vec<i64> = windows.iter().map(|window| grown(0, window)).collect();
        let image = g.shape_slice(x, 2, 2 + self.axes as i64);
        let (strides, rests) = (g.vector(&strides), g.vector(&rests));
        let product = g.node("Mul", &[image, strides], []);
        Ok(g.node("Add", &[product, rests], []))
    }

    fn parse<const AXES: usize>(op: &mut OpReader<'_>) -> Parsed {
        let size = match op.optional("output_size")? {
            None if op.is_before(2, 2) => Size::Pooled(pooled(op, AXES)?),
            _ => Size::Stated(op.operand("output_size")?),
        };
        // A stated `output_size` was computed from these.
        for name in ["ksize", "strides", "padding", "paddings"] {
            op.ignore(name);
        }
        if Layout::parse(op)? != Layout::ChannelsFirst {
            return Err(Error::unsupported(
                "`data_format`: unpooling of channels-last images",
            ));
        }
        Ok(Box::new(Self {
            x: op.operand("x")?,
            indices: op.operand("indices")?,
            size,
            axes: AXES,
        }))
    }

    /// The result in a run.
    ///
    /// # Errors
    /// When `size` does not have a number for each spatial axis, or a position lies outside of the result.
    fn scatter<T: Real>(&self, x: &Array<T>, indices: &[i64], size: &[i64]) -> Result<Array<T>> {
        let extents = Layout::ChannelsFirst.extents(x.shape(), self.axes)?;
        let image: Option<Vec<usize>> = size
            .iter()
            .map(|extent| non_negative_i32(*extent))
            .collect();
        let image = image.filter(|image| image.len() == self.axes);
        let image = image.ok_or_else(|| Error::malformed(format!("an output_size of {size:?}")))?;
        let shape = Layout::ChannelsFirst.shape(Extents {
            image: image.clone(),
            ..extents.clone()
        });
        refuse_too_large(&shape)?;
        let pixels: usize = image.iter().product();
        let elements: usize = extents.image.iter().product();
        let mut result = vec![T::zero(); shape.iter().product()];
        for (number, (x, index)) in x.iter().zip(indices).enumerate() {
            let pixel = usize::try_from(*index).ok().filter(|index| *index < pixels);
            let pixel =
                pixel.ok_or_else(|| Error::malformed(format!("position {index} of {pixels}")))?;
            result[number / elements * pixels + pixel] = *x;
        }
        let result = ndarray::ArrayD::from_shape_vec(shape, result);
        result
            .map(Into::into)
            .map_err(|e| Error::internal(format!("unpooling: {e}")))
    }
}

impl Function for Unpool {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let extents = Layout::ChannelsFirst.extents(facts.shape(self.x), self.axes)?;
        let image = match &self.size {
            Size::Pooled(windows) => {
                let axes = windows.iter().zip(&extents.image);
                axes.map(|(window, extent)| {
                    extent
                        .known()
                        .map_or(Dim::Unknown, |e| Dim::Known(grown(e, window)))
                })
                .collect()
            }
            Size::Stated(size) => match facts.content(*size) {
                Some(size) if size.len() == self.axes => size.to_vec(),
                Some(size) => {
                    let message = format!("an output_size of {} numbers", size.len());
                    return Err(Error::malformed(message));
                }
                None => vec![Dim::Unknown; self.axes],
            },
        };
        let shape = Layout::ChannelsFirst.shape(Extents { image, ..extents });
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let indices = g.value(self.indices)?;
        let size = self.lower_size(g, x)?;
        let images = g.shape_slice(x, 0, 2);
        let flat = g.vector(&[0, 0, -1]);
        let elements = g.node("Reshape", &[x, flat], []);
        let positions = g.node("Reshape", &[indices, flat], []);
        let pixels = g.reduce("ReduceProd", size, &[0], true);
        let zeros = g.concat(&[images, pixels], 0);
        let zero = g.scalar(g.dtype(self.x), 0.0);
        let zeros = g.node("Expand", &[zero, zeros], []);
        let axis = [("axis", NodeAttr::Int(2))];
        let y = g.node("ScatterElements", &[zeros, positions, elements], axis);
        let shape = g.concat(&[images, size], 0);
        Ok(g.node("Reshape", &[y, shape], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let indices = values.integers(self.indices)?;
        let x = values.get(self.x)?;
        let size = match &self.size {
            Size::Stated(size) => values.integers(*size)?,
            Size::Pooled(windows) => {
                let extents = Layout::ChannelsFirst.extents(x.shape(), self.axes)?;
                let axes = windows.iter().zip(&extents.image);
                axes.map(|(window, extent)| grown(*extent as i64, window))
                    .collect()
            }
        };
        with_real!(x, x => self.scatter(x, &indices, &size)?)
    }
}
