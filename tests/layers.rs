//! The modules of `src/` import each other only as the table of layers in ARCHITECTURE.md says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The heading of the section with the table.
const SECTION: &str = "## Layers";

/// What the table calls every family of ops.
const FAMILY: &str = "ops/FAMILY";

/// A row of the table: a module, and the modules that it imports.
struct Layer {
    module: String,
    imports: BTreeSet<String>,
}

/// The rows of the table, in its order.
fn table(architecture: &str) -> Vec<Layer> {
    let (_, section) = architecture
        .split_once(SECTION)
        .expect("a section on layers");
    let rows = section
        .lines()
        .skip_while(|line| !line.starts_with("| ---"));
    let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [module, _, imports] = cells.as_slice() else {
            panic!("a row with other than three cells: {row}");
        };
        Layer {
            module: names(module).remove(0),
            imports: names(imports).into_iter().collect(),
        }
    })
    .collect()
}

/// The names in backticks, as modules: without the end of a file's name, or the slash of a folder's.
fn names(cell: &str) -> Vec<String> {
    let quoted = cell.split('`').skip(1).step_by(2);
    let plain = quoted.map(|name| name.trim_end_matches(".rs").trim_end_matches('/'));
    plain.map(str::to_owned).collect()
}

/// A source file without comments and strings, by its path below `src/`.
struct Source {
    path: PathBuf,
    code: String,
}

impl Source {
    fn new(path: impl Into<PathBuf>, text: &str) -> Self {
        Self {
            path: path.into(),
            code: code(text),
        }
    }

    /// The path of the module, as `["ops", "shape", "pad"]`.
    fn module(&self) -> Vec<String> {
        let path = self.path.with_extension("");
        let mut parts: Vec<String> = path
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        if parts.last().is_some_and(|last| last == "mod") {
            parts.pop();
        }
        parts
    }

    /// What it imports, as paths from the crate's root: all that follow `crate::` or `super::`, in `use` lines or
    /// elsewhere.
    fn imports(&self) -> Vec<Vec<String>> {
        let mut imports = Vec::new();
        for (start, _) in self.code.match_indices("crate::") {
            self.follow(&[], &self.code[start + "crate::".len()..], &mut imports);
        }
        for (start, _) in self.code.match_indices("super::") {
            if self.code[..start].ends_with("super::") {
                continue;
            }
            let mut rest = &self.code[start..];
            let mut module = self.module();
            while let Some(inner) = rest.strip_prefix("super::") {
                // The tests of a file stand in a module of their own, from which the first step leads to the file.
                module.pop();
                rest = inner;
            }
            self.follow(&module, rest, &mut imports);
        }
        imports
    }

    /// Adds the paths that `rest` begins with, which go on from `base`: one, or all in braces.
    fn follow(&self, base: &[String], rest: &str, imports: &mut Vec<Vec<String>>) {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0_usize;
            let mut item = String::new();
            for c in group.chars() {
                match c {
                    '}' if depth == 0 => break,
                    ',' if depth == 0 => {
                        self.follow(base, item.trim(), imports);
                        item.clear();
                        continue;
                    }
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                item.push(c);
            }
            if !item.trim().is_empty() {
                self.follow(base, item.trim(), imports);
            }
            return;
        }
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let path = [base, &[name.to_owned()]].concat();
        match after.strip_prefix("::") {
            Some(inner) => self.follow(&path, inner, imports),
            None => imports.push(path),
        }
    }
}

/// The text without comments and string literals, which may hold what looks like a path.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(['/', '"']) {
        code.push_str(&rest[..start]);
        rest = &rest[start..];
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if rest.starts_with('"') && !code.ends_with('\'') {
            let mut is_escaped = false;
            let end = rest[1..].find(|c| {
                let ends = c == '"' && !is_escaped;
                is_escaped = c == '\\' && !is_escaped;
                ends
            });
            rest = &rest[end.map_or(rest.len(), |end| end + 2)..];
        } else {
            code.push_str(&rest[..1]);
            rest = &rest[1..];
        }
    }
    code + rest
}

/// The module in the table of a path from the crate's root.
fn top(path: &[String]) -> String {
    match path {
        [ops, family, ..] if ops == "ops" => format!("ops/{family}"),
        [first, ..] => first.clone(),
        [] => String::new(),
    }
}

