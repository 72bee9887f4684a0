//! What goes beside a model that reads prompts, asked for by a request of any model: it is what the pieces give, and what cannot be is
//! refused by its name.

#[path = "common/diffusers.rs"]
mod diffusers;
#[path = "common/drawn.rs"]
mod drawn;
#[path = "common/published.rs"]
mod published;

use diffusers::fixtures;
use drawn::drawn;
use nijimi_runtime::Model;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{
    Control, Decoding, DepthMap, Device, DrawRequest, Enlarge, Hires, ImageEncoder, ImagePrompt, IpAdapter,
    LatentControl, LatentRequest, ReferenceImage, Refiner, SessionOptions, ShownImage, TextToImage,
};
use nijimi_runtime::raw::resample::{Filter, resample};
use nijimi_runtime::sampler::{Calls, SolverSettings};
use published::{Folder, whole};
use std::fs;
use std::path::{Path, PathBuf};

const SIDE: usize = 32;

fn path(name: &str) -> PathBuf {
    fixtures().join("pipelines").join(name)
}

fn open(path: &Path) -> TextToImage {
    TextToImage::load(&File::new_checked(&whole(path)).unwrap(), &Device::Cpu).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() { copy(&path, &to) } else { fs::write(to, fs::read(&path).unwrap()).unwrap() }
    }
}

/// A fixture that has parts of another's.
fn joined(name: &str, base: &str, parts: &[&str]) -> TextToImage {
    let folder = Folder::new();
    copy(&path(name), &folder.join("model"));
    for part in parts {
        copy(&path(base).join(part), &folder.join("model").join(part));
    }
    open(&folder.join("model"))
}

fn control(name: &str) -> Control {
    Control::load(&File::new_checked(&whole(&path(name))).unwrap(), &Device::Cpu).unwrap()
}

fn picture([height, width]: [usize; 2], step: usize) -> Vec<f32> {
    (0..3 * height * width).map(|i| (i * step % 17) as f32 / 16.0).collect()
}

fn pieces(model: &TextToImage, request: &LatentRequest<'_>) -> Vec<u8> {
    let mut run = model.run(request).unwrap();
    while run.step().unwrap().is_some() {}
    run.to_u8().unwrap()
}

fn asked(any: &Model) -> DrawRequest<'_> {
    DrawRequest { steps: Some(3), guidance_scale: 3.0, ..any.request("a red mat", 7).unwrap() }
}

