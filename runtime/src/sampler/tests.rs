use super::*;
use crate::rng;
use crate::schedule::{Schedule, ScheduleError, Spacing};
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use serde_json::Value;

mod reference;
mod solvers;

const FIXTURES: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/schedulers.json"));

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

/// SolverSettings of DDPM or DDIM on trained levels, leading, without offset.
fn plain(solver: Solver, steps: usize) -> SolverSettings {
    SolverSettings { steps_offset: 0, ..SolverSettings::new(solver, steps) }
}

/// Takes a call's answer without a history; the estimate of the clean picture.
fn step(c: &Call, x: &mut [f32], out: &[f32], noise: &[f32]) -> Result<Vec<f32>, SamplerError> {
    let mut state = SamplerState::new(core::slice::from_ref(c), x.len());
    state.accept(c, x, out, noise)?;
    Ok(state.x0().to_vec())
}

/// The calls that a fixture's configuration, in the names of `diffusers`, describes.
fn from_fixture(case: &Value) -> Calls {
    let config = &case["config"];
    let (name, float, flag) = (
        |key: &str| config[key].as_str().unwrap(),
        |key: &str| config[key].as_f64().unwrap(),
        |key: &str| config[key].as_bool().unwrap(),
    );
    let levels = config["num_train_timesteps"].as_u64().unwrap() as usize;
    let schedule = match name("beta_schedule") {
        "linear" => Schedule::linear(float("beta_start"), float("beta_end"), levels),
        "scaled_linear" => Schedule::scaled_linear(float("beta_start"), float("beta_end"), levels),
        "squaredcos_cap_v2" => Schedule::cosine(levels),
        other => panic!("schedule {other}"),
    };
    let mut schedule = schedule.unwrap();
    if flag("rescale_betas_zero_snr") {
        schedule = schedule.zero_terminal_snr().unwrap();
    }
    let solver = match case["scheduler"].as_str().unwrap() {
        "DDPMScheduler" => Solver::Ddpm { variance: Variance::from_name(name("variance_type")).unwrap() },
        _ => Solver::Ddim {
            eta: case["step_options"]["eta"].as_f64().unwrap_or(0.0),
            set_alpha_to_one: flag("set_alpha_to_one"),
        },
    };
    let settings = SolverSettings {
        spacing: Spacing::from_name(name("timestep_spacing")).unwrap(),
        steps_offset: config["steps_offset"].as_u64().unwrap() as usize,
        prediction: Prediction::from_name(name("prediction_type")).unwrap(),
        clip: flag("clip_sample").then(|| float("clip_sample_range") as f32).map(|c| [-c, c]),
        ..SolverSettings::new(solver, case["steps"].as_u64().unwrap() as usize)
    };
    Calls::new(&schedule, &settings).unwrap()
}

/// The network's stand-in of the fixtures.
fn denoiser(x: &[f32], t: f32, out: &mut [f32]) {
    for (x, out) in x.iter().zip(out) {
        *out = 0.9 * x + 0.2 * libm::sinf(2.0 * x + 0.003 * t);
    }
}

