//! Z-Image: ids of templated prompts, states of the language model, one call of the transformer, the autoencoder, pictures; the same
//! with its transformer, its autoencoder and its language model in files of their own.

use super::{networks, pipeline};
use crate::pipelines::{Family, bytes, way};
use nijimi_import::{Options, Part};
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, LatentInfo, TextToImage};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::nn::{Denoiser, SdRequest};
use nijimi_runtime::sampler::Field;

pub fn is(family: &Family) -> bool {
    let tells = family.tensors.find("cap_embed_out").is_some() && family.folder.join("transformer").is_dir();
    tells && family.pictures().all(|name| way(name).is_some())
}

pub fn compare(family: &Family, device: &Device) -> usize {
    let own = bytes(&family.folder, &Options::default(), DType::F32);
    let file = File::new_checked(&own).unwrap();
    let model = TextToImage::load(&file, device).unwrap();
    let mut compared = texts(family, &model, device) + call(family, &file, device);
    compared += networks::autoencoder(family, "", &file, device);
    compared += pictures(family, &model, device) + levels(family, model.info());
    // The same numbers, whatever the device.
    let parts = [(Part::Unet, "transformer.safetensors"), (Part::Vae, "ae.safetensors"), (Part::Llm, "qwen3.gguf")];
    let parts = parts.map(|(part, file)| (part, family.folder.with_file_name(format!("{}.{file}", family.name))));
    let parts: Vec<_> = parts.into_iter().filter(|(_, path)| path.is_file()).collect();
    if matches!(device, Device::Cpu) && !parts.is_empty() {
        let options = Options { parts, ..Options::default() };
        let other = bytes(&family.folder, &options, DType::F32);
        let file = File::new_checked(&other).unwrap();
        compared += pictures(family, &TextToImage::load(&file, device).unwrap(), device);
    }
    compared
}

/// Levels that depend on the number of tokens, as its base model may have them.
fn levels(family: &Family, info: &LatentInfo) -> usize {
    let mut info = info.clone();
    info.settings.retain(|(name, _)| name != "use_dynamic_shifting");
    info.settings.push(("use_dynamic_shifting".into(), Field::Flag(true)));
    let names = family.tensors.names().filter_map(|name| name.strip_prefix("dynamic_sigmas_seq"));
    let mut compared = 0;
    for tokens in names {
        let side = tokens.parse::<usize>().unwrap().isqrt() * info.multiple();
        let calls = info.calls_for([side, side], None, None, 8).unwrap();
        let found: Vec<f32> = calls.calls().iter().map(|call| call.sigma).chain([0.0]).collect();
        let name = format!("dynamic_sigmas_seq{tokens}");
        networks::close(&format!("{} {name}", family.name), &found, &family.tensors.get(&name).values, 1e-5);
        compared += 1;
    }
    compared
}

fn pictures(family: &Family, model: &TextToImage, device: &Device) -> usize {
    for name in family.pictures() {
        let (worst, tolerance) = (family.far(model, None, name), pipeline::tolerance(device, name));
        assert!(worst <= tolerance, "{} {name}: {} / 255", family.name, worst * 255.0);
    }
    family.pictures().count()
}

fn texts(family: &Family, model: &TextToImage, device: &Device) -> usize {
    let info = model.info();
    let language = info.language.as_ref().unwrap();
    let [prompt, negative, long] = ["prompt", "negative_prompt", "long_prompt"].map(|key| family.said(key));
    for (text, name) in [(prompt, "tokens"), (negative, "negative_tokens"), ("", "empty_tokens"), (long, "long_tokens")]
    {
        assert_eq!(language.tokens(text), family.tensors.ids(name).unwrap(), "{} {name}", family.name);
    }
    let calls = info.calls(None, &[], 4).unwrap();
    for (words, name) in [(prompt, "prompt_embeds"), (negative, "negative_embeds")] {
        let mut request = model.request(words, 0, &calls);
        request.guidance_scale = 1.0;
        let encoded = model.encode_prompts(&request).unwrap();
        let want = &family.tensors.get(name).values;
        networks::close(
            &format!("{} {name}", family.name),
            &encoded.states()[..want.len()],
            want,
            networks::tolerance(device),
        );
        assert!(encoded.states()[want.len()..].iter().all(|filled| *filled == 0.0));
    }
    6
}

/// One call of the transformer.
fn call(family: &Family, file: &File<'_>, device: &Device) -> usize {
    let get = |name: &str| family.tensors.get(name);
    let network = LatentInfo::read(file).unwrap().denoiser;
    let &[batch, _, height, width] = &get("latents").shape[..] else { panic!("{}", family.name) };
    let mut states = get("prompt_embeds").values.clone();
    let length = states.len() / network.text_width();
    let tokens = length.next_multiple_of(network.text_multiple().unwrap());
    states.resize(tokens * network.text_width(), 0.0);
    let request = SdRequest { batch, height, width, tokens, ..network.smallest() };
    let graph = network.graph(network.prefix(), &request).unwrap();
    let mut evaluator = networks::evaluator(file, &[network.prefix()], graph, device);
    let mut time = vec![0.0; batch * network.time_width()];
    // The pipeline tells the picture's share, and takes the negative answer.
    network.write_time(1000.0 - 1000.0 * f64::from(get("timestep").values[0]), &mut time);
    let (latents, angles) = (get("latents").channels_last(), network.angles(&request, &[length], &[]).unwrap());
    let given = [
        (Denoiser::LATENTS, &latents[..]),
        (Denoiser::TIME, &time),
        (Denoiser::TEXT, &states),
        (Denoiser::ANGLES, &angles),
    ];
    evaluator.evaluate(0, &given, &network.ids(&request, &[length]).unwrap()).unwrap();
    let found: Vec<f32> = evaluator.output(Denoiser::OUTPUT).unwrap().iter().map(|x| -x).collect();
    let want = get("transformer_out").channels_last();
    networks::close(&format!("{} transformer", family.name), &found, &want, networks::tolerance(device));
    1
}
