//! `nijimi-train lora`.
use super::examples::Examples;
use super::file::Format;
use super::network::{Layers, Networks};
use super::{Fitting, LoraSettings, plan};
use crate::data::captioned::{Captioned, Captions, Cut};
use crate::error::{Error, Result};
use crate::fingerprint::{FileSum, Fingerprint};
use crate::fit::{Ended, FitOptions, fit};
use crate::fit_command::{FitCommand, fit_command};
use crate::launch;
use crate::optim::AdamW;
use crate::say::tell;
use crate::systems::text2image::command::lines;
use crate::systems::text2image::process::Process;
use crate::world::Share;
use nijimi_cli::number::{self, Bytes};
use nijimi_cli::target::Named;
use nijimi_import::{Options, Types, stored};
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::LatentInfo;
use nijimi_runtime::quant::DType;
use std::collections::BTreeSet;
use std::path::PathBuf;

fit_command! {
    /// Train a LoRA of a Stable Diffusion model (1.x, 2.x, XL) on captioned pictures.
    LoraArgs "lora" {
        /// the model: a weight file, a folder of diffusers, or a .safetensors file
        #[argh(option, short = 'm')]
        model: PathBuf,
        /// folder of PNG and JPEG pictures with a .txt each, or with captions.tsv
        #[argh(option)]
        data: PathBuf,
        /// the .safetensors file to write
        #[argh(option)]
        out: PathBuf,
        report("log, curve, previews, latents and checkpoint");
        /// columns and rows of the factors (default 8)
        #[argh(option, from_str_fn(number::width), default = "8")]
        rank: usize,
        /// the factors' product is multiplied with this over the rank (default: the rank)
        #[argh(option, from_str_fn(number::positive))]
        alpha: Option<f32>,
        /// layers that are trained beside: attention, or transformers for all of theirs (default attention)
        #[argh(option, default = "Layers::Attention")]
        layers: Layers,
        /// train beside the text encoders too
        #[argh(switch)]
        text_encoders: bool,
        /// side of a square with as many pixels as the pictures are brought to (default: the model's)
        #[argh(option, from_str_fn(number::count))]
        size: Option<usize>,
        /// multiple that sides are brought to, as like the picture's as can be; 0 for squares (default 64, or less for small pictures)
        #[argh(option, from_str_fn(number::or_none))]
        bucket_step: Option<usize>,
        /// caption of pictures without one
        #[argh(option)]
        caption: Option<String>,
        epochs("passes over the pictures", "10");
        batch("1");
        /// batches whose gradients make one step (default 1)
        #[argh(option, from_str_fn(number::count), default = "1")]
        accumulate: usize,
        lr("learning rate", "1e-4");
        /// share of the run, at its end, over which the learning rate falls to 0 (default 0)
        #[argh(option, from_str_fn(number::share), default = "0.0")]
        decay: f64,
        warmup("0");
        clip("1", "1.0");
        /// decoupled weight decay (default 0.01)
        #[argh(option, from_str_fn(number::not_negative), default = "0.01")]
        weight_decay: f64,
        /// probability that a caption is dropped (default 0)
        #[argh(option, from_str_fn(number::share), default = "0.0")]
        caption_drop: f32,
        /// weight losses by min(snr, this) / snr, of v by min(snr, this) / (snr + 1); 0 for none (default 0)
        #[argh(option, from_str_fn(number::not_negative), default = "0.0")]
        min_snr: f64,
        /// deviation of what is added to the noise of a whole channel, so that bright and dark are learned; 0 for none (default 0)
        #[argh(option, from_str_fn(number::not_negative), default = "0.0")]
        offset_noise: f32,
        /// names in the file: kohya, which most programs read, or diffusers (default kohya)
        #[argh(option, default = "Format::Kohya")]
        format: Format,
        /// type of the file's numbers: f32 or f16 (default f16)
        #[argh(option, long = "type", from_str_fn(float), default = "DType::F16")]
        dtype: DType,
        seed;
        checkpoints;
        /// checkpoints of epochs that are kept beside the newest one (default 0)
        #[argh(option, from_str_fn(number::or_none), default = "0")]
        keep: usize,
        /// text file with prompts, one a line, that are drawn after each epoch (default: nothing is drawn)
        #[argh(option)]
        prompts: Option<PathBuf>,
        /// refuse to begin where more memory would be needed: 6G, 800M
        #[argh(option)]
        memory_limit: Option<Bytes>,
        max_steps;
        threads;
    }
}

