//! The model and what goes with it: LoRAs, a ControlNet, a tiny autoencoder.

use super::Parts;
use crate::cli::{LoraFile, MachineOptions};
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
    /// Opens those that are named; checkpoints become weights of this type, or headers alone.
    pub fn open(control: Option<&Path>, tiny: Option<&Path>, dtype: DType, header: bool) -> Result<Self, Fault> {
        let how = Conversion { dtype, header, ..Conversion::default() };
        let open =
            |path: Option<&Path>, role| path.map(|path| Source::open_or_convert(Some(path), role, how)).transpose();
        Ok(Self { control: open(control, Role::ControlNet)?, tiny: open(tiny, Role::TinyAutoencoder)? })
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
            let near = side / multiple * multiple;
            let near = if near == 0 { multiple.to_string() } else { format!("{near} or {}", near + multiple) };
            return Err(Fault::Usage(format!("{option} {side} is not a multiple of {multiple}: take {near}")));
        }
    }
    let own = match init_img {
        Some(path) => image_in::size(path, multiple)?,
        None => info.size(),
    };
    Ok([height.unwrap_or(own[0]), width.unwrap_or(own[1])])
}

/// Opens the LoRAs, for the model in `source`.
pub fn patches(source: &Source, loras: &[LoraFile]) -> Result<Vec<Arc<dyn Patch>>, Fault> {
    let file = source.file()?;
    let open = |lora: &LoraFile| -> Result<Arc<dyn Patch>, Fault> {
        let lora = Lora::open(&lora.path, lora.strength, &file).map_err(|e| Fault::Input(e.to_string()))?;
        Ok(Arc::new(lora))
    };
    loras.iter().map(open).collect()
}

/// Opens the model, whose parts are loaded when a run comes to them.
pub fn open(source: &Source, loras: &[LoraFile], machine: &MachineOptions) -> Result<Loaded<TextToImage>, Fault> {
    let patches = patches(source, loras)?;
    let open = |device: &Device| {
        let options = OpenOptions { patches: patches.clone(), device: device.clone() };
        TextToImage::open(source.stored(), options)
    };
    backend::load(machine.place, machine.tune, open, |e| source.wrong(e))
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
