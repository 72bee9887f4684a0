//! Whole pictures among the fixtures: which there are, and how each was drawn, by its name.
#![allow(dead_code, reason = "not every test file uses everything")]

use super::diffusers::{Tensors, fixtures, metadata};
use nijimi_import::{Checkpoint, Options, Types, convert};
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{
    Control, DepthMap, Device, ImagePrompt, IpAdapter, LatentControl, LatentRequest, OpenOptions, Patch, PromptSyntax,
    ReferenceImage, SeenImages, SkipLayers, Stored, TextToImage,
};
use nijimi_runtime::quant::{self, DType};
use nijimi_runtime::sampler::{Calls, Sigmas, Solver, SolverSettings};
use nijimi_runtime::schedule::Spacing;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A published pipeline with pictures of the reference implementation.
pub struct Family {
    pub name: String,
    pub folder: PathBuf,
    pub tensors: Tensors,
    pub said: Value,
}

/// How a picture was drawn.
pub struct Way {
    /// The model's own if none is named.
    solver: Option<Solver>,
    sigmas: Option<Sigmas>,
    guidance_scale: f32,
    guidance_rescale: f32,
    normalization: Option<f32>,
    truncation: Option<f32>,
    /// Of a run that starts from a picture.
    strength: Option<f64>,
    /// Of a ControlNet.
    control: Option<f32>,
    /// Of a LoRA.
    pub lora: Option<f32>,
    /// Of an IP-Adapter.
    image: Option<f32>,
    /// How strongly the picture that is changed is kept to.
    image_guidance_scale: Option<f32>,
    /// A block that skip-layer guidance leaves out.
    skipped: Option<usize>,
    /// If not as many as the golden says.
    steps: Option<usize>,
    /// `HxW`, of a golden of several sizes.
    pub size: Option<String>,
}

/// What leads a picture beside its prompt.
#[derive(Clone, Copy, Default)]
pub struct Led<'a> {
    pub control: Option<&'a Control>,
    /// An IP-Adapter, and what is seen of the first picture, and of both.
    pub image: Option<(&'a IpAdapter, [&'a SeenImages; 2])>,
}

/// Z-Image's `g3` as `cfg4`: its pipeline counts from 0.
fn cfg(part: &str) -> String {
    let scale = part.strip_prefix('g').and_then(|scale| scale.parse::<f32>().ok());
    scale.map_or_else(|| part.into(), |scale| format!("cfg{}", scale + 1.0))
}

/// Reads
/// `image_[wide_|pair_|two_|long_|img2img_]METHOD[_karras][_s0.6]_cfg5[_rescale0.7][_norm1][_trunc0.5][_control0.7][_lora0.8][_ip0.6][_img1.5][_skip1][_steps1][_72x88]`,
/// METHOD being a name of the command line's with `pp` for `++`, after `edm` where the noise levels are; without it the model's own
/// is meant.
pub fn way(name: &str) -> Option<Way> {
    let rest = name.strip_prefix("image_")?;
    let kinds = ["wide_", "pair_", "two_", "long_", "img2img_", "edit1_", "edit2_"];
    let rest = kinds.iter().find_map(|kind| rest.strip_prefix(kind)).unwrap_or(rest);
    let rest = &rest.split('_').map(cfg).collect::<Vec<_>>().join("_");
    let own = format!("own_{rest}");
    let rest = if rest.starts_with("cfg") || rest.starts_with("s0.") { &own } else { rest };
    let (method, cfg) = rest.split_once("_cfg")?;
    let (method, strength) = match method.rsplit_once("_s") {
        Some((method, strength)) if name.contains("img2img") => (method, Some(strength.parse().ok()?)),
        _ => (method, None),
    };
    let mut numbers = cfg.split('_');
    let (method, sigmas) = match method.rsplit_once('_') {
        Some((method, spread)) if Sigmas::from_name(spread).is_some() => (method, Sigmas::from_name(spread)),
        _ => (method, None),
    };
    let solver = match method {
        "own" => None,
        method => Some(Solver::from_name(&method.strip_prefix("edm").unwrap_or(method).replace("dpmpp", "dpm++"))?),
    };
    let mut way = Way {
        solver,
        sigmas,
        guidance_scale: numbers.next()?.parse().ok()?,
        guidance_rescale: 0.0,
        normalization: None,
        truncation: None,
        strength,
        control: None,
        lora: None,
        image: None,
        image_guidance_scale: None,
        skipped: None,
        steps: None,
        size: None,
    };
    for number in numbers {
        let is_side = |side: &str| side.parse::<usize>().is_ok();
        if number.split_once('x').is_some_and(|(height, width)| is_side(height) && is_side(width)) {
            way.size = Some(number.to_owned());
            continue;
        }
        let at = number.find(|c: char| c.is_ascii_digit())?;
        let (what, value): (_, f32) = (&number[..at], number[at..].parse().ok()?);
        match what {
            "img" => way.image_guidance_scale = Some(value),
            "skip" => way.skipped = Some(value as usize),
            "steps" => way.steps = Some(value as usize),
            "rescale" => way.guidance_rescale = value,
            "norm" => way.normalization = Some(value),
            "trunc" => way.truncation = Some(value),
            "control" => way.control = Some(value),
            "lora" => way.lora = Some(value),
            "ip" => way.image = Some(value),
            _ => return None,
        }
    }
    Some(way)
}

