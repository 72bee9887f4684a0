//! Training from end to end on a tiny data set: it learns, it resumes bit for bit, it stops where the loss is lost.
#[path = "common/bars.rs"]
mod bars;
mod common;

use bars::{checkpoint, options};
use common::{Folder, write_data};
use dfdx::prelude::{Cpu, Gradients, Shape, Tensor};
use nijimi_runtime::quant::DType;
use nijimi_trainer::error::{Error, Result};
use nijimi_trainer::fingerprint::Fingerprint;
use nijimi_trainer::fit::{At, Ended, FitOptions, Record, StepResult, Task, fit};
use nijimi_trainer::nn::book_unet::{BookUnet, BookUnetConfig, LABEL_EMB};
use nijimi_trainer::ops::cpu::parallel::with_threads;
use nijimi_trainer::optim::AdamW;
use nijimi_trainer::param::{self, Kind, Module, Visitor};
use nijimi_trainer::systems::ddpm::Ddpm;
use nijimi_trainer::target::CHECKPOINT;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const PICTURES: usize = 42;
/// Six batches, the last of 2 pictures only.
const BATCH: usize = 8;
const STEPS: u64 = 6;

fn task(data: &Path) -> Ddpm<Cpu> {
    bars::task(data, BATCH)
}

fn run(task: &mut impl Task<Cpu>, options: &FitOptions, stop: &Arc<AtomicBool>) -> Result<Ended> {
    fit(task, options, stop)
}

fn never() -> Arc<AtomicBool> {
    Arc::default()
}

/// The log without the clock.
fn log(options: &FitOptions) -> Vec<Value> {
    let text = std::fs::read_to_string(options.report.join("log.jsonl")).expect("the log");
    let mut lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).expect("a line of JSON")).collect();
    for line in &mut lines {
        assert!(line.as_object_mut().expect("an object").remove("seconds").is_some());
    }
    lines
}

/// Weights, running statistics, averages, moments, counters and log: all but the clock.
fn assert_same_run(a: &FitOptions, b: &FitOptions) {
    let (log_a, log_b) = (log(a), log(b));
    assert_eq!(log_a, log_b);
    let (mut a, mut b) = (checkpoint(a), checkpoint(b));
    for c in [&mut a, &mut b] {
        assert!(c.facts.remove("seconds").is_some());
    }
    assert_eq!(a.facts, b.facts);
    for kind in ["model.", "ema.", "adam.m.", "adam.v."] {
        assert!(a.tensors.keys().any(|k| k.starts_with(kind)), "the checkpoint holds {kind}");
    }
    assert!(a.tensors.keys().eq(b.tensors.keys()));
    for (name, v) in &a.tensors {
        let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&v.data), bits(&b.tensors[name].data), "{name}");
    }
}

/// A task that sets the stop flag at a step, as Ctrl-C does.
struct Interrupted<'a> {
    inner: Ddpm<Cpu>,
    at: u64,
    stop: &'a Arc<AtomicBool>,
}

impl Task<Cpu> for Interrupted<'_> {
    type Model = BookUnet<Cpu>;
    fn model(&mut self) -> &mut Self::Model {
        self.inner.model()
    }
    fn steps_per_epoch(&self) -> u64 {
        self.inner.steps_per_epoch()
    }
    fn step(&mut self, at: At, gradients: Gradients<f32, Cpu>) -> Result<StepResult<Cpu>> {
        if at.step == self.at {
            self.stop.store(true, Ordering::Relaxed);
        }
        self.inner.step(at, gradients)
    }
    fn export(&self, model: &mut Self::Model, record: &Record, dtype: DType) -> Result<Vec<u8>> {
        self.inner.export(model, record, dtype)
    }
    fn preview(&self, file: &[u8], path: &Path) -> Result<()> {
        self.inner.preview(file, path)
    }
}

/// Seen red with a learning rate of 0.
#[test]
fn the_loss_falls() {
    let folder = Folder::new("falls");
    write_data(&folder.0, PICTURES);
    let options = options(&folder, 8);
    let ended = run(&mut task(&folder.0), &options, &never()).expect("training");
    assert_eq!(ended, Ended::Finished);
    let losses: Vec<f64> = log(&options).iter().filter_map(|l| l.get("loss").and_then(Value::as_f64)).collect();
    assert_eq!(losses.len() as u64, 8 * STEPS);
    let mean = |l: &[f64]| l.iter().sum::<f64>() / l.len() as f64;
    let (first, last) = (mean(&losses[..10]), mean(&losses[losses.len() - 10..]));
    assert!(last < 0.7 * first, "the loss went from {first} to {last}");
}

/// Interrupted in the middle of an epoch and at an epoch's end. Seen red with the moments not restored, with the sum
/// of the epoch's losses not restored, and with the averages not restored.
#[test]
fn a_resumed_run_equals_an_uninterrupted_one() {
    let whole = Folder::new("whole");
    write_data(&whole.0, PICTURES);
    let expected = options(&whole, 3);
    run(&mut task(&whole.0), &expected, &never()).expect("training");
    for at in [1, STEPS - 1, STEPS + 2] {
        let folder = Folder::new(&format!("resumed-{at}"));
        write_data(&folder.0, PICTURES);
        let mut options = options(&folder, 3);
        let stop = never();
        let mut interrupted = Interrupted { inner: task(&folder.0), at, stop: &stop };
        assert_eq!(run(&mut interrupted, &options, &stop).expect("training"), Ended::Interrupted);
        assert_eq!(checkpoint(&options).facts["step"], (at + 1).to_string());
        let e = run(&mut task(&folder.0), &options, &never()).expect_err("a run is there");
        assert!(e.to_string().contains("--resume goes on with it"), "{e}");
        options.resume = true;
        assert_eq!(run(&mut task(&folder.0), &options, &never()).expect("training"), Ended::Finished);
        assert_same_run(&options, &expected);
    }
}

