//! What a single file says of what its network predicts: in its header, by a tensor, in a configuration beside it, or, if
//! nowhere, by its weights.

use super::aside;
use super::config::{Config, Family};
use super::detect::{UNET, per_level};
use super::error::ImportError;
use super::tensor_file::TensorFile;
use nijimi_runtime::model::LatentStatistics;
use nijimi_runtime::sampler::Field;
use std::fs;
use std::path::Path;

/// Keys of the header: the specification's (Stability-AI/ModelSpec), ComfyUI's, and both without the first word.
const KEYS: [&str; 4] = ["modelspec.prediction_type", "modelspec.predict_key", "prediction_type", "predict_key"];
/// kohya's flags.
const FLAGS: [&str; 2] = ["ss_v_parameterization", "v_parameterization"];
/// What the specification calls the two forms of 2.x.
const ARCHITECTURE: &str = "modelspec.architecture";
const ARCHITECTURES: [(&str, &str); 2] =
    [("stable-diffusion-v2-768-v", "v_prediction"), ("stable-diffusion-v2-512", "epsilon")];

/// Of Playground 2.5's autoencoder, whose latents are normalized before.
const PLAYGROUND_SCALE: f32 = 0.5;

/// Largest configuration beside a file that is looked at.
const MAX_YAML: u64 = 1 << 20;

/// Above this the biases are of a network that predicts v (ComfyUI, SD20.model_type in comfy/supported_models.py).
const V_DEVIATION: f64 = 0.09;

/// The prediction by one of the names that programs have for it.
fn named(text: &str) -> Option<&'static str> {
    let text = text.trim().trim_matches(['"', '\'']).to_lowercase().replace(['-', ' '], "_");
    match text.as_str() {
        "epsilon" | "eps" | "epsilon_prediction" | "eps_prediction" | "eps_pred" | "noise" => Some("epsilon"),
        "v" | "v_pred" | "vpred" | "v_prediction" | "vprediction" | "velocity" => Some("v_prediction"),
        "sample" | "x0" | "x_start" => Some("sample"),
        _ => None,
    }
}

/// Sets what the file says of its noise; `told` if its user says what it predicts.
pub(super) fn obey(
    path: &Path,
    file: &TensorFile,
    config: &mut Config,
    told: bool,
    notes: &mut Vec<String>,
) -> Result<(), ImportError> {
    if file.tensors().contains_key(aside::ZERO_SNR) {
        // The last level is all noise, and a run must begin there (Lin et al. 2023, "Common Diffusion Noise Schedules and
        // Sample Steps Are Flawed").
        let settings = &mut config.scheduler.settings;
        settings.retain(|(name, _)| name != "timestep_spacing");
        settings.push(("rescale_betas_zero_snr".into(), Field::Flag(true)));
        settings.push(("timestep_spacing".into(), Field::Text("trailing".into())));
    }
    // What answers with a flow says nothing else.
    if config.family.is_sd3() || edm(path, file, config)? {
        return Ok(());
    }
    let said = said(path, file)?;
    if let [(first, one), ..] = &said[..] {
        if let Some((second, other)) = said.iter().find(|(_, other)| other != one).filter(|_| !told) {
            let why =
                format!("{first} says that it predicts {one}, {second} {other}: say which with --prediction-type");
            return Err(ImportError::NotAModel { path: path.into(), why });
        }
        config.scheduler.prediction_type = (*one).into();
    } else if config.family == Family::Sd2 && config.denoiser.channels()[0] == config.vae.network.latent_channels() {
        let one = if deviation(file, config)? > V_DEVIATION { "v_prediction" } else { "epsilon" };
        config.scheduler.prediction_type = one.into();
        if !told {
            let other = if one == "epsilon" { "v_prediction" } else { "epsilon" };
            notes.push(format!(
                "the file does not say what its network predicts: taken for {one} by its weights; if pictures are noise, \
                 convert with --prediction-type {other}"
            ));
        }
    }
    Ok(())
}

