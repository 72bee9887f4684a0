//! Where a module of a LoRA may go: the layers of a model by all names that LoRAs have for them.

use super::key;
use crate::names;
use nijimi_runtime::gguf::File;
use std::collections::BTreeMap;

/// A layer's weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The tensor's name in the file.
    pub tensor: String,
    /// Its shape, in our layout: `[out][in]` or `[out][kh][kw][in]`.
    pub shape: Vec<usize>,
}

/// The layers of the parts that LoRAs are for, by key.
pub(super) fn of(file: &File<'_>) -> BTreeMap<String, Place> {
    let (per_level, vae_levels) = (1 + layers(file), count(file, "vae.decoder.up_blocks.", ".resnets.0.conv1.weight"));
    let mut places = BTreeMap::new();
    for tensor in file.tensors() {
        let Some((part, name)) = tensor.name.split_once('.') else { continue };
        let Some(layer) = name.strip_suffix(".weight") else { continue };
        let aliases = match part {
            "unet" => names::unet(name, per_level),
            // As transformers 5 calls it.
            "text_encoder" | "text_encoder_2" => vec![name.strip_prefix("text_model.").unwrap_or(name).to_string()],
            "vae" => vec![names::vae(name, vae_levels)],
            _ => continue,
        };
        let place = Place { tensor: tensor.name.to_string(), shape: tensor.shape() };
        if matches!(place.shape.len(), 2 | 4) {
            for alias in &aliases {
                let alias = alias.strip_suffix(".weight").unwrap_or(alias);
                places.entry(key::of(part, alias)).or_insert_with(|| place.clone());
            }
            places.insert(key::of(part, layer), place);
        }
    }
    places
}

/// Residual blocks of a level of the U-Net on the way down.
fn layers(file: &File<'_>) -> usize {
    count(file, "unet.down_blocks.0.resnets.", ".conv1.weight")
}

/// Tensors between the two, as many as a level or a network may have.
fn count(file: &File<'_>, start: &str, end: &str) -> usize {
    let rest = file.tensors().filter_map(|tensor| tensor.name.strip_prefix(start));
    rest.filter(|name| name.ends_with(end)).count().min(usize::from(u8::MAX))
}
