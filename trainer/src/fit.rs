//! The fit loop that every system shares: progress, log, average, clipping, warm-up, checkpoints, resume, interruption.
use crate::checkpoint::{Checkpoint, write_atomic};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::log::Log;
use crate::ops::Kit;
use crate::optim::{AdamW, Optimizer};
use crate::param::{self, Module};
use crate::progress::Progress;
use crate::target::{CHECKPOINT, Claim, LATEST, LOG};
use crate::world::{self, Alone, Share, World};
use dfdx::prelude::*;
use nijimi_runtime::quant::DType;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Where a step stands: everything random in it is keyed by these.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// Steps made before this one in the whole run.
    pub step: u64,
    /// Epochs completed before this step.
    pub epoch: u64,
    /// Steps made before this one in this epoch.
    pub index: u64,
    /// Which rows of the batch are this process's. What is random for a row is keyed by the row's index in the whole batch.
    pub share: Share,
}

impl At {
    /// Where the step after `step` others stands.
    fn new(step: u64, per_epoch: u64, share: Share) -> Self {
        let per_epoch = per_epoch.max(1);
        Self { step, epoch: step / per_epoch, index: step % per_epoch, share }
    }

    /// 1, and falling to 0 over the share `decay` of `total` steps, the last ones: constant before, so that a run can be made
    /// longer (Hägele et al. 2024).
    pub fn falling(self, total: u64, decay: f64) -> f64 {
        let left = 1.0 - self.step as f64 / total.max(1) as f64;
        if decay > 0.0 { (left / decay).clamp(0.0, 1.0) } else { 1.0 }
    }
}

/// What one step of a task gives back.
pub struct StepResult<D: Kit> {
    /// The loss, in f64.
    pub loss: f64,
    /// The gradients of all weights.
    pub gradients: Gradients<f32, D>,
    /// A parameter that had no part in this loss and keeps its value and moments.
    pub skip: Option<&'static str>,
}

/// What a run knows of itself, for the file that it exports.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Epochs completed.
    pub epochs: u64,
    /// Steps made.
    pub steps: u64,
    /// Mean loss of each completed epoch.
    pub epoch_losses: Vec<f64>,
    /// Decay of the averaged weights, if they are what is exported.
    pub ema_decay: Option<f64>,
    /// The command line.
    pub command: String,
}

/// A system to be fitted: a model, its loss, and its export.
pub trait Task<D: Kit> {
    /// The network.
    type Model: Module<D>;
    /// The network being trained.
    fn model(&mut self) -> &mut Self::Model;
    /// Batches in an epoch.
    fn steps_per_epoch(&self) -> u64;
    /// What the learning rate is multiplied by at a step, beside warm-up: 1, unless the system has a schedule of its own.
    fn lr_factor(&self, _: At) -> f64 {
        1.0
    }
    /// Rows of the whole batch at a step, for a system that computes only those of [`At::share`]; `None` for one that
    /// knows no shares, and so trains in one process only.
    fn batch(&self, _: At) -> Option<usize> {
        None
    }
    /// Draws a batch, computes loss and gradients (means over the share's rows) into `gradients`.
    fn step(&mut self, at: At, gradients: Gradients<f32, D>) -> Result<StepResult<D>>;
    /// The bytes of the weight file for `model`, with weights of type `dtype`.
    fn export(&self, model: &mut Self::Model, record: &Record, dtype: DType) -> Result<Vec<u8>>;
    /// The name of the newest weights in the report's folder.
    fn latest(&self) -> &'static str {
        LATEST
    }
    /// The loss on examples that are not trained on, of the weights that would be exported, if there are any such.
    fn held_out_loss(&self, _: &Self::Model) -> Result<Option<f64>> {
        Ok(None)
    }
    /// Draws a picture from exported bytes with the runtime, for the report.
    fn preview(&self, file: &[u8], path: &Path) -> Result<()>;
}

