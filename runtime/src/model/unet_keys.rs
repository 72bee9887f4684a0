//! The sizes of a U-Net of Stable Diffusion, and of a ControlNet, which has the same, as a file's metadata.

use super::info::wrong;
use crate::Error;
use crate::gguf::{File, GgufError, WriteError, Writer};
use crate::model::ModelError;
use crate::nn::{SdAdded, SdLevel, SdMiddle, SdUnet, TimeCode, range};
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
    pub mid_block: &'static str,
    pub mid_transformer_layers: &'static str,
    pub cross_attention_dim: &'static str,
    pub linear_projection: &'static str,
    pub downsample_padding: &'static str,
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
            mid_block: concat!($first, ".mid_block"),
            mid_transformer_layers: concat!($first, ".mid_transformer_layers"),
            cross_attention_dim: concat!($first, ".cross_attention_dim"),
            linear_projection: concat!($first, ".linear_projection"),
            downsample_padding: concat!($first, ".downsample_padding"),
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

/// What [`SdMiddle`] is called where it is not two residual blocks with a transformer between them.
const MIDDLES: [(&str, SdMiddle); 2] = [("none", SdMiddle::None), ("resnet", SdMiddle::Resnet)];

/// The levels. The depths of their transformers are one a level; or, where those of a level differ, one a residual block, on
/// the way down, then on the way up from the last level to the first, as they are evaluated.
fn levels(file: &File<'_>, keys: &Keys) -> Result<Vec<SdLevel>, Error> {
    let channels = sizes(file, keys.channels)?;
    let (heads, depths) = (sizes(file, keys.heads)?, sizes(file, keys.transformer_layers)?);
    let (levels, layers) = (channels.len(), size(file, keys.layers_per_block)?);
    // Far below what would be made of it.
    range("layers_per_block", layers, 1, 16)?;
    let blocks = levels * (2 * layers + 1);
    let one_each = format!("{levels}, one a level of {}", keys.channels);
    if heads.len() != levels {
        return Err(wrong(keys.heads, format!("{} numbers", heads.len()), one_each));
    }
    if depths.len() != levels && depths.len() != blocks {
        let expected = format!("{one_each}, or {blocks}, one a residual block");
        return Err(wrong(keys.transformer_layers, format!("{} numbers", depths.len()), expected));
    }
    let (down, up) = depths.split_at(depths.len().min(levels * layers));
    let level = |i: usize| match depths.len() == levels {
        true => SdLevel::new(channels[i], heads[i], layers, depths[i]),
        false => SdLevel {
            channels: channels[i],
            heads: heads[i],
            down: down[i * layers..][..layers].to_vec(),
            up: up[(levels - 1 - i) * (layers + 1)..][..layers + 1].to_vec(),
        },
    };
    Ok((0..levels).map(level).collect())
}

fn middle(file: &File<'_>, keys: &Keys) -> Result<SdMiddle, Error> {
    if file.get(keys.mid_block).is_none() {
        return Ok(SdMiddle::Transformer(size(file, keys.mid_transformer_layers)?));
    }
    let name = file.str(keys.mid_block)?;
    let found = MIDDLES.into_iter().find(|(known, _)| *known == name).map(|(_, middle)| middle);
    let expected = "none or resnet";
    Ok(found.ok_or_else(|| ModelError::Unsupported { key: keys.mid_block, found: format!("{name:?}"), expected })?)
}

fn pads_below(file: &File<'_>, keys: &Keys) -> Result<bool, Error> {
    match maybe(file, keys.downsample_padding)? {
        None | Some(1) => Ok(false),
        Some(0) => Ok(true),
        Some(other) => Err(wrong(keys.downsample_padding, other, "0 or 1")),
    }
}

/// The network.
pub(super) fn unet(file: &File<'_>, keys: &Keys) -> Result<SdUnet, Error> {
    let added = match (maybe(file, keys.addition_time_embed_dim)?, maybe(file, keys.addition_input_dim)?) {
        (Some(code), _) => Some(SdAdded { code, width: size(file, keys.addition_input_dim)? }),
        (None, Some(width)) => Some(SdAdded { code: 0, width }),
        (None, None) => None,
    };
    let in_channels = size(file, keys.in_channels)?;
    let network = SdUnet {
        in_channels,
        out_channels: keys.out_channels.map_or(Ok(None), |key| maybe(file, key))?.unwrap_or(in_channels),
        levels: levels(file, keys)?,
        middle: middle(file, keys)?,
        text_width: size(file, keys.cross_attention_dim)?,
        norm_groups: size(file, keys.norm_groups)?,
        norm_eps: file.f32(keys.norm_eps)?,
        linear_projection: file.bool(keys.linear_projection)?,
        pads_below: pads_below(file, keys)?,
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
    w.meta(keys.layers_per_block, n(unet.layers_per_block()))?;
    w.meta(keys.heads, ns(unet.levels.iter().map(|level| level.heads)))?;
    let depths: Option<Vec<usize>> = unet.levels.iter().map(SdLevel::depth).collect();
    let each = || {
        let up = unet.levels.iter().rev().flat_map(|level| level.up.iter().copied());
        unet.levels.iter().flat_map(|level| level.down.iter().copied()).chain(up).collect()
    };
    w.meta(keys.transformer_layers, ns(depths.unwrap_or_else(each)))?;
    match unet.middle {
        SdMiddle::Transformer(depth) => w.meta(keys.mid_transformer_layers, n(depth))?,
        middle => {
            let name = MIDDLES.into_iter().find(|(_, known)| *known == middle).map_or("", |(name, _)| name);
            w.meta(keys.mid_block, name)?;
        }
    }
    w.meta(keys.cross_attention_dim, n(unet.text_width))?;
    w.meta(keys.linear_projection, unet.linear_projection)?;
    if unet.pads_below {
        w.meta(keys.downsample_padding, 0u32)?;
    }
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
