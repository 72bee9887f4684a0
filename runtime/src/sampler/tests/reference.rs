//! Every case of `schedulers.json` against diffusers, step by step.

extern crate std;

use super::*;
use alloc::string::String;
use std::path::PathBuf;

/// Allowed error of samples, sigmas and timesteps, relative to the reference or to 1, whichever is larger; the reference
/// works in f32.
const TOLERANCE: f32 = 1e-4;

/// Every `schedulers*.json` of the folder that `NIJIMI_FIXTURES` names (see `tests/golden.rs`), by default the project's own.
fn fixtures() -> Vec<(String, Value)> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures");
    let folder = std::env::var_os("NIJIMI_FIXTURES").map_or_else(|| PathBuf::from(own), PathBuf::from);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names = names.filter(|name| name.starts_with("schedulers") && name.ends_with(".json"));
    let read = |name: String| {
        let text = std::fs::read_to_string(folder.join(&name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        // Python writes infinities, which JSON has not.
        let text = text.replace("-Infinity", "\"-inf\"").replace("Infinity", "\"inf\"");
        (name.clone(), serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}")))
    };
    names.map(read).collect()
}

fn field(value: &Value) -> Field {
    match value {
        Value::Null => Field::Null,
        Value::Bool(flag) => Field::Flag(*flag),
        Value::Number(number) => Field::Number(number.as_f64().unwrap()),
        Value::String(text) => Field::Text(text.clone()),
        Value::Array(list) => Field::Numbers(list.iter().map(|v| v.as_f64().unwrap()).collect()),
        Value::Object(_) => panic!("{value}: no setting is an object"),
    }
}

fn close(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}: another number of values");
    for (got, want) in got.iter().zip(want) {
        let error = (got - want).abs() / want.abs().max(1.0);
        assert!(error < TOLERANCE, "{what}: {got} is not {want}");
    }
}

fn run(case: &Value) {
    let name = case["name"].as_str().unwrap();
    let options = case["step_options"].as_object().unwrap().iter();
    let config = case["config"].as_object().unwrap().iter().chain(options);
    let config: Vec<_> = config.map(|(key, value)| (key.as_str(), field(value))).collect();
    let steps = case["steps"].as_u64().unwrap() as usize;
    let (schedule, mut settings) =
        from_diffusers(case["scheduler"].as_str().unwrap(), &config, steps).unwrap_or_else(|e| panic!("{name}: {e}"));
    settings.start = case["start"].as_u64().unwrap_or(0) as usize;
    let calls = Calls::new(&schedule, &settings).unwrap_or_else(|e| panic!("{name}: {e}"));
    let timesteps: Vec<f32> = calls.calls().iter().map(|c| c.t).collect();
    // As close as f32 sigmas of the reference allow: a flat schedule makes much of little.
    close(&timesteps, &floats(&case["timesteps"]), &alloc::format!("{name}, timesteps"));
    let scale = case["init_noise_sigma"].as_f64().unwrap() as f32;
    if settings.start == 0 {
        close(&[calls.init_noise_sigma()], &[scale], &alloc::format!("{name}, init_noise_sigma"));
        if let Some(sigmas) = case["sigmas"].as_array() {
            compare_sigmas(calls.calls(), &settings, sigmas, name);
        }
    }

    let mut x: Vec<f32> = floats(&case["init_noise"]).iter().map(|v| v * scale).collect();
    let (mut input, mut out) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    let mut state = SamplerState::new(calls.calls(), x.len());
    let mut noises = case["step_noises"].as_array().unwrap().iter().map(floats);
    let mut samples = case["samples"].as_array().unwrap().iter().map(floats);
    let every = case["samples_every"].as_u64().unwrap() as usize;
    for (i, c) in calls.calls().iter().enumerate() {
        c.scale_input(&x, &mut input).unwrap();
        for (out, x) in out.iter_mut().zip(&input) {
            *out = 0.9 * x + 0.2 * libm::sinf(2.0 * x + 0.003 * c.t);
        }
        let noise = if c.noise == 0.0 { vec![] } else { noises.next().expect("noise for this step") };
        state.accept(c, &mut x, &out, &noise).unwrap();
        if (i + 1) % every == 0 {
            close(&x, &samples.next().unwrap(), &alloc::format!("{name}, call {i}, timestep {}", c.t));
        }
    }
    assert!(samples.next().is_none(), "{name}: not all samples were compared");
    // The reference draws in the last step too and multiplies with 0.
    assert!(noises.count() <= 1, "{name}: not all noises were used");
}

/// Sigma is noise over picture, of rectified flow the share of noise. The reference's list of DPM2 leaves the middles out.
fn compare_sigmas(calls: &[Call], s: &SolverSettings, sigmas: &[Value], name: &str) {
    let every = if matches!(s.solver, Solver::Dpm2 | Solver::Dpm2Ancestral) { 2 } else { 1 };
    for (call, want) in calls.iter().zip(sigmas).step_by(every) {
        let straight = matches!(s.sigmas, Sigmas::Flow { .. });
        let sigma = if straight { call.sigma } else { call.sigma / call.alpha };
        close(&[sigma], &[want.as_f64().unwrap() as f32], &alloc::format!("{name}, sigma at {}", call.t));
    }
}

/// The published cases and our own further ones, made in the same way with diffusers 0.42.1.
/// Seen red: no sample kept; sigma 1 / sqrt(alpha_bar); rho 6; one level less; karras timesteps rounded down; flow shifted
/// once; the initial sigma of leading steps; betas from one end; Euler's upward variance; LMS of order 3; Heun's second
/// slope at 0.9; an arithmetic middle in DPM2; DPM's midpoint at 0.4, sign of its third order, its SDE without decay, its
/// orders at the end; UniPC without corrector, and with a wrong factorial; DEIS's antiderivative; PNDM's Adams weights and
/// Runge-Kutta middle; LCM's sigma of the data; TCD's gamma reversed; flow's sign; v's sign; no noise.
#[test]
fn golden_schedulers_step_by_step() {
    let mut failed = vec![];
    let mut count = 0;
    for (file, fixtures) in fixtures() {
        assert_eq!(fixtures["denoiser"], "0.9*x + 0.2*sin(2*x + 0.003*t)", "{file}");
        for case in fixtures["cases"].as_array().unwrap() {
            count += 1;
            if let Err(panic) = std::panic::catch_unwind(|| run(case)) {
                let text = panic.downcast_ref::<String>().cloned();
                failed.push(text.unwrap_or_else(|| alloc::format!("{}: a panic without a text", case["name"])));
            }
        }
    }
    assert!(count > 0, "no cases were found");
    assert!(failed.is_empty(), "{} of {count} cases:\n{}", failed.len(), failed.join("\n"));
}
