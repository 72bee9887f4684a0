use super::*;
use crate::dist::{Mixture, MultivariateNormal, Normal, quadrature::integral};
use crate::guidance;
use crate::rng::Stream;
use crate::schedule::Schedule;
use alloc::vec;
use alloc::vec::Vec;
use serde_json::Value;

const REFERENCE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/reference/guidance.json"));

/// The reference's data: 0.3 N(-1, 0.5^2) + 0.7 N(2, 0.8^2).
fn toy() -> Mixture {
    let normal = |mean, variance| MultivariateNormal::new(vec![mean], vec![variance]).unwrap();
    Mixture::new(vec![0.3, 0.7], vec![normal(-1.0, 0.25), normal(2.0, 0.64)]).unwrap()
}

/// Three modes in the plane, one of them slanted.
fn plane() -> Mixture {
    let normal = |mean: [f64; 2], s: [f64; 3]| MultivariateNormal::new(mean.to_vec(), vec![s[0], s[1], s[1], s[2]]);
    let components = [
        normal([-1.5, 0.0], [0.1, 0.06, 0.2]),
        normal([1.0, 1.2], [0.3, -0.1, 0.1]),
        normal([0.5, -1.5], [0.05, 0.0, 0.05]),
    ];
    Mixture::new(vec![0.5, 0.3, 0.2], components.into_iter().map(Result::unwrap).collect()).unwrap()
}

fn book() -> Schedule {
    Schedule::linear(1e-4, 0.02, 1000).unwrap()
}

#[track_caller]
fn close(got: f64, want: f64, tolerance: f64) {
    assert!((got - want).abs() <= tolerance * want.abs(), "{got:e} is not {want:e}");
}

fn vector(dim: usize, f: impl FnOnce(&mut [f64])) -> Vec<f64> {
    let mut out = vec![f64::NAN; dim];
    f(&mut out);
    out
}

/// The table of values of steps 10.2 to 10.4, and E[x_0 | x_t] by quadrature. Seen red with the sign of `to_epsilon` turned,
/// with x_0's covariance left out, and with the responsibilities of the class gradient left out.
#[test]
fn the_values_are_those_of_the_reference() {
    let r: Value = serde_json::from_str(REFERENCE).unwrap();
    let (s, data, x) = (book(), toy(), [0.3]);
    let mut rows = 0;
    for t in [100, 300, 500] {
        let row = &r[alloc::format!("toy.t{t}.x0.3")];
        let want = |key: &str| row[key].as_f64().unwrap();
        let pair = |key: &str, k: usize| row[key][k].as_f64().unwrap();
        let level = Noised::new(&data, s.alpha_bar(t)).unwrap();
        close(libm::exp(level.mixture().log_pdf(&x)), want("p"), 1e-12);
        let score = vector(1, |out| level.score(&x, out))[0];
        close(score, want("score"), 1e-11);
        close(vector(1, |out| level.x0(&x, out))[0], want("E_x0"), 1e-12);
        close(vector(1, |out| level.epsilon(&x, out))[0], want("E_eps"), 1e-11);
        close(from_epsilon(s.alpha_bar(t), want("E_eps")), want("score"), 1e-11);
        let shares = vector(2, |out| _ = level.mixture().responsibilities(&x, out));
        for (k, share) in shares.into_iter().enumerate() {
            close(share, pair("resp", k), 1e-12);
            close(vector(1, |out| level.class_gradient(&x, k, out))[0], pair("grad_log_p_y_given_x", k), 1e-11);
            close(vector(1, |out| level.class_epsilon(&x, k, out))[0], pair("eps_cond", k), 1e-11);
        }
        // E[x_0 | x_t] is the integral of x_0 p(x_0) q(x_t | x_0) over that of p(x_0) q(x_t | x_0).
        let k = s.kernel(0, t);
        let normal = Normal::new(0.0, libm::sqrt(k.variance)).unwrap();
        let density = |x_0: f64| libm::exp(data.log_pdf(&[x_0])) * normal.pdf(0.3 - k.signal * x_0);
        let mean = integral(-12.0, 12.0, |v| v * density(v)).unwrap() / integral(-12.0, 12.0, density).unwrap();
        close(vector(1, |out| level.x0(&x, out))[0], mean, 1e-11);
        rows += 1;
    }
    assert_eq!(rows, 3);
    close(
        vector(1, |out| Noised::new(&data, s.alpha_bar(300)).unwrap().x0(&x, out))[0],
        r["toy.t300.quadrature E[x0|xt]"].as_f64().unwrap(),
        1e-12,
    );
}

