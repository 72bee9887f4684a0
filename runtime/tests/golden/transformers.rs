//! Pipelines whose noise a transformer takes away: states of texts as it is given them, one call, the autoencoder, pictures. The one
//! file beside a folder, which does not tell heads and groups of so small networks, is the importer's to compare.

use super::{networks, pipeline};
use crate::pipelines::{Family, bytes, way};
use nijimi_import::Options;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, PromptSyntax, TextToImage};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::nn::{Denoiser, SdRequest};

pub fn is(family: &Family) -> bool {
    family.folder.join("transformer").is_dir() && family.pictures().all(|name| way(name).is_some())
}

pub fn compare(family: &Family, device: &Device) -> usize {
    let own = bytes(&family.folder, &Options::default(), DType::F32);
    let file = File::new_checked(&own).unwrap();
    let model = TextToImage::load(&file, device).unwrap();
    let mut compared = texts(family, &model, device) + call(family, &file, device);
    compared += networks::autoencoder(family, "", &file, device);
    for name in family.pictures() {
        let (worst, tolerance) = (family.far(&model, None, name), pipeline::tolerance(device, name));
        assert!(worst <= tolerance, "{} {name}: {} / 255", family.name, worst * 255.0);
        compared += 1;
    }
    compared
}

/// Ids of the prompt, and what the transformer is given of prompt and negative prompt.
fn texts(family: &Family, model: &TextToImage, device: &Device) -> usize {
    let info = model.info();
    let [prompt, negative] = ["prompt", "negative_prompt"].map(|key| family.said(key));
    let mut compared = 0;
    for (text, name) in info.texts.iter().zip(["tokens", "tokens_2"]) {
        assert_eq!(text.tokenizer.window(prompt), family.tensors.ids(name).unwrap(), "{} {name}", family.name);
        compared += 1;
    }
    if let Some(language) = &info.language {
        let want = family.tensors.ids("tokens_3").unwrap();
        assert_eq!(language.tokens(prompt), want, "{} tokens_3", family.name);
        compared += 1;
    }
    let calls = info.calls(None, &[], 4).unwrap();
    for (words, names) in [(prompt, ["prompt_embeds", "pooled"]), (negative, ["negative_embeds", "negative_pooled"])] {
        let mut request = model.request(words, 0, &calls);
        (request.prompt_syntax, request.guidance_scale) = (PromptSyntax::Plain, 1.0);
        let encoded = model.encode_prompts(&request).unwrap();
        for (found, name) in [encoded.states(), encoded.pooled()].into_iter().zip(names) {
            let want = &family.tensors.get(name).values;
            networks::close(&format!("{} {name}", family.name), found, want, networks::tolerance(device));
            compared += 1;
        }
    }
    compared
}

/// One call of the transformer.
fn call(family: &Family, file: &File<'_>, device: &Device) -> usize {
    let get = |name: &str| family.tensors.get(name);
    let network = nijimi_runtime::model::LatentInfo::read(file).unwrap().denoiser;
    let &[batch, _, height, width] = &get("latents").shape[..] else { panic!("{}", family.name) };
    let request = SdRequest { batch, height, width, tokens: get("prompt_embeds").shape[1], ..network.smallest() };
    let graph = network.graph(network.prefix(), &request).unwrap();
    let mut evaluator = networks::evaluator(file, &[network.prefix()], graph, device);
    let mut time = vec![0.0; batch * network.time_width()];
    network.write_time(f64::from(get("timestep").values[0]), &mut time);
    let latents = get("latents").channels_last();
    let given = [
        (Denoiser::LATENTS, &latents[..]),
        (Denoiser::TIME, &time),
        (Denoiser::TEXT, &get("prompt_embeds").values),
        (Denoiser::ADDED, &get("pooled").values),
    ];
    evaluator.evaluate(0, &given, &network.ids(&request, &[]).unwrap()).unwrap();
    let (found, want) = (evaluator.output(Denoiser::OUTPUT).unwrap(), get("transformer_out").channels_last());
    networks::close(&format!("{} transformer", family.name), found, &want, networks::tolerance(device));
    1
}
