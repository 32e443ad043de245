//! Half precision: a program whose float32 values are float16 or bfloat16, on request, after the other passes.
//!
//! An op is computed in half precision or in float32, and `cast` ops stand between the two. The products of weights are in
//! half precision; the ops of [`KEPT_IN_FLOAT32`] and those that a user names stay in float32, and so does what reads or
//! holds numbers that half precision does not. All others are in float32 if one of the values that they read is, or if all
//! that they make is an output of float32, and otherwise in half precision, so that nothing is cast back and forth between
//! ops that stay in float32. What is cast is cast once for all that read it. Before the pass:
//!
//! ```text
//! input %0:x : float32 [batch, 4]
//! parameter %1:w : float32 [4, 3]
//! %2:y = matmul(%0:x, %1:w) : float32 [?, 3]
//! %3:z = relu(%2:y) : float32 [?, 3]
//! %4:p = softmax(%3:z) axis=-1 : float32 [?, 3]
//! output fetch_name_0 = %4:p
//! ```
//!
//! After it:
//!
//! ```text
//! input %0:x : float32 [batch, 4]
//! parameter %1:w : float32 [4, 3]
//! %5:x/float16 = cast(%0:x) dtype=4 : float16 [batch, 4]
//! %6:w = cast(%1:w) dtype=4 : float16 [4, 3]
//! %2:y = matmul(%5:x/float16, %6:w) : float16 [?, 3]
//! %3:z = relu(%2:y) : float16 [?, 3]
//! %7:z/float32 = cast(%3:z) dtype=5 : float32 [?, 3]
//! %4:p = softmax(%7:z/float32) axis=-1 : float32 [?, 3]
//! output fetch_name_0 = %4:p
//! ```
//!
//! Weights and constants are values of float32 that are cast, which takes no node in ONNX: their elements are rounded when
//! the model is written.

mod kept;
mod options;
mod patterns;
mod range;

use std::collections::{HashMap, HashSet};

pub use kept::{KEPT_IN_FLOAT32, KeptOps};
pub use options::HalfPrecision;
pub(crate) use patterns::refuse_without_match;

use super::rewrites::known_facts;
use crate::error::{Error, Result};
use crate::operator::{Arg, Registry};
use crate::program::{
    Attr, Facts, Op, OpKind, Operand, Origin, Program, Release, Source, Value, ValueId,
};
use crate::tensor::DType;

/// The program in half precision.
///
/// # Errors
/// When it is quantised, or weights can't be read.
pub(crate) fn halved(
    program: &Program,
    registry: &Registry,
    half: &HalfPrecision,
) -> Result<Program> {
    refuse_quantized(program)?;
    let program = &with_inferred_types(program, registry);
    let numbers = Numbers::of(program, registry, half.dtype)?;
    // Ops that are found not to take half precision, by their positions.
    let mut refused = HashSet::new();
    loop {
        let mut halving = Halving::new(program, registry, half, (&numbers, &refused));
        halving.run();
        match first_refused(&halving) {
            Some(position) => refused.insert(position),
            None => return Ok(halving.program),
        };
    }
}

/// The program with the element types that its values have, whatever the file declares.
fn with_inferred_types(program: &Program, registry: &Registry) -> Program {
    let facts = known_facts(program, registry);
    let dtypes: Vec<DType> = program.values().map(|(id, _)| facts.dtype(id)).collect();
    let mut program = program.clone();
    for (value, dtype) in program.values.iter_mut().zip(dtypes) {
        value.dtype = dtype;
    }
    program
}

/// Refuses a program in which numbers are quantised.
fn refuse_quantized(program: &Program) -> Result<()> {
    let mut ops = program.all_ops();
    match ops.find(|op| op.kind == OpKind::Known("quantize_linear")) {
        None => Ok(()),
        Some(op) => Err(Error::unsupported(
            "the model is quantised, and its integers are on scales of float32; convert it with --dequantize as well, \
             which leaves out the quantisation",
        )
        .at_op(&op.source)),
    }
}

