//! The shapes of random inputs, run by run: those that were asked for, batch sizes, and for extents that remain open
//! sizes that the program accepts.

use super::declared;
use super::random::RandomInputs;
use super::sizes::{Refused, Search};
use crate::analyse;
use crate::error::{Error, Result};
use crate::operator::{ParsedOp, Registry};
use crate::program::{Program, Value};
use crate::tensor::{DType, Dim, allows_shape, display_shape};

/// The shapes of all inputs in one run.
pub(super) struct Shapes {
    /// What people read: shapes as they are written on the command line, or a batch size.
    pub label: String,
    pub shapes: Vec<Vec<usize>>,
    pub notes: Vec<String>,
}

/// What an extent that is open is likely to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Batch,
    Channels,
    Height,
    Width,
    /// Of a sequence, or something else that may be short.
    Length,
}

/// One extent that is open. Axes of several inputs that the program declares to be equal share one.
pub(super) struct Open<'p> {
    dim: &'p Dim,
    pub role: Role,
    /// How many inputs before the first that has it have an extent of the same role.
    pub ordinal: usize,
    /// The extent, if it was asked for: a batch size.
    pub fixed: Option<usize>,
}

/// The shapes of all inputs, in which some extents are open.
pub(super) struct Template<'p> {
    shapes: Vec<Vec<Extent>>,
    pub open: Vec<Open<'p>>,
}

#[derive(Clone, Copy)]
enum Extent {
    Known(usize),
    /// The position in [`Template::open`].
    Open(usize),
}

/// The shapes of all runs.
///
/// # Errors
/// When a shape that was asked for does not fit, or there are open extents for which the program takes nothing that
/// was tried.
pub(super) fn runs(
    program: &Program,
    registry: &Registry,
    wish: &RandomInputs,
) -> Result<Vec<Shapes>> {
    let inputs = declared(program);
    let given = given_shapes(&inputs, wish)?;
    // A program whose ops can't be read takes no sizes; the error shows when it is run.
    let ops = analyse::resolve(program, registry).unwrap_or_default();
    let mut runs = Vec::new();
    for shapes in &given {
        let template = Template::of(&inputs, shapes);
        let planner = Planner {
            inputs: &inputs,
            given: shapes,
            template,
            sizes: if given.len() > 1 {
                1
            } else {
                wish.sizes.max(1)
            },
        };
        let takes_batch = planner.takes_batch();
        let mut planned = planner.runs(program, &ops, &wish.batches)?;
        if let Some(first) = planned.first_mut()
            && !takes_batch
            && !wish.batches.is_empty()
        {
            first.notes.push(NO_BATCH.to_owned());
        }
        runs.extend(planned);
    }
    Ok(runs)
}

/// The runs for one set of given shapes.
struct Planner<'a> {
    inputs: &'a [&'a Value],
    given: &'a [Option<&'a [usize]>],
    template: Template<'a>,
    /// How many sizes to find for what is open beside the batch.
    sizes: usize,
}

