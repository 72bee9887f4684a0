//! What the reference implementation computed, family by family, against the published files, converted: token ids, states of
//! texts, single calls of each network, whole pictures. `NIJIMI_FIXTURES` names the folder of fixtures (default: the project's
//! own copy), which tests with `golden` in their names alone read. A family that is not known here fails.

#[path = "golden/adapters.rs"]
mod adapters;
#[path = "golden/additions.rs"]
mod additions;
#[path = "golden/depth.rs"]
mod depth;
#[cfg(feature = "gpu")]
#[path = "common/device.rs"]
mod device;
#[path = "common/diffusers.rs"]
mod diffusers;
#[path = "golden/files.rs"]
mod files;
#[path = "golden/flux2.rs"]
mod flux2;
#[path = "golden/ip_adapter.rs"]
mod ip_adapter;
#[path = "golden/networks.rs"]
mod networks;
#[path = "golden/pipeline.rs"]
mod pipeline;
#[path = "common/pipelines.rs"]
mod pipelines;
#[path = "golden/pixels.rs"]
mod pixels;
#[path = "golden/predictions.rs"]
mod predictions;
#[path = "golden/refiner.rs"]
mod refiner;
#[path = "golden/sizes.rs"]
mod sizes;
#[path = "golden/tiny.rs"]
mod tiny;
#[path = "golden/transformers.rs"]
mod transformers;
#[path = "golden/z_image.rs"]
mod z_image;

use nijimi_runtime::model::Device;
use pipelines::{Family, goldens};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// A kind of family: whether one is of it, and what compares one on a device and gives the number of things compared.
struct Kind {
    name: &'static str,
    is: fn(&Family) -> bool,
    compare: fn(&Family, &Device) -> usize,
}

const KINDS: [Kind; 15] = [
    Kind { name: "files of one model", is: files::is, compare: files::compare },
    Kind { name: "led by depth", is: depth::is, compare: depth::compare },
    Kind { name: "SDXL's refiner", is: refiner::is, compare: refiner::compare },
    Kind { name: "pipeline", is: pipeline::is, compare: pipeline::compare },
    Kind { name: "FLUX.2", is: flux2::is, compare: flux2::compare },
    Kind { name: "Z-Image", is: z_image::is, compare: z_image::compare },
    Kind { name: "transformer", is: transformers::is, compare: transformers::compare },
    Kind { name: "other sizes of a pipeline", is: sizes::is, compare: sizes::compare },
    Kind { name: "files that say what they predict", is: predictions::is, compare: predictions::compare },
    Kind { name: "LoRAs of LyCORIS", is: additions::is_lycoris, compare: additions::lycoris },
    Kind { name: "embeddings", is: additions::is_embedding, compare: additions::embeddings },
    Kind { name: "tiny autoencoder", is: tiny::is, compare: tiny::compare },
    Kind { name: "IP-Adapter", is: ip_adapter::is, compare: ip_adapter::compare },
    Kind { name: "T2I-Adapter", is: adapters::is, compare: adapters::compare },
    Kind { name: "unconditional pipeline of pixels", is: pixels::is, compare: pixels::compare },
];

fn fixtures() -> PathBuf {
    std::env::var_os("NIJIMI_FIXTURES").map_or_else(diffusers::fixtures, PathBuf::from)
}

/// All are tried, whatever happens to one.
fn families(device: &Device) {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for family in goldens(&fixtures()) {
        let name = &family.name;
        let Some(kind) = KINDS.iter().find(|kind| (kind.is)(&family)) else {
            wrong.push(format!("{name}: of a kind that is not known"));
            continue;
        };
        println!("{name}: {}", kind.name);
        match catch_unwind(AssertUnwindSafe(|| (kind.compare)(&family, device))) {
            Ok(0) => wrong.push(format!("{name}: nothing was compared")),
            Ok(compared) => println!("{name}: {compared} compared"),
            Err(panic) => {
                let said = panic.downcast_ref::<String>().map(String::as_str);
                wrong.push(format!("{name}: {}", said.or(panic.downcast_ref().copied()).unwrap_or("a panic")));
            }
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{} of {count} families:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 0, "no families in {}", fixtures().display());
}

/// Each comparison was seen red with one number of the golden changed. Seen red also with: the second SiLU of a residual block left out, a transformer's norm's
/// epsilon at 1e-2, the text's attention turned on the pixels, sines first in the timestep's code; one line of zeros on all sides
/// of the encoder's halving convolutions; latents of the tiny autoencoder not held; texts without the causal mask, the last state
/// for the penultimate, the pooled state of another place. Pictures: latents multiplied by the scaling factor before they are
/// decoded; the guided and the unguided half exchanged; a width in place of the original height (SDXL); no layer skipped (SDXL); a
/// scheduler without its settings; a LoRA without its strength; a ControlNet without its strength; depths on the way up from the
/// first level on (SSD-1B); rows of odd pictures rounded up; v's sign for epsilon (EDM); means of latents with the wrong sign; a
/// pipeline's own tiny autoencoder whose latents are not held; texts guided away from neither text nor picture; of models of pixels
/// zeros on all sides of what halves, a shift of frequencies that is left out, cosines first, one head in place of several, estimates
/// clipped as the book's are, and levels counted from 1; of T2I-Adapters the largest of what is averaged, features added behind what
/// halves, skips without them, the middle's left out, no ReLU, channels innermost in squares of pixels, no strength; of IP-Adapters the
/// middle before the way up, attention to the image alone, the picture in place of nothing, or the one for the other, no strength; a
/// resampler whose queries do not see one another, of one head, with keys for values; of image encoders a causal mask, the last layer
/// for the one before, no norm at the end, channels innermost in patches, black for nothing; pictures resized without bytes between,
/// by PyTorch's cubic, cut at a corner; of Z-Image the noise's share for the picture's, an answer that is not turned, texts without rows
/// that fill up, or with their places at 0, a picture's place one less or behind the longest text, keys of other texts, a SiLU before
/// modulation, levels shifted twice, no limit of a guided answer; of Qwen3 no causal mask, keys of what fills up, neighbouring pairs
/// turned, states one layer early; of FLUX.2 places of the text at 0, pictures looked at from 1 on, shift for scale, keys of the picture
/// before the text's, one shift for all sizes, latents not normalized, no empty thought, states of tokens alone. Stays green with the tokens in another order, which cross-attention cannot tell.
#[test]
fn golden_families() {
    families(&Device::Cpu);
}

/// Seen red with: conditions that are not copied to their places; the mask's channel for all that an inpainting U-Net sees
/// (`feed.wgsl`); the spreads exchanged (`rescale.wgsl`); latents not divided by the scaling factor (`latents.wgsl`); the place
/// counted through all texts in token_embedding.wgsl, together with the first text's tokens for all in select_token.wgsl;
/// the picture that is changed seen by all texts (`feed.wgsl`).
#[cfg(feature = "gpu")]
#[test]
fn golden_families_on_a_device() {
    let Some(gpu) = device::device() else { return };
    families(&Device::Gpu(gpu));
}
