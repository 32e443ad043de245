//! Transposed convolution ("deconvolution") over two or three spatial axes: `conv2d_transpose`,
//! `depthwise_conv2d_transpose`, `conv3d_transpose`.

use super::geometry::{ConvGeometry, channel_axis, filter_macs};
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::conv::conv_transpose;
use crate::kernels::{Real, with_reals};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, Macs, OpDef, OpReader, Parse, Parsed, Values,
};
use crate::ops::shared::image::{Extents, Layout, Padding, ints, non_negative_i32, pads_attr};
use crate::program::{Attr, Fact, Facts, Op, ValueId};
use crate::tensor::{Array, Dim, Tensor, display_shape};

pub(super) const OPS: &[OpDef] = &[
    transposed(
        "conv2d_transpose",
        &[form(&["conv2d_transpose"])],
        ConvTranspose::parse::<2>,
    )
    .with_limits(&["`padding_algorithm` SAME over open extents"]),
    // A conv2d_transpose with as many groups as channels, for which Paddle only chooses another kernel.
    transposed(
        "depthwise_conv2d_transpose",
        &[form(&["depthwise_conv2d_transpose"])],
        ConvTranspose::parse::<2>,
    )
    .with_limits(&["`padding_algorithm` SAME over open extents"]),
    transposed(
        "conv3d_transpose",
        &[form(&["conv3d_transpose"])],
        ConvTranspose::parse::<3>,
    )
    .with_limits(&["`padding_algorithm` SAME over open extents"]),
];

const fn form(names: &'static [&'static str]) -> Form {
    let operands = &[
        Binding::Slot("Input"),
        Binding::Slot("Filter"),
        Binding::IntArray {
            attr: "output_size",
            slots: &[],
        },
    ];
    Form::legacy(names, operands, &["Output"])
}

const fn transposed(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    let operands = &[
        Arg::Tensor("x"),
        Arg::Tensor("filter"),
        Arg::IntArray("output_size"),
    ];
    OpDef::new(name, operands, legacy, parse)
        .with_dtypes(FLOATS)
        .with_accuracy(Accuracy::Accumulated)
        .with_channels(channels)
}

/// The channels of the result are along the second axis of the filter, which each group has for itself.
fn channels(op: &Op, [rank, _]: [usize; 2]) -> Option<[usize; 2]> {
    let is_one_group = op.attrs.get("groups") == Some(&Attr::Int(1));
    let axis = channel_axis(op, rank)?;
    is_one_group.then_some([axis, 1])
}

/// The transpose of a convolution with this geometry: each element of `x`, times the filter, is added to the window
/// of the result from which the convolution would compute that element. `x` is `[n, c, …]` (or `[n, …, c]`), `filter`
/// `[c, o / groups, …]` in either layout.
///
/// The convolution gives `x` the same extents for several results, whose extents are less than a stride apart. The
/// result has the least of these, unless `output_padding` adds to them or `output_size` states others.
///
/// Paddle: `phi/kernels/impl/conv_transpose_kernel_impl.h`, `ConvTransposeInferMeta`. ONNX: ConvTranspose, and Slice
/// for `output_size`: the attribute `output_shape` of ConvTranspose would choose the padding itself.
struct ConvTranspose {
    x: ValueId,
    filter: ValueId,
    output_size: Option<ValueId>,
    output_padding: Vec<usize>,
    geometry: ConvGeometry,
}

impl ConvTranspose {
    fn parse<const AXES: usize>(op: &mut OpReader<'_>) -> Parsed {
        let given: Vec<i64> = op.attr_or("output_padding", Vec::new())?;
        let output_padding: Option<Vec<usize>> = match given.as_slice() {
            [] => Some(vec![0; AXES]),
            [all] => non_negative_i32(*all).map(|all| vec![all; AXES]),
            each => each
                .iter()
                .map(|padding| non_negative_i32(*padding))
                .collect(),
        };
        let output_padding = output_padding.filter(|paddings| paddings.len() == AXES);
        let format: String = op.attr_or("data_format", "NCHW".to_owned())?;
        let mut geometry = ConvGeometry::parse(op, AXES)?;
        // Paddle's functions write `NHWC` for three spatial axes as well. The kernel takes all else for
        // channels first, even `NDHWC`.
        if format != "NHWC" {
            geometry.layout = Layout::ChannelsFirst;
        }
        Ok(Box::new(Self {
            x: op.operand("x")?,
            filter: op.operand("filter")?,
            output_size: op.optional("output_size")?,
            output_padding: output_padding
                .ok_or_else(|| Error::malformed(format!("output_padding {given:?}")))?,
            geometry,
        }))
    }

