//! `nijimi-train eval`.
use super::frechet::{Gaussian, frechet_distance};
use super::neighbour::{Distribution, Neighbour, nearest};
use super::picture::{save, sheet};
use super::psnr::Psnr;
use super::report::{Comparison, Figures, LabelCount, ModelFigures, RealFigures, Recognition};
use super::sample::{self, Model};
use crate::checkpoint::write_atomic;
use crate::data::idx::{LabelledPictures, Split};
use crate::error::{Error, Result};
use crate::launch;
use crate::nn::judge::FEATURES;
use crate::say::{self, say, tell};
use crate::systems::judge::{JudgeSettings, TrainedJudge};
use crate::target;
use argh::{ArgsInfo, FromArgs};
use dfdx::prelude::Cpu;
use nijimi_cli::number;
use nijimi_cli::target::Named;
use nijimi_runtime::raw::rng::Stream;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Judge a model's samples: recognition, Frechet distance, nearest training pictures, cost of quantization. Without
/// --model: train or check the judge, and print the figures of real pictures.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "eval")]
pub struct EvalArgs {
    /// folder with the IDX files that the model was trained on
    #[argh(option)]
    data: PathBuf,
    /// the judge's weights (.safetensors): used if the file is there, otherwise trained and written there
    #[argh(option)]
    judge: PathBuf,
    /// the weight file to judge
    #[argh(option)]
    model: Option<PathBuf>,
    /// another weight file of the same model, compared at the same seeds (may be given more than once)
    #[argh(option)]
    against: Vec<PathBuf>,
    /// pictures to draw, labels in turn (default 1000)
    #[argh(option, from_str_fn(number::count), default = "1000")]
    samples: usize,
    /// seed of the first picture; the others count on (default 0)
    #[argh(option, short = 's', default = "0")]
    seed: u64,
    /// sampler steps (default: the model's own)
    #[argh(option, from_str_fn(number::count))]
    steps: Option<usize>,
    /// strength of guidance (default: the model's own)
    #[argh(option, from_str_fn(number::finite))]
    cfg_scale: Option<f32>,
    /// ddim or ddpm (default ddim)
    #[argh(option, default = "String::from(\"ddim\")")]
    sampling_method: String,
    /// pictures drawn at once (default 50)
    #[argh(option, from_str_fn(number::count), short = 'b', default = "50")]
    batch: usize,
    /// threads (default: all cores)
    #[argh(option, from_str_fn(number::threads), short = 't')]
    threads: Option<usize>,
    /// passes over the data where the judge is trained (default 4)
    #[argh(option, from_str_fn(number::times))]
    judge_epochs: Option<u64>,
    /// write all figures to this file, as JSON
    #[argh(option)]
    json: Option<PathBuf>,
    /// folder for pictures: samples and the closest pairs (default: the model's, or judge's, name with -eval)
    #[argh(option)]
    report: Option<PathBuf>,
}

/// The closest pairs that are pictured.
const PAIRS: usize = 20;
/// Keys the choice of real pictures, so that their figures are the same in every run.
const REAL_SEED: u64 = 20;

