//! The discrete Fourier transform, computed in f64.

use std::f64::consts::TAU;

use ndarray::{ArrayD, Axis};

use crate::error::{Error, Result};
use crate::tensor::{Array, Element};

/// The real and the imaginary part of a number.
pub(crate) type Complex = [f64; 2];

/// `Σ x[j] · exp(∓2πi · j · k / n)` for each `k` of the `n` positions; with the minus if `is_forward`.
pub(crate) fn transform(x: &[Complex], is_forward: bool) -> Vec<Complex> {
    let len = x.len();
    let sign = if is_forward { -1.0 } else { 1.0 };
    let roots: Vec<Complex> = (0..len)
        .map(|k| {
            let (sin, cos) = (TAU * k as f64 / len as f64).sin_cos();
            [cos, sign * sin]
        })
        .collect();
    split(x, &roots, 1)
}

/// The transform of `x`, by those of its elements at every `factor`-th position. The powers of its root of unity are
/// every `step`-th of `roots`.
fn split(x: &[Complex], roots: &[Complex], step: usize) -> Vec<Complex> {
    let len = x.len();
    if len < 2 {
        return x.to_vec();
    }
    let factor = (2..)
        .take_while(|factor| factor * factor <= len)
        .find(|factor| len.is_multiple_of(*factor))
        .unwrap_or(len);
    let part_len = len / factor;
    let parts: Vec<Vec<Complex>> = (0..factor)
        .map(|first| {
            let part: Vec<Complex> = x.iter().skip(first).step_by(factor).copied().collect();
            split(&part, roots, step * factor)
        })
        .collect();
    let at = |k: usize| {
        let terms = parts.iter().enumerate();
        terms.fold([0.0, 0.0], |[real, imag], (first, part)| {
            let [a, b] = part[k % part_len];
            let [c, d] = roots[(first * k % len) * step];
            [real + (a * c - b * d), imag + (a * d + b * c)]
        })
    };
    (0..len).map(at).collect()
}

/// `f` of the numbers along `axis`, at each position on the other axes: it makes `extent` numbers of them. Without
/// imaginary parts, these are 0.
///
/// # Errors
/// When the parts differ in shape, or `f` makes another number.
pub(crate) fn along<T: Element>(
    real: &Array<T>,
    imag: Option<&Array<T>>,
    (axis, extent): (usize, usize),
    f: impl Fn(&[Complex]) -> Vec<Complex>,
) -> Result<[ArrayD<T>; 2]> {
    if imag.is_some_and(|imag| imag.shape() != real.shape()) {
        return Err(Error::malformed(
            "parts of complex numbers that differ in shape",
        ));
    }
    let mut shape = real.shape().to_vec();
    shape[axis] = extent;
    let zero = T::from_f64(0.0);
    let mut results = [(); 2].map(|()| ArrayD::from_elem(shape.clone(), zero));
    let [out_real, out_imag] = &mut results;
    let mut imag_lanes = imag.map(|imag| imag.lanes(Axis(axis)).into_iter());
    let lanes = real.lanes(Axis(axis)).into_iter();
    let out_lanes = out_real.lanes_mut(Axis(axis)).into_iter();
    let out_lanes = out_lanes.zip(out_imag.lanes_mut(Axis(axis)));
    for (lane, (mut out_real, mut out_imag)) in lanes.zip(out_lanes) {
        let mut numbers: Vec<Complex> = lane.iter().map(|x| [x.to_f64(), 0.0]).collect();
        if let Some(imag) = imag_lanes.as_mut().and_then(Iterator::next) {
            for (number, imag) in numbers.iter_mut().zip(imag) {
                number[1] = imag.to_f64();
            }
        }
        let made = f(&numbers);
        if made.len() != extent {
            return Err(Error::internal("a transform of another length"));
        }
        for (position, [real, imag]) in made.into_iter().enumerate() {
            out_real[position] = T::from_f64(real);
            out_imag[position] = T::from_f64(imag);
        }
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the definition.
    fn slow(x: &[Complex], is_forward: bool) -> Vec<Complex> {
        let sign = if is_forward { -1.0 } else { 1.0 };
        let at = |k: usize| {
            x.iter().enumerate().fold([0.0, 0.0], |sum, (j, [a, b])| {
                let angle = TAU * ((j * k) % x.len()) as f64 / x.len() as f64;
                let (sin, cos) = (sign * angle).sin_cos();
                [sum[0] + a * cos - b * sin, sum[1] + a * sin + b * cos]
            })
        };
        (0..x.len()).map(at).collect()
    }

    #[test]
    fn every_length_gives_what_the_definition_says() {
        for len in (1..40).chain([64, 97, 100, 121]) {
            let number = |k: usize| [(k as f64 * 1.7).sin() + 0.3, (k as f64).cos() * 2.0];
            let x: Vec<Complex> = (0..len).map(number).collect();
            for is_forward in [false, true] {
                let pairs = slow(&x, is_forward).into_iter();
                for (due, found) in pairs.zip(transform(&x, is_forward)) {
                    assert!((0..2).all(|part| (due[part] - found[part]).abs() < 1e-10));
                }
            }
        }
    }
}
