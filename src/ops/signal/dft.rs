//! The Fourier transform along one axis: `dft`, whose result is complex, and `irfft`, whose result is real. Neither is in
//! files: they are what `fft_c2c`, `fft_r2c` and `fft_c2r` become.
//!
//! Paddle: `phi/kernels/funcs/fft.h`. ONNX: MatMul with tables of cosines and sines, which is exact, and faster than
//! ONNX Runtime's DFT up to some length; beyond, DFT. For lengths that are no powers of 2, that goes through a convolution
//! (Bluestein), whose error in float32 reaches 10⁻⁴ of the largest number; in float64 it takes hardly longer, and is exact.

use std::f64::consts::TAU;

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::fourier::{self, Complex};
use crate::operator::{Accuracy, Arg, Function, Macs, OpDef, OpReader, Operator, Parsed, Values};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{F32, F64};
use crate::tensor::{Array, DType, Dim, Element, Tensor, normalize_axis, with_array};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "dft",
        &[Arg::Tensor("real"), Arg::Optional("imag")],
        &[],
        Dft::parse,
    )
    .with_results(&["real", "imag"])
    .with_dtypes(&[F32, F64])
    .with_accuracy(Accuracy::Accumulated)
    .in_no_file(),
    OpDef::new(
        "irfft",
        &[Arg::Tensor("real"), Arg::Tensor("imag")],
        &[],
        Irfft::parse,
    )
    .with_dtypes(&[F32, F64])
    .with_accuracy(Accuracy::Accumulated)
    .in_no_file(),
];

/// Tables have at most this many elements, which are 4 MiB of float32.
const LARGEST_TABLE: usize = 1 << 20;

/// From these lengths on, if they are powers of 2, DFT takes less time than products with tables: of complex numbers,
/// for which there are four of these, and of real ones. Measured with ONNX Runtime 1.32 on rows of 1 to 256.
const LONG: usize = 512;
const LONG_REAL: usize = 1024;

/// By which power of the extent the sums are multiplied.
#[derive(Debug, Clone, Copy)]
struct Scale {
    power: f64,
}

impl Scale {
    fn parse(op: &mut OpReader<'_>, forward: bool) -> Result<Self> {
        let normalization: String = op.attr("normalization")?;
        let power = match (normalization.as_str(), forward) {
            ("backward", true) | ("forward", false) => 0.0,
            ("backward", false) | ("forward", true) => -1.0,
            ("ortho", _) => -0.5,
            (other, _) => {
                return Err(Error::unsupported(format!("the normalization `{other}`")));
            }
        };
        Ok(Self { power })
    }

    fn of(self, extent: usize) -> f64 {
        (extent as f64).powf(self.power)
    }

    /// Emits the product of `x`, the result of a DFT, with the scale. An inverse DFT has divided by the extent already,
    /// which is that of `full` along `axis`, if it is not known.
    fn lower(
        self,
        g: &mut Lowering<'_>,
        x: TensorId,
        is_inverse: bool,
        (extent, full, axis): (Option<usize>, TensorId, usize),
    ) -> TensorId {
        let power = self.power + if is_inverse { 1.0 } else { 0.0 };
        if power == 0.0 {
            return x;
        }
        let factor = match extent {
            Some(extent) => g.scalar(F64, (extent as f64).powf(power)),
            None => {
                let axis = axis as i64;
                let extent = g.shape_slice(full, axis, axis + 1);
                let extent = g.cast(extent, DType::I64, F64);
                let power = g.scalar(F64, power);
                g.node("Pow", &[extent, power], [])
            }
        };
        g.node("Mul", &[x, factor], [])
    }
}

/// Whether products with tables `[from, to]` are emitted for a transform of `len` numbers.
fn is_by_table(g: &Lowering<'_>, len: usize, (from, to): (usize, usize), is_complex: bool) -> bool {
    let long = if is_complex { LONG } else { LONG_REAL };
    let is_fast = len.is_power_of_two() && len >= long && g.opset() >= 17;
    let elements = from.checked_mul(to);
    !is_fast && elements.is_some_and(|elements| elements <= LARGEST_TABLE)
}

/// The axis of a transform, as the last axis or the one before it, along which MatMul sums.
struct Lane {
    /// The order of the axes that brings the axis to the end, if it is none of these two. It is its own inverse.
    swap: Option<Vec<usize>>,
    is_last: bool,
    dtype: DType,
}

