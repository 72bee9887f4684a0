//! LoRAs of published models: losses and gradients are those of PEFT in diffusers (tests/fixtures/pipelines/lora_training.py).
use nijimi_import::{Options, Types, stored};
use nijimi_runtime::model::{LatentInfo, Stored};
use nijimi_runtime::quant::DType;
use nijimi_trainer::param::{State, Values};
use nijimi_trainer::systems::lora::network::{Batch, Layers, Networks, Pair, Told};
use nijimi_trainer::systems::text2image::process::Process;
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const RANK: usize = 2;
const ALPHA: f32 = 3.0;
const GAMMA: f64 = 5.0;
const PROMPTS: [&str; 2] = ["a photo of a cat", "blue sky"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/pipelines").join(name)
}

fn model(name: &str) -> Arc<dyn Stored> {
    stored(fixture(name), &Options::default(), &Types::new(DType::F32)).expect("a pipeline")
}

fn tensors(name: &str) -> State {
    let bytes = std::fs::read(fixture(&format!("{name}.lora_training.safetensors"))).expect("the reference's numbers");
    let file = SafeTensors::deserialize(&bytes).expect("a file of tensors");
    let values = |t: &safetensors::tensor::TensorView<'_>| Values {
        shape: t.shape().to_vec(),
        data: bytemuck::pod_collect_to_vec(t.data()),
    };
    file.tensors().iter().map(|(name, t)| (name.clone(), values(t))).collect()
}

/// `(n, c, h, w)` as `(n, h, w, c)`.
fn channels_last(v: &Values) -> Vec<f32> {
    let [_, c, h, w] = v.shape[..] else { panic!("pictures") };
    let picture = |x: &[f32]| (0..c * h * w).map(|i| x[i % c * h * w + i / c]).collect::<Vec<f32>>();
    v.data.chunks_exact(c * h * w).flat_map(picture).collect()
}

/// The script's `begun`.
fn begun(len: usize, number: u64) -> Vec<f32> {
    let of = |i: u64| {
        let mixed = (i + 1 + 7919 * number).wrapping_mul(2_654_435_761) % (1 << 32);
        (mixed as f64 / f64::from(2f32.powi(32)) - 0.5) as f32 * 0.25
    };
    (0..len as u64).map(of).collect()
}

/// The loss and all gradients of one pipeline against the reference's.
fn check(name: &str) {
    let (stored, reference) = (model(name), tensors(name));
    let file = stored.file().expect("a weight file");
    let info = LatentInfo::read(&file).expect("its description");
    let networks = Networks::load(&file, &info, Layers::Transformers, true, (RANK, ALPHA), 2).expect("the networks");
    let process = Process::of(&info, Some(1.0)).expect("the schedule");
    let mut names: Vec<String> =
        networks.layers.iter().flat_map(|l| ["A", "B"].map(|f| format!("{}.lora_{f}", l.name))).collect();
    let order = names.clone();
    names.sort();
    let theirs: Vec<&String> = reference.keys().filter(|key| key.contains("lora_")).collect();
    assert!(names.iter().eq(theirs), "the layers are the reference's");
    let values = |i: usize| {
        let name = &order[i];
        begun(reference[name].data.len(), names.binary_search(name).expect("a name") as u64)
    };
    let factors: Vec<[Vec<f32>; 2]> = (0..networks.layers.len()).map(|i| [values(2 * i), values(2 * i + 1)]).collect();
    let pairs: Vec<Pair> = factors.iter().map(|[down, up]| [&down[..], &up[..]]).collect();

    let levels: Vec<usize> = reference["levels"].data.iter().map(|l| *l as usize).collect();
    let (clean, noise) = (channels_last(&reference["clean"]), channels_last(&reference["noise"]));
    let len = clean.len() / 2;
    let at = |i: usize| process.signal_and_sigma(levels[i / len]);
    let noised = (0..clean.len()).map(|i| at(i).0 * clean[i] + at(i).1 * noise[i]).collect();
    let target = (0..clean.len()).map(|i| process.answer(at(i), clean[i], noise[i])).collect();
    let shape = &reference["clean"].shape;
    let batch = Batch {
        size: [shape[2], shape[3]],
        noised,
        target,
        weights: levels.iter().map(|l| process.weight(*l, GAMMA) as f32).collect(),
        timesteps: levels.iter().map(|l| *l as f64).collect(),
        told: Told::Texts(PROMPTS.map(Some).to_vec()),
    };
    let (loss, gradients) = networks.step(&batch, &pairs).expect("a step");
    let expected = f64::from(reference["losses"].data[0]);
    println!("{name}: loss {loss} beside {expected}");
    assert!((loss / expected - 1.0).abs() < 1e-5, "{name}: loss {loss}, not {expected}");
    let mut worst = (0f32, "");
    for (i, name) in order.iter().enumerate() {
        let ours = &gradients[i / 2];
        let (ours, theirs) = (if i % 2 == 0 { &ours.down } else { &ours.up }, &reference[name].data);
        assert_eq!(ours.len(), theirs.len(), "{name}");
        let largest = theirs.iter().fold(0f32, |m, v| m.max(v.abs()));
        let apart = ours.iter().zip(theirs).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
        if apart > worst.0 * largest {
            worst = (apart / largest, name);
        }
        assert!(apart <= 1e-4 * largest, "{name}: {apart:e} of {largest:e}");
    }
    println!("{name}: worst {worst:?} of {} matrices", order.len());
}

#[test]
fn gradients_of_stable_diffusion_1_are_the_references() {
    check("sd1full");
}

#[test]
fn gradients_of_stable_diffusion_2_are_the_references() {
    check("sd2");
}

#[test]
fn gradients_of_sdxl_are_the_references() {
    check("sdxl");
}
