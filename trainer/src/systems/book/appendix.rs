//! Appendices A and B: the identities that the book derives, each side computed for itself.
use super::ladder::Ladder;
use super::record::Record;
use crate::error::{Error, Result};
use crate::report::{Comparison, Report};
use nijimi_runtime::raw::dist::{Mixture, MultivariateNormal, discrete};
use nijimi_runtime::raw::rng::Stream;
use std::path::Path;

const DIM: usize = 2;
/// Rows that a likelihood is of.
const ROWS: usize = 7;
/// A covariance of these examples, its inverse by hand, and a matrix that is not symmetric.
const S: [f64; 4] = [2.0, 0.3, 0.3, 0.5];
const PRECISION: [f64; 4] = [0.5 / 0.91, -0.3 / 0.91, -0.3 / 0.91, 2.0 / 0.91];
const A: [f64; 4] = [2.0, 0.7, -0.4, 1.5];

/// The slope of `f` at `x` along coordinate `i`: central differences of fourth order.
fn slope(x: &[f64], i: usize, f: &dyn Fn(&[f64]) -> f64) -> f64 {
    let h = 1e-3;
    let at = |by: f64| {
        let mut x = x.to_vec();
        x[i] += by;
        f(&x)
    };
    (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h)
}

fn normal(mean: &[f64], covariance: &[f64]) -> Result<MultivariateNormal> {
    Ok(MultivariateNormal::new(mean.to_vec(), covariance.to_vec()).map_err(nijimi_runtime::Error::from)?)
}

fn log_likelihood(mean: &[f64], covariance: &[f64], rows: &[f64]) -> f64 {
    normal(mean, covariance).map_or(f64::NAN, |n| rows.chunks_exact(DIM).map(|x| n.log_pdf(x)).sum())
}

fn determinant(a: &[f64]) -> f64 {
    a[0] * a[3] - a[1] * a[2]
}

fn discrete_fault(e: impl std::fmt::Display) -> Error {
    Error::Internal(e.to_string())
}

/// Appendix A: derivatives by vectors and matrices.
pub(super) fn derivatives(ladder: &Ladder, folder: &Path, _: &mut Record) -> Result<()> {
    derivatives_of(ladder.seed)?.write(folder)
}

fn derivatives_of(seed: u64) -> Result<Report> {
    let mut stream = Stream::new(seed, "appendix", 0);
    let rows: Vec<f64> = (0..ROWS * DIM).map(|_| stream.normal_f64()).collect();
    let (mean, x) = ([0.5, -0.2], [0.7, -1.1]);
    let side = |i: usize| rows.iter().skip(i).step_by(DIM);
    let sum = [0, 1].map(|i| side(i).map(|v| v - mean[i]).sum::<f64>());
    let best = [0, 1].map(|i| side(i).sum::<f64>() / ROWS as f64);
    let mut report = Report::new("Appendix A: the likeliest multivariate normal, derived");
    report.text(
        "Each identity is checked by numbers: \"ours\" is the slope by central differences of the left side, \"expected\" the \
         formula on the right. x, μ, S and A have two dimensions; the likelihood is of seven rows.",
    );
    let mut table = Vec::new();
    for i in 0..DIM {
        let want = PRECISION[i * DIM] * sum[0] + PRECISION[i * DIM + 1] * sum[1];
        let got = slope(&mean, i, &|m| log_likelihood(m, &S, &rows));
        table.push(Comparison::new(format!("∂L/∂μ{}", i + 1), got).reference(want).within(1e-7).key());
        let there = slope(&best, i, &|m| log_likelihood(m, &S, &rows));
        table
            .push(Comparison::new(format!("the same at the rows' mean, {}", i + 1), there).reference(0.0).within(1e-7));
    }
    report.table("A.1: the slope of the log-likelihood L by the mean is S⁻¹ Σ (x − μ)", table);
    let form = |x: &[f64]| (0..4).map(|i| x[i / DIM] * A[i] * x[i % DIM]).sum::<f64>();
    let rows_of = (0..DIM).map(|i| {
        let want: f64 = (0..DIM).map(|j| (A[i * DIM + j] + A[j * DIM + i]) * x[j]).sum();
        Comparison::new(format!("∂(xᵀAx)/∂x{}", i + 1), slope(&x, i, &form)).reference(want).within(1e-9)
    });
    report.table("A.2: the slope of a quadratic form is (A + Aᵀ) x", rows_of);
    let mut spread = [0.0; 4];
    for row in rows.chunks_exact(DIM) {
        (0..4).for_each(|i| spread[i] += (row[i / DIM] - best[i / DIM]) * (row[i % DIM] - best[i % DIM]) / ROWS as f64);
    }
    // What lies beside the diagonal moves with its mirror.
    let moved = |s: &[f64]| log_likelihood(&best, &[s[0], s[1], s[1], s[2]], &rows);
    let level = [spread[0], spread[1], spread[3]];
    let names = ["∂L/∂S11", "∂L/∂S12", "∂L/∂S22"];
    let slopes = (0..3).map(|i| Comparison::new(names[i], slope(&level, i, &moved)).reference(0.0).within(1e-5));
    report.table("A.3: at S = (1/n) Σ (x − μ)(x − μ)ᵀ the likelihood is level", slopes.collect::<Vec<_>>());
    let trace = |a: &[f64]| (0..4).map(|i| S[i] * a[i % DIM * DIM + i / DIM]).sum::<f64>();
    let log_det = |a: &[f64]| determinant(a).ln();
    let cofactors = [A[3], -A[2], -A[1], A[0]];
    let mut table = Vec::new();
    for i in 0..4 {
        let at = format!("{}{}", i / DIM + 1, i % DIM + 1);
        let transposed = S[i % DIM * DIM + i / DIM];
        table.push(Comparison::new(format!("∂tr(SA)/∂A{at}"), slope(&A, i, &trace)).reference(transposed).within(1e-9));
        let want = cofactors[i] / determinant(&A);
        table.push(Comparison::new(format!("∂ln|A|/∂A{at}"), slope(&A, i, &log_det)).reference(want).within(1e-9));
    }
    report.table("A.4: the slope of a trace is Sᵀ, of a logarithm of a determinant A⁻ᵀ", table);
    Ok(report)
}

