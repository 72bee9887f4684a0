//! Writes the files that `compare.py` draws with: the book's network with random weights, `f32.gguf`, `q8_0.gguf` ...
//!
//! ```sh
//! cargo run --release --example random_model -- FOLDER
//! ```

#[path = "../common/mod.rs"]
mod common;

use nijimi_runtime::gguf::write_atomic;
use std::path::PathBuf;

fn main() {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("random_model: which folder, one that exists?");
        std::process::exit(2);
    };
    for dtype in common::TYPES {
        let path = folder.join(dtype.name()).with_extension("gguf");
        if let Err(e) = write_atomic(&path, &common::book_model(dtype)) {
            eprintln!("random_model: {}: {e}", path.display());
            std::process::exit(3);
        }
    }
}
