//! The blocks and ops of a `ProgramDesc`, without what no inference needs. Ops are decoded one at a time, so that all of them
//! together are never in memory as protobuf has them.

use super::attrs::{self, Attribute};
use crate::error::Result;
use crate::proto::framework::op_desc::Slot;
use crate::proto::framework::{self, BlockOutline, VarDesc};
use crate::read::program_desc;

/// A block: the variables that it declares, and its ops.
pub(super) struct BlockDesc {
    pub vars: Vec<VarDesc>,
    pub ops: Vec<OpDesc>,
}

/// An op.
pub(super) struct OpDesc {
    pub r#type: String,
    pub inputs: Vec<Slot>,
    pub outputs: Vec<Slot>,
    pub attrs: Vec<Attribute>,
}

impl BlockDesc {
    /// Decodes the ops of a block.
    ///
    /// # Errors
    /// When the bytes of one are not those of an `OpDesc`.
    pub fn decoded(outline: BlockOutline) -> Result<Self> {
        let ops = outline.ops.iter();
        let ops = ops.map(|bytes| program_desc::decode_op(bytes).map(OpDesc::from));
        Ok(Self {
            ops: ops.collect::<Result<_>>()?,
            vars: outline.vars,
        })
    }
}

impl From<framework::OpDesc> for OpDesc {
    fn from(op: framework::OpDesc) -> Self {
        Self {
            attrs: attrs::of_op(&op.r#type, op.attrs),
            inputs: without_slack(op.inputs),
            outputs: without_slack(op.outputs),
            r#type: op.r#type,
        }
    }
}

/// The same slots, in no more memory than they need: few have as many variables as lists have room for at first.
fn without_slack(mut slots: Vec<Slot>) -> Vec<Slot> {
    for slot in &mut slots {
        slot.arguments.shrink_to_fit();
    }
    slots.shrink_to_fit();
    slots
}
