//! Classes of examples, as numbers and as rows of probabilities.
//!
//! Paddle: `phi/kernels/{label_smooth,shard_index,sequence_mask}_kernel.h`. ONNX: Div, Equal, Less.

use super::def::{Accuracy, Arg, FLOATS, Form, From, OpDef, WIDE};
use super::operator::{Fact, Facts, Function, Parsed, single};
use super::reader::OpReader;
use crate::error::{Error, Result};
use crate::lower::{Lowering, TensorId};
use crate::program::ValueId;
use crate::reference::{Real, Values, map};
use crate::tensor::DType::{self, Bool, I32, I64};
use crate::tensor::{Array, Dim, Tensor, broadcast_dims, refuse_too_large};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "label_smooth",
        &[Arg::Tensor("label"), Arg::Optional("prior_dist")],
        &[Form::legacy(
            &["label_smooth"],
            &[From::Slot("X"), From::Optional("PriorDist")],
            &["Out"],
        )],
        LabelSmooth::parse,
    )
    .taking(FLOATS)
    .with_accuracy(Accuracy::Rounded),
    OpDef::new(
        "shard_index",
        &[Arg::Tensor("input")],
        &[Form::legacy(&["shard_index"], &[From::Slot("X")], &["Out"])],
        ShardIndex::parse,
    )
    .taking(&[I32, I64]),
    OpDef::new(
        "sequence_mask",
        &[Arg::Tensor("x"), Arg::Scalar("max_len")],
        &[Form::legacy(
            &["sequence_mask"],
            &[
                From::Slot("X"),
                From::Scalar {
                    attr: "maxlen",
                    slots: &["MaxLenTensor"],
                },
            ],
            &["Y"],
        )],
        SequenceMask::parse,
    )
    .taking(WIDE),
];

/// `(1 - epsilon) · label + epsilon · prior`, where every class is as likely if nothing else is
/// said.
struct LabelSmooth {
    label: ValueId,
    prior: Option<ValueId>,
    epsilon: f64,
}

impl LabelSmooth {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            label: op.operand("label")?,
            prior: op.optional("prior_dist")?,
            epsilon: op.attr_or("epsilon", 0.0)?,
        }))
    }

    fn smoothed<T: Real>(&self, label: &Array<T>, prior: Option<&Array<T>>) -> Result<Tensor> {
        let (stays, epsilon) = (T::from_f64(1.0 - self.epsilon), T::from_f64(self.epsilon));
        let smoothed = if let Some(prior) = prior {
            map::zip(label, prior, |x, prior| stays * x + epsilon * prior)?
        } else {
            let classes = label.shape().last().copied().unwrap_or(1);
            let share = epsilon / T::from_f64(classes as f64);
            map::map(label, |x| stays * x + share)?
        };
        Ok(T::tensor(smoothed.into()))
    }
}

