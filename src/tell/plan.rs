//! `nijimi plan`: what a run would take, told from the header of a file.

mod pixels;

use crate::bytes::human;
use crate::cli::Plan;
use crate::draw::backend;
use crate::draw::solver::solver;
use crate::draw::text_to_image::hires;
use crate::draw::text_to_image::inputs;
use crate::draw::text_to_image::loading::{self, Beside};
use crate::draw::text_to_image::planning::{self, Asked};
use crate::draw::text_to_image::refiner::{self, RefinerFile};
use crate::draw::text_to_image::way;
use crate::fault::Fault;
use crate::file::source::{Conversion, Role, Source};
use crate::memory;
use nijimi_cli::print::{plain, print};
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Choice, LatentInfo, LatentPlan, ModelKind, StagePlan};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::cpu::Context;
use nijimi_runtime::raw::cpu::rates::Rates;
use nijimi_runtime::sampler::Calls;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Tells it.
pub fn run(options: &Plan) -> Result<(), Fault> {
    let dtype = options.kind.unwrap_or(DType::F16);
    let parts = options.parts();
    let how = Conversion {
        dtype,
        parts: &parts,
        tokenizer: options.tokenizer.as_deref(),
        variant: options.variant.as_deref(),
        header: true,
        ..Conversion::default()
    };
    let source = Source::open_or_convert(Some(&options.model), Role::Model, how)?;
    let file = source.file()?;
    if ModelKind::of(&file).map_err(|e| source.wrong(e))? == ModelKind::Diffusion {
        return pixels::run(&source, options);
    }
    let upscaler = hires::upscaler(options.hires_upscaler.as_ref());
    let controls: Vec<&Path> = options.control_net.iter().map(PathBuf::as_path).collect();
    let led = options.ip_adapter.as_deref().zip(options.clip_vision.as_deref()).map(<[_; 2]>::from);
    let beside =
        Beside::open(&controls, led, options.taesd.as_deref(), upscaler, (dtype, true), options.cache > Some(1))?;
    let info = LatentInfo::read(&file).map_err(|e| source.wrong(e))?;
    let gpu = backend::device(options.place())?;

    let file_of = |path: &PathBuf| RefinerFile::open(path, &info, dtype, options.tokenizer.as_deref(), true);
    let refiner = options.refiner.as_ref().map(file_of).transpose()?;
    let size = loading::size(&info, options.width, options.height, options.init_img.as_deref())?;
    let (steps, all) = calls(&info, options, size)?;
    let (calls, last) = match &refiner {
        Some(refiner) => {
            let method = solver(options.sampling_method.as_deref())?;
            let of = |info: &LatentInfo| {
                let (solver, sigmas) = (method.or(info.defaults.solver), info.defaults.sigmas);
                info.settings_for(size, solver, sigmas, steps).map_err(|e| Fault::Usage(e.to_string()))
            };
            let start = options.refiner_start.unwrap_or(refiner::START);
            let (first, last) = refiner::split([&info, &refiner.info], start, of, all)?;
            (first.calls().len(), Some(last))
        }
        None => (all.calls().len(), None),
    };
    // What is wrong with them is said now.
    let added = loading::added(&source, &options.lora, &options.embedding)?;
    let skip = options.skip();
    let sizes = options.ref_image.iter().map(|path| inputs::reference_size(path, info.multiple()));
    let references = sizes.collect::<Result<Vec<_>, _>>()?;
    let asked = Asked {
        runs: options.batch,
        size,
        calls,
        prompts: &[options.prompt.as_deref().unwrap_or_default()],
        negative: options.negative_prompt.as_deref().unwrap_or_default(),
        cache_interval: options.cache.unwrap_or(1),
        skip: skip.as_ref(),
        cfg_scale: options.cfg_scale,
        encodes: options.init_img.is_some(),
        vae_tiling: options.vae_tiling,
        references: &references,
        shown: options.ip_adapter_image.len().max(1),
        patched: !added.patches.is_empty() || !added.embeddings.is_empty(),
        stay_resident: options.stay_resident,
        threads: options.threads,
    };
    let rates = if gpu.is_none() { Some(rates(&file, options.threads)?) } else { None };
    let mut passes = vec![(&source, &info, &beside, asked)];
    if let Some(scale) = options.hires {
        let encodes = hires::encodes(options.hires_upscaler.as_ref());
        let second = hires::size(&info, asked.size, scale);
        let asked = asked.again(second, again(&info, options, second)?, encodes);
        passes.push((&source, &info, &beside, asked));
    }
    let decoding = beside.decoding();
    if let (Some(refiner), Some(last)) = (&refiner, &last) {
        let asked = asked.again(asked.size, last.calls().len(), false);
        passes.push((&refiner.source, &refiner.info, &decoding, asked));
    }

    let mut text = String::new();
    let name = plain(if info.name.is_empty() { &source.name } else { &info.name });
    let guided = if planning::is_guided(&info, &asked) { "guided" } else { "without guidance" };
    let pictures = if asked.runs == 1 { "1 picture".into() } else { format!("{} pictures", asked.runs) };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{name}: {pictures} of {}x{}, {steps} steps, {guided}", asked.size[1], asked.size[0]);
    let _ = match &gpu {
        Some(gpu) => writeln!(text, "on {}: the time is not known in advance", gpu.name()),
        None => writeln!(text, "on the CPU, {} threads", Context::new(options.threads).pool.threads()),
    };
    let allowed = planning::allowed(options.memory_limit, gpu.as_ref());
    let mut fits = Ok(());
    for (i, (source, info, beside, asked)) in passes.iter().enumerate() {
        // Of two models, each makes its own share of the steps.
        let steps = match &last {
            Some(last) if i > 0 => last.steps(),
            Some(last) => steps - last.steps(),
            None => steps,
        };
        if passes.len() > 1 {
            let (which, [height, width]) = (if i == 0 { "first" } else { "second" }, asked.size);
            let what = if last.is_some() { "model" } else { "pass" };
            let _ = writeln!(text, "\n{which} {what}, {width}x{height}, {steps} steps:");
        }
        let plan = planning::plan(source, info, beside, asked, gpu.as_ref())?;
        let choice = allowed.map_or(Ok(plan.choices().next().unwrap_or_default()), |allowed| plan.fits(allowed));
        let shown = choice.clone().unwrap_or_else(|_| plan.choices().last().unwrap_or_default());
        text.push('\n');
        table(&mut text, plan.stages(&shown), rates.as_ref());
        if let Some(rates) = &rates {
            times(&mut text, &plan, &shown, rates, steps * asked.runs.max(1));
        }
        text.push('\n');
        peaks(&mut text, &plan, allowed, options);
        match &choice {
            Ok(choice) if allowed.is_some() => {
                let _ = writeln!(text, "fits {}", way(choice, options.stay_resident));
            }
            Ok(_) => text.push_str("free memory is unknown: give a limit with --memory-limit\n"),
            Err(_) => text.push_str("does not fit\n"),
        }
        fits = fits.and(choice.map(|_| ()).map_err(|e| planning::refused(info, asked, e)));
    }
    print(&text)?;
    fits
}

