//! The networks of Stable Diffusion against diffusers: single calls of every pipeline found among the fixtures
//! (`NIJIMI_FIXTURES`), and the tensors of the published models.

#[path = "common/diffusers.rs"]
mod common;
#[cfg(feature = "gpu")]
#[path = "common/device.rs"]
mod device;

use common::{Tensors, autoencoder_kl, autoencoder_tiny, control_net, fixtures, gguf, json, unet};
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, Evaluator, Network, SessionOptions};
use nijimi_runtime::raw::graph::{Graph, WeightKind};
use nijimi_runtime::raw::nn::{AutoencoderKl, AutoencoderTiny, NetworkError, SdRequest, SdUnet};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

/// Greatest difference of any number, f32 weights, on the CPU.
const CPU: f32 = 2e-4;
/// The same on a device.
#[cfg(feature = "gpu")]
const GPU: f32 = 1e-3;

fn tolerance(device: &Device) -> f32 {
    match device {
        Device::Cpu | Device::CpuInPlace => CPU,
        #[cfg(feature = "gpu")]
        Device::Gpu(_) => GPU,
    }
}

fn evaluator_of(device: &Device, graph: &Graph, tensors: &Tensors) -> Evaluator {
    let bytes = gguf(std::slice::from_ref(graph), tensors);
    let network = Network::load(&File::new_checked(&bytes).unwrap(), vec![graph.clone()], device).unwrap();
    let options = SessionOptions { threads: 2, ..Default::default() };
    network.evaluator(vec![graph.clone()], &options).unwrap()
}

/// The pipelines with expected values: name, folder, values.
fn families() -> Vec<(String, PathBuf, Tensors)> {
    let folder = fixtures().join("pipelines");
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".golden.safetensors")?.to_owned()))
        .collect();
    names.sort();
    let read = |name: String| {
        let golden = Tensors::read(&folder.join(format!("{name}.golden.safetensors")));
        (name.clone(), folder.join(name), golden)
    };
    names.into_iter().map(read).collect()
}

/// The project's own fixtures have something of every kind; others need not.
fn found(count: usize, what: &str) {
    assert!(count > 0 || std::env::var_os("NIJIMI_FIXTURES").is_some(), "no {what} among the fixtures");
    if count == 0 {
        println!("no {what} among the fixtures: nothing was compared");
    }
}

fn close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let worst = found.iter().zip(expected).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
    println!("{what}: {worst:.2e}");
    assert!(worst <= tolerance, "{what}: {worst:.2e} apart, {tolerance:.0e} allowed");
}

fn unets(device: &Device) {
    let mut count = 0;
    for (name, folder, golden) in families() {
        let Some(expected) = golden.find("unet_out_t500") else { continue };
        let network = unet(&json(&folder.join("unet/config.json")));
        let latents = golden.find("unet_in").unwrap_or_else(|| golden.get("latents"));
        let text = golden.get("prompt_embeds");
        let &[batch, _, height, width] = &latents.shape[..] else { panic!("{name}: {:?}", latents.shape) };
        let request = SdRequest { batch, height, width, tokens: text.shape[1], control: false };
        let graph = network.graph("", &request).unwrap();
        let tensors = Tensors::read(&folder.join("unet/diffusion_pytorch_model.safetensors"));
        let used: BTreeSet<&String> = graph.weights().iter().map(|weight| &weight.name).collect();
        assert!(tensors.names().all(|tensor| used.contains(tensor)), "{name}: a tensor is left over");

        let mut time = vec![0.0; batch * network.time_width()];
        network.write_time(500.0, &mut time);
        let latents = latents.channels_last();
        let mut inputs: Vec<(&str, &[f32])> =
            vec![(SdUnet::LATENTS, &latents), (SdUnet::TEXT, &text.values), (SdUnet::TIME, &time)];
        let mut second = Vec::new();
        if let Some(added) = network.added {
            let [high, wide] = pixels(&golden).map(|side| side as f64);
            second = vec![0.0; batch * added.width];
            for (row, pooled) in
                second.chunks_mut(added.width).zip(golden.get("pooled").values.chunks(added.width - 6 * added.code))
            {
                network.write_added(pooled, &[high, wide, 0.0, 0.0, high, wide], row).unwrap();
            }
        }
        if network.added.is_some() {
            inputs.push((SdUnet::ADDED, &second));
        }
        let mut evaluator = evaluator_of(device, &graph, &tensors);
        evaluator.evaluate(0, &inputs, &[]).unwrap();
        close(
            &format!("{name} unet"),
            evaluator.output(SdUnet::OUTPUT).unwrap(),
            &expected.channels_last(),
            tolerance(device),
        );
        count += 1;
    }
    found(count, "U-Net");
}

