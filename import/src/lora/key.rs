//! What the tensors of a LoRA are called: kohya's names and all that diffusers wrote so far (its
//! `loaders/lora_conversion_utils.py` and `utils/state_dict_utils.py`), under one key for each module.

/// What a tensor is to its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// The factor next to the input, `[rank][in]` or `[rank][in][kh][kw]`.
    Down,
    /// The factor next to the output, `[out][rank]` or `[out][rank][1][1]`.
    Up,
    /// LoCon's core between them, `[rank][rank][kh][kw]`.
    Mid,
    /// A number: the product is multiplied by it and divided by the rank.
    Alpha,
}

/// How the names end, the longer of two that fit first.
const ENDINGS: [(&str, Piece); 14] = [
    // kohya
    (".lora_down.weight", Piece::Down),
    (".lora_up.weight", Piece::Up),
    (".lora_mid.weight", Piece::Mid),
    // PEFT
    (".lora_A.weight", Piece::Down),
    (".lora_B.weight", Piece::Up),
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
];

/// Words of names by which other forms are known; those that end with `_` are beginnings.
const FORMS: [(&str, &str); 9] = [
    ("dora_scale", "a DoRA, which scales and turns weights apart"),
    ("lora_magnitude_vector", "a DoRA, which scales and turns weights apart"),
    ("hada_", "a LoHa, of elementwise products"),
    ("lokr_", "a LoKr, of Kronecker products"),
    ("oft_", "an OFT, of rotations"),
    ("diff", "a difference of whole weights"),
    ("diff_b", "a difference of whole biases"),
    ("string_to_param", "an embedding of words"),
    ("emb_params", "an embedding of words"),
];

/// The module's own name, and what the tensor is to it; `None` for what is no LoRA's.
pub(super) fn split(name: &str) -> Option<(&str, Piece)> {
    ENDINGS.iter().find_map(|&(ending, piece)| name.strip_suffix(ending).map(|module| (module, piece)))
}

/// What a tensor is of that [`split`] does not know.
pub(super) fn form(name: &str) -> Option<&'static str> {
    let is = |word: &str, mark: &str| word == mark || mark.ends_with('_') && word.starts_with(mark);
    FORMS.iter().find(|(mark, _)| name.split('.').any(|word| is(word, mark))).map(|(_, form)| *form)
}

/// How names begin, and of which part they are then.
const PREFIXES: [(&str, &str); 9] = [
    ("lora_unet_", "unet"),
    ("lora_te_", "text_encoder"),
    ("lora_te1_", "text_encoder"),
    ("lora_te2_", "text_encoder_2"),
    ("unet.", "unet"),
    ("text_encoder.", "text_encoder"),
    ("text_encoder_2.", "text_encoder_2"),
    ("model.diffusion_model.", "unet"),
    ("diffusion_model.", "unet"),
];

/// The key of a module: its part, and its path with `_` for every `.`, as in kohya's names, which so need not be taken
/// apart. The first LoRAs of diffusers were for the U-Net alone, and named no part.
pub(super) fn of_module(module: &str) -> String {
    let found = PREFIXES.iter().find_map(|(prefix, part)| module.strip_prefix(prefix).map(|path| (*part, path)));
    let (part, path) = found.unwrap_or(("unet", module));
    let path = path.replace('.', "_").replace("_processor_", "_");
    // The processors' names of layers.
    let ends: &[(&str, &str)] = match part {
        "unet" => &[("_to_out", "_to_out_0")],
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
