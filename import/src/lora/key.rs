//! What the tensors of a LoRA are called: kohya's names and all that diffusers wrote so far (its
//! `loaders/lora_conversion_utils.py` and `utils/state_dict_utils.py`), under one key for each module.

/// What a tensor is to its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Piece {
    /// The factor next to the input, `[rank][in]` or `[rank][in][kh][kw]`.
    Down,
    /// The factor next to the output, `[out][rank]` or `[out][rank][1][1]`.
    Up,
    /// LoCon's core between them, `[rank][rank][kh][kw]`.
    Mid,
    /// LoHa's: of each of two products the factor next to the output, that next to the input, and the core.
    Hada(usize, Factor),
    /// LoKr's: each of two matrices as it is.
    Lokr(usize),
    /// Or as a product.
    LokrProduct(usize, Factor),
    /// A number: the product is multiplied by it and divided by the rank.
    Alpha,
    /// DoRA's lengths of the rows or columns.
    Lengths,
    /// The same of PEFT, which are always of the rows.
    RowLengths,
}

/// Which factor of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Factor {
    Left,
    Right,
    Core,
}

use Factor::{Core, Left, Right};

/// How the names end, the longer of two that fit first (ComfyUI's comfy/weight_adapter/ knows the same).
const ENDINGS: [(&str, Piece); 32] = [
    // kohya
    (".lora_down.weight", Piece::Down),
    (".lora_up.weight", Piece::Up),
    (".lora_mid.weight", Piece::Mid),
    // PEFT; between A and the weight there may be the adapter's name, and some programs leave the weight out
    (".lora_A.weight", Piece::Down),
    (".lora_B.weight", Piece::Up),
    (".lora_A", Piece::Down),
    (".lora_B", Piece::Up),
    (".lora_magnitude_vector.weight", Piece::RowLengths),
    (".lora_magnitude_vector", Piece::RowLengths),
    // diffusers: its layers with a LoRA; before them, of encoders; before both, processors of attention
    (".lora.down.weight", Piece::Down),
    (".lora.up.weight", Piece::Up),
    (".lora_linear_layer.down.weight", Piece::Down),
    (".lora_linear_layer.up.weight", Piece::Up),
    ("_lora.down.weight", Piece::Down),
    ("_lora.up.weight", Piece::Up),
    (".lora_linear_layer.alpha", Piece::Alpha),
    ("_lora.alpha", Piece::Alpha),
    (".alpha", Piece::Alpha),
    // LyCORIS
    (".dora_scale", Piece::Lengths),
    (".hada_w1_a", Piece::Hada(0, Left)),
    (".hada_w1_b", Piece::Hada(0, Right)),
    (".hada_t1", Piece::Hada(0, Core)),
    (".hada_w2_a", Piece::Hada(1, Left)),
    (".hada_w2_b", Piece::Hada(1, Right)),
    (".hada_t2", Piece::Hada(1, Core)),
    (".lokr_w1", Piece::Lokr(0)),
    (".lokr_w1_a", Piece::LokrProduct(0, Left)),
    (".lokr_w1_b", Piece::LokrProduct(0, Right)),
    (".lokr_w2", Piece::Lokr(1)),
    (".lokr_w2_a", Piece::LokrProduct(1, Left)),
    (".lokr_w2_b", Piece::LokrProduct(1, Right)),
    (".lokr_t2", Piece::LokrProduct(1, Core)),
];

impl Piece {
    /// How it is called, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Down => "factor next to the input (lora_down, lora_A)",
            Self::Up => "factor next to the output (lora_up, lora_B)",
            _ => ENDINGS.iter().find(|(_, piece)| *piece == self).map_or("", |(ending, _)| &ending[1..]),
        }
    }
}

/// Words of names by which other forms are known; those that end with `_` are beginnings.
const FORMS: [(&str, &str); 5] = [
    ("oft_", "an OFT, of rotations"),
    ("diff", "a difference of whole weights"),
    ("diff_b", "a difference of whole biases"),
    ("string_to_param", "an embedding of words, which is no LoRA (--embedding)"),
    ("emb_params", "an embedding of words, which is no LoRA (--embedding)"),
];

/// The module's own name, and what the tensor is to it; `None` for what is no LoRA's.
pub(super) fn split(name: &str) -> Option<(&str, Piece)> {
    ENDINGS.iter().find_map(|&(ending, piece)| Some((name.strip_suffix(ending)?, piece))).or_else(|| {
        // `.lora_A.default.weight`, by the name of an adapter.
        let (named, _) = name.strip_suffix(".weight")?.rsplit_once('.')?;
        let piece = [(".lora_A", Piece::Down), (".lora_B", Piece::Up)];
        piece.into_iter().find_map(|(ending, piece)| Some((named.strip_suffix(ending)?, piece)))
    })
}

