use super::*;
use alloc::string::ToString;
use alloc::vec;
use serde_json::Value;

const REFERENCE: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/reference/diffusion.json"));

fn close(got: f64, want: f64, what: &str) {
    assert!((got - want).abs() <= 1e-12 * want.abs(), "{what}: {got:e} is not {want:e}");
}

/// Every figure of the reference at the book's schedule. Seen red with `linspace` that leaves out its end, and with
/// `alpha_bar(0)` taken as the last one (the book's index -1: posterior std of 0.99998 at t = 1).
#[test]
fn linear_equals_the_reference() {
    let reference: Value = serde_json::from_str(REFERENCE).unwrap();
    let s = Schedule::linear(1e-4, 0.02, 1000).unwrap();
    let mut levels = 0;
    for (key, row) in reference.as_object().unwrap() {
        let Some(t) = key.strip_prefix("sched.t").and_then(|t| t.parse::<usize>().ok()) else { continue };
        let want = |name: &str| row[name].as_f64().unwrap();
        let (signal, noise) = s.forward(t);
        close(s.beta(t), want("beta"), key);
        close(s.alpha_bar(t), want("alpha_bar"), key);
        close(signal, want("sqrt_ab"), key);
        close(noise, want("sqrt_1mab"), key);
        close(s.snr(t), want("snr"), key);
        close(s.posterior_std(t), want("post_std"), key);
        close(s.beta(t) / noise, want("eps_coef"), key);
        close(1.0 / libm::sqrt(1.0 - s.beta(t)), want("inv_sqrt_alpha"), key);
        levels += 1;
    }
    assert_eq!(levels, 18);
    close(s.betas().iter().sum(), reference["sum beta"].as_f64().unwrap(), "sum");
    for (below, key) in [(0.5, "<0.5"), (0.1, " alpha_bar<0.1"), (0.01, " alpha_bar<0.01")] {
        let (_, first) = reference.as_object().unwrap().iter().find(|(k, _)| k.ends_with(key)).unwrap();
        assert_eq!(s.alpha_bars().iter().position(|&a| a < below).unwrap() as u64, first.as_u64().unwrap());
    }
    assert_eq!((s.alpha_bar(0), s.posterior_variance(1), s.steps()), (1.0, 0.0, 1000));
}

/// The published values for Stable Diffusion's schedule, indexed from 0. Seen red with plain `linear`.
#[test]
fn scaled_linear_has_the_published_values() {
    let s = Schedule::scaled_linear(0.00085, 0.012, 1000).unwrap();
    let published = [(0, 0.99915), (1, 0.9982960278384514), (481, 0.30229566098601607), (981, 0.005775500139495751)];
    for (timestep, want) in published {
        close(s.alpha_bar(timestep + 1), want, "scaled_linear");
    }
    close(s.alpha_bar(1000), 0.004660098513077238, "scaled_linear");
}

/// Betas by the formula, by hand: nearly all would be 0 if the level were divided as an integer (seen red so).
#[test]
fn cosine_follows_its_curve_and_is_capped() {
    let s = Schedule::cosine(1000).unwrap();
    let f = |t: f64| libm::pow(libm::cos((t + 0.008) / 1.008 * core::f64::consts::PI / 2.0), 2.0);
    for t in [1usize, 2, 10, 500, 900, 998] {
        let want = f(t as f64 / 1000.0) / f(0.0);
        assert!((s.alpha_bar(t) - want).abs() < 1e-9 * want, "{t}");
    }
    assert!(s.betas().windows(2).all(|b| b[0] <= b[1]));
    assert_eq!(s.beta(1000), 0.999);
    close(s.beta(1), 1.0 - f(0.001) / f(0.0), "first");
}

/// Seen red with the scale left out that keeps the first level.
#[test]
fn zero_terminal_snr_keeps_the_first_level_and_ends_in_noise() {
    let s = Schedule::scaled_linear(0.00085, 0.012, 1000).unwrap();
    let z = s.zero_terminal_snr().unwrap();
    close(z.alpha_bar(1), s.alpha_bar(1), "first");
    assert_eq!((z.alpha_bar(0), z.alpha_bar(1000), z.beta(1000)), (1.0, 0.0, 1.0));
    assert!(z.alpha_bars().windows(2).all(|a| a[0] > a[1]));
    assert_eq!(Schedule::linear(0.5, 0.5, 1).unwrap().zero_terminal_snr(), Err(ScheduleError::Rescale { levels: 1 }));
}

/// numpy's own answers, half-way cases among them. Seen red with halves rounded away from zero (trailing 1000 of 16:
/// 938 - 1 for 937.5 is right, 62.5 gives 62 - 1) and with floor.
#[test]
fn timesteps_are_those_of_diffusers() {
    let first_last = |spacing: Spacing, levels, steps, offset| {
        let t = spacing.timesteps(levels, steps, offset).unwrap();
        assert_eq!(t.len(), steps);
        assert!(t.windows(2).all(|w| w[0] > w[1]));
        t
    };
    assert_eq!(first_last(Spacing::Leading, 1000, 3, 1), [667, 334, 1]);
    assert_eq!(first_last(Spacing::Leading, 1000, 1000, 0), (0..1000).rev().collect::<Vec<_>>());
    assert_eq!(first_last(Spacing::Trailing, 1000, 3, 1), [999, 666, 332]);
    let sixteen = [999, 937, 874, 811, 749, 687, 624, 561, 499, 437, 374, 311, 249, 187, 124, 61];
    assert_eq!(first_last(Spacing::Trailing, 1000, 16, 0), sixteen);
    assert_eq!(first_last(Spacing::Trailing, 1000, 48, 0)[12], 749);
    assert_eq!(first_last(Spacing::Linspace, 1000, 3, 1), [999, 500, 0]);
    assert_eq!(first_last(Spacing::Linspace, 1000, 1, 0), [0]);
    for spacing in [Spacing::Leading, Spacing::Trailing, Spacing::Linspace] {
        (1..=100).for_each(|steps| assert!(*first_last(spacing, 100, steps, 0).first().unwrap() < 100));
    }
}

#[test]
fn bad_schedules_are_refused_by_name() {
    assert_eq!(Schedule::linear(1e-4, 0.02, 0), Err(ScheduleError::NoSteps));
    assert_eq!(Schedule::cosine(0), Err(ScheduleError::NoSteps));
    assert_eq!(Schedule::linear(0.0, 0.02, 5), Err(ScheduleError::Beta { level: 1, beta: 0.0 }));
    assert_eq!(Schedule::from_betas(vec![0.1, 1.5]), Err(ScheduleError::Beta { level: 2, beta: 1.5 }));
    assert!(matches!(Schedule::linear(f64::NAN, 0.02, 5), Err(ScheduleError::Beta { level: 1, .. })));
    assert!(matches!(Schedule::scaled_linear(-1.0, 0.02, 5), Err(ScheduleError::Beta { level: 1, .. })));
    for steps in [0, 11] {
        assert_eq!(Spacing::Leading.timesteps(10, steps, 0), Err(ScheduleError::Steps { steps, levels: 10 }));
    }
    let past = Spacing::Leading.timesteps(10, 10, 1);
    assert_eq!(past, Err(ScheduleError::Offset { timestep: 10, offset: 1, levels: 10 }));
    assert!(past.unwrap_err().to_string().contains("steps_offset"));
    assert_eq!(Spacing::from_name("karras"), None);
}
