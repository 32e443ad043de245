//! Ops that are others in a row, and are taken apart when they are read.
//!
//! In goes the op as it is spelled, out come ops of other families, each with its own inference,
//! lowering and kernel. Nothing is left to be parsed.

use super::def::{Accuracy, Arg, Form, OpDef};
use super::operator::Parsed;
use super::reader::OpReader;
use crate::error::{Error, Result};
use crate::normalise::{Builder, Draft};
use crate::program::{Attr, FromAttr, OpKind, Operand, ValueId};
use crate::tensor::{DType, Dim, Tensor};

/// An op with forms that all take it apart.
pub(super) const fn composite(
    name: &'static str,
    operands: &'static [Arg],
    legacy: &'static [Form],
    pir: &'static [Form],
    dtypes: &'static [DType],
) -> OpDef {
    OpDef {
        name,
        operands,
        results: &["out"],
        legacy,
        pir,
        dtypes,
        opset: 11,
        accuracy: Accuracy::Accumulated,
        parse: left_whole,
    }
}

fn left_whole(_: &mut OpReader<'_>) -> Parsed {
    Err(Error::internal("an op that should have been taken apart"))
}

/// The attributes of one of the ops that another is made of.
pub(super) type Attrs<'a> = &'a [(&'a str, Attr)];

/// An op that is being taken apart.
pub(super) struct Parts<'b> {
    builder: &'b mut Builder,
    draft: Draft,
}

impl<'b> Parts<'b> {
    pub fn new(builder: &'b mut Builder, draft: Draft) -> Self {
        Self { builder, draft }
    }

    /// An operand of the whole, by its position, if it is given.
    pub fn optional(&self, position: usize) -> Option<ValueId> {
        match self.draft.operands.get(position) {
            Some(Operand::One(value)) => Some(*value),
            _ => None,
        }
    }

    /// An operand of the whole that must be given.
    pub fn operand(&self, position: usize) -> Result<ValueId> {
        self.optional(position)
            .ok_or_else(|| Error::malformed(format!("the operand {position} is missing")))
    }

    /// The tensors of an operand of the whole that is a list.
    pub fn list(&self, position: usize) -> Result<Vec<ValueId>> {
        match self.draft.operands.get(position).map(Operand::values) {
            None | Some([]) => Err(Error::malformed(format!("the operand {position} is empty"))),
            Some(values) => Ok(values.to_vec()),
        }
    }

    /// Takes an attribute of the whole, or the default that Paddle gives it.
    pub fn attr<T: FromAttr>(&mut self, name: &str, default: T) -> Result<T> {
        let Some(attr) = self.draft.attrs.remove(name) else {
            return Ok(default);
        };
        T::from_attr(&attr).ok_or_else(|| {
            Error::malformed(format!(
                "the attribute `{name}` is {} ({attr}) where {} was expected",
                attr.type_name(),
                T::EXPECTED
            ))
        })
    }

    pub fn dtype(&self, value: ValueId) -> DType {
        self.builder.dtype(value)
    }

    pub fn rank(&self, value: ValueId) -> usize {
        self.builder.rank(value)
    }

    /// The constant behind a value, if it is one.
    pub fn constant_value(&self, value: ValueId) -> Option<&Tensor> {
        self.builder.constant_value(value)
    }

    /// A constant as an operand.
    pub fn constant(&mut self, tensor: Tensor) -> ValueId {
        self.builder.constant(tensor)
    }

    /// A number as an operand.
    pub fn number(&mut self, number: f64) -> ValueId {
        self.builder.constant(Tensor::scalar(number))
    }

    /// A list of integers as an operand.
    pub fn integers(&mut self, integers: &[i64]) -> ValueId {
        self.builder.constant(Tensor::vector(integers.to_vec()))
    }

    /// Emits one of the ops in between, with a result of the first operand's type.
    pub fn op(
        &mut self,
        kind: &'static str,
        operands: &[ValueId],
        attrs: Attrs<'_>,
        rank: usize,
    ) -> ValueId {
        let dtype = operands.first().map_or(DType::F32, |x| self.dtype(*x));
        let operands = operands.iter().copied().map(Operand::One).collect();
        let ty = (dtype, vec![Dim::Unknown; rank]);
        self.builder.insert(kind, operands, owned(attrs), ty)
    }

    /// Emits the last of the ops, whose result is that of the whole.
    ///
    /// # Errors
    /// When an attribute of the whole was not taken: it may change the result.
    pub fn last(
        self,
        kind: &'static str,
        operands: &[ValueId],
        attrs: Attrs<'_>,
    ) -> Result<Vec<ValueId>> {
        let operands = operands.iter().copied().map(Operand::One).collect();
        self.last_of(kind, operands, attrs)
    }

    /// The same, for an op that takes lists.
    pub fn last_of(
        self,
        kind: &'static str,
        operands: Vec<Operand>,
        attrs: Attrs<'_>,
    ) -> Result<Vec<ValueId>> {
        if let Some((name, value)) = self.draft.attrs.first_key_value() {
            return Err(Error::unsupported(format!(
                "these attributes are not known: `{name}` = {value}"
            )));
        }
        Ok(self.builder.emit(Draft {
            kind: OpKind::Known(kind),
            operands,
            results: self.draft.results,
            attrs: owned(attrs),
        }))
    }
}

fn owned(attrs: Attrs<'_>) -> std::collections::BTreeMap<String, Attr> {
    let attrs = attrs.iter();
    attrs
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}
