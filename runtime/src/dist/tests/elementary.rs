//! Finite distributions, integrals, and sums of uniforms.

use super::super::discrete::{expectation, kl, kl_normal, pick, variance};
use super::super::quadrature::integral;
use super::super::{DistError, IrwinHall, Normal};
use super::{KS, classic, close, kolmogorov, number};
use crate::rng::Stream;
use alloc::vec::Vec;

/// Steps 1.1 and 5.1. Seen red with KL's logarithm turned over, and without the case of p = 0.
#[test]
fn finite_distributions_have_the_figures_of_the_book() {
    let c = classic();
    let die = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    close(expectation(&die, &[1.0 / 6.0; 6]).unwrap(), 3.5, 1e-15);
    close(variance(&die, &[1.0 / 6.0; 6]).unwrap(), 35.0 / 12.0, 1e-14);
    let (p, q1, q2) = ([0.7, 0.3], [0.6, 0.4], [0.2, 0.8]);
    for (p, q, key) in [(p, q1, "kl1"), (p, q2, "kl2"), (q1, p, "kl1_rev"), (q2, p, "kl2_rev")] {
        close(kl(&p, &q).unwrap(), number(&c[key]), 1e-13);
    }
    assert_eq!(kl(&p, &p), Ok(0.0));
    close(kl(&[0.0, 1.0], &[0.5, 0.5]).unwrap(), core::f64::consts::LN_2, 1e-15);
    assert_eq!(kl(&[0.5, 0.5], &[0.0, 1.0]), Ok(f64::INFINITY));
    let normal = |mean, sigma| Normal::new(mean, sigma).unwrap();
    close(kl_normal(&normal(1.0, 0.5), &Normal::STANDARD), 0.8181471805599454, 1e-15);
    close(kl_normal(&Normal::STANDARD, &normal(1.0, 0.5)), 2.8068528194400546, 1e-15);
    // The definition, by quadrature.
    let (a, b) = (normal(0.3, 1.2), normal(-0.5, 0.9));
    let by_definition = integral(-15.0, 15.0, |x| a.pdf(x) * (a.log_pdf(x) - b.log_pdf(x))).unwrap();
    close(kl_normal(&a, &b), by_definition, 1e-12);
    assert_eq!((pick(&[0.25, 0.75], 0.249), pick(&[0.25, 0.75], 0.25), pick(&[0.9, 0.1, 0.0], 1.0)), (0, 1, 1));
}

/// Seen red with half of the new points left out.
#[test]
fn integrals_are_exact_to_rounding() {
    let n = Normal::new(0.5, 0.2).unwrap();
    close(integral(-1.5, 2.5, |x| n.pdf(x)).unwrap(), 1.0, 1e-13);
    close(integral(-1.5, 2.5, |x| x * n.pdf(x)).unwrap(), 0.5, 1e-13);
    close(integral(-1.5, 2.5, |x| (x - 0.5) * (x - 0.5) * n.pdf(x)).unwrap(), 0.04, 1e-12);
    close(integral(0.0, 1.0, |x| x * x).unwrap(), 1.0 / 3.0, 1e-14);
    close(integral(0.0, 1.0, libm::log).unwrap(), -1.0, 1e-13);
    // A narrow peak in a wide range.
    let narrow = Normal::new(1.7, 0.2).unwrap();
    close(integral(-50.0, 50.0, |x| narrow.pdf(x)).unwrap(), 1.0, 1e-12);
    assert_eq!(integral(1.0, 1.0, |x| x), Err(DistError::Bounds { from: 1.0, to: 1.0 }));
    assert!(matches!(integral(0.0, 1.0, |_| f64::NAN), Err(DistError::NotSettled { .. })));
}

/// Step 1.4: figures for five uniforms, the textbook formula, and draws. The draws follow Irwin and Hall, and at 100,000
/// of them are told from the normal of the same moments. Seen red with one degree too few in `spline`.
#[test]
fn sums_of_uniforms_are_irwin_and_hall() {
    let (c, five) = (classic(), IrwinHall::new(5).unwrap());
    close(five.pdf(2.5), number(&c["sum5.irwin_hall_peak"]), 1e-15);
    let normal = Normal::new(five.mean(), libm::sqrt(five.variance())).unwrap();
    close(normal.sigma(), number(&c["sum5.sigma"]), 1e-15);
    let grid = || (0..=50_000).map(|i| f64::from(i) / 10_000.0);
    let gap = grid().map(|x| (five.cdf(x) - normal.cdf(x)).abs()).fold(0.0, f64::max);
    // mpmath's; the reference has 0.0057133368, 7e-6 more, of a normal's cdf that is less exact.
    close(gap, 0.00571329888984, 1e-8);
    close(gap, number(&c["sum5.sup|F_IH-F_normal|"]), 1e-5);
    let gap = grid().map(|x| (five.pdf(x) - normal.pdf(x)).abs()).fold(0.0, f64::max);
    close(gap, number(&c["sum5.max|f_IH-f_normal|"]), 1e-6);
    for n in 1..=12 {
        let law = IrwinHall::new(n).unwrap();
        for i in 0..=24 {
            let x = n as f64 * f64::from(i) / 24.0;
            let textbook = |power: i32, divisor: f64| {
                let mut binomial = 1.0;
                let mut sum = 0.0;
                for k in 0..=libm::floor(x) as usize {
                    sum += binomial * (x - k as f64).powi(power);
                    binomial *= -((n - k) as f64) / (k + 1) as f64;
                }
                sum / divisor
            };
            let factorial = |n: usize| (1..=n).map(|i| i as f64).product::<f64>();
            assert!((law.cdf(x) - textbook(n as i32, factorial(n))).abs() < 1e-10, "{n} {x}");
            if i < 24 {
                assert!((law.pdf(x) - textbook(n as i32 - 1, factorial(n - 1))).abs() < 1e-10, "{n} {x}");
            }
            assert!((law.cdf(x) + law.survival(x) - 1.0).abs() < 1e-14);
        }
    }
    let mut stream = Stream::new(1, "sums", 0);
    let mut sums: Vec<f64> = (0..100_000).map(|_| (0..5).map(|_| stream.uniform_f64()).sum()).collect();
    let ks = kolmogorov(&mut sums, |x| five.cdf(x));
    assert!(ks < KS, "{ks}");
    assert!(kolmogorov(&mut sums, |x| normal.cdf(x)) > KS);
    // Far in the tail of many: x^n / n!.
    let many = IrwinHall::new(30).unwrap();
    let factorial: f64 = (1..=30).map(f64::from).product();
    close(many.cdf(0.5), 0.5f64.powi(30) / factorial, 1e-13);
    assert_eq!((many.cdf(-1.0), many.cdf(30.0), many.pdf(31.0)), (0.0, 1.0, 0.0));
    assert_eq!(IrwinHall::new(0), Err(DistError::Uniforms { n: 0, limit: 1000 }));
}
