//! Complex numbers → pairs of real ones.
//!
//! In goes a program as it was read, in which values may be complex; out comes one in which no op reads or makes such a
//! value. A complex tensor becomes two real ones, its [`Parts`], and an op that has one becomes ops on parts, as its
//! definition says ([`Complex`]):
//!
//! ```text
//! y = fft_r2c(x)                   y.real, y.imag = dft(x)
//! z = transpose(y)                 z.real = transpose(y.real)
//!                                  z.imag = transpose(y.imag)
//! m = abs(z)                       m = hypot(z.real, z.imag)
//! ```
//!
//! Complex values that are inputs or outputs of the program stay, and `analyse/` refuses them. An op that can't be
//! replaced becomes one that is refused, with the reason.

use std::collections::{BTreeMap, HashMap};

use crate::error::{Error, Result};
use crate::operator::{Complex, OpDef, Registry};
use crate::program::{
    Attr, Block, Builder, Draft, Op, OpKind, Operand, Origin, Parts, Program, Value, ValueId,
};
use crate::tensor::{DType, Dim};

/// The attribute with the element type of a result, in many ops.
const DTYPE: &str = "dtype";

/// The program with pairs of real numbers in place of complex ones.
pub(super) fn in_parts(program: Program, registry: &Registry) -> Program {
    if !program.values().any(|(_, value)| value.dtype.is_complex()) {
        return program;
    }
    let (builder, ops) = Builder::reopened(program);
    let mut pass = Pass {
        builder,
        registry,
        renamed: HashMap::new(),
    };
    pass.weights();
    pass.ops(ops);
    let Pass {
        builder, renamed, ..
    } = pass;
    let mut program = builder.program;
    for output in &mut program.outputs {
        output.value = *renamed.get(&output.value).unwrap_or(&output.value);
    }
    program
}

struct Pass<'r> {
    builder: Builder,
    registry: &'r Registry,
    /// For real results of ops that were replaced, what stands for them.
    renamed: HashMap<ValueId, ValueId>,
}

