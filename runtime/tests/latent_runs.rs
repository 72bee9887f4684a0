//! What runs of latent diffusion models promise beyond the reference implementation's pictures.

mod common {
    pub mod diffusers;
    pub mod pipelines;
}

use common::pipelines::{Family, families, opened};
use nijimi_runtime::Error;
use nijimi_runtime::gguf::{File, Value, Writer};
use nijimi_runtime::model::{
    Decoding, LatentRequest, ModelPart, NoiseSource, Patch, SessionOptions, TextToImage, Tiling,
};
use nijimi_runtime::quant::{self, DType};
use nijimi_runtime::sampler::{Calls, Field, Sigmas, Solver};
use std::sync::{Arc, Mutex};

const SIDE: usize = 32;

fn family(name: &str) -> Family {
    families().into_iter().find(|family| family.name == name).unwrap_or_else(|| panic!("no {name}"))
}

fn request<'a>(model: &TextToImage, calls: &'a Calls) -> LatentRequest<'a> {
    LatentRequest { guidance_scale: 3.0, size: [SIDE; 2], ..model.request("a red mat", 7, calls) }
}

fn draw(model: &TextToImage, request: &LatentRequest<'_>) -> Vec<f32> {
    let mut run = model.run(request).unwrap();
    while run.step().unwrap().is_some() {}
    run.sample().unwrap().to_vec()
}

fn picture() -> Vec<f32> {
    (0..SIDE * SIDE * 3).map(|i| (i * 37 % 101) as f32 / 100.0).collect()
}

fn calls_from(model: &TextToImage, strength: f64) -> Calls {
    let (schedule, settings) = model.info().settings(None, &[], 4).unwrap();
    Calls::new(&schedule, &settings.from_strength(strength)).unwrap()
}

/// Of an ordinary model. Seen red with the noise of the step before (one level too much) left in what is kept, and with the
/// mask upside down.
#[test]
fn what_a_mask_keeps_is_kept_and_the_rest_is_drawn() {
    let model = family("sd1").model(DType::F32);
    let start = picture();
    let latents = model.encode(&start, [SIDE; 2], Decoding::Whole, &SessionOptions::default()).unwrap();
    let calls = model.calls(None, &[], 4).unwrap();
    let drawn = draw(&model, &request(&model, &calls));
    let masked = |mask: &[f32]| {
        draw(&model, &LatentRequest { init_image: Some(&start), mask: Some(mask), ..request(&model, &calls) })
    };
    assert_eq!(masked(&[0.0; SIDE * SIDE]), latents);
    assert_eq!(masked(&[1.0; SIDE * SIDE]), drawn);
    // The right half is painted anew.
    let half: Vec<f32> = (0..SIDE * SIDE).map(|i| if i % SIDE < SIDE / 2 { 0.49 } else { 0.5 }).collect();
    let (mixed, small) = (masked(&half), SIDE / model.factor());
    for (i, (mixed, kept)) in mixed.chunks(4).zip(latents.chunks(4)).enumerate() {
        assert_eq!(mixed == kept, i % small < small / 2, "latent {i}");
    }
    // On the way, what is kept has the noise of its level.
    let mut run = model
        .run(&LatentRequest { init_image: Some(&start), mask: Some(&[0.0; SIDE * SIDE]), ..request(&model, &calls) })
        .unwrap();
    run.step().unwrap();
    let next = calls.calls()[1];
    let noise = run.noise().to_vec();
    for ((x, z), noise) in run.sample().unwrap().iter().zip(&latents).zip(noise) {
        assert!((x - (next.alpha * z + next.sigma * noise)).abs() < 1e-5);
    }
}

#[test]
fn a_run_from_a_picture_needs_one() {
    let model = family("sd1").model(DType::F32);
    let calls = calls_from(&model, 0.5);
    let said = |request: &LatentRequest<'_>| model.run(request).err().unwrap().to_string();
    assert!(
        said(&request(&model, &calls)).contains("starting picture is missing"),
        "{}",
        said(&request(&model, &calls))
    );
    let start = picture();
    let short = LatentRequest { init_image: Some(&start[3..]), ..request(&model, &calls) };
    assert!(said(&short).contains("starting pictures"), "{}", said(&short));
    let inpaint = family("inpaint").model(DType::F32);
    let calls = inpaint.calls(None, &[], 4).unwrap();
    let said = |request: &LatentRequest<'_>| inpaint.run(request).err().unwrap().to_string();
    assert!(said(&request(&model, &calls)).contains("starting picture is missing"));
    assert!(
        said(&LatentRequest { init_image: Some(&start), ..request(&model, &calls) }).contains("the mask is missing")
    );
}