/// All families of a folder of fixtures, by name.
pub fn goldens(fixtures: &Path) -> Vec<Family> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(fixtures.join("pipelines")).unwrap() {
        let path = entry.unwrap().path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".golden.safetensors")) else {
            continue;
        };
        let folder = path.with_file_name(name);
        found.push(Family { name: name.to_owned(), folder, tensors: Tensors::read(&path), said: metadata(&path) });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// The project's own that are whole pipelines of prompts.
pub fn families() -> Vec<Family> {
    let all = goldens(&fixtures());
    let reads =
        |family: &Family| family.folder.join("model_index.json").is_file() && family.folder.join("tokenizer").is_dir();
    all.into_iter().filter(reads).collect()
}

/// A checkpoint as one of our files.
pub fn bytes(path: &Path, options: &Options, dtype: DType) -> Vec<u8> {
    let checkpoint = Checkpoint::open(path, options).unwrap();
    let out = std::env::temp_dir().join(format!(
        "nijimi-pipelines-{}-{:?}-{}-{}.gguf",
        std::process::id(),
        std::thread::current().id(),
        path.file_name().unwrap().to_str().unwrap(),
        dtype.name()
    ));
    convert(&checkpoint, &out, "test", &Types::new(dtype), |_| {}).unwrap();
    let bytes = std::fs::read(&out).unwrap();
    std::fs::remove_file(&out).unwrap();
    bytes
}

impl Family {
    /// As one of our files.
    pub fn bytes(&self, dtype: DType) -> Vec<u8> {
        bytes(&self.folder, &Options::default(), dtype)
    }

    /// All in memory.
    pub fn model(&self, dtype: DType) -> TextToImage {
        TextToImage::load(&File::new_checked(&self.bytes(dtype)).unwrap(), &Device::Cpu).unwrap()
    }

    /// What the golden says of itself.
    pub fn said(&self, key: &str) -> &str {
        self.said[key].as_str().unwrap_or_else(|| panic!("{} does not say its {key}", self.name))
    }

    /// Names of its pictures.
    pub fn pictures(&self) -> impl Iterator<Item = &str> {
        self.tensors.names().map(String::as_str).filter(|name| name.starts_with("image_") && *name != "image_latents")
    }

    /// Draws the picture `name`, and gives the greatest difference from the reference's, of a picture in [0, 1].
    pub fn far(&self, model: &TextToImage, control: Option<&Control>, name: &str) -> f32 {
        self.far_led(model, Led { control, image: None }, name)
    }

    /// The same, of a picture that is led.
    pub fn far_led(&self, model: &TextToImage, led: Led<'_>, name: &str) -> f32 {
        let worst = self.differences_led(model, led, name).into_iter().fold(0.0, f32::max);
        println!("{} {name}: {:.4} / 255", self.name, worst * 255.0);
        worst
    }

    /// Draws the picture `name`, and gives the difference of each of its values from the reference's.
    pub fn differences(&self, model: &TextToImage, control: Option<&Control>, name: &str) -> Vec<f32> {
        self.differences_led(model, Led { control, image: None }, name)
    }