/// In the plane, at random points and levels: the scores are gradients (to 1e-8), Tweedie's formula holds, and classifier-free
/// guidance is classifier guidance to 1e-12. Seen red with the components' own scores in the class gradient not subtracted, and
/// with the covariance's diagonal alone in `x0`.
#[test]
fn scores_are_gradients_and_the_two_guidances_are_one() {
    let (s, data, mut stream) = (book(), plane(), Stream::new(6, "points", 0));
    for _ in 0..300 {
        let t = 1 + stream.below(1000) as usize;
        let alpha_bar = s.alpha_bar(t);
        let level = Noised::new(&data, alpha_bar).unwrap();
        let mut x = [0.0; 2];
        level.mixture().sample(&mut stream, &mut x);
        let score = vector(2, |out| level.score(&x, out));
        gradient_is(&score, &x, |x| level.mixture().log_pdf(x));
        let label = stream.below(3) as usize;
        let gradient = vector(2, |out| level.class_gradient(&x, label, out));
        gradient_is(&gradient, &x, |x| {
            let mut joint = [0.0; 3];
            level.mixture().log_joint(x, &mut joint);
            joint[label] - level.mixture().log_pdf(x)
        });
        let x0 = vector(2, |out| level.x0(&x, out));
        let (signal, noise) = s.forward(t);
        for i in 0..2 {
            let tweedie = (x[i] + (1.0 - alpha_bar) * score[i]) / signal;
            assert!((x0[i] - tweedie).abs() < 1e-12 * (x[i].abs() + score[i].abs() + 1.0) / signal, "{t}");
        }
        let gamma = 3.0;
        let mut free = vector(2, |out| level.epsilon(&x, out));
        let by_classifier: Vec<f64> = free.iter().zip(&gradient).map(|(e, g)| e - gamma * noise * g).collect();
        let conditional = vector(2, |out| level.class_epsilon(&x, label, out));
        guidance::classifier_free(gamma, &conditional, &mut free).unwrap();
        for (a, b) in free.iter().zip(&by_classifier) {
            assert!((a - b).abs() < 1e-12 * (1.0 + gamma * conditional[0].hypot(conditional[1])), "{t}: {a} {b}");
        }
    }
    // Pure noise says nothing of x_0 but its mean.
    let end = Noised::new(&data, 0.0).unwrap();
    let x0 = vector(2, |out| end.x0(&[0.4, -0.2], out));
    data.mean().iter().zip(x0).for_each(|(want, got)| assert!((want - got).abs() < 1e-15));
}

/// Central differences of the fourth order, with a step to the curvature of the least variance there is.
#[track_caller]
fn gradient_is(gradient: &[f64], x: &[f64], f: impl Fn(&[f64]) -> f64) {
    for (i, g) in gradient.iter().enumerate() {
        let at = |shift: f64| {
            let mut x = x.to_vec();
            x[i] += shift;
            f(&x)
        };
        let h = 5e-4;
        let difference = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
        assert!((g - difference).abs() < 1e-8 * g.abs().max(1.0), "{i}: {g:e} is not {difference:e}");
    }
}

/// Of sorted values, the largest gap to `cdf`, times sqrt(n).
fn kolmogorov(mut x: Vec<f64>, cdf: impl Fn(f64) -> f64) -> f64 {
    x.sort_by(f64::total_cmp);
    let n = x.len() as f64;
    let gap = |(i, v): (usize, &f64)| f64::max(cdf(*v) - i as f64 / n, (i + 1) as f64 / n - cdf(*v));
    x.iter().enumerate().map(gap).fold(0.0, f64::max) * libm::sqrt(n)
}

fn toy_cdf(x: f64) -> f64 {
    0.3 * Normal::new(-1.0, 0.5).unwrap().cdf(x) + 0.7 * Normal::new(2.0, 0.8).unwrap().cdf(x)
}

/// The level of 1e-3 of [`kolmogorov`].
const KS: f64 = 1.95;

/// From one component, whose law the walk keeps; and what a step size does: the stationary variance of the walk on N(0, 1) is
/// 1 / (1 - step_size / 4). Seen red with the noise of step_size in place of its root, and with the whole score in place of
/// its half.
#[test]
fn langevin_walks_in_its_distribution() {
    let n = 20_000;
    for (step_size, steps) in [(0.05, 200), (1.0, 30)] {
        let mut x = vec![3.0; n];
        let mut stream = Stream::new(1, "walk", 0);
        langevin(step_size, steps, &mut stream, &mut x, |x, out| {
            out.iter_mut().zip(x).for_each(|(out, x)| *out = -x);
        })
        .unwrap();
        let wide = Normal::new(0.0, libm::sqrt(1.0 / (1.0 - step_size / 4.0))).unwrap();
        let ks = kolmogorov(x, |x| wide.cdf(x));
        assert!(ks < KS, "{step_size}: {ks}");
    }
    let e = langevin(0.0, 1, &mut Stream::new(1, "walk", 0), &mut [0.0], |_, _| {});
    assert_eq!(e, Err(ScoreError::StepSize(0.0)));
    let e = langevin(1.0, 5, &mut Stream::new(1, "walk", 0), &mut [0.0; 2], |_, out| out[1] = f64::NAN);
    assert!(matches!(e, Err(ScoreError::NotFinite { step: 0, index: 1, .. })));
}

