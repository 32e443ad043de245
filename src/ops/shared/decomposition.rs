//! Ops that are several others in a row, and are taken apart when a program is read.
//!
//! In goes the op as the program has it, out come ops of other families, each with its own inference, lowering and
//! kernel. Nothing is left to be parsed.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};
use crate::operator::{Accuracy, Arg, Form, OpDef, OpReader, Parsed, Rewrite, says_nothing};
use crate::program::{Attr, Builder, Declared, Draft, FromAttr, OpKind, Operand, Parts, ValueId};
use crate::tensor::{DType, Dim, Tensor};

/// The definition of an op that `apart` takes apart, in whatever form it is.
pub(crate) const fn decomposed(
    name: &'static str,
    operands: &'static [Arg],
    legacy: &'static [Form],
    dtypes: &'static [DType],
    apart: Rewrite,
) -> OpDef {
    let mut def = OpDef::new(name, operands, legacy, left_whole);
    def.apart = Some(apart);
    def.with_dtypes(dtypes).with_accuracy(Accuracy::Accumulated)
}

/// The `parse` of an op that is taken apart before, unless the file declares other types than it can have.
pub(crate) fn left_whole(_: &mut OpReader<'_>) -> Parsed {
    Err(Error::malformed(
        "its operands are of types that it can't have",
    ))
}

