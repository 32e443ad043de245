//! What the names of inputs say of their numbers, where the program does not say it.

use super::meaning::Meaning;
use crate::program::{Program, Value, ValueId};
use crate::tensor::{DType, Dim};

/// The height and width of a picture, where no input is one.
const PICTURE: [u64; 2] = [320, 320];

/// The most that a length is, where no input has an open length.
const LARGEST_LENGTH: u64 = 8;

/// Which word in a name means what. The first row counts whose word is in the name, written in small letters.
///
/// | the name has | the numbers are |
/// | --- | --- |
/// | `im_shape`, `im_size`, … | the height and width of the run's picture; a third number, its scale, is 1 |
/// | `scale_factor`, `im_scale` | 1: the picture was not scaled |
/// | `mask` | zeros and ones |
/// | `valid_ratio` | how much of the width is not padding: between a half and the whole |
/// | `length`, `seq_len`, `lens` | from 1 to the smallest length of the run's sequences |
/// | `divisor`, `denominator`, `temperature` | positive numbers that are far from 0 |
const NAMES: &[(&[&str], Means)] = &[
    (
        &[
            "im_shape",
            "im_size",
            "im_info",
            "image_shape",
            "image_size",
            "img_shape",
            "img_size",
            "ori_shape",
            "origin_shape",
        ],
        Means::PictureSize,
    ),
    (&["scale_factor", "im_scale"], Means::One),
    (&["mask"], Means::Mask),
    (&["valid_ratio"], Means::Share),
    (&["length", "seq_len", "seqlen", "lens"], Means::Length),
    (&["divisor", "denominator", "temperature"], Means::Factor),
];

#[derive(Clone, Copy)]
enum Means {
    PictureSize,
    One,
    Mask,
    Share,
    Length,
    Factor,
}

/// What the name of an input says, at the shapes that the program declares.
pub(super) fn meaning(program: &Program, input: ValueId) -> Meaning {
    let value = &program[input];
    let name = value.name.to_lowercase();
    let row = NAMES
        .iter()
        .find(|(words, _)| words.iter().any(|word| name.contains(word)));
    let is_whole = !value.dtype.is_float() && value.dtype != DType::Bool;
    match row {
        // A picture may be called a mask, and a network's own features may be called lengths.
        Some((_, Means::PictureSize)) if value.shape.len() <= 2 => picture_size(program),
        Some((_, Means::One)) => Meaning::Rows(vec![1.0]),
        Some((_, Means::Mask)) => Meaning::Mask,
        Some((_, Means::Share)) if value.dtype.is_float() => Meaning::Share,
        Some((_, Means::Length)) if is_whole => Meaning::count(length(program)),
        Some((_, Means::Factor)) => Meaning::Factor,
        _ => Meaning::Any,
    }
}

/// The height and width of the first input that is a picture, and its scale.
pub(super) fn picture_size(program: &Program) -> Meaning {
    let [height, width] = picture(program).map(|extent| extent as f64);
    Meaning::Rows(vec![height, width, 1.0])
}

/// The height and width of the first input that is a picture.
fn picture(program: &Program) -> [u64; 2] {
    let of = |value: &Value| -> Option<[u64; 2]> {
        let extents: Option<Vec<i64>> = value.shape.iter().map(Dim::known).collect();
        let (height, width) = match extents?.as_slice() {
            [_, height, width, 1 | 3 | 4] => (*height, *width),
            [_, _, height, width] => (*height, *width),
            _ => return None,
        };
        Some([u64::try_from(height).ok()?, u64::try_from(width).ok()?])
    };
    let mut inputs = program.inputs().iter();
    inputs.find_map(|id| of(&program[*id])).unwrap_or(PICTURE)
}

/// The smallest length of a sequence: the second extent of an input of two axes or three.
fn length(program: &Program) -> u64 {
    let inputs = program.inputs().iter().map(|id| &program[*id]);
    let sequences = inputs.filter(|value| (2..=3).contains(&value.shape.len()));
    let lengths = sequences.filter_map(|value| u64::try_from(value.shape[1].known()?).ok());
    lengths
        .filter(|length| *length > 1)
        .min()
        .unwrap_or(LARGEST_LENGTH)
}
