//! Digits from a hierarchical variational autoencoder:
//! `cargo run --release -p nijimi-runtime --example hvae [weights/digits-hvae-f16.gguf [OUT.png [SEED]]]`.
//!
//! The first seven rows are new pictures; the last shows what the second level settles: one z2, eight draws of z1.

#[path = "common/picture.rs"]
mod picture;

use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, Hvae, SessionOptions, batch_seeds};
use nijimi_runtime::raw::cpu::to_u8;
use nijimi_runtime::raw::rng::normal_fill;
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().unwrap_or_else(|| "weights/digits-hvae-f16.gguf".into());
    let out = arguments.next().unwrap_or_else(|| "hvae.png".into());
    let seed: u64 = arguments.next().map_or(Ok(1), |seed| seed.parse())?;

    let bytes = std::fs::read(&file).map_err(|e| format!("{file}: {e}"))?;
    let hvae = Hvae::load(&File::new_checked(&bytes)?, &Device::Cpu)?;
    let network = &hvae.info().network;
    let mut session = hvae.session(&SessionOptions { batch: 56, ..Default::default() })?;
    let mut pictures = session.sample_u8(&batch_seeds(seed, 56))?;

    let mut z2 = vec![0.0; network.latent];
    normal_fill(seed, 0, &mut z2);
    let mean = session.decode2(&z2)?.to_vec();
    let mut z1 = vec![0.0; 8 * network.latent];
    normal_fill(seed, 1, &mut z1);
    z1.chunks_exact_mut(network.latent).for_each(|z1| z1.iter_mut().zip(&mean).for_each(|(z, mean)| *z += mean));
    let last = session.decode(&z1)?;
    let mut bytes = vec![0; last.len()];
    to_u8([0.0, 1.0], last, &mut bytes)?;
    pictures.extend(bytes);
    picture::save(Path::new(&out), &pictures, [network.height, network.width], 8)
}
