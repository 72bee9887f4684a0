//! The networks that a run evaluates, with their graphs: written once, for what loads and executes them and for what plans
//! their memory.

use super::first_stage::FirstStage;
use super::info::LatentInfo;
use super::language::LanguageInfo;
use super::tiling::Tiling;
use crate::graph::Graph;
use crate::model::control::ControlInfo;
use crate::model::tiny::{self, TinyInfo};
use crate::model::{ImageEncoderInfo, IpAdapterInfo};
use crate::nn::{NetworkError, SdRequest, TextStates};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// A network of the model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ModelPart {
    /// Text encoder 0, SDXL's 1, or Stable Diffusion 3's 2.
    Text(usize),
    /// What takes noise away: a U-Net, or a transformer.
    UNet,
    /// The autoencoder's first half, for init images.
    Encoder,
    /// Its second half.
    Decoder,
}

impl ModelPart {
    /// All of a model's.
    pub(super) fn all(info: &LatentInfo) -> impl Iterator<Item = Self> {
        (0..info.encoders()).map(Self::Text).chain([Self::UNet, Self::Encoder, Self::Decoder])
    }

    /// The beginnings of its tensors' names.
    pub(super) fn prefixes(self, info: &LatentInfo) -> Vec<&'static str> {
        match self {
            Self::Text(i) => vec![match (info.texts.get(i), &info.language) {
                (Some(text), _) => text.prefix,
                (None, Some(language)) => language.prefix(),
                (None, None) => unreachable!("there is one for every part"),
            }],
            Self::UNet => vec![info.denoiser.prefix()],
            Self::Encoder => FirstStage::ENCODER.into(),
            Self::Decoder => FirstStage::DECODER.into(),
        }
    }

    /// A graph of the smallest size: only the weights count here.
    pub(super) fn smallest(self, info: &LatentInfo) -> Result<Graph, NetworkError> {
        let stage = match self {
            Self::Text(i) => Stage::text(info, i, 0),
            Self::UNet => Stage::denoiser(info, &info.denoiser.smallest()),
            Self::Encoder => Stage::encoder(info, None, [1, 1]),
            Self::Decoder => Stage::decoder(info, None, [1, 1]),
        };
        Ok(stage?.graphs.swap_remove(0).0)
    }
}

/// A network of a run, and what is evaluated of it.
pub(super) struct Stage {
    /// Display name.
    pub name: String,
    /// Which of the model's networks it is; `None` if it comes from a file of its own.
    pub part: Option<ModelPart>,
    /// Of the same weights, each with how often it is evaluated for one evaluation of the whole.
    pub graphs: Vec<(Graph, usize)>,
}

impl Stage {
    pub fn new(name: &str, part: Option<ModelPart>, graph: Graph) -> Self {
        Self { name: name.into(), part, graphs: vec![(graph, 1)] }
    }

    /// A window of a prompt; `clip_skip` as of [`LatentRequest`](super::LatentRequest::clip_skip).
    pub fn text(info: &LatentInfo, i: usize, clip_skip: usize) -> Result<Self, NetworkError> {
        let Some(text) = info.texts.get(i) else {
            let Some(language) = &info.language else { unreachable!("there is one for every part") };
            return Self::language(language, info, language.length);
        };
        let states = TextStates { skip: clip_skip.checked_sub(1).unwrap_or(text.states.skip), ..text.states };
        let graph = text.network.graph(text.prefix, [1, text.network.positions], states)?;
        let name = if i == 0 { "text encoder".into() } else { format!("text encoder {}", i + 1) };
        Ok(Self::new(&name, Some(ModelPart::Text(i)), graph))
    }

    /// A text of so many tokens, as a language model reads it.
    pub fn language(language: &LanguageInfo, info: &LatentInfo, tokens: usize) -> Result<Self, NetworkError> {
        let i = info.texts.len();
        let name = if i == 0 { "text encoder".into() } else { format!("text encoder {}", i + 1) };
        Ok(Self::new(&name, Some(ModelPart::Text(i)), language.graph(tokens)?))
    }

