//! A `ProgramDesc`, the format of Paddle 1 and 2 → [`Program`].
//!
//! Variables have names and may be written again and again, so the latest value of each is kept while the ops are read
//! in order. Ops bind variables to named slots. Bodies of control flow are blocks of their own, which their ops name;
//! they become [`Block`]s of these ops.

mod attrs;
mod blocks;
mod control_flow;
mod desc;
mod variables;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use control_flow::Held;
use desc::{BlockDesc, OpDesc};
use variables::Variables;

use super::forms::{self, Spelled};
use super::weights;
use crate::error::{Error, ErrorKind, Result};
use crate::operator::{Binding, Form, OpDef, Registry};
use crate::program::{
    Attr, Block, Builder, Declared, Draft, OpKind, Operand, Output, Program, Release, Source,
    ValueId,
};
use crate::proto::framework::ProgramOutline;
use crate::proto::framework::op_desc::Slot;
use crate::read::ModelFiles;
use crate::tensor::{Dim, Tensor};

/// Input slots that no inference reads, on whatever op: what training updates, and what cuDNN has found.
const UNREAD_SLOTS: &[&str] = &["MomentumTensor", "AlgoCache"];

/// Ops whose result has rank 1 and one element up to Paddle 2.4 where it has rank 0 since. What a program does with it
/// counts on that.
const SCALARS: &[&str] = &[
    "reduce_sum",
    "reduce_mean",
    "reduce_max",
    "reduce_min",
    "reduce_prod",
    "reduce_all",
    "reduce_any",
    "reduce_amax",
    "reduce_amin",
    "mean",
    "arg_max",
    "arg_min",
    "size",
    "matmul",
    "matmul_v2",
    "dot",
    "p_norm",
    "frobenius_norm",
    "logsumexp",
    "dist",
    "trace",
    "kldiv_loss",
    "nll_loss",
    "equal_all",
    "allclose",
];

/// The most blocks inside of each other.
const DEEPEST: usize = 64;

/// The [`Program`] that a `ProgramDesc` is. Ops without a definition are kept.
///
/// # Errors
/// When an op can't be decoded, the program contradicts itself, the weights are not its own, or an op has an input, an attribute or a type of
/// result that is not known.
pub(super) fn program(
    outline: ProgramOutline,
    files: &ModelFiles,
    registry: &Registry,
) -> Result<Program> {
    let version = outline.version.map(|version| version.version());
    let blocks = outline.blocks.into_iter().map(BlockDesc::decoded);
    let blocks: Vec<BlockDesc> = blocks.collect::<Result<_>>()?;
    let main = blocks
        .first()
        .ok_or_else(|| Error::malformed("the program has no blocks"))?;
    let mut reader = Reader {
        registry,
        blocks: &blocks,
        builder: Builder::new(),
        variables: Variables::of(main)?,
        scope: Scope::default(),
        held: Vec::new(),
        entered: HashSet::new(),
        ops: 0,
        within: None,
    };
    reader.builder.release = Release::stated(version);
    let expected = reader.variables.weights()?;
    let weights = weights::define(&mut reader.builder, expected, &files.weights)?;
    reader.scope.current.extend(weights);
    reader.feed(main)?;
    reader.define_lists()?;
    reader.ops(0, main)?;
    reader.settle(&|_| true)?;
    reader.fetch(main)?;
    Ok(reader.builder.program)
}

fn source(index: usize, op: &OpDesc) -> Source {
    let output = op.outputs.iter().flat_map(|slot| &slot.arguments).next();
    Source {
        index,
        name: op.r#type.as_str().into(),
        block: None,
        layer: None,
        output: output.map(|name| name.as_str().into()).unwrap_or_default(),
    }
}

