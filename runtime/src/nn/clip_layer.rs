//! A layer of CLIP's transformers, whether they read text or pictures.

use crate::graph::{Activation, Graph, GraphError, ValueId};
use alloc::format;

/// A layer's sizes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct ClipLayer {
    /// Channels of a token's state.
    pub width: usize,
    /// Heads of attention; divides the width.
    pub heads: usize,
    /// Features between the two linear layers of the perceptron.
    pub hidden: usize,
    /// Their function.
    pub activation: Activation,
    /// Of the layer norms.
    pub eps: f32,
    /// Whether a token sees only those before it, and itself.
    pub causal: bool,
}

impl ClipLayer {
    /// Norms come first.
    pub fn build(&self, g: &mut Graph, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
        let h = g.layer_norm(&format!("{name}.layer_norm1"), x, self.eps)?;
        let [q, k, v] = ["q", "k", "v"].map(|of| g.linear(&format!("{name}.self_attn.{of}_proj"), h, self.width, true));
        let h = g.attention(&format!("{name}.self_attn"), q?, k?, v?, self.heads, self.causal)?;
        let h = g.linear(&format!("{name}.self_attn.out_proj"), h, self.width, true)?;
        let x = g.add(&format!("{name}.add1"), x, h)?;
        let h = g.layer_norm(&format!("{name}.layer_norm2"), x, self.eps)?;
        let h = g.linear(&format!("{name}.mlp.fc1"), h, self.hidden, true)?;
        let h = g.activate(&format!("{name}.mlp.activation_fn"), h, self.activation)?;
        let h = g.linear(&format!("{name}.mlp.fc2"), h, self.width, true)?;
        g.add(&format!("{name}.add2"), x, h)
    }
}