    fn differences_led(&self, model: &TextToImage, led: Led<'_>, name: &str) -> Vec<f32> {
        let way = way(name).unwrap_or_else(|| panic!("{} {name}: drawn in an unknown way", self.name));
        // FLUX.2's pipeline takes none.
        let empty = self.said["negatives"].as_str() == Some("always empty");
        let (negative, steps) = (if empty { "" } else { self.said("negative_prompt") }, self.said("steps"));
        let prompt = self.said(if name.starts_with("image_long_") { "long_prompt" } else { "prompt" });
        let picture = self.tensors.get(name);
        let (shape, want) = (&picture.shape, picture.channels_last());
        let pair = name.starts_with("image_pair_");
        // Of different lengths, where it is said.
        let listed = |key: &str, own: [&str; 2]| -> Vec<String> {
            let list = self.said[key].as_str().filter(|_| pair).map(|list| serde_json::from_str(list).unwrap());
            list.unwrap_or_else(|| own[..if pair { 2 } else { 1 }].iter().map(|text| (*text).to_owned()).collect())
        };
        let prompts = listed("pair_prompts", [prompt, negative]);
        let negatives = listed("pair_negatives", if pair && !empty { ["", prompt] } else { [negative, ""] });
        let latents = match &way.size {
            Some(size) => format!("latents_{size}"),
            None if pair => "latents_pair".into(),
            None if name.starts_with("image_wide_") => "latents_wide".into(),
            None if way.strength.is_some() => "img2img_noise".into(),
            None => "latents".into(),
        };
        let latents = self.tensors.get(&latents).channels_last();
        // Stored in [-1, 1].
        let unit = |name: &str| -> Option<Vec<f32>> {
            Some(self.tensors.find(name)?.channels_last().iter().map(|v| v / 2.0 + 0.5).collect())
        };
        let start = if way.strength.is_some() { unit("img2img_init") } else { unit("init_image") };
        let depth = self.tensors.find("depth_image").filter(|_| model.info().sees_depth());
        let depth = depth.map(|map| DepthMap { values: &map.values, size: [map.shape[2], map.shape[3]] });
        let mask = self.tensors.find("mask").map(|mask| mask.values.clone());
        // Stored in [0, 1].
        let looked_at = |i: usize| name.starts_with(&format!("image_edit{i}_")) || name.starts_with("image_edit2_");
        let looked_at: Vec<_> = (0..2).filter(|i| looked_at(i + 1)).map(|i| format!("ref_image_{i}")).collect();
        let looked_at: Vec<_> = looked_at
            .iter()
            .map(|name| {
                let tensor = self.tensors.get(name);
                (tensor.channels_last(), [tensor.shape[2], tensor.shape[3]])
            })
            .collect();
        let (schedule, mut settings) = model
            .info()
            .settings_for(
                [shape[2], shape[3]],
                way.solver,
                way.sigmas,
                way.steps.unwrap_or_else(|| steps.parse().unwrap()),
            )
            .unwrap();
        // Beside another scheduler, DDIM is as Stable Diffusion 1.x has it, whatever the folder says.
        if matches!(way.solver, Some(Solver::Ddim { .. })) && model.info().scheduler != "DDIMScheduler" {
            let solver = Solver::Ddim { eta: 0.0, set_alpha_to_one: false };
            settings = SolverSettings { solver, spacing: Spacing::Leading, steps_offset: 1, ..settings };
        }
        if let Some(strength) = way.strength {
            settings = settings.from_strength(strength);
        }
        let calls = Calls::new(&schedule, &settings).unwrap();
        let shown = way.control.map(|_| self.tensors.get("control_image").channels_last());
        let controls = way.control.zip(shown.as_deref());
        let controls = controls.map(|(strength, picture)| {
            let network = led.control.unwrap_or_else(|| panic!("{} {name}: no ControlNet", self.name));
            LatentControl { network, picture, strength }
        });
        let image_prompt = way.image.map(|strength| {
            let (adapter, seen) = led.image.unwrap_or_else(|| panic!("{} {name}: no IP-Adapter", self.name));
            ImagePrompt { adapter, seen: seen[usize::from(name.starts_with("image_two_"))], strength }
        });
        let request = LatentRequest {
            prompt_syntax: PromptSyntax::Plain,
            prompts: prompts.iter().map(String::as_str).collect(),
            negatives: negatives.iter().map(|text| Some(&**text)).collect(),
            seeds: vec![0; shape[0]],
            guidance_scale: way.guidance_scale,
            image_guidance_scale: way.image_guidance_scale,
            // Of so few steps more than is usual.
            skip_layers: way.skipped.map(|_| SkipLayers {
                layers: way.skipped.as_slice(),
                stop: 0.6,
                ..SkipLayers::default()
            }),
            guidance_rescale: way.guidance_rescale,
            guidance_normalization: way.normalization,
            guidance_truncation: way.truncation,
            latents: Some(&latents),
            init_image: start.as_deref(),
            mask: mask.as_deref(),
            depth,
            controls: controls.into_iter().collect(),
            image_prompt,
            references: looked_at.iter().map(|(picture, size)| ReferenceImage { picture, size: *size }).collect(),
            size: [shape[2], shape[3]],
            ..model.request(prompt, 0, &calls)
        };
        let mut run = model.run(&request).unwrap();
        while run.step().unwrap().is_some() {}
        let got = run.pictures().unwrap();
        assert_eq!(got.len(), want.len(), "{} {name}", self.name);
        got.iter().zip(&want).map(|(a, b)| (a - b).abs()).collect()
    }
}

/// The model, opened with patches.
pub fn opened(bytes: Vec<u8>, patches: Vec<Arc<dyn Patch>>) -> TextToImage {
    let stored: Arc<dyn Stored> = Arc::new(bytes);
    TextToImage::open(stored, OpenOptions { patches, ..OpenOptions::default() }).unwrap()
}

/// The file with its tensors changed by the patches, in their order, and encoded again in their own types.
pub fn patched(bytes: &[u8], patches: &[Arc<dyn Patch>]) -> Vec<u8> {
    let (mut out, file) = (bytes.to_vec(), File::new_checked(bytes).unwrap());
    for tensor in file.tensors().filter(|tensor| patches.iter().any(|patch| patch.touches(tensor.name))) {
        let mut values = tensor.to_f32();
        for patch in patches.iter().filter(|patch| patch.touches(tensor.name)) {
            patch.apply(tensor.name, &tensor.shape(), &mut values).unwrap();
        }
        let mut encoded = Vec::new();
        quant::encode(tensor.dtype, &values, &mut encoded).unwrap();
        let at = tensor.data.as_ptr().addr() - bytes.as_ptr().addr();
        out[at..at + encoded.len()].copy_from_slice(&encoded);
    }
    out
}
