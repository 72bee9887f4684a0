//! Plans of whole runs, against what the networks take once they are loaded.

#[path = "common/diffusers.rs"]
mod common;
#[cfg(feature = "gpu")]
#[path = "common/device.rs"]
mod device;

use nijimi_import::{Checkpoint, Options, Types, convert};
use nijimi_runtime::Error;
use nijimi_runtime::gguf::{File, MappedFile};
use nijimi_runtime::model::{
    Choice, Device, LatentInfo, LatentPlan, LatentRequest, ModelPart, Network, OpenOptions, PlanRequest, RequestError,
    SessionOptions, StagePlan, Stored, TextToImage, Tiling,
};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::cpu::Context;
use nijimi_runtime::raw::cpu::rates::Rates;
use nijimi_runtime::raw::graph::Graph;
use nijimi_runtime::raw::nn::{SdCache, SdRequest, SdUnet};
use std::path::PathBuf;
use std::sync::Arc;

/// A pipeline of the fixtures, as a file.
struct Converted {
    path: PathBuf,
    map: MappedFile,
}

impl Converted {
    fn new(name: &str, dtype: DType) -> Self {
        let folder = common::fixtures().join("pipelines").join(name);
        let checkpoint = Checkpoint::open(&folder, &Options::default()).unwrap();
        let thread = format!("{:?}", std::thread::current().id());
        let path = std::env::temp_dir().join(format!("nijimi-plan-{}-{thread}-{name}-{dtype}", std::process::id()));
        convert(&checkpoint, &path, "test", &Types::new(dtype), |_| {}).unwrap();
        Self { map: MappedFile::open(&path).unwrap(), path }
    }

    fn file(&self) -> File<'_> {
        self.map.file().unwrap()
    }
}

