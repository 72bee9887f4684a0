//! Steps 9, 10.1 and 10.4: the noise process, digits by label, guidance.
use super::ladder::Ladder;
use super::made_up::{DIGITS, DIGITS_NAME};
use super::record::Record;
use super::{child, noise};
use crate::checkpoint::write_atomic;
use crate::error::{Error, Result};
use crate::eval::sample::{Model, SampleSettings};
use crate::nn::book_unet::{BookUnet, BookUnetConfig};
use crate::param;
use crate::plot::Pictures;
use crate::report::{Comparison, Report};
use dfdx::prelude::Cpu;
use std::path::{Path, PathBuf};

/// Strengths of guidance that are pictured: 0 ignores the label, 1 is the conditional model of 10.1.
const SCALES: [f32; 6] = [0.0, 1.0, 2.0, 3.0, 5.0, 8.0];
/// Sampler steps of a quick run.
const QUICK_STEPS: usize = 10;

pub(super) fn work(ladder: &Ladder, folder: &Path, record: &mut Record) -> Result<()> {
    let path = folder.join(DIGITS_NAME);
    if ladder.train_all {
        let out = path.clone().into_os_string();
        let data = ladder.sources.digits.clone().into_os_string();
        let training = folder.join("training");
        let seed = ladder.seed.to_string();
        let mut args = vec!["ddpm".into(), "--data".into(), data, "--out".into(), out];
        args.extend(["--report".into(), training.into(), "--seed".into(), seed.into()]);
        if ladder.quick {
            args.extend(["--max-steps", "20"].map(Into::into));
        }
        child::run(ladder, folder, record, &args)?;
    } else {
        model(ladder, folder)?;
    }
    record.weights.push(DIGITS_NAME.into());
    let mut report = Report::new("Steps 9, 10.1, 10.4: diffusion models and guidance");
    counts(&mut report);
    losses(&mut report, ladder);
    noise::add(&mut report, &ladder.sources.flower, ladder.seed, !ladder.sources.made_up)?;
    samples(&mut report, ladder, &Model::open(&path)?)?;
    report.write(folder)
}

/// The diffusion model's file: what this run trained, or a copy of the shipped one in `folder`.
pub(super) fn model(ladder: &Ladder, folder: &Path) -> Result<PathBuf> {
    if ladder.train_all {
        let trained = ladder.out.join("ddpm").join(DIGITS_NAME);
        let missing = || Error::Usage(format!("{} is not there: the rung ddpm makes it", trained.display()));
        return if trained.is_file() { Ok(trained) } else { Err(missing()) };
    }
    let bytes = match &ladder.weights {
        Some(folder) => {
            let file = folder.join(DIGITS_NAME);
            std::fs::read(&file).map_err(Error::io(&file))?
        }
        None => DIGITS.to_vec(),
    };
    let path = folder.join(DIGITS_NAME);
    write_atomic(&path, &bytes)?;
    Ok(path)
}

/// The networks' sizes, counted on networks.
fn counts(report: &mut Report) {
    let count = |label_count| {
        let config = BookUnetConfig { in_channels: 1, channels: vec![64, 128, 256], time_dim: 100, label_count };
        param::count(&mut BookUnet::new(&Cpu::default(), 0, config)) as f64
    };
    report.table(
        "Parameters of the U-Net",
        [
            Comparison::new("with time (9.2)", count(0)).reference(2_167_784.0).within(0.0),
            Comparison::new("with time and 10 labels (10.1)", count(10)).reference(2_168_784.0).within(0.0).key(),
        ],
    );
}

/// Mean training loss of each epoch as the notebook of step 9 prints it: no labels.
const WITHOUT_LABELS: [f64; 10] = [
    0.04624601094516864,
    0.02626658847003476,
    0.02360714031562114,
    0.021446809694885827,
    0.020622817140175845,
    0.019510140475719723,
    0.019234059626725055,
    0.018537617477177304,
    0.018629215957561153,
    0.018106602346782744,
];
/// The same of step 10's `conditional`.
const WITH_LABELS: [f64; 10] = [
    0.049074412559840214,
    0.026316018274693348,
    0.023187720234682564,
    0.021264925452151785,
    0.020076284526603053,
    0.019276358570450784,
    0.019020279235979005,
    0.018115789611647126,
    0.017722000433469633,
    0.01775241631871538,
];
/// The shipped model's, from its card: labels, dropped for one picture of ten.
const SHIPPED: [f64; 10] = [0.04975, 0.02696, 0.02286, 0.02100, 0.01975, 0.01936, 0.01880, 0.01813, 0.01781, 0.01760];