/// Each alone, and all in both passes of two. No picture is the one without them, so that what is left out of the request that the
/// runtime makes is seen.
#[test]
fn what_leads_is_as_of_the_pieces() {
    let model = open(&path("sd1full"));
    let (any, size) = (Model::TextToImage(model.clone()), model.info().size());
    let net = control("sd1full_controlnet");
    let adapter = whole(&path("sd1full_ip.safetensors"));
    let adapter = IpAdapter::load(&File::new_checked(&adapter).unwrap(), &Device::Cpu).unwrap();
    let encoder = ImageEncoder::load(&File::new_checked(&whole(&path("ip_encoder"))).unwrap(), &Device::Cpu).unwrap();
    let shown = picture([30, 41], 5);
    let shown = ShownImage { values: &shown, size: [30, 41] };
    let seen = encoder.see(&[shown], adapter.info(), &SessionOptions::default()).unwrap();
    let [one, other] = [picture(size, 3), picture(size, 7)];
    let controls = |one, other| -> Vec<LatentControl<'_>> {
        let with = |picture, strength| LatentControl { network: &net, picture, strength };
        vec![with(one, 0.7), with(other, 0.4)]
    };
    let image_prompt = Some(ImagePrompt { adapter: &adapter, seen: &seen, strength: 0.7 });
    let calls = model.calls(None, &[], 3).unwrap();
    let plain = drawn(&any, &asked(&any));
    let same = |what: &str, request: DrawRequest<'_>, own: LatentRequest<'_>| {
        let got = drawn(&any, &request);
        assert!(got == pieces(&model, &LatentRequest { guidance_scale: 3.0, ..own }) && got != plain, "{what}");
    };
    let (of, own) = (|| asked(&any), || model.request("a red mat", 7, &calls));
    same("clip_skip", DrawRequest { clip_skip: 2, ..of() }, LatentRequest { clip_skip: 2, ..own() });
    same("rescale", DrawRequest { guidance_rescale: 0.7, ..of() }, LatentRequest { guidance_rescale: 0.7, ..own() });
    let guidance_normalization = Some(0.9);
    same(
        "normalization",
        DrawRequest { guidance_normalization, ..of() },
        LatentRequest { guidance_normalization, ..own() },
    );
    let guidance_truncation = Some(0.3);
    same("truncation", DrawRequest { guidance_truncation, ..of() }, LatentRequest { guidance_truncation, ..own() });
    let led = controls(&one, &other);
    same("controls", DrawRequest { controls: led.clone(), ..of() }, LatentRequest { controls: led.clone(), ..own() });
    same("image", DrawRequest { image_prompt, ..of() }, LatentRequest { image_prompt, ..own() });

    let large = size.map(|side| 2 * side);
    let guidance = LatentRequest {
        guidance_scale: 3.0,
        guidance_rescale: 0.0,
        guidance_normalization,
        guidance_truncation,
        image_prompt,
        ..own()
    };
    let (schedule, settings) = model.info().second_pass(large, None, None, 2, 0.5).unwrap();
    let again = Calls::new(&schedule, &settings).unwrap();
    let mut run = model.run(&LatentRequest { controls: led.clone(), ..guidance.clone() }).unwrap();
    while run.step().unwrap().is_some() {}
    let enlarged = |picture: &[f32]| {
        let line = 3 * size[1];
        let row = |y: usize, row: &mut [f32]| row.copy_from_slice(&picture[y * line..][..line]);
        let mut large = resample(row, size, large, 3, Filter::Lanczos);
        large.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
        large
    };
    let [more, others] = [enlarged(&one), enlarged(&other)];
    let second = LatentRequest { size: large, calls: &again, controls: controls(&more, &others), ..guidance };
    let init = model.enlarge(&mut run, &second, Enlarge::Latents).unwrap();
    let expected = pieces(&model, &LatentRequest { encoded_init: Some(&init), ..second });
    let hires = Some(Hires { size: large, strength: 0.5, steps: Some(2), enlarge: Enlarge::Latents });
    let all =
        DrawRequest { guidance_normalization, guidance_truncation, image_prompt, controls: led, hires, ..asked(&any) };
    assert!(drawn(&any, &all) == expected);

    // What is beside the model takes memory of its own.
    let bytes = whole(&path("sd1full"));
    let file = File::new_checked(&bytes).unwrap();
    let plan = |request: &DrawRequest<'_>| any.plan(&file, &Device::Cpu, request).unwrap();
    let (alone, beside) = (plan(&DrawRequest { hires, ..asked(&any) }), plan(&all));
    let own = (2 * net.weight_bytes() + adapter.weight_bytes()) as u64;
    assert_eq!(beside.weights, alone.weights + own);
    assert!(beside.peak > alone.peak + own && (beside.steps, alone.steps) == (5, 5), "{alone:?} {beside:?}");
}

/// The refiner's steps follow the first model's, and the first one's autoencoder makes the picture.
#[test]
fn a_refiner_is_as_of_the_pieces() {
    let base = open(&path("sdxl"));
    let refiner = joined("refiner", "sdxl", &["text_encoder_2", "tokenizer_2", "vae"]);
    let (any, steps) = (Model::TextToImage(base.clone()), 5);
    let way = |model: &TextToImage| model.info().settings_by(None, None, steps).unwrap();
    let ((schedule, own), (other, refined)) = (way(&base), way(&refiner));
    let all = Calls::new(&schedule, &own).unwrap();
    let step = all.step_at(&schedule, 0.6);
    let (first, last) = (all.until(step), Calls::new(&other, &SolverSettings { start: step, ..refined }).unwrap());
    let size = [SIDE; 2];
    let before = LatentRequest { size, guidance_scale: 3.0, ..base.request("a red mat", 7, &first) };
    let mut run = base.run(&before).unwrap();
    while run.step().unwrap().is_some() {}
    let after = LatentRequest { size, guidance_scale: 3.0, ..refiner.request("a red mat", 7, &last) };
    let init = refiner.refine(&mut run, &before, base.info(), &after).unwrap();
    let mut run = refiner.run(&LatentRequest { encoded_init: Some(&init), ..after }).unwrap();
    while run.step().unwrap().is_some() {}
    let latents = run.sample().unwrap().to_vec();
    let expected = base
        .decode(&latents, base.info().latent_size(size).unwrap(), Decoding::Whole, &SessionOptions::default())
        .unwrap();
    let expected = TextToImage::to_u8(&expected);

    let refiner = |start| Some(Refiner { model: &refiner, start });
    let request = DrawRequest { size, steps: Some(steps), refiner: refiner(0.6), ..asked(&any) };
    let mut run = any.run(&request).unwrap();
    let mut counted = Vec::new();
    while let Some(step) = run.step().unwrap() {
        counted.push((step.index, step.total));
    }
    assert_eq!(counted, (0..steps).map(|i| (i, steps)).collect::<Vec<_>>());
    let mut pixels = vec![0; run.bytes()];
    run.write_u8(&mut pixels).unwrap();
    assert!(pixels == expected);
    let refused = |request: DrawRequest<'_>, says: &str| {
        let error = any.run(&request).err().expect(says).to_string();
        assert!(error.starts_with(says), "{error}");
    };
    let late = "refiner_start is 1, must be another: it leaves the refiner none of 5 steps";
    refused(DrawRequest { refiner: refiner(1.0), ..request.clone() }, late);
    let hires = Some(Hires { size: [2 * SIDE; 2], strength: 0.5, steps: None, enlarge: Enlarge::Latents });
    refused(DrawRequest { hires, ..request }, "refiner is for runs of one pass");
}

