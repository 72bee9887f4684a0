//! Whole pictures of published pipelines, converted and drawn, against diffusers'. The families, prompts, sizes and steps
//! are those of the files found in `NIJIMI_FIXTURES` (default: the project's own copy).
#![cfg(feature = "import")]

use nijimi_runtime::gguf::File;
use nijimi_runtime::import::{Checkpoint, Options, Types, convert};
use nijimi_runtime::model::{LatentDiffusion, LatentRequest};
use nijimi_runtime::quant::DType;
use nijimi_runtime::sampler::Field;
use safetensors::SafeTensors;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Of a picture in [0, 1].
const TOLERANCE: f32 = 2.0 / 255.0;

fn fixtures() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    std::env::var_os("NIJIMI_FIXTURES").map_or(own, PathBuf::from).join("pipelines")
}

/// `(n, c, h, w)` to `(n, h, w, c)`.
fn channels_last(values: &[f32], [n, c, h, w]: [usize; 4]) -> Vec<f32> {
    let at = |i: usize| {
        let (n, pixel, c_) = (i / (h * w * c), i / c % (h * w), i % c);
        values[(n * c + c_) * h * w + pixel]
    };
    (0..n * c * h * w).map(at).collect()
}

struct Golden {
    tensors: HashMap<String, ([usize; 4], Vec<f32>)>,
    meta: HashMap<String, String>,
}

impl Golden {
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let pictures = file.tensors().into_iter().filter(|(_, t)| t.shape().len() == 4);
        let tensors = pictures.map(|(name, t)| {
            let shape = <[usize; 4]>::try_from(t.shape()).unwrap();
            let values: Vec<f32> = bytemuck::pod_collect_to_vec(t.data());
            (name, (shape, channels_last(&values, shape)))
        });
        Self { tensors: tensors.collect(), meta: header.metadata().clone().unwrap() }
    }
}

/// A scheduler and its guidance, from the name of a picture; `None` for what is not drawn from noise alone.
fn asked(name: &str) -> Option<(Option<&'static str>, Vec<(&'static str, Field)>, f32, f32)> {
    let rest = name.strip_prefix("image_")?;
    let rest = rest.strip_prefix("wide_").or_else(|| rest.strip_prefix("pair_")).unwrap_or(rest);
    let (method, cfg) = rest.split_once("_cfg")?;
    let (cfg, rescale) = cfg.split_once("_rescale").unwrap_or((cfg, "0"));
    let (class, changed) = match method {
        "ddim" => (None, vec![]),
        "euler" => (Some("EulerDiscreteScheduler"), vec![]),
        "dpmpp2m_karras" => (Some("DPMSolverMultistepScheduler"), vec![("use_karras_sigmas", Field::Flag(true))]),
        _ => return None,
    };
    Some((class, changed, cfg.parse().ok()?, rescale.parse().ok()?))
}

fn families() -> Vec<(String, PathBuf, Golden)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        let Some(family) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".golden.safetensors")) else {
            continue;
        };
        let folder = path.with_file_name(family);
        if folder.join("model_index.json").is_file() && folder.join("unet").is_dir() && folder.join("vae").is_dir() {
            found.push((family.to_owned(), folder, Golden::read(&path)));
        }
    }
    found
}

fn model(folder: &Path, dtype: DType) -> LatentDiffusion {
    let checkpoint = Checkpoint::open(folder, &Options::default()).unwrap();
    let out = std::env::temp_dir().join(format!(
        "nijimi-latent-{}-{}-{}.gguf",
        std::process::id(),
        folder.file_name().unwrap().to_str().unwrap(),
        dtype.name()
    ));
    convert(&checkpoint, &out, "test", &Types::new(dtype), |_| {}).unwrap();
    let bytes = std::fs::read(&out).unwrap();
    std::fs::remove_file(&out).unwrap();
    LatentDiffusion::load(&File::new_checked(&bytes).unwrap()).unwrap()
}

/// The largest difference of any drawn picture from diffusers', and how many pictures there were.
fn compare(family: &str, model: &LatentDiffusion, golden: &Golden, tolerance: f32) -> usize {
    let (prompt, negative) = (golden.meta["prompt"].as_str(), golden.meta["negative_prompt"].as_str());
    let steps = golden.meta["steps"].parse().unwrap();
    let mut drawn = 0;
    for (name, (shape, want)) in &golden.tensors {
        let Some((class, changed, guidance_scale, guidance_rescale)) = asked(name) else { continue };
        let pair = name.starts_with("image_pair_");
        let latents = match () {
            () if pair => "latents_pair",
            () if name.starts_with("image_wide_") => "latents_wide",
            () => "latents",
        };
        let calls = model.calls(class, &changed, steps).unwrap();
        let request = LatentRequest {
            prompts: if pair { vec![prompt, negative] } else { vec![prompt] },
            negatives: if pair { vec![Some(""), Some(prompt)] } else { vec![Some(negative)] },
            seeds: vec![0; shape[0]],
            guidance_scale,
            guidance_rescale,
            latents: Some(&golden.tensors[latents].1),
            ..LatentRequest::new(prompt, 0, [shape[2], shape[3]], &calls)
        };
        let mut run = model.run(&request).unwrap();
        while run.step().unwrap().is_some() {}
        let got = run.pictures().unwrap();
        assert_eq!(got.len(), want.len(), "{family} {name}");
        let worst = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("{family} {name}: {:.3} / 255", worst * 255.0);
        assert!(worst <= tolerance, "{family} {name}: {} / 255", worst * 255.0);
        drawn += 1;
    }
    drawn
}

#[test]
fn pictures_are_the_reference_implementations() {
    for (family, folder, golden) in families() {
        // Inpainting is another kind of U-Net.
        if golden.tensors.contains_key("mask") {
            continue;
        }
        assert!(compare(&family, &model(&folder, DType::F32), &golden, TOLERANCE) > 0, "{family}: no pictures");
    }
}

/// The weights of the fixtures are f16 numbers, so nothing is lost.
#[test]
fn f16_weights_draw_the_same() {
    let Some((family, folder, golden)) = families().into_iter().find(|(family, ..)| family == "sd1") else {
        println!("skipped: no sd1 in {}", fixtures().display());
        return;
    };
    assert!(compare(&family, &model(&folder, DType::F16), &golden, TOLERANCE) > 0);
}
