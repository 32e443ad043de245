//! A program in PIR, the format of Paddle 3 → [`Program`].
//!
//! PIR numbers its values, and ops read them by position, in the order of the PHI signature ([`numbers`]). Lists of
//! tensors are made and taken apart by ops of the dialect `builtin`, which only rename values and leave no op behind.
//! Bodies of control flow become [`Block`]s of their op.

mod attrs;
mod control_flow;
mod numbers;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use numbers::{Numbered, Numbers};

use super::forms::{self, Spelled};
use super::weights;
use crate::error::{Error, ErrorKind, Result};
use crate::operator::{PirSpelling, Registry};
use crate::program::{
    Builder, Declared, Draft, OpKind, Operand, Output, Program, Source, UniqueNames, ValueId,
    declared_dim,
};
use crate::read::ModelFiles;
use crate::read::params::Expected;
use crate::read::pir::{Attribute, Op, OpResult, PirProgram, Type};

/// The [`Program`] that a decoded program of PIR is. Ops without a definition are kept.
///
/// # Errors
/// When the program contradicts itself, the weights are not its own, or an op has an operand, an attribute or a type of
/// result that is not known.
pub(super) fn program(
    pir: &PirProgram<'_>,
    files: &ModelFiles,
    registry: &Registry,
) -> Result<Program> {
    let mut reader = Reader {
        registry,
        builder: Builder::new(),
        numbers: Numbers::default(),
        names: UniqueNames::default(),
        ops: 0,
        within: None,
        unreadable: None,
        outputs: Vec::new(),
    };
    reader.define_weights(&pir.main.ops, files)?;
    reader.define_inputs(&pir.main.ops)?;
    reader.ops(&pir.main.ops)?;
    reader.name_outputs()?;
    Ok(reader.builder.program)
}

/// The dialect and the name of the op that ends a block.
const YIELD: (&str, &str) = ("cf", "yield");

/// The dialect and the name of an op. Most files abbreviate a dialect to its number.
fn split_name<'o>(op: &'o Op<'_>) -> (&'o str, &'o str) {
    let (dialect, name) = op.name.split_once('.').unwrap_or(("builtin", &op.name));
    let dialect = match dialect {
        "0" => "builtin",
        "1" => "pd_op",
        "2" => "cf",
        "3" => "custom_op",
        "4" => "dist",
        other => other,
    };
    (dialect, name)
}

/// Whether an op declares a parameter. One that is not persistable, such as the state of a dropout, is in no file.
fn is_parameter(op: &Op<'_>) -> bool {
    match split_name(op) {
        ("builtin", "p" | "parameter") => true,
        ("pd_op", "data") => op.is_persistable == Some(true),
        _ => false,
    }
}

fn is_input(op: &Op<'_>) -> bool {
    matches!(split_name(op), ("pd_op", "data" | "feed")) && !is_parameter(op)
}

fn source(index: usize, op: &Op<'_>) -> Source {
    let (dialect, name) = split_name(op);
    let layer = match op.attribute(attrs::LAYER) {
        Some(Attribute::Text(layer)) => layer,
        _ => "",
    };
    Source {
        index,
        name: match dialect {
            "pd_op" => name.into(),
            _ => format!("{dialect}.{name}").into(),
        },
        block: None,
        layer: Some(layer.into()),
        output: format!("{layer}{name}").into(),
    }
}

/// The only result of an op.
fn only_result<'o, 'a>(op: &'o Op<'a>) -> Result<&'o OpResult<'a>> {
    match op.results.as_slice() {
        [result] => Ok(result),
        other => Err(Error::malformed(format!(
            "has {} results where 1 was expected",
            other.len()
        ))),
    }
}

/// The number of the only operand of an op.
fn only_operand(op: &Op<'_>) -> Result<i64> {
    match op.operands.as_slice() {
        [operand] => Ok(operand.number),
        other => Err(Error::malformed(format!(
            "has {} operands where 1 was expected",
            other.len()
        ))),
    }
}

fn text_attribute(op: &Op<'_>, name: &str) -> Result<String> {
    match op.attribute(name) {
        Some(Attribute::Text(text)) => Ok(text.clone().into_owned()),
        _ => Err(Error::malformed(format!("has no string `{name}`"))),
    }
}

