//! A tiny diffusion run on the made-up pictures of bars, alone or as a share.
use crate::common::Folder;
use dfdx::prelude::Cpu;
use nijimi_runtime::quant::DType;
use nijimi_trainer::checkpoint::Checkpoint;
use nijimi_trainer::data::idx::{LabelledPictures, Split};
use nijimi_trainer::fingerprint::Fingerprint;
use nijimi_trainer::fit::FitOptions;
use nijimi_trainer::nn::book_unet::BookUnetConfig;
use nijimi_trainer::ops::Precision;
use nijimi_trainer::optim::AdamW;
use nijimi_trainer::systems::ddpm::{Ddpm, DdpmSettings, Naming};
use nijimi_trainer::target::CHECKPOINT;
use std::path::Path;
use std::time::Duration;

/// The system, with batches of `batch`.
pub fn task(data: &Path, batch: usize) -> Ddpm<Cpu> {
    let data = LabelledPictures::load(data, Split::Train).expect("the data set");
    let settings = DdpmSettings {
        decay: 0.0,
        epochs: 1,
        batch,
        label_drop: 0.1,
        as_in_book: false,
        steps: 100,
        beta_start: 1e-4,
        beta_end: 0.1,
        seed: 3,
        precision: Precision::F32,
    };
    let naming = Naming { name: "bars".into(), labels: (0..3).map(|i| i.to_string()).collect() };
    let config = BookUnetConfig { in_channels: 1, channels: vec![8, 16, 32], time_dim: 12, label_count: 3 };
    Ddpm::new(Cpu::default(), settings, naming, config, data).expect("a task")
}

/// A run that writes into `folder`.
pub fn options(folder: &Folder, epochs: u64) -> FitOptions {
    FitOptions {
        out: folder.join("model.gguf"),
        dtype: DType::F32,
        report: folder.join("report"),
        epochs,
        max_steps: None,
        adam: AdamW { lr: 2e-3, weight_decay: 0.01, warmup: 3, clip: Some(1.0), muon: None },
        ema: Some(0.99),
        checkpoint_every: Duration::from_secs(3600),
        keep: 0,
        resume: false,
        fingerprint: Fingerprint::new("test"),
        command: "test".into(),
    }
}

/// What the run saved.
pub fn checkpoint(options: &FitOptions) -> Checkpoint {
    Checkpoint::load(&options.report.join(CHECKPOINT)).expect("the checkpoint")
}
