//! An IP-Adapter from its file: pictures as a prompt of a latent diffusion model.

use super::SessionOptions;
use super::control::same;
use super::device::Device;
use super::image_encoder::SeenImages;
use super::info::{begin, kind, titles, wrong};
use super::latent::LatentInfo;
use super::loaded::Loaded;
use super::network::{Evaluator, Network};
use super::options::check;
use super::unet_keys::{n, ns, size, sizes};
use crate::Error;
use crate::gguf::{File, Writer};
use crate::graph::Graph;
use crate::nn::{IpAdapter as Projector, IpProjection, NetworkError, SdUnet};
use crate::quant::DType;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

/// An IP-Adapter's description, from the file's metadata (`docs/format.md`).
#[derive(Clone, Debug, PartialEq)]
pub struct IpAdapterInfo {
    /// `general.name`, or empty.
    pub name: String,
    /// `general.license`, or empty.
    pub license: String,
    /// The network.
    pub network: Projector,
}

const KEYS: [(&str, &str); 2] = [("nijimi.system", "ip-adapter"), ("nijimi.network", "ip-adapter")];

/// Of the tensors' names.
const PREFIX: &str = "ip.";

const LINEAR: &str = "linear";
const PERCEPTRON: &str = "perceptron";
const RESAMPLER: &str = "resampler";

impl IpAdapterInfo {
    /// Most pictures that lead a run.
    pub const MAX_PICTURES: usize = 16;

    pub(super) fn read(file: &File<'_>) -> Result<Self, Error> {
        kind(file, &KEYS)?;
        let size = |part: &str| size(file, &format!("nijimi.ip_adapter.{part}"));
        let key = "nijimi.ip_adapter.projection";
        let projection = match file.str(key)? {
            LINEAR => IpProjection::Linear { tokens: size("tokens")? },
            PERCEPTRON => IpProjection::Perceptron,
            RESAMPLER => IpProjection::Resampler {
                tokens: size("tokens")?,
                width: size("width")?,
                layers: size("layers")?,
                heads: size("heads")?,
                head_channels: size("head_channels")?,
                hidden: size("mlp_width")?,
            },
            other => return Err(wrong(key, format!("{other:?}"), "linear, perceptron or resampler")),
        };
        let network = Projector {
            projection,
            image_width: size("image_width")?,
            text_width: size("cross_attention_dim")?,
            channels: sizes(file, "nijimi.ip_adapter.channels")?,
        };
        network.validate()?;
        let [name, license] = titles(file);
        Ok(Self { name, license, network })
    }

    /// Writes all metadata of a file of one, most of whose weights are `dtype`.
    ///
    /// # Errors
    /// A configuration that is no network; keys that were written already.
    pub fn write(&self, w: &mut Writer, dtype: DType) -> Result<(), Error> {
        let network = &self.network;
        network.validate()?;
        begin(w, [&self.name, &self.license], dtype, &KEYS)?;
        let name = match network.projection {
            IpProjection::Linear { .. } => LINEAR,
            IpProjection::Perceptron => PERCEPTRON,
            IpProjection::Resampler { .. } => RESAMPLER,
        };
        w.meta("nijimi.ip_adapter.projection", name)?;
        match network.projection {
            IpProjection::Linear { tokens } => w.meta("nijimi.ip_adapter.tokens", n(tokens))?,
            IpProjection::Perceptron => {}
            IpProjection::Resampler { tokens, width, layers, heads, head_channels, hidden } => {
                w.meta("nijimi.ip_adapter.tokens", n(tokens))?;
                w.meta("nijimi.ip_adapter.width", n(width))?;
                w.meta("nijimi.ip_adapter.layers", n(layers))?;
                w.meta("nijimi.ip_adapter.heads", n(heads))?;
                w.meta("nijimi.ip_adapter.head_channels", n(head_channels))?;
                w.meta("nijimi.ip_adapter.mlp_width", n(hidden))?;
            }
        }
        w.meta("nijimi.ip_adapter.image_width", n(network.image_width))?;
        w.meta("nijimi.ip_adapter.cross_attention_dim", n(network.text_width))?;
        w.meta("nijimi.ip_adapter.channels", ns(network.channels.iter().copied()))?;
        Ok(())
    }

    /// Its graph for pictures of so many states each.
    pub(super) fn graph(&self, shape: [usize; 2]) -> Result<Graph, NetworkError> {
        self.network.graph(PREFIX, shape)
    }

