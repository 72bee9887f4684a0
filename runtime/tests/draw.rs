//! What is asked of a model of any kind: it is what the kind's own request asks, and what it cannot do is refused by its name.

#[path = "common/drawn.rs"]
mod drawn;

use drawn::drawn;
use nijimi_runtime::error::Fault;
use nijimi_runtime::gguf::MappedFile;
use nijimi_runtime::model::{DrawRequest, Place, Request, SessionOptions, batch_seeds};
use nijimi_runtime::sampler::{Sigmas, Solver};
use nijimi_runtime::{Device, Model};

fn file(name: &str) -> MappedFile {
    MappedFile::open(format!("{}/../weights/{name}.gguf", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn model(name: &str) -> Model {
    Model::load(&file(name).file().unwrap(), &Device::Cpu).unwrap()
}

/// Seen red with another label.
#[test]
fn a_run_of_labels_is_the_sessions() {
    let model = model("digits-q8_0");
    let Model::Diffusion(own) = &model else { panic!("digits are pixels") };
    let (sigmas, solver) = (Sigmas::Karras, Solver::Euler);
    let request = DrawRequest {
        seeds: batch_seeds(3, 2),
        steps: Some(3),
        solver: Some(solver),
        sigmas: Some(sigmas),
        ..model.request("7", 0).unwrap()
    };
    let info = own.info();
    let mut settings = info.settings(solver, 3).unwrap();
    settings.sigmas = sigmas;
    let calls = nijimi_runtime::sampler::Calls::new(&info.schedule, &settings).unwrap();
    let (labels, guidance_scale) = ([Some(7), Some(7)], info.defaults.guidance_scale);
    let mut session = own.session(&SessionOptions { batch: 2, ..SessionOptions::default() }).unwrap();
    let mut run = session.run(&Request { labels: &labels, seeds: &[3, 4], calls: &calls, guidance_scale }).unwrap();
    while run.step().unwrap().is_some() {}
    assert!(run.to_u8().unwrap() == drawn(&model, &request));
    // Before the run is over, its preview is there, too.
    let mut kept = model.run(&request).unwrap();
    let first = kept.step().unwrap().unwrap();
    let mut preview = vec![0; kept.bytes()];
    kept.write_preview(&mut preview).unwrap();
    assert!((first.index, first.total, kept.len()) == (0, 3, 2) && preview != drawn(&model, &request));
    assert_eq!(kept.steps().unwrap().preview().unwrap(), preview);
}

/// Seen red with a peak without the session.
#[test]
fn a_plan_is_what_the_run_takes() {
    let (file, model) = (file("digits-q8_0"), model("digits-q8_0"));
    let file = file.file().unwrap();
    let Model::Diffusion(own) = &model else { panic!("digits are pixels") };
    let request = DrawRequest { seeds: vec![1, 2, 3], ..model.request("7", 1).unwrap() };
    let plan = model.plan(&file, &Device::Cpu, &request).unwrap();
    let session = own.session(&SessionOptions { batch: 3, ..SessionOptions::default() }).unwrap();
    assert_eq!(plan.weights, own.weight_bytes() as u64);
    assert_eq!(plan.peak, plan.weights + session.bytes() as u64);
    assert_eq!((plan.steps, plan.calls), (own.info().defaults.steps, own.info().defaults.steps));
    let heun = DrawRequest { solver: Some(Solver::Heun), steps: Some(4), ..request.clone() };
    let plan = model.plan(&file, &Device::Cpu, &heun).unwrap();
    assert!(plan.steps == 4 && plan.calls == 7, "{plan:?}");
    let ddpm = DrawRequest { solver: Some(Solver::ddpm()), steps: None, ..request };
    assert_eq!(model.plan(&file, &Device::Cpu, &ddpm).unwrap().steps, own.info().schedule.steps());
}

/// Seen red with nothing refused.
#[test]
fn what_cannot_be_is_refused_by_its_name() {
    let (digits, vae, emoji) = (model("digits-q8_0"), model("digits-vae-f16"), model("emoji-q8_0"));
    let pixels = vec![0.5; 28 * 28 * 3];
    let of = |model: &Model| model.request("", 1).unwrap();
    let refused = |model: &Model, request: DrawRequest<'_>, says: &str| {
        let error = model.run(&request).err().expect(says);
        assert!(error.to_string().starts_with(says) && error.fault() == Fault::Request, "{error}, not {says}");
    };
    let prompts = "is for models that read prompts: leave it out";
    refused(&digits, DrawRequest { negative_prompt: Some("x"), ..of(&digits) }, &format!("negative_prompt {prompts}"));
    refused(&digits, DrawRequest { init_image: Some(&pixels), ..of(&digits) }, &format!("init_image {prompts}"));
    refused(&digits, DrawRequest { mask: Some(&pixels), ..of(&digits) }, &format!("mask {prompts}"));
    refused(&digits, DrawRequest { strength: Some(0.5), ..of(&digits) }, &format!("strength {prompts}"));
    refused(&digits, DrawRequest { size: [32, 28], ..of(&digits) }, "height is 32, must be 28");
    refused(&digits, DrawRequest { seeds: Vec::new(), ..of(&digits) }, "batch is 0");
    refused(&vae, DrawRequest { steps: Some(3), ..of(&vae) }, "steps is for models that draw in steps");
    refused(&vae, DrawRequest { guidance_scale: 3.0, ..of(&vae) }, "guidance_scale is for models that draw in steps");
    refused(&emoji, DrawRequest { strength: Some(0.5), ..of(&emoji) }, "strength is for runs from an init_image");
    refused(&emoji, DrawRequest { mask: Some(&pixels), ..of(&emoji) }, "mask is for runs from an init_image");
    let init_image = Some(&*pixels);
    refused(&emoji, DrawRequest { init_image, strength: Some(1.5), ..of(&emoji) }, "strength is 1.5, must be 0 to 1");
    refused(&emoji, DrawRequest { size: [62, 64], ..of(&emoji) }, "height is 62, must be a multiple of 4: 60 or 64");
}

#[test]
fn places_have_names() {
    assert_eq!((Place::from_name("auto"), Place::from_name("cpu")), (Some(Place::Auto), Some(Place::Cpu)));
    assert_eq!((Place::from_name("tpu"), Place::from_name("gpu:x")), (None, None));
}