/// Runs the command; the tables go to stdout, progress to stderr.
///
/// # Errors
/// Files that are missing, damaged or do not belong together, and settings that make no sense.
pub fn run(a: &EvalArgs) -> Result<()> {
    if a.samples < 2 {
        return Err(Error::Usage("--samples must be at least 2".into()));
    }
    let there = a.judge.exists();
    launch::obeyed(&[("--judge-epochs", "a judge that is trained already", there && a.judge_epochs.is_some())])?;
    if a.model.is_none() && !a.against.is_empty() {
        return Err(Error::Usage("--against needs a --model to compare with".into()));
    }
    let solver = sample::solver(&a.sampling_method)?;
    launch::threads(a.threads)?;
    let command = launch::command_line();
    let stem = a.model.as_ref().unwrap_or(&a.judge);
    let folder = a.report.clone().unwrap_or_else(|| {
        stem.with_file_name(format!("{}-eval", stem.file_stem().unwrap_or_default().to_string_lossy()))
    });
    let models =
        a.model.iter().map(|path| ("--model", &**path)).chain(a.against.iter().map(|path| ("--against", &**path)));
    let mut inputs: Vec<Named<'_>> = models.chain([("--data", &*a.data)]).collect();
    let mut outputs: Vec<Named<'_>> = a.json.iter().map(|path| ("--json", &**path)).collect();
    if there { &mut inputs } else { &mut outputs }.push(("--judge", &a.judge));
    target::prove_folder(&folder, &outputs, &inputs)?;
    let (train, test) = (LabelledPictures::load(&a.data, Split::Train)?, LabelledPictures::load(&a.data, Split::Test)?);
    // Opened first, so that a wrong file is found before minutes are spent.
    let model = a.model.as_deref().map(|path| open(path, &train)).transpose()?;
    let others = a.against.iter().map(|path| open(path, &train)).collect::<Result<Vec<_>>>()?;
    let judge = judge(a, &train, &command)?;
    std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    let bench = Bench::new(a, &judge, &train, &test)?;
    let real = bench.real(&folder)?;
    let own = model.as_ref().map(Model::info);
    let settings = sample::SampleSettings {
        seed: a.seed,
        steps: a.steps.or(own.map(|info| info.steps(solver))).unwrap_or_default(),
        guidance_scale: a.cfg_scale.or(own.map(|info| info.defaults.guidance_scale)).unwrap_or(1.0),
        solver,
        batch: a.batch,
        threads: a.threads.unwrap_or(0),
    };
    let mut figures = Figures {
        command,
        settings: json!({
            "data": a.data, "samples": a.samples, "seed": a.seed, "steps": settings.steps,
            "guidance_scale": settings.guidance_scale,
            "sampling_method": a.sampling_method, "batch": a.batch,
        }),
        real,
        model: None,
        against: Vec::new(),
    };
    if let (Some(model), Some(path)) = (&model, &a.model) {
        let drawn = bench.draw(model, path, &settings)?;
        figures.model = Some(bench.model(path, &drawn, &folder)?);
        for (other, path) in others.iter().zip(&a.against) {
            if other.labels() != model.labels() {
                return Err(Error::data(path, "its labels are not the model's, so it cannot be compared"));
            }
            let compared = bench.draw(other, path, &settings)?;
            figures.against.push(bench.compare(path, &drawn, &compared)?);
        }
    }
    say::out(format_args!("{}", figures.table()));
    say!("\npictures are in {}", folder.display());
    if let Some(path) = &a.json {
        write_atomic(path, format!("{:#}\n", figures.json()).as_bytes())?;
    }
    Ok(())
}

fn open(path: &Path, data: &LabelledPictures) -> Result<Model> {
    let model = Model::open(path)?;
    let (w, h, c) = model.size();
    if (w, h, c) != (data.width, data.height, 1) {
        let (dw, dh) = (data.width, data.height);
        return Err(Error::data(path, format!("draws {w}x{h} with {c} channels, --data has {dw}x{dh} with 1")));
    }
    Ok(model)
}

/// Loads the judge, or trains and saves it.
fn judge(a: &EvalArgs, train: &LabelledPictures, command: &str) -> Result<TrainedJudge<Cpu>> {
    let device = Cpu::default();
    let judge = if a.judge.exists() {
        TrainedJudge::load(device, &a.judge)?
    } else {
        tell!("{} is not there: a judge is trained", a.judge.display());
        let settings = JudgeSettings {
            epochs: a.judge_epochs.unwrap_or(JudgeSettings::default().epochs),
            ..JudgeSettings::default()
        };
        let mut judge = TrainedJudge::train(device, train, &settings)?;
        judge.save(&a.judge, command)?;
        judge
    };
    if judge.size() != (train.width, train.height) {
        let ((w, h), (dw, dh)) = (judge.size(), (train.width, train.height));
        return Err(Error::data(&a.judge, format!("judges {w}x{h}, --data has {dw}x{dh}")));
    }
    Ok(judge)
}

/// What a model drew, and how long that took.
struct Drawn {
    pictures: Vec<f32>,
    asked: Vec<Option<u32>>,
    names: Vec<String>,
    seconds: f64,
}

