//! Convolution of many small groups of channels, as in depthwise convolutions: the sum of a few shifted planes.
//!
//! Each channel is copied with its padding into planes in which neighbouring windows have neighbouring elements: one
//! plane for a stride of 1, or one for each remainder of positions divided by the strides. A tap of all windows is such
//! a plane, shifted as a whole; so what is added up are long slices, whatever the extents of the image.

use std::mem::MaybeUninit;

use super::conv::{Geometry, WindowAxis};
use super::real::Real;
use super::threads::{for_each_chunk, vectorised};

/// The number of elements that are added up at once, in registers.
const BLOCK: usize = 32;

/// Convolves `images` (`[n · groups, c, pixels]`) with `filters` (`[groups, o, c · taps]`) by planes. The result is
/// `[n · groups, o, windows]`, all of which is written; `parts` are `c` and `o`.
pub(super) fn convolve<T: Real>(
    result: &mut [MaybeUninit<T>],
    images: &[T],
    filters: &[T],
    (geometry, planes): (&Geometry, &Planes),
    groups: usize,
    parts: [usize; 2],
) {
    let [channels, outputs] = parts;
    let (pixels, windows) = (geometry.pixels(), geometry.windows());
    let depth = channels * geometry.taps();
    let starts: Vec<usize> = (0..depth).map(|row| planes.start(row, geometry)).collect();
    let work = result.len() * depth;
    for_each_chunk(result, outputs * windows, work, |index, result| {
        let image = &images[index * channels * pixels..][..channels * pixels];
        let filters = &filters[index % groups * outputs * depth..][..outputs * depth];
        let elements = planes.filled(image, geometry);
        let mut sums = vec![T::zero(); planes.len.next_multiple_of(BLOCK)];
        for (result, filter) in result.chunks_mut(windows).zip(filters.chunks(depth)) {
            vectorised(|| add_up(&mut sums, &elements, &starts, filter));
            planes.pick(result, &sums, geometry);
        }
    });
}

/// Sets each of `sums` to the sum of the elements that are as far behind `starts`, times the weights of these.
#[inline(always)]
fn add_up<T: Real>(sums: &mut [T], elements: &[T], starts: &[usize], weights: &[T]) {
    for (index, result) in sums.chunks_exact_mut(BLOCK).enumerate() {
        let mut sums = [T::zero(); BLOCK];
        for (start, weight) in starts.iter().zip(weights) {
            let elements = &elements[start + index * BLOCK..][..BLOCK];
            for (sum, x) in sums.iter_mut().zip(elements) {
                *sum += *x * *weight;
            }
        }
        result.copy_from_slice(&sums);
    }
}

/// The planes of one channel.
pub(super) struct Planes {
    /// How many there are along each axis: the strides.
    strides: [usize; 3],
    /// The extents of each plane: as many as there are windows along an axis, and as far as a window's last tap is
    /// shifted.
    extents: [usize; 3],
    /// From the first window in a plane to the end of the last.
    len: usize,
}

impl Planes {
    /// The planes for these windows, if they are better than im2col: a matrix product has a fixed cost per group, and
    /// needs several outputs that share the columns; planes are no use where most of their elements are padding.
    pub fn if_better(geometry: &Geometry, groups: usize, group_outputs: usize) -> Option<Self> {
        const MOST_OUTPUTS: usize = 4;
        const MOST_PADDING: usize = 16;
        let shift = |axis: WindowAxis| (axis.reach() - 1) / axis.stride;
        let axis = |axis: usize| geometry.positions[axis] + shift(geometry.window[axis]);
        let (strides, extents) = (geometry.window.map(|axis| axis.stride), [0, 1, 2].map(axis));
        let mut factors = strides.iter().chain(&extents);
        let size = factors.try_fold(1_usize, |size, factor| size.checked_mul(*factor))?;
        let is_better = groups > 1
            && group_outputs <= MOST_OUTPUTS
            && size / MOST_PADDING <= geometry.pixels().max(geometry.windows());
        let last = geometry.positions.map(|count| count - 1);
        is_better.then(|| Self {
            strides,
            extents,
            len: place(last, extents) + 1,
        })
    }

    /// The number of elements of all planes of a channel.
    fn size(&self) -> usize {
        self.strides.iter().chain(&self.extents).product()
    }

    /// The position in the planes of the element under the first window's tap of this row of the im2col matrix, which
    /// has a row per channel and tap.
    fn start(&self, row: usize, geometry: &Geometry) -> usize {
        let (channel, tap) = (row / geometry.taps(), geometry.tap(row % geometry.taps()));
        let padded = [0, 1, 2].map(|axis| tap[axis] * geometry.window[axis].dilation);
        channel * self.size() + self.position(padded)
    }

    /// The position of a padded image's element in the planes.
    fn position(&self, padded: [usize; 3]) -> usize {
        let remainder = [0, 1, 2].map(|axis| padded[axis] % self.strides[axis]);
        let quotient = [0, 1, 2].map(|axis| padded[axis] / self.strides[axis]);
        let plane = place(remainder, self.strides);
        plane * self.extents.iter().product::<usize>() + place(quotient, self.extents)
    }

    /// The planes of each channel of an image, with zeros for the padding, and some more behind the last.
    fn filled<T: Real>(&self, image: &[T], geometry: &Geometry) -> Vec<T> {
        let [d, h, w] = geometry.image;
        let channels = image.len() / geometry.pixels();
        let mut planes = vec![T::zero(); channels * self.size() + BLOCK];
        let before = geometry.window.map(|axis| axis.pads[0]);
        // What lies behind the last window's last tap belongs to no plane.
        let end = [0, 1, 2].map(|axis| self.strides[axis] * self.extents[axis]);
        let stride = self.strides[2];
        for (line, elements) in image.chunks(w).enumerate() {
            let padded = [line / h % d + before[0], line % h + before[1], 0];
            if padded[0] >= end[0] || padded[1] >= end[1] {
                continue;
            }
            let channel = &mut planes[line / (d * h) * self.size()..];
            for skipped in 0..stride.min(w) {
                let first = before[2] + skipped;
                if first >= end[2] {
                    break;
                }
                let room = (end[2] - first).div_ceil(stride);
                let to = &mut channel[self.position([padded[0], padded[1], first])..][..room];
                let from = elements[skipped..].iter().step_by(stride);
                to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            }
        }
        planes
    }

    /// Copies the sums of the windows from a plane of them.
    fn pick<T: Real>(&self, result: &mut [MaybeUninit<T>], sums: &[T], geometry: &Geometry) {
        let [_, rows, columns] = geometry.positions;
        for (line, result) in result.chunks_mut(columns).enumerate() {
            let start = place([line / rows, line % rows, 0], self.extents);
            result.write_copy_of_slice(&sums[start..][..columns]);
        }
    }
}

/// The row-major position of an element of an array with these extents.
fn place(index: [usize; 3], extents: [usize; 3]) -> usize {
    (index[0] * extents[1] + index[1]) * extents[2] + index[2]
}
