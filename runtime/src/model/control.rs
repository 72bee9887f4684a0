//! A ControlNet or a T2I-Adapter from its file: what it makes of a picture guides a latent diffusion model.

use super::device::Device;
use super::info::{begin, kind, titles, wrong};
use super::latent::LatentInfo;
use super::loaded::Loaded;
use super::network::{Evaluator, Network};
use super::options::check;
use super::unet_keys::{self, CONTROL, n, ns, size, sizes, unet};
use super::{ModelError, SessionOptions};
use crate::Error;
use crate::gguf::{File, Writer};
use crate::graph::Graph;
use crate::nn::{ControlNet, NetworkError, SdRequest, SdUnet, T2iAdapter, T2iKind};
use crate::quant::DType;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

/// What leads a latent diffusion model by a picture.
#[derive(Clone, Debug, PartialEq)]
pub enum ControlNetwork {
    /// A ControlNet: asked at every call.
    ControlNet(ControlNet),
    /// A T2I-Adapter: asked once a run.
    T2iAdapter(T2iAdapter),
}

impl ControlNetwork {
    /// What it is called.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ControlNet(_) => "ControlNet",
            Self::T2iAdapter(_) => "T2I-Adapter",
        }
    }

    /// Channels of the picture that it reads.
    pub fn picture_channels(&self) -> usize {
        match self {
            Self::ControlNet(network) => network.picture_channels,
            Self::T2iAdapter(network) => network.picture_channels,
        }
    }

    /// What of it is added to a U-Net, by the names of that U-Net's inputs: of a ControlNet to every skip in turn, then to the
    /// middle; of a T2I-Adapter to a level each, then to the middle if there is one feature more.
    pub fn outputs(&self) -> Vec<String> {
        match self {
            Self::ControlNet(ControlNet { unet, .. }) => {
                // The first convolution, each level's blocks, and what halves between levels.
                let skips = unet.levels.len() * (unet.layers_per_block() + 1);
                (0..skips).map(Some).chain([None]).map(SdUnet::residual).collect()
            }
            Self::T2iAdapter(network) => {
                SdUnet::ADAPTER.iter().take(network.features().len()).map(|name| (*name).into()).collect()
            }
        }
    }

    /// Its graph beside a U-Net of that request.
    pub(super) fn graph(&self, request: &SdRequest) -> Result<Graph, NetworkError> {
        match self {
            Self::ControlNet(network) => network.graph(CONTROL_PREFIX, request),
            Self::T2iAdapter(network) => network.graph(ADAPTER_PREFIX, request),
        }
    }

    fn smallest(&self) -> SdRequest {
        match self {
            Self::ControlNet(network) => network.unet.smallest(),
            Self::T2iAdapter(network) => network.smallest(),
        }
    }

    /// Asks a U-Net to take what this makes.
    pub(super) fn ask(&self, request: &mut SdRequest) {
        match self {
            Self::ControlNet(_) => request.control = true,
            Self::T2iAdapter(network) => request.adapter = request.adapter.max(network.features().len()),
        }
    }
}

/// The description of a ControlNet or a T2I-Adapter, from the file's metadata (`docs/format.md`).
#[derive(Clone, Debug, PartialEq)]
pub struct ControlInfo {
    /// `general.name`, or empty.
    pub name: String,
    /// `general.license`, or empty.
    pub license: String,
    /// The network.
    pub network: ControlNetwork,
}

/// A run gives the guidance scale to the U-Net alone.
fn told_no_guidance(network: &ControlNet) -> Result<(), Error> {
    let code = network.unet.guidance_code;
    let expected = "absent: a ControlNet is not told the guidance scale";
    if code == 0 { Ok(()) } else { Err(wrong("nijimi.control.time_cond_proj_dim", code, expected)) }
}

const CONTROL_KEYS: [(&str, &str); 2] = [("nijimi.system", "control-net"), ("nijimi.network", "control-net")];
const ADAPTER_KEYS: [(&str, &str); 2] = [("nijimi.system", "t2i-adapter"), ("nijimi.network", "t2i-adapter")];

/// Of the tensors' names.
const CONTROL_PREFIX: &str = "control.";
const ADAPTER_PREFIX: &str = "adapter.";