    /// The operand `output_size`, if it states the spatial extents of the result: it may be empty.
    fn stated<'s>(&self, shape: impl Fn(ValueId) -> &'s [Dim]) -> Option<ValueId> {
        let is_stated = |id: &ValueId| !matches!(shape(*id), [Dim::Known(0)]);
        self.output_size.filter(is_stated)
    }

    /// The least extent that the result can have along a spatial axis.
    fn least(&self, axis: usize, image: usize, kernel: usize) -> Result<usize> {
        let window = self.geometry.axis(axis, image, kernel);
        let covered = image.checked_sub(1).and_then(|steps| {
            steps
                .checked_mul(window.stride)?
                .checked_add(window.reach())
        });
        let [before, after] = window.pads;
        covered
            .and_then(|covered| covered.checked_sub(before.checked_add(after)?))
            .ok_or_else(|| {
                Error::malformed(format!("paddings of {before} and {after} leave no image"))
            })
    }

    /// The extent of the result along a spatial axis, for which `output_size` may state one.
    ///
    /// # Errors
    /// When the extent that is stated does not lead back to the extent `image` of `x`.
    fn output(
        &self,
        axis: usize,
        image: usize,
        kernel: usize,
        stated: Option<i64>,
    ) -> Result<usize> {
        let least = self.least(axis, image, kernel)?;
        let Some(stated) = stated else {
            return Ok(least.saturating_add(self.output_padding[axis]));
        };
        let range = least..least.saturating_add(self.geometry.strides[axis]);
        let size = non_negative_i32(stated).filter(|size| range.contains(size));
        size.ok_or_else(|| {
            let message = format!("an output_size of {stated} outside of {range:?}");
            Error::malformed(message)
        })
    }

    fn convolve<T: Real>(
        &self,
        x: &Array<T>,
        filter: &Array<T>,
        stated: Option<&[i64]>,
    ) -> Result<Array<T>> {
        let layout = self.geometry.layout;
        let extents = layout.extents(x.shape(), self.geometry.axes())?;
        let window = self.geometry.along(&extents.image, filter.shape())?;
        let axes = extents.image.iter().zip(&window).enumerate();
        let output = axes.map(|(axis, (image, window))| {
            let stated = stated.and_then(|sizes| sizes.get(axis).copied());
            self.output(axis, *image, window.kernel, stated)
        });
        let output: Vec<usize> = output.collect::<Result<_>>()?;
        let x = layout.view_from(x.clone());
        let y = conv_transpose(&x, filter, &window, &output, self.geometry.groups)?;
        Ok(layout.view_to(y.into()))
    }

    /// The padding attribute of the ONNX node.
    ///
    /// # Errors
    /// For SAME padding that depends on extents that are not known.
    fn padding(&self, image: &[Dim], taps: &[Dim]) -> Result<(&'static str, NodeAttr)> {
        if self.geometry.padding != Padding::Same {
            return Ok(self.geometry.padding.attr());
        }
        // ONNX's own SAME pads such that the result is `stride` times as long as `x`.
        let axes = image.iter().zip(taps).enumerate();
        let pads = axes.map(|(axis, (image, taps))| {
            let stride = self.geometry.strides[axis];
            // With a stride of 1, the padding is the same for every extent.
            let image = image.extent().or((stride == 1).then_some(1 << 20));
            let known = image.zip(taps.extent());
            known.map(|(image, taps)| self.geometry.padding.around(axis, image, taps, stride))
        });
        let pads: Option<Vec<[usize; 2]>> = pads.collect();
        let pads = pads.ok_or_else(|| {
            Error::needs_extents("`padding_algorithm` SAME of a transposed convolution on an image of unknown extent")
        })?;
        Ok(pads_attr(&pads))
    }
}