impl Lane {
    fn of(axis: usize, rank: usize, dtype: DType) -> Self {
        let (is_last, is_before) = (axis + 1 == rank, axis + 2 == rank);
        let swap = (!is_last && !is_before).then(|| {
            let mut swap: Vec<usize> = (0..rank).collect();
            swap.swap(axis, rank - 1);
            swap
        });
        Self {
            is_last: is_last || swap.is_some(),
            swap,
            dtype,
        }
    }

    fn moved(&self, g: &mut Lowering<'_>, x: TensorId) -> TensorId {
        match &self.swap {
            Some(swap) => g.transpose(x, swap),
            None => x,
        }
    }

    /// Emits the product with a table, whose element for the position `j` of the operand and `k` of the result is
    /// `at(j, k)`.
    fn product(
        &self,
        g: &mut Lowering<'_>,
        x: TensorId,
        (from, to): (usize, usize),
        at: impl Fn(usize, usize) -> f64,
    ) -> Result<TensorId> {
        let (rows, columns) = if self.is_last { (from, to) } else { (to, from) };
        let elements = (0..rows * columns).map(|position| {
            let (row, column) = (position / columns, position % columns);
            if self.is_last {
                at(row, column)
            } else {
                at(column, row)
            }
        });
        let table = Tensor::from_elements(&[rows, columns], elements.collect::<Vec<f64>>())?;
        let table = g.constant(table.cast(self.dtype));
        let operands = if self.is_last { [x, table] } else { [table, x] };
        Ok(g.node("MatMul", &operands, []))
    }
}

/// The angle `2π · j · k / len`.
fn turn(j: usize, k: usize, len: usize) -> f64 {
    TAU * (j * k % len) as f64 / len as f64
}

/// Emits the pairs of real and imaginary parts along a new last axis, in float64.
fn joined(g: &mut Lowering<'_>, parts: &[TensorId], dtype: DType) -> TensorId {
    let parts: Vec<TensorId> = parts.iter().map(|part| g.unsqueeze(*part, &[-1])).collect();
    let pairs = g.concat(&parts, -1);
    g.cast(pairs, dtype, F64)
}

/// Emits one part of pairs along the last axis: 0 is the real one, 1 the imaginary.
fn part_of(g: &mut Lowering<'_>, pairs: TensorId, part: i64) -> TensorId {
    let index = g.constant(Tensor::scalar(part));
    g.node("Gather", &[pairs, index], [("axis", NodeAttr::Int(-1))])
}

/// `Σ x[j] · exp(∓2πi · j · k / n)` along an axis of extent `n`, for each `k` or, if it is `onesided`, up to `n / 2`.
/// The sign is a minus if the transform is `forward`.
struct Dft {
    real: ValueId,
    imag: Option<ValueId>,
    axis: i64,
    forward: bool,
    onesided: bool,
    scale: Scale,
}

impl Dft {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let forward = op.attr("forward")?;
        Ok(Box::new(Self {
            real: op.operand("real")?,
            imag: op.optional("imag")?,
            axis: op.attr("axis")?,
            forward,
            onesided: op.attr("onesided")?,
            scale: Scale::parse(op, forward)?,
        }))
    }

    /// The number of results of a transform of `len` numbers.
    fn results(&self, len: usize) -> usize {
        if self.onesided { len / 2 + 1 } else { len }
    }

    fn lower_tables(&self, g: &mut Lowering<'_>, axis: usize, len: usize) -> Result<Vec<TensorId>> {
        let lane = Lane::of(axis, g.rank(self.real), g.dtype(self.real));
        let size = (len, self.results(len));
        let scale = self.scale.of(len);
        let sign = if self.forward { 1.0 } else { -1.0 };
        let cos = |j, k| scale * turn(j, k, len).cos();
        let sin = |j, k| sign * scale * turn(j, k, len).sin();
        let real = g.value(self.real)?;
        let real = lane.moved(g, real);
        let mut out_real = lane.product(g, real, size, cos)?;
        let mut out_imag = lane.product(g, real, size, |j, k| -sin(j, k))?;
        if let Some(imag) = self.imag {
            let imag = g.value(imag)?;
            let imag = lane.moved(g, imag);
            let more = lane.product(g, imag, size, sin)?;
            out_real = g.node("Add", &[out_real, more], []);
            let more = lane.product(g, imag, size, cos)?;
            out_imag = g.node("Add", &[out_imag, more], []);
        }
        Ok(vec![lane.moved(g, out_real), lane.moved(g, out_imag)])
    }

    fn lower_operator(
        &self,
        g: &mut Lowering<'_>,
        axis: usize,
        len: Option<usize>,
    ) -> Result<Vec<TensorId>> {
        let dtype = g.dtype(self.real);
        let real = g.value(self.real)?;
        let mut parts = vec![real];
        if let Some(imag) = self.imag {
            parts.push(g.value(imag)?);
        }
        let pairs = joined(g, &parts, dtype);
        // ONNX has no inverse transform to half a spectrum: that of real numbers is the conjugate of the other.
        let is_inverse = !self.forward && !self.onesided;
        let pairs = g.dft(pairs, axis, is_inverse, self.onesided)?;
        let pairs = self.scale.lower(g, pairs, is_inverse, (len, real, axis));
        let pairs = g.cast(pairs, F64, dtype);
        let [real, mut imag] = [0, 1].map(|part| part_of(g, pairs, part));
        if !self.forward && self.onesided {
            imag = g.node("Neg", &[imag], []);
        }
        Ok(vec![real, imag])
    }
}

