//! The networks of Stable Diffusion: tensors of the published models, batches, controls, refusals. What single calls give is
//! compared in `golden.rs`.

#[path = "common/diffusers.rs"]
mod common;

use common::{Tensors, autoencoder_kl, autoencoder_tiny, control_net, fixtures, gguf, json, unet};
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, Evaluator, Network, SessionOptions};
use nijimi_runtime::raw::graph::{Graph, WeightKind};
use nijimi_runtime::raw::nn::{NetworkError, SdRequest, SdUnet};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// Greatest difference of any number, f32 weights.
const CPU: f32 = 2e-4;

fn evaluator_of(graph: &Graph, tensors: &Tensors) -> Evaluator {
    let bytes = gguf(std::slice::from_ref(graph), tensors);
    let network = Network::load(&File::new_checked(&bytes).unwrap(), vec![graph.clone()], &Device::Cpu).unwrap();
    let options = SessionOptions { threads: 2, ..Default::default() };
    network.evaluator(vec![graph.clone()], &options).unwrap()
}

/// A pipeline with expected values: its folder, and the values.
fn family() -> (PathBuf, Tensors) {
    let folder = fixtures().join("pipelines/sd1");
    (folder.clone(), Tensors::read(&folder.with_extension("golden.safetensors")))
}

fn close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let worst = found.iter().zip(expected).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
    println!("{what}: {worst:.2e}");
    assert!(worst <= tolerance, "{what}: {worst:.2e} apart, {tolerance:.0e} allowed");
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
    let request = SdRequest::new(1, [64, 64], 77);
    let mut count = 0;
    for entry in fs::read_dir(fixtures().join("shapes")).unwrap() {
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
    let (folder, golden) = family();
    let network = unet(&json(&folder.join("unet/config.json")));
    let tensors = Tensors::read(&folder.join("unet/diffusion_pytorch_model.safetensors"));
    let pair = ["prompt_embeds", "negative_embeds"].map(|name| golden.get(name));
    let (height, width, tokens) = (8, 16, pair[0].shape[1]);
    let latents: Vec<f32> =
        (0..2 * height * width * network.in_channels).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
    let text = [&pair[0].values[..], &pair[1].values].concat();
    let run = |batch: usize, latents: &[f32], text: &[f32]| {
        let graph = network.graph("", &SdRequest::new(batch, [height, width], tokens)).unwrap();
        let mut time = vec![0.0; batch * network.time_width()];
        network.write_time(321.0, &mut time);
        let mut evaluator = evaluator_of(&graph, &tensors);
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
    let (folder, golden) = family();
    let network = unet(&json(&folder.join("unet/config.json")));
    let tensors = Tensors::read(&folder.join("unet/diffusion_pytorch_model.safetensors"));
    let text = golden.get("prompt_embeds");
    let latents = golden.find("unet_in").unwrap_or_else(|| golden.get("latents"));
    let &[batch, _, height, width] = &latents.shape[..] else { panic!() };
    let request = SdRequest { control: true, ..SdRequest::new(batch, [height, width], text.shape[1]) };
    let graph = network.graph("", &request).unwrap();
    let mut evaluator = evaluator_of(&graph, &tensors);
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
    let (folder, _) = family();
    let network = unet(&json(&folder.join("unet/config.json")));
    let request = SdRequest::new(1, [0, 16], 77);
    let field = "height of the latents";
    assert!(matches!(network.graph("", &request), Err(NetworkError::Range { field: f, .. }) if f == field));
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
