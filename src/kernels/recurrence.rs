//! Recurrent layers: LSTM, GRU and plain cells, step by step through a sequence.

use ndarray::{Array2, ArrayD, IxDyn};

use super::map::reshape;
use super::matmul::matmul;
use super::real::Real;
use super::threads::{for_each_chunk, vectorised};
use crate::error::{Error, Result};
use crate::tensor::{Array, row_major};

/// The number of columns that are multiplied at a time: two of the widest vectors of f32.
const WIDTH: usize = 32;

/// What computes one step from the step before. `W` are the weights of the input `x`, and `R` those of the output `h`
/// of the step before, both with their biases added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell {
    /// `h = tanh(W x + R h)`.
    Tanh,
    /// `h = max(W x + R h, 0)`.
    Relu,
    /// With the gates i, f, g and o, each a sigmoid of `W x + R h`, but tanh for g: `c = f c + i g` and `h = o tanh(c)`.
    Lstm,
    /// With the gates r and z, each a sigmoid of `W x + R h`: `h = z h + (1 - z) tanh(W x + r R h)`.
    Gru,
}

impl Cell {
    /// The number of gates, the candidate included. The rows of the weights are theirs, one gate after the other.
    pub fn gates(self) -> usize {
        match self {
            Cell::Tanh | Cell::Relu => 1,
            Cell::Lstm => 4,
            Cell::Gru => 3,
        }
    }
}

/// The weights of one direction of a layer, with `hidden` the size of its state.
pub(crate) struct Weights<'a, T> {
    /// `[gates · hidden, inputs]`.
    pub input: &'a Array<T>,
    /// `[gates · hidden, hidden]`.
    pub hidden: &'a Array<T>,
    /// `[gates · hidden]`.
    pub input_bias: &'a Array<T>,
    /// `[gates · hidden]`.
    pub hidden_bias: &'a Array<T>,
}

/// What a layer carries from step to step.
#[derive(Debug, Clone)]
pub(crate) struct State<T> {
    /// The output of the last step, `[batch, hidden]`.
    pub h: Array2<T>,
    /// The cell state of an LSTM, `[batch, hidden]`. Other cells leave it as it is.
    pub c: Array2<T>,
}

/// One direction of a layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layer<'a> {
    pub cell: Cell,
    /// Whether the last step is taken first.
    pub is_reverse: bool,
    /// The number of steps of each sequence in the batch; all, if None. The steps behind change no state, and their
    /// outputs are 0.
    pub lengths: Option<&'a [i64]>,
}

/// The outputs of a layer for `x` of `[steps, batch, inputs]`, as `[steps, batch, hidden]`. `state` is that before the
/// first step, and becomes that behind the last one.
///
/// # Errors
/// When the weights, the state or the lengths don't fit each other and `x`.
pub(crate) fn layer<T: Real>(
    layer: Layer<'_>,
    x: &Array<T>,
    weights: &Weights<'_, T>,
    state: &mut State<T>,
) -> Result<ArrayD<T>> {
    let &[steps, batch, inputs] = x.shape() else {
        return Err(Error::malformed(format!(
            "a sequence of shape {:?} where [steps, batch, inputs] was expected",
            x.shape()
        )));
    };
    let size = state.h.ncols();
    let rows = layer.cell.gates() * size;
    check(layer, [steps, batch, inputs], weights, state)?;
    let mut outputs = ArrayD::zeros(IxDyn(&[steps, batch, size]));
    if outputs.is_empty() {
        return Ok(outputs);
    }
    let gates = gates_of_inputs(x, weights)?;
    let state_weights = StateWeights::new(weights);
    let slices = outputs.as_slice_mut();
    let slices = slices.ok_or_else(|| Error::internal("a new array is not contiguous"))?;
    state.h = state.h.as_standard_layout().to_owned();
    state.c = state.c.as_standard_layout().to_owned();
    let mut recurrent = Array2::zeros((batch, rows));
    for number in 0..steps {
        let step = if layer.is_reverse {
            steps - 1 - number
        } else {
            number
        };
        let h = state.h.as_slice();
        let h = h.ok_or_else(|| Error::internal("a state is not contiguous"))?;
        state_weights.apply(h, &mut recurrent);
        let gates = &gates[step * batch * rows..][..batch * rows];
        let outputs = &mut slices[step * batch * size..][..batch * size];
        for (item, recurrent) in recurrent.outer_iter_mut().enumerate() {
            let is_inside = |lengths: &[i64]| (step as i64) < lengths[item];
            if !layer.lengths.is_none_or(is_inside) {
                continue;
            }
            let (mut h, mut c) = (state.h.row_mut(item), state.c.row_mut(item));
            let (Some(recurrent), Some(h), Some(c)) =
                (recurrent.into_slice(), h.as_slice_mut(), c.as_slice_mut())
            else {
                return Err(Error::internal("a state is not contiguous"));
            };
            let gates = &gates[item * rows..][..rows];
            vectorised(|| one_step(layer.cell, gates, recurrent, h, c));
            outputs[item * size..][..size].copy_from_slice(h);
        }
    }
    Ok(outputs)
}

