//! Converts a model, and tells how far that is.
//!
//! ```sh
//! cargo run --no-default-features --example convert -- fixtures/paddle-3.3.1/vit/ViT_base_patch16_224 vit.onnx
//! ```

use std::env;
use std::error::Error;
use std::ops::ControlFlow;
use std::path::PathBuf;

use paddle2onnx::{ConvertOptions, Model};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [program, output] = arguments.as_slice() else {
        return Err("give the program, or the folder with it, and the ONNX file".into());
    };
    let model = Model::open(program, None)?;
    // Called while the files are written; it could also end the conversion.
    let progress = |done: u64, total: u64| {
        eprintln!("{done} of {total} bytes");
        ControlFlow::Continue(())
    };
    let options = ConvertOptions {
        progress: &progress,
        ..ConvertOptions::default()
    };
    let conversion = model.convert(output, &options)?;
    for note in &conversion.notes {
        eprintln!("{}: {}", note.places.join(", "), note.text);
    }
    println!(
        "{} nodes in {}",
        conversion.nodes,
        conversion.written.model.display()
    );
    Ok(())
}
