//! Parts of a model in files of their own: a U-Net alone, an autoencoder, text encoders, by whichever names programs give
//! them. Each is called as in a checkpoint of one file, so that all are read as one.

use super::checkpoint::Options;
use super::detect::{Shapes, UNET, VAE};
use super::error::ImportError;
use super::tensor_file::{Entry, TensorFile};
use super::{flux2, language, llama, names, scales, sd3, z_image};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A part that can be another file's than the rest of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The denoiser.
    Unet,
    /// The autoencoder.
    Vae,
    /// The text encoder, of SDXL the first.
    ClipL,
    /// The second text encoder of SDXL and of Stable Diffusion 3.
    ClipG,
    /// Stable Diffusion 3's third.
    T5,
    /// Z-Image's and FLUX.2-klein's text encoder.
    Llm,
}

const FIRST: [&str; 3] = ["cond_stage_model.", "conditioner.embedders.0.", sd3::CLIP_L];
const SECOND: [&str; 2] = ["conditioner.embedders.1.", sd3::CLIP_G];

/// Where LDM's names of a U-Net begin.
const LDM_UNET: [&str; 6] = ["input_blocks.", "middle_block.", "output_blocks.", "out.", "time_embed.", "label_emb."];
/// The other half of a CLIP model, which looks at pictures.
const VISION: [&str; 2] = ["vision_model.", "visual_projection."];
/// The other half of T5, which writes texts, by llama.cpp's names.
const T5_DECODER: [&str; 1] = ["dec."];

impl Part {
    /// All of them, the one first by which the others are told.
    pub const ALL: [Self; 6] = [Self::Unet, Self::Vae, Self::ClipL, Self::ClipG, Self::T5, Self::Llm];

    /// The program's option.
    pub fn option(self) -> &'static str {
        match self {
            Self::Unet => "--unet",
            Self::Vae => "--vae",
            Self::ClipL => "--clip-l",
            Self::ClipG => "--clip-g",
            Self::T5 => "--t5xxl",
            Self::Llm => "--llm",
        }
    }

    /// Its name among the pairs that a picture says of itself: the web UI's `VAE`, and the like.
    pub fn named(self) -> &'static str {
        match self {
            Self::Unet => "UNet",
            Self::Vae => "VAE",
            Self::ClipL => "CLIP L",
            Self::ClipG => "CLIP G",
            Self::T5 => "T5XXL",
            Self::Llm => "LLM",
        }
    }

    /// In words.
    pub fn what(self) -> &'static str {
        match self {
            Self::Unet => "U-Net",
            Self::Vae => "autoencoder",
            Self::ClipL | Self::ClipG | Self::T5 | Self::Llm => "text encoder",
        }
    }

    /// What its tensors are called in a part of our file.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unet => "unet",
            Self::Vae => "vae",
            Self::ClipL => "text_encoder",
            Self::ClipG => "text_encoder_2",
            Self::T5 => "text_encoder_3",
            // The only one: no other part is in its place.
            Self::Llm => "language_model",
        }
    }

    /// Whether a tensor of a checkpoint of one file is this part's.
    pub(super) fn has(self, name: &str) -> bool {
        match self {
            Self::Unet => name.starts_with(UNET),
            Self::Vae => name.starts_with(VAE),
            Self::ClipL => FIRST.iter().any(|first| name.starts_with(first)),
            Self::ClipG => SECOND.iter().any(|second| name.starts_with(second)),
            Self::T5 => name.starts_with(sd3::T5),
            Self::Llm => name.starts_with(language::QWEN3),
        }
    }

    /// Whether a file, called as a checkpoint of one file, has tensors of it.
    pub(super) fn is_in(self, file: &TensorFile) -> bool {
        file.tensors().keys().any(|name| self.has(name))
    }
}

impl Options {
    /// The file of this part, if it has one of its own.
    pub(super) fn part(&self, part: Part) -> Option<&Path> {
        self.parts.iter().find(|(own, _)| *own == part).map(|(_, path)| &**path)
    }

    /// That no part is named twice.
    pub(super) fn check_parts(&self) -> Result<(), ImportError> {
        for (i, (part, path)) in self.parts.iter().enumerate() {
            if let Some((_, other)) = self.parts[..i].iter().find(|(other, _)| other == part) {
                let why = format!("{} is {}, too: name one of them", part.option(), other.display());
                return Err(ImportError::Part { path: path.clone(), why });
            }
        }
        Ok(())
    }
}