fn int_attribute(op: &Op<'_>, name: &str) -> Option<i64> {
    match op.attribute(name) {
        Some(Attribute::Int(value)) => Some(*value),
        _ => None,
    }
}

fn tensor_type(name: String, ty: &Type<'_>) -> Result<Declared> {
    match ty {
        Type::Tensor { dtype, dims } => Ok(Declared {
            name,
            dtype: *dtype,
            shape: dims.iter().copied().map(declared_dim).collect(),
        }),
        // One tensor, with the items along its first axis.
        Type::Array { dtype, dims } => Ok(Declared {
            name,
            dtype: *dtype,
            shape: [-1].iter().chain(dims).copied().map(declared_dim).collect(),
        }),
        other => Err(Error::unsupported(format!(
            "`{name}` is {other}, which is not supported"
        ))),
    }
}

/// The weight that an op declares, and the number of its value.
fn weight(op: &Op<'_>) -> Result<(Expected, i64)> {
    let name = match (op.plain_text(), split_name(op)) {
        (Some(name), _) => name.to_owned(),
        (None, ("builtin", _)) => text_attribute(op, "parameter_name")?,
        (None, _) => text_attribute(op, "name")?,
    };
    let result = only_result(op)?;
    let dims = match &result.ty {
        Type::Tensor { dims, .. } => dims.clone(),
        _ => Vec::new(),
    };
    let Declared { name, dtype, .. } = tensor_type(name, &result.ty)?;
    let expected = Expected {
        name,
        dtype,
        shape: dims,
    };
    Ok((expected, result.number))
}

/// The column of an input, the number of its value, and its declaration.
fn input(op: &Op<'_>) -> Result<(i64, i64, Declared)> {
    let result = only_result(op)?;
    let declared = tensor_type(text_attribute(op, "name")?, &result.ty)?;
    // Programs that were translated from `ProgramDesc` list their inputs in any order, and number them.
    let column = int_attribute(op, "col").unwrap_or(0);
    Ok((column, result.number, declared))
}

struct Reader<'a> {
    registry: &'a Registry,
    builder: Builder,
    numbers: Numbers,
    /// The names of the results, which are made up since PIR has none.
    names: UniqueNames,
    /// The number of ops that were read, those in blocks included.
    ops: usize,
    /// The present block, as [`Source::block`] has it.
    within: Option<Arc<str>>,
    /// Why what the present block returns can't be read, if so.
    unreadable: Option<String>,
    /// The outputs, each with its column, by which they are sorted in the end.
    outputs: Vec<(i64, Output)>,
}

