//! `nijimi-train ddpm`.
use super::{Ddpm, DdpmSettings, Naming};
use crate::data::idx::{LabelledPictures, Split};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::fit::{Ended, fit_in};
use crate::fit_command::{FitCommand, fit_command};
use crate::launch::{self, Device};
use crate::nn::book_unet::BookUnetConfig;
use crate::ops::Kit;
use crate::optim::AdamW;
use crate::world::World;
use nijimi_cli::number::{self, Numbers};
use nijimi_runtime::quant::DType;
use std::rc::Rc;

fit_command! {
    /// Train a diffusion model on labelled pictures (book steps 9, 10.1, 10.4).
    DdpmArgs "ddpm" {
        idx;
        out;
        report("log, curve, previews and checkpoint");
        epochs("passes over the data", "10");
        batch("128");
        lr("learning rate", "1e-3");
        warmup("0");
        clip;
        /// share of the run, at its end, over which the learning rate falls to 0 (default 0)
        #[argh(option, from_str_fn(number::share), default = "0.0")]
        decay: f64,
        /// decoupled weight decay (default 0)
        #[argh(option, from_str_fn(number::not_negative), default = "0.0")]
        weight_decay: f64,
        /// decay of the averaged weights that are exported; 0 exports the raw ones (default 0.999)
        #[argh(option, from_str_fn(number::decay))]
        ema: Option<f64>,
        /// channels from the top level to the bottom (default 64,128,256)
        #[argh(option, default = "Numbers(vec![64, 128, 256])")]
        channels: Numbers<2>,
        /// length of the time vector (default 100)
        #[argh(option, from_str_fn(number::width), default = "100")]
        time_dim: usize,
        dtype("", "q8_0", "DType::Q8_0");
        labels;
        name("the data folder");
        /// train without labels
        #[argh(switch)]
        unconditional: bool,
        /// probability that a label is dropped, for classifier-free guidance (default 0.1)
        #[argh(option, from_str_fn(number::share))]
        label_drop: Option<f32>,
        /// noise levels (default 1000)
        #[argh(option, from_str_fn(number::levels), default = "1000")]
        noise_steps: usize,
        betas;
        /// the book's own ways where they differ: labels dropped for a whole batch, no averaged weights
        #[argh(switch)]
        as_in_book: bool,
        seed;
        precision("convolutions' ");
        checkpoints;
        max_steps;
        world;
        device;
        threads;
    }
}

/// Trains, and writes the file.
///
/// # Errors
/// Data that cannot be read, settings that make no sense, a loss that is lost.
pub fn run(a: &DdpmArgs, world: &Rc<dyn World>) -> Result<Ended> {
    let ignored = [
        ("--label-drop", "--unconditional, which has none", a.unconditional && a.label_drop.is_some()),
        ("--labels", "--unconditional, which has none", a.unconditional && a.labels.is_some()),
        ("--ema", "--as-in-book, which averages nothing", a.as_in_book && a.ema.is_some()),
    ];
    launch::obeyed(&ignored)?;
    launch::threads(a.threads)?;
    a.prove(world.share(), &[("--data", &a.data)])?;
    let data = LabelledPictures::load(&a.data, Split::Train)?;
    let label_count = usize::from(*data.labels.iter().max().unwrap_or(&0)) + 1;
    let config = BookUnetConfig {
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
    let settings = DdpmSettings {
        decay: a.decay,
        epochs: a.epochs,
        batch: a.batch,
        label_drop: a.label_drop.unwrap_or(0.1),
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
    let ema = Some(a.ema.unwrap_or(0.999)).filter(|e| *e > 0.0 && !a.as_in_book);
    let adam = AdamW { lr: a.lr, weight_decay: a.weight_decay, warmup: a.warmup, clip: a.clip, muon: None };
    let fingerprint = Fingerprint::new("ddpm")
        .with("--batch", a.batch)
        .with("--label-drop", settings.label_drop)
        .with("--unconditional", a.unconditional)
        .with("--as-in-book", a.as_in_book)
        .with("--noise-steps", a.noise_steps)
        .with("--beta-start", a.beta_start)
        .with("--beta-end", a.beta_end)
        .with("--decay", a.decay)
        .with("--seed", a.seed)
        .with("--precision", &a.precision)
        .with("--channels", &a.channels)
        .with("--time-dim", a.time_dim)
        .with("the data", data.sum());
    let options = a.fit_options(adam, ema, fingerprint);
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
    use argh::FromArgs as _;

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
