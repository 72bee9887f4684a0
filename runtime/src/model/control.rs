//! A ControlNet from its file: what it makes of a picture guides a latent diffusion model.

use super::device::Device;
use super::info::{begin, kind, text, wrong};
use super::latent::LatentInfo;
use super::loaded::Loaded;
use super::network::{Evaluator, Network};
use super::unet_keys::{self, CONTROL, n, ns, size, sizes, unet};
use super::{ModelError, SessionOptions};
use crate::Error;
use crate::gguf::{File, Writer};
use crate::graph::Graph;
use crate::nn::{ControlNet, SdRequest, SdUnet};
use crate::quant::DType;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

/// A ControlNet's description, from the file's metadata (`docs/format.md`).
#[derive(Clone, Debug, PartialEq)]
pub struct ControlInfo {
    /// `general.name`, or empty.
    pub name: String,
    /// `general.license`, or empty.
    pub license: String,
    /// The network.
    pub network: ControlNet,
}

/// A run gives the guidance scale to the U-Net alone.
fn told_no_guidance(network: &ControlNet) -> Result<(), Error> {
    let code = network.unet.guidance_code;
    let expected = "absent: a ControlNet is not told the guidance scale";
    if code == 0 { Ok(()) } else { Err(wrong("nijimi.control.time_cond_proj_dim", code, expected)) }
}

const KEYS: [(&str, &str); 2] = [("nijimi.system", "control-net"), ("nijimi.network", "control-net")];

/// Of the tensors' names.
pub(super) const PREFIX: &str = "control.";

impl ControlInfo {
    pub(super) fn read(file: &File<'_>) -> Result<Self, Error> {
        kind(file, &KEYS)?;
        let network = ControlNet {
            unet: unet(file, &CONTROL)?,
            picture_channels: size(file, "nijimi.control.picture_channels")?,
            embedding: sizes(file, "nijimi.control.embedding")?,
        };
        if network.embedding.is_empty() {
            return Err(wrong("nijimi.control.embedding", "empty", "the channels of one convolution or more"));
        }
        told_no_guidance(&network)?;
        let [name, license] = ["general.name", "general.license"].map(|key| text(file, key));
        Ok(Self { name, license, network })
    }

    /// Writes all metadata of a ControlNet's file, most of whose weights are `dtype`.
    ///
    /// # Errors
    /// A configuration that is no network; keys that were written already.
    pub fn write(&self, w: &mut Writer, dtype: DType) -> Result<(), Error> {
        self.network.unet.validate()?;
        told_no_guidance(&self.network)?;
        begin(w, [&self.name, &self.license], dtype, &KEYS)?;
        unet_keys::write(w, &CONTROL, &self.network.unet)?;
        w.meta("nijimi.control.picture_channels", n(self.network.picture_channels))?;
        Ok(w.meta("nijimi.control.embedding", ns(self.network.embedding.iter().copied()))?)
    }

    /// Whether its residuals can be added to those of the model's U-Net.
    ///
    /// # Errors
    /// [`ModelError::Control`] with the first size that differs.
    pub fn check(&self, model: &LatentInfo) -> Result<(), Error> {
        let (own, other) = (&self.network.unet, &model.unet);
        let channels = |unet: &SdUnet| format!("{:?}", unet.levels.iter().map(|l| l.channels).collect::<Vec<_>>());
        let added = |unet: &SdUnet| match unet.added {
            Some(added) => format!("{} numbers with codes of {}", added.width, added.code),
            None => "none".into(),
        };
        let pairs = [
            ("width of the text's states", own.text_width.to_string(), other.text_width.to_string()),
            ("list of channels by level", channels(own), channels(other)),
            ("number of blocks of a level", own.layers_per_block().to_string(), other.layers_per_block().to_string()),
            ("added condition (pooled text and sizes)", added(own), added(other)),
            // An inpainting U-Net reads a mask too, of which a ControlNet is not told.
            (
                "number of channels of the latents",
                own.in_channels.to_string(),
                model.autoencoder.latent_channels().to_string(),
            ),
            (
                "number of channels of the picture that it is led by",
                self.network.picture_channels.to_string(),
                model.autoencoder.in_channels().to_string(),
            ),
            (
                "number of times that a picture's side is the latents'",
                self.network.factor().to_string(),
                model.autoencoder.factor().to_string(),
            ),
        ];
        match pairs.into_iter().find(|(_, control, model)| control != model) {
            Some((what, control, model)) => Err(ModelError::Control { what, control, model }.into()),
            None => Ok(()),
        }
    }
}

/// A loaded ControlNet.
pub type Control = Loaded<ControlInfo>;

impl Control {
    /// Loads a file whose `nijimi.system` is `control-net`.
    ///
    /// # Errors
    /// Metadata that is missing, of the wrong type or unknown to this version; tensors that are missing, too many, or of
    /// another shape than the network's.
    pub fn load(file: &File<'_>, device: &Device) -> Result<Self, Error> {
        let info = ControlInfo::read(file)?;
        let graph = info.network.graph(PREFIX, &info.network.unet.smallest())?;
        let network = Network::load(file, vec![graph], device)?;
        Ok(Self::new(info, network))
    }

    /// Whether it fits to the model.
    ///
    /// # Errors
    /// [`ModelError::Control`] with the first size that differs.
    pub fn check(&self, model: &LatentInfo) -> Result<(), Error> {
        self.info().check(model)
    }

    /// The outputs of [`Self::graph`], which are the inputs of the controlled U-Net: of every skip in turn, then of the
    /// middle.
    pub fn residuals(&self) -> Vec<String> {
        let unet = &self.info().network.unet;
        // The first convolution, each level's blocks, and what halves between levels.
        let skips = unet.levels.len() * (unet.layers_per_block() + 1);
        (0..skips).map(Some).chain([None]).map(SdUnet::residual).collect()
    }

    /// The graph of a request; [`SdRequest::control`] is ignored here. Its inputs are those of the U-Net and
    /// [`ControlNet::PICTURE`], which holds a picture in [0, 1] for each latent.
    ///
    /// # Errors
    /// Latents of no size that can be.
    pub fn graph(&self, request: &SdRequest) -> Result<Graph, Error> {
        Ok(self.info().network.graph(PREFIX, request)?)
    }

    /// What evaluates [`Self::graph`], as graph 0.
    ///
    /// # Errors
    /// As [`Self::graph`], or more memory than the options allow.
    pub fn evaluator(&self, request: &SdRequest, options: &SessionOptions) -> Result<Evaluator, Error> {
        self.networks().evaluator(vec![self.graph(request)?], options)
    }
}
