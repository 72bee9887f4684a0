//! `AutoencoderKL`.

use super::{Expected, List};
use crate::config::VaeConfig;

/// Its tensors.
pub fn vae(config: &VaeConfig) -> Vec<Expected> {
    let mut list = List::default();
    let (channels, layers, latent) = (&config.channels, config.layers_per_block, config.latent_channels);
    let (first, last) = (channels[0], channels[channels.len() - 1]);
    list.conv("encoder.conv_in", config.in_channels, first, 3);
    let mut c = first;
    for (level, &out) in channels.iter().enumerate() {
        let block = format!("encoder.down_blocks.{level}");
        for i in 0..layers {
            list.resnet(&format!("{block}.resnets.{i}"), c, out, None);
            c = out;
        }
        if level + 1 < channels.len() {
            list.conv(&format!("{block}.downsamplers.0.conv"), c, c, 3);
        }
    }
    mid(&mut list, "encoder.mid_block", last, config.mid_attention);
    list.norm("encoder.conv_norm_out", last);
    // A mean and a logarithm of a variance for each.
    list.conv("encoder.conv_out", last, 2 * latent, 3);
    if config.quant_conv {
        list.conv("quant_conv", 2 * latent, 2 * latent, 1);
    }

    if config.post_quant_conv {
        list.conv("post_quant_conv", latent, latent, 1);
    }
    list.conv("decoder.conv_in", latent, last, 3);
    mid(&mut list, "decoder.mid_block", last, config.mid_attention);
    let mut c = last;
    for (i, &out) in channels.iter().rev().enumerate() {
        let block = format!("decoder.up_blocks.{i}");
        for j in 0..=layers {
            list.resnet(&format!("{block}.resnets.{j}"), c, out, None);
            c = out;
        }
        if i + 1 < channels.len() {
            list.conv(&format!("{block}.upsamplers.0.conv"), c, c, 3);
        }
    }
    list.norm("decoder.conv_norm_out", first);
    list.conv("decoder.conv_out", first, config.out_channels, 3);
    list.0
}

fn mid(list: &mut List, name: &str, c: usize, attention: bool) {
    list.resnet(&format!("{name}.resnets.0"), c, c, None);
    if attention {
        list.norm(&format!("{name}.attentions.0.group_norm"), c);
        for layer in ["to_q", "to_k", "to_v", "to_out.0"] {
            list.linear(&format!("{name}.attentions.0.{layer}"), c, c);
        }
    }
    list.resnet(&format!("{name}.resnets.1"), c, c, None);
}
