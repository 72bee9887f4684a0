//! Z-Image among the fixtures: sizes, pictures beside others, what is asked of it, and what it has not.

#[path = "common/diffusers.rs"]
mod diffusers;
#[path = "common/pipelines.rs"]
mod pipelines;

use nijimi_import::Options;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{
    Device, LatentInfo, LatentPlan, LatentRequest, PlanRequest, SessionOptions, SkipLayers, TextToImage,
};
use nijimi_runtime::quant::DType;
use pipelines::bytes;

fn file() -> Vec<u8> {
    bytes(&diffusers::fixtures().join("pipelines/zimage"), &Options::default(), DType::F32)
}

fn model() -> TextToImage {
    TextToImage::load(&File::new_checked(&file()).unwrap(), &Device::Cpu).unwrap()
}

fn drawn(model: &TextToImage, edit: impl FnOnce(&mut LatentRequest<'_>)) -> Result<Vec<f32>, String> {
    let calls = model.info().calls_by(None, None, 2).unwrap();
    let mut request = model.request("a cat", 1, &calls);
    (request.size, request.options) = ([24, 24], SessionOptions { threads: 1, ..Default::default() });
    edit(&mut request);
    let mut run = model.run(&request).map_err(|e| e.to_string())?;
    while run.step().map_err(|e| e.to_string())?.is_some() {}
    Ok(run.pictures().map_err(|e| e.to_string())?.to_vec())
}

/// Patches that fill up, and those of which there is a multiple. Seen red with rows that fill up asked for only where there are some:
/// the weights are then others.
#[test]
fn sizes_with_and_without_filling() {
    let model = model();
    for size in [[24, 24], [32, 32], [16, 32], [4, 8]] {
        let picture = drawn(&model, |r| r.size = size).unwrap_or_else(|e| panic!("{size:?}: {e}"));
        assert_eq!(picture.len(), size[0] * size[1] * 3);
    }
}

/// A picture is the same beside one of a longer prompt, guided by a shorter negative one. Seen red with the longest text's length for
/// all, and with the picture's place behind it.
#[test]
fn pictures_are_the_same_beside_others() {
    let model = model();
    let prompts: [&'static str; 2] = ["a cat", "a photo of a cat sitting on the red mat ".repeat(6).leak()];
    let both = drawn(&model, |r| {
        (r.prompts, r.negatives) = (prompts.to_vec(), vec![Some("a dog in the snow"), None]);
        (r.seeds, r.guidance_scale) = (vec![1, 2], 3.0);
    })
    .unwrap();
    for (i, both) in both.chunks_exact(24 * 24 * 3).enumerate() {
        let alone = drawn(&model, |r| {
            (r.prompts, r.negatives) = (vec![prompts[i]], vec![[Some("a dog in the snow"), None][i]]);
            (r.seeds, r.guidance_scale) = (vec![1 + i as u64], 3.0);
        })
        .unwrap();
        let far = alone.iter().zip(both).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far < 1e-4, "{i}: {far}");
    }
}

/// Brackets are text, where a language model reads alone; what is too long for it is left out, and told.
#[test]
fn prompts_are_as_they_are_written() {
    let info = model().info().clone();
    assert_eq!([info.windows(&["a cat"]), info.windows(&["a cat", &"cat ".repeat(30)])], [1, 2]);
    assert_eq!(info.left_out("a cat"), 0);
    let long = "cat ".repeat(900);
    assert!(info.left_out(&long) > 0 && info.windows(&[&long]) == 16, "{}", info.windows(&[&long]));
    let model = model();
    let calls = info.calls_by(None, None, 2).unwrap();
    let states = |prompt: &str| model.encode_prompts(&model.request(prompt, 0, &calls)).unwrap();
    assert_ne!(states("a (cat:1.5)"), states("a cat"));
}

/// The noise's shares are those that its pipeline gives, shifted once: 1, 0.9, 0.75, 0.5. Seen red with those of Stable Diffusion 3.
#[test]
fn noise_levels_are_its_pipelines() {
    let info = model().info().clone();
    let calls = info.calls_by(None, None, 4).unwrap();
    let shares: Vec<f32> = calls.calls().iter().map(|call| call.sigma).collect();
    assert!(shares.iter().zip([1.0, 0.9, 0.75, 0.5]).all(|(a, b)| (a - b).abs() < 1e-6), "{shares:?}");
    assert_eq!((info.steps(), info.guidance_scale()), (8, 1.0));
}

/// Guidance ends where the picture's share is more than is said: nowhere at 1, behind the first of two steps at 0. Seen red with all
/// steps guided.
#[test]
fn guidance_ends_early() {
    let model = model();
    let of =
        |truncation, scale| drawn(&model, |r| (r.guidance_truncation, r.guidance_scale) = (truncation, scale)).unwrap();
    let [all, first, none] = [of(None, 3.0), of(Some(0.0), 3.0), of(None, 1.0)];
    assert_eq!(of(Some(1.0), 3.0), all);
    assert!(first != all && first != none);
}

#[test]
fn what_it_has_not_is_refused() {
    let model = model();
    let says = |edit: &dyn Fn(&mut LatentRequest<'_>), words: &str| {
        let said = drawn(&model, |r| edit(r)).unwrap_err();
        assert!(said.contains(words), "{said}");
    };
    says(&|r| r.size = [18, 24], "a multiple of 4: 16 or 20");
    says(&|r| r.size = [24, 260], "width is 260");
    says(&|r| r.cache_interval = 2, "models with a U-Net");
    let skip = SkipLayers { layers: &[1], ..SkipLayers::default() };
    says(&|r| (r.guidance_scale, r.skip_layers) = (3.0, Some(skip)), "Stable Diffusion 3's transformer");
    says(&|r| (r.guidance_scale, r.guidance_normalization) = (3.0, Some(0.0)), "guidance_normalization");
    let both = |r: &mut LatentRequest<'_>| {
        (r.guidance_scale, r.guidance_normalization, r.guidance_rescale) = (3.0, Some(1.0), 0.5);
    };
    says(&both, "beside guidance_normalization");
    says(&|r| (r.guidance_scale, r.guidance_truncation) = (3.0, Some(1.5)), "guidance_truncation");
}

/// Planned is what loading and running take.
#[test]
fn plans_are_what_runs_take() {
    let own = file();
    let file = File::new_checked(&own).unwrap();
    let info = LatentInfo::read(&file).unwrap();
    let request = PlanRequest {
        calls: 5,
        threads: 1,
        guided: false,
        windows: info.windows(&["a cat"]),
        ..PlanRequest::new([32, 32])
    };
    let plan = LatentPlan::new(&file, &info, &request).unwrap();
    let choice = plan.choices().next().unwrap();
    let stages: Vec<_> = plan.stages(&choice).collect();
    let names: Vec<&str> = stages.iter().map(|stage| &*stage.name).collect();
    assert_eq!(names, ["text encoder", "transformer", "decoder"]);
    let model = TextToImage::load(&file, &Device::Cpu).unwrap();
    let calls = info.calls_by(None, None, 5).unwrap();
    let mut request = model.request("a cat", 1, &calls);
    (request.size, request.options) = ([32, 32], SessionOptions { threads: 1, ..Default::default() });
    let mut session = model.session();
    let mut run = session.run(&request).unwrap();
    while run.step().unwrap().is_some() {}
    drop(run);
    let (taken, planned) = (session.bytes() as u64, stages[1].arena + plan.kept());
    assert!(taken <= planned && 20 * taken >= 19 * (planned - plan.kept()), "{taken} taken, {planned} planned");
}
