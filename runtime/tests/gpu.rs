//! Models on a device: the same pictures as the CPU's, errors that name what went wrong, sessions that share a device.
#![cfg(feature = "gpu")]

#[path = "common/model.rs"]
mod common;

use common::Tiny;
use nijimi_runtime::Error;
use nijimi_runtime::gguf::File;
use nijimi_runtime::gpu::lab::Case;
use nijimi_runtime::gpu::{Choice, ExecOptions, Gpu, GpuError, GpuOptions, Storage};
use nijimi_runtime::model::{
    Decoding, Device, Diffusion, LatentRequest, Request, RequestError, SessionOptions, TextToImage, Tiling, Values,
    batch_seeds,
};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::graph::{Graph, Shape};
use nijimi_runtime::raw::plan::{ExecError, PlanError};
use nijimi_runtime::sampler::Solver;

const DIGITS: &[u8] = include_bytes!("../../weights/digits-q8_0.gguf");
const EMOJI: &[u8] = include_bytes!("../../weights/emoji-q8_0.gguf");

/// As the kernels' tests open theirs; a device of its own each time.
fn open() -> Option<Gpu> {
    let set = |name: &str, value: &str| std::env::var(name).is_ok_and(|v| v == value);
    let choice = if set("NIJIMI_TEST_ADAPTER", "any") { Choice::Any } else { Choice::Software };
    match Gpu::open(&GpuOptions { choice, strict_webgpu: set("NIJIMI_STRICT_WEBGPU", "1"), ..Default::default() }) {
        Ok(gpu) => Some(gpu),
        Err(e) if set("NIJIMI_REQUIRE_GPU", "1") => panic!("{e}"),
        Err(e) => {
            eprintln!("skipped: {e}");
            None
        }
    }
}

fn both(gpu: &Gpu, bytes: &[u8]) -> [Diffusion; 2] {
    let file = File::new_checked(bytes).unwrap();
    [Diffusion::load(&file, &Device::Cpu).unwrap(), Diffusion::load(&file, &Device::Gpu(gpu.clone())).unwrap()]
}

/// The pictures of a request, as values and as bytes.
fn draw(
    pipeline: &Diffusion,
    solver: Solver,
    steps: usize,
    labels: &[Option<u32>],
    guidance_scale: f32,
) -> (Vec<f32>, Vec<u8>) {
    let options = SessionOptions { batch: labels.len() + 1, ..Default::default() };
    let mut session = pipeline.session(&options).unwrap();
    let calls = pipeline.calls(solver, steps).unwrap();
    let seeds = batch_seeds(11, labels.len());
    let mut run = session.run(&Request { labels, seeds: &seeds, calls: &calls, guidance_scale }).unwrap();
    while run.step().unwrap().is_some() {}
    (run.pictures().unwrap().to_vec(), run.to_u8().unwrap())
}

/// What an app in a browser does: nothing blocks there, and each step's estimate is shown. The same pictures.
///
/// Seen red with the estimate read in place of the pictures.
#[test]
fn awaited_pictures_are_the_same() {
    fn sent<T: Send>(future: T) -> T {
        future
    }
    let Some(gpu) = open() else { return };
    let labels = [Some(7), None, Some(2)];
    for pipeline in both(&gpu, &Tiny::new(10).bytes()) {
        let expected = draw(&pipeline, Solver::ddpm(), 6, &labels, 2.0);
        let mut session = pipeline.session(&SessionOptions { batch: 4, ..Default::default() }).unwrap();
        let calls = pipeline.calls(Solver::ddpm(), 6).unwrap();
        let request = Request { labels: &labels, seeds: &batch_seeds(11, 3), calls: &calls, guidance_scale: 2.0 };
        let drawn = async {
            let mut run = session.run(&request)?;
            while let Some(step) = run.step_async().await? {
                let [x, x0] = [run.pictures_async().await?.to_vec(), run.estimate_async().await?.to_vec()];
                assert!(x == run.pictures()? && x0 == run.estimate()?, "step {}", step.index);
            }
            assert!(run.write_u8_async(&mut [0; 5]).await.is_err());
            Ok::<_, Error>((run.pictures_async().await?.to_vec(), run.to_u8_async().await?))
        };
        assert!(pollster::block_on(sent(drawn)).unwrap() == expected);
        let x = vec![0.5; expected.0.len()];
        let awaited = pollster::block_on(session.predict_async(&x, 3.0, &labels)).unwrap().to_vec();
        assert_eq!(awaited, session.predict(&x, 3.0, &labels).unwrap());
    }
}