/// The attributes of one of the ops that the whole is taken apart into.
pub(super) type Attrs<'a> = &'a [(&'a str, Attr)];

/// An op that is being taken apart, which is called the whole.
pub(crate) struct Decomposition<'b> {
    builder: &'b mut Builder,
    draft: Draft,
    /// The results of the ops that have been emitted.
    made: BTreeSet<ValueId>,
}

impl<'b> Decomposition<'b> {
    pub fn new(builder: &'b mut Builder, draft: Draft) -> Self {
        Self {
            builder,
            draft,
            made: BTreeSet::new(),
        }
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

    /// The parts of an operand of the whole that must be given, and may be complex.
    pub fn parts(&self, position: usize) -> Result<Parts> {
        let parts = self.builder.parts(self.operand(position)?);
        parts.ok_or_else(|| Error::unsupported("a complex operand whose parts are not known"))
    }

    /// The imaginary parts of a tensor, which may be zeros.
    pub fn imaginary(&mut self, parts: Parts) -> ValueId {
        let zeros = |builder: &mut Builder| builder.zeros_like(parts.real);
        parts.imag.unwrap_or_else(|| zeros(self.builder))
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

    /// Whether the program is from before Paddle 3, where some kernels compute something else.
    pub fn is_former(&self) -> bool {
        self.builder.is_former()
    }

    /// Whether an attribute of the whole is true. It is not taken.
    pub fn flag(&self, name: &str) -> bool {
        let attr = self.draft.attrs.get(name);
        attr.and_then(bool::from_attr).unwrap_or(false)
    }

    /// The number in an operand.
    ///
    /// # Errors
    /// When the operand is computed, or has not exactly one element.
    pub fn constant(&self, value: ValueId) -> Result<f64> {
        let numbers = self.builder.constant_value(value).map(Tensor::to_f64_vec);
        match numbers.as_deref() {
            Some([number]) => Ok(*number),
            _ => Err(Error::unsupported(
                "a number that is computed, where a constant is needed",
            )),
        }
    }

    pub fn dtype(&self, value: ValueId) -> DType {
        self.builder.dtype(value)
    }

    pub fn rank(&self, value: ValueId) -> usize {
        self.builder.rank(value)
    }

    /// The tensor of a value that is a constant.
    pub fn constant_value(&self, value: ValueId) -> Option<&Tensor> {
        self.builder.constant_value(value)
    }

    /// An extent that the file has to declare, such as that of a weight.
    pub fn extent(&self, value: ValueId, axis: usize) -> Result<i64> {
        let dim = self.builder.shape(value).get(axis);
        dim.and_then(Dim::known).ok_or_else(|| {
            Error::unsupported(format!(
                "an operand whose axis {axis} is not of a fixed extent"
            ))
        })
    }

    /// A number as an operand.
    pub fn number(&mut self, number: f64) -> ValueId {
        self.builder.constant(Tensor::scalar(number))
    }

    /// A list of integers as an operand.
    pub fn integers(&mut self, integers: &[i64]) -> ValueId {
        self.builder.constant(Tensor::vector(integers.to_vec()))
    }

    /// A tensor as an operand.
    pub fn tensor(&mut self, tensor: Tensor) -> ValueId {
        self.builder.constant(tensor)
    }

    /// Emits an op whose result has the element type of its first operand, and this rank.
    pub fn op(
        &mut self,
        kind: &'static str,
        operands: &[impl Into<Option<ValueId>> + Copy],
        attrs: Attrs<'_>,
        rank: usize,
    ) -> ValueId {
        let operands: Vec<Option<ValueId>> = operands.iter().map(|x| (*x).into()).collect();
        let first = operands.first().copied().flatten();
        let dtype = first.map_or(DType::F32, |x| self.dtype(x));
        let operands = operands.into_iter();
        let operands = operands.map(|x| x.map_or(Operand::Absent, Operand::One));
        self.emit(kind, operands.collect(), attrs, dtype, rank)
    }

    /// As [`Self::op`], for an op with this number of results.
    pub fn op_with_results(
        &mut self,
        kind: &'static str,
        operands: &[Option<ValueId>],
        attrs: Attrs<'_>,
        (rank, results): (usize, usize),
    ) -> Vec<ValueId> {
        let first = operands.first().copied().flatten();
        let declared = Declared {
            name: format!("{}/{kind}", self.builder.source.output),
            dtype: first.map_or(DType::F32, |x| self.dtype(x)),
            shape: vec![Dim::Unknown; rank],
        };
        let operands = operands.iter();
        let operands = operands.map(|x| x.map_or(Operand::Absent, Operand::One));
        let results = self.builder.emit(Draft {
            kind: OpKind::Known(kind),
            operands: operands.collect(),
            results: vec![declared; results],
            attrs: owned(attrs),
        });
        self.made.extend(&results);
        results
    }

    /// As [`Self::op`], for an op without attributes whose result has another element type.
    pub fn typed_op(
        &mut self,
        kind: &'static str,
        operands: &[ValueId],
        dtype: DType,
        rank: usize,
    ) -> ValueId {
        let operands = operands.iter().copied().map(Operand::One).collect();
        self.emit(kind, operands, &[], dtype, rank)
    }

    /// Emits an op whose result has this element type and rank.
    pub fn emit(
        &mut self,
        kind: &'static str,
        operands: Vec<Operand>,
        attrs: Attrs<'_>,
        dtype: DType,
        rank: usize,
    ) -> ValueId {
        let ty = (dtype, vec![Dim::Unknown; rank]);
        let result = self.builder.insert(kind, operands, owned(attrs), ty);
        self.made.insert(result);
        result
    }

    /// Emits `x · factor`, if the factor is not 1.
    pub fn scaled(&mut self, x: ValueId, factor: f64) -> ValueId {
        if factor == 1.0 {
            return x;
        }
        let factor = self.number(factor);
        self.op("scale", &[x, factor], &[], self.rank(x))
    }

    /// Emits `x + y`, of the rank of `x`, if there is a `y`.
    pub fn plus(&mut self, x: ValueId, y: Option<ValueId>) -> ValueId {
        match y {
            Some(y) => self.op("add", &[x, y], &[], self.rank(x)),
            None => x,
        }
    }

    /// Emits `x` with another shape, in which 0 stands for the extent of `x` on the same axis.
    pub fn reshaped(&mut self, x: ValueId, shape: &[i64]) -> ValueId {
        let extents = self.integers(shape);
        self.op("reshape", &[x, extents], &[], shape.len())
    }

    /// Emits `x` with its axes in another order.
    pub fn transposed(&mut self, x: ValueId, perm: &[i64]) -> ValueId {
        let attrs = [("perm", Attr::Ints(perm.to_vec()))];
        self.op("transpose", &[x], &attrs, perm.len())
    }

    /// Emits the last of the ops, whose results are those of the whole.
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

    /// As [`Self::last`], for an op that takes lists.
    pub fn last_of(
        self,
        kind: &'static str,
        operands: Vec<Operand>,
        attrs: Attrs<'_>,
    ) -> Result<Vec<ValueId>> {
        self.refuse_leftovers()?;
        Ok(self.builder.emit(Draft {
            kind: OpKind::Known(kind),
            operands,
            results: self.draft.results,
            attrs: owned(attrs),
        }))
    }

    /// Makes values that were emitted the results of the whole, of which the file may not have the last ones.
    ///
    /// # Errors
    /// When an attribute of the whole was not taken, or the file has more results.
    pub fn finish(mut self, results: &[ValueId]) -> Result<Vec<ValueId>> {
        self.refuse_leftovers()?;
        let declared = std::mem::take(&mut self.draft.results);
        if declared.len() > results.len() {
            return Err(Error::malformed(format!(
                "has {} results where {} are known",
                declared.len(),
                results.len()
            )));
        }
        let pairs = results.iter().zip(declared);
        Ok(pairs
            .map(|(result, declared)| self.stand_for(*result, declared))
            .collect())
    }

    /// The value of a result that the file declares, with the name and type that it has there: an emitted value, or a
    /// copy of it if it is another result already, or no result of an op that was emitted.
    fn stand_for(&mut self, value: ValueId, declared: Declared) -> ValueId {
        if self.made.remove(&value) {
            self.builder.adopt(value, declared);
            return value;
        }
        let ty = (declared.dtype, declared.shape.clone());
        let operands = vec![Operand::One(value)];
        let copy = self.builder.insert("assign", operands, BTreeMap::new(), ty);
        self.builder.adopt(copy, declared);
        copy
    }

    /// Makes values the parts of the only result of the whole.
    ///
    /// # Errors
    /// When an attribute of the whole was not taken.
    pub fn finish_parts(self, real: ValueId, imag: Option<ValueId>) -> Result<Vec<Parts>> {
        self.refuse_leftovers()?;
        Ok(vec![Parts { real, imag }])
    }

    fn refuse_leftovers(&self) -> Result<()> {
        let mut attrs = self.draft.attrs.iter();
        match attrs.find(|(name, _)| !says_nothing(name)) {
            None => Ok(()),
            Some((name, value)) => Err(Error::unsupported(format!(
                "these attributes are not known: `{name}` = {value}"
            ))),
        }
    }
}

fn owned(attrs: Attrs<'_>) -> BTreeMap<String, Attr> {
    let attrs = attrs.iter();
    attrs
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}
