//! Step 9.3: a picture under the noise process.
use super::theory::{LEVELS, schedule};
use crate::error::{Error, Result};
use crate::plot::Pictures;
use crate::report::{Comparison, Report, number};
use nijimi_runtime::raw::dist::Normal;
use nijimi_runtime::raw::rng::Stream;
use nijimi_runtime::schedule::Schedule;
use std::path::Path;

/// The levels pictured.
const SHOWN: [usize; 10] = [0, 100, 200, 300, 400, 500, 600, 700, 800, 900];

/// Of the book's flower at level t, over all values: mean, standard deviation, share below 0, share above 1.
const FLOWER: [(usize, [f64; 4]); 7] = [
    (100, [0.5300050990005895, 0.4307073411777379, 0.11869957109246461, 0.1354389801903304]),
    (200, [0.45429172840178617, 0.6337144327693441, 0.23615269980284712, 0.19533819955116838]),
    (300, [0.3523360493837881, 0.8000321421730485, 0.3294159240046532, 0.2092974834915614]),
    (400, [0.24720642586970357, 0.9070872662781185, 0.39248482861967576, 0.20333542751312306]),
    (500, [0.1568756216617503, 0.9636611938233345, 0.43531274254384306, 0.1908150135069725]),
    (900, [0.009283426710249667, 0.9998750489074972, 0.4962960334111825, 0.16088176428537115]),
    (1000, [0.0035550511451287632, 0.9999816771940225, 0.4985817164775073, 0.1595125677236492]),
];
const NAMES: [&str; 4] = ["mean", "std", "share < 0", "share > 1"];

/// What is expected of x_t given the picture: mean, standard deviation, shares below 0 and above 1.
fn expected(values: &[f64], s: &Schedule, t: usize) -> Result<[f64; 4]> {
    let (signal, noise) = s.forward(t);
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
    let law = Normal::new(0.0, noise).map_err(|e| Error::Internal(format!("level {t}: {e}")))?;
    let below = values.iter().map(|v| law.cdf(-signal * v)).sum::<f64>() / n;
    let above = values.iter().map(|v| law.survival(1.0 - signal * v)).sum::<f64>() / n;
    Ok([signal * mean, (signal * signal * variance + noise * noise).sqrt(), below, above])
}

fn measured(values: &[f64]) -> [f64; 4] {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
    let share = |f: &dyn Fn(f64) -> bool| values.iter().filter(|v| f(**v)).count() as f64 / n;
    [mean, variance.sqrt(), share(&|v| v < 0.0), share(&|v| v > 1.0)]
}

/// x_t for all levels shown, made as the book makes it: a step at a time, each picture taken before its level's step.
fn process(values: &[f64], s: &Schedule, seed: u64) -> Vec<(usize, Vec<f64>)> {
    let mut x = values.to_vec();
    let mut taken = Vec::new();
    for t in 0..=LEVELS {
        if SHOWN.contains(&t) || t == LEVELS {
            taken.push((t, x.clone()));
        }
        if t < LEVELS {
            let beta = s.beta(t + 1);
            let mut noise = Stream::new(seed, "flower", t as u64);
            let (keep, add) = ((1.0 - beta).sqrt(), beta.sqrt());
            x.iter_mut().for_each(|v| *v = keep * *v + add * f64::from(noise.normal()));
        }
    }
    taken
}

/// Adds the picture's way into noise to a report; `books` if it is the book's flower.
pub(super) fn add(report: &mut Report, path: &Path, seed: u64, books: bool) -> Result<()> {
    let s = schedule()?;
    let picture = image::open(path).map_err(|e| Error::data(path, format!("no picture: {e}")))?.to_rgb8();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let values: Vec<f64> = picture.as_raw().iter().map(|b| f64::from(*b) / 255.0).collect();
    report.heading("The noise process (9.3)");
    report.text(
        "Ten of a thousand steps from a picture to noise. Values are shown as the book shows them: times 255, clamped \
         to 0 to 255, cut off.",
    );
    let steps = process(&values, &s, seed);
    let shown: Vec<f32> = steps.iter().filter(|s| SHOWN.contains(&s.0)).flat_map(|s| &s.1).map(|v| *v as f32).collect();
    let grid = Pictures::new(width, height, 3, shown)
        .columns(5)
        .on_white()
        .padding(4)
        .zoom(2)
        .labels(SHOWN.map(|t| format!("t = {t}")));
    report.figure("noise", "The picture at levels 0, 100, ..., 900.", &grid)?;
    let direct: Vec<f32> = {
        let (signal, noise) = s.forward(100);
        let mut draw = Stream::new(seed, "flower at once", 0);
        values.iter().map(|v| (signal * v + noise * f64::from(draw.normal())) as f32).collect()
    };
    let once = Pictures::new(width, height, 3, direct).padding(0).zoom(3);
    report.figure("noise-at-once", "Level 100 in one step, from q(x_100 | x_0).", &once)?;
    let mut rows = Vec::new();
    for (t, book) in FLOWER {
        let ours = expected(&values, &s, t)?;
        for ((name, ours), book) in NAMES.iter().zip(ours).zip(book) {
            let row = Comparison::new(format!("{name}, t = {t}"), ours).reference(books.then_some(book)).within(1e-9);
            rows.push(row);
        }
    }
    report.table("Expected over all pixels and channels", rows);
    let table = steps.iter().map(|(t, x)| {
        let mut row = vec![t.to_string()];
        row.extend(measured(x).map(|v| number((v * 1e4).round() / 1e4)));
        row
    });
    let names = std::iter::once("t").chain(NAMES);
    report.columns("Measured on the pictures above (one draw)", names, table.collect::<Vec<_>>());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thousand steps lead where the closed form says: over many values the moments agree. Seen red with 1 - beta in
    /// place of its root.
    #[test]
    fn the_process_follows_its_closed_form() {
        let s = schedule().expect("the book's");
        let values: Vec<f64> = (0..12_288).map(|i| f64::from(i % 256) / 255.0).collect();
        for (t, x) in process(&values, &s, 3).into_iter().skip(1) {
            let (ours, law) = (measured(&x), expected(&values, &s, t).expect("a level"));
            for (name, (a, b)) in NAMES.iter().zip(ours.into_iter().zip(law)) {
                // Five standard errors of a share or a mean over so many values.
                assert!((a - b).abs() < 5.0 * 0.0045 * 2.0, "{name} at {t}: {a}, expected {b}");
            }
        }
    }
}
