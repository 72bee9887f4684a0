//! Tiny autoencoders by themselves.

use super::networks::{close, evaluator, tolerance};
use crate::pipelines::{Family, bytes};
use nijimi_import::Options;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, TinyAutoencoder};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::nn::AutoencoderTiny;

pub fn is(family: &Family) -> bool {
    family.folder.join("config.json").is_file()
        && ["encoded", "decoded"].iter().all(|name| family.tensors.find(name).is_some())
}

pub fn compare(family: &Family, device: &Device) -> usize {
    let bytes = bytes(&family.folder, &Options::default(), DType::F32);
    let file = File::new_checked(&bytes).unwrap();
    let network = TinyAutoencoder::load(&file, device).unwrap().info().network.clone();
    let (golden, name) = (&family.tensors, &family.name);
    // diffusers' pictures are in [-1, 1], on both sides.
    let picture = golden.get("image");
    let graph = network.encoder("tiny.", picture.shape[0], [picture.shape[2], picture.shape[3]]).unwrap();
    let mut encoder = evaluator(&file, &["tiny.encoder."], graph, device);
    let unit: Vec<f32> = picture.channels_last().iter().map(|x| (x + 1.0) / 2.0).collect();
    encoder.evaluate(0, &[(AutoencoderTiny::PICTURE, &unit)], &[]).unwrap();
    let encoded = encoder.output(AutoencoderTiny::LATENTS).unwrap();
    close(&format!("{name} encoder"), encoded, &golden.get("encoded").channels_last(), tolerance(device));

    let latents = golden.get("latents");
    let graph = network.decoder("tiny.", latents.shape[0], [latents.shape[2], latents.shape[3]]).unwrap();
    let mut decoder = evaluator(&file, &["tiny.decoder."], graph, device);
    let mut held = latents.channels_last();
    AutoencoderTiny::hold(&mut held);
    decoder.evaluate(0, &[(AutoencoderTiny::LATENTS, &held)], &[]).unwrap();
    let decoded = decoder.output(AutoencoderTiny::PICTURE).unwrap();
    let decoded: Vec<f32> = decoded.iter().map(|x| x * 2.0 - 1.0).collect();
    close(&format!("{name} decoder"), &decoded, &golden.get("decoded").channels_last(), tolerance(device));
    2
}
