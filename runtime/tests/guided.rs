//! Classifier guidance: the ordinary run where gamma is 0, the algorithm where it is not, on both backends.

#[path = "common/autoencoder.rs"]
mod autoencoder;
#[path = "common/classifier.rs"]
mod classifier;
#[cfg(feature = "gpu")]
#[path = "common/device.rs"]
mod device;
#[path = "common/model.rs"]
mod model;

use model::Tiny;
use nijimi_runtime::Error;
use nijimi_runtime::gguf::{File, MetaValue};
use nijimi_runtime::model::{
    Classifier, ClassifierGuided, Device, Diffusion, GuidedRequest, Request, RequestError, SessionOptions,
};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::plan::ExecError;
use nijimi_runtime::raw::rng::normal_fill;
use nijimi_runtime::sampler::{Calls, SamplerState, Solver, SolverSettings};
use nijimi_runtime::schedule::Schedule;

const PICTURE: usize = 64;
const LABELS: [Option<u32>; 3] = [Some(7), None, Some(2)];
const SEEDS: [u64; 3] = [11, 12, 13];

fn options() -> SessionOptions {
    SessionOptions { batch: 4, threads: 2, ..Default::default() }
}

fn pipeline(tiny: &Tiny) -> Diffusion {
    Diffusion::load(&File::new_checked(&tiny.bytes()).unwrap(), &Device::Cpu).unwrap()
}