/// The default model from a prompt: the same awaited as waited for, and to the eye the CPU's.
///
/// Seen red with a device that is not told the text.
#[test]
fn a_prompt_is_drawn_awaited() {
    fn sent<T: Send>(future: T) -> T {
        future
    }
    let Some(gpu) = open() else { return };
    let file = File::new_checked(EMOJI).unwrap();
    let drawn = [Device::Cpu, Device::Gpu(gpu)].map(|device| {
        let model = TextToImage::load(&file, &device).unwrap();
        let calls = model.calls_by(None, None, 2).unwrap();
        let request = model.request("a red apple", 1, &calls);
        let mut run = model.run(&request).unwrap();
        while run.step().unwrap().is_some() {}
        let expected = run.to_u8().unwrap();
        let awaited = async {
            let mut run = model.run_async(&request).await?;
            while run.step_async().await?.is_some() {}
            run.to_u8_async().await
        };
        let awaited: Result<_, Error> = pollster::block_on(sent(awaited));
        assert!(awaited.unwrap() == expected);
        expected
    });
    let psnr = psnr(&drawn[0], &drawn[1]);
    assert!(psnr >= 40.0, "{psnr} dB");
}

/// What a mask keeps of a picture is put back on the device as on the CPU, under a rescaled guidance.
///
/// Seen red with the mask upside down in `restore.wgsl`.
#[test]
fn a_mask_keeps_its_part_on_a_device() {
    let Some(gpu) = open() else { return };
    let file = File::new_checked(EMOJI).unwrap();
    let start: Vec<f32> = (0..64 * 64 * 3).map(|i| (i * 37 % 101) as f32 / 100.0).collect();
    let mask: Vec<f32> = (0..64 * 64).map(|i| if i % 64 < 32 { 0.0 } else { 1.0 }).collect();
    let [cpu, device] = [Device::Cpu, Device::Gpu(gpu)].map(|device| {
        let model = TextToImage::load(&file, &device).unwrap();
        let calls = model.calls_by(Some(Solver::ddim(0.5)), None, 3).unwrap();
        let request = model.request("a red apple", 1, &calls);
        let (init_image, mask) = (Some(&start[..]), Some(&mask[..]));
        let mut run = model.run(&LatentRequest { init_image, mask, guidance_rescale: 0.7, ..request }).unwrap();
        while run.step().unwrap().is_some() {}
        run.sample().unwrap().to_vec()
    });
    let most = cpu.iter().fold(0.0f32, |most, v| most.max(v.abs()));
    let apart = cpu.iter().zip(&device).map(|(a, b)| (a - b).abs());
    let mean = apart.clone().sum::<f32>() / cpu.len() as f32;
    let worst = apart.fold(0.0, f32::max);
    // The CPU's activations are of 8 bits.
    assert!(mean <= 0.005 * most && worst <= 0.06 * most, "{mean} {worst} of {most}");
}

