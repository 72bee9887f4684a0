//! The book's step 6.1: gradient descent on Rosenbrock's function, with the gradient from dfdx's tape in f32.
use crate::checkpoint::write_atomic;
use crate::error::{Error, Result};
use crate::export::numbers as file;
use crate::fit::{Ended, Record};
use crate::launch;
use crate::ops::Kit;
use crate::plot::{Chart, Grid, linspace, tab10};
use crate::report::{Comparison, Report};
use crate::say::say;
use crate::target;
use crate::tensor::Tp;
use argh::{ArgsInfo, FromArgs};
use dfdx::prelude::*;
use nijimi_cli::number;
use std::path::PathBuf;

/// Descend on Rosenbrock's function (book step 6.1).
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "descent")]
pub struct DescentArgs {
    /// the file to write: the path
    #[argh(option)]
    out: PathBuf,
    /// folder of the report (default: the weight file's name without its extension, with -report)
    #[argh(option)]
    report: Option<PathBuf>,
    /// steps (default 10000)
    #[argh(option, from_str_fn(number::times), default = "10_000")]
    iterations: u64,
    /// learning rate (default 1e-3)
    #[argh(option, from_str_fn(number::positive), default = "1e-3")]
    lr: f64,
    /// where to begin (default 0,2)
    #[argh(option, default = "String::from(\"0,2\")")]
    start: String,
    /// clean, or book: with the first gradient counted twice (default clean)
    #[argh(option, default = "Way::Clean")]
    way: Way,
    /// steps between rows of the path (default 1000)
    #[argh(option, from_str_fn(number::times), default = "1000")]
    every: u64,
    /// name in the file (default rosenbrock)
    #[argh(option, default = "String::from(\"rosenbrock\")")]
    name: String,
}

/// What is done with the gradient that is computed before the first step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Each step takes its own gradient only.
    Clean,
    /// As the book's script: the gradient printed at the start is not cleared, and the first step goes twice as far.
    Book,
}

impl std::str::FromStr for Way {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "clean" => Ok(Self::Clean),
            "book" => Ok(Self::Book),
            _ => Err("expected clean or book".into()),
        }
    }
}

/// `100 (x1 - x0^2)^2 + (x0 - 1)^2`, with its minimum 0 at (1, 1). Rosenbrock 1960.
pub fn rosenbrock<D: Kit, T: Tp<D>>(
    x0: Tensor<Rank0, f32, D, T>,
    x1: Tensor<Rank0, f32, D, T>,
) -> Tensor<Rank0, f32, D, T> {
    let (x0, tape) = x0.split_tape();
    let valley = (x1 - x0.clone().put_tape(tape).square()).square() * 100.0;
    valley + (x0.retaped::<T>() - 1.0).square()
}

/// The gradient of [`rosenbrock`] at a point.
pub fn gradient<D: Kit>(device: &D, at: [f32; 2]) -> [f32; 2] {
    let [x0, x1] = at.map(|v| device.tensor_from_vec(vec![v], ()));
    let gradients = rosenbrock(x0.leaky_trace(), x1.leaky_trace()).backward();
    [gradients.get(&x0).as_vec()[0], gradients.get(&x1).as_vec()[0]]
}

/// The points of a descent of so many steps, the start first: `iterations + 1` of them.
pub fn descend<D: Kit>(device: &D, start: [f32; 2], lr: f32, iterations: u64, way: Way) -> Vec<[f32; 2]> {
    let mut points = vec![start];
    let mut at = start;
    for step in 0..iterations {
        let times = if step == 0 && way == Way::Book { 2.0 } else { 1.0 };
        let g = gradient(device, at);
        at = [at[0] - lr * (times * g[0]), at[1] - lr * (times * g[1])];
        points.push(at);
    }
    points
}

