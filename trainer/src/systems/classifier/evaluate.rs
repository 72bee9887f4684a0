//! How well a classifier's file recognizes noised pictures, by noise level, and the report of it.
use crate::data::idx::LabelledPictures;
use crate::error::{Error, Result};
use crate::plot::{Chart, Pictures};
use crate::report::{Comparison, Report};
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Classifier, ClassifierSession, Device, SessionOptions};
use nijimi_runtime::raw::rng::Stream;

/// Ranges of t in which accuracy is reported.
pub const BINS: usize = 10;
/// Pictures in one pass, all at one noise level.
const PASS: usize = 100;

/// Accuracy in one range of t.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin {
    /// The least noisy level.
    pub first: usize,
    /// The noisiest level.
    pub last: usize,
    /// Share of the pictures that are recognized.
    pub accuracy: f64,
    /// Mean of `-log p(label | x_t, t)`, in nats.
    pub cross_entropy: f64,
}

/// `x_t` of a picture of bytes, by the schedule's `forward` of a level, with noise keyed by the picture.
fn noised(picture: &[u8], (signal, sigma): (f64, f64), [low, high]: [f32; 2], mut noise: Stream) -> Vec<f32> {
    let value = |p: &u8| low + (high - low) * f32::from(*p) / 255.0;
    let (signal, sigma) = (signal as f32, sigma as f32);
    picture.iter().map(|p| signal * value(p) + sigma * noise.normal()).collect()
}

fn session(file: &[u8], data: &LabelledPictures) -> Result<ClassifierSession> {
    let file = File::new_checked(file).map_err(nijimi_runtime::Error::from)?;
    let session =
        Classifier::load(&file, &Device::Cpu)?.session(&SessionOptions { batch: PASS, ..Default::default() })?;
    let network = &session.info().network;
    if (network.width, network.height, network.in_channels) != (data.width, data.height, 1) {
        let what = format!(
            "the classifier is for {}x{} with {} channels, the pictures are {}x{} with 1",
            network.width, network.height, network.in_channels, data.width, data.height
        );
        return Err(Error::File(what));
    }
    Ok(session)
}

/// Accuracy of a weight file over the first `samples` pictures of `data`, each at one level of every range of t.
///
/// # Errors
/// If the file is no classifier of pictures of this size.
pub fn accuracy_by_t(file: &[u8], data: &LabelledPictures, samples: usize) -> Result<Vec<Bin>> {
    let mut session = session(file, data)?;
    let info = session.info().clone();
    let (levels, labels, range) = (info.schedule.steps(), info.network.label_count, info.range);
    let n = samples.min(data.len());
    let passes = n.div_ceil(PASS);
    let mut bins = Vec::new();
    for bin in 0..BINS.min(levels) {
        let (from, to) = (bin * levels / BINS.min(levels), (bin + 1) * levels / BINS.min(levels));
        let (mut right, mut lost) = (0, 0.0);
        for pass in 0..passes {
            // The middle of each of `passes` equal parts of the range.
            let level = 1 + from + (to - from) * (2 * pass + 1) / (2 * passes);
            let forward = info.schedule.forward(level);
            let rows = pass * PASS..((pass + 1) * PASS).min(n);
            let key = |r: usize| Stream::new(0, "accuracy", (r * BINS + bin) as u64);
            let x: Vec<f32> = rows.clone().flat_map(|r| noised(data.picture(r), forward, range, key(r))).collect();
            let logs = session.log_probabilities(&x, (level as u32 - 1 + info.first_timestep) as f32)?;
            for (row, logs) in rows.zip(logs.chunks_exact(labels)) {
                let truth = usize::from(data.labels[row]);
                let best = (0..labels).max_by(|a, b| logs[*a].total_cmp(&logs[*b])).unwrap_or(0);
                right += usize::from(best == truth);
                lost -= f64::from(*logs.get(truth).unwrap_or(&f32::NEG_INFINITY));
            }
        }
        let (accuracy, cross_entropy) = (right as f64 / n as f64, lost / n as f64);
        bins.push(Bin { first: from + 1, last: to, accuracy, cross_entropy });
    }
    Ok(bins)
}

/// Pictures in a row of the figure of noised pictures.
const SHOWN: usize = 10;

/// The report of a classifier.
///
/// # Errors
/// If the file is no classifier of pictures of this size.
pub fn report(file: &[u8], losses: &[f64], bins: &[Bin], data: &LabelledPictures) -> Result<Report> {
    let mut report = Report::new("Classifier of noised pictures (step 10.3)");
    let middle = |b: &Bin| 0.5 * (b.first + b.last) as f64;
    let chance = 1.0 / session(file, data)?.info().network.label_count as f64;
    let curve: Vec<(f64, f64)> = bins.iter().map(|b| (middle(b), 100.0 * b.accuracy)).collect();
    let ends = [0.0, bins.last().map_or(0.0, |b| b.last as f64)].map(|t| (t, 100.0 * chance));
    let chart = Chart::new("").x_label("t").y_label("recognized, %").y_range(0.0, 102.0);
    let chart = chart.line(curve, "test pictures").markers().line(ends, "chance").dashed();
    report.figure("accuracy", "Share of noised test pictures that are recognized, by noise level.", &chart)?;
    report.figure("loss", "Mean training loss of each epoch.", &crate::plot::loss_chart(losses))?;
    noised_pictures(&mut report, file, data)?;
    let share = |b: &Bin| Comparison::new(format!("recognized, t {} to {} (%)", b.first, b.last), 100.0 * b.accuracy);
    let row = |(i, b): (usize, &Bin)| if i == 0 { share(b).key() } else { share(b) };
    report.table("Through the weight file, by the runtime", bins.iter().enumerate().map(row));
    let entropy =
        |b: &Bin| Comparison::new(format!("cross-entropy, t {} to {} (nats)", b.first, b.last), b.cross_entropy);
    report.table("The same, as cross-entropy", bins.iter().map(entropy));
    Ok(report)
}

/// What the classifier sees at every range of t, and what it says.
fn noised_pictures(report: &mut Report, file: &[u8], data: &LabelledPictures) -> Result<()> {
    let mut session = session(file, data)?;
    let info = session.info().clone();
    let (levels, labels) = (info.schedule.steps(), info.network.label_count);
    let shown = SHOWN.min(data.len());
    let (mut pictures, mut said, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    for level in (1..=5).map(|i| (levels * i * i / 40).max(1)) {
        let forward = info.schedule.forward(level);
        let key = |r: usize| Stream::new(0, "noised pictures", r as u64);
        let x: Vec<f32> = (0..shown).flat_map(|r| noised(data.picture(r), forward, info.range, key(r))).collect();
        let logs = session.log_probabilities(&x, (level as u32 - 1 + info.first_timestep) as f32)?;
        let best = |l: &[f32]| (0..labels).max_by(|a, b| l[*a].total_cmp(&l[*b])).unwrap_or(0);
        let text = |l: &[f32]| format!("{} {:.0}%", info.labels[best(l)], 100.0 * l[best(l)].exp());
        said.extend(logs.chunks_exact(labels).map(text));
        pictures.extend(x);
        rows.push(format!("t {level}"));
    }
    let grid = Pictures::new(data.width, data.height, 1, pictures).columns(shown).zoom(3).on_white();
    let grid = grid.padding(6).autoscaled().row_labels(rows).labels(said);
    report.figure("noised", "Test pictures under noise, and the likeliest label of each with its probability.", &grid)
}
