//! `nijimi-train text2image`.
use super::latents::Latents;
use super::network::{Sizes, describe, halvings};
use super::process::Process;
use super::teacher::{Teacher, course};
use super::{Fitting, Given, TextToImageSettings};
use crate::data::captioned::{Captioned, Captions};
use crate::data::captions;
use crate::error::{Error, Result};
use crate::fingerprint::{FileSum, Fingerprint};
use crate::fit::{Ended, FitOptions, fit_in};
use crate::fit_command::{FitCommand, fit_command};
use crate::launch::{self, Device};
use crate::nn::clip_text::ClipTextConfig;
use crate::nn::sd_unet::SdUnetConfig;
use crate::nn::text2image::TextToImage;
use crate::ops::Kit;
use crate::optim::AdamW;
use crate::param::{self, State};
use crate::say::tell;
use crate::systems::distill::lesson::{Asked, Course};
use crate::world::World;
use crate::{import, text};
use nijimi_cli::number::{self, Counts, Numbers};
use nijimi_cli::target::Named;
use nijimi_runtime::gguf::{File, MappedFile};
use nijimi_runtime::model::{FirstStage, LatentInfo};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::nn::SdLevel;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

fit_command! {
    /// Train a text-to-image latent diffusion model on captioned pictures (book step 10.5).
    TextToImageArgs "text2image" {
        /// folder with captions.tsv and its pictures, or PNG and JPEG files with a .txt each
        #[argh(option)]
        data: PathBuf,
        /// the weight file of the first stage, from nijimi-train autoencoder
        #[argh(option)]
        autoencoder: Option<PathBuf>,
        /// a model's weight file to go on from: its networks, vocabulary, autoencoder, schedule and prediction type, in place of
        /// --autoencoder and sizes
        #[argh(option)]
        init: Option<PathBuf>,
        out;
        report("log, curve, previews, latents and checkpoint");
        /// side of the pictures in pixels (default: that of --init's pictures, or 64)
        #[argh(option, from_str_fn(number::count))]
        size: Option<usize>,
        /// channels of the U-Net's levels, the largest latents first (default 64,128,256)
        #[argh(option)]
        channels: Option<Channels>,
        /// transformer blocks of each level, 0 for none; the middle has the last level's (default 0,1,1)
        #[argh(option)]
        transformers: Option<Counts>,
        /// residual blocks of a level on the way down; one more on the way up (default 1)
        #[argh(option, from_str_fn(number::width))]
        layers: Option<usize>,
        /// channels of an attention head (default 32)
        #[argh(option, from_str_fn(number::width))]
        head: Option<usize>,
        /// ranges of channels of the normalizations (default 8)
        #[argh(option, from_str_fn(number::width))]
        groups: Option<usize>,
        /// width of the text's states (default 192)
        #[argh(option, from_str_fn(number::width))]
        text_width: Option<usize>,
        /// layers of the text encoder (default 2)
        #[argh(option, from_str_fn(number::width))]
        text_layers: Option<usize>,
        /// ids of a window of text, with its start and end (default 24)
        #[argh(option, from_str_fn(number::width))]
        tokens: Option<usize>,
        /// tokens of the vocabulary that is made of the captions (default 4096)
        #[argh(option, from_str_fn(number::count))]
        vocabulary: Option<usize>,
        epochs("epochs; in each, every subject is drawn eight times", "100");
        batch("32");
        lr("learning rate", "5e-4");
        /// what updates matrices: muon, or adamw, which updates all else either way (default adamw)
        #[argh(option, default = "Way::AdamW")]
        optimizer: Way,
        /// share of the run, at its end, over which the learning rate falls to 0 (default 0.2)
        #[argh(option, from_str_fn(number::share), default = "0.2")]
        decay: f64,
        warmup("200");
        clip("1", "1.0");
        /// decoupled weight decay (default 0.01)
        #[argh(option, from_str_fn(number::not_negative), default = "0.01")]
        weight_decay: f64,
        ema("0.999", "0.999");
        /// probability that a caption is dropped, for classifier-free guidance (default 0.1)
        #[argh(option, from_str_fn(number::share), default = "0.1")]
        caption_drop: f32,
        /// probability that a picture is mirrored, where its caption allows it; 0 where what is learned is by heart, which takes
        /// longer for two of each (default 0.5)
        #[argh(option, from_str_fn(number::share), default = "0.5")]
        mirror: f32,
        /// weight losses by min(snr, this) / (snr + 1), of epsilon by min(snr, this) / snr; 0 for none (default 0)
        #[argh(option, from_str_fn(number::not_negative), default = "0.0")]
        min_snr: f64,
        /// how far noise levels are drawn towards noise, where the caption matters: noise over signal is so many times that of
        /// uniform times; 1 for uniform (default 3; 1 where --init is of another schedule than nijimi's)
        #[argh(option, from_str_fn(number::positive))]
        shift: Option<f64>,
        dtype("", "q8_0", "DType::Q8_0");
        name("the data folder");
        /// licence that the file states (default: that of --init, or none)
        #[argh(option)]
        license: Option<String>,
        seed;
        precision("");
        checkpoints;
        /// checkpoints of epochs that are kept beside the newest one (default 0); to go on from one, copy it over checkpoint.safetensors
        #[argh(option, from_str_fn(number::or_none), default = "0")]
        keep: usize,
        /// pictures, of whole subjects, that are not trained on: the loss on them is logged after each epoch (default 0)
        #[argh(option, from_str_fn(number::or_none), default = "0")]
        hold_out: usize,
        /// text file with the prompts that previews show, one a line (default: 24 of the captions)
        #[argh(option)]
        prompts: Option<PathBuf>,
        /// folder into which each step's batch is written, for the same steps in another program (see benches/peers)
        #[argh(option)]
        batches: Option<PathBuf>,
        max_steps;
        world;
        device;
        threads;
    }
}