/// Each import that the table does not allow, and each that it lists but nothing needs.
fn violations(sources: &[Source], table: &[Layer]) -> Vec<String> {
    let allowed: BTreeMap<&str, &BTreeSet<String>> = table
        .iter()
        .map(|layer| (layer.module.as_str(), &layer.imports))
        .collect();
    let modules: BTreeMap<Vec<String>, &Path> = sources
        .iter()
        .map(|source| (source.module(), source.path.as_path()))
        .collect();
    let row = |module: &str| -> Option<&str> {
        let listed = allowed.keys().find(|listed| **listed == module);
        let family = || Some(FAMILY).filter(|_| module.starts_with("ops/"));
        listed.copied().or_else(family)
    };
    let mut found = Vec::new();
    let mut used: BTreeSet<(&str, &str)> = BTreeSet::new();
    for source in sources {
        let own = top(&source.module());
        if matches!(own.as_str(), "lib" | "main") {
            continue;
        }
        let Some(own_row) = row(&own) else {
            found.push(format!(
                "src/{}: the table has no row for `{own}`",
                source.path.display()
            ));
            continue;
        };
        for import in source.imports() {
            let longest = (1..=import.len())
                .rev()
                .find_map(|len| modules.get(&import[..len]));
            let (Some(file), other) = (longest, top(&import)) else {
                continue;
            };
            // The list of families is no module of theirs.
            if other == own || own == "ops" {
                continue;
            }
            let Some(other_row) = row(&other) else {
                continue;
            };
            used.insert((own_row, other_row));
            let is_other_family = own_row == FAMILY && other_row == FAMILY;
            if is_other_family || !allowed[own_row].contains(other_row) {
                found.push(format!(
                    "src/{} imports src/{}, but `{own_row}` may not import `{other_row}`",
                    source.path.display(),
                    file.display()
                ));
            }
        }
    }
    for layer in table.iter().filter(|layer| layer.module != "ops") {
        for import in &layer.imports {
            if !used.contains(&(layer.module.as_str(), import.as_str())) {
                found.push(format!("`{}` does not import `{import}`", layer.module));
            }
        }
    }
    found
}

fn sources(folder: &Path, below: &Path, sources_: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, below, sources_);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            sources_.push(Source::new(path.strip_prefix(below).unwrap(), &text));
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn layers() -> Vec<Layer> {
    table(&fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap())
}

#[test]
fn a_room_imports_only_what_stands_above_it() {
    let table = layers();
    for (position, layer) in table.iter().enumerate() {
        let above: Vec<&str> = table[..position]
            .iter()
            .map(|l| l.module.as_str())
            .collect();
        for import in &layer.imports {
            assert!(
                above.contains(&import.as_str()),
                "`{}` lists `{import}`, which is not above it",
                layer.module
            );
        }
    }
    let mut all = Vec::new();
    let folder = root().join("src");
    sources(&folder, &folder, &mut all);
    assert!(all.len() > 200, "only {} files", all.len());
    let violations = violations(&all, &table);
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn an_import_against_the_order_is_found_with_both_files() {
    let table = table(
        "## Layers\n\
         | module | what | imports |\n\
         | --- | --- | --- |\n\
         | `error.rs` | errors | – |\n\
         | `kernels/` | numerics | `error` |\n\
         | `ops/FAMILY/` | ops | `kernels` |\n",
    );
    let right = || {
        vec![
            Source::new("error.rs", ""),
            Source::new("kernels/map.rs", "use crate::error::{Error, Result};"),
            Source::new("ops/shape/mod.rs", "mod pad;"),
            Source::new(
                "ops/shape/pad.rs",
                "use crate::{kernels::map::{self, zip}};",
            ),
            Source::new(
                "ops/index/gather.rs",
                "// crate::lower\nfn f() { crate::kernels::map::map(\"crate::lower\") }",
            ),
        ]
    };
    assert_eq!(violations(&right(), &table), [""; 0]);
    for (path, text, words) in [
        (
            "kernels/conv.rs",
            "use crate::ops::shape::pad::Pad;",
            ["src/kernels/conv.rs", "src/ops/shape/pad.rs"],
        ),
        (
            "kernels/conv.rs",
            "use super::super::ops::shape;",
            ["src/kernels/conv.rs", "src/ops/shape/mod.rs"],
        ),
        (
            "error.rs",
            "type T = crate::kernels::map::T;",
            ["src/error.rs", "src/kernels/map.rs"],
        ),
        (
            "ops/index/put.rs",
            "use crate::{error, ops::shape::pad};",
            ["src/ops/index/put.rs", "src/ops/shape/pad.rs"],
        ),
        (
            "ops/index/put.rs",
            "use super::super::shape::pad;",
            ["src/ops/index/put.rs", "src/ops/shape/pad.rs"],
        ),
        ("attic/old.rs", "", ["src/attic/old.rs", "no row"]),
    ] {
        let mut sources = right();
        sources.push(Source::new(path, text));
        let found = violations(&sources, &table).join("\n");
        assert!(
            words.iter().all(|word| found.contains(word)),
            "{path}: {text}: {found}"
        );
    }
    let unused = violations(&right()[..1], &table).join("\n");
    assert!(
        unused.contains("`kernels` does not import `error`"),
        "{unused}"
    );
}
