use super::*;
use alloc::vec::Vec;
use nijimi_runtime::raw::dist::Normal;
use nijimi_runtime::raw::rng::Stream;
use serde_json::Value;

const REFERENCE: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/reference/diffusion.json"));
const TARGETS: [Target; 4] = [Target::Mean, Target::Sample, Target::Epsilon, Target::V];

fn close(got: f64, want: f64, tolerance: f64, what: &str) {
    assert!((got - want).abs() <= tolerance * f64::max(want.abs(), 1.0), "{what}: {got:e} is not {want:e}");
}

fn schedules() -> [Schedule; 4] {
    [
        Schedule::linear(1e-4, 0.02, 1000).unwrap(),
        Schedule::scaled_linear(0.00085, 0.012, 1000).unwrap(),
        Schedule::cosine(200).unwrap(),
        Schedule::from_betas([0.3, 0.05, 0.6, 0.2].to_vec()).unwrap(),
    ]
}

/// Calls `f` with levels of every schedule and three standard normals for each.
fn at_random_levels(mut f: impl FnMut(&Schedule, Level, [f64; 3])) {
    for (i, schedule) in schedules().iter().enumerate() {
        let mut stream = Stream::new(8, "levels", i as u64);
        for t in (1..=schedule.steps()).step_by(schedule.steps().div_ceil(97)) {
            let level = Level::new(schedule, t).unwrap();
            f(schedule, level, [(); 3].map(|()| stream.normal_f64()));
        }
    }
}

/// The book's schedule: weights, variances, posterior means and the prior's KL, to 1e-9. Seen red with the weight's
/// factor of 2 left out, with `sqrt(alpha_t)` alone for the share of x_t, and with `log(1 + alpha_bar)` in the prior.
#[test]
fn the_reference_values_come_out() {
    let reference: Value = serde_json::from_str(REFERENCE).unwrap();
    let schedule = Schedule::linear(1e-4, 0.02, 1000).unwrap();
    let relative = |got: f64, want: &Value, what: &str| {
        let want = want.as_f64().unwrap();
        assert!((got - want).abs() <= 1e-9 * want.abs(), "{what}: {got:e} is not {want:e}");
    };
    let mut weights = 0;
    for (key, row) in reference.as_object().unwrap() {
        let Some(t) = key.strip_prefix("elbo_weight.t").and_then(|t| t.parse().ok()) else { continue };
        let level = Level::new(&schedule, t).unwrap();
        relative(level.elbo_weight(Target::Epsilon).unwrap().unwrap(), &row["eps"], key);
        relative(level.elbo_weight(Target::Sample).unwrap().unwrap(), &row["x0"], key);
        relative(level.posterior().variance, &row["sigma_q2"], key);
        weights += 1;
    }
    assert_eq!(weights, 5);
    let want = &reference["post_mean.t500(x0=.7,eps=-.3)"];
    let level = Level::new(&schedule, 500).unwrap();
    let x_t = level.marginal().at(0.7, -0.3);
    let [a, b] = level.convert(Target::Epsilon, Target::Mean).unwrap();
    relative(x_t, &want["xt"], "x_t");
    relative(level.posterior().mean(x_t, 0.7), &want["via_x0"], "mean by x_0");
    relative(a * x_t + b * -0.3, &want["via_eps"], "mean by epsilon");
    let (_, want) = reference.as_object().unwrap().iter().find(|(key, _)| key.starts_with("prior KL")).unwrap();
    relative(prior_kl(&schedule, &[1.0]), want, "prior");
    relative(prior_kl(&schedule, &[1.0, -1.0, 1.0]) / 3.0, want, "prior of three dimensions");
}

/// Step after step is the marginal, and any two stretches are one. Seen red with the variance so far left unscaled.
#[test]
fn steps_compose() {
    for schedule in schedules() {
        let mut chain = Transition::IDENTITY;
        for t in 1..=schedule.steps() {
            let level = Level::new(&schedule, t).unwrap();
            chain = chain.then(level.step());
            close(chain.scale, level.marginal().scale, 1e-12, "scale");
            close(chain.variance, level.marginal().variance, 1e-12, "variance");
            let (first, second) = (between(&schedule, 0, t / 3).unwrap(), between(&schedule, t / 3, t).unwrap());
            close(first.then(second).scale, level.marginal().scale, 1e-12, "scale in two");
            close(first.then(second).variance, level.marginal().variance, 1e-12, "variance in two");
        }
        assert_eq!(between(&schedule, 2, 2).unwrap(), Transition::IDENTITY);
    }
}

