//! Pictures → inputs, by the steps of PaddleClas' evaluation: decode, resize the short side, crop
//! the centre, scale to 0..1, subtract the mean, divide by the standard deviation.
//!
//! For a picture that is stored without loss, the numbers are those of PaddleClas to the bit. JPEG
//! leaves decoders some freedom, so that the decoded 8-bit values may differ by a few units.
//! Refused are models that take anything but one RGB picture, and pictures that are too small or too
//! long for the model.

use std::fs::File;
use std::io::{BufReader, Cursor};
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use super::resize::{CHANNELS, Picture};
use super::{Set, declared};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::program::{Program, Value};
use crate::tensor::{Tensor, display_shape};

/// For models of this size or larger, PaddleClas' configurations resize the short side to the model's
/// size.
const LARGE: usize = 384;

/// The largest width and height of a picture, before and after it is resized, in pixels.
const LARGEST_SIDE: usize = 1 << 15;

/// Which pictures to give the model, and how to prepare them.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageInputs {
    /// PNG or JPEG files.
    pub paths: Vec<PathBuf>,
    /// The short side of the resized picture, in pixels. None for PaddleClas' rule: 256 for models of
    /// size 224, the same ratio for all sizes below 384, and the model's size from there on.
    pub resize_short: Option<usize>,
    /// The height and width for a model that leaves them open, in pixels.
    pub crop: Option<usize>,
    /// What to subtract from red, green and blue, which are scaled to 0..1.
    pub mean: [f32; CHANNELS],
    /// What to divide the differences by.
    pub std: [f32; CHANNELS],
    /// A file with the names of the classes, one per line, for the report.
    pub labels: Option<PathBuf>,
}

impl ImageInputs {
    /// The channel means of ImageNet, which PaddleClas takes where a configuration says nothing else.
    pub const MEAN: [f32; CHANNELS] = [0.485, 0.456, 0.406];
    /// The standard deviations of ImageNet's channels, which PaddleClas takes likewise.
    pub const STD: [f32; CHANNELS] = [0.229, 0.224, 0.225];

    /// Inputs of these pictures, with PaddleClas' defaults.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self {
            paths,
            resize_short: None,
            crop: None,
            mean: Self::MEAN,
            std: Self::STD,
            labels: None,
        }
    }
}

/// The spatial extents of a model's input, in pixels, and whether its channel axis is the last one.
struct Layout {
    height: usize,
    width: usize,
    channels_last: bool,
}

/// A model's only input, and how pictures become that, one by one.
pub(crate) struct Pictures<'m> {
    value: &'m Value,
    layout: Layout,
    images: &'m ImageInputs,
}

impl<'m> Pictures<'m> {
    /// What the model takes, and how `images` says to prepare that; its paths are not looked at.
    ///
    /// # Errors
    /// When the model does not take one RGB picture.
    pub fn new(model: &'m Model, images: &'m ImageInputs) -> Result<Self> {
        let pictures = Self::of(model.program(), images);
        pictures.map_err(|e| e.in_file(&model.files().program))
    }

    fn of(program: &'m Program, images: &'m ImageInputs) -> Result<Self> {
        let [value] = declared(program)[..] else {
            return Err(Error::invalid(format!(
                "a picture needs a model with one input, not {}",
                program.inputs().len()
            )));
        };
        Ok(Self {
            value,
            layout: Layout::of(value, images)?,
            images,
        })
    }

    /// The picture in this file as the input, with its name.
    ///
    /// # Errors
    /// When the picture can't be read or does not fit.
    pub fn prepare(&self, path: &Path) -> Result<(String, Tensor)> {
        let tensor = prepare(path, &self.layout, self.images)?;
        Ok((self.value.name.clone(), tensor.cast(self.value.dtype)))
    }
}

/// The sets of inputs, one per picture.
///
/// # Errors
/// When the model does not take one RGB picture, or a picture can't be read or does not fit.
pub(super) fn sets(program: &Program, images: &ImageInputs) -> Result<Vec<Set>> {
    let pictures = Pictures::of(program, images)?;
    let sets = images.paths.iter().map(|path| {
        Ok(Set {
            label: path.display().to_string(),
            tensors: vec![pictures.prepare(path)?],
            notes: Vec::new(),
        })
    });
    sets.collect()
}

