//! The networks of latent diffusion: dfdx's answers are the runtime's of the same weights, gradients reach every weight,
//! and the file that is written draws.
#[allow(dead_code, reason = "shared by tests that each use a part")]
mod common;
#[path = "latent/file.rs"]
mod file;
#[path = "latent/gradients.rs"]
mod gradients;
#[path = "latent/networks.rs"]
mod networks;
#[path = "latent/teacher.rs"]
mod teacher;

use dfdx::prelude::*;
use networks::{ids, normal, random, text, unet, unets};
use nijimi_import::Types;
use nijimi_runtime::gguf::{File, Writer};
use nijimi_runtime::model::{Device, Evaluator, Network, SessionOptions};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::graph::Graph;
use nijimi_runtime::raw::nn::{AutoencoderKl as AutoencoderConfig, SdRequest, TextStates};
use nijimi_trainer::export::latent::tensors;
use nijimi_trainer::nn::autoencoder_kl::AutoencoderKl;
use nijimi_trainer::nn::clip_text::{ClipText, ClipTextConfig};
use nijimi_trainer::nn::sd_unet::{SdUnet, SdUnetConfig};
use nijimi_trainer::ops::Precision;
use nijimi_trainer::param::{self, Module};
use nijimi_trainer::tensor::{T2, T3, T4};

/// Greatest difference of any number, of the largest.
const TOLERANCE: f32 = 2e-5;

/// The runtime's evaluator of a graph with the weights of `model`.
fn evaluator(model: &mut impl Module<Cpu>, graph: Graph, prefixes: &[&str]) -> Evaluator {
    let mut w = Writer::new();
    tensors(&mut w, &param::state(model, ""), "", &Types::new(DType::F32)).unwrap();
    let bytes = w.finish();
    let network =
        Network::load_part(&File::new_checked(&bytes).unwrap(), prefixes, graph.clone(), &[], &Device::Cpu).unwrap();
    network.evaluator(vec![graph], &SessionOptions { threads: 2, ..Default::default() }).unwrap()
}

/// `(n, c, h, w)` as `(n, h, w, c)`.
fn channels_last(x: &T4<Cpu>) -> Vec<f32> {
    let (_, c, h, w) = *x.shape();
    let picture = |x: &[f32]| (0..c * h * w).map(|i| x[i % c * h * w + i / c]).collect::<Vec<f32>>();
    x.as_vec().chunks_exact(c * h * w).flat_map(picture).collect()
}

fn close(what: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let largest = ours.iter().fold(0f32, |m, v| m.max(v.abs()));
    let apart = ours.iter().zip(theirs).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / largest;
    println!("{what}: {apart:.1e} of {largest:.2}");
    assert!(largest > 0.1 && apart <= TOLERANCE, "{what}: {apart:.1e} of {largest}");
}

fn pictures(purpose: &str, shape: (usize, usize, usize, usize)) -> T4<Cpu> {
    Cpu::default().tensor_from_vec(normal(purpose, shape.0 * shape.1 * shape.2 * shape.3), shape)
}

fn text_is_the_runtimes(config: &ClipTextConfig, states: TextStates) {
    let (batch, tokens) = (3, config.positions - 1);
    let mut model = ClipText::new(&Cpu::default(), 0, config, Precision::F32).unwrap();
    random(&mut model);
    let ids = ids(config, batch * tokens);
    let ours: T3<Cpu> = model.forward(&ids, tokens, states).unwrap();
    let mut runtime = evaluator(&mut model, config.graph("", [batch, tokens], states).unwrap(), &[""]);
    let ids: Vec<Option<u32>> = ids.into_iter().map(Some).collect();
    runtime.evaluate(0, &[], &ids).unwrap();
    close(&format!("text {states:?}"), &ours.as_vec(), runtime.output(ClipTextConfig::STATE).unwrap());
}

/// Seen red with no mask, and with the final norm left out.
#[test]
fn the_text_encoder_is_the_runtimes() {
    for config in [text(), ClipTextConfig { activation: nijimi_runtime::raw::graph::Activation::Gelu, ..text() }] {
        text_is_the_runtimes(&config, TextStates::LAST);
        text_is_the_runtimes(&config, TextStates::PENULTIMATE);
        text_is_the_runtimes(&config, TextStates { skip: 1, normed: true, pooled: false });
    }
}

