//! The positions at which values would be inserted into sorted sequences: `searchsorted`.
//!
//! Paddle: `phi/kernels/searchsorted_kernel.h`. ONNX: Less or LessOrEqual, and ReduceSum.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values, WIDE};
use crate::ops::shared::values::common_type;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{Bool, I32, I64};
use crate::tensor::{Array, DType, Dim, Element, Tensor, with_arrays};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "searchsorted",
    &[Arg::Tensor("sorted_sequence"), Arg::Tensor("values")],
    &[Form::legacy(
        &["searchsorted"],
        &[Binding::Slot("SortedSequence"), Binding::Slot("Values")],
        &["Out"],
    )],
    SearchSorted::parse,
)
.with_dtypes(WIDE)];

/// For each value, how many elements of a sorted sequence are less (or, if `right`, not greater). There is
/// one sequence for all values, or one for each row of them: a lane along the last axis.
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
        common_type(sequence.dtype, values.dtype)?;
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