/// Channels of the levels.
type Channels = Numbers<1>;

/// What updates matrices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// AdamW, as all else.
    AdamW,
    /// Muon.
    Muon,
}

impl std::str::FromStr for Way {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "adamw" => Ok(Self::AdamW),
            "muon" => Ok(Self::Muon),
            _ => Err("expected adamw or muon".into()),
        }
    }
}

/// Tokens of a vocabulary that is made, at most.
const VOCABULARY: usize = 4096;

/// Side of the pictures, unless it is told or stands in the file that training goes on from.
const SIZE: usize = 64;

/// Trains, and writes the file.
///
/// # Errors
/// Data or files that cannot be read, settings that make no sense, a loss that is lost.
pub fn run(a: &TextToImageArgs, world: &Rc<dyn World>) -> Result<Ended> {
    on_device(a, None, world)
}

/// [`run`], of a student where a lesson is asked for.
pub(super) fn on_device(a: &TextToImageArgs, lesson: Option<Asked>, world: &Rc<dyn World>) -> Result<Ended> {
    match a.device {
        Device::Cpu => on(dfdx::prelude::Cpu::default(), a, lesson, world),
        #[cfg(feature = "cuda")]
        Device::Cuda => {
            let device = dfdx::prelude::Cuda::try_build(0, 0);
            on(device.map_err(|e| Error::Device(format!("CUDA device 0: {e}")))?, a, lesson, world)
        }
        #[cfg(not(feature = "cuda"))]
        Device::Cuda => unreachable!("refused where the command line is read"),
    }
}

/// The sizes that are asked for, or nijimi's own.
fn sizes(a: &TextToImageArgs) -> Sizes {
    Sizes {
        channels: a.channels.as_ref().map_or_else(|| vec![64, 128, 256], |n| n.0.clone()),
        transformers: a.transformers.as_ref().map_or_else(|| vec![0, 1, 1], |n| n.0.clone()),
        layers: a.layers.unwrap_or(1),
        head: a.head.unwrap_or(32),
        groups: a.groups.unwrap_or(8),
        text_width: a.text_width.unwrap_or(192),
        text_layers: a.text_layers.unwrap_or(2),
        tokens: a.tokens.unwrap_or(24),
    }
}

/// The U-Net of such a model.
fn unet(info: &LatentInfo) -> Result<&SdUnetConfig> {
    let refused = || Error::File("--init: its network is a transformer: it can be drawn with, but not trained".into());
    info.denoiser.unet().ok_or_else(refused)
}

/// That a file's model is of a form that is trained here: else what is trained were not what is drawn with.
fn trainable(info: &LatentInfo) -> Result<()> {
    let refuse = |what: &str| Err(Error::File(format!("--init: {what}: it can be drawn with, but not trained")));
    if info.texts.len() != 1 {
        return refuse("the model has two text encoders (SDXL)");
    }
    if info.zeros_for_empty {
        return refuse("no prompt is zeros for this model, not the states of an empty one");
    }
    let (unet, z) = (unet(info)?, info.autoencoder.latent_channels());
    if [unet.in_channels, unet.out_channels] != [z, z] {
        return refuse("its U-Net takes more than latents (it is for inpainting, or for changing pictures)");
    }
    Ok(())
}

