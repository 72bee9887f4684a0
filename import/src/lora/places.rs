//! Where a module of a LoRA may go: the layers of a model by all names that LoRAs have for them.

use super::key;
use crate::names;
use nijimi_runtime::gguf::File;
use std::collections::{BTreeMap, BTreeSet};

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
    let blocks = Blocks::of(file);
    let mut places = BTreeMap::new();
    for tensor in file.tensors() {
        let Some((part, name)) = tensor.name.split_once('.') else { continue };
        let Some(layer) = name.strip_suffix(".weight") else { continue };
        let alias = match part {
            "unet" => names::unet(name, blocks.layers, |i| blocks.attending.contains(&i)),
            // As transformers 5 calls it.
            "text_encoder" | "text_encoder_2" => name.strip_prefix("text_model.").unwrap_or(name).to_string(),
            "vae" => names::vae(name, blocks.vae_levels),
            _ => continue,
        };
        let alias = alias.strip_suffix(".weight").unwrap_or(&alias);
        let place = Place { tensor: tensor.name.to_string(), shape: tensor.shape() };
        if matches!(place.shape.len(), 2 | 4) {
            places.entry(key::of(part, alias)).or_insert_with(|| place.clone());
            places.insert(key::of(part, layer), place);
        }
    }
    places
}

/// What the original names of a U-Net's blocks depend on.
struct Blocks {
    /// Residual blocks of a level on the way down.
    layers: usize,
    /// Levels on the way up with attention.
    attending: BTreeSet<usize>,
    /// Levels of the autoencoder.
    vae_levels: usize,
}

impl Blocks {
    fn of(file: &File<'_>) -> Self {
        let mut blocks = Self { layers: 0, attending: BTreeSet::new(), vae_levels: 0 };
        let most = usize::from(u8::MAX);
        for tensor in file.tensors() {
            if let Some(first) = tensor.name.strip_prefix("unet.down_blocks.0.resnets.") {
                blocks.layers = most.min(blocks.layers + usize::from(first.ends_with(".conv1.weight")));
            } else if let Some((level, rest)) =
                tensor.name.strip_prefix("unet.up_blocks.").and_then(|name| name.split_once('.'))
                && rest.starts_with("attentions.")
            {
                blocks.attending.extend(level.parse::<usize>());
            } else if let Some(first) = tensor.name.strip_prefix("vae.decoder.up_blocks.") {
                let resnet = first.ends_with(".resnets.0.conv1.weight");
                blocks.vae_levels = most.min(blocks.vae_levels + usize::from(resnet));
            }
        }
        blocks
    }
}
