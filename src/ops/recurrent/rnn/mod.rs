//! `rnn`: the layers `LSTM`, `GRU` and `SimpleRNN` of `paddle.nn`; and `cudnn_lstm`, the LSTM of older programs for GPUs.
//!
//! Paddle: `phi/kernels/cpu/rnn_kernel.cc`. ONNX: LSTM, GRU or RNN, one node for each layer; in
//! float64, which ONNX Runtime has no kernels for, Loop.

mod composed;
mod lower;

use ndarray::{ArrayD, Axis, Ix2};

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::Real;
use crate::kernels::recurrence::{self, Cell, Layer, State};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Macs, OpDef, OpReader, Operator, Parsed, Values,
};
use crate::ops::shared::values::same_type;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, Dim, Element, Tensor, display_shape};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "rnn",
        &[
            Arg::Tensor("x"),
            Arg::List("pre_state"),
            Arg::List("weight_list"),
            Arg::Optional("sequence_length"),
        ],
        &[Form::legacy(
            &["rnn"],
            &[
                Binding::Slot("Input"),
                Binding::List("PreState"),
                Binding::List("WeightList"),
                Binding::Optional("SequenceLength"),
            ],
            &["Out", "State"],
        )],
        Rnn::parse,
    )
    .with_results(&["out", "state"])
    .with_result_positions(&[0, 2])
    .with_pir(&[Form::pir(
        &["rnn"],
        &[
            "x",
            "pre_state",
            "weight_list",
            "sequence_length",
            "dropout_state_in",
        ],
        &[
            Binding::Slot("x"),
            Binding::List("pre_state"),
            Binding::List("weight_list"),
            Binding::Optional("sequence_length"),
        ],
    )])
    // The first is that of the first weight, and the second is for dropout in training.
    .ignoring(&["input_size", "seed"])
    .with_dtypes(FLOATS)
    .with_accuracy(Accuracy::NearOne)
    .with_limits(&["dropout in training"]),
    OpDef::new(
        "cudnn_lstm",
        &[
            Arg::Tensor("x"),
            Arg::Tensor("init_h"),
            Arg::Tensor("init_c"),
            Arg::Optional("w"),
            Arg::List("weight_list"),
            Arg::Optional("sequence_length"),
        ],
        &[Form::legacy(
            &["cudnn_lstm"],
            &[
                Binding::Slot("Input"),
                Binding::Slot("InitH"),
                Binding::Slot("InitC"),
                Binding::Optional("W"),
                Binding::List("WeightList"),
                Binding::Optional("SequenceLength"),
            ],
            &["Out", "LastH", "LastC"],
        )],
        Rnn::parse_cudnn,
    )
    .with_results(&["out", "last_h", "last_c"])
    .ignoring(&["input_size", "seed"])
    .with_dtypes(FLOATS)
    .with_accuracy(Accuracy::NearOne)
    .with_limits(&["dropout in training", "weights in one tensor"]),
];

/// The most units that Paddle's attribute can state.
const LARGEST: i64 = i32::MAX as i64;

/// Layers of a recurrent network, each of which takes the outputs of the one before.
///
/// `x` is `[steps, batch, inputs]`. Each of `states`, of which an LSTM has two (`h` and `c`) and other cells one, is
/// `[layers · directions, batch, hidden]`. The results are the outputs of the last layer,
/// `[steps, batch, directions · hidden]`, and the states behind the last step of each layer and direction.
///
/// `weights` has, for each layer and direction, the weights of the inputs and those of the state, and then, in the same
/// order, their biases.
struct Rnn {
    x: ValueId,
    states: Vec<ValueId>,
    weights: Vec<ValueId>,
    lengths: Option<ValueId>,
    cell: Cell,
    hidden: i64,
    layers: usize,
    directions: usize,
}

/// The weights of one direction of a layer.
struct Weights {
    input: ValueId,
    hidden: ValueId,
    input_bias: ValueId,
    hidden_bias: ValueId,
}

