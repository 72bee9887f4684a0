//! Stable Diffusion 3.5 among the fixtures: what is asked of it, and what it has not.

#[path = "common/diffusers.rs"]
mod diffusers;
#[path = "common/pipelines.rs"]
mod pipelines;

use nijimi_import::Options;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{
    Control, Device, LatentControl, LatentInfo, LatentPlan, LatentRequest, PlanRequest, SessionOptions, SkipLayers,
    TextToImage,
};
use nijimi_runtime::quant::DType;
use nijimi_runtime::sampler::{Calls, Solver};
use pipelines::bytes;

fn file(name: &str) -> Vec<u8> {
    bytes(&diffusers::fixtures().join("pipelines").join(name), &Options::default(), DType::F32)
}

fn model(name: &str) -> TextToImage {
    TextToImage::load(&File::new_checked(&file(name)).unwrap(), &Device::Cpu).unwrap()
}

/// The noise levels of flow are what the model's own scheduler has; solvers that know none are refused by name. Seen red with
/// DDIM taken on its own levels.
#[test]
fn solvers_take_flows_levels() {
    let info = model("sd35").info().clone();
    let calls = |name: &str| info.calls_by(Solver::from_name(name), None, 6);
    let own = info.calls_by(None, None, 6).unwrap();
    assert_eq!(calls("euler").unwrap(), own);
    assert_eq!(calls("flow_euler").unwrap(), own);
    let levels = |calls: &Calls| calls.calls().iter().map(|call| call.sigma).collect::<Vec<_>>();
    assert!(levels(&own).is_sorted_by(|a, b| a > b) && levels(&own)[0] == 1.0, "{:?}", levels(&own));
    for name in ["dpm++2m", "dpm++2s", "dpm++3m", "dpm++2m_sde", "unipc", "deis", "heun"] {
        let calls = calls(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        let shares = calls.calls().iter().all(|call| (call.alpha + call.sigma - 1.0).abs() < 1e-6);
        assert!(shares, "{name}: {:?}", levels(&calls));
    }
    for name in ["ddim", "ddpm", "euler_a", "lcm", "pndm", "lms"] {
        let refused = calls(name).unwrap_err().to_string();
        assert!(refused.contains(name) && refused.contains("dpm++2m"), "{name}: {refused}");
    }
}

fn refused(model: &TextToImage, edit: impl FnOnce(&mut LatentRequest<'_>)) -> String {
    let calls = model.info().calls_by(None, None, 2).unwrap();
    let mut request = model.request("a cat", 1, &calls);
    (request.size, request.options) = ([16, 16], SessionOptions { threads: 1, ..Default::default() });
    edit(&mut request);
    model.run(&request).err().map_or_else(|| "it was drawn".into(), |e| e.to_string())
}

#[test]
fn what_it_has_not_is_refused() {
    let model = model("sd35");
    let says = |edit: &dyn Fn(&mut LatentRequest<'_>), words: &str| {
        let said = refused(&model, edit);
        assert!(said.contains(words), "{said}");
    };
    says(&|r| r.size = [18, 16], "a multiple of 4: 16 or 20");
    says(&|r| r.size = [16, 200], "width is 200");
    says(&|r| r.cache_interval = 2, "models with a U-Net");
    let skip = SkipLayers { layers: &[1], ..SkipLayers::default() };
    says(&|r| (r.guidance_scale, r.skip_layers) = (1.0, Some(skip)), "guided runs");
    says(&|r| r.skip_layers = Some(SkipLayers { layers: &[3], ..skip }), "skipped block");
    says(&|r| r.skip_layers = Some(SkipLayers { layers: &[], ..skip }), "one or more");
    says(&|r| r.skip_layers = Some(SkipLayers { stop: 1.5, ..skip }), "from 0 to 1");
    let other = self::model("sd1");
    let said = refused(&other, |r| r.skip_layers = Some(skip));
    assert!(said.contains("whose network is Stable Diffusion 3's"), "{said}");
    let control = file("sd1_t2i_full");
    let control = Control::load(&File::new_checked(&control).unwrap(), &Device::Cpu).unwrap();
    let picture = vec![0.5; 16 * 16 * 3];
    let calls = model.info().calls_by(None, None, 2).unwrap();
    let controls = vec![LatentControl { network: &control, picture: &picture, strength: 1.0 }];
    let request = LatentRequest { controls, size: [16, 16], ..model.request("a cat", 1, &calls) };
    let said = model.run(&request).err().unwrap().to_string();
    assert!(said.contains("network that it leads is a U-Net, the model's is a transformer"), "{said}");
}

/// Planned is what loading and running take.
#[test]
fn plans_are_what_runs_take() {
    let own = file("sd35");
    let file = File::new_checked(&own).unwrap();
    let info = LatentInfo::read(&file).unwrap();
    let skip = SkipLayers { layers: &[1], stop: 0.6, ..SkipLayers::default() };
    let request = PlanRequest { calls: 5, threads: 1, skip_layers: Some(skip), ..PlanRequest::new([32, 32]) };
    let plan = LatentPlan::new(&file, &info, &request).unwrap();
    let choice = plan.choices().next().unwrap();
    let stages: Vec<_> = plan.stages(&choice).collect();
    let names: Vec<&str> = stages.iter().map(|stage| &*stage.name).collect();
    assert_eq!(names, ["text encoder", "text encoder 2", "transformer", "transformer, layers skipped", "decoder"]);
    // Of steps 0 to 4, those between 0.05 and 3.
    assert_eq!([stages[2].evaluations, stages[3].evaluations], [3, 2]);

    let model = TextToImage::load(&file, &Device::Cpu).unwrap();
    let total: u64 = stages.iter().map(|stage| stage.weights).sum();
    // The encoder's, which no text needs.
    assert!(total < model.weight_bytes() as u64 && total > model.weight_bytes() as u64 / 2, "{total}");
    let calls = info.calls_by(None, None, 5).unwrap();
    let mut request = model.request("a cat", 1, &calls);
    (request.size, request.skip_layers) = ([32, 32], Some(skip));
    request.options = SessionOptions { threads: 1, ..Default::default() };
    let mut session = model.session();
    let mut run = session.run(&request).unwrap();
    while run.step().unwrap().is_some() {}
    drop(run);
    let (taken, planned) = (session.bytes() as u64, stages[2].arena + plan.kept());
    assert!(taken <= planned && 20 * taken >= 19 * (planned - plan.kept()), "{taken} taken, {planned} planned");
}