/// How the training went: the shipped model's losses beside the notebooks'. Models of one's own have their log.
fn losses(report: &mut Report, ladder: &Ladder) {
    if ladder.train_all || ladder.weights.is_some() {
        return;
    }
    let names = ["epoch", "shipped model, by its card (10.4)", "notebook, no labels (9)", "notebook, labels (10.1)"];
    let all = SHIPPED.iter().zip(WITHOUT_LABELS).zip(WITH_LABELS).enumerate();
    let rows = all.map(|(i, ((ours, without), with))| {
        let mut row = vec![(i + 1).to_string()];
        row.extend([*ours, without, with].map(|loss| format!("{loss:.5}")));
        row
    });
    report.columns("Mean training loss by epoch", names, rows);
}

fn samples(report: &mut Report, ladder: &Ladder, model: &Model) -> Result<()> {
    let defaults = model.info().defaults;
    let steps = if ladder.quick { QUICK_STEPS.min(defaults.steps) } else { defaults.steps };
    let (width, height, channels) = model.size();
    let names = model.labels();
    let settings = |guidance_scale| SampleSettings {
        seed: ladder.seed,
        steps,
        guidance_scale,
        solver: defaults.solver,
        batch: 20,
        threads: ladder.threads.unwrap_or(0),
    };
    report.heading("Samples (10.1, 10.4)");
    let about = if ladder.train_all { "The model was trained by this run." } else { "The model is the shipped one." };
    let how = format!("{about} Sampler: {}, {steps} steps, seed {}.", defaults.solver, ladder.seed);
    report.text(how);
    if names.is_empty() {
        report.text("The model has no labels, so there is nothing to guide.");
        let pictures = model.sample(&[None; 20], &settings(1.0))?;
        return report.figure("samples", "Samples.", &Pictures::new(width, height, channels, pictures).columns(10));
    }
    let labels: Vec<Option<u32>> = (0..20).map(|i| Some(i % names.len() as u32)).collect();
    let texts = || (0..20).map(|i| names[i % names.len()].clone());
    let free = model.sample(&[None; 20], &settings(1.0))?;
    let sheet = Pictures::new(width, height, channels, free).columns(10);
    report.figure("unlabelled", "Step 9: twenty pictures of no label, as the model knows them too.", &sheet)?;
    let plain = model.sample(&labels, &settings(1.0))?;
    let sheet = Pictures::new(width, height, channels, plain).columns(10).labels(texts());
    report.figure("conditional", "Step 10.1: two of each label, without guidance.", &sheet)?;
    let pictures = model.sample(&labels, &settings(defaults.guidance_scale))?;
    let grid = Pictures::new(width, height, channels, pictures).columns(10).labels(texts());
    report.figure("samples", format!("Step 10.4: two of each label, guidance {}.", defaults.guidance_scale), &grid)?;
    sweep(report, model, settings)
}

/// The same noise for all pictures of a row, so that only the strength differs.
fn sweep(report: &mut Report, model: &Model, settings: impl Fn(f32) -> SampleSettings) -> Result<()> {
    let (width, height, channels) = model.size();
    let names = model.labels();
    let labels: Vec<Option<u32>> = (0..names.len() as u32).map(Some).collect();
    let columns = SCALES.iter().map(|s| model.sample(&labels, &settings(*s))).collect::<Result<Vec<_>>>()?;
    let one = width * height * channels;
    let rows = (0..names.len()).flat_map(|row| columns.iter().map(move |c| &c[row * one..][..one]));
    let grid = Pictures::new(width, height, channels, rows.flatten().copied().collect())
        .columns(SCALES.len())
        .row_labels(names.iter().cloned())
        .column_labels(SCALES.map(|s| s.to_string()));
    let caption = "Guidance from 0 (left: the label is ignored) through 1 (the label as it was learned) to 8. Each row \
                   has one label and one seed.";
    report.figure("guidance", caption, &grid)
}
