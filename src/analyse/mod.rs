//! Program → its ops, read once, and what is known of every value before a run.
//!
//! Refuses ops that are neither defined nor passed through, all at once, and ops whose operands, attributes, shapes or
//! element types are not what their definition expects.

mod depends;

use std::collections::BTreeMap;

pub(crate) use depends::{opaque_outputs, random_outputs};

use crate::error::{Error, Result};
use crate::operator::{CustomOp, ParsedOp, Registry};
use crate::program::{Facts, Op, OpKind, Operand, Origin, Program, Source};

/// A program with its ops read, and what is known of its values.
pub(crate) struct Analysis<'p> {
    /// The ops, in the order of the program.
    pub ops: Vec<ParsedOp>,
    /// What is known of every value.
    pub facts: Facts<'p>,
}

impl<'p> Analysis<'p> {
    /// Reads the ops of a program, and infers what is known of their results.
    ///
    /// # Errors
    /// Those of [`resolve`] and [`infer`].
    pub fn of(program: &'p Program, registry: &Registry) -> Result<Self> {
        let ops = resolve(program, registry)?;
        let facts = infer(program, &ops)?;
        Ok(Self { ops, facts })
    }

    /// The ops of the program, each with what was read of it.
    pub fn ops(&self) -> impl Iterator<Item = (&'p Op, &ParsedOp)> {
        self.facts.program().ops().iter().zip(&self.ops)
    }
}

/// Reads every op of a program.
///
/// # Errors
/// When ops are neither defined nor passed through: all of them are listed, with counts. Otherwise when an op is not
/// what its definition expects: the first such op is named.
pub(crate) fn resolve(program: &Program, registry: &Registry) -> Result<Vec<ParsedOp>> {
    refuse_unknown(program, registry)?;
    program.ops().iter().map(|op| registry.parse(op)).collect()
}

fn refuse_unknown(program: &Program, registry: &Registry) -> Result<()> {
    let mut unknown: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut holds_blocks = false;
    for op in program.all_ops() {
        if let OpKind::Unknown(name) = &op.kind
            && !registry.knows(&op.kind)
        {
            unknown.entry(name).or_insert((0, op.source.index)).0 += 1;
            holds_blocks |= !op.blocks.is_empty();
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = unknown
        .iter()
        .map(|(name, (count, first))| {
            let reason = registry.refusal(name);
            let reason = reason.map_or(String::new(), |reason| format!(", which {reason}"));
            format!("`{name}` ({count} ×, first at op {first}){reason}")
        })
        .collect();
    let (what, verb) = if unknown.len() == 1 {
        ("1 kind of op".to_owned(), "is")
    } else {
        (format!("{} kinds of ops", unknown.len()), "are")
    };
    let pass_through = match unknown.keys().next() {
        Some(name) if !holds_blocks && registry.refusal(name).is_none() => {
            format!("; {}", CustomOp::hint(name))
        }
        _ => String::new(),
    };
    let cut = values_in_front(program, registry);
    let cut = cut.map_or(String::new(), |names| {
        format!("; --outputs {names} would convert the model up to the first of them")
    });
    Err(Error::unsupported(format!(
        "the model uses {what} that {verb} not supported: {}{pass_through}{cut}",
        list.join(", ")
    )))
}

/// The names of the results that the first unknown op outside of blocks reads, separated by commas; None if it reads
/// none.
fn values_in_front(program: &Program, registry: &Registry) -> Option<String> {
    let is_unknown = |op: &&Op| matches!(op.kind, OpKind::Unknown(_)) && !registry.knows(&op.kind);
    let first = program.ops().iter().find(is_unknown)?;
    let read = first.operands.iter().flat_map(Operand::values);
    let results = read.map(|id| &program[*id]);
    let results = results.filter(|value| matches!(value.origin, Origin::Result));
    let mut names: Vec<&str> = results.map(|value| value.name.as_str()).collect();
    names.dedup();
    (!names.is_empty()).then(|| names.join(","))
}

/// An op whose operands do not fit it.
pub(crate) struct Refusal {
    /// The position of the op in the program.
    pub position: usize,
    pub error: Error,
}

/// What is known of every value before a run, inferred op by op in the order of the program.
///
/// # Errors
/// When the shapes or element types of an op's operands don't fit the op, or an input or an output is complex.
pub(crate) fn infer<'p>(program: &'p Program, ops: &[ParsedOp]) -> Result<Facts<'p>> {
    refuse_complex(program)?;
    try_infer(program, ops).map_err(|refusal| refusal.error)
}

/// What [`infer`] gives, or the first op that refuses its operands.
pub(crate) fn try_infer<'p>(program: &'p Program, ops: &[ParsedOp]) -> Result<Facts<'p>, Refusal> {
    let mut facts = Facts::declared(program);
    for (position, (op, parsed)) in program.ops().iter().zip(ops).enumerate() {
        let inferred = parsed.infer(op, &mut facts);
        inferred.map_err(|error| Refusal { position, error })?;
    }
    Ok(facts)
}

/// Refuses inputs and outputs of complex numbers.
fn refuse_complex(program: &Program) -> Result<()> {
    match complex_ports(program).into_iter().next() {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}

/// The inputs and outputs of complex numbers, with why they are refused. What is complex inside of a program has been
/// taken apart.
pub(crate) fn complex_ports(program: &Program) -> Vec<(Source, Error)> {
    let port = |index, kind: &str, name: &str, reason: String| {
        let source = Source {
            index,
            name: kind.into(),
            output: name.into(),
            ..Source::default()
        };
        (source, Error::unsupported(reason))
    };
    let inputs = program.inputs().iter().map(|id| &program[*id]);
    let inputs = inputs.filter(|input| input.dtype.is_complex()).map(|input| {
        let (name, dtype) = (&input.name, input.dtype);
        let reason = format!(
            "the input `{name}` is {dtype}; have the model take a float tensor with a last axis of 2 instead, and make \
             the complex one of it by `paddle.as_complex`"
        );
        port(0, "feed", name, reason)
    });
    let end = program.all_ops().map(|op| op.source.index + 1).max();
    let outputs = program.outputs().iter();
    let outputs = outputs.map(|output| (&output.name, program[output.value].dtype));
    let outputs = outputs.filter(|(_, dtype)| dtype.is_complex());
    let outputs = outputs.map(|(name, dtype)| {
        let reason = format!(
            "the output `{name}` is {dtype}; have the model return `paddle.as_real` of it instead, a float tensor with \
             a last axis of 2"
        );
        port(end.unwrap_or(0), "fetch", name, reason)
    });
    inputs.chain(outputs).collect()
}