/// Runs the command: prints and writes the path.
///
/// # Errors
/// Settings that make no sense, and a descent that is lost.
pub fn run(a: &DescentArgs) -> Result<Ended> {
    let start: Option<Vec<f32>> = a.start.split(',').map(|v| v.trim().parse().ok()).collect();
    let start = start.and_then(|v| <[f32; 2]>::try_from(v).ok()).filter(|v| v.iter().all(|v| v.is_finite()));
    let start = start.ok_or_else(|| Error::Usage(format!("--start {}: expected two numbers, as in 0,2", a.start)))?;
    let folder = target::prove_run(&a.out, a.report.as_ref(), &[])?;
    let device = Cpu::default();
    let points = descend(&device, start, a.lr as f32, a.iterations, a.way);
    if let Some(step) = points.iter().position(|p| !p.iter().all(|v| v.is_finite())) {
        let what = format!("--lr {}: the point is not finite after step {step}: take a smaller one", a.lr);
        return Err(Error::Usage(what));
    }
    let rows: Vec<[f64; 3]> = points.iter().enumerate().filter_map(|(i, p)| row(i as u64, p, a)).collect();
    say!("step,x0,x1");
    for [step, x0, x1] in &rows {
        say!("{step},{x0},{x1}");
    }
    let record = Record { epochs: 0, steps: a.iterations, command: launch::command_line(), ..Record::default() };
    write_atomic(&a.out, &file::descent(&a.name, "rosenbrock", a.lr, &rows, &record)?)?;
    report(&device, a, start, &points, &rows)?.write(&folder)?;
    Ok(Ended::Finished)
}

/// What the book's notebook prints, every 1000 steps.
const BOOK: [[f64; 2]; 11] = [
    [0.0, 2.0],
    [0.681_501_507_759_094_2, 0.462_922_990_322_113_04],
    [0.825_385_749_340_057_4, 0.680_487_155_914_306_6],
    [0.894_282_758_235_931_4, 0.799_291_133_880_615_2],
    [0.933_190_405_368_804_9, 0.870_566_070_079_803_5],
    [0.956_804_692_745_208_7, 0.915_297_865_867_614_7],
    [0.971_698_224_544_525_1, 0.944_082_260_131_835_9],
    [0.981_303_691_864_013_7, 0.962_881_267_070_770_3],
    [0.987_584_650_516_51, 0.975_273_311_138_153_1],
    [0.991_727_650_165_557_9, 0.983_490_526_676_178],
    [0.994_475_960_731_506_3, 0.988_960_206_508_636_5],
];

/// The report: the path over the valley, beside the other way's, and the printed points.
fn report<D: Kit>(
    device: &D,
    a: &DescentArgs,
    start: [f32; 2],
    points: &[[f32; 2]],
    rows: &[[f64; 3]],
) -> Result<Report> {
    let mut report = Report::new("Gradient descent on Rosenbrock's function (step 6.1)");
    let other = if a.way == Way::Clean { Way::Book } else { Way::Clean };
    let compared = descend(device, start, a.lr as f32, a.iterations, other);
    let wide = |p: &[[f32; 2]]| p.iter().map(|p| (f64::from(p[0]), f64::from(p[1]))).collect::<Vec<_>>();
    let height = |x0: f64, x1: f64| 100.0 * (x1 - x0 * x0).powi(2) + (x0 - 1.0).powi(2);
    // The valley is flat and its walls are steep: contours of the logarithm.
    let levels = (-2..=6).map(|e| 0.5 * f64::from(e)).collect();
    let logarithm = |x0, x1| f64::max(height(x0, x1), 1e-12).log10();
    let chart = Chart::new("").x_label("x0").y_label("x1").x_range(-0.5, 1.5).y_range(-0.25, 2.1);
    let chart = chart.contour(Grid::of(linspace(-0.5, 1.5, 201), linspace(-0.25, 2.1, 201), logarithm), Some(levels));
    let name = |way: Way| if way == Way::Clean { "clean" } else { "book's: first gradient twice" };
    let chart = chart.line(wide(&compared), name(other)).colour(tab10(7));
    let chart = chart.line(wide(points), name(a.way)).colour(tab10(3)).scatter([(1.0, 1.0)], "minimum", 1.0, 8.0);
    report.figure("path", "The path over contours of the function's decimal logarithm, 1/2 apart.", &chart)?;
    let values = |p: &[[f32; 2]]| {
        let value = |(i, p): (usize, &(f64, f64))| ((i + 1) as f64, height(p.0, p.1).max(1e-12));
        wide(p).iter().enumerate().step_by(10).map(value).collect::<Vec<_>>()
    };
    let chart = Chart::new("").x_label("step").y_label("value").log_y();
    let chart =
        chart.line(values(&compared), name(other)).colour(tab10(7)).line(values(points), name(a.way)).colour(tab10(3));
    report.figure("value", "The function's value along the path.", &chart)?;
    let slope = gradient(device, start);
    let books = start == [0.0, 2.0] && a.lr == 1e-3 && a.way == Way::Book && a.every == 1000 && a.iterations == 10_000;
    let mut table = vec![
        Comparison::new("df/dx0 at the start", f64::from(slope[0])).notebook((start == [0.0, 2.0]).then_some(-2.0)),
        Comparison::new("df/dx1 at the start", f64::from(slope[1])).notebook((start == [0.0, 2.0]).then_some(400.0)),
    ];
    for (i, [step, x0, x1]) in rows.iter().enumerate() {
        let book = |j: usize| BOOK.get(i).filter(|_| books).map(|b| b[j]);
        let last = i + 1 == rows.len();
        for (j, x) in [x0, x1].into_iter().enumerate() {
            let c = Comparison::new(format!("x{j} after {step} steps"), *x).notebook(book(j)).within(1e-5);
            table.push(if last { c.key() } else { c });
        }
    }
    report.table("The printed path", table);
    Ok(report)
}

