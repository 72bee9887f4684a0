//! What is added to a pipeline that lies beside the golden: LoRAs of LyCORIS' kinds, and words that a model is taught.

use super::{networks, pipeline};
use crate::pipelines::{Family, bytes, patched};
use nijimi_import::{Lora, Options, embedding};
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, Embedding, LatentRequest, OpenOptions, Patch, PromptSyntax, Stored, TextToImage};
use nijimi_runtime::quant::DType;
use nijimi_runtime::sampler::{Calls, Solver};
use std::path::PathBuf;
use std::sync::Arc;

/// The pipeline's folder, which the golden names first.
fn base(family: &Family) -> PathBuf {
    family.folder.with_file_name(family.said("model").split('/').next().unwrap())
}

fn converted(family: &Family) -> Vec<u8> {
    bytes(&base(family), &Options::default(), DType::F32)
}

fn opened(bytes: &[u8], patches: Vec<Arc<dyn Patch>>, embeddings: Vec<Embedding>, device: &Device) -> TextToImage {
    let stored: Arc<dyn Stored> = Arc::new(bytes.to_vec());
    TextToImage::open(stored, OpenOptions { patches, embeddings, device: device.clone() }).unwrap()
}

/// One prompt, and how it is drawn.
struct Asked<'a> {
    family: &'a Family,
    prompt: &'a str,
    calls: &'a Calls,
    guidance_scale: f32,
    device: &'a Device,
}

impl Asked<'_> {
    fn request<'r>(&'r self, model: &TextToImage) -> LatentRequest<'r> {
        LatentRequest {
            negatives: vec![Some(self.family.said("negative_prompt"))],
            prompt_syntax: PromptSyntax::Plain,
            guidance_scale: self.guidance_scale,
            ..model.request(self.prompt, 0, self.calls)
        }
    }

    /// Ids and states, where the golden has them under names that end with `suffix`.
    fn texts(&self, model: &TextToImage, suffix: &str, with_ids: bool) -> usize {
        let (golden, name) = (&self.family.tensors, &self.family.name);
        let mut compared = 0;
        if let Some(ids) = golden.ids(&format!("tokens{suffix}")).filter(|_| with_ids) {
            assert_eq!(model.info().texts[0].tokenizer.window(self.prompt), ids, "{name} tokens{suffix}");
            compared += 1;
        }
        let encoded = model.encode_prompts(&LatentRequest { guidance_scale: 1.0, ..self.request(model) }).unwrap();
        for (what, found) in [("prompt_embeds", encoded.states()), ("pooled", encoded.pooled())] {
            if let Some(want) = golden.find(&format!("{what}{suffix}")) {
                let what = format!("{name} {what}{suffix}");
                networks::close(&what, found, &want.values, networks::tolerance(self.device));
                compared += 1;
            }
        }
        compared
    }

    fn picture(&self, model: &TextToImage, name: &str) -> usize {
        let golden = self.family.tensors.get(name);
        let latents = self.family.tensors.get("latents").channels_last();
        let size = [golden.shape[2], golden.shape[3]];
        let mut run = model.run(&LatentRequest { latents: Some(&latents), size, ..self.request(model) }).unwrap();
        while run.step().unwrap().is_some() {}
        let (what, tolerance) = (format!("{} {name}", self.family.name), pipeline::tolerance(self.device, name));
        networks::close(&what, run.pictures().unwrap(), &golden.channels_last(), tolerance);
        1
    }
}

pub fn is_lycoris(family: &Family) -> bool {
    family.tensors.find("unet_out_t500_none").is_some() && base(family).is_dir()
}

pub fn lycoris(family: &Family, device: &Device) -> usize {
    let (own, folder) = (converted(family), base(family));
    let steps = family.said("steps").parse().unwrap();
    let mut compared = 0;
    for kind in family.tensors.names().filter_map(|name| name.strip_prefix("unet_out_t500_")) {
        let path = folder.with_extension(format!("{kind}.safetensors"));
        let strength = if kind.starts_with("dora") { 1.0 } else { 0.8 };
        let lora =
            || Arc::new(Lora::open(&path, strength, &File::new_checked(&own).unwrap()).unwrap()) as Arc<dyn Patch>;
        let patches = if kind == "none" { vec![] } else { vec![lora()] };
        let merged = patched(&own, &patches);
        let (file, suffix) = (File::new_checked(&merged).unwrap(), format!("_{kind}"));
        compared += networks::unet(family, &suffix, &file, device);
        let model = opened(&own, patches, vec![], device);
        let calls = &model.calls_by(Solver::from_name("ddim"), None, steps).unwrap();
        let asked = Asked { family, prompt: family.said("prompt"), calls, guidance_scale: 4.0, device };
        compared += asked.texts(&model, &suffix, false) + asked.picture(&model, &format!("image_ddim_cfg4{suffix}"));
    }
    compared
}

pub fn is_embedding(family: &Family) -> bool {
    (family.said.get("words").is_some() || family.said.get("word").is_some()) && base(family).is_dir()
}

/// Strength of guidance, where the golden does not say it: diffusers' own.
const GUIDANCE: f32 = 7.5;

pub fn embeddings(family: &Family, device: &Device) -> usize {
    let own = converted(family);
    let file = File::new_checked(&own).unwrap();
    let read = |path: PathBuf, word: Option<&str>| embedding(path, word, &file).unwrap();
    let guidance_scale = family.said.get("cfg").map_or(GUIDANCE, |cfg| cfg.as_str().unwrap().parse().unwrap());
    let steps = family.said("steps").parse().unwrap();
    let plain = opened(&own, vec![], vec![], device);
    let calls = &plain.calls(None, &[], steps).unwrap();
    let asked = |prompt| Asked { family, prompt, calls, guidance_scale, device };
    if family.said.get("word").is_some() {
        let taught = vec![read(family.folder.with_file_name(family.said("file")), Some(family.said("word")))];
        let (asked, taught) = (asked(family.said("prompt")), opened(&own, vec![], taught, device));
        return asked.texts(&taught, "", true)
            + asked.picture(&taught, "image_clip_lg")
            + asked.picture(&plain, "image_plain");
    }
    let one = |kind: &str| {
        let word = (kind == "emb_params").then_some("charturner");
        read(base(family).with_extension(format!("{kind}.safetensors")), word)
    };
    let kinds = ["learned_embeds", "learned_embeds_multi", "emb_params"];
    let all = opened(&own, vec![], kinds.map(one).into(), device);
    // The same words inside the folder, which their vectors lie in as well.
    let inside = bytes(&family.folder, &Options::default(), DType::F32);
    let inside = opened(&inside, vec![], vec![], device);
    let mut compared = 0;
    for kind in kinds.into_iter().chain(["all", "glued"]) {
        let asked = asked(family.said(&format!("prompt_{kind}")));
        let (suffix, image) = (format!("_{kind}"), format!("image_{kind}"));
        let together = kinds.contains(&kind).then(|| opened(&own, vec![], vec![one(kind)], device));
        let alone = together.as_ref().unwrap_or(&all);
        compared += asked.texts(alone, &suffix, true) + asked.picture(alone, &image);
        compared += asked.texts(&inside, &suffix, together.is_none()) + asked.picture(&inside, &image);
        if family.tensors.find(&format!("image_plain_{kind}")).is_some() {
            compared += asked.picture(&plain, &format!("image_plain_{kind}"));
        }
    }
    compared
}