/// Bayes: q(x_{t-1} | x_t, x_0) q(x_t | x_0) = q(x_t | x_{t-1}) q(x_{t-1} | x_0), as densities at random points. Seen
/// red without `sqrt(alpha_bar_{t-1})` in the share of x_0, and with beta_t for its variance.
#[test]
fn the_posterior_is_bayes() {
    at_random_levels(|schedule, level, [x_0, noise, noise_before]| {
        if level.t() == 1 {
            let posterior = level.posterior();
            assert_eq!((posterior.mean(noise, x_0), posterior.variance), (x_0, 0.0));
            return;
        }
        let before = Level::new(schedule, level.t() - 1).unwrap().marginal();
        let (x_before, posterior) = (before.at(x_0, noise_before), level.posterior());
        let x_t = level.step().at(x_before, noise);
        let given = Transition { scale: 1.0, variance: posterior.variance };
        let left = given.log_pdf(&[posterior.mean(x_t, x_0)], &[x_before]).unwrap()
            + level.marginal().log_pdf(&[x_0], &[x_t]).unwrap();
        let right = level.step().log_pdf(&[x_before], &[x_t]).unwrap() + before.log_pdf(&[x_0], &[x_before]).unwrap();
        close(left, right, 1e-9, "log density");
    });
}

/// All twelve conversions, from what the targets are by definition. Seen red with the sign of v turned, and with `noise
/// / signal` upside down in what gives x_0 from epsilon.
#[test]
fn targets_convert() {
    at_random_levels(|_, level, [x_0, noise, _]| {
        let x_t = level.marginal().at(x_0, noise);
        let (signal, sigma) = (level.alpha_bar().sqrt(), (1.0 - level.alpha_bar()).sqrt());
        let truth = |target| match target {
            Target::Mean => level.posterior().mean(x_t, x_0),
            Target::Sample => x_0,
            Target::Epsilon => noise,
            Target::V => signal * noise - sigma * x_0,
        };
        for from in TARGETS {
            for to in TARGETS {
                let [a, b] = level.convert(from, to).unwrap();
                // What rounding of x_t and of the prediction is multiplied with.
                let gain = f64::max(1.0, a.abs() + b.abs());
                close(a * x_t + b * truth(from), truth(to), 1e-14 * gain, &alloc::format!("{from:?} to {to:?}"));
            }
        }
        // The book's own formula (8.6.3).
        let [a, b] = level.convert(Target::Epsilon, Target::Mean).unwrap();
        let (alpha, beta) = (1.0 - level.step().variance, level.step().variance);
        close(a, 1.0 / alpha.sqrt(), 1e-12, "share of x_t");
        close(b, -beta / (sigma * alpha.sqrt()), 1e-12, "share of epsilon");
    });
}

/// The weight is what makes the squared error a KL divergence. Seen red with `1 / variance` for `1 / (2 variance)`.
#[test]
fn weights_make_errors_divergences() {
    at_random_levels(|_, level, [x_0, noise, error]| {
        let x_t = level.marginal().at(x_0, noise);
        for target in TARGETS {
            let Some(weight) = level.elbo_weight(target).unwrap() else {
                assert_eq!(level.t(), 1);
                continue;
            };
            let [a, b] = level.convert(Target::Sample, target).unwrap();
            let [c, d] = level.convert(target, Target::Mean).unwrap();
            let mean = c * x_t + d * (a * x_t + b * x_0 + error);
            let posterior = level.posterior();
            let divergence = kl(&[posterior.mean(x_t, x_0)], posterior.variance, &[mean], posterior.variance).unwrap();
            let want = weight * error * error;
            assert!((divergence - want).abs() <= 1e-7 * want, "{target:?}, level {}: {divergence} {want}", level.t());
        }
    });
}

