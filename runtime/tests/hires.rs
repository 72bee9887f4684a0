//! A second pass over what was drawn, enlarged: by the pieces, and by a request of any model.

mod common {
    pub mod diffusers;
    pub mod pipelines;
}

use common::pipelines::families;
use nijimi_import::{Checkpoint, Options, Types, convert};
use nijimi_runtime::Model;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{
    Decoding, Device, DrawRequest, Enlarge, Hires, LatentRequest, SessionOptions, TextToImage, Upscaler,
};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::resample::{Filter, resample};
use nijimi_runtime::sampler::Calls;
use std::path::Path;

const SIDE: usize = 32;

fn model() -> TextToImage {
    families().into_iter().find(|family| family.name == "sd1").unwrap().model(DType::F32)
}

fn calls(model: &TextToImage, steps: usize, strength: f64) -> Calls {
    let (schedule, settings) = model.info().second_pass([64, 64], None, None, steps, strength).unwrap();
    Calls::new(&schedule, &settings).unwrap()
}

fn upscaler() -> Upscaler {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/upscalers/x4.safetensors");
    let checkpoint = Checkpoint::open(fixture, &Options::default()).unwrap();
    let path = std::env::temp_dir().join(format!("nijimi-hires-{}.gguf", std::process::id()));
    convert(&checkpoint, &path, "x4", &Types::new(DType::F32), |_| {}).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    Upscaler::load(&File::new_checked(&bytes).unwrap(), &Device::Cpu).unwrap()
}

/// As many steps as were asked for, whatever the strength, at the levels of `steps / strength` steps. Seen red with the
/// count of diffusers' picture-to-picture pipelines, which takes 19 of 20 steps at 0.3, with a pass from the first step on,
/// with the levels of twice as many steps, and with any strength taken.
#[test]
fn a_second_pass_has_all_its_steps() {
    let model = model();
    for strength in [0.3, 0.5, 0.7, 1.0] {
        assert_eq!(calls(&model, 20, strength).steps(), 20, "{strength}");
    }
    let half = calls(&model, 2, 0.5);
    let (schedule, settings) = model.info().settings_by(None, None, 4).unwrap();
    let all = Calls::new(&schedule, &settings.from_strength(0.5)).unwrap();
    let levels = |calls: &Calls| calls.calls().iter().map(|call| call.t).collect::<Vec<_>>();
    assert_eq!(levels(&half), levels(&all));
    for strength in [0.0, -0.5, 1.5, f64::NAN] {
        let refused = model.info().second_pass([64, 64], None, None, 20, strength).unwrap_err().to_string();
        assert!(refused.contains("must be above 0, at most 1"), "{refused}");
    }
}

/// What the pieces give is what the request gives, and what a run from the enlarged picture gives. Seen red with latents
/// enlarged as pixels, pixels as latents, and by a filter where an upscaler is asked for; with another strength, or other
/// noise, in the second pass; with steps counted from 0 in both; and with the first pass's picture given out.
#[test]
fn the_request_is_the_pieces() {
    let model = model();
    let upscaler = upscaler();
    let (small, large) = ([SIDE, 2 * SIDE], [2 * SIDE, 3 * SIDE]);
    let first_calls = model.calls(None, &[], 2).unwrap();
    let second_calls = calls(&model, 2, 0.5);
    let first = LatentRequest { guidance_scale: 3.0, size: small, ..model.request("a red mat", 7, &first_calls) };
    let second = LatentRequest { size: large, calls: &second_calls, ..first.clone() };
    for how in [Enlarge::Latents, Enlarge::Pixels, Enlarge::Upscaler(&upscaler)] {
        let mut run = model.run(&first).unwrap();
        while run.step().unwrap().is_some() {}
        let init = model.enlarge(&mut run, &second, how).unwrap();
        let mut run = model.run(&LatentRequest { encoded_init: Some(&init), ..second.clone() }).unwrap();
        while run.step().unwrap().is_some() {}
        let expected = run.to_u8().unwrap();

        let any = Model::TextToImage(model.clone());
        let request = DrawRequest {
            size: small,
            steps: Some(2),
            guidance_scale: 3.0,
            hires: Some(Hires { size: large, strength: 0.5, steps: None, enlarge: how }),
            ..any.request("a red mat", 7).unwrap()
        };
        let mut run = any.run(&request).unwrap();
        assert_eq!(run.picture_shape(), [large[0], large[1], 3]);
        let mut pixels = vec![0; run.bytes()];
        let mut steps = Vec::new();
        while let Some(step) = run.step().unwrap() {
            steps.push((step.index, step.total));
            if steps.len() == 2 {
                let early = run.write_u8(&mut pixels[..small[0] * small[1] * 3]).unwrap_err().to_string();
                assert!(early.contains("before the second pass"), "{early}");
            }
            run.write_preview(&mut pixels).unwrap();
            assert!(pixels.iter().any(|v| *v != pixels[0]));
        }
        assert_eq!(steps, [(0, 4), (1, 4), (2, 4), (3, 4)]);
        run.write_u8(&mut pixels).unwrap();
        assert!(pixels == expected, "{how:?}");
    }
}

