//! The model and what goes with it: LoRAs, embeddings, ControlNets, T2I-Adapters, an IP-Adapter, a tiny autoencoder, an upscaler.

use super::Parts;
use crate::cli::{EmbeddingFile, LoraFile, MachineOptions, TextOptions};
use crate::draw::backend::{self, Loaded};
use crate::fault::Fault;
use crate::file::image_in;
use crate::file::source::{Conversion, Role, Source};
use crate::memory;
use nijimi_import::Lora;
use nijimi_runtime::model::{
    Control, Device, ImageEncoder, IpAdapter, LatentInfo, OpenOptions, Patch, SeenImages, SessionOptions, ShownImage,
    TextToImage, TinyAutoencoder, Upscaler,
};
use nijimi_runtime::quant::DType;
use std::path::Path;
use std::sync::Arc;

/// Files beside the model's.
pub struct Beside {
    pub controls: Vec<Source>,
    /// An IP-Adapter and its image encoder.
    pub image_prompt: Option<[Source; 2]>,
    pub tiny: Option<Source>,
    pub upscaler: Option<Source>,
}

impl Beside {
    /// What decodes, and nothing that leads.
    pub fn decoding(&self) -> Self {
        Self { controls: Vec::new(), image_prompt: None, tiny: self.tiny.clone(), upscaler: None }
    }

    /// Opens those that are named; checkpoints become weights of this type, or headers alone. Beside a cache of the U-Net's
    /// features there is no ControlNet.
    pub fn open(
        controls: &[&Path],
        image_prompt: Option<[&Path; 2]>,
        tiny: Option<&Path>,
        upscaler: Option<&Path>,
        (dtype, header): (DType, bool),
        cached: bool,
    ) -> Result<Self, Fault> {
        let how = Conversion { dtype, header, ..Conversion::default() };
        let open = |path: &Path, role| Source::open_or_convert(Some(path), role, how);
        let role = if cached { Role::T2iAdapter } else { Role::ControlNet };
        let controls = controls.iter().map(|path| open(path, role)).collect::<Result<_, _>>()?;
        let image_prompt = image_prompt.map(|[adapter, encoder]| -> Result<_, Fault> {
            Ok([open(adapter, Role::IpAdapter)?, open(encoder, Role::ImageEncoder)?])
        });
        let image_prompt = image_prompt.transpose()?;
        let tiny = tiny.map(|path| open(path, Role::TinyAutoencoder)).transpose()?;
        Ok(Self {
            controls,
            image_prompt,
            tiny,
            upscaler: upscaler.map(|path| open(path, Role::Upscaler)).transpose()?,
        })
    }
}

/// Height and width of the pictures: what is asked for, or that of the init image, or the model's.
pub fn size(
    info: &LatentInfo,
    width: Option<usize>,
    height: Option<usize>,
    init_img: Option<&Path>,
) -> Result<[usize; 2], Fault> {
    let multiple = info.multiple();
    for (option, side) in [("-W", width), ("-H", height)] {
        if let Some(side) = side.filter(|side| side % multiple != 0) {
            let near = LatentInfo::near(side, multiple);
            return Err(Fault::Usage(format!("{option} {side} is not a multiple of {multiple}: take {near}")));
        }
    }
    let own = match init_img {
        Some(path) => image_in::size(path, multiple)?,
        None => info.size(),
    };
    Ok([height.unwrap_or(own[0]), width.unwrap_or(own[1])])
}

/// What is added to the model in `source`: LoRAs and embeddings, opened.
pub fn added(source: &Source, loras: &[LoraFile], embeddings: &[EmbeddingFile]) -> Result<OpenOptions, Fault> {
    let file = source.file()?;
    let lora = |lora: &LoraFile| -> Result<Arc<dyn Patch>, Fault> {
        let lora = Lora::open(&lora.path, lora.strength, &file).map_err(|e| Fault::Input(e.to_string()))?;
        Ok(Arc::new(lora))
    };
    let embedding = |EmbeddingFile { path, word }: &EmbeddingFile| {
        nijimi_import::embedding(path, word.as_deref(), &file).map_err(|e| Fault::Input(e.to_string()))
    };
    Ok(OpenOptions {
        patches: loras.iter().map(lora).collect::<Result<_, _>>()?,
        embeddings: embeddings.iter().map(embedding).collect::<Result<_, _>>()?,
        device: Device::Cpu,
    })
}

/// Opens the model, whose parts are loaded when a run comes to them.
pub fn open(source: &Source, added: &OpenOptions, machine: &MachineOptions) -> Result<Loaded<TextToImage>, Fault> {
    let open =
        |device: &Device| TextToImage::open(source.stored(), OpenOptions { device: device.clone(), ..added.clone() });
    backend::load(machine.place, machine.tune, open, |e| source.wrong(e))
}

/// The IP-Adapter, and what the image encoder says of its pictures: that is large, and goes before what draws comes.
pub fn seen(
    on: &Loaded<TextToImage>,
    beside: &Beside,
    text: &TextOptions,
    options: &SessionOptions,
) -> Result<Option<(IpAdapter, SeenImages)>, Fault> {
    let (Some([adapter, encoder]), Some(files)) = (&beside.image_prompt, &text.image_prompt) else { return Ok(None) };
    let loaded = IpAdapter::load(&adapter.file()?, &on.device).map_err(|e| adapter.wrong(e))?;
    loaded.info().check(on.model.info()).map_err(|e| adapter.wrong(e))?;
    let images = files.images.iter().map(|path| image_in::whole(path)).collect::<Result<Vec<_>, _>>()?;
    let shown: Vec<ShownImage<'_>> = images.iter().map(|(values, size)| ShownImage { values, size: *size }).collect();
    let network = ImageEncoder::load(&encoder.file()?, &on.device).map_err(|e| encoder.wrong(e))?;
    let seen = network.see(&shown, loaded.info(), options).map_err(|e| encoder.wrong(e))?;
    drop(network);
    memory::give_back();
    Ok(Some((loaded, seen)))
}

/// Loads what goes with it.
pub fn load(
    on: Loaded<TextToImage>,
    beside: &Beside,
    image_prompt: Option<(IpAdapter, SeenImages)>,
) -> Result<Parts, Fault> {
    let device = &on.device;
    let control = |source: &Source| -> Result<Control, Fault> {
        let file = source.file()?;
        let loaded = Control::load(&file, device).map_err(|e| source.wrong(e))?;
        loaded.check(on.model.info()).map_err(|e| source.wrong(e))?;
        Ok(loaded)
    };
    let tiny = |source: &Source| -> Result<TinyAutoencoder, Fault> {
        let file = source.file()?;
        TinyAutoencoder::load(&file, device).map_err(|e| source.wrong(e))
    };
    let upscaler = |source: &Source| -> Result<Upscaler, Fault> {
        let file = source.file()?;
        Upscaler::load(&file, device).map_err(|e| source.wrong(e))
    };
    let controls = beside.controls.iter().map(control).collect::<Result<_, _>>()?;
    let tiny = beside.tiny.as_ref().map(tiny).transpose()?;
    let upscaler = beside.upscaler.as_ref().map(upscaler).transpose()?;
    Ok(Parts { on, controls, image_prompt, tiny, upscaler })
}
