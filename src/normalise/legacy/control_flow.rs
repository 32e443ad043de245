//! Branches and loops of a `ProgramDesc` → `if` and `while`, whose blocks return what they write.
//!
//! A block of a `ProgramDesc` overwrites variables of the blocks around it. Those that the block of a `while` writes are
//! carried from round to round, from the value that they have before. Those that a `conditional_block` writes have their
//! earlier value in the other branch. Often there is none: two such blocks, of a condition and of its opposite, write
//! different variables, and `select_input` takes one of both. So a branch is held back until something reads what it
//! writes, and `select_input` may give it its other branch until then.
//!
//! Refuses conditions that are several tensors or no scalar, and ops that read what a branch alone has written.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::blocks::{ops_in, variables, written_by};
use super::desc::{BlockDesc, OpDesc};
use super::{Reader, Scope, arguments, attrs};
use crate::error::{Error, ErrorKind, Result};
use crate::operator::OpDef;
use crate::program::{Attr, Block, Declared, Draft, OpKind, Operand, Source, ValueId};
use crate::proto::framework::op_desc::Slot;
use crate::tensor::DType;

/// An `if` that is not part of the program yet.
pub(super) struct Held {
    condition: ValueId,
    then: Side,
    otherwise: Side,
    /// The variables that it writes.
    writes: Vec<Write>,
    source: Source,
}

/// One of the blocks of an `if`, and the values in it of the variables that it alone writes.
#[derive(Default)]
struct Side {
    block: Block,
    own: HashMap<String, ValueId>,
}

/// A variable that an `if` writes, and its value in both branches.
struct Write {
    name: String,
    then: ValueId,
    otherwise: ValueId,
}

/// A block that was read, and what its variables stand for in the end.
struct Body {
    block: Block,
    scope: Scope,
    /// The variables from around it that it writes, in alphabetical order, with their values.
    writes: Vec<(String, ValueId)>,
}

/// A `while` whose block is still to be read.
struct Loop {
    condition: String,
    initial_condition: ValueId,
    /// The variables that are carried from round to round, and their values before the first.
    carried: Vec<String>,
    initial: Vec<ValueId>,
    /// The variables without a value before the loop that its rounds write.
    others: Vec<String>,
}

