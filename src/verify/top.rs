//! The classes to which a classifier gives the highest scores, as each side computes them.

use std::fs;
use std::path::Path;

use serde::Serialize;

use super::{ImageInputs, Inputs, Side};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// How many classes to show of each output.
const TOP: usize = 5;

/// The top classes of one output for one picture, as each side sees them.
#[derive(Debug, Clone, Serialize)]
pub struct Top {
    /// The output's name.
    pub output: String,
    /// Each side, with its classes.
    pub sides: Vec<SideTop>,
}

/// The top classes of one output, as one side computed it.
#[derive(Debug, Clone, Serialize)]
pub struct SideTop {
    /// The side that computed the output.
    pub side: Side,
    /// The five classes with the highest scores, the highest first; of equal scores the lowest index
    /// first.
    pub classes: Vec<Class>,
}

/// A class and its score.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Class {
    /// The class's position along the output's last axis.
    pub index: usize,
    /// The output's element there: a probability after a softmax, else a logit.
    pub score: f64,
    /// The class's name, if as many names are given as the output has classes.
    pub label: Option<String>,
}

/// The names of the classes, by index; empty if none are given.
#[derive(Default)]
pub(crate) struct Labels(Vec<String>);

impl Labels {
    /// Reads the names that are given with pictures; None for other inputs, whose outputs are not shown
    /// as classes.
    ///
    /// # Errors
    /// When the file of names can't be read.
    pub fn of(inputs: &Inputs) -> Result<Option<Self>> {
        match inputs {
            Inputs::Images(images) => Self::of_images(images).map(Some),
            Inputs::Random(_) | Inputs::Files(_) | Inputs::Tensors(_) => Ok(None),
        }
    }

    /// Reads the names that are given with pictures, if there are any.
    ///
    /// # Errors
    /// When the file of names can't be read.
    pub fn of_images(images: &ImageInputs) -> Result<Self> {
        let labels = images.labels.as_deref();
        labels.map_or_else(|| Ok(Self::default()), Self::read)
    }

    /// Refuses labels that are not those of a model with so many classes.
    pub fn refuse_others_than(&self, classes: usize) -> Result<()> {
        if self.0.is_empty() || self.0.len() == classes {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "there are {} labels, but the model has {classes} classes",
            self.0.len()
        )))
    }

    /// Reads one name per line. The number of the class may stand before it: `0 tench, Tinca tinca`.
    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|e| Error::io(path, "read the labels", e))?;
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        // A name may itself begin with a number. The numbers are dropped only if every line begins with
        // its position.
        let numbered = lines.iter().enumerate().map(|(position, line)| {
            let (number, name) = line.split_once(char::is_whitespace)?;
            (number.parse() == Ok(position)).then_some(name.trim_start())
        });
        let names: Option<Vec<&str>> = numbered.collect();
        let names = names.unwrap_or(lines);
        Ok(Self(names.into_iter().map(str::to_owned).collect()))
    }
}

/// The top classes of every output that is one row of classes.
///
/// # Errors
/// When labels are given, but no output has as many classes as there are labels.
pub(super) fn classes(
    names: &[&str],
    sides: &[(Side, &[Tensor])],
    labels: &Labels,
) -> Result<Vec<Top>> {
    let mut found = Vec::new();
    let mut widths = Vec::new();
    for (position, name) in names.iter().enumerate() {
        let rows = sides.iter().filter_map(|(side, tensors)| {
            let row = scores(tensors.get(position)?)?;
            Some((*side, row))
        });
        let rows: Vec<(Side, Vec<f64>)> = rows.collect();
        let Some((_, first)) = rows.first() else {
            continue;
        };
        widths.push(first.len());
        found.push(Top {
            output: (*name).to_owned(),
            sides: rows
                .into_iter()
                .map(|(side, row)| SideTop {
                    side,
                    classes: top(&row, labels),
                })
                .collect(),
        });
    }
    if !labels.0.is_empty() && !widths.contains(&labels.0.len()) {
        let widths: Vec<String> = widths.iter().map(usize::to_string).collect();
        return Err(Error::invalid(format!(
            "there are {} labels, but {}",
            labels.0.len(),
            match widths.as_slice() {
                [] => "no output has one row of classes".to_owned(),
                widths => format!("the model has {} classes", widths.join(" and ")),
            }
        )));
    }
    Ok(found)
}

/// The scores, if the tensor is floating-point and one row of them: `[classes]` or `[1, classes]`,
/// with any number of leading axes of extent 1.
pub(crate) fn scores(tensor: &Tensor) -> Option<Vec<f64>> {
    let classes = *tensor.shape().last()?;
    (tensor.dtype().is_float() && classes > 1 && tensor.len() == classes)
        .then(|| tensor.to_f64_vec())
}

/// The five classes with the highest scores, the highest first, with their names if these are given.
pub(crate) fn top(row: &[f64], labels: &Labels) -> Vec<Class> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    // `total_cmp` puts NaN first, unless its sign bit is set: it has to be seen.
    order.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
    order.truncate(TOP);
    let labels = Some(&labels.0).filter(|labels| labels.len() == row.len());
    let class = |index: usize| Class {
        index,
        score: row[index],
        label: labels.map(|labels| labels[index].clone()),
    };
    order.into_iter().map(class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Vec<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        Labels::read(file.path()).unwrap().0
    }

    #[test]
    fn numbers_before_labels_are_dropped_if_they_count() {
        assert_eq!(labels("0 tench, Tinca tinca\n1 goldfish\n").len(), 2);
        assert_eq!(labels("0 tench, Tinca tinca\n")[0], "tench, Tinca tinca");
        assert_eq!(
            labels("0 a\n7 up\r\n"),
            ["0 a", "7 up"],
            "7 is part of a name"
        );
    }

    #[test]
    fn the_highest_come_first_and_ties_in_order() {
        let row = Tensor::vector(vec![0.1_f32, 0.5, 0.2, 0.5, 0.0, -1.0]);
        let tensors = [row];
        let names: Vec<String> = ["a", "b", "c", "d", "e", "f"].map(str::to_owned).into();
        let found = classes(&["out"], &[(Side::Reference, &tensors)], &Labels(names)).unwrap();
        let classes = &found[0].sides[0].classes;
        let order: Vec<usize> = classes.iter().map(|class| class.index).collect();
        assert_eq!(order, [1, 3, 2, 0, 4]);
        assert_eq!(classes[0].label.as_deref(), Some("b"));
        assert_eq!(classes[0].score, 0.5);
    }

    #[test]
    fn labels_of_another_model_are_refused() {
        let tensors = [Tensor::vector(vec![0.1_f32, 0.9])];
        let error = classes(
            &["out"],
            &[(Side::Reference, &tensors)],
            &Labels(vec!["only".into()]),
        );
        let message = error.unwrap_err().to_string();
        assert_eq!(message, "there are 1 labels, but the model has 2 classes");
    }
}
