//! `nijimi self-test`: what a device does, against the CPU, as a table for people and bug reports.

use crate::cli::SelfTest;
use crate::draw::backend;
use crate::fault::Fault;
use crate::file::default_model::{DEFAULT, DIGITS};
use nijimi_cli::print::{plain, print};
use nijimi_runtime::Error;
use nijimi_runtime::gguf::File;
use nijimi_runtime::gpu::lab::{self, KernelRow, LEAST, ModelRow, Row, SelfTestOptions, psnr};
use nijimi_runtime::gpu::{self, Choice, Gpu};
use nijimi_runtime::model::{Device, TextToImage};
use nijimi_runtime::raw::cpu::Isa;
use std::time::Instant;

/// A picture of the default model that is drawn on both: a few steps are enough to see a difference.
const PROMPT: &str = "a red apple";
const STEPS: usize = 4;
/// Tests one device, and prints each result as it comes.
pub fn run(options: &SelfTest) -> Result<(), Fault> {
    let choice = options.device.map_or(Choice::Any, Choice::Index);
    say(&format!("nijimi {} on {}, CPU: {}", env!("CARGO_PKG_VERSION"), system(), Isa::detect()))?;
    let all = gpu::adapters();
    say(&all[gpu::choose(&all, choice)?].to_string())?;
    let gpu = backend::open(choice, false)?;
    let large = options.large || !gpu.is_software();
    say(&format!("shapes: {}", if large { "of large networks" } else { "small (--large for others)" }))?;
    say(&format!(
        "\n{:<4}  {:<44} {:<4} {:>8} {:>8} {:>10} {:>8} {:>9}",
        "", "kernel", "as", "error", "allowed", "ms", "GB/s", "GFLOP/s"
    ))?;
    let (mut rows, mut failed, mut told) = (0, 0, Ok(()));
    let mut report = |row: &Row| {
        rows += 1;
        failed += usize::from(!row.passed());
        let said = say(&line(row));
        if told.is_ok() {
            told = said;
        }
    };
    let test = SelfTestOptions { large: Some(large) };
    lab::self_test(&gpu, &test, DIGITS.bytes, &mut report).map_err(|e| Fault::Device(e.to_string()))?;
    report(&Row::Model(ModelRow {
        name: format!("{}, {PROMPT:?}, {STEPS} steps", DEFAULT.name),
        least: LEAST,
        measured: prompt(&gpu).map_err(|e| e.to_string()),
    }));
    told?;
    // A cache that cannot be written is no fault of the device's.
    let _ = gpu.store_cache();
    if failed > 0 {
        return Err(Fault::Device(format!(
            "{failed} of {rows} tests failed on {}: try another driver, or draw with --backend cpu, and report it with this table",
            gpu.name()
        )));
    }
    say(&format!("\nall {rows} passed"))
}

/// Draws a prompt on both; the ratio in dB, and seconds of a step on the device.
fn prompt(gpu: &Gpu) -> Result<(f64, f64), Error> {
    let file = File::new_checked(DEFAULT.bytes)?;
    let draw = |device: Device| {
        let model = TextToImage::load(&file, &device)?;
        let info = model.info();
        let calls = info.calls_by(info.defaults.solver, info.defaults.sigmas, STEPS)?;
        let mut run = model.run(&model.request(PROMPT, 1, &calls))?;
        let started = Instant::now();
        while run.step()?.is_some() {}
        // Steps are submitted; what is read has been waited for.
        run.sample()?;
        let seconds = started.elapsed().as_secs_f64() / STEPS as f64;
        Ok::<_, Error>((run.to_u8()?, seconds))
    };
    let ((expected, _), (found, seconds)) = (draw(Device::Cpu)?, draw(Device::Gpu(gpu.clone()))?);
    Ok((psnr(&expected, &found), seconds))
}

fn say(line: &str) -> Result<(), Fault> {
    Ok(print(&format!("{}\n", line.split('\n').map(plain).collect::<Vec<_>>().join("\n")))?)
}

fn line(row: &Row) -> String {
    let verdict = if row.passed() { "ok" } else { "FAIL" };
    match row {
        Row::Kernel(KernelRow { name, variant, tolerance, measured }) => {
            let head = format!("{verdict:<4}  {name:<44} {variant:<4}");
            match measured {
                Err(problem) => format!("{head} {problem}"),
                Ok(m) => {
                    let rate = |n: u64| n as f64 / m.seconds / 1e9;
                    let flop = if m.flop == 0 { String::new() } else { format!("{:.1}", rate(m.flop)) };
                    let (ms, bytes) = (m.seconds * 1e3, rate(m.bytes));
                    format!("{head} {:>8.1e} {tolerance:>8.1e} {ms:>10.3} {bytes:>8.2} {flop:>9}", m.error)
                        .trim_end()
                        .to_string()
                }
            }
        }
        Row::Model(ModelRow { name, least, measured }) => match measured {
            Err(problem) => format!("{verdict:<4}  {name}: {problem}"),
            Ok((psnr, seconds)) => {
                let ms = seconds * 1e3;
                format!("{verdict:<4}  {name}: {psnr:.1} dB from the CPU ({least} needed), {ms:.2} ms a step")
            }
        },
    }
}

/// The operating system, as far as it says what it is.
fn system() -> String {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let name = name.map_or(std::env::consts::OS, |name| name.trim_matches('"'));
    format!("{name} ({})", std::env::consts::ARCH)
}