impl Operator for Dft {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let mut shape = facts.shape(self.real).to_vec();
        let axis = normalize_axis(self.axis, shape.len())?;
        if shape[axis] == Dim::Known(0) {
            return Err(Error::malformed("a transform of no elements"));
        }
        if self.onesided {
            let len = shape[axis].extent();
            shape[axis] = len.map_or(Dim::Unknown, |len| Dim::from(self.results(len)));
        }
        Ok(vec![Fact::new(facts.dtype(self.real), shape); 2])
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let axis = normalize_axis(self.axis, g.rank(self.real))?;
        let len = g.shape(self.real)[axis].extent();
        let by_table = len.filter(|len| {
            let size = (*len, self.results(*len));
            is_by_table(g, *len, size, self.imag.is_some())
        });
        match by_table {
            Some(len) => self.lower_tables(g, axis, len),
            None => self.lower_operator(g, axis, len),
        }
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        fn transformed<T: Element>(
            real: &Array<T>,
            imag: Option<&Tensor>,
            lane: (usize, usize),
            f: impl Fn(&[Complex]) -> Vec<Complex>,
        ) -> Result<Vec<Tensor>> {
            let imag = imag.and_then(T::array);
            let parts = fourier::along(real, imag, lane, f)?;
            Ok(parts.map(|part| T::tensor(part.into())).into())
        }
        let real = values.get(self.real)?;
        let imag = self.imag.map(|imag| values.get(imag)).transpose()?;
        let axis = normalize_axis(self.axis, real.shape().len())?;
        let len = real.shape()[axis];
        if len == 0 {
            return Err(Error::malformed("a transform of no elements"));
        }
        let (results, scale) = (self.results(len), self.scale.of(len));
        let f = |numbers: &[Complex]| {
            let mut made = fourier::transform(numbers, self.forward);
            made.truncate(results);
            made.iter_mut().flatten().for_each(|part| *part *= scale);
            made
        };
        with_array!(real, real => transformed(real, imag, (axis, results), f))
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}

/// The transform of a spectrum whose other half mirrors it, so that the results are real. The imaginary parts of the
/// first number, and of the middle of an even spectrum, count as 0.
struct Irfft {
    real: ValueId,
    imag: ValueId,
    axis: i64,
    forward: bool,
    scale: Scale,
    /// The number of results; 0 stands for the even one that the spectrum may have.
    last_dim_size: i64,
}

