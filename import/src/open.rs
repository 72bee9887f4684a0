//! From a path to a checkpoint: what is there decides who reads it.

use super::checkpoint::{Checkpoint, Options};
use super::config::Model;
use super::detect::UNET;
use super::error::ImportError;
use super::json::Json;
use super::{
    control, describe, folder, image_encoder, ip_adapter, pixels, scales, single, t2i_adapter, tiny, upscaler,
};
use std::path::Path;

impl Checkpoint {
    /// Opens a folder or a single file, finds every tensor, and looks whether its parts fit each other and can be drawn. But
    /// for one vector, which tells what a 2.x model predicts, no numbers are read. `options` say nothing of a ControlNet,
    /// a T2I-Adapter, an image encoder or a tiny autoencoder but for the variant, and nothing of an IP-Adapter or an upscaler.
    ///
    /// # Errors
    /// What is wrong, where, and what to do: see [`ImportError`].
    pub fn open(path: impl AsRef<Path>, options: &Options) -> Result<Self, ImportError> {
        let mut checkpoint = Self::find(path.as_ref(), options)?;
        checkpoint.notes.extend(describe::check(&checkpoint)?);
        Ok(checkpoint)
    }

    /// As [`Self::open`], whether or not what is found could be drawn.
    pub(super) fn find(path: &Path, options: &Options) -> Result<Self, ImportError> {
        let mut checkpoint = networks(path, options)?;
        single::vocabulary(&mut checkpoint, options)?;
        if let (Some(prediction), Model::TextToImage(config)) = (&options.prediction_type, &mut checkpoint.model) {
            config.scheduler.prediction_type = prediction.clone();
        }
        if let (Some((part, file)), None) = (options.parts.first(), checkpoint.latent_diffusion()) {
            let why = format!("{} is for Stable Diffusion checkpoints, and {} is none", part.option(), path.display());
            return Err(ImportError::Part { path: file.clone(), why });
        }
        Ok(checkpoint)
    }
}

/// The networks of a checkpoint; of one file, without a vocabulary.
pub(super) fn networks(path: &Path, options: &Options) -> Result<Checkpoint, ImportError> {
    options.check_parts()?;
    if path.is_dir() { of_folder(path, options) } else { of_file(path, options) }
}

/// A folder with a `model_index.json`, or with the `config.json` of what goes beside such a pipeline.
fn of_folder(folder: &Path, options: &Options) -> Result<Checkpoint, ImportError> {
    let (index, config) = (folder.join("model_index.json"), folder.join("config.json"));
    if index.is_file() {
        return folder::open(folder, &Json::open(&index)?, options);
    }
    let refuse = |why: String| Err(ImportError::NotAModel { path: folder.into(), why });
    if !config.is_file() {
        return refuse(
            "it has neither a model_index.json nor a config.json: name the folder of the whole pipeline, of a ControlNet, of \
             a T2I-Adapter, of an image encoder, of a tiny autoencoder or of a UNet2DModel, or a single .safetensors file"
                .into(),
        );
    }
    let json = Json::open(&config)?;
    match json.str("_class_name", "")? {
        "ControlNetModel" => control::open_folder(folder, &json, options),
        "T2IAdapter" => t2i_adapter::open_folder(folder, &json, options),
        "AutoencoderTiny" => tiny::open_folder(folder, &json, options),
        "UNet2DModel" => pixels::open_unet(folder, &json, options),
        "" if json.str("model_type", "")? == image_encoder::TYPE => image_encoder::open_folder(folder, &json, options),
        "" => refuse("its config.json names no class (_class_name), and it has no model_index.json".into()),
        class => refuse(format!(
            "it has no model_index.json, and its config.json is that of {class}: name the folder of the whole pipeline, \
             which this may be a part of"
        )),
    }
}

/// A file of tensors, which they tell.
fn of_file(path: &Path, options: &Options) -> Result<Checkpoint, ImportError> {
    let file = scales::open(path)?;
    let (shapes, is_gguf) = (file.shapes(), file.is_gguf());
    let opened = match () {
        () if shapes.keys().any(|name| name.starts_with(UNET)) => single::open(path, file, options),
        () if control::is(&shapes) => control::open_single(path, file, &shapes),
        () if t2i_adapter::is(&shapes) => t2i_adapter::open_single(path, file, &shapes),
        () if ip_adapter::is(&shapes) => ip_adapter::open_single(path, file, &shapes),
        () if image_encoder::is(&shapes) => image_encoder::open_single(path, file, &shapes),
        () if tiny::is(&shapes) => tiny::open_single(path, file, &shapes),
        () if upscaler::is(&shapes) => upscaler::open_single(path, file, &shapes),
        () if pixels::is(&shapes) => {
            let why = "it is a U-Net that reads no text, of which its tensors do not tell all: name its folder, with config.json";
            Err(ImportError::NotAModel { path: path.into(), why: why.into() })
        }
        () => single::open(path, file, options),
    };
    opened.map_err(|e| match e {
        ImportError::NotAModel { path, why } if is_gguf => {
            ImportError::NotAModel { path, why: format!("it is a GGUF file of another program, and {why}") }
        }
        e => e,
    })
}
