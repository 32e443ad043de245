//! A `ProgramDesc`, the format of Paddle 1 and 2 → [`Program`].
//!
//! Variables have names and may be written again and again, so the latest value of each is kept while the ops are read
//! in order. Ops bind variables to named slots. Only the first block is read.

mod attrs;
mod variables;

use std::collections::HashMap;

use variables::Variables;

use super::forms::{self, Spelled};
use super::weights;
use crate::error::{Error, Result};
use crate::operator::{Binding, Form, OpDef, Registry};
use crate::program::{
    Attr, Builder, Declared, Draft, OpKind, Operand, Output, Program, Source, ValueId,
};
use crate::proto::framework::op_desc::Slot;
use crate::proto::framework::{BlockDesc, OpDesc, ProgramDesc};
use crate::read::ModelFiles;

/// Input slots that no inference reads, on whatever op: what training updates, and what cuDNN has found.
const UNREAD_SLOTS: &[&str] = &["MomentumTensor", "AlgoCache"];

/// The version 3.0.0 as programs state it: 1 000 000 · major + 1000 · minor + patch.
const PADDLE_3: i64 = 3_000_000;

/// The [`Program`] that a decoded `ProgramDesc` is. Ops without a definition are kept.
///
/// # Errors
/// When the program contradicts itself, the weights are not its own, or an op has an input, an attribute or a type of
/// result that is not known.
pub(super) fn program(
    desc: &ProgramDesc,
    files: &ModelFiles,
    registry: &Registry,
) -> Result<Program> {
    let main = desc
        .blocks
        .first()
        .ok_or_else(|| Error::malformed("the program has no blocks"))?;
    let mut reader = Reader {
        registry,
        builder: Builder::new(),
        variables: Variables::of(main)?,
        scope: Scope::default(),
    };
    reader.builder.is_former = desc.version.unwrap_or_default().version() < PADDLE_3;
    let expected = reader.variables.weights()?;
    let weights = weights::define(&mut reader.builder, expected, &files.weights)?;
    reader.scope.current.extend(weights);
    reader.feed(main)?;
    for (index, op) in main.ops.iter().enumerate() {
        reader.builder.source = source(index, op);
        reader
            .convert(op)
            .map_err(|e| e.at_op(&reader.builder.source))?;
    }
    reader.fetch(main)?;
    Ok(reader.builder.program)
}

fn source(index: usize, op: &OpDesc) -> Source {
    let output = op.outputs.iter().flat_map(|slot| &slot.arguments).next();
    Source {
        index,
        name: op.r#type.clone(),
        layer: None,
        output: output.cloned().unwrap_or_default(),
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
#[derive(Default)]
struct Scope {
    /// The latest value of each variable.
    current: HashMap<String, ValueId>,
    /// Variables that an op writes whose definition does not compute them, each with the place of that op.
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
            Some(source) => Error::unsupported(format!(
                "reads `{name}`, a side output of {source} that is not supported"
            )),
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

    /// Records that the op at `source` writes a variable that its definition does not compute.
    fn mark_not_computed(&mut self, name: &str, source: &Source) {
        self.current.remove(name);
        self.not_computed
            .insert(name.to_owned(), source.to_string());
    }
}

struct Reader<'a> {
    registry: &'a Registry,
    builder: Builder,
    variables: Variables<'a>,
    scope: Scope,
}

impl Reader<'_> {
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

    fn convert(&mut self, op: &OpDesc) -> Result<()> {
        if matches!(op.r#type.as_str(), "feed" | "fetch") {
            return Ok(());
        }
        match self.registry.find_legacy(&op.r#type) {
            Some((def, form)) => self.convert_known(op, def, form),
            None if self.registry.custom_op(&op.r#type).is_some() => self.pass_through(op),
            None => self.keep_unknown(op),
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
                    None => arguments(&op.inputs, slot)
                        .iter()
                        .map(String::as_str)
                        .collect(),
                };
                variables.iter().map(|name| self.scope.read(name)).collect()
            },
            attrs,
            results: results.collect::<Result<_>>()?,
        };
        let values = forms::emit(&mut self.builder, def, form, spelled)?;
        for slot in &op.outputs {
            if !form.results.contains(&slot.parameter.as_str()) {
                for name in &slot.arguments {
                    // An operand that the op overwrites only in training keeps its value.
                    let mut operands = op.inputs.iter().flat_map(|slot| &slot.arguments);
                    if !operands.any(|operand| operand == name) {
                        self.scope.mark_not_computed(name, &self.builder.source);
                    }
                }
            }
        }
        self.scope.write(names, values);
        Ok(())
    }

    /// What the program declares of a variable that an op writes.
    fn declared(&self, name: &str) -> Result<Declared> {
        self.variables.get(name)?.ok_or_else(|| {
            Error::unsupported(format!(
                "writes `{name}`, which is not declared as a dense tensor"
            ))
        })
    }

    /// Keeps an op that has no definition, with those of its inputs and outputs that are tensors.
    fn keep_unknown(&mut self, op: &OpDesc) -> Result<()> {
        let inputs = op.inputs.iter().flat_map(|slot| &slot.arguments);
        let values = inputs
            .filter_map(|name| self.scope.read(name).ok())
            .collect();
        let mut results: Vec<Declared> = Vec::new();
        for name in op.outputs.iter().flat_map(|slot| &slot.arguments) {
            results.extend(self.variables.get(name)?);
        }
        let names: Vec<String> = results.iter().map(|result| result.name.clone()).collect();
        let values = self.builder.emit(Draft {
            kind: OpKind::Unknown(op.r#type.clone()),
            operands: vec![Operand::Many(values)],
            results,
            attrs: attrs::decode(op)?,
        });
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
