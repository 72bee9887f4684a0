//! `nijimi-train text2image`.
use super::distill;
use super::latents::Latents;
use super::network::{Sizes, describe, halvings};
use super::teacher::{Lesson, Teacher};
use super::{Fitting, Given, Settings};
use crate::data::captioned::Captioned;
use crate::data::captions;
use crate::error::{Error, Result};
use crate::fit::{Ended, FitOptions, fit_in};
use crate::fit_command::{FitCommand, fit_command};
use crate::launch::{self, Device, Numbers};
use crate::nn::text2image::TextToImage;
use crate::ops::Kit;
use crate::optim::AdamW;
use crate::param::{self, State};
use crate::world::World;
use crate::{import, text};
use nijimi_runtime::gguf::{File, MappedFile};
use nijimi_runtime::model::{FirstStage, LatentInfo};
use nijimi_runtime::quant::DType;
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
        /// a model's weight file to go on from: its networks, vocabulary and autoencoder, in place of --autoencoder and sizes
        #[argh(option)]
        init: Option<PathBuf>,
        out;
        report("log, curve, previews, latents and checkpoint");
        /// side of the pictures in pixels (default: that of --init's pictures, or 64)
        #[argh(option)]
        size: Option<usize>,
        /// channels of the U-Net's levels, the largest latents first (default 64,128,256)
        #[argh(option, default = "Numbers(vec![64, 128, 256])")]
        channels: Numbers<1>,
        /// transformer blocks of each level, 0 for none; the middle has the last level's (default 0,1,1)
        #[argh(option, default = "String::from(\"0,1,1\")")]
        transformers: String,
        /// residual blocks of a level on the way down; one more on the way up (default 1)
        #[argh(option, default = "1")]
        layers: usize,
        /// channels of an attention head (default 32)
        #[argh(option, default = "32")]
        head: usize,
        /// ranges of channels of the normalizations (default 8)
        #[argh(option, default = "8")]
        groups: usize,
        /// width of the text's states (default 192)
        #[argh(option, default = "192")]
        text_width: usize,
        /// layers of the text encoder (default 2)
        #[argh(option, default = "2")]
        text_layers: usize,
        /// ids of a window of text, with its start and end (default 24)
        #[argh(option, default = "24")]
        tokens: usize,
        /// tokens of the vocabulary that is made of the captions (default 4096)
        #[argh(option, default = "4096")]
        vocabulary: usize,
        epochs("epochs; in each, every subject is drawn eight times", "100");
        batch("32");
        lr("learning rate", "5e-4");
        /// what updates matrices: muon, or adamw, which updates all else either way (default adamw)
        #[argh(option, default = "String::from(\"adamw\")")]
        optimizer: String,
        /// share of the run, at its end, over which the learning rate falls to 0 (default 0.2)
        #[argh(option, default = "0.2")]
        decay: f64,
        warmup("200");
        clip("1", "1.0");
        /// decoupled weight decay (default 0.01)
        #[argh(option, default = "0.01")]
        weight_decay: f64,
        ema("0.999", "0.999");
        /// probability that a caption is dropped, for classifier-free guidance (default 0.1)
        #[argh(option, default = "0.1")]
        caption_drop: f32,
        /// probability that a picture is mirrored, where its caption allows it; 0 where what is learned is by heart, which takes
        /// longer for two of each (default 0.5)
        #[argh(option, default = "0.5")]
        mirror: f32,
        /// weight losses by min(snr, this) / (snr + 1); 0 for none (default 0)
        #[argh(option, default = "0.0")]
        min_snr: f64,
        /// how far noise levels are drawn towards noise, where the caption matters: noise over signal is so many times that of
        /// uniform times; 1 for uniform (default 3)
        #[argh(option, default = "3.0")]
        shift: f64,
        dtype("", "q8_0", "DType::Q8_0");
        name("the data folder");
        /// licence that the file states (default: that of --init, or none)
        #[argh(option)]
        license: Option<String>,
        seed;
        precision("");
        checkpoints;
        /// checkpoints of epochs that are kept beside the newest one (default 0); to go on from one, copy it over checkpoint.safetensors
        #[argh(option, default = "0")]
        keep: usize,
        /// pictures, of whole subjects, that are not trained on: the loss on them is logged after each epoch (default 0)
        #[argh(option, default = "0")]
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

/// Side of the pictures, unless it is told or stands in the file that training goes on from.
const SIZE: usize = 64;

/// Trains, and writes the file.
///
/// # Errors
/// Data or files that cannot be read, settings that make no sense, a loss that is lost.
pub fn run(a: &TextToImageArgs, world: &Rc<dyn World>) -> Result<Ended> {
    on_device(a, None, world)
}