/// A row of the path: every so many steps, and the last.
fn row(step: u64, p: &[f32; 2], a: &DescentArgs) -> Option<[f64; 3]> {
    let kept = step.is_multiple_of(a.every) || step == a.iterations;
    kept.then(|| [step as f64, f64::from(p[0]), f64::from(p[1])])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same in f64, the gradient by hand.
    fn by_hand(mut at: [f64; 2], lr: f64, iterations: u64, way: Way) -> [f64; 2] {
        for step in 0..iterations {
            let times = if step == 0 && way == Way::Book { 2.0 } else { 1.0 };
            let [x0, x1] = at;
            let g = [-400.0 * x0 * (x1 - x0 * x0) + 2.0 * (x0 - 1.0), 200.0 * (x1 - x0 * x0)];
            at = [x0 - lr * times * g[0], x1 - lr * times * g[1]];
        }
        at
    }

    fn near(a: [f32; 2], b: [f64; 2], tolerance: f64) {
        assert!(a.iter().zip(b).all(|(a, b)| (f64::from(*a) - b).abs() < tolerance), "{a:?} {b:?}");
    }

    /// y = 3 x^2 at x = 5.
    #[test]
    fn a_square_and_its_slope() {
        let x: Tensor<Rank0, f32, Cpu> = Cpu::default().tensor(5.0);
        let y = x.leaky_trace().square() * 3.0;
        assert_eq!(y.array(), 75.0);
        assert_eq!(y.backward().get(&x).array(), 30.0);
    }

    /// Seen red with the first gradient counted once.
    #[test]
    fn the_books_path() {
        let device = Cpu::default();
        assert_eq!(gradient(&device, [0.0, 2.0]), [-2.0, 400.0]);
        let points = descend(&device, [0.0, 2.0], 1e-3, 10_000, Way::Book);
        for (i, expected) in BOOK.iter().enumerate() {
            near(points[1000 * i], *expected, 1e-5);
        }
        near(points[1], [0.004, 1.2], 1e-7);
        near(points[2], [0.007_911_974_4, 0.960_003_2], 1e-6);
        // In f64 with the gradient by hand: the reference's last point.
        let exact = by_hand([0.0, 2.0], 1e-3, 10_000, Way::Book);
        assert!((exact[0] - 0.994_476_236_084_163_4).abs() < 1e-9 && (exact[1] - 0.988_960_806_694_929_7).abs() < 1e-9);
        near(points[10_000], exact, 1e-5);
    }

    /// Seen red with the first gradient counted twice.
    #[test]
    fn the_clean_path() {
        let points = descend(&Cpu::default(), [0.0, 2.0], 1e-3, 10_000, Way::Clean);
        near(points[1], [0.002, 1.6], 1e-7);
        near(points[2], [0.005_275_996_8, 1.280_000_8], 1e-6);
        for steps in [1000, 5000, 10_000] {
            near(points[steps as usize], by_hand([0.0, 2.0], 1e-3, steps, Way::Clean), 1e-5);
        }
        near(points[10_000], [0.994_498_436_778_245_6, 0.989_005_052_741_959_3], 1e-5);
    }
}
