//! Messages between the nodes of a graph, and rows reduced by segments: `send_u_recv`, `send_ue_recv`, `send_uv` and
//! `segment_pool`.
//!
//! Paddle: `phi/kernels/{send_u_recv,send_ue_recv,send_uv,segment_pool}_kernel.h`.
//! ONNX: Gather, and ScatterND with a reduction.

use ndarray::{ArrayD, IxDyn};

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::index::{self, Combine};
use crate::kernels::map;
use crate::operator::{
    Accuracy, Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values, WIDE,
};
use crate::ops::shared::values::{indices, same_type};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, DType, Dim, Element, Tensor, broadcast_dims, with_array};

/// Where older programs have the number of rows of the result.
const OUT_SIZE: Binding = Binding::IntArray {
    attr: "out_size",
    slots: &["Out_size"],
};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "segment_pool",
        &[Arg::Tensor("x"), Arg::Tensor("segment_ids")],
        &[Form::legacy(
            &["segment_pool"],
            &[Binding::Slot("X"), Binding::Slot("SegmentIds")],
            &["Out"],
        )],
        Received::parse_segments,
    )
    .with_dtypes(WIDE)
    .with_opset(16)
    .with_accuracy(Accuracy::Accumulated),
    OpDef::new(
        "send_u_recv",
        &[
            Arg::Tensor("x"),
            Arg::Tensor("src_index"),
            Arg::Tensor("dst_index"),
            Arg::IntArray("out_size"),
        ],
        &[Form::legacy(
            &["graph_send_recv"],
            &[
                Binding::Slot("X"),
                Binding::Slot("Src_index"),
                Binding::Slot("Dst_index"),
                OUT_SIZE,
            ],
            &["Out"],
        )],
        Received::parse_nodes,
    )
    .with_dtypes(WIDE)
    .with_opset(16)
    .with_accuracy(Accuracy::Accumulated),
    OpDef::new(
        "send_ue_recv",
        &[
            Arg::Tensor("x"),
            Arg::Tensor("y"),
            Arg::Tensor("src_index"),
            Arg::Tensor("dst_index"),
            Arg::IntArray("out_size"),
        ],
        &[Form::legacy(
            &["graph_send_ue_recv"],
            &[
                Binding::Slot("X"),
                Binding::Slot("Y"),
                Binding::Slot("Src_index"),
                Binding::Slot("Dst_index"),
                OUT_SIZE,
            ],
            &["Out"],
        )],
        Received::parse_edges,
    )
    .with_dtypes(WIDE)
    .with_opset(16)
    .with_accuracy(Accuracy::Accumulated),
    OpDef::new(
        "send_uv",
        &[
            Arg::Tensor("x"),
            Arg::Tensor("y"),
            Arg::Tensor("src_index"),
            Arg::Tensor("dst_index"),
        ],
        &[Form::legacy(
            &["graph_send_uv"],
            &[
                Binding::Slot("x"),
                Binding::Slot("y"),
                Binding::Slot("src_index"),
                Binding::Slot("dst_index"),
            ],
            &["out"],
        )],
        SendUv::parse,
    )
    .with_dtypes(WIDE)
    .with_accuracy(Accuracy::Rounded),
];

/// How two features become a message, Paddle's `message_op`.
#[derive(Clone, Copy)]
enum Join {
    Add,
    Multiply,
}

impl Join {
    fn parse(op: &mut OpReader<'_>) -> Result<Self> {
        let name: String = op.attr_or("message_op", "ADD".to_owned())?;
        match name.as_str() {
            "ADD" => Ok(Join::Add),
            "MUL" => Ok(Join::Multiply),
            other => Err(Error::unsupported(format!("the message {other:?}"))),
        }
    }

    /// The shape of messages made of these.
    fn shape(x: &[Dim], y: &[Dim]) -> Result<Vec<Dim>> {
        if x.len() != y.len() {
            return Err(Error::unsupported("features of different ranks"));
        }
        broadcast_dims(x, y)
    }

    fn lower(self, g: &mut Lowering<'_>, x: TensorId, y: TensorId) -> TensorId {
        let operator = match self {
            Join::Add => "Add",
            Join::Multiply => "Mul",
        };
        g.node(operator, &[x, y], [])
    }