impl ControlInfo {
    pub(super) fn read(file: &File<'_>) -> Result<Self, Error> {
        let network = match file.str("nijimi.system") {
            Ok("t2i-adapter") => ControlNetwork::T2iAdapter(read_adapter(file)?),
            _ => ControlNetwork::ControlNet(read_control(file)?),
        };
        let [name, license] = titles(file);
        Ok(Self { name, license, network })
    }

    /// Writes all metadata of a file of one, most of whose weights are `dtype`.
    ///
    /// # Errors
    /// A configuration that is no network; keys that were written already.
    pub fn write(&self, w: &mut Writer, dtype: DType) -> Result<(), Error> {
        let names = [&*self.name, &*self.license];
        match &self.network {
            ControlNetwork::ControlNet(network) => {
                network.unet.validate()?;
                told_no_guidance(network)?;
                begin(w, names, dtype, &CONTROL_KEYS)?;
                unet_keys::write(w, &CONTROL, &network.unet)?;
                w.meta("nijimi.control.picture_channels", n(network.picture_channels))?;
                w.meta("nijimi.control.embedding", ns(network.embedding.iter().copied()))?;
            }
            ControlNetwork::T2iAdapter(network) => {
                network.validate()?;
                begin(w, names, dtype, &ADAPTER_KEYS)?;
                w.meta("nijimi.adapter.type", network.kind.name())?;
                w.meta("nijimi.adapter.picture_channels", n(network.picture_channels))?;
                w.meta("nijimi.adapter.channels", ns(network.channels.iter().copied()))?;
                w.meta("nijimi.adapter.num_res_blocks", n(network.layers))?;
                w.meta("nijimi.adapter.downscale_factor", n(network.unshuffle))?;
            }
        }
        Ok(())
    }

    /// Whether what it makes can be added in the model's U-Net.
    ///
    /// # Errors
    /// [`ModelError::Control`] with the first size that differs.
    pub fn check(&self, model: &LatentInfo) -> Result<(), Error> {
        let kind = self.network.kind();
        let unet = model.led(kind)?;
        match &self.network {
            ControlNetwork::ControlNet(network) => same(kind, &control_sizes(network, model, unet)),
            ControlNetwork::T2iAdapter(network) => same(kind, &adapter_sizes(network, model, unet)),
        }
    }

    /// Whether it can look at pictures of that height and width, which are multiples of the model's factor.
    ///
    /// # Errors
    /// Sides that are no multiples of what a T2I-Adapter takes as one pixel, with the nearest that are.
    pub fn check_size(&self, [height, width]: [usize; 2]) -> Result<(), Error> {
        let ControlNetwork::T2iAdapter(network) = &self.network else { return Ok(()) };
        let unit = network.unshuffle.max(1);
        for (what, side) in [("height", height), ("width", width)] {
            if !side.is_multiple_of(unit) {
                let near = LatentInfo::near(side, unit);
                check(false, what, side, format!("a multiple of {unit} for this T2I-Adapter: {near}"))?;
            }
        }
        Ok(())
    }
}

/// What is compared: what it is, the network's, the model's.
pub(super) type Sizes = (&'static str, String, String);

/// That none of them differs, of what is called `kind`.
pub(super) fn same(kind: &'static str, sizes: &[Sizes]) -> Result<(), Error> {
    match sizes.iter().find(|(_, control, model)| control != model).cloned() {
        Some((what, control, model)) => Err(ModelError::Control { kind, what, control, model }.into()),
        None => Ok(()),
    }
}

fn control_sizes(network: &ControlNet, model: &LatentInfo, other: &SdUnet) -> [Sizes; 7] {
    let own = &network.unet;
    let channels = |unet: &SdUnet| format!("{:?}", unet.levels.iter().map(|l| l.channels).collect::<Vec<_>>());
    let added = |unet: &SdUnet| match unet.added {
        Some(added) => format!("{} numbers with codes of {}", added.width, added.code),
        None => "none".into(),
    };
    [
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
            network.picture_channels.to_string(),
            model.autoencoder.in_channels().to_string(),
        ),
        (
            "number of times that a picture's side is the latents'",
            network.factor().to_string(),
            model.autoencoder.factor().to_string(),
        ),
    ]
}