impl Function for LabelSmooth {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let label = facts.get(self.label);
        if label.shape.is_empty() {
            return Err(Error::malformed("labels of rank 0"));
        }
        if let Some(prior) = self.prior {
            broadcast_dims(&label.shape, facts.shape(prior))?;
        }
        Ok(Fact::new(label.dtype, label.shape.clone()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (dtype, rank) = (g.dtype(self.label), g.rank(self.label) as i64);
        let label = g.value(self.label)?;
        let stays = g.scalar(dtype, 1.0 - self.epsilon);
        let kept = g.node("Mul", &[label, stays], []);
        let epsilon = g.scalar(dtype, self.epsilon);
        let share = if let Some(prior) = self.prior {
            let prior = g.value(prior)?;
            g.node("Mul", &[prior, epsilon], [])
        } else {
            let classes = g.shape(self.label).last().and_then(Dim::known);
            let classes = if let Some(classes) = classes {
                g.scalar(dtype, classes as f64)
            } else {
                let classes = g.shape_slice(label, rank - 1, rank);
                g.cast(classes, I64, dtype)
            };
            g.node("Div", &[epsilon, classes], [])
        };
        Ok(g.node("Add", &[kept, share], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let prior = self.prior.map(|prior| values.get(prior)).transpose()?;
        match (values.get(self.label)?, prior) {
            (Tensor::F32(label), Some(Tensor::F32(prior))) => self.smoothed(label, Some(prior)),
            (Tensor::F64(label), Some(Tensor::F64(prior))) => self.smoothed(label, Some(prior)),
            (Tensor::F32(label), None) => self.smoothed(label, None),
            (Tensor::F64(label), None) => self.smoothed(label, None),
            _ => Err(Error::unsupported(
                "labels of one type and a prior of another",
            )),
        }
    }
}

/// The numbers of the classes that one of several shards has, counted from 0 in it; another value
/// for those of other shards.
struct ShardIndex {
    input: ValueId,
    /// How many classes are in one shard.
    size: i64,
    shard: i64,
    elsewhere: i64,
}

impl ShardIndex {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let (count, shards): (i64, i64) = (op.attr("index_num")?, op.attr("nshards")?);
        let shard = op.attr("shard_id")?;
        if shards < 1 || count < 1 || !(0..shards).contains(&shard) {
            return Err(Error::malformed(format!(
                "{count} classes in {shards} shards, of which number {shard}"
            )));
        }
        Ok(Box::new(Self {
            input: op.operand("input")?,
            size: count / shards + i64::from(count % shards != 0),
            shard,
            elsewhere: op.attr_or("ignore_value", -1)?,
        }))
    }
}

impl Function for ShardIndex {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let input = facts.get(self.input);
        Ok(Fact::new(input.dtype, input.shape.clone()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let dtype = g.dtype(self.input);
        let x = g.value(self.input)?;
        let x = g.cast(x, dtype, I64);
        let constants = [self.size, self.shard, self.elsewhere];
        let [size, shard, elsewhere] = constants.map(|n| g.constant(Tensor::scalar(n)));
        let shards = g.node("Div", &[x, size], []);
        let is_here = g.node("Equal", &[shards, shard], []);
        let number = g.node("Mod", &[x, size], []);
        let number = g.node("Where", &[is_here, number, elsewhere], []);
        Ok(g.cast(number, I64, dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let input = values.get(self.input)?;
        let numbers = input.to_i64_vec().into_iter().map(|class| {
            if class / self.size == self.shard {
                class % self.size
            } else {
                self.elsewhere
            }
        });
        let numbers = Tensor::from_elements(input.shape(), numbers.collect())?;
        Ok(numbers.cast(input.dtype()))
    }
}

/// For each length, a row of ones for so many positions and of zeros behind. Without a maximum,
/// rows are as long as the largest length.
struct SequenceMask {
    x: ValueId,
    length: Option<ValueId>,
    dtype: DType,
}

impl SequenceMask {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            length: op.optional("max_len")?,
            dtype: op.attr_or("out_dtype", I64)?,
        }))
    }

    /// The length of a row, where it is stated and known before a run.
    fn stated(&self, facts: &Facts<'_>) -> Option<Dim> {
        match facts.content(self.length?) {
            Some([Dim::Known(..0)]) | None => None,
            Some([length]) => Some(length.clone()),
            Some(_) => None,
        }
    }

    /// Whether rows are as long as the largest of `x`.
    fn is_open(&self, facts: &Facts<'_>) -> bool {
        let length = self.length.and_then(|length| facts.content(length));
        self.length.is_none() || matches!(length, Some([Dim::Known(..0)]))
    }
}

impl Function for SequenceMask {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let mut shape = facts.shape(self.x).to_vec();
        shape.push(self.stated(facts).unwrap_or(Dim::Unknown));
        Ok(Fact::new(self.dtype, shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let rank = g.rank(self.x);
        let x = g.value(self.x)?;
        let x = g.cast(x, g.dtype(self.x), I64);
        let length = match self.length {
            Some(length) if !self.is_open(g) => {
                let length = g.int_array(length)?;
                let zero = g.vector(&[0]);
                g.extreme("Max", length, zero, I64)
            }
            _ => {
                let axes: Vec<usize> = (0..rank).collect();
                let largest = g.reduce("ReduceMax", x, &axes, false);
                g.unsqueeze(largest, &[0])
            }
        };
        let places = match self.stated(g).and_then(|length| length.known()) {
            Some(length @ 0..=1024) => g.vector(&(0..length).collect::<Vec<i64>>()),
            _ => g.count_up(length),
        };
        let x = g.unsqueeze(x, &[rank as i64]);
        let is_inside = g.node("Less", &[places, x], []);
        Ok(g.cast(is_inside, Bool, self.dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let lengths = x.to_i64_vec();
        let length = match self.length {
            Some(length) => single(&values.integers(length)?, "max_len")?,
            None => -1,
        };
        let largest = lengths.iter().copied().max().unwrap_or(0);
        let length = if length < 0 { largest } else { length };
        let row = usize::try_from(length).unwrap_or(0);
        let shape = [x.shape(), &[row]].concat();
        refuse_too_large(&shape)?;
        let positions = || 0..row as i64;
        let rows = lengths.iter();
        let inside = rows.flat_map(|length| positions().map(move |place| place < *length));
        let inside = Tensor::from_elements(&shape, inside.collect())?;
        Ok(inside.cast(values.dtype(self.dtype)))
    }
}
