//! What a run would take, by stage: weights, activations, operations and time, from the file's header alone.

mod choice;
mod image_prompt;
mod pixels;
mod work;

pub use choice::Choice;
pub use image_prompt::ImagePromptPlan;
pub use work::Work;

use super::info::LatentInfo;
use super::request::SkipLayers;
use super::stages::Stage;
use super::tiling::Tiling;
use crate::Error;
use crate::cpu::footprint::Holding;
use crate::cpu::{Context, footprint};
use crate::gguf::File;
use crate::graph::{Weight, WeightKind};
use crate::model::control::ControlInfo;
use crate::model::options::{MAX_BATCH, in_range};
use crate::model::tiny::TinyInfo;
use crate::model::{ControlNetwork, ModelError};
use crate::nn::{ControlNet, Denoiser, NetworkError, SdCache, SdRequest, SdUnet};
use crate::plan::{Plan, PlanOptions};
use crate::quant::DType;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// The run that is planned.
#[derive(Clone, Copy, Debug)]
pub struct PlanRequest<'a> {
    /// Height and width of the pictures.
    pub size: [usize; 2],
    /// How many at once.
    pub pictures: usize,
    /// Whether guidance evaluates the U-Net for twice as many.
    pub guided: bool,
    /// Windows of the longest prompt: 1 up to some 75 words.
    pub windows: usize,
    /// How often the U-Net is evaluated: [`crate::sampler::Calls::calls`].
    pub calls: usize,
    /// Of how many calls the first alone evaluates the whole U-Net.
    pub cache_interval: usize,
    /// Skip-layer guidance, if there is any.
    pub skip_layers: Option<SkipLayers<'a>>,
    /// Whether the run begins with a picture that is encoded.
    pub encodes: bool,
    /// The files of ControlNets and T2I-Adapters.
    pub controls: &'a [File<'a>],
    /// Pictures that lead by an IP-Adapter.
    pub image_prompt: Option<ImagePromptPlan<'a>>,
    /// Heights and widths of pictures that are looked at.
    pub references: &'a [[usize; 2]],
    /// The file of a tiny autoencoder that decodes in place of the model's own, and encodes if it can.
    pub tiny: Option<&'a File<'a>>,
    /// Side of the latents of tiles in which pictures are decoded: with it, no plan without tiles is made.
    pub tile: Option<usize>,
    /// Whether tensors are changed while they are loaded, by a LoRA for instance.
    pub patched: bool,
    /// How many such runs there are, one after the other, of the same prompts.
    pub runs: usize,
    /// Whether all parts of the model must stay in memory.
    pub stays: bool,
    /// Threads of the CPU; 0 for one for each core.
    pub threads: usize,
    /// The device that the run would be on, and how it would be used.
    #[cfg(feature = "gpu")]
    pub gpu: Option<(&'a crate::gpu::Gpu, crate::gpu::Storage)>,
}

impl PlanRequest<'_> {
    /// One guided picture of a short prompt, in 20 calls, on the CPU.
    pub const fn new(size: [usize; 2]) -> Self {
        Self {
            size,
            pictures: 1,
            guided: true,
            windows: 1,
            calls: 20,
            cache_interval: 1,
            skip_layers: None,
            encodes: false,
            controls: &[],
            image_prompt: None,
            references: &[],
            tiny: None,
            tile: None,
            patched: false,
            runs: 1,
            stays: false,
            threads: 0,
            #[cfg(feature = "gpu")]
            gpu: None,
        }
    }
}

/// A network of a run.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct StagePlan {
    /// Display name.
    pub name: String,
    /// Whether it alternates with the stage before it, so that both are in memory.
    pub beside: bool,
    /// Whether every run uses it: the U-Net and the decoder.
    pub drawn: bool,
    /// Whether it is in memory from the first stage to the last, being loaded from a file of its own.
    pub stays: bool,
    /// Whether it is given back when it has worked, whatever stays: an image encoder.
    pub once: bool,
    /// Bytes of its weights, as the kernels read them.
    pub weights: u64,
    /// Bytes of each, in their order, and whether it is a matrix, which need not be in memory.
    pub(super) each: Vec<(u64, bool)>,
    /// Bytes that a tensor takes at most while it is loaded, beside the weights.
    pub largest: u64,
    /// Bytes of activations and of the kernels' scratch memory.
    pub arena: u64,
    /// Bytes of what it is given and makes.
    pub buffers: u64,
    /// Operations of one evaluation; of a picture in tiles, those of all tiles.
    pub operations: usize,
    /// What one evaluation computes.
    pub work: Work,
    /// How often it is evaluated, in all runs.
    pub evaluations: usize,
}

