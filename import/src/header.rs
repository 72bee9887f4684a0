//! The texts in the header of a single file: which are known, and which a person should be told of.

use super::scales;
use super::tensor_file::TensorFile;

/// Texts that change no picture. A name that ends with `.`, `_` or `-` is a beginning.
const HARMLESS: [&str; 17] = [
    // safetensors and PyTorch.
    "format",
    "total_size",
    // Stability-AI/ModelSpec: all but what is told of below and what `marks.rs` obeys is for people and catalogues.
    "modelspec.",
    // What files were merged of (the web UI's extras.py, ComfyUI, sd-meh), and their hashes (the web UI's hashes.py).
    "sd_merge_",
    "merge_",
    "merged_",
    "sshs_",
    "hash",
    // kohya's record of the training.
    "ss_",
    // ComfyUI's record of how a file was made (comfy_extras/nodes_model_merging.py).
    "prompt",
    "workflow",
    "extra_pnginfo",
    // Programs and people that name themselves.
    "name",
    "title",
    "author",
    "description",
    "license",
];

/// Texts that are obeyed.
const OBEYED: [&str; 4] = ["prediction_type", "predict_key", "v_parameterization", scales::FORMATS];

/// Names that a message lists.
const LISTED: usize = 5;

/// What a user should know of it.
pub(super) fn notes(file: &TensorFile) -> Vec<String> {
    let mut notes = Vec::new();
    let number = |key: &str| file.metadata().get(key).and_then(|text| text.trim().parse::<u32>().ok());
    if let Some(layer) = number("modelspec.encoder_layer").filter(|layer| *layer > 1) {
        notes.push(format!("its header says that it is best with --clip-skip {layer} (modelspec.encoder_layer)"));
    }
    let range = file.metadata().get("modelspec.timestep_range").map(|text| text.replace(' ', ""));
    if let Some(range) = range.filter(|range| !["", "0,999", "0,1000", "None"].contains(&&**range)) {
        notes.push(format!("its header says that it is for the timesteps {range:?} alone (modelspec.timestep_range)"));
    }
    let known = |name: &str| {
        let harmless = |known: &&str| match known.ends_with(['.', '_', '-']) {
            true => name.starts_with(known),
            false => name == *known,
        };
        HARMLESS.iter().any(harmless) || OBEYED.contains(&name)
    };
    let unknown: Vec<_> = file.metadata().keys().filter(|name| !known(name)).collect();
    if !unknown.is_empty() {
        let more = if unknown.len() > LISTED { ", …" } else { "" };
        let names: Vec<_> = unknown.iter().take(LISTED).map(|name| format!("{name:?}")).collect();
        notes.push(format!(
            "its header has {} texts that are not known, and not obeyed: {}{more}",
            unknown.len(),
            names.join(", ")
        ));
    }
    notes
}