/// An app's texture gets the picture of a prompt, decoded on the device: what is read back is the same.
///
/// Seen red with the first picture's latents for the second, and without the scaling factor (`latents.wgsl`).
#[test]
fn a_prompt_is_drawn_into_a_texture() {
    let Some(gpu) = open() else { return };
    let model = TextToImage::load(&File::new_checked(EMOJI).unwrap(), &Device::Gpu(gpu.clone())).unwrap();
    let calls = model.calls_by(None, None, 1).unwrap();
    let prompts = vec!["a red apple", "a dog"];
    let request =
        LatentRequest { negatives: vec![None; 2], seeds: vec![1, 2], prompts, ..model.request("", 1, &calls) };
    let mut session = model.session();
    let mut run = session.run(&request).unwrap();
    while run.step().unwrap().is_some() {}
    let [h, w, c] = run.picture_shape();
    let texture = texture_of(&gpu, w as u32, h as u32);
    let (pictures, previews) = (run.to_u8().unwrap(), run.preview().unwrap());
    // As the host has them decoded, with the latents read back.
    let size = [run.sample_shape()[0], run.sample_shape()[1]];
    for (latents, bytes) in [(run.sample().unwrap().to_vec(), &pictures), (run.estimate().unwrap().to_vec(), &previews)]
    {
        let decoded = model.decode(&latents, size, Decoding::Whole, &SessionOptions::default()).unwrap();
        assert!(TextToImage::to_u8(&decoded).iter().zip(bytes).all(|(a, b)| a.abs_diff(*b) <= 1));
    }
    for (which, expected) in [(Values::Sample, pictures), (Values::Estimate, previews)] {
        for (i, expected) in expected.chunks_exact(h * w * c).enumerate() {
            run.draw_into(which, i, &texture.create_view(&Default::default())).unwrap();
            let pixels = read_texture(&gpu, &texture);
            let drawn = pixels.chunks_exact(4).flat_map(|pixel| &pixel[..3]);
            assert!(drawn.zip(expected).all(|(a, b)| a.abs_diff(*b) <= 1), "picture {i}");
        }
    }
    // In tiles it cannot be.
    let tiling = Tiling { tile: 16, overlap: 4, factor: model.factor() };
    let mut run = session.run(&LatentRequest { decoding: Decoding::Tiled(tiling), ..request }).unwrap();
    let error = run.draw_into(Values::Sample, 0, &texture.create_view(&Default::default())).unwrap_err();
    assert!(error.to_string().contains("must be whole"), "{error}");
}

/// Random f32 weights: with and without guidance and labels, with and without noise.
///
/// Seen red with the two answers of guidance exchanged, with the noise of the step before, without the estimate's upper
/// bound, and with only the first half of a doubled batch fed.
#[test]
fn f32_pictures_are_the_cpus() {
    let Some(gpu) = open() else { return };
    for labels in [0, 10] {
        let [cpu, device] = both(&gpu, &Tiny::new(labels).bytes());
        let noisy = Solver::ddim(0.5);
        for (solver, steps) in [(Solver::ddpm(), 12), (Solver::default(), 10), (noisy, 7)] {
            for scale in [1.0, 2.5, 0.0] {
                let asked: &[Option<u32>] = if labels == 0 { &[None; 3] } else { &[Some(7), None, Some(2)] };
                let (expected, bytes) = draw(&cpu, solver, steps, asked, scale);
                let (found, found_bytes) = draw(&device, solver, steps, asked, scale);
                for (a, b) in expected.iter().zip(&found) {
                    assert!((a - b).abs() <= 1e-3, "{solver:?}, scale {scale}: {a} {b}");
                }
                for (a, b) in bytes.iter().zip(&found_bytes) {
                    assert!(a.abs_diff(*b) <= 1, "{solver:?}, scale {scale}: {a} {b}");
                }
            }
        }
    }
}

/// What a solver keeps between calls lies on the device. Seen red with the kept sample never written, with the correction
/// left out, and with the network's input not scaled.
#[test]
fn every_solver_draws_the_cpus_pictures() {
    let Some(gpu) = open() else { return };
    let [cpu, device] = both(&gpu, &Tiny::new(10).bytes());
    let names = Solver::NAMES.split(", ").filter(|name| !name.starts_with("flow"));
    let mut solvers = 0;
    for name in names {
        let solver = Solver::from_name(name).unwrap();
        let labels = [Some(7), None];
        let ((expected, _), (found, _)) = (draw(&cpu, solver, 6, &labels, 2.5), draw(&device, solver, 6, &labels, 2.5));
        for (a, b) in expected.iter().zip(&found) {
            assert!((a - b).abs() <= 2e-3, "{name}: {a} {b}");
        }
        solvers += 1;
    }
    assert_eq!(solvers, 20);
}

/// The shipped model: quantized weights, guidance 3. The CPU rounds activations to 8 bits, the device does not. In few steps:
/// `nijimi self-test` draws with all of them.
///
/// Seen red with the scales of neighbouring columns exchanged.
#[test]
fn the_shipped_digits_are_the_cpus() {
    let Some(gpu) = open() else { return };
    let [cpu, device] = both(&gpu, DIGITS);
    let labels: Vec<Option<u32>> = [3, 7, 8].into_iter().map(Some).collect();
    let defaults = cpu.info().defaults;
    let [(_, expected), (_, found)] =
        [&cpu, &device].map(|p| draw(p, defaults.solver, 6, &labels, defaults.guidance_scale));
    let psnr = psnr(&expected, &found);
    assert!(psnr >= 40.0, "{psnr} dB");
}