/// For the ops of a block that are of this `kind`, `feed` or `fetch`: the column of each and the variable that it
/// moves, in the order of the columns.
fn columns<'b>(block: &'b BlockDesc, kind: &str) -> Result<Vec<(i64, &'b str)>> {
    let mut columns = Vec::new();
    for op in block.ops.iter().filter(|op| op.r#type == kind) {
        let slots = if kind == "feed" {
            &op.outputs
        } else {
            &op.inputs
        };
        let variable = slots.iter().flat_map(|slot| &slot.arguments).next();
        let column = attrs::decode(op)?.remove("col");
        match (variable, column) {
            (Some(variable), Some(Attr::Int(column))) => columns.push((column, variable.as_str())),
            _ => {
                return Err(Error::malformed(format!(
                    "a `{kind}` op without a variable or a column"
                )));
            }
        }
    }
    columns.sort_unstable();
    Ok(columns)
}

/// What the variables of a block stand for at one point of its ops.
#[derive(Clone, Default)]
struct Scope {
    /// The latest value of each variable.
    current: HashMap<String, ValueId>,
    /// Variables that an op writes which does not compute them here, each with the reason, which completes "reads `x`, …".
    not_computed: HashMap<String, String>,
}

impl Scope {
    /// The latest value of a variable.
    ///
    /// # Errors
    /// When nothing has written it, or the op that has does not compute it.
    fn read(&self, name: &str) -> Result<ValueId> {
        if let Some(id) = self.current.get(name) {
            return Ok(*id);
        }
        Err(match self.not_computed.get(name) {
            Some(why) => Error::unsupported(format!("reads `{name}`, {why}")),
            None => Error::malformed(format!("reads `{name}` before anything writes it")),
        })
    }

    /// Makes variables stand for new values.
    fn write(&mut self, names: Vec<String>, values: Vec<ValueId>) {
        for (name, id) in names.into_iter().zip(values) {
            self.not_computed.remove(&name);
            self.current.insert(name, id);
        }
    }

    /// Records that an op writes a variable that it does not compute here, and why.
    fn mark_not_computed(&mut self, name: &str, why: String) {
        self.current.remove(name);
        self.not_computed.insert(name.to_owned(), why);
    }
}

struct Reader<'a> {
    registry: &'a Registry,
    blocks: &'a [BlockDesc],
    builder: Builder,
    variables: Variables<'a>,
    scope: Scope,
    /// The branches of the present block that are held back.
    held: Vec<Held>,
    /// The numbers of the blocks inside of others that were read.
    entered: HashSet<usize>,
    /// The number of ops that were read, those in blocks included.
    ops: usize,
    /// The present block, as [`Source::block`] has it.
    within: Option<Arc<str>>,
}

impl<'a> Reader<'a> {
    /// Reads the ops of the block of this number.
    fn ops(&mut self, number: usize, block: &'a BlockDesc) -> Result<()> {
        for op in &block.ops {
            let source = Source {
                block: self.within.clone(),
                ..source(self.ops, op)
            };
            self.ops += 1;
            self.builder.source = source.clone();
            self.convert(number, op).map_err(|e| e.at_op(source))?;
        }
        Ok(())
    }

    /// Reads the bodies of control flow that an op of the block `outer` holds.
    fn blocks_of(&mut self, outer: usize, op: &OpDesc) -> Result<Vec<Block>> {
        let mut blocks = Vec::new();
        for number in attrs::blocks(op) {
            let (number, block) = self.numbered_block(outer, number)?;
            self.enter_block(number)?;
            blocks.push(self.block(number, block)?);
        }
        Ok(blocks)
    }

    /// The block of this number, which an op of the block `outer` holds.
    fn numbered_block(&self, outer: usize, number: i64) -> Result<(usize, &'a BlockDesc)> {
        // Paddle numbers a block when it begins, so that those inside of it come later: none holds itself.
        let number = usize::try_from(number).ok().filter(|n| *n > outer);
        let block = number.and_then(|number| Some((number, self.blocks.get(number)?)));
        block.ok_or_else(|| Error::malformed("holds a block that is not there"))
    }

    /// Refuses a block that is too deep inside of others, or that another op holds.
    fn enter_block(&mut self, number: usize) -> Result<()> {
        if self.builder.open_blocks.len() >= DEEPEST {
            return Err(Error::malformed(format!(
                "holds blocks inside of each other, more than {DEEPEST} deep"
            )));
        }
        if !self.entered.insert(number) {
            return Err(Error::malformed(format!(
                "holds block {number}, which another op holds as well"
            )));
        }
        Ok(())
    }

