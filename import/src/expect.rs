//! The tensors that a network asks for, as its builder in [`nijimi_runtime::raw::nn`] has them: what a checkpoint has is held
//! against this list, so that nothing is missing, left over or of another shape.

use super::config::{Config, Language};
use nijimi_runtime::raw::graph::{Graph, Weight, WeightKind};
use nijimi_runtime::raw::nn::{
    Autoencoder, AutoencoderKl, AutoencoderTiny, ClipText, ClipVision, ControlNet, Denoiser, IpAdapter, NetworkError,
    RrdbNet, SdLevel, SdUnet, T2iAdapter, TextStates, VisionStates,
};

/// A tensor: its name within its part, and its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected {
    /// Today's name, without the part's prefix.
    pub name: String,
    /// As PyTorch has it: `[out][in]`, `[out][in][kh][kw]`, or `[n]`.
    pub shape: Vec<usize>,
}

/// The parts of a latent diffusion model with their tensors, in the order of our file: as they are needed.
pub(super) fn parts(config: &Config) -> Result<Vec<(&'static str, Vec<Expected>)>, NetworkError> {
    let mut parts = Vec::new();
    if let Some(text) = &config.text {
        parts.push(("text_encoder", clip(text)?));
    }
    if let Some(text) = &config.text_2 {
        parts.push(("text_encoder_2", clip(text)?));
    }
    match &config.language {
        Some(Language::T5(text)) => parts.push(("text_encoder_3", of(&[text.graph("", 1)?]))),
        Some(Language::Qwen3(text)) => parts.push(("text_encoder", of(&[text.graph("", 1)?]))),
        None => {}
    }
    parts.push(denoiser(&config.denoiser)?);
    parts.push(("vae", vae(&config.vae.network)?));
    Ok(parts)
}

fn clip(network: &ClipText) -> Result<Vec<Expected>, NetworkError> {
    Ok(of(&[ClipText { heads: 1, ..*network }.graph("", [1, 1], TextStates::LAST)?]))
}

fn denoiser(network: &Denoiser) -> Result<(&'static str, Vec<Expected>), NetworkError> {
    match network {
        Denoiser::Unet(network) => Ok(("unet", unet(network)?)),
        network => {
            let part = network.prefix().trim_end_matches('.');
            Ok((part, of(&[network.graph("", &network.smallest())?])))
        }
    }
}

pub(super) fn unet(network: &SdUnet) -> Result<Vec<Expected>, NetworkError> {
    Ok(of(&[plain(network).graph("", &network.smallest())?]))
}

fn vae(network: &Autoencoder) -> Result<Vec<Expected>, NetworkError> {
    let plain = match network {
        Autoencoder::Kl(network) => Autoencoder::Kl(AutoencoderKl { norm_groups: 1, ..network.clone() }),
        Autoencoder::Tiny(_) => network.clone(),
    };
    Ok(of(&[plain.encoder("", 1, [plain.factor(); 2])?, plain.decoder("", 1, [1, 1])?]))
}

pub(super) fn control(network: &ControlNet) -> Result<Vec<Expected>, NetworkError> {
    let plain = ControlNet { unet: plain(&network.unet), ..network.clone() };
    Ok(of(&[plain.graph("", &plain.unet.smallest())?]))
}

pub(super) fn t2i_adapter(network: &T2iAdapter) -> Result<Vec<Expected>, NetworkError> {
    Ok(of(&[network.graph("", &network.smallest())?]))
}

pub(super) fn ip_adapter(network: &IpAdapter) -> Result<Vec<Expected>, NetworkError> {
    Ok(of(&[network.graph("", [1, 1])?]))
}

pub(super) fn image_encoder(network: &ClipVision) -> Result<Vec<Expected>, NetworkError> {
    Ok(of(&[ClipVision { heads: 1, ..*network }.graph("", VisionStates::Whole)?]))
}

/// The same tensors, whatever is said of heads and groups: no tensor tells those, and they are for the reader to judge.
fn plain(network: &SdUnet) -> SdUnet {
    let levels = network.levels.iter().map(|level| SdLevel { heads: 1, ..level.clone() }).collect();
    SdUnet { levels, norm_groups: 1, ..network.clone() }
}

pub(super) fn tiny_encoder(network: &AutoencoderTiny) -> Result<Vec<Expected>, NetworkError> {
    let side = 1 << (network.encoder_blocks.len().clamp(1, 16) - 1);
    Ok(of(&[network.encoder("", 1, [side; 2])?]))
}

pub(super) fn tiny_decoder(network: &AutoencoderTiny) -> Result<Vec<Expected>, NetworkError> {
    Ok(of(&[network.decoder("", 1, [1, 1])?]))
}

pub(super) fn upscaler(network: &RrdbNet) -> Result<Vec<Expected>, NetworkError> {
    Ok(of(&[network.graph("", 1, [1, 1])?]))
}

/// The graphs' weights, in the order of PyTorch's modules.
fn of(graphs: &[Graph]) -> Vec<Expected> {
    let expected = |weight: &Weight| {
        let shape = match weight.kind {
            WeightKind::Conv { out, kernel, inp } => vec![out, inp, kernel, kernel],
            WeightKind::Linear { out, inp } => vec![out, inp],
            WeightKind::Table { rows, dim } => vec![rows, dim],
            WeightKind::Vector { len } => vec![len],
        };
        Expected { name: weight.name.clone(), shape }
    };
    in_order(graphs.iter().flat_map(|graph| graph.weights()).map(expected).collect())
}

/// Files have always had this order, which that of a graph's operations is but for these.
fn in_order(mut list: Vec<Expected>) -> Vec<Expected> {
    let first = ["conv_in.", "time_embedding.", "add_embedding.", "controlnet_cond", "down_", "controlnet_down_"];
    list.sort_by_key(|t| first.iter().position(|start| t.name.starts_with(start)).unwrap_or(first.len()));
    for (moved, behind) in [("cond_proj.weight", "linear_1.bias"), ("conv_shortcut.", "conv2.bias")] {
        let (late, rest): (Vec<_>, Vec<_>) = list.into_iter().partition(|t| t.name.contains(moved));
        list = rest;
        for tensor in late.into_iter().rev() {
            let behind = tensor.name.split(moved).next().unwrap_or_default().to_owned() + behind;
            let at = list.iter().position(|t| t.name == behind).map_or(list.len(), |at| at + 1);
            list.insert(at, tensor);
        }
    }
    list
}
