//! FLUX.2-klein: ids of templated prompts, states of the language model, one call of the transformer, the autoencoder with its packed
//! latents, levels of noise, pictures; the same with its transformer by its original names.

use super::{networks, pipeline};
use crate::pipelines::{Family, bytes, way};
use nijimi_import::{Options, Part};
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, LanguageModel, LatentInfo, TextToImage};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::nn::{Autoencoder, AutoencoderKl, Denoiser, Flux2, SdRequest};

pub fn is(family: &Family) -> bool {
    let tells = family.tensors.find("bn_in").is_some() && family.folder.join("transformer").is_dir();
    tells && family.pictures().all(|name| way(name).is_some())
}

pub fn compare(family: &Family, device: &Device) -> usize {
    let own = bytes(&family.folder, &Options::default(), DType::F32);
    let file = File::new_checked(&own).unwrap();
    let model = TextToImage::load(&file, device).unwrap();
    let mut compared = texts(family, &model, device) + call(family, &file, device) + autoencoder(family, &file, device);
    compared += levels(family, &model) + pictures(family, &model, device);
    let path = family.folder.with_file_name(format!("{}.transformer.safetensors", family.name));
    // The same numbers, whatever the device.
    if matches!(device, Device::Cpu) && path.is_file() {
        let options = Options { parts: vec![(Part::Unet, path)], ..Options::default() };
        let other = bytes(&family.folder, &options, DType::F32);
        let file = File::new_checked(&other).unwrap();
        compared += pictures(family, &TextToImage::load(&file, device).unwrap(), device);
    }
    compared
}

fn pictures(family: &Family, model: &TextToImage, device: &Device) -> usize {
    for name in family.pictures() {
        let (worst, tolerance) = (family.far(model, None, name), pipeline::tolerance(device, name));
        assert!(worst <= tolerance, "{} {name}: {} / 255", family.name, worst * 255.0);
    }
    family.pictures().count()
}

fn texts(family: &Family, model: &TextToImage, device: &Device) -> usize {
    let language = model.info().language.as_ref().unwrap();
    let LanguageModel::Qwen3 { turn, .. } = &language.model else { panic!("{}: not Qwen3", family.name) };
    let calls = model.info().calls(None, &[], 4).unwrap();
    for (words, ids, name) in
        [(family.said("prompt"), "tokens", "prompt_embeds"), ("", "empty_tokens", "negative_embeds")]
    {
        let mut own = language.tokens(words);
        own.resize(language.length, turn.pad.unwrap());
        assert_eq!(own, family.tensors.ids(ids).unwrap(), "{} {ids}", family.name);
        let mut request = model.request(words, 0, &calls);
        request.guidance_scale = 1.0;
        let encoded = model.encode_prompts(&request).unwrap();
        let want = &family.tensors.get(name).values;
        networks::close(&format!("{} {name}", family.name), encoded.states(), want, networks::tolerance(device));
    }
    4
}

/// One call of the transformer.
fn call(family: &Family, file: &File<'_>, device: &Device) -> usize {
    let get = |name: &str| family.tensors.get(name);
    let network = LatentInfo::read(file).unwrap().denoiser;
    let &[batch, _, height, width] = &get("latents").shape[..] else { panic!("{}", family.name) };
    let request = SdRequest { batch, height, width, tokens: get("prompt_embeds").shape[1], ..network.smallest() };
    let graph = network.graph(network.prefix(), &request).unwrap();
    let mut evaluator = networks::evaluator(file, &[network.prefix()], graph, device);
    let mut time = vec![0.0; batch * network.time_width()];
    network.write_time(1000.0 * f64::from(get("timestep").values[0]), &mut time);
    let (latents, angles) = (get("latents").channels_last(), network.angles(&request, &[], &[]).unwrap());
    let given = [
        (Denoiser::LATENTS, &latents[..]),
        (Denoiser::TIME, &time),
        (Denoiser::TEXT, &get("prompt_embeds").values),
        (Denoiser::ANGLES, &angles),
    ];
    evaluator.evaluate(0, &given, &[]).unwrap();
    // Tokens row by row, as the latents are.
    let (found, want) = (evaluator.output(Denoiser::OUTPUT).unwrap(), &get("transformer_out").values);
    networks::close(&format!("{} transformer", family.name), found, want, networks::tolerance(device));
    1
}

