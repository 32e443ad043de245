//! Recurrent layers → ONNX.

use super::super::steps::Order;
use super::Rnn;
use super::composed::Direction;
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, Rows, TensorId};
use crate::kernels::recurrence::Cell;
use crate::program::ValueId;
use crate::tensor::DType;

impl Rnn {
    /// Emits all layers. Returns the outputs of the last one, and the last states of all.
    pub(super) fn lower_layers(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let mut x = g.value(self.x)?;
        let mut states: Vec<Vec<TensorId>> = vec![Vec::new(); self.states.len()];
        for layer in 0..self.layers {
            let mut first = Vec::with_capacity(states.len());
            for state in &self.states {
                first.push(self.lower_state(g, *state, layer)?);
            }
            let results = if g.dtype(self.x) == DType::F64 {
                self.compose_layer(g, layer, x, &first)?
            } else {
                self.lower_layer(g, layer, x, &first)?
            };
            x = results[0];
            for (all, state) in states.iter_mut().zip(&results[1..]) {
                all.push(*state);
            }
        }
        let states = states.iter().map(|state| g.concat(state, 0));
        Ok(std::iter::once(x).chain(states).collect())
    }

    /// Emits a layer as one node. Returns its outputs, `[steps, batch, directions · hidden]`, and its last states, each
    /// `[directions, batch, hidden]`, as are the `first` ones.
    fn lower_layer(
        &self,
        g: &mut Lowering<'_>,
        layer: usize,
        x: TensorId,
        first: &[TensorId],
    ) -> Result<Vec<TensorId>> {
        let lengths = self.lower_lengths(g, DType::I32)?;
        let mut inputs: Vec<Option<TensorId>> = vec![Some(x)];
        inputs.extend(self.lower_weights(g, layer)?.map(Some));
        inputs.push(lengths);
        inputs.extend(first.iter().copied().map(Some));
        let (op_type, attrs) = self.node();
        let mut results = g.node_with_outputs(op_type, inputs, attrs, 1 + first.len());
        results[0] = self.lower_outputs(g, results[0]);
        if let Some(lengths) = lengths {
            // ONNX does not say what the state of a sequence without steps is, and ONNX Runtime makes it 0.
            let lengths = g.unsqueeze(lengths, &[0, 2]);
            let zero = g.scalar(DType::I32, 0.0);
            let is_empty = g.node("Equal", &[lengths, zero], []);
            for (last, first) in results[1..].iter_mut().zip(first) {
                *last = g.node("Where", &[is_empty, *first, *last], []);
            }
        }
        Ok(results)
    }

    /// The lengths of the sequences in this element type, if they are given.
    fn lower_lengths(&self, g: &mut Lowering<'_>, dtype: DType) -> Result<Option<TensorId>> {
        let Some(id) = self.lengths else {
            return Ok(None);
        };
        let lengths = g.value(id)?;
        Ok(Some(g.cast(lengths, g.dtype(id), dtype)))
    }

    /// As [`Self::lower_layer`], out of matrix products.
    fn compose_layer(
        &self,
        g: &mut Lowering<'_>,
        layer: usize,
        x: TensorId,
        first: &[TensorId],
    ) -> Result<Vec<TensorId>> {
        let lengths = self.lower_lengths(g, DType::I64)?;
        let lengths = lengths.map(|lengths| g.unsqueeze(lengths, &[1]));
        let mut results: Vec<Vec<TensorId>> = vec![Vec::new(); 1 + first.len()];
        for (number, weights) in self.weights(layer).enumerate() {
            let direction = Direction {
                cell: self.cell,
                dtype: g.dtype(self.x),
                order: [Order::FirstToLast, Order::LastToFirst][number],
                lengths,
                input: g.value(weights.input)?,
                hidden: g.value(weights.hidden)?,
                biases: [g.value(weights.input_bias)?, g.value(weights.hidden_bias)?],
            };
            let number = number as i64;
            let states = first.iter().map(|state| {
                let state = g.slice(*state, number, number + 1, 0);
                g.squeeze(state, &[0])
            });
            let states: Vec<TensorId> = states.collect();
            let (outputs, last) = direction.lower(g, x, &states)?;
            results[0].push(outputs);
            for (all, state) in results[1..].iter_mut().zip(last) {
                all.push(g.unsqueeze(state, &[0]));
            }
        }
        let axes = std::iter::once(2).chain(std::iter::repeat(0));
        let joined = results.iter().zip(axes);
        Ok(joined.map(|(parts, axis)| g.concat(parts, axis)).collect())
    }