    pub fn denoiser(info: &LatentInfo, request: &SdRequest) -> Result<Self, NetworkError> {
        let network = &info.denoiser;
        Ok(Self::new(network.name(), Some(ModelPart::UNet), network.graph(network.prefix(), request)?))
    }

    /// The same with one more text of each picture, for which blocks are left out.
    pub fn skipping(info: &LatentInfo, request: &SdRequest, skipped: &[usize]) -> Result<Self, NetworkError> {
        let network = &info.denoiser;
        let request = SdRequest { batch: request.batch / 2 * 3, ..*request };
        let graph = network.graph_skipping(network.prefix(), &request, skipped)?;
        Ok(Self::new("transformer, layers skipped", Some(ModelPart::UNet), graph))
    }

    pub fn control(control: &ControlInfo, request: &SdRequest) -> Result<Self, NetworkError> {
        Ok(Self::new(control.network.kind(), None, control.network.graph(request)?))
    }

    /// What an IP-Adapter makes of so many pictures of so many states each.
    pub fn ip_adapter(adapter: &IpAdapterInfo, shape: [usize; 2]) -> Result<Self, NetworkError> {
        Ok(Self::new("IP-Adapter", None, adapter.graph(shape)?))
    }

    /// What an image encoder says of a picture to that adapter.
    pub fn image_encoder(encoder: &ImageEncoderInfo, adapter: &IpAdapterInfo) -> Result<Self, NetworkError> {
        Ok(Self::new("image encoder", None, encoder.graph(adapter.network.reads())?))
    }

    /// A picture, whose latents have that size, at once or in tiles.
    pub fn encoder(info: &LatentInfo, tiling: Option<Tiling>, size: [usize; 2]) -> Result<Self, NetworkError> {
        let (network, factor) = (&info.autoencoder, info.factor());
        let graph = |size: [usize; 2]| network.encoder(FirstStage::PREFIX, 1, size.map(|side| side * factor));
        Ok(Self { name: "encoder".into(), part: Some(ModelPart::Encoder), graphs: graphs(tiling, size, graph)? })
    }

    /// Latents of that size, at once or in tiles.
    pub fn decoder(info: &LatentInfo, tiling: Option<Tiling>, size: [usize; 2]) -> Result<Self, NetworkError> {
        let graph = |size| info.autoencoder.decoder(FirstStage::PREFIX, 1, size);
        let name = if tiling.is_some() { "decoder in tiles" } else { "decoder" };
        Ok(Self { name: name.into(), part: Some(ModelPart::Decoder), graphs: graphs(tiling, size, graph)? })
    }

    /// A picture of that size.
    pub fn tiny_encoder(tiny: &TinyInfo, size: [usize; 2]) -> Result<Self, NetworkError> {
        Ok(Self::new("tiny encoder", None, tiny.network.encoder(tiny::PREFIX, 1, size)?))
    }

    /// Latents of that size.
    pub fn tiny_decoder(tiny: &TinyInfo, size: [usize; 2]) -> Result<Self, NetworkError> {
        Ok(Self::new("tiny decoder", None, tiny.network.decoder(tiny::PREFIX, 1, size)?))
    }
}

/// One, or one for each of [`Tiling::sizes`].
fn graphs(
    tiling: Option<Tiling>,
    size: [usize; 2],
    graph: impl Fn([usize; 2]) -> Result<Graph, NetworkError>,
) -> Result<Vec<(Graph, usize)>, NetworkError> {
    let Some(tiling) = tiling else { return Ok(vec![(graph(size)?, 1)]) };
    let times = |of: [usize; 2]| tiling.tiles(size).filter(|tile| tile.size == of).count();
    tiling.sizes(size).into_iter().map(|size| Ok((graph(size)?, times(size)))).collect()
}