    fn evaluate<T: Element>(self, x: &Array<T>, y: &Array<T>) -> Result<Array<T>> {
        let how = match self {
            Join::Add => Combine::Add,
            Join::Multiply => Combine::Multiply,
        };
        map::zip(x, y, |x, y| how.apply(x, y)).map(Into::into)
    }
}

/// How the messages to one row are reduced, Paddle's `reduce_op` and `pooltype`.
#[derive(Clone, Copy, PartialEq)]
enum Reduce {
    Sum,
    Mean,
    Max,
    Min,
}

impl Reduce {
    fn parse(op: &mut OpReader<'_>, attr: &'static str) -> Result<Self> {
        let name: String = op.attr_or(attr, "SUM".to_owned())?;
        match name.as_str() {
            "SUM" => Ok(Reduce::Sum),
            "MEAN" => Ok(Reduce::Mean),
            "MAX" => Ok(Reduce::Max),
            "MIN" => Ok(Reduce::Min),
            other => Err(Error::unsupported(format!("the reduction {other:?}"))),
        }
    }

    /// How a message is combined with the earlier ones to the same row.
    fn combine(self) -> (Combine, &'static str) {
        match self {
            Reduce::Sum | Reduce::Mean => (Combine::Add, "add"),
            Reduce::Max => (Combine::Max, "max"),
            Reduce::Min => (Combine::Min, "min"),
        }
    }

    /// Emits ScatterND: `messages` of this element type, reduced by the number of their row in `index`, an int64 vector.
    /// Rows without messages are 0. `shape` is that of the result.
    fn lower(
        self,
        g: &mut Lowering<'_>,
        (messages, dtype, rank): (TensorId, DType, usize),
        index: TensorId,
        shape: TensorId,
    ) -> Result<TensorId> {
        let zero = g.scalar(dtype, 0.0);
        let zeros = g.node("Expand", &[zero, shape], []);
        let index = g.unsqueeze(index, &[1]);
        let (_, name) = self.combine();
        let reduction = |name| [("reduction", NodeAttr::String(name))];
        let mut start = zeros;
        if matches!(self, Reduce::Max | Reduce::Min) {
            g.require_opset(18, "the reductions min and max of ONNX's ScatterND")?;
            // A row with messages starts with any of them.
            start = g.node("ScatterND", &[zeros, index, messages], []);
        }
        let reduced = g.node("ScatterND", &[start, index, messages], reduction(name));
        if self != Reduce::Mean {
            return Ok(reduced);
        }
        let rows = g.slice(shape, 0, 1, 0);
        let none = g.node("Expand", &[zero, rows], []);
        let messages = g.shape_slice(messages, 0, 1);
        let one = g.scalar(dtype, 1.0);
        let ones = g.node("Expand", &[one, messages], []);
        let counts = g.node("ScatterND", &[none, index, ones], reduction("add"));
        let counts = g.node("Max", &[counts, one], []);
        let axes: Vec<i64> = (1..rank as i64).collect();
        let counts = g.unsqueeze(counts, &axes);
        Ok(g.node("Div", &[reduced, counts], []))
    }

    fn evaluate<T: Element>(
        self,
        messages: &Array<T>,
        index: &Array<i64>,
        rows: usize,
    ) -> Result<Array<T>> {
        let mut shape = messages.shape().to_vec();
        shape[0] = rows;
        let index = map::reshape(index, &[index.len(), 1])?;
        let zeros = |shape: &[usize]| Array::from_elem(IxDyn(shape), T::default());
        let mut start = zeros(&shape);
        if matches!(self, Reduce::Max | Reduce::Min) {
            start = index::put_slices(&start, &index, messages, Combine::Assign)?.into();
        }
        let (combine, _) = self.combine();
        let reduced: Array<T> = index::put_slices(&start, &index, messages, combine)?.into();
        if self != Reduce::Mean {
            return Ok(reduced);
        }
        let ones = ArrayD::from_elem(IxDyn(&[index.len()]), T::from_f64(1.0)).into();
        let counts = index::put_slices(&zeros(&[rows]), &index, &ones, Combine::Add)?;
        let column: Vec<usize> = (0..shape.len())
            .map(|axis| if axis == 0 { rows } else { 1 })
            .collect();
        let counts = map::reshape(&counts.into(), &column)?;
        let mean = |sum: T, count: T| {
            let count = count.to_f64().max(1.0);
            if T::DTYPE.is_float() {
                T::from_f64(sum.to_f64() / count)
            } else {
                T::from_i64(sum.to_i64() / count as i64)
            }
        };
        map::zip(&reduced, &counts, mean).map(Into::into)
    }
}