/// Everything that samples are measured against.
struct Bench<'a> {
    args: &'a EvalArgs,
    judge: &'a TrainedJudge<Cpu>,
    train: &'a LabelledPictures,
    test: &'a LabelledPictures,
    /// Of the test set's features.
    reference: Gaussian,
    /// Of the judge on the test set.
    accuracy: f64,
}

impl<'a> Bench<'a> {
    fn new(
        args: &'a EvalArgs,
        judge: &'a TrainedJudge<Cpu>,
        train: &'a LabelledPictures,
        test: &'a LabelledPictures,
    ) -> Result<Self> {
        let verdict = judge.judge(&unit(&test.pixels));
        let right = verdict.labels.iter().zip(&test.labels).filter(|(found, truth)| found == truth).count();
        let accuracy = right as f64 / test.len() as f64;
        // A judge of other pictures, or of other labels, would give figures that mean nothing.
        if accuracy < 0.5 {
            let found = format!("{:.1} % of the test pictures", 100.0 * accuracy);
            return Err(Error::data(&args.judge, format!("recognises {found}: not a judge of this data")));
        }
        Ok(Self { args, judge, train, test, reference: Gaussian::fit(&verdict.features, FEATURES), accuracy })
    }

    fn frechet(&self, features: &[f32]) -> f64 {
        frechet_distance(&Gaussian::fit(features, FEATURES), &self.reference)
    }

    /// The figures of real pictures, as many as samples, the labels in turn as theirs.
    fn real(&self, folder: &Path) -> Result<RealFigures> {
        let n = self.args.samples;
        let pick = |data: &LabelledPictures, purpose| {
            let picked = balanced(data, n, self.judge.labels(), purpose);
            picked.iter().flat_map(|i| unit(data.picture(*i))).collect::<Vec<f32>>()
        };
        let floor = self.frechet(&self.judge.judge(&pick(self.train, "real train")).features);
        let pictures = pick(self.test, "real test");
        let neighbours = nearest(&pictures, &self.train.pixels, self.train.width * self.train.height);
        self.save_pairs(&pictures, &neighbours, &folder.join("closest-test.png"))?;
        Ok(RealFigures {
            judge: self.args.judge.display().to_string(),
            accuracy: self.accuracy,
            test_pictures: self.test.len(),
            compared: neighbours.len(),
            floor,
            test_neighbours: Distribution::of(&neighbours),
        })
    }

    fn draw(&self, model: &Model, path: &Path, settings: &sample::SampleSettings) -> Result<Drawn> {
        let names = model.labels().to_vec();
        let label = |i: usize| (!names.is_empty()).then(|| (i % names.len()) as u32);
        let asked: Vec<Option<u32>> = (0..self.args.samples).map(label).collect();
        tell!("drawing {} pictures with {}", asked.len(), path.display());
        let begun = Instant::now();
        let pictures = model.sample(&asked, settings)?;
        Ok(Drawn { pictures, asked, names, seconds: begun.elapsed().as_secs_f64() })
    }

    fn model(&self, path: &Path, drawn: &Drawn, folder: &Path) -> Result<ModelFigures> {
        let (w, h) = (self.train.width, self.train.height);
        let first = &drawn.pictures[..drawn.pictures.len().min(100 * w * h)];
        save(sheet(first, w, h, 10), &folder.join("samples.png"))?;
        let verdict = self.judge.judge(&drawn.pictures);
        let neighbours = nearest(&drawn.pictures, &self.train.pixels, w * h);
        self.save_pairs(&drawn.pictures, &neighbours, &folder.join("closest-samples.png"))?;
        Ok(ModelFigures {
            file: path.display().to_string(),
            bytes: length(path)?,
            seconds: drawn.seconds,
            recognition: recognition(drawn, &verdict.labels),
            frechet: self.frechet(&verdict.features),
            neighbours: Distribution::of(&neighbours),
        })
    }

