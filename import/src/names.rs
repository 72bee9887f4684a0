//! By which names, and laid out how, a tensor may be found: today's diffusers names, the older ones, and those of the
//! original code (LDM, generative-models, OpenCLIP), which single-file checkpoints have.

use super::config::{Config, Family};
use super::detect::{SGM_CLIP, UNET, VAE};
use super::{flux2, language, sd3, z_image};

/// How the numbers of a tensor lie in its file, against how PyTorch has the expected one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As expected.
    Same,
    /// A linear layer, possibly stored as a 1x1 convolution: `[o][i][1][1]`, the same numbers.
    Pointwise,
    /// The same numbers, in another shape.
    Flat,
    /// `[in][out]`, as OpenCLIP multiplies from the left.
    Transposed,
    /// The nth of three of the same height, one below the other: queries, keys and values.
    Third(usize),
    /// Its lower half first: shifts and scales, which diffusers has the other way round.
    Swapped,
    /// One more dimension before the others.
    One,
    /// Rows of a layer that is one with others, below one another.
    Rows {
        /// The first of them.
        from: usize,
        /// How many all are.
        of: usize,
    },
    /// A layer of single latents, which packs squares of them: channel `4 c + 2 y + x` of a square is channel `c` of its latent in
    /// row `y` and column `x`.
    Pack,
    /// The reverse, which gives the square's latents one after the other.
    Unpack,
    /// A convolution as a linear layer of patches, whose channels are the fastest.
    Patches,
}

/// A name to look under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub name: String,
    pub form: Form,
}

pub(super) fn candidate(name: impl Into<String>, form: Form) -> Candidate {
    Candidate { name: name.into(), form }
}

/// Plain attention, as it is called today, and as it was.
const OLD_ATTENTION: [(&str, &str); 4] =
    [(".to_q.", ".query."), (".to_k.", ".key."), (".to_v.", ".value."), (".to_out.0.", ".proj_attn.")];

/// Today's name of an autoencoder's tensor.
pub(super) fn today(name: &str) -> String {
    OLD_ATTENTION.iter().fold(name.to_owned(), |name, (new, old)| name.replace(old, new))
}

/// In the folder of a network whose attention is plain, an autoencoder or a U-Net without a text: today's name, then the older.
pub(super) fn plain_attention(name: &str) -> Vec<Candidate> {
    let form = attention_form(name);
    let attends = name.contains(".attentions.");
    let old = OLD_ATTENTION
        .iter()
        .filter(|(new, _)| attends && name.contains(new))
        .map(|(new, old)| candidate(name.replace(new, old), form));
    [candidate(name, form)].into_iter().chain(old).collect()
}

/// The table of the patches' positions, which is a buffer elsewhere.
pub(super) const POSITIONS: &str = "pos_embed.table.weight";

/// In a component's folder: today's name, then the older.
pub(super) fn diffusers(part: &str, name: &str) -> Vec<Candidate> {
    if part == "vae" {
        return plain_attention(name);
    }
    if part == "transformer" && name == POSITIONS {
        return vec![candidate("pos_embed.pos_embed", Form::One)];
    }
    // transformers 5 saves a `CLIPTextModel` without its prefix.
    let bare = name.strip_prefix("text_model.").filter(|_| part.starts_with("text_encoder"));
    [candidate(name, Form::Same)].into_iter().chain(bare.map(|bare| candidate(bare, Form::Same))).collect()
}

/// In the folder of an autoencoder that may pack.
pub(super) fn vae_in_folder(name: &str, config: &Config) -> Vec<Candidate> {
    match packing(name, config) {
        Some(form) => vec![candidate(name, form)],
        None => plain_attention(name),
    }
}

/// The form of a layer that packs or unpacks latents, which is one of single latents in its file.
fn packing(name: &str, config: &Config) -> Option<Form> {
    config.vae.network.kl().filter(|network| network.packed)?;
    match name.split('.').next() {
        Some("quant_conv") => Some(Form::Pack),
        Some("post_quant_conv") => Some(Form::Unpack),
        _ => None,
    }
}

/// That of a tensor of an autoencoder: its attention's matrices were once 1x1 convolutions.
fn attention_form(name: &str) -> Form {
    let matrix = name.contains(".attentions.") && name.contains(".to_") && name.ends_with(".weight");
    if matrix { Form::Pointwise } else { Form::Same }
}