/// Against a sum over a fine grid. Seen red with the two variances exchanged.
#[test]
fn kl_is_the_expected_difference_of_log_densities() {
    for (m, s, n, r) in [(1.0, 0.5, 0.0, 1.0), (0.0, 1.0, 1.0, 0.5), (-0.3, 1.2, 0.4, 1.21), (2.0, 0.7, 2.0, 0.7)] {
        let (p, q) = (Normal::new(m, s).unwrap(), Normal::new(n, r).unwrap());
        let step = s * 1e-3;
        let grid = (-12_000..=12_000).map(|i| m + f64::from(i) * step);
        let want: f64 = grid.map(|x| p.pdf(x) * (p.log_pdf(x) - q.log_pdf(x)) * step).sum();
        close(kl(&[m], s * s, &[n], r * r).unwrap(), want, 1e-11, "one dimension");
        close(kl(&[m, m], s * s, &[n, n], r * r).unwrap(), 2.0 * want, 1e-11, "two");
    }
}

/// A chain whose every Gaussian is known, from a predictor that is linear: `x_0 ~ N(0.5, 0.36)` seen through noise.
fn best_sample(level: &Level, x_t: f64) -> f64 {
    let (mean, variance, marginal) = (0.5, 0.36, level.marginal());
    let gain = marginal.scale * variance / (level.alpha_bar() * variance + marginal.variance);
    mean + gain * (x_t - marginal.scale * mean)
}

/// The ELBO by its first definition, E[log p(x_0..x_T) - log q(x_1..x_T | x_0)], every moment by hand, equals what the
/// terms say; and it is below log p(x_0), which is a Gaussian here, by what a worse decoder adds. For each target. A
/// term is a quadratic of the noise, so its mean over noise of +1 and -1 is exact. Seen red without the entropy of the
/// reconstruction, with the share of the mean not squared at t = 1, and with the prior left out.
#[test]
fn terms_sum_to_the_bound() {
    for schedule in schedules() {
        let (variance_1, levels) = (0.02, schedule.steps());
        let level = |t| Level::new(&schedule, t).unwrap();
        // p(x_{t-1} | x_t) = N(a x_t + c, v).
        let backward = |t: usize| {
            let (level, posterior) = (level(t), level(t).posterior());
            let mean = |x_t| posterior.mean(x_t, best_sample(&level, x_t));
            (mean(1.0) - mean(0.0), mean(0.0), if t == 1 { variance_1 } else { posterior.variance })
        };
        let (mut mean, mut variance) = (0.0, 1.0);
        for t in (1..=levels).rev() {
            let (a, c, v) = backward(t);
            (mean, variance) = (a * mean + c, a * a * variance + v);
        }
        let evidence = Normal::new(mean, variance.sqrt()).unwrap();
        for x_0 in [-1.3, 0.5, 0.9, 2.0] {
            let last = level(levels).marginal();
            let mut by_definition = -0.5 * (TAU.ln() + last.scale * last.scale * x_0 * x_0 + last.variance);
            for t in 1..=levels {
                let (a, c, v) = backward(t);
                let step = level(t).step();
                let before = between(&schedule, 0, t - 1).unwrap();
                let bias = before.scale * x_0 * (1.0 - a * step.scale) - c;
                let spread = (1.0 - a * step.scale) * (1.0 - a * step.scale) * before.variance + a * a * step.variance;
                by_definition += -0.5 * ((TAU * v).ln() + (bias * bias + spread) / v);
                by_definition += 0.5 * ((TAU * step.variance).ln() + 1.0);
            }
            assert!(by_definition < evidence.log_pdf(x_0), "{by_definition} {}", evidence.log_pdf(x_0));
            for target in TARGETS {
                let elbo = Elbo::new(&schedule, target, variance_1).unwrap();
                let term = |t: usize, noise: f64| {
                    let level = level(t);
                    let x_t = level.marginal().at(x_0, noise);
                    let [a, b] = level.convert(Target::Sample, target).unwrap();
                    elbo.term(&level, &[x_0], &[noise], &[a * x_t + b * best_sample(&level, x_t)]).unwrap()
                };
                let terms: f64 = (1..=levels).map(|t| 0.5 * (term(t, 1.0) + term(t, -1.0))).sum();
                close(-(terms + prior_kl(&schedule, &[x_0])), by_definition, 1e-9, "ELBO");
            }
        }
    }
}

