//! Normals in one and several dimensions against the reference's figures, and the three commands from data to file.
#[allow(dead_code)]
#[path = "common/book.rs"]
mod book;
#[allow(dead_code)]
mod common;

use common::Folder;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Law, Numbers};
use nijimi_runtime::raw::dist::MultivariateNormal;
use nijimi_runtime::raw::rng::Stream;
use nijimi_trainer::data::table::Table;
use nijimi_trainer::error::Error;
use nijimi_trainer::stats::FitError;
use nijimi_trainer::systems::classic::BookData;
use nijimi_trainer::systems::{mvn, normal};
use std::process::{Command, Output};

/// Seen red with the logarithm of sigma added instead of subtracted.
#[test]
fn the_normal_of_the_heights() {
    let Some(table) = book::table("height.txt") else { return };
    assert_eq!(BookData::of(&table), Some(BookData::Heights));
    let (fit, values) = (normal::fit(&table).expect("a fit"), &table.columns()[0]);
    book::close(&[fit.mean()], "h.mean_fsum", 1e-9);
    book::close(&[fit.sigma()], "h.std0", 1e-9);
    let total = normal::log_likelihood(values, fit.mean(), fit.sigma());
    book::close(&[total], "h.loglik_total", 1e-9);
    book::close(&[total / 25_000.0], "h.loglik_mean", 1e-9);
    book::close(&[fit.pdf(fit.mean())], "fit.peak", 1e-9);
    book::close(&[fit.cdf(160.0)], "prob.le160", 1e-9);
    book::close(&[fit.survival(180.0)], "prob.gt180_sf", 1e-9);
    let count = |f: &dyn Fn(f64) -> bool| values.iter().filter(|v| f(**v)).count() as f64;
    book::close(&[count(&|v| v <= 160.0)], "prob.empirical_le160", 0.0);
    book::close(&[count(&|v| v > 180.0)], "prob.empirical_gt180", 0.0);
    book::close(&[count(&|v| !(150.0..=190.0).contains(&v))], "h.outside_150_190", 0.0);
}

/// A column of 500 numbers, none of which is round.
fn made_up() -> Table {
    let mut draw = Stream::new(5, "column", 0);
    Table::new(vec!["x".into()], vec![(0..500).map(|_| 7.0 + 3.0 * draw.normal_f64()).collect()])
}

/// Seen red with either power of sigma one lower.
#[test]
fn the_gradient_is_that_of_the_likelihood_and_vanishes_at_the_fit() {
    let table = made_up();
    let values = &table.columns()[0];
    for (mean, sigma) in [(7.0, 3.0), (5.0, 2.0), (9.5, 6.0)] {
        let [by_mean, by_sigma] = normal::gradient(values, mean, sigma);
        let h = 1e-4;
        let f = |m, s| normal::log_likelihood(values, m, s);
        let numeric = [
            (f(mean + h, sigma) - f(mean - h, sigma)) / (2.0 * h),
            (f(mean, sigma + h) - f(mean, sigma - h)) / (2.0 * h),
        ];
        for (a, b) in [by_mean, by_sigma].into_iter().zip(numeric) {
            assert!((a - b).abs() < 1e-6 * b.abs().max(1.0), "at {mean}, {sigma}: {a}, differences say {b}");
        }
    }
    let fit = normal::fit(&table).expect("a fit");
    let slope = normal::gradient(values, fit.mean(), fit.sigma());
    assert!(slope.iter().all(|s| s.abs() < 1e-10 * 500.0), "{slope:?}");
    let best = normal::log_likelihood(values, fit.mean(), fit.sigma());
    for (dm, ds) in [(0.01, 0.0), (-0.01, 0.0), (0.0, 0.01), (0.0, -0.01)] {
        assert!(normal::log_likelihood(values, fit.mean() + dm, fit.sigma() + ds) < best);
    }
}

