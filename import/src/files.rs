//! The weight files of a folder.

use super::error::{ImportError, io};
use super::json::Json;
use super::scales;
use super::tensor_file::TensorFile;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Opens the weight files of a part.
pub(super) fn open(folder: &Path, variant: Option<&str>) -> Result<Vec<TensorFile>, ImportError> {
    weights(folder, variant)?.iter().map(|file| scales::open(file)).collect()
}

/// The weight files of a part: whole or in shards, of the variant that is asked for, or else the plain one, or else the
/// only one.
fn weights(folder: &Path, variant: Option<&str>) -> Result<Vec<PathBuf>, ImportError> {
    let names: Vec<String> = match fs::read_dir(folder) {
        Ok(entries) => {
            let mut names: Vec<String> = entries
                .filter_map(|e| e.ok()?.file_name().into_string().ok())
                .filter(|n| !n.starts_with('.'))
                .collect();
            names.sort_unstable();
            names
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let remedy = "model_index.json names this part: download the whole folder";
            return Err(ImportError::MissingFile { path: folder.into(), remedy });
        }
        Err(e) => return Err(io("read", folder)(e)),
    };
    let has = |name: &str| names.iter().any(|n| n == name);
    let variants: Vec<&str> = match variant {
        Some(variant) => vec![variant],
        None => ["", "fp16", "bf16", "fp32"].into(),
    };
    for variant in variants {
        for base in ["diffusion_pytorch_model", "model"] {
            let dot = if variant.is_empty() { String::new() } else { format!(".{variant}") };
            let whole = format!("{base}{dot}.safetensors");
            if has(&whole) {
                return Ok(vec![folder.join(whole)]);
            }
            for index in [format!("{base}.safetensors.index{dot}.json"), format!("{base}{dot}.safetensors.index.json")]
            {
                if has(&index) {
                    return shards(folder, &index);
                }
            }
        }
    }
    let ends = |end: &str| names.iter().find(|n| n.ends_with(end));
    if let Some(name) = ends(".bin").or_else(|| ends(".ckpt")).or_else(|| ends(".pt"))
        && ends(".safetensors").is_none()
    {
        return Err(ImportError::Pickle { path: folder.join(name) });
    }
    let remedy = match ends(".safetensors") {
        Some(name) if name.contains("-of-") => "there are shards, but not their index: download that too",
        Some(_) if variant.is_some() => "there are other variants: name one of those with --variant, or none",
        Some(_) => "there are other files: say which with --variant, as in --variant fp16 for model.fp16.safetensors",
        None => "this part has no weights: download the whole folder",
    };
    Err(ImportError::MissingFile { path: folder.join("*.safetensors"), remedy })
}

/// The files that an index names.
fn shards(folder: &Path, index: &str) -> Result<Vec<PathBuf>, ImportError> {
    let json = Json::open(&folder.join(index))?;
    let Some(map) = json.get("weight_map").and_then(Value::as_object).filter(|map| !map.is_empty()) else {
        return Err(json.wrong("weight_map", "the file of each tensor"));
    };
    let mut names = BTreeSet::new();
    for (tensor, file) in map {
        // Nothing outside the folder.
        let plain =
            file.as_str().filter(|f| f.ends_with(".safetensors") && !f.contains(['/', '\\']) && !f.contains(".."));
        let Some(file) = plain else {
            let why = format!("the file of {tensor:?} is {file}, expected the name of a .safetensors file beside it");
            return Err(ImportError::Json { path: json.path, why });
        };
        names.insert(file.to_string());
    }
    for name in &names {
        let path = folder.join(name);
        if !path.is_file() {
            return Err(ImportError::MissingFile { path, remedy: "the index names this shard: download it too" });
        }
    }
    Ok(names.iter().map(|name| folder.join(name)).collect())
}
