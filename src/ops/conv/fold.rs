//! The windows of a tensor as columns (`unfold`, also called im2col), and the sum of such windows (`fold`, or col2im).
//!
//! Paddle: `phi/kernels/impl/{unfold,fold}_kernel_impl.h`, `phi/kernels/funcs/im2col.h`. ONNX: Gather along each
//! spatial axis, and ReduceSum for `fold`, with all element types at all opsets. Of Col2Im, which is a fold, runtimes
//! have a kernel for float32 alone.

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::conv::{WindowAxis, fold, unfold};
use crate::kernels::with_real;
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, OpDef, OpReader, Parsed, Values,
};
use crate::ops::shared::image::{non_negative_i32, positive};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{DType, Dim, Tensor, display_shape};

const X: &[Arg] = &[Arg::Tensor("x")];

const SLOT_X: &[Binding] = &[Binding::Slot("X")];

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "unfold",
        X,
        &[Form::legacy(&["unfold"], SLOT_X, &["Y"])],
        Unfold::parse,
    )
    .with_dtypes(FLOATS),
    OpDef::new(
        "fold",
        X,
        &[Form::legacy(&["fold"], SLOT_X, &["Y"])],
        Fold::parse,
    )
    .with_dtypes(FLOATS)
    .with_accuracy(Accuracy::Rounded),
];

/// Reads the geometry of the windows, along both spatial axes.
fn windows(op: &mut OpReader<'_>) -> Result<[WindowAxis; 2]> {
    let kernel = positive(op, "kernel_sizes", 2)?;
    let strides = positive(op, "strides", 2)?;
    let dilations = positive(op, "dilations", 2)?;
    let paddings: Vec<i64> = op.attr_or("paddings", vec![0; 4])?;
    let pads: Option<Vec<usize>> = paddings.iter().map(|pad| non_negative_i32(*pad)).collect();
    let Some(&[top, left, bottom, right]) = pads.as_deref() else {
        return Err(Error::malformed(format!("paddings {paddings:?}")));
    };
    let axis = |axis: usize, pads| WindowAxis {
        kernel: kernel[axis],
        stride: strides[axis],
        dilation: dilations[axis],
        pads,
    };
    Ok([axis(0, [top, bottom]), axis(1, [left, right])])
}

/// The product of two extents, if they are known.
fn product(a: &Dim, b: &Dim) -> Dim {
    let known = a.known().zip(b.known());
    let product = known.and_then(|(a, b)| a.checked_mul(b));
    product.map_or(Dim::Unknown, Dim::Known)
}

/// The number of elements of a window.
fn taps(windows: &[WindowAxis; 2]) -> Result<usize> {
    let [rows, columns] = windows;
    let taps = rows.kernel.checked_mul(columns.kernel);
    let taps = taps.filter(|taps| *taps <= LONGEST);
    taps.ok_or_else(|| Error::unsupported("windows of more than a million elements"))
}

/// The most elements of a window, and of a list of indices that is written as a constant.
const LONGEST: usize = 1 << 20;

fn gather(g: &mut Lowering<'_>, x: TensorId, indices: TensorId, axis: i64) -> TensorId {
    g.node("Gather", &[x, indices], [("axis", NodeAttr::Int(axis))])
}

/// Emits `x` with zeros around its last two axes.
fn pad(
    g: &mut Lowering<'_>,
    x: TensorId,
    dtype: DType,
    [rows, columns]: [[usize; 2]; 2],
) -> TensorId {
    let [top, bottom, left, right] =
        [rows[0], rows[1], columns[0], columns[1]].map(|pad| pad as i64);
    if [top, bottom, left, right] == [0; 4] {
        return x;
    }
    let pads = g.vector(&[0, 0, top, left, 0, 0, bottom, right]);
    let zero = g.scalar(dtype, 0.0);
    let mode = ("mode", NodeAttr::String("constant"));
    g.node("Pad", &[x, pads, zero], [mode])
}

/// `x` (`[n, c, h, w]`) as `[n, c · taps, windows]`, with `taps` for the number of elements of the kernel: each column
/// holds the elements of one window.
struct Unfold {
    x: ValueId,
    windows: [WindowAxis; 2],
}