/// In a single file, whose U-Net counts `per_level` blocks a level ([`super::detect::per_level`]).
pub(super) fn original(part: &str, name: &str, config: &Config, per_level: usize) -> Vec<Candidate> {
    let sdxl = config.text_2.is_some();
    match (config.family, part) {
        (_, "vae") => {}
        (family, "text_encoder") if family.reads_language() => return language::original(name),
        (Family::ZImage, _) => return z_image::original(name),
        (Family::Flux2, _) => return flux2::original(name, config),
        _ => {}
    }
    match part {
        "transformer" => sd3::original(name, config),
        _ if config.family.is_sd3() && part.starts_with("text_encoder") => sd3::text(part, name),
        "unet" => {
            // diffusers' converter leaves the names that it does not know as they are: of attention on the coarsest level.
            let names = unet(name, per_level).into_iter().chain([name.into()]);
            names.map(|name| candidate(format!("{UNET}{name}"), Form::Same)).collect()
        }
        "vae" => {
            let form = packing(name, config).unwrap_or_else(|| attention_form(name));
            let packs = config.vae.network.kl().is_some_and(|network| network.packed);
            let levels = config.vae.network.factor().ilog2() as usize + usize::from(!packs);
            vec![candidate(format!("{VAE}{}", vae(name, levels)), form)]
        }
        "text_encoder_2" => [
            open_clip("conditioner.embedders.1.model.", name),
            transformers("conditioner.embedders.1.transformer.", name),
        ]
        .concat(),
        // The original of a 2.x model is OpenCLIP; some tools write transformers' names into it.
        _ if sdxl => transformers("conditioner.embedders.0.transformer.", name),
        _ => {
            let mut all = transformers("cond_stage_model.transformer.", name);
            all.extend(["cond_stage_model.model.", SGM_CLIP].into_iter().flat_map(|prefix| open_clip(prefix, name)));
            all
        }
    }
}

pub(super) fn transformers(prefix: &str, name: &str) -> Vec<Candidate> {
    let bare = name.strip_prefix("text_model.").unwrap_or(name);
    vec![candidate(format!("{prefix}{name}"), Form::Same), candidate(format!("{prefix}{bare}"), Form::Same)]
}

/// OpenCLIP's name: `transformer.resblocks.3.ln_1.weight` for `text_model.encoder.layers.3.layer_norm1.weight`.
pub(super) fn open_clip(prefix: &str, name: &str) -> Vec<Candidate> {
    let at = |name: &str, form| vec![candidate(format!("{prefix}{name}"), form)];
    let name = name.strip_prefix("text_model.").unwrap_or(name);
    let Some(layer) = name.strip_prefix("encoder.layers.") else {
        return match name {
            "embeddings.token_embedding.weight" => at("token_embedding.weight", Form::Same),
            "embeddings.position_embedding.weight" => at("positional_embedding", Form::Same),
            // Some tools store the layer, not the matrix.
            "text_projection.weight" => {
                [at("text_projection", Form::Transposed), at("text_projection.weight", Form::Same)].concat()
            }
            name => at(&name.replace("final_layer_norm", "ln_final"), Form::Same),
        };
    };
    let (i, rest) = layer.split_once('.').unwrap_or((layer, ""));
    for (third, projection) in ["self_attn.q_proj.", "self_attn.k_proj.", "self_attn.v_proj."].iter().enumerate() {
        if let Some(kind) = rest.strip_prefix(projection) {
            return at(&format!("transformer.resblocks.{i}.attn.in_proj_{kind}"), Form::Third(third));
        }
    }
    let pairs = [
        ("layer_norm1", "ln_1"),
        ("layer_norm2", "ln_2"),
        ("mlp.fc1", "mlp.c_fc"),
        ("mlp.fc2", "mlp.c_proj"),
        ("self_attn.out_proj", "attn.out_proj"),
    ];
    let rest = pairs.iter().fold(rest.to_string(), |rest, (new, old)| rest.replace(new, old));
    at(&format!("transformer.resblocks.{i}.{rest}"), Form::Same)
}

/// Splits `up_blocks.1.resnets.2.norm1.weight` at the numbers: `(1, "resnets", 2, "norm1.weight")`.
fn parts<'a>(name: &'a str, blocks: &str) -> Option<(usize, &'a str, usize, &'a str)> {
    let mut words = name.strip_prefix(blocks)?.splitn(4, '.');
    // Of a number that no model has, nothing can be counted.
    let number = |word: &str| word.parse::<u16>().ok().map(usize::from);
    let level = number(words.next()?)?;
    let kind = words.next()?;
    Some((level, kind, number(words.next()?)?, words.next()?))
}

