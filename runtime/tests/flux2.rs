//! FLUX.2-klein among the fixtures: noise levels by the picture's size, pictures that are looked at, and what it has not.

#[path = "common/diffusers.rs"]
mod diffusers;
#[path = "common/pipelines.rs"]
mod pipelines;

use nijimi_import::Options;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{
    Device, LatentInfo, LatentPlan, LatentRequest, PlanRequest, ReferenceImage, SessionOptions, TextToImage,
};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::nn::Denoiser;
use pipelines::bytes;

fn file(name: &str) -> Vec<u8> {
    bytes(&diffusers::fixtures().join("pipelines").join(name), &Options::default(), DType::F32)
}

fn model(name: &str) -> TextToImage {
    TextToImage::load(&File::new_checked(&file(name)).unwrap(), &Device::Cpu).unwrap()
}

fn drawn<'a>(model: &TextToImage, size: [usize; 2], edit: impl Fn(&mut LatentRequest<'a>)) -> Result<Vec<f32>, String>
where
    'static: 'a,
{
    let calls: &'static _ = Box::leak(Box::new(model.info().calls_for(size, None, None, 2).unwrap()));
    let mut request: LatentRequest<'a> = model.request("a cat", 1, calls);
    (request.size, request.options) = (size, SessionOptions { threads: 1, ..Default::default() });
    edit(&mut request);
    let mut run = model.run(&request).map_err(|e| e.to_string())?;
    while run.step().map_err(|e| e.to_string())?.is_some() {}
    Ok(run.pictures().map_err(|e| e.to_string())?.to_vec())
}

/// A run of a size that its calls are not for would be another picture than it should be. Seen red with the size not looked at.
#[test]
fn levels_are_those_of_the_size() {
    let model = model("flux2klein");
    let calls = |size| model.info().calls_for(size, None, None, 4).unwrap();
    assert_ne!(calls([64, 64]), calls([64, 96]));
    assert_eq!(model.info().calls_by(None, None, 4).unwrap(), calls(model.info().size()));
    let small = calls([64, 64]);
    let request = LatentRequest { size: [64, 96], ..model.request("a cat", 1, &small) };
    let refused = model.run(&request).err().unwrap().to_string();
    assert!(refused.contains("shift of the noise levels") && refused.contains("96x64"), "{refused}");
    // Another solver goes through the same levels.
    let unipc = nijimi_runtime::sampler::Solver::from_name("unipc");
    let calls = model.info().calls_for([64, 96], unipc, None, 4).unwrap();
    let request = LatentRequest { size: [64, 96], guidance_scale: 1.0, ..model.request("a cat", 1, &calls) };
    assert!(model.run(&request).is_ok());
}

/// A session draws with one picture, with another size of it, and without.
#[test]
fn pictures_are_looked_at() {
    let model = model("flux2klein");
    let gray = |size: [usize; 2]| -> &'static [f32] {
        let values: Vec<f32> = (0..size[0] * size[1] * 3).map(|i| (i % 97) as f32 / 96.0).collect();
        values.leak()
    };
    let seen = |sizes: &'static [[usize; 2]]| {
        drawn(&model, [32, 32], |r| {
            r.references = sizes.iter().map(|size| ReferenceImage { picture: gray(*size), size: *size }).collect();
        })
    };
    let none = seen(&[]).unwrap();
    let pictures = [seen(&[[32, 48]]).unwrap(), seen(&[[48, 32]]).unwrap(), seen(&[[32, 48], [16, 16]]).unwrap()];
    for (i, picture) in pictures.iter().enumerate() {
        assert!(*picture != none && pictures[..i].iter().all(|other| other != picture), "{i}");
    }
    let said = seen(&[[30, 32]]).unwrap_err();
    assert!(said.contains("a multiple of 8"), "{said}");
    let said = seen(&[[16, 16]; 11]).unwrap_err();
    assert!(said.contains("number of references"), "{said}");
    // Encoded beforehand they are the same.
    let calls = model.info().calls_for([32, 32], None, None, 2).unwrap();
    let references = vec![ReferenceImage { picture: gray([32, 48]), size: [32, 48] }];
    let encoded = model.encode_references(&LatentRequest { references, ..model.request("", 0, &calls) }).unwrap();
    let encoded: &'static _ = Box::leak(Box::new(encoded));
    assert_eq!(drawn(&model, [32, 32], |r| r.encoded_references = Some(encoded)).unwrap(), pictures[0]);

    let other = self::model("sd35");
    let one = ReferenceImage { picture: gray([16, 16]), size: [16, 16] };
    let said = drawn(&other, [16, 16], |r| r.references = vec![one]).unwrap_err();
    assert!(said.contains("references is for models that look at pictures"), "{said}");
}

/// Into which guidance was distilled, it is not guided, whatever is asked.
#[test]
fn a_distilled_model_is_not_guided() {
    let model = model("flux2klein");
    let mut info = model.info().clone();
    assert!(info.is_guided(4.0));
    let Denoiser::Flux2(network) = &mut info.denoiser else { panic!("another network") };
    network.distilled = true;
    assert!(!info.is_guided(4.0));
}

/// Planned is what loading and running take.
#[test]
fn plans_are_what_runs_take() {
    let own = file("flux2klein");
    let file = File::new_checked(&own).unwrap();
    let info = LatentInfo::read(&file).unwrap();
    let request = PlanRequest { calls: 2, threads: 1, references: &[[32, 48]], ..PlanRequest::new([32, 32]) };
    let plan = LatentPlan::new(&file, &info, &request).unwrap();
    let choice = plan.choices().next().unwrap();
    let stages: Vec<_> = plan.stages(&choice).collect();
    let names: Vec<&str> = stages.iter().map(|stage| &*stage.name).collect();
    assert_eq!(names, ["text encoder", "encoder", "transformer", "decoder"]);
    let model = TextToImage::load(&file, &Device::Cpu).unwrap();
    let calls = info.calls_for([32, 32], None, None, 2).unwrap();
    let mut request = model.request("a cat", 1, &calls);
    (request.size, request.options) = ([32, 32], SessionOptions { threads: 1, ..Default::default() });
    let picture = vec![0.5; 32 * 48 * 3];
    request.references = vec![ReferenceImage { picture: &picture, size: [32, 48] }];
    let mut session = model.session();
    let mut run = session.run(&request).unwrap();
    while run.step().unwrap().is_some() {}
    drop(run);
    let (taken, planned) = (session.bytes() as u64, stages[2].arena + plan.kept());
    assert!(taken <= planned && 20 * taken >= 19 * (planned - plan.kept()), "{taken} taken, {planned} planned");
}
