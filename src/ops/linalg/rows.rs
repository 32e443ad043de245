//! Eliminations, which take one row or column of matrices after the other: as many nodes for each of few, and a Loop over
//! more.

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::program::Fact;
use crate::tensor::{DType, Dim, Tensor};

/// Of more rows, the nodes stand in a Loop.
const MOST: usize = 16;

/// The place of a row or a column: known, or a scalar of int64 that Loop counts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Known(usize),
    Counted(TensorId),
}

impl Place {
    /// Emits the place as a scalar of int64.
    pub fn number(self, g: &mut Lowering<'_>) -> TensorId {
        match self {
            Place::Known(at) => g.constant(Tensor::scalar(at as i64)),
            Place::Counted(at) => at,
        }
    }

    /// Emits Slice or Gather: the row (axis -2) or the column (-1) at this place, whose axis stays with extent 1.
    pub fn line(self, g: &mut Lowering<'_>, x: TensorId, axis: i64) -> TensorId {
        match self {
            Place::Known(at) => g.slice(x, at as i64, at as i64 + 1, axis),
            Place::Counted(at) => {
                let at = g.unsqueeze(at, &[0]);
                g.node("Gather", &[x, at], [("axis", NodeAttr::Int(axis))])
            }
        }
    }
}

/// Which rows are meant, as seen from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Itself,
    ItselfAndBelow,
    Below,
}

/// The rows of matrices.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    /// Their number.
    known: Option<usize>,
    /// It, as an int64 vector of one element.
    pub count: TensorId,
    /// Their positions, as a column of int64.
    pub positions: TensorId,
    /// The number of axes of the matrices.
    rank: usize,
}