/// Sets EDM's noise levels, where the file has their marks (ComfyUI's SDXL.model_type in comfy/supported_models.py; Playground's
/// settings are those of diffusers, loaders/single_file_utils.py).
fn edm(path: &Path, file: &TensorFile, config: &mut Config) -> Result<bool, ImportError> {
    let there = |names: &[&str]| names.iter().any(|name| file.tensors().contains_key(*name));
    let read = |name: &str| {
        let Some(entry) = file.tensors().get(name) else {
            let why = format!("it has EDM's marks, but not {name}: take the whole checkpoint");
            return Err(ImportError::NotAModel { path: path.into(), why });
        };
        let mut values = Vec::new();
        file.read(name, 0..entry.shape.iter().product(), &mut values)?;
        Ok(values)
    };
    let number = |name: &'static str| {
        let value = read(name)?.first().copied().map(f64::from);
        let why = format!("its tensor {name:?} has no number: take the whole checkpoint");
        value.ok_or_else(|| ImportError::NotAModel { path: path.into(), why })
    };
    let (class, prediction, sigma_data, [min, max]) = if there(&aside::EDM_STATISTICS) {
        let [mean, std] = aside::EDM_STATISTICS.map(read);
        config.vae.statistics = Some(LatentStatistics { mean: mean?, std: std? });
        config.vae.scaling_factor = PLAYGROUND_SCALE;
        ("EDMDPMSolverMultistepScheduler", "epsilon", 0.5, [0.002, 80.0])
    } else if there(&aside::EDM_V) {
        let [min, max] = aside::EDM_V.map(number);
        ("EDMEulerScheduler", "v_prediction", 1.0, [min?, max?])
    } else {
        return Ok(false);
    };
    // Nothing of these is looked at; they are what a configuration of diffusers leaves unsaid.
    let scheduler = &mut config.scheduler;
    (scheduler.beta_schedule, scheduler.beta_start, scheduler.beta_end) = ("linear".into(), 0.0001, 0.02);
    config.scheduler.class = class.into();
    config.scheduler.prediction_type = prediction.into();
    let numbers = [("sigma_min", min), ("sigma_max", max), ("sigma_data", sigma_data), ("rho", 7.0)];
    config.scheduler.settings = numbers.map(|(name, value)| (name.into(), Field::Number(value))).into();
    Ok(true)
}

/// All that the file says, and where.
fn said(path: &Path, file: &TensorFile) -> Result<Vec<(String, &'static str)>, ImportError> {
    let mut said = Vec::new();
    for key in KEYS {
        let Some(text) = file.metadata().get(key).filter(|text| !["", "None", "null"].contains(&text.trim())) else {
            continue;
        };
        let one = named(text).ok_or_else(|| ImportError::Config {
            path: path.into(),
            key: format!("{key} in its header"),
            found: format!("{text:?}"),
            expected: "epsilon, v or sample: other predictions cannot be drawn yet".into(),
        })?;
        said.push((format!("{key} in its header"), one));
    }
    let header = |key: &str| file.metadata().get(key).map(|text| text.trim().to_lowercase());
    for key in FLAGS {
        if header(key).is_some_and(|text| text == "true" || text == "1") {
            said.push((format!("{key} in its header"), "v_prediction"));
        }
    }
    if let Some(text) = header(ARCHITECTURE) {
        let found = ARCHITECTURES.iter().find(|(name, _)| text == *name);
        said.extend(found.map(|(_, one)| (format!("{ARCHITECTURE} in its header"), *one)));
    }
    if file.tensors().contains_key(aside::V_PREDICTION) {
        said.push((format!("its tensor {}", aside::V_PREDICTION), "v_prediction"));
    }
    said.extend(beside(path));
    Ok(said)
}

/// The `parameterization` of the original code's configuration, called as the file, which the web UI reads too
/// (find_checkpoint_config in modules/sd_models_config.py).
fn beside(path: &Path) -> Option<(String, &'static str)> {
    let yaml = path.with_extension("yaml");
    fs::metadata(&yaml).ok().filter(|about| about.is_file() && about.len() <= MAX_YAML)?;
    let text = fs::read_to_string(&yaml).ok()?;
    let one = text.lines().find_map(|line| line.trim().strip_prefix("parameterization:")).and_then(named)?;
    Some((format!("{} beside it", yaml.file_name()?.to_string_lossy()), one))
}

/// How far the biases before the network's last transformer are spread; nothing where it has none.
fn deviation(file: &TensorFile, config: &Config) -> Result<f64, ImportError> {
    let Some(unet) = config.unet() else { return Ok(0.0) };
    let (levels, layers) = (unet.levels.len(), unet.layers_per_block());
    let last = (levels - 1) * per_level(&file.shapes(), UNET) + layers;
    let name = format!("{UNET}output_blocks.{last}.1.transformer_blocks.0.norm1.bias");
    let Some(entry) = file.tensors().get(&name) else { return Ok(0.0) };
    let mut values = Vec::new();
    file.read(&name, 0..entry.shape.iter().product(), &mut values)?;
    let n = values.len().max(1) as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    Ok((values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n).sqrt())
}
