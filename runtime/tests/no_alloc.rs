//! After a session is made, drawing pictures allocates nothing. Alone in its file: the counter counts every thread.

#[path = "common/autoencoder.rs"]
mod autoencoder;
#[path = "common/classifier.rs"]
mod classifier;
#[path = "common/model.rs"]
mod common;
#[path = "common/counting.rs"]
mod counting;

use common::Tiny;
use counting::ALLOCATIONS;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{
    Classifier, ClassifierGuided, Device, Diffusion, GuidedRequest, Hvae, LatentRequest, Request, SessionOptions,
    TextToImage, Vae,
};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::nn::{MlpHvae, MlpVae};
use nijimi_runtime::sampler::{Calls, Solver};
use std::sync::atomic::Ordering::Relaxed;

// Seen red: a `Vec` made for each step's noise; `Vec`s of labels made for each run; a `Vec` of the classifier's
// timesteps.
#[test]
fn drawing_allocates_nothing() {
    let bytes = Tiny::new(10).bytes();
    let pipeline = Diffusion::load(&File::new_checked(&bytes).unwrap(), &Device::Cpu).unwrap();
    let mut session = pipeline.session(&SessionOptions { batch: 3, threads: 2, ..Default::default() }).unwrap();
    let mut pictures = [0; 3 * 64];
    let solvers = Solver::NAMES.split(", ").filter(|name| !name.starts_with("flow"));
    let samplers: Vec<Calls> =
        solvers.map(|name| pipeline.calls(Solver::from_name(name).unwrap(), 5).unwrap()).collect();
    assert_eq!(samplers.len(), 20);
    let before = ALLOCATIONS.load(Relaxed);
    for calls in &samplers {
        for guidance_scale in [1.0, 3.0] {
            let labels = [Some(1), None, Some(9)];
            let request = Request { labels: &labels, seeds: &[1, 2, 3], calls, guidance_scale };
            let mut run = session.run(&request).unwrap();
            while run.step().unwrap().is_some() {
                run.write_u8(&mut pictures).unwrap();
            }
        }
    }
    assert_eq!(ALLOCATIONS.load(Relaxed) - before, 0);
    assert!(before > 0, "the counter counts");
    autoencoders_allocate_nothing();
    guidance_allocates_nothing(&pipeline);
    runs_of_a_prompt_allocate_nothing();
}

/// The default model, guided, with every solver: whole runs of a session, their beginning and the pictures' decoding too,
/// once the first has made its memory. Seen red with a decoder that is made for each
/// picture, and with the noise that a run begins with in a `Vec` of its own.
fn runs_of_a_prompt_allocate_nothing() {
    let bytes = include_bytes!("../../weights/emoji-q8_0.gguf");
    let model = TextToImage::load(&File::new_checked(bytes).unwrap(), &Device::Cpu).unwrap();
    let mut session = model.session();
    let mut counted = 0;
    for name in Solver::NAMES.split(", ").filter(|name| !name.starts_with("flow")) {
        let calls = model.calls_by(Solver::from_name(name), None, 4).unwrap();
        let options = SessionOptions { threads: 2, ..Default::default() };
        let request = LatentRequest {
            prompts: vec!["a red apple", "a dog"],
            negatives: vec![None; 2],
            seeds: vec![1, 2],
            guidance_rescale: 0.5,
            options,
            ..model.request("", 1, &calls)
        };
        let conditions = model.encode_prompts(&request).unwrap();
        let request = LatentRequest { encoded_prompts: Some(&conditions), ..request };
        let mut pictures = [0; 2 * 64 * 64 * 3];
        let mut draw = || {
            let mut run = session.run(&request).unwrap();
            while run.step().unwrap().is_some() {}
            run.write_u8(&mut pictures).unwrap();
        };
        if counted == 0 {
            draw();
            // A thread allocates while it starts, which may be after its pool was made.
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let before = ALLOCATIONS.load(Relaxed);
        draw();
        assert_eq!(ALLOCATIONS.load(Relaxed) - before, 0, "{name}");
        counted += 1;
    }
    assert_eq!(counted, 20);
}

fn autoencoders_allocate_nothing() {
    use autoencoder::{HEIGHT as height, HIDDEN as hidden, LATENT as latent, PICTURE, WIDTH as width};
    let options = SessionOptions { batch: 3, threads: 2, ..Default::default() };
    let network = MlpVae { height, width, channels: 1, hidden, latent };
    let graphs = [network.encoder(1).unwrap(), network.decoder(1).unwrap()];
    let made = autoencoder::write(autoencoder::meta("vae"), &graphs, DType::Q8_0);
    let mut vae = Vae::load(&File::new_checked(&made.bytes).unwrap(), &Device::Cpu).unwrap().session(&options).unwrap();
    let network = MlpHvae { height, width, channels: 1, hidden, latent };
    let graphs = [network.encoder1(1), network.encoder2(1), network.decoder1(1), network.decoder2(1)];
    let made = autoencoder::write(autoencoder::meta("hvae"), &graphs.map(Result::unwrap), DType::F32);
    let mut hvae =
        Hvae::load(&File::new_checked(&made.bytes).unwrap(), &Device::Cpu).unwrap().session(&options).unwrap();
    // A thread allocates while it starts, which may be after its pool was made.
    std::thread::sleep(std::time::Duration::from_millis(100));
    let (x, z) = ([0.5; 2 * PICTURE], [0.5; 2 * autoencoder::LATENT]);
    let before = ALLOCATIONS.load(Relaxed);
    for _ in 0..3 {
        vae.sample(&[1, 2]).unwrap();
        vae.decode(&z).unwrap();
        vae.encode(&x).unwrap();
        vae.reconstruct(&x).unwrap();
        hvae.sample(&[1, 2]).unwrap();
        hvae.encode2(&z).unwrap();
        hvae.reconstruct(&x).unwrap();
    }
    assert_eq!(ALLOCATIONS.load(Relaxed) - before, 0);
}

fn guidance_allocates_nothing(pipeline: &Diffusion) {
    let options = SessionOptions { batch: 2, threads: 2, ..Default::default() };
    let made = classifier::file(DType::F32, &[]);
    let judge = Classifier::load(&File::new_checked(&made.bytes).unwrap(), &Device::Cpu).unwrap();
    let mut judge_alone = judge.session(&options).unwrap();
    let mut models =
        ClassifierGuided::new(pipeline.session(&options).unwrap(), judge.session(&options).unwrap()).unwrap();
    let calls = pipeline.calls(Solver::ddpm(), 5).unwrap();
    let mut pictures = [0; 2 * 64];
    std::thread::sleep(std::time::Duration::from_millis(100));
    let before = ALLOCATIONS.load(Relaxed);
    judge_alone.log_probabilities(&[0.5; 128], 3.0).unwrap();
    let labels = [Some(1), None];
    let request = GuidedRequest { labels: &labels, seeds: &[1, 2], calls: &calls, gamma: 2.0, conditional: true };
    let mut run = models.run(&request).unwrap();
    while run.step().unwrap().is_some() {
        run.write_u8(&mut pictures).unwrap();
    }
    assert_eq!(ALLOCATIONS.load(Relaxed) - before, 0);
}