/// How many rows the result has.
#[derive(Clone, Copy)]
enum RowCount {
    /// As the operand says, or as many as `x` has if that is not positive.
    Given(ValueId),
    /// One more than the largest number of a segment, which is the last, since they ascend.
    Segments,
}

/// Rows that are made of the messages to them: row `i` reduces the messages at which `to` is `i`. A message is a row of
/// `x`, that at the same position or that which `from` says, joined with the row of `edges` at the same position.
struct Received {
    x: ValueId,
    from: Option<ValueId>,
    edges: Option<(ValueId, Join)>,
    to: ValueId,
    reduce: Reduce,
    rows: RowCount,
}

impl Received {
    fn parse_segments(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            from: None,
            edges: None,
            to: op.operand("segment_ids")?,
            reduce: Reduce::parse(op, "pooltype")?,
            rows: RowCount::Segments,
        }))
    }

    fn parse_nodes(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            from: Some(op.operand("src_index")?),
            edges: None,
            to: op.operand("dst_index")?,
            reduce: Reduce::parse(op, "reduce_op")?,
            rows: RowCount::Given(op.operand("out_size")?),
        }))
    }

    fn parse_edges(op: &mut OpReader<'_>) -> Parsed {
        let join = Join::parse(op)?;
        Ok(Box::new(Self {
            x: op.operand("x")?,
            from: Some(op.operand("src_index")?),
            edges: Some((op.operand("y")?, join)),
            to: op.operand("dst_index")?,
            reduce: Reduce::parse(op, "reduce_op")?,
            rows: RowCount::Given(op.operand("out_size")?),
        }))
    }

    /// The number of rows, as an int64 vector of one element.
    fn lower_rows(&self, g: &mut Lowering<'_>, x: TensorId, to: TensorId) -> Result<TensorId> {
        let given = match self.rows {
            RowCount::Segments => {
                let last = g.reduce("ReduceMax", to, &[0], true);
                let one = g.vector(&[1]);
                return Ok(g.node("Add", &[last, one], []));
            }
            RowCount::Given(id) => id,
        };
        let own = g.shape_slice(x, 0, 1);
        match g.content(given) {
            Some([Dim::Known(rows)]) if *rows > 0 => Ok(g.vector(&[*rows])),
            Some([Dim::Known(_)]) => Ok(own),
            _ => {
                let rows = g.int_array(given)?;
                let zero = g.vector(&[0]);
                let is_given = g.node("Greater", &[rows, zero], []);
                Ok(g.node("Where", &[is_given, rows, own], []))
            }
        }
    }

    /// The number of rows in a run.
    fn count_rows(&self, values: &Values<'_>, to: &Array<i64>) -> Result<usize> {
        let rows = match self.rows {
            RowCount::Segments => to.iter().max().map_or(0, |last| last.saturating_add(1)),
            RowCount::Given(id) => values.integers(id)?.first().copied().unwrap_or(0),
        };
        if rows <= 0 && matches!(self.rows, RowCount::Given(_)) {
            return Ok(values.get(self.x)?.shape()[0]);
        }
        usize::try_from(rows).map_err(|_| Error::malformed(format!("{rows} rows")))
    }
}

