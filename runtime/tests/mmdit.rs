//! The transformer of Stable Diffusion 3 and 3.5: single calls, against diffusers' (`tests/fixtures/networks/mmdit.py`).

#[path = "common/diffusers.rs"]
mod common;
#[cfg(feature = "gpu")]
#[path = "common/device.rs"]
mod device;

use common::{Tensors, fixtures, gguf};
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, Network, SessionOptions};
use nijimi_runtime::raw::nn::{Denoiser, Mmdit, SdRequest};

fn compare(name: &str, network: &Mmdit, device: &Device, tolerance: f32) {
    let tensors = Tensors::read(&fixtures().join(format!("networks/{name}.safetensors")));
    let get = |name: &str| tensors.get(name);
    let size = [get("latents").shape[2], get("latents").shape[3]];
    let smallest = Denoiser::from(network.clone()).smallest();
    let tokens = get("text").shape[1];
    let request = SdRequest { batch: 2, height: size[0], width: size[1], tokens, ..smallest };
    let graph = network.graph("", &request).unwrap();
    let bytes = gguf(std::slice::from_ref(&graph), &tensors.renamed("pos_embed.pos_embed", "pos_embed.table.weight"));
    let loaded = Network::load(&File::new_checked(&bytes).unwrap(), vec![graph.clone()], device).unwrap();
    let mut evaluator = loaded.evaluator(vec![graph], &SessionOptions { threads: 2, ..Default::default() }).unwrap();
    let mut time = vec![0.0; 2 * Mmdit::TIME_WIDTH];
    Mmdit::write_time(f64::from(get("timestep").values[0]), &mut time);
    let latents = get("latents").channels_last();
    let given = [
        (Mmdit::LATENTS, &latents[..]),
        (Mmdit::TIME, &time),
        (Mmdit::TEXT, &get("text").values),
        (Mmdit::POOLED, &get("pooled").values),
    ];
    let places: Vec<Option<u32>> = network.places(size).unwrap().repeat(2).into_iter().map(Some).collect();
    evaluator.evaluate(0, &given, &places).unwrap();
    let (found, want) = (evaluator.output(Mmdit::OUTPUT).unwrap(), get("out").channels_last());
    assert_eq!(found.len(), want.len());
    let worst = found.iter().zip(&want).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
    println!("{name}: {worst:.2e}");
    assert!(worst <= tolerance, "{name}: {worst:.2e} apart, {tolerance:.0e} allowed");
}

fn both(device: &Device, tolerance: f32) {
    let plain = Mmdit {
        channels: 4,
        layers: 3,
        heads: 4,
        head_channels: 8,
        text_width: 24,
        pooled_width: 20,
        positions: 7,
        dual: vec![],
        qk_norm: false,
    };
    compare("sd3", &plain, device, tolerance);
    compare("sd35", &Mmdit { dual: vec![0, 1], qk_norm: true, ..plain }, device, tolerance);
}

/// Seen red with the table of positions cut at its corner, and with the last block's scale and shift exchanged.
#[test]
fn calls_are_the_references() {
    both(&Device::Cpu, 2e-4);
}

/// Seen red with picture 0's vectors in layer_norm.wgsl, its gate in gated_add.wgsl and the first channels always in slice.wgsl,
/// together.
#[cfg(feature = "gpu")]
#[test]
fn calls_on_a_device_are_the_references() {
    let Some(gpu) = device::device() else { return };
    both(&Device::Gpu(gpu), 1e-3);
}
