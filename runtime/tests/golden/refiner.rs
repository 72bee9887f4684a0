//! SDXL's refiner: its U-Net, pictures of both models together, and its own from a picture. Its folder has what is not SDXL's.

use super::{networks, pipeline};

use crate::pipelines::{Family, bytes};
use nijimi_import::Options;
use nijimi_runtime::Error;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, LatentRequest, ModelError, PromptSyntax, TextToImage};
use nijimi_runtime::quant::DType;
use nijimi_runtime::sampler::{Calls, Solver, SolverSettings};
use std::fs;
use std::path::{Path, PathBuf};

/// The model that it refines, beside it.
const BASE: &str = "sdxl";

pub fn is(family: &Family) -> bool {
    family.folder.join("model_index.json").is_file() && family.tensors.names().any(|name| name.starts_with("refined_"))
}

/// A folder with the parts that two models have.
pub struct Whole(pub PathBuf);

impl Whole {
    /// The folder of `family` with these parts of `base`, which lies beside it.
    pub fn new(family: &Family, base: &str, parts: &[&str]) -> Self {
        let thread = format!("{:?}", std::thread::current().id());
        let path = std::env::temp_dir().join(format!("nijimi-{}-{}-{thread}", family.name, std::process::id()));
        copy(&family.folder, &path);
        for part in parts {
            copy(&family.folder.with_file_name(base).join(part), &path.join(part));
        }
        Self(path)
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() { copy(&path, &to) } else { fs::write(to, fs::read(&path).unwrap()).unwrap() }
    }
}

/// The calls of a solver for a model, from this step on.
fn calls(model: &TextToImage, solver: Solver, steps: usize, start: usize) -> Calls {
    let (schedule, settings) = model.info().settings_by(Some(solver), None, steps).unwrap();
    Calls::new(&schedule, &SolverSettings { start, ..settings }).unwrap()
}

/// Seen red with the height told in place of the score, with the prompt's score for both texts, with a first step one later, and with noise
/// added to what the first model drew. The scores are seen in the latents alone: random weights make a third of a byte of them.
pub fn compare(family: &Family, device: &Device) -> usize {
    let load = |path: &Path| {
        let own = bytes(path, &Options::default(), DType::F32);
        let file = File::new_checked(&own).unwrap();
        (TextToImage::load(&file, device).unwrap(), own)
    };
    let whole = Whole::new(family, BASE, &["text_encoder_2", "tokenizer_2", "vae"]);
    let ((base, _), (refiner, own)) = (load(&family.folder.with_file_name(BASE)), load(&whole.0));
    let file = File::new_checked(&own).unwrap();
    assert!(refiner.info().refines() && !base.info().refines());
    let mut compared = networks::texts(family, "", &file, device) + networks::unet(family, "", &file, device);

    let (steps, share) = (family.said("steps").parse().unwrap(), family.said("start").parse().unwrap());
    let latents = family.tensors.get("latents").channels_last();
    fn request<'a>(family: &'a Family, model: &TextToImage, calls: &'a Calls) -> LatentRequest<'a> {
        LatentRequest {
            prompt_syntax: PromptSyntax::Plain,
            negatives: vec![Some(family.said("negative_prompt"))],
            guidance_scale: 5.0,
            size: [32, 32],
            ..model.request(family.said("prompt"), 0, calls)
        }
    }
    for name in ["ddim", "euler", "dpmpp2m"] {
        let solver = Solver::from_name(&name.replace("pp", "++")).unwrap();
        let solver = if name == "ddim" { Solver::Ddim { eta: 0.0, set_alpha_to_one: false } } else { solver };
        let (schedule, _) = base.info().settings_by(Some(solver), None, steps).unwrap();
        let all = calls(&base, solver, steps, 0);
        let step = all.step_at(&schedule, share);
        assert_eq!(step, 8, "{name}");
        let (first, last) = (all.until(step), calls(&refiner, solver, steps, step));
        let before = LatentRequest { latents: Some(&latents), ..request(family, &base, &first) };
        let mut run = base.run(&before).unwrap();
        while run.step().unwrap().is_some() {}
        let after = request(family, &refiner, &last);
        let init = refiner.refine(&mut run, &before, base.info(), &after).unwrap();
        let mut run = refiner.run(&LatentRequest { encoded_init: Some(&init), ..after.clone() }).unwrap();
        while run.step().unwrap().is_some() {}
        let want = family.tensors.get(&format!("image_{name}_cfg5")).channels_last();
        let far = run.pictures().unwrap().iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("{} {name}: {:.4} / 255", family.name, far * 255.0);
        assert!(far <= pipeline::tolerance(device, name), "{name}: {} / 255", far * 255.0);
        let latents = family.tensors.get(&format!("refined_{name}_cfg5")).channels_last();
        // They are some 20 times as large as what a network answers.
        networks::close(name, run.sample().unwrap(), &latents, 20.0 * networks::tolerance(device));
        compared += 2;

        let refused = base.refine(&mut run, &before, refiner.info(), &after).unwrap_err();
        assert!(matches!(refused, Error::Model(ModelError::Joint { .. })), "{refused}");
    }
    assert!(family.far(&refiner, None, "image_img2img_ddim_s0.6_cfg5") <= pipeline::tolerance(device, "img2img"));
    compared + 1
}