/// That what `--init`'s file decides is asked for as it is there, if at all.
fn as_there(a: &TextToImageArgs, info: &LatentInfo, vocabulary: usize) -> Result<()> {
    let (unet, text) = (unet(info)?, info.texts[0].network);
    let levels = &unet.levels;
    let counts = |count: &dyn Fn(&SdLevel) -> usize| Counts(levels.iter().map(count).collect());
    let heads: BTreeSet<usize> = levels.iter().map(|l| l.channels / l.heads.max(1)).collect();
    let one = |n: Option<usize>| n.map(|n| n.to_string());
    let rows = [
        ("--channels", a.channels.as_ref().map(ToString::to_string), counts(&|l| l.channels).to_string()),
        ("--transformers", a.transformers.as_ref().map(ToString::to_string), counts(&|l| l.down[0]).to_string()),
        ("--layers", one(a.layers), unet.layers_per_block().to_string()),
        ("--head", one(a.head), Counts(heads.into_iter().collect()).to_string()),
        ("--groups", one(a.groups), unet.norm_groups.to_string()),
        ("--text-width", one(a.text_width), text.width.to_string()),
        ("--text-layers", one(a.text_layers), text.layers.to_string()),
        ("--tokens", one(a.tokens), text.positions.to_string()),
        ("--vocabulary", one(a.vocabulary), vocabulary.to_string()),
    ];
    match rows.into_iter().find_map(|(option, asked, there)| Some((option, asked.filter(|a| *a != there)?, there))) {
        None => Ok(()),
        Some((option, asked, there)) => Err(Error::Usage(format!(
            "{option} {asked}: the model of --init has {there}, and keeps it: leave {option} out, or begin a new model with \
             --autoencoder"
        ))),
    }
}

/// The networks in a word that changes with them.
fn networks(unet: &SdUnetConfig, text: &ClipTextConfig) -> String {
    let levels: Vec<String> = unet.levels.iter().map(|l| format!("{}:{}:{}", l.channels, l.heads, l.down[0])).collect();
    format!(
        "U-Net {} x {} groups {}, text {} x {} of {} words, window {}",
        levels.join(" "),
        unet.layers_per_block(),
        unet.norm_groups,
        text.layers,
        text.width,
        text.vocabulary,
        text.positions
    )
}

/// What training starts from, and the trained tensors of the file that it goes on from, whose description is `init`.
fn given(
    a: &TextToImageArgs,
    init: Option<LatentInfo>,
    size: usize,
    data: &Captioned,
    file: &File<'_>,
) -> Result<(Given, Option<State>)> {
    let autoencoder = import::tensors(file, FirstStage::PREFIX)?;
    if let Some(mut info) = init {
        let vocabulary = import::vocabulary(file)?;
        trainable(&info)?;
        as_there(a, &info, vocabulary.tokens.len())?;
        if let Some(name) = &a.name {
            info.name.clone_from(name);
        }
        info.sample_size = size / info.autoencoder.factor();
        halvings(info.sample_size, unet(&info)?.levels.len())?;
        let mut trained = import::tensors(file, "unet.")?;
        trained.extend(import::tensors(file, "text_encoder.")?);
        return Ok((Given { info, vocabulary, autoencoder }, Some(trained)));
    }
    let sizes = sizes(a);
    let stage = FirstStage::read(file)?;
    let vocabulary = text::train(captions::texts(&data.pictures), a.vocabulary.unwrap_or(VOCABULARY))?;
    let name = launch::model_name(a.name.as_ref(), &a.data, "text2image");
    let special = text::special(&vocabulary, sizes.tokens);
    let info = describe(&name, &sizes, &stage, size / stage.network.factor(), &vocabulary, special)?;
    Ok((Given { info, vocabulary, autoencoder }, None))
}