    fn compare(&self, path: &Path, model: &Drawn, other: &Drawn) -> Result<Comparison> {
        Ok(Comparison {
            file: path.display().to_string(),
            bytes: length(path)?,
            seconds: other.seconds,
            recognition: recognition(other, &self.judge.judge(&other.pictures).labels),
            psnr: Psnr::of_pairs(&model.pictures, &other.pictures, self.train.width * self.train.height),
        })
    }

    /// The closest pairs: a row of pictures, and below each its nearest training picture.
    fn save_pairs(&self, pictures: &[f32], neighbours: &[Neighbour], path: &Path) -> Result<()> {
        let (w, h) = (self.train.width, self.train.height);
        let mut order: Vec<usize> = (0..neighbours.len()).collect();
        order.sort_by(|a, b| neighbours[*a].distance.total_cmp(&neighbours[*b].distance));
        order.truncate(PAIRS);
        let mut cells = Vec::new();
        for row in order.chunks(10) {
            cells.extend(row.iter().flat_map(|i| &pictures[i * w * h..(i + 1) * w * h]).copied());
            cells.extend(std::iter::repeat_n(0.0, (10 - row.len()) * w * h));
            cells.extend(row.iter().flat_map(|i| unit(self.train.picture(neighbours[*i].index))));
            cells.extend(std::iter::repeat_n(0.0, (10 - row.len()) * w * h));
        }
        save(sheet(&cells, w, h, 10), path)
    }
}

fn recognition(drawn: &Drawn, found: &[u8]) -> Recognition {
    let mut counts: Vec<LabelCount> =
        drawn.names.iter().map(|name| LabelCount { name: name.clone(), asked: 0, recognised: 0 }).collect();
    for (asked, found) in drawn.asked.iter().zip(found) {
        if let Some(label) = asked {
            let count = &mut counts[*label as usize];
            count.asked += 1;
            count.recognised += usize::from(*label == u32::from(*found));
        }
    }
    Some(counts).filter(|c| !c.is_empty())
}

/// `n` pictures chosen at random, the labels in turn; fewer of a label that has not enough.
fn balanced(data: &LabelledPictures, n: usize, labels: usize, purpose: &str) -> Vec<usize> {
    let mut order: Vec<usize> = (0..data.len()).collect();
    Stream::new(REAL_SEED, purpose, 0).shuffle(&mut order);
    let mut wanted: Vec<usize> = (0..labels).map(|l| n / labels + usize::from(l < n % labels)).collect();
    order.retain(|i| {
        let Some(left) = wanted.get_mut(usize::from(data.labels[*i])).filter(|left| **left > 0) else { return false };
        *left -= 1;
        true
    });
    order
}

fn unit(bytes: &[u8]) -> Vec<f32> {
    bytes.iter().map(|b| f32::from(*b) / 255.0).collect()
}

fn length(path: &Path) -> Result<u64> {
    Ok(std::fs::metadata(path).map_err(Error::io(path))?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen red: `wanted` not counted down.
    #[test]
    fn real_pictures_are_balanced_and_the_same_each_time() {
        let labels: Vec<u8> = (0..300).map(|i| (i * i % 7 % 3) as u8).collect();
        let data = LabelledPictures { width: 1, height: 1, pixels: vec![0; 300], labels };
        let picked = balanced(&data, 20, 3, "test");
        let count = |l: u8| picked.iter().filter(|i| data.labels[**i] == l).count();
        assert_eq!([count(0), count(1), count(2)], [7, 7, 6]);
        assert_eq!(picked, balanced(&data, 20, 3, "test"));
        assert_ne!(picked, balanced(&data, 20, 3, "other"));
    }

    /// Seen red: `found` compared with the sample's number in place of its label.
    #[test]
    fn recognition_counts_by_label() {
        let names = vec!["a".into(), "b".into()];
        let asked = vec![Some(0), Some(1), Some(0), Some(1), None];
        let drawn = Drawn { pictures: Vec::new(), asked, names, seconds: 0.0 };
        let counts = recognition(&drawn, &[0, 1, 1, 1, 0]).expect("labels");
        let pairs: Vec<_> = counts.iter().map(|c| (c.asked, c.recognised)).collect();
        assert_eq!(pairs, [(2, 1), (2, 2)]);
    }
}