impl Function for ConvTranspose {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let layout = self.geometry.layout;
        let input = layout.extents(facts.shape(self.x), self.geometry.axes())?;
        let filter = facts.shape(self.filter);
        let taps = self.geometry.taps(filter)?;
        if let (Some(expected), Some(found)) = (filter[0].known(), input.channels.known())
            && expected != found
        {
            return Err(Error::malformed(format!(
                "an image of {found} channels where the filter takes {expected}"
            )));
        }
        let groups = self.geometry.groups;
        if filter[0]
            .extent()
            .is_some_and(|channels| channels % groups != 0)
        {
            let shape = display_shape(filter);
            return Err(Error::malformed(format!(
                "a filter of shape {shape} in {groups} groups"
            )));
        }
        let stated = self.stated(|id| facts.shape(id));
        let sizes = stated.and_then(|id| facts.content(id));
        if let Some(sizes) = sizes
            && sizes.len() != self.geometry.axes()
        {
            let sizes = display_shape(sizes);
            return Err(Error::malformed(format!("an output_size of {sizes}")));
        }
        let axes = input.image.iter().zip(taps).enumerate();
        let image = axes.map(|(axis, (image, taps))| {
            let size = sizes.map(|sizes| &sizes[axis]);
            match (image.extent().zip(taps.extent()), stated, size) {
                (_, Some(_), None) => Ok(Dim::Unknown),
                (_, Some(_), Some(size)) if size.known().is_none() => Ok(size.clone()),
                (None, _, size) => Ok(size.cloned().unwrap_or(Dim::Unknown)),
                (Some((image, taps)), _, size) => {
                    let size = size.and_then(Dim::known);
                    self.output(axis, image, taps, size).map(Dim::from)
                }
            }
        });
        let image = image.collect::<Result<_>>()?;
        let outputs = filter[1]
            .extent()
            .and_then(|outputs| outputs.checked_mul(groups));
        let shape = layout.shape(Extents {
            batch: input.batch,
            channels: outputs.map_or(Dim::Unknown, Dim::from),
            image,
        });
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (layout, rank) = (self.geometry.layout, self.geometry.rank());
        let extents = layout.extents(g.shape(self.x), self.geometry.axes())?;
        let taps = self.geometry.taps(g.shape(self.filter))?.to_vec();
        let stated = self.stated(|id| g.shape(id));
        let x = g.value(self.x)?;
        let x = layout.lower_from(g, x, rank);
        let filter = g.value(self.filter)?;
        // The largest of the possible results holds all others, which are sliced from it.
        let output_padding = match stated {
            Some(_) => self
                .geometry
                .strides
                .iter()
                .map(|stride| stride - 1)
                .collect(),
            None => self.output_padding.clone(),
        };
        let own = [
            ("output_padding", ints(&output_padding)),
            self.padding(&extents.image, &taps)?,
        ];
        let attrs = self.geometry.attrs().into_iter().chain(own);
        let x = g.apart_from_weights(x, filter);
        let mut y = g.node("ConvTranspose", &[x, filter], attrs);
        if let Some(sizes) = stated {
            let sizes = g.int_array(sizes)?;
            let axes: Vec<i64> = (2..rank as i64).collect();
            let (starts, axes) = (g.vector(&vec![0; axes.len()]), g.vector(&axes));
            y = g.node("Slice", &[y, starts, sizes, axes], []);
        }
        Ok(layout.lower_to(g, y, rank))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (x, filter) = (values.get(self.x)?, values.get(self.filter)?);
        let sizes = self.output_size.map(|id| values.integers(id)).transpose()?;
        let stated = sizes.as_deref().filter(|sizes| !sizes.is_empty());
        with_reals!(x, filter, (x, filter) => self.convolve(x, filter, stated)?)
    }

    fn macs(&self, facts: &Facts<'_>) -> Macs {
        filter_macs(facts, facts.shape(self.x), self.filter)
    }
}
