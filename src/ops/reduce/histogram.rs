//! Counts of elements by their value (`bincount`) or by the part of a range that they are in (`histogram`).
//!
//! Paddle: `phi/kernels/{bincount,histogram}_kernel.h`. ONNX: ScatterElements with the reduction `add`.

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::operator::{Accuracy, Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::program::{Fact, Facts, ValueId, single};
use crate::tensor::DType::{Bool, F32, F64, I32, I64};
use crate::tensor::{Array, DType, Dim, Element, Tensor, refuse_too_large, with_array};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "bincount",
        &[
            Arg::Tensor("x"),
            Arg::Optional("weights"),
            Arg::Scalar("minlength"),
        ],
        &[Form::legacy(
            &["bincount"],
            &[
                Binding::Slot("X"),
                Binding::Optional("Weights"),
                Binding::Scalar {
                    attr: "minlength",
                    slots: &[],
                },
            ],
            &["Out"],
        )],
        Bincount::parse,
    )
    .with_dtypes(&[I32, I64])
    .with_opset(16)
    .with_accuracy(Accuracy::Accumulated),
    OpDef::new(
        "histogram",
        &[Arg::Tensor("input"), Arg::Optional("weight")],
        &[Form::legacy(
            &["histogram"],
            &[Binding::Slot("X"), Binding::Optional("Weight")],
            &["Out"],
        )],
        Histogram::parse,
    )
    .with_limits(&["weights", "a density"])
    .with_dtypes(&[I32, I64, F32, F64])
    .with_opset(16),
];

/// Emits `zeros` with each of `updates` added at its index in `places`; all three are vectors.
fn lower_sums(
    g: &mut Lowering<'_>,
    zeros: TensorId,
    places: TensorId,
    updates: TensorId,
) -> TensorId {
    let attrs = [
        ("axis", NodeAttr::Int(0)),
        ("reduction", NodeAttr::String("add")),
    ];
    g.node("ScatterElements", &[zeros, places, updates], attrs)
}

/// How often each integer from 0 on occurs in the vector `x`, or the sum of the `weights` of its occurrences. The
/// result is a vector of `max(max(x) + 1, minlength)` elements.
struct Bincount {
    x: ValueId,
    weights: Option<ValueId>,
    minlength: ValueId,
}

impl Bincount {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            weights: op.optional("weights")?,
            minlength: op.operand("minlength")?,
        }))
    }

    /// The element type of the result: int64 without weights, float32 with such weights, float64 with others.
    fn dtype(weights: Option<DType>) -> DType {
        match weights {
            None => I64,
            Some(F32) => F32,
            Some(_) => F64,
        }
    }
}

impl Function for Bincount {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let rank = facts.rank(self.x);
        if rank != 1 {
            return Err(Error::malformed(format!("numbers of rank {rank} to count")));
        }
        let dtype = Self::dtype(self.weights.map(|weights| facts.dtype(weights)));
        Ok(Fact::new(dtype, vec![Dim::Unknown]))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let x = g.cast(x, g.dtype(self.x), I64);
        let largest = g.reduce("ReduceMax", x, &[0], true);
        let one = g.vector(&[1]);
        let length = g.node("Add", &[largest, one], []);
        let least = g.int_array(self.minlength)?;
        let length = g.extreme("Max", length, least, I64);
        let dtype = Self::dtype(self.weights.map(|weights| g.dtype(weights)));
        let updates = if let Some(id) = self.weights {
            let weights = g.value(id)?;
            g.cast(weights, g.dtype(id), dtype)
        } else {
            let one = g.scalar(I64, 1.0);
            let shape = g.node("Shape", &[x], []);
            g.node("Expand", &[one, shape], [])
        };
        let zero = g.scalar(dtype, 0.0);
        let zeros = g.node("Expand", &[zero, length], []);
        Ok(lower_sums(g, zeros, x, updates))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let numbers = values.integers(self.x)?;
        let places = numbers.iter().map(|number| usize::try_from(*number));
        let places: Vec<usize> = places
            .collect::<Result<_, _>>()
            .map_err(|_| Error::malformed("a negative number to count"))?;
        let least = usize::try_from(single(&values.integers(self.minlength)?, "minlength")?);
        let least = least.map_err(|_| Error::malformed("a negative length"))?;
        let length = places.iter().map(|place| place.saturating_add(1)).max();
        let length = length.unwrap_or(0).max(least);
        refuse_too_large(&[length])?;
        let mut sums = vec![0.0; length];
        let Some(weights) = self.weights else {
            places.into_iter().for_each(|place| sums[place] += 1.0);
            return Ok(Tensor::vector(sums).cast(I64));
        };
        let weights = values.get(weights)?;
        for (place, weight) in places.into_iter().zip(weights.to_f64_vec()) {
            sums[place] += weight;
        }
        let dtype = values.dtype(Self::dtype(Some(weights.dtype())));
        Ok(Tensor::vector(sums).cast(dtype))
    }

    fn indexes(&self, _: &Facts<'_>) -> Vec<(ValueId, Dim)> {
        /// A bound for the numbers that are drawn as inputs, so that the result stays short.
        const SMALL: i64 = 16;
        vec![(self.x, Dim::Known(SMALL))]
    }
}

