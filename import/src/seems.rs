//! What a file that is no checkpoint seems to be, by its tensors' names.

use super::detect::{Shapes, has};

/// What it seems to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seems {
    /// What is added to a model.
    Lora,
    /// Words for a model.
    Embedding,
    /// A denoiser of another architecture, in words.
    Transformer(&'static str),
    /// The encoder of T5.
    T5,
    /// A language model, as Qwen3.
    Llm,
    /// An autoencoder.
    Vae,
    /// A text encoder.
    Text,
    /// Nothing that is known.
    Unknown,
}

/// Beginnings of the names of other architectures' tensors (ComfyUI, comfy/model_detection.py); the most special first.
const TRANSFORMERS: [(&[&str], &str); 7] = [
    (&["double_stream_modulation_img."], "it is a transformer (FLUX.2)"),
    (&["double_blocks.", "single_transformer_blocks."], "it is a transformer (FLUX)"),
    (&["joint_blocks.", "context_embedder."], "it is a transformer (SD 3)"),
    (&["noise_refiner.", "cap_embedder."], "it is a transformer (Z-Image, Lumina)"),
    (&["adaln_single.", "caption_projection."], "it is a transformer (PixArt)"),
    (&["patch_embedding.", "head.modulation"], "it is a transformer (Wan)"),
    (&["transformer_blocks."], "it is a transformer"),
];

/// Beginnings of the names of text encoders, by either program; transformers 5 leaves out the first word.
const TEXTS: [&str; 7] = [
    "text_model.",
    "embeddings.",
    "encoder.layers.",
    "transformer.text_model.",
    "transformer.resblocks.",
    "conditioner.",
    "cond_stage_model.",
];
/// Of language models, by transformers and by llama.cpp.
const LANGUAGES: [&str; 3] = ["model.layers.0.self_attn.", "layers.0.self_attn.", "blk.0.attn_q."];
/// And of autoencoders.
const VAES: [&str; 3] = ["decoder.", "encoder.", "first_stage_model."];

impl Seems {
    pub fn of(shapes: &Shapes) -> Self {
        // Whole checkpoints, ComfyUI's and those of a denoiser alone.
        let begins = |first: &&str| ["", "model.diffusion_model."].iter().any(|p| has(shapes, &format!("{p}{first}")));
        let transformer = || TRANSFORMERS.iter().find(|(firsts, _)| firsts.iter().any(begins)).map(|(_, what)| *what);
        match () {
            () if has(shapes, "lora_") || shapes.keys().any(|k| k.contains(".lora_") || k.contains(".lokr_")) => {
                Self::Lora
            }
            () if is_embedding(shapes) => Self::Embedding,
            () if has(shapes, "encoder.block.") || has(shapes, "enc.blk.") => Self::T5,
            () if LANGUAGES.iter().any(|first| has(shapes, first)) => Self::Llm,
            () => match transformer() {
                Some(what) => Self::Transformer(what),
                None if TEXTS.iter().any(|first| has(shapes, first)) => Self::Text,
                None if VAES.iter().any(|first| has(shapes, first)) => Self::Vae,
                None => Self::Unknown,
            },
        }
    }

    /// In words, up to why it is no checkpoint.
    pub fn words(self) -> &'static str {
        match self {
            Self::Lora => "it is a LoRA, which is added to a model",
            Self::Embedding => "it is a textual inversion, which teaches a model a word, to be given with --embedding",
            Self::Transformer(words) => words,
            Self::T5 => "it is a part of one, a text encoder (T5) of Stable Diffusion 3, to be given with --t5xxl",
            Self::Llm => "it is a part of one, a language model that reads texts, to be given with --llm",
            Self::Vae => "it is a part of one, an autoencoder, to be given with --vae",
            Self::Text => "it is a part of one, a text encoder, to be given with --clip-l or --clip-g",
            Self::Unknown => "its tensors are not Stable Diffusion's",
        }
    }
}

/// One tensor of vectors, or SDXL's two.
fn is_embedding(shapes: &Shapes) -> bool {
    let names: Vec<&str> = shapes.keys().map(String::as_str).collect();
    let vectors = || shapes.values().all(|shape| matches!(shape[..], [1024 | 768 | 1280] | [1..=75, _]));
    matches!(names[..], [_] | ["clip_g", "clip_l"]) && vectors()
}