/// Evaluations of the network in the second pass.
fn again(info: &LatentInfo, options: &Plan, size: [usize; 2]) -> Result<usize, Fault> {
    let steps = way::steps(info, options.steps);
    let solver = solver(options.sampling_method.as_deref())?.or(info.defaults.solver);
    let strength = options.hires_strength.unwrap_or(hires::STRENGTH);
    let second = info.second_pass(size, solver, info.defaults.sigmas, steps, strength);
    let calls = second.and_then(|(schedule, settings)| Ok(Calls::new(&schedule, &settings)?));
    Ok(calls.map_err(|e| Fault::Usage(e.to_string()))?.calls().len())
}

/// Steps, and their calls of the network.
fn calls(info: &LatentInfo, options: &Plan, size: [usize; 2]) -> Result<(usize, Calls), Fault> {
    let steps = way::steps(info, options.steps);
    let solver = solver(options.sampling_method.as_deref())?.or(info.defaults.solver);
    let calls = info.calls_for(size, solver, info.defaults.sigmas, steps);
    Ok((steps, calls.map_err(|e| Fault::Usage(e.to_string()))?))
}

/// How fast this machine is at the formats that the most weights have.
fn rates(file: &File<'_>, threads: usize) -> Result<Rates, Fault> {
    let bytes = |dtype| file.tensors().filter(|t| t.dtype == dtype).map(|t| t.data.len()).sum::<usize>();
    let all = file.tensors().map(|tensor| tensor.data.len()).sum::<usize>();
    let mut dtypes: Vec<DType> = DType::ALL.into_iter().filter(|&dtype| bytes(dtype) > all / 50).collect();
    dtypes.sort_by_key(|&dtype| core::cmp::Reverse(bytes(dtype)));
    Rates::measure(&Context::new(threads), &dtypes).map_err(|e| Fault::Internal(e.to_string()))
}

