//! To which channel each element of a tensor belongs.

use std::sync::Arc;

use super::Dim;

/// Maps elements of a tensor in place, of which the first is at a position in row-major order.
pub type ElementMap = Arc<dyn Fn(usize, &mut [f32]) + Send + Sync>;

/// The channels of a tensor: its slices along an axis, or the whole tensor as the only one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Channels {
    count: usize,
    /// How many elements of a channel follow each other.
    inner: usize,
}

impl Channels {
    /// Those of a tensor of this shape, whose extents are known, along `axis`.
    pub fn of(shape: &[Dim], axis: Option<usize>) -> Self {
        let extent = |dim: &Dim| dim.extent().unwrap_or(1).max(1);
        let behind = axis.map_or(0, |axis| axis + 1);
        Self {
            count: axis.and_then(|axis| shape.get(axis)).map_or(1, extent),
            inner: shape.iter().skip(behind).map(extent).product(),
        }
    }

    /// The channel of the element at a position in row-major order.
    pub fn at(&self, position: usize) -> usize {
        position / self.inner % self.count
    }

    /// The map that makes each element what `each` makes of its channel and itself.
    pub fn mapping(self, each: impl Fn(usize, f32) -> f32 + Send + Sync + 'static) -> ElementMap {
        Arc::new(move |position, elements| self.map(position, elements, &each))
    }

    /// Makes each element of a run, which begins at a position, what `each` makes of its channel and itself.
    pub fn map(&self, position: usize, elements: &mut [f32], each: impl Fn(usize, f32) -> f32) {
        let mut channel = self.at(position);
        let mut rest = elements;
        // Most weights are scaled by the column: whole rows then, which are fewer than runs of one element.
        if self.inner == 1 {
            while !rest.is_empty() {
                let (row, behind) = rest.split_at_mut(rest.len().min(self.count - channel));
                for (x, channel) in row.iter_mut().zip(channel..) {
                    *x = each(channel, *x);
                }
                (channel, rest) = (0, behind);
            }
            return;
        }
        let mut left = self.inner - position % self.inner;
        while !rest.is_empty() {
            let (run, behind) = rest.split_at_mut(rest.len().min(left));
            for x in run {
                *x = each(channel, *x);
            }
            channel = (channel + 1) % self.count;
            (left, rest) = (self.inner, behind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_element_is_given_its_channel() {
        let shape = [2_usize, 3, 4].map(Dim::from);
        for axis in [None, Some(0), Some(1), Some(2)] {
            let channels = Channels::of(&shape, axis);
            let expected: Vec<f32> = (0..24).map(|n| channels.at(n) as f32).collect();
            // Runs that begin and end anywhere.
            for start in 0..24 {
                for end in start..=24 {
                    let mut run = vec![-1.0; end - start];
                    channels.map(start, &mut run, |channel, _| channel as f32);
                    assert_eq!(run, expected[start..end], "{axis:?}, {start}..{end}");
                }
            }
        }
        let numbers = Channels::of(&shape, Some(1));
        assert_eq!([0, 3, 4, 11, 12].map(|n| numbers.at(n)), [0, 0, 1, 2, 0]);
    }
}