/// Whether the tensors are a U-Net's alone, without the first word that a checkpoint of one file has.
pub(super) fn is_unet(shapes: &Shapes) -> bool {
    let has = |name: &str| shapes.contains_key(name);
    has("joint_blocks.0.x_block.attn.qkv.weight") && has("final_layer.linear.weight")
        || has("cap_embedder.1.weight") && has("x_pad_token")
        || has("double_stream_modulation_img.lin.weight") && has("img_in.weight")
        || has("input_blocks.0.0.weight") && has("out.2.weight")
        || has("conv_in.weight")
            && has("conv_norm_out.weight")
            && has("time_embedding.linear_1.weight")
            && has("conv_out.weight")
}

/// The files of a model that begins with `file`: that one, called as a checkpoint of one file, without what others have in
/// its place, and those. The one that has the U-Net is the first.
pub(super) fn assemble(file: TensorFile, options: &Options) -> Result<Vec<TensorFile>, ImportError> {
    let mut base = file;
    let is_unet = is_unet(&base.shapes());
    if is_unet && let Some(path) = options.part(Part::Unet) {
        let why =
            format!("it is a U-Net, and so is {} ({}): name one of them", base.path().display(), Part::Unet.option());
        return Err(ImportError::Part { path: path.into(), why });
    }
    if is_unet {
        rename(&mut base, Part::Unet, false)?;
    }
    let unet = options.part(Part::Unet).map(|path| open(Part::Unet, path, false)).transpose()?;
    let two = ["label_emb.", "joint_blocks."].map(|of| format!("{UNET}{of}"));
    let has_two = |file: &TensorFile| file.tensors().keys().any(|name| two.iter().any(|of| name.starts_with(of)));
    let sdxl = has_two(unet.as_ref().unwrap_or(&base));
    if let Some(path) = options.part(Part::ClipG).filter(|_| !sdxl) {
        let why = "it is given as SDXL's second text encoder (--clip-g), and the model is neither SDXL nor Stable Diffusion 3".into();
        return Err(ImportError::Part { path: path.into(), why });
    }
    let is_sd3 = |file: &TensorFile| file.tensors().keys().any(|name| name.starts_with(&two[1]));
    if let Some(path) = options.part(Part::T5).filter(|_| !is_sd3(unet.as_ref().unwrap_or(&base))) {
        let why = "it is given as the third text encoder (--t5xxl), and the model is not Stable Diffusion 3".into();
        return Err(ImportError::Part { path: path.into(), why });
    }
    let reads = |file: &TensorFile| [z_image::MARK, flux2::MARK].iter().any(|mark| file.tensors().contains_key(*mark));
    if let Some(path) = options.part(Part::Llm).filter(|_| !reads(unet.as_ref().unwrap_or(&base))) {
        let why = "it is given as a language model (--llm), and the model is neither Z-Image nor FLUX.2-klein".into();
        return Err(ImportError::Part { path: path.into(), why });
    }
    let mut files = Vec::new();
    if let Some(unet) = unet {
        // Marks beside a U-Net are about it, and go with it.
        let others = &Part::ALL[1..];
        base.tensors_mut().retain(|name, _| others.iter().any(|part| part.has(name)));
        files.push(unet);
    }
    for part in Part::ALL.into_iter().skip(1) {
        if let Some(path) = options.part(part) {
            base.tensors_mut().retain(|name, _| !part.has(name));
            files.push(open(part, path, sdxl)?);
        }
    }
    if base.tensors().is_empty() && !options.parts.is_empty() {
        let why = "nothing of it is used: each of its parts has a file of its own, so name the U-Net's with -m".into();
        return Err(ImportError::Part { path: base.path().into(), why });
    }
    let at = usize::from(options.part(Part::Unet).is_some());
    files.insert(at, base);
    Ok(files)
}

/// Opens the file of a part, whose tensors are then called as in a checkpoint of one file.
pub(super) fn open(part: Part, path: &Path, sdxl: bool) -> Result<TensorFile, ImportError> {
    if path.is_dir() {
        let why = format!("it is a folder, and {} takes a file: name the .safetensors file in it", part.option());
        return Err(ImportError::Part { path: path.into(), why });
    }
    let mut file = scales::open(path)?;
    rename(&mut file, part, sdxl)?;
    Ok(file)
}

/// Calls a part's tensors as in a checkpoint of one file; those of other parts, if it is one, are left out.
fn rename(file: &mut TensorFile, part: Part, sdxl: bool) -> Result<(), ImportError> {
    let other = |name: &str| Part::ALL.iter().any(|other| *other != part && other.has(name));
    let unused = |name: &str| VISION.iter().chain(&T5_DECODER).any(|first| name.starts_with(first));
    file.tensors_mut().retain(|name, _| !other(name) && !unused(name));
    let shapes = file.shapes();
    let Some(named) = naming(&shapes, part, sdxl) else {
        let why = format!(
            "it is given as {} with {}, but its tensors are not called as one's, {:?} for example",
            part.what(),
            part.option(),
            shapes.keys().next().map_or("", String::as_str)
        );
        return Err(ImportError::Part { path: file.path().into(), why });
    };
    let tensors = std::mem::take(file.tensors_mut());
    let mut renamed: BTreeMap<String, Entry> = BTreeMap::new();
    for (name, entry) in tensors {
        let new = named(&name);
        if renamed.insert(new.clone(), entry).is_some() {
            let why = format!("two of its tensors are {new}: it is damaged, or of a variant not supported");
            return Err(ImportError::Part { path: file.path().into(), why });
        }
    }
    *file.tensors_mut() = renamed;
    Ok(())
}

