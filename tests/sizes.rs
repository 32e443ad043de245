//! How long files and functions may be, and how large fixtures.

use std::fs;
use std::path::{Path, PathBuf};

const LONGEST_FILE: usize = 600;
const LONGEST_FUNCTION: usize = 60;
const LARGEST_FIXTURE: u64 = 1_000_000;
const LARGEST_FIXTURES: u64 = 32_000_000;

/// Every file below a folder of the repository.
fn files(folder: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join(folder),
        &mut found,
    );
    found
}

/// The functions of a formatted file, each with the number of its lines.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut functions = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indentation = &line[..line.len() - code.len()];
        let words: Vec<&str> = code.split_ascii_whitespace().collect();
        let Some(keyword) = words.iter().position(|word| *word == "fn") else {
            continue;
        };
        let is_qualifier =
            |word: &&str| word.starts_with("pub") || matches!(*word, "const" | "unsafe");
        if !words[..keyword].iter().all(is_qualifier) {
            continue;
        }
        let closing = format!("{indentation}}}");
        let body = lines[start..].iter().position(|line| *line == closing);
        let next_item = lines[start..].iter().position(|line| line.ends_with(';'));
        // A function of a trait may have no body.
        if code.ends_with(';') || next_item.is_some_and(|end| end == 0) {
            continue;
        }
        if let Some(end) = body {
            functions.push((words[keyword + 1].to_owned(), end + 1));
        }
    }
    functions
}

#[test]
fn files_and_functions_are_short() {
    let mut found = Vec::new();
    let sources = ["src", "python/src", "examples", "benches"]
        .map(files)
        .concat();
    let sources = sources
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "rs"));
    for path in sources {
        let text = fs::read_to_string(path).unwrap();
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            found.push(format!("{}: {lines} lines", path.display()));
        }
        let functions = functions(&text).into_iter();
        let long = functions.filter(|(_, lines)| *lines > LONGEST_FUNCTION);
        found
            .extend(long.map(|(name, lines)| format!("{}: {name}: {lines} lines", path.display())));
    }
    assert!(found.is_empty(), "too long:\n{}", found.join("\n"));
}

#[test]
fn the_length_of_a_function_is_counted() {
    let body = "        x;\n".repeat(70);
    let text = format!(
        "trait T {{\n    fn none();\n    pub(crate) const fn long(\n    ) {{\n{body}    }}\n}}\n\nfn short() {{\n    fn inner() {{}}\n}}\n"
    );
    let found = functions(&text);
    let named: Vec<(&str, usize)> = found
        .iter()
        .map(|(name, lines)| (name.as_str(), *lines))
        .collect();
    assert!(named.contains(&("long(", 73)), "{named:?}");
    assert!(named.contains(&("short()", 3)), "{named:?}");
}

#[test]
fn fixtures_are_small() {
    let sizes = files("fixtures")
        .into_iter()
        .map(|path| (fs::metadata(&path).unwrap().len(), path));
    let sizes: Vec<(u64, PathBuf)> = sizes.collect();
    let (largest, path) = sizes.iter().max().unwrap();
    assert!(
        *largest <= LARGEST_FIXTURE,
        "{}: {largest} bytes",
        path.display()
    );
    let all: u64 = sizes.iter().map(|(size, _)| size).sum();
    assert!(all <= LARGEST_FIXTURES, "{all} bytes of fixtures");
}