/// What a tensor is of that [`split`] does not know.
pub(super) fn form(name: &str) -> Option<&'static str> {
    let is = |word: &str, mark: &str| word == mark || mark.ends_with('_') && word.starts_with(mark);
    FORMS.iter().find(|(mark, _)| name.split('.').any(|word| is(word, mark))).map(|(_, form)| *form)
}

/// How names begin, and of which part they are then.
const PREFIXES: [(&str, &str); 20] = [
    // kohya (sd-scripts, networks/lora.py)
    ("lora_unet_", "unet"),
    ("lora_te_", "text_encoder"),
    ("lora_te1_", "text_encoder"),
    ("lora_te2_", "text_encoder_2"),
    ("lora_vae_", "vae"),
    // diffusers (loaders/lora_base.py)
    ("unet.", "unet"),
    ("text_encoder.", "text_encoder"),
    ("text_encoder_2.", "text_encoder_2"),
    ("vae.", "vae"),
    // ComfyUI (comfy/lora.py)
    ("model.diffusion_model.", "unet"),
    ("diffusion_model.", "unet"),
    ("text_encoders.clip_l.transformer.", "text_encoder"),
    ("text_encoders.clip_h.transformer.", "text_encoder"),
    ("text_encoders.clip_g.transformer.", "text_encoder_2"),
    ("clip_l.transformer.", "text_encoder"),
    ("clip_h.transformer.", "text_encoder"),
    ("clip_g.transformer.", "text_encoder_2"),
    ("first_stage_model.", "vae"),
    // LyCORIS, as SimpleTuner has it
    ("lycoris_unet_", "unet"),
    ("lycoris_", "unet"),
];

/// What PEFT puts before the names of a model, whichever it is (`PeftModel`).
const PEFT: &str = "base_model.model.";

/// Beginnings of modules of other networks, and what those are.
const FAMILIES: [(&str, &str); 13] = [
    ("transformer.", "a transformer (FLUX, SD 3 and others)"),
    ("lora_transformer_", "a transformer (FLUX, SD 3 and others)"),
    ("lora_unet_double_blocks_", "FLUX"),
    ("lora_unet_single_blocks_", "FLUX"),
    ("lora_unet_joint_blocks_", "SD 3"),
    ("diffusion_model.double_blocks.", "FLUX"),
    ("diffusion_model.single_blocks.", "FLUX"),
    ("diffusion_model.joint_blocks.", "SD 3"),
    ("diffusion_model.layers.", "a transformer (Z-Image, Lumina)"),
    ("text_encoders.t5xxl.", "T5, a text encoder of FLUX and SD 3"),
    ("lora_te3_", "T5, a text encoder of FLUX and SD 3"),
    ("lora_prior_", "Stable Cascade"),
    ("prior.", "Stable Cascade"),
];

/// Of which other network a module is, if its name says so.
pub(super) fn family(module: &str) -> Option<&'static str> {
    let module = module.strip_prefix(PEFT).unwrap_or(module);
    FAMILIES.iter().find(|(prefix, _)| module.starts_with(prefix)).map(|(_, family)| *family)
}

/// The key of a module: its part, and its path with `_` for every `.`, as in kohya's names, which so need not be taken
/// apart. The first LoRAs of diffusers were for the U-Net alone, and named no part; nor does PEFT.
pub(super) fn of_module(module: &str) -> String {
    let module = module.strip_prefix(PEFT).unwrap_or(module);
    let found = PREFIXES.iter().find_map(|(prefix, part)| module.strip_prefix(prefix).map(|path| (*part, path)));
    let unnamed = if module.starts_with("text_model.") { "text_encoder" } else { "unet" };
    let (part, path) = found.unwrap_or((unnamed, module));
    let path = path.strip_prefix(PEFT).unwrap_or(path);
    let path = path.replace('.', "_").replace("_processor_", "_");
    // The processors' names of layers.
    let ends: &[(&str, &str)] = match part {
        "unet" => &[("_to_out", "_to_out_0")],
        "vae" => &[],
        _ => &[("_to_q", "_q_proj"), ("_to_k", "_k_proj"), ("_to_v", "_v_proj"), ("_to_out", "_out_proj")],
    };
    let named = ends.iter().find_map(|(old, new)| path.strip_suffix(old).map(|rest| [rest, new].concat()));
    of(part, &named.unwrap_or(path))
}

/// The key of a layer of the model: `mid_block.attentions.0.proj_in` of `unet`, for example.
pub(super) fn of(part: &str, path: &str) -> String {
    [part, ".", &path.replace('.', "_")].concat()
}

/// Whether the module has a name of the original code (LDM's), not diffusers'. Some files have both, copies of each
/// other; diffusers takes its own then.
pub(super) fn is_original(module: &str) -> bool {
    let path = of_module(module);
    ["input_blocks_", "middle_block_", "output_blocks_", "time_embed_", "label_emb_", "out_"]
        .iter()
        .any(|start| path.strip_prefix("unet.").is_some_and(|path| path.starts_with(start)))
}
