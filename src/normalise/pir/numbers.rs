//! What the numbers of values in a PIR program stand for: values of the [`Program`](crate::program::Program).

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::error::{Error, Result};
use crate::program::ValueId;

/// What a number stands for.
#[derive(Debug)]
pub(super) enum Numbered {
    /// A tensor.
    One(ValueId),
    /// A list of tensors.
    List(Vec<ValueId>),
    /// Nothing that an op can read, with the reason, which completes "reads value 7, …".
    Nothing(String),
    /// What a block defined that has ended.
    Gone,
}

/// The numbers that are defined so far.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    values: HashMap<i64, Numbered>,
    /// The blocks of control flow that are being read, the innermost last.
    scopes: Vec<Scope>,
    /// The results of branches and loops, and what these return from outside: numbers that may share memory.
    shared: Vec<[i64; 2]>,
}

/// What a block of control flow has done to numbers.
#[derive(Debug, Default)]
struct Scope {
    defined: HashSet<i64>,
    /// What numbers from outside stood for that it has overwritten.
    overwritten: BTreeMap<i64, Numbered>,
}

impl Numbers {
    /// Says what a number stands for. 0, the number of absent results, is left out.
    ///
    /// # Errors
    /// When it stands for something already.
    pub fn define(&mut self, number: i64, value: Numbered) -> Result<()> {
        if number == 0 {
            return Ok(());
        }
        if self.values.insert(number, value).is_some() {
            return Err(Error::malformed(format!("value {number} is defined twice")));
        }
        if let Some(scope) = self.scopes.last_mut() {
            scope.defined.insert(number);
        }
        Ok(())
    }

    /// Makes a number stand for the result of an op that overwrites it. Paddle has both in the same memory, so that ops
    /// which read the number later get the result. Returns whether other numbers may share this memory: what these hold
    /// then depends on the order in which Paddle runs the ops.
    pub fn overwrite(&mut self, number: i64, value: ValueId) -> bool {
        let Some(current) = self.values.get_mut(&number) else {
            return false;
        };
        let old = std::mem::replace(current, Numbered::One(value));
        if let Some(scope) = self.scopes.last_mut()
            && !scope.defined.contains(&number)
        {
            scope.overwritten.entry(number).or_insert(old);
        }
        !self.sharing(number).is_empty()
    }

    /// Says that a number may share memory with others.
    pub fn share(&mut self, number: i64, others: &[i64]) {
        self.shared
            .extend(others.iter().map(|other| [number, *other]));
    }

    /// The numbers that may share the memory of this one and that can be read.
    fn sharing(&self, number: i64) -> Vec<i64> {
        let pairs = self.shared.iter();
        let others = pairs.filter_map(|pair| match *pair {
            [one, other] | [other, one] if one == number => Some(other),
            _ => None,
        });
        let is_there = |other: &i64| matches!(self.values.get(other), Some(Numbered::One(_)));
        others.filter(is_there).collect()
    }

    /// Of a number and those that may share its memory, the ones from outside of the innermost block.
    pub fn outside_of_block(&self, number: i64) -> Vec<i64> {
        let all = std::iter::once(number).chain(self.sharing(number));
        let scope = self.scopes.last();
        all.filter(|number| scope.is_some_and(|scope| !scope.defined.contains(number)))
            .collect()
    }

    /// The values of an operand, by its number. Empty if the operand is absent (0).
    ///
    /// # Errors
    /// When the number is not defined, or no longer, or stands for nothing that can be read.
    pub fn read(&self, number: i64) -> Result<Vec<ValueId>> {
        if number == 0 {
            return Ok(Vec::new());
        }
        match self.values.get(&number) {
            Some(Numbered::One(id)) => Ok(vec![*id]),
            Some(Numbered::List(ids)) => Ok(ids.clone()),
            Some(Numbered::Nothing(why)) => {
                Err(Error::unsupported(format!("reads value {number}, {why}")))
            }
            Some(Numbered::Gone) => Err(Error::malformed(format!(
                "reads value {number}, which belongs to a block that has ended"
            ))),
            None => Err(Error::malformed(format!(
                "reads value {number}, which nothing before it defines"
            ))),
        }
    }

    /// The value of an operand that is one tensor.
    ///
    /// # Errors
    /// Those of [`Numbers::read`], and when the operand is absent or a list of other than one tensor.
    pub fn read_one(&self, number: i64) -> Result<ValueId> {
        match self.read(number)?.as_slice() {
            [id] => Ok(*id),
            other => Err(Error::malformed(format!(
                "value {number} holds {} tensors where 1 was expected",
                other.len()
            ))),
        }
    }

    /// What a number stands for, for a result that stands for the same.
    ///
    /// # Errors
    /// When the number is not defined.
    pub fn numbered(&self, number: i64) -> Result<Numbered> {
        match self.values.get(&number) {
            Some(Numbered::Nothing(why)) => Ok(Numbered::Nothing(why.clone())),
            _ => self.read_one(number).map(Numbered::One),
        }
    }

    /// The values of an operand of an op that is kept but not computed. Unlike in [`Numbers::read`], a number that
    /// stands for nothing that can be read gives no values.
    ///
    /// # Errors
    /// When the number is not defined.
    pub fn peek(&self, number: i64) -> Result<Vec<ValueId>> {
        match self.values.get(&number) {
            Some(Numbered::Nothing(_) | Numbered::Gone) => Ok(Vec::new()),
            _ => self.read(number),
        }
    }

    /// Starts a block of control flow.
    pub fn open_scope(&mut self) {
        self.scopes.push(Scope::default());
    }

    /// Ends a block of control flow. Numbers that it has defined can't be read from then on. Returns those from outside
    /// that it has overwritten, with what they stood for in the end; from then on they stand for what they did before.
    pub fn close_scope(&mut self) -> BTreeMap<i64, ValueId> {
        let scope = self.scopes.pop().unwrap_or_default();
        for number in scope.defined {
            self.values.insert(number, Numbered::Gone);
        }
        let mut overwritten = BTreeMap::new();
        for (number, old) in scope.overwritten {
            if let Some(Numbered::One(value)) = self.values.insert(number, old) {
                overwritten.insert(number, value);
            }
        }
        overwritten
    }
}
