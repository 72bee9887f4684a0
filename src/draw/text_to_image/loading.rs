//! The model and what goes with it: LoRAs, a ControlNet, a tiny autoencoder.

use super::Parts;
use crate::cli::{Cli, LoraFile};
use crate::draw::backend::{self, Loaded};
use crate::fault::Fault;
use crate::file::image_in;
use crate::file::source::{Conversion, Role, Source};
use nijimi_import::Lora;
use nijimi_runtime::model::{Control, Device, LatentInfo, OpenOptions, Patch, TextToImage, TinyAutoencoder};
use nijimi_runtime::quant::DType;
use std::path::Path;
use std::sync::Arc;

/// Files beside the model's.
pub struct Beside {
    pub control: Option<Source>,
    pub tiny: Option<Source>,
}

impl Beside {
    /// Opens those that are named; checkpoints become weights of this type.
    pub fn open(control: Option<&Path>, tiny: Option<&Path>, dtype: DType) -> Result<Self, Fault> {
        let how = Conversion { dtype, tokenizer: None };
        let open =
            |path: Option<&Path>, role| path.map(|path| Source::open_or_convert(Some(path), role, how)).transpose();
        Ok(Self { control: open(control, Role::ControlNet)?, tiny: open(tiny, Role::TinyAutoencoder)? })
    }
}

/// Height and width of the pictures: what is asked for, or that of the init image, or the model's.
pub fn size(info: &LatentInfo, cli: &Cli) -> Result<[usize; 2], Fault> {
    let [height, width] = match &cli.init_img {
        Some(path) if cli.width.is_none() || cli.height.is_none() => image_in::size(path, info.multiple())?,
        _ => info.size(),
    };
    Ok([cli.height.unwrap_or(height), cli.width.unwrap_or(width)])
}

/// Opens the model, whose parts are loaded when a run comes to them.
pub fn open(source: &Source, cli: &Cli) -> Result<Loaded<TextToImage>, Fault> {
    let file = source.file()?;
    let lora = |lora: &LoraFile| -> Result<Arc<dyn Patch>, Fault> {
        let lora = Lora::open(&lora.path, lora.strength, &file).map_err(|e| Fault::Input(e.to_string()))?;
        Ok(Arc::new(lora))
    };
    let patches = cli.lora.iter().map(lora).collect::<Result<Vec<_>, _>>()?;
    let open = |device: &Device| {
        let options = OpenOptions { patches: patches.clone(), device: device.clone() };
        TextToImage::open(source.stored(), options)
    };
    backend::load(cli.place(), cli.tune, open, |e| source.wrong(e))
}

/// Loads what goes with it.
pub fn load(on: Loaded<TextToImage>, beside: &Beside) -> Result<Parts, Fault> {
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
    let control = beside.control.as_ref().map(control).transpose()?;
    let tiny = beside.tiny.as_ref().map(tiny).transpose()?;
    Ok(Parts { on, control, tiny })
}

/// A file's name, without its folders.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