/// The position in the original of the first op that was put into half precision, but does not take it by its definition.
fn first_refused(halving: &Halving<'_>) -> Option<usize> {
    let program = &halving.program;
    let mut facts = Facts::declared(program);
    let ops = program.ops.iter().zip(&halving.halved);
    ops.into_iter().find_map(|(op, position)| {
        let parsed = halving.registry.parse(op);
        let is_inferred = parsed.is_ok_and(|parsed| parsed.infer(op, &mut facts).is_ok());
        let is_declared = |id: &ValueId| facts.dtype(*id) == program[*id].dtype;
        let takes_half = is_inferred && op.results.iter().all(is_declared);
        position.filter(|_| !takes_half)
    })
}

/// Numbers of constants and weights that half precision does not hold, by their values.
struct Numbers(HashMap<ValueId, f64>);

impl Numbers {
    /// # Errors
    /// When a weight can't be read.
    fn of(program: &Program, registry: &Registry, dtype: DType) -> Result<Self> {
        let mut numbers = HashMap::new();
        let uses = program.use_counts();
        for (id, value) in program.values().filter(|(id, _)| uses[id.index()] > 0) {
            let found = match &value.origin {
                Origin::Constant(tensor) => range::of_constant(tensor, dtype),
                Origin::Parameter(_) => range::of_weight(program, id, None, dtype)?,
                Origin::Input | Origin::Result => None,
            };
            numbers.extend(found.map(|number| (id, number)));
        }
        let facts = Facts::declared(program);
        for op in program.ops() {
            let parsed = registry.parse(op).ok();
            let operator = parsed.as_ref().and_then(|parsed| parsed.operator());
            if let Some((weight, map)) = operator.and_then(|operator| operator.weight_map(&facts)) {
                let found = range::of_weight(program, weight, Some(map), dtype)?;
                numbers.extend(op.results.iter().copied().zip(found));
            }
        }
        Ok(Self(numbers))
    }
}

/// A program that is being put into half precision.
struct Halving<'h> {
    original: &'h Program,
    registry: &'h Registry,
    half: &'h HalfPrecision,
    numbers: &'h Numbers,
    /// The positions in the original of ops that don't take half precision.
    refused: &'h HashSet<usize>,
    /// How often each value of the original is read.
    uses: Vec<usize>,
    program: Program,
    /// For each op of the program, the position in the original of one that is in half precision.
    halved: Vec<Option<usize>>,
    /// What values are cast to, by type.
    casts: HashMap<(ValueId, DType), ValueId>,
    /// Results that are made of weights alone, when the model is written.
    made_weights: HashSet<ValueId>,
    /// Float32 values that count something or say where it is: made of integers.
    counted: HashSet<ValueId>,
}

impl<'h> Halving<'h> {
    fn new(
        original: &'h Program,
        registry: &'h Registry,
        half: &'h HalfPrecision,
        (numbers, refused): (&'h Numbers, &'h HashSet<usize>),
    ) -> Self {
        let mut program = original.clone();
        program.ops.clear();
        Self {
            original,
            registry,
            half,
            numbers,
            refused,
            uses: original.use_counts(),
            program,
            halved: Vec::new(),
            casts: HashMap::new(),
            made_weights: HashSet::new(),
            counted: HashSet::new(),
        }
    }

    fn run(&mut self) {
        let original = self.original;
        for id in original.inputs() {
            self.narrow(*id, self.half.io_dtype);
        }
        for (position, op) in original.ops().iter().enumerate() {
            self.op(position, op);
        }
        let source = original.ops().last().map(|op| op.source.clone());
        for (position, output) in original.outputs().iter().enumerate() {
            if self.is_float32(output.value) {
                let source = source.clone().unwrap_or_default();
                let value = self.cast(output.value, self.half.io_dtype, &source);
                self.program.outputs[position].value = value;
            }
        }
    }

    /// Whether a value is float32 in the original.
    fn is_float32(&self, id: ValueId) -> bool {
        self.original[id].dtype == DType::F32
    }

    /// Whether a value is in the file with the weights, and can be there in either type.
    fn is_stored(&self, id: ValueId) -> bool {
        self.original[id].origin.is_stored() || self.made_weights.contains(&id)
    }