impl StagePlan {
    /// Bytes of each of its weights, and whether it is a matrix, which can be read as it is used.
    pub fn each(&self) -> impl Iterator<Item = (u64, bool)> {
        self.each.iter().copied()
    }

    /// Bytes of its weights while it works, if about `held` are in memory and the others are read as they are used: those, and room for
    /// the largest other.
    pub fn streamed(&self, held: u64) -> u64 {
        let mut holding = Holding::new(held);
        let others = self.each.iter().filter(|(bytes, is_matrix)| !holding.holds(*bytes, *is_matrix));
        let largest = others.map(|(bytes, _)| *bytes).max().unwrap_or(0);
        holding.taken.saturating_add(largest)
    }

    /// Bytes while it works, and nothing else is in memory.
    pub fn peak(&self) -> u64 {
        self.weights.saturating_add(self.largest.max(self.arena + self.buffers))
    }
}

/// The autoencoder's stages, in one of the ways in which they can work.
#[derive(Clone, PartialEq, Debug)]
struct Coder {
    tiling: Option<Tiling>,
    encoder: Option<StagePlan>,
    decoder: StagePlan,
}

/// What a run would take, in each of the ways in which it can be done.
///
/// ```no_run
/// use nijimi_runtime::model::{LatentInfo, LatentPlan, PlanRequest};
/// use nijimi_runtime::{Error, gguf::MappedFile};
///
/// # fn main() -> Result<(), Error> {
/// let mapped = MappedFile::open("model.gguf")?;
/// let file = mapped.file()?;
/// let plan = LatentPlan::new(&file, &LatentInfo::read(&file)?, &PlanRequest::new([512, 512]))?;
/// let choice = plan.fits(4 << 30)?; // with all in memory, part by part, or in tiles: the first that fits
/// println!("{} MB", plan.peak(&choice) >> 20);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct LatentPlan {
    request: String,
    stays: bool,
    runs: usize,
    /// Whether a tiny autoencoder decodes.
    tiny: bool,
    /// The model's weights are of more than 8 bits.
    wide: bool,
    texts: Vec<StagePlan>,
    /// Whole or in the tiles that are asked for, then in ever smaller ones.
    coders: Vec<Coder>,
    /// The denoiser, and what works beside it.
    unet: Vec<StagePlan>,
    /// Bytes of latents and conditions.
    kept: u64,
    /// Whether the networks of a session have each their own memory: on the CPU they share it.
    apart: bool,
    /// Whether weights can be read as they are used: on the CPU.
    streams: bool,
}

/// Tiles that are smaller show their seams.
const LEAST_TILE: usize = 32;

