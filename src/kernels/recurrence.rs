//! Recurrent layers: LSTM, GRU and plain cells, step by step through a sequence.

use ndarray::{Array2, ArrayD, ArrayView2, Ix2, IxDyn};

use super::map::reshape;
use super::matmul::{matmul, new_product};
use super::real::Real;
use crate::error::{Error, Result};
use crate::tensor::Array;

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
    let bias = contiguous(weights.hidden_bias);
    let hidden = weights.hidden.view().into_dimensionality::<Ix2>();
    let hidden = hidden.map_err(|_| Error::internal("weights of another rank than 2"))?;
    let slices = outputs.as_slice_mut();
    let slices = slices.ok_or_else(|| Error::internal("a new array is not contiguous"))?;
    state.h = state.h.as_standard_layout().to_owned();
    state.c = state.c.as_standard_layout().to_owned();
    for number in 0..steps {
        let step = if layer.is_reverse {
            steps - 1 - number
        } else {
            number
        };
        let recurrent = new_product(state.h.view(), ArrayView2::reversed_axes(hidden));
        let gates = &gates[step * batch * rows..][..batch * rows];
        let outputs = &mut slices[step * batch * size..][..batch * size];
        for (item, recurrent) in recurrent.outer_iter().enumerate() {
            let is_inside = |lengths: &[i64]| (step as i64) < lengths[item];
            if !layer.lengths.is_none_or(is_inside) {
                continue;
            }
            let (mut h, mut c) = (state.h.row_mut(item), state.c.row_mut(item));
            let (Some(recurrent), Some(h), Some(c)) =
                (recurrent.as_slice(), h.as_slice_mut(), c.as_slice_mut())
            else {
                return Err(Error::internal("a state is not contiguous"));
            };
            let gates = &gates[item * rows..][..rows];
            one_step(layer.cell, gates, recurrent, &bias, h, c);
            outputs[item * size..][..size].copy_from_slice(h);
        }
    }
    Ok(outputs)
}

/// `W x` with its bias for all steps at once, `[steps, batch, gates · hidden]` in row-major order.
fn gates_of_inputs<T: Real>(x: &Array<T>, weights: &Weights<'_, T>) -> Result<Vec<T>> {
    let mut columns = weights.input.clone();
    columns.swap_axes(0, 1);
    let (rows, inputs) = (columns.shape()[1], columns.shape()[0]);
    let items = x.len() / inputs.max(1);
    let mut gates = matmul(&reshape(x, &[items, inputs])?, &columns)?;
    let bias = contiguous(weights.input_bias);
    let slice = gates.as_slice_mut();
    let slice = slice.ok_or_else(|| Error::internal("a new array is not contiguous"))?;
    for gates in slice.chunks_mut(rows.max(1)) {
        let gates = gates.iter_mut().zip(&bias);
        gates.for_each(|(gate, bias)| *gate += *bias);
    }
    Ok(contiguous(&gates.into()))
}

fn contiguous<T: Real>(x: &Array<T>) -> Vec<T> {
    x.iter().copied().collect()
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

fn sigmoid<T: Real>(x: T) -> T {
    T::one() / (T::one() + (-x).exp())
}

/// One step of one sequence. `input` is `W x` with its bias, `recurrent` is `R h` without `bias`, and `h` and `c` are
/// the state, which is brought forward.
fn one_step<T: Real>(
    cell: Cell,
    input: &[T],
    recurrent: &[T],
    bias: &[T],
    h: &mut [T],
    c: &mut [T],
) {
    let size = h.len();
    for (unit, h) in h.iter_mut().enumerate() {
        let x = |gate: usize| input[gate * size + unit];
        let r = |gate: usize| recurrent[gate * size + unit] + bias[gate * size + unit];
        *h = match cell {
            Cell::Tanh => (x(0) + r(0)).tanh(),
            Cell::Relu => (x(0) + r(0)).max(T::zero()),
            Cell::Lstm => {
                let (i, f) = (sigmoid(x(0) + r(0)), sigmoid(x(1) + r(1)));
                let (g, o) = ((x(2) + r(2)).tanh(), sigmoid(x(3) + r(3)));
                c[unit] = f * c[unit] + i * g;
                o * c[unit].tanh()
            }
            Cell::Gru => {
                let (reset, z) = (sigmoid(x(0) + r(0)), sigmoid(x(1) + r(1)));
                let candidate = (x(2) + reset * r(2)).tanh();
                z * *h + (T::one() - z) * candidate
            }
        };
    }
}
