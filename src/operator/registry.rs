//! The definitions that a program is read with.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::custom::{CustomOp, PassThrough};
use super::definition::{Accuracy, Channels, OpDef, Reading};
use super::form::Form;
use super::parsed::{Behaviour, ParsedOp};
use super::reader::OpReader;
use crate::error::{Error, Result};
use crate::program::{Op, OpKind};
use crate::tensor::DType;

/// The ops that are known, by all of their names. A clone shares them.
#[derive(Clone)]
pub struct Registry {
    definitions: Arc<Definitions>,
}

#[derive(Clone, Default)]
struct Definitions {
    /// In the order in which they were added.
    all: Vec<&'static OpDef>,
    by_name: HashMap<&'static str, &'static OpDef>,
    legacy: HashMap<&'static str, Spelling>,
    pir: HashMap<&'static str, Spelling>,
    /// Ops of which it is known why they can't be converted, by their names in files.
    refusals: HashMap<&'static str, &'static str>,
    /// Ops without a definition that are passed through, by their names without a dialect.
    custom: HashMap<String, CustomOp>,
}

/// A way to spell an op: its definition, and the form.
type Spelling = (&'static OpDef, &'static Form);

/// The definition that an op of PIR has, and its form if that is not the definition's own.
pub(crate) type PirSpelling = (&'static OpDef, Option<&'static Form>);

/// An op that can be converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupportedOp {
    /// The PHI name.
    pub name: &'static str,
    /// Its types in programs of the older format.
    pub legacy: Vec<&'static str>,
    /// Its names in programs of Paddle 3, without the `_` of those that overwrite an operand.
    pub pir: Vec<&'static str>,
    /// The element types that its first operand may have, or its result where it has none.
    pub dtypes: &'static [DType],
    /// The lowest opset in which ONNX expresses it. Some attributes and types need a higher one.
    pub opset: u32,
    /// How closely two right implementations of it agree.
    pub accuracy: Accuracy,
    /// What can't be converted, each as a noun.
    pub limits: &'static [&'static str],
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registry of {} ops", self.definitions.all.len())
    }
}

impl Registry {
    /// A registry that knows no op.
    pub fn empty() -> Self {
        Self {
            definitions: Arc::default(),
        }
    }

    /// The same registry with more definitions.
    ///
    /// # Errors
    /// When a name or a spelling is known already.
    pub fn with(mut self, ops: &'static [OpDef]) -> Result<Self> {
        let definitions = Arc::make_mut(&mut self.definitions);
        ops.iter().try_for_each(|def| definitions.add(def))?;
        Ok(self)
    }

    /// The same registry, which knows why the ops of these names in files can't be converted: a clause that follows
    /// the name of the op.
    ///
    /// # Errors
    /// When one has a definition, or is refused already.
    pub fn with_refusals(mut self, names: &[&'static str], reason: &'static str) -> Result<Self> {
        let definitions = Arc::make_mut(&mut self.definitions);
        for name in names {
            let is_known = definitions.known(name).is_some();
            if is_known || definitions.refusals.insert(name, reason).is_some() {
                return Err(twice(name));
            }
        }
        Ok(self)
    }

    /// Why an op without a definition can't be converted, by its name in the file, if that is known.
    pub(crate) fn refusal(&self, name: &str) -> Option<&'static str> {
        self.definitions.refusals.get(name).copied()
    }

    /// The same registry, in which an op without a definition is passed through.
    ///
    /// # Errors
    /// When the op has a definition, or is passed through already.
    pub fn with_custom_op(mut self, custom: CustomOp) -> Result<Self> {
        let definitions = Arc::make_mut(&mut self.definitions);
        let name = CustomOp::plain(&custom.name).to_owned();
        if let Some(def) = definitions.known(&custom.name) {
            return Err(Error::invalid(format!(
                "`{}` can't be a custom op: it has a definition here, which is called `{}`",
                custom.name, def.name
            )));
        }
        if definitions.custom.insert(name.clone(), custom).is_some() {
            return Err(Error::invalid(format!(
                "the custom op `{name}` is given twice"
            )));
        }
        Ok(self)
    }

    /// What an op without a definition is passed through to, by its name in the file.
    pub(crate) fn custom_op(&self, name: &str) -> Option<&CustomOp> {
        self.definitions.custom.get(CustomOp::plain(name))
    }

    /// Whether an op can be read: it has a definition, or is passed through.
    pub(crate) fn knows(&self, kind: &OpKind) -> bool {
        match kind {
            OpKind::Known(name) | OpKind::Refused { name, .. } => self.find(name).is_some(),
            OpKind::Unknown(name) => self.custom_op(name).is_some(),
        }
    }

    /// Whether only another runtime can compute an op: it is passed through.
    pub(crate) fn is_opaque(&self, op: &Op) -> bool {
        matches!(&op.kind, OpKind::Unknown(name) if self.custom_op(name).is_some())
    }

    /// Every op of files that has a definition, in the order in which they were added.
    pub fn supported_ops(&self) -> Vec<SupportedOp> {
        let names = |forms: &'static [Form]| forms.iter().flat_map(|form| form.names).copied();
        let listed = self.definitions.all.iter().filter(|def| def.is_in_files);
        let supported = listed.map(|def| SupportedOp {
            name: def.name,
            legacy: names(def.legacy).collect(),
            pir: std::iter::once(def.name).chain(names(def.pir)).collect(),
            dtypes: def.dtypes,
            opset: def.opset,
            accuracy: def.accuracy,
            limits: def.limits,
        });
        supported.collect()
    }