/// A small copy of a picture as JPEG, neither side of which is longer than `side` pixels.
///
/// # Errors
/// When the picture can't be read.
pub(crate) fn thumbnail(path: &Path, side: u32) -> Result<Vec<u8>> {
    let Picture {
        width,
        height,
        pixels,
    } = decode(path)?;
    let extents = u32::try_from(width).ok().zip(u32::try_from(height).ok());
    let image = extents.and_then(|(width, height)| RgbImage::from_raw(width, height, pixels));
    let image = image.ok_or_else(|| Error::internal("a picture of other extents than it has"))?;
    let mut jpeg = Cursor::new(Vec::new());
    DynamicImage::from(image)
        .thumbnail(side, side)
        .write_to(&mut jpeg, ImageFormat::Jpeg)
        .map_err(|e| Error::internal(format!("a picture can't be written: {e}")).in_file(path))?;
    Ok(jpeg.into_inner())
}

impl Layout {
    /// The layout of an input of shape `[1, 3, height, width]` or `[1, height, width, 3]`, whose batch
    /// may be open.
    ///
    /// # Errors
    /// When the shape is another one, the element type is not floating-point, or the height and width
    /// are given by neither the model nor `images`.
    fn of(value: &Value, images: &ImageInputs) -> Result<Self> {
        let fail = |what: String| {
            let (name, shape) = (&value.name, display_shape(&value.shape));
            Error::invalid(format!("the input `{name}` of shape {shape} {what}"))
        };
        let dims: Vec<Option<i64>> = value.shape.iter().map(|dim| dim.known()).collect();
        let (channels_last, height, width) = match dims.as_slice() {
            [None | Some(1), Some(3), height, width] => (false, *height, *width),
            [None | Some(1), height, width, Some(3)] => (true, *height, *width),
            _ => {
                return Err(fail(
                    "takes no single RGB picture: that is [1, 3, height, width] or [1, height, width, 3]"
                        .into(),
                ));
            }
        };
        if !value.dtype.is_float() {
            return Err(fail(format!(
                "is {}, but pictures become floating-point numbers",
                value.dtype
            )));
        }
        let extent = |known: Option<i64>| match (known, images.crop) {
            (Some(extent), _) => usize::try_from(extent)
                .ok()
                .filter(|extent| (1..=LARGEST_SIDE).contains(extent))
                .ok_or_else(|| fail("is no size for a picture".into())),
            (None, Some(crop)) => Ok(crop),
            (None, None) => Err(fail(
                "leaves the size of pictures open; give it with --crop, as in --crop 224".into(),
            )),
        };
        Ok(Self {
            height: extent(height)?,
            width: extent(width)?,
            channels_last,
        })
    }

    /// The length to which PaddleClas resizes the short side, in pixels.
    fn default_short(&self) -> usize {
        match self.height.max(self.width) {
            large if large >= LARGE => large,
            small => (small as f64 * 256.0 / 224.0).round() as usize,
        }
    }
}

/// Reads a picture and makes it the float32 tensor that an input of this layout takes.
fn prepare(path: &Path, layout: &Layout, images: &ImageInputs) -> Result<Tensor> {
    let picture = decode(path)?;
    let short = images.resize_short.unwrap_or(layout.default_short());
    let ratio = short as f64 / picture.width.min(picture.height) as f64;
    let scaled = |extent: usize| (extent as f64 * ratio).round_ties_even() as usize;
    let (width, height) = (scaled(picture.width), scaled(picture.height));
    if width > LARGEST_SIDE || height > LARGEST_SIDE {
        return Err(Error::invalid(format!(
            "the picture is too long and narrow: with a short side of {short} pixels it would be \
             {width} x {height}"
        ))
        .in_file(path));
    }
    if width < layout.width || height < layout.height {
        return Err(Error::invalid(format!(
            "with a short side of {short} pixels the picture is {width} x {height}, less than the \
             model's {} x {}; choose a larger --resize-short",
            layout.width, layout.height
        ))
        .in_file(path));
    }
    normalized(&picture.resized(width, height), layout, images)
}

