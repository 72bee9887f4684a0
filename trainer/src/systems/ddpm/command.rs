//! `nijimi-train ddpm`.
use super::{Ddpm, Naming, Settings};
use crate::data::idx::{LabelledPictures, Split};
use crate::error::{Error, Result};
use crate::fit::{Ended, FitOptions, fit_in};
use crate::launch::{self, Device, Numbers};
use crate::nn::book_unet::Config;
use crate::ops::Kit;
use crate::optim::AdamW;
use crate::world::World;
use argh::FromArgs;
use nijimi_runtime::quant::DType;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

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
    #[argh(option, default = "Numbers(vec![64, 128, 256])")]
    channels: Numbers<2>,
    /// length of the time vector (default 100)
    #[argh(option, default = "100")]
    time_dim: usize,
    /// type of the exported weights: f32, f16, q8_0 or q4_0 (default q8_0)
    #[argh(option, long = "type", from_str_fn(launch::dtype), default = "DType::Q8_0")]
    dtype: DType,
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

/// Trains, and writes the file.
///
/// # Errors
/// Data that cannot be read, settings that make no sense, a loss that is lost.
pub fn run(a: &DdpmArgs, world: &Rc<dyn World>) -> Result<Ended> {
    if a.batch == 0 || a.epochs == 0 || a.noise_steps < 2 || a.time_dim == 0 {
        return Err(Error::Usage(
            "--batch, --epochs and --time-dim must be at least 1, --noise-steps at least 2".into(),
        ));
    }
    launch::threads(a.threads)?;
    let data = LabelledPictures::load(&a.data, Split::Train)?;
    let label_count = usize::from(*data.labels.iter().max().unwrap_or(&0)) + 1;
    let config = Config {
        in_channels: 1,
        channels: a.channels.0.clone(),
        time_dim: a.time_dim,
        label_count: if a.unconditional { 0 } else { label_count },
    };
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
        dtype: a.dtype,
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
