use super::*;
use crate::data::captioned::Picture;
use crate::export::autoencoder_kl::autoencoder_kl;
use crate::fit::Record;
use crate::nn::autoencoder_kl::{AutoencoderKl as Network, AutoencoderKlConfig};
use crate::ops::Precision;
use crate::param;
use crate::tensor::T4;
use dfdx::prelude::*;
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::rng::Stream;

const SIDE: usize = 8;

/// Two pictures of noise.
fn data() -> Captioned {
    let mut stream = Stream::new(1, "pictures", 0);
    let mut picture = |subject| Picture {
        file: format!("{subject}.png"),
        name: "noise".into(),
        category: String::new(),
        tags: Vec::new(),
        subject,
        pixels: (0..SIDE * SIDE * 3).map(|_| stream.below(256) as u8).collect(),
        size: [SIDE; 2],
    };
    Captioned { side: SIDE, pictures: vec![picture(0), picture(1)], skipped: Vec::new() }
}

/// The latents are what the trainer's own encoder makes of the pictures, as they are and mirrored, moved and scaled as the
/// file says; and the same when they are read again. Seen red with the scale left out, and with columns not mirrored.
#[test]
fn latents_are_the_encoders() {
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
    let (device, data) = (Cpu::default(), data());
    let mut model = Network::new(&device, 1, &config, Precision::F32).unwrap();
    let stage = FirstStage { network: config.into(), scaling_factor: 2.0, shift_factor: 0.5, statistics: None };
    let state = param::state(&mut model, "");
    let file = autoencoder_kl(&state, &stage, ("test", SIDE), &Record::default(), DType::F32).unwrap();
    let folder = std::env::temp_dir().join(format!("nijimi-latents-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let latents = Latents::compute(&file, &data, &folder).unwrap();
    let again = Latents::compute(&file, &data, &folder).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(latents.values, again.values);
    assert_eq!((latents.channels, latents.side, latents.len()), (2, 4, 32));
    for (i, picture) in data.pictures.iter().enumerate() {
        for mirrored in [false, true] {
            let value = |j: usize| {
                let (c, y, x) = (j / (SIDE * SIDE), j / SIDE % SIDE, j % SIDE);
                let x = if mirrored { SIDE - 1 - x } else { x };
                f32::from(picture.pixels[(y * SIDE + x) * 3 + c]) / 127.5 - 1.0
            };
            let x: T4<Cpu> = device.tensor_from_vec((0..3 * SIDE * SIDE).map(value).collect(), (1, 3, SIDE, SIDE));
            let means = model.encoder.forward(x).as_vec();
            for (found, mean) in latents.of(i, mirrored).iter().zip(&means) {
                assert!((found - (mean - 0.5) * 2.0).abs() < 1e-4, "{found}, {mean}");
            }
        }
    }
}
