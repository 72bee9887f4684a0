//! EM against the reference's figures on Old Faithful.
#[allow(dead_code)]
mod common;

use common::book;
use nijimi_trainer::data::table::Table;
use nijimi_trainer::systems::mixture::{Fit, Options, Parameters, Start, fit};

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

#[test]
fn the_converged_optimum() {
    let Some(table) = book::table("old_faithful.txt") else { return };
    let fit = book_fit(&table, 1e-15, 100);
    assert_eq!(fit.iterations(), 18);
    book::close(&[fit.mean_log_likelihood()], "em.conv.mean_ll", 1e-14);
    same(fit.parameters(), "em.conv", 1e-9);
}