/// Settings of a run.
#[derive(Clone, Debug)]
pub struct FitOptions {
    /// The weight file to write.
    pub out: PathBuf,
    /// The type of its weights.
    pub dtype: DType,
    /// Folder for log, curve, previews and the checkpoint.
    pub report: PathBuf,
    /// Passes over the data.
    pub epochs: u64,
    /// Stop after this many steps in all, for tests and benchmarks.
    pub max_steps: Option<u64>,
    /// The optimizer.
    pub adam: AdamW,
    /// Decay of the averaged weights; `None` exports the raw ones.
    pub ema: Option<f64>,
    /// Time between checkpoints; one is also written after each epoch.
    pub checkpoint_every: Duration,
    /// How many of the epochs' checkpoints are kept, as `checkpoint-0007.safetensors`, beside the one that `resume` goes on from.
    pub keep: usize,
    /// Go on from the checkpoint in the report folder.
    pub resume: bool,
    /// All that shapes the result: where a run goes on, it is as it was, or the difference is refused or told by name.
    pub fingerprint: Fingerprint,
    /// The command line, for the record.
    pub command: String,
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// All epochs (or `max_steps`) were made and the file is written.
    Finished,
    /// Ctrl-C, or SIGTERM: the checkpoint is written, `--resume` goes on.
    Interrupted,
}

struct Run<D: Kit, M> {
    optimizer: Optimizer<D>,
    ema: Option<M>,
    step: u64,
    per_epoch: u64,
    epoch_sum: f64,
    record: Record,
    /// Seconds of training, all resumed runs together.
    seconds: f64,
}

impl<D: Kit, M> Run<D, M> {
    /// The preview's name: of the epoch that ends here, else of the step.
    fn name(&self) -> String {
        let whole = self.step.is_multiple_of(self.per_epoch);
        if whole { format!("epoch-{:03}.png", self.record.epochs) } else { format!("step-{:06}.png", self.step) }
    }
}

/// Trains `task` to the end, or until `stop` is set.
///
/// # Errors
/// A loss that is not finite stops the run; the last checkpoint stays as it is.
pub fn fit<D: Kit, K: Task<D>>(task: &mut K, options: &FitOptions, stop: &Arc<AtomicBool>) -> Result<Ended> {
    fit_in(&Alone, task, options, stop)
}

