//! Single calls of a converted model's networks.

use crate::diffusers::Tensors;
use crate::pipelines::Family;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, Evaluator, FirstStage, LatentInfo, Network, SessionOptions};
use nijimi_runtime::raw::graph::Graph;
use nijimi_runtime::raw::nn::{Autoencoder, AutoencoderKl, AutoencoderTiny, ClipText, SdRequest, SdUnet};

/// Greatest difference of any number, of f32 weights.
pub fn tolerance(device: &Device) -> f32 {
    match device {
        Device::Cpu | Device::CpuInPlace => 2e-4,
        #[cfg(feature = "gpu")]
        Device::Gpu(_) => 1e-3,
    }
}

/// Of a picture in [0, 1].
pub fn of_a_picture(device: &Device) -> f32 {
    match device {
        Device::Cpu | Device::CpuInPlace => 2.0 / 255.0,
        #[cfg(feature = "gpu")]
        Device::Gpu(_) => 3.0 / 255.0,
    }
}

pub fn close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let worst = found.iter().zip(expected).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
    println!("{what}: {worst:.2e}");
    assert!(worst <= tolerance, "{what}: {worst:.2e} apart, {tolerance:.0e} allowed");
}

/// A part of the model, whose tensors' names begin with one of `prefixes`.
pub fn evaluator(file: &File<'_>, prefixes: &[&str], graph: Graph, device: &Device) -> Evaluator {
    let network = Network::load_part(file, prefixes, graph.clone(), &[], device).unwrap();
    network.evaluator(vec![graph], &SessionOptions { threads: 2, ..Default::default() }).unwrap()
}

/// A golden tensor's name, with what tells it from its neighbours of other files or sizes.
fn name(what: &str, suffix: &str) -> String {
    format!("{what}{suffix}")
}

/// Ids of the prompt, and the states of prompt and negative prompt, where the golden has them under names that end with `suffix`.
pub fn texts(family: &Family, suffix: &str, file: &File<'_>, device: &Device) -> usize {
    let info = LatentInfo::read(file).unwrap();
    let golden = &family.tensors;
    let mut compared = 0;
    let texts = ["prompt", "negative_prompt"].map(|key| family.said(key));
    if let Some(ids) = golden.ids("tokens") {
        assert_eq!(info.texts[0].tokenizer.window(texts[0]), ids, "{} tokens", family.name);
        compared += 1;
    }
    let (mut states, mut pooled) = (vec![Vec::new(); texts.len()], vec![Vec::new(); texts.len()]);
    let mut each = Vec::new();
    for text in &info.texts {
        let graph = text.network.graph(text.prefix, [texts.len(), text.network.positions], text.states).unwrap();
        let mut evaluator = evaluator(file, &[text.prefix], graph, device);
        let windows = texts.map(|words| text.tokenizer.window(words));
        let end = text.states.pooled.then_some(text.tokenizer.special().end);
        let ids = text.network.ids(&windows.each_ref().map(Vec::as_slice), end).unwrap();
        evaluator.evaluate(0, &[], &ids).unwrap();
        if end.is_some() {
            let all = evaluator.output(ClipText::POOLED).unwrap();
            for (pooled, row) in pooled.iter_mut().zip(all.chunks(all.len() / texts.len())) {
                *pooled = row.to_vec();
            }
        }
        each.push((evaluator.output(ClipText::STATE).unwrap().to_vec(), text.network.width));
    }
    // Both encoders' states of a token, side by side.
    for (i, states) in states.iter_mut().enumerate() {
        for token in 0..info.texts[0].network.positions {
            for (all, width) in &each {
                let row = (i * info.texts[0].network.positions + token) * width;
                states.extend_from_slice(&all[row..row + width]);
            }
        }
    }
    let wanted = [["prompt_embeds", "pooled"], ["negative_embeds", "negative_pooled"]];
    for ((states, pooled), names) in states.iter().zip(&pooled).zip(wanted) {
        for (what, found) in names.into_iter().zip([states, pooled]) {
            if let Some(want) = golden.find(&name(what, suffix)) {
                close(&format!("{} {what}{suffix}", family.name), found, &want.values, tolerance(device));
                compared += 1;
            }
        }
    }
    compared
}

/// One call of the U-Net, if the golden has one.
pub fn unet(family: &Family, suffix: &str, file: &File<'_>, device: &Device) -> usize {
    unet_with(family, suffix, file, device, &[])
}

