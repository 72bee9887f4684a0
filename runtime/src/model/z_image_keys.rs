//! The sizes of Z-Image's transformer as a file's metadata (`docs/format.md`).

#[cfg(not(feature = "language"))]
use super::ModelError;
use super::info::wrong;
use super::unet_keys::{n, ns, size, sizes};
use crate::Error;
use crate::gguf::{File, WriteError, Writer};
use crate::nn::ZImage;
use alloc::format;

fn three(file: &File<'_>, key: &'static str) -> Result<[usize; 3], Error> {
    let found = sizes(file, key)?;
    <[usize; 3]>::try_from(&found[..]).map_err(|_| wrong(key, format!("{found:?}"), "three numbers"))
}

/// The network.
pub(super) fn z_image(file: &File<'_>) -> Result<ZImage, Error> {
    #[cfg(not(feature = "language"))]
    let never = Err(ModelError::NoLanguage { key: "nijimi.network" })?;
    let network = ZImage {
        channels: size(file, "nijimi.z_image.in_channels")?,
        layers: size(file, "nijimi.z_image.layers")?,
        refiner_layers: size(file, "nijimi.z_image.refiner_layers")?,
        heads: size(file, "nijimi.z_image.heads")?,
        text_width: size(file, "nijimi.z_image.cap_feat_dim")?,
        axes: three(file, "nijimi.z_image.axes_dims")?,
        places: three(file, "nijimi.z_image.axes_lens")?,
        theta: file.f32("nijimi.z_image.rope_theta")?,
        eps: file.f32("nijimi.z_image.norm_eps")?,
        time_scale: file.f32("nijimi.z_image.t_scale")?,
        #[cfg(not(feature = "language"))]
        never,
    };
    network.validate()?;
    Ok(network)
}

/// Writes what [`z_image`] reads.
pub(super) fn write(w: &mut Writer, network: &ZImage) -> Result<(), WriteError> {
    w.meta("nijimi.z_image.in_channels", n(network.channels))?;
    w.meta("nijimi.z_image.layers", n(network.layers))?;
    w.meta("nijimi.z_image.refiner_layers", n(network.refiner_layers))?;
    w.meta("nijimi.z_image.heads", n(network.heads))?;
    w.meta("nijimi.z_image.cap_feat_dim", n(network.text_width))?;
    w.meta("nijimi.z_image.axes_dims", ns(network.axes))?;
    w.meta("nijimi.z_image.axes_lens", ns(network.places))?;
    w.meta("nijimi.z_image.rope_theta", network.theta)?;
    w.meta("nijimi.z_image.norm_eps", network.eps)?;
    w.meta("nijimi.z_image.t_scale", network.time_scale)
}
