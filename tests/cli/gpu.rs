//! The program on a GPU, or on what runs shaders on the CPU. Skipped, saying so, where there is neither; with
//! `NIJIMI_REQUIRE_GPU=1` that is a failure.

use crate::common::Folder;
use nijimi_runtime::gpu;
use std::process::Command;

/// Whether there is something to test on.
fn adapter() -> bool {
    let some = !gpu::adapters().is_empty();
    assert!(some || std::env::var("NIJIMI_REQUIRE_GPU").is_err(), "no adapter: install mesa-vulkan-drivers");
    if !some {
        eprintln!("skipped: no adapter");
    }
    some
}

/// Runs the program with a cache in its own folder; what it says on stderr.
fn draw(folder: &Folder, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nijimi"));
    let output = command.args(args).current_dir(&folder.path).env("XDG_CACHE_HOME", &folder.path).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{args:?}: {stderr}");
    stderr
}

fn psnr(a: &[u8], b: &[u8]) -> f64 {
    let squares: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 * a.len() as f64 / squares.max(1e-9)).log10()
}

/// Seen red with guidance left out on the device.
#[test]
fn the_picture_is_the_cpus() {
    if !adapter() {
        return;
    }
    let folder = Folder::new();
    for (backend, file) in [("cpu", "cpu.png"), ("gpu", "gpu.png")] {
        let said = draw(&folder, &["7", "-s", "1", "--backend", backend, "-o", file, "-v"]);
        assert_eq!(said.contains("GPU: "), backend == "gpu", "{said}");
        assert!(said.contains("first picture after "), "{said}");
    }
    let [cpu, gpu] = ["cpu.png", "gpu.png"].map(|file| folder.picture(file));
    let ratio = psnr(&cpu.pixels, &gpu.pixels);
    assert!(ratio >= 40.0, "{ratio} dB");
    assert_eq!(cpu.parameters, gpu.parameters);
    assert!(gpu.pixels.iter().any(|p| *p != gpu.pixels[0]), "not a constant picture");
}

/// The tiny model: f32 weights, two words, more rounds than one. Seen red with guidance left out on the device.
#[test]
fn batches_are_the_cpus() {
    if !adapter() {
        return;
    }
    let folder = Folder::new();
    let args = ["2 3", "-b", "17", "-s", "5", "--steps", "4", "-m", "tiny.gguf"];
    for backend in ["cpu", "gpu"] {
        draw(&folder, &[&args[..], &["--backend", backend, "-o", &format!("{backend}.png")]].concat());
    }
    let [cpu, gpu] = ["cpu.png", "gpu.png"].map(|file| folder.picture(file).pixels);
    assert!(cpu.iter().zip(&gpu).all(|(a, b)| a.abs_diff(*b) <= 1));
}

/// Seen red with a cache that is not stored.
#[test]
fn compiled_pipelines_are_kept_where_they_can_be() {
    if !adapter() || !cfg!(target_os = "linux") {
        return;
    }
    let folder = Folder::new();
    let args = ["7", "-s", "1", "--steps", "1", "--backend", "gpu", "-v", "-m", "tiny.gguf"];
    draw(&folder, &args);
    let cached = std::fs::read_dir(folder.path.join("nijimi")).unwrap().count();
    assert_eq!(cached, 1);
    // A file where the folder would be is no reason to draw nothing.
    std::fs::remove_dir_all(folder.path.join("nijimi")).unwrap();
    std::fs::write(folder.path.join("nijimi"), "").unwrap();
    let said = draw(&folder, &args);
    assert!(said.contains("compiled pipelines are not kept for the next start: "), "{said}");
}

#[test]
fn devices_lists_them() {
    let folder = Folder::new();
    let output = folder.nijimi(&["devices"]);
    assert!(output.status.success() && output.stdout.ends_with(b"\n"));
    let said = String::from_utf8(output.stdout).unwrap();
    if adapter() {
        assert!(said.starts_with("0: ") && said.contains("; f16: "), "{said}");
        let gpu = gpu::choose(&gpu::adapters(), gpu::Choice::Hardware).is_ok();
        assert_eq!(said.contains("used by --backend auto"), gpu, "{said}");
    } else {
        assert!(said.contains("install its Vulkan driver"), "{said}");
    }
}

/// Seen red with an exit code of 1.
#[test]
fn what_is_missing_exits_with_4() {
    let folder = Folder::new();
    for args in [&["7", "--device", "99"][..], &["self-test", "--device", "99"]] {
        let (code, message) = folder.fail(args);
        assert_eq!(code, 4, "{message}");
        assert!(message.contains("no adapter 99: there are ") || message.contains("install a Vulkan driver"));
    }
    assert!(folder.files().is_empty());
}

/// No driver at all: the CPU draws unless a GPU was asked for. Seen red with an exit code of 1.
#[test]
#[cfg(target_os = "linux")]
fn without_a_driver() {
    let folder = Folder::new();
    let run = |backend: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nijimi"));
        let args = ["7", "--steps", "2", "-v", "-m", "tiny.gguf", "--backend", backend];
        // Where the Vulkan loader looks, by its new and its old name.
        let none = "/nonexistent";
        command.args(args).current_dir(&folder.path).env("VK_DRIVER_FILES", none).env("VK_ICD_FILENAMES", none);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run("auto");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("no GPU is used: ") && said.contains("CPU: "), "{said}");
    let (code, said) = run("gpu");
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("install a Vulkan driver, or draw on the CPU (--backend cpu)"), "{said}");
}
