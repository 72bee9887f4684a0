//! A ControlNet by the pictures that it guides to: the whole way from a prompt to a picture, against diffusers, with and without
//! the control. Runs on `sd1full` of the fixtures (`NIJIMI_FIXTURES`, or `../shared/fixtures`), which the project has no
//! copy of.

#[path = "common/diffusers.rs"]
mod common;

use common::{Tensors, autoencoder_kl, control_net, gguf, json, unet};
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, Evaluator, Network, SessionOptions};
use nijimi_runtime::raw::graph::Graph;
use nijimi_runtime::raw::nn::clip_text::{ClipText, TextStates};
use nijimi_runtime::raw::nn::{AutoencoderKl, ControlNet, SdRequest, SdUnet};
use nijimi_runtime::raw::text::{Special, Tokenizer, Vocabulary};
use serde_json::Value;
use std::path::{Path, PathBuf};

const FAMILY: &str = "sd1full";
/// Greatest difference of a picture in [0, 1]. Far below the 2 / 255 that a picture may be off: residuals of random weights are so
/// large that norms leave but 2e-4 of a strength of 1 in place of 0.7.
const PICTURE: f32 = 5e-5;

fn folder() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures");
    let pipelines = std::env::var_os("NIJIMI_FIXTURES").map_or_else(beside, PathBuf::from).join("pipelines");
    pipelines.join(format!("{FAMILY}_controlnet")).is_dir().then_some(pipelines)
}

fn evaluator(graph: &Graph, tensors: &Tensors) -> Evaluator {
    let bytes = gguf(std::slice::from_ref(graph), tensors);
    let network = Network::load(&File::new_checked(&bytes).unwrap(), vec![graph.clone()], &Device::Cpu).unwrap();
    network.evaluator(vec![graph.clone()], &SessionOptions { threads: 2, ..Default::default() }).unwrap()
}

/// The states of both texts.
fn states(family: &Path, texts: [&str; 2]) -> Vec<f32> {
    let nijimi_import::Tokenizer { tokens, merges, .. } =
        nijimi_import::Tokenizer::open(&family.join("tokenizer")).unwrap();
    let vocabulary = Vocabulary { tokens, merges, added: Vec::new() };
    let id = |token: &str| vocabulary.id(token).unwrap();
    let end = id("<|endoftext|>");
    let special = Special { start: id("<|startoftext|>"), end, pad: end, length: 77 };
    let tokenizer = Tokenizer::new(&vocabulary, special).unwrap();
    let config = json(&family.join("text_encoder/config.json"));
    let number = |key: &str| common::number(&config[key]);
    let text = ClipText {
        vocabulary: number("vocab_size"),
        positions: number("max_position_embeddings"),
        width: number("hidden_size"),
        layers: number("num_hidden_layers"),
        heads: number("num_attention_heads"),
        hidden: number("intermediate_size"),
        activation: ClipText::activation_of(config["hidden_act"].as_str().unwrap()).unwrap(),
        eps: config["layer_norm_eps"].as_f64().unwrap() as f32,
        projection: None,
    };
    let graph = text.graph("", [2, 77], TextStates::LAST).unwrap();
    let mut evaluator = evaluator(&graph, &Tensors::read(&family.join("text_encoder/model.safetensors")));
    let windows = texts.map(|text| tokenizer.window(text));
    let ids = text.ids(&[&windows[0], &windows[1]], None).unwrap();
    evaluator.evaluate(0, &[], &ids).unwrap();
    evaluator.output(ClipText::STATE).unwrap().to_vec()
}

/// `alpha_bar` of each timestep, betas by their square roots (`scaled_linear`).
fn alpha_bars(config: &Value) -> Vec<f64> {
    assert_eq!(config["beta_schedule"], "scaled_linear");
    let [first, last] = ["beta_start", "beta_end"].map(|key| config[key].as_f64().unwrap().sqrt());
    let steps = common::number(&config["num_train_timesteps"]);
    let alphas = (0..steps).map(|i| 1.0 - (first + (last - first) * i as f64 / (steps - 1) as f64).powi(2));
    alphas
        .scan(1.0, |product, alpha| {
            Some({
                *product *= alpha;
                *product
            })
        })
        .collect()
}

