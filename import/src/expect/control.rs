//! `ControlNetModel`.

use super::{Expected, List, unet};
use crate::control::ControlConfig;

/// Its tensors.
pub fn control(config: &ControlConfig) -> Vec<Expected> {
    let mut list = List::default();
    let (network, embedding) = (&config.unet, &config.embedding);
    let picture = "controlnet_cond_embedding";
    unet::start(&mut list, network);
    list.conv(&format!("{picture}.conv_in"), config.picture_channels, embedding[0], 3);
    for (i, pair) in embedding.windows(2).enumerate() {
        list.conv(&format!("{picture}.blocks.{}", 2 * i), pair[0], pair[0], 3);
        list.conv(&format!("{picture}.blocks.{}", 2 * i + 1), pair[0], pair[1], 3);
    }
    list.conv(&format!("{picture}.conv_out"), embedding[embedding.len() - 1], network.channels[0], 3);
    let skips = unet::down(&mut list, network);
    for (i, c) in skips.into_iter().enumerate() {
        list.conv(&format!("controlnet_down_blocks.{i}"), c, c, 1);
    }
    unet::mid(&mut list, network);
    let last = network.channels[network.channels.len() - 1];
    list.conv("controlnet_mid_block", last, last, 1);
    list.0
}
