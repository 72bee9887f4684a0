//! The command line of `nijimi-train`.
use crate::data::idx::{LabelledPictures, Split};
use crate::error::{Error, Result};
use crate::fit::{Ended, FitOptions, fit_in};
use crate::launch;
use crate::nn::book_unet::Config;
use crate::ops::Kit;
use crate::optim::AdamW;
use crate::systems::ddpm::{Ddpm, Naming, Settings};
use crate::world::{self, World};
use argh::FromArgs;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

/// Trains the models that nijimi samples.
#[derive(FromArgs)]
pub struct Cli {
    #[argh(subcommand)]
    command: Command,
}

#[derive(FromArgs)]
#[argh(subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, read once")]
enum Command {
    Normal(crate::systems::normal::NormalArgs),
    Mvn(crate::systems::mvn::MvnArgs),
    Mixture(crate::systems::mixture::cli::MixtureArgs),
    Ddpm(DdpmArgs),
    Text2image(crate::systems::text2image::command::TextToImageArgs),
    Distill(crate::systems::text2image::distill::DistillArgs),
    Autoencoder(crate::systems::autoencoder_kl::command::AutoencoderArgs),
    Matcher(crate::systems::matcher::command::MatcherArgs),
    Descent(crate::systems::descent::DescentArgs),
    Regression(crate::systems::regression::linear::RegressionArgs),
    Mlp(crate::systems::regression::mlp::MlpArgs),
    Vae(crate::systems::vae::VaeArgs),
    Hvae(crate::systems::hvae::HvaeArgs),
    Classifier(crate::systems::classifier::ClassifierArgs),
    Quantize(QuantizeArgs),
    Eval(crate::eval::cli::EvalArgs),
    Evaluate(crate::eval::evaluate::EvaluateArgs),
    Guided(crate::eval::guided::GuidedArgs),
    Loss(crate::eval::loss::LossArgs),
    Book(crate::systems::book::BookArgs),
}

/// Train a diffusion model on labelled pictures (book steps 9, 10.1, 10.4).
#[derive(FromArgs)]
#[argh(subcommand, name = "ddpm")]
pub struct DdpmArgs {
    /// folder with IDX files: MNIST, Fashion-MNIST, or your own in that form
    #[argh(option)]
    data: PathBuf,
    /// the weight file to write
    #[argh(option)]
    out: PathBuf,
    /// folder for log, curve, previews and checkpoint (default: the weight file's name without its extension, with -report)
    #[argh(option)]
    report: Option<PathBuf>,
    /// passes over the data (default 10)
    #[argh(option, default = "10")]
    epochs: u64,
    /// pictures in a batch (default 128)
    #[argh(option, default = "128")]
    batch: usize,
    /// learning rate (default 1e-3)
    #[argh(option, default = "1e-3")]
    lr: f64,
    /// steps over which the learning rate rises from 0 (default 0)
    #[argh(option, default = "0")]
    warmup: u64,
    /// largest norm of the gradients; longer ones are scaled down (default: no limit)
    #[argh(option)]
    clip: Option<f64>,
    /// decoupled weight decay (default 0)
    #[argh(option, default = "0.0")]
    weight_decay: f64,
    /// decay of the averaged weights that are exported; 0 exports the raw ones (default 0.999)
    #[argh(option, default = "0.999")]
    ema: f64,
    /// channels from the top level to the bottom (default 64,128,256)
    #[argh(option, default = "String::from(\"64,128,256\")")]
    channels: String,
    /// length of the time vector (default 100)
    #[argh(option, default = "100")]
    time_dim: usize,
    /// type of the exported weights: f32, f16, q8_0 or q4_0 (default q8_0)
    #[argh(option, long = "type", default = "String::from(\"q8_0\")")]
    dtype: String,
    /// names of the labels in their order, with commas (default: 0,1,2,...)
    #[argh(option)]
    labels: Option<String>,
    /// name of the model in the file (default: the data folder's)
    #[argh(option)]
    name: Option<String>,
    /// train without labels
    #[argh(switch)]
    unconditional: bool,
    /// probability that a label is dropped, for classifier-free guidance (default 0.1)
    #[argh(option, default = "0.1")]
    label_drop: f32,
    /// noise levels (default 1000)
    #[argh(option, default = "1000")]
    noise_steps: usize,
    /// variance of the first noise level (default 1e-4)
    #[argh(option, default = "1e-4")]
    beta_start: f64,
    /// variance of the last noise level (default 0.02)
    #[argh(option, default = "0.02")]
    beta_end: f64,
    /// the book's own ways where they differ: labels dropped for a whole batch, no averaged weights
    #[argh(switch)]
    as_in_book: bool,
    /// keys everything random (default 0)
    #[argh(option, default = "0")]
    seed: u64,
    /// precision of the convolutions' products: f32, or bf16 on CPUs that have it (default f32)
    #[argh(option, default = "String::from(\"f32\")")]
    precision: String,
    /// go on from the checkpoint in the report folder
    #[argh(switch)]
    resume: bool,
    /// minutes between checkpoints (default 5)
    #[argh(option, default = "5.0")]
    checkpoint_minutes: f64,
    /// stop after this many steps
    #[argh(option)]
    max_steps: Option<u64>,
    /// train together with the other processes that mpirun has started, each its share of every batch (see docs/world.md)
    #[argh(switch)]
    pub world: bool,
    /// what to train on: cpu, or cuda in a build for it (default cpu)
    #[argh(option, default = "Device::Cpu")]
    device: Device,
    /// threads (default: all cores)
    #[argh(option, short = 't')]
    threads: Option<usize>,
}

