//! Dequantisation of products: moved from a product to its operands.
//!
//! The older quantisers of Paddle 2 (`onnx_format=False`) multiply whole numbers, and put the product on its scales. As it is
//! linear in both operands, that is the product of operands on their scales, of which runtimes make integer kernels,
//! and whose weights are stored in 8 bits. Before the pass:
//!
//! ```text
//! input %0:x : float32 [batch, 4]
//! parameter %1:w : float32 [4, 3]
//! %2:q = quantize_linear(%0:x, [0.5], -) quant_axis=-1 : float32 [batch, 4]
//! %3:p = matmul(%2:q, %1:w) : float32 [batch, 3]
//! %4:d = dequantize_linear(%3:p, [1.0, 2.0, 4.0], -) max_range=127.0 quant_axis=1 : float32 [batch, 3]
//! %5:y = dequantize_linear(%4:d, [0.5], -) max_range=127.0 quant_axis=-1 : float32 [batch, 3]
//! ```
//!
//! After it:
//!
//! ```text
//! input %0:x : float32 [batch, 4]
//! parameter %1:w : float32 [4, 3]
//! %2:q = quantize_linear(%0:x, [0.5], -) quant_axis=-1 : float32 [batch, 4]
//! %6:q = dequantize_linear(%2:q, [0.5], -) max_range=127.0 quant_axis=-1 : float32 [batch, 4]
//! %7:w = dequantize_linear(%1:w, [1.0, 2.0, 4.0], -) max_range=127.0 quant_axis=1 : float32 [4, 3]
//! %5:y = matmul(%6:q, %7:w) : float32 [batch, 3]
//! ```
//!
//! Where the weight has one scale, there is one `dequantize_linear`, whose `max_range` holds it.

use std::collections::{HashMap, HashSet};

use super::readers::Readers;
use crate::operator::Registry;
use crate::program::{Attr, FromAttr, Op, OpKind, Operand, Origin, Program, Value, ValueId};
use crate::tensor::{DType, Tensor};

/// Moves what dequantises products to their operands, outside of blocks. It stays where it is if the whole numbers are read
/// otherwise, or its scale is not that of the quantised operand.
pub(super) fn dequantize_operands(program: &mut Program, registry: &Registry) {
    let search = Search {
        readers: Readers::of(program),
        program,
    };
    let ops = program.ops.iter().enumerate();
    let mut moved: HashMap<usize, Moved> = ops
        .filter_map(|(position, op)| Some((position, search.moved(op, registry)?)))
        .collect();
    let dropped: HashSet<usize> = moved
        .values()
        .flat_map(|found| found.behind.clone())
        .collect();
    let ops = std::mem::take(&mut program.ops);
    for (index, mut op) in ops.into_iter().enumerate() {
        if let Some(found) = moved.remove(&index) {
            found.apply(program, &mut op);
        }
        if !dropped.contains(&index) {
            program.ops.push(op);
        }
    }
}

/// A factor by which whole numbers become numbers on a scale: the operand `scale` of `dequantize_linear`, divided by
/// `max_range`, along an axis or -1.
#[derive(Debug, Clone, Copy)]
struct Factor {
    /// None for a scale of 1.
    scale: Option<ValueId>,
    max_range: f64,
    axis: i64,
}

/// What is moved to the operands of a product.
struct Moved {
    /// The positions of the ops that dequantise the product.
    behind: Vec<usize>,
    /// What the last of these returns.
    result: ValueId,
    /// The factors of the first and the second operand.
    factors: [Factor; 2],
}

impl Moved {
    /// Puts the operands of a product on their scales, in front of it, and has it return what was dequantised.
    fn apply(self, program: &mut Program, product: &mut Op) {
        for (operand, factor) in product.operands.iter_mut().zip(self.factors) {
            let Operand::One(x) = *operand else {
                continue;
            };
            let scale = factor.scale.unwrap_or_else(|| one(program));
            let result = program.add_value(Value {
                origin: Origin::Result,
                dtype: DType::F32,
                ..program[x].clone()
            });
            program.ops.push(Op {
                kind: OpKind::Known("dequantize_linear"),
                operands: [x, scale]
                    .map(Operand::One)
                    .into_iter()
                    .chain(ABSENT)
                    .collect(),
                results: vec![result],
                attrs: [
                    ("quant_axis".to_owned(), Attr::Int(factor.axis)),
                    ("max_range".to_owned(), Attr::Float(factor.max_range)),
                ]
                .into(),
                blocks: Vec::new(),
                release: product.release,
                source: product.source.clone(),
            });
            *operand = Operand::One(result);
        }
        product.results = vec![self.result];
    }
}