    /// The gates in the order in which ONNX has them, by their positions in Paddle's order.
    fn onnx_gates(&self) -> &'static [i64] {
        match self.cell {
            Cell::Tanh | Cell::Relu => &[0],
            // From i, f, c, o to i, o, f, c.
            Cell::Lstm => &[0, 3, 1, 2],
            // From r, z, h to z, r, h.
            Cell::Gru => &[1, 0, 2],
        }
    }

    /// The rows of weights in the order in which ONNX has them.
    fn ordered(&self, weights: impl IntoIterator<Item = ValueId>) -> Vec<Rows> {
        let rows = weights.into_iter().flat_map(|value| {
            self.onnx_gates().iter().map(move |gate| Rows {
                value,
                start: gate * self.hidden,
                count: self.hidden,
            })
        });
        rows.collect()
    }

    /// Emits the weights of a layer as ONNX takes them: `[directions, gates · hidden, …]`, and the biases
    /// `[directions, 2 · gates · hidden]`.
    fn lower_weights(&self, g: &mut Lowering<'_>, layer: usize) -> Result<[TensorId; 3]> {
        let (directions, rows) = (self.directions as i64, self.rows());
        let inputs = self.inputs(g, layer);
        let inputs = inputs.ok_or_else(|| Error::needs_extents("a recurrent layer"))?;
        let input = self.ordered(self.weights(layer).map(|weights| weights.input));
        let hidden = self.ordered(self.weights(layer).map(|weights| weights.hidden));
        let biases = self.weights(layer);
        let biases = biases.flat_map(|weights| [weights.input_bias, weights.hidden_bias]);
        Ok([
            g.rows(&input, &[directions, rows, inputs])?,
            g.rows(&hidden, &[directions, rows, self.hidden])?,
            g.rows(&self.ordered(biases), &[directions, 2 * rows])?,
        ])
    }

    /// The states of a layer in a tensor of those of all layers.
    fn lower_state(&self, g: &mut Lowering<'_>, state: ValueId, layer: usize) -> Result<TensorId> {
        let state = g.value(state)?;
        if self.layers == 1 {
            return Ok(state);
        }
        let start = (layer * self.directions) as i64;
        Ok(g.slice(state, start, start + self.directions as i64, 0))
    }

    /// The operator and its attributes.
    fn node(&self) -> (&'static str, Vec<(&'static str, NodeAttr)>) {
        let direction = ["forward", "bidirectional"][self.directions - 1];
        let mut attrs = vec![
            ("direction", NodeAttr::String(direction)),
            ("hidden_size", NodeAttr::Int(self.hidden)),
        ];
        let op_type = match self.cell {
            Cell::Lstm => "LSTM",
            Cell::Gru => {
                attrs.push(("linear_before_reset", NodeAttr::Int(1)));
                "GRU"
            }
            Cell::Tanh => "RNN",
            Cell::Relu => {
                let activations = vec!["Relu".to_owned(); self.directions];
                attrs.push(("activations", NodeAttr::Texts(activations)));
                "RNN"
            }
        };
        (op_type, attrs)
    }

    /// The outputs of a layer, `[steps, batch, directions · hidden]`, from those of ONNX,
    /// `[steps, directions, batch, hidden]`.
    fn lower_outputs(&self, g: &mut Lowering<'_>, y: TensorId) -> TensorId {
        if self.directions == 1 {
            return g.squeeze(y, &[1]);
        }
        let y = g.transpose(y, &[0, 2, 1, 3]);
        // Reshape copies the extents of the first two axes.
        let shape = g.vector(&[0, 0, self.hidden * self.directions as i64]);
        g.node("Reshape", &[y, shape], [])
    }
}