impl Reader<'_> {
    fn define_weights(&mut self, ops: &[Op<'_>], files: &ModelFiles) -> Result<()> {
        let mut expected = Vec::new();
        let mut numbers = HashMap::new();
        for (index, op) in ops.iter().enumerate().filter(|(_, op)| is_parameter(op)) {
            let (weight, number) = weight(op).map_err(|e| e.at_op(source(index, op)))?;
            if op.is_persistable == Some(false) {
                let why = format!(
                    "the parameter `{}`, which is not persistable: no file holds its elements",
                    weight.name
                );
                self.numbers.define(number, Numbered::Nothing(why))?;
                continue;
            }
            if numbers.insert(weight.name.clone(), number).is_some() {
                return Err(Error::malformed(format!(
                    "the weight `{}` is declared twice",
                    weight.name
                )));
            }
            expected.push(weight);
        }
        for (name, id) in weights::define(&mut self.builder, expected, &files.weights)? {
            if let Some(number) = numbers.get(&name) {
                self.numbers.define(*number, Numbered::One(id))?;
            }
        }
        Ok(())
    }

    fn define_inputs(&mut self, ops: &[Op<'_>]) -> Result<()> {
        let mut inputs = Vec::new();
        let mut names = BTreeSet::new();
        for (index, op) in ops.iter().enumerate().filter(|(_, op)| is_input(op)) {
            let input = input(op).map_err(|e| e.at_op(source(index, op)))?;
            if !names.insert(input.2.name.clone()) {
                return Err(Error::malformed(format!(
                    "the program has two inputs `{}`",
                    input.2.name
                )));
            }
            inputs.push(input);
        }
        inputs.sort_by_key(|(column, ..)| *column);
        let numbers: Vec<i64> = inputs.iter().map(|(_, number, _)| *number).collect();
        let declared = inputs.into_iter().map(|(.., declared)| declared).collect();
        let ids = self.builder.define_inputs(declared);
        for (number, id) in numbers.into_iter().zip(ids) {
            self.numbers.define(number, Numbered::One(id))?;
        }
        Ok(())
    }

    fn name_outputs(&mut self) -> Result<()> {
        if self.outputs.is_empty() {
            return Err(Error::malformed(
                "the program has no `fetch` op, so it has no outputs; export it for inference",
            ));
        }
        self.outputs.sort_by_key(|(column, _)| *column);
        let outputs = self.outputs.drain(..).map(|(_, output)| output);
        self.builder.program.outputs = outputs.collect();
        Ok(())
    }

    fn ops(&mut self, ops: &[Op<'_>]) -> Result<()> {
        for op in ops {
            let source = Source {
                block: self.within.clone(),
                ..source(self.ops, op)
            };
            self.ops += 1;
            self.builder.source = source.clone();
            self.op(op).map_err(|e| e.at_op(source))?;
        }
        Ok(())
    }

    fn op(&mut self, op: &Op<'_>) -> Result<()> {
        match split_name(op) {
            _ if is_parameter(op) || is_input(op) => Ok(()),
            ("builtin", "combine") => self.combine(op),
            ("builtin", "split") => self.split(op),
            ("builtin", "slice") => self.pick(op),
            ("builtin", "shadow_output") => self.output(op, "output_name"),
            ("pd_op", "fetch") => self.output(op, "name"),
            YIELD => self.hand_out(op),
            _ => {
                let (registry, name) = (self.registry, &*self.builder.source.name);
                let plain = name.strip_suffix('_').unwrap_or(name);
                let spelling = registry.find_pir(name).or_else(|| registry.find_pir(plain));
                match spelling {
                    Some((def, _)) if def.holds_blocks() => self.control_flow(op, def),
                    Some(spelling) if op.regions.is_empty() => self.convert_or_keep(op, spelling),
                    _ if registry.custom_op(plain).is_some() => self.pass_through(op),
                    _ => self.keep(op, OpKind::Unknown(self.builder.source.name.to_string())),
                }
            }
        }
    }

    /// Emits an op that is passed through to an operator of another ONNX domain, with one operand for each position.
    fn pass_through(&mut self, op: &Op<'_>) -> Result<()> {
        if op.name.ends_with('_') {
            return Err(Error::unsupported(
                "overwrites one of its operands, and the program does not say which: it can't be passed through",
            ));
        }
        let operands = op.operands.iter();
        let operands = operands.map(|operand| self.numbers.read(operand.number).map(Operand::of));
        let draft = Draft {
            kind: OpKind::Unknown(self.builder.source.name.to_string()),
            operands: operands.collect::<Result<_>>()?,
            results: self.declare(&op.results)?,
            attrs: attrs::decode(op)?,
        };
        let ids = self.builder.emit(draft);
        self.bind(op, |_| true, &[], ids)
    }

    /// Reads `builtin.combine`, which makes a list of tensors.
    fn combine(&mut self, op: &Op<'_>) -> Result<()> {
        let operands = op.operands.iter();
        let items = operands.map(|operand| self.numbers.read_one(operand.number));
        let list = match items.collect::<Result<_>>() {
            Err(e) if e.kind() == ErrorKind::Unsupported => {
                Numbered::Nothing(format!("a list that {}", e.message()))
            }
            items => Numbered::List(items?),
        };
        self.numbers.define(only_result(op)?.number, list)
    }

    /// The tensors of the list that an op takes apart. None if it can't be read, nor can the results then.
    fn items(&mut self, op: &Op<'_>) -> Result<Option<Vec<ValueId>>> {
        match self.numbers.read(only_operand(op)?) {
            Err(e) if e.kind() == ErrorKind::Unsupported => {
                for result in &op.results {
                    let why = format!("taken from a list by an op that {}", e.message());
                    self.numbers.define(result.number, Numbered::Nothing(why))?;
                }
                Ok(None)
            }
            items => items.map(Some),
        }
    }

    /// Reads `builtin.split`, which takes all tensors of a list apart.
    fn split(&mut self, op: &Op<'_>) -> Result<()> {
        let Some(items) = self.items(op)? else {
            return Ok(());
        };
        if items.len() != op.results.len() {
            return Err(Error::malformed(format!(
                "splits a list of {} tensors into {}",
                items.len(),
                op.results.len()
            )));
        }
        for (result, item) in op.results.iter().zip(items) {
            self.numbers.define(result.number, Numbered::One(item))?;
        }
        Ok(())
    }

    /// Reads `builtin.slice`, which takes the tensor at one position of a list.
    fn pick(&mut self, op: &Op<'_>) -> Result<()> {
        let Some(items) = self.items(op)? else {
            return Ok(());
        };
        let index = int_attribute(op, "index").and_then(|index| usize::try_from(index).ok());
        let item = index.and_then(|index| items.get(index)).ok_or_else(|| {
            Error::malformed(format!(
                "takes an item that is not there from a list of {} tensors",
                items.len()
            ))
        })?;
        let result = only_result(op)?;
        self.numbers.define(result.number, Numbered::One(*item))
    }

    /// Reads an op that makes its operand an output of the program, called as the attribute `name` says.
    fn output(&mut self, op: &Op<'_>, name: &str) -> Result<()> {
        if !self.builder.open_blocks.is_empty() {
            return Err(Error::malformed("stands inside of another op"));
        }
        let column = int_attribute(op, "col").unwrap_or(0);
        let output = Output {
            name: text_attribute(op, name)?,
            value: self.numbers.read_one(only_operand(op)?)?,
        };
        self.outputs.push((column, output));
        Ok(())
    }

    /// Emits an op that has a definition, or keeps it with the reason why it is not supported.
    fn convert_or_keep(&mut self, op: &Op<'_>, spelling: PirSpelling) -> Result<()> {
        let before = self.builder.op_count();
        match self.convert(op, spelling) {
            Err(e) if e.kind() == ErrorKind::Unsupported => {
                self.builder.drop_ops_after(before);
                let name = spelling.0.name;
                let reason = e.message().to_owned();
                self.keep(op, OpKind::Refused { name, reason })
            }
            done => done,
        }
    }

    /// Emits an op that has a definition.
    fn convert(&mut self, op: &Op<'_>, (def, form): PirSpelling) -> Result<()> {
        let positions: Vec<&str> = match form {
            Some(form) => form.positions.to_vec(),
            None => def.operands.iter().map(|arg| arg.name()).collect(),
        };
        let mut surplus = op.operands.iter().skip(positions.len());
        if surplus.any(|operand| operand.number != 0) {
            return Err(Error::unsupported(format!(
                "has {} operands where only the first {} are known",
                op.operands.len(),
                positions.len()
            )));
        }
        let computed = match def.result_positions {
            Some(positions) => positions.to_vec(),
            None => (0..def.results.len()).collect(),
        };
        let results = computed.iter().map(|position| op.results.get(*position));
        let results: Option<Vec<&OpResult<'_>>> = results.collect();
        let results = results.ok_or_else(|| {
            Error::malformed(format!(
                "has {} results where {} are due",
                op.results.len(),
                computed.last().map_or(0, |last| last.saturating_add(1))
            ))
        })?;
        let results = self.declare(results)?;
        let spelled = Spelled {
            slots: &|slot| {
                let position = positions.iter().position(|name| *name == slot);
                let operand = position.and_then(|position| op.operands.get(position));
                operand.map_or(Ok(Vec::new()), |operand| self.numbers.read(operand.number))
            },
            attrs: attrs::decode(op)?,
            results,
        };
        let ids = match form {
            Some(form) => forms::emit(&mut self.builder, def, form, spelled)?,
            None => forms::emit_plain(&mut self.builder, def, spelled)?,
        };
        let overwritten = match form {
            Some(form) => form.overwritten,
            None => positions
                .first()
                .copied()
                .filter(|_| op.name.ends_with('_') && ids.len() == 1),
        };
        let position = overwritten.and_then(|name| positions.iter().position(|p| *p == name));
        let operand = position.and_then(|position| op.operands.get(position));
        if let (Some(operand), Some(id)) = (operand, ids.first()) {
            self.overwrite(operand.number, *id);
        }
        let kept = form.map_or(&[][..], |form| form.kept);
        self.bind(op, |position| computed.contains(&position), kept, ids)
    }

    /// Makes a number stand for the result of an op that overwrites it.
    fn overwrite(&mut self, number: i64, value: ValueId) {
        if self.numbers.overwrite(number, value) {
            self.builder.remark(
                "overwrites what a branch or a loop may return as one variable and have from another: Paddle may or may not \
                 overwrite both, depending on the order in which it runs the ops; here the other one keeps its value",
            );
        }
    }

    /// Keeps an op that can't be read, with its blocks and those of its operands and results that are tensors.
    fn keep(&mut self, op: &Op<'_>, kind: OpKind) -> Result<()> {
        let mut values = Vec::new();
        for operand in &op.operands {
            values.extend(self.numbers.peek(operand.number)?);
        }
        let blocks = self.bodies(op)?.into_iter();
        let blocks = blocks.map(|body| body.block).collect();
        let known = op
            .results
            .iter()
            .filter(|result| tensors(&result.ty).is_some());
        let results = self.declare(known)?;
        let draft = Draft {
            kind,
            operands: vec![Operand::Many(values)],
            results,
            attrs: attrs::decode_known(op),
        };
        let ids = self.builder.emit_with_blocks(draft, blocks);
        self.bind(op, |_| true, &[], ids)
    }

    /// Names and types for the tensors of results that are tensors or lists of tensors.
    ///
    /// # Errors
    /// When a result is something else.
    fn declare<'r>(
        &mut self,
        results: impl IntoIterator<Item = &'r OpResult<'r>>,
    ) -> Result<Vec<Declared>> {
        let mut declared = Vec::new();
        for result in results {
            let types = match &result.ty {
                Type::List(items) => items.as_slice(),
                Type::Absent => &[],
                one => std::slice::from_ref(one),
            };
            for ty in types {
                // The name says which op of which layer makes the value.
                let name = self.names.claim(&self.builder.source.output);
                declared.push(tensor_type(name, ty)?);
            }
        }
        Ok(declared)
    }

    /// Says what the results of an op stand for: those at positions that are computed for `ids`, in order. `kept` pairs
    /// the positions of other results with those of operands, for which they stand. The rest stand for nothing that can
    /// be read.
    fn bind(
        &mut self,
        op: &Op<'_>,
        is_computed: impl Fn(usize) -> bool,
        kept: &[(usize, usize)],
        ids: Vec<ValueId>,
    ) -> Result<()> {
        let mut ids = ids.into_iter();
        for (position, result) in op.results.iter().enumerate() {
            if is_computed(position) {
                self.number(result, &mut ids)?;
            } else if let Some((_, operand)) = kept.iter().find(|(result, _)| *result == position)
                && let Some(operand) = op.operands.get(*operand)
            {
                let value = self.numbers.numbered(operand.number)?;
                self.numbers.define(result.number, value)?;
            } else {
                let source = &self.builder.source;
                let why = format!("a side output of {source} that is not supported");
                self.numbers.define(result.number, Numbered::Nothing(why))?;
            }
        }
        Ok(())
    }

    /// Says what the number of one result stands for: for as many of `ids` as its type has tensors.
    fn number(
        &mut self,
        result: &OpResult<'_>,
        ids: &mut impl Iterator<Item = ValueId>,
    ) -> Result<()> {
        let value = match (&result.ty, tensors(&result.ty)) {
            (ty, None) => Numbered::Nothing(format!("which is {ty}: not supported")),
            (Type::List(_), Some(count)) => Numbered::List(ids.take(count).collect()),
            (_, Some(_)) => match ids.next() {
                Some(id) => Numbered::One(id),
                None => Numbered::Nothing("which is absent".to_owned()),
            },
        };
        self.numbers.define(result.number, value)
    }
}

/// The number of tensors of a type that is a tensor, a list of tensors, or absent. None for any other type.
fn tensors(ty: &Type<'_>) -> Option<usize> {
    match ty {
        Type::Tensor { .. } | Type::Array { .. } => Some(1),
        Type::List(items) => items.iter().map(tensors).sum(),
        Type::Absent => Some(0),
        Type::Other(_) => None,
    }
}