/// Appendix B: Jensen's inequality, and the ELBO by it.
pub(super) fn jensen(_: &Ladder, folder: &Path, _: &mut Record) -> Result<()> {
    jensen_report()?.write(folder)
}

fn jensen_report() -> Result<Report> {
    let mut report = Report::new("Appendix B: Jensen's inequality");
    report.text(
        "The mean of logarithms is at most the logarithm of the mean, and equal only where nothing varies. The distance \
         between them is what the ELBO leaves of ln p(x): the divergence of q from p(z | x).",
    );
    let p = [0.2, 0.5, 0.3];
    let mut table = Vec::new();
    for (name, x) in [("X = 1, 2, 8", [1.0, 2.0, 8.0]), ("X = 1, 1.1, 1.2", [1.0, 1.1, 1.2]), ("X = 4, 4, 4", [4.0; 3])]
    {
        let inside = discrete::expectation(&x, &p).map_err(discrete_fault)?.ln();
        let outside = discrete::expectation(&x.map(f64::ln), &p).map_err(discrete_fault)?;
        table.push(vec![name.to_owned(), crate::report::number(outside), crate::report::number(inside)]);
    }
    report.columns("With probabilities 0.2, 0.5, 0.3", ["", "E[ln X]", "ln E[X]"], table);
    let parts = vec![normal(&[0.0, 0.0], &S)?, normal(&[2.0, 1.0], &[1.0, 0.0, 0.0, 1.0])?];
    let mixture = Mixture::new(vec![0.4, 0.6], parts).map_err(nijimi_runtime::Error::from)?;
    let x = [0.8, 0.3];
    let (mut joint, mut posterior) = ([0.0; 2], [0.0; 2]);
    mixture.log_joint(&x, &mut joint);
    mixture.responsibilities(&x, &mut posterior);
    let evidence = mixture.log_pdf(&x);
    let mut rows = Vec::new();
    for (name, q) in [("q = (0.5, 0.5)", [0.5, 0.5]), ("q = (0.9, 0.1)", [0.9, 0.1]), ("q = p(z | x)", posterior)] {
        let elbo: f64 = q.iter().zip(joint).map(|(q, l)| q * (l - q.ln())).sum();
        let divergence = discrete::kl(&q, &posterior).map_err(discrete_fault)?;
        rows.push(Comparison::new(format!("ELBO of {name}"), elbo));
        rows.push(Comparison::new(format!("ELBO + KL of {name}"), elbo + divergence).reference(evidence).within(1e-12));
    }
    let last = rows.len() - 1;
    rows[last] = rows[last].clone().key();
    report.table("ELBO + KL(q || p(z | x)) = ln p(x), of a mixture of two normals at one point", rows);
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every identity holds to what differences allow.
    #[test]
    fn all_identities_hold() {
        for report in [derivatives_of(0).expect("A"), derivatives_of(5).expect("A"), jensen_report().expect("B")] {
            let off: Vec<_> = report.all().filter(|c| c.holds() == Some(false)).collect();
            assert!(off.is_empty() && report.all().filter(|c| c.holds() == Some(true)).count() >= 3, "{off:?}");
        }
    }
}
