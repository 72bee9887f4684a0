//! The file: safetensors, with the names that other programs know.
use super::network::{Layer, Pair};
use crate::error::Result;
use nijimi_runtime::quant::{self, DType};
use serde_json::{Map, Value, json};

/// Whose names the tensors have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// kohya's (sd-scripts, networks/lora.py), which most programs read.
    Kohya,
    /// diffusers', which are PEFT's.
    Diffusers,
}

impl std::str::FromStr for Format {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "kohya" => Ok(Self::Kohya),
            "diffusers" => Ok(Self::Diffusers),
            _ => Err("expected kohya or diffusers".into()),
        }
    }
}

/// What a file is written with.
pub struct Written<'w> {
    /// Whose names.
    pub format: Format,
    /// f32 or f16.
    pub dtype: DType,
    /// Columns of `up`.
    pub rank: usize,
    /// The factors' product is multiplied with alpha / rank.
    pub alpha: f32,
    /// How many text encoders the model has.
    pub texts: usize,
    /// Words about the training, by name.
    pub about: Vec<(&'w str, String)>,
}

/// What kohya's names begin with.
fn kohya(layer: &Layer, texts: usize) -> String {
    let (part, path) = layer.name.split_once('.').unwrap_or(("", &layer.name));
    let part = match (part, texts) {
        ("unet", _) => "lora_unet_",
        ("text_encoder", 1) => "lora_te_",
        ("text_encoder", _) => "lora_te1_",
        _ => "lora_te2_",
    };
    format!("{part}{}", path.replace('.', "_"))
}

/// By the ends of names, which are the same in all versions: what diffusers makes PEFT's configuration of (`lora_adapter_metadata`).
fn settings(layers: &[Layer], w: &Written<'_>) -> String {
    let mut all = Map::new();
    for layer in layers {
        let (part, _) = layer.name.split_once('.').unwrap_or(("", &layer.name));
        all.insert(format!("{part}.r"), json!(w.rank));
        all.insert(format!("{part}.lora_alpha"), json!(w.alpha));
        if let Value::Array(targets) = all.entry(format!("{part}.target_modules")).or_insert_with(|| json!([])) {
            let target = json!(layer.ending);
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
    }
    Value::Object(all).to_string()
}

/// The file's bytes.
///
/// # Errors
/// Numbers that the type cannot hold.
pub fn bytes(layers: &[Layer], pairs: &[Pair<'_>], w: &Written<'_>) -> Result<Vec<u8>> {
    let mut data = Vec::new();
    let mut header = Map::new();
    let dtype = if w.dtype == DType::F32 { "F32" } else { "F16" };
    let mut tensor = |name: String, shape: Vec<usize>, values: &[f32]| -> Result<()> {
        let from = data.len();
        quant::encode(w.dtype, values, &mut data)
            .map_err(|e| nijimi_runtime::Error::from(nijimi_runtime::raw::plan::ExecError::from(e)))?;
        header.insert(name, json!({"dtype": dtype, "shape": shape, "data_offsets": [from, data.len()]}));
        Ok(())
    };
    for (layer, [down, up]) in layers.iter().zip(pairs) {
        let [inp, out] = layer.sides;
        let taps = || if layer.convolution { vec![1, 1] } else { Vec::new() };
        let shapes = [[vec![w.rank, inp], taps()].concat(), [vec![out, w.rank], taps()].concat()];
        let (name, ends) = match w.format {
            Format::Kohya => (kohya(layer, w.texts), [".lora_down.weight", ".lora_up.weight"]),
            Format::Diffusers => (layer.name.clone(), [".lora_A.weight", ".lora_B.weight"]),
        };
        for ((end, shape), values) in ends.into_iter().zip(shapes).zip([down, up]) {
            tensor(format!("{name}{end}"), shape, values)?;
        }
        if w.format == Format::Kohya {
            tensor(format!("{name}.alpha"), Vec::new(), &[w.alpha])?;
        }
    }
    let mut about: Map<String, Value> = w.about.iter().map(|(k, v)| ((*k).into(), json!(v))).collect();
    about.insert("format".into(), json!("pt"));
    match w.format {
        Format::Kohya => {
            about.insert("ss_network_module".into(), json!("networks.lora"));
            about.insert("ss_network_dim".into(), json!(w.rank.to_string()));
            about.insert("ss_network_alpha".into(), json!(w.alpha.to_string()));
        }
        Format::Diffusers => {
            about.insert("lora_adapter_metadata".into(), json!(settings(layers, w)));
        }
    }
    header.insert("__metadata__".into(), Value::Object(about));
    let mut header = Value::Object(header).to_string();
    // Tensors begin on whole words.
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    Ok(file)
}
