//! The report of an autoencoder: its loss beside the book's, its latent vectors, samples, reconstructions and a walk.
use super::evaluate::{Evaluation, Level, Loaded};
use crate::data::idx::LabelledPictures;
use crate::error::Result;
use crate::nn::vae::Terms;
use crate::plot::{Chart, Pictures};
use crate::report::{Comparison, Report};
use nijimi_runtime::model::batch_seeds;
use nijimi_runtime::raw::dist::Normal;

/// What a report is made of.
pub struct Findings<'a> {
    /// Title of the report.
    pub title: &'a str,
    /// Mean loss of each epoch.
    pub losses: &'a [f64],
    /// The book's, if the settings are the book's.
    pub book: Option<&'a [f64]>,
    /// The weight file.
    pub file: &'a [u8],
    /// Figures on the test set.
    pub evaluation: &'a Evaluation,
    /// Pictures to be shown and reconstructed.
    pub pictures: &'a LabelledPictures,
}

/// Pictures of a grid of samples.
const SAMPLES: usize = 64;
/// Pictures that are reconstructed.
const PAIRS: usize = 10;
/// Stages of a walk between two pictures.
const STAGES: usize = 10;
/// Rows and columns of a plane of latent vectors.
const SIDE: usize = 12;

/// Makes the report.
///
/// # Errors
/// What the runtime has against the file.
pub fn report(f: &Findings) -> Result<Report> {
    let mut report = Report::new(f.title);
    let mut model = Loaded::open(f.file)?;
    let (width, height) = (f.pictures.width, f.pictures.height);
    let grid = |values: Vec<f32>| Pictures::new(width, height, 1, values).zoom(2);

    let samples = model.sample(&batch_seeds(0, SAMPLES))?;
    report.figure(
        "samples",
        "Pictures of latent vectors drawn from the prior, seeds 0 to 63.",
        &grid(samples).columns(8),
    )?;
    let x: Vec<f32> = f.pictures.pixels[..PAIRS.min(f.pictures.len()) * width * height]
        .iter()
        .map(|p| f32::from(*p) / 255.0)
        .collect();
    let (mu, _) = model.encode(&x)?;
    let pairs = [x.clone(), model.decode(&mu)?].concat();
    let pairs = grid(pairs).columns(x.len() / (width * height)).row_labels(["test picture", "from its mean"]);
    report.figure(
        "reconstructions",
        "Test pictures, and what the decoder makes of the means of their latent vectors.",
        &pairs,
    )?;
    walk(&mut report, &mut model, &mu, &grid)?;
    plane(&mut report, &mut model, &f.evaluation.levels, &grid)?;

    let mut chart = Chart::new("").x_label("Epoch").y_label("Loss");
    let curve = |l: &[f64]| (1..).map(f64::from).zip(l.iter().copied()).collect::<Vec<_>>();
    chart = chart.line(curve(f.losses), "here").markers();
    if let Some(book) = f.book {
        chart = chart.line(curve(book), "book").markers();
    }
    report.figure("loss", "Mean training loss of each epoch.", &chart)?;
    figures(&mut report, f);
    Ok(report)
}

/// A straight walk between the latent vectors of the first picture and each of the next.
fn walk(report: &mut Report, model: &mut Loaded, mu: &[f32], grid: &impl Fn(Vec<f32>) -> Pictures) -> Result<()> {
    let latent = mu.len() / PAIRS;
    let Some((first, others)) = mu.split_at_checked(latent).filter(|_| latent > 0) else { return Ok(()) };
    let mut z = Vec::new();
    for other in others.chunks_exact(latent).take(5) {
        for i in 0..STAGES {
            let u = i as f32 / (STAGES - 1) as f32;
            z.extend(first.iter().zip(other).map(|(a, b)| (1.0 - u) * a + u * b));
        }
    }
    let caption = "From the latent vector of the first test picture, in equal stages, to those of the next five.";
    report.figure("walk", caption, &grid(model.decode(&z)?).columns(STAGES))
}

