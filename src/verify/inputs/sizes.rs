//! Sizes for open extents that the program accepts, found by trying some on its shapes alone.
//!
//! First come sizes that are usual for what an extent is likely to be, each extent with one of its own, then the same
//! for several inputs. If the program refuses them all, single extents of the attempt that went furthest are changed, as
//! long as that gets past the op that refuses. Small sizes are tried before large ones.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::shapes::{Open, Role, Template};
use super::with_shapes;
use crate::analyse;
use crate::error::{Error, Result};
use crate::operator::ParsedOp;
use crate::program::Program;
use crate::tensor::Dim;
use crate::verify::DEFAULT_BATCHES;

/// Heights and widths of pictures. No network that makes 32 pixels one degenerates at the first ones; the last ones are
/// those of networks that are made for one size.
const PICTURES: [[usize; 2]; 19] = [
    [64, 96],
    [96, 160],
    [128, 192],
    [32, 100],
    [48, 320],
    [224, 224],
    [256, 256],
    [320, 320],
    [384, 384],
    [512, 512],
    [640, 640],
    [28, 28],
    [84, 84],
    [299, 299],
    [300, 300],
    [416, 416],
    [608, 608],
    [800, 800],
    [1024, 1024],
];

/// The sides of squares, in units of 16 pixels, that are tried after the usual pictures, for networks that take a certain
/// number of patches.
const SQUARES: std::ops::RangeInclusive<usize> = 1..=64;

/// Heights, or widths, that are tried where the other is another one.
const SIDES: [usize; 24] = [
    64, 96, 160, 128, 192, 224, 256, 288, 320, 384, 448, 512, 640, 32, 48, 80, 100, 112, 28, 299,
    300, 416, 608, 1024,
];

/// Lengths of sequences, from words to samples of sound.
const LENGTHS: [usize; 8] = [7, 12, 40, 100, 320, 1600, 4000, 16000];

/// Numbers of channels.
const CHANNELS: [usize; 7] = [3, 1, 4, 2, 6, 8, 16];

/// Batch sizes, after the default ones.
const BATCHES: [usize; 6] = [2, 4, 5, 8, 6, 16];

/// How many extents of weights are tried for an extent at most.
const MOST_WEIGHTS: usize = 40;

/// How often the shapes of a program are inferred at most.
const MOST_TRIES: usize = 600;

/// A search for the open extents of a program's inputs.
pub(super) struct Search<'a> {
    program: &'a Program,
    ops: &'a [ParsedOp],
    template: &'a Template<'a>,
    tries: Cell<usize>,
}

/// How far a program gets with some extents, in increasing order: the position of the op that refuses, or the number of
/// ops; then the number of results without an element, of which few are better.
type Reach = (usize, Reverse<usize>);

/// Why no extents were found.
pub(super) struct Refused {
    /// The extents with which the program gets furthest.
    pub extents: Vec<usize>,
    pub error: Error,
    /// How many others were tried.
    pub others: usize,
}

impl<'a> Search<'a> {
    pub fn new(program: &'a Program, ops: &'a [ParsedOp], template: &'a Template<'a>) -> Self {
        Self {
            program,
            ops,
            template,
            tries: Cell::new(0),
        }
    }

    /// The extents for the first run.
    ///
    /// # Errors
    /// When the program accepts none that are tried.
    pub fn first(&self) -> Result<Vec<usize>, Refused> {
        let mut best: Option<(Reach, Vec<usize>)> = None;
        for extents in self.usual() {
            let reach = self.reach(&extents);
            if best.as_ref().is_none_or(|(other, _)| reach > *other) {
                best = Some((reach, extents));
            }
            if reach == self.goal() {
                break;
            }
        }
        let (reach, mut extents) = best.unwrap_or_default();
        if reach.0 < self.ops.len() && self.climb(reach, &mut extents) < self.ops.len() {
            let error = match analyse::try_infer(&self.at(&extents), self.ops) {
                Ok(_) => Error::internal("shapes that are accepted now"),
                Err(refusal) => refusal.error,
            };
            return Err(Refused {
                extents,
                error,
                others: self.tries.get().saturating_sub(1),
            });
        }
        self.part(&mut extents);
        Ok(extents)
    }