impl Pass<'_> {
    /// Takes the parts of complex weights, whose numbers lie in the file as pairs.
    fn weights(&mut self) {
        let complex = |(id, value): (ValueId, &Value)| match &value.origin {
            Origin::Parameter(_) if value.dtype.is_complex() => Some((id, value.clone())),
            _ => None,
        };
        let weights: Vec<(ValueId, Value)> =
            self.builder.program.values().filter_map(complex).collect();
        for (id, mut weight) in weights {
            weight.dtype = weight.dtype.real();
            weight.shape.push(Dim::Known(2));
            self.builder.source.output = weight.name.as_str().into();
            let pairs = self.builder.program.add_value(weight);
            let [real, imag] = [0, 1].map(|part| self.builder.part_of_pairs(pairs, part));
            let imag = Some(imag);
            self.builder.set_parts(id, Parts { real, imag });
        }
    }

    fn ops(&mut self, ops: Vec<Op>) {
        ops.into_iter().for_each(|op| self.op(op));
    }

    fn op(&mut self, mut op: Op) {
        for operand in &mut op.operands {
            match operand {
                Operand::Absent => {}
                Operand::One(value) => self.rename(value),
                Operand::Many(values) => values.iter_mut().for_each(|value| self.rename(value)),
            }
        }
        self.builder.source.clone_from(&op.source);
        self.builder.release = op.release;
        if !op.blocks.is_empty() {
            return self.control(op);
        }
        let mut values = op
            .operands
            .iter()
            .flat_map(Operand::values)
            .chain(&op.results);
        if !values.any(|value| self.builder.dtype(*value).is_complex()) {
            self.builder.open_ops().push(op);
            return;
        }
        let ops = self.builder.op_count();
        let first = self.builder.program.values().count();
        let replaced = self.replaced(&op).and_then(|parts| {
            let is_each = parts.len() == op.results.len();
            let results = op.results.len();
            is_each.then_some(parts).ok_or_else(|| {
                Error::malformed(format!("{results} results, which is not as many as it has"))
            })
        });
        match replaced {
            Ok(parts) => {
                for (result, parts) in op.results.iter().zip(parts) {
                    self.stand_for(*result, parts, first);
                }
            }
            Err(e) => {
                self.builder.drop_ops_after(ops);
                self.refuse(op, e.message());
            }
        }
    }

    fn rename(&self, value: &mut ValueId) {
        *value = *self.renamed.get(value).unwrap_or(value);
    }

    /// Keeps an op that can't be replaced, with the reason.
    fn refuse(&mut self, mut op: Op, reason: &str) {
        if let OpKind::Known(name) = op.kind {
            op.kind = OpKind::Refused {
                name,
                reason: reason.to_owned(),
            };
        }
        self.builder.open_ops().push(op);
    }

    /// Emits the ops that stand for one with complex operands or results, and returns the parts of its results.
    fn replaced(&mut self, op: &Op) -> Result<Vec<Parts>> {
        let complex = op.operands.iter().flat_map(Operand::values);
        for value in complex.filter(|value| self.builder.dtype(**value).is_complex()) {
            self.parts(*value)?;
        }
        let def = match op.kind {
            OpKind::Known(name) => self.registry.find(name),
            _ => None,
        };
        match def.map(|def| (def, def.complex)) {
            Some((def, Complex::PartByPart(operands))) => self.part_by_part(op, def, operands),
            Some((_, Complex::RealParts)) => self.real_part(op, |_| true),
            Some((_, Complex::Rewritten(rewrite))) => {
                let results = op.results.iter();
                let results = results.map(|result| self.builder.declared(*result));
                let draft = Draft {
                    kind: op.kind.clone(),
                    operands: op.operands.clone(),
                    results: results.collect(),
                    attrs: BTreeMap::clone(&op.attrs),
                };
                rewrite(&mut self.builder, draft)
            }
            _ => Err(Error::unsupported("it takes no complex numbers")),
        }
    }

    /// The parts of a value.
    ///
    /// # Errors
    /// When it is complex, and they are not known.
    fn parts(&self, value: ValueId) -> Result<Parts> {
        self.builder.parts(value).ok_or_else(|| {
            let Value { name, dtype, origin, .. } = &self.builder.program[value];
            Error::unsupported(match origin {
                Origin::Input => format!(
                    "it reads the input `{name}`, which is {dtype}: have the model take a float tensor with a last axis \
                     of 2, and make the complex one of it by `paddle.as_complex`"
                ),
                _ => format!("it reads a {dtype} tensor of an op that is not supported"),
            })
        })
    }

    /// Emits the op for the real parts of these operands and, if one has such, for the imaginary parts.
    fn part_by_part(&mut self, op: &Op, def: &OpDef, operands: &[&str]) -> Result<Vec<Parts>> {
        let is_taken = |position: usize| {
            let arg = def.operands.get(position);
            arg.is_some_and(|arg| operands.contains(&arg.name()))
        };
        let taken = op.operands.iter().enumerate();
        let taken = taken.filter(|(position, _)| is_taken(*position));
        let values = taken.flat_map(|(_, operand)| operand.values());
        let mut is_real = true;
        for value in values {
            is_real &= self.parts(*value)?.imag.is_none();
        }
        let real = self.real_part(op, is_taken)?;
        if is_real {
            return Ok(real);
        }
        let imag = self.part(op, is_taken, &mut |pass, value| pass.imaginary(value))?;
        let both = real.into_iter().zip(imag);
        let both = both.map(|(Parts { real, .. }, imag)| Parts {
            real,
            imag: Some(imag),
        });
        Ok(both.collect())
    }

    /// Emits the op with the real part in the place of each operand that `is_taken`.
    fn real_part(&mut self, op: &Op, is_taken: impl Fn(usize) -> bool) -> Result<Vec<Parts>> {
        let real = self.part(op, is_taken, &mut |pass, value| Ok(pass.parts(value)?.real))?;
        let real = real.into_iter();
        Ok(real.map(|real| Parts { real, imag: None }).collect())
    }

    /// The imaginary part of a value, which may be 0.
    fn imaginary(&mut self, value: ValueId) -> Result<ValueId> {
        let Parts { real, imag } = self.parts(value)?;
        Ok(imag.unwrap_or_else(|| self.builder.zeros_like(real)))
    }

    /// Emits the op with one part in the place of each operand that `is_taken`.
    fn part(
        &mut self,
        op: &Op,
        is_taken: impl Fn(usize) -> bool,
        part: &mut dyn FnMut(&mut Self, ValueId) -> Result<ValueId>,
    ) -> Result<Vec<ValueId>> {
        let mut operands = op.operands.clone();
        for (position, operand) in operands.iter_mut().enumerate() {
            let is_taken = is_taken(position);
            let mut replace = |value: &mut ValueId| {
                if is_taken {
                    *value = part(self, *value)?;
                } else if self.builder.dtype(*value).is_complex() {
                    return Err(Error::unsupported(
                        "a complex number in the place of a real one",
                    ));
                }
                Ok(())
            };
            match operand {
                Operand::Absent => {}
                Operand::One(value) => replace(value)?,
                Operand::Many(values) => values.iter_mut().try_for_each(replace)?,
            }
        }
        let mut attrs = BTreeMap::clone(&op.attrs);
        if let Some(Attr::Int(code)) = attrs.get_mut(DTYPE)
            && let Some(dtype) = DType::declared(*code)
        {
            *code = dtype.real().paddle_code();
        }
        let results = op.results.iter().map(|result| {
            let mut declared = self.builder.declared(*result);
            declared.dtype = declared.dtype.real();
            declared
        });
        let draft = Draft {
            kind: op.kind.clone(),
            operands,
            results: results.collect(),
            attrs,
        };
        Ok(self.builder.emit(draft))
    }

    /// Makes these parts those of a result. Values that were made for it, which have numbers from `first` on, get its
    /// name.
    fn stand_for(&mut self, result: ValueId, parts: Parts, first: usize) {
        let declared = self.builder.declared(result);
        let is_complex = declared.dtype.is_complex() || parts.imag.is_some();
        let mut name = |id: ValueId, name: String| self.builder.name_late(id, name, first);
        if !is_complex {
            name(parts.real, declared.name);
            self.renamed.insert(result, parts.real);
            return;
        }
        name(parts.real, format!("{}.real", declared.name));
        if let Some(imag) = parts.imag {
            name(imag, format!("{}.imag", declared.name));
        }
        self.builder.set_complex(result);
        self.builder.set_parts(result, parts);
    }

    /// Control flow hands on both parts.
    fn control(&mut self, mut op: Op) {
        for operand in &mut op.operands {
            if let Operand::Many(values) = operand {
                *values = self.both_parts(values);
            }
        }
        for block in std::mem::take(&mut op.blocks) {
            let arguments = self.new_parts(&block.arguments);
            self.builder.open_blocks.push(Block {
                arguments,
                ..Block::default()
            });
            self.ops(block.ops);
            let mut results = block.results;
            results.iter_mut().for_each(|value| self.rename(value));
            let results = self.both_parts(&results);
            let mut block = self.builder.open_blocks.pop().unwrap_or_default();
            block.results = results;
            op.blocks.push(block);
        }
        op.results = self.new_parts(&op.results);
        self.builder.open_ops().push(op);
    }

    /// The values, with both parts of complex ones in their place. One whose parts are not known, since the op that
    /// makes it is refused, stands for both.
    fn both_parts(&mut self, values: &[ValueId]) -> Vec<ValueId> {
        let mut both = Vec::with_capacity(values.len());
        for value in values {
            if !self.builder.dtype(*value).is_complex() {
                both.push(*value);
                continue;
            }
            let imag = self.imaginary(*value).unwrap_or(*value);
            let real = self.parts(*value).map_or(*value, |parts| parts.real);
            both.extend([real, imag]);
        }
        both
    }

    /// The values, with two new ones in the place of each complex one, which become its parts.
    fn new_parts(&mut self, values: &[ValueId]) -> Vec<ValueId> {
        let mut both = Vec::with_capacity(values.len());
        for id in values {
            if !self.builder.dtype(*id).is_complex() {
                both.push(*id);
                continue;
            }
            let [real, imag] = ["real", "imag"].map(|part| {
                let mut declared = self.builder.declared(*id);
                declared.dtype = declared.dtype.real();
                declared.name = format!("{}.{part}", declared.name);
                let value = declared.value(Origin::Result);
                self.builder.program.add_value(value)
            });
            both.extend([real, imag]);
            let imag = Some(imag);
            self.builder.set_parts(*id, Parts { real, imag });
        }
        both
    }
}