/// Seen red with the control's residuals at full strength, with the control's picture left out, and without SiLU between
/// the convolutions of the picture.
#[test]
fn a_controlled_picture_is_the_references() {
    let Some(pipelines) = folder() else { return eprintln!("skipped: no {FAMILY}_controlnet among the fixtures") };
    let (family, control) = (pipelines.join(FAMILY), pipelines.join(format!("{FAMILY}_controlnet")));
    let path = pipelines.join(format!("{FAMILY}.golden.safetensors"));
    let (golden, said) = (Tensors::read(&path), common::metadata(&path));
    let text_of = |key: &str| said[key].as_str().unwrap();
    let number = |key: &str| text_of(key).parse::<f64>().unwrap();
    let text = states(&family, [text_of("negative_prompt"), text_of("prompt")]);

    let network = unet(&json(&family.join("unet/config.json")));
    let unet_tensors = Tensors::read(&family.join("unet/diffusion_pytorch_model.safetensors"));
    let controller = control_net(&json(&control.join("config.json")));
    let latents = golden.get("latents");
    let request = SdRequest { batch: 2, height: latents.shape[2], width: latents.shape[3], tokens: 77, control: true };
    let graph = controller.graph("", &request).unwrap();
    let mut controller = evaluator(&graph, &Tensors::read(&control.join("diffusion_pytorch_model.safetensors")));
    let residuals: Vec<&str> = graph.outputs().iter().map(|port| port.name.as_str()).collect();
    let mut unet = evaluator(&network.graph("", &request).unwrap(), &unet_tensors);
    let vae = autoencoder_kl(&json(&family.join("vae/config.json")));
    let vae_tensors = Tensors::read(&family.join("vae/diffusion_pytorch_model.safetensors"));
    let mut decoder = evaluator(&vae.decoder("", 1, [request.height, request.width]).unwrap(), &vae_tensors);
    let scaling = json(&family.join("vae/config.json"))["scaling_factor"].as_f64().unwrap() as f32;

    let schedule = json(&family.join("scheduler/scheduler_config.json"));
    assert!(schedule["_class_name"] == "DDIMScheduler" && schedule["timestep_spacing"] == "leading");
    let (alpha_bar, steps) = (alpha_bars(&schedule), number("steps") as usize);
    let (spacing, offset) = (alpha_bar.len() / steps, common::number(&schedule["steps_offset"]));
    let picture = golden.get("control_image").channels_last().repeat(2);

    let control_scale = number("control_scale") as f32;
    for (name, strength) in [
        (format!("image_ddim_cfg{}", text_of("cfg")), 0.0),
        (format!("image_ddim_cfg{}_control{control_scale}", text_of("cfg")), control_scale),
    ] {
        let mut x = latents.channels_last();
        for t in (0..steps).rev().map(|i| i * spacing + offset) {
            let both = x.repeat(2);
            let mut time = vec![0.0; 2 * network.time_width()];
            network.write_time(t as f64, &mut time);
            let common = [(SdUnet::LATENTS, &both[..]), (SdUnet::TEXT, &text), (SdUnet::TIME, &time)];
            let inputs = [&common[..], &[(ControlNet::PICTURE, &picture[..])]].concat();
            controller.evaluate(0, &inputs, &[]).unwrap();
            let scaled =
                |name: &&str| -> Vec<f32> { controller.output(name).unwrap().iter().map(|v| v * strength).collect() };
            let values: Vec<Vec<f32>> = residuals.iter().map(scaled).collect();
            let added = residuals.iter().copied().zip(values.iter().map(Vec::as_slice));
            unet.evaluate(0, &common.into_iter().chain(added).collect::<Vec<_>>(), &[]).unwrap();
            let out = unet.output(SdUnet::OUTPUT).unwrap();
            let (negative, positive) = out.split_at(x.len());
            let now = alpha_bar[t];
            let next = t.checked_sub(spacing).map_or(alpha_bar[0], |t| alpha_bar[t]);
            for ((x, n), p) in x.iter_mut().zip(negative).zip(positive) {
                let eps = f64::from(n + number("cfg") as f32 * (p - n));
                let x0 = (f64::from(*x) - (1.0 - now).sqrt() * eps) / now.sqrt();
                *x = (next.sqrt() * x0 + (1.0 - next).sqrt() * eps) as f32;
            }
        }
        x.iter_mut().for_each(|x| *x /= scaling);
        decoder.evaluate(0, &[(AutoencoderKl::LATENTS, &x)], &[]).unwrap();
        let decoded = decoder.output(AutoencoderKl::PICTURE).unwrap();
        let expected = golden.get(&name).channels_last();
        assert_eq!(decoded.len(), expected.len());
        let far = |(a, b): (&f32, &f32)| ((a / 2.0 + 0.5).clamp(0.0, 1.0) - b).abs();
        let worst = decoded.iter().zip(&expected).map(far).fold(0.0, f32::max);
        println!("{name}: {worst:.2e}");
        assert!(worst <= PICTURE, "{name}: {worst:.2e} apart, {PICTURE:.2e} allowed");
    }
}