    /// Reads one body of control flow. What it reads before it writes it, and nothing outside has written, is given to
    /// it by its op, as the steps of a sequence are.
    fn block(&mut self, number: usize, block: &'a BlockDesc) -> Result<Block> {
        let outside = self.scope.clone();
        let held = std::mem::take(&mut self.held);
        self.variables.enter(block)?;
        let mut written: HashSet<&str> = self.scope.current.keys().map(String::as_str).collect();
        let mut given = Vec::new();
        for op in &block.ops {
            for name in op.inputs.iter().flat_map(|slot| &slot.arguments) {
                if written.insert(name) {
                    given.extend(self.variables.get(name).ok().flatten());
                }
            }
            written.extend(
                op.outputs
                    .iter()
                    .flat_map(|slot| &slot.arguments)
                    .map(String::as_str),
            );
        }
        let block = self.ops_of_block(number, block, given)?;
        self.variables.leave();
        self.scope = outside;
        self.held = held;
        Ok(block)
    }

    /// Reads the ops of a block whose variables are entered, and in which these stand for its arguments.
    fn ops_of_block(
        &mut self,
        number: usize,
        block: &'a BlockDesc,
        given: Vec<Declared>,
    ) -> Result<Block> {
        let names = given.iter().map(|argument| argument.name.clone()).collect();
        let arguments = self.builder.define_arguments(given);
        self.scope.write(names, arguments.clone());
        self.builder.open_blocks.push(Block {
            arguments,
            ..Block::default()
        });
        let within = self.builder.source.inner_block(number);
        let outer = self.within.replace(within);
        self.define_lists()?;
        self.ops(number, block)?;
        self.settle(&|_| true)?;
        self.within = outer;
        let block = self.builder.open_blocks.pop();
        block.ok_or_else(|| Error::internal("a block was closed twice"))
    }

    /// Defines the inputs: the variables that `feed` ops write.
    fn feed(&mut self, block: &BlockDesc) -> Result<()> {
        let mut inputs = Vec::new();
        for (_, name) in columns(block, "feed")? {
            inputs.push(self.variables.get(name)?.ok_or_else(|| {
                Error::unsupported(format!("the input `{name}` is not declared as a tensor"))
            })?);
        }
        let names: Vec<String> = inputs.iter().map(|input| input.name.clone()).collect();
        let values = self.builder.define_inputs(inputs);
        self.scope.write(names, values);
        Ok(())
    }

    /// Defines the outputs: the values that the variables read by `fetch` ops have in the end.
    fn fetch(&mut self, block: &BlockDesc) -> Result<()> {
        let columns = columns(block, "fetch")?;
        if columns.is_empty() {
            return Err(Error::malformed(
                "the program has no `fetch` op, so it has no outputs; export it for inference",
            ));
        }
        for (column, name) in columns {
            let scope = &self.scope;
            let value = scope
                .read(name)
                .map_err(|e| e.at_op(format_args!("output {column}")))?;
            self.builder.program.outputs.push(Output {
                name: name.to_owned(),
                value,
            });
        }
        Ok(())
    }