impl Unfold {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            windows: windows(op)?,
        }))
    }

    /// Emits the index of each element of each window along an axis of the padded input, `[taps, windows]`. `image`
    /// is the extent of the input without padding.
    fn members(
        g: &mut Lowering<'_>,
        padded: TensorId,
        axis: i64,
        window: &WindowAxis,
        image: &Dim,
    ) -> Result<TensorId> {
        let count = image
            .extent()
            .map(|image| window.count(image))
            .transpose()?;
        let starts = match count.filter(|count| *count <= LONGEST) {
            Some(count) => {
                let starts = (0..count).map(|start| (start * window.stride) as i64);
                g.vector(&starts.collect::<Vec<_>>())
            }
            None => {
                let extent = g.shape_slice(padded, axis, axis + 1);
                let extent = g.squeeze(extent, &[0]);
                let reach = g.scalar(DType::I64, window.reach() as f64 - 1.0);
                let end = g.node("Sub", &[extent, reach], []);
                let zero = g.scalar(DType::I64, 0.0);
                let stride = g.scalar(DType::I64, window.stride as f64);
                g.node("Range", &[zero, end, stride], [])
            }
        };
        let taps = (0..window.kernel).map(|tap| tap.saturating_mul(window.dilation) as i64);
        let taps = Tensor::from_elements(&[window.kernel, 1], taps.collect())?;
        let taps = g.constant(taps);
        Ok(g.node("Add", &[starts, taps], []))
    }
}

impl Function for Unfold {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let shape = facts.shape(self.x);
        let [batch, channels, height, width] = shape else {
            let shape = display_shape(shape);
            return Err(Error::malformed(format!("images of shape {shape}")));
        };
        let count = |window: &WindowAxis, image: &Dim| match image.extent() {
            Some(image) => window.count(image).map(Dim::from),
            None => Ok(Dim::Unknown),
        };
        let [rows, columns] = &self.windows;
        let windows = product(&count(rows, height)?, &count(columns, width)?);
        let channels = product(channels, &Dim::from(taps(&self.windows)?));
        let shape = vec![batch.clone(), channels, windows];
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (dtype, shape) = (g.dtype(self.x), g.shape(self.x).to_vec());
        let [rows, columns] = &self.windows;
        let x = g.value(self.x)?;
        let x = pad(g, x, dtype, [rows.pads, columns.pads]);
        let row_members = Self::members(g, x, 2, rows, &shape[2])?;
        let column_members = Self::members(g, x, 3, columns, &shape[3])?;
        let y = gather(g, x, row_members, 2);
        let y = gather(g, y, column_members, 4);
        let y = g.transpose(y, &[0, 1, 2, 4, 3, 5]);
        let taps = taps(&self.windows)?;
        let target = match product(&shape[1], &Dim::from(taps)).known() {
            Some(channels) => g.vector(&[0, channels, -1]),
            None => {
                let parts = g.vector(&[0, 0, taps as i64, -1]);
                let parts = g.node("Reshape", &[y, parts], []);
                let windows = g.shape_slice(parts, 3, 4);
                let channels = g.vector(&[0, -1]);
                g.concat(&[channels, windows], 0)
            }
        };
        Ok(g.node("Reshape", &[y, target], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        with_real!(values.get(self.x)?, x => unfold(x, &self.windows)?)
    }
}

/// `[n, c, h, w]` of zeros, to which the windows that are the columns of `x` (`[n, c · taps, windows]`) are added at
/// their places.
struct Fold {
    x: ValueId,
    windows: [WindowAxis; 2],
    /// The spatial extents of the result.
    image: [usize; 2],
}

/// Which elements of windows are added to each element of the result, along one spatial axis.
struct Meeting {
    /// For each element of the result, `each` indices into `[taps, windows]`, flattened. Where fewer are added, the
    /// rest is `length`, the index behind the last.
    members: Vec<i64>,
    each: usize,
    /// The number of elements of `[taps, windows]`.
    length: usize,
}

impl Meeting {
    fn new(window: &WindowAxis, image: usize) -> Result<Self> {
        let too_large =
            || Error::unsupported("an image or windows of more than a million elements");
        let count = window.count(image)?;
        let length = window.kernel.checked_mul(count);
        let length = length.filter(|length| image.max(*length) <= LONGEST);
        let length = length.ok_or_else(too_large)?;
        let mut elements: Vec<Vec<i64>> = vec![Vec::new(); image];
        for tap in 0..window.kernel {
            for start in 0..count {
                let element = window.pixel(start, tap, image);
                if let Some(members) = element.and_then(|element| elements.get_mut(element)) {
                    members.push((tap * count + start) as i64);
                }
            }
        }
        let each = elements.iter().map(Vec::len).max().unwrap_or(0).max(1);
        if image.saturating_mul(each) > LONGEST {
            return Err(too_large());
        }
        let members = elements.into_iter().flat_map(|mut members| {
            members.resize(each, length as i64);
            members
        });
        Ok(Self {
            members: members.collect(),
            each,
            length,
        })
    }

