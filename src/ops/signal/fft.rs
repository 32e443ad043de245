//! Fourier transforms along several axes: `fft_c2c`, `fft_r2c`, `fft_c2r`, and `stft` of the frames of a
//! signal. They become a `dft` for each axis, and
//! `irfft` for the axis on which the spectrum of real numbers is halved.
//!
//! Paddle: `phi/kernels/{fft,stft}_kernel.h`.

use crate::error::{Error, Result};
use crate::operator::{Accuracy, Arg, Binding, ComplexRewrite, Form, OpDef};
use crate::ops::shared::decomposition::{Decomposition, left_whole};
use crate::ops::shared::pointwise::plain;
use crate::program::{Attr, Builder, Draft, Parts, ValueId};
use crate::tensor::DType::{C64, C128, F32, F64};
use crate::tensor::{DType, normalize_axis};

pub(super) const OPS: &[OpDef] = &[
    transform("fft_c2c", &[plain(&["fft_c2c"])], &[C64, C128], c2c),
    transform("fft_r2c", &[plain(&["fft_r2c"])], &[F32, F64], r2c),
    transform("fft_c2r", &[plain(&["fft_c2r"])], &[C64, C128], c2r),
    OpDef::new(
        "stft",
        &[Arg::Tensor("x"), Arg::Tensor("window")],
        &[Form::legacy(
            &["stft"],
            &[Binding::Slot("X"), Binding::Slot("Window")],
            &["Out"],
        )],
        left_whole,
    )
    .with_dtypes(&[F32, F64])
    .with_accuracy(Accuracy::Accumulated)
    .with_limits(&[
        "spectra of both sides",
        "lengths that exceed 1024, below opset 17",
    ])
    .on_complex(stft),
];

const fn transform(
    name: &'static str,
    legacy: &'static [Form],
    dtypes: &'static [DType],
    rewrite: ComplexRewrite,
) -> OpDef {
    OpDef::new(name, &[Arg::Tensor("x")], legacy, left_whole)
        .with_dtypes(dtypes)
        .with_accuracy(Accuracy::Accumulated)
        .with_limits(&["lengths that are open or exceed 1024, below opset 17"])
        .on_complex(rewrite)
}

/// A transform that is being taken apart.
struct Transform<'b> {
    whole: Decomposition<'b>,
    axes: Vec<usize>,
    forward: bool,
    normalization: String,
    x: Parts,
}

impl<'b> Transform<'b> {
    fn of(builder: &'b mut Builder, draft: Draft) -> Result<Self> {
        let mut whole = Decomposition::new(builder, draft);
        let x = whole.parts(0)?;
        let axes: Vec<i64> = whole.attr("axes", Vec::new())?;
        let rank = whole.rank(x.real);
        let axes = axes.into_iter().map(|axis| normalize_axis(axis, rank));
        Ok(Self {
            axes: axes.collect::<Result<_>>()?,
            forward: whole.attr("forward", true)?,
            normalization: whole.attr("normalization", "backward".to_owned())?,
            x,
            whole,
        })
    }

    /// The axis that is transformed first of real numbers, and last to real numbers.
    fn take_last_axis(&mut self) -> Result<usize> {
        let axis = self.axes.pop();
        axis.ok_or_else(|| Error::malformed("the attribute `axes` is empty"))
    }

    fn attrs(&self, axis: usize) -> [(&'static str, Attr); 3] {
        [
            ("axis", Attr::Int(axis as i64)),
            ("forward", Attr::Bool(self.forward)),
            ("normalization", Attr::String(self.normalization.clone())),
        ]
    }

    /// Emits the transform along one axis.
    fn along(&mut self, axis: usize, onesided: bool) -> Result<()> {
        let Parts { real, imag } = self.x;
        let mut attrs = self.attrs(axis).to_vec();
        attrs.push(("onesided", Attr::Bool(onesided)));
        let rank = self.whole.rank(real);
        let operands = [Some(real), imag];
        let results = self
            .whole
            .op_with_results("dft", &operands, &attrs, (rank, 2));
        let [real, imag] = results[..] else {
            return Err(Error::internal("a transform without parts"));
        };
        let imag = Some(imag);
        self.x = Parts { real, imag };
        Ok(())
    }

    fn along_all(&mut self) -> Result<()> {
        let axes = std::mem::take(&mut self.axes).into_iter().rev();
        axes.into_iter()
            .try_for_each(|axis| self.along(axis, false))
    }

    /// Emits the transform along one axis to real numbers, of this extent.
    fn real_along(&mut self, axis: usize, last_dim_size: i64) -> ValueId {
        let mut attrs = self.attrs(axis).to_vec();
        attrs.push(("last_dim_size", Attr::Int(last_dim_size)));
        let imag = self.whole.imaginary(self.x);
        let rank = self.whole.rank(self.x.real);
        self.whole.op("irfft", &[self.x.real, imag], &attrs, rank)
    }
}

fn c2c(builder: &mut Builder, draft: Draft) -> Result<Vec<Parts>> {
    let mut op = Transform::of(builder, draft)?;
    op.along_all()?;
    op.whole.finish_parts(op.x.real, op.x.imag)
}

fn r2c(builder: &mut Builder, draft: Draft) -> Result<Vec<Parts>> {
    let mut op = Transform::of(builder, draft)?;
    let onesided = op.whole.attr("onesided", true)?;
    let last = op.take_last_axis()?;
    op.along(last, onesided)?;
    op.along_all()?;
    op.whole.finish_parts(op.x.real, op.x.imag)
}

fn c2r(builder: &mut Builder, draft: Draft) -> Result<Vec<Parts>> {
    let mut op = Transform::of(builder, draft)?;
    let last_dim_size = op.whole.attr("last_dim_size", 0)?;
    let last = op.take_last_axis()?;
    op.along_all()?;
    let real = op.real_along(last, last_dim_size);
    op.whole.finish_parts(real, None)
}

/// The spectra (`[batch, frequencies, frames]`) of the frames of `x` (`[batch, steps]`), each of `n_fft` elements, which
/// start at every `hop_length`-th, times `window` (`[n_fft]`).
fn stft(builder: &mut Builder, draft: Draft) -> Result<Vec<Parts>> {
    let mut whole = Decomposition::new(builder, draft);
    let (x, window) = (whole.parts(0)?.real, whole.parts(1)?.real);
    let length: i64 = whole.attr("n_fft", 0)?;
    let hop: i64 = whole.attr("hop_length", 0)?;
    let is_scaled = whole.attr("normalized", false)?;
    if !whole.attr("onesided", true)? {
        return Err(Error::unsupported(
            "a spectrum of both sides, which Paddle's own kernel can't compute: it refuses a buffer of its own",
        ));
    }
    if whole.rank(x) != 2 {
        return Err(Error::malformed("signals that are no rows of a matrix"));
    }
    let cut = [
        ("frame_length", Attr::Int(length)),
        ("hop_length", Attr::Int(hop)),
        ("axis", Attr::Int(-1)),
    ];
    let frames = whole.op("frame", &[x], &cut, 3);
    let window = whole.reshaped(window, &[length, 1]);
    let frames = whole.op("multiply", &[frames, window], &[], 3);
    let normalization = if is_scaled { "ortho" } else { "backward" };
    let mut op = Transform {
        axes: Vec::new(),
        forward: true,
        normalization: normalization.to_owned(),
        x: Parts {
            real: frames,
            imag: None,
        },
        whole,
    };
    op.along(1, true)?;
    op.whole.finish_parts(op.x.real, op.x.imag)
}
