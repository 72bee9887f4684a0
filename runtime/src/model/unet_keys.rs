//! The sizes of a U-Net of Stable Diffusion, and of a ControlNet, which has the same, as a file's metadata.

use super::info::wrong;
use crate::Error;
use crate::gguf::{File, GgufError, WriteError, Writer};
use crate::nn::{SdAdded, SdLevel, SdUnet, TimeCode};
use alloc::format;
use alloc::vec::Vec;

/// The keys, which differ in their first words alone (`docs/format.md`).
pub(super) struct Keys {
    pub in_channels: &'static str,
    /// A ControlNet has none.
    pub out_channels: Option<&'static str>,
    pub channels: &'static str,
    pub layers_per_block: &'static str,
    pub heads: &'static str,
    pub transformer_layers: &'static str,
    pub mid_transformer_layers: &'static str,
    pub cross_attention_dim: &'static str,
    pub linear_projection: &'static str,
    pub norm_groups: &'static str,
    pub norm_eps: &'static str,
    pub flip_sin_to_cos: &'static str,
    pub freq_shift: &'static str,
    pub addition_time_embed_dim: &'static str,
    pub addition_input_dim: &'static str,
    pub time_cond_proj_dim: &'static str,
}

macro_rules! keys {
    ($first:literal, $out_channels:expr) => {
        Keys {
            in_channels: concat!($first, ".in_channels"),
            out_channels: $out_channels,
            channels: concat!($first, ".channels"),
            layers_per_block: concat!($first, ".layers_per_block"),
            heads: concat!($first, ".heads"),
            transformer_layers: concat!($first, ".transformer_layers"),
            mid_transformer_layers: concat!($first, ".mid_transformer_layers"),
            cross_attention_dim: concat!($first, ".cross_attention_dim"),
            linear_projection: concat!($first, ".linear_projection"),
            norm_groups: concat!($first, ".norm_groups"),
            norm_eps: concat!($first, ".norm_eps"),
            flip_sin_to_cos: concat!($first, ".flip_sin_to_cos"),
            freq_shift: concat!($first, ".freq_shift"),
            addition_time_embed_dim: concat!($first, ".addition_time_embed_dim"),
            addition_input_dim: concat!($first, ".addition_input_dim"),
            time_cond_proj_dim: concat!($first, ".time_cond_proj_dim"),
        }
    };
}

/// Of a U-Net.
pub(super) const UNET: Keys = keys!("nijimi.unet", Some("nijimi.unet.out_channels"));
/// Of a ControlNet.
pub(super) const CONTROL: Keys = keys!("nijimi.control", None);

/// A size.
pub(super) fn size(file: &File<'_>, key: &str) -> Result<usize, GgufError> {
    file.u32(key).map(|n| n as usize)
}

/// A list of sizes.
pub(super) fn sizes(file: &File<'_>, key: &str) -> Result<Vec<usize>, GgufError> {
    Ok(file.u32s(key)?.into_iter().map(|n| n as usize).collect())
}

/// A size that may be absent.
pub(super) fn maybe(file: &File<'_>, key: &str) -> Result<Option<usize>, GgufError> {
    if file.get(key).is_some() { size(file, key).map(Some) } else { Ok(None) }
}

/// A size as it is written; sizes are far below 2^32 in any network that can be.
pub(super) fn n(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// A list of sizes as it is written.
pub(super) fn ns(sizes: impl IntoIterator<Item = usize>) -> Vec<u32> {
    sizes.into_iter().map(n).collect()
}

/// The network.
pub(super) fn unet(file: &File<'_>, keys: &Keys) -> Result<SdUnet, Error> {
    let channels = sizes(file, keys.channels)?;
    let (heads, layers) = (sizes(file, keys.heads)?, sizes(file, keys.transformer_layers)?);
    for (key, list) in [(keys.heads, &heads), (keys.transformer_layers, &layers)] {
        if list.len() != channels.len() {
            let expected = format!("{}, one a level of {}", channels.len(), keys.channels);
            return Err(wrong(key, format!("{} numbers", list.len()), expected));
        }
    }
    let mid = size(file, keys.mid_transformer_layers)?;
    let last = channels.len().saturating_sub(1);
    let level = |i: usize| {
        // The middle has the last level's transformers; where that level attends itself, as many.
        let own = if i == last { mid } else { layers[i] };
        SdLevel { channels: channels[i], heads: heads[i], layers: own, attends: layers[i] > 0 }
    };
    if layers.last().is_some_and(|&own| own > 0 && own != mid) {
        let expected = format!("{mid}, as in the middle");
        return Err(wrong(keys.transformer_layers, format!("{layers:?} at the last level"), expected));
    }
    let added = match (maybe(file, keys.addition_time_embed_dim)?, maybe(file, keys.addition_input_dim)?) {
        (Some(code), _) => Some(SdAdded { code, width: size(file, keys.addition_input_dim)? }),
        (None, Some(width)) => Some(SdAdded { code: 0, width }),
        (None, None) => None,
    };
    let in_channels = size(file, keys.in_channels)?;
    let network = SdUnet {
        in_channels,
        out_channels: keys.out_channels.map_or(Ok(None), |key| maybe(file, key))?.unwrap_or(in_channels),
        levels: (0..channels.len()).map(level).collect(),
        layers_per_block: size(file, keys.layers_per_block)?,
        text_width: size(file, keys.cross_attention_dim)?,
        norm_groups: size(file, keys.norm_groups)?,
        norm_eps: file.f32(keys.norm_eps)?,
        linear_projection: file.bool(keys.linear_projection)?,
        time_code: TimeCode {
            cosine_first: file.bool(keys.flip_sin_to_cos)?,
            shift: f64::from(file.f32(keys.freq_shift)?),
        },
        added,
        guidance_code: maybe(file, keys.time_cond_proj_dim)?.unwrap_or(0),
    };
    network.validate()?;
    Ok(network)
}

/// Writes what [`unet`] reads.
pub(super) fn write(w: &mut Writer, keys: &Keys, unet: &SdUnet) -> Result<(), WriteError> {
    w.meta(keys.in_channels, n(unet.in_channels))?;
    if let Some(key) = keys.out_channels {
        w.meta(key, n(unet.out_channels))?;
    }
    w.meta(keys.channels, ns(unet.levels.iter().map(|level| level.channels)))?;
    w.meta(keys.layers_per_block, n(unet.layers_per_block))?;
    w.meta(keys.heads, ns(unet.levels.iter().map(|level| level.heads)))?;
    // A level without has 0; the middle has as many as the last level, or would have.
    let own = unet.levels.iter().map(|level| if level.attends { level.layers } else { 0 });
    w.meta(keys.transformer_layers, ns(own))?;
    w.meta(keys.mid_transformer_layers, n(unet.levels.last().map_or(0, |level| level.layers)))?;
    w.meta(keys.cross_attention_dim, n(unet.text_width))?;
    w.meta(keys.linear_projection, unet.linear_projection)?;
    w.meta(keys.norm_groups, n(unet.norm_groups))?;
    w.meta(keys.norm_eps, unet.norm_eps)?;
    w.meta(keys.flip_sin_to_cos, unet.time_code.cosine_first)?;
    w.meta(keys.freq_shift, unet.time_code.shift as f32)?;
    if let Some(added) = unet.added {
        if added.code > 0 {
            w.meta(keys.addition_time_embed_dim, n(added.code))?;
        }
        w.meta(keys.addition_input_dim, n(added.width))?;
    }
    if unet.guidance_code > 0 {
        w.meta(keys.time_cond_proj_dim, n(unet.guidance_code))?;
    }
    Ok(())
}