/// The weights of the state, as the steps use them.
struct StateWeights<T> {
    /// The columns of `[hidden, gates · hidden]` in panels of [`WIDTH`], each row by row. The last is filled up with zeros.
    panels: Vec<T>,
    bias: Vec<T>,
}

impl<T: Real> StateWeights<T> {
    fn new(weights: &Weights<'_, T>) -> Self {
        let (rows, size) = (weights.hidden.shape()[0], weights.hidden.shape()[1]);
        let mut panels = vec![T::zero(); rows.next_multiple_of(WIDTH) * size];
        for (row, weights) in weights.hidden.outer_iter().enumerate() {
            let panel = &mut panels[row / WIDTH * WIDTH * size..];
            for (unit, weight) in weights.iter().enumerate() {
                panel[unit * WIDTH + row % WIDTH] = *weight;
            }
        }
        Self {
            panels,
            bias: row_major(weights.hidden_bias).into_owned(),
        }
    }

    /// `R h` with its bias for each sequence of the batch, `[batch, gates · hidden]`. `h` is in row-major order.
    fn apply(&self, h: &[T], result: &mut Array2<T>) {
        let (batch, rows) = result.dim();
        let size = h.len() / batch;
        let mut products = vec![T::zero(); rows.next_multiple_of(WIDTH) * batch];
        for_each_chunk(
            &mut products,
            WIDTH * batch,
            h.len() * rows,
            |panel, products| {
                let panel = &self.panels[panel * WIDTH * size..][..WIDTH * size];
                vectorised(|| multiply(h, size, panel, products));
            },
        );
        for (item, mut result) in result.outer_iter_mut().enumerate() {
            for (row, (sum, bias)) in result.iter_mut().zip(&self.bias).enumerate() {
                *sum = products[row / WIDTH * WIDTH * batch + item * WIDTH + row % WIDTH] + *bias;
            }
        }
    }
}

/// `W x` with its bias for all steps at once, `[steps, batch, gates · hidden]` in row-major order.
fn gates_of_inputs<T: Real>(x: &Array<T>, weights: &Weights<'_, T>) -> Result<Vec<T>> {
    let mut columns = weights.input.clone();
    columns.swap_axes(0, 1);
    let (rows, inputs) = (columns.shape()[1], columns.shape()[0]);
    let items = x.len() / inputs.max(1);
    let mut gates = matmul(&reshape(x, &[items, inputs])?, &columns)?;
    let bias = row_major(weights.input_bias);
    let slice = gates.as_slice_mut();
    let slice = slice.ok_or_else(|| Error::internal("a new array is not contiguous"))?;
    for gates in slice.chunks_mut(rows.max(1)) {
        let gates = gates.iter_mut().zip(bias.iter());
        gates.for_each(|(gate, bias)| *gate += *bias);
    }
    Ok(gates.into_raw_vec_and_offset().0)
}

/// Refuses weights, states and lengths that don't fit.
fn check<T: Real>(
    layer: Layer<'_>,
    [steps, batch, inputs]: [usize; 3],
    weights: &Weights<'_, T>,
    state: &State<T>,
) -> Result<()> {
    let size = state.h.ncols();
    let rows = layer.cell.gates() * size;
    let fits = weights.input.shape() == [rows, inputs]
        && weights.hidden.shape() == [rows, size]
        && [weights.input_bias, weights.hidden_bias].map(|bias| bias.len()) == [rows; 2]
        && state.h.nrows() == batch
        && (layer.cell != Cell::Lstm || state.c.dim() == (batch, size));
    if !fits {
        return Err(Error::malformed(format!(
            "weights of {:?} and {:?} and a state of {:?} don't fit {inputs} inputs and a batch of {batch}",
            weights.input.shape(),
            weights.hidden.shape(),
            state.h.shape(),
        )));
    }
    match layer.lengths {
        Some(lengths) if lengths.len() != batch => Err(Error::malformed(format!(
            "{} lengths for a batch of {batch}",
            lengths.len()
        ))),
        Some(lengths)
            if lengths
                .iter()
                .any(|length| !(0..=steps as i64).contains(length)) =>
        {
            Err(Error::malformed(format!(
                "lengths of {lengths:?} where there are {steps} steps"
            )))
        }
        _ => Ok(()),
    }
}

/// The products of the rows of `h`, which have the length `size`, with the columns of a panel.
#[inline(always)]
fn multiply<T: Real>(h: &[T], size: usize, panel: &[T], products: &mut [T]) {
    let mut rows = h.chunks_exact(4 * size);
    let mut results = products.chunks_exact_mut(4 * WIDTH);
    for (h, products) in (&mut rows).zip(&mut results) {
        multiply_rows::<T, 4>(h, size, panel, products);
    }
    let rest = rows.remainder().chunks_exact(size);
    let results = results.into_remainder().chunks_exact_mut(WIDTH);
    for (h, products) in rest.zip(results) {
        multiply_rows::<T, 1>(h, size, panel, products);
    }
}

