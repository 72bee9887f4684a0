//! The model and what goes with it: LoRAs, a ControlNet, a tiny autoencoder; and in which way their run fits into memory.

use super::{GUIDANCE, Parts};
use crate::backend;
use crate::cli::{Cli, LoraFile};
use crate::fault::Fault;
use crate::source::{Conversion, Role, Source};
use crate::{image_in, memory};
use nijimi_runtime::Error;
use nijimi_runtime::gpu::{Gpu, Storage};
use nijimi_runtime::import::Lora;
use nijimi_runtime::model::{
    Choice, Control, LatentDiffusion, LatentInfo, LatentPlan, OpenOptions, Patch, PlanRequest, TinyAutoencoder,
};
use nijimi_runtime::quant::DType;
use nijimi_runtime::sampler::Calls;
use std::path::Path;
use std::sync::Arc;

/// Files beside the model's.
pub struct Beside {
    control: Option<Source>,
    tiny: Option<Source>,
}

impl Beside {
    /// Opens those that the command line names.
    pub fn open(cli: &Cli) -> Result<Self, Fault> {
        let how = Conversion { dtype: cli.kind.unwrap_or(DType::F16), tokenizer: None };
        let open = |path: &Option<_>, role| {
            let path: Option<&Path> = path.as_deref();
            path.map(|path| Source::open_or_convert(Some(path), role, how)).transpose()
        };
        let control = open(&cli.control_net, Role::ControlNet)?;
        Ok(Self { control, tiny: open(&cli.taesd, Role::TinyAutoencoder)? })
    }
}

/// Width and height of the pictures: what is asked for, or that of the picture to begin with, or the model's.
pub fn size(source: &Source, cli: &Cli) -> Result<(usize, usize), Fault> {
    let info = LatentInfo::read(&source.file()?).map_err(|e| source.wrong(e))?;
    let factor = info.autoencoder.factor();
    let side = info.sample_size * factor;
    let [height, width] = match &cli.init_img {
        Some(path) if cli.width.is_none() || cli.height.is_none() => {
            image_in::size(path, factor << (info.unet.levels.len() - 1).min(16))?
        }
        _ => [side; 2],
    };
    Ok((cli.width.unwrap_or(width), cli.height.unwrap_or(height)))
}

/// Opens the model, whose parts are loaded when a run comes to them, and loads what goes with it.
pub fn load(source: &Source, beside: &Beside, cli: &Cli) -> Result<Parts, Fault> {
    let file = source.file()?;
    let lora = |lora: &LoraFile| -> Result<Arc<dyn Patch>, Fault> {
        let lora = Lora::open(&lora.path, lora.strength, &file).map_err(|e| Fault::Input(e.to_string()))?;
        Ok(Arc::new(lora))
    };
    let patches = cli.lora.iter().map(lora).collect::<Result<Vec<_>, _>>()?;
    let open = |gpu: Option<&Gpu>| {
        let options = OpenOptions { patches: patches.clone(), gpu: gpu.cloned() };
        LatentDiffusion::open(source.stored(), options)
    };
    let on = backend::load(cli.place(), cli.tune, open, |e| source.wrong(e))?;
    let control = |source: &Source| -> Result<Control, Fault> {
        let file = source.file()?;
        let loaded = on.gpu.as_ref().map_or_else(|| Control::load(&file), |gpu| Control::load_on(gpu, &file));
        let loaded = loaded.map_err(|e| source.wrong(e))?;
        loaded.check(on.model.info()).map_err(|e| source.wrong(e))?;
        Ok(loaded)
    };
    let tiny = |source: &Source| -> Result<TinyAutoencoder, Fault> {
        let file = source.file()?;
        let gpu = on.gpu.as_ref();
        let loaded = gpu.map_or_else(|| TinyAutoencoder::load(&file), |gpu| TinyAutoencoder::load_on(gpu, &file));
        loaded.map_err(|e| source.wrong(e))
    };
    let control = beside.control.as_ref().map(control).transpose()?;
    let tiny = beside.tiny.as_ref().map(tiny).transpose()?;
    Ok(Parts { on, control, tiny })
}

/// In which way the run fits into the memory that there is, or may be used.
pub fn choose(
    source: &Source,
    beside: &Beside,
    cli: &Cli,
    (width, height): (usize, usize),
    calls: &Calls,
    gpu: Option<&Gpu>,
) -> Result<Choice, Fault> {
    let file = source.file()?;
    let info = LatentInfo::read(&file).map_err(|e| source.wrong(e))?;
    let control = beside.control.as_ref().map(Source::file).transpose()?;
    let tiny = beside.tiny.as_ref().map(Source::file).transpose()?;
    let request = PlanRequest {
        runs: cli.batch,
        guided: cli.cfg_scale.unwrap_or(GUIDANCE) > 1.0 && info.unet.guidance_code == 0,
        calls: calls.calls().len(),
        encodes: cli.init_img.is_some(),
        control: control.as_ref(),
        tiny: tiny.as_ref(),
        tile: cli.vae_tiling.then_some(info.sample_size),
        patched: !cli.lora.is_empty(),
        stays: cli.stay_resident,
        threads: cli.threads,
        gpu: gpu.map(|gpu| (gpu, Storage::default())),
        ..PlanRequest::new([height, width])
    };
    let plan = LatentPlan::new(&file, &request).map_err(|e| match e {
        Error::Network(_) | Error::Request(_) => Fault::Usage(format!("{e} (-W, -H)")),
        e => source.wrong(e),
    })?;
    // What is free is the machine's memory, of which a GPU takes little; of its own, it says when it is too much.
    let limit = cli.memory_limit.map(|bytes| bytes.0);
    let Some(allowed) = limit.or_else(|| memory::free().filter(|_| gpu.is_none())) else {
        return Ok(plan.choices().next().unwrap_or_default());
    };
    plan.fits(allowed).map_err(|e| Fault::Input(e.to_string()))
}

/// A file's name, without its folders.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