/// Seen red with two layers skipped for a clip_skip of 2, and with the skipped state not normed.
#[test]
fn clip_skip_counts_from_the_last_layer() {
    let model = family("sd1").model(DType::F32);
    let calls = model.calls(None, &[], 2).unwrap();
    let read = |clip_skip| model.encode_prompts(&LatentRequest { clip_skip, ..request(&model, &calls) });
    assert_eq!(read(0).unwrap(), read(1).unwrap());
    assert_ne!(read(1).unwrap(), read(2).unwrap());
    let layers = model.info().texts[0].network.layers;
    assert!(read(layers).is_ok());
    assert!(read(layers + 1).err().unwrap().to_string().contains("clip_skip"));
    // SDXL does without its last layer already.
    let model = family("sdxl").model(DType::F32);
    let read = |clip_skip| model.encode_prompts(&LatentRequest { clip_skip, ..request(&model, &calls) }).unwrap();
    assert_eq!(read(0), read(2));
    assert_ne!(read(0), read(1));
}

/// Seen red with a new seed for each picture of the batch, and with the conditions of another prompt.
#[test]
fn read_prompts_and_held_parts_change_nothing() {
    let family = family("sdxl");
    let model = opened(family.bytes(DType::F16), vec![]);
    let calls = model.calls(None, &[], 2).unwrap();
    let plain = draw(&model, &request(&model, &calls));
    let held = model.hold(&[ModelPart::UNet, ModelPart::Decoder]).unwrap();
    assert!(held.weight_bytes() > 0 && model.weight_bytes() == 0);
    let conditions = model.encode_prompts(&request(&model, &calls)).unwrap();
    let given = LatentRequest {
        encoded_prompts: Some(&conditions),
        prompts: vec![],
        negatives: vec![],
        ..request(&model, &calls)
    };
    assert_eq!(draw(&held, &given), plain);
    assert_eq!(draw(&model.hold_all().unwrap(), &request(&model, &calls)), plain);
    let unguided = LatentRequest { guidance_scale: 1.0, ..given };
    assert!(model.run(&unguided).err().unwrap().to_string().contains("guidance_scale"));
    // Two pictures with seeds of their own, one after the other or at once.
    let pair = LatentRequest {
        prompts: vec!["a red mat"; 2],
        negatives: vec![None; 2],
        seeds: vec![3, 7],
        ..request(&model, &calls)
    };
    let pair = draw(&model, &pair);
    assert!(pair[pair.len() / 2..].iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-4));
}

/// What is loaded, in its order.
#[derive(Default)]
struct Loads(Mutex<Vec<String>>);

impl Patch for Loads {
    fn touches(&self, name: &str) -> bool {
        self.0.lock().unwrap().push(name.to_owned());
        false
    }
    fn apply(&self, _: &str, _: &[usize], _: &mut [f32]) -> Result<(), Error> {
        Ok(())
    }
}

/// Two pictures from one, of an ordinary model and of one for inpainting: encoded once, before the U-Net is loaded, they
/// are those of two runs that encode for themselves. Seen red with what was begun left unused, and with the picture of an
/// inpainting run that starts in the middle not encoded.
#[test]
fn a_picture_to_begin_with_is_encoded_once_and_first() {
    let (start, half) = (picture(), (0..SIDE * SIDE).map(|i| (i % SIDE < SIDE / 2) as u8 as f32).collect::<Vec<_>>());
    for (name, strength, mask) in
        [("sd1", 0.5, None), ("sd1", 1.0, Some(&half)), ("inpaint", 1.0, Some(&half)), ("inpaint", 0.5, Some(&half))]
    {
        let loads = Arc::new(Loads::default());
        let model = opened(family(name).bytes(DType::F16), vec![loads.clone()]);
        let calls = calls_from(&model, strength);
        let asked = |seed| {
            let plain = LatentRequest { size: [SIDE; 2], ..model.request("a red mat", seed, &calls) };
            LatentRequest { init_image: Some(&start), mask: mask.map(Vec::as_slice), ..plain }
        };
        let plain = [3, 4].map(|seed| draw(&model, &asked(seed)));
        assert_ne!(plain[0], plain[1]);
        loads.0.lock().unwrap().clear();
        let begun = model.encode_init(&asked(3)).unwrap();
        assert!(begun.is_some());
        let held = model.hold(&[ModelPart::UNet]).unwrap();
        let both = [3, 4].map(|seed| {
            draw(&held, &LatentRequest { encoded_init: begun.as_ref(), init_image: None, mask: None, ..asked(seed) })
        });
        assert_eq!(both, plain, "{name} from {strength}");
        let loads = loads.0.lock().unwrap().clone();
        let at = |prefix: &str| loads.iter().position(|name| name.starts_with(prefix)).unwrap();
        let last = loads.iter().rposition(|name| name.starts_with("vae.encoder.")).unwrap();
        assert!(last < at("unet."), "{name}: the encoder is loaded beside the U-Net");
        let other =
            LatentRequest { encoded_init: begun.as_ref(), size: [SIDE * 2, SIDE], ..model.request("", 1, &calls) };
        let refused = model.run(&other).err().unwrap().to_string();
        assert!(refused.contains("starting pictures") && refused.contains("16x32"), "{refused}");
    }
    let model = family("sd1").model(DType::F16);
    let calls = calls_from(&model, 1.0);
    assert_eq!(model.encode_init(&request(&model, &calls)).unwrap(), None);
}

