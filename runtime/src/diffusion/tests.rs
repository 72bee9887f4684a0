use super::*;
use alloc::format;
use alloc::vec::Vec;
use serde_json::Value;

const REFERENCE: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/reference/diffusion.json"));

fn reference() -> Value {
    serde_json::from_str(REFERENCE).unwrap()
}

fn book() -> Schedule {
    Schedule::linear(1e-4, 0.02, 1000).unwrap()
}

#[track_caller]
fn close(got: f64, want: f64, tolerance: f64) {
    assert!((got - want).abs() <= tolerance * want.abs().max(1e-300), "{got:e} is not {want:e}");
}

const TARGETS: [Target; 4] = [Target::Mean, Target::X0, Target::Epsilon, Target::V];

fn log_pdf(x: f64, mean: f64, variance: f64) -> f64 {
    Normal::new(mean, libm::sqrt(variance)).unwrap().log_pdf(x)
}

/// The value table of step 8. Seen red with the weight of epsilon without its a_t, with A_t for A_{t-1} in the posterior's
/// share of x_0, and with the prior's KL turned over.
#[test]
fn the_values_are_those_of_the_reference() {
    let (r, s) = (reference(), book());
    let mut weights = 0;
    for (key, row) in r.as_object().unwrap() {
        if let Some(t) = key.strip_prefix("elbo_weight.t") {
            let t = t.parse().unwrap();
            close(s.elbo_weight(t, Target::Epsilon), row["eps"].as_f64().unwrap(), 1e-12);
            close(s.elbo_weight(t, Target::X0), row["x0"].as_f64().unwrap(), 1e-12);
            close(s.posterior(t).variance, row["sigma_q2"].as_f64().unwrap(), 1e-12);
            weights += 1;
        }
        if let Some(t) = key.strip_prefix("sched.t").and_then(|t| t.parse::<usize>().ok()) {
            let (_, out) = s.conversion(t, Target::Epsilon, Target::X0).unwrap();
            let want = -row["sqrt_1mab"].as_f64().unwrap() / row["sqrt_ab"].as_f64().unwrap();
            close(out, want, 1e-12);
            let (from_x, from_eps) = s.conversion(t, Target::Epsilon, Target::Mean).unwrap();
            let inverse = row["inv_sqrt_alpha"].as_f64().unwrap();
            close(from_x, inverse, 1e-9);
            close(from_eps, -inverse * row["eps_coef"].as_f64().unwrap(), 1e-12);
        }
    }
    assert_eq!(weights, 5);
    let mean = &r["post_mean.t500(x0=.7,eps=-.3)"];
    let x_t = s.kernel(0, 500).mean_plus(0.7, -0.3);
    close(x_t, mean["xt"].as_f64().unwrap(), 1e-12);
    close(s.posterior(500).mean(x_t, 0.7), mean["via_x0"].as_f64().unwrap(), 1e-12);
    let (from_x, from_eps) = s.conversion(500, Target::Epsilon, Target::Mean).unwrap();
    close(from_x * x_t + from_eps * -0.3, mean["via_eps"].as_f64().unwrap(), 1e-12);
    let key = "prior KL per dim if x0=1: KL(N(sqrt(ab_T),1-ab_T)||N(0,1))";
    close(s.prior_kl(&[1.0]).unwrap(), r[key].as_f64().unwrap(), 1e-9);
    close(
        s.prior_kl(&[1.0, 1.0, 0.0]).unwrap(),
        2.0 * s.prior_kl(&[1.0]).unwrap() + s.prior_kl(&[0.0]).unwrap(),
        1e-12,
    );
}

/// Step by step is the closed form (book 8.4.3), and any two parts are the whole. Seen red with the variance of the first
/// part not scaled by the second's signal.
#[test]
fn kernels_compose() {
    let s = book();
    let mut all = Kernel { signal: 1.0, variance: 0.0 };
    for t in 1..=1000 {
        all = all.then(&s.kernel(t - 1, t));
        close(all.signal, s.kernel(0, t).signal, 1e-12);
        // 1 - A_1 = 1e-4 has lost four digits.
        close(all.variance, s.kernel(0, t).variance, 1e-11);
    }
    for (r, m, t) in [(0, 1, 2), (0, 400, 1000), (3, 10, 300), (500, 998, 999)] {
        let parts = s.kernel(r, m).then(&s.kernel(m, t));
        close(parts.signal, s.kernel(r, t).signal, 1e-12);
        close(parts.variance, s.kernel(r, t).variance, 1e-11);
    }
    // Variance is preserved: data of variance 1 keep it.
    for t in 1..=1000 {
        let k = s.kernel(0, t);
        close(k.signal * k.signal + k.variance, 1.0, 1e-15);
    }
}

