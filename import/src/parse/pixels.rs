//! The configuration of a U-Net without a text.

use super::{Json, MAX_LAYERS, block_types, groups};
use crate::error::ImportError;
use nijimi_runtime::raw::nn::{SdLevel, SdMiddle, SdUnet, TimeCode};
use serde_json::{Value, json};

/// What is read, or must be as it is here; and what changes no picture: the last two are of the training, and of a table of
/// timesteps, which is refused.
const KNOWN: [&str; 25] = [
    "sample_size",
    "in_channels",
    "out_channels",
    "time_embedding_type",
    "time_embedding_dim",
    "freq_shift",
    "flip_sin_to_cos",
    "down_block_types",
    "mid_block_type",
    "up_block_types",
    "block_out_channels",
    "layers_per_block",
    "mid_block_scale_factor",
    "downsample_padding",
    "downsample_type",
    "upsample_type",
    "act_fn",
    "attention_head_dim",
    "norm_num_groups",
    "attn_norm_num_groups",
    "norm_eps",
    "resnet_time_scale_shift",
    "add_attention",
    "dropout",
    "num_train_timesteps",
];

/// `config.json` of a `UNet2DModel`: the network, and the height and width of its pictures.
pub(crate) fn unet_of_pixels(json: &Json) -> Result<(SdUnet, [usize; 2]), ImportError> {
    json.only("_class_name", json!("UNet2DModel"))?;
    for key in ["center_input_sample", "class_embed_type", "num_class_embeds"] {
        json.absent(key)?;
    }
    json.nothing_else(&KNOWN)?;
    for (key, only) in [
        ("act_fn", "silu"),
        ("time_embedding_type", "positional"),
        ("resnet_time_scale_shift", "default"),
        ("downsample_type", "conv"),
        ("upsample_type", "conv"),
    ] {
        json.only(key, json!(only))?;
    }
    if json.number("mid_block_scale_factor", 1.0)? != 1.0 {
        return Err(json.wrong("mid_block_scale_factor", "1"));
    }
    let channels = json.sizes("block_out_channels")?;
    let norm_groups = groups(json, &channels)?;
    for (key, only) in [("time_embedding_dim", 4 * channels[0]), ("attn_norm_num_groups", norm_groups)] {
        json.only(key, json!(only))?;
    }
    let pads_below = match json.number("downsample_padding", 1.0)? {
        0.0 => true,
        1.0 => false,
        _ => return Err(json.wrong("downsample_padding", "0 or 1")),
    };
    let in_channels = json.size("in_channels", Some(3))?;
    if json.size("out_channels", Some(3))? != in_channels {
        return Err(json.wrong("out_channels", format!("{in_channels}, as in_channels: no variance is learned here")));
    }
    let middle = middle(json)?;
    let unet = SdUnet {
        in_channels,
        out_channels: in_channels,
        levels: levels(json, &channels, middle)?,
        middle,
        text_width: 0,
        norm_groups,
        norm_eps: json.number("norm_eps", 1e-5)? as f32,
        linear_projection: false,
        pads_below,
        time_code: TimeCode {
            cosine_first: json.bool("flip_sin_to_cos", true)?,
            shift: json.number("freq_shift", 0.0)?,
        },
        added: None,
        guidance_code: 0,
    };
    Ok((unet, size(json)?))
}

/// One number for both sides, or height and width.
fn size(json: &Json) -> Result<[usize; 2], ImportError> {
    match json.get("sample_size") {
        Some(Value::Array(_)) => match json.sizes("sample_size")?[..] {
            [height, width] => Ok([height, width]),
            _ => Err(json.wrong("sample_size", "a side, or height and width")),
        },
        _ => Ok([json.size("sample_size", None)?; 2]),
    }
}

fn middle(json: &Json) -> Result<SdMiddle, ImportError> {
    match json.map.get("mid_block_type") {
        Some(Value::Null) => return Ok(SdMiddle::None),
        _ => json.only("mid_block_type", json!("UNetMidBlock2D"))?,
    }
    Ok(SdMiddle::Transformer(usize::from(json.bool("add_attention", true)?)))
}

fn levels(json: &Json, channels: &[usize], middle: SdMiddle) -> Result<Vec<SdLevel>, ImportError> {
    let n = channels.len();
    let down = block_types(json, "down_block_types", n, "AttnDownBlock2D", "DownBlock2D")?;
    let up = block_types(json, "up_block_types", n, "AttnUpBlock2D", "UpBlock2D")?;
    let layers = json.size("layers_per_block", Some(2))?;
    if layers > MAX_LAYERS {
        return Err(json.wrong("layers_per_block", format!("at most {MAX_LAYERS}")));
    }
    // Channels of a head, here as the key says; null is one head.
    let key = "attention_head_dim";
    let of_head = match json.map.get(key) {
        Some(Value::Null) => None,
        _ => Some(json.size(key, Some(8))?),
    };
    let level = |(i, &c): (usize, &usize)| {
        let (down, up) = (down[i], up[n - 1 - i]);
        let attends = down || up || i + 1 == n && middle == SdMiddle::Transformer(1);
        let heads = match of_head {
            Some(of_head) if c.is_multiple_of(of_head) => c / of_head,
            Some(_) if attends => return Err(json.wrong(key, format!("a divisor of the channels {channels:?}"))),
            _ => 1,
        };
        let (down, up) = (vec![usize::from(down); layers], vec![usize::from(up); layers + 1]);
        Ok(SdLevel { channels: c, heads, down, up })
    };
    channels.iter().enumerate().map(level).collect()
}