/// [`fit`] together with the other processes of `world`, all with the same settings and data. Process 0 writes all
/// files; to resume, every one reads the checkpoint. `stop` set in one stops all, after the same step. With one process
/// this is `fit`, bit for bit.
///
/// # Errors
/// As [`fit`]; also if processes differ, or another one fails. The caller goes to [`crate::world::close`] either way.
pub fn fit_in<D: Kit, K: Task<D>>(
    world: &dyn World,
    task: &mut K,
    options: &FitOptions,
    stop: &Arc<AtomicBool>,
) -> Result<Ended> {
    let share = world.share();
    let first = share.rank == 0;
    let path = options.report.join(CHECKPOINT);
    if first {
        std::fs::create_dir_all(&options.report).map_err(Error::io(&options.report))?;
    }
    let _own = if first { Some(Claim::take(&options.report)?) } else { None };
    let per_epoch = task.steps_per_epoch();
    let mut run = Run {
        optimizer: Optimizer::new(options.adam.clone()),
        ema: options.ema.map(|_| task.model().clone()),
        step: 0,
        per_epoch,
        epoch_sum: 0.0,
        record: Record { command: options.command.clone(), ema_decay: options.ema, ..Record::default() },
        seconds: 0.0,
    };
    if first && path.exists() && !options.resume {
        let what =
            "a run is here already: --resume goes on with it; remove it, or choose another --report, to start anew";
        return Err(Error::Checkpoint { path, what: what.into() });
    }
    let total = options.epochs.saturating_mul(per_epoch).min(options.max_steps.unwrap_or(u64::MAX));
    let mut changed = Vec::new();
    if options.resume {
        if !path.exists() {
            let what = "there is no run to go on with: leave --resume out to start one, or give the --report of the one that is meant";
            return Err(Error::Checkpoint { path, what: what.into() });
        }
        changed = restore(&mut run, task.model(), &Checkpoint::load(&path)?, &path, options)?;
        if run.step > total {
            let made = run.step;
            let what = format!(
                "the run has made {made} steps, and is to make {total}: give more --epochs, or --max-steps {made}, which writes \
                 its file"
            );
            return Err(Error::Checkpoint { path, what });
        }
    }
    if share.size > 1 {
        let mut hash = DefaultHasher::new();
        options.fingerprint.to_json().hash(&mut hash);
        world::same(world, "settings or data", [(hash.finish() >> 11) as f64, total as f64])?;
        world::same(world, "weights or another checkpoint", [param::checksum(task.model()), run.step as f64])?;
    }
    let mut log = if first { Log::open(&options.report.join(LOG), run.step)? } else { Log::nowhere() };
    let mut progress = Progress::new(run.step, total, per_epoch, options.epochs).silent(!first);
    changed
        .iter()
        .for_each(|change| progress.note(&format!("going on from step {} with another setting: {change}", run.step)));
    // Killed between the checkpoint of an epoch and its report: this comes now.
    if first
        && options.resume
        && run.step > 0
        && run.step.is_multiple_of(per_epoch)
        && !options.report.join(run.name()).exists()
    {
        report(task, &mut run, options, &progress);
    }
    let (begun, before) = (Instant::now(), run.seconds);
    let mut saved = Instant::now();
    let mut gradients = param::zero_gradients(task.model());
    while run.step < total {
        let asked = f64::from(u8::from(stop.load(Ordering::Relaxed)));
        let ((), asked) = world::agree(world, Ok(()), [asked, 0.0])?;
        if asked.iter().any(|a| a[0] != 0.0) {
            log.flush()?;
            save(&mut run, task.model(), &path, per_epoch, options, share)?;
            progress.note(&format!("stopped at step {}; go on with --resume", run.step));
            return Ok(Ended::Interrupted);
        }
        let at = At::new(run.step, per_epoch, share);
        let (mut result, loss) = step(world, task, at, gradients)?;
        finite("the loss", loss, at, &path)?;
        run.optimizer.set_lr(options.adam.lr * task.lr_factor(at));
        let lr = run.optimizer.lr();
        let norm = run.optimizer.update(task.model(), &mut result.gradients, result.skip);
        gradients = result.gradients;
        finite("the gradients' norm", norm, at, &path)?;
        run.step += 1;
        if let (Some(average), Some(decay)) = (&mut run.ema, options.ema) {
            // Early averages forget fast, so that the random start has no weight in the end (as in TensorFlow's EMA).
            let decay = decay.min((1.0 + run.step as f64) / (10.0 + run.step as f64));
            param::average(average, task.model(), decay);
        }
        run.epoch_sum += loss;
        run.record.steps = run.step;
        run.seconds = before + begun.elapsed().as_secs_f64();
        log.step(run.step, at.epoch + 1, loss, lr, norm, run.seconds)?;
        progress.step(run.step, loss);
        if run.step.is_multiple_of(per_epoch) {
            let mean = run.epoch_sum / per_epoch as f64;
            run.epoch_sum = 0.0;
            run.record.epochs += 1;
            run.record.epoch_losses.push(mean);
            let held_out = match &run.ema {
                Some(average) => task.held_out_loss(average)?,
                None => {
                    let model = task.model().clone();
                    task.held_out_loss(&model)?
                }
            };
            log.epoch(run.step, run.record.epochs, mean, held_out, run.seconds)?;
            let beside = held_out.map_or_else(String::new, |loss| format!(" ({loss:.6} on what is held out)"));
            let (epochs, seconds) = (run.record.epochs, run.seconds);
            progress.note(&format!("epoch {epochs}: loss {mean:.6}{beside}, {seconds:.0} s"));
            if share.size > 1 {
                world::same(world, "weights", [param::checksum(task.model()), run.step as f64])?;
            }
            save(&mut run, task.model(), &path, per_epoch, options, share)?;
            saved = Instant::now();
            if first {
                keep(&path, run.record.epochs, options.keep)?;
            }
            if first {
                report(task, &mut run, options, &progress);
            }
        } else if saved.elapsed() >= options.checkpoint_every {
            log.flush()?;
            save(&mut run, task.model(), &path, per_epoch, options, share)?;
            saved = Instant::now();
        }
    }
    log.flush()?;
    save(&mut run, task.model(), &path, per_epoch, options, share)?;
    if first && !run.step.is_multiple_of(per_epoch) {
        let (made, step) = (run.step % per_epoch, run.step);
        progress.note(&format!(
            "stopped at step {step}, {made} of {per_epoch} in its epoch: loss {:.6}",
            run.epoch_sum / made as f64
        ));
        report(task, &mut run, options, &progress);
    }
    if first {
        let file = export(task, &mut run, options.dtype)?;
        write_atomic(&options.out, &file)?;
        progress.note(&format!("wrote {}", options.out.display()));
    }
    Ok(Ended::Finished)
}

