//! Digits from a variational autoencoder:
//! `cargo run --release -p nijimi-runtime --example vae [weights/digits-vae-f16.gguf [OUT.png [SEED]]]`.
//!
//! The first six rows are new pictures, of latent vectors `z ~ N(0, I)`; the last two walk in a straight line from one
//! such vector to another.

#[path = "common/picture.rs"]
mod picture;

use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, SessionOptions, Vae, batch_seeds};
use nijimi_runtime::raw::rng::normal_fill;
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().unwrap_or_else(|| "weights/digits-vae-f16.gguf".into());
    let out = arguments.next().unwrap_or_else(|| "vae.png".into());
    let seed: u64 = arguments.next().map_or(Ok(1), |seed| seed.parse())?;

    let bytes = std::fs::read(&file).map_err(|e| format!("{file}: {e}"))?;
    let vae = Vae::load(&File::new_checked(&bytes)?, &Device::Cpu)?;
    let network = &vae.info().network;
    let mut session = vae.session(&SessionOptions { batch: 48, ..Default::default() })?;
    let mut pictures = session.sample_u8(&batch_seeds(seed, 48))?;

    let (mut from, mut to) = (vec![0.0; network.latent], vec![0.0; network.latent]);
    normal_fill(seed, 0, &mut from);
    normal_fill(seed + 1, 0, &mut to);
    let walk: Vec<f32> = (0..16)
        .flat_map(|i| {
            let share = i as f32 / 15.0;
            from.iter().zip(&to).map(move |(a, b)| a + share * (b - a)).collect::<Vec<_>>()
        })
        .collect();
    pictures.extend(session.decode_u8(&walk)?);
    picture::save(Path::new(&out), &pictures, [network.height, network.width], 8)
}