/// From noise, both modes in their shares, where the plain walk from there stays in one. Seen red with a step size that does
/// not shrink with the noise.
#[test]
fn annealed_langevin_reaches_every_mode() {
    let (s, data) = (book(), toy());
    let levels = Noised::levels(&data, &s).unwrap();
    let mut stream = Stream::new(2, "walk", 0);
    let mut x: Vec<f64> = (0..2000).map(|_| stream.normal_f64()).collect();
    annealed_langevin(&s, 1000, 0.2, 4, &mut stream, &mut x, |t, x, out| {
        // Independent points: one at a time.
        x.chunks_exact(1).zip(out.chunks_exact_mut(1)).for_each(|(x, out)| levels[t].score(x, out));
    })
    .unwrap();
    let ks = kolmogorov(x, toy_cdf);
    assert!(ks < KS, "{ks}");
}

/// The exact solution for one normal, mean_0 + (x_T - mean_T) sigma_0 / sigma_T: Euler's error halves with twice the steps,
/// Heun's quarters. Seen red with Heun's average of the slopes replaced by the first, and with Euler's half left out.
#[test]
fn probability_flow_converges_at_its_order() {
    let s = book();
    let data = Mixture::new(vec![1.0], vec![MultivariateNormal::new(vec![0.7], vec![0.3]).unwrap()]).unwrap();
    let levels = Noised::levels(&data, &s).unwrap();
    let error = |solver, steps| {
        let start = -0.9;
        let mut x = [start];
        probability_flow(&s, steps, solver, &mut x, |t, x, out| levels[t].score(x, out)).unwrap();
        let end = &levels[1000].mixture().components()[0];
        let exact = 0.7 + (start - end.mean()[0]) * libm::sqrt(0.3 / end.covariance()[0]);
        (x[0] - exact).abs()
    };
    for (solver, order) in [(Solver::Euler, 2.0), (Solver::Heun, 4.0)] {
        let (coarse, fine) = (error(solver, 125), error(solver, 250));
        assert!((coarse / fine / order - 1.0).abs() < 0.3, "{solver:?}: {coarse:e} {fine:e}");
    }
    assert!(error(Solver::Heun, 250) < 1e-4 && error(Solver::Heun, 250) < 0.1 * error(Solver::Euler, 250));
}

/// Noise becomes the mixture, through the exact score. Seen red with the score's sign turned.
#[test]
fn probability_flow_draws_the_mixture() {
    let (s, data) = (book(), toy());
    let levels = Noised::levels(&data, &s).unwrap();
    let mut stream = Stream::new(3, "noise", 0);
    let mut x: Vec<f64> = (0..4000).map(|_| stream.normal_f64()).collect();
    probability_flow(&s, 200, Solver::Heun, &mut x, |t, x, out| {
        x.chunks_exact(1).zip(out.chunks_exact_mut(1)).for_each(|(x, out)| levels[t].score(x, out));
    })
    .unwrap();
    let ks = kolmogorov(x, toy_cdf);
    assert!(ks < KS, "{ks}");

    // In the plane: mean and covariance.
    let (data, n) = (plane(), 4000);
    let levels = Noised::levels(&data, &s).unwrap();
    let (mut sum, mut squares) = ([0.0; 2], [0.0; 3]);
    for i in 0..n {
        let mut noise = Stream::new(4, "noise", i);
        let mut x = [noise.normal_f64(), noise.normal_f64()];
        probability_flow(&s, 50, Solver::Heun, &mut x, |t, x, out| levels[t].score(x, out)).unwrap();
        sum = [sum[0] + x[0], sum[1] + x[1]];
        squares = [squares[0] + x[0] * x[0], squares[1] + x[0] * x[1], squares[2] + x[1] * x[1]];
    }
    let mean = sum.map(|v| v / n as f64);
    let covariance = data.covariance();
    for i in 0..2 {
        let error = 5.0 * libm::sqrt(covariance[3 * i] / n as f64);
        assert!((mean[i] - data.mean()[i]).abs() < error, "{mean:?}");
    }
    for (k, (i, j)) in [(0, 0), (0, 1), (1, 1)].into_iter().enumerate() {
        let got = squares[k] / n as f64 - mean[i] * mean[j];
        let error = 5.0 * libm::sqrt(2.0 * covariance[3 * i] * covariance[3 * j] / n as f64);
        assert!((got - covariance[2 * i + j]).abs() < error, "{got} {}", covariance[2 * i + j]);
    }
    let e = probability_flow(&s.zero_terminal_snr().unwrap(), 10, Solver::Euler, &mut [0.0], |_, _, _| {});
    assert!(matches!(e, Err(ScoreError::Schedule(_))));
}
