//! Elements by their order along an axis, with their positions: `argsort`, `topk` and `kthvalue`.
//!
//! Paddle: `phi/kernels/{argsort,top_k,kthvalue}_kernel.h`. ONNX: TopK; Slice and Squeeze for `kthvalue`.

use std::cmp::Ordering;

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::order;
use crate::operator::{
    Arg, Binding, Form, Macs, NUMBERS, OpDef, OpReader, Operator, Parse, Parsed, Values,
};
use crate::program::{Fact, Facts, ValueId, single};
use crate::tensor::{DType, Dim, Element, Tensor, normalize_axis, with_array};

const X: Binding = Binding::Slot("X");

const K: Binding = Binding::Scalar {
    attr: "k",
    slots: &["K"],
};

pub(super) const OPS: &[OpDef] = &[
    selection(
        "argsort",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["argsort"], &[X], &["Out", "Indices"])],
        Selection::argsort,
    ),
    selection(
        "topk",
        &[Arg::Tensor("x"), Arg::Scalar("k")],
        &[Form::legacy(
            &["top_k_v2", "top_k"],
            &[X, K],
            &["Out", "Indices"],
        )],
        Selection::topk,
    ),
    selection(
        "kthvalue",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["kthvalue"], &[X], &["Out", "Indices"])],
        Selection::kthvalue,
    )
    .with_opset(11),
];

/// An op that gives elements and their positions.
const fn selection(
    name: &'static str,
    operands: &'static [Arg],
    legacy: &'static [Form],
    parse: Parse,
) -> OpDef {
    OpDef::new(name, operands, legacy, parse)
        .with_results(&["out", "indices"])
        .with_dtypes(NUMBERS)
}

/// Which of the ordered elements along the axis are selected.
#[derive(Debug, Clone, Copy)]
enum Count {
    All,
    /// The first `k`, which is an operand.
    First(ValueId),
    /// The k-th one alone, counted from 1.
    Kth(i64),
}

/// The elements of `x` along `axis` in ascending or descending order, all or some of them, and their positions
/// as int64. Equal elements keep their order, which Paddle leaves open where it selects some.
struct Selection {
    x: ValueId,
    axis: i64,
    count: Count,
    is_descending: bool,
    /// Whether the axis stays when a single element is selected.
    keepdim: bool,
}

impl Selection {
    fn argsort(op: &mut OpReader<'_>) -> Parsed {
        // ONNX's TopK always keeps the order of equal elements.
        op.ignore("stable");
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis: op.attr_or("axis", -1)?,
            count: Count::All,
            is_descending: op.attr_or("descending", false)?,
            keepdim: true,
        }))
    }

    fn topk(op: &mut OpReader<'_>) -> Parsed {
        // A result that need not be sorted may be.
        op.ignore("sorted");
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis: op.attr_or("axis", -1)?,
            count: Count::First(op.operand("k")?),
            is_descending: op.attr_or("largest", true)?,
            keepdim: true,
        }))
    }

    fn kthvalue(op: &mut OpReader<'_>) -> Parsed {
        let k: i64 = op.attr_or("k", 1)?;
        if k < 1 {
            return Err(Error::malformed(format!("the {k}-th element")));
        }
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis: op.attr_or("axis", -1)?,
            count: Count::Kth(k),
            is_descending: false,
            keepdim: op.attr_or("keepdim", false)?,
        }))
    }

    /// The extent of the axis in the results, for one of extent `along` in `x`.
    fn extent(&self, facts: &Facts<'_>, along: &Dim) -> Dim {
        match self.count {
            Count::All => along.clone(),
            Count::First(k) => match facts.content(k) {
                Some([k]) => k.clone(),
                _ => Dim::Unknown,
            },
            Count::Kth(_) => Dim::Known(1),
        }
    }

    /// Emits the `K` of ONNX's TopK, as a vector of one element.
    fn lower_count(&self, g: &mut Lowering<'_>, x: TensorId, axis: usize) -> Result<TensorId> {
        match self.count {
            Count::All => {
                let extent = g.shape(self.x).get(axis).cloned();
                let known = extent.and_then(|extent| g.dims(&[extent]));
                let axis = axis as i64;
                Ok(known.unwrap_or_else(|| g.shape_slice(x, axis, axis + 1)))
            }
            Count::First(k) => g.int_array(k),
            Count::Kth(k) => Ok(g.vector(&[k])),
        }
    }
}

impl Operator for Selection {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let mut shape = facts.shape(self.x).to_vec();
        if !shape.is_empty() {
            let axis = normalize_axis(self.axis, shape.len())?;
            if let (Dim::Known(extent), Count::Kth(k)) = (&shape[axis], self.count)
                && k > *extent
            {
                return Err(Error::malformed(format!("the {k}-th of {extent} elements")));
            }
            if self.keepdim {
                shape[axis] = self.extent(facts, &shape[axis]);
            } else {
                shape.remove(axis);
            }
        }
        let dtype = facts.dtype(self.x);
        Ok(vec![
            Fact::new(dtype, shape.clone()),
            Fact::new(DType::I64, shape),
        ])
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let x = g.value(self.x)?;
        let dtype = g.dtype(self.x);
        let rank = g.rank(self.x);
        if rank == 0 {
            let zero = g.scalar(DType::I64, 0.0);
            return Ok(vec![x, zero]);
        }
        let axis = normalize_axis(self.axis, rank)?;
        let count = self.lower_count(g, x, axis)?;
        let x = g.cast(x, dtype, dtype.widened());
        let node_axis = NodeAttr::Int(axis as i64);
        let largest = NodeAttr::Int(self.is_descending.into());
        let attrs = [("axis", node_axis), ("largest", largest)];
        let mut results = g.node_with_outputs("TopK", vec![Some(x), Some(count)], attrs, 2);
        if let Count::Kth(k) = self.count {
            for result in &mut results {
                *result = g.slice(*result, k - 1, k, axis as i64);
                if !self.keepdim {
                    *result = g.squeeze(*result, &[axis as i64]);
                }
            }
        }
        results[0] = g.cast(results[0], dtype.widened(), dtype);
        Ok(results)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        let x = values.get(self.x)?;
        let rank = x.shape().len();
        if rank == 0 {
            return Ok(vec![x.clone(), Tensor::scalar(0_i64)]);
        }
        let axis = normalize_axis(self.axis, rank)?;
        let extent = x.shape()[axis];
        let wanted = |k: i64| {
            let k = usize::try_from(k).ok().filter(|k| *k <= extent);
            k.ok_or_else(|| Error::malformed(format!("more than the {extent} elements there are")))
        };
        let range = match self.count {
            Count::All => 0..extent,
            Count::First(k) => 0..wanted(single(&values.integers(k)?, "k")?)?,
            Count::Kth(k) => wanted(k - 1)?..wanted(k)?,
        };
        let due = if self.is_descending {
            Ordering::Greater
        } else {
            Ordering::Less
        };
        let (found, positions) = with_array!(x, x => {
            let (found, positions) = order::select(x, axis, range, due)?;
            (Element::tensor(found), positions)
        });
        let results = [found, i64::tensor(positions)];
        if self.keepdim {
            return Ok(results.into());
        }
        let mut shape = x.shape().to_vec();
        shape.remove(axis);
        let reshaped = results.iter().map(|result| {
            with_array!(result, x => crate::kernels::map::reshape(x, &shape).map(Element::tensor))
        });
        reshaped.collect()
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}
