//! `UNet2DConditionModel`.

use super::{Expected, List};
use crate::config::UNetConfig;

/// Its tensors.
pub fn unet(config: &UNetConfig) -> Vec<Expected> {
    let mut list = List::default();
    let (channels, layers) = (&config.channels, config.layers_per_block);
    let first = channels[0];
    let (mut c, time) = (channels[channels.len() - 1], Some(4 * first));
    start(&mut list, config);
    // What the way up takes from the way down, last in first out.
    let mut skips = down(&mut list, config);
    mid(&mut list, config);
    for (i, (&out, &depth)) in channels.iter().zip(&config.transformer_layers).rev().enumerate() {
        let block = format!("up_blocks.{i}");
        for j in 0..=layers {
            // As many as were pushed are popped: layers + 1 for each level.
            let skip = skips.pop().unwrap_or_default();
            list.resnet(&format!("{block}.resnets.{j}"), c + skip, out, time);
            c = out;
            transformer(&mut list, &format!("{block}.attentions.{j}"), c, depth, config);
        }
        if i + 1 < channels.len() {
            list.conv(&format!("{block}.upsamplers.0.conv"), c, c, 3);
        }
    }
    list.norm("conv_norm_out", first);
    list.conv("conv_out", first, config.out_channels, 3);
    list.0
}

/// What the latents and the conditions enter by.
pub(super) fn start(list: &mut List, config: &UNetConfig) {
    let first = config.channels[0];
    let time = 4 * first;
    list.conv("conv_in", config.in_channels, first, 3);
    list.linear("time_embedding.linear_1", first, time);
    if let Some(inp) = config.time_cond_proj_dim {
        list.tensor("time_embedding.cond_proj.weight".to_string(), &[first, inp]);
    }
    list.linear("time_embedding.linear_2", time, time);
    if let Some(addition) = config.addition {
        list.linear("add_embedding.linear_1", addition.input_dim, time);
        list.linear("add_embedding.linear_2", time, time);
    }
}

/// The way down; the channels of all that the way up reads of it.
pub(super) fn down(list: &mut List, config: &UNetConfig) -> Vec<usize> {
    let (channels, time) = (&config.channels, 4 * config.channels[0]);
    let mut c = channels[0];
    let mut skips = vec![c];
    for (level, &out) in channels.iter().enumerate() {
        let block = format!("down_blocks.{level}");
        for i in 0..config.layers_per_block {
            list.resnet(&format!("{block}.resnets.{i}"), c, out, Some(time));
            c = out;
            skips.push(c);
            transformer(list, &format!("{block}.attentions.{i}"), c, config.transformer_layers[level], config);
        }
        if level + 1 < channels.len() {
            list.conv(&format!("{block}.downsamplers.0.conv"), c, c, 3);
            skips.push(c);
        }
    }
    skips
}

/// The middle.
pub(super) fn mid(list: &mut List, config: &UNetConfig) {
    let (last, time) = (config.channels[config.channels.len() - 1], Some(4 * config.channels[0]));
    list.resnet("mid_block.resnets.0", last, last, time);
    transformer(list, "mid_block.attentions.0", last, config.mid_transformer_layers, config);
    list.resnet("mid_block.resnets.1", last, last, time);
}

/// A spatial transformer of `depth` blocks; none for 0.
fn transformer(list: &mut List, name: &str, c: usize, depth: usize, config: &UNetConfig) {
    if depth == 0 {
        return;
    }
    let project = |list: &mut List, name: &str| match config.linear_projection {
        true => list.linear(name, c, c),
        false => list.conv(name, c, c, 1),
    };
    list.norm(&format!("{name}.norm"), c);
    project(list, &format!("{name}.proj_in"));
    for i in 0..depth {
        let block = format!("{name}.transformer_blocks.{i}");
        for (attention, norm, context) in [("attn1", "norm1", c), ("attn2", "norm2", config.cross_attention_dim)] {
            list.norm(&format!("{block}.{norm}"), c);
            list.tensor(format!("{block}.{attention}.to_q.weight"), &[c, c]);
            list.tensor(format!("{block}.{attention}.to_k.weight"), &[c, context]);
            list.tensor(format!("{block}.{attention}.to_v.weight"), &[c, context]);
            list.linear(&format!("{block}.{attention}.to_out.0"), c, c);
        }
        list.norm(&format!("{block}.norm3"), c);
        // GEGLU: values and gates at once.
        list.linear(&format!("{block}.ff.net.0.proj"), c, 8 * c);
        list.linear(&format!("{block}.ff.net.2"), 4 * c, c);
    }
    project(list, &format!("{name}.proj_out"));
}