fn psnr(a: &[u8], b: &[u8]) -> f64 {
    let squares: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 * a.len() as f64 / squares.max(1e-9)).log10()
}

#[test]
fn sessions_share_a_device_and_threads_share_sessions() {
    fn sent<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    sent::<nijimi_runtime::model::Session>();
    shared::<Gpu>();
    let Some(gpu) = open() else { return };
    let [_, device] = both(&gpu, &Tiny::new(10).bytes());
    let alone = draw(&device, Solver::ddpm(), 6, &[Some(1), Some(4)], 2.0);
    // One run dropped half way, on a session that then draws.
    let mut session = device.session(&SessionOptions { batch: 3, ..Default::default() }).unwrap();
    let calls = device.calls(Solver::ddpm(), 6).unwrap();
    let request = Request { labels: &[Some(1), Some(4)], seeds: &[11, 12], calls: &calls, guidance_scale: 2.0 };
    session.run(&request).unwrap().step().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let (device, alone) = (&device, &alone);
            scope.spawn(move || assert_eq!(draw(device, Solver::ddpm(), 6, &[Some(1), Some(4)], 2.0), *alone));
        }
        let mut run = session.run(&request).unwrap();
        while run.step().unwrap().is_some() {}
        assert_eq!(run.pictures().unwrap(), alone.0);
    });
    drop(session);
}

