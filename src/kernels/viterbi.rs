//! The tags of sequences with the highest score, by Viterbi's algorithm.

use ndarray::{ArrayView1, ArrayView2, Axis};

use super::real::Real;
use crate::error::{Error, Result};
use crate::tensor::Array;

/// What the score of a sequence of tags is the sum of, besides the emissions of its tags.
pub(crate) struct Scores<'a, T> {
    /// `[tags, tags]`: of the step from one tag, the row, to the next, the column.
    pub transitions: ArrayView2<'a, T>,
    /// `[tags]`: of the first tag.
    pub start: Option<ArrayView1<'a, T>>,
    /// `[tags]`: of the last tag.
    pub stop: Option<ArrayView1<'a, T>>,
}

/// The highest score of each sequence, and its tags in rows of `width`, with zeros behind its length. `emissions` are
/// `[batch, steps, tags]`. Of tags that tie, the first is taken. A sequence of length 0 has the score of its first
/// emissions and the start, as in Paddle.
///
/// # Errors
/// When the extents don't fit each other, no sequence has a step, or a length is none.
pub(crate) fn decode<T: Real>(
    emissions: &Array<T>,
    scores: &Scores<'_, T>,
    lengths: &[i64],
    width: usize,
) -> Result<(Vec<T>, Vec<i64>)> {
    let &[batch, steps, tags] = emissions.shape() else {
        return Err(Error::malformed(format!(
            "emissions of shape {:?} where [batch, steps, tags] was expected",
            emissions.shape()
        )));
    };
    let vectors = [scores.start, scores.stop];
    let mut vectors = vectors.iter().flatten();
    if scores.transitions.dim() != (tags, tags)
        || vectors.any(|vector| vector.len() != tags)
        || lengths.len() != batch
        || steps.min(tags).min(width) == 0
    {
        return Err(Error::malformed(format!(
            "emissions of shape {:?} with transitions of shape {:?} and {} lengths",
            emissions.shape(),
            scores.transitions.shape(),
            lengths.len()
        )));
    }
    let (mut best, mut paths) = (Vec::with_capacity(batch), vec![0; batch * width]);
    for (item, length) in lengths.iter().enumerate() {
        let length = usize::try_from(*length).ok();
        let length = length.filter(|length| *length <= steps.min(width));
        let length = length.ok_or_else(|| {
            Error::malformed(format!(
                "lengths of {lengths:?} where there are {steps} steps"
            ))
        })?;
        let emissions = emissions.index_axis(Axis(0), item);
        let emission = |step: usize, tag: usize| emissions[[step, tag]];
        best.push(sequence(
            emission,
            scores,
            length,
            &mut paths[item * width..][..length],
        ));
    }
    Ok((best, paths))
}

/// The score and, in `path`, the tags of one sequence.
fn sequence<T: Real>(
    emission: impl Fn(usize, usize) -> T,
    scores: &Scores<'_, T>,
    length: usize,
    path: &mut [i64],
) -> T {
    let tags = scores.transitions.nrows();
    let of = |scores: Option<ArrayView1<'_, T>>, tag: usize| scores.map_or(T::zero(), |s| s[tag]);
    let mut score: Vec<T> = (0..tags)
        .map(|tag| emission(0, tag) + of(scores.start, tag))
        .collect();
    let mut before: Vec<Vec<usize>> = Vec::with_capacity(length);
    for step in 1..length {
        let from = |tag: usize| {
            let ways = (0..tags).map(|from| score[from] + scores.transitions[[from, tag]]);
            first_largest(ways)
        };
        let best: Vec<(usize, T)> = (0..tags).map(from).collect();
        score = (best.iter().enumerate())
            .map(|(tag, (_, score))| *score + emission(step, tag))
            .collect();
        before.push(best.into_iter().map(|(from, _)| from).collect());
    }
    if length > 0 {
        score = (score.iter().enumerate())
            .map(|(tag, score)| *score + of(scores.stop, tag))
            .collect();
    }
    let (mut tag, best) = first_largest(score.into_iter());
    for (step, to) in path.iter_mut().enumerate().rev() {
        *to = tag as i64;
        if step > 0 {
            tag = before[step - 1][tag];
        }
    }
    best
}

/// The first of the largest elements, with its position.
fn first_largest<T: Real>(elements: impl Iterator<Item = T>) -> (usize, T) {
    let first = (0, T::neg_infinity());
    elements
        .enumerate()
        .fold(first, |best, (position, element)| {
            if element > best.1 {
                (position, element)
            } else {
                best
            }
        })
}
