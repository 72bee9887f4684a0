//! The runtime on a Cortex-M4F in an emulator: weights in flash, memory counted; see `tests/bare-arm`. It draws what the host
//! draws, within limits that do not let flash or RAM grow unnoticed.
extern crate alloc;

#[path = "../../tests/bare/src/mixture.rs"]
mod mixture;

use nijimi_runtime::gguf;
use nijimi_runtime::model::{Device, Diffusion, Request, SessionOptions};
use nijimi_runtime::sampler::Solver;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const TARGET: &str = "thumbv7em-none-eabihf";
const EMULATOR: &str = "qemu-system-arm";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Whether the toolchain's libraries for the target and the emulator are there.
fn to_be_had() -> bool {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    let sysroot = String::from_utf8(sysroot.stdout).unwrap();
    let target = Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).exists();
    let emulator = Command::new(EMULATOR).arg("--version").output().is_ok_and(|o| o.status.success());
    if !target {
        println!("skipped: no {TARGET}; `rustup target add {TARGET}` gets it");
    } else if !emulator {
        println!("skipped: no {EMULATOR}; on Debian, `apt-get install qemu-system-arm` gets it");
    }
    target && emulator
}

/// What the program wrote, and the bytes it took: `flash`, and `ram`.
fn run(program: &str) -> (Vec<u8>, [usize; 2]) {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--target", TARGET, "--manifest-path"])
        .arg(root().join("tests/bare-arm/Cargo.toml"))
        .args(["--bin", program, "--target-dir"])
        .arg(root().join("target/bare-arm"))
        .status();
    assert!(built.unwrap().success());
    let target = root().join("target/bare-arm").join(TARGET).join("release");
    let written = ["out", "err"].map(|end| target.join(format!("{program}.{end}")));
    let [out, err] = written.each_ref().map(|path| File::create(path).unwrap());
    let mut emulator = Command::new(EMULATOR)
        .args(["-machine", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "none"])
        .args(["-semihosting-config", "enable=on,target=native", "-kernel"])
        .arg(target.join(program))
        .stdout(out)
        .stderr(err)
        .spawn()
        .unwrap();
    // Ten seconds of a processor, of which little may be to be had; a program that has lost its way would never end.
    let end = Instant::now() + Duration::from_secs(900);
    let status = loop {
        match emulator.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if Instant::now() < end => std::thread::sleep(Duration::from_millis(50)),
            None => {
                let _ = emulator.kill().and_then(|()| emulator.wait());
                break None;
            }
        }
    };
    let [stdout, stderr] = written.map(|path| std::fs::read(path).unwrap());
    let report = String::from_utf8_lossy(&stderr);
    assert!(status.is_some_and(|status| status.success()), "{program}: {status:?}: {report}");
    println!("{program}\n{report}");
    let bytes = |what: &str| {
        let line = report.lines().find_map(|line| line.strip_prefix(what));
        line.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or_else(|| panic!("no {what} in {report}"))
    };
    (stdout, ["flash ", "ram "].map(bytes))
}

#[track_caller]
fn assert_within(found: [usize; 2], limits: [usize; 2]) {
    let within = found[0] <= limits[0] && found[1] <= limits[1];
    assert!(within, "flash and RAM are {found:?} bytes, more than {limits:?}");
}

/// Seen red with seed 2 on the board (the picture), with the weights copied (RAM), and with a limit below the figure (flash).
#[test]
#[ignore = "builds another workspace, and needs an emulator: .ci/run runs it"]
fn a_microcontroller_draws_the_same_from_flash() {
    if !to_be_had() {
        return;
    }
    let (drawn, taken) = run("digits");

    let bytes = std::fs::read(root().join("weights/digits-q8_0.gguf")).unwrap();
    let pipeline = Diffusion::load(&gguf::File::new_checked(&bytes).unwrap(), &Device::Cpu).unwrap();
    let mut session = pipeline.session(&SessionOptions::default()).unwrap();
    let calls = pipeline.calls(Solver::default(), 2).unwrap();
    let labels = [Some(pipeline.label("7").unwrap())];
    let mut run = session.run(&Request { labels: &labels, seeds: &[1], calls: &calls, guidance_scale: 1.0 }).unwrap();
    while run.step().unwrap().is_some() {}
    assert_eq!(drawn, run.to_u8().unwrap());
    assert_within(taken, [2_860_000, 1_320_000]);
}

/// Seen red with the network's rows first on the board, and with a mixture of 400 rows (RAM).
#[test]
#[ignore = "builds another workspace, and needs an emulator: .ci/run runs it"]
fn a_mixture_and_a_network_fit_in_64_kb() {
    if !to_be_had() {
        return;
    }
    let (rows, taken) = run("numbers");
    let mlp = std::fs::read(root().join("weights/sine-mlp.gguf")).unwrap();
    assert_eq!(rows, [mixture::rows().unwrap(), mixture::rows_of(&mlp).unwrap()].concat());
    assert_within(taken, [128 << 10, 24 << 10]);
}
