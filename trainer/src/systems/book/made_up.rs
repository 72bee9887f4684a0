//! Data for those who have none: drawn, and said to be so in every report.
use super::data::{Sources, write_idx};
use crate::checkpoint::write_atomic;
use crate::error::{Error, Result};
use crate::eval::sample::{Model, SampleSettings};
use crate::plot::Figure;
use crate::say::tell;
use image::{Rgb, RgbImage};
use nijimi_runtime::raw::dist::{Mixture, MultivariateNormal};
use nijimi_runtime::raw::rng::Stream;
use nijimi_runtime::sampler::Solver;
use std::fmt::Write;
use std::path::Path;

/// The digits' model.
pub(super) use nijimi_weights::DIGITS;
/// Its name.
pub(super) const DIGITS_NAME: &str = "digits-q8_0.gguf";

/// Rows of the tables: as many as the book's.
const PEOPLE: usize = 25_000;
const ERUPTIONS: usize = 272;
/// Steps of a digit: few, so that thousands take minutes.
const STEPS: usize = 5;
/// Digits to train on and to test with.
const COUNTS: [usize; 2] = [10_000, 2000];
/// The same for a quick run.
pub(super) const QUICK_COUNTS: [usize; 2] = [2000, 400];
/// Digits drawn at once.
const BATCH: usize = 40;

/// Makes data in `folder`, or finds them there if `keep` allows it and they were made with the same settings.
///
/// # Errors
/// If the folder cannot be written.
pub(super) fn make(folder: &Path, seed: u64, quick: bool, threads: usize, keep: bool) -> Result<Sources> {
    let counts = if quick { QUICK_COUNTS } else { COUNTS };
    let fingerprint = format!("made up, seed {seed}, {} digits", counts[0]);
    let (book, digits) = (folder.join("book"), folder.join("mnist"));
    let sources = Sources {
        heights: book.join("height.txt"),
        height_weight: book.join("height_weight.txt"),
        faithful: book.join("old_faithful.txt"),
        flower: book.join("flower.png"),
        digits: digits.clone(),
        made_up: true,
        fingerprint: fingerprint.clone(),
    };
    // Written last, so what it stands beside is whole.
    let marker = folder.join("made-up.txt");
    if keep && std::fs::read_to_string(&marker).is_ok_and(|m| m == fingerprint) {
        return Ok(sources);
    }
    for folder in [&book, &digits] {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    people(&sources, seed)?;
    eruptions(&sources, seed)?;
    write_atomic(&sources.flower, &flower().png()?)?;
    for (stem, count, first) in [("train", counts[0], 0), ("t10k", counts[1], 1 << 32)] {
        tell!("made-up data: {count} digits ({stem})");
        draw_digits(&digits, stem, count, seed.wrapping_add(first), threads)?;
    }
    write_atomic(&marker, fingerprint.as_bytes())?;
    Ok(sources)
}

fn invalid(e: impl std::fmt::Display) -> Error {
    Error::Internal(format!("made-up data: {e}"))
}

/// Heights and weights from a normal distribution near the book's; the heights alone are the first column.
fn people(sources: &Sources, seed: u64) -> Result<()> {
    let law = MultivariateNormal::new(vec![172.7, 57.64], vec![23.33, 12.85, 12.85, 27.98]).map_err(invalid)?;
    let mut stream = Stream::new(seed, "made-up people", 0);
    let (mut heights, mut both, mut row) = (String::new(), String::new(), [0.0; 2]);
    for _ in 0..PEOPLE {
        law.sample(&mut stream, &mut row);
        _ = writeln!(heights, "{:.6}", row[0]);
        _ = writeln!(both, "{:.6} {:.6}", row[0], row[1]);
    }
    write_atomic(&sources.heights, heights.as_bytes())?;
    write_atomic(&sources.height_weight, both.as_bytes())
}

/// Eruptions of a geyser from the mixture that the book fits.
fn eruptions(sources: &Sources, seed: u64) -> Result<()> {
    let short = MultivariateNormal::new(vec![2.0, 54.5], vec![0.07, 0.44, 0.44, 33.7]).map_err(invalid)?;
    let long = MultivariateNormal::new(vec![4.3, 80.0], vec![0.17, 0.94, 0.94, 36.0]).map_err(invalid)?;
    let law = Mixture::new(vec![0.35, 0.65], vec![short, long]).map_err(invalid)?;
    let mut stream = Stream::new(seed, "made-up eruptions", 0);
    let (mut text, mut row) = (String::new(), [0.0; 2]);
    for _ in 0..ERUPTIONS {
        law.sample(&mut stream, &mut row);
        _ = writeln!(text, "{:.3} {:.0}", row[0], row[1]);
    }
    write_atomic(&sources.faithful, text.as_bytes())
}

/// A flower of 64x64 pixels, yellow on blue, with 13 petals.
fn flower() -> RgbImage {
    RgbImage::from_fn(64, 64, |x, y| {
        let (dx, dy) = (f64::from(x) - 31.5, f64::from(y) - 31.5);
        let (r, angle) = (dx.hypot(dy), dy.atan2(dx));
        let petal = 26.0 * (0.82 + 0.18 * (13.0 * angle).cos());
        let sky = f64::from(y) / 63.0;
        Rgb(if r < 11.0 {
            // Seeds in a spiral.
            let light = 0.5 + 0.5 * (r * 2.1 + 5.0 * angle).sin();
            [90 + (50.0 * light) as u8, 60 + (40.0 * light) as u8, 10]
        } else if r < petal {
            [235, (150.0 + 70.0 * (r / 26.0)) as u8, 0]
        } else {
            [(90.0 + 60.0 * sky) as u8, (150.0 + 50.0 * sky) as u8, (215.0 + 20.0 * sky) as u8]
        })
    })
}

/// Digits of the built-in model with the labels asked for, as IDX files.
fn draw_digits(folder: &Path, stem: &str, count: usize, seed: u64, threads: usize) -> Result<()> {
    let model = Model::of(DIGITS, Path::new(DIGITS_NAME))?;
    let (width, height, _) = model.size();
    let mut stream = Stream::new(seed, "made-up digits", 0);
    let labels: Vec<u8> = (0..count).map(|_| stream.below(model.labels().len() as u64) as u8).collect();
    let wanted: Vec<Option<u32>> = labels.iter().map(|l| Some(u32::from(*l))).collect();
    // Without guidance, which takes twice as long.
    let settings =
        SampleSettings { seed, steps: STEPS, guidance_scale: 1.0, solver: Solver::ddim(0.0), batch: BATCH, threads };
    let pictures = model.sample(&wanted, &settings)?;
    let pixels: Vec<u8> = pictures.iter().map(|v| (v * 255.0).round() as u8).collect();
    write_idx(folder, stem, [count, height, width], &pixels, &labels)
}
