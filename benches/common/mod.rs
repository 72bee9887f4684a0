//! The book's network at its full size, with random weights: how long it takes does not depend on their values.

use dfdx::prelude::Cpu;
use nijimi_runtime::quant::DType;
use nijimi_trainer::export::book_unet::{Description, book_unet};
use nijimi_trainer::fit::Record;
use nijimi_trainer::nn::book_unet::{BookUnet, BookUnetConfig};
use nijimi_trainer::param;

/// The weight types that are compared.
pub const TYPES: [DType; 4] = [DType::F32, DType::F16, DType::Q8_0, DType::Q4_0];

/// A weight file as the trainer exports it: pictures of 28 x 28 x 1, channels 64, 128, 256, labels 0 to 9.
pub fn book_model(dtype: DType) -> Vec<u8> {
    let config = BookUnetConfig { in_channels: 1, channels: vec![64, 128, 256], time_dim: 100, label_count: 10 };
    let state = param::state(&mut BookUnet::new(&Cpu::default(), 1, config.clone()), "");
    let about = Description {
        name: format!("random {}", dtype.name()),
        size: (28, 28),
        labels: (0..10).map(|label| label.to_string()).collect(),
        steps: 1000,
        betas: (1e-4, 0.02),
        student_steps: None,
    };
    book_unet(&state, &config, &about, &Record::default(), dtype).unwrap()
}