/// Rows and columns of the pictures of a pipeline.
fn pixels(golden: &Tensors) -> [usize; 2] {
    let picture = golden.get("vae_decode_out");
    [picture.shape[2], picture.shape[3]]
}

fn autoencoders(device: &Device) {
    let mut count = 0;
    for (name, folder, golden) in families() {
        let (Some(latents), Some(picture)) = (golden.find("vae_decode_in"), golden.find("vae_encode_in")) else {
            continue;
        };
        let network = autoencoder_kl(&json(&folder.join("vae/config.json")));
        let tensors = Tensors::read(&folder.join("vae/diffusion_pytorch_model.safetensors"));
        let graph = network.decoder("", latents.shape[0], [latents.shape[2], latents.shape[3]]).unwrap();
        let mut evaluator = evaluator_of(device, &graph, &tensors);
        evaluator.evaluate(0, &[(AutoencoderKl::LATENTS, &latents.channels_last())], &[]).unwrap();
        let decoded = evaluator.output(AutoencoderKl::PICTURE).unwrap();
        close(&format!("{name} decoder"), decoded, &golden.get("vae_decode_out").channels_last(), tolerance(device));

        let graph = network.encoder("", picture.shape[0], [picture.shape[2], picture.shape[3]]).unwrap();
        let mut evaluator = evaluator_of(device, &graph, &tensors);
        evaluator.evaluate(0, &[(AutoencoderKl::PICTURE, &picture.channels_last())], &[]).unwrap();
        let moments = evaluator.output(AutoencoderKl::MOMENTS).unwrap();
        let (mut mean, mut log_variance) = (vec![0.0; moments.len() / 2], vec![0.0; moments.len() / 2]);
        network.moments(moments, &mut mean, &mut log_variance);
        close(&format!("{name} mean"), &mean, &golden.get("vae_encode_mean").channels_last(), tolerance(device));
        let expected = golden.get("vae_encode_logvar").channels_last();
        close(&format!("{name} log variance"), &log_variance, &expected, tolerance(device));
        count += 1;
    }
    found(count, "autoencoder");
}

fn tiny_autoencoders(device: &Device) {
    let mut count = 0;
    for (name, folder, golden) in families() {
        let (Some(picture), Some(latents)) = (golden.find("image"), golden.find("latents")) else { continue };
        let network = autoencoder_tiny(&json(&folder.join("config.json")));
        let tensors = Tensors::read(&folder.join("diffusion_pytorch_model.safetensors"));
        let graph = network.encoder("", picture.shape[0], [picture.shape[2], picture.shape[3]]).unwrap();
        let mut evaluator = evaluator_of(device, &graph, &tensors);
        // diffusers' pictures are in [-1, 1], on both sides.
        let unit: Vec<f32> = picture.channels_last().iter().map(|x| (x + 1.0) / 2.0).collect();
        evaluator.evaluate(0, &[(AutoencoderTiny::PICTURE, &unit)], &[]).unwrap();
        let encoded = evaluator.output(AutoencoderTiny::LATENTS).unwrap();
        close(&format!("{name} encoder"), encoded, &golden.get("encoded").channels_last(), tolerance(device));

        let graph = network.decoder("", latents.shape[0], [latents.shape[2], latents.shape[3]]).unwrap();
        let mut evaluator = evaluator_of(device, &graph, &tensors);
        let mut held = latents.channels_last();
        AutoencoderTiny::hold(&mut held);
        evaluator.evaluate(0, &[(AutoencoderTiny::LATENTS, &held)], &[]).unwrap();
        let decoded: Vec<f32> =
            evaluator.output(AutoencoderTiny::PICTURE).unwrap().iter().map(|x| x * 2.0 - 1.0).collect();
        close(&format!("{name} decoder"), &decoded, &golden.get("decoded").channels_last(), tolerance(device));
        count += 1;
    }
    found(count, "tiny autoencoder");
}