/// Pixels are those of the first pass: at a small strength, the result is near its picture. Seen red with rows and columns
/// swapped, and with a linear filter.
#[test]
fn what_is_enlarged_is_the_picture() {
    let model = model();
    let options = SessionOptions::default();
    let first_calls = model.calls(None, &[], 2).unwrap();
    let first =
        LatentRequest { guidance_scale: 3.0, size: [SIDE, 2 * SIDE], ..model.request("a mat", 3, &first_calls) };
    let mut run = model.run(&first).unwrap();
    while run.step().unwrap().is_some() {}
    let picture = run.pictures().unwrap().to_vec();
    let size = [2 * SIDE, 4 * SIDE];
    let second_calls = calls(&model, 2, 0.5);
    let second = LatentRequest { size, calls: &second_calls, ..first.clone() };
    let init = model.enlarge(&mut run, &second, Enlarge::Pixels).unwrap();
    let line = 2 * SIDE * 3;
    let row = |y: usize, row: &mut [f32]| row.copy_from_slice(&picture[y * line..][..line]);
    let mut larger = resample(row, [SIDE, 2 * SIDE], size, 3, Filter::Lanczos);
    larger.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
    let near = model.encode(&larger, size, Decoding::Whole, &options).unwrap();
    let mut other = model.run(&LatentRequest { encoded_init: Some(&init), ..second }).unwrap();
    let latents = other.sample().unwrap().to_vec();
    assert_eq!(latents.len(), near.len());
    // The run begins with the picture under noise of its level.
    let (alpha, sigma) = (second_calls.calls()[0].alpha, second_calls.calls()[0].sigma);
    let clean = latents.iter().zip(other.noise()).map(|(x, noise)| (x - sigma * noise) / alpha);
    let (mut off, mut of) = (0.0, 0.0);
    for (clean, near) in clean.zip(&near) {
        off += (clean - near).powi(2);
        of += near.powi(2);
    }
    println!("{:.4} of {of:.4}", off);
    assert!(off < 1e-6 * of, "{off} of {of}");
}

/// Seen red with an init_image let through, and with any strength taken.
#[test]
fn what_cannot_be_is_refused_by_name() {
    let any = Model::TextToImage(model());
    let picture = vec![0.5; SIDE * SIDE * 3];
    let hires = Hires { size: [2 * SIDE; 2], strength: 0.5, steps: None, enlarge: Enlarge::Latents };
    let request = DrawRequest { size: [SIDE; 2], hires: Some(hires), ..any.request("a mat", 1).unwrap() };
    let refused = |request: &DrawRequest<'_>| any.run(request).err().unwrap().to_string();
    let from = DrawRequest { init_image: Some(&picture), ..request.clone() };
    assert_eq!(refused(&from), "hires is for runs from a prompt alone, without an init_image: leave it out");
    let odd = DrawRequest { hires: Some(Hires { size: [SIDE + 1, SIDE], ..hires }), ..request.clone() };
    assert!(refused(&odd).contains("height"), "{}", refused(&odd));
    let none = DrawRequest { hires: Some(Hires { strength: 0.0, ..hires }), ..request };
    assert!(refused(&none).contains("strength is 0, must be above 0"), "{}", refused(&none));
}
