//! Typed reading of an op's operands and attributes. An attribute that nobody reads is an error.

use std::collections::BTreeSet;

use super::argument::Arg;
use crate::error::{Error, Result};
use crate::program::{Block, FromAttr, Op, Operand, ValueId};

/// Whether an attribute says nothing on an op that does not read it. Paddle up to 1.7 puts `is_test` on many ops that
/// do the same in training and in inference.
pub(crate) fn says_nothing(name: &str) -> bool {
    name == "is_test"
}

/// Hands out the operands and attributes of one occurrence of an op, by their names in the definition.
pub struct OpReader<'a> {
    op: &'a Op,
    /// The operands of the definition.
    signature: &'static [Arg],
    unread: BTreeSet<&'a str>,
}

impl<'a> OpReader<'a> {
    pub(super) fn new(op: &'a Op, signature: &'static [Arg]) -> Self {
        let unread = op.attrs.keys().map(String::as_str).collect();
        Self {
            op,
            signature,
            unread,
        }
    }

    fn find(&self, name: &str) -> Result<&'a Operand> {
        let mut signature = self.signature.iter();
        let position = signature.position(|operand| operand.name() == name);
        // Those at the end that are optional may be left out where an op is made of others.
        let operand = position.map(|position| self.op.operands.get(position));
        let operand = operand.map(|operand| operand.unwrap_or(&Operand::Absent));
        operand.ok_or_else(|| {
            let op = self.op.kind.name();
            Error::internal(format!("`{op}` has no operand `{name}`"))
        })
    }

    /// The tensor of an operand that must be given.
    ///
    /// # Errors
    /// When it is absent, or a list.
    pub fn operand(&self, name: &str) -> Result<ValueId> {
        self.optional(name)?
            .ok_or_else(|| Error::malformed(format!("the operand `{name}` is missing")))
    }

    /// The tensor of an operand that may be absent.
    ///
    /// # Errors
    /// When it is a list.
    pub fn optional(&self, name: &str) -> Result<Option<ValueId>> {
        match self.find(name)? {
            Operand::Absent => Ok(None),
            Operand::One(value) => Ok(Some(*value)),
            Operand::Many(_) => Err(Error::malformed(format!(
                "the operand `{name}` is a list where one tensor was expected"
            ))),
        }
    }

    /// The tensors of an operand that is a list.
    ///
    /// # Errors
    /// When it is empty.
    pub fn list(&self, name: &str) -> Result<Vec<ValueId>> {
        match self.find(name)?.values() {
            [] => Err(Error::malformed(format!(
                "the operand `{name}` is an empty list"
            ))),
            values => Ok(values.to_vec()),
        }
    }

    /// The tensors of an operand that is a list, which may be empty.
    ///
    /// # Errors
    /// When the op has no such operand, which is a defect of its definition.
    pub(crate) fn list_or_empty(&self, name: &str) -> Result<Vec<ValueId>> {
        Ok(self.find(name)?.values().to_vec())
    }

    /// The blocks that the op holds, of which there must be `count`.
    ///
    /// # Errors
    /// When there are more or fewer.
    pub(crate) fn blocks(&self, count: usize) -> Result<&'a [Block]> {
        let blocks = self.op.blocks.as_slice();
        if blocks.len() == count {
            return Ok(blocks);
        }
        Err(Error::malformed(format!(
            "holds {} blocks where {count} were expected",
            blocks.len()
        )))
    }

    /// The results of this occurrence, of which an op that makes something of nothing knows what the file declares.
    pub(crate) fn results(&self) -> &'a [ValueId] {
        &self.op.results
    }

    /// The number of results that this occurrence has, for ops that may leave some out.
    pub fn result_count(&self) -> usize {
        self.op.results.len()
    }

    /// Whether the program is from before Paddle 3, where some kernels compute something else.
    pub fn is_former(&self) -> bool {
        self.is_before(3, 0)
    }

    /// Whether the program was written by a release of Paddle before `major.minor`.
    pub fn is_before(&self, major: u16, minor: u16) -> bool {
        self.op.release.is_before(major, minor)
    }

    /// An attribute that must be given.
    ///
    /// # Errors
    /// When it is absent, or of another type.
    pub fn attr<T: FromAttr>(&mut self, name: &str) -> Result<T> {
        self.optional_attr(name)?
            .ok_or_else(|| Error::malformed(format!("the attribute `{name}` is missing")))
    }

    /// An attribute, or the default that Paddle's own signature gives it.
    ///
    /// # Errors
    /// When it is of another type.
    pub fn attr_or<T: FromAttr>(&mut self, name: &str, default: T) -> Result<T> {
        Ok(self.optional_attr(name)?.unwrap_or(default))
    }

    /// An attribute that may be absent, where absence means something else than any value.
    ///
    /// # Errors
    /// When it is of another type.
    pub fn optional_attr<T: FromAttr>(&mut self, name: &str) -> Result<Option<T>> {
        self.unread.remove(name);
        let Some(attr) = self.op.attrs.get(name) else {
            return Ok(None);
        };
        T::from_attr(attr).map(Some).ok_or_else(|| {
            Error::malformed(format!(
                "the attribute `{name}` is {} ({attr}) where {} was expected",
                attr.type_name(),
                T::EXPECTED
            ))
        })
    }

    /// Marks an attribute as read that does not change the result. Say why at the call.
    pub fn ignore(&mut self, name: &str) {
        self.unread.remove(name);
    }

    /// # Errors
    /// When an attribute was not read: it may change the result in a way that is not known here.
    pub(super) fn finish(self) -> Result<()> {
        let unread = self.unread.iter().filter(|name| !says_nothing(name));
        let names: Vec<String> = unread
            .filter_map(|name| Some(format!("`{name}` = {}", self.op.attrs.get(*name)?)))
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        Err(Error::unsupported(format!(
            "these attributes are not known: {}",
            names.join(", ")
        )))
    }
}
