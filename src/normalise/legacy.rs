//! `ProgramDesc` → [`Program`].

use std::collections::BTreeMap;

use super::attrs;
use super::builder::{Builder, Draft};
use super::variables::{Declared, Variables};
use crate::error::{Error, Result};
use crate::ops::{self, From, Legacy, OpDef};
use crate::program::{Attr, OpKind, Operand, Origin, Output, Program, Source, Value};
use crate::proto::framework::{BlockDesc, OpDesc, ProgramDesc};
use crate::read::ModelFiles;
use crate::tensor::{Dim, Tensor};

/// Turns a decoded program into the one form.
///
/// # Errors
/// When the program contradicts itself, the weights don't match it, or an op takes an input or
/// writes a type that is not known. Unknown ops are kept.
pub(crate) fn program(desc: &ProgramDesc, files: &ModelFiles) -> Result<Program> {
    let in_file = |e: Error| e.in_file(&files.program);
    let main = desc
        .blocks
        .first()
        .ok_or_else(|| in_file(Error::malformed("the program has no blocks")))?;
    let variables = Variables::of(main).map_err(in_file)?;
    let mut builder = Builder::new(&variables);
    for (weight, range) in variables.weights(&files.weights).map_err(in_file)? {
        let value = Value {
            name: weight.name.clone(),
            dtype: weight.dtype,
            shape: weight.shape.iter().map(|dim| Dim::Known(*dim)).collect(),
            origin: Origin::Parameter(range),
        };
        builder.write(&weight.name, value);
    }
    feed(&mut builder, main).map_err(in_file)?;
    for (index, op) in main.ops.iter().enumerate() {
        builder.source = source(index, op);
        convert(&mut builder, op).map_err(|e| in_file(e.at_op(&builder.source)))?;
    }
    fetch(&mut builder, main).map_err(in_file)?;
    Ok(builder.program)
}

fn source(index: usize, op: &OpDesc) -> Source {
    let output = op.outputs.iter().flat_map(|slot| &slot.arguments).next();
    Source {
        index,
        name: op.r#type.clone(),
        output: output.cloned().unwrap_or_default(),
    }
}

/// The `feed` or `fetch` ops of a block with the variable that each moves, in column order.
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

/// Defines the inputs, and names their dynamic dimensions.
fn feed(builder: &mut Builder<'_>, block: &BlockDesc) -> Result<()> {
    let mut inputs = Vec::new();
    for (_, name) in columns(block, "feed")? {
        let declared = builder.variables.get(name)?.ok_or_else(|| {
            Error::unsupported(format!("the input `{name}` is not declared as a tensor"))
        })?;
        inputs.push((name, declared));
    }
    let is_dynamic = |(_, input): &&(_, Declared)| input.dims.first().is_some_and(|dim| *dim < 0);
    let is_only_batch = inputs.iter().filter(is_dynamic).count() == 1;
    for (name, Declared { dtype, dims }) in inputs {
        let shape = dims.iter().enumerate().map(|(axis, dim)| match *dim {
            extent @ 0.. => Dim::Known(extent),
            // Nothing says that two inputs share their batch, so only a single one is called so.
            _ if axis == 0 && is_only_batch => Dim::Symbol("batch".into()),
            _ => Dim::Symbol(format!("{name}_dim{axis}").into()),
        });
        let value = Value {
            name: name.to_owned(),
            dtype,
            shape: shape.collect(),
            origin: Origin::Input,
        };
        let id = builder.write(name, value);
        builder.program.inputs.push(id);
    }
    Ok(())
}

/// Names the outputs: the values that the fetched variables have at the end.
fn fetch(builder: &mut Builder<'_>, block: &BlockDesc) -> Result<()> {
    let columns = columns(block, "fetch")?;
    if columns.is_empty() {
        return Err(Error::malformed(
            "the program has no `fetch` op, so it has no outputs; export it for inference",
        ));
    }
    for (column, name) in columns {
        let value = builder
            .read(name)
            .map_err(|e| e.at_op(format_args!("output {column}")))?;
        builder.program.outputs.push(Output {
            name: name.to_owned(),
            value,
        });
    }
    Ok(())
}

fn convert(builder: &mut Builder<'_>, op: &OpDesc) -> Result<()> {
    if matches!(op.r#type.as_str(), "feed" | "fetch") {
        return Ok(());
    }
    match ops::find_legacy(&op.r#type) {
        Some((def, form)) => convert_known(builder, op, def, form),
        None => keep_unknown(builder, op),
    }
}

fn convert_known(
    builder: &mut Builder<'_>,
    op: &OpDesc,
    def: &'static OpDef,
    form: &'static Legacy,
) -> Result<()> {
    refuse_unknown_inputs(op, form)?;
    let mut attrs = attrs::decode(op)?;
    let mut operands = Vec::with_capacity(form.operands.len());
    for from in form.operands {
        operands.push(operand(builder, op, &mut attrs, *from)?);
    }
    for name in form.ignored {
        attrs.remove(*name);
    }
    for (legacy, phi) in form.renamed {
        if let Some(value) = attrs.remove(*legacy) {
            attrs.insert((*phi).to_owned(), value);
        }
    }
    let mut results = Vec::new();
    for slot in &op.outputs {
        if !form.results.contains(&slot.parameter.as_str()) {
            for name in &slot.arguments {
                builder.mark_not_computed(name);
            }
        }
    }
    for slot in form.results {
        results.extend_from_slice(arguments(&op.outputs, slot));
    }
    let draft = Draft {
        kind: OpKind::Known(def.name),
        operands,
        results,
        attrs,
    };
    match form.rewrite {
        Some(rewrite) => rewrite(builder, draft),
        None => builder.emit(draft),
    }
}

