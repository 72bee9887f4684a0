//! The two stages of latent diffusion in shares, with threads in place of processes: the result is that of one process.
#[path = "common/colours.rs"]
mod colours;
#[allow(dead_code, reason = "shared by tests that each use a part")]
mod common;
#[path = "common/threads.rs"]
mod threads;

use common::Folder;
use dfdx::prelude::Cpu;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::FirstStage;
use nijimi_runtime::quant::DType;
use nijimi_trainer::checkpoint::Checkpoint;
use nijimi_trainer::data::captioned::{Captioned, Captions};
use nijimi_trainer::data::captions;
use nijimi_trainer::fingerprint::Fingerprint;
use nijimi_trainer::fit::{FitOptions, Task, fit_in};
use nijimi_trainer::import;
use nijimi_trainer::nn::autoencoder_kl::AutoencoderKlConfig;
use nijimi_trainer::nn::text2image::TextToImage;
use nijimi_trainer::ops::Precision;
use nijimi_trainer::optim::AdamW;
use nijimi_trainer::param::State;
use nijimi_trainer::systems::text2image::latents::Latents;
use nijimi_trainer::systems::text2image::network::{Sizes, describe};
use nijimi_trainer::systems::{autoencoder_kl, text2image};
use nijimi_trainer::target::CHECKPOINT;
use nijimi_trainer::text;
use nijimi_trainer::world::close;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use threads::together;

const SIDE: usize = 16;

fn options(folder: &Path, steps: u64) -> FitOptions {
    FitOptions {
        out: folder.join("out.gguf"),
        dtype: DType::F32,
        report: folder.join("report"),
        epochs: 100,
        max_steps: Some(steps),
        adam: AdamW { lr: 1e-3, weight_decay: 0.0, warmup: 0, clip: Some(1.0), muon: None },
        ema: None,
        checkpoint_every: Duration::from_secs(3600),
        keep: 0,
        resume: false,
        fingerprint: Fingerprint::new("test"),
        command: "test".into(),
    }
}

fn autoencoder(data: &Path) -> autoencoder_kl::Fitting<Cpu> {
    let config = AutoencoderKlConfig {
        in_channels: 3,
        out_channels: 3,
        latent_channels: 2,
        channels: vec![4, 8],
        layers_per_block: 1,
        norm_groups: 2,
        mid_attention: false,
        quant_conv: false,
        post_quant_conv: false,
        packed: false,
    };
    let settings = autoencoder_kl::AutoencoderKlSettings {
        batch: 5,
        l1_weight: 0.1,
        kl_weight: 1e-3,
        shift: 2,
        seed: 3,
        precision: Precision::F32,
    };
    let data = Captioned::load(data, SIDE, Captions::Needed).expect("pictures");
    autoencoder_kl::Fitting::new(Cpu::default(), settings, "test".into(), &config, data, 0, 100).expect("a task")
}

fn text_to_image(data: &Path, first: &[u8], folder: &Path) -> text2image::Fitting<Cpu> {
    let file = File::new_checked(first).expect("the first stage");
    let stage = FirstStage::read(&file).expect("its description");
    let data = Captioned::load(data, SIDE, Captions::Needed).expect("pictures");
    let vocabulary = text::train(captions::texts(&data.pictures), 600).expect("a vocabulary");
    let sizes = Sizes {
        channels: vec![8, 16],
        transformers: vec![0, 1],
        layers: 1,
        head: 8,
        groups: 2,
        text_width: 16,
        text_layers: 1,
        tokens: 8,
    };
    let special = text::special(&vocabulary, 8);
    let info = describe("test", &sizes, &stage, SIDE / 2, &vocabulary, special).expect("a description");
    let latents = Latents::compute(first, &data, folder).expect("latents");
    let settings = text2image::TextToImageSettings {
        batch: 5,
        caption_drop: 0.3,
        min_snr: Some(5.0),
        mirror: 0.5,
        shift: Some(3.0),
        decay: 0.2,
        seed: 3,
        hold_out: 0,
        precision: Precision::F32,
    };
    let (device, encoder) = (Cpu::default(), info.texts[0].network);
    let model = TextToImage::new(
        &device,
        3,
        info.denoiser.unet().unwrap(),
        (&encoder, info.texts[0].states, special.end),
        Precision::F32,
    )
    .expect("networks");
    let autoencoder = import::tensors(&file, FirstStage::PREFIX).expect("the autoencoder");
    let given = text2image::Given { info, vocabulary, autoencoder };
    text2image::Fitting::new(device, settings, given, data, latents, model, 100).expect("a task")
}

/// The checkpoint of one process, or the first of several.
fn trained<K: Task<Cpu>>(
    size: usize,
    steps: u64,
    name: &str,
    task: impl Fn(&Path) -> K + Sync,
) -> (State, f64, Vec<u8>) {
    let folder = Folder::new(&format!("{name}-{size}-{steps}"));
    let options = options(&folder.0, steps);
    together(size, |world| {
        let mut task = task(&folder.0);
        close(&*world, fit_in(&*world, &mut task, &options, &Arc::default())).expect("training")
    });
    let saved = Checkpoint::load(&options.report.join(CHECKPOINT)).expect("a checkpoint");
    let losses = saved.fact(&options.report, "epoch_sum").expect("the losses' sum");
    (saved.tensors, losses, std::fs::read(&options.out).expect("the file"))
}

/// The first moments after one step, which are the gradients, and the losses after three, of one process and of more.
fn shares_are_the_whole<K: Task<Cpu>>(name: &str, task: impl Fn(&Path) -> K + Sync) {
    for size in [2, 3] {
        let ((alone, ..), (shared, ..)) = (trained(1, 1, name, &task), trained(size, 1, name, &task));
        for (key, v) in alone.iter().filter(|(key, _)| key.starts_with("adam.m.")) {
            let largest = v.data.iter().fold(1e-6f32, |m, v| m.max(v.abs()));
            let apart = v.data.iter().zip(&shared[key].data).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(apart <= 2e-5 * largest, "{size} processes, {key}: {apart:e} of {largest:e}");
        }
        let ((_, alone, _), (_, shared, _)) = (trained(1, 3, name, &task), trained(size, 3, name, &task));
        assert!((alone - shared).abs() <= 1e-5 * alone, "{size} processes: losses {shared}, alone {alone}");
    }
}

/// Seen red with the noise of latents, and with the augmentation, keyed by the row in the share.
#[test]
fn the_autoencoder() {
    let folder = Folder::new("latent-shares-data");
    colours::write_pictures(&folder.0);
    shares_are_the_whole("latent-shares", |_| autoencoder(&folder.0));
}

/// Seen red with the examples keyed by the row in the share.
#[test]
fn text_to_image_model() {
    let folder = Folder::new("latent-shares-text-data");
    colours::write_pictures(&folder.0);
    let (_, _, first) = trained(1, 2, "latent-shares-first", |_| autoencoder(&folder.0));
    shares_are_the_whole("latent-shares-text", |out| text_to_image(&folder.0, &first, out));
}
