//! The trainer's network (dfdx) and the runtime's (plan and kernels) compute the same from the same weights.
use dfdx::prelude::*;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, Diffusion, SessionOptions};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::cpu::position_encoding;
use nijimi_runtime::raw::nn::PixelUnet;
use nijimi_runtime::raw::rng::{Stream, normal_fill};
use nijimi_trainer::export::book_unet::{Description, book_unet};
use nijimi_trainer::fit::Record;
use nijimi_trainer::nn::book_unet::{BookUnet, BookUnetConfig};
use nijimi_trainer::param;
use nijimi_trainer::{import, quantize};

const TOLERANCE: f32 = 1e-4;
const LABELS: [Option<u32>; 3] = [Some(1), None, Some(0)];

/// The largest difference of the two answers, relative to the largest value of the trainer's.
fn difference(model: &BookUnet<Cpu>, bytes: &[u8], timestep: u32) -> f32 {
    let pipeline = Diffusion::load(&File::new_checked(bytes).unwrap(), &Device::Cpu).unwrap();
    let PixelUnet::Book(network) = pipeline.info().network.clone() else { panic!("the book's") };
    let (n, h, w) = (LABELS.len(), network.height, network.width);
    let mut x = vec![0f32; n * h * w];
    normal_fill(7, timestep, &mut x);

    let device = Cpu::default();
    let mut time = vec![0f32; network.time_dim];
    position_encoding(timestep as f32, network.time_dim, &mut time);
    let mut one_hot = vec![0f32; n * network.label_count];
    for (row, label) in one_hot.chunks_exact_mut(network.label_count).zip(LABELS) {
        if let Some(label) = label {
            row[label as usize] = 1.0;
        }
    }
    // One channel: the trainer's layout and the runtime's are the same bytes.
    let picture = device.tensor_from_vec(x.clone(), (n, 1usize, h, w));
    let time = device.tensor_from_vec(time.repeat(n), (n, network.time_dim));
    let labels = device.tensor_from_vec(one_hot, (n, network.label_count));
    let theirs = model.eval(picture, time, Some(labels)).as_vec();

    let mut session = pipeline.session(&SessionOptions { batch: n, ..Default::default() }).unwrap();
    let ours = session.predict(&x, timestep as f32, &LABELS).unwrap();
    let scale = theirs.iter().fold(0f32, |m, v| m.max(v.abs()));
    ours.iter().zip(&theirs).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / scale
}

/// Folding, layout and every kernel: a network whose batch norms have random statistics.
/// Seen red: folding without the running mean, and with taps and channels exchanged in the layout.
#[test]
fn a_random_network_with_its_batch_norms_folded() {
    let device = Cpu::default();
    let config = BookUnetConfig { in_channels: 1, channels: vec![32, 64, 96], time_dim: 20, label_count: 3 };
    let mut model = BookUnet::new(&device, 5, config.clone());
    let mut state = param::state(&mut model, "");
    for (name, v) in &mut state {
        let mut draw = Stream::new(9, name, 0);
        if name.ends_with("running_var") {
            v.data.iter_mut().for_each(|x| *x = 0.2 + draw.uniform());
        } else if v.shape.len() == 1 {
            v.data.iter_mut().for_each(|x| *x += draw.normal() * 0.2);
        }
    }
    param::load(&mut model, "", &state).unwrap();
    let about = Description {
        name: "random".into(),
        size: (12, 8),
        labels: ["a", "b", "c"].map(String::from).to_vec(),
        steps: 1000,
        betas: (1e-4, 0.02),
        student_steps: None,
    };
    let bytes = book_unet(&state, &config, &about, &Record::default(), DType::F32).unwrap();
    for timestep in [1, 500, 1000] {
        let found = difference(&model, &bytes, timestep);
        assert!(found <= TOLERANCE, "t = {timestep}: {found}");
    }
}

/// The shipped weights, decoded to f32 on both sides (the quantized kernels round activations too, on purpose).
/// Seen red: the runtime's bilinear upsampling with corners on corners.
#[test]
fn the_shipped_weights() {
    let folder = std::env::temp_dir().join(format!("nijimi-forward-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/digits-q8_0.gguf");
    let decoded = folder.join("f32.gguf");
    quantize::quantize(&shipped, &decoded, DType::F32).unwrap();
    let bytes = std::fs::read(&decoded).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let model = import::book_unet(&Cpu::default(), &File::new_checked(&bytes).unwrap()).unwrap();
    for timestep in [1, 500, 1000] {
        let found = difference(&model, &bytes, timestep);
        assert!(found <= TOLERANCE, "t = {timestep}: {found}");
    }
}
