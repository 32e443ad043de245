//! One op as a file spells it → the operands, attributes and results of its definition.
//!
//! A list of integers or a number becomes one operand, whether the file has an attribute, a tensor or a list of
//! tensors. Refuses slots with another number of tensors than the definition takes, and attributes that should become
//! such an operand but are of another type.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::operator::{Arg, Binding, Form, OpDef, Rewrite};
use crate::program::{Attr, Builder, Declared, Draft, OpKind, Operand, ValueId};
use crate::tensor::Tensor;

pub(super) type Attrs = BTreeMap<String, Attr>;

/// An op as a file spells it.
pub(super) struct Spelled<'s> {
    /// The tensors in the input slot of this name, none if there is no such slot. In PIR, the form or the definition
    /// names the positions.
    pub slots: &'s dyn Fn(&str) -> Result<Vec<ValueId>>,
    /// The attributes, by their names in the file.
    pub attrs: Attrs,
    /// What the file declares of the results that the definition computes.
    pub results: Vec<Declared>,
}

/// Emits the op that a form describes, and returns its results.
pub(super) fn emit(
    builder: &mut Builder,
    def: &'static OpDef,
    form: &'static Form,
    mut spelled: Spelled<'_>,
) -> Result<Vec<ValueId>> {
    let mut operands = Vec::with_capacity(form.operands.len());
    for from in form.operands {
        operands.push(operand(builder, &mut spelled, *from)?);
    }
    let attrs = &mut spelled.attrs;
    for name in form.ignored {
        attrs.remove(*name);
    }
    for (spelled, phi) in form.renamed {
        if let Some(value) = attrs.remove(*spelled) {
            attrs.insert((*phi).to_owned(), value);
        }
    }
    finish(builder, def, form.rewrite, operands, spelled)
}

/// Emits an op that is spelled by the names of its definition, as most are in PIR, and returns its results.
pub(super) fn emit_plain(
    builder: &mut Builder,
    def: &'static OpDef,
    mut spelled: Spelled<'_>,
) -> Result<Vec<ValueId>> {
    let mut operands = Vec::with_capacity(def.operands.len());
    for arg in def.operands {
        let name = arg.name();
        let given = (spelled.slots)(name)?;
        operands.push(match arg {
            Arg::Tensor(_) => one(name, &given)?,
            Arg::Optional(_) => optional(name, &given)?,
            Arg::List(_) => Operand::Many(given),
            Arg::IntArray(_) => int_array(builder, &given, spelled.attrs.remove(name))?,
            Arg::Scalar(_) => scalar(builder, name, &given, spelled.attrs.remove(name))?,
        });
    }
    finish(builder, def, None, operands, spelled)
}

/// Emits the op with its operands, or the ops that the form or the definition puts in its place.
fn finish(
    builder: &mut Builder,
    def: &'static OpDef,
    rewrite: Option<Rewrite>,
    operands: Vec<Operand>,
    spelled: Spelled<'_>,
) -> Result<Vec<ValueId>> {
    let mut attrs = spelled.attrs;
    for name in def.ignored {
        attrs.remove(*name);
    }
    let draft = Draft {
        kind: OpKind::Known(def.name),
        operands,
        results: spelled.results,
        attrs,
    };
    match rewrite.or(def.apart) {
        Some(rewrite) => rewrite(builder, draft),
        None => Ok(builder.emit(draft)),
    }
}

fn operand(builder: &mut Builder, spelled: &mut Spelled<'_>, from: Binding) -> Result<Operand> {
    match from {
        Binding::Slot(slot) => one(slot, &(spelled.slots)(slot)?),
        Binding::Optional(slot) => optional(slot, &(spelled.slots)(slot)?),
        Binding::List(slot) => Ok(Operand::Many((spelled.slots)(slot)?)),
        Binding::IntArray { attr, slots } => {
            let (_, given) = first_given(spelled, slots, attr)?;
            int_array(builder, &given, spelled.attrs.remove(attr))
        }
        Binding::Scalar { attr, slots } => {
            let (slot, given) = first_given(spelled, slots, attr)?;
            scalar(builder, slot, &given, spelled.attrs.remove(attr))
        }
        Binding::Rewrite => Ok(Operand::Absent),
    }
}

/// The name and the tensors of the first of `slots` that is not empty; otherwise those of the attribute, which may name
/// tensors, too. Without any, both are empty.
fn first_given(
    spelled: &Spelled<'_>,
    slots: &'static [&'static str],
    attr: &'static str,
) -> Result<(&'static str, Vec<ValueId>)> {
    for slot in slots.iter().chain([&attr]) {
        let given = (spelled.slots)(slot)?;
        if !given.is_empty() {
            return Ok((slot, given));
        }
    }
    Ok(("", Vec::new()))
}

fn one(slot: &str, given: &[ValueId]) -> Result<Operand> {
    match given {
        [value] => Ok(Operand::One(*value)),
        other => Err(Error::malformed(format!(
            "the input `{slot}` holds {} tensors where 1 was expected",
            other.len()
        ))),
    }
}

fn optional(slot: &str, given: &[ValueId]) -> Result<Operand> {
    match given {
        [] => Ok(Operand::Absent),
        given => one(slot, given),
    }
}

fn int_array(builder: &mut Builder, given: &[ValueId], attr: Option<Attr>) -> Result<Operand> {
    Ok(match given {
        [] => constant(builder, attr)?,
        [whole] if builder.rank(*whole) == 1 => Operand::One(*whole),
        parts => Operand::One(builder.pack(parts)),
    })
}

fn scalar(
    builder: &mut Builder,
    slot: &str,
    given: &[ValueId],
    attr: Option<Attr>,
) -> Result<Operand> {
    match given {
        [] => constant(builder, attr),
        given => one(slot, given),
    }
}

/// An attribute as a constant operand: a number has rank 0, a list of integers rank 1. Integers are int64, and
/// floating-point numbers float64. An attribute that is not given is an absent operand.
fn constant(builder: &mut Builder, attr: Option<Attr>) -> Result<Operand> {
    let tensor = match attr {
        None => return Ok(Operand::Absent),
        Some(Attr::Int(value)) => Tensor::scalar(value),
        Some(Attr::Float(value)) => Tensor::scalar(value),
        Some(Attr::Bool(value)) => Tensor::scalar(value),
        Some(Attr::Ints(values)) => Tensor::vector(values),
        // Paddle 2 writes some numbers as text, so as not to round them to float32.
        Some(Attr::String(text)) => Tensor::scalar(text.parse::<f64>().map_err(|_| {
            Error::malformed(format!("an attribute is {text:?}, which is no number"))
        })?),
        Some(other) => {
            return Err(Error::malformed(format!(
                "an attribute is {} ({other}) where a number or a list of integers was expected",
                other.type_name()
            )));
        }
    };
    Ok(Operand::One(builder.constant(tensor)))
}