/// Without an init image no run uses the encoder. Seen red with the encoder always used.
#[test]
fn what_runs_use_is_held() {
    let model = opened(family("sd1").bytes(DType::F16), vec![]);
    let used = |encodes| model.used(encodes, None);
    assert!(used(true).contains(&ModelPart::Encoder) && !used(false).contains(&ModelPart::Encoder));
    let (with, without) = (model.hold(&used(true)).unwrap(), model.hold(&used(false)).unwrap());
    assert_eq!(with.weight_bytes(), model.hold_all().unwrap().weight_bytes());
    let calls = model.calls(None, &[], 2).unwrap();
    assert!(without.weight_bytes() < with.weight_bytes());
    assert_eq!(draw(&without, &request(&without, &calls)), draw(&with, &request(&with, &calls)));
}

/// A name of the command line is the class of diffusers with the model's settings. Seen red with the solver's own spacing.
#[test]
fn solvers_by_name_have_the_models_settings() {
    // Models of flow have levels of their own: see sd3.rs.
    for family in families().into_iter().filter(|family| family.folder.join("unet").is_dir()) {
        let model = opened(family.bytes(DType::F16), vec![]);
        let by = |name: &str, sigmas| model.calls_by(Solver::from_name(name), sigmas, 6).unwrap();
        let class = |name, changed: &[_]| model.calls(Some(name), changed, 6).unwrap();
        // Latents have no range, also where the file, of another class, does not say so.
        let clips = ("clip_sample", Field::Flag(false));
        assert_eq!(by("ddim", None), class("DDIMScheduler", &[clips]), "{}", family.name);
        assert_eq!(by("euler", None), class("EulerDiscreteScheduler", &[]), "{}", family.name);
        let karras = class("DPMSolverMultistepScheduler", &[("use_karras_sigmas", Field::Flag(true))]);
        assert_eq!(by("dpm++2m", Some(Sigmas::Karras)), karras, "{}", family.name);
    }
}

/// The file with what a network has into which guidance was distilled: the code's projection, all of one value.
fn distilled(bytes: &[u8], value: f32) -> Vec<u8> {
    let file = File::new_checked(bytes).unwrap();
    let mut writer = Writer::new();
    for (key, found) in file.metadata() {
        match found {
            Value::U32(v) => writer.meta(key, v),
            Value::F32(v) => writer.meta(key, v),
            Value::F64(v) => writer.meta(key, v),
            Value::Bool(v) => writer.meta(key, v),
            Value::Str(v) => writer.meta(key, v),
            Value::Array(_) => match (file.strs(key), file.u32s(key), file.f64s(key)) {
                (Ok(v), ..) => writer.meta(key, v.into_iter().map(str::to_owned).collect::<Vec<_>>()),
                (_, Ok(v), _) => writer.meta(key, v),
                (.., Ok(v)) => writer.meta(key, v),
                _ => panic!("{key}"),
            },
            other => panic!("{key}: {other:?}"),
        }
        .unwrap();
    }
    let (code, width) = (16, file.u32s("nijimi.unet.channels").unwrap()[0] as usize);
    writer.meta("nijimi.unet.time_cond_proj_dim", code as u32).unwrap();
    writer
        .tensor("unet.time_embedding.cond_proj.weight", &[width, code], DType::F32, &vec![value; width * code])
        .unwrap();
    for tensor in file.tensors() {
        let mut values = vec![0.0; tensor.elements()];
        quant::decode(tensor.dtype, tensor.data, &mut values).unwrap();
        writer.tensor(tensor.name, &tensor.shape(), tensor.dtype, &values).unwrap();
    }
    writer.finish()
}

