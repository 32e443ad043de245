//! Resizing as OpenCV does it, with which PaddleClas trains and evaluates.
//!
//! The arithmetic is the same to the bit: bilinear interpolation between pixel centres, without
//! antialiasing where the picture shrinks, in fixed point with 11 fractional bits. Other libraries
//! antialias, and so give a network other inputs than it was evaluated with.

/// The fractional bits of the interpolation weights.
const BITS: u32 = 11;

/// The channels of a pixel: red, green and blue.
pub(super) const CHANNELS: usize = 3;

/// A picture as bytes of shape `[height, width, 3]`, in row-major order.
pub(super) struct Picture {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<u8>,
}

/// How one position along an axis of the result is interpolated: the two positions in the original,
/// and their weights in units of 2^-11.
struct Tap {
    positions: [usize; 2],
    weights: [i32; 2],
}

impl Picture {
    /// The picture in another size, as `cv2.resize(self, (width, height))`. No extent may be 0.
    pub fn resized(&self, width: usize, height: usize) -> Picture {
        // For halves, whose bilinear weights are all equal, OpenCV takes the mean of 2 × 2 pixels.
        if self.width == 2 * width && self.height == 2 * height {
            return self.halved(width, height);
        }
        let columns = taps(self.width, width, true);
        let rows = taps(self.height, height, false);
        let mut pixels = Vec::with_capacity(width * height * CHANNELS);
        for row in &rows {
            let [above, below] = row.positions.map(|y| self.row(y));
            for column in &columns {
                for channel in 0..CHANNELS {
                    let across = |row: &[u8]| {
                        let [left, right] = column.positions;
                        let at = |x: usize| i32::from(row[x * CHANNELS + channel]);
                        at(left) * column.weights[0] + at(right) * column.weights[1]
                    };
                    // The bits are dropped in the order in which OpenCV drops them.
                    let part = |sum: i32, weight: i32| (weight * (sum >> 4)) >> 16;
                    let [upper, lower] = row.weights;
                    let sum = part(across(above), upper) + part(across(below), lower);
                    pixels.push(((sum + 2) >> 2).clamp(0, 255) as u8);
                }
            }
        }
        Picture {
            width,
            height,
            pixels,
        }
    }

    fn row(&self, y: usize) -> &[u8] {
        let stride = self.width * CHANNELS;
        &self.pixels[y * stride..][..stride]
    }

    /// The means of 2 × 2 pixels, rounded half up.
    fn halved(&self, width: usize, height: usize) -> Picture {
        let mut pixels = Vec::with_capacity(width * height * CHANNELS);
        for y in 0..height {
            let rows = [self.row(2 * y), self.row(2 * y + 1)];
            for x in 0..width {
                for channel in 0..CHANNELS {
                    let pair = |row: &[u8]| {
                        let at = |x: usize| u32::from(row[x * CHANNELS + channel]);
                        at(2 * x) + at(2 * x + 1)
                    };
                    pixels.push(((pair(rows[0]) + pair(rows[1]) + 2) >> 2) as u8);
                }
            }
        }
        Picture {
            width,
            height,
            pixels,
        }
    }
}

/// The taps of all positions along an axis whose extent goes from `from` to `to`. If it `snaps`, a
/// position beyond the centre of the outermost pixel takes that pixel alone. OpenCV does so along the
/// width, but along the height it blends the outermost pixel with itself, which may round differently.
fn taps(from: usize, to: usize, snaps: bool) -> Vec<Tap> {
    let scale = 1.0 / (to as f64 / from as f64);
    let last = from as i64 - 1;
    let weight = |x: f32| (x * (1 << BITS) as f32).round_ties_even() as i32;
    let tap = |position: usize| {
        let place = ((position as f64 + 0.5) * scale - 0.5) as f32;
        let (mut first, mut fraction) = (place.floor() as i64, place - place.floor());
        if snaps && (first < 0 || first >= last) {
            (first, fraction) = (first.clamp(0, last), 0.0);
        }
        Tap {
            positions: [first, first + 1].map(|x| x.clamp(0, last) as usize),
            weights: [weight(1.0 - fraction), weight(fraction)],
        }
    };
    (0..to).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: usize, height: usize) -> Picture {
        let pixels = (0..width * height * CHANNELS).map(|i| (i * 37 % 256) as u8);
        Picture {
            width,
            height,
            pixels: pixels.collect(),
        }
    }

    #[test]
    fn the_same_size_is_the_same_picture() {
        let original = picture(7, 5);
        assert_eq!(original.resized(7, 5).pixels, original.pixels);
    }

    /// The expected pixels are those that OpenCV 4.10 gives.
    #[test]
    fn pixels_are_those_of_opencv() {
        let red = |picture: Picture| -> Vec<u8> {
            picture.pixels.iter().step_by(CHANNELS).copied().collect()
        };
        let original = picture(5, 4);
        assert_eq!(red(original.resized(3, 2)), OPENCV_3X2);
        assert_eq!(red(original.resized(4, 7)), OPENCV_4X7);
        assert_eq!(red(picture(6, 4).resized(3, 2)), OPENCV_HALF);
    }

    const OPENCV_3X2: [u8; 6] = [59, 116, 172, 145, 74, 88];
    const OPENCV_4X7: [u8; 28] = [
        14, 152, 131, 174, 29, 134, 112, 189, 54, 103, 82, 214, 78, 121, 100, 127, 103, 145, 124,
        39, 127, 170, 149, 64, 143, 186, 164, 79,
    ];
    const OPENCV_HALF: [u8; 6] = [69, 163, 129, 121, 87, 181];
}