impl Rnn {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let mode: String = op.attr_or("mode", "RNN_TANH".to_owned())?;
        let cell = match mode.as_str() {
            "LSTM" => Cell::Lstm,
            "GRU" => Cell::Gru,
            "RNN_TANH" => Cell::Tanh,
            "RNN_RELU" => Cell::Relu,
            other => return Err(Error::unsupported(format!("the mode `{other}`"))),
        };
        let states = op.list("pre_state")?;
        Ok(Box::new(Self::read(op, cell, states)?))
    }

    fn parse_cudnn(op: &mut OpReader<'_>) -> Parsed {
        if op.optional("w")?.is_some() {
            return Err(Error::unsupported(
                "weights in one tensor, whose layout is that of a library for GPUs",
            ));
        }
        let states = vec![op.operand("init_h")?, op.operand("init_c")?];
        Ok(Box::new(Self::read(op, Cell::Lstm, states)?))
    }

    /// What all forms of the op spell alike.
    fn read(op: &mut OpReader<'_>, cell: Cell, states: Vec<ValueId>) -> Result<Self> {
        let layers: i64 = op.attr_or("num_layers", 1)?;
        let is_test = op.attr_or("is_test", false)?;
        let dropout: f64 = op.attr_or("dropout_prob", 0.0)?;
        if !is_test && dropout > 0.0 && layers > 1 {
            return Err(Error::unsupported(
                "dropout between the layers, as in training; export the model in evaluation mode",
            ));
        }
        let rnn = Self {
            x: op.operand("x")?,
            states,
            weights: op.list("weight_list")?,
            lengths: op.optional("sequence_length")?,
            cell,
            hidden: op.attr_or("hidden_size", 100)?,
            layers: usize::try_from(layers).unwrap_or(0),
            directions: if op.attr_or("is_bidirec", false)? {
                2
            } else {
                1
            },
        };
        let weights = rnn.layers.checked_mul(4 * rnn.directions);
        if weights != Some(rnn.weights.len()) || !(1..=LARGEST).contains(&rnn.hidden) {
            return Err(Error::malformed(format!(
                "{layers} layers of {} units with {} weights, where 4 are due for each direction of a layer",
                rnn.hidden,
                rnn.weights.len()
            )));
        }
        let due = if cell == Cell::Lstm { 2 } else { 1 };
        if rnn.states.len() != due || op.result_count() != 1 + due {
            return Err(Error::malformed(format!(
                "{} states and {} results where {due} and {} are due",
                rnn.states.len(),
                op.result_count(),
                1 + due
            )));
        }
        Ok(rnn)
    }

    /// The weights of the directions of a layer.
    fn weights(&self, layer: usize) -> impl Iterator<Item = Weights> {
        let biases = self.weights.len() / 2;
        (0..self.directions).map(move |direction| {
            let first = 2 * (layer * self.directions + direction);
            Weights {
                input: self.weights[first],
                hidden: self.weights[first + 1],
                input_bias: self.weights[biases + first],
                hidden_bias: self.weights[biases + first + 1],
            }
        })
    }

    /// The number of rows of each weight.
    fn rows(&self) -> i64 {
        (self.cell.gates() as i64).saturating_mul(self.hidden)
    }

    /// The number of features that a layer takes at each step, if it is known.
    fn inputs(&self, facts: &Facts<'_>, layer: usize) -> Option<i64> {
        match layer {
            0 => facts.shape(self.x).last().and_then(Dim::known),
            _ => Some(self.hidden * self.directions as i64),
        }
    }

    /// Refuses weights and states of other shapes than are due.
    fn check(&self, facts: &Facts<'_>) -> Result<()> {
        let refuse = |id: ValueId, due: &[Dim]| {
            let shape = facts.shape(id);
            let mut extents = shape.iter().zip(due);
            let fits = extents.all(|(extent, due)| match (extent.known(), due.known()) {
                (Some(extent), Some(due)) => extent == due,
                _ => true,
            });
            if fits && shape.len() == due.len() {
                return Ok(());
            }
            Err(Error::malformed(format!(
                "a weight or state of shape {} where {} was expected",
                display_shape(shape),
                display_shape(due)
            )))
        };
        let (rows, hidden) = (Dim::Known(self.rows()), Dim::Known(self.hidden));
        for layer in 0..self.layers {
            let inputs = self.inputs(facts, layer).map_or(Dim::Unknown, Dim::Known);
            for weights in self.weights(layer) {
                refuse(weights.input, &[rows.clone(), inputs.clone()])?;
                refuse(weights.hidden, &[rows.clone(), hidden.clone()])?;
                refuse(weights.input_bias, std::slice::from_ref(&rows))?;
                refuse(weights.hidden_bias, std::slice::from_ref(&rows))?;
            }
        }
        let states = Dim::from(self.layers * self.directions);
        let batch = facts.shape(self.x).get(1).cloned();
        let due = [states, batch.unwrap_or(Dim::Unknown), hidden];
        self.states
            .iter()
            .try_for_each(|state| refuse(*state, &due))
    }

    /// The results in one of the types that kernels compute in.
    fn run<T: Real>(&self, values: &Values<'_>, x: &Array<T>) -> Result<Vec<Tensor>> {
        let get = |id: ValueId| same_type(values.get(id)?, x);
        let lengths = self.lengths.map(|id| values.integers(id)).transpose()?;
        let mut states: Vec<Array<T>> = Vec::new();
        for state in &self.states {
            states.push(get(*state)?.clone());
        }
        let mut x = x.clone();
        for number in 0..self.layers {
            let mut outputs = Vec::new();
            for (direction, weights) in self.weights(number).enumerate() {
                let weights = recurrence::Weights {
                    input: get(weights.input)?,
                    hidden: get(weights.hidden)?,
                    input_bias: get(weights.input_bias)?,
                    hidden_bias: get(weights.hidden_bias)?,
                };
                let layer = Layer {
                    cell: self.cell,
                    is_reverse: direction == 1,
                    lengths: lengths.as_deref(),
                };
                let row = number * self.directions + direction;
                outputs.push(one_direction(layer, &x, &weights, &mut states, row)?);
            }
            let views: Vec<_> = outputs.iter().map(|outputs| outputs.view()).collect();
            let joined = ndarray::concatenate(Axis(2), &views);
            x = joined
                .map_err(|_| Error::internal("the directions give different shapes"))?
                .into();
        }
        let results = std::iter::once(x).chain(states);
        Ok(results.map(Element::tensor).collect())
    }
}

