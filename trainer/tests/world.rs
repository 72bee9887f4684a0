//! Training over MPI with two processes of one machine: what `shares.rs` tests with threads, as users run it.
//!
//! `cargo test -p nijimi-trainer --features mpi --test world`. Skips, saying so, without `mpirun`.
mod common;
#[path = "common/plain.rs"]
mod plain;

use common::{Folder, write_data};
use nijimi_runtime::quant::DType;
use nijimi_trainer::fingerprint::Fingerprint;
use nijimi_trainer::fit::{FitOptions, fit_in};
use nijimi_trainer::optim::AdamW;
use nijimi_trainer::world::{close, join};
use plain::{Plain, distance, values};
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const TRAIN: &str = env!("CARGO_BIN_EXE_nijimi-train");
/// Where the process of [`a_process`] writes; only `mpirun` below sets it.
const OUT: &str = "NIJIMI_TEST_WORLD_OUT";
const PATIENCE: Duration = Duration::from_secs(120);

/// `mpirun` for two processes of this machine, `None` if there is none.
fn mpirun() -> Option<Command> {
    if Command::new("mpirun").arg("--version").output().is_err() {
        eprintln!("skipped: mpirun is not installed");
        return None;
    }
    let mut command = Command::new("mpirun");
    command.args(["--oversubscribe", "--allow-run-as-root", "-n", "2"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(command)
}

/// Waits for the end, at most so long that a hang is told from it: exit code and stderr.
fn end(mut child: Child) -> (Option<i32>, String) {
    let begun = Instant::now();
    let code = loop {
        match child.try_wait().expect("waiting") {
            Some(status) => break status.code(),
            None if begun.elapsed() > PATIENCE => {
                _ = child.kill();
                panic!("hangs");
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let mut text = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut text).expect("text");
    (code, text)
}

fn options(folder: &Path) -> FitOptions {
    FitOptions {
        out: folder.join("model"),
        dtype: DType::F32,
        report: folder.join("report"),
        epochs: 4,
        max_steps: None,
        adam: AdamW { lr: 2e-3, weight_decay: 0.01, warmup: 3, clip: Some(1.0), muon: None },
        ema: Some(0.99),
        checkpoint_every: Duration::from_secs(3600),
        keep: 0,
        resume: false,
        fingerprint: Fingerprint::new("test"),
        command: "test".into(),
    }
}

fn train(folder: &Path, asked: bool) {
    let world = join(asked).expect("a world");
    assert_eq!(world.share().size, if asked { 2 } else { 1 });
    let result = fit_in(&*world, &mut Plain::new(21, 8), &options(folder), &Arc::default());
    close(&*world, result).expect("training");
}

/// One of the two processes of the test below; nothing when the tests run.
#[test]
fn a_process() {
    if let Some(out) = std::env::var_os(OUT) {
        train(Path::new(&out), true);
    }
}

/// 21 rows in batches of 8, 8 and 5, so that shares are unequal. Seen red without the averaging of gradients.
#[test]
fn two_processes_train_what_one_trains() {
    let Some(mut mpirun) = mpirun() else { return };
    let (alone, shared) = (Folder::new("mpi-alone"), Folder::new("mpi-shared"));
    train(&alone.0, false);
    let this = std::env::current_exe().expect("this test");
    mpirun.arg(this).args(["a_process", "--exact", "--test-threads", "1"]).env(OUT, &shared.0);
    let (code, text) = end(mpirun.spawn().expect("mpirun"));
    assert_eq!(code, Some(0), "{text}");
    let far = distance(&values(&alone.join("model")), &values(&shared.join("model")));
    println!("largest difference {far:e} of the largest weight");
    assert!(far < 2e-6, "{far}");
}

/// The arguments of a short run of the diffusion model.
fn ddpm(folder: &Folder, data: &Path, epochs: u64) -> Vec<String> {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut args: Vec<String> = vec!["ddpm".into(), "--data".into(), data.display().to_string()];
    args.extend(["--out".into(), path("out.gguf"), "--report".into(), path("report")]);
    args.extend("--channels 8,16,32 --time-dim 12 --batch 8 -t 1".split(' ').map(Into::into));
    args.extend(["--epochs".into(), epochs.to_string()]);
    args
}

fn losses(folder: &Folder) -> Vec<f64> {
    let text = std::fs::read_to_string(folder.join("report/log.jsonl")).unwrap_or_default();
    let lines = text.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
    lines.filter_map(|l| l.get("loss")?.as_f64()).collect()
}

/// The command, with batch normalization: the same losses, one log, one file. Seen red with the statistics of each share.
#[test]
fn the_command_trains_in_two_processes() {
    let Some(mut mpirun) = mpirun() else { return };
    let (data, alone, shared) = (Folder::new("mpi-data"), Folder::new("mpi-one"), Folder::new("mpi-two"));
    write_data(&data.0, 42);
    let one = Command::new(TRAIN).args(ddpm(&alone, &data.0, 2)).output().expect("nijimi-train");
    assert!(one.status.success(), "{}", String::from_utf8_lossy(&one.stderr));
    mpirun.arg(TRAIN).args(ddpm(&shared, &data.0, 2)).arg("--world");
    let (code, text) = end(mpirun.spawn().expect("mpirun"));
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text.matches("wrote ").count(), 1, "{text}");
    let (one, two) = (losses(&alone), losses(&shared));
    assert_eq!((one.len(), two.len()), (12, 12));
    for (one, two) in one.iter().zip(&two) {
        assert!((one - two).abs() < 2e-5 * one, "{one} alone, {two} together");
    }
    assert!(shared.join("out.gguf").exists() && shared.join("report/epoch-002.png").exists());
}

/// One process without its data: both end, and both messages are read. Seen red without [`close`] (it hangs).
#[test]
fn a_failure_of_one_ends_the_job() {
    let Some(mut mpirun) = mpirun() else { return };
    let (data, out) = (Folder::new("mpi-there"), Folder::new("mpi-failing"));
    write_data(&data.0, 42);
    // The second of two commands is the second process.
    mpirun.args(["-n", "1", TRAIN]).args(ddpm(&out, &data.0, 2)).args(["--world", ":", "-n", "1", TRAIN]);
    mpirun.args(ddpm(&out, Path::new("/nowhere"), 2)).arg("--world");
    let (code, text) = end(mpirun.spawn().expect("mpirun"));
    // Of the one without its data, or of the one that was told so, whichever `mpirun` has first.
    assert!(matches!(code, Some(1 | 3)), "{text}");
    assert!(text.contains("/nowhere") && text.contains("process 1 has failed"), "{text}");
    assert!(!out.join("out.gguf").exists());
}

/// Ctrl-C in one process, or the signal that `mpirun` hands on to all: both stop after the same step, and resume. Seen red
/// with `stop` looked at by each for itself (it hangs).
#[cfg(unix)]
#[test]
fn a_signal_stops_the_job_and_it_resumes() {
    let data = Folder::new("mpi-more");
    write_data(&data.0, 420);
    for (signal, to_all) in [("-INT", false), ("-USR1", true)] {
        let Some(mut first) = mpirun() else { return };
        let out = Folder::new(&format!("mpi-stopped{signal}"));
        // `sh` tells the second process's number, and becomes it.
        let id = out.join("id");
        let sh = "test \"$OMPI_COMM_WORLD_RANK\" = 0 || echo $$ > \"$0\"; exec \"$@\"";
        let mut args = ddpm(&out, &data.0, 100);
        args.push("--world".into());
        first.args(["sh", "-c", sh]).arg(&id).arg(TRAIN).args(&args);
        let child = first.spawn().expect("mpirun");
        let begun = Instant::now();
        while losses(&out).len() < 3 {
            assert!(begun.elapsed() < PATIENCE, "no step is made");
            std::thread::sleep(Duration::from_millis(20));
        }
        let process = std::fs::read_to_string(&id).expect("the process's number");
        let process = if to_all { child.id().to_string() } else { process.trim().into() };
        assert!(Command::new("kill").args([signal, &process]).status().expect("kill").success());
        let (code, text) = end(child);
        assert_eq!(code, Some(130), "{text}");
        assert_eq!(text.matches("go on with --resume").count(), 1, "{text}");
        let made = losses(&out).len();
        let mut again = mpirun().expect("it was there");
        again.arg(TRAIN).args(&args).args(["--resume", "--max-steps", &(made + 2).to_string()]);
        let (code, text) = end(again.spawn().expect("mpirun"));
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(losses(&out).len(), made + 2);
    }
}