impl Function for Received {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.get(self.x);
        let mut shape = x.shape.clone();
        if shape.is_empty() || facts.rank(self.to) != 1 {
            return Err(Error::malformed(
                "rows of rank 0, or their numbers not in a vector",
            ));
        }
        if let Some((edges, _)) = self.edges {
            shape[0] = Dim::Known(1);
            shape = Join::shape(&shape, facts.shape(edges))?;
        }
        shape[0] = match self.rows {
            RowCount::Segments => Dim::Unknown,
            RowCount::Given(id) => match facts.content(id) {
                Some([Dim::Known(rows)]) if *rows > 0 => Dim::Known(*rows),
                Some([Dim::Known(_)]) => x.shape[0].clone(),
                _ => Dim::Unknown,
            },
        };
        Ok(Fact::new(x.dtype, shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let to = index_vector(g, self.to)?;
        let mut messages = x;
        if let Some(from) = self.from {
            let from = index_vector(g, from)?;
            messages = g.node("Gather", &[x, from], [("axis", NodeAttr::Int(0))]);
        }
        if let Some((edges, join)) = self.edges {
            let edges = g.value(edges)?;
            messages = join.lower(g, messages, edges);
        }
        let rank = g.rank(self.x);
        let mut shape = self.lower_rows(g, x, to)?;
        if rank > 1 {
            let features = g.shape_slice(messages, 1, rank as i64);
            shape = g.concat(&[shape, features], 0);
        }
        let messages = (messages, g.dtype(self.x), rank);
        self.reduce.lower(g, messages, to, shape)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let to = indices(values, self.to)?;
        let rows = self.count_rows(values, &to)?;
        with_array!(values.get(self.x)?, x => {
            let mut messages = x.clone();
            if let Some(from) = self.from {
                messages = rows_at(x, &indices(values, from)?)?;
            }
            if let Some((edges, join)) = self.edges {
                messages = join.evaluate(&messages, same_type(values.get(edges)?, x)?)?;
            }
            Ok(Element::tensor(self.reduce.evaluate(&messages, &to, rows)?))
        })
    }

    fn indexes(&self, facts: &Facts<'_>) -> Vec<(ValueId, Dim)> {
        let rows = |id| facts.shape(id).first().cloned().unwrap_or(Dim::Unknown);
        let from = self.from.map(|from| (from, rows(self.x)));
        from.into_iter().chain([(self.to, rows(self.x))]).collect()
    }
}

/// The rows of `x` at `src_index`, each joined with the row of `y` at the same position of `dst_index`.
struct SendUv {
    x: ValueId,
    y: ValueId,
    from: ValueId,
    to: ValueId,
    join: Join,
}

impl SendUv {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            y: op.operand("y")?,
            from: op.operand("src_index")?,
            to: op.operand("dst_index")?,
            join: Join::parse(op)?,
        }))
    }
}

impl Function for SendUv {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let at = |id: ValueId, index: ValueId| -> Result<Vec<Dim>> {
            let mut shape = facts.shape(id).to_vec();
            let (Some(rows), [count]) = (shape.first_mut(), facts.shape(index)) else {
                return Err(Error::malformed(
                    "rows of rank 0, or their numbers not in a vector",
                ));
            };
            *rows = count.clone();
            Ok(shape)
        };
        let shape = Join::shape(&at(self.x, self.from)?, &at(self.y, self.to)?)?;
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let mut rows = |id: ValueId, index: ValueId| -> Result<TensorId> {
            let (x, index) = (g.value(id)?, index_vector(g, index)?);
            Ok(g.node("Gather", &[x, index], [("axis", NodeAttr::Int(0))]))
        };
        let (x, y) = (rows(self.x, self.from)?, rows(self.y, self.to)?);
        Ok(self.join.lower(g, x, y))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (from, to) = (indices(values, self.from)?, indices(values, self.to)?);
        with_array!(values.get(self.x)?, x => {
            let y = same_type(values.get(self.y)?, x)?;
            let joined = self.join.evaluate(&rows_at(x, &from)?, &rows_at(y, &to)?)?;
            Ok(Element::tensor(joined))
        })
    }

    fn indexes(&self, facts: &Facts<'_>) -> Vec<(ValueId, Dim)> {
        let rows = |id| facts.shape(id).first().cloned().unwrap_or(Dim::Unknown);
        vec![(self.from, rows(self.x)), (self.to, rows(self.y))]
    }
}

/// An operand that holds numbers of rows, as an int64 vector.
fn index_vector(g: &mut Lowering<'_>, id: ValueId) -> Result<TensorId> {
    let index = g.value(id)?;
    Ok(g.cast(index, g.dtype(id), DType::I64))
}

/// The rows of `x` at these positions.
fn rows_at<T: Element>(x: &Array<T>, positions: &Array<i64>) -> Result<Array<T>> {
    let positions: Vec<i64> = positions.iter().copied().collect();
    index::select(x, 0, &positions).map(Into::into)
}