fn on<D: Kit>(device: D, a: &TextToImageArgs, lesson: Option<Asked>, world: &Rc<dyn World>) -> Result<Ended> {
    launch::threads(a.threads)?;
    let (option, path): Named<'_> = match (&a.init, &a.autoencoder) {
        (Some(path), None) => ("--init", path),
        (None, Some(path)) => ("--autoencoder", path),
        (Some(_), Some(_)) => {
            return Err(Error::Usage("--init brings an autoencoder of its own: leave --autoencoder out".into()));
        }
        (None, None) => {
            let what = "give the first stage with --autoencoder FILE (nijimi-train autoencoder makes one), or a whole \
                        model to go on from with --init FILE";
            return Err(Error::Usage(what.into()));
        }
    };
    let report = launch::report_folder(a.report.as_ref(), &a.out);
    let prompts = a.prompts.as_deref().map(|path| ("--prompts", path));
    let inputs: Vec<Named<'_>> = [(option, path), ("--data", &*a.data)].into_iter().chain(prompts).collect();
    a.prove(world.share(), &inputs)?;
    let prompts = a.prompts.as_deref().map(lines).transpose()?;
    let refused = |e: &dyn std::fmt::Display| Error::data(path, e.to_string());
    let mapped = MappedFile::open(path).map_err(|e| refused(&e))?;
    let file = File::new_checked(mapped.bytes()).map_err(|e| refused(&e))?;
    let init = a.init.as_ref().map(|_| LatentInfo::read(&file)).transpose().map_err(|e| refused(&e))?;
    let own = init.as_ref().map(|info| info.sample_size * info.autoencoder.factor());
    let size = a.size.or(own).unwrap_or(SIZE);
    let data = Captioned::load_telling(&a.data, size, Captions::Needed)?;
    let (mut given, trained) = given(a, init, size, &data, &file).map_err(|e| match e {
        Error::Usage(_) => e,
        e => refused(&e),
    })?;
    let course = lesson.map(|asked| course(asked, &mut given.info)).transpose()?;
    let lesson = course.as_ref().map(Course::lesson);
    if let Some(license) = &a.license {
        given.info.license.clone_from(license);
    }
    let settings = TextToImageSettings {
        batch: a.batch,
        caption_drop: a.caption_drop,
        min_snr: Some(a.min_snr).filter(|g| *g > 0.0),
        mirror: a.mirror,
        shift: a.shift,
        decay: a.decay,
        seed: a.seed,
        hold_out: a.hold_out,
        precision: D::precision(&a.precision).map_err(|e| Error::Usage(format!("--precision {e}")))?,
    };
    let (unet, encoder) = (unet(&given.info)?.clone(), given.info.texts[0].network);
    let end = given.info.texts[0].tokenizer.special().end;
    let states = given.info.texts[0].states;
    let mut model = TextToImage::new(&device, a.seed, &unet, (&encoder, states, end), settings.precision)?;
    if let Some(trained) = &trained {
        param::load(&mut model, "", trained).map_err(|what| refused(&what))?;
    }
    let teacher = course.map(|course| {
        let empty = given.info.texts[0].tokenizer.window("");
        Teacher::new(model.clone(), course, empty)
    });
    std::fs::create_dir_all(&report).map_err(Error::io(&report))?;
    let latents = Latents::compute(mapped.bytes(), &data, &report)?;
    let muon = (a.optimizer == Way::Muon).then_some(settings.precision);
    let adam = AdamW { lr: a.lr, weight_decay: a.weight_decay, warmup: a.warmup, clip: Some(a.clip), muon };
    let ema = Some(a.ema).filter(|e| *e > 0.0);
    let (shift, prediction, schedule) = Process::of(&given.info, settings.shift)?.told();
    let mut fingerprint = Fingerprint::new(if lesson.is_some() { "distill" } else { "text2image" })
        .with("--size", size)
        .with("--batch", a.batch)
        .with("--decay", a.decay)
        .with("--caption-drop", a.caption_drop)
        .with("--mirror", a.mirror)
        .with("--min-snr", a.min_snr)
        .with("--shift", shift)
        .with("--hold-out", a.hold_out)
        .with("--seed", a.seed)
        .with("--precision", &a.precision)
        .with("the prediction type", prediction)
        .with("the schedule", schedule)
        .with("the network", networks(&unet, &encoder))
        .with(if a.init.is_some() { "the file of --init" } else { "the autoencoder" }, FileSum(mapped.bytes()))
        .with("the data", data.sum());
    if let Some(lesson) = lesson {
        fingerprint = lesson.named(fingerprint);
    }
    let options = FitOptions { keep: a.keep, ..a.fit_options(adam, ema, fingerprint) };
    let parameters = param::count(&mut model);
    let mut task = Fitting::new(device, settings, given, data, latents, model, a.epochs)?;
    if let Some(prompts) = prompts {
        task = task.with_prompts(prompts);
    }
    if let Some(teacher) = teacher {
        task = task.taught_by(teacher);
    }
    if let Some(folder) = &a.batches {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        task = task.with_batches_in(folder.clone());
    }
    tell!("{:.2} million parameters", parameters as f64 / 1e6);
    fit_in(&**world, &mut task, &options, &launch::interruptible()?)
}

/// Most prompts of a preview.
const MOST_PROMPTS: usize = 256;

/// The prompts of a file.
pub(crate) fn lines(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let prompts: Vec<String> = text
        .trim_start_matches('\u{feff}')
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .map(str::to_owned)
        .collect();
    if prompts.is_empty() || prompts.len() > MOST_PROMPTS {
        let what = format!("{} prompts: write 1 to {MOST_PROMPTS}, one a line", prompts.len());
        return Err(Error::data(path, what));
    }
    Ok(prompts)
}