/// LDM's names of a U-Net's tensor. A level has `per_level` numbers: its residual blocks' and that of what halves, or more,
/// as diffusers' converter counts three whatever there is (scripts/convert_diffusers_to_original_stable_diffusion.py).
pub(super) fn unet(name: &str, per_level: usize) -> Vec<String> {
    if let Some((level, kind, i, rest)) = parts(name, "down_blocks.") {
        // Block 0 is the first convolution; a level's last is the one that halves.
        return vec![match kind {
            "resnets" => format!("input_blocks.{}.0.{}", 1 + level * per_level + i, resnet(rest)),
            "attentions" => format!("input_blocks.{}.1.{rest}", 1 + level * per_level + i),
            _ => format!("input_blocks.{}.0.{}", (level + 1) * per_level, rest.replace("conv.", "op.")),
        }];
    }
    if let Some((i, kind, j, rest)) = parts(name, "up_blocks.") {
        let last = (i + 1) * per_level - 1;
        return match kind {
            "resnets" => vec![format!("output_blocks.{}.0.{}", i * per_level + j, resnet(rest))],
            "attentions" => vec![format!("output_blocks.{}.1.{rest}", i * per_level + j)],
            // Behind attention, if there is any.
            _ => [2, 1].map(|at| format!("output_blocks.{last}.{at}.{rest}")).into(),
        };
    }
    for (new, old) in [("resnets.0", 0), ("attentions.0", 1), ("resnets.1", 2)] {
        if let Some(rest) = name.strip_prefix(&format!("mid_block.{new}.")) {
            let rest = if old == 1 { rest.into() } else { resnet(rest) };
            return vec![format!("middle_block.{old}.{rest}")];
        }
    }
    let pairs = [
        ("conv_in.", "input_blocks.0.0."),
        ("time_embedding.linear_1.", "time_embed.0."),
        ("time_embedding.linear_2.", "time_embed.2."),
        ("time_embedding.cond_proj.", "time_embed.cond_proj."),
        ("add_embedding.linear_1.", "label_emb.0.0."),
        ("add_embedding.linear_2.", "label_emb.0.2."),
        ("conv_norm_out.", "out.0."),
        ("conv_out.", "out.2."),
    ];
    vec![replace_start(name, &pairs)]
}

fn resnet(rest: &str) -> String {
    let pairs = [
        ("norm1.", "in_layers.0."),
        ("conv1.", "in_layers.2."),
        ("time_emb_proj.", "emb_layers.1."),
        ("norm2.", "out_layers.0."),
        ("conv2.", "out_layers.3."),
        ("conv_shortcut.", "skip_connection."),
    ];
    replace_start(rest, &pairs)
}

pub(super) fn replace_start(name: &str, pairs: &[(&str, &str)]) -> String {
    let found = pairs.iter().find_map(|(new, old)| name.strip_prefix(new).map(|rest| format!("{old}{rest}")));
    found.unwrap_or_else(|| name.into())
}

/// LDM's name of an autoencoder's tensor, of one with so many levels: it counts the decoder's from the finest.
pub(super) fn vae(name: &str, levels: usize) -> String {
    let shortcut = |rest: &str| rest.replace("conv_shortcut", "nin_shortcut");
    if let Some((level, kind, i, rest)) = parts(name, "encoder.down_blocks.") {
        return match kind {
            "resnets" => format!("encoder.down.{level}.block.{i}.{}", shortcut(rest)),
            _ => format!("encoder.down.{level}.downsample.{rest}"),
        };
    }
    if let Some((i, kind, j, rest)) = parts(name, "decoder.up_blocks.") {
        let level = levels.saturating_sub(1 + i);
        return match kind {
            "resnets" => format!("decoder.up.{level}.block.{j}.{}", shortcut(rest)),
            _ => format!("decoder.up.{level}.upsample.{rest}"),
        };
    }
    let pairs = [
        (".mid_block.resnets.0.", ".mid.block_1."),
        (".mid_block.resnets.1.", ".mid.block_2."),
        (".mid_block.attentions.0.group_norm.", ".mid.attn_1.norm."),
        (".mid_block.attentions.0.to_q.", ".mid.attn_1.q."),
        (".mid_block.attentions.0.to_k.", ".mid.attn_1.k."),
        (".mid_block.attentions.0.to_v.", ".mid.attn_1.v."),
        (".mid_block.attentions.0.to_out.0.", ".mid.attn_1.proj_out."),
        (".conv_norm_out.", ".norm_out."),
    ];
    pairs.iter().fold(name.to_string(), |name, (new, old)| name.replace(new, old))
}