fn refuse_unknown_inputs(op: &OpDesc, form: &Legacy) -> Result<()> {
    let is_known = |slot: &str| {
        form.operands.iter().any(|from| match from {
            From::Slot(name) | From::Optional(name) | From::List(name) => *name == slot,
            From::IntArray { slots, .. } => slots.contains(&slot),
            From::Scalar { slot: name, .. } => *name == slot,
            From::Rewrite => false,
        })
    };
    let unknown = op
        .inputs
        .iter()
        .find(|slot| !slot.arguments.is_empty() && !is_known(&slot.parameter));
    match unknown {
        Some(slot) => Err(Error::unsupported(format!(
            "the input `{}` of this op is not supported",
            slot.parameter
        ))),
        None => Ok(()),
    }
}

type Attrs = BTreeMap<String, Attr>;

fn operand(
    builder: &mut Builder<'_>,
    op: &OpDesc,
    attrs: &mut Attrs,
    from: From,
) -> Result<Operand> {
    let operand = match from {
        From::Slot(slot) => match arguments(&op.inputs, slot) {
            [variable] => Operand::One(builder.read(variable)?),
            other => {
                return Err(Error::malformed(format!(
                    "the input `{slot}` holds {} variables where 1 was expected",
                    other.len()
                )));
            }
        },
        From::Optional(slot) => match arguments(&op.inputs, slot) {
            [] => Operand::Absent,
            _ => return operand(builder, op, attrs, From::Slot(slot)),
        },
        From::List(slot) => {
            let variables = arguments(&op.inputs, slot).iter();
            Operand::Many(variables.map(|v| builder.read(v)).collect::<Result<_>>()?)
        }
        From::IntArray { attr, slots } => {
            let attr = attrs.remove(attr);
            let given = slots.iter().map(|slot| arguments(&op.inputs, slot));
            match given.clone().find(|variables| !variables.is_empty()) {
                Some(variables) => {
                    let parts = variables.iter().map(|v| builder.read(v));
                    int_array(builder, &parts.collect::<Result<Vec<_>>>()?)
                }
                None => constant(builder, attr)?,
            }
        }
        From::Scalar { attr, slot } => {
            let attr = attrs.remove(attr);
            match arguments(&op.inputs, slot) {
                [] => constant(builder, attr)?,
                _ => return operand(builder, op, attrs, From::Slot(slot)),
            }
        }
        From::Rewrite => Operand::Absent,
    };
    Ok(operand)
}

fn int_array(builder: &mut Builder<'_>, parts: &[crate::program::ValueId]) -> Operand {
    match parts {
        [whole] if builder.rank(*whole) == 1 => Operand::One(*whole),
        parts => Operand::One(builder.pack(parts)),
    }
}

/// An attribute as a constant operand: numbers have rank 0, lists rank 1.
fn constant(builder: &mut Builder<'_>, attr: Option<Attr>) -> Result<Operand> {
    let tensor = match attr {
        None => return Ok(Operand::Absent),
        Some(Attr::Int(value)) => Tensor::scalar(value),
        Some(Attr::Float(value)) => Tensor::scalar(value),
        Some(Attr::Bool(value)) => Tensor::scalar(value),
        Some(Attr::Ints(values)) => Tensor::vector(values),
        Some(other) => {
            return Err(Error::malformed(format!(
                "an attribute is {} ({other}) where a number or a list of integers was expected",
                other.type_name()
            )));
        }
    };
    Ok(Operand::One(builder.constant(tensor)))
}

/// The variables bound to a slot; none if the op lacks it.
fn arguments<'o>(slots: &'o [crate::proto::framework::op_desc::Slot], name: &str) -> &'o [String] {
    slots
        .iter()
        .find(|slot| slot.parameter == name)
        .map_or(&[], |slot| slot.arguments.as_slice())
}

/// Keeps an op that has no definition, with whatever tensors it reads and writes.
fn keep_unknown(builder: &mut Builder<'_>, op: &OpDesc) -> Result<()> {
    let inputs = op.inputs.iter().flat_map(|slot| &slot.arguments);
    let values = inputs.filter_map(|name| builder.read(name).ok()).collect();
    let mut results = Vec::new();
    for name in op.outputs.iter().flat_map(|slot| &slot.arguments) {
        if builder.variables.get(name)?.is_some() {
            results.push(name.clone());
        }
    }
    builder.emit(Draft {
        kind: OpKind::Unknown(op.r#type.clone()),
        operands: vec![Operand::Many(values)],
        results,
        attrs: attrs::decode(op)?,
    })
}
