//! What a run would take, as it is asked for: told by `nijimi plan`, and looked at before anything is drawn.

use super::loading::Beside;
use super::way::guidance_scale;
use crate::cli::value::{Bytes, SkipOptions};
use crate::fault::Fault;
use crate::file::source::Source;
use crate::memory;
use nijimi_runtime::Error;
use nijimi_runtime::gpu::{Gpu, Storage};
use nijimi_runtime::model::{ImagePromptPlan, LatentInfo, LatentPlan, PlanRequest};
use std::fmt;

/// Longest prompt that a plan takes.
const MAX_WINDOWS: usize = 1 << 10;

/// What of the command line decides it.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Pictures, one after the other.
    pub runs: usize,
    /// Height and width of one.
    pub size: [usize; 2],
    /// Evaluations of the network for one.
    pub calls: usize,
    /// The prompts, and what no picture should show.
    pub prompts: &'a [&'a str],
    pub negative: &'a str,
    pub cfg_scale: Option<f32>,
    /// Calls of which the first alone evaluates the whole network.
    pub cache_interval: usize,
    /// Skip-layer guidance.
    pub skip: Option<&'a SkipOptions>,
    /// An init image.
    pub encodes: bool,
    pub vae_tiling: bool,
    /// Heights and widths of pictures that are looked at.
    pub references: &'a [[usize; 2]],
    /// Pictures that an IP-Adapter is shown.
    pub shown: usize,
    /// LoRAs and embeddings.
    pub patched: bool,
    pub stay_resident: bool,
    pub threads: usize,
}

impl Asked<'_> {
    /// The second pass over such a picture, enlarged; whether it is decoded and encoded between.
    pub fn again(self, size: [usize; 2], calls: usize, encodes: bool) -> Self {
        Self { size, calls, encodes, ..self }
    }
}

/// Whether guidance evaluates the network twice.
pub fn is_guided(info: &LatentInfo, asked: &Asked<'_>) -> bool {
    info.is_guided(guidance_scale(info, asked.cfg_scale))
}

/// Plans the run.
pub fn plan(
    source: &Source,
    info: &LatentInfo,
    beside: &Beside,
    asked: &Asked<'_>,
    gpu: Option<&Gpu>,
) -> Result<LatentPlan, Fault> {
    let controls = beside.controls.iter().map(Source::file).collect::<Result<Vec<_>, _>>()?;
    let tiny = beside.tiny.as_ref().map(Source::file).transpose()?;
    let led = beside.image_prompt.as_ref();
    let led = led.map(|[adapter, encoder]| Ok::<_, Fault>([adapter.file()?, encoder.file()?])).transpose()?;
    let guided = is_guided(info, asked);
    let request = PlanRequest {
        runs: asked.runs,
        guided,
        windows: windows(info, asked)?,
        calls: asked.calls,
        cache_interval: asked.cache_interval,
        skip_layers: asked.skip.map(SkipOptions::asked),
        encodes: asked.encodes,
        references: asked.references,
        controls: &controls,
        image_prompt: led.as_ref().map(|[adapter, encoder]| ImagePromptPlan {
            adapter,
            encoder,
            pictures: asked.shown,
        }),
        tiny: tiny.as_ref(),
        tile: asked.vae_tiling.then_some(info.sample_size),
        patched: asked.patched,
        stays: asked.stay_resident,
        threads: asked.threads,
        gpu: gpu.map(|gpu| (gpu, Storage::default())),
        ..PlanRequest::new(asked.size)
    };
    LatentPlan::new(&source.file()?, info, &request).map_err(|e| match e {
        Error::Network(_) => Fault::Usage(format!("{e} (-W, -H)")),
        e @ Error::Request(_) => super::asked(e),
        e => source.wrong(e),
    })
}

/// The fault of a run that does not fit.
pub fn refused(info: &LatentInfo, asked: &Asked<'_>, e: impl fmt::Display) -> Fault {
    Fault::Input(match windows(info, asked) {
        Ok(windows) if windows > 1 => format!("{e}, or a shorter prompt: the longest takes {windows} times 75 tokens"),
        _ => e.to_string(),
    })
}

/// Windows of the longest prompt.
fn windows(info: &LatentInfo, asked: &Asked<'_>) -> Result<usize, Fault> {
    let negative = if is_guided(info, asked) { info.windows(&[asked.negative]) } else { 1 };
    match info.windows(asked.prompts).max(negative) {
        windows if windows > MAX_WINDOWS => Err(Fault::Usage(format!(
            "the prompt, or -n, is too long: {windows} windows of 75 tokens, and at most {MAX_WINDOWS} are possible"
        ))),
        windows => Ok(windows),
    }
}

/// Bytes that a run may take, if that is said or known. What is free is the machine's memory, of which a GPU takes little;
/// of its own, it says when it is too much.
pub fn allowed(limit: Option<Bytes>, gpu: Option<&Gpu>) -> Option<u64> {
    limit.map(|bytes| bytes.0).or_else(|| memory::free().filter(|_| gpu.is_none()))
}