    fn convert(&mut self, block: usize, op: &OpDesc) -> Result<()> {
        if matches!(op.r#type.as_str(), "feed" | "fetch") {
            return Ok(());
        }
        let found = self.registry.find_legacy(&op.r#type);
        if let Some((def, _)) = found.filter(|(def, _)| def.holds_blocks()) {
            return self.control_flow(block, op, def);
        }
        self.settle_for(op)?;
        match found {
            Some((def, form)) => self.convert_or_keep(block, op, def, form),
            None if self.registry.custom_op(&op.r#type).is_some() => self.pass_through(op),
            None => self.keep(block, op, OpKind::Unknown(op.r#type.clone())),
        }
    }

    /// Emits an op that has a definition, or keeps it with the reason why it is not supported.
    fn convert_or_keep(
        &mut self,
        block: usize,
        op: &OpDesc,
        def: &'static OpDef,
        form: &'static Form,
    ) -> Result<()> {
        let before = self.builder.op_count();
        match self.convert_known(op, def, form) {
            Err(e) if e.kind() == ErrorKind::Unsupported => {
                self.builder.drop_ops_after(before);
                let (name, reason) = (def.name, e.message().to_owned());
                self.keep(block, op, OpKind::Refused { name, reason })
            }
            done => done,
        }
    }

    /// Emits an op that is passed through to an operator of another ONNX domain, with one operand for each slot.
    fn pass_through(&mut self, op: &OpDesc) -> Result<()> {
        if let Some((attr, _)) = attrs::variables(op).next() {
            return Err(Error::unsupported(format!(
                "the attribute `{attr}` of this op is a variable"
            )));
        }
        let operands = op.inputs.iter().map(|slot| {
            let values = slot.arguments.iter().map(|name| self.scope.read(name));
            values.collect::<Result<_>>().map(Operand::of)
        });
        let operands = operands.collect::<Result<_>>()?;
        let names = op.outputs.iter().flat_map(|slot| &slot.arguments);
        let names: Vec<String> = names.cloned().collect();
        let results = names.iter().map(|name| self.declared(name));
        let draft = Draft {
            kind: OpKind::Unknown(op.r#type.clone()),
            operands,
            results: results.collect::<Result<_>>()?,
            attrs: attrs::decode(op)?,
        };
        let values = self.builder.emit(draft);
        self.scope.write(names, values);
        Ok(())
    }

    /// Emits an op that has a definition.
    fn convert_known(
        &mut self,
        op: &OpDesc,
        def: &'static OpDef,
        form: &'static Form,
    ) -> Result<()> {
        refuse_unknown_inputs(op, form)?;
        let slots = form.results.iter();
        let names: Vec<String> = slots
            .flat_map(|slot| arguments(&op.outputs, slot))
            .cloned()
            .collect();
        let results = names.iter().map(|name| self.declared(name));
        let mut attrs = attrs::decode(op)?;
        let in_attrs: HashMap<&str, Vec<&str>> = attrs::variables(op).collect();
        attrs.retain(|name, _| !in_attrs.contains_key(name.as_str()));
        let spelled = Spelled {
            slots: &|slot| {
                let variables: Vec<&str> = match in_attrs.get(slot) {
                    Some(variables) => variables.clone(),
                    None => {
                        // What a variable was before the op overwrites it.
                        let is_overwritten = form.overwritten == Some(slot);
                        let slots = if is_overwritten {
                            &op.outputs
                        } else {
                            &op.inputs
                        };
                        arguments(slots, slot).iter().map(String::as_str).collect()
                    }
                };
                variables.iter().map(|name| self.scope.read(name)).collect()
            },
            attrs,
            results: results.collect::<Result<_>>()?,
        };
        let declared = spelled.results.clone();
        let values = forms::emit(&mut self.builder, def, form, spelled)?;
        let values = self.vectors_of_one(op, declared, values);
        for slot in &op.outputs {
            if !form.results.contains(&slot.parameter.as_str()) {
                for name in &slot.arguments {
                    // An operand that the op overwrites only in training keeps its value.
                    let mut operands = op.inputs.iter().flat_map(|slot| &slot.arguments);
                    if !operands.any(|operand| operand == name) {
                        let source = &self.builder.source;
                        let why = format!("a side output of {source} that is not supported");
                        self.scope.mark_not_computed(name, why);
                    }
                }
            }
        }
        self.scope.write(names, values);
        Ok(())
    }

    /// Gives those of an op's results rank 1 that have it in the release of Paddle that wrote the program.
    fn vectors_of_one(
        &mut self,
        op: &OpDesc,
        declared: Vec<Declared>,
        values: Vec<ValueId>,
    ) -> Vec<ValueId> {
        let is_sliced =
            matches!(op.r#type.as_str(), "slice") && self.builder.release.is_before(2, 6);
        let is_scalar =
            SCALARS.contains(&op.r#type.as_str()) && self.builder.release.is_before(2, 5);
        if !is_sliced && !is_scalar {
            return values;
        }
        let results = values.into_iter().zip(declared);
        let results = results.map(|(value, declared)| {
            if declared.shape != [Dim::Known(1)] {
                return value;
            }
            let operands = [value, self.builder.constant(Tensor::vector(vec![1_i64]))];
            let operands = operands.map(Operand::One).to_vec();
            let ty = (declared.dtype, declared.shape.clone());
            let result = self
                .builder
                .insert("reshape", operands, BTreeMap::new(), ty);
            self.builder.adopt(result, declared);
            result
        });
        results.collect()
    }

    /// What the program declares of a variable that an op writes.
    fn declared(&self, name: &str) -> Result<Declared> {
        match self.variables.get(name)? {
            Some(declared) => Ok(declared),
            None if self.variables.knows(name) => Err(Error::unsupported(format!(
                "writes `{name}`, which is declared as something else than a dense tensor"
            ))),
            None => Err(Error::malformed(format!(
                "writes `{name}`, which is not declared"
            ))),
        }
    }

    /// Keeps an op that can't be read, with its blocks and those of its inputs and outputs that are tensors.
    fn keep(&mut self, block: usize, op: &OpDesc, kind: OpKind) -> Result<()> {
        let inputs = op.inputs.iter().flat_map(|slot| &slot.arguments);
        let values = inputs
            .filter_map(|name| self.scope.read(name).ok())
            .collect();
        let mut results: Vec<Declared> = Vec::new();
        for name in op.outputs.iter().flat_map(|slot| &slot.arguments) {
            match self.variables.get(name) {
                Ok(Some(declared)) => results.push(declared),
                _ => {
                    let reason = match &kind {
                        OpKind::Refused { reason, .. } => reason,
                        _ => "not supported",
                    };
                    let why = format!("which {} writes: {reason}", self.builder.source);
                    self.scope.mark_not_computed(name, why);
                }
            }
        }
        let source = self.builder.source.clone();
        let blocks = self.blocks_of(block, op)?;
        self.builder.source = source;
        let names: Vec<String> = results.iter().map(|result| result.name.clone()).collect();
        let draft = Draft {
            kind,
            operands: vec![Operand::Many(values)],
            results,
            attrs: attrs::decode_known(op),
        };
        let values = self.builder.emit_with_blocks(draft, blocks);
        self.scope.write(names, values);
        Ok(())
    }
}

/// Refuses slots with tensors, and attributes that name variables, that a form does not read.
fn refuse_unknown_inputs(op: &OpDesc, form: &Form) -> Result<()> {
    let is_known = |slot: &str| {
        form.operands.iter().any(|from| match from {
            Binding::Slot(name) | Binding::Optional(name) | Binding::List(name) => *name == slot,
            Binding::IntArray { slots, .. } | Binding::Scalar { slots, .. } => {
                slots.contains(&slot)
            }
            Binding::Rewrite => false,
        })
    };
    let takes_variables = |attr: &str| {
        form.operands.iter().any(|from| match from {
            Binding::IntArray { attr: name, .. } | Binding::Scalar { attr: name, .. } => {
                *name == attr
            }
            _ => false,
        })
    };
    if let Some((attr, _)) = attrs::variables(op).find(|(attr, _)| !takes_variables(attr)) {
        return Err(Error::unsupported(format!(
            "the attribute `{attr}` of this op is a variable"
        )));
    }
    let is_read = |slot: &str| is_known(slot) || UNREAD_SLOTS.contains(&slot);
    let unknown = op
        .inputs
        .iter()
        .find(|slot| !slot.arguments.is_empty() && !is_read(&slot.parameter));
    match unknown {
        Some(slot) => Err(Error::unsupported(format!(
            "the input `{}` of this op is not supported",
            slot.parameter
        ))),
        None => Ok(()),
    }
}

/// The variables bound to a slot; none if the op lacks it.
fn arguments<'o>(slots: &'o [Slot], name: &str) -> &'o [String] {
    slots
        .iter()
        .find(|slot| slot.parameter == name)
        .map_or(&[], |slot| slot.arguments.as_slice())
}
