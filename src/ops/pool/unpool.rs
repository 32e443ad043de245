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
        &[form(&["unpool"]).ignoring(&["ksize", "strides", "paddings", "unpooling_type"])],
        Unpool::parse::<2>,
    )
    .with_limits(&["channels-last images"]),
    definition(
        "unpool3d",
        &[form(&["unpool3d"]).ignoring(&["ksize", "strides", "paddings", "unpooling_type"])],
        Unpool::parse::<3>,
    ),
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
    output_size: ValueId,
    axes: usize,
}

impl Unpool {
    fn parse<const AXES: usize>(op: &mut OpReader<'_>) -> Parsed {
        // `output_size` was computed from these.
        for name in ["ksize", "strides", "padding", "paddings"] {
            op.ignore(name);
        }
        if Layout::parse(op)? != Layout::ChannelsFirst {
            return Err(Error::unsupported("unpooling of channels-last images"));
        }
        Ok(Box::new(Self {
            x: op.operand("x")?,
            indices: op.operand("indices")?,
            output_size: op.operand("output_size")?,
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
        let image = match facts.content(self.output_size) {
            Some(size) if size.len() == self.axes => size.to_vec(),
            Some(size) => {
                let message = format!("an output_size of {} numbers", size.len());
                return Err(Error::malformed(message));
            }
            None => vec![Dim::Unknown; self.axes],
        };
        let shape = Layout::ChannelsFirst.shape(Extents { image, ..extents });
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let indices = g.value(self.indices)?;
        let size = g.int_array(self.output_size)?;
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
        let size = values.integers(self.output_size)?;
        with_real!(values.get(self.x)?, x => self.scatter(x, &indices, &size)?)
    }
}