impl Planner<'_> {
    fn runs(
        mut self,
        program: &Program,
        ops: &[ParsedOp],
        batches: &[usize],
    ) -> Result<Vec<Shapes>> {
        let given = self.given_batch();
        let batches = if batches.is_empty() {
            given.as_slice()
        } else {
            batches
        };
        let open = &self.template.open;
        let has_batch = self.takes_batch();
        let has_sizes = open.iter().any(|open| open.role != Role::Batch);
        if open.is_empty() {
            return Ok(vec![self.shapes(&[])]);
        }
        if has_batch && !has_sizes && !batches.is_empty() {
            let runs = batches.iter().map(|batch| {
                let extents = vec![*batch; self.template.open.len()];
                self.shapes(&extents)
            });
            return Ok(runs.collect());
        }
        let wished: Vec<Option<usize>> = match batches {
            [] => vec![None; if has_sizes { self.sizes } else { 2 }],
            _ if !has_batch => vec![None; self.sizes],
            [only] => vec![Some(*only); self.sizes],
            several => several.iter().map(|batch| Some(*batch)).collect(),
        };
        let mut runs: Vec<(Vec<usize>, Shapes)> = Vec::new();
        for (position, batch) in wished.iter().enumerate() {
            self.template.fix_batch(*batch);
            let search = Search::new(program, ops, &self.template);
            let extents = match runs.as_slice() {
                [] => search.first().map_err(|e| self.refused(e))?,
                // The sizes take turns.
                earlier if position >= self.sizes && has_sizes => {
                    let (extents, _) = &earlier[position % self.sizes.min(earlier.len())];
                    self.template.with_batch(extents)
                }
                [(first, _), ..] => search.other(first),
            };
            let shapes = self.shapes(&extents);
            if runs.iter().all(|(_, run)| run.shapes != shapes.shapes) {
                runs.push((extents, shapes));
            }
        }
        Ok(runs.into_iter().map(|(_, run)| run).collect())
    }

    /// Whether a batch size makes a difference.
    fn takes_batch(&self) -> bool {
        let mut open = self.template.open.iter();
        open.any(|open| open.role == Role::Batch)
    }

    /// The batch of a shape that was given, which is that of the other inputs as well, unless one was asked for.
    fn given_batch(&self) -> Option<usize> {
        let mut pairs = self.inputs.iter().zip(self.given);
        pairs.find_map(|(value, shape)| {
            let is_open = value.shape.first()?.known().is_none();
            shape.filter(|_| is_open)?.first().copied()
        })
    }

    /// A run with these open extents.
    fn shapes(&self, extents: &[usize]) -> Shapes {
        let shapes = self.template.at(extents);
        Shapes {
            label: self.label(extents, &shapes),
            shapes,
            notes: Vec::new(),
        }
    }

    /// What is not evident: the shapes that were given, those in which an extent was chosen, and the batch if none of
    /// them shows it. If nothing is open, all shapes.
    fn label(&self, extents: &[usize], shapes: &[Vec<usize>]) -> String {
        let open = &self.template.open;
        let batch_of = |position: &usize| open[*position].role == Role::Batch;
        let batches: Vec<usize> = (0..open.len())
            .filter(batch_of)
            .map(|i| extents[i])
            .collect();
        let is_one_batch = batches.windows(2).all(|pair| pair[0] == pair[1]);
        let mut shown = Vec::new();
        let mut shows_batch = batches.is_empty();
        for (position, (value, shape)) in self.inputs.iter().zip(shapes).enumerate() {
            let mut roles = self.template.roles(position);
            let is_chosen = roles.any(|role| role != Role::Batch || !is_one_batch);
            let all = open.is_empty() && self.given.iter().all(Option::is_none);
            if is_chosen || all || self.given[position].is_some() {
                shown.push(shape_label(&value.name, shape));
            }
            shows_batch |= is_chosen
                && self
                    .template
                    .roles(position)
                    .any(|role| role == Role::Batch);
        }
        if !shows_batch {
            shown.extend(batches.first().map(|batch| format!("batch {batch}")));
        }
        shown.join(", ")
    }

    /// The error for open extents for which nothing was found.
    fn refused(&self, refusal: Refused) -> Error {
        let shapes = self.template.at(&refusal.extents);
        let tried = self.label(&refusal.extents, &shapes);
        let named = self.inputs.iter().zip(&shapes).enumerate();
        let named = named.filter(|(position, _)| self.template.roles(*position).next().is_some());
        let options: Vec<String> = named
            .map(|(_, (value, shape))| format!("--shape {}", shape_label(&value.name, shape)))
            .collect();
        let others = match refusal.others {
            0 => String::new(),
            others => format!(", and {others} others are refused as well"),
        };
        let message = format!(
            "no size was found that the model takes: with {tried}, {}{others}; say which it takes, as in {}, or give \
             arrays with --inputs",
            refusal.error.message(),
            options.join(" ")
        );
        let error = Error::invalid(message);
        match &refusal.error.place().op {
            Some(op) => error.at_op(op),
            None => error,
        }
    }
}

/// What is said where batch sizes were asked for in vain.
const NO_BATCH: &str = "--batch has no effect: no input leaves its first extent open";