/// Estimates by one draw a level, and by draws of levels, have that mean: 10,000 of each, to four standard errors. Seen
/// red with `share` of 1.
#[test]
fn estimates_are_unbiased() {
    let schedule = Schedule::linear(0.01, 0.6, 12).unwrap();
    let elbo = Elbo::new(&schedule, Target::Epsilon, 0.01).unwrap();
    let predict = |level: &Level, x_t: &[f64], out: &mut [f64]| {
        let [a, b] = level.convert(Target::Sample, Target::Epsilon)?;
        out.iter_mut().zip(x_t).for_each(|(out, x)| *out = a * x + b * best_sample(level, *x));
        Ok::<_, DiffusionError>(())
    };
    let x_0 = [0.9, -0.2, 0.5];
    // Two points a dimension, all together: the dimensions' errors add.
    let mut exact = prior_kl(&schedule, &x_0);
    for t in 1..=12 {
        let level = Level::new(&schedule, t).unwrap();
        for noise in [[1.0; 3], [-1.0; 3]] {
            let (mut x_t, mut out) = ([0.0; 3], [0.0; 3]);
            level.marginal().apply(&x_0, &noise, &mut x_t).unwrap();
            predict(&level, &x_t, &mut out).unwrap();
            exact += 0.5 * elbo.term(&level, &x_0, &noise, &out).unwrap();
        }
    }
    let mut stream = Stream::new(1, "elbo", 0);
    for few in [false, true] {
        let mut one = || match few {
            false => elbo.estimate(&x_0, &mut stream, predict).unwrap(),
            true => elbo.estimate_of(3, &x_0, &mut stream, predict).unwrap(),
        };
        let values: Vec<f64> = (0..10_000).map(|_| one().elbo()).collect();
        let mean = values.iter().sum::<f64>() / 1e4;
        let error = (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / 9999.0 / 1e4).sqrt();
        assert!((mean + exact).abs() < 4.0 * error && error < 0.3, "{mean} +- {error}, exactly {}", -exact);
    }
}

#[test]
fn what_is_refused_says_so() {
    let schedule = Schedule::scaled_linear(0.00085, 0.012, 10).unwrap();
    for t in [0, 11] {
        assert_eq!(Level::new(&schedule, t), Err(DiffusionError::Level { t, levels: 10 }));
    }
    assert_eq!(between(&schedule, 3, 2), Err(DiffusionError::Order { from: 3, to: 2 }));
    assert_eq!(between(&schedule, 3, 11), Err(DiffusionError::Level { t: 11, levels: 10 }));
    let tiny = Schedule::from_betas([1e-300].to_vec()).unwrap();
    assert_eq!(Level::new(&tiny, 1), Err(DiffusionError::NoNoise { t: 1, beta: 1e-300 }));
    let zero = schedule.zero_terminal_snr().unwrap();
    let last = Level::new(&zero, 10).unwrap();
    let refused = DiffusionError::Undetermined { target: Target::Epsilon, t: 10, alpha_bar: 0.0 };
    assert_eq!(last.convert(Target::Epsilon, Target::Sample), Err(refused.clone()));
    assert_eq!(last.elbo_weight(Target::Epsilon), Err(refused));
    assert_eq!(last.convert(Target::V, Target::Sample), Ok([0.0, -1.0]));
    assert_eq!(last.convert(Target::V, Target::Epsilon), Ok([1.0, 0.0]));
    assert!(last.elbo_weight(Target::V).unwrap().unwrap().is_finite());
    assert_eq!(prior_kl(&zero, &[3.0]), 0.0);
    for variance in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(Elbo::new(&schedule, Target::V, variance), Err(DiffusionError::Variance(_))));
    }
    let length = DiffusionError::Length { what: "the noise", found: 1, expected: 2 };
    assert_eq!(Transition::IDENTITY.apply(&[1.0, 2.0], &[0.0], &mut [0.0; 2]), Err(length));
    assert!(kl(&[0.0], 1.0, &[], 1.0).is_err() && Transition::IDENTITY.log_pdf(&[0.0], &[]).is_err());
    assert_eq!(Transition::IDENTITY.log_pdf(&[2.0], &[2.0]), Ok(f64::INFINITY));
    assert_eq!(Transition::IDENTITY.log_pdf(&[2.0], &[2.5]), Ok(f64::NEG_INFINITY));
}