/// Latent vectors on the plane of the two components that say most, at the prior's quantiles, so that equal parts of it are
/// equally probable (Kingma and Welling 2014, figure 4); the other components at the prior's mean.
fn plane(
    report: &mut Report,
    model: &mut Loaded,
    levels: &[Level],
    grid: &impl Fn(Vec<f32>) -> Pictures,
) -> Result<()> {
    let Some(kl) = levels.first().map(|level| &level.kl).filter(|kl| kl.len() > 1) else { return Ok(()) };
    let mut order: Vec<usize> = (0..kl.len()).collect();
    order.sort_by(|a, b| kl[*b].total_cmp(&kl[*a]));
    let at = |i: usize| Normal::STANDARD.quantile((i as f64 + 0.5) / SIDE as f64) as f32;
    let mut z = vec![0.0; SIDE * SIDE * kl.len()];
    for (i, z) in z.chunks_exact_mut(kl.len()).enumerate() {
        (z[order[0]], z[order[1]]) = (at(i % SIDE), at(i / SIDE));
    }
    let caption = format!(
        "The plane of components {} (to the right) and {} (down), those of most divergence, at the prior's quantiles; the \
         others at 0.",
        order[0], order[1]
    );
    report.figure("plane", &caption, &grid(model.decode(&z)?).columns(SIDE))
}

fn figures(report: &mut Report, f: &Findings) {
    let (e, pixels) = (f.evaluation, f.pictures.width * f.pictures.height);
    let last = |l: &[f64]| l.last().copied();
    // An epoch's loss varies from one seed to the next by a few tenths of a percent.
    let epochs = f.losses.len();
    let book = f.book.and_then(|b| b.get(epochs.wrapping_sub(1)).copied());
    let mut rows = Vec::new();
    if let Some(loss) = last(f.losses) {
        rows.push(Comparison::new(format!("training loss, epoch {epochs}"), loss).notebook(book).within(5e-3).key());
    }
    let bound = |name: &str, t: &Terms| {
        [
            Comparison::new(format!("{name}: reconstruction"), t.reconstruction),
            Comparison::new(format!("{name}: divergence (nats)"), t.kl),
            Comparison::new(format!("{name}: loss"), t.loss(1.0)),
            Comparison::new(format!("{name}: negative ELBO (nats)"), t.negative_elbo(pixels)),
        ]
    };
    rows.extend(bound("test", &e.terms));
    if let Some(t) = &e.surrogate {
        rows.extend(bound("test, the book's surrogate", t).into_iter().take(3));
    }
    for (i, level) in e.levels.iter().enumerate() {
        let active = level.active().iter().filter(|a| **a).count();
        let name = format!("active components of z{} (of {})", i + 1, level.kl.len());
        rows.push(Comparison::new(name, active as f64).key());
    }
    report.table("Figures; one draw of the latent vectors a picture", rows);
    if e.surrogate.is_some() {
        report.text(
            "The book's surrogate takes z1 and z2 for independent in the term of p(z1|z2), so z2 has no reward for what it \
             carries of z1's noise; trained with it, z2 tends to collapse to the prior. The ELBO above is the exact \
             single-sample estimate in either case.",
        );
    }
    for (i, level) in e.levels.iter().enumerate() {
        let mut order: Vec<usize> = (0..level.kl.len()).collect();
        order.sort_by(|a, b| level.kl[*b].total_cmp(&level.kl[*a]));
        let active = level.active();
        let row = |j: &usize| {
            let used = if active[*j] { "active" } else { "collapsed" };
            vec![j.to_string(), format!("{:.4}", level.kl[*j]), format!("{:.4}", level.variance[*j]), used.into()]
        };
        let caption = format!("Components of z{}: divergence from the prior, and variance of the mean", i + 1);
        report.columns(caption, ["component", "KL (nats)", "variance of the mean", ""], order.iter().map(row));
    }
}
