//! How fast a large program of Paddle 3 is read, and with how much memory: a process that inspects
//! it, against parsing the same JSON into untyped values.
//!
//!     cargo bench --bench reading
//!
//! The program is that of a nano model with its ops repeated until it has 10 MB. Figures are medians
//! of five rounds after a warm-up, in which the two sides take turns.

mod measure;

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use measure::{median, run};
use serde_json::{Value, json};

const ROUNDS: usize = 5;
const BYTES: usize = 11_500_000;
const MODEL: &str = "fixtures/paddle-3.3.1/vit/ViT_base_patch16_224";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join(MODEL);
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, target] = arguments.as_slice()
        && role == "enlarge"
    {
        let program = enlarged(&fs::read(model.join("inference.json"))?)?;
        return Ok(fs::write(target, program)?);
    }
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("inference.json");
    // A child's peak memory is at least what its parent ever held. So the program is enlarged in another
    // process, and the peak is measured before anything large is read here.
    let mut enlarge = Command::new(std::env::current_exe()?);
    run(enlarge.arg("enlarge").arg(&program))?;
    fs::copy(
        model.join("inference.pdiparams"),
        folder.path().join("inference.pdiparams"),
    )?;
    let inspect = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paddle2onnx-rs"));
        run(command.arg("inspect").arg(&program))
    };
    let peak = inspect()?.peak_kib;
    let (mut ours, mut untyped) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let measured = inspect()?;
        let start = Instant::now();
        let value: Value = serde_json::from_slice(&fs::read(&program)?)?;
        let seconds = start.elapsed().as_secs_f64();
        drop(value);
        if round > 0 {
            ours.push(measured.seconds);
            untyped.push(seconds);
        }
    }
    let (ours, untyped) = (median(ours), median(untyped));
    let size = fs::metadata(&program)?.len() as f64;
    println!(
        "{:.1} MB of JSON: inspected in {ours:.3} s ({:.2} × parsing it into untyped values, \
         {untyped:.3} s), peak {} MiB ({:.1} × the file)",
        size / 1e6,
        ours / untyped,
        peak / 1024,
        peak as f64 * 1024.0 / size
    );
    Ok(())
}

/// The program with its ops repeated, each time with other value numbers.
fn enlarged(program: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let copies = BYTES / program.len();
    let mut program: Value = serde_json::from_slice(program)?;
    let ops = program["program"]["regions"][0]["blocks"][0]["ops"]
        .as_array_mut()
        .ok_or("a program without ops")?;
    let is_body = |op: &&Value| !matches!(op["#"].as_str(), Some("p" | "1.data" | "1.fetch"));
    let body: Vec<Value> = ops.iter().filter(is_body).cloned().collect();
    let results = body
        .iter()
        .flat_map(|op| op["O"].as_array().into_iter().flatten());
    let results: HashSet<i64> = results.filter_map(|result| result["%"].as_i64()).collect();
    let stride = 1 + results.iter().copied().max().unwrap_or(0);
    for copy in 1..=i64::try_from(copies)? {
        for op in &body {
            let mut op = op.clone();
            for list in ["I", "O"] {
                for value in op[list].as_array_mut().into_iter().flatten() {
                    let number = value["%"].as_i64().unwrap_or(0);
                    if results.contains(&number) {
                        value["%"] = json!(number + copy * stride);
                    }
                }
            }
            ops.push(op);
        }
    }
    Ok(program.to_string().into_bytes())
}