impl LatentPlan {
    /// Plans a run of the model in `file`, of which no tensor is read; `info` is what [`LatentInfo::read`] found there.
    ///
    /// # Errors
    /// What loading the model would have against the file's metadata and tensors' shapes; a size that the networks cannot
    /// have; activations that the device cannot bind at once.
    pub fn new(file: &File<'_>, info: &LatentInfo, request: &PlanRequest<'_>) -> Result<Self, Error> {
        let n = request.pictures;
        in_range("number of pictures", n, 1, MAX_BATCH)?;
        in_range("windows of a prompt", request.windows, 1, 1 << 10)?;
        in_range("height", request.size[0], 1, 1 << 17)?;
        in_range("width", request.size[1], 1, 1 << 17)?;
        let tokens = info.states(request.windows);
        let mut unet = info.sd_request(n, request.guided, request.size, tokens)?;
        let controls = request.controls.iter().map(|file| Ok((ControlInfo::read(file)?, file)));
        let controls = controls.collect::<Result<Vec<_>, Error>>()?;
        for (control, _) in &controls {
            control.check(info)?;
            control.check_size(request.size)?;
            control.network.ask(&mut unet);
        }
        let planner = Planner::new(request);
        // What is said of a picture, and what it shall not show.
        let said = if request.guided { 2 * n } else { n };
        let texts = (0..info.encoders()).map(|i| match &info.language {
            Some(language) if info.texts.is_empty() => {
                planner.stage(file, &Stage::language(language, info, tokens.min(language.length))?, said)
            }
            _ if i < info.texts.len() => planner.stage(file, &Stage::text(info, i, 0)?, said * request.windows),
            _ => planner.stage(file, &Stage::text(info, i, 0)?, said),
        });
        let mut texts = texts.collect::<Result<Vec<_>, _>>()?;
        let (mut led, mut adapted) = (None, 0);
        if let Some(prompt) = &request.image_prompt {
            let (adapter, encoder, shape) = prompt.read(info)?;
            unet.image = shape[0] * adapter.network.tokens(shape[1]);
            texts.push(prompt.encoder_stage(&planner, &adapter, &encoder)?);
            led = Some((adapter, shape));
        }
        let references = info.reference_sizes(request.references)?;
        for size in &references {
            let stage = planner.stage(file, &Stage::encoder(info, None, *size)?, 1)?;
            let picture =
                4 * (size[0] * size[1] * info.factor() * info.factor() * info.autoencoder.in_channels()) as u64;
            texts.push(StagePlan { buffers: picture, ..stage });
            unet.image += size[0] * size[1];
            adapted += 2 * size[0] * size[1] * info.autoencoder.latent_channels();
        }
        let (calls, runs) = (request.calls, request.runs.max(1));
        info.check_cache(request.cache_interval)?;
        // With a cache, the whole is evaluated for the first of some calls, and the others take its features over.
        let (cached, interval) = (request.cache_interval > 1, request.cache_interval.clamp(1, calls.max(1)));
        let whole = SdRequest { cache: if cached { SdCache::Write } else { SdCache::Off }, ..unet };
        let stage = Stage::denoiser(info, &whole)?;
        let features = stage.graphs[0].0.outputs().iter().find(|port| port.name == SdUnet::FEATURES);
        let features = features.map_or(0, |port| stage.graphs[0].0.shape(port.value).elements());
        // Which tokens there are, and where.
        let graph = &stage.graphs[0].0;
        let angles = graph.inputs().iter().find(|port| port.name == Denoiser::ANGLES);
        let angles = angles.map_or(0, |port| graph.shape(port.value).elements());
        let ids = graph.ids().iter().map(|(_, n)| n).sum::<usize>();
        let places = 2 * (4 * angles + size_of::<Option<u32>>() * ids) as u64;
        let skips = request.skip_layers.map_or(0, |skip| skip.steps(calls).len());
        let wholes = calls.div_ceil(interval) - skips;
        let mut drawing = vec![StagePlan { drawn: true, ..planner.stage(file, &stage, wholes * runs)? }];
        if cached {
            let stage = Stage::denoiser(info, &SdRequest { cache: SdCache::Read, ..unet })?;
            let reused = planner.stage(file, &stage, (calls - wholes) * runs)?;
            // Of the same weights, in the same memory.
            drawing[0].arena = drawing[0].arena.max(reused.arena);
            let name = String::from("U-Net, reused");
            drawing.push(StagePlan { name, beside: true, weights: 0, largest: 0, arena: 0, ..reused });
        }
        if let Some(skip) = &request.skip_layers {
            skip.check(info, request.guided)?;
            let stage = planner.stage(file, &Stage::skipping(info, &unet, skip.layers)?, skips * runs)?;
            drawing[0].arena = drawing[0].arena.max(stage.arena);
            drawing.push(StagePlan { beside: true, weights: 0, largest: 0, arena: 0, ..stage });
        }
        for (control, file) in controls {
            let stage = Stage::control(&control, &unet)?;
            let graph = &stage.graphs[0].0;
            // Its picture for each text, and its residuals on their way to the U-Net.
            let picture = graph.inputs().iter().filter(|port| port.name == ControlNet::PICTURE);
            let ports = picture.chain(graph.outputs());
            let buffers = 4 * ports.map(|port| graph.shape(port.value).elements() as u64).sum::<u64>();
            let evaluations = match control.network {
                ControlNetwork::ControlNet(_) => calls * runs,
                ControlNetwork::T2iAdapter(_) => {
                    let features = graph.outputs().iter().map(|port| graph.shape(port.value).elements());
                    adapted = adapted.max(features.sum::<usize>());
                    runs
                }
            };
            drawing.push(StagePlan { beside: true, buffers, ..planner.stage(file, &stage, evaluations)? });
        }
        if let (Some(prompt), Some((adapter, shape))) = (&request.image_prompt, &led) {
            let stage = Stage::ip_adapter(adapter, *shape)?;
            let evaluations = if request.guided { 2 * runs } else { runs };
            drawing.push(StagePlan { beside: true, ..planner.stage(prompt.adapter, &stage, evaluations)? });
            adapted += 2 * unet.image * adapter.network.channels.iter().sum::<usize>();
        }
        let coders = planner.coders(file, info, [unet.height, unet.width])?;
        // The samples, the answer, noise and what draws it, the run's first noise, what any solver keeps; states as they were read, and
        // as the network is given them; and so are features of adapters.
        let latents = n * unet.height * unet.width * info.autoencoder.latent_channels();
        let states = tokens * info.denoiser.text_width() + info.denoiser.added_width();
        let texts_told = unet.batch + if request.skip_layers.is_some() { n } else { 0 };
        let kept = 4 * (13 * latents + 2 * texts_told * (states + adapted) + features) as u64 + places;
        let apart = false;
        #[cfg(feature = "gpu")]
        let apart = apart || request.gpu.is_some();
        let bytes =
            |of: bool| file.tensors().filter(|t| t.dtype.is_quantized() == of).map(|t| t.data.len()).sum::<usize>();
        Ok(Self {
            request: format!("{n} picture{} of {}x{}", if n == 1 { "" } else { "s" }, request.size[1], request.size[0]),
            stays: request.stays,
            runs,
            tiny: request.tiny.is_some(),
            wide: bytes(false) > bytes(true),
            texts,
            coders,
            unet: drawing,
            kept,
            apart,
            streams: !apart && !request.patched,
        })
    }

