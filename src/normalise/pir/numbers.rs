//! What the numbers in a PIR program stand for.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::program::ValueId;

/// What a number stands for.
#[derive(Debug)]
pub(super) enum Numbered {
    One(ValueId),
    List(Vec<ValueId>),
    /// Nothing that an op can read here, and why: it completes "reads value 7, …".
    Nothing(String),
}

/// The numbers that are defined so far.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    values: HashMap<i64, Numbered>,
    /// For each sub-block that is being read, the numbers that it has defined.
    scopes: Vec<Vec<i64>>,
}

impl Numbers {
    /// Says what a number stands for; 0 is the number of absent results.
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
            scope.push(number);
        }
        Ok(())
    }

    /// Makes a number stand for the result of the op that overwrites it. Paddle has both in the
    /// same memory, so that who reads the number later gets the result.
    pub fn overwrite(&mut self, number: i64, value: ValueId) {
        if let Some(old) = self.values.get_mut(&number) {
            *old = Numbered::One(value);
        }
    }

    /// The values behind an operand; none if it is absent.
    ///
    /// # Errors
    /// When nothing has defined the number, or nothing here computes it.
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
            None => Err(Error::malformed(format!(
                "reads value {number}, which nothing before it defines"
            ))),
        }
    }

    /// The one tensor behind an operand.
    pub fn read_one(&self, number: i64) -> Result<ValueId> {
        match self.read(number)?.as_slice() {
            [id] => Ok(*id),
            other => Err(Error::malformed(format!(
                "value {number} holds {} tensors where 1 was expected",
                other.len()
            ))),
        }
    }

    /// The values behind an operand that is only shown: none as well if nothing here computes it.
    pub fn peek(&self, number: i64) -> Result<Vec<ValueId>> {
        match self.values.get(&number) {
            Some(Numbered::Nothing(_)) => Ok(Vec::new()),
            _ => self.read(number),
        }
    }

    pub fn open_scope(&mut self) {
        self.scopes.push(Vec::new());
    }

    pub fn close_scope(&mut self) {
        for number in self.scopes.pop().unwrap_or_default() {
            let why = "which belongs to a block that has ended".to_owned();
            self.values.insert(number, Numbered::Nothing(why));
        }
    }
}
