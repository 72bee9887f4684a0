//! The sizes of FLUX.2-klein's transformer as a file's metadata (`docs/format.md`).

#[cfg(not(feature = "language"))]
use super::ModelError;
use super::info::wrong;
use super::unet_keys::{n, ns, size, sizes};
use crate::Error;
use crate::gguf::{File, WriteError, Writer};
use crate::nn::Flux2;
use alloc::format;

/// The network.
pub(super) fn flux2(file: &File<'_>) -> Result<Flux2, Error> {
    #[cfg(not(feature = "language"))]
    let never = Err(ModelError::NoLanguage { key: "nijimi.network" })?;
    let key = "nijimi.flux2.axes_dims_rope";
    let axes = sizes(file, key)?;
    let network = Flux2 {
        channels: size(file, "nijimi.flux2.in_channels")?,
        layers: size(file, "nijimi.flux2.layers")?,
        single_layers: size(file, "nijimi.flux2.single_layers")?,
        heads: size(file, "nijimi.flux2.heads")?,
        text_width: size(file, "nijimi.flux2.joint_attention_dim")?,
        axes: <[usize; 4]>::try_from(&axes[..]).map_err(|_| wrong(key, format!("{axes:?}"), "four numbers"))?,
        mlp_ratio: file.f32("nijimi.flux2.mlp_ratio")?,
        theta: file.f32("nijimi.flux2.rope_theta")?,
        distilled: file.bool("nijimi.flux2.is_distilled")?,
        #[cfg(not(feature = "language"))]
        never,
    };
    network.validate()?;
    Ok(network)
}

/// Writes what [`flux2`] reads.
pub(super) fn write(w: &mut Writer, network: &Flux2) -> Result<(), WriteError> {
    w.meta("nijimi.flux2.in_channels", n(network.channels))?;
    w.meta("nijimi.flux2.layers", n(network.layers))?;
    w.meta("nijimi.flux2.single_layers", n(network.single_layers))?;
    w.meta("nijimi.flux2.heads", n(network.heads))?;
    w.meta("nijimi.flux2.joint_attention_dim", n(network.text_width))?;
    w.meta("nijimi.flux2.axes_dims_rope", ns(network.axes))?;
    w.meta("nijimi.flux2.mlp_ratio", network.mlp_ratio)?;
    w.meta("nijimi.flux2.rope_theta", network.theta)?;
    w.meta("nijimi.flux2.is_distilled", network.distilled)
}