/// The tensors' shapes in PyTorch's order.
fn expects(graphs: &[Graph]) -> BTreeMap<String, Vec<usize>> {
    let shape = |kind| match kind {
        WeightKind::Conv { out, kernel, inp } => vec![out, inp, kernel, kernel],
        kind => kind.row_major(),
    };
    graphs.iter().flat_map(Graph::weights).map(|weight| (weight.name.clone(), shape(weight.kind))).collect()
}

/// Names and shapes of all tensors of the published networks, none missing, none left over. Seen red with
/// `linear_projection` turned round, with the text's width left out of the transformers, and with one convolution of a
/// ControlNet under another name.
#[test]
fn tensors_are_the_published_models() {
    let request = SdRequest { batch: 1, height: 64, width: 64, tokens: 77, control: false };
    let mut count = 0;
    for entry in fs::read_dir(common::shapes()).unwrap() {
        let path = entry.unwrap().path();
        let model = json(&path);
        for part in ["unet", "vae", "controlnet"] {
            let Some(found) = model.get(part) else { continue };
            let config = &found["config"];
            let graphs = match config["_class_name"].as_str().unwrap() {
                "UNet2DConditionModel" => vec![unet(config).graph("", &request).unwrap()],
                "ControlNetModel" => vec![control_net(config).graph("", &request).unwrap()],
                "AutoencoderKL" => {
                    let network = autoencoder_kl(config);
                    vec![network.encoder("", 1, [64, 64]).unwrap(), network.decoder("", 1, [8, 8]).unwrap()]
                }
                "AutoencoderTiny" => {
                    let network = autoencoder_tiny(config);
                    vec![network.encoder("", 1, [64, 64]).unwrap(), network.decoder("", 1, [8, 8]).unwrap()]
                }
                other => panic!("{other} in {}", path.display()),
            };
            let tensors = found["tensors"].as_object().unwrap();
            let published = tensors.iter().map(|(name, shape)| (name.clone(), common::numbers(shape))).collect();
            similar(&format!("{} {part}", path.display()), &expects(&graphs), &published);
            count += 1;
        }
    }
    assert!(count > 0, "no published model among the fixtures");
}

fn similar(what: &str, ours: &BTreeMap<String, Vec<usize>>, published: &BTreeMap<String, Vec<usize>>) {
    let differs = |a: &BTreeMap<String, Vec<usize>>, b: &BTreeMap<String, Vec<usize>>| -> Vec<String> {
        a.iter()
            .filter(|(name, shape)| b.get(*name) != Some(shape))
            .map(|(name, shape)| format!("{name} {shape:?}"))
            .collect()
    };
    let (extra, missing) = (differs(ours, published), differs(published, ours));
    assert!(extra.is_empty() && missing.is_empty(), "{what}: ours {extra:#?}, published {missing:#?}");
}

/// A batch computes what each of its pictures alone does. Seen red with the text of the first picture given to both.
#[test]
fn pictures_of_a_batch_do_not_touch() {
    let (_, folder, golden) =
        families().into_iter().find(|(_, _, golden)| golden.find("unet_out_t500").is_some()).unwrap();
    let network = unet(&json(&folder.join("unet/config.json")));
    let tensors = Tensors::read(&folder.join("unet/diffusion_pytorch_model.safetensors"));
    let pair = ["prompt_embeds", "negative_embeds"].map(|name| golden.get(name));
    let (height, width, tokens) = (8, 16, pair[0].shape[1]);
    let latents: Vec<f32> =
        (0..2 * height * width * network.in_channels).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
    let text = [&pair[0].values[..], &pair[1].values].concat();
    let run = |batch: usize, latents: &[f32], text: &[f32]| {
        let graph = network.graph("", &SdRequest { batch, height, width, tokens, control: false }).unwrap();
        let mut time = vec![0.0; batch * network.time_width()];
        network.write_time(321.0, &mut time);
        let mut evaluator = evaluator_of(&Device::Cpu, &graph, &tensors);
        let inputs = [(SdUnet::LATENTS, latents), (SdUnet::TEXT, text), (SdUnet::TIME, &time)];
        evaluator.evaluate(0, &inputs, &[]).unwrap();
        evaluator.output(SdUnet::OUTPUT).unwrap().to_vec()
    };
    let both = run(2, &latents, &text);
    let halves = latents.chunks(latents.len() / 2).zip([&pair[0].values, &pair[1].values]);
    let alone: Vec<f32> = halves.flat_map(|(latents, text)| run(1, latents, text)).collect();
    close("batch", &both, &alone, 1e-5);
}

