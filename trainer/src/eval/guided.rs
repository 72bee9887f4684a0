//! `nijimi-train guided`: classifier guidance measured, by a judge that had no part in it (book step 10.3; Dhariwal and Nichol
//! 2021).
use super::frechet::{Gaussian, frechet_distance};
use super::sample::{self, Model};
use crate::data::idx::{LabelledPictures, Split};
use crate::error::{Error, Result};
use crate::launch;
use crate::nn::judge::FEATURES;
use crate::plot::{Chart, Pictures};
use crate::report::{Comparison, Report};
use crate::say::say;
use crate::systems::judge::{JudgeSettings, TrainedJudge};
use crate::target;
use argh::{ArgsInfo, FromArgs};
use dfdx::prelude::Cpu;
use nijimi_cli::number;
use nijimi_cli::target::Named;
use nijimi_runtime::gguf::{File, MappedFile};
use nijimi_runtime::model::{Classifier, ClassifierGuided, Device, GuidedRequest, SessionOptions, batch_seeds};
use std::path::PathBuf;

/// Measure classifier guidance: samples of a diffusion model that a classifier leads, by the strength of its lead.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "guided")]
pub struct GuidedArgs {
    /// the diffusion model's weight file; labels it knows are not told to it
    #[argh(option, short = 'm')]
    model: PathBuf,
    /// the classifier's weight file
    #[argh(option)]
    classifier: PathBuf,
    /// folder with the IDX files that both were trained on
    #[argh(option)]
    data: PathBuf,
    /// the judge's weights (.safetensors): used if the file is there, otherwise trained and written there
    #[argh(option)]
    judge: PathBuf,
    /// strengths of guidance (default 0,1,2,3,5,8)
    #[argh(option, default = "String::from(\"0,1,2,3,5,8\")")]
    gammas: String,
    /// pictures to draw for each strength, labels in turn (default 200)
    #[argh(option, from_str_fn(number::count), default = "200")]
    samples: usize,
    /// seed of the first picture; the others count on (default 0)
    #[argh(option, short = 's', default = "0")]
    seed: u64,
    /// sampler steps (default 50)
    #[argh(option, from_str_fn(number::count), default = "50")]
    steps: usize,
    /// ddim or ddpm (default ddim)
    #[argh(option, default = "String::from(\"ddim\")")]
    sampling_method: String,
    /// pictures drawn at once (default 50)
    #[argh(option, from_str_fn(number::count), short = 'b', default = "50")]
    batch: usize,
    /// threads (default: all cores)
    #[argh(option, from_str_fn(number::threads), short = 't')]
    threads: Option<usize>,
    /// folder for the report
    #[argh(option)]
    report: PathBuf,
}

/// What one strength of guidance gave.
#[derive(Clone, Debug)]
pub struct Strength {
    /// The strength.
    pub gamma: f32,
    /// Share of the pictures that the judge recognizes as asked.
    pub recognized: f64,
    /// Fréchet distance of the judge's features to those of the test set.
    pub frechet: f64,
    /// The pictures, `(n, h, w)`, 0 to 1, clipped.
    pub pictures: Vec<f32>,
}

/// What is drawn and how.
pub struct Sweep<'a> {
    /// The diffusion model.
    pub model: &'a Model,
    /// The classifier.
    pub classifier: &'a Classifier,
    /// The judge.
    pub judge: &'a TrainedJudge<Cpu>,
    /// Of the test set's features.
    pub reference: &'a Gaussian,
    /// Pictures for each strength, labels in turn.
    pub samples: usize,
    /// Sampler, steps, first seed, batch and threads; its guidance scale says nothing.
    pub settings: &'a sample::SampleSettings,
}

impl Sweep<'_> {
    /// Draws and judges pictures at one strength; picture `i` has the same seed and label at each.
    ///
    /// # Errors
    /// If model and classifier do not belong together.
    pub fn at(&self, gamma: f32) -> Result<Strength> {
        let s = self.settings;
        let batch = s.batch.min(self.samples).max(1);
        let options = SessionOptions { batch, guidance: false, threads: s.threads, ..SessionOptions::default() };
        let classifier = self.classifier.session(&options)?;
        let mut guided = ClassifierGuided::new(self.model.session(&options)?, classifier)?;
        let calls = self.model.calls(s.solver, s.steps)?;
        let count = self.classifier.info().network.label_count;
        let asked: Vec<Option<u32>> = (0..self.samples).map(|i| Some((i % count) as u32)).collect();
        let [low, high] = self.classifier.info().range;
        let mut pictures = Vec::new();
        for (i, labels) in asked.chunks(batch).enumerate() {
            let seeds = batch_seeds(s.seed.wrapping_add((i * batch) as u64), labels.len());
            let request = GuidedRequest { labels, seeds: &seeds, calls: &calls, gamma, conditional: false };
            let mut run = guided.run(&request)?;
            while run.step()?.is_some() {}
            pictures.extend(run.pictures()?.iter().map(|v| ((v - low) / (high - low)).clamp(0.0, 1.0)));
        }
        let verdict = self.judge.judge(&pictures);
        let right =
            verdict.labels.iter().zip(&asked).filter(|(found, asked)| **asked == Some(u32::from(**found))).count();
        let frechet = frechet_distance(&Gaussian::fit(&verdict.features, FEATURES), self.reference);
        Ok(Strength { gamma, recognized: right as f64 / asked.len() as f64, frechet, pictures })
    }
}