/// Seen red without `is_finite` in sampler_step.wgsl.
#[test]
fn a_number_that_is_none_names_the_operation() {
    let Some(gpu) = open() else { return };
    // Finite in the file, and infinite when summed.
    let tiny = Tiny::new(10).edit(|name, _, values| {
        if name == "up2.convs.0.weight" {
            values.fill(1e38);
        }
        true
    });
    let [cpu, device] = both(&gpu, &tiny.bytes());
    for pipeline in [cpu, device] {
        let mut session = pipeline.session(&SessionOptions::default()).unwrap();
        let calls = pipeline.calls(Solver::default(), 5).unwrap();
        let request = Request { labels: &[Some(1)], seeds: &[1], calls: &calls, guidance_scale: 2.0 };
        let mut run = session.run(&request).unwrap();
        let mut steps = || -> Result<(), Error> {
            while run.step()?.is_some() {}
            run.to_u8().map(drop)
        };
        match steps() {
            Err(Error::Request(RequestError::NotFinite {
                step: 1, source: ExecError::NotFinite { step, .. }, ..
            })) => {
                assert_eq!(step, "up2.convs.0");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_before_it_starts() {
    let Some(gpu) = open() else { return };
    let [_, device] = both(&gpu, &Tiny::new(10).bytes());
    let options = |memory_limit| SessionOptions { batch: 4, memory_limit, ..Default::default() };
    let needed = device.session(&options(None)).unwrap().bytes() as u64;
    assert!(device.session(&options(Some(needed))).is_ok());
    match device.session(&options(Some(needed - 1))).map(drop) {
        Err(Error::Plan(PlanError::Memory { needed: n, allowed })) => assert_eq!((n, allowed), (needed, needed - 1)),
        other => panic!("{other:?}"),
    }
    // An activation that no binding holds.
    let [_, digits] = both(&gpu, DIGITS);
    let error =
        digits.session(&SessionOptions { batch: 7000, guidance: false, ..Default::default() }).map(drop).unwrap_err();
    assert!(matches!(error, Error::Plan(PlanError::Activation { .. })), "{error}");
}

#[test]
fn a_lost_device_is_an_error() {
    let Some(gpu) = open() else { return };
    let [_, device] = both(&gpu, &Tiny::new(10).bytes());
    let mut session = device.session(&SessionOptions::default()).unwrap();
    let calls = device.calls(Solver::default(), 5).unwrap();
    let request = Request { labels: &[Some(1)], seeds: &[1], calls: &calls, guidance_scale: 2.0 };
    let mut run = session.run(&request).unwrap();
    run.step().unwrap();
    gpu.device().destroy();
    let rest = (0..5).try_for_each(|_| run.step().map(drop)).and_then(|()| run.to_u8().map(drop));
    assert!(matches!(rest, Err(Error::Gpu(GpuError::Lost { .. }))), "{rest:?}");
    let again = device.session(&SessionOptions::default()).map(drop);
    assert!(matches!(again, Err(Error::Gpu(GpuError::Lost { .. }))), "{again:?}");
}

/// An app's own device: its callbacks stay, the picture stays there, and is drawn into a texture. Seen red with the default
/// options in place of the app's.
#[test]
fn an_app_hands_in_its_device() {
    let Some(gpu) = open() else { return };
    let folder = std::env::temp_dir().join(format!("nijimi-app-cache-{}", std::process::id()));
    let options = GpuOptions { cache: Some(folder.clone()), tune: true, ..Default::default() };
    let gpu = Gpu::from_device(gpu.device().clone(), gpu.queue().clone(), &options).unwrap();
    let [_, device] = both(&gpu, &Tiny::new(10).bytes());
    let mut session = device.session(&SessionOptions { batch: 2, ..Default::default() }).unwrap();
    let calls = device.calls(Solver::default(), 5).unwrap();
    let request = Request { labels: &[Some(1), Some(2)], seeds: &[1, 2], calls: &calls, guidance_scale: 2.0 };
    let mut run = session.run(&request).unwrap();
    while run.step().unwrap().is_some() {}
    let size = run.buffer(Values::Sample).unwrap().size();
    let [h, w] = device.info().network.size().map(|side| side as u32);
    assert_eq!(size, u64::from(2 * w * h * 4));

    let texture = texture_of(&gpu, 2 * w, 2 * h);
    run.draw_into(Values::Sample, 1, &texture.create_view(&Default::default())).unwrap();
    let pixels = read_texture(&gpu, &texture);
    let bytes = run.to_u8().unwrap();
    for (i, pixel) in pixels.chunks_exact(4).enumerate() {
        let (x, y) = (i as u32 % (2 * w) / 2, i as u32 / (2 * w) / 2);
        let gray = bytes[(w * h + y * w + x) as usize];
        // A texture rounds, bytes are truncated.
        assert!(pixel[0].abs_diff(gray) <= 1 && pixel[0] == pixel[2] && pixel[3] == 255, "{x} {y}: {pixel:?} {gray}");
    }
    gpu.store_cache().unwrap();
    let mut kept = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    assert!(kept.any(|name| name.ends_with(".tiles")), "what was measured is kept, as on a device of nijimi's own");
    std::fs::remove_dir_all(&folder).unwrap();
    let error = run.draw_into(Values::Sample, 2, &texture.create_view(&Default::default())).unwrap_err();
    assert!(error.to_string().contains("picture is 2, must be 0 to 1"), "{error}");
}

/// What an app would draw into.
fn texture_of(gpu: &Gpu, width: u32, height: u32) -> wgpu::Texture {
    gpu.device().create_texture(&wgpu::TextureDescriptor {
        label: None,
        size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba8Unorm,
        usage: wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::COPY_SRC,
        view_formats: &[],
    })
}

fn read_texture(gpu: &Gpu, texture: &wgpu::Texture) -> Vec<u8> {
    let size = texture.size();
    let row = (size.width * 4).next_multiple_of(256);
    let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: u64::from(row * size.height),
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(row), rows_per_image: None };
    let to = wgpu::TexelCopyBufferInfo { buffer: &buffer, layout };
    encoder.copy_texture_to_buffer(texture.as_image_copy(), to, size);
    gpu.queue().submit([encoder.finish()]);
    buffer.map_async(wgpu::MapMode::Read, .., |result| result.unwrap());
    gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let view = buffer.get_mapped_range(..).unwrap();
    view.chunks_exact(row as usize).flat_map(|line| line[..size.width as usize * 4].to_vec()).collect()
}

/// A device that binds little: the arena lies in several buffers, weights in several parts.
///
/// Seen red with every activation in the first buffer, and with each part's columns written from the first.
#[test]
fn what_is_larger_than_a_binding_is_split() {
    let Some(gpu) = open() else { return };
    let little = 384 << 10;
    let limits = wgpu::Limits {
        max_storage_buffer_binding_size: little,
        max_buffer_size: little,
        ..wgpu::Limits::defaults().using_alignment(gpu.device().limits())
    };
    let desc = wgpu::DeviceDescriptor { required_limits: limits, ..Default::default() };
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let any = pollster::block_on(instance.request_adapter(&Default::default())).unwrap();
    let (device, queue) = pollster::block_on(any.request_device(&desc)).unwrap();
    let small = Gpu::from_device(device, queue, &Default::default()).unwrap();

    // 8 pictures of 8x8x32 at twice the batch take more than a buffer together.
    let bytes = Tiny::new(10).bytes();
    let labels = [Some(3); 30];
    let [cpu, device] = both(&small, &bytes);
    let session = device.session(&SessionOptions { batch: 31, ..Default::default() }).unwrap();
    assert!(session.plans()[1].arena_len() * 4 > little as usize);
    let (expected, _) = draw(&cpu, Solver::default(), 3, &labels, 2.0);
    let (found, _) = draw(&device, Solver::default(), 3, &labels, 2.0);
    for (a, b) in expected.iter().zip(&found) {
        assert!((a - b).abs() <= 1e-3, "{a} {b}");
    }

    let mut g = Graph::new();
    let x = g.input("x", Shape::new(1, 5, 1, 512)).unwrap();
    let y = g.linear("l", x, 700, true).unwrap();
    g.output("y", y).unwrap();
    for dtype in DType::ALL {
        let case = Case::new(&small, g.clone(), dtype, 1).unwrap();
        let outcome = case.compare(&Default::default()).unwrap_or_else(|e| panic!("{dtype:?}: {e}"));
        assert!(outcome.error <= 2e-6, "{dtype:?}: {}", outcome.error);
    }
    // What nothing can split.
    let mut g = Graph::new();
    let x = g.input("x", Shape::new(1, 400, 400, 1)).unwrap();
    let y = g.relu("f", x).unwrap();
    g.output("y", y).unwrap();
    let refused = Case::new(&small, g, DType::F32, 1).unwrap().executor(&Default::default()).map(drop);
    assert!(matches!(refused, Err(Error::Plan(PlanError::Activation { .. }))), "{refused:?}");
}

/// Half the memory, and pictures that are alike.
#[test]
fn activations_can_be_halves() {
    let Some(gpu) = open() else { return };
    let [_, device] = both(&gpu, DIGITS);
    let pictures = |storage| {
        let options = ExecOptions { storage, ..Default::default() };
        let mut session = device.session(&SessionOptions { device: options, ..Default::default() })?;
        let bytes = session.bytes();
        let calls = device.calls(Solver::default(), 10)?;
        let request = Request { labels: &[Some(7)], seeds: &[3], calls: &calls, guidance_scale: 3.0 };
        let mut run = session.run(&request)?;
        while run.step()?.is_some() {}
        Ok::<_, Error>((bytes, run.to_u8()?))
    };
    if !gpu.has_f16() {
        assert!(matches!(pictures(Storage::F16), Err(Error::Gpu(GpuError::Lacks { .. }))));
        return;
    }
    let ((full, expected), (half, found)) = (pictures(Storage::F32).unwrap(), pictures(Storage::F16).unwrap());
    assert!(half * 10 < full * 6, "{half} {full}");
    let psnr = psnr(&expected, &found);
    assert!(psnr >= 40.0, "{psnr} dB");
}

/// What is kept on disk makes nothing different, and damage to it does no harm.
#[test]
fn a_cache_folder_changes_no_picture() {
    let Some(gpu) = open() else { return };
    let labels = [Some(1), Some(4)];
    let [_, plain] = both(&gpu, &Tiny::new(10).bytes());
    let expected = draw(&plain, Solver::ddpm(), 4, &labels, 2.0);
    let folder = std::env::temp_dir().join(format!("nijimi-gpu-cache-{}", std::process::id()));
    let options = GpuOptions { choice: Choice::Any, cache: Some(folder.clone()), tune: true, ..Default::default() };
    for damage in [false, false, true] {
        if damage {
            for file in std::fs::read_dir(&folder).unwrap() {
                let path = file.unwrap().path();
                let mut bytes = std::fs::read(&path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                std::fs::write(&path, bytes).unwrap();
            }
        }
        let gpu = Gpu::open(&options).unwrap();
        let [_, device] = both(&gpu, &Tiny::new(10).bytes());
        let found = draw(&device, Solver::ddpm(), 4, &labels, 2.0);
        for (a, b) in expected.0.iter().zip(&found.0) {
            assert!((a - b).abs() <= 1e-3, "{a} {b}");
        }
        gpu.store_cache().unwrap();
        let kept = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        assert!(kept.into_iter().any(|name| name.ends_with(".tiles")));
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
