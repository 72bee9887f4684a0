//! Training in shares, with threads in place of processes: the result is that of one process, whatever fails or stops
//! does so for all. `world.rs` does the same over MPI.
#[path = "common/bars.rs"]
mod bars;
mod common;
#[path = "common/plain.rs"]
mod plain;
#[path = "common/threads.rs"]
mod threads;

use bars::{checkpoint, options};
use common::{Folder, write_data};
use dfdx::prelude::{Cpu, Gradients};
use nijimi_runtime::quant::DType;
use nijimi_trainer::error::{Error, Result};
use nijimi_trainer::fingerprint::Fingerprint;
use nijimi_trainer::fit::{At, Ended, FitOptions, Record, StepResult, Task, fit, fit_in};
use nijimi_trainer::target::CHECKPOINT;
use nijimi_trainer::world::close;
use plain::{Net, Plain, distance, values};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use threads::together;

/// Batches of 8, 8 and 4.
const ROWS: usize = 20;
const BATCH: usize = 8;

fn never() -> Arc<AtomicBool> {
    Arc::default()
}

/// Losses of all steps.
fn losses(options: &FitOptions) -> Vec<f64> {
    let text = std::fs::read_to_string(options.report.join("log.jsonl")).expect("the log");
    let lines = text.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).expect("a line of JSON"));
    lines.filter_map(|l| l.get("loss")?.as_f64()).collect()
}

fn close_to(a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= tolerance * b.abs(), "step {}: {a}, alone {b}", i + 1);
    }
}

/// Equal shares, unequal ones, and a batch of fewer rows than processes. Seen red with equal weights for all shares, and
/// without the averaging of gradients.
#[test]
fn shares_are_trained_as_the_whole() {
    let folder = Folder::new("whole");
    let alone = options(&folder, 4);
    fit(&mut Plain::new(ROWS, BATCH), &alone, &never()).expect("training");
    let expected = values(&alone.out);
    for size in [2, 3, 5] {
        let folder = Folder::new(&format!("shares-{size}"));
        let shared = options(&folder, 4);
        let ended = together(size, |world| {
            close(&*world, fit_in(&*world, &mut Plain::new(ROWS, BATCH), &shared, &never())).expect("training")
        });
        assert_eq!(ended, vec![Ended::Finished; size]);
        let far = distance(&expected, &values(&shared.out));
        assert!(far < 2e-6, "{size} processes: {far}");
        close_to(&losses(&shared), &losses(&alone), 1e-6);
    }
}

/// Batch statistics are those of the whole batch. After the first step the moments are the gradients; later ones are
/// compared by their losses, for Adam makes steps of full length of the rounding that is the gradient of a bias before a
/// batch normalization. Seen red with the statistics of each share forward, and backward; with the noise keyed by the row
/// in the share; with the noise levels, and the dropped labels, drawn for the share alone.
#[test]
fn batch_normalization_sees_the_whole_batch() {
    let folder = Folder::new("bars");
    write_data(&folder.0, ROWS);
    let mut alone = options(&folder, 4);
    alone.adam.warmup = 0;
    let task = || bars::task(&folder.0, BATCH);
    for (size, steps) in [(2, 1), (3, 1), (5, 3), (2, 12)] {
        let mut runs = Vec::new();
        for size in [1, size] {
            let folder = Folder::new(&format!("bars-{size}-{steps}"));
            let options = FitOptions {
                max_steps: Some(steps),
                report: folder.join("report"),
                out: folder.join("out"),
                ..alone.clone()
            };
            together(size, |world| {
                let mut task = task().within(world.clone());
                close(&*world, fit_in(&*world, &mut task, &options, &never())).expect("training")
            });
            runs.push((folder, options));
        }
        let [(_, alone), (_, shared)] = &runs[..] else { panic!("two runs") };
        close_to(&losses(shared), &losses(alone), 2e-5);
        if steps == 1 {
            let (a, b) = (checkpoint(alone).tensors, checkpoint(shared).tensors);
            for kind in ["adam.m.", "model.running"] {
                let flat = |t: &nijimi_trainer::param::State| -> Vec<f32> {
                    let kind = kind.trim_start_matches("model.");
                    t.iter().filter(|(k, _)| k.contains(kind)).flat_map(|(_, v)| v.data.clone()).collect()
                };
                let far = distance(&flat(&a), &flat(&b));
                assert!(far < 2e-6, "{size} processes, {kind}: {far}");
            }
        }
    }
}

/// A task in which one process is told to stop at a step, as Ctrl-C does.
struct Interrupted(Plain, Option<u64>, Arc<AtomicBool>);

impl Task<Cpu> for Interrupted {
    type Model = Net;
    fn model(&mut self) -> &mut Net {
        self.0.model()
    }
    fn steps_per_epoch(&self) -> u64 {
        self.0.steps_per_epoch()
    }
    fn batch(&self, at: At) -> Option<usize> {
        self.0.batch(at)
    }
    fn step(&mut self, at: At, gradients: Gradients<f32, Cpu>) -> Result<StepResult<Cpu>> {
        if self.1 == Some(at.step) {
            self.2.store(true, Ordering::Relaxed);
        }
        self.0.step(at, gradients)
    }
    fn export(&self, model: &mut Net, record: &Record, dtype: DType) -> Result<Vec<u8>> {
        self.0.export(model, record, dtype)
    }
    fn preview(&self, _: &[u8], _: &Path) -> Result<()> {
        Ok(())
    }
}