/// The noise of 40,000 elements at level 300, and of the same through level 100. Seen red with the standard deviation in
/// place of the variance.
#[test]
fn draws_have_the_kernel_s_moments() {
    let (s, mut stream) = (book(), Stream::new(2, "kernel", 0));
    let mut x: Vec<f64> = (0..40_000).map(|i| f64::from(i % 2)).collect();
    s.kernel(0, 100).sample(&mut stream, &mut x);
    s.kernel(100, 300).sample(&mut stream, &mut x);
    let error = 5.0 / libm::sqrt(20_000.0);
    for first in [0, 1] {
        let part = || x.iter().skip(first).step_by(2);
        let mean = part().sum::<f64>() / 20_000.0;
        let variance = part().map(|v| (v - mean) * (v - mean)).sum::<f64>() / 20_000.0;
        let want = s.kernel(0, 300);
        assert!((mean - first as f64 * want.signal).abs() < error * libm::sqrt(want.variance));
        assert!((variance / want.variance - 1.0).abs() < error * core::f64::consts::SQRT_2);
    }
}

/// Bayes: q(x_{t-1} | x_t, x_0) q(x_t | x_0) = q(x_t | x_{t-1}) q(x_{t-1} | x_0), for random numbers. Seen red with the two
/// shares of the mean exchanged.
#[test]
fn the_posterior_is_that_of_bayes() {
    let (s, mut stream) = (book(), Stream::new(3, "bayes", 0));
    for _ in 0..2000 {
        let t = 2 + stream.below(999) as usize;
        let x_0 = stream.normal_f64();
        let before = s.kernel(0, t - 1).mean_plus(x_0, stream.normal_f64());
        let x_t = s.kernel(t - 1, t).mean_plus(before, stream.normal_f64());
        let (step, whole, first) = (s.kernel(t - 1, t), s.kernel(0, t), s.kernel(0, t - 1));
        let posterior = s.posterior(t);
        let left = log_pdf(before, posterior.mean(x_t, x_0), posterior.variance)
            + log_pdf(x_t, whole.signal * x_0, whole.variance);
        let right =
            log_pdf(x_t, step.signal * before, step.variance) + log_pdf(before, first.signal * x_0, first.variance);
        assert!((left - right).abs() < 1e-9 * right.abs().max(1.0), "{t}: {left} {right}");
    }
    let first = s.posterior(1);
    assert_eq!((first.from_x_t, first.variance), (0.0, 0.0));
    close(first.from_x_0, 1.0, 1e-12);
}

/// Any target from any other, there and back, and from the definitions. Seen red with the sign of v's x_0 turned.
#[test]
fn targets_convert_into_each_other() {
    let (s, mut stream) = (book(), Stream::new(4, "targets", 0));
    for _ in 0..500 {
        let t = 1 + stream.below(1000) as usize;
        let (x_0, epsilon) = (stream.normal_f64(), stream.normal_f64());
        let x_t = s.kernel(0, t).mean_plus(x_0, epsilon);
        let (signal, noise) = s.forward(t);
        let value = |target| match target {
            Target::Mean => s.posterior(t).mean(x_t, x_0),
            Target::X0 => x_0,
            Target::Epsilon => epsilon,
            Target::V => signal * epsilon - noise * x_0,
        };
        for (from, to) in TARGETS.iter().flat_map(|a| TARGETS.iter().map(move |b| (*a, *b))) {
            let (a, b) = s.conversion(t, from, to).unwrap();
            // Rounding is multiplied by what the two parts cancel to.
            let scale = (a * x_t).abs() + (b * value(from)).abs() + 1.0;
            let got = a * x_t + b * value(from);
            assert!((got - value(to)).abs() < 1e-9 * scale, "{t} {from:?} {to:?}: {got} {}", value(to));
        }
        if t == 1 {
            continue;
        }
        // Weighted squared errors agree: the same prediction, in any form, has one KL.
        let wrong = x_0 + 0.1;
        let kl = 0.01 * s.elbo_weight(t, Target::X0);
        for target in TARGETS {
            let (a, b) = s.conversion(t, Target::X0, target).unwrap();
            let error = a * x_t + b * wrong - value(target);
            close(s.elbo_weight(t, target) * error * error, kl, 1e-7);
        }
    }
}

/// Kingma, Salimans, Poole, Ho: "Variational diffusion models" (2021), eq. 14: the weight of x_0 is half the loss of
/// signal-to-noise. Seen red with the factor 2 of the KL left out.
#[test]
fn the_weight_of_x0_is_the_loss_of_snr() {
    let s = book();
    for t in 2..=1000 {
        close(s.elbo_weight(t, Target::X0), 0.5 * (s.snr(t - 1) - s.snr(t)), 1e-7);
    }
    assert_eq!(s.elbo_weight(1, Target::X0), f64::INFINITY);
}

#[test]
fn pure_noise_says_nothing_of_x0() {
    let s = book().zero_terminal_snr().unwrap();
    for to in [Target::X0, Target::Mean, Target::V] {
        let e = s.conversion(1000, Target::Epsilon, to).unwrap_err();
        assert_eq!(e, ScheduleError::NoSignal { level: 1000 });
        assert!(format!("{e}").contains("level 1000"));
    }
    assert!(s.conversion(1000, Target::V, Target::X0).is_ok());
    assert!(s.conversion(1000, Target::X0, Target::Mean).is_ok());
}
