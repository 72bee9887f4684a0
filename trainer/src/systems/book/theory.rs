//! Step 8: the schedule, its posterior, the weights of the ELBO's terms.
use super::ladder::Ladder;
use super::record::Record;
use crate::error::{Error, Result};
use crate::plot::{Chart, Row};
use crate::report::{Comparison, Report};
use nijimi_book::diffusion::{DiffusionError, Level, Target, prior_kl};
use nijimi_runtime::schedule::Schedule;
use std::path::Path;

/// The book's noise levels and variances.
pub(super) const LEVELS: usize = 1000;
const BETAS: (f64, f64) = (1e-4, 0.02);

pub(super) fn schedule() -> Result<Schedule> {
    Schedule::linear(BETAS.0, BETAS.1, LEVELS).map_err(|e| Error::Internal(e.to_string()))
}

/// The book's table: t, alpha_bar, and the standard deviation of the posterior.
const TABLE: [(usize, f64, f64); 6] = [
    (1, 0.9999, 0.0),
    (2, 0.9997800920720721, 0.007384570171175973),
    (100, 0.89701814567496, 0.04510649908262429),
    (500, 0.07858724288177824, 0.10015665437011007),
    (900, 0.00027520591190339843, 0.13419358069707266),
    (1000, 4.035829765375676e-05, 0.141421297994894),
];

/// Weights of the squared errors in epsilon and in x_0 at level t, from the ELBO (book 8.6): t, epsilon's, x_0's.
const WEIGHTS: [(usize, f64, f64); 5] = [
    (2, 0.5996715121593821, 2726.321171268632),
    (10, 0.08643655975418571, 45.531453494000374),
    (100, 0.01026695344004237, 0.08942976990344051),
    (500, 0.0055081965105494585, 4.697937744740534e-4),
    (1000, 0.010204501873800032, 4.1185294571491303e-07),
];

/// `(weight of |eps - eps_hat|^2, weight of |x_0 - x_0_hat|^2)` at level t; not finite at t = 1, where the posterior is a
/// point.
fn elbo_weights(s: &Schedule, t: usize) -> Result<(f64, f64)> {
    let level = level(s, t)?;
    let weight = |target| level.elbo_weight(target).map(|w| w.unwrap_or(f64::INFINITY)).map_err(invalid);
    Ok((weight(Target::Epsilon)?, weight(Target::Sample)?))
}

fn invalid(e: DiffusionError) -> Error {
    Error::Internal(e.to_string())
}

fn level(s: &Schedule, t: usize) -> Result<Level> {
    Level::new(s, t).map_err(invalid)
}

pub(super) fn work(_: &Ladder, folder: &Path, _: &mut Record) -> Result<()> {
    report()?.write(folder)
}

fn report() -> Result<Report> {
    let s = schedule()?;
    let mut report = Report::new("Step 8: diffusion, the theory");
    report.text(
        "q(x_t | x_0) = N(sqrt(alpha_bar_t) x_0, (1 - alpha_bar_t) I), with variances beta from 1e-4 to 0.02 in 1000 \
         levels. alpha_bar_0 is 1, so the posterior of the first level has no variance.",
    );
    let rows = TABLE.iter().flat_map(|&(t, alpha_bar, std)| {
        [
            Comparison::new(format!("alpha_bar, t = {t}"), s.alpha_bar(t)).reference(alpha_bar).within(1e-9),
            Comparison::new(format!("posterior std, t = {t}"), s.posterior_std(t)).reference(std).within(1e-9),
        ]
    });
    let mut rows: Vec<Comparison> = rows.collect();
    let last = rows.len() - 2;
    rows[last] = rows[last].clone().key();
    report.table("The schedule", rows);
    let mut rows = Vec::new();
    for (t, epsilon, x0) in WEIGHTS {
        let ours = elbo_weights(&s, t)?;
        rows.push(Comparison::new(format!("epsilon, t = {t}"), ours.0).reference(epsilon).within(1e-9));
        rows.push(Comparison::new(format!("x_0, t = {t}"), ours.1).reference(x0).within(1e-9));
    }
    report.table("Weights of the ELBO's terms", rows);
    identity(&mut report, &s)?;
    let first_below = |limit: f64| (1..=LEVELS).find(|t| s.alpha_bar(*t) < limit).unwrap_or(0) as f64;
    report.table(
        "The end of the chain",
        [
            Comparison::new("KL(q(x_T | x_0 = 1) || N(0, 1)), nats", prior_kl(&s, &[1.0]))
                .reference(2.0179556035907894e-05)
                .within(1e-9)
                .key(),
            Comparison::new("first t with alpha_bar < 0.5", first_below(0.5)).reference(260.0).within(0.0),
            Comparison::new("first t with alpha_bar < 0.1", first_below(0.1)).reference(476.0).within(0.0),
            Comparison::new("first t with alpha_bar < 0.01", first_below(0.01)).reference(674.0).within(0.0),
        ],
    );
    curves(&mut report, &s)?;
    Ok(report)
}

