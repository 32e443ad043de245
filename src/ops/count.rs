//! Ops that count: the elements of a tensor, or those of a sorted one that go before a value.
//!
//! Paddle: `phi/kernels/{numel,searchsorted}_kernel.h`. ONNX: Size; Less and ReduceSum.

use super::def::{Arg, Form, From, OpDef, WIDE};
use super::operator::{Fact, Facts, Function, Macs, Parsed};
use super::reader::OpReader;
use crate::error::{Error, Result};
use crate::lower::{Lowering, TensorId};
use crate::program::ValueId;
use crate::reference::Values;
use crate::tensor::DType::{self, Bool, I32, I64};
use crate::tensor::{Array, Dim, Element, Tensor, with_arrays};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "numel",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["size"], &[From::Slot("Input")], &["Out"])],
        Numel::parse,
    )
    .with_results(&["size"]),
    OpDef::new(
        "is_empty",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["is_empty"], &[From::Slot("X")], &["Out"])],
        |op| {
            let x = op.operand("x")?;
            Ok(Box::new(IsEmpty { x }))
        },
    ),
    OpDef::new(
        "searchsorted",
        &[Arg::Tensor("sorted_sequence"), Arg::Tensor("values")],
        &[Form::legacy(
            &["searchsorted"],
            &[From::Slot("SortedSequence"), From::Slot("Values")],
            &["Out"],
        )],
        SearchSorted::parse,
    )
    .taking(WIDE),
];

/// The number of elements, as a scalar of int64.
struct Numel {
    x: ValueId,
}

impl Numel {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
        }))
    }
}

impl Function for Numel {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let count = Macs::product(facts.shape(self.x)).and_then(|count| i64::try_from(count).ok());
        let content = count.map(|count| vec![Dim::Known(count)]);
        Ok(Fact::new(I64, Vec::new()).with_content(content))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        Ok(g.node("Size", &[x], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        Ok(Tensor::scalar(values.get(self.x)?.len() as i64))
    }
}

/// Whether there are no elements.
struct IsEmpty {
    x: ValueId,
}

impl Function for IsEmpty {
    fn infer(&self, _: &Facts<'_>) -> Result<Fact> {
        Ok(Fact::new(Bool, Vec::new()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let (count, zero) = (g.node("Size", &[x], []), g.scalar(I64, 0.0));
        Ok(g.node("Equal", &[count, zero], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        Ok(Tensor::scalar(values.get(self.x)?.is_empty()))
    }
}

/// For each value, how many elements of a sorted sequence are less (or, if `right`, not greater).
/// There is one sequence for all values, or one for each row of them.
struct SearchSorted {
    sequence: ValueId,
    values: ValueId,
    right: bool,
    dtype: DType,
}

impl SearchSorted {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            sequence: op.operand("sorted_sequence")?,
            values: op.operand("values")?,
            right: op.attr_or("right", false)?,
            dtype: if op.attr_or("out_int32", false)? {
                I32
            } else {
                I64
            },
        }))
    }

    fn counted<T: Element + PartialOrd>(
        &self,
        sequence: &Array<T>,
        values: &Array<T>,
    ) -> Result<Tensor> {
        let length = sequence.shape().last().copied().unwrap_or(1).max(1);
        let row = values.shape().last().copied().unwrap_or(1).max(1);
        let elements: Vec<T> = sequence.iter().copied().collect();
        let is_single = sequence.ndim() == 1;
        let counts = values.iter().enumerate().map(|(position, value)| {
            let start = if is_single {
                0
            } else {
                position / row * length
            };
            let sequence = elements.get(start..start + length).unwrap_or_default();
            let before = |element: &T| element < value || (self.right && element == value);
            sequence
                .iter()
                .take_while(|element| before(element))
                .count() as i64
        });
        let counts = Tensor::from_elements(values.shape(), counts.collect())?;
        Ok(counts.cast(self.dtype))
    }
}

impl Function for SearchSorted {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let (sequence, values) = (facts.get(self.sequence), facts.get(self.values));
        let (rank, values_rank) = (sequence.shape.len(), values.shape.len());
        let leading = |shape: &[Dim]| shape.get(..rank.saturating_sub(1)).map(<[Dim]>::to_vec);
        let differs =
            |(a, b): (&Dim, &Dim)| matches!((a, b), (Dim::Known(a), Dim::Known(b)) if a != b);
        let (rows, value_rows) = (leading(&sequence.shape), leading(&values.shape));
        let fits = rank == 1
            || (rank == values_rank
                && rank > 0
                && !rows
                    .iter()
                    .flatten()
                    .zip(value_rows.iter().flatten())
                    .any(differs));
        if !fits {
            return Err(Error::malformed(
                "the values have other rows than the sorted sequences",
            ));
        }
        if sequence.dtype != values.dtype {
            let (sequence, values) = (sequence.dtype, values.dtype);
            return Err(Error::unsupported(format!(
                "operands of two types, {sequence} and {values}"
            )));
        }
        Ok(Fact::new(self.dtype, values.shape.clone()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let mut sequence = g.value(self.sequence)?;
        let values = g.value(self.values)?;
        let (rank, values_rank) = (g.rank(self.sequence), g.rank(self.values));
        if rank > 1 {
            sequence = g.unsqueeze(sequence, &[rank as i64 - 1]);
        }
        let values = g.unsqueeze(values, &[values_rank as i64]);
        let is_before = if self.right {
            g.compare_or_equal("Less", sequence, values)
        } else {
            g.node("Less", &[sequence, values], [])
        };
        let ones = g.cast(is_before, Bool, self.dtype);
        Ok(g.reduce("ReduceSum", ones, &[values_rank], false))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (sequence, sought) = (values.get(self.sequence)?, values.get(self.values)?);
        with_arrays!(sequence, sought, (sequence, sought) => self.counted(sequence, sought))
    }
}