/// A step of an elimination: makes the states behind it of those before it.
pub(super) type Step<'s> =
    dyn FnMut(&mut Lowering<'_>, Place, &[TensorId]) -> Result<Vec<TensorId>> + 's;

/// A step that makes the state behind it, and gives a row or a column.
pub(super) type GivingStep<'s> =
    dyn FnMut(&mut Lowering<'_>, Place, TensorId) -> Result<(TensorId, TensorId)> + 's;

/// What a step makes: the states behind it, and the row or column that it gives, if any.
type Made = (Vec<TensorId>, Option<TensorId>);

type AnyStep<'s> = dyn FnMut(&mut Lowering<'_>, Place, &[TensorId]) -> Result<Made> + 's;

impl Rows {
    /// The rows of matrices `x`, of which there are this many.
    pub fn of(g: &mut Lowering<'_>, x: TensorId, known: Option<usize>, rank: usize) -> Self {
        let count = match known {
            Some(known) => g.vector(&[known as i64]),
            None => g.shape_slice(x, rank as i64 - 2, rank as i64 - 1),
        };
        let positions = g.positions(count, known.map(|known| known as i64));
        let positions = g.unsqueeze(positions, &[1]);
        Self {
            known,
            count,
            positions,
            rank,
        }
    }

    /// Emits a column of bools, `[rows, 1]`, that hold for these rows.
    pub fn column(&self, g: &mut Lowering<'_>, which: Which, place: Place) -> TensorId {
        let at = place.number(g);
        match which {
            Which::Itself => g.node("Equal", &[self.positions, at], []),
            Which::Below => g.node("Less", &[at, self.positions], []),
            Which::ItselfAndBelow => {
                let is_above = g.node("Less", &[self.positions, at], []);
                g.node("Not", &[is_above], [])
            }
        }
    }

    /// Emits `step` for each row or, if `steps` are fewer, for as many. It gets the place and the float64 states before
    /// it. Returns the states behind the last step.
    ///
    /// # Errors
    /// Those of `step`.
    pub fn each(
        &self,
        g: &mut Lowering<'_>,
        steps: Option<usize>,
        states: Vec<TensorId>,
        step: &mut Step<'_>,
    ) -> Result<Vec<TensorId>> {
        let steps = steps.or(self.known);
        let made = self.walk(g, (steps, false), states, &mut |g, place, states| {
            Ok((step(g, place, states)?, None))
        });
        Ok(made?.0)
    }

    /// Emits `step` for each row, from the last to the first if it `is_backward`, as [`Rows::each`] does. Returns what
    /// the steps give, in the order of the rows, joined along `axis`: rows along -2, columns along -1.
    ///
    /// # Errors
    /// Those of `step`, and when it gives nothing.
    pub fn collect(
        &self,
        g: &mut Lowering<'_>,
        is_backward: bool,
        axis: i64,
        state: TensorId,
        step: &mut GivingStep<'_>,
    ) -> Result<TensorId> {
        let steps = (self.known, is_backward);
        let (_, mut given) = self.walk(g, steps, vec![state], &mut |g, place, states| {
            let (state, given) = step(g, place, states[0])?;
            Ok((vec![state], Some(given)))
        })?;
        if self.is_unrolled(self.known) {
            if is_backward {
                given.reverse();
            }
            return Ok(g.concat(&given, axis));
        }
        let [mut stacked] = given[..] else {
            return Err(Error::internal("a loop that gives nothing"));
        };
        if is_backward {
            let vectors = [-1, i64::MIN, 0, -1].map(|element| g.vector(&[element]));
            stacked = g.node("Slice", &[&[stacked], &vectors[..]].concat(), []);
        }
        let lines = g.squeeze(stacked, &[axis]);
        let mut perm: Vec<usize> = (1..self.rank).collect();
        let at = if axis == -1 {
            perm.len()
        } else {
            perm.len() - 1
        };
        perm.insert(at, 0);
        Ok(g.transpose(lines, &perm))
    }

    fn is_unrolled(&self, steps: Option<usize>) -> bool {
        steps.is_some_and(|steps| steps <= MOST)
    }

    /// The states behind the last step, and what was given: by each step, or by all along a new first axis.
    fn walk(
        &self,
        g: &mut Lowering<'_>,
        (steps, is_backward): (Option<usize>, bool),
        mut states: Vec<TensorId>,
        step: &mut AnyStep<'_>,
    ) -> Result<(Vec<TensorId>, Vec<TensorId>)> {
        let mut given = Vec::new();
        if let Some(steps) = steps.filter(|steps| *steps <= MOST) {
            for number in 0..steps {
                let at = if is_backward {
                    steps - 1 - number
                } else {
                    number
                };
                let (next, gives) = step(g, Place::Known(at), &states)?;
                states = next;
                given.extend(gives);
            }
            return Ok((states, given));
        }
        let count = match steps {
            Some(steps) => g.constant(Tensor::scalar(steps as i64)),
            None => g.squeeze(self.count, &[0]),
        };
        let mut gives = 0;
        let body = g.body(2 + states.len(), |g, inputs| {
            let [number, _, states @ ..] = inputs else {
                return Err(Error::internal("a body without inputs"));
            };
            let mut at = *number;
            if is_backward {
                let one = g.constant(Tensor::scalar(1_i64));
                let last = g.node("Sub", &[count, one], []);
                at = g.node("Sub", &[last, at], []);
            }
            let goes_on = g.constant(Tensor::scalar(true));
            let (next, given) = step(g, Place::Counted(at), states)?;
            gives = usize::from(given.is_some());
            Ok(std::iter::once(goes_on).chain(next).chain(given).collect())
        })?;
        let scalars = [DType::I64, DType::Bool].map(|dtype| Fact::new(dtype, Vec::new()));
        let state = Fact::new(DType::F64, vec![Dim::Unknown; self.rank]);
        let carried = std::iter::repeat_n(state, states.len());
        let body = body.given(scalars.into_iter().chain(carried).collect());
        let mut inputs = vec![Some(count), None];
        inputs.extend(states.iter().copied().map(Some));
        let attrs = [("body", NodeAttr::Graph(body))];
        let mut outputs = g.node_with_outputs("Loop", inputs, attrs, states.len() + gives);
        let given = outputs.split_off(states.len());
        Ok((outputs, given))
    }
}