/// Encode a weight file anew with another type of weights.
#[derive(FromArgs)]
#[argh(subcommand, name = "quantize")]
pub struct QuantizeArgs {
    /// the file to read, best with f32 weights (the report folder's latest.gguf)
    #[argh(option, short = 'm')]
    model: PathBuf,
    /// the file to write
    #[argh(option)]
    out: PathBuf,
    /// type of the weights: f32, f16, q8_0 or q4_0
    #[argh(option, long = "type")]
    dtype: String,
}

/// What a run computes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Device {
    /// This machine's processor.
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
}

impl std::str::FromStr for Device {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" if cfg!(feature = "cuda") => Ok(Self::Cuda),
            "cuda" => {
                Err("this build is without CUDA; `cargo build --release -p nijimi-trainer --features cuda` makes one \
                           (see docs/cuda.md)"
                    .into())
            }
            _ => Err("expected cpu or cuda".into()),
        }
    }
}

/// Parses the command line, runs, and returns the exit code: 0 done, 1 an error, 130 interrupted.
pub fn main() -> i32 {
    let cli: Cli = argh::from_env();
    let together = match &cli.command {
        Command::Ddpm(args) => args.world,
        Command::Autoencoder(args) => args.world,
        Command::Text2image(args) => args.world,
        _ => false,
    };
    let world = match world::join(together) {
        Ok(world) => world,
        Err(e) => return code(Err(e)),
    };
    // The code comes after the message: a job ends when the first of its processes does.
    code(world::close(&*world, run(cli.command, &world)))
}

fn run(command: Command, world: &Rc<dyn World>) -> Result<Ended> {
    match command {
        Command::Ddpm(args) => ddpm(&args, world),
        Command::Text2image(args) => crate::systems::text2image::command::run(&args, world),
        Command::Distill(args) => crate::systems::text2image::distill::run(&args, world),
        Command::Autoencoder(args) => crate::systems::autoencoder_kl::command::run(&args, world),
        Command::Matcher(args) => crate::systems::matcher::command::run(&args).map(|()| Ended::Finished),
        Command::Descent(args) => crate::systems::descent::run(&args),
        Command::Regression(args) => crate::systems::regression::linear::run(&args),
        Command::Mlp(args) => crate::systems::regression::mlp::run(&args),
        Command::Vae(args) => crate::systems::vae::vae(&args),
        Command::Hvae(args) => crate::systems::hvae::hvae(&args),
        Command::Classifier(args) => crate::systems::classifier::command(&args),
        Command::Normal(args) => crate::systems::normal::run(&args).map(|()| Ended::Finished),
        Command::Mvn(args) => crate::systems::mvn::run(&args).map(|()| Ended::Finished),
        Command::Mixture(args) => crate::systems::mixture::cli::run(&args).map(|()| Ended::Finished),
        Command::Eval(args) => crate::eval::cli::run(&args).map(|()| Ended::Finished),
        Command::Evaluate(args) => crate::eval::evaluate::run(&args).map(|()| Ended::Finished),
        Command::Guided(args) => crate::eval::guided::run(&args).map(|()| Ended::Finished),
        Command::Book(args) => crate::systems::book::run(&args).map(|()| Ended::Finished),
        Command::Loss(args) => crate::eval::loss::run(&args).map(|()| Ended::Finished),
        Command::Quantize(a) => launch::dtype(&a.dtype)
            .and_then(|t| crate::quantize::quantize(&a.model, &a.out, t))
            .map(|()| Ended::Finished),
    }
}

