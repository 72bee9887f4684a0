//! What a run of a model of pixels would take.

use super::{rates, seconds, table};
use crate::bytes::human;
use crate::cli::{Plan, none_of};
use crate::draw::backend;
use crate::draw::solver::solver;
use crate::draw::text_to_image::planning;
use crate::fault::Fault;
use crate::file::source::Source;
use crate::memory;
use nijimi_cli::print::{plain, print};
use nijimi_runtime::Error;
use nijimi_runtime::gpu::Storage;
use nijimi_runtime::model::{Info, PlanRequest, StagePlan};
use nijimi_runtime::raw::cpu::Context;
use nijimi_runtime::sampler::Calls;
use std::fmt::Write as _;

/// Tells it.
pub fn run(source: &Source, options: &Plan) -> Result<(), Fault> {
    let given = [
        ("-n", options.negative_prompt.is_some()),
        ("-W", options.width.is_some()),
        ("-H", options.height.is_some()),
        ("-i", options.init_img.is_some()),
        ("--hires", options.hires.is_some()),
        ("--refiner", options.refiner.is_some()),
        ("--cache", options.cache.is_some()),
        ("--slg-scale", options.slg_scale.is_some()),
        ("--control-net", !options.control_net.is_empty()),
        ("--ip-adapter", options.ip_adapter.is_some()),
        ("--taesd", options.taesd.is_some()),
        ("--vae-tiling", options.vae_tiling),
        ("--lora", !options.lora.is_empty()),
        ("--embedding", !options.embedding.is_empty()),
        ("--stay-resident", options.stay_resident),
    ];
    none_of(&given, "models that read prompts")?;
    let file = source.file()?;
    let info = Info::read(&file).map_err(|e| source.wrong(e))?;
    let gpu = backend::device(options.place())?;
    let solver = solver(options.sampling_method.as_deref())?.unwrap_or(info.defaults.solver);
    let steps = options.steps.unwrap_or_else(|| info.steps(solver));
    let calls = || Ok::<_, Error>(Calls::new(&info.schedule, &info.settings(solver, steps)?)?.calls().len());
    let calls = calls().map_err(|e| Fault::Usage(e.to_string()))?;
    // Without a label there is nothing to be guided to.
    let labelled = info.network.label_count() > 0 && options.prompt.as_deref().is_some_and(|p| !p.trim().is_empty());
    let scale = options.cfg_scale.unwrap_or(info.defaults.guidance_scale);
    let guided = labelled && ![0.0, 1.0].contains(&scale);
    let request = PlanRequest {
        pictures: options.batch,
        guided,
        calls,
        threads: options.threads,
        gpu: gpu.as_ref().map(|gpu| (gpu, Storage::default())),
        ..PlanRequest::new(info.network.size())
    };
    let stage = StagePlan::of_pixels(&file, &info, &request).map_err(|e| source.wrong(e))?;
    let rates = if gpu.is_none() { Some(rates(&file, options.threads)?) } else { None };

    let mut text = String::new();
    let name = plain(if info.name.is_empty() { &source.name } else { &info.name });
    let ([height, width], guided) = (info.network.size(), if guided { "guided" } else { "without guidance" });
    let pictures = if options.batch == 1 { "1 picture".into() } else { format!("{} pictures", options.batch) };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{name}: {pictures} of {width}x{height}, {steps} steps, {guided}");
    let _ = match &gpu {
        Some(gpu) => writeln!(text, "on {}: the time is not known in advance", gpu.name()),
        None => writeln!(text, "on the CPU, {} threads", Context::new(options.threads).pool.threads()),
    };
    text.push('\n');
    table(&mut text, std::iter::once(&stage), rates.as_ref());
    if let Some(rates) = &rates {
        let each = stage.work.seconds(rates);
        let (step, all) = (each * calls as f64 / steps.max(1) as f64, each * calls as f64);
        let _ = writeln!(text, "expected: {} a step, {} in all", seconds(step), seconds(all));
    }
    let _ = writeln!(text, "\npeak: {}", human(stage.peak()));
    if let Some(own) = memory::own() {
        let _ = writeln!(text, "the program itself: {}", human(own));
    }
    let allowed = planning::allowed(options.memory_limit, gpu.as_ref());
    let fits = allowed.is_none_or(|allowed| stage.peak() <= allowed);
    match allowed {
        Some(allowed) => {
            let which = if options.memory_limit.is_some() { "allowed" } else { "free" };
            let _ = writeln!(text, "{which}: {}\n{}", human(allowed), if fits { "fits" } else { "does not fit" });
        }
        None => text.push_str("free memory is unknown: give a limit with --memory-limit\n"),
    }
    print(&text)?;
    match allowed {
        Some(allowed) if !fits => Err(Fault::Input(format!(
            "the run takes {}, and {} are allowed: draw fewer pictures at once (-b)",
            human(stage.peak()),
            human(allowed)
        ))),
        _ => Ok(()),
    }
}
