//! Pictures for the report, drawn by the runtime from the exported bytes: what is judged is what is shipped.
use crate::error::Result;
use crate::eval::evaluate::draw::{Artist, Drawing};
use crate::eval::picture::save;
use crate::plot::{Figure as _, Pictures};
use crate::target::LATEST;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, Diffusion, Request, SessionOptions, batch_seeds};
use std::path::Path;

/// Pictures per label.
const ROWS: usize = 4;
/// Pictures where there are no labels.
const UNLABELLED: usize = 10;

/// Draws a grid, a column for each label and four seeds down, with the file's own defaults, and writes it as PNG.
///
/// # Errors
/// If the runtime refuses the bytes, or the file cannot be written.
pub fn grid(file: &[u8], path: &Path) -> Result<()> {
    let runtime = nijimi_runtime::Error::from;
    let file = File::new_checked(file).map_err(runtime)?;
    let pipeline = Diffusion::load(&file, &Device::Cpu)?;
    let info = pipeline.info();
    let columns = if info.labels.is_empty() { UNLABELLED } else { info.labels.len() };
    let mut session = pipeline.session(&SessionOptions { batch: columns, ..SessionOptions::default() })?;
    let calls = pipeline.calls(info.defaults.solver, info.defaults.steps)?;
    let ([h, w], c) = (info.network.size(), info.network.channels());
    let labels: Vec<Option<u32>> = (0..columns).map(|i| (i < info.labels.len()).then_some(i as u32)).collect();
    let mut canvas = image::RgbImage::new((columns * w) as u32, (ROWS * h) as u32);
    for row in 0..ROWS {
        // Labels share a row's seed, so that columns can be compared; without labels every picture has its own.
        let first = (row * columns) as u64;
        let seeds = if info.labels.is_empty() { batch_seeds(first, columns) } else { vec![row as u64; columns] };
        let request =
            Request { labels: &labels, seeds: &seeds, calls: &calls, guidance_scale: info.defaults.guidance_scale };
        let mut run = session.run(&request)?;
        while run.step()?.is_some() {}
        let bytes = run.to_u8()?;
        for (i, pixel) in bytes.chunks_exact(c).enumerate() {
            let (column, y, x) = (i / (h * w), i / w % h, i % w);
            let rgb = if c == 3 { [pixel[0], pixel[1], pixel[2]] } else { [pixel[0]; 3] };
            canvas.put_pixel((column * w + x) as u32, (row * h + y) as u32, image::Rgb(rgb));
        }
    }
    save(canvas, path)
}

/// Draws one picture for each prompt with the file's own defaults, in a grid, and writes it as PNG.
///
/// # Errors
/// If the runtime refuses the bytes, or the file cannot be written.
pub fn prompts(file: &[u8], prompts: &[String], path: &Path) -> Result<()> {
    // Where the report keeps the same bytes.
    let artist = Artist::of(&path.with_file_name(LATEST), file, &Drawing::default())?;
    let prompts: Vec<(&String, u64)> = prompts.iter().map(|prompt| (prompt, 0)).collect();
    let mut pictures = Vec::new();
    for part in prompts.chunks(8) {
        pictures.extend(artist.at_once(part)?);
    }
    Pictures::new(artist.side, artist.side, 3, pictures).columns(8).save(path)
}
