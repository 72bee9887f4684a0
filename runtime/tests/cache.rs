//! Deep features that are taken over from step to step ([`SdCache`]), on the CPU and on a device.

#[cfg(feature = "gpu")]
#[path = "common/device.rs"]
mod device;
#[path = "common/diffusers.rs"]
mod diffusers;

#[cfg(feature = "gpu")]
use device::device;
use diffusers::{Tensors, fixtures, gguf, json, unet};
use nijimi_runtime::Error;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, LatentRequest, Network, RequestError, SessionOptions, TextToImage};
use nijimi_runtime::raw::nn::{SdCache, SdRequest, SdUnet};
use nijimi_runtime::sampler::Calls;

const EMOJI: &[u8] = include_bytes!("../../weights/emoji-q8_0.gguf");

/// The last block, given the features that the whole network made, answers as the whole does, to the bit, and without the work
/// for the others. Seen red with the whole evaluated where features are given.
#[test]
fn what_is_given_its_own_features_answers_as_the_whole() {
    let folder = fixtures().join("pipelines/sd1");
    let golden = Tensors::read(&folder.with_extension("golden.safetensors"));
    let network = unet(&json(&folder.join("unet/config.json")));
    let tensors = Tensors::read(&folder.join("unet/diffusion_pytorch_model.safetensors"));
    let (latents, text) =
        (golden.find("unet_in").unwrap_or_else(|| golden.get("latents")), golden.get("prompt_embeds"));
    let &[batch, _, height, width] = &latents.shape[..] else { panic!() };
    let graphs = [SdCache::Off, SdCache::Write, SdCache::Read].map(|cache| {
        let request = SdRequest { cache, ..SdRequest::new(batch, [height, width], text.shape[1]) };
        network.graph("", &request).unwrap()
    });
    let bytes = gguf(&graphs[..1], &tensors);
    let placed = Network::load(&File::new_checked(&bytes).unwrap(), graphs[..1].to_vec(), &Device::Cpu).unwrap();
    let mut evaluator =
        placed.evaluator(graphs.to_vec(), &SessionOptions { threads: 2, ..Default::default() }).unwrap();
    let steps: Vec<usize> = evaluator.plans().iter().map(|plan| plan.steps().len()).collect();
    assert!(steps[0] == steps[1] && 4 * steps[2] < steps[0], "{steps:?}");
    let (latents, mut time) = (latents.channels_last(), vec![0.0; batch * network.time_width()]);
    network.write_time(500.0, &mut time);
    let inputs = [(SdUnet::LATENTS, &latents[..]), (SdUnet::TEXT, &text.values), (SdUnet::TIME, &time)];
    let mut answer = |graph: usize, inputs: &[(&str, &[f32])]| {
        evaluator.evaluate(graph, inputs, &[]).unwrap();
        let features = evaluator.output(SdUnet::FEATURES).map(<[f32]>::to_vec).unwrap_or_default();
        (evaluator.output(SdUnet::OUTPUT).unwrap().to_vec(), features)
    };
    let (whole, _) = answer(0, &inputs);
    let (written, features) = answer(1, &inputs);
    let given = [&inputs[..], &[(SdUnet::FEATURES, &features)]].concat();
    let (read, _) = answer(2, &given);
    assert!(whole == written && whole == read);
    let others: Vec<f32> = features.iter().map(|v| 2.0 * v).collect();
    let given = [&inputs[..], &[(SdUnet::FEATURES, &others)]].concat();
    assert!(answer(2, &given).0 != whole, "the features are not looked at");
}

/// Peak signal-to-noise ratio, the peak being the largest value.
fn psnr(a: &[f32], b: &[f32]) -> f64 {
    let peak = a.iter().fold(0.0f32, |peak, v| peak.max(v.abs()));
    let error: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / a.len() as f64;
    20.0 * f64::from(peak).log10() - 10.0 * error.log10()
}

fn drawn(model: &TextToImage, calls: &Calls, cache_interval: usize, steps: usize) -> Vec<f32> {
    let request = LatentRequest { cache_interval, guidance_rescale: 0.3, ..model.request("a red apple", 1, calls) };
    let mut run = model.run(&request).unwrap();
    for _ in 0..steps {
        run.step().unwrap().unwrap();
    }
    run.sample().unwrap().to_vec()
}

/// Of two calls the second takes over, and so is another; the first, and every one at an interval of 1, is the whole
/// network's; and a picture of it is near what it would be. Seen red with no features kept.
#[test]
fn the_first_of_an_interval_is_the_whole() {
    let model = TextToImage::load(&File::new_checked(EMOJI).unwrap(), &Device::Cpu).unwrap();
    let calls = model.calls_by(None, None, 8).unwrap();
    let after = |cache_interval, steps| drawn(&model, &calls, cache_interval, steps);
    assert!(after(3, 1) == after(1, 1));
    assert!(after(3, 2) != after(1, 2));
    // What is kept is the newest: were it the first, the fourth call would change nothing in the fifth.
    assert!(after(3, 5) != after(1 << 16, 5));
    let pictures = [1, 2].map(|interval| after(interval, 8));
    let near = psnr(&pictures[0], &pictures[1]);
    assert!((12.0..60.0).contains(&near), "{near} dB");
}

/// A device keeps the features as the CPU does; a session that drew with them draws without. Seen red with no features kept on
/// the device.
#[cfg(feature = "gpu")]
#[test]
fn a_device_takes_features_over() {
    let Some(gpu) = device() else { return };
    let file = File::new_checked(EMOJI).unwrap();
    let [cpu, device] = [Device::Cpu, Device::Gpu(gpu)].map(|on| TextToImage::load(&file, &on).unwrap());
    let calls = cpu.calls_by(Some(nijimi_runtime::sampler::Solver::Euler), None, 5).unwrap();
    for interval in [1, 2, 3] {
        let [a, b] = [&cpu, &device].map(|model| drawn(model, &calls, interval, 5));
        let near = psnr(&a, &b);
        assert!(near >= 40.0, "{interval}: {near} dB");
    }
    let mut session = device.session();
    let mut draw = |cache_interval| {
        let request = LatentRequest { cache_interval, ..device.request("a red apple", 1, &calls) };
        let mut run = session.run(&request).unwrap();
        while run.step().unwrap().is_some() {}
        run.sample().unwrap().to_vec()
    };
    let (once, cached, again) = (draw(1), draw(2), draw(1));
    assert!(once == again && once != cached);
}

#[test]
fn an_interval_that_cannot_be_is_refused() {
    let model = TextToImage::load(&File::new_checked(EMOJI).unwrap(), &Device::Cpu).unwrap();
    let calls = model.calls_by(None, None, 2).unwrap();
    for cache_interval in [0, (1 << 16) + 1] {
        let refused = model.run(&LatentRequest { cache_interval, ..model.request("a", 1, &calls) });
        let Err(Error::Request(RequestError::Range { what, .. })) = refused else { panic!("{cache_interval}") };
        assert_eq!(what, "cache_interval");
    }
}