/// One step of `task`, all processes together, into `gradients` of zero: gradients and loss are means over the whole batch.
fn step<D: Kit, K: Task<D>>(
    world: &dyn World,
    task: &mut K,
    at: At,
    gradients: Gradients<f32, D>,
) -> Result<(StepResult<D>, f64)> {
    if at.share.size == 1 {
        let result = task.step(at, gradients)?;
        let loss = result.loss;
        return Ok((result, loss));
    }
    let rows = task.batch(at).ok_or_else(|| Error::World("--world: this system trains in one process only".into()))?;
    let weight = at.share.weight(rows);
    let result = task.step(at, gradients);
    let own = result.as_ref().map_or(0.0, |r| r.loss * weight);
    let (mut result, losses) = world::agree(world, result, [own, weight])?;
    param::average_over(world, task.model(), &mut result.gradients, weight);
    let loss = losses.iter().map(|l| l[0]).sum();
    Ok((result, loss))
}

/// An error that names `what` unless `value` is finite.
fn finite(what: &'static str, value: f64, at: At, path: &Path) -> Result<()> {
    if value.is_finite() {
        return Ok(());
    }
    let checkpoint = if path.exists() { path.display().to_string() } else { "none yet".into() };
    Err(Error::Diverged { what, value, step: at.step + 1, epoch: at.epoch + 1, checkpoint })
}

fn export<D: Kit, K: Task<D>>(task: &mut K, run: &mut Run<D, K::Model>, dtype: DType) -> Result<Vec<u8>> {
    let mut model = run.ema.clone().unwrap_or_else(|| task.model().clone());
    task.export(&mut model, &run.record, dtype)
}

/// After an epoch, or where the run ends within one: the curve, the weights so far in full precision, and pictures that the
/// runtime draws from that file. A report that fails is no reason to lose the training.
fn report<D: Kit, K: Task<D>>(task: &mut K, run: &mut Run<D, K::Model>, options: &FitOptions, progress: &Progress) {
    let mut make = || -> Result<()> {
        let mut losses = run.record.epoch_losses.clone();
        let made = run.step % run.per_epoch;
        if made > 0 {
            losses.push(run.epoch_sum / made as f64);
        }
        crate::plot::loss_curve(&losses, &options.report.join("loss.png"))?;
        let file = export(task, run, DType::F32)?;
        write_atomic(&options.report.join(task.latest()), &file)?;
        task.preview(&file, &options.report.join(run.name()))
    };
    if let Err(e) = make() {
        progress.note(&format!("no report for epoch {}: {e}", run.record.epochs));
    }
}