    /// The stages in their order, in one of the ways.
    pub fn stages(&self, choice: &Choice) -> impl Iterator<Item = &StagePlan> {
        let coder = self.coders.iter().find(|coder| coder.tiling == choice.tiling).or(self.coders.first());
        let (encoder, decoder) = coder.map_or((None, None), |c| (c.encoder.as_ref(), Some(&c.decoder)));
        self.texts.iter().chain(encoder).chain(&self.unet).chain(decoder)
    }

    /// Bytes of latents and conditions, which are there beside the stages.
    pub const fn kept(&self) -> u64 {
        self.kept
    }
}

/// Makes stages of graphs.
struct Planner<'a> {
    context: Context,
    request: &'a PlanRequest<'a>,
}

impl<'a> Planner<'a> {
    pub fn new(request: &'a PlanRequest<'a>) -> Self {
        Self { context: Context::new(request.threads), request }
    }

    fn options(&self) -> PlanOptions {
        #[cfg(feature = "gpu")]
        if let Some((gpu, storage)) = self.request.gpu {
            return gpu.plan_options(storage);
        }
        crate::cpu::exec::PLAN
    }

    fn weight(&self, weight: &Weight, dtype: DType) -> u64 {
        #[cfg(feature = "gpu")]
        if self.request.gpu.is_some() {
            return crate::gpu::footprint::weight(weight.kind, dtype);
        }
        footprint::weight(weight.kind, dtype)
    }

    fn executor(&self, plan: &Plan, dtypes: &[DType]) -> u64 {
        #[cfg(feature = "gpu")]
        if let Some((_, storage)) = self.request.gpu {
            return crate::gpu::footprint::executor(plan, storage);
        }
        footprint::executor(&self.context, plan, |weight| dtypes[weight.index()])
    }

    pub fn stage(&self, file: &File<'_>, of: &Stage, evaluations: usize) -> Result<StagePlan, Error> {
        let mut stage =
            StagePlan { name: of.name.clone(), stays: of.part.is_none(), evaluations, ..StagePlan::default() };
        let mut dtypes = Vec::new();
        for weight in of.graphs.first().map(|(graph, _)| graph.weights()).unwrap_or_default() {
            let (name, expected) = (weight.name.clone(), weight.tensor().ne());
            let Ok(tensor) = file.tensor(&name) else {
                return Err(ModelError::MissingTensor { name, expected }.into());
            };
            // Rows of words that were added are not the file's.
            let rows = if matches!(weight.kind, WeightKind::Table { .. }) {
                tensor.ne[1].min(expected[1])
            } else {
                expected[1]
            };
            if tensor.ne != [expected[0], rows, expected[2], expected[3]] {
                return Err(ModelError::TensorShape { name, found: tensor.ne, expected }.into());
            }
            let bytes = self.weight(weight, tensor.dtype);
            stage.weights = stage.weights.saturating_add(bytes);
            stage.each.push((bytes, footprint::is_matrix(weight.kind)));
            // As it is in the file; and what is changed, as f32 and once more.
            let (stored, values) = (tensor.data.len() as u64, 4 * tensor.elements() as u64);
            stage.largest = stage.largest.max(if self.request.patched { 2 * stored + values } else { stored });
            dtypes.push(tensor.dtype);
        }
        for (graph, times) in &of.graphs {
            let plan = Plan::new(graph, &self.options())?;
            stage.arena = stage.arena.max(self.executor(&plan, &dtypes));
            stage.operations += times * plan.steps().len();
            stage.work.add(&Work::of(&plan, graph, &dtypes), *times as u64);
        }
        Ok(stage)
    }

