//! The image encoder of IP-Adapters from its file: what a picture is, for a model to draw something like it.

use super::device::Device;
use super::info::{begin, kind, titles, wrong};
use super::ip_adapter::IpAdapterInfo;
use super::loaded::Loaded;
use super::network::{Evaluator, Network};
use super::options::in_range;
use super::unet_keys::{n, size};
use super::wait::wait;
use super::{ModelError, SessionOptions};
use crate::Error;
use crate::gguf::{File, Writer};
use crate::graph::{Activation, Graph};
use crate::nn::{ClipText, ClipVision, NetworkError, VisionStates};
use crate::quant::DType;
use crate::resample::{Filter, resample};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// An image encoder's description, from the file's metadata (`docs/format.md`).
#[derive(Clone, Debug, PartialEq)]
pub struct ImageEncoderInfo {
    /// `general.name`, or empty.
    pub name: String,
    /// `general.license`, or empty.
    pub license: String,
    /// The network.
    pub network: ClipVision,
}

const KEYS: [(&str, &str); 2] = [("nijimi.system", "image-encoder"), ("nijimi.network", "clip-vision")];

/// Of the tensors' names.
const PREFIX: &str = "image_encoder.";

impl ImageEncoderInfo {
    pub(super) fn read(file: &File<'_>) -> Result<Self, Error> {
        kind(file, &KEYS)?;
        let of = |part: &str| format!("nijimi.image_encoder.{part}");
        let (key, name) = ("nijimi.image_encoder.activation", file.str(&of("activation"))?);
        let activation = ClipText::activation_of(name);
        let activation = activation.ok_or_else(|| wrong(key, format!("{name:?}"), "quick_gelu or gelu"))?;
        let network = ClipVision {
            size: size(file, &of("image_size"))?,
            patch: size(file, &of("patch_size"))?,
            width: size(file, &of("width"))?,
            layers: size(file, &of("layers"))?,
            heads: size(file, &of("heads"))?,
            hidden: size(file, &of("mlp_width"))?,
            activation,
            eps: file.f32(&of("norm_eps"))?,
            projection: size(file, &of("projection_dim"))?,
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
        w.meta("nijimi.image_encoder.image_size", n(network.size))?;
        w.meta("nijimi.image_encoder.patch_size", n(network.patch))?;
        w.meta("nijimi.image_encoder.width", n(network.width))?;
        w.meta("nijimi.image_encoder.layers", n(network.layers))?;
        w.meta("nijimi.image_encoder.heads", n(network.heads))?;
        w.meta("nijimi.image_encoder.mlp_width", n(network.hidden))?;
        let activation = if network.activation == Activation::QuickGelu { "quick_gelu" } else { "gelu" };
        w.meta("nijimi.image_encoder.activation", activation)?;
        w.meta("nijimi.image_encoder.norm_eps", network.eps)?;
        w.meta("nijimi.image_encoder.projection_dim", n(network.projection))?;
        Ok(())
    }

    /// Its graph.
    pub(super) fn graph(&self, states: VisionStates) -> Result<Graph, NetworkError> {
        self.network.graph(PREFIX, states)
    }
}

/// A picture of any size.
#[derive(Clone, Copy, Debug)]
pub struct ShownImage<'a> {
    /// `(height, width, 3)`, in [0, 1].
    pub values: &'a [f32],
    /// Height and width.
    pub size: [usize; 2],
}

/// What an image encoder says of pictures, as an IP-Adapter reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenImages {
    /// Pictures.
    pub(super) pictures: usize,
    /// States of a picture.
    pub(super) states: usize,
    /// `(pictures, states, width)`.
    pub(super) of: Vec<f32>,
    /// What is said in place of it where a run is guided away from it, as many.
    pub(super) nothing: Vec<f32>,
}

impl SeenImages {
    /// States of the pictures, one after the other, `(pictures, states, width)`.
    #[must_use]
    pub fn states(&self) -> &[f32] {
        &self.of
    }

    /// Those of nothing, from which a run is guided away, as many.
    #[must_use]
    pub fn nothing(&self) -> &[f32] {
        &self.nothing
    }
}

/// A loaded image encoder.
///
/// ```no_run
/// use nijimi_runtime::model::{Device, ImageEncoder, ImagePrompt, IpAdapter, LatentRequest, ShownImage, TextToImage};
/// use nijimi_runtime::{Error, gguf::MappedFile};
///
/// # fn draws(model: &TextToImage, picture: &[f32]) -> Result<(), Error> {
/// let adapter = IpAdapter::load(&MappedFile::open("ip-adapter_sd15.gguf")?.file()?, &Device::Cpu)?;
/// let encoder = ImageEncoder::load(&MappedFile::open("image_encoder.gguf")?.file()?, &Device::Cpu)?;
/// let shown = ShownImage { values: picture, size: [512, 768] };
/// let seen = encoder.see(&[shown], adapter.info(), &Default::default())?;
/// drop(encoder); // it is large, and has said all
/// let calls = model.calls(None, &[], 20)?;
/// let image_prompt = Some(ImagePrompt { adapter: &adapter, seen: &seen, strength: 0.6 });
/// let mut run = model.run(&LatentRequest { image_prompt, ..model.request("a red apple", 1, &calls) })?;
/// # Ok(())
/// # }
/// ```
pub type ImageEncoder = Loaded<ImageEncoderInfo>;

