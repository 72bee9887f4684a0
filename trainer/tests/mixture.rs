//! EM against the reference's figures on Old Faithful.
#[allow(dead_code)]
#[path = "common/book.rs"]
mod book;

use nijimi_trainer::data::table::Table;
use nijimi_trainer::systems::mixture::density::{hard_counts, mean_log_likelihood};
use nijimi_trainer::systems::mixture::{Fit, Options, Parameters, Start, Step, fit};

fn book_fit(table: &Table, tolerance: f64, max_iterations: usize) -> Fit {
    let start = Start::Given(Parameters::book_start());
    fit(table, &Options { start, tolerance, max_iterations, ..Options::default() }).expect("a fit")
}

fn same(p: &Parameters, reference: &str, tolerance: f64) {
    book::close(&p.weights, &format!("{reference}.phis"), tolerance);
    book::close(&p.means, &format!("{reference}.mus"), tolerance);
    book::close(&p.covariances, &format!("{reference}.covs"), tolerance);
}

fn trace(fit: &Fit) -> Vec<f64> {
    fit.steps.iter().map(|s| s.mean_log_likelihood).collect()
}

/// Seen red with the shift of the mean left in the covariance, and with a tolerance ten times smaller.
#[test]
fn nine_iterations_as_in_the_book() {
    let Some(table) = book::table("old_faithful.txt") else { return };
    let fit = book_fit(&table, 1e-4, 100);
    assert_eq!(fit.iterations(), 9);
    assert!(fit.converged);
    book::close(&trace(&fit), "em.noeps.trace", 1e-9);
    for k in 1..=9 {
        same(&fit.steps[k].parameters, &format!("em.iter{k}"), 1e-9);
    }
    same(fit.parameters(), "em.book", 1e-9);
}

/// Seen red with 1e-9 taken from each log density.
#[test]
fn the_converged_optimum() {
    let Some(table) = book::table("old_faithful.txt") else { return };
    let fit = book_fit(&table, 1e-15, 100);
    assert_eq!(fit.iterations(), 18);
    book::close(&[fit.mean_log_likelihood()], "em.conv.mean_ll", 1e-14);
    same(fit.parameters(), "em.conv", 1e-9);
}

/// The book adds 1e-8 to each density before it takes the logarithm, which shows at its start.
///
/// Seen red without the epsilon.
#[test]
fn the_books_own_trace_with_its_epsilon() {
    let Some(table) = book::table("old_faithful.txt") else { return };
    let fit = book_fit(&table, 1e-4, 100);
    let with = |step: &Step| mean_log_likelihood(&table, &step.parameters.mixture().expect("a mixture"), 1e-8);
    let ours: Vec<f64> = fit.steps.iter().map(with).collect();
    book::close(&ours, "em.book.trace(mean ll, incl. final)", 1e-9);
    book::close(&[ours[9] * 272.0], "em.book.final_total", 1e-9);
}

/// 157 of 272 densities there are 0 in f32, so that responsibilities without log-sum-exp are 0/0.
#[test]
fn no_nan_at_the_books_start() {
    let Some(table) = book::table("old_faithful.txt") else { return };
    let mixture = Parameters::book_start().mixture().expect("a mixture");
    let (mut row, mut q) = ([0.0; 2], [0.0; 2]);
    let logs: Vec<f64> = (0..table.rows())
        .map(|i| {
            table.row(i, &mut row);
            let log = mixture.responsibilities(&row, &mut q);
            assert!((q[0] + q[1] - 1.0).abs() < 1e-12, "{q:?}");
            log
        })
        .collect();
    book::close(&[logs.iter().copied().fold(0.0, f64::min)], "em.init.min_log_density", 1e-12);
    let underflown = logs.iter().filter(|l| (l.exp() as f32) == 0.0 && **l < -103.28).count();
    book::close(&[underflown as f64], "em.init.n_below_f32_underflow(-103.28)", 0.0);
    let steps = book_fit(&table, 1e-4, 1).steps;
    assert!(steps.iter().all(|s| s.mean_log_likelihood.is_finite()));
}

/// Seen red with ties given to the last component.
#[test]
fn hard_assignments_and_the_books_rounded_parameters() {
    let Some(table) = book::table("old_faithful.txt") else { return };
    let fit = book_fit(&table, 1e-4, 100);
    let counts = |p: &Parameters| -> Vec<f64> {
        hard_counts(&table, &p.mixture().expect("a mixture")).into_iter().map(|c| c as f64).collect()
    };
    book::close(&counts(&fit.steps[0].parameters), "em.init.hard_counts", 0.0);
    book::close(&counts(fit.parameters()), "em.book.hard_counts", 0.0);
    let rounded = Parameters::book_rounded().mixture().expect("a mixture");
    book::close(&[mean_log_likelihood(&table, &rounded, 0.0)], "of.book_rounded_params_loglik_mean", 1e-12);
    for (x, key) in [([2.0, 54.5], "2, 54.5"), ([4.3, 80.0], "4.3, 80.0"), ([3.0, 67.0], "3.0, 67.0")] {
        book::close(&[rounded.log_pdf(&x).exp()], &format!("gmm.pdf[{key}]"), 1e-12);
    }
    book::close(&rounded.mean(), "gmm.mean", 1e-14);
    book::close(&rounded.covariance(), "gmm.cov", 1e-12);
}

/// One component is the single normal: the baseline.
///
/// Seen red with 1e-9 taken from each log density.
#[test]
fn one_component_is_the_single_normal() {
    let Some(table) = book::table("old_faithful.txt") else { return };
    let fit = fit(&table, &Options { k: 1, ..Options::default() }).expect("a fit");
    book::close(&[fit.mean_log_likelihood()], "of.single_gauss_loglik_mean", 1e-12);
    book::close(&fit.parameters().means, "of.mean", 1e-13);
    book::close(&fit.parameters().covariances, "of.cov0", 1e-12);
}

/// k-means++ with the default settings finds the optimum that the book's start leads to.
///
/// Seen red with the sum left out of log-sum-exp.
#[test]
fn the_default_start_finds_the_same_optimum() {
    let Some(table) = book::table("old_faithful.txt") else { return };
    for seed in 0..5 {
        let fit = fit(&table, &Options { seed, tolerance: 1e-12, ..Options::default() }).expect("a fit");
        book::close(&[fit.mean_log_likelihood()], "em.conv.mean_ll", 1e-9);
    }
}