/// A model that is led by depth refuses to draw without, and one that looks at a picture draws another one with it. Seen red with either left out
/// of the request, as was the test above with `clip_skip`.
#[test]
fn depth_and_references_are_as_of_the_pieces() {
    let model = joined("depth", "sd2", &["text_encoder", "tokenizer", "vae"]);
    let (any, size) = (Model::TextToImage(model.clone()), [SIDE; 2]);
    let values: Vec<f32> = (0..SIDE * SIDE).map(|i| (i % 37) as f32).collect();
    let (depth, seen) = (Some(DepthMap { values: &values, size }), picture(size, 5));
    let calls = model.calls(None, &[], 3).unwrap();
    let own = LatentRequest { size, guidance_scale: 3.0, depth, ..model.request("a red mat", 7, &calls) };
    let request = DrawRequest { size, depth, ..asked(&any) };
    assert!(drawn(&any, &request) == pieces(&model, &own));

    let looking = open(&path("flux2klein"));
    let (any, size) = (Model::TextToImage(looking.clone()), [2 * SIDE; 2]);
    let references = vec![ReferenceImage { picture: &seen, size: [SIDE; 2] }];
    let calls = looking.info().calls_for(size, None, None, 3).unwrap();
    let own = looking.request("a red mat", 7, &calls);
    let own = LatentRequest { size, guidance_scale: 3.0, references: references.clone(), ..own };
    let plain = DrawRequest { size, ..asked(&any) };
    let request = DrawRequest { references: references.clone(), ..plain.clone() };
    let looked = drawn(&any, &request);
    assert!(looked == pieces(&looking, &own) && looked != drawn(&any, &plain));

    let emoji = Path::new(env!("CARGO_MANIFEST_DIR")).join("../weights");
    let [emoji, digits] = ["emoji-q8_0", "digits-q8_0"]
        .map(|name| Model::open(emoji.join(format!("{name}.gguf")), &Device::Cpu).unwrap());
    let refused = |model: &Model, request: DrawRequest<'_>, says: &str| {
        let error = model.run(&request).err().expect(says).to_string();
        assert!(error.starts_with(says), "{error}");
    };
    let of = |model: &Model| DrawRequest { size: model.request("", 1).unwrap().size, ..model.request("", 1).unwrap() };
    let prompts = "is for models that read prompts";
    let numbers = |change: &dyn Fn(&mut DrawRequest<'static>)| {
        let mut request = digits.request("", 1).unwrap();
        change(&mut request);
        request
    };
    refused(&digits, numbers(&|r| r.clip_skip = 2), &format!("clip_skip {prompts}"));
    refused(&digits, numbers(&|r| r.guidance_rescale = 0.5), &format!("guidance_rescale {prompts}"));
    refused(&digits, numbers(&|r| r.guidance_truncation = Some(0.5)), &format!("guidance_truncation {prompts}"));
    refused(&digits, numbers(&|r| r.guidance_normalization = Some(0.5)), &format!("guidance_normalization {prompts}"));
    refused(&digits, DrawRequest { depth, ..of(&digits) }, &format!("depth {prompts}"));
    refused(&emoji, DrawRequest { references: references.clone(), ..of(&emoji) }, "references is for models that look");
    refused(&digits, DrawRequest { references, ..of(&digits) }, &format!("a reference picture {prompts}"));
}