/// The posterior's mean, through x_0 and through epsilon: the same number (book 8.5.3, 8.6).
fn identity(report: &mut Report, s: &Schedule) -> Result<()> {
    let (x0, epsilon) = (0.7, -0.3);
    let level = level(s, 500)?;
    let x = level.marginal().at(x0, epsilon);
    let through_x0 = level.posterior().mean(x, x0);
    let [from_x, from_epsilon] = level.convert(Target::Epsilon, Target::Mean).map_err(invalid)?;
    let through_epsilon = from_x * x + from_epsilon * epsilon;
    report.table(
        "The posterior's mean at t = 500 for x_0 = 0.7, epsilon = -0.3",
        [
            Comparison::new("x_t", x).reference(-0.09173682779236039).within(1e-12),
            Comparison::new("through x_0", through_x0).reference(-0.08904714263232139).within(1e-12),
            Comparison::new("through epsilon", through_epsilon).reference(-0.08904714263232137).within(1e-12),
        ],
    );
    Ok(())
}

fn curves(report: &mut Report, s: &Schedule) -> Result<()> {
    let of = |from: usize, f: &dyn Fn(usize) -> f64| -> Vec<(f64, f64)> {
        (from..=LEVELS).map(|t| (t as f64, f(t))).collect()
    };
    let shares = Chart::new("Signal and noise")
        .x_label("t")
        .y_label("share")
        .line(of(0, &|t| s.alpha_bar(t)), "alpha_bar")
        .line(of(0, &|t| s.forward(t).0), "sqrt(alpha_bar)")
        .line(of(0, &|t| s.forward(t).1), "sqrt(1 - alpha_bar)");
    let ratio = Chart::new("Signal-to-noise ratio").x_label("t").y_label("SNR").log_y().line(of(1, &|t| s.snr(t)), "");
    let both = Row::new().with(shares).with(ratio);
    report.figure("schedule", "How the signal's share falls from level to level.", &both)?;
    let std = Chart::new("Noise of a step")
        .x_label("t")
        .y_label("standard deviation")
        .line(of(1, &|t| s.posterior_std(t)), "posterior")
        .line(of(1, &|t| s.beta(t).sqrt()), "sqrt(beta)")
        .dashed();
    let all = (2..=LEVELS).map(|t| elbo_weights(s, t)).collect::<Result<Vec<_>>>()?;
    let weights = Chart::new("Weights of the ELBO")
        .x_label("t")
        .y_label("weight")
        .log_y()
        .line((2..).map(f64::from).zip(all.iter().map(|w| w.0)), "epsilon")
        .line((2..).map(f64::from).zip(all.iter().map(|w| w.1)), "x_0");
    let caption = "Left: noise added by a step backwards. Right: what the ELBO would weigh an error with; the book \
                   drops the weights, which favours the noisier levels.";
    report.figure("weights", caption, &Row::new().with(std).with(weights))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every number of the report is the book's. Seen red with v's weight in place of x_0's.
    #[test]
    fn all_numbers_hold() {
        let folder = std::env::temp_dir().join(format!("nijimi-theory-{}", std::process::id()));
        report().expect("a report").write(&folder).expect("a folder");
        let text = std::fs::read_to_string(folder.join(crate::report::RECORD)).expect("a record");
        std::fs::remove_dir_all(&folder).expect("the folder is there");
        let record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let rows = record["parts"].as_array().expect("parts").iter().filter_map(|p| p["rows"].as_array()).flatten();
        let held: Vec<bool> = rows.map(|r| r["holds"].as_bool().expect("a tolerance")).collect();
        assert!(held.len() > 25 && held.iter().all(|h| *h), "{text}");
    }
}