/// Seen red with the number of parts taken from the number of threads.
#[test]
fn threads_do_not_change_the_result() {
    let runs = [1, 2].map(|threads| {
        let folder = Folder::new(&format!("threads-{threads}"));
        write_data(&folder.0, PICTURES);
        let options = options(&folder, 1);
        with_threads(threads, || run(&mut task(&folder.0), &options, &never())).expect("training");
        (folder, options)
    });
    assert_same_run(&runs[0].1, &runs[1].1);
}

/// Seen red with neither the loss nor the gradients' norm looked at.
#[test]
fn a_lost_loss_stops_the_run_and_keeps_the_checkpoint() {
    let folder = Folder::new("diverged");
    write_data(&folder.0, PICTURES);
    let mut options = options(&folder, 1);
    let path = options.report.join(CHECKPOINT);
    let lost = |options: &FitOptions| match run(&mut task(&folder.0), options, &never()) {
        Err(Error::Diverged { step, epoch, value: loss, checkpoint, .. }) => {
            assert!(!loss.is_finite());
            (step, epoch, checkpoint)
        }
        other => panic!("expected a diverged run, found {other:?}"),
    };
    let adam = options.adam.clone();
    options.adam = AdamW { lr: 1e30, warmup: 0, ..adam.clone() };
    let (_, epoch, checkpoint) = lost(&options);
    assert_eq!((epoch, checkpoint.as_str()), (1, "none yet"));
    assert!(!path.exists() && !options.out.exists());
    options.adam = adam;
    run(&mut task(&folder.0), &options, &never()).expect("training");
    let good = std::fs::read(&path).expect("the checkpoint");
    options.adam = AdamW { lr: 1e30, warmup: 0, ..options.adam };
    options.resume = true;
    options.epochs = 2;
    let (step, epoch, checkpoint) = lost(&options);
    assert!(step > STEPS, "{step}");
    assert_eq!((epoch, checkpoint), (2, path.display().to_string()));
    assert_eq!(std::fs::read(&path).expect("the checkpoint"), good);
}

/// The step that ruins the weights shows nothing yet; a checkpoint made of them would be the only one left.
/// Seen red with the weights not looked at.
#[test]
fn ruined_weights_are_not_saved() {
    let folder = Folder::new("ruined");
    write_data(&folder.0, PICTURES);
    let mut options = options(&folder, 1);
    options.adam = AdamW { lr: f64::INFINITY, weight_decay: 0.0, warmup: 0, clip: None, muon: None };
    options.max_steps = Some(1);
    let e = run(&mut task(&folder.0), &options, &never()).expect_err("ruined weights");
    assert!(matches!(e, Error::Diverged { step: 1, what: "a weight", .. }), "{e}");
    assert!(!options.report.join(CHECKPOINT).exists() && !options.out.exists());
}

/// A checkpoint of other settings, or a damaged one, is refused. Seen red with the settings not compared.
#[test]
fn a_foreign_checkpoint_is_refused() {
    let folder = Folder::new("foreign");
    write_data(&folder.0, PICTURES);
    let mut options = options(&folder, 1);
    options.max_steps = Some(1);
    run(&mut task(&folder.0), &options, &never()).expect("training");
    options.resume = true;
    options.fingerprint = Fingerprint::new("other");
    let e = run(&mut task(&folder.0), &options, &never()).expect_err("other settings");
    assert!(e.to_string().contains("made with other settings"), "{e}");
    let path = options.report.join(CHECKPOINT);
    let bytes = std::fs::read(&path).expect("the checkpoint");
    std::fs::write(&path, &bytes[..bytes.len() - 1]).expect("cutting the checkpoint");
    let e = run(&mut task(&folder.0), &options, &never()).expect_err("a cut file");
    assert!(e.to_string().contains("not a checkpoint, or damaged"), "{e}");
}

/// Values that do not belong to the time vector's layers or the label table.
struct WithoutTime(usize);
impl Visitor<Cpu> for WithoutTime {
    fn visit<S: Shape>(&mut self, name: &str, tensor: &mut Tensor<S, f32, Cpu>, kind: Kind) {
        use dfdx::prelude::HasShape;
        if kind.trained() && !name.contains(".mlp.") && name != LABEL_EMB {
            self.0 += tensor.shape().num_elements();
        }
    }
}

/// The book's figures (steps 7, 9, 10). Seen red with a time vector of 101.
#[test]
fn parameter_counts_are_the_books() {
    for (label_count, expected) in [(0, 2_167_784), (10, 2_168_784)] {
        let config = BookUnetConfig { in_channels: 1, channels: vec![64, 128, 256], time_dim: 100, label_count };
        let mut model = BookUnet::new(&Cpu::default(), 0, config);
        assert_eq!(param::count(&mut model), expected);
        let mut rest = WithoutTime(0);
        model.visit("", &mut rest);
        assert_eq!(rest.0, 1_884_545);
    }
}