/// The exit code, after a message to stderr if it is an error.
fn code(result: Result<Ended>) -> i32 {
    match result {
        Ok(Ended::Finished) => 0,
        Ok(Ended::Interrupted) => 130,
        Err(e) => {
            eprintln!("nijimi-train: {e}");
            1
        }
    }
}

fn ddpm(a: &DdpmArgs, world: &Rc<dyn World>) -> Result<Ended> {
    let config = |label_count| -> Result<Config> {
        Ok(Config { in_channels: 1, channels: launch::channels(&a.channels, 2)?, time_dim: a.time_dim, label_count })
    };
    if a.batch == 0 || a.epochs == 0 || a.noise_steps < 2 || a.time_dim == 0 {
        return Err(Error::Usage(
            "--batch, --epochs and --time-dim must be at least 1, --noise-steps at least 2".into(),
        ));
    }
    launch::threads(a.threads)?;
    let data = LabelledPictures::load(&a.data, Split::Train)?;
    let label_count = usize::from(*data.labels.iter().max().unwrap_or(&0)) + 1;
    let config = config(if a.unconditional { 0 } else { label_count })?;
    let fold = 1 << (config.channels.len() - 1);
    if data.width % fold != 0 || data.height % fold != 0 {
        let (w, h) = (data.width, data.height);
        return Err(Error::Usage(format!(
            "pictures of {w}x{h} cannot be halved {} times: give fewer --channels",
            config.channels.len() - 1
        )));
    }
    let settings = Settings {
        batch: a.batch,
        label_drop: a.label_drop,
        as_in_book: a.as_in_book,
        steps: a.noise_steps,
        beta_start: a.beta_start,
        beta_end: a.beta_end,
        seed: a.seed,
        precision: <dfdx::prelude::Cpu as Kit>::precision(&a.precision)
            .map_err(|e| Error::Usage(format!("--precision {e}")))?,
    };
    let labels = launch::labels(a.labels.as_deref(), label_count)?;
    let naming = Naming { name: launch::model_name(a.name.as_ref(), &a.data, "ddpm"), labels };
    let report = launch::report_folder(a.report.as_ref(), &a.out);
    let ema = Some(a.ema).filter(|e| *e > 0.0 && !a.as_in_book);
    let adam = AdamW { lr: a.lr, weight_decay: a.weight_decay, warmup: a.warmup, clip: a.clip, muon: None };
    let options = FitOptions {
        out: a.out.clone(),
        dtype: launch::dtype(&a.dtype)?,
        report,
        epochs: a.epochs,
        max_steps: a.max_steps,
        // `epochs` may grow from one run to the next; all else shapes the result.
        fingerprint: format!("ddpm {settings:?} {config:?} {adam:?} ema {ema:?} pictures {}", data.len()),
        adam,
        ema,
        checkpoint_every: Duration::from_secs_f64(a.checkpoint_minutes.max(0.0) * 60.0),
        keep: 0,
        resume: a.resume,
        command: launch::command_line(),
    };
    let stop = launch::interruptible()?;
    match a.device {
        Device::Cpu => {
            let device = dfdx::prelude::Cpu::default();
            let task = Ddpm::new(device, settings, naming, config, data)?;
            fit_in(&**world, &mut task.within(world.clone()), &options, &stop)
        }
        #[cfg(feature = "cuda")]
        Device::Cuda => {
            let device =
                dfdx::prelude::Cuda::try_build(0, 0).map_err(|e| Error::Device(format!("CUDA device 0: {e}")))?;
            let task = Ddpm::new(device, settings, naming, config, data)?;
            fit_in(&**world, &mut task.within(world.clone()), &options, &stop)
        }
        #[cfg(not(feature = "cuda"))]
        Device::Cuda => unreachable!("refused where the command line is read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str) -> std::result::Result<Device, String> {
        let args = ["--data", "d", "--out", "o", "--device", name];
        DdpmArgs::from_args(&["nijimi-train", "ddpm"], &args).map(|a| a.device).map_err(|e| e.output)
    }

    /// Seen red with the message left empty.
    #[test]
    fn a_device_that_is_not_there_is_refused() {
        assert_eq!(device("cpu"), Ok(Device::Cpu));
        let other = device("gpu").expect_err("no such device");
        assert!(other.contains("expected cpu or cuda"), "{other}");
        match device("cuda") {
            Ok(d) => assert!(d == Device::Cuda && cfg!(feature = "cuda")),
            Err(e) => assert!(e.contains("--features cuda") && !cfg!(feature = "cuda"), "{e}"),
        }
    }
}
