//! `CLIPTextModel`.

use super::{Expected, List};
use crate::config::TextConfig;

/// Its tensors, with the prefix `text_model.`.
pub fn clip(config: &TextConfig) -> Vec<Expected> {
    let mut list = List::default();
    let width = config.width;
    list.tensor("text_model.embeddings.token_embedding.weight".to_string(), &[config.vocab_size, width]);
    list.tensor("text_model.embeddings.position_embedding.weight".to_string(), &[config.positions, width]);
    for i in 0..config.layers {
        let layer = format!("text_model.encoder.layers.{i}");
        list.norm(&format!("{layer}.layer_norm1"), width);
        for name in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            list.linear(&format!("{layer}.self_attn.{name}"), width, width);
        }
        list.norm(&format!("{layer}.layer_norm2"), width);
        list.linear(&format!("{layer}.mlp.fc1"), width, config.mlp_width);
        list.linear(&format!("{layer}.mlp.fc2"), config.mlp_width, width);
    }
    list.norm("text_model.final_layer_norm", width);
    if let Some(out) = config.projection_dim {
        list.tensor("text_projection.weight".to_string(), &[out, width]);
    }
    list.0
}