/// Stopped in the process that writes nothing; all resume, and end as if never stopped. Seen red with `stop` looked at by
/// each for itself, and with the checkpoint read by process 0 alone.
#[test]
fn one_stops_all_and_all_resume() {
    let whole = Folder::new("unstopped");
    let expected = options(&whole, 3);
    let all = |options: &FitOptions, at: Option<u64>| {
        together(2, |world| {
            let (stop, at) = (never(), at.filter(|_| world.share().rank == 1));
            let mut task = Interrupted(Plain::new(ROWS, BATCH), at, stop.clone());
            close(&*world, fit_in(&*world, &mut task, options, &stop)).expect("training")
        })
    };
    all(&expected, None);
    let folder = Folder::new("stopped");
    let mut options = options(&folder, 3);
    assert_eq!(all(&options, Some(4)), [Ended::Interrupted; 2]);
    assert_eq!(checkpoint(&options).facts["step"], "5");
    options.resume = true;
    assert_eq!(all(&options, None), [Ended::Finished; 2]);
    assert_eq!(values(&options.out), values(&expected.out));
    assert_eq!(losses(&options), losses(&expected));
}

/// Wherever one fails, all end, and say which. Seen red without [`close`] (the threads wait for ever), and with settings
/// not compared.
#[test]
fn a_failure_anywhere_ends_all() {
    let ends = |options: &FitOptions, early: bool, at: Option<u64>, resume: bool, fingerprint: [&str; 2]| {
        let outcome = together(2, |world| {
            let rank = world.share().rank;
            let mut task = Plain::new(ROWS, BATCH);
            task.fails_at = at.filter(|_| rank == 1);
            let options = FitOptions { fingerprint: Fingerprint::new(fingerprint[rank]), resume, ..options.clone() };
            let failed = early && rank == 1;
            let result = if failed {
                Err(Error::Usage("no data".into()))
            } else {
                fit_in(&*world, &mut task, &options, &never())
            };
            close(&*world, result)
        });
        assert!(!options.out.exists());
        outcome.into_iter().map(|e| e.expect_err("a failure")).collect::<Vec<_>>()
    };
    let folder = Folder::new("failures");
    let options = options(&folder, 2);
    let e = ends(&options, true, None, false, ["a", "a"]);
    assert!(matches!(e[0], Error::Elsewhere { rank: 1 }) && e[1].to_string() == "no data", "{e:?}");
    let e = ends(&options, false, None, false, ["a", "b"]);
    assert!(e.iter().all(|e| e.to_string().contains("process 1 has other settings")), "{e:?}");
    let e = ends(&options, false, Some(2), false, ["a", "a"]);
    assert!(matches!(e[0], Error::Elsewhere { rank: 1 }) && e[1].to_string() == "made to fail", "{e:?}");
    assert!(!options.report.join(CHECKPOINT).exists());
    // Process 0 fails where the others are done: it cannot write the file.
    let out = FitOptions { out: folder.join("no/such/folder/model.gguf"), ..options.clone() };
    let e = ends(&out, false, None, false, ["a", "a"]);
    assert!(matches!(e[0], Error::Runtime(_)) && matches!(e[1], Error::Elsewhere { rank: 0 }), "{e:?}");
    // And at once: a run is there already.
    let e = ends(&options, false, None, false, ["a", "a"]);
    assert!(e[0].to_string().contains("--resume goes on") && matches!(e[1], Error::Elsewhere { rank: 0 }), "{e:?}");
}

/// A system that knows no shares would train on the whole batch in each process.
struct Shareless(Plain);

impl Task<Cpu> for Shareless {
    type Model = Net;
    fn model(&mut self) -> &mut Net {
        self.0.model()
    }
    fn steps_per_epoch(&self) -> u64 {
        self.0.steps_per_epoch()
    }
    fn step(&mut self, at: At, gradients: Gradients<f32, Cpu>) -> Result<StepResult<Cpu>> {
        self.0.step(at, gradients)
    }
    fn export(&self, model: &mut Net, record: &Record, dtype: DType) -> Result<Vec<u8>> {
        self.0.export(model, record, dtype)
    }
    fn preview(&self, _: &[u8], _: &Path) -> Result<()> {
        Ok(())
    }
}

/// Seen red with such a system trained all the same.
#[test]
fn a_system_without_shares_is_refused() {
    let folder = Folder::new("shareless");
    let options = options(&folder, 1);
    let refused = together(2, |world| {
        let mut task = Shareless(Plain::new(ROWS, BATCH));
        close(&*world, fit_in(&*world, &mut task, &options, &never())).expect_err("refused").to_string()
    });
    assert!(refused.iter().all(|e| e.contains("one process only")), "{refused:?}");
    fit(&mut Shareless(Plain::new(ROWS, BATCH)), &options, &never()).expect("alone");
}