/// Seen red with the unbiased covariance divided by n, and with falling eigenvalues.
#[test]
fn the_normal_of_heights_and_weights() {
    let Some(table) = book::table("height_weight.txt") else { return };
    assert_eq!(BookData::of(&table), Some(BookData::HeightWeight));
    let (mle, unbiased) = (mvn::fit(&table, false).expect("a fit"), mvn::fit(&table, true).expect("a fit"));
    book::close(mle.mean(), "hw.mean", 1e-9);
    book::close(mle.covariance(), "hw.cov0_mle", 1e-9);
    book::close(unbiased.covariance(), "hw.cov1", 1e-9);
    let (a0, a1) = (mvn::anatomy(&mle), mvn::anatomy(&unbiased));
    book::close(&[a0.determinant], "hw.det_cov0", 1e-9);
    book::close(&[a1.determinant], "hw.det_cov1", 1e-9);
    book::close(&a1.inverse, "hw.inv_cov1", 1e-9);
    book::close(&a1.eigenvalues, "hw.eig_cov1", 1e-9);
    book::close(&[a0.correlations[1]], "hw.corr", 1e-9);
    book::close(&[mvn::log_likelihood(&table, &mle)], "hw.loglik0_total", 1e-9);
    book::close(&[mvn::log_likelihood(&table, &mle) / 25_000.0], "hw.loglik0_mean", 1e-12);
    // The unbiased covariance is less likely by 8e-10.
    book::close(&[mvn::log_likelihood(&table, &unbiased) / 25_000.0], "hw.loglik1_mean", 1e-12);
    book::close(&[unbiased.log_pdf(unbiased.mean()).exp()], "hw.peak1", 1e-9);
    let head = table.columns().iter().map(|c| c[..500].to_vec()).collect();
    let head = mvn::fit(&Table::new(table.names().to_vec(), head), true).expect("a fit");
    book::close(head.mean(), "hw.first500.mean", 1e-9);
    book::close(head.covariance(), "hw.first500.cov1", 1e-9);
}

/// Seen red with the checks of columns, constants, rows and singularity each taken out.
#[test]
fn what_cannot_be_fitted_is_refused() {
    let columns = |c: &[&[f64]]| {
        Table::new((0..c.len()).map(|i| format!("c{i}")).collect(), c.iter().map(|c| c.to_vec()).collect())
    };
    let fault = |r: Result<(), Error>| match r {
        Err(Error::Fit(e)) => e,
        other => panic!("expected a fault, got {other:?}"),
    };
    let one = |t: &Table| fault(normal::fit(t).map(|_| ()));
    let many = |t: &Table| fault(mvn::fit(t, false).map(|_| ()));
    assert_eq!(one(&columns(&[&[1.0, 2.0], &[3.0, 5.0]])), FitError::Columns { found: 2, names: "c0, c1".into() });
    let constant = |rows| FitError::Constant { column: 1, name: "c0".into(), value: 4.0, rows };
    assert_eq!(one(&columns(&[&[4.0; 3]])), constant(3));
    assert_eq!(one(&columns(&[&[4.0]])), constant(1));
    assert_eq!(many(&columns(&[&[4.0; 9], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]])), constant(9));
    let short = columns(&[&[1.0, 2.0, 4.0], &[3.0, 1.0, 1.5]]);
    assert_eq!(many(&short), FitError::TooFewRows { rows: 3, parameters: 5 });
    let rising: Vec<f64> = (0..12).map(f64::from).collect();
    let bent: Vec<f64> = rising.iter().map(|x| (x * 1.3).cos()).collect();
    let mixed: Vec<f64> = rising.iter().zip(&bent).map(|(a, b)| 2.0 * a - 0.3 * b + 5.0).collect();
    let singular = columns(&[&rising, &bent, &mixed]);
    assert_eq!(many(&singular), FitError::Singular { column: 3, name: "c2".into() });
    assert!(mvn::fit(&columns(&[&rising, &bent]), false).is_ok());
}

fn train(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nijimi-train")).args(arguments).output().expect("nijimi-train")
}

/// Two clumps in two columns, as CSV.
fn clumps(rows: usize) -> String {
    let mut draw = Stream::new(8, "rows", 0);
    let row = |i: usize| {
        let far = if i.is_multiple_of(3) { 10.0 } else { 0.0 };
        format!("{},{}\n", far + draw.normal_f64(), 2.0 * far - draw.normal_f64())
    };
    "a,b\n".to_owned() + &(0..rows).map(row).collect::<String>()
}