/// What sides are multiples of, of pictures that are not small.
const STEP: usize = 64;

/// That a file holds a model that prompts are drawn with.
fn is_prompted(file: &File<'_>) -> Result<()> {
    match file.str("nijimi.system") {
        Ok(system) if system != "latent-diffusion" => Err(Error::File(format!(
            "it is a model of another kind ({system}), and LoRAs are of Stable Diffusion's: give a model of that as --model"
        ))),
        _ => Ok(()),
    }
}

/// The type of the factors.
fn float(name: &str) -> std::result::Result<DType, String> {
    DType::from_name(name).filter(|d| [DType::F32, DType::F16].contains(d)).ok_or_else(|| "expected f32 or f16".into())
}

/// The pictures, each with a caption.
fn pictures(a: &LoraArgs, side: usize, step: usize, factor: usize) -> Result<Captioned> {
    if step > 0 && (!step.is_multiple_of(factor) || step > side) {
        let what = format!("--bucket-step {step}: give a multiple of {factor}, up to {side}, or 0 for squares");
        return Err(Error::Usage(what));
    }
    let cut = if step == 0 { Cut::Square(side) } else { Cut::Like { side, step } };
    let mut data = Captioned::load_cut_telling(&a.data, cut, Captions::Optional)?;
    if let Some(caption) = &a.caption {
        for picture in data.pictures.iter_mut().filter(|p| p.name.is_empty()) {
            picture.name.clone_from(caption);
        }
    }
    let lacking: Vec<&str> = data.pictures.iter().filter(|p| p.name.is_empty()).map(|p| &*p.file).collect();
    match lacking.first() {
        None => Ok(data),
        Some(first) => {
            let (n, beside) = (lacking.len(), PathBuf::from(first).with_extension("txt"));
            let what = format!(
                "{n} of {} pictures have no caption, {first} is the first: write one into {}, or give one for all that lack \
                 one with --caption",
                data.pictures.len(),
                beside.display()
            );
            Err(Error::data(&a.data, what))
        }
    }
}