/// The outputs of one direction of a layer, whose state is the given row of `states`, and is brought forward there.
fn one_direction<T: Real>(
    layer: Layer<'_>,
    x: &Array<T>,
    weights: &recurrence::Weights<'_, T>,
    states: &mut [Array<T>],
    row: usize,
) -> Result<ArrayD<T>> {
    let of = |states: &Array<T>| {
        let state = (states.ndim() == 3 && row < states.shape()[0])
            .then(|| states.index_axis(Axis(0), row).to_owned());
        let state = state.and_then(|state| state.into_dimensionality::<Ix2>().ok());
        state.ok_or_else(|| Error::malformed(format!("a state of shape {:?}", states.shape())))
    };
    let (Some(h), Some(c)) = (states.first(), states.last()) else {
        return Err(Error::internal("a recurrent layer without a state"));
    };
    let mut state = State {
        h: of(h)?,
        c: of(c)?,
    };
    let outputs = recurrence::layer(layer, x, weights, &mut state)?;
    if layer.cell == Cell::Lstm {
        states[1].index_axis_mut(Axis(0), row).assign(&state.c);
    }
    states[0].index_axis_mut(Axis(0), row).assign(&state.h);
    Ok(outputs)
}

impl Operator for Rnn {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let [steps, batch, _] = facts.shape(self.x) else {
            return Err(Error::malformed(format!(
                "a sequence of shape {} where [steps, batch, inputs] was expected",
                display_shape(facts.shape(self.x))
            )));
        };
        self.check(facts)?;
        if let Some(lengths) = self.lengths {
            super::check_lengths(facts, lengths, batch)?;
        }
        let dtype = facts.dtype(self.x);
        let features = Dim::Known(self.hidden * self.directions as i64);
        let outputs = Fact::new(dtype, vec![steps.clone(), batch.clone(), features]);
        let states = Dim::from(self.layers * self.directions);
        let state = Fact::new(dtype, vec![states, batch.clone(), Dim::Known(self.hidden)]);
        let states = std::iter::repeat_n(state, self.states.len());
        Ok(std::iter::once(outputs).chain(states).collect())
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        self.lower_layers(g)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        match values.get(self.x)? {
            Tensor::F32(x) => self.run(values, x),
            Tensor::F64(x) => self.run(values, x),
            other => Err(Error::unsupported(format!(
                "the reference has no kernel for {}",
                other.dtype()
            ))),
        }
    }

    fn macs(&self, facts: &Facts<'_>) -> Macs {
        let steps = Macs::product(facts.shape(self.x).iter().take(2));
        let mut each = 0_u64;
        for layer in 0..self.layers {
            let Some(inputs) = self.inputs(facts, layer) else {
                return Macs::Unknown;
            };
            let features = inputs.saturating_add(self.hidden).unsigned_abs();
            let directions = self
                .rows()
                .unsigned_abs()
                .saturating_mul(self.directions as u64);
            each = each.saturating_add(features.saturating_mul(directions));
        }
        match steps.and_then(|steps| steps.checked_mul(each)) {
            Some(macs) => Macs::Weighted(macs),
            None => Macs::Unknown,
        }
    }
}