fn unet_is_the_runtimes(name: &str, config: &SdUnetConfig, (height, width): (usize, usize)) {
    let (n, tokens) = (2, 5);
    let device = Cpu::default();
    let mut model = SdUnet::new(&device, 0, config, Precision::F32).unwrap();
    random(&mut model);
    let x = pictures("x", (n, config.in_channels, height, width));
    let states: T3<Cpu> =
        device.tensor_from_vec(normal("states", n * tokens * config.text_width), (n, tokens, config.text_width));
    // One time a picture.
    let time: T2<Cpu> = model.time_codes(&device, &[3.0, 700.0]);
    let pooled: Option<T2<Cpu>> =
        config.added.map(|added| device.tensor_from_vec(normal("pooled", n * added.width), (n, added.width)));
    let ours = channels_last(&model.forward(x.clone(), &time, states.clone(), pooled.clone()));
    let request = SdRequest::new(n, [height, width], tokens);
    let mut runtime = evaluator(&mut model, config.graph("", &request).unwrap(), &[""]);
    let (latents, time, states) = (channels_last(&x), time.as_vec(), states.as_vec());
    let mut inputs =
        vec![(SdUnetConfig::LATENTS, &latents[..]), (SdUnetConfig::TIME, &time[..]), (SdUnetConfig::TEXT, &states[..])];
    let pooled = pooled.map(|pooled| pooled.as_vec());
    inputs.extend(pooled.iter().map(|pooled| (SdUnetConfig::ADDED, &pooled[..])));
    runtime.evaluate(0, &inputs, &[]).unwrap();
    close(name, &ours, runtime.output(SdUnetConfig::OUTPUT).unwrap());
}

/// Seen red with keys and values exchanged, the time's SiLU left out, and a transformer's shortcut left out.
#[test]
fn the_unet_is_the_runtimes() {
    for (name, config) in unets() {
        unet_is_the_runtimes(name, &config, (8, 4));
        unet_is_the_runtimes(name, &config, (4, 12));
    }
}

/// Seen red with a line of zeros above and left before the encoder halves.
#[test]
fn the_autoencoder_is_the_runtimes() {
    let config = AutoencoderConfig {
        in_channels: 3,
        out_channels: 2,
        latent_channels: 4,
        channels: vec![8, 12, 16],
        layers_per_block: 2,
        norm_groups: 4,
        mid_attention: false,
        quant_conv: true,
        post_quant_conv: true,
        packed: false,
    };
    for config in [AutoencoderConfig { quant_conv: false, post_quant_conv: false, ..config.clone() }, config] {
        let mut model = AutoencoderKl::new(&Cpu::default(), 0, &config, Precision::F32).unwrap();
        random(&mut model);
        let x = pictures("picture", (2, 3, 12, 8));
        let ours = channels_last(&model.encoder.forward(x.clone()));
        let mut runtime = evaluator(&mut model, config.encoder("", 2, [12, 8]).unwrap(), &["encoder.", "quant_conv."]);
        runtime.evaluate(0, &[(AutoencoderConfig::PICTURE, &channels_last(&x))], &[]).unwrap();
        close("encoder", &ours, runtime.output(AutoencoderConfig::MOMENTS).unwrap());
        let z = pictures("latents", (2, 4, 3, 2));
        let ours = channels_last(&model.decoder.forward(z.clone()));
        let mut runtime =
            evaluator(&mut model, config.decoder("", 2, [3, 2]).unwrap(), &["decoder.", "post_quant_conv."]);
        runtime.evaluate(0, &[(AutoencoderConfig::LATENTS, &channels_last(&z))], &[]).unwrap();
        close("decoder", &ours, runtime.output(AutoencoderConfig::PICTURE).unwrap());
    }
}

/// What cannot be trained is refused, and what is no network.
#[test]
fn other_networks_are_refused() {
    let device = Cpu::default();
    let refused = |config: &SdUnetConfig| SdUnet::new(&device, 0, config, Precision::F32).err().unwrap().to_string();
    let added = Some(nijimi_runtime::raw::nn::SdAdded { code: 4, width: 30 });
    assert!(refused(&SdUnetConfig { added, ..unet() }).contains("not trained"));
    assert!(refused(&SdUnetConfig { guidance_code: 8, ..unet() }).contains("not trained"));
    assert!(refused(&SdUnetConfig { norm_groups: 5, ..unet() }).contains("5"));
    let mut heads = unet();
    heads.levels[1].heads = 5;
    assert!(refused(&heads).contains("heads"));
    let refused =
        |config: &ClipTextConfig| ClipText::new(&device, 0, config, Precision::F32).err().unwrap().to_string();
    assert!(refused(&ClipTextConfig { projection: Some(4), ..text() }).contains("not trained"));
    assert!(refused(&ClipTextConfig { heads: 5, ..text() }).contains("heads"));
    let model = ClipText::new(&device, 0, &text(), Precision::F32).unwrap();
    let refused = |ids: &[u32], tokens, skip| {
        let states = TextStates { skip, ..TextStates::LAST };
        model.forward::<NoneTape>(ids, tokens, states).err().unwrap().to_string()
    };
    assert!(refused(&[0; 8], 9, 0).contains("windows"));
    assert!(refused(&[0; 8], 3, 0).contains("windows"));
    assert!(refused(&[99], 1, 0).contains("99"));
    assert!(refused(&[0; 8], 8, 2).contains("skipped"));
}