/// Trains, and writes the file.
///
/// # Errors
/// Data or files that cannot be read, models and settings that make no sense, a loss that is lost.
pub fn run(a: &LoraArgs) -> Result<Ended> {
    launch::threads(a.threads)?;
    let threads = a.threads.unwrap_or(0);
    let prompts = a.prompts.as_deref().map(|path| ("--prompts", path));
    let inputs: Vec<Named<'_>> = [("--model", &*a.model), ("--data", &*a.data)].into_iter().chain(prompts).collect();
    a.prove(Share::WHOLE, &inputs)?;
    let report = launch::report_folder(a.report.as_ref(), &a.out);
    let prompts = a.prompts.as_deref().map(lines).transpose()?;
    let refused = |e: &dyn std::fmt::Display| Error::data(&a.model, e.to_string());
    let stored = stored(&a.model, &Options::default(), &Types::new(DType::F16)).map_err(|e| refused(&e))?;
    let file = stored.file().map_err(|e| refused(&e))?;
    is_prompted(&file).map_err(|e| refused(&e))?;
    let info = LatentInfo::read(&file).map_err(|e| refused(&e))?;
    let layers = Networks::layers(&info, a.layers, a.text_encoders).map_err(|e| refused(&e))?;
    let process = Process::of(&info, None).map_err(|e| refused(&e))?;
    let factor = info.autoencoder.factor();
    let side = a.size.unwrap_or(info.sample_size * factor);
    // Latents that are halved on the way down and doubled on the way up.
    let multiple = factor << (info.denoiser.unet().map_or(1, |unet| unet.levels.len()) - 1);
    if !side.is_multiple_of(factor) {
        return Err(Error::Usage(format!("--size {side}: give a multiple of {factor}, best of {multiple}")));
    }
    let usual = || STEP.min((side / 8).next_multiple_of(factor));
    let step = a.bucket_step.unwrap_or_else(usual);
    let data = pictures(a, side, step, factor)?;
    let sizes: BTreeSet<[usize; 2]> = data.pictures.iter().map(|p| p.size.map(|side| side / factor)).collect();
    let sizes: Vec<[usize; 2]> = sizes.into_iter().collect();
    let window = info.texts.iter().map(|text| text.tokenizer.special().length).max().unwrap_or(1);
    let needed = plan::bytes(&file, &info, (&layers, a.rank), (a.batch, &sizes, window), a.text_encoders)?;
    plan::within(needed, a.memory_limit.as_ref().map(|limit| limit.0))?;

    let alpha = a.alpha.unwrap_or(a.rank as f32);
    let (shift, prediction, schedule) = process.told();
    let (model, sum) = (FileSum(stored.bytes()).to_string(), data.sum().to_string());
    std::fs::create_dir_all(&report).map_err(Error::io(&report))?;
    let key = format!("{model}, {sum}, {sizes:?}, texts {}", !a.text_encoders);
    let examples = Examples::compute(&stored, &info, &data, (&report, key), !a.text_encoders, threads)?;
    let settings = LoraSettings {
        batch: a.batch,
        accumulate: a.accumulate,
        caption_drop: a.caption_drop,
        min_snr: Some(a.min_snr).filter(|gamma| *gamma > 0.0),
        offset_noise: a.offset_noise,
        decay: a.decay,
        rank: a.rank,
        alpha,
        format: a.format,
        seed: a.seed,
    };
    let fingerprint = Fingerprint::new("lora")
        .with("--rank", a.rank)
        .with("--alpha", alpha)
        .with("--layers", format!("{:?}", a.layers).to_lowercase())
        .with("--text-encoders", a.text_encoders)
        .with("--size", side)
        .with("--bucket-step", step)
        .with("--batch", a.batch)
        .with("--accumulate", a.accumulate)
        .with("--decay", a.decay)
        .with("--caption-drop", a.caption_drop)
        .with("--min-snr", a.min_snr)
        .with("--offset-noise", a.offset_noise)
        .with("--seed", a.seed)
        .with("the shift", shift)
        .with("the prediction type", prediction)
        .with("the schedule", schedule)
        .with("the file of --model", model)
        .with("the data", sum);
    let adam = AdamW { lr: a.lr, weight_decay: a.weight_decay, warmup: a.warmup, clip: Some(a.clip), muon: None };
    let options = FitOptions { keep: a.keep, ..a.fit_options(adam, None, fingerprint) };
    let networks = Networks::load(&file, &info, a.layers, a.text_encoders, (a.rank, alpha), threads)?;
    let count: usize = layers.iter().map(|layer| a.rank * (layer.sides[0] + layer.sides[1])).sum();
    tell!(
        "{} layers, {:.2} million parameters, up to {:.2} GiB of memory; {} pictures of {} sizes",
        layers.len(),
        count as f64 / 1e6,
        needed as f64 / f64::from(1 << 30),
        data.pictures.len(),
        sizes.len()
    );
    let mut task = Fitting::new(settings, networks, examples, process, (info.texts.len(), a.epochs));
    if let Some(prompts) = prompts {
        task = task.with_prompts(stored.clone(), a.model.clone(), prompts);
    }
    // Pixels are in the latents.
    drop(data);
    fit(&mut task, &options, &launch::interruptible()?)
}