impl Drop for Converted {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

const WHOLE: Choice = Choice { staged: false, tiling: None, held: None };
const STAGED: Choice = Choice { staged: true, tiling: None, held: None };

/// The stages of a guided run of two pictures that begins with one, and their graphs.
fn stages(file: &File<'_>, size: [usize; 2]) -> Vec<(Vec<&'static str>, Graph)> {
    let info = LatentInfo::read(file).unwrap();
    let (factor, vae) = (info.autoencoder.factor(), &info.autoencoder);
    let [height, width] = size.map(|side| side / factor);
    let mut stages = Vec::new();
    for text in &info.texts {
        let graph = text.network.graph(text.prefix, [1, text.network.positions], text.states).unwrap();
        stages.push((vec![text.prefix], graph));
    }
    stages.push((vec!["vae.encoder.", "vae.quant_conv."], vae.encoder("vae.", 1, size).unwrap()));
    let request = SdRequest::new(4, [height, width], 2 * info.texts[0].network.positions);
    stages.push((vec!["unet."], info.denoiser.graph("unet.", &request).unwrap()));
    stages.push((vec!["vae.decoder.", "vae.post_quant_conv."], vae.decoder("vae.", 1, [height, width]).unwrap()));
    stages
}

fn planned_of(file: &File<'_>, request: &PlanRequest<'_>) -> Result<LatentPlan, Error> {
    LatentPlan::new(file, &LatentInfo::read(file)?, request)
}

fn compare(file: &File<'_>, request: &PlanRequest<'_>, near: f64, load: impl Fn(&[&str], Graph) -> Network) {
    let plan = planned_of(file, request).unwrap();
    let planned: Vec<&StagePlan> = plan.stages(&WHOLE).collect();
    let graphs = stages(file, request.size);
    assert_eq!(planned.len(), graphs.len());
    let options = SessionOptions { threads: request.threads, ..Default::default() };
    for (stage, (prefixes, graph)) in planned.into_iter().zip(graphs) {
        let network = load(&prefixes, graph.clone());
        let evaluator = network.evaluator(vec![graph], &options).unwrap();
        for (said, is) in [(stage.weights, network.weight_bytes()), (stage.arena, evaluator.bytes())] {
            assert!((said as f64 / is as f64 - 1.0).abs() <= near, "{}: {said} planned, {is} taken", stage.name);
        }
        let steps = evaluator.plans()[0].steps();
        assert_eq!((stage.operations, stage.work.macs()), (steps.len(), evaluator.plans()[0].macs()));
        let moved: u64 = steps.iter().filter(|step| step.macs == 0).map(|step| step.bytes()).sum();
        assert_eq!(stage.work.moved, moved, "{}", stage.name);
    }
}

/// Seen red with: f16 weights counted as f32; no scratch memory; the U-Net's batch without guidance.
#[test]
fn stages_take_what_was_planned() {
    for (name, dtype) in [("sd1", DType::F32), ("sd1", DType::F16), ("sd2", DType::Q8_0), ("sdxl", DType::BF16)] {
        let converted = Converted::new(name, dtype);
        let file = converted.file();
        for threads in [1, 3] {
            let size = [64, 128];
            let request = PlanRequest { pictures: 2, windows: 2, encodes: true, threads, ..PlanRequest::new(size) };
            compare(&file, &request, 0.0, |prefixes, graph| {
                Network::load_part(&file, prefixes, graph, &[], &Device::Cpu).unwrap()
            });
        }
    }
}

#[cfg(feature = "gpu")]
#[test]
fn stages_take_what_was_planned_of_a_device() {
    use nijimi_runtime::gpu::Storage;
    let Some(gpu) = device::device() else { return };
    for dtype in [DType::F16, DType::Q8_0] {
        let converted = Converted::new("sd1", dtype);
        let file = converted.file();
        let gpu = &gpu;
        let request = PlanRequest {
            pictures: 2,
            windows: 2,
            encodes: true,
            gpu: Some((gpu, Storage::F32)),
            ..PlanRequest::new([64, 128])
        };
        let load = |prefixes: &[&str], graph| {
            Network::load_part(&file, prefixes, graph, &[], &Device::Gpu(gpu.clone())).unwrap()
        };
        compare(&file, &request, 0.01, load);
    }
}

/// Seen red with: the weights of a stage that is over counted in its peak; the tile's plan for the whole picture.
#[test]
fn the_best_way_that_fits_is_taken() {
    let converted = Converted::new("sd1", DType::F16);
    let file = converted.file();
    // Without guidance, so that the autoencoder takes the most.
    let (guided, encodes) = (false, true);
    let request = PlanRequest { guided, encodes, runs: 2, threads: 1, ..PlanRequest::new([1024, 512]) };
    let plan = planned_of(&file, &request).unwrap();
    let ways: Vec<Choice> = plan.choices().collect();
    assert_eq!(ways[..2], [WHOLE, STAGED]);
    assert!(ways[2..].iter().all(|way| way.tiling.is_some()));
    let stages: Vec<&StagePlan> = plan.stages(&WHOLE).collect();
    let weights = |stages: &[&StagePlan]| stages.iter().map(|stage| stage.weights).sum::<u64>();
    let works = |stage: &StagePlan| stage.arena + stage.buffers;
    let most = stages.iter().map(|stage| works(stage)).max().unwrap();
    assert_eq!(plan.resident(&WHOLE), plan.kept() + weights(&stages) + most);
    let [text, encoder, unet, decoder] = stages[..] else { panic!("{} stages", stages.len()) };
    // What is read is read before what draws is loaded.
    let drawn = weights(&[unet, decoder]) + works(unet).max(works(decoder));
    assert_eq!(plan.peak(&WHOLE), plan.kept() + drawn.max(text.peak()).max(encoder.peak()));
    assert_eq!(encoder.evaluations, 1, "of two pictures that begin with the same one");
    assert_eq!(plan.peak(&STAGED), plan.kept() + stages.iter().map(|stage| stage.peak()).max().unwrap());
    for way in &ways {
        let fits = plan.fits(plan.peak(way)).unwrap();
        let first = ways.iter().find(|other| plan.peak(other) <= plan.peak(way)).unwrap();
        assert_eq!(fits, *first);
    }
    let least = ways.iter().map(|way| plan.peak(way)).min().unwrap();
    assert!(least < plan.peak(&STAGED), "tiles save memory");
    // What is changed while it is loaded is not read again and again.
    let plan = planned_of(&file, &PlanRequest { patched: true, ..request }).unwrap();
    assert_eq!(plan.streamed().count(), 0);
    let least = ways.iter().map(|way| plan.peak(way)).min().unwrap();
    let Err(RequestError::TooLarge(refused)) = plan.fits(least - 1) else { panic!("it fits into less") };
    assert_eq!((refused.resident, refused.staged), (plan.resident(&WHOLE), Some(plan.peak(&STAGED))));
    assert_eq!((refused.tiled, refused.streamed, refused.allowed), (Some(least), None, least - 1));
    let said = refused.to_string();
    let figure = |bytes: u64| format!("{:.0} MB", bytes as f64 / 1e6);
    for part in ["1 picture of 512x1024:", &figure(refused.resident), &figure(least), "use a "] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let once = planned_of(&file, &PlanRequest { encodes: false, runs: 1, ..request }).unwrap();
    assert!(once.choices().all(|way| way.staged), "nothing is used again");
    let used = weights(&[text, unet, decoder]) + [text, unet, decoder].map(works).into_iter().max().unwrap();
    assert_eq!(once.resident(&WHOLE), once.kept() + used, "without the encoder");
    let plan = planned_of(&file, &PlanRequest { stays: true, ..request }).unwrap();
    assert_eq!(plan.peak(&WHOLE), plan.resident(&WHOLE));
    assert!(plan.choices().all(|way| !way.staged));
    let Err(RequestError::TooLarge(refused)) = plan.fits(1) else { panic!("it fits into a byte") };
    assert_eq!(refused.staged, None);
}

/// A network that is larger than memory: its matrices are read as they are used, as many as there is no room for. The pictures are the
/// same, and it takes what was planned.
///
/// Seen red with the matrix before packed for a step, and with the room for the largest left out of the plan.
#[test]
fn weights_are_read_as_they_are_used() {
    let converted = Converted::new("sd1", DType::F16);
    let file = converted.file();
    let plan = planned_of(&file, &PlanRequest { threads: 1, ..PlanRequest::new([64, 64]) }).unwrap();
    let least = plan.streamed().min_by_key(|way| plan.peak(way)).unwrap();
    assert_eq!(plan.streamed().next(), Some(Choice { held: Some(0), ..STAGED }), "the best first");
    assert!(least.staged && least.held == Some(0));
    let unet = plan.stages(&STAGED).find(|stage| stage.name == "U-Net").unwrap();
    assert_eq!(unet.streamed(u64::MAX), unet.weights);
    assert!(unet.streamed(0) < unet.weights / 2 && plan.peak(&least) < plan.peak(&STAGED));
    let half = plan.peak(&STAGED).midpoint(plan.peak(&least));
    let choice = plan.fits(half).unwrap();
    assert!(choice.held.is_some_and(|held| held < unet.weights), "{choice:?}");
    assert!((plan.peak(&least) + 1..=half).contains(&plan.peak(&choice)), "{} of {half}", plan.peak(&choice));
    let Err(RequestError::TooLarge(refused)) = plan.fits(plan.peak(&least) - 1) else { panic!("it fits into less") };
    assert_eq!(refused.streamed, Some(plan.peak(&least)));
    assert!(refused.to_string().contains("with also reading weights as they are used"), "{refused}");

    let stored: Arc<dyn Stored> = Arc::new(MappedFile::open(&converted.path).unwrap());
    let model = TextToImage::open(stored, OpenOptions::default()).unwrap();
    let calls = model.info().calls(None, &[], 2).unwrap();
    let options = SessionOptions { threads: 1, ..SessionOptions::default() };
    let request = LatentRequest { size: [64, 64], options, ..model.request("a red apple", 1, &calls) };
    let drawn = |model: &TextToImage| {
        let mut session = model.session();
        let picture = session.run(&request).unwrap().to_u8().unwrap();
        (picture, session.bytes() as u64)
    };
    let vectors: u64 = unet.each().filter(|(_, is_matrix)| !is_matrix).map(|(bytes, _)| bytes).sum();
    let whole = model.hold_all().unwrap();
    let (picture, bytes) = drawn(&whole);
    for held in [0, 40_000, unet.weights / 2, u64::MAX] {
        let streamed = model.streamed(held).unwrap();
        let (same, with_room) = drawn(&streamed);
        assert!(same == picture, "with {held} bytes held");
        let kept = streamed.hold(&[ModelPart::UNet]).unwrap().weight_bytes() as u64;
        assert!(kept <= held.saturating_add(vectors), "{kept} of {held}");
        // The decoder's largest is smaller.
        let room = unet.streamed(held) - kept;
        assert!((room..=2 * room).contains(&(with_room - bytes)), "{room} planned, {} taken", with_room - bytes);
    }
    let loaded = TextToImage::load(&file, &Device::Cpu).unwrap();
    assert!(loaded.streamed(0).unwrap_err().to_string().contains("models that are opened"));
}

/// What reads deep features works in the memory of what makes them, as the evaluator of both has it.
///
/// Seen red with the whole network evaluated in every step, and with the features left out of what is kept.
#[test]
fn reused_features_are_planned() {
    let converted = Converted::new("sd1", DType::F16);
    let file = converted.file();
    let request = PlanRequest { calls: 7, runs: 2, threads: 1, ..PlanRequest::new([64, 64]) };
    let plan = planned_of(&file, &PlanRequest { cache_interval: 3, ..request }).unwrap();
    let whole = planned_of(&file, &request).unwrap();
    let stages: Vec<&StagePlan> = plan.stages(&WHOLE).collect();
    let [_, made, reused, _] = stages[..] else { panic!("{} stages", stages.len()) };
    assert_eq!((made.name.as_str(), reused.name.as_str()), ("U-Net", "U-Net, reused"));
    assert_eq!((made.evaluations, reused.evaluations), (2 * 3, 2 * 4));
    assert!(0 < reused.work.macs() && reused.work.macs() < made.work.macs());
    assert_eq!((reused.peak(), made.work.macs()), (0, whole.stages(&WHOLE).nth(1).unwrap().work.macs()));

    let info = LatentInfo::read(&file).unwrap();
    let [height, width] = [64 / info.factor(); 2];
    let graph = |cache| {
        let tokens = info.texts[0].network.positions;
        info.denoiser.graph("unet.", &SdRequest { cache, ..SdRequest::new(2, [height, width], tokens) }).unwrap()
    };
    let graphs = vec![graph(SdCache::Write), graph(SdCache::Read)];
    let features = graphs[0].outputs().iter().find(|port| port.name == SdUnet::FEATURES).unwrap();
    assert_eq!(plan.kept() - whole.kept(), 4 * graphs[0].shape(features.value).elements() as u64);
    let network = Network::load_part(&file, &["unet."], graphs[0].clone(), &[], &Device::Cpu).unwrap();
    let options = SessionOptions { threads: 1, ..Default::default() };
    let taken = network.evaluator(graphs, &options).unwrap().bytes() as u64;
    assert_eq!((made.arena, made.weights), (taken, network.weight_bytes() as u64));
    let once = planned_of(&file, &PlanRequest { cache_interval: 100, ..request }).unwrap();
    assert_eq!(once.stages(&WHOLE).map(|stage| stage.evaluations).nth(2), Some(2 * 6), "of the first call of each run");
}

/// It is in memory from the first to the last, encodes if it can, and never in tiles. Seen red with the model's own
/// encoder planned, and with tiles.
#[test]
fn a_tiny_autoencoder_takes_the_others_place() {
    let (converted, tiny) = (Converted::new("sd1", DType::F16), Converted::new("tae", DType::F16));
    let (file, tiny) = (converted.file(), tiny.file());
    let asked = PlanRequest { encodes: true, tile: Some(16), threads: 1, ..PlanRequest::new([256, 256]) };
    let plan = planned_of(&file, &PlanRequest { tiny: Some(&tiny), ..asked }).unwrap();
    let names: Vec<&str> = plan.stages(&STAGED).map(|stage| stage.name.as_str()).collect();
    assert_eq!(names, ["text encoder", "tiny encoder", "U-Net", "tiny decoder"]);
    assert_eq!(plan.choices().collect::<Vec<_>>(), [STAGED]);
    let stages: Vec<&StagePlan> = plan.stages(&STAGED).collect();
    assert!(stages[1].stays && stages[3].stays);
    let works = |stage: &StagePlan| stage.arena + stage.buffers;
    let most = [stages[0].peak(), works(stages[1]), stages[2].peak(), works(stages[3])].into_iter().max().unwrap();
    assert_eq!(plan.peak(&STAGED), plan.kept() + stages[1].weights + stages[3].weights + most);
}

/// Seen red with tiles of one size alone.
#[test]
fn tiles_are_counted_and_worked_on() {
    let converted = Converted::new("sd1", DType::F16);
    let file = converted.file();
    let info = LatentInfo::read(&file).unwrap();
    let factor = info.autoencoder.factor();
    let size = [40 * factor, 44 * factor];
    let request = PlanRequest { tile: Some(16), encodes: true, threads: 1, ..PlanRequest::new(size) };
    let plan = planned_of(&file, &request).unwrap();
    let tiling = Tiling::new(16, factor).unwrap();
    let choice = plan.choices().next().unwrap();
    assert_eq!(choice, Choice { staged: true, tiling: Some(tiling), held: None });
    let (mut decoded, mut encoded) = (0, 0);
    for tile in tiling.tiles([40, 44]) {
        let macs = |graph: &Graph| nijimi_runtime::raw::plan::Plan::new(graph, &Default::default()).unwrap().macs();
        decoded += macs(&info.autoencoder.decoder("vae.", 1, tile.size).unwrap());
        encoded += macs(&info.autoencoder.encoder("vae.", 1, tile.size.map(|side| side * factor)).unwrap());
    }
    let stage = |name: &str| plan.stages(&choice).find(|stage| stage.name.starts_with(name)).unwrap();
    assert_eq!((stage("decoder").work.macs(), stage("encoder").work.macs()), (decoded, encoded));
}

#[test]
fn what_cannot_be_planned_is_refused() {
    let converted = Converted::new("sd1", DType::F16);
    let file = converted.file();
    let refused = |request: &PlanRequest<'_>| planned_of(&file, request).unwrap_err();
    for size in [[0, 64], [64, 1 << 20], [64, usize::MAX]] {
        assert!(matches!(refused(&PlanRequest::new(size)), Error::Request(RequestError::Range { .. })), "{size:?}");
    }
    assert!(matches!(refused(&PlanRequest::new([60, 65])), Error::Request(RequestError::Range { .. })));
    assert!(matches!(refused(&PlanRequest { pictures: 0, ..PlanRequest::new([64, 64]) }), Error::Request(_)));
    assert!(matches!(refused(&PlanRequest { tile: Some(0), ..PlanRequest::new([64, 64]) }), Error::Network(_)));
    // More than can be addressed, in one piece or in tiles.
    assert!(matches!(refused(&PlanRequest::new([1 << 15, 1 << 15])), Error::Network(_)));
    // No latent diffusion model.
    let control = PlanRequest { controls: std::slice::from_ref(&file), ..PlanRequest::new([64, 64]) };
    assert!(matches!(refused(&control), Error::Model(_)));
}

/// A second rate of each kind, and the time that follows.
#[test]
fn rates_make_times() {
    let rates = Rates::measure(&Context::new(1), &[DType::Q8_0, DType::F32]).unwrap();
    let (q8_0, f32) = (rates.of(DType::Q8_0), rates.of(DType::F32));
    for rate in [q8_0.conv, q8_0.linear, f32.conv, f32.linear, rates.attention, rates.bytes] {
        assert!(rate.is_finite() && rate > 1e6, "{rates:?}");
    }
    assert_eq!(rates.of(DType::F16), q8_0, "the first in place of what was not measured");
    let converted = Converted::new("sd1", DType::Q8_0);
    let file = converted.file();
    let seconds = |side| {
        let plan = planned_of(&file, &PlanRequest::new([side, side])).unwrap();
        plan.stages(&WHOLE).map(|stage| stage.work.seconds(&rates)).sum::<f64>()
    };
    assert!(seconds(64) > 0.0 && seconds(256) > 4.0 * seconds(64));
}