fn classifier(changes: &[(&'static str, MetaValue)]) -> Classifier {
    Classifier::load(&File::new_checked(&classifier::file(DType::F32, changes).bytes).unwrap(), &Device::Cpu).unwrap()
}

fn pair(pipeline: &Diffusion, classifier: &Classifier) -> ClassifierGuided {
    ClassifierGuided::new(pipeline.session(&options()).unwrap(), classifier.session(&options()).unwrap()).unwrap()
}

fn draw(models: &mut ClassifierGuided, calls: &Calls, gamma: f32, conditional: bool) -> Vec<f32> {
    let request = GuidedRequest { labels: &LABELS, seeds: &SEEDS, calls, gamma, conditional };
    let mut run = models.run(&request).unwrap();
    let mut steps = 0;
    while let Some(info) = run.step().unwrap() {
        assert_eq!((info.index, info.total), (steps, calls.steps()));
        steps += 1;
    }
    assert_eq!((steps, run.len(), run.to_u8().unwrap().len()), (calls.steps(), 3, 3 * PICTURE));
    run.pictures().unwrap().to_vec()
}

/// Seen red with the noise of the step before and of the step for the call, with the input not scaled, and with labels
/// that the model is not told.
#[test]
fn without_strength_it_is_the_ordinary_run() {
    let (pipeline, classifier) = (pipeline(&Tiny::new(10)), classifier(&[]));
    let mut models = pair(&pipeline, &classifier);
    let mut session = pipeline.session(&options()).unwrap();
    for (method, steps) in [
        (Solver::ddpm(), 9),
        (Solver::default(), 10),
        (Solver::ddim(0.5), 7),
        (Solver::Heun, 5),
        (Solver::Dpm2Ancestral, 6),
    ] {
        let calls = pipeline.calls(method, steps).unwrap();
        for conditional in [false, true] {
            // Of a scale of 1 the labels are told, and nothing else is evaluated.
            let labels = if conditional { LABELS } else { [None; 3] };
            let request = Request { labels: &labels, seeds: &SEEDS, calls: &calls, guidance_scale: 1.0 };
            let mut run = session.run(&request).unwrap();
            while run.step().unwrap().is_some() {}
            assert!(draw(&mut models, &calls, 0.0, conditional) == run.pictures().unwrap(), "{method:?}");
        }
    }
}

/// The algorithm, in so many words. Seen red with another prediction's answer taken for epsilon, a timestep that is not
/// the classifier's, the noise of the step before, and the other sign.
#[test]
fn it_is_the_algorithm() {
    let gamma = 1.5;
    for kind in ["epsilon", "v_prediction", "sample"] {
        let tiny = Tiny::new(10).meta("nijimi.prediction_type", kind);
        let (pipeline, classifier) = (pipeline(&tiny), classifier(&[("nijimi.first_timestep", 0u32.into())]));
        let (mut diffusion, mut judge) =
            (pipeline.session(&options()).unwrap(), classifier.session(&options()).unwrap());
        let schedule = Schedule::linear(1e-4, 0.02, 1000).unwrap();
        let calls = pipeline.calls(Solver::ddpm(), 5).unwrap();
        let mut x = vec![0.0; 3 * PICTURE];
        x.chunks_mut(PICTURE).zip(SEEDS).for_each(|(x, seed)| normal_fill(seed, 0, x));
        let mut state = SamplerState::new(calls.calls(), PICTURE);
        for (i, c) in calls.calls().iter().enumerate() {
            let alpha_bar = schedule.alpha_bar(c.t as usize + 1);
            let (signal, sigma) = (alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt());
            let out = diffusion.predict(&x, c.t + 1.0, &[None; 3]).unwrap().to_vec();
            let gradient = judge.gradient(&x, c.t, &LABELS).unwrap();
            let guided: Vec<f32> = (0..x.len())
                .map(|i| {
                    let (x, out, gradient) = (f64::from(x[i]), f64::from(out[i]), f64::from(gradient[i]));
                    let eps = match kind {
                        "epsilon" => out,
                        "v_prediction" => sigma * x + signal * out,
                        _ => (x - signal * out) / sigma,
                    };
                    let eps = eps - gamma * sigma * gradient;
                    let out = match kind {
                        "epsilon" => eps,
                        "v_prediction" => (eps - sigma * x) / signal,
                        _ => (x - sigma * eps) / signal,
                    };
                    out as f32
                })
                .collect();
            for (k, (x, out)) in x.chunks_mut(PICTURE).zip(guided.chunks(PICTURE)).enumerate() {
                let mut noise = vec![0.0; PICTURE];
                normal_fill(SEEDS[k], i as u32 + 1, &mut noise);
                state.accept(c, x, out, &noise).unwrap();
            }
        }
        let found = draw(&mut pair(&pipeline, &classifier), &calls, gamma as f32, false);
        for (a, b) in found.iter().zip(&x) {
            assert!((a - b).abs() <= 2e-4, "{kind}: {a} {b}");
        }
    }
}

/// Stronger guidance makes the classifier surer of the label. Seen red with the other sign.
#[test]
fn guidance_leads_to_the_label() {
    let (pipeline, classifier) = (pipeline(&Tiny::new(10)), classifier(&[]));
    let (mut models, mut judge) = (pair(&pipeline, &classifier), classifier.session(&options()).unwrap());
    let calls = pipeline.calls(Solver::default(), 20).unwrap();
    let mut sure = |gamma| {
        let x = draw(&mut models, &calls, gamma, false);
        let logs = judge.log_probabilities(&x, 1.0).unwrap();
        logs[7] + logs[20 + 2]
    };
    let [none, some, much] = [sure(0.0), sure(1.0), sure(5.0)];
    assert!(none < some && some < much, "{none} {some} {much}");
}

/// Seen red with the other sign in `classifier_guidance.wgsl`, and with a gradient that the host does not bring.
#[cfg(feature = "gpu")]
#[test]
fn a_device_draws_the_same() {
    let Some(gpu) = device::device() else { return };
    let bytes = Tiny::new(10).bytes();
    let made = classifier::file(DType::F32, &[]);
    let (file, other) = (File::new_checked(&bytes).unwrap(), File::new_checked(&made.bytes).unwrap());
    let on_cpu = (Diffusion::load(&file, &Device::Cpu).unwrap(), Classifier::load(&other, &Device::Cpu).unwrap());
    let on_gpu = (
        Diffusion::load(&file, &Device::Gpu(gpu.clone())).unwrap(),
        Classifier::load(&other, &Device::Gpu(gpu.clone())).unwrap(),
    );
    for method in [Solver::ddpm(), Solver::default()] {
        let calls = on_cpu.0.calls(method, 8).unwrap();
        let expected = draw(&mut pair(&on_cpu.0, &on_cpu.1), &calls, 2.0, true);
        for (pipeline, classifier) in [(&on_gpu.0, &on_gpu.1), (&on_gpu.0, &on_cpu.1)] {
            let found = draw(&mut pair(pipeline, classifier), &calls, 2.0, true);
            for (a, b) in found.iter().zip(&expected) {
                assert!((a - b).abs() <= 1e-3, "{method:?}: {a} {b}");
            }
        }
    }
}

/// Seen red with ranges not compared, and with levels that may be 1 apart.
#[test]
fn what_does_not_belong_together_is_refused() {
    let right = pipeline(&Tiny::new(10));
    let refused = |pipeline: &Diffusion, classifier: &Classifier| {
        let (a, b) = (pipeline.session(&options()).unwrap(), classifier.session(&options()).unwrap());
        ClassifierGuided::new(a, b).map(drop).unwrap_err().to_string()
    };
    let error = refused(&right, &classifier(&[("nijimi.schedule.beta_end", 0.021f64.into())]));
    let text = "the diffusion model's noise (alpha_bar(2) = 0.99978";
    assert!(error.starts_with(text) && error.contains("take a classifier that was trained for this model"), "{error}");
    let error = refused(&right, &classifier(&[("nijimi.schedule.steps", 500u32.into())]));
    assert!(error.contains("noise (1000 levels) are not the classifier's (500 levels)"), "{error}");
    let error = refused(&right, &classifier(&[("nijimi.image.range", MetaValue::F32s(vec![-1.0, 1.0]))]));
    assert!(error.contains("values ([0.0, 1.0]) are not the classifier's ([-1.0, 1.0])"), "{error}");
    let mut large = Tiny::new(10);
    (large.network.height, large.network.width) = (16, 16);
    let error = refused(&pipeline(&large), &classifier(&[]));
    assert!(error.contains("pictures (16x16x1) are not the classifier's (8x8x1)"), "{error}");
}

#[test]
fn requests_are_checked() {
    let (pipeline, classifier) = (pipeline(&Tiny::new(3)), classifier(&[]));
    let mut models = pair(&pipeline, &classifier);
    let calls = pipeline.calls(Solver::default(), 5).unwrap();
    let right = GuidedRequest { labels: &LABELS, seeds: &SEEDS, calls: &calls, gamma: 1.0, conditional: false };
    assert!(models.run(&right).is_ok());
    let mut refused = |request: GuidedRequest<'_>| models.run(&request).map(drop).unwrap_err().to_string();
    assert_eq!(refused(GuidedRequest { seeds: &[1], ..right }), "3 labels and 1 seeds: give one of each a picture");
    assert_eq!(refused(GuidedRequest { gamma: f32::NAN, ..right }), "gamma is NaN, must be a finite number");
    let error = refused(GuidedRequest { labels: &[Some(10); 3], ..right });
    assert_eq!(error, "label 10 of picture 0 is not one of the model's 10");
    let error = refused(GuidedRequest { conditional: true, ..right });
    assert!(
        error.starts_with("the diffusion model's labels (3 labels) are not the classifier's (10 labels)"),
        "{error}"
    );
    assert!(refused(GuidedRequest { labels: &[None; 5], seeds: &[1; 5], ..right }).starts_with("number of pictures"));
    // Of another model.
    let longer = Schedule::linear(1e-4, 0.02, 2000).unwrap();
    let settings = SolverSettings { steps_offset: 0, ..SolverSettings::new(Solver::default(), 4) };
    let calls = Calls::new(&longer, &settings).unwrap();
    let error = refused(GuidedRequest { calls: &calls, ..right });
    assert!(error.starts_with("the sampler's timestep is 1500, must be 0 to 999"), "{error}");
}

/// Seen red with the diffusion model's answer not looked at.
#[test]
fn a_number_that_is_none_names_the_part() {
    let name = |pipeline: &Diffusion, classifier: &Classifier| {
        let mut models = pair(pipeline, classifier);
        let calls = pipeline.calls(Solver::default(), 5).unwrap();
        let request = GuidedRequest { labels: &LABELS, seeds: &SEEDS, calls: &calls, gamma: 1.0, conditional: false };
        let mut run = models.run(&request).unwrap();
        match run.step() {
            Err(Error::Request(RequestError::NotFinite {
                step: 1,
                total: 5,
                source: ExecError::NotFinite { step: name, .. },
            })) => name,
            other => panic!("{other:?}"),
        }
    };
    let broken = Tiny::new(10).edit(|name, _, values| {
        if name == "up2.convs.0.weight" {
            values.fill(1e38);
        }
        true
    });
    assert_eq!(name(&pipeline(&broken), &classifier(&[])), "up2.convs.0");
    let network = classifier::network();
    let made = autoencoder::write_edited(
        classifier::meta(&network),
        &[network.graph(1).unwrap()],
        DType::F32,
        |name, values| {
            if name == "block2.convs.0.weight" {
                values.fill(1e38);
            }
        },
    );
    let broken = Classifier::load(&File::new_checked(&made.bytes).unwrap(), &Device::Cpu).unwrap();
    assert_eq!(name(&pipeline(&Tiny::new(10)), &broken), "the classifier's block2.convs.0");
}