    /// The zeros before and behind the elements: one behind the last if `members` refers to it.
    fn padding(&self) -> [usize; 2] {
        [0, usize::from(self.members.contains(&(self.length as i64)))]
    }

    /// Emits the sum for each element of the result, along an axis of `x` that is `[taps, windows]`, flattened.
    fn sum(&self, g: &mut Lowering<'_>, x: TensorId, axis: usize) -> Result<TensorId> {
        if self.each == 1 {
            let members = g.vector(&self.members);
            return Ok(gather(g, x, members, axis as i64));
        }
        let shape = [self.members.len() / self.each, self.each];
        let members = g.constant(Tensor::from_elements(&shape, self.members.clone())?);
        let members = gather(g, x, members, axis as i64);
        Ok(g.reduce("ReduceSum", members, &[axis + 1], false))
    }
}

impl Fold {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let image = positive(op, "output_sizes", 2)?;
        Ok(Box::new(Self {
            x: op.operand("x")?,
            windows: windows(op)?,
            image: [image[0], image[1]],
        }))
    }

    /// The number of windows along each spatial axis.
    fn counts(&self) -> Result<[usize; 2]> {
        let [rows, columns] = &self.windows;
        Ok([rows.count(self.image[0])?, columns.count(self.image[1])?])
    }
}

impl Function for Fold {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let shape = facts.shape(self.x);
        let counts = self.counts()?;
        let taps = taps(&self.windows)?;
        let fits = |columns: &Dim, windows: &Dim| {
            let windows = windows.extent();
            windows.is_none_or(|windows| counts[0].checked_mul(counts[1]) == Some(windows))
                && columns.extent().is_none_or(|columns| columns % taps == 0)
        };
        match shape {
            [batch, columns, windows] if fits(columns, windows) => {
                let channels = columns
                    .extent()
                    .map_or(Dim::Unknown, |columns| Dim::from(columns / taps));
                let [height, width] = self.image.map(Dim::from);
                let shape = vec![batch.clone(), channels, height, width];
                Ok(Fact::new(facts.dtype(self.x), shape))
            }
            _ => {
                let (shape, [height, width]) = (display_shape(shape), self.image);
                Err(Error::malformed(format!(
                    "columns of shape {shape} for windows of {taps} elements on images of {height} by {width}"
                )))
            }
        }
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let [rows, columns] = &self.windows;
        let counts = self.counts()?.map(|count| count as i64);
        let kernel = [rows.kernel, columns.kernel].map(|taps| taps as i64);
        let x = g.value(self.x)?;
        let parts = g.vector(&[0, -1, kernel[0], kernel[1], counts[0], counts[1]]);
        let x = g.node("Reshape", &[x, parts], []);
        let x = g.transpose(x, &[0, 1, 2, 4, 3, 5]);
        let plane = g.vector(&[0, 0, kernel[0] * counts[0], kernel[1] * counts[1]]);
        let x = g.node("Reshape", &[x, plane], []);
        let along_rows = Meeting::new(rows, self.image[0])?;
        let along_columns = Meeting::new(columns, self.image[1])?;
        let dtype = g.dtype(self.x);
        let x = pad(g, x, dtype, [along_rows.padding(), along_columns.padding()]);
        let y = along_rows.sum(g, x, 2)?;
        along_columns.sum(g, y, 3)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        with_real!(values.get(self.x)?, x => fold(x, &self.windows, &self.image)?)
    }
}