/// [`run`], of a student where there is a lesson.
pub(super) fn on_device(a: &TextToImageArgs, lesson: Option<Lesson>, world: &Rc<dyn World>) -> Result<Ended> {
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
        if let Some(name) = &a.name {
            info.name.clone_from(name);
        }
        info.sample_size = size / info.autoencoder.factor();
        halvings(info.sample_size, info.unet.levels.len())?;
        let mut trained = import::tensors(file, "unet.")?;
        trained.extend(import::tensors(file, "text_encoder.")?);
        return Ok((Given { info, vocabulary: import::vocabulary(file)?, autoencoder }, Some(trained)));
    }
    let sizes = Sizes {
        channels: a.channels.0.clone(),
        transformers: counts("--transformers", &a.transformers)?,
        layers: a.layers,
        head: a.head,
        groups: a.groups,
        text_width: a.text_width,
        text_layers: a.text_layers,
        tokens: a.tokens,
    };
    if sizes.head == 0 || sizes.groups == 0 {
        return Err(Error::Usage("--head and --groups must be at least 1".into()));
    }
    let stage = FirstStage::read(file)?;
    let vocabulary = text::train(captions::texts(&data.pictures), a.vocabulary)?;
    let name = launch::model_name(a.name.as_ref(), &a.data, "text2image");
    let special = text::special(&vocabulary, a.tokens);
    let info = describe(&name, &sizes, &stage, size / stage.network.factor(), &vocabulary, special)?;
    Ok((Given { info, vocabulary, autoencoder }, None))
}

fn on<D: Kit>(device: D, a: &TextToImageArgs, lesson: Option<Lesson>, world: &Rc<dyn World>) -> Result<Ended> {
    if a.batch == 0 || a.epochs == 0 || a.size == Some(0) {
        return Err(Error::Usage("--batch, --epochs and --size must be at least 1".into()));
    }
    if !(a.shift.is_finite() && a.shift > 0.0) {
        return Err(Error::Usage(format!("--shift {}: expected a number above 0, as 3", a.shift)));
    }
    launch::threads(a.threads)?;
    let path: &Path = match (&a.init, &a.autoencoder) {
        (Some(path), None) | (None, Some(path)) => path,
        (Some(_), Some(_)) => {
            return Err(Error::Usage("--init brings an autoencoder of its own: leave --autoencoder out".into()));
        }
        (None, None) => {
            let what = "give the first stage with --autoencoder FILE (nijimi-train autoencoder makes one), or a whole \
                        model to go on from with --init FILE";
            return Err(Error::Usage(what.into()));
        }
    };
    let refused = |e: &dyn std::fmt::Display| Error::data(path, e.to_string());
    let mapped = MappedFile::open(path).map_err(|e| refused(&e))?;
    let file = File::new_checked(mapped.bytes()).map_err(|e| refused(&e))?;
    let init = a.init.as_ref().map(|_| LatentInfo::read(&file)).transpose().map_err(|e| refused(&e))?;
    let own = init.as_ref().map(|info| info.sample_size * info.autoencoder.factor());
    let size = a.size.or(own).unwrap_or(SIZE);
    let data = Captioned::load(&a.data, size)?;
    for (path, why) in &data.skipped {
        eprintln!("skipped {}: {why}", path.display());
    }
    let (mut given, trained) = given(a, init, size, &data, &file).map_err(|e| match e {
        Error::Usage(_) => e,
        e => refused(&e),
    })?;
    let lesson = lesson.map(|lesson| distill::taught(lesson, &mut given.info)).transpose()?;
    if let Some(license) = &a.license {
        given.info.license.clone_from(license);
    }
    let settings = Settings {
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
    let (unet, encoder) = (given.info.unet.clone(), given.info.texts[0].network);
    let end = given.info.texts[0].tokenizer.special().end;
    let mut model = TextToImage::new(&device, a.seed, &unet, (&encoder, end), settings.precision)?;
    if let Some(trained) = &trained {
        param::load(&mut model, "", trained).map_err(|what| refused(&what))?;
    }
    let teacher = lesson.map(|lesson| {
        let empty = given.info.texts[0].tokenizer.window("");
        Teacher::new(model.clone(), lesson, empty)
    });
    let report = launch::report_folder(a.report.as_ref(), &a.out);
    std::fs::create_dir_all(&report).map_err(Error::io(&report))?;
    let latents = Latents::compute(mapped.bytes(), &data, &report)?;
    let muon = match &a.optimizer[..] {
        "muon" => Some(settings.precision),
        "adamw" => None,
        other => return Err(Error::Usage(format!("--optimizer {other}: expected adamw or muon"))),
    };
    let adam = AdamW { lr: a.lr, weight_decay: a.weight_decay, warmup: a.warmup, clip: Some(a.clip), muon };
    let ema = Some(a.ema).filter(|e| *e > 0.0);
    let shaping = (settings, &unet, &encoder, &adam, ema, data.pictures.len(), size, lesson);
    let options = FitOptions { keep: a.keep, ..a.fit_options(adam.clone(), ema, format!("text2image {shaping:?}")) };
    let parameters = param::count(&mut model);
    let prompts = a.prompts.as_deref().map(lines).transpose()?;
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
    eprintln!("{:.2} million parameters", parameters as f64 / 1e6);
    fit_in(&**world, &mut task, &options, &launch::interruptible()?)
}

/// Most prompts of a preview.
const MOST_PROMPTS: usize = 256;

/// The prompts of a file.
fn lines(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let prompts: Vec<String> = text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect();
    if prompts.is_empty() || prompts.len() > MOST_PROMPTS {
        let what = format!("{} prompts: write 1 to {MOST_PROMPTS}, one a line", prompts.len());
        return Err(Error::data(path, what));
    }
    Ok(prompts)
}

/// Numbers with commas, of which some may be 0.
fn counts(option: &str, text: &str) -> Result<Vec<usize>> {
    let list: Option<Vec<usize>> = text.split(',').map(|c| c.trim().parse().ok()).collect();
    list.ok_or_else(|| Error::Usage(format!("{option} {text}: expected numbers with commas, as in 0,1,1")))
}