impl<'a> Reader<'a> {
    /// Reads an op that holds a block, or takes the result of one of two.
    pub(super) fn control_flow(
        &mut self,
        number: usize,
        op: &OpDesc,
        def: &'static OpDef,
    ) -> Result<()> {
        let read = match op.r#type.as_str() {
            "select_input" => self.select(op),
            "while" => {
                self.settle_for(op)?;
                match self.repetition(number, op) {
                    Ok(repetition) => return self.repeat(number, op, def, repetition),
                    Err(e) => Err(e),
                }
            }
            _ => {
                let condition = arguments(&op.inputs, "Cond");
                self.settle(&|name| condition.iter().any(|condition| condition == name))?;
                match self.condition(op) {
                    Ok(condition) => return self.branch(number, op, condition),
                    Err(e) => Err(e),
                }
            }
        };
        match read {
            Err(e) if e.kind() == ErrorKind::Unsupported => {
                let (name, reason) = (def.name, e.message().to_owned());
                self.keep(number, op, OpKind::Refused { name, reason })
            }
            done => done,
        }
    }

    /// The condition of a `conditional_block`.
    fn condition(&self, op: &OpDesc) -> Result<ValueId> {
        let is_scalar = attrs::decode(op)?.remove("is_scalar_condition");
        if is_scalar != Some(Attr::Bool(true)) {
            return Err(Error::unsupported(
                "its condition is no scalar, but whether tensors have elements",
            ));
        }
        self.scope.read(only(&op.inputs, "Cond")?)
    }

    /// Holds back a `conditional_block`: as the other branch of one that is held back, if its condition is the opposite,
    /// and otherwise as a branch of its own. What the one branch writes can't be seen in the other.
    fn branch(&mut self, number: usize, op: &OpDesc, condition: ValueId) -> Result<()> {
        let opposite = self.position_of(
            |held| held.otherwise.is_empty(),
            |reader, other| reader.are_opposites(condition, other),
        );
        let other = opposite.map(|position| self.held.remove(position));
        self.settle_for(op)?;
        let body = self.body(number, op, &[])?;
        let mut side = Side {
            block: body.block,
            own: HashMap::new(),
        };
        let mut writes = Vec::new();
        for (name, value) in body.writes {
            match self.scope.current.get(&name) {
                Some(earlier) => writes.push(Write {
                    name,
                    then: value,
                    otherwise: *earlier,
                }),
                None => {
                    side.own.insert(name, value);
                }
            }
        }
        self.held.push(match other {
            Some(other) => other.joined(side, writes),
            None => Held {
                condition,
                then: side,
                otherwise: Side::default(),
                writes,
                source: self.builder.source.clone(),
            },
        });
        Ok(())
    }

    /// The position of the branch that is held back, for which this holds, and this of its condition.
    fn position_of(
        &mut self,
        is_it: impl Fn(&Held) -> bool,
        is_condition: impl Fn(&mut Self, ValueId) -> bool,
    ) -> Option<usize> {
        let candidates = self.held.iter().enumerate();
        let candidates = candidates.filter(|(_, held)| is_it(held));
        let candidates: Vec<(usize, ValueId)> = candidates
            .map(|(position, held)| (position, held.condition))
            .collect();
        let mut candidates = candidates.into_iter();
        let found = candidates.find(|(_, condition)| is_condition(self, *condition));
        found.map(|(position, _)| position)
    }

    /// Whether one of two conditions is made of the other, by `logical_not`.
    fn are_opposites(&mut self, a: ValueId, b: ValueId) -> bool {
        self.made_by("logical_not", a) == Some(b) || self.made_by("logical_not", b) == Some(a)
    }

    /// Reads `select_input`, which takes its first operand where the mask is 0, and the second where it is 1.
    fn select(&mut self, op: &OpDesc) -> Result<()> {
        let [otherwise, then] = arguments(&op.inputs, "X") else {
            return Err(Error::unsupported("takes one of other than two tensors"));
        };
        let name = only(&op.outputs, "Out")?.to_owned();
        self.declared(&name)?;
        let condition = self.mask(op)?;
        let mut held = self.joined(condition, then, otherwise);
        let then = self.side_value(
            then,
            held.value(then, |held| &held.then, |write| write.then),
        );
        let otherwise_value =
            held.value(otherwise, |held| &held.otherwise, |write| write.otherwise);
        let otherwise = self.side_value(otherwise, otherwise_value);
        let both = then.and_then(|then| Ok((then, otherwise?)));
        if let Ok((then, otherwise)) = both {
            held.writes.push(Write {
                name,
                then,
                otherwise,
            });
        }
        self.held.push(held);
        both.map(|_| ())
    }

    /// The bool that a mask was made from, or is converted to.
    fn mask(&mut self, op: &OpDesc) -> Result<ValueId> {
        let mask = self.scope.read(only(&op.inputs, "Mask")?)?;
        if let Some(condition) = self.made_by("cast", mask)
            && self.builder.dtype(condition) == DType::Bool
        {
            return Ok(condition);
        }
        let dtype = ("dtype".to_owned(), Attr::Int(DType::Bool.paddle_code()));
        let ty = (DType::Bool, self.builder.shape(mask).to_vec());
        Ok(self
            .builder
            .insert("cast", vec![Operand::One(mask)], [dtype].into(), ty))
    }

    /// The first operand of the op that makes a value, if that is of this kind.
    fn made_by(&mut self, kind: &str, value: ValueId) -> Option<ValueId> {
        let mut ops = self.builder.open_ops().iter().rev();
        let op = ops.find(|op| op.results.contains(&value))?;
        let is_it = matches!(op.kind, OpKind::Known(name) if name == kind);
        let operand = op.operands.first().filter(|_| is_it)?;
        operand.values().first().copied()
    }

    /// The branch that is held back and writes these variables, or one of them, on the sides where they are due. If there
    /// is none, one without ops.
    fn joined(&mut self, condition: ValueId, then: &str, otherwise: &str) -> Held {
        let is_whole = |held: &Held| {
            let own = held.then.writes(then) || held.otherwise.writes(otherwise);
            own || held.writes(then) || held.writes(otherwise)
        };
        let whole = self.position_of(is_whole, |_, other| other == condition);
        if let Some(position) = whole {
            return self.held.remove(position);
        }
        let is_turned = |held: &Held| {
            let own = held.then.writes(otherwise) || held.otherwise.writes(then);
            own || held.writes(then) || held.writes(otherwise)
        };
        let turned = self.position_of(is_turned, |reader, other| {
            reader.are_opposites(condition, other)
        });
        match turned {
            Some(position) => self.held.remove(position).turned(condition),
            None => Held {
                condition,
                then: Side::default(),
                otherwise: Side::default(),
                writes: Vec::new(),
                source: self.builder.source.clone(),
            },
        }
    }

    /// What a variable stands for at the end of a branch, which may have written it.
    fn side_value(&mut self, name: &str, written: Option<ValueId>) -> Result<ValueId> {
        if let Some(value) = written {
            return Ok(value);
        }
        self.settle(&|held| held == name)?;
        self.scope.read(name)
    }

    /// Emits the branches that are held back and write a variable that `is_due`.
    pub(super) fn settle(&mut self, is_due: &dyn Fn(&str) -> bool) -> Result<()> {
        let mut position = 0;
        while let Some(held) = self.held.get(position) {
            let own = held.then.own.keys().chain(held.otherwise.own.keys());
            let mut names = held.writes.iter().map(|write| &write.name).chain(own);
            if names.any(|name| is_due(name)) {
                let held = self.held.remove(position);
                self.emit_held(held)?;
            } else {
                position += 1;
            }
        }
        Ok(())
    }

    /// Emits the branches that are held back and write what an op reads or writes, or the ops in its blocks.
    pub(super) fn settle_for(&mut self, op: &OpDesc) -> Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let blocks = self.blocks;
        let mut names = HashSet::new();
        for number in attrs::blocks(op).filter_map(|number| usize::try_from(number).ok()) {
            names.extend(ops_in(blocks, number).flat_map(variables));
        }
        let own: HashSet<&str> = variables(op).collect();
        self.settle(&|name| own.contains(name) || names.contains(name))
    }

    fn emit_held(&mut self, held: Held) -> Result<()> {
        let Held {
            condition,
            mut then,
            mut otherwise,
            writes,
            source,
        } = held;
        for (side, opposite) in [(&then, &otherwise), (&otherwise, &then)] {
            for name in side.own.keys() {
                if !opposite.own.contains_key(name) {
                    let why = format!("which only one branch of {source} writes");
                    self.scope.mark_not_computed(name, why);
                }
            }
        }
        if writes.is_empty() {
            return Ok(());
        }
        then.block.results = writes.iter().map(|write| write.then).collect();
        otherwise.block.results = writes.iter().map(|write| write.otherwise).collect();
        let names: Vec<String> = writes.into_iter().map(|write| write.name).collect();
        let operands = vec![Operand::One(condition)];
        let blocks = vec![then.block, otherwise.block];
        self.emit_control("if", operands, names, blocks, source)
    }

    /// Emits an op with blocks that writes these variables.
    fn emit_control(
        &mut self,
        name: &'static str,
        operands: Vec<Operand>,
        names: Vec<String>,
        blocks: Vec<Block>,
        source: Source,
    ) -> Result<()> {
        let results = names.iter().map(|name| self.declared(name));
        let draft = Draft {
            kind: OpKind::Known(name),
            operands,
            results: results.collect::<Result<Vec<Declared>>>()?,
            attrs: BTreeMap::new(),
        };
        let present = std::mem::replace(&mut self.builder.source, source);
        let values = self.builder.emit_with_blocks(draft, blocks);
        self.builder.source = present;
        self.scope.write(names, values);
        Ok(())
    }

    /// Reads what a `while` carries.
    fn repetition(&self, number: usize, op: &OpDesc) -> Result<Loop> {
        let condition = only(&op.inputs, "Condition")?.to_owned();
        let (inner, _) = self.only_block(number, op)?;
        let written = written_by(self.blocks, inner).into_iter();
        let (carried, others): (Vec<&str>, Vec<&str>) =
            written.partition(|name| self.scope.current.contains_key(*name));
        let initial = carried.iter().map(|name| self.scope.read(name));
        let own = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        Ok(Loop {
            initial_condition: self.scope.read(&condition)?,
            condition,
            initial: initial.collect::<Result<_>>()?,
            carried: own(carried),
            others: own(others),
        })
    }

    /// Reads a `while`.
    fn repeat(
        &mut self,
        number: usize,
        op: &OpDesc,
        def: &'static OpDef,
        repetition: Loop,
    ) -> Result<()> {
        let source = self.builder.source.clone();
        let Loop {
            condition,
            carried,
            initial,
            ..
        } = repetition;
        let body = self.body(number, op, &carried)?;
        if !carried.contains(&condition) {
            return Err(Error::malformed(
                "no round writes its condition, so it would never end",
            ));
        }
        for name in repetition.others {
            let why = format!("which only the rounds of {source} write");
            self.scope.mark_not_computed(&name, why);
        }
        let mut block = body.block;
        let results = [&condition].into_iter().chain(&carried);
        let results = results.map(|name| body.scope.read(name));
        match results.collect::<Result<_>>() {
            Ok(results) => block.results = results,
            // An op in the block writes it, and is not supported.
            Err(e) if e.kind() == ErrorKind::Unsupported => {
                let (name, reason) = (def.name, e.message().to_owned());
                return self.emit_refused(OpKind::Refused { name, reason }, &carried, block);
            }
            Err(e) => return Err(e),
        }
        let operands = vec![
            Operand::One(repetition.initial_condition),
            Operand::Many(initial),
        ];
        self.emit_control(def.name, operands, carried, vec![block], source)
    }

    /// Keeps a loop that can't be read, with its block.
    fn emit_refused(&mut self, kind: OpKind, carried: &[String], block: Block) -> Result<()> {
        for name in carried {
            let why = format!("which {} writes: not supported", self.builder.source);
            self.scope.mark_not_computed(name, why);
        }
        let draft = Draft {
            kind,
            operands: Vec::new(),
            results: Vec::new(),
            attrs: BTreeMap::new(),
        };
        self.builder.emit_with_blocks(draft, vec![block]);
        Ok(())
    }

    /// Emits the lists of tensors that the present block declares. Until an op writes to one, it is empty.
    pub(super) fn define_lists(&mut self) -> Result<()> {
        let Some(def) = self.registry.find("create_array") else {
            return Ok(());
        };
        for name in self.variables.lists() {
            let draft = Draft {
                kind: OpKind::Known(def.name),
                operands: Vec::new(),
                results: vec![self.declared(name)?],
                attrs: BTreeMap::new(),
            };
            let values = self.builder.emit(draft);
            self.scope.write(vec![name.to_owned()], values);
        }
        Ok(())
    }

    /// The only block that an op holds, and its number.
    fn only_block(&self, outer: usize, op: &OpDesc) -> Result<(usize, &'a BlockDesc)> {
        let mut numbers = attrs::blocks(op);
        match (numbers.next(), numbers.next()) {
            (Some(number), None) => self.numbered_block(outer, number),
            _ => Err(Error::malformed("holds other than one block")),
        }
    }

    /// Reads the block of an op, in which the `carried` variables stand for its arguments.
    fn body(&mut self, outer: usize, op: &OpDesc, carried: &[String]) -> Result<Body> {
        let (number, block) = self.only_block(outer, op)?;
        self.enter_block(number)?;
        let source = self.builder.source.clone();
        let outside = self.scope.clone();
        let held = std::mem::take(&mut self.held);
        let arguments = carried.iter().map(|name| self.declared(name));
        let arguments = arguments.collect::<Result<_>>()?;
        self.variables.enter(block)?;
        let own: HashSet<&str> = block.vars.iter().map(|var| var.name.as_str()).collect();
        let block = self.ops_of_block(number, block, arguments)?;
        self.variables.leave();
        let scope = std::mem::replace(&mut self.scope, outside);
        self.held = held;
        self.builder.source = source;
        for (name, why) in &scope.not_computed {
            if !own.contains(name.as_str()) && !self.scope.not_computed.contains_key(name) {
                self.scope.mark_not_computed(name, why.clone());
            }
        }
        let outer = &self.scope.current;
        let written = scope.current.iter().filter(|(name, value)| {
            !own.contains(name.as_str()) && outer.get(*name) != Some(value)
        });
        let written = written.map(|(name, value)| (name.clone(), *value));
        let mut writes: Vec<(String, ValueId)> = written.collect();
        writes.sort_unstable();
        Ok(Body {
            block,
            scope,
            writes,
        })
    }
}