/// The report of a sweep; `columns` labels are shown for each strength.
///
/// # Errors
/// If a figure cannot be drawn.
pub fn report(sweep: &[Strength], labels: &[String], (width, height): (usize, usize)) -> Result<Report> {
    let mut report = Report::new("Classifier guidance (step 10.3)");
    let shown = labels.len().min(10);
    let first = |s: &Strength| s.pictures[..(shown * width * height).min(s.pictures.len())].to_vec();
    let grid = Pictures::new(width, height, 1, sweep.iter().flat_map(first).collect()).columns(shown).zoom(2);
    let rows = sweep.iter().map(|s| format!("gamma {}", s.gamma));
    let grid = grid.row_labels(rows).column_labels(labels[..shown].to_vec());
    let caption = "An unconditional diffusion model, led by a classifier of noised pictures: a row for each strength, a column \
                   for each label asked; a column has the same noise throughout.";
    report.figure("guided", caption, &grid)?;
    let curve = |f: fn(&Strength) -> f64| sweep.iter().map(|s| (f64::from(s.gamma), f(s))).collect::<Vec<_>>();
    let chart = Chart::new("").x_label("gamma").y_label("recognized as asked, %").y_range(0.0, 102.0);
    let chart = chart.line(curve(|s| 100.0 * s.recognized), "").markers();
    report.figure("recognized", "Share of the pictures that a separate judge recognizes as asked.", &chart)?;
    let chart = Chart::new("").x_label("gamma").y_label("Frechet distance").line(curve(|s| s.frechet), "").markers();
    report.figure(
        "frechet",
        "Distance to the test set in the judge's features: what legibility costs in variety.",
        &chart,
    )?;
    let recognized = |s: &Strength| Comparison::new(format!("recognized, gamma {} (%)", s.gamma), 100.0 * s.recognized);
    let distance = |s: &Strength| Comparison::new(format!("Frechet distance, gamma {}", s.gamma), s.frechet);
    report.table("Recognized as asked", sweep.iter().map(|s| recognized(s).key()));
    report.table("Frechet distance to the test set", sweep.iter().map(distance));
    Ok(report)
}

/// Runs the command.
///
/// # Errors
/// Files that are missing, damaged or do not belong together, and settings that make no sense.
pub fn run(a: &GuidedArgs) -> Result<()> {
    let gammas: Option<Vec<f32>> = a.gammas.split(',').map(|g| g.trim().parse().ok()).collect();
    let gammas = gammas.filter(|g| g.iter().all(|g| g.is_finite()));
    let gammas = gammas.ok_or_else(|| Error::Usage(format!("--gammas {}: expected numbers with commas", a.gammas)))?;
    if a.samples < 2 {
        return Err(Error::Usage("--samples must be at least 2".into()));
    }
    let mut inputs: Vec<Named<'_>> = vec![("--model", &a.model), ("--classifier", &a.classifier)];
    let mut outputs = Vec::new();
    if a.judge.exists() { &mut inputs } else { &mut outputs }.push(("--judge", &*a.judge));
    target::prove_folder(&a.report, &outputs, &inputs)?;
    launch::threads(a.threads)?;
    let settings = sample::SampleSettings {
        seed: a.seed,
        steps: a.steps,
        guidance_scale: 1.0,
        solver: sample::solver(&a.sampling_method)?,
        batch: a.batch,
        threads: a.threads.unwrap_or(0),
    };
    let model = Model::open(&a.model)?;
    let mapped = MappedFile::open(&a.classifier).map_err(nijimi_runtime::Error::from)?;
    let load = || Classifier::load(&File::new_checked(mapped.bytes())?, &Device::Cpu);
    let classifier = load().map_err(|e| Error::data(&a.classifier, e.to_string()))?;
    let test = LabelledPictures::load(&a.data, Split::Test)?;
    let device = Cpu::default();
    let judge = if a.judge.exists() {
        TrainedJudge::load(device, &a.judge)?
    } else {
        let train = LabelledPictures::load(&a.data, Split::Train)?;
        let mut judge = TrainedJudge::train(device, &train, &JudgeSettings::default())?;
        judge.save(&a.judge, &launch::command_line())?;
        judge
    };
    if judge.size() != (test.width, test.height) || judge.labels() != classifier.info().network.label_count {
        return Err(Error::data(&a.judge, "judges other pictures or other labels"));
    }
    let unit: Vec<f32> = test.pixels.iter().map(|p| f32::from(*p) / 255.0).collect();
    let reference = Gaussian::fit(&judge.judge(&unit).features, FEATURES);
    let sweep = Sweep {
        model: &model,
        classifier: &classifier,
        judge: &judge,
        reference: &reference,
        samples: a.samples,
        settings: &settings,
    };
    say!("gamma  recognized  Frechet distance");
    let mut strengths = Vec::new();
    for gamma in gammas {
        let s = sweep.at(gamma)?;
        say!("{:>5}  {:>8.1} %  {:>16.1}", s.gamma, 100.0 * s.recognized, s.frechet);
        strengths.push(s);
    }
    report(&strengths, &classifier.info().labels, (test.width, test.height))?.write(&a.report)
}
