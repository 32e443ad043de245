//! Class numbers within one of several shards of equal size: `shard_index`.
//!
//! Paddle: `phi/kernels/shard_index_kernel.h`. ONNX: Div, Mod, Equal and Where.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{I32, I64};
use crate::tensor::Tensor;

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "shard_index",
    &[Arg::Tensor("input")],
    &[Form::legacy(
        &["shard_index"],
        &[Binding::Slot("X")],
        &["Out"],
    )],
    ShardIndex::parse,
)
.with_opset(10)
.with_dtypes(&[I32, I64])];

/// For each class number, the number of the class within one shard, counted from 0, or `elsewhere` if the
/// class is in another shard.
struct ShardIndex {
    input: ValueId,
    /// How many classes are in one shard.
    size: i64,
    /// The number of the shard, Paddle's `shard_id`.
    shard: i64,
    /// Paddle's `ignore_value`.
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