/// The products of so many rows with a panel, whose sums stay in registers.
#[inline(always)]
fn multiply_rows<T: Real, const ROWS: usize>(
    h: &[T],
    size: usize,
    panel: &[T],
    products: &mut [T],
) {
    let mut sums = [[T::zero(); WIDTH]; ROWS];
    // As arrays, whose length the compiler knows.
    let panel = panel.as_chunks::<WIDTH>().0;
    for (unit, weights) in panel.iter().enumerate() {
        for (row, sums) in sums.iter_mut().enumerate() {
            let h = h[row * size + unit];
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += h * *weight;
            }
        }
    }
    let products = products.as_chunks_mut::<WIDTH>().0.iter_mut();
    products
        .zip(sums)
        .for_each(|(products, sums)| *products = sums);
}

#[inline(always)]
fn sigmoid<T: Real>(x: T) -> T {
    T::one() / (T::one() + (-x).exponential())
}

/// The hyperbolic tangent, exact up to the rounding of numbers near 1.
#[inline(always)]
fn tanh<T: Real>(x: T) -> T {
    let two = T::one() + T::one();
    T::one() - two / ((two * x).exponential() + T::one())
}

/// One step of one sequence. `x` is `W x` and `r` is `R h`, both with their biases; `h` and `c` are the state, which is
/// brought forward. `r` is where the gates are computed. The loops are short, so that each becomes vector instructions.
#[inline(always)]
fn one_step<T: Real>(cell: Cell, x: &[T], r: &mut [T], h: &mut [T], c: &mut [T]) {
    let size = h.len();
    // The candidate of a GRU takes both apart.
    let joined = if cell == Cell::Gru { 2 * size } else { r.len() };
    for (r, x) in r[..joined].iter_mut().zip(x) {
        *r += *x;
    }
    match cell {
        Cell::Tanh => h.iter_mut().zip(r).for_each(|(h, r)| *h = tanh(*r)),
        Cell::Relu => h.iter_mut().zip(r).for_each(|(h, r)| *h = r.max(T::zero())),
        Cell::Lstm => {
            let (i_and_f, rest) = r.split_at_mut(2 * size);
            let (g, o) = rest.split_at_mut(size);
            i_and_f.iter_mut().for_each(|gate| *gate = sigmoid(*gate));
            o.iter_mut().for_each(|gate| *gate = sigmoid(*gate));
            g.iter_mut().for_each(|gate| *gate = tanh(*gate));
            let (i, f) = i_and_f.split_at(size);
            for (((c, i), f), g) in c.iter_mut().zip(i).zip(f).zip(g) {
                *c = *f * *c + *i * *g;
            }
            for ((h, o), c) in h.iter_mut().zip(o).zip(c) {
                *h = *o * tanh(*c);
            }
        }
        Cell::Gru => {
            let (gates, candidate) = r.split_at_mut(2 * size);
            gates.iter_mut().for_each(|gate| *gate = sigmoid(*gate));
            let (reset, z) = gates.split_at(size);
            let x = &x[2 * size..];
            for ((candidate, reset), x) in candidate.iter_mut().zip(reset).zip(x) {
                *candidate = tanh(*x + *reset * *candidate);
            }
            for ((h, z), candidate) in h.iter_mut().zip(z).zip(candidate) {
                *h = *z * *h + (T::one() - *z) * *candidate;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches that are no multiple of the rows that are multiplied at a time, and weights that are no multiple of a
    /// panel.
    #[test]
    fn panels_give_the_product() {
        for (batch, size, rows) in [(1, 3, 4), (4, 5, 33), (9, 16, 64), (6, 1, 1)] {
            let element = |index: usize| (index * 7 % 11) as f64 - 4.5;
            let hidden =
                Array2::from_shape_fn((rows, size), |(row, unit)| element(row * size + unit));
            let bias: Vec<f64> = (0..rows).map(element).collect();
            let bias: Array<f64> = ndarray::Array1::from(bias).into_dyn().into();
            let hidden: Array<f64> = hidden.into_dyn().into();
            let weights = Weights {
                input: &hidden,
                hidden: &hidden,
                input_bias: &bias,
                hidden_bias: &bias,
            };
            let h: Vec<f64> = (0..batch * size)
                .map(|index| element(3 * index + 1))
                .collect();
            let mut result = Array2::zeros((batch, rows));
            StateWeights::new(&weights).apply(&h, &mut result);
            for ((item, row), found) in result.indexed_iter() {
                let terms = (0..size).map(|unit| h[item * size + unit] * hidden[[row, unit]]);
                let expected = terms.sum::<f64>() + bias[row];
                assert_eq!(*found, expected, "{batch} × {size} × {rows}: {item}, {row}");
            }
        }
    }
}