/// Zero residuals change nothing, others do. Seen red with those of the skips not added.
#[test]
fn control_residuals_are_added() {
    let (_, folder, golden) =
        families().into_iter().find(|(_, _, golden)| golden.find("unet_out_t500").is_some()).unwrap();
    let network = unet(&json(&folder.join("unet/config.json")));
    let tensors = Tensors::read(&folder.join("unet/diffusion_pytorch_model.safetensors"));
    let text = golden.get("prompt_embeds");
    let latents = golden.find("unet_in").unwrap_or_else(|| golden.get("latents"));
    let &[batch, _, height, width] = &latents.shape[..] else { panic!() };
    let request = SdRequest { batch, height, width, tokens: text.shape[1], control: true };
    let graph = network.graph("", &request).unwrap();
    let mut evaluator = evaluator_of(&Device::Cpu, &graph, &tensors);
    let mut time = vec![0.0; batch * network.time_width()];
    network.write_time(500.0, &mut time);
    let latents = latents.channels_last();
    let skips = graph.inputs().iter().filter(|port| port.name.starts_with("control.")).count() - 1;
    let mut run = |value: f32, at: Option<usize>| {
        let mut inputs = vec![(SdUnet::LATENTS, &latents[..]), (SdUnet::TEXT, &text.values), (SdUnet::TIME, &time)];
        let names: Vec<String> = (0..skips).map(Some).chain([None]).map(SdUnet::residual).collect();
        let one = [value];
        inputs.extend(
            names.iter().map(|name| (name.as_str(), if *name == SdUnet::residual(at) { &one[..] } else { &[] })),
        );
        evaluator.evaluate(0, &inputs, &[]).unwrap();
        evaluator.output(SdUnet::OUTPUT).unwrap().to_vec()
    };
    close("no control", &run(0.0, None), &golden.get("unet_out_t500").channels_last(), CPU);
    let plain = run(0.0, None);
    for at in (0..skips).map(Some).chain([None]) {
        assert!(run(5.0, at).iter().zip(&plain).any(|(a, b)| (a - b).abs() > 1e-4), "{at:?} does nothing");
    }
}

#[test]
fn networks_that_are_none_are_refused() {
    let (_, folder, _) = families().into_iter().find(|(_, _, golden)| golden.find("unet_out_t500").is_some()).unwrap();
    let network = unet(&json(&folder.join("unet/config.json")));
    let request = SdRequest { batch: 1, height: 18, width: 16, tokens: 77, control: false };
    assert!(matches!(network.graph("", &request), Err(NetworkError::Sides { height: 18, multiple: 4, .. })));
    let request = SdRequest { height: 16, ..request };
    let mut heads = network.clone();
    heads.levels[0].heads = 5;
    assert!(matches!(heads.graph("", &request), Err(NetworkError::Graph(_))));
    assert!(matches!(network.write_added(&[0.0], &[1.0], &mut [0.0]), Err(NetworkError::Range { .. })));
    let empty = SdUnet { levels: Vec::new(), ..network };
    assert!(matches!(empty.graph("", &request), Err(NetworkError::Range { field: "number of levels", .. })));
    let vae = autoencoder_kl(&json(&folder.join("vae/config.json")));
    assert!(matches!(vae.encoder("", 1, [33, 32]), Err(NetworkError::Sides { .. })));
}

#[cfg(feature = "gpu")]
#[test]
fn a_device_computes_the_references() {
    let Some(gpu) = device::device() else { return };
    let device = Device::Gpu(gpu);
    unets(&device);
    autoencoders(&device);
    tiny_autoencoders(&device);
}

/// Seen red without the second SiLU of a residual block, with a transformer's norm's epsilon at 1e-2, with the text's
/// attention turned on the pixels, with sines first in the timestep's code, and without the time embedding's SiLU.
#[test]
fn a_unet_call_is_the_references() {
    unets(&Device::Cpu);
}

/// Seen red with one line of zeros on all sides of the encoder's halving convolutions, and with two heads in the middle.
#[test]
fn an_autoencoder_is_the_references() {
    autoencoders(&Device::Cpu);
}

/// Seen red with latents that are not held, and without a block's last ReLU.
#[test]
fn a_tiny_autoencoder_is_the_references() {
    tiny_autoencoders(&Device::Cpu);
}