fn save<D: Kit, M: Module<D>>(
    run: &mut Run<D, M>,
    model: &mut M,
    path: &Path,
    per_epoch: u64,
    options: &FitOptions,
    share: Share,
) -> Result<()> {
    if share.rank != 0 {
        return Ok(());
    }
    let mut tensors = param::state(model, "model.");
    // The step that ruins the weights has a finite loss: what is saved must be looked at itself.
    let lost = tensors.values().flat_map(|v| &v.data).find(|v| !v.is_finite());
    let at = At::new(run.step.saturating_sub(1), per_epoch, share);
    finite("a weight", f64::from(*lost.unwrap_or(&0.0)), at, path)?;
    if let Some(average) = &mut run.ema {
        tensors.extend(param::state(average, "ema."));
    }
    tensors.extend(run.optimizer.state(model));
    let losses: Vec<String> = run.record.epoch_losses.iter().map(f64::to_string).collect();
    let facts = HashMap::from([
        ("settings".to_owned(), options.fingerprint.to_json()),
        ("step".to_owned(), run.step.to_string()),
        ("updates".to_owned(), run.optimizer.updates.to_string()),
        ("epoch_sum".to_owned(), run.epoch_sum.to_string()),
        ("epochs".to_owned(), run.record.epochs.to_string()),
        ("seconds".to_owned(), run.seconds.to_string()),
        ("epoch_losses".to_owned(), losses.join(" ")),
    ]);
    Checkpoint { tensors, facts }.save(path)
}

/// Keeps the checkpoint of an epoch under a name of its own, and removes the one that `count` later ones have taken the place of.
fn keep(path: &Path, epoch: u64, count: usize) -> Result<()> {
    let name = |epoch: u64| path.with_file_name(format!("checkpoint-{epoch:04}.safetensors"));
    if count == 0 {
        return Ok(());
    }
    let to = name(epoch);
    _ = std::fs::remove_file(&to);
    // A new checkpoint is a new file, so a second name for this one is as good as a copy; not all file systems have them.
    std::fs::hard_link(path, &to).or_else(|_| std::fs::copy(path, &to).map(|_| ())).map_err(Error::io(&to))?;
    if let Some(old) = epoch.checked_sub(count as u64) {
        _ = std::fs::remove_file(name(old));
    }
    Ok(())
}

/// Takes a checkpoint up, and says what is another now and may be.
fn restore<D: Kit, M: Module<D>>(
    run: &mut Run<D, M>,
    model: &mut M,
    saved: &Checkpoint,
    path: &Path,
    options: &FitOptions,
) -> Result<Vec<String>> {
    let bad = |what| Error::Checkpoint { path: path.into(), what };
    let found: String = saved.fact(path, "settings")?;
    let found =
        Fingerprint::from_json(&found).ok_or_else(|| bad("its settings are none; remove it to start anew".into()))?;
    let [changed, other] = options.fingerprint.changes(&found);
    if !other.is_empty() {
        let what = format!(
            "made with other settings: {}; give them as they were, or start anew with another --report",
            other.join("; ")
        );
        return Err(bad(what));
    }
    param::load(model, "model.", &saved.tensors).map_err(bad)?;
    if let Some(average) = &mut run.ema {
        param::load(average, "ema.", &saved.tensors).map_err(bad)?;
    }
    run.optimizer.load(model, &saved.tensors).map_err(bad)?;
    run.optimizer.updates = saved.fact(path, "updates")?;
    run.step = saved.fact(path, "step")?;
    run.epoch_sum = saved.fact(path, "epoch_sum")?;
    run.record.epochs = saved.fact(path, "epochs")?;
    run.record.steps = run.step;
    run.seconds = saved.fact(path, "seconds")?;
    let losses: String = saved.fact(path, "epoch_losses")?;
    run.record.epoch_losses = losses.split_whitespace().filter_map(|l| l.parse().ok()).collect();
    Ok(changed)
}
