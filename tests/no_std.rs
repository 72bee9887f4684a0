//! The runtime without its features draws the same picture and the same rows of a mixture, and refuses what it has not: see
//! `tests/bare`.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
extern crate alloc;

#[path = "bare/src/mixture.rs"]
mod mixture;

use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, Diffusion, Request, SessionOptions};
use nijimi_runtime::sampler::Solver;
use std::path::Path;
use std::process::Command;

/// Seen red with seed 2 in the bare program (the picture), and with the hosted library taking logarithm and sine of a normal
/// from std (the rows); with the feature `language` in the bare program (what it refuses).
#[test]
#[ignore = "builds a second workspace: .ci/run runs it"]
fn a_program_without_std_draws_the_same() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = root.join("target/bare");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--manifest-path"])
        .arg(root.join("tests/bare/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .status()
        .unwrap();
    assert!(built.success());
    let bare = Command::new(target.join("release/nijimi-bare")).output().unwrap();
    assert!(bare.status.success(), "{}: {}", bare.status, String::from_utf8_lossy(&bare.stderr));

    let bytes = std::fs::read(root.join("weights/digits-q8_0.gguf")).unwrap();
    let pipeline = Diffusion::load(&File::new_checked(&bytes).unwrap(), &Device::Cpu).unwrap();
    let mut session = pipeline.session(&SessionOptions::default()).unwrap();
    let calls = pipeline.calls(Solver::default(), 20).unwrap();
    let guidance_scale = pipeline.info().defaults.guidance_scale;
    let labels = [Some(pipeline.label("7").unwrap())];
    let request = Request { labels: &labels, seeds: &[1], calls: &calls, guidance_scale };
    let mut run = session.run(&request).unwrap();
    while run.step().unwrap().is_some() {}
    let picture = run.to_u8().unwrap();
    let (drawn, rest) = bare.stdout.split_at(picture.len().min(bare.stdout.len()));
    assert_eq!(drawn, picture);

    // Equal bits, and no rows of zeros: the mean is the mixture's.
    let hosted = mixture::rows().unwrap();
    let (rows, refused) = rest.split_at(hosted.len().min(rest.len()));
    assert_eq!(rows, hosted);
    let numbers: Vec<f64> = rows.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(numbers.len(), 600);
    let mean = numbers.chunks_exact(3).map(|row| row[1]).sum::<f64>() / 200.0;
    assert!((mean - 71.075).abs() < 4.0, "{mean}");
    assert!(numbers.chunks_exact(3).all(|row| row[2].is_finite()));

    let refused: Vec<&str> = std::str::from_utf8(refused).unwrap().lines().collect();
    let keys = ["nijimi.network", "nijimi.network", "nijimi.text_encoder.model", "nijimi.text_encoder_3.width"];
    assert_eq!(refused.len(), keys.len(), "{refused:?}");
    for (line, key) in refused.into_iter().zip(keys) {
        assert!(line.starts_with(&format!("{key}: ")) && line.contains("the feature `language`"), "{line}");
    }
}
