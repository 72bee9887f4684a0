//! The sizes of Stable Diffusion 3's transformer as a file's metadata (`docs/format.md`).

use super::unet_keys::{n, ns, size, sizes};
use crate::Error;
use crate::gguf::{File, WriteError, Writer};
use crate::nn::Mmdit;
use alloc::vec::Vec;

const DUAL: &str = "nijimi.mmdit.dual_attention_layers";
const QK_NORM: &str = "nijimi.mmdit.qk_norm";

/// The network.
pub(super) fn mmdit(file: &File<'_>) -> Result<Mmdit, Error> {
    let network = Mmdit {
        channels: size(file, "nijimi.mmdit.in_channels")?,
        layers: size(file, "nijimi.mmdit.layers")?,
        heads: size(file, "nijimi.mmdit.heads")?,
        head_channels: size(file, "nijimi.mmdit.attention_head_dim")?,
        text_width: size(file, "nijimi.mmdit.joint_attention_dim")?,
        pooled_width: size(file, "nijimi.mmdit.pooled_projection_dim")?,
        positions: size(file, "nijimi.mmdit.pos_embed_max_size")?,
        dual: if file.get(DUAL).is_some() { sizes(file, DUAL)? } else { Vec::new() },
        qk_norm: file.get(QK_NORM).is_some() && file.bool(QK_NORM)?,
    };
    network.validate()?;
    Ok(network)
}

/// Writes what [`mmdit`] reads.
pub(super) fn write(w: &mut Writer, network: &Mmdit) -> Result<(), WriteError> {
    w.meta("nijimi.mmdit.in_channels", n(network.channels))?;
    w.meta("nijimi.mmdit.layers", n(network.layers))?;
    w.meta("nijimi.mmdit.heads", n(network.heads))?;
    w.meta("nijimi.mmdit.attention_head_dim", n(network.head_channels))?;
    w.meta("nijimi.mmdit.joint_attention_dim", n(network.text_width))?;
    w.meta("nijimi.mmdit.pooled_projection_dim", n(network.pooled_width))?;
    w.meta("nijimi.mmdit.pos_embed_max_size", n(network.positions))?;
    if !network.dual.is_empty() {
        w.meta(DUAL, ns(network.dual.iter().copied()))?;
    }
    if network.qk_norm {
        w.meta(QK_NORM, true)?;
    }
    Ok(())
}
