//! A model's networks: all in memory, or each loaded from the file when it is used and given back afterwards.

use super::info::LatentInfo;
use crate::Error;
use crate::gguf::File;
use crate::graph::Graph;
use crate::model::network::Network;
use crate::model::{Device, Patch, Stored};
use crate::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

/// A network of the model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ModelPart {
    /// Text encoder 0, or SDXL's 1.
    Text(usize),
    /// What takes noise away.
    UNet,
    /// The autoencoder's first half, for init images.
    Encoder,
    /// Its second half.
    Decoder,
}

impl ModelPart {
    /// The beginnings of its tensors' names.
    fn prefixes(self, info: &LatentInfo) -> Vec<&'static str> {
        match self {
            Self::Text(i) => info.texts.get(i).map(|text| text.prefix).into_iter().collect(),
            Self::UNet => vec!["unet."],
            Self::Encoder => vec!["vae.encoder.", "vae.quant_conv."],
            Self::Decoder => vec!["vae.decoder.", "vae.post_quant_conv."],
        }
    }

    /// Loads it.
    fn load(
        self,
        file: &File<'_>,
        info: &LatentInfo,
        device: &Device,
        patches: &[Arc<dyn Patch>],
    ) -> Result<Arc<Network>, Error> {
        let (prefixes, graph) = (self.prefixes(info), self.graph(info)?);
        let device = device.for_tables(&graph);
        Ok(Network::load_part(file, &prefixes, graph, patches, &device)?.into())
    }

    /// A graph of the smallest size: only the weights count here.
    fn graph(self, info: &LatentInfo) -> Result<Graph, Error> {
        Ok(match self {
            Self::Text(i) => {
                let text = &info.texts[i];
                text.network.graph(text.prefix, [1, text.network.positions], text.states)?
            }
            Self::UNet => info.unet.graph("unet.", &info.unet.smallest())?,
            Self::Encoder => info.autoencoder.encoder("vae.", 1, [info.autoencoder.factor(); 2])?,
            Self::Decoder => info.autoencoder.decoder("vae.", 1, [1, 1])?,
        })
    }
}

/// Where the weights come from, and where they go.
struct Origin {
    stored: Arc<dyn Stored>,
    device: Device,
    patches: Vec<Arc<dyn Patch>>,
}

/// The networks.
#[derive(Clone)]
pub(super) struct Parts {
    held: Vec<(ModelPart, Arc<Network>)>,
    origin: Option<Arc<Origin>>,
}

/// All of a model's.
fn all(info: &LatentInfo) -> impl Iterator<Item = ModelPart> {
    (0..info.texts.len()).map(ModelPart::Text).chain([ModelPart::UNet, ModelPart::Encoder, ModelPart::Decoder])
}

impl Parts {
    /// Loads all.
    pub fn load(file: &File<'_>, info: &LatentInfo, device: &Device) -> Result<Self, Error> {
        let load = |part: ModelPart| Ok((part, part.load(file, info, device, &[])?));
        Ok(Self { held: all(info).map(load).collect::<Result<_, Error>>()?, origin: None })
    }

    /// Loads none, but looks at all tensors.
    pub fn open(
        stored: Arc<dyn Stored>,
        info: &LatentInfo,
        device: Device,
        patches: Vec<Arc<dyn Patch>>,
    ) -> Result<Self, Error> {
        let file = stored.file()?;
        for part in all(info) {
            Network::check_part(&file, &part.prefixes(info), part.graph(info)?)?;
        }
        drop(file);
        Ok(Self { held: Vec::new(), origin: Some(Arc::new(Origin { stored, device, patches })) })
    }

    /// The network: the one that is held, or one that is loaded now and lives as long as it is used.
    pub fn get(&self, info: &LatentInfo, part: ModelPart) -> Result<Arc<Network>, Error> {
        if let Some((_, network)) = self.held.iter().find(|(held, _)| *held == part) {
            return Ok(network.clone());
        }
        let Some(origin) = &self.origin else { unreachable!("what has no origin holds all parts") };
        part.load(&origin.stored.file()?, info, &origin.device, &origin.patches)
    }

    /// Whether it is held.
    pub fn holds(&self, part: ModelPart) -> bool {
        self.held.iter().any(|(held, _)| *held == part)
    }

    /// As it is, with `parts` loaded and held.
    pub fn hold(&self, info: &LatentInfo, parts: impl IntoIterator<Item = ModelPart>) -> Result<Self, Error> {
        let mut next = self.clone();
        for part in parts {
            if !next.holds(part) {
                next.held.push((part, self.get(info, part)?));
            }
        }
        Ok(next)
    }

    /// As it is, with all parts held.
    pub fn hold_all(&self, info: &LatentInfo) -> Result<Self, Error> {
        self.hold(info, all(info))
    }

    /// Bytes of the packed weights that are held.
    pub fn bytes(&self) -> usize {
        self.held.iter().map(|(_, network)| network.weight_bytes()).sum()
    }
}
