use super::*;

fn settings(name: &str, steps: usize) -> SolverSettings {
    SolverSettings::new(Solver::from_name(name).unwrap(), steps)
}

fn text(value: &str) -> Field {
    Field::Text(value.into())
}

fn stable_diffusion() -> Schedule {
    Schedule::scaled_linear(0.00085, 0.012, 1000).unwrap()
}

/// A network that knows the picture leads every solver to it, on every spread of the sigmas, whatever it answers.
/// Seen red: no sample kept; sigma 1 / sqrt(alpha_bar); v's sign; flow's sign; Euler's upward variance.
#[test]
fn a_network_that_knows_the_picture_leads_to_it() {
    let (schedule, picture) = (stable_diffusion(), [0.7f32, -1.3, 0.0, 0.2]);
    let mut runs = 0;
    for name in Solver::NAMES.split(", ") {
        for sigmas in Sigmas::NAMES.split(", ") {
            for prediction in [Prediction::Epsilon, Prediction::V, Prediction::Sample, Prediction::Flow] {
                let mut s = settings(name, 12);
                if s.prediction == Prediction::Flow {
                    s.sigmas = Sigmas::Flow { shift: 2.0, even: false };
                } else {
                    s.sigmas = Sigmas::from_name(sigmas).unwrap();
                }
                s.prediction = prediction;
                let calls = match Calls::new(&schedule, &s) {
                    Err(SamplerError::Flow)
                        if (prediction == Prediction::Flow) != matches!(s.sigmas, Sigmas::Flow { .. }) =>
                    {
                        continue;
                    }
                    Err(SamplerError::Prediction { .. }) if prediction == Prediction::Sample => continue,
                    Err(SamplerError::Sigmas) if s.sigmas != Sigmas::Discrete => continue,
                    calls => calls.unwrap(),
                };
                let (mut x, mut noise, mut out) = ([0f32; 4], [0f32; 4], [0f32; 4]);
                rng::normal_fill(3, 0, &mut x);
                x.iter_mut().for_each(|x| *x *= calls.init_noise_sigma());
                let mut state = SamplerState::new(calls.calls(), 4);
                for (i, c) in (1..).zip(calls.calls()) {
                    let size = libm::sqrtf(c.alpha * c.alpha + c.sigma * c.sigma);
                    for ((out, x), picture) in out.iter_mut().zip(&x).zip(&picture) {
                        let epsilon = (x - c.alpha * picture) / c.sigma;
                        *out = match prediction {
                            Prediction::Epsilon => epsilon,
                            Prediction::V => (c.alpha * epsilon - c.sigma * picture) / size,
                            Prediction::Sample => *picture,
                            Prediction::Flow => epsilon - picture,
                        };
                    }
                    rng::normal_fill(3, i, &mut noise);
                    state.accept(c, &mut x, &out, &noise).unwrap();
                }
                // These end at the first level, sigma 0.03.
                let rest = if matches!(name, "deis" | "pndm" | "plms" | "tcd") { 0.12 } else { 1e-3 };
                for (x, picture) in x.iter().zip(picture) {
                    assert!((x - picture).abs() < rest, "{name}, {sigmas}, {prediction:?}: {x} is not {picture}");
                }
                runs += 1;
            }
        }
    }
    assert!(runs > 13 * 8 * 2, "{runs}");
}

/// One state serves every solver, one after the other, as one made for each. Seen red with one slot fewer in `for_any`.
#[test]
fn one_state_serves_every_solver() {
    let (schedule, n) = (stable_diffusion(), 8);
    let mut any = SamplerState::for_any(n);
    for name in Solver::NAMES.split(", ") {
        let calls = Calls::new(&schedule, &settings(name, 6)).unwrap();
        let mut own = SamplerState::new(calls.calls(), n);
        any.clear();
        assert!(any.bytes() == (SLOTS + 2) * n * 4 && own.bytes() <= any.bytes());
        if matches!(name, "ddpm" | "ddim") {
            assert_eq!(own.bytes(), n * 4, "only the estimate");
        }
        let (mut x, mut noise) = ([0f32; 8], [0f32; 8]);
        rng::normal_fill(5, 0, &mut x);
        let mut y = x;
        for (draw, call) in (1..).zip(calls.calls()) {
            rng::normal_fill(5, draw, &mut noise);
            let mut out = [0f32; 8];
            denoiser(&x, call.t, &mut out);
            own.accept(call, &mut x, &out, &noise).unwrap();
            any.accept(call, &mut y, &out, &noise).unwrap();
            assert_eq!((x, own.x0()), (y, any.x0()), "{name}");
        }
    }
}