/// SDXL's features are not those of 1.x, and there is nothing else of which an adapter is told.
fn adapter_sizes(network: &T2iAdapter, model: &LatentInfo, other: &SdUnet) -> [Sizes; 3] {
    let features = network.features();
    let places = other.adapter_places();
    // Those that there are more of than places cannot be equal.
    let places = &places[..features.len().min(places.len())];
    let factor = model.autoencoder.factor();
    let channels = |of: &[(usize, usize)]| format!("{:?}", of.iter().map(|(channels, _)| channels).collect::<Vec<_>>());
    let sides = |of: &[(usize, usize)], first: usize| {
        format!("{:?}", of.iter().map(|(_, halvings)| first << halvings).collect::<Vec<_>>())
    };
    let pictures = model.autoencoder.in_channels();
    let read = network.picture_channels;
    [
        ("list of channels by level", channels(&features), channels(places)),
        (
            "list of how many times a picture's side is that of its features",
            sides(&features, network.unshuffle),
            sides(places, factor),
        ),
        (
            "number of channels of the picture that it is led by",
            read.to_string(),
            // Lines are gray.
            if read == 1 { read } else { pictures }.to_string(),
        ),
    ]
}

fn read_control(file: &File<'_>) -> Result<ControlNet, Error> {
    kind(file, &CONTROL_KEYS)?;
    let network = ControlNet {
        unet: unet(file, &CONTROL)?,
        picture_channels: size(file, "nijimi.control.picture_channels")?,
        embedding: sizes(file, "nijimi.control.embedding")?,
    };
    if network.embedding.is_empty() {
        return Err(wrong("nijimi.control.embedding", "empty", "the channels of one convolution or more"));
    }
    told_no_guidance(&network)?;
    Ok(network)
}

fn read_adapter(file: &File<'_>) -> Result<T2iAdapter, Error> {
    kind(file, &ADAPTER_KEYS)?;
    let key = "nijimi.adapter.type";
    let name = file.str(key)?;
    let unknown = || wrong(key, format!("{name:?}"), "full_adapter, full_adapter_xl or light_adapter");
    let network = T2iAdapter {
        kind: T2iKind::from_name(name).ok_or_else(unknown)?,
        picture_channels: size(file, "nijimi.adapter.picture_channels")?,
        channels: sizes(file, "nijimi.adapter.channels")?,
        layers: size(file, "nijimi.adapter.num_res_blocks")?,
        unshuffle: size(file, "nijimi.adapter.downscale_factor")?,
    };
    network.validate()?;
    Ok(network)
}

/// A loaded ControlNet or T2I-Adapter.
pub type Control = Loaded<ControlInfo>;

impl Control {
    /// Loads a file whose `nijimi.system` is `control-net` or `t2i-adapter`.
    ///
    /// # Errors
    /// Metadata that is missing, of the wrong type or unknown to this version; tensors that are missing, too many, or of
    /// another shape than the network's.
    pub fn load(file: &File<'_>, device: &Device) -> Result<Self, Error> {
        let info = ControlInfo::read(file)?;
        let graph = info.network.graph(&info.network.smallest())?;
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

    /// The outputs of [`Self::graph`], which are inputs of the U-Net that it leads: [`ControlNetwork::outputs`].
    pub fn residuals(&self) -> Vec<String> {
        self.info().network.outputs()
    }

    /// The graph of a request of the U-Net's. Of a ControlNet its inputs are those of the U-Net and [`ControlNet::PICTURE`], which
    /// holds a picture in [0, 1] for each latent; of a T2I-Adapter that alone, of one picture ([`T2iAdapter::unshuffled`]).
    ///
    /// # Errors
    /// Latents of no size that can be.
    pub fn graph(&self, request: &SdRequest) -> Result<Graph, Error> {
        Ok(self.info().network.graph(request)?)
    }

    /// What evaluates [`Self::graph`], as graph 0.
    ///
    /// # Errors
    /// As [`Self::graph`], or more memory than the options allow.
    pub fn evaluator(&self, request: &SdRequest, options: &SessionOptions) -> Result<Evaluator, Error> {
        self.networks().evaluator(vec![self.graph(request)?], options)
    }
}