/// The pixels as 8-bit RGB, rotated as the file says, without transparency.
fn decode(path: &Path) -> Result<Picture> {
    let file = File::open(path).map_err(|e| Error::io(path, "open the picture", e))?;
    let fail = |e: image::ImageError| {
        Error::malformed(format!(
            "could not read the picture (PNG and JPEG are): {e}"
        ))
        .in_file(path)
    };
    let mut reader = ImageReader::new(BufReader::new(file))
        .with_guessed_format()
        .map_err(|e| Error::io(path, "read the picture", e))?;
    let mut limits = Limits::default();
    limits.max_image_width = u32::try_from(LARGEST_SIDE).ok();
    limits.max_image_height = limits.max_image_width;
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(fail)?;
    let orientation = decoder.orientation().map_err(fail)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(fail)?;
    image.apply_orientation(orientation);
    let image = image.into_rgb8();
    let (width, height) = (image.width() as usize, image.height() as usize);
    if width == 0 || height == 0 {
        return Err(Error::malformed("the picture is empty").in_file(path));
    }
    Ok(Picture {
        width,
        height,
        pixels: image.into_raw(),
    })
}

/// Crops the centre of the picture and normalises its channels, in float32. Every step rounds as
/// PaddleClas' does.
fn normalized(picture: &Picture, layout: &Layout, images: &ImageInputs) -> Result<Tensor> {
    let left = (picture.width - layout.width) / 2;
    let top = (picture.height - layout.height) / 2;
    let scale = (1.0 / 255.0) as f32;
    let at = |channel: usize, y: usize, x: usize| {
        let position = ((top + y) * picture.width + left + x) * CHANNELS + channel;
        let value = f32::from(picture.pixels[position]) * scale;
        (value - images.mean[channel]) / images.std[channel]
    };
    let (height, width) = (layout.height, layout.width);
    if layout.channels_last {
        let elements =
            ndarray::Array4::from_shape_fn((1, height, width, CHANNELS), |i| at(i.3, i.1, i.2));
        return Ok(Tensor::F32(elements.into_dyn().into()));
    }
    let elements =
        ndarray::Array4::from_shape_fn((1, CHANNELS, height, width), |i| at(i.1, i.2, i.3));
    Ok(Tensor::F32(elements.into_dyn().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Origin;
    use crate::tensor::{DType, Dim};

    /// The layout of a float32 input with these extents, of which negative ones are open.
    fn layout(extents: &[i64], crop: Option<usize>) -> Result<Layout> {
        let dims = extents.iter().map(|extent| match extent {
            ..0 => Dim::Unknown,
            extent => Dim::Known(*extent),
        });
        let value = Value {
            name: "x".into(),
            dtype: DType::F32,
            shape: dims.collect(),
            origin: Origin::Input,
        };
        let mut images = ImageInputs::new(Vec::new());
        images.crop = crop;
        Layout::of(&value, &images)
    }

    #[test]
    fn short_sides_are_those_of_the_configurations() {
        for (size, short) in [(224, 256), (384, 384), (448, 448), (32, 37)] {
            let layout = layout(&[-1, 3, size, size], None).unwrap();
            assert_eq!(layout.default_short(), short, "{size}");
        }
    }

    #[test]
    fn both_layouts_and_open_sizes_are_taken() {
        let nhwc = layout(&[1, 8, 9, 3], None).unwrap();
        assert!(nhwc.channels_last && (nhwc.height, nhwc.width) == (8, 9));
        let open = layout(&[-1, 3, -1, -1], Some(16)).unwrap();
        assert!(!open.channels_last && (open.height, open.width) == (16, 16));
        for (extents, crop, word) in [
            (&[-1, 3, -1, -1][..], None, "--crop"),
            (&[-1, 1, 8, 8], None, "RGB"),
            (&[2, 3, 8, 8], None, "single"),
            (&[-1, 3], None, "RGB"),
            (&[-1, 3, 0, 8], None, "no size"),
        ] {
            let error = layout(extents, crop).err().unwrap().to_string();
            assert!(error.contains(word), "{extents:?}: {error}");
        }
    }
}
