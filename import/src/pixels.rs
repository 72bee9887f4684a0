//! Unconditional models of pixels: diffusers' `UNet2DModel`, as a pipeline of DDPM, DDIM or PNDM, or by itself.

use super::checkpoint::{Checkpoint, Format, Found, Options};
use super::config::{Model, SchedulerConfig};
use super::detect::Shapes;
use super::error::{ImportError, refused};
use super::folder::only_known;
use super::json::Json;
use super::{expect, files, names, parse};
use nijimi_runtime::Error;
use nijimi_runtime::model::Info;
use std::path::{Path, PathBuf};

const PART: &str = "unet";
const SCHEDULER: &str = "scheduler_config.json";

/// Pipelines of such a network, and the scheduler that each makes of the model's, whichever that is.
const PIPELINES: [(&str, Option<&str>); 3] =
    [("DDPMPipeline", None), ("DDIMPipeline", Some("DDIMScheduler")), ("PNDMPipeline", Some("PNDMScheduler"))];

/// Whether a `model_index.json` with this class is of one.
pub(super) fn is_pipeline(class: &str) -> bool {
    PIPELINES.iter().any(|(known, _)| *known == class)
}

/// Reads a pipeline's folder.
pub(super) fn open_pipeline(folder: &Path, index: &Json, options: &Options) -> Result<Checkpoint, ImportError> {
    only_known(index)?;
    let class = index.str("_class_name", "")?;
    let own = PIPELINES.iter().find(|(known, _)| *known == class).and_then(|(_, scheduler)| *scheduler);
    // The first pipelines have all in one folder: diffusers looks there for a part without a folder.
    let at = |part: &str| Some(folder.join(part)).filter(|path| path.is_dir()).unwrap_or_else(|| folder.into());
    let (unet, scheduler) = (at(PART), at("scheduler").join(SCHEDULER));
    for path in [unet.join("config.json"), scheduler.clone()] {
        if !path.is_file() {
            let remedy = "model_index.json names this part: download the whole folder";
            return Err(ImportError::MissingFile { path, remedy });
        }
    }
    let scheduler = parse::scheduler(&Json::open(&scheduler)?)?;
    let scheduler = match own {
        Some(class) => SchedulerConfig { class: class.into(), ..scheduler },
        None => scheduler,
    };
    read(folder, &unet, &Json::open(&unet.join("config.json"))?, scheduler, options)
}

/// Reads a network's folder, in which there may be a scheduler.
pub(super) fn open_unet(folder: &Path, json: &Json, options: &Options) -> Result<Checkpoint, ImportError> {
    let beside: Option<PathBuf> = Some(folder.join(SCHEDULER)).filter(|path| path.is_file());
    let scheduler = match &beside {
        Some(path) => parse::scheduler(&Json::open(path)?)?,
        None => SchedulerConfig::ddpm(),
    };
    let mut checkpoint = read(folder, folder, json, scheduler, options)?;
    if beside.is_none() {
        checkpoint.notes.push(format!("it has no {SCHEDULER}: it is taken for DDPM's, of 1000 linear levels"));
    }
    Ok(checkpoint)
}

fn read(
    path: &Path,
    folder: &Path,
    json: &Json,
    scheduler: SchedulerConfig,
    options: &Options,
) -> Result<Checkpoint, ImportError> {
    let (unet, size) = parse::unet_of_pixels(json)?;
    let files = files::open(folder, options.variant.as_deref())?;
    let (all, mut found) = (0..files.len(), Found::new(files));
    found.take(folder, PART, expect::unet(&unet).map_err(refused(path))?, all.clone(), names::plain_attention)?;
    found.left_over(all, |_| false)?;
    let info = Info::published(unet, size, scheduler.info()).map_err(refused::<Error>(path))?;
    Ok(found.checkpoint(path, Format::Diffusers, Model::Diffusion(Box::new(info))))
}

/// Whether a single file is such a network, whose tensors do not tell all of it.
pub(super) fn is(shapes: &Shapes) -> bool {
    ["conv_in.weight", "conv_norm_out.weight", "time_embedding.linear_1.weight", "conv_out.weight"]
        .iter()
        .all(|name| shapes.contains_key(*name))
        && !shapes.keys().any(|name| name.contains(".transformer_blocks."))
}