impl Held {
    /// The same, with a block for the other side, which writes these variables.
    fn joined(mut self, side: Side, writes: Vec<Write>) -> Self {
        self.otherwise = side;
        for write in writes {
            match self
                .writes
                .iter_mut()
                .find(|known| known.name == write.name)
            {
                Some(known) => known.otherwise = write.then,
                None => self.writes.push(Write {
                    name: write.name,
                    then: write.otherwise,
                    otherwise: write.then,
                }),
            }
        }
        // Variables without an earlier value that both write have one on either side.
        let both: Vec<String> = self.then.own.keys().cloned().collect();
        for name in both {
            if let (Some(then), Some(otherwise)) =
                (self.then.own.get(&name), self.otherwise.own.get(&name))
            {
                self.writes.push(Write {
                    name,
                    then: *then,
                    otherwise: *otherwise,
                });
            }
        }
        self.writes.sort_by(|a, b| a.name.cmp(&b.name));
        self
    }

    /// Whether either block writes a variable that has a value without it.
    fn writes(&self, name: &str) -> bool {
        self.writes.iter().any(|write| write.name == name)
    }

    /// The value of a variable at the end of one of the blocks, if either writes it.
    fn value(
        &self,
        name: &str,
        side: impl Fn(&Self) -> &Side,
        value: impl Fn(&Write) -> ValueId,
    ) -> Option<ValueId> {
        let own = side(self).own.get(name).copied();
        let write = self.writes.iter().find(|write| write.name == name);
        own.or_else(|| write.map(value))
    }

    /// The same `if`, by the opposite condition.
    fn turned(self, condition: ValueId) -> Self {
        let writes = self.writes.into_iter().map(|write| Write {
            name: write.name,
            then: write.otherwise,
            otherwise: write.then,
        });
        Self {
            condition,
            then: self.otherwise,
            otherwise: self.then,
            writes: writes.collect(),
            source: self.source,
        }
    }
}

impl Side {
    fn is_empty(&self) -> bool {
        self.block.ops.is_empty() && self.own.is_empty()
    }

    /// Whether this block alone writes a variable.
    fn writes(&self, name: &str) -> bool {
        self.own.contains_key(name)
    }
}

/// The only variable in a slot of an op.
fn only<'o>(slots: &'o [Slot], slot: &str) -> Result<&'o str> {
    match arguments(slots, slot) {
        [name] => Ok(name),
        names => Err(Error::malformed(format!(
            "`{slot}` holds {} variables where 1 was expected",
            names.len()
        ))),
    }
}