/// Every step of every DDPM and DDIM case against diffusers 0.42.1.
/// Seen red: alpha_bar off by one level; sigma of eq. 16 without its second factor; the last step to alpha_bar 1 where
/// the case says level 1; DDPM's jump taken as one of a single level; v's sign; no clipping.
#[test]
fn every_step_equals_diffusers() {
    // Python writes infinities, which JSON has not; they are in cases of other samplers only.
    let fixtures: Value = serde_json::from_str(&FIXTURES.replace("-Infinity", "null")).unwrap();
    let mut names = vec![];
    for case in fixtures["cases"].as_array().unwrap() {
        if !matches!(case["scheduler"].as_str().unwrap(), "DDPMScheduler" | "DDIMScheduler") {
            continue;
        }
        let name = case["name"].as_str().unwrap();
        let calls = from_fixture(case);
        let timesteps: Vec<f32> = calls.calls().iter().map(|c| c.t).collect();
        assert_eq!(timesteps, floats(&case["timesteps"]), "{name}");
        let mut x = floats(&case["init_noise"]);
        let mut out = vec![0.0; x.len()];
        let mut noises = case["step_noises"].as_array().unwrap().iter().map(floats);
        let mut samples = case["samples"].as_array().unwrap().iter().map(floats);
        let every = case["samples_every"].as_u64().unwrap() as usize;
        for (i, c) in calls.calls().iter().enumerate() {
            denoiser(&x, c.t, &mut out);
            let noise = if c.noise == 0.0 { vec![] } else { noises.next().expect("noise for this step") };
            step(c, &mut x, &out, &noise).unwrap();
            if (i + 1) % every == 0 {
                for (got, want) in x.iter().zip(samples.next().unwrap()) {
                    let error = (got - want).abs() / want.abs().max(1.0);
                    assert!(error < 1e-5, "{name}, step {i}, timestep {}: {got} is not {want}", c.t);
                }
            }
        }
        assert!(noises.next().is_none() && samples.next().is_none(), "{name}: not all of the case was used");
        names.push(name.to_string());
    }
    assert_eq!(names.len(), 6, "{names:?}");
}

/// The book's own loop, t = T..1, in its own formula: mean (x - (1 - alpha) / sqrt(1 - alpha_bar) eps) / sqrt(alpha),
/// the posterior's standard deviation, no noise at t = 1. Seen red with `Variance::FixedLarge`.
#[test]
fn ddpm_over_all_levels_is_the_books() {
    let s = Schedule::linear(1e-4, 0.02, 1000).unwrap();
    let calls = Calls::new(&s, &plain(Solver::Ddpm { variance: Variance::FixedSmall }, 1000)).unwrap();
    let n = 16;
    let (mut x, mut noise, mut out, mut x0) = (vec![0f32; n], vec![0f32; n], vec![0f32; n], vec![]);
    rng::normal_fill(1, 0, &mut x);
    let mut book: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
    for (draw, c) in (1..).zip(calls.calls()) {
        let t = 1001 - draw as usize;
        assert_eq!(c.t as usize + 1, t);
        rng::normal_fill(1, draw, &mut noise);
        let alpha = 1.0 - s.beta(t);
        let std = if t == 1 { 0.0 } else { s.posterior_std(t) };
        for (b, z) in book.iter_mut().zip(&noise) {
            let eps = 0.9 * *b + 0.2 * libm::sin(2.0 * *b + 0.003 * f64::from(c.t));
            *b = (*b - s.beta(t) / s.forward(t).1 * eps) / libm::sqrt(alpha) + std * f64::from(*z);
        }
        denoiser(&x, c.t, &mut out);
        x0 = step(c, &mut x, &out, if t == 1 { &[] } else { &noise }).unwrap();
        for (a, b) in x.iter().zip(&book) {
            assert!((f64::from(*a) - b).abs() < 2e-5 * b.abs().max(1.0), "t {t}: {a} {b}");
        }
    }
    assert_eq!(x, x0, "the last step ends on the estimate of the clean picture");
}

/// DDIM with eta 1 over adjacent levels is DDPM with the posterior's variance (Song et al. 2021, section 4.1), whatever
/// the network predicts. Seen red with eta 0.9.
#[test]
fn ddim_with_eta_1_is_ddpm_for_every_prediction() {
    let s = Schedule::cosine(50).unwrap();
    for prediction in [Prediction::Epsilon, Prediction::V, Prediction::Sample] {
        let make = |solver| Calls::new(&s, &SolverSettings { prediction, ..plain(solver, 50) }).unwrap();
        let a = make(Solver::Ddim { eta: 1.0, set_alpha_to_one: true });
        let b = make(Solver::Ddpm { variance: Variance::FixedSmall });
        let (x, out, noise) = ([0.3, -1.1, 0.8], [0.5, -0.2, 0.1], [-0.7, 0.1, 1.9]);
        for (a, b) in a.calls().iter().zip(b.calls()) {
            let (mut xa, mut xb) = (x, x);
            step(a, &mut xa, &out, &noise).unwrap();
            step(b, &mut xb, &out, &noise).unwrap();
            for (p, q) in xa.iter().zip(&xb) {
                assert!((p - q).abs() < 1e-5 * q.abs().max(1.0), "{prediction:?} {}: {p} {q}", a.t);
            }
        }
    }
}