    /// The extents for another run: as many as can be are others than in the first.
    pub fn other(&self, first: &[usize]) -> Vec<usize> {
        let open = &self.template.open;
        let goal = self.reach(first);
        let mut extents = self.template.with_batch(first);
        let mut groups: Vec<Vec<usize>> = Vec::new();
        // Equal extents may have to stay equal, so they change together.
        for position in (0..open.len()).filter(|position| open[*position].fixed.is_none()) {
            let group = groups
                .iter_mut()
                .find(|group| first[group[0]] == first[position]);
            match group {
                Some(group) => group.push(position),
                None => groups.push(vec![position]),
            }
        }
        // The last group first, so that a width goes before the height that follows it in the list of sizes.
        for group in groups.iter().rev() {
            let before = extents[group[0]];
            let candidates = second(&open[group[0]]);
            let is_new = |extent: &usize| *extent != before && !extents.contains(extent);
            let candidates: Vec<usize> = candidates.into_iter().filter(is_new).collect();
            for candidate in candidates {
                group
                    .iter()
                    .for_each(|position| extents[*position] = candidate);
                if self.reach(&extents) >= goal {
                    break;
                }
                group
                    .iter()
                    .for_each(|position| extents[*position] = before);
            }
        }
        extents
    }

    fn at(&self, extents: &[usize]) -> Program {
        with_shapes(self.program, &self.template.at(extents))
    }

    /// What is reached by extents that are accepted, with elements in every result.
    fn goal(&self) -> Reach {
        (self.ops.len(), Reverse(0))
    }

    fn reach(&self, extents: &[usize]) -> Reach {
        if self.tries.get() >= MOST_TRIES {
            return (0, Reverse(usize::MAX));
        }
        self.tries.set(self.tries.get() + 1);
        let program = self.at(extents);
        match analyse::try_infer(&program, self.ops) {
            Ok(facts) => {
                let results = program.ops().iter().flat_map(|op| &op.results);
                let is_empty = |dims: &[Dim]| dims.contains(&Dim::Known(0));
                let empty = results.filter(|id| is_empty(facts.shape(**id))).count();
                (self.ops.len(), Reverse(empty))
            }
            Err(refusal) => (refusal.position, Reverse(0)),
        }
    }

    /// Extents that are usual, in the order in which they are tried.
    fn usual(&self) -> Vec<Vec<usize>> {
        let open = &self.template.open;
        let mut attempts: Vec<Vec<usize>> = Vec::new();
        let mut add = |of: &dyn Fn(&Open<'_>) -> usize| {
            let extents = open
                .iter()
                .map(|open| open.fixed.unwrap_or_else(|| of(open)));
            let extents = extents.collect();
            if !attempts.contains(&extents) {
                attempts.push(extents);
            }
        };
        let has_sequence = open.iter().any(|open| open.role == Role::Length);
        for level in 0..PICTURES.len() {
            add(&|open| usual(open, level, open.ordinal));
            add(&|open| usual(open, level, 0));
            // The mask of a sequence may look like a picture.
            if let Some(length) = LENGTHS.get(level).filter(|_| has_sequence) {
                add(&|open| match open.role {
                    Role::Batch | Role::Channels => usual(open, 0, 0),
                    _ => *length,
                });
            }
        }
        for side in SQUARES {
            add(&|open| match open.role {
                Role::Height | Role::Width => side * 16,
                _ => usual(open, 0, 0),
            });
        }
        // What is given of other inputs may be the extent of this one.
        for extent in self.input_extents() {
            add(&|open| match open.role {
                Role::Batch | Role::Channels => usual(open, 0, 0),
                _ => extent,
            });
        }
        attempts
    }