/// Seen red with "euler_a" taken for Euler.
#[test]
fn every_listed_name_is_another_solver_or_spread() {
    let solvers: Vec<Solver> = Solver::NAMES.split(", ").map(|name| Solver::from_name(name).expect(name)).collect();
    let sigmas: Vec<Sigmas> = Sigmas::NAMES.split(", ").map(|name| Sigmas::from_name(name).expect(name)).collect();
    assert!(solvers.iter().enumerate().all(|(i, a)| solvers[..i].iter().all(|b| a != b)));
    assert!(sigmas.iter().enumerate().all(|(i, a)| sigmas[..i].iter().all(|b| a != b)));
    assert_eq!((Solver::from_name("euler_b"), Sigmas::from_name("")), (None, None));
}

#[test]
fn settings_of_a_configuration_that_are_not_known_are_named() {
    let make = |class, fields: &[(&str, Field)]| from_diffusers(class, fields, 5);
    let refused = |class, name: &str, value: Field| {
        let error = make(class, &[(name, value)]).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    };
    let multi = "DPMSolverMultistepScheduler";
    refused(multi, "new_trick", Field::Flag(false));
    refused(multi, "thresholding", Field::Flag(true));
    refused(multi, "solver_order", Field::Number(1.5));
    refused(multi, "solver_order", text("two"));
    refused(multi, "beta_schedule", text("sigmoid"));
    refused(multi, "prediction_type", text("score"));
    refused(multi, "timestep_spacing", text("odd"));
    refused(multi, "algorithm_type", text("dpmsolver+++"));
    refused(multi, "final_sigmas_type", text("one"));
    refused(multi, "lambda_min_clipped", Field::Number(-5.1));
    refused(multi, "use_karras_sigmas", Field::Number(1.0));
    refused("DDPMScheduler", "variance_type", text("learned_range"));
    refused("EulerDiscreteScheduler", "timestep_type", text("continuous"));
    refused("FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting", Field::Flag(true));
    refused("FlowMatchEulerDiscreteScheduler", "use_karras_sigmas", Field::Flag(true));
    let both = [("use_karras_sigmas", Field::Flag(true)), ("use_beta_sigmas", Field::Flag(true))];
    assert!(make(multi, &both).unwrap_err().to_string().contains("use_beta_sigmas"));
    let error = make("DDIMParallelScheduler", &[]).unwrap_err().to_string();
    assert!(error.contains("DDIMParallelScheduler"), "{error}");
    // What published files carry beside their settings.
    let published =
        [("_class_name", text(multi)), ("trained_betas", Field::Null), ("thresholding", Field::Flag(false))];
    assert!(make(multi, &published).is_ok());
}

#[test]
fn settings_without_meaning_are_refused() {
    let schedule = stable_diffusion();
    let refused = |s: SolverSettings| Calls::new(&schedule, &s).unwrap_err();
    let multi = |form, order| SolverSettings::new(Solver::DpmMulti { form, order, heun: false }, 8);
    assert_eq!(refused(multi(Dpm::Data, 4)), SamplerError::Order { order: 4, most: 3 });
    assert_eq!(refused(multi(Dpm::Data, 0)), SamplerError::Order { order: 0, most: 3 });
    assert_eq!(refused(multi(Dpm::Noise, 2)), SamplerError::CleanEnd);
    assert_eq!(
        refused(SolverSettings { final_sigma: FinalSigma::Zero, ..settings("deis", 8) }),
        SamplerError::CleanEnd
    );
    assert_eq!(refused(settings("pndm", 3)), SamplerError::TooFew { steps: 3, least: 4 });
    assert_eq!(
        refused(SolverSettings { start: 8, ..settings("euler", 8) }),
        SamplerError::Start { start: 8, steps: 8 }
    );
    assert_eq!(refused(SolverSettings { clip: Some([1.0, 0.0]), ..settings("heun", 8) }), SamplerError::Clip(1.0, 0.0));
    assert_eq!(refused(SolverSettings { prediction: Prediction::Flow, ..settings("euler", 8) }), SamplerError::Flow);
    assert_eq!(refused(SolverSettings { prediction: Prediction::V, ..settings("flow_heun", 8) }), SamplerError::Flow);
    let steps = |steps| SamplerError::Schedule(ScheduleError::Steps { steps, levels: 1000 });
    for name in Solver::NAMES.split(", ").filter(|name| !matches!(*name, "lcm" | "tcd")) {
        assert_eq!(refused(settings(name, 0)), steps(0), "{name}");
        assert_eq!(refused(settings(name, 1001)), steps(1001), "{name}");
    }
    let few = SamplerError::Schedule(ScheduleError::Steps { steps: 51, levels: 50 });
    assert_eq!(refused(settings("lcm", 51)), few);
    for shift in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let s = SolverSettings { sigmas: Sigmas::Flow { shift, even: false }, ..settings("flow_euler", 8) };
        assert!(matches!(refused(s), SamplerError::Shift(_)), "{shift}");
    }
    let crowded = SolverSettings { spacing: Spacing::Leading, ..settings("deis", 1000) };
    assert!(matches!(refused(crowded), SamplerError::NoStep { .. }));
    let zero = schedule.zero_terminal_snr().unwrap();
    assert_eq!(Calls::new(&zero, &settings("lcm", 4)), Err(SamplerError::NoSignal { timestep: 999 }));
}