/// Latents are in squares of 2x2 here, and normalized: channel `4 c + 2 y + x` of a square.
fn autoencoder(family: &Family, file: &File<'_>, device: &Device) -> usize {
    let get = |name: &str| family.tensors.get(name);
    let info = LatentInfo::read(file).unwrap();
    let statistics = info.statistics.as_ref().unwrap();
    let packed = |name: &str| -> Vec<f32> {
        let (tensor, values) = (get(name), get(name).channels_last());
        let &[_, channels, height, width] = &tensor.shape[..] else { panic!("{name}") };
        let at =
            |y: usize, x: usize, k: usize| values[((2 * y + k % 4 / 2) * width + 2 * x + k % 2) * channels + k / 4];
        let places = (0..height / 2).flat_map(|y| (0..width / 2).map(move |x| (y, x)));
        places.flat_map(|(y, x)| (0..4 * channels).map(move |k| at(y, x, k))).collect()
    };
    let normalized = get("bn_in").channels_last();
    let undone: Vec<f32> = normalized
        .iter()
        .enumerate()
        .map(|(i, z)| z * statistics.std[i % statistics.std.len()] + statistics.mean[i % statistics.mean.len()])
        .collect();
    networks::close(&format!("{} bn_out", family.name), &undone, &packed("bn_out"), networks::tolerance(device));

    let &[_, _, height, width] = &get("vae_decode_out").shape[..] else { panic!("{}", family.name) };
    let (factor, vae) = (info.factor(), &info.autoencoder);
    let graph = vae.decoder("vae.", 1, [height / factor, width / factor]).unwrap();
    let mut evaluator = networks::evaluator(file, &["vae.decoder.", "vae.post_quant_conv."], graph, device);
    evaluator.evaluate(0, &[(Autoencoder::LATENTS, &packed("vae_decode_in"))], &[]).unwrap();
    let (found, want) = (evaluator.output(Autoencoder::PICTURE).unwrap(), get("vae_decode_out").channels_last());
    networks::close(&format!("{} vae_decode_out", family.name), found, &want, networks::tolerance(device));

    let &[_, _, height, width] = &get("vae_encode_in").shape[..] else { panic!("{}", family.name) };
    let graph = vae.encoder("vae.", 1, [height, width]).unwrap();
    let mut evaluator = networks::evaluator(file, &["vae.encoder.", "vae.quant_conv."], graph, device);
    evaluator.evaluate(0, &[(Autoencoder::PICTURE, &get("vae_encode_in").channels_last())], &[]).unwrap();
    let moments = evaluator.output(AutoencoderKl::MOMENTS).unwrap();
    let (mut mean, mut log_variance) = (vec![0.0; moments.len() / 2], vec![0.0; moments.len() / 2]);
    vae.kl().unwrap().moments(moments, &mut mean, &mut log_variance);
    networks::close(&format!("{} mean", family.name), &mean, &packed("vae_encode_mean"), networks::tolerance(device));
    let want = packed("vae_encode_logvar");
    networks::close(&format!("{} log variance", family.name), &log_variance, &want, networks::tolerance(device));
    let channels = statistics.mean.len();
    let normalized: Vec<f32> = mean
        .iter()
        .enumerate()
        .map(|(i, z)| (z - statistics.mean[i % channels]) / statistics.std[i % channels])
        .collect();
    let want = get("vae_encode_packed").channels_last();
    networks::close(&format!("{} packed", family.name), &normalized, &want, networks::tolerance(device));
    5
}

/// How far the noise's levels are moved, by size and steps.
fn levels(family: &Family, model: &TextToImage) -> usize {
    let mut compared = 0;
    for name in family.tensors.names().filter(|name| name.starts_with("mu_steps")) {
        let numbers = name.strip_prefix("mu_steps").and_then(|rest| rest.split_once("_seq")).unwrap();
        let (steps, tokens): (usize, usize) = (numbers.0.parse().unwrap(), numbers.1.parse().unwrap());
        let (found, want) = (Flux2::shift([tokens, 1], steps).ln(), f64::from(family.tensors.get(name).values[0]));
        assert!((found - want).abs() < 1e-5, "{} {name}: {found}, {want}", family.name);
        compared += 1;
    }
    let &[_, _, height, width] = &family.tensors.get("image_cfg1").shape[..] else { panic!("{}", family.name) };
    let calls = model.info().calls_for([height, width], None, None, family.said("steps").parse().unwrap()).unwrap();
    let found: Vec<f32> = calls.calls().iter().map(|call| call.sigma).chain([0.0]).collect();
    networks::close(&format!("{} sigmas", family.name), &found, &family.tensors.get("sigmas").values, 1e-5);
    compared + 1
}