type Rename = Box<dyn Fn(&str) -> String>;

/// How a part's tensors are called in a checkpoint of one file, by how they are called in its own.
fn naming(shapes: &Shapes, part: Part, sdxl: bool) -> Option<Rename> {
    let has = |name: &str| shapes.contains_key(name);
    let begins = |first: &str| shapes.keys().any(|name| name.starts_with(first));
    match part {
        Part::Unet if begins(UNET) => Some(Box::new(str::to_owned)),
        Part::Unet if has("input_blocks.0.0.weight") => {
            Some(Box::new(|name| match LDM_UNET.iter().any(|f| name.starts_with(f)) {
                true => format!("{UNET}{name}"),
                false => name.into(),
            }))
        }
        Part::Unet if ["joint_blocks.", "cap_embedder.", "double_stream_modulation_img."].into_iter().any(begins) => {
            Some(Box::new(|name| format!("{UNET}{name}")))
        }
        Part::Unet if has("conv_in.weight") && begins("down_blocks.0.") => {
            let layers = (0..64).take_while(|i| has(&format!("down_blocks.0.resnets.{i}.conv1.weight"))).count();
            // Of several names that there are, any is found.
            Some(Box::new(move |name| match names::unet(name, 1 + layers).first() {
                Some(own) => format!("{UNET}{own}"),
                None => name.into(),
            }))
        }
        Part::Unet => None,
        Part::Vae if begins(VAE) => Some(Box::new(str::to_owned)),
        Part::Vae if begins("decoder.up_blocks.") => {
            let levels =
                (0..64).filter(|i| begins(&format!("decoder.up_blocks.{i}."))).max().map_or(0, |last| last + 1);
            Some(Box::new(move |name| format!("{VAE}{}", names::vae(&names::today(name), levels))))
        }
        // The tiny ones of SDXS and its kin.
        Part::Vae if begins("decoder.up.") || begins("decoder.layers.") => {
            Some(Box::new(|name| format!("{VAE}{name}")))
        }
        Part::Vae => None,
        Part::T5 if begins(sd3::T5) => Some(Box::new(str::to_owned)),
        Part::T5 if begins("encoder.block.") => Some(Box::new(|name| format!("{}transformer.{name}", sd3::T5))),
        Part::T5 if begins("enc.blk.") => Some(Box::new(|name| format!("{}transformer.{}", sd3::T5, llama::t5(name)))),
        Part::T5 => None,
        Part::Llm if begins(language::QWEN3) => Some(Box::new(str::to_owned)),
        // As transformers has them, with or without the first word.
        Part::Llm if begins("model.layers.") => Some(Box::new(|name| format!("{}{name}", language::QWEN3))),
        Part::Llm if begins("layers.0.self_attn.") => Some(Box::new(|name| format!("{}model.{name}", language::QWEN3))),
        Part::Llm if begins("blk.0.attn_q.") => {
            Some(Box::new(|name| format!("{}{}", language::QWEN3, llama::qwen3(name))))
        }
        Part::Llm => None,
        Part::ClipL | Part::ClipG => {
            let own = match (part, sdxl) {
                (Part::ClipG, _) => SECOND[0],
                (_, true) => FIRST[1],
                (_, false) => FIRST[0],
            };
            let comfy = if part == Part::ClipG { sd3::CLIP_G } else { sd3::CLIP_L };
            let first = [FIRST[0], FIRST[1], SECOND[0], comfy].into_iter().find(|first| begins(first)).unwrap_or("");
            let kinds = [("", "transformer.text_model."), ("", "model.transformer."), ("transformer.", "text_model.")];
            let kinds =
                kinds.into_iter().chain([("transformer.", "embeddings."), ("model.", "transformer.resblocks.")]);
            let (kind, _) = kinds.into_iter().find(|(_, begin)| begins(&format!("{first}{begin}")))?;
            Some(Box::new(move |name| match name.strip_prefix(first) {
                Some(rest) => format!("{own}{kind}{rest}"),
                None => name.into(),
            }))
        }
    }
}

/// What the record of a conversion says of files beside the first.
pub(super) fn record(parts: &[(Part, PathBuf)]) -> String {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    parts.iter().map(|(part, path)| format!(", {} {}", part.option(), name(path))).collect()
}