    /// Adds an op of the original.
    fn op(&mut self, position: usize, op: &Op) {
        if op.kind == OpKind::Known("cast") {
            self.cast_op(op);
            return;
        }
        let is_half = self.is_half(position, op);
        self.note_results(op, is_half);
        let mut op = op.clone();
        let source = op.source.clone();
        for operand in 0..op.operands.len() {
            let is_narrowed = is_half && self.is_data(&op, operand);
            let dtype = if is_narrowed {
                self.half.dtype
            } else {
                DType::F32
            };
            for id in op.operands[operand].values_mut() {
                self.read_as(id, dtype, &source);
            }
        }
        for block in &mut op.blocks {
            block.each_read_mut(&mut |id| self.read_as(id, DType::F32, &source));
        }
        if is_half {
            self.narrow_results(&mut op);
        }
        self.push(op, is_half.then_some(position));
    }

    /// Whether an operand of an op is data, and not a number that says what is done to it.
    fn is_data(&self, op: &Op, operand: usize) -> bool {
        let def = self.registry.find(op.kind.name());
        let arg = def.and_then(|def| def.operands.get(operand));
        arg.is_some_and(|arg| {
            matches!(arg, Arg::Tensor(_) | Arg::Optional(_) | Arg::List(_))
                && !kept::is_setting(op.kind.name(), arg.name())
        })
    }

    /// The operands of an op that are data of float32 in the original.
    fn data(&self, op: &Op) -> Vec<ValueId> {
        let operands = op.operands.iter().enumerate();
        let data = operands.filter(|(position, _)| self.is_data(op, *position));
        let values = data.flat_map(|(_, operand)| operand.values()).copied();
        values.filter(|id| self.is_float32(*id)).collect()
    }

    /// Whether all that an op reads of a run counts something, or says where it is.
    fn counts(&self, op: &Op) -> bool {
        let data = self.data(op).into_iter();
        let mut computed = data.filter(|id| !self.is_stored(*id)).peekable();
        computed.peek().is_some() && computed.all(|id| self.counted.contains(&id))
    }

    /// Whether an op is to be in half precision. If it stays in float32 for the numbers that it reads, this is noted.
    fn is_half(&mut self, position: usize, op: &Op) -> bool {
        if self.refused.contains(&position) || !self.may_be_half(op) {
            return false;
        }
        match self.number_beyond(op) {
            None => true,
            Some(remark) => {
                let remark = (op.source.clone(), remark.into());
                self.program.remarks.push(remark);
                false
            }
        }
    }

    /// Whether an op is to be in half precision, whatever numbers it reads.
    fn may_be_half(&self, op: &Op) -> bool {
        let name = op.kind.name();
        let is_kept = |pattern: &String| patterns::names(pattern, op, self.original, self.registry);
        if !self.takes_half(op)
            || !op.blocks.is_empty()
            || kept::reason(name).is_some()
            || self.half.keep_f32.iter().any(is_kept)
        {
            return false;
        }
        let data = self.data(op);
        if kept::is_product(name) {
            return !data.is_empty() && !self.counts(op);
        }
        let computed: Vec<_> = data.iter().filter(|id| !self.is_stored(**id)).collect();
        let makes_float32 = op.results.iter().any(|id| self.is_float32(*id));
        let mut computed_types = computed.iter().map(|id| self.program[**id].dtype);
        computed_types.all(|dtype| dtype != DType::F32)
            && (makes_float32 || !data.is_empty())
            && !(computed.len() == 1 && self.is_last(op))
    }

    /// Whether an op takes half precision by its definition, which says what its first operand may be, or its result if it
    /// has none.
    fn takes_half(&self, op: &Op) -> bool {
        let mut operands = op.operands.iter().flat_map(Operand::values);
        let first = operands.next().or(op.results.first());
        let is_float32 = first.is_some_and(|id| self.is_float32(*id));
        let def = self.registry.find(op.kind.name());
        def.is_some_and(|def| !is_float32 || def.dtypes.contains(&self.half.dtype))
    }

    /// Whether an op makes outputs of float32 alone, for which its operand may as well be cast as its result.
    fn is_last(&self, op: &Op) -> bool {
        let outputs = |id: &ValueId| {
            let outputs = self.original.outputs().iter();
            outputs.filter(|output| output.value == *id).count()
        };
        let is_output = |id: &ValueId| self.uses[id.index()] == outputs(id);
        self.half.io_dtype == DType::F32
            && op
                .results
                .iter()
                .all(|id| self.is_float32(*id) && is_output(id))
    }

