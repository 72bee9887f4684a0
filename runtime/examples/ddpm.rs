//! Steps 9 and 10 of the book: digits from a diffusion model, step by step, a row for each label.
//!
//! `cargo run --release -p nijimi-runtime --example ddpm [weights/digits-q8_0.gguf [OUT.png [SEED]]]`

#[path = "common/picture.rs"]
mod picture;

use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, Diffusion, Request, SessionOptions};
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().unwrap_or_else(|| "weights/digits-q8_0.gguf".into());
    let out = arguments.next().unwrap_or_else(|| "ddpm.png".into());
    let seed: u64 = arguments.next().map_or(Ok(1), |seed| seed.parse())?;

    let bytes = std::fs::read(&file).map_err(|e| format!("{file}: {e}"))?;
    let pipeline = Diffusion::load(&File::new_checked(&bytes)?, &Device::Cpu)?;
    let info = pipeline.info();
    let columns = 8;
    // A row a label, or one row without a label.
    let rows: Vec<Option<u32>> = match info.labels.len() {
        0 => vec![None],
        n => (0..n as u32).map(Some).collect(),
    };
    let mut session = pipeline.session(&SessionOptions { batch: columns, ..Default::default() })?;
    let calls = pipeline.calls(info.defaults.solver, info.defaults.steps)?;
    let seeds: Vec<u64> = (0..columns as u64).map(|i| seed + i).collect();
    let mut pictures = Vec::new();
    for label in rows {
        let labels = vec![label; columns];
        let guidance_scale = info.defaults.guidance_scale;
        let mut run = session.run(&Request { labels: &labels, seeds: &seeds, calls: &calls, guidance_scale })?;
        // The loop is ours: this is where a program shows a preview, or stops.
        while let Some(step) = run.step()? {
            eprint!("\r{label:?}: step {} of {}", step.index + 1, step.total);
        }
        pictures.extend(run.to_u8()?);
    }
    eprintln!();
    picture::save(Path::new(&out), &pictures, info.network.size(), columns)
}