/// How many elements are in each of `bins` equal parts of a range, the last of which includes the end of the range. If
/// the bounds of the range are equal, they are the smallest and the largest element instead; if these are equal, too,
/// the range is from 1 below to 1 above them.
struct Histogram {
    x: ValueId,
    bins: i64,
    range: [f64; 2],
}

impl Histogram {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let bins = op.attr_or("bins", 100)?;
        let range = [op.attr_or("min", 0.0)?, op.attr_or("max", 0.0)?];
        if !(1..=1 << 24).contains(&bins) || range[0] > range[1] {
            return Err(Error::malformed(format!("{bins} parts of {range:?}")));
        }
        if op.attr_or("density", false)? || op.optional("weight")?.is_some() {
            return Err(Error::unsupported(
                "a histogram with weights, or of a density",
            ));
        }
        Ok(Box::new(Self {
            x: op.operand("input")?,
            bins,
            range,
        }))
    }

    /// Emits both bounds of the range as scalars of the element type of `x`, which is a vector.
    fn lower_range(&self, g: &mut Lowering<'_>, x: TensorId, dtype: DType) -> [TensorId; 2] {
        // Bounds for integers lose their fractions, as in Paddle.
        let range = self.range.map(|bound| Tensor::scalar(bound).cast(dtype));
        if range[0] != range[1] {
            return range.map(|bound| g.constant(bound));
        }
        let (min, max) = (
            g.reduce("ReduceMin", x, &[0], false),
            g.reduce("ReduceMax", x, &[0], false),
        );
        let one = g.scalar(dtype, 1.0);
        let is_point = g.node("Equal", &[min, max], []);
        let below = g.node("Sub", &[min, one], []);
        let above = g.node("Add", &[max, one], []);
        [
            g.node("Where", &[is_point, below, min], []),
            g.node("Where", &[is_point, above, max], []),
        ]
    }

    fn counted<T: Element + PartialOrd>(&self, x: &Array<T>) -> Result<Tensor> {
        refuse_too_large(&[self.bins as usize])?;
        let mut counts = vec![0_i64; self.bins as usize];
        let elements = || x.iter().map(|x| x.to_f64());
        let bound = |bound: f64| T::from_f64(bound).to_f64();
        let mut range = self.range.map(bound);
        if range[0] == range[1] {
            range = [
                elements().fold(f64::INFINITY, f64::min),
                elements().fold(f64::NEG_INFINITY, f64::max),
            ];
        }
        if range[0] == range[1] {
            range = [range[0] - 1.0, range[1] + 1.0];
        }
        let round = |x: f64| T::from_f64(x).to_f64();
        let width = round(range[1] - range[0]);
        for x in elements().filter(|x| (range[0]..=range[1]).contains(x)) {
            // Each operation is rounded to the element type, so that the quotient of integers is truncated.
            let place = round(round(round(x - range[0]) * self.bins as f64) / width);
            counts[(place as i64).clamp(0, self.bins - 1) as usize] += 1;
        }
        Ok(Tensor::vector(counts))
    }
}

impl Function for Histogram {
    fn infer(&self, _: &Facts<'_>) -> Result<Fact> {
        Ok(Fact::new(I64, vec![Dim::Known(self.bins)]))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let dtype = g.dtype(self.x);
        let x = g.value(self.x)?;
        let flat = g.vector(&[-1]);
        let x = g.node("Reshape", &[x, flat], []);
        let [min, max] = self.lower_range(g, x, dtype);
        let is_low = g.node("Less", &[x, min], []);
        let is_high = g.node("Greater", &[x, max], []);
        let is_outside = g.node("Or", &[is_low, is_high], []);
        let is_inside = g.node("Not", &[is_outside], []);
        let inside = g.node("Where", &[is_inside, x, min], []);
        let bins = g.scalar(dtype, self.bins as f64);
        let distance = g.node("Sub", &[inside, min], []);
        let scaled = g.node("Mul", &[distance, bins], []);
        let width = g.node("Sub", &[max, min], []);
        let place = g.node("Div", &[scaled, width], []);
        let place = g.cast(place, dtype, I64);
        let last = g.scalar(I64, (self.bins - 1) as f64);
        let place = g.extreme("Min", place, last, I64);
        let ones = g.cast(is_inside, Bool, I64);
        let (zero, length) = (g.scalar(I64, 0.0), g.vector(&[self.bins]));
        let zeros = g.node("Expand", &[zero, length], []);
        Ok(lower_sums(g, zeros, place, ones))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        with_array!(values.get(self.x)?, x => self.counted(x))
    }
}