impl Irfft {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let forward = op.attr("forward")?;
        Ok(Box::new(Self {
            real: op.operand("real")?,
            imag: op.operand("imag")?,
            axis: op.attr("axis")?,
            forward,
            scale: Scale::parse(op, forward)?,
            last_dim_size: op.attr("last_dim_size")?,
        }))
    }

    /// The number of results, from that of the numbers of the spectrum.
    ///
    /// # Errors
    /// When it is 0, or the spectrum would be of another length.
    fn results(&self, half: usize) -> Result<usize> {
        let len = match usize::try_from(self.last_dim_size) {
            Ok(0) | Err(_) => 2 * half.saturating_sub(1),
            Ok(len) => len,
        };
        if len == 0 || len / 2 + 1 != half {
            return Err(Error::malformed(format!(
                "a spectrum of {half} numbers for {len} results"
            )));
        }
        Ok(len)
    }

    fn lower_tables(
        &self,
        g: &mut Lowering<'_>,
        axis: usize,
        (half, len): (usize, usize),
    ) -> Result<TensorId> {
        let lane = Lane::of(axis, g.rank(self.real), g.dtype(self.real));
        let scale = self.scale.of(len);
        let sign = if self.forward { 1.0 } else { -1.0 };
        // A number that the other half mirrors counts twice.
        let weight = |k: usize| {
            if k == 0 || 2 * k == len {
                scale
            } else {
                2.0 * scale
            }
        };
        let (real, imag) = (g.value(self.real)?, g.value(self.imag)?);
        let (real, imag) = (lane.moved(g, real), lane.moved(g, imag));
        let size = (half, len);
        let cos = lane.product(g, real, size, |k, j| weight(k) * turn(j, k, len).cos())?;
        let sin = lane.product(g, imag, size, |k, j| {
            let is_mirrored = k != 0 && 2 * k != len;
            let sin = turn(j, k, len).sin();
            if is_mirrored {
                sign * weight(k) * sin
            } else {
                0.0
            }
        })?;
        let sum = g.node("Add", &[cos, sin], []);
        Ok(lane.moved(g, sum))
    }

    /// Emits the whole spectrum, and the real part of its transform.
    fn lower_operator(
        &self,
        g: &mut Lowering<'_>,
        axis: usize,
        len: Option<usize>,
    ) -> Result<TensorId> {
        let dtype = g.dtype(self.real);
        let is_odd = self.last_dim_size % 2 == 1;
        let mut parts = Vec::with_capacity(2);
        for (id, is_negated) in [(self.real, false), (self.imag, true)] {
            let half = g.value(id)?;
            let start = g.vector(&[if is_odd { -1 } else { -2 }]);
            let (end, axes, step) = (g.vector(&[0]), g.vector(&[axis as i64]), g.vector(&[-1]));
            let mut mirrored = g.node("Slice", &[half, start, end, axes, step], []);
            if is_negated {
                mirrored = g.node("Neg", &[mirrored], []);
            }
            parts.push(g.concat(&[half, mirrored], axis as i64));
        }
        let full = parts[0];
        let pairs = joined(g, &parts, dtype);
        let pairs = g.dft(pairs, axis, !self.forward, false)?;
        let real = part_of(g, pairs, 0);
        let real = self.scale.lower(g, real, !self.forward, (len, full, axis));
        Ok(g.cast(real, F64, dtype))
    }
}

impl Function for Irfft {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let mut shape = facts.shape(self.real).to_vec();
        let axis = normalize_axis(self.axis, shape.len())?;
        shape[axis] = match shape[axis].extent() {
            Some(half) => Dim::from(self.results(half)?),
            None if self.last_dim_size > 0 => Dim::Known(self.last_dim_size),
            None => Dim::Unknown,
        };
        Ok(Fact::new(facts.dtype(self.real), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let axis = normalize_axis(self.axis, g.rank(self.real))?;
        let half = g.shape(self.real)[axis].extent();
        let len = half.map(|half| self.results(half)).transpose()?;
        match half.zip(len) {
            Some((half, len)) if is_by_table(g, len, (half, len), false) => {
                self.lower_tables(g, axis, (half, len))
            }
            _ => self.lower_operator(g, axis, len),
        }
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        fn transformed<T: Element>(
            real: &Array<T>,
            imag: &Tensor,
            lane: (usize, usize),
            f: impl Fn(&[Complex]) -> Vec<Complex>,
        ) -> Result<Tensor> {
            let [real, _] = fourier::along(real, T::array(imag), lane, f)?;
            Ok(T::tensor(real.into()))
        }
        let (real, imag) = (values.get(self.real)?, values.get(self.imag)?);
        let axis = normalize_axis(self.axis, real.shape().len())?;
        let len = self.results(real.shape()[axis])?;
        let scale = self.scale.of(len);
        let f = |half: &[Complex]| {
            let whole = (0..len).map(|k| match k {
                0 => [half[0][0], 0.0],
                k if 2 * k == len => [half[k][0], 0.0],
                k if 2 * k < len => half[k],
                k => [half[len - k][0], -half[len - k][1]],
            });
            let whole: Vec<Complex> = whole.collect();
            let made = fourier::transform(&whole, self.forward).into_iter();
            made.map(|[real, _]| [scale * real, 0.0]).collect()
        };
        with_array!(real, real => transformed(real, imag, (axis, len), f))
    }
}