    /// Changes one extent, or several that are equal, as long as that gets further. The position that is reached.
    fn climb(&self, mut reach: Reach, extents: &mut Vec<usize>) -> usize {
        let open = &self.template.open;
        let others = self.other_extents();
        loop {
            let before = reach;
            for position in (0..open.len()).filter(|position| open[*position].fixed.is_none()) {
                let mut candidates = first(&open[position]);
                candidates.extend(extents.iter().chain(&others));
                for candidate in candidates {
                    for together in [false, true] {
                        let changed = change(extents, position, candidate, together, open);
                        let found = self.reach(&changed);
                        if found > reach {
                            (reach, *extents) = (found, changed);
                        }
                        if reach.0 == self.ops.len() {
                            return reach.0;
                        }
                    }
                }
            }
            if reach == before || self.tries.get() >= MOST_TRIES {
                return reach.0;
            }
        }
    }

    /// Gives each extent that is equal to another one of its own, where the program accepts that.
    fn part(&self, extents: &mut [usize]) {
        let goal = self.reach(extents);
        for (position, open) in self.template.open.iter().enumerate() {
            let own = usual(open, 0, open.ordinal);
            let before = extents[position];
            let is_shared = extents.iter().filter(|extent| **extent == before).count() > 1;
            if open.fixed.is_some() || open.role == Role::Batch || !is_shared {
                continue;
            }
            extents[position] = own;
            if self.reach(extents) < goal {
                extents[position] = before;
            }
        }
    }

    /// The known extents of inputs above 1.
    fn input_extents(&self) -> Vec<usize> {
        let shapes = self.template.at(&vec![1; self.template.open.len()]);
        let extents = shapes.into_iter().flatten();
        extents.filter(|extent| *extent > 1).collect()
    }

    /// The known extents of inputs, and those of weights and constants, above 1: an open extent may have to be one of
    /// them.
    fn other_extents(&self) -> Vec<usize> {
        let mut found = self.input_extents();
        let values = self.program.values();
        let fixed = values.filter(|(_, value)| value.origin.is_stored());
        let extents = fixed.flat_map(|(_, value)| value.shape.iter().filter_map(Dim::extent));
        let extents: BTreeSet<usize> = extents.collect();
        found.extend(extents.into_iter().take(MOST_WEIGHTS));
        found.retain(|extent| *extent > 1);
        found
    }
}

/// The extents with another one at a position; `together` with those that are equal to it.
fn change(
    extents: &[usize],
    position: usize,
    to: usize,
    together: bool,
    open: &[Open<'_>],
) -> Vec<usize> {
    let from = extents[position];
    let mut changed = extents.to_vec();
    changed[position] = to;
    if together {
        let others = changed.iter_mut().zip(open);
        let others = others.filter(|(extent, open)| **extent == from && open.fixed.is_none());
        others.for_each(|(extent, _)| *extent = to);
    }
    changed
}

/// The usual extent at a level, of which low ones come first. Extents of other ordinals are others.
fn usual(open: &Open<'_>, level: usize, ordinal: usize) -> usize {
    let picture = PICTURES[level.min(PICTURES.len() - 1)];
    match open.role {
        Role::Batch => DEFAULT_BATCHES[0],
        Role::Channels => CHANNELS[0],
        Role::Height => picture[0] + 32 * ordinal,
        Role::Width => picture[1] + 32 * ordinal,
        Role::Length => LENGTHS[level.min(LENGTHS.len() - 1)] + 2 * ordinal,
    }
}

/// All extents that are tried for one that is open.
fn first(open: &Open<'_>) -> Vec<usize> {
    match open.role {
        Role::Batch => DEFAULT_BATCHES.into_iter().chain(BATCHES).collect(),
        Role::Channels => CHANNELS.to_vec(),
        Role::Height | Role::Width => SIDES.to_vec(),
        Role::Length => LENGTHS.to_vec(),
    }
}

/// The extents that are tried where another run has the usual one.
fn second(open: &Open<'_>) -> Vec<usize> {
    let preferred = match open.role {
        Role::Batch => DEFAULT_BATCHES[1],
        Role::Channels => CHANNELS[1],
        Role::Height => PICTURES[1][0],
        Role::Width => PICTURES[1][1],
        Role::Length => LENGTHS[1] + 2 * open.ordinal,
    };
    let mut candidates = vec![preferred];
    candidates.extend(first(open));
    candidates
}