/// The zero point and what training alone reads.
const ABSENT: [Operand; 3] = [Operand::Absent, Operand::Absent, Operand::Absent];

/// A scale of 1.
fn one(program: &mut Program) -> ValueId {
    program.add_value(Value {
        name: String::new(),
        dtype: DType::F32,
        shape: vec![1.into()],
        origin: Origin::Constant(Tensor::vector(vec![1.0_f32])),
    })
}

/// What is found in a program.
struct Search<'p> {
    program: &'p Program,
    readers: Readers,
}

impl Search<'_> {
    fn original(&self, id: ValueId) -> ValueId {
        self.readers.original(self.program, id)
    }

    /// The factor of an op that dequantises, with its position, if it alone reads a value.
    fn factor(&self, id: ValueId) -> Option<(usize, Factor)> {
        let (position, op) = self.readers.only(self.program, id)?;
        let [Operand::One(x), Operand::One(scale), ..] = op.operands.as_slice() else {
            return None;
        };
        let factor = Factor {
            scale: Some(self.original(*scale)),
            max_range: number(op, "max_range")?,
            axis: integer(op, "quant_axis")?,
        };
        (op.kind == OpKind::Known("dequantize_linear") && *x == id).then_some((position, factor))
    }

    /// The scale of whole numbers that `quantize_linear` gives, and the number that stands for it.
    fn quantized(&self, id: ValueId) -> Option<(ValueId, f64)> {
        let op = self.readers.maker(self.program, id)?;
        let is_whole = op.kind == OpKind::Known("quantize_linear");
        match op.operands.get(1) {
            Some(Operand::One(scale)) if is_whole && integer(op, "quant_axis")? < 0 => {
                Some((self.original(*scale), number(op, "qmax")?))
            }
            _ => None,
        }
    }

    /// What can be moved to the operands of an op.
    fn moved(&self, product: &Op, registry: &Registry) -> Option<Moved> {
        let program = self.program;
        let channels = registry.channels(product)?;
        let ([Operand::One(x), Operand::One(weight), ..], [result]) =
            (product.operands.as_slice(), product.results.as_slice())
        else {
            return None;
        };
        let (scale, max_range) = self.quantized(*x)?;
        let (first, of_first) = self.factor(*result)?;
        let first_result = *program.ops[first].results.first()?;
        if !program[*weight].origin.is_stored() {
            return None;
        }
        if of_first.axis < 0 {
            // One op has all factors: the scale of `x`, and in the number that stands for it the scale of the weight.
            let x = Factor {
                max_range,
                ..of_first
            };
            let weight = Factor {
                scale: None,
                max_range: of_first.max_range / max_range,
                axis: -1,
            };
            return (of_first.scale == Some(scale)).then_some(Moved {
                behind: vec![first],
                result: first_result,
                factors: [x, weight],
            });
        }
        let (second, of_second) = self.factor(first_result)?;
        let ranks = [*result, *weight].map(|id| program[id].shape.len());
        let [along_result, along_weight] = channels(product, ranks)?.map(|axis| axis as i64);
        let weight = Factor {
            axis: along_weight,
            ..of_first
        };
        let fits = of_first.axis == along_result
            && of_second.axis < 0
            && program[of_first.scale?].origin.is_stored();
        (fits && of_second.scale == Some(scale)).then_some(Moved {
            behind: vec![first, second],
            result: *program.ops[second].results.first()?,
            factors: [of_second, weight],
        })
    }
}

fn integer(op: &Op, name: &str) -> Option<i64> {
    op.attrs.get(name).and_then(i64::from_attr)
}

fn number(op: &Op, name: &str) -> Option<f64> {
    op.attrs.get(name).and_then(f64::from_attr)
}
