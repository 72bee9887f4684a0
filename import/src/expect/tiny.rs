//! `AutoencoderTiny`, whose layers are numbered: activations and what enlarges count, but have no tensors.

use super::{Expected, List};
use crate::tiny::TinyConfig;

/// The encoder's tensors; none where there is no encoder.
pub fn tiny_encoder(config: &TinyConfig) -> Vec<Expected> {
    let mut list = List::default();
    let (c, mut at) = (config.channels, 0);
    let blocks = config.encoder_blocks.as_deref().unwrap_or_default();
    for (level, &count) in blocks.iter().enumerate() {
        // What halves has no bias.
        match level {
            0 => list.conv(&layer("encoder", at), config.in_channels, c, 3),
            _ => list.tensor(format!("{}.weight", layer("encoder", at)), &[c, c, 3, 3]),
        }
        at = residual(&mut list, "encoder", at + 1, count, c);
    }
    if !blocks.is_empty() {
        list.conv(&layer("encoder", at), c, config.latent_channels, 3);
    }
    list.0
}

/// The decoder's tensors.
pub fn tiny_decoder(config: &TinyConfig) -> Vec<Expected> {
    let mut list = List::default();
    let c = config.channels;
    list.conv(&layer("decoder", 0), config.latent_channels, c, 3);
    let mut at = 2;
    for (level, &count) in config.decoder_blocks.iter().enumerate() {
        at = residual(&mut list, "decoder", at, count, c);
        if level + 1 == config.decoder_blocks.len() {
            list.conv(&layer("decoder", at), c, config.out_channels, 3);
        } else {
            list.tensor(format!("{}.weight", layer("decoder", at + 1)), &[c, c, 3, 3]);
            at += 2;
        }
    }
    list.0
}

fn layer(part: &str, at: usize) -> String {
    format!("{part}.layers.{at}")
}

/// `count` blocks from layer `at` on; the layer after them.
fn residual(list: &mut List, part: &str, at: usize, count: usize, c: usize) -> usize {
    for i in at..at + count {
        for conv in [0, 2, 4] {
            list.conv(&format!("{}.conv.{conv}", layer(part, i)), c, c, 3);
        }
    }
    at + count
}