/// Luo et al. 2023: the network is evaluated once and told the scale. Seen red with the negative evaluated too, and with
/// the code left at zero.
#[test]
fn distilled_guidance_is_told_and_not_evaluated() {
    let bytes = family("sd1").bytes(DType::F32);
    let plain = opened(bytes.clone(), vec![]);
    let calls = plain.calls(None, &[], 2).unwrap();
    let unguided = draw(&plain, &LatentRequest { guidance_scale: 1.0, ..request(&plain, &calls) });
    // A projection of nothing says nothing, whatever the scale.
    let silent = opened(distilled(&bytes, 0.0), vec![]);
    assert_eq!(draw(&silent, &request(&silent, &calls)), unguided);
    let told = opened(distilled(&bytes, 0.5), vec![]);
    assert!(!told.info().is_guided(3.0) && plain.info().is_guided(3.0) && !plain.info().is_guided(1.0));
    let [three, eight] =
        [3.0, 8.0].map(|scale| draw(&told, &LatentRequest { guidance_scale: scale, ..request(&told, &calls) }));
    assert_ne!(three, unguided);
    assert_ne!(three, eight);
    let negative = LatentRequest { negatives: vec![Some("blue sky")], ..request(&told, &calls) };
    assert_eq!(draw(&told, &negative), three);
}

/// torch's noise is that of the whole picture, drawn plane by plane.
#[test]
fn noise_is_the_generators() {
    let model = family("sd1").model(DType::F32);
    let calls = model.calls(None, &[], 2).unwrap();
    let noise =
        |source| model.run(&LatentRequest { noise: source, ..request(&model, &calls) }).unwrap().noise().to_vec();
    let mut planes = vec![0.0; 4 * 16 * 16];
    nijimi_runtime::raw::rng::TorchCpu::new(7).normal_fill(&mut planes);
    let cpu = noise(NoiseSource::TorchCpu);
    assert!(cpu.iter().enumerate().all(|(i, v)| *v == planes[i % 4 * 256 + i / 4]));
    // Of latents so small, all of a card's threads take part.
    assert_eq!(noise(NoiseSource::TorchCuda), noise(NoiseSource::Nijimi));
}

/// Latents smaller than a tile are decoded as they are; larger ones near to what they are at once, the tiles' norms being
/// their own. Seen red with tiles of the first size alone, and with the latents not divided by the scaling factor.
#[test]
fn tiles_make_the_picture() {
    let model = family("sd1").model(DType::F32);
    let calls = model.calls(None, &[], 2).unwrap();
    let mut run = model.run(&LatentRequest { size: [64, 96], ..model.request("", 1, &calls) }).unwrap();
    let (z, size, options) = (run.sample().unwrap().to_vec(), [32, 48], SessionOptions::default());
    let decode = |how| model.decode(&z, size, how, &options).unwrap();
    let (whole, factor) = (decode(Decoding::Whole), model.factor());
    assert_eq!(decode(Decoding::Tiled(Tiling { tile: 64, overlap: 16, factor })), whole);
    let tiled = decode(Decoding::Tiled(Tiling { tile: 20, overlap: 5, factor }));
    assert_eq!(tiled.len(), whole.len());
    let mean = tiled.iter().zip(&whole).map(|(a, b)| (a - b).abs()).sum::<f32>() / whole.len() as f32;
    assert!(mean > 0.0 && mean < 0.1, "{mean}");
    let encode = |how| model.encode(&whole, [64, 96], how, &options).unwrap();
    let far = encode(Decoding::Whole);
    let tiled = encode(Decoding::Tiled(Tiling { tile: 20, overlap: 5, factor }));
    let mean = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(a, b)| (a - b).abs()).sum::<f32>() / x.len() as f32;
    let (apart, size) = (mean(&tiled, &far), mean(&far, &vec![0.0; far.len()]));
    assert!(apart > 0.0 && apart < size / 2.0, "{apart} of {size}");
}