    /// The autoencoder in the ways in which it can work; at least one.
    fn coders(&self, file: &File<'_>, info: &LatentInfo, size: [usize; 2]) -> Result<Vec<Coder>, Error> {
        if self.request.tiny.is_some() {
            // So small that it never works in tiles.
            return Ok(vec![self.coder(file, info, size, None)?]);
        }
        let (first, factor) = (info.sample_size, info.factor());
        let halves = (0..16).map(|i| first >> i).take_while(|&tile| tile >= LEAST_TILE || tile == first);
        let smaller = halves.filter(|&tile| self.request.tile.is_none_or(|asked| tile < asked));
        let tiles = self.request.tile.into_iter().chain(smaller);
        let tilings = tiles.map(|tile| Tiling::new(tile, factor)).filter(|t| t.as_ref().map_or(true, |t| t.cuts(size)));
        let mut tilings = tilings.map(|t| t.map(Some)).collect::<Result<Vec<_>, _>>()?;
        if self.request.tile.is_none() || tilings.is_empty() {
            tilings.insert(0, None);
        }
        let (mut coders, mut refused) = (Vec::new(), None);
        for tiling in tilings {
            match self.coder(file, info, size, tiling) {
                Ok(coder) => coders.push(coder),
                // What is too much at once may do in tiles.
                Err(e @ (Error::Plan(_) | Error::Network(NetworkError::Graph(_)))) => refused = refused.or(Some(e)),
                Err(e) => return Err(e),
            }
        }
        match refused {
            Some(e) if coders.is_empty() => Err(e),
            _ => Ok(coders),
        }
    }

    fn coder(
        &self,
        file: &File<'_>,
        info: &LatentInfo,
        size: [usize; 2],
        tiling: Option<Tiling>,
    ) -> Result<Coder, Error> {
        let request = self.request;
        let (network, n) = (&info.autoencoder, request.pictures);
        let pixels = request.size.iter().product::<usize>() as u64;
        let tiny = request.tiny.map(|file| TinyInfo::read(file).map(|tiny| (tiny, file))).transpose()?;
        // Once for all runs.
        let encoder = match &tiny {
            _ if !request.encodes => None,
            Some((tiny, file)) if tiny.has_encoder => {
                Some(self.stage(file, &Stage::tiny_encoder(tiny, request.size)?, 1)?)
            }
            _ => Some(self.stage(file, &Stage::encoder(info, tiling, size)?, 1)?),
        };
        // The picture, as it is read and as it is given.
        let picture = 2 * 4 * pixels * network.in_channels() as u64;
        let blend = |t: Tiling| t.encoded(size, 2 * network.latent_channels()).bytes(t.tile);
        let encoder = encoder.map(|stage| StagePlan { buffers: picture + tiling.map_or(0, blend), ..stage });
        let (file, decoder) = match &tiny {
            Some((tiny, file)) => (*file, Stage::tiny_decoder(tiny, size)?),
            None => (file, Stage::decoder(info, tiling, size)?),
        };
        let decoder = self.stage(file, &decoder, n * request.runs.max(1))?;
        // The pictures, as numbers and as bytes.
        let pictures = n as u64 * 5 * pixels * network.out_channels() as u64;
        let blend = |t: Tiling| t.decoded(size, network.out_channels()).bytes(t.tile * t.factor);
        let buffers = pictures + tiling.map_or(0, blend);
        Ok(Coder { tiling, encoder, decoder: StagePlan { drawn: true, buffers, ..decoder } })
    }
}