/// Seen red with the book's numbers beside any data, and with another likelihood in the record.
#[test]
fn the_commands_write_files_and_reports() {
    let folder = Folder::new("classic");
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    std::fs::write(folder.join("data.csv"), clumps(300)).expect("data");
    let (data, out) = (path("data.csv"), path("m.gguf"));
    let systems: [(&str, &[&str], &str); 3] = [
        ("normal", &["--columns", "b", "--basics", "--above", "3"], "b"),
        ("mvn", &["--unbiased", "--basics"], "a,b"),
        ("mixture", &["-k", "2"], "a,b"),
    ];
    for (system, more, columns) in systems {
        let report = path(&format!("{system}-report"));
        let run = train(&[&[system, "--data", &data, "--out", &out, "--report", &report], more].concat());
        assert!(run.status.success(), "{system}: {}", String::from_utf8_lossy(&run.stderr));
        let bytes = std::fs::read(&out).expect("a weight file");
        let file = File::new_checked(&bytes).expect("GGUF");
        let numbers = Numbers::load(&file).expect("a system of numbers");
        assert_eq!(numbers.system(), system);
        let columns = columns.split(',').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(numbers.columns(), columns);
        // The file's density over the data is the one that its record tells.
        let table = Table::read(&folder.join("data.csv"), Some(&columns.join(","))).expect("the data");
        let mut row = vec![0.0; table.dim()];
        let mut density = |i| {
            table.row(i, &mut row);
            numbers.log_density(&row).expect("a density")
        };
        let mean = (0..table.rows()).map(&mut density).sum::<f64>() / table.rows() as f64;
        let told = file.f64("nijimi.train.mean_log_likelihood").expect("the record");
        assert!((mean - told).abs() < 1e-11 && mean < -1.0, "{system}: {mean} {told}");
        let folder = std::path::Path::new(&report);
        let page = std::fs::read_to_string(folder.join("report.html")).expect("a report");
        let pictures = std::fs::read_dir(folder)
            .expect("files")
            .filter(|f| f.as_ref().is_ok_and(|f| f.path().extension().is_some_and(|e| e == "png")));
        assert!(pictures.count() >= 3 && page.contains("log-likelihood"), "{system}");
        // The book's numbers belong to the book's data only.
        assert!(!page.contains("172.70") && !page.contains("4.1553"), "{system}");
    }
}

/// Seen red with a negative tolerance let through.
#[test]
fn faults_of_the_data_are_told_in_one_line() {
    let folder = Folder::new("classic-faults");
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let out = path("m.gguf");
    let refused = |text: &str, arguments: &[&str], expected: &str| {
        std::fs::write(folder.join("d.csv"), text).expect("data");
        let data = path("d.csv");
        let run = train(&[&arguments[..1], &["--data", &data, "--out", &out], &arguments[1..]].concat());
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(matches!(run.status.code(), Some(2 | 3)), "{said}");
        assert!(said.contains(expected) && said.trim_end().lines().count() == 1, "{said}");
        assert!(!folder.join("m.gguf").exists());
    };
    refused("1,2\n3,x\n", &["mvn"], "d.csv: line 2, column 2 (x2): \"x\" is not a number");
    refused("1,2\n3,nan\n", &["mixture"], "line 2, column 2 (x2): nan is not finite");
    refused("1,2\n3,4\n", &["normal"], "2 columns (x1, x2)");
    refused("1,2\n3,4\n", &["normal", "--columns", "z"], "there is no column \"z\": the columns are x1, x2");
    refused("1\n1\n1\n", &["normal"], "column 1 (x) is 1 in all 3 rows");
    refused("1\n2\n", &["mixture", "-k", "3"], "3 components for 2 rows");
    refused(
        "1\n2\n3\n",
        &["mixture", "--tolerance", "-1"],
        "--tolerance' with value '-1': must be a number of 0 or more",
    );
    refused("1 2\n2 4\n3 6\n4 8\n5 10\n", &["mvn"], "column 2 (x2) is a linear function of the columns before it");
    let start = path("start.txt");
    std::fs::write(folder.join("start.txt"), "0.5 1\n0.5 2\n").expect("starting values");
    refused("1\n2\n3\n4\n5\n7\n", &["mixture", "--init", &start], "component 1: 2 numbers, expected 3");
}

/// The files under `weights/` are the fits of the book's data.
///
/// Seen red with the fit at the book's stop in the place of the converged one.
#[test]
fn the_shipped_weights_are_the_books_fits() {
    let load = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../weights").join(name);
        let bytes = std::fs::read(path).expect("a shipped file");
        Numbers::load(&File::new_checked(&bytes).expect("GGUF")).expect("a system of numbers")
    };
    let Law::Normal(heights) = load("heights.gguf").law().clone() else { panic!("not a normal") };
    book::close(&[heights.mean()], "h.mean_fsum", 1e-9);
    book::close(&[heights.sigma()], "h.std0", 1e-9);
    let Law::Mvn(both) = load("height-weight.gguf").law().clone() else { panic!("not an mvn") };
    book::close(both.mean(), "hw.mean", 1e-9);
    book::close(both.covariance(), "hw.cov0_mle", 1e-9);
    let faithful = load("faithful.gguf");
    assert_eq!(faithful.columns(), ["eruption", "waiting"]);
    let Law::Mixture(mixture) = faithful.law() else { panic!("not a mixture") };
    book::close(mixture.weights(), "em.conv.phis", 1e-9);
    let all =
        |f: fn(&MultivariateNormal) -> &[f64]| mixture.components().iter().flat_map(f).copied().collect::<Vec<_>>();
    book::close(&all(MultivariateNormal::mean), "em.conv.mus", 1e-9);
    book::close(&all(MultivariateNormal::covariance), "em.conv.covs", 1e-9);
}