    /// Whether a model's U-Net can attend to its tokens.
    ///
    /// # Errors
    /// [`ModelError::Control`](super::ModelError::Control) with the first size that differs.
    pub fn check(&self, model: &LatentInfo) -> Result<(), Error> {
        let kind = "IP-Adapter";
        let (own, unet) = (&self.network, model.led(kind)?);
        let others: Vec<usize> = unet.text_attentions().into_iter().map(|(_, channels)| channels).collect();
        let sizes = [
            ("width of the text's states", own.text_width.to_string(), unet.text_width.to_string()),
            ("number of attentions to the text", own.channels.len().to_string(), others.len().to_string()),
            ("list of channels of the attentions", format!("{:?}", own.channels), format!("{others:?}")),
        ];
        same(kind, &sizes)
    }
}

/// A loaded IP-Adapter.
pub type IpAdapter = Loaded<IpAdapterInfo>;

impl IpAdapter {
    /// Loads a file whose `nijimi.system` is `ip-adapter`.
    ///
    /// # Errors
    /// Metadata that is missing, of the wrong type or unknown to this version; tensors that are missing, too many, or of
    /// another shape than the network's.
    pub fn load(file: &File<'_>, device: &Device) -> Result<Self, Error> {
        let info = IpAdapterInfo::read(file)?;
        let graph = info.graph([1, 1])?;
        let device = device.for_tables(&graph);
        Ok(Self::new(info, Network::load(file, vec![graph], &device)?))
    }

    /// What evaluates it, as graph 0, for so many pictures of so many states each.
    ///
    /// # Errors
    /// No picture; more memory than the options allow.
    pub fn evaluator(&self, shape: [usize; 2], options: &SessionOptions) -> Result<Evaluator, Error> {
        self.networks().evaluator(vec![self.info().graph(shape)?], options)
    }
}

/// Pictures that a run is led by, as its prompt leads it.
#[derive(Clone, Copy, Debug)]
pub struct ImagePrompt<'a> {
    /// What makes tokens of them.
    pub adapter: &'a IpAdapter,
    /// The pictures, as [`ImageEncoder::see`](super::ImageEncoder::see) has them.
    pub seen: &'a SeenImages,
    /// What attention to them is multiplied by: 1 as it was trained, less for what the text says.
    pub strength: f32,
}

/// A name of a U-Net's input, and what it is given for every text.
pub(super) type Given = (String, Vec<f32>);

impl ImagePrompt<'_> {
    /// Tokens of all pictures, if the adapter fits to the model, and what was seen to the adapter.
    pub(super) fn tokens(&self, model: &LatentInfo) -> Result<usize, Error> {
        let Self { adapter, seen, strength } = *self;
        check(strength.is_finite(), "strength of an IP-Adapter", strength, "a finite number")?;
        adapter.info().check(model)?;
        let network = &adapter.info().network;
        let (found, expected) = (seen.of.len(), seen.pictures * seen.states * network.image_width);
        check(
            found == expected,
            "values of the pictures that lead",
            found,
            format!("{expected}, as this adapter reads"),
        )?;
        Ok(seen.pictures * network.tokens(seen.states))
    }

    /// Keys and values of the pictures' tokens, for `texts` texts, of which the first `led` are led by them.
    pub(super) async fn given(&self, [led, texts]: [usize; 2], options: &SessionOptions) -> Result<Vec<Given>, Error> {
        let Self { adapter, seen, strength } = *self;
        let network = &adapter.info().network;
        let mut evaluator = adapter.evaluator([seen.pictures, seen.states], options)?;
        let ids = network.ids(seen.pictures);
        let names = (0..network.channels.len())
            .flat_map(|i| [(SdUnet::image_keys(i), 1.0), (SdUnet::image_values(i), strength)]);
        let mut given: Vec<(Given, f32)> = names.map(|(name, by)| ((name, Vec::new()), by)).collect();
        for (states, times) in [(&seen.of, led), (&seen.nothing, texts - led)] {
            if times == 0 {
                continue;
            }
            let mut inputs = vec![(Projector::STATES, &states[..])];
            if !ids.is_empty() {
                inputs.push((Projector::QUERIES, &[]));
            }
            evaluator.evaluate_async(0, &inputs, &ids).await?;
            for ((name, all), by) in &mut given {
                let one: Vec<f32> = evaluator.output(name)?.iter().map(|v| *by * v).collect();
                (0..times).for_each(|_| all.extend_from_slice(&one));
            }
        }
        Ok(given.into_iter().map(|(given, _)| given).collect())
    }
}