/// The same, with the features of a T2I-Adapter, or the keys and values of an IP-Adapter.
pub fn unet_with(
    family: &Family,
    suffix: &str,
    file: &File<'_>,
    device: &Device,
    features: &[(&str, Vec<f32>)],
) -> usize {
    let golden = &family.tensors;
    let Some(expected) = golden.find(&name("unet_out_t500", suffix)) else { return 0 };
    let latents = ["unet_in".into(), name("latents", suffix), "latents".into()];
    let latents = latents.iter().find_map(|name| golden.find(name)).unwrap();
    let text = ["prompt_embeds", "prompt_embeds_none"].into_iter().find_map(|name| golden.find(name));
    let text = golden.find(&name("prompt_embeds", suffix)).or(text).unwrap();
    let info = LatentInfo::read(file).unwrap();
    let network = info.denoiser.unet().unwrap();
    let &[batch, _, height, width] = &latents.shape[..] else { panic!("{}: {:?}", family.name, latents.shape) };
    let tokens = text.shape[1];
    let adapter = features.iter().filter(|(name, _)| SdUnet::ADAPTER.contains(name)).count();
    let first = network.text_attentions().first().map_or(1, |(_, channels)| *channels);
    let image =
        features.iter().find(|(name, _)| *name == SdUnet::image_keys(0)).map_or(0, |(_, keys)| keys.len() / first);
    let request = SdRequest { adapter, image, ..SdRequest::new(batch, [height, width], tokens) };
    let mut evaluator = evaluator(file, &["unet."], network.graph("unet.", &request).unwrap(), device);
    let mut time = vec![0.0; batch * network.time_width()];
    network.write_time(500.0, &mut time);
    let latents = latents.channels_last();
    let mut inputs: Vec<(&str, &[f32])> =
        vec![(SdUnet::LATENTS, &latents), (SdUnet::TEXT, &text.values), (SdUnet::TIME, &time)];
    inputs.extend(features.iter().map(|(name, values)| (*name, &values[..])));
    let mut second = Vec::new();
    if let Some(added) = network.added {
        let sizes = sizes(golden, suffix);
        second = vec![0.0; batch * added.width];
        let pooled = golden.get("pooled").values.chunks(added.width - sizes.len() * added.code);
        for (row, pooled) in second.chunks_mut(added.width).zip(pooled) {
            network.write_added(pooled, &sizes, row).unwrap();
        }
    }
    if network.added.is_some() {
        inputs.push((SdUnet::ADDED, &second));
    }
    evaluator.evaluate(0, &inputs, &[]).unwrap();
    let found = evaluator.output(SdUnet::OUTPUT).unwrap();
    close(&format!("{} unet{suffix}", family.name), found, &expected.channels_last(), tolerance(device));
    1
}

/// What SDXL is told of the picture's size.
fn sizes(golden: &Tensors, suffix: &str) -> Vec<f64> {
    if let Some(ids) = golden.find(&name("time_ids", suffix)).or_else(|| golden.find("time_ids")) {
        return ids.values.iter().map(|v| f64::from(*v)).collect();
    }
    let picture = golden.get("vae_decode_out");
    let [height, width] = [picture.shape[2], picture.shape[3]].map(|side| side as f64);
    vec![height, width, 0.0, 0.0, height, width]
}

/// What the golden has of the autoencoder's two halves.
pub fn autoencoder(family: &Family, suffix: &str, file: &File<'_>, device: &Device) -> usize {
    let golden = &family.tensors;
    let network = LatentInfo::read(file).unwrap().autoencoder;
    let mut compared = 0;
    let mut same = |what: &str, found: &[f32]| {
        let expected = golden.get(&name(what, suffix)).channels_last();
        close(&format!("{} {what}{suffix}", family.name), found, &expected, tolerance(device));
        compared += 1;
    };
    if golden.find(&name("vae_decode_out", suffix)).is_some() {
        let latents = golden.find(&name("vae_decode_in", suffix)).or_else(|| golden.find("vae_decode_in"));
        let latents = latents.unwrap_or_else(|| golden.get(&name("latents", suffix)));
        let graph = network.decoder(FirstStage::PREFIX, latents.shape[0], [latents.shape[2], latents.shape[3]]);
        let mut evaluator = evaluator(file, &["vae.decoder.", "vae.post_quant_conv."], graph.unwrap(), device);
        let mut latents = latents.channels_last();
        if network.is_tiny() {
            AutoencoderTiny::hold(&mut latents);
        }
        evaluator.evaluate(0, &[(Autoencoder::LATENTS, &latents)], &[]).unwrap();
        let mut picture = evaluator.output(Autoencoder::PICTURE).unwrap().to_vec();
        if network.is_tiny() {
            // diffusers' is in [-1, 1].
            picture.iter_mut().for_each(|v| *v = 2.0 * *v - 1.0);
        }
        same("vae_decode_out", &picture);
    }
    if let Some(picture) = golden.find(&name("vae_encode_in", suffix)) {
        let graph = network.encoder(FirstStage::PREFIX, picture.shape[0], [picture.shape[2], picture.shape[3]]);
        let mut evaluator = evaluator(file, &["vae.encoder.", "vae.quant_conv."], graph.unwrap(), device);
        let Autoencoder::Kl(network) = &network else {
            let picture: Vec<f32> = picture.channels_last().iter().map(|v| v / 2.0 + 0.5).collect();
            evaluator.evaluate(0, &[(Autoencoder::PICTURE, &picture)], &[]).unwrap();
            same("vae_encode_out", evaluator.output(Autoencoder::LATENTS).unwrap());
            return compared;
        };
        evaluator.evaluate(0, &[(Autoencoder::PICTURE, &picture.channels_last())], &[]).unwrap();
        let moments = evaluator.output(AutoencoderKl::MOMENTS).unwrap();
        let (mut mean, mut log_variance) = (vec![0.0; moments.len() / 2], vec![0.0; moments.len() / 2]);
        network.moments(moments, &mut mean, &mut log_variance);
        same("vae_encode_mean", &mean);
        if golden.find(&name("vae_encode_logvar", suffix)).is_some() {
            same("vae_encode_logvar", &log_variance);
        }
    }
    compared
}
