//! FP8 weights with a factor each, as ComfyUI writes them: `scale_weight` beside a `weight` (comfy/ops.py, scaled_fp8_ops),
//! or `weight_scale` with the format's name in JSON, `comfy_quant` beside it or `_quantization_metadata` in the header.
//! The weight is what is stored times the factor. Factors of a layer's input are for products in FP8, which are not made here.

use super::error::ImportError;
use super::tensor_file::TensorFile;
use serde_json::Value;
use std::path::Path;

/// Two spellings of one factor.
const WEIGHT: [&str; 2] = [".scale_weight", ".weight_scale"];
const INPUT: [&str; 2] = [".scale_input", ".input_scale"];
/// JSON, as bytes.
const FORMAT: &str = ".comfy_quant";
/// The same of all layers, in the header.
pub(super) const FORMATS: &str = "_quantization_metadata";
/// Says that there are factors.
const MARK: &str = "scaled_fp8";

/// Longest JSON of a layer.
const MAX_JSON: usize = 1 << 16;

/// Opens a file of weights, multiplied by the factors beside them.
pub(super) fn open(path: &Path) -> Result<TensorFile, ImportError> {
    let mut file = TensorFile::open(path)?;
    let refuse = |why: String| ImportError::NotAModel { path: path.into(), why };
    if let Some(text) = file.metadata().get(FORMATS) {
        let json: Value = serde_json::from_str(text).map_err(|e| refuse(format!("{FORMATS} in its header: {e}")))?;
        let layers = json.get("layers").and_then(Value::as_object);
        for (layer, about) in layers.into_iter().flatten() {
            check(&file, layer, about).map_err(|why| refuse(format!("{FORMATS} in its header: {why}")))?;
        }
    }
    let names: Vec<String> = file.tensors().keys().cloned().collect();
    for name in names {
        let ends = |ends: &[&str]| ends.iter().find_map(|end| name.strip_suffix(end));
        if let Some(layer) = ends(&WEIGHT) {
            let factor = factor(&file, &name)?;
            let weight = file.tensors_mut().get_mut(&format!("{layer}.weight"));
            let Some(weight) = weight.filter(|weight| weight.scale == 1.0 && weight.is_read()) else {
                let why = "is a factor of no weight, or a second of one: it is damaged, or of a variant not supported";
                return Err(refuse(format!("its tensor {name:?} {why}")));
            };
            weight.scale = factor;
        } else if let Some(layer) = name.strip_suffix(FORMAT) {
            let json = serde_json::from_slice(&file.bytes(&name, MAX_JSON)?).map_err(|e| e.to_string());
            json.and_then(|about| check(&file, layer, &about))
                .map_err(|e| refuse(format!("its tensor {name:?}: {e}")))?;
        } else if ends(&INPUT).is_none() && name != MARK && !name.ends_with(&format!(".{MARK}")) {
            continue;
        }
        file.tensors_mut().remove(&name);
    }
    Ok(file)
}

/// The one number of a tensor.
fn factor(file: &TensorFile, name: &str) -> Result<f32, ImportError> {
    let shape = &file.tensors()[name].shape;
    if shape.iter().any(|&n| n != 1) {
        let (name, found) = (name.into(), shape.clone());
        return Err(ImportError::Shape { path: file.path().into(), name, found, expected: vec![1] });
    }
    let factor = file.number(name)? as f32;
    match factor.is_normal() {
        true => Ok(factor),
        false => {
            let why = format!("its tensor {name:?} is {factor}, which nothing can be multiplied by: it is damaged");
            Err(ImportError::NotAModel { path: file.path().into(), why })
        }
    }
}

/// That a layer's format is that of its weight, and nothing more is said of it than is known.
fn check(file: &TensorFile, layer: &str, about: &Value) -> Result<(), String> {
    let format = about.get("format").and_then(Value::as_str).unwrap_or_default();
    let dtype = match format {
        "float8_e4m3fn" => "F8_E4M3",
        "float8_e5m2" => "F8_E5M2",
        _ => return Err(format!("{layer:?} is of the format {format:?}: only float8_e4m3fn and float8_e5m2 are read")),
    };
    let harmless = ["format", "full_precision_matrix_mult"];
    if let Some(key) = about.as_object().into_iter().flat_map(|map| map.keys()).find(|key| !harmless.contains(&&***key))
    {
        return Err(format!("{layer:?} has the setting {key:?}, which is not known, and cannot be obeyed"));
    }
    match file.tensors().get(&format!("{layer}.weight")) {
        Some(weight) if weight.dtype == dtype => Ok(()),
        Some(weight) => Err(format!("{layer:?} is {format}, but its weight is stored as {}", weight.dtype)),
        None => Err(format!("{layer:?} has no weight")),
    }
}