    /// Why an op stays in float32 for a number that half precision does not hold, if it reads one.
    fn number_beyond(&self, op: &Op) -> Option<String> {
        let dtype = self.half.dtype;
        // Bounds that become infinite bound no less.
        let is_bound = op.kind == OpKind::Known("clip");
        let matters = |number: &f64| !is_bound || range::is_lost(dtype, *number);
        let mut read = op.operands.iter().flat_map(Operand::values);
        let read =
            read.find_map(|id| Some((Some(*id), *self.numbers.0.get(id).filter(|x| matters(x))?)));
        let attr = || range::of_attrs(op, dtype).map(|number| (None, number));
        let (value, number) = read.or_else(attr)?;
        let name = value.map(|id| self.original[id].name.as_str());
        let name = name.filter(|name| !name.is_empty());
        let what = name.map_or(String::new(), |name| format!(" in `{name}`"));
        Some(match range::is_lost(dtype, number) {
            true => format!("computed in float32, since {dtype} makes 0 of {number:e}{what}"),
            false => format!(
                "computed in float32, since {dtype} ends at {:e}, and there is {number:e}{what}",
                range::largest(dtype)
            ),
        })
    }

    /// Makes what reads a value of float32 read it in a type.
    fn read_as(&mut self, id: &mut ValueId, dtype: DType, reader: &Source) {
        if self.is_float32(*id) {
            *id = self.cast(*id, dtype, reader);
        }
    }

    /// A value in a type, cast for an op at `source` if no op before has read it in this type.
    fn cast(&mut self, id: ValueId, dtype: DType, source: &Source) -> ValueId {
        let value = &self.program[id];
        if value.dtype == dtype {
            return id;
        }
        if let Some(known) = self.casts.get(&(id, dtype)) {
            return *known;
        }
        let name = match self.is_stored(id) {
            true => value.name.clone(),
            false => format!("{}/{dtype}", value.name),
        };
        let result = Value {
            name,
            dtype,
            shape: value.shape.clone(),
            origin: Origin::Result,
        };
        let result = self.program.add_value(result);
        let attr = ("dtype".to_owned(), Attr::Int(dtype.paddle_code()));
        let op = Op {
            kind: OpKind::Known("cast"),
            operands: vec![Operand::One(id)],
            results: vec![result],
            attrs: [attr].into(),
            blocks: Vec::new(),
            release: Release::NEWEST,
            source: source.clone(),
        };
        self.push(op, None);
        self.casts.insert((id, dtype), result);
        result
    }

    /// Adds a `cast` of the original, whose operand may be of any type. What holds whole numbers up to 255 is as exact in
    /// half precision.
    fn cast_op(&mut self, op: &Op) {
        let mut op = op.clone();
        let operand = op
            .operands
            .first()
            .and_then(|operand| operand.values().first());
        let from = operand.map(|id| self.original[*id].dtype);
        let is_small = matches!(from, Some(DType::Bool | DType::U8 | DType::I8));
        if is_small {
            self.narrow_results(&mut op);
        } else if from.is_some_and(|from| !from.is_float()) {
            self.counted.extend(&op.results);
        }
        self.push(op, None);
    }

    fn push(&mut self, op: Op, halved: Option<usize>) {
        self.program.ops.push(op);
        self.halved.push(halved);
    }

    /// Makes those results of an op half precision that are float32.
    fn narrow_results(&mut self, op: &mut Op) {
        let dtype = self.half.dtype;
        let float32 = Attr::Int(DType::F32.paddle_code());
        if let Some(attr) = op.attrs.get_mut("dtype").filter(|attr| **attr == float32) {
            *attr = Attr::Int(dtype.paddle_code());
        }
        op.results.iter().for_each(|id| self.narrow(*id, dtype));
    }

    /// Makes a value half precision that is float32.
    fn narrow(&mut self, id: ValueId, dtype: DType) {
        if self.is_float32(id) {
            self.program.values[id.index()].dtype = dtype;
        }
    }

    /// Notes what is known of the results of an op: whether they are weights, or numbers that count.
    fn note_results(&mut self, op: &Op, is_half: bool) {
        match op.kind.name() {
            "scale_weight" | "shift_weight" | "dequantize_weight" => {
                self.made_weights.extend(&op.results)
            }
            "arange" | "linspace" | "logspace" => self.counted.extend(&op.results),
            _ if !is_half && self.counts(op) => self.counted.extend(&op.results),
            _ => {}
        }
    }
}