#[test]
fn a_state_refuses_what_does_not_fit_and_leaves_the_sample() {
    let calls = Calls::new(&stable_diffusion(), &settings("dpm2_a", 5)).unwrap();
    let (first, second) = (&calls.calls()[0], &calls.calls()[1]);
    let mut state = SamplerState::new(calls.calls(), 3);
    let mut x = [1f32; 3];
    assert!(state.accept(first, &mut x, &[0.0; 2], &[]).is_err());
    assert!(state.accept(first, &mut x[..2], &[0.0; 2], &[]).is_err());
    assert!(matches!(state.accept(second, &mut x, &[0.0; 3], &[]), Err(SamplerError::NoNoise { .. })));
    assert!(state.accept(second, &mut x, &[0.0; 3], &[0.0; 2]).is_err());
    // Calls of another run keep more than this state has room for.
    let other = Calls::new(&stable_diffusion(), &settings("lms", 5)).unwrap();
    assert!(state.accept(&other.calls()[0], &mut x, &[0.0; 3], &[]).is_err());
    let mut bare = SamplerState::new(&[], 3);
    assert!(bare.accept(first, &mut x, &[0.0; 3], &[]).is_err());
    assert!(first.scale_input(&x, &mut [0.0; 2]).is_err());
    assert_eq!(x, [1.0; 3]);
}

/// k-diffusion's own loop, in its formulas (t = -log sigma, r = 1/2), for a network that answers with epsilon.
/// Seen red with an arithmetic middle, and with the fresh noise left out.
#[test]
fn dpmpp_2s_ancestral_is_k_diffusions_loop() {
    let schedule = stable_diffusion();
    let s = SolverSettings { sigmas: Sigmas::Karras, ..settings("dpm++2s_a", 6) };
    let calls = Calls::new(&schedule, &s).unwrap();
    let sigmas: Vec<f64> = calls.calls().chunks(2).map(|c| f64::from(c[0].sigma)).chain([0.0]).collect();
    assert_eq!((calls.calls().len(), sigmas.len()), (11, 7));
    // A stand-in that depends on sigma by its input only.
    let answer = |x: f64| 0.9 * x + 0.2 * libm::sin(2.0 * x);
    let denoised = |x: f64, sigma: f64| x - sigma * answer(x / libm::sqrt(sigma * sigma + 1.0));
    let (mut x, noise) = ([11.0f32, -3.0], [0.4f32, -1.1]);
    let mut state = SamplerState::new(calls.calls(), 2);
    let (mut input, mut rest) = ([0.0; 2], calls.calls().iter());
    let mut book = x.map(f64::from);
    for pair in sigmas.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let up = libm::sqrt(to * to * (from * from - to * to) / (from * from));
        let down = libm::sqrt(to * to - up * up);
        for (x, n) in book.iter_mut().zip(noise) {
            if down == 0.0 {
                *x += (*x - denoised(*x, from)) / from * (down - from);
            } else {
                let (t, t_next) = (-libm::log(from), -libm::log(down));
                let h = t_next - t;
                let middle = libm::exp(-(t + 0.5 * h));
                let x_2 = middle / from * *x - libm::expm1(-h * 0.5) * denoised(*x, from);
                *x = down / from * *x - libm::expm1(-h) * denoised(x_2, middle) + up * f64::from(n);
            }
        }
        for call in rest.by_ref().take(if to == 0.0 { 1 } else { 2 }) {
            call.scale_input(&x, &mut input).unwrap();
            let out = input.map(|x| answer(f64::from(x)) as f32);
            state.accept(call, &mut x, &out, &noise).unwrap();
        }
        for (x, book) in x.iter().zip(book) {
            assert!((f64::from(*x) - book).abs() < 1e-5 * book.abs().max(1.0), "{x} is not {book}");
        }
    }
}