    /// The definition of a PHI op.
    pub fn find(&self, name: &str) -> Option<&'static OpDef> {
        self.definitions.by_name.get(name).copied()
    }

    /// The definition and the form that an op type of `ProgramDesc` has.
    pub(crate) fn find_legacy(&self, name: &str) -> Option<(&'static OpDef, &'static Form)> {
        self.definitions.legacy.get(name).copied()
    }

    /// How an op of PIR is spelled. Ops of other dialects than `pd_op` have theirs in front.
    pub(crate) fn find_pir(&self, name: &str) -> Option<PirSpelling> {
        match self.definitions.pir.get(name) {
            Some((def, form)) => Some((def, Some(form))),
            None => Some((self.find(name).filter(|def| def.is_in_files)?, None)),
        }
    }

    /// How closely two right implementations of an op agree; None if it has no definition.
    pub(crate) fn accuracy(&self, op: &Op) -> Option<Accuracy> {
        Some(self.find(op.kind.name())?.accuracy)
    }

    /// Whether an op, or one in its blocks, gives other results in each run, whatever its operands are.
    pub(crate) fn is_random(&self, op: &Op) -> bool {
        let is_random = |op: &Op| self.accuracy(op) == Some(Accuracy::Random);
        is_random(op) || op.inner_ops().any(is_random)
    }

    /// Whether an op may be computed although Paddle would not, as [`OpDef::is_speculatable`] has it.
    pub(crate) fn is_speculatable(&self, op: &Op) -> bool {
        let def = self.find(op.kind.name());
        def.is_some_and(|def| def.is_speculatable)
    }

    /// Whether an op chooses among boxes, as [`OpDef::chooses_boxes`] has it.
    pub(crate) fn chooses_boxes(&self, op: &Op) -> bool {
        let def = self.find(op.kind.name());
        def.is_some_and(|def| def.chooses_boxes)
    }

    /// The channels of an op that is the product of its first operand and a weight, as [`OpDef::channels`] has it.
    pub(crate) fn channels(&self, op: &Op) -> Option<Channels> {
        self.find(op.kind.name())?.channels
    }

    /// Reads the operands and attributes of an op, and of those in its blocks.
    ///
    /// # Errors
    /// When it has no definition, or is not what its definition expects.
    pub(crate) fn parse(&self, op: &Op) -> Result<ParsedOp> {
        let parse = || {
            if let OpKind::Unknown(name) = &op.kind
                && let Some(custom) = self.custom_op(name)
            {
                let operator = Box::new(PassThrough::parse(op, custom)?);
                return Ok(ParsedOp {
                    def: None,
                    behaviour: Behaviour::Plain(operator),
                    blocks: Vec::new(),
                });
            }
            if let OpKind::Refused { reason, .. } = &op.kind {
                return Err(Error::unsupported(reason));
            }
            let def = self.find(op.kind.name());
            let def = def.ok_or_else(|| self.not_supported(op))?;
            let mut reader = OpReader::new(op, def.operands);
            let behaviour = match def.parse {
                Reading::Plain(parse) => Behaviour::Plain(parse(&mut reader)?),
                Reading::Control(parse) => Behaviour::Control(parse(&mut reader)?),
            };
            reader.finish()?;
            let inner = op.blocks.iter();
            let inner = inner.map(|block| block.ops.iter().map(|op| self.parse(op)).collect());
            Ok(ParsedOp {
                def: Some(def),
                behaviour,
                blocks: inner.collect::<Result<_>>()?,
            })
        };
        parse().map_err(|e: Error| e.at_op(&op.source))
    }

    /// Why an op without a definition can't be read, and what helps.
    fn not_supported(&self, op: &Op) -> Error {
        let name = op.kind.name();
        if let Some(reason) = self.refusal(name) {
            return Error::unsupported(format!("not supported: it {reason}"));
        }
        if !op.blocks.is_empty() {
            return Error::unsupported("not supported");
        }
        Error::unsupported(format!("not supported; {}", CustomOp::hint(name)))
    }
}

/// The error for an op that is added twice.
fn twice(name: &str) -> Error {
    Error::invalid(format!("two definitions of the op `{name}`"))
}

impl Definitions {
    /// The definition that an op has, by any of its names.
    fn known(&self, name: &str) -> Option<&'static OpDef> {
        let spelled = self.legacy.get(name).or_else(|| self.pir.get(name));
        let named = || self.by_name.get(name).copied();
        spelled.map(|(def, _)| *def).or_else(named)
    }

    fn add(&mut self, def: &'static OpDef) -> Result<()> {
        if self.by_name.insert(def.name, def).is_some() {
            return Err(twice(def.name));
        }
        for (known, forms) in [(&mut self.legacy, def.legacy), (&mut self.pir, def.pir)] {
            for form in forms {
                for name in form.names {
                    if known.insert(name, (def, form)).is_some() {
                        return Err(twice(name));
                    }
                }
            }
        }
        self.all.push(def);
        Ok(())
    }
}
