//! Files of models that a build without the feature `language` has not, and what it says of them.
use alloc::string::{String, ToString};
use nijimi_runtime::Error;
use nijimi_runtime::gguf::{File, Writer};
use nijimi_runtime::model::LatentInfo;

/// A line for each: Z-Image and FLUX.2 by their networks, the former and by its text encoder, Stable Diffusion 3 by its third one.
pub fn lines() -> Result<String, Error> {
    [
        ("nijimi.network", "z-image"),
        ("nijimi.network", "flux2"),
        ("nijimi.text_encoder.model", "qwen3"),
        ("nijimi.text_encoder_3.width", "4096"),
    ]
    .into_iter()
    .map(|(key, value)| {
        let mut w = Writer::new();
        w.meta("general.architecture", "nijimi")?;
        w.meta("nijimi.format_version", 1u32)?;
        w.meta("nijimi.system", "latent-diffusion")?;
        w.meta(key, value)?;
        let refused = LatentInfo::read(&File::new_checked(&w.finish())?).err();
        Ok(refused.map_or_else(String::new, |e| e.to_string()) + "\n")
    })
    .collect()
}