/// All three predictions of the same truth lead to the same step. Seen red with V's noise and signal exchanged.
#[test]
fn predictions_of_one_truth_agree() {
    let s = Schedule::linear(1e-4, 0.02, 1000).unwrap();
    let (clean, eps) = (0.6f64, -1.2f64);
    for solver in [Solver::default(), Solver::Ddpm { variance: Variance::FixedSmall }] {
        let take = |prediction| {
            let c = Calls::new(&s, &SolverSettings { prediction, ..plain(solver, 10) }).unwrap().calls()[4];
            let (signal, noise) = s.forward(c.t as usize + 1);
            let out = match prediction {
                Prediction::Epsilon => eps,
                Prediction::V => signal * eps - noise * clean,
                Prediction::Sample => clean,
                Prediction::Flow => unreachable!("not asked for"),
            };
            let mut x = [(signal * clean + noise * eps) as f32];
            let x0 = step(&c, &mut x, &[out as f32], &[0.0]).unwrap();
            assert!((x0[0] - 0.6).abs() < 1e-5);
            x[0]
        };
        let want = take(Prediction::Epsilon);
        for prediction in [Prediction::V, Prediction::Sample] {
            assert!((take(prediction) - want).abs() < 2e-6, "{prediction:?}");
        }
    }
}

#[test]
fn bad_settings_and_buffers_are_refused_by_name() {
    let s = Schedule::linear(1e-4, 0.02, 100).unwrap();
    let make = |settings: SolverSettings| Calls::new(&s, &settings);
    let clip = |clip| SolverSettings { clip: Some(clip), ..plain(Solver::default(), 50) };
    assert_eq!(make(clip([0.0, 0.0])), Err(SamplerError::Clip(0.0, 0.0)));
    assert!(matches!(make(clip([0.0, f32::NAN])), Err(SamplerError::Clip(..))));
    for eta in [-0.5, 3.0, f64::NAN] {
        let ddim = Solver::Ddim { eta, set_alpha_to_one: false };
        assert!(matches!(make(plain(ddim, 50)), Err(SamplerError::Eta(_))), "{eta}");
    }
    let steps = make(plain(Solver::default(), 101));
    assert_eq!(steps, Err(SamplerError::Schedule(ScheduleError::Steps { steps: 101, levels: 100 })));
    let zero = s.zero_terminal_snr().unwrap();
    let trailing = SolverSettings { spacing: Spacing::Trailing, ..plain(Solver::default(), 10) };
    assert_eq!(Calls::new(&zero, &trailing), Err(SamplerError::NoSignal { timestep: 99 }));

    let ddpm = make(plain(Solver::Ddpm { variance: Variance::FixedLarge }, 50)).unwrap();
    let c = &ddpm.calls()[0];
    let mut x = [1f32; 3];
    let refused = step(c, &mut x, &[0.0; 3], &[]).unwrap_err();
    assert_eq!(refused, SamplerError::NoNoise { timestep: c.t as usize, sigma: c.noise });
    let short = step(c, &mut x, &[0.0; 2], &[0.0; 3]).unwrap_err();
    assert_eq!(short.to_string(), "the network's output has 2 values, the sample 3: they must be equal");
    assert!(step(c, &mut x, &[0.0; 3], &[0.0; 4]).is_err());
    assert!(SamplerState::new(&[], 2).accept(c, &mut x, &[0.0; 3], &[0.0; 3]).is_err());
    assert_eq!(x, [1.0; 3], "a refused step leaves the sample as it was");
}