impl ImageEncoder {
    /// Loads a file whose `nijimi.system` is `image-encoder`.
    ///
    /// # Errors
    /// Metadata that is missing, of the wrong type or unknown to this version; tensors that are missing, too many, or of
    /// another shape than the network's.
    pub fn load(file: &File<'_>, device: &Device) -> Result<Self, Error> {
        let info = ImageEncoderInfo::read(file)?;
        let graph = info.graph(VisionStates::Whole)?;
        let device = device.for_tables(&graph);
        Ok(Self::new(info, Network::load(file, vec![graph], &device)?))
    }

    /// What it says of pictures to that adapter.
    ///
    /// # Errors
    /// No picture, or one of another size than it says; [`ModelError::ImageEncoder`] if the adapter was trained with another
    /// encoder; more memory than the options allow.
    pub fn see(
        &self,
        pictures: &[ShownImage<'_>],
        adapter: &IpAdapterInfo,
        options: &SessionOptions,
    ) -> Result<SeenImages, Error> {
        wait(self.see_async(pictures, adapter, options))
    }

    /// [`Self::see`], awaited.
    ///
    /// # Errors
    /// As [`Self::see`] has.
    pub async fn see_async(
        &self,
        pictures: &[ShownImage<'_>],
        adapter: &IpAdapterInfo,
        options: &SessionOptions,
    ) -> Result<SeenImages, Error> {
        let info = self.info();
        adapter.check_encoder(info)?;
        in_range("number of pictures that lead", pictures.len(), 1, IpAdapterInfo::MAX_PICTURES)?;
        let wanted = adapter.network.reads();
        let [_, states] = info.network.states(wanted);
        let shown = pictures.iter().map(|picture| picture.fitted(info.network.size)).collect::<Result<Vec<_>, _>>()?;
        let mut evaluator = self.networks().evaluator(vec![info.graph(wanted)?], options)?;
        let mut of = Vec::new();
        for picture in &shown {
            of.extend_from_slice(info.evaluate(&mut evaluator, wanted, picture).await?);
        }
        // As the reference has it: no state at all, or those of a picture that is of the mean color everywhere.
        let nothing = match wanted {
            VisionStates::Whole => vec![0.0; of.len()],
            VisionStates::Patches => {
                let mean = vec![0.0; shown[0].len()];
                info.evaluate(&mut evaluator, wanted, &mean).await?.repeat(pictures.len())
            }
        };
        Ok(SeenImages { pictures: pictures.len(), states, of, nothing })
    }
}

impl ImageEncoderInfo {
    async fn evaluate<'e>(
        &self,
        evaluator: &'e mut Evaluator,
        wanted: VisionStates,
        picture: &[f32],
    ) -> Result<&'e [f32], Error> {
        let patches = self.network.patches(picture);
        evaluator.evaluate_async(0, &[(ClipVision::PATCHES, &patches)], &self.network.ids(wanted)).await?;
        evaluator.output(ClipVision::STATES)
    }
}

impl IpAdapterInfo {
    /// Whether the adapter reads what the encoder says.
    ///
    /// # Errors
    /// [`ModelError::ImageEncoder`] with both widths.
    pub fn check_encoder(&self, encoder: &ImageEncoderInfo) -> Result<(), Error> {
        let (wanted, adapter) = (self.network.reads(), self.network.image_width);
        let [encoder, _] = encoder.network.states(wanted);
        if encoder == adapter {
            return Ok(());
        }
        let width = |network: ClipVision| network.states(wanted)[0];
        let whose = match adapter {
            n if n == width(ClipVision::OPEN_CLIP_H) => ": CLIP ViT-H/14 (models/image_encoder of h94/IP-Adapter)",
            n if n == width(ClipVision::OPEN_CLIP_BIG_G) => {
                ": CLIP ViT-bigG/14 (sdxl_models/image_encoder of h94/IP-Adapter)"
            }
            _ => "",
        };
        Err(ModelError::ImageEncoder { adapter, encoder, whose }.into())
    }
}

impl ShownImage<'_> {
    /// Its middle, of that side, normalized, as transformers' `CLIPImageProcessor` has it: the shorter side is resized, what is over
    /// of the longer one is cut off. Pillow keeps bytes, also between the rows and the columns.
    ///
    /// # Errors
    /// A side of nothing, or other values than so many.
    pub fn fitted(&self, side: usize) -> Result<Vec<f32>, Error> {
        let Self { values, size: [height, width] } = *self;
        for (what, side) in [("height of a picture that leads", height), ("width of a picture that leads", width)] {
            in_range(what, side, 1, 1 << 17)?;
        }
        let all = 3 * height * width;
        in_range("values of a picture that leads", values.len(), all, all)?;
        let short = height.min(width);
        let [rows, columns] = [height, width].map(|of| (of * side / short).max(side));
        let byte = |v: &mut f32| *v = libm::roundf(v.clamp(0.0, 1.0) * 255.0) / 255.0;
        let resized = |values: &[f32], from: [usize; 2], to: [usize; 2]| {
            let row = |y: usize, row: &mut [f32]| row.copy_from_slice(&values[y * row.len()..][..row.len()]);
            let mut resized = resample(row, from, to, 3, Filter::Cubic);
            resized.iter_mut().for_each(byte);
            resized
        };
        let across = resized(values, [height, width], [height, columns]);
        let whole = resized(&across, [height, columns], [rows, columns]);
        let [top, left] = [rows, columns].map(|of| (of - side) / 2);
        let pixel = |i: usize| &whole[((top + i / side) * columns + left + i % side) * 3..][..3];
        let normal = |i: usize| {
            let (mean, std) = (ClipVision::MEAN, ClipVision::STD);
            pixel(i).iter().zip(mean).zip(std).map(|((v, mean), std)| (v - mean) / std)
        };
        Ok((0..side * side).flat_map(normal).collect())
    }
}