/// A line a stage.
fn table<'a>(text: &mut String, stages: impl Iterator<Item = &'a StagePlan>, rates: Option<&Rates>) {
    let heads = ["stage", "weights", "activations", "peak", "operations", "MACs", "times", "each"];
    let mut rows = vec![heads.map(String::from)];
    for stage in stages {
        rows.push([
            stage.name.clone(),
            human(stage.weights),
            human(stage.arena + stage.buffers),
            human(stage.peak()),
            stage.operations.to_string(),
            format!("{:.1} G", stage.work.macs() as f64 / 1e9),
            stage.evaluations.to_string(),
            rates.map_or_else(|| "?".into(), |rates| seconds(stage.work.seconds(rates))),
        ]);
    }
    let widths: Vec<usize> =
        (0..heads.len()).map(|i| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0)).collect();
    for row in &rows {
        let _ = write!(text, "{:<width$}", row[0], width = widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            let _ = write!(text, "  {cell:>width$}");
        }
        text.push('\n');
    }
}

/// What one of all the runs' steps takes, and the runs.
fn times(text: &mut String, plan: &LatentPlan, choice: &Choice, rates: &Rates, steps: usize) {
    let all = |stage: &StagePlan| stage.work.seconds(rates) * stage.evaluations as f64;
    // What is evaluated in the steps: the denoiser, and what stands beside it.
    let steps_in = |stage: &&StagePlan| ["U-Net", "transformer"].contains(&&*stage.name) || stage.beside;
    let stepping: f64 = plan.stages(choice).filter(steps_in).map(all).sum();
    let (step, all) = (stepping / steps.max(1) as f64, plan.stages(choice).map(all).sum::<f64>());
    let _ = writeln!(text, "expected: {} a step, {} in all", seconds(step), seconds(all));
}

/// The peak of each way.
fn peaks(text: &mut String, plan: &LatentPlan, allowed: Option<u64>, options: &Plan) {
    let first = plan.choices().next().unwrap_or_default();
    let _ = writeln!(text, "peak with all of this in memory (--stay-resident): {}", human(plan.resident(&first)));
    for choice in plan.choices().filter(|choice| plan.peak(choice) != plan.resident(&first)) {
        let _ = writeln!(text, "peak {}: {}", way(&choice, options.stay_resident), human(plan.peak(&choice)));
    }
    if let Some(least) = plan.streamed().min_by_key(|choice| plan.peak(choice)) {
        let _ = writeln!(text, "peak {}: {}", way(&least, false), human(plan.peak(&least)));
    }
    if let Some(own) = memory::own() {
        let _ = writeln!(text, "the program itself: {}", human(own));
    }
    if let Some(allowed) = allowed {
        let _ =
            writeln!(text, "{}: {}", if options.memory_limit.is_some() { "allowed" } else { "free" }, human(allowed));
    }
}

/// A way of doing a run, in words.
fn way(choice: &Choice, stays: bool) -> String {
    let loaded = match (choice.staged, stays) {
        (true, _) => "with one part of the model at a time",
        (false, true) => "with all of this in memory",
        (false, false) => "with only what is used again in memory",
    };
    let loaded = match choice.held {
        Some(0) => format!("{loaded}, reading its weights as they are used"),
        Some(held) => {
            format!("{loaded}, {} of its weights in memory and the others read as they are used", human(held))
        }
        None => loaded.to_owned(),
    };
    match choice.tiling {
        Some(tiling) => format!("{loaded}, decoding in tiles of {} pixels", tiling.tile * tiling.factor),
        None => loaded,
    }
}

fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 0.95 => format!("{:.0} ms", s * 1e3),
        s if s < 100.0 => format!("{s:.1} s"),
        s => format!("{:.0} min", s / 60.0),
    }
}
