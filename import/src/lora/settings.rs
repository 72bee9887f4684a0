//! What is said of a LoRA beside its tensors: PEFT's configuration of each part in the header, by diffusers, or in a file of
//! its own, by PEFT.

use crate::error::{ImportError, LoraError};
use crate::json::Json;
use crate::tensor_file::TensorFile;
use regex_lite::Regex;
use serde_json::{Map, Value};

/// The key in the header (diffusers, `loaders/lora_base.py`).
const KEY: &str = "lora_adapter_metadata";

/// The JSON object: `unet.lora_alpha`, `text_encoder.alpha_pattern` and so on.
pub(super) struct LoraSettings<'a> {
    file: &'a TensorFile,
    map: Map<String, Value>,
    /// PEFT's own, which is of one part.
    beside: Option<Json>,
}

/// How PEFT calls weights and configuration (`WEIGHTS_NAME` and `CONFIG_NAME` in its constants.py).
const BESIDE: [&str; 2] = ["adapter_model.safetensors", "adapter_config.json"];

impl<'a> LoraSettings<'a> {
    /// Those of a file; none if it says nothing.
    pub fn read(file: &'a TensorFile) -> Result<Self, ImportError> {
        let map = match file.metadata().get(KEY) {
            Some(text) => serde_json::from_str(text)
                .map_err(|e| LoraError::Metadata { path: file.path().into(), why: e.to_string() })?,
            None => Map::new(),
        };
        let config = file.path().with_file_name(BESIDE[1]);
        let own = file.path().file_name().is_some_and(|name| name == BESIDE[0]) && config.is_file();
        let beside = own.then(|| Json::open(&config)).transpose()?;
        Ok(Self { file, map, beside })
    }

    /// By what the product of a module's factors is multiplied: `alpha / rank`, or with `use_rslora` `alpha / sqrt(rank)`
    /// (Kalajdzievski 2023, "A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA"). A module's own `alpha`
    /// comes before the header's, and both before the rank.
    pub fn scale(&self, module: &str, own: Option<f32>, rank: usize) -> Result<f32, LoraError> {
        let rank = rank as f32;
        let (part, path) = module.split_once('.').unwrap_or_default();
        let beside = |name: &str| self.beside.as_ref().and_then(|json| json.get(name));
        let get = |name: &str| self.map.get(&format!("{part}.{name}")).or_else(|| beside(name));
        let alpha = match own {
            Some(own) => own,
            None => self
                .pattern(get("alpha_pattern"), path)?
                .or(get("lora_alpha"))
                .and_then(Value::as_f64)
                .map_or(rank, |a| a as f32),
        };
        let stabilized = get("use_rslora").and_then(Value::as_bool).unwrap_or_default();
        let scale = alpha / if stabilized { rank.sqrt() } else { rank };
        if !scale.is_finite() {
            return Err(self.refuse(format!("the alpha of {module} is {alpha}")));
        }
        Ok(scale)
    }

    /// The entry whose key, a regular expression, is the end of the path, from a dot on (PEFT's `get_pattern_key`).
    fn pattern<'s>(&'s self, patterns: Option<&'s Value>, path: &str) -> Result<Option<&'s Value>, LoraError> {
        for (key, value) in patterns.and_then(Value::as_object).into_iter().flatten() {
            let pattern = Regex::new(&format!(r"^(.*\.)?({key})$"))
                .map_err(|e| self.refuse(format!("the pattern {key:?}: {e}")))?;
            if pattern.is_match(path) {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    fn refuse(&self, why: String) -> LoraError {
        LoraError::Metadata { path: self.file.path().into(), why }
    }
}
