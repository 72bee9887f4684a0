//! The runtime on chips without a system, in emulators: weights in flash, memory counted; see `examples/microcontroller`. It draws
//! what the host draws, within limits that do not let flash or RAM grow unnoticed.
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

/// A chip: the compiler's target, and what emulates it.
struct Chip {
    target: &'static str,
    emulator: &'static str,
    board: &'static [&'static str],
    package: &'static str,
}

const CHIPS: [Chip; 2] = [
    Chip {
        target: "thumbv7em-none-eabihf",
        emulator: "qemu-system-arm",
        board: &["-machine", "mps2-an386"],
        package: "qemu-system-arm",
    },
    Chip {
        target: "riscv32imac-unknown-none-elf",
        emulator: "qemu-system-riscv32",
        board: &["-machine", "virt", "-bios", "none"],
        package: "qemu-system-misc",
    },
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The chips for which the toolchain's libraries and an emulator are there.
fn to_be_had() -> impl Iterator<Item = &'static Chip> {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    let libraries = Path::new(String::from_utf8(sysroot.stdout).unwrap().trim()).join("lib/rustlib");
    CHIPS.iter().filter(move |Chip { target, emulator, package, .. }| {
        let library = libraries.join(target).exists();
        let emulated = Command::new(emulator).arg("--version").output().is_ok_and(|o| o.status.success());
        if !library {
            println!("skipped: no {target}; `rustup target add {target}` gets it");
        } else if !emulated {
            println!("skipped: no {emulator}; on Debian, `apt-get install {package}` gets it");
        }
        library && emulated
    })
}

/// What the program wrote, and the bytes it took: `flash`, and `ram`.
fn run(chip: &Chip, program: &str) -> (Vec<u8>, [usize; 2]) {
    let place = root().join("target/microcontroller");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--target", chip.target, "--manifest-path"])
        .arg(root().join("examples/microcontroller/Cargo.toml"))
        .args(["--bin", program, "--target-dir"])
        .arg(&place)
        .status();
    assert!(built.unwrap().success());
    let target = place.join(chip.target).join("release");
    let written = ["out", "err"].map(|end| target.join(format!("{program}.{end}")));
    let [out, err] = written.each_ref().map(|path| File::create(path).unwrap());
    let mut emulator = Command::new(chip.emulator)
        .args(chip.board)
        .args(["-nographic", "-monitor", "none", "-serial", "none", "-icount", "shift=0"])
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
    println!("{program}, {}\n{report}", chip.target);
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
    let bytes = std::fs::read(root().join("weights/digits-tiny-fast-q8_0.gguf")).unwrap();
    let pipeline = Diffusion::load(&gguf::File::new_checked(&bytes).unwrap(), &Device::Cpu).unwrap();
    let mut session = pipeline.session(&SessionOptions::default()).unwrap();
    let calls = pipeline.calls(Solver::default(), 4).unwrap();
    let labels = [Some(pipeline.label("7").unwrap())];
    let mut run = session.run(&Request { labels: &labels, seeds: &[4], calls: &calls, guidance_scale: 1.0 }).unwrap();
    while run.step().unwrap().is_some() {}
    let expected = run.to_u8().unwrap();
    for chip in to_be_had() {
        let (drawn, taken) = self::run(chip, "digits");
        assert_eq!(drawn, expected, "{}", chip.target);
        assert_within(taken, [700_000, 512_000]);
    }
}

/// Seen red with the network's rows first on the board, and with a mixture of 400 rows (RAM).
#[test]
#[ignore = "builds another workspace, and needs an emulator: .ci/run runs it"]
fn a_mixture_and_a_network_fit_in_64_kb() {
    let mlp = std::fs::read(root().join("weights/sine-mlp.gguf")).unwrap();
    let expected = [mixture::rows().unwrap(), mixture::rows_of(&mlp).unwrap()].concat();
    for chip in to_be_had() {
        let (rows, taken) = run(chip, "numbers");
        assert_eq!(rows, expected, "{}", chip.target);
        assert_within(taken, [160 << 10, 24 << 10]);
    }
}