impl<'p> Template<'p> {
    /// What is open in inputs of which some shapes are given.
    fn of(inputs: &[&'p Value], given: &[Option<&[usize]>]) -> Self {
        let mut bound: Vec<(&Dim, usize)> = Vec::new();
        for (value, shape) in inputs.iter().zip(given) {
            let extents = value.shape.iter().zip(shape.unwrap_or_default());
            let symbols = extents.filter(|(dim, _)| matches!(dim, Dim::Symbol(_)));
            bound.extend(symbols.map(|(dim, extent)| (dim, *extent)));
        }
        let mut template = Self {
            shapes: Vec::with_capacity(inputs.len()),
            open: Vec::new(),
        };
        for (value, shape) in inputs.iter().zip(given) {
            if let Some(shape) = shape {
                let known = shape.iter().map(|extent| Extent::Known(*extent));
                template.shapes.push(known.collect());
                continue;
            }
            let before = template.open.len();
            let extents = value.shape.iter().enumerate().map(|(axis, dim)| {
                let bound = bound.iter().find(|(other, _)| dim.same(other));
                match dim.extent().or(bound.map(|(_, extent)| *extent)) {
                    Some(extent) => Extent::Known(extent),
                    None => Extent::Open(template.place(value, axis, dim, before)),
                }
            });
            let extents = extents.collect();
            template.shapes.push(extents);
        }
        template
    }

    /// The position of an open extent among all. `before` is how many there were before this input.
    fn place(&mut self, value: &Value, axis: usize, dim: &'p Dim, before: usize) -> usize {
        if let Some(known) = self.open.iter().position(|open| dim.same(open.dim)) {
            return known;
        }
        let role = role(value, axis);
        let earlier = self.open[..before].iter();
        self.open.push(Open {
            dim,
            role,
            ordinal: earlier.filter(|open| open.role == role).count(),
            fixed: None,
        });
        self.open.len() - 1
    }

    /// The shapes of all inputs with these open extents.
    pub fn at(&self, extents: &[usize]) -> Vec<Vec<usize>> {
        let extent = |extent: &Extent| match extent {
            Extent::Known(extent) => *extent,
            Extent::Open(position) => extents[*position],
        };
        let shapes = self.shapes.iter();
        shapes
            .map(|shape| shape.iter().map(extent).collect())
            .collect()
    }

    /// The roles of the extents that are open in an input.
    fn roles(&self, input: usize) -> impl Iterator<Item = Role> {
        self.shapes[input].iter().filter_map(|extent| match extent {
            Extent::Known(_) => None,
            Extent::Open(position) => Some(self.open[*position].role),
        })
    }

    /// Sets the batch that was asked for.
    fn fix_batch(&mut self, batch: Option<usize>) {
        let batches = self.open.iter_mut().filter(|open| open.role == Role::Batch);
        batches.for_each(|open| open.fixed = batch);
    }

    /// Open extents with the batch that was asked for.
    pub fn with_batch(&self, extents: &[usize]) -> Vec<usize> {
        let pairs = self.open.iter().zip(extents);
        pairs
            .map(|(open, extent)| open.fixed.unwrap_or(*extent))
            .collect()
    }
}

/// What an open extent of an input is likely to be: its first axis is the batch; of four axes or more, which numbers
/// of pixels have, the last two are height and width, or those before the last one if that is known to be channels.
fn role(value: &Value, axis: usize) -> Role {
    let rank = value.shape.len();
    let is_open = |axis: usize| {
        value
            .shape
            .get(axis)
            .is_some_and(|dim| dim.known().is_none())
    };
    let is_colour = |axis: usize| {
        let extent = value.shape.get(axis).and_then(Dim::known);
        matches!(extent, Some(1 | 3 | 4))
    };
    if axis == 0 {
        return Role::Batch;
    }
    let is_picture = value.dtype.is_float() || value.dtype == DType::U8;
    let height = match rank {
        3 if is_picture && is_colour(0) && is_open(1) && is_open(2) => 1,
        4.. if is_picture && is_colour(rank - 1) && is_open(rank - 3) && is_open(rank - 2) => {
            rank - 3
        }
        4.. if is_picture => rank - 2,
        _ => return Role::Length,
    };
    match axis {
        _ if axis == height => Role::Height,
        _ if axis == height + 1 => Role::Width,
        _ if rank == 4 => Role::Channels,
        _ => Role::Length,
    }
}

/// For each run, the shape that is asked for each input, if any.
fn given_shapes<'w>(
    inputs: &[&Value],
    wish: &'w RandomInputs,
) -> Result<Vec<Vec<Option<&'w [usize]>>>> {
    let of = |value: &Value| -> Vec<&'w [usize]> {
        let shapes = wish.shapes.iter().filter(|(name, _)| *name == value.name);
        shapes.map(|(_, shape)| shape.as_slice()).collect()
    };
    let given: Vec<Vec<&[usize]>> = inputs.iter().map(|value| of(value)).collect();
    let count = given.iter().map(Vec::len).max().unwrap_or(0).max(1);
    for (value, shapes) in inputs.iter().zip(&given) {
        if shapes.len() > 1 && shapes.len() != count {
            return Err(Error::invalid(format!(
                "the input `{}` has {} shapes where another has {count}; give one --shape per run, \
                 or a single one for all runs",
                value.name,
                shapes.len()
            )));
        }
        for shape in shapes {
            check_shape(value, shape)?;
        }
    }
    let at = |shapes: &Vec<&'w [usize]>, run: usize| match shapes.as_slice() {
        [only] => Some(*only),
        several => several.get(run).copied(),
    };
    Ok((0..count)
        .map(|run| given.iter().map(|shapes| at(shapes, run)).collect())
        .collect())
}

/// Refuses a shape that does not fit the declaration of its input.
fn check_shape(value: &Value, shape: &[usize]) -> Result<()> {
    if allows_shape(&value.shape, shape) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the input `{}` takes {}, which the --shape {} does not fit",
        value.name,
        display_shape(&value.shape),
        display_shape(shape)
    )))
}

/// A shape as it is written on the command line: `x=2x3x224x224`.
fn shape_label(name: &str, shape: &[usize]) -> String {
    let extents: Vec<String> = shape.iter().map(usize::to_string).collect();
    let extents = if extents.is_empty() {
        "scalar".to_owned()
    } else {
        extents.join("x")
    };
    format!("{name}={extents}")
}
