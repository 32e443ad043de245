//! Which pictures there are, and the class of each: from a list, or from folders.
//!
//! A list is that of PaddleClas: a path and the number of a class in each line. Refused are lines without a number, since a
//! list that is read wrongly gives a wrong figure. Whether the pictures exist is not looked at here.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A picture, and what is on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// The file.
    pub path: PathBuf,
    /// The number of its class, from 0.
    pub class: usize,
    /// The line of the list that says so, from 1; None for a picture in the folder of its class.
    pub line: Option<usize>,
}

/// Reads a list. Its paths are relative to `images`, or to the folder of the list if that is None.
///
/// # Errors
/// When the list can't be read, is empty, or has a line that is not a path and the number of a class.
pub fn read_list(list: &Path, images: Option<&Path>) -> Result<Vec<Labelled>> {
    let text = fs::read_to_string(list).map_err(|e| Error::io(list, "read the list", e))?;
    let folder = images.or(list.parent()).unwrap_or(Path::new(""));
    let mut pictures = Vec::new();
    for (position, line) in text.lines().enumerate() {
        let (number, line) = (position + 1, line.trim_start_matches('\u{feff}').trim());
        if line.is_empty() {
            continue;
        }
        // A path may hold spaces.
        let parts = line.rsplit_once(char::is_whitespace);
        let parts = parts.and_then(|(path, class)| Some((path.trim_end(), class.parse().ok()?)));
        let (path, class) = parts.ok_or_else(|| {
            Error::invalid(format!(
                "line {number}: a path and the number of a class are needed, as in `val/1.jpg 65`, not `{line}`"
            ))
            .in_file(list)
        })?;
        pictures.push(Labelled {
            path: folder.join(path),
            class,
            line: Some(number),
        });
    }
    if pictures.is_empty() {
        return Err(Error::invalid("the list names no picture").in_file(list));
    }
    Ok(pictures)
}

/// The pictures in the folders of `images`, one of which there is for each class. If all folders are called by numbers, these
/// are the classes; otherwise the classes are numbered in the order of the names. Hidden files are left out.
///
/// # Errors
/// When a folder can't be read, or there is no picture in any.
pub fn read_folders(images: &Path) -> Result<Vec<Labelled>> {
    let folders = entries(images, Path::is_dir)?;
    let number = |folder: &PathBuf| folder.file_name()?.to_str()?.parse().ok();
    let numbers: Option<Vec<usize>> = folders.iter().map(number).collect();
    let mut pictures = Vec::new();
    for (position, folder) in folders.iter().enumerate() {
        let class = numbers
            .as_ref()
            .map_or(position, |numbers| numbers[position]);
        let files = entries(folder, Path::is_file)?.into_iter();
        pictures.extend(files.map(|path| Labelled {
            path,
            class,
            line: None,
        }));
    }
    if pictures.is_empty() {
        return Err(Error::invalid(
            "there is no folder with pictures in this one; it needs one for each class, or a --list",
        )
        .in_file(images));
    }
    Ok(pictures)
}

/// What is in a folder and not hidden, as far as it is of the wanted kind, sorted.
fn entries(folder: &Path, is_wanted: fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    let fail = |e| Error::io(folder, "list the folder", e);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !is_hidden && is_wanted(&entry.path()) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<Vec<(PathBuf, usize, Option<usize>)>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.txt");
        fs::write(&path, text).unwrap();
        let pictures = read_list(&path, Some(Path::new("images")))?.into_iter();
        Ok(pictures.map(|p| (p.path, p.class, p.line)).collect())
    }

    #[test]
    fn lines_are_a_path_and_a_class() {
        let text = "\u{feff}val/1.jpg 65\r\n\n  a b.png\t7 \n/abs.png 0\n";
        let expected = [
            ("images/val/1.jpg", 65, 1),
            ("images/a b.png", 7, 3),
            ("/abs.png", 0, 4),
        ];
        let expected = expected.map(|(path, class, line)| (PathBuf::from(path), class, Some(line)));
        assert_eq!(list(text).unwrap(), expected);
        for (text, words) in [
            ("", "names no picture"),
            ("a.jpg 1\nb.jpg", "line 2: "),
            ("a.jpg -1", "line 1: "),
            ("a.jpg cat", "not `a.jpg cat`"),
            ("a.jpg 1.5", "line 1: "),
        ] {
            let error = list(text).unwrap_err().to_string();
            assert!(
                error.contains(words) && error.contains("list.txt"),
                "{error}"
            );
        }
    }

    #[test]
    fn folders_are_classes() {
        let classes = |names: &[&str]| {
            let folder = tempfile::tempdir().unwrap();
            for name in names {
                fs::create_dir(folder.path().join(name)).unwrap();
                fs::write(folder.path().join(name).join("x.png"), "").unwrap();
                fs::write(folder.path().join(name).join(".hidden"), "").unwrap();
            }
            fs::write(folder.path().join("readme"), "").unwrap();
            let found = read_folders(folder.path())?.into_iter();
            Ok::<Vec<usize>, Error>(found.map(|picture| picture.class).collect())
        };
        assert_eq!(classes(&["n02", "n01", "n10"]).unwrap(), [0, 1, 2]);
        // In alphabetical order of the folders.
        assert_eq!(classes(&["10", "2", "0"]).unwrap(), [0, 10, 2]);
        assert!(
            classes(&[])
                .unwrap_err()
                .to_string()
                .contains("one for each class")
        );
    }
}