/// A NaN of the network must reach whoever checks for it. Seen red with `min` and `max` in place of comparisons.
#[test]
fn nan_is_not_clipped_away() {
    let s = Schedule::linear(1e-4, 0.02, 100).unwrap();
    let settings = SolverSettings { clip: Some([-1.0, 1.0]), ..plain(Solver::default(), 50) };
    let calls = Calls::new(&s, &settings).unwrap();
    let mut x = [9.0, 9.0, -9.0f32];
    let x0 = step(&calls.calls()[0], &mut x, &[f32::NAN, 0.0, 0.0], &[]).unwrap();
    assert!(x0[0].is_nan() && x[0].is_nan());
    assert_eq!(x0[1..], [1.0, -1.0]);
}

/// With nothing to clip the direction is the same either way; where the estimate is clipped, the step goes along the line
/// from it to x. Seen red with the estimate's share of epsilon left out.
#[test]
fn the_direction_may_follow_the_clipped_estimate() {
    let s = Schedule::linear(1e-4, 0.02, 1000).unwrap();
    for prediction in [Prediction::Epsilon, Prediction::V, Prediction::Sample] {
        let own = SolverSettings { prediction, ..plain(Solver::ddim(0.0), 10) };
        let free = SolverSettings { epsilon_from_x0: true, ..own };
        let tied = SolverSettings { clip: Some([-0.5, 0.5]), ..free };
        let [own, free, tied] = [own, free, tied].map(|settings| Calls::new(&s, &settings).unwrap());
        for (i, ((own, free), tied)) in own.calls().iter().zip(free.calls()).zip(tied.calls()).enumerate() {
            let t = own.t as usize;
            let next = t.checked_sub(100).map_or(1.0, |t| s.alpha_bar(t + 1));
            let (now, out) = (s.alpha_bar(t + 1), [0.3f32, -0.9]);
            let (mut a, mut b, mut c) = ([0.7f32, -1.4], [0.7f32, -1.4], [0.7f32, -1.4]);
            step(own, &mut a, &out, &[]).unwrap();
            step(free, &mut b, &out, &[]).unwrap();
            let x0 = step(tied, &mut c, &out, &[]).unwrap();
            for j in 0..2 {
                assert!((a[j] - b[j]).abs() < 1e-3 * (1.0 + a[j].abs()), "step {i}: {} {}", a[j], b[j]);
                let (x, clean) = (f64::from([0.7f32, -1.4][j]), f64::from(x0[j]));
                assert!(clean.abs() <= 0.5);
                let epsilon = (x - now.sqrt() * clean) / (1.0 - now).sqrt();
                let expected = next.sqrt() * clean + (1.0 - next).sqrt() * epsilon;
                assert!(
                    (f64::from(c[j]) - expected).abs() < 1e-4 * (1.0 + expected.abs()),
                    "step {i}: {} {expected}",
                    c[j]
                );
            }
        }
    }
}

/// A solver spreads its levels as it is asked to, or says that it does not. Seen red with DDIM's levels left as they are in silence.
#[test]
fn sigmas_are_obeyed_or_refused() {
    let schedule = Schedule::scaled_linear(0.00085, 0.012, 1000).unwrap();
    for name in Solver::NAMES.split(", ").filter(|name| !name.starts_with("flow")) {
        let solver = Solver::from_name(name).unwrap();
        let calls = |sigmas| Calls::new(&schedule, &SolverSettings { sigmas, ..SolverSettings::new(solver, 6) });
        let own = calls(Sigmas::Discrete).unwrap();
        match calls(Sigmas::Karras) {
            Ok(spread) => assert!(solver.takes_sigmas() && spread != own, "{name}"),
            Err(e) => assert!(!solver.takes_sigmas() && e == SamplerError::Sigmas, "{name}: {e}"),
        }
    }
}
