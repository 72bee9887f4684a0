//! `nijimi-train autoencoder`.
use super::{AutoencoderKlSettings, Fitting};
use crate::data::captioned::{Captioned, Captions};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::fit::{Ended, fit_in};
use crate::fit_command::{FitCommand, fit_command};
use crate::launch::{self, Device};
use crate::nn::autoencoder_kl::AutoencoderKlConfig;
use crate::ops::Kit;
use crate::optim::AdamW;
use crate::world::World;
use nijimi_cli::number::{self, Numbers};
use nijimi_runtime::quant::DType;
use std::path::PathBuf;
use std::rc::Rc;

fit_command! {
    /// Train the autoencoder of latent diffusion on pictures: the first stage of text2image.
    AutoencoderArgs "autoencoder" {
        /// folder with pictures, PNG and JPEG files; captions are not needed
        #[argh(option)]
        data: PathBuf,
        out;
        report("log, curve, reconstructions and checkpoint");
        /// side of the pictures in pixels, to which all are cropped and resized (default 64)
        #[argh(option, from_str_fn(number::count), default = "64")]
        size: usize,
        /// channels of each level, the largest picture first; between levels sides halve (default 32,64,128)
        #[argh(option, default = "Numbers(vec![32, 64, 128])")]
        channels: Numbers<1>,
        /// channels of the latents (default 4)
        #[argh(option, from_str_fn(number::width), default = "4")]
        latent_channels: usize,
        /// residual blocks of a level of the encoder; the decoder's have one more (default 1)
        #[argh(option, from_str_fn(number::width), default = "1")]
        layers: usize,
        /// ranges of channels of the normalizations (default 8)
        #[argh(option, from_str_fn(number::width), default = "8")]
        groups: usize,
        epochs("passes over the data", "20");
        batch("16");
        lr("learning rate, which falls to a fiftieth along half a cosine", "1e-3");
        warmup("100");
        clip("1", "1.0");
        ema("0.998", "0.998");
        /// weight of the mean absolute error beside the mean squared error's 1 (default 0.1)
        #[argh(option, from_str_fn(number::not_negative), default = "0.1")]
        l1_weight: f64,
        /// weight of the latents' divergence in nats a value (default 1e-3)
        #[argh(option, from_str_fn(number::not_negative), default = "1e-3")]
        kl_weight: f64,
        /// most pixels by which pictures are shifted in training, over white (default 3)
        #[argh(option, from_str_fn(number::or_none), default = "3")]
        shift: usize,
        /// pictures, of whole subjects, that are held out for evaluation (default 200, or a tenth of them if that is less)
        #[argh(option, from_str_fn(number::or_none))]
        hold_out: Option<usize>,
        dtype("", "f16", "DType::F16");
        name("the data folder");
        seed;
        precision("convolutions' ");
        checkpoints;
        max_steps;
        world;
        device;
        threads;
    }
}

/// Most pictures that are held out where nothing is said.
const HOLD_OUT: usize = 200;

/// Trains, and reports the file's figures on the pictures held out.
///
/// # Errors
/// Data that cannot be read, settings that make no sense, a loss that is lost.
pub fn run(a: &AutoencoderArgs, world: &Rc<dyn World>) -> Result<Ended> {
    match a.device {
        Device::Cpu => on(dfdx::prelude::Cpu::default(), a, world),
        #[cfg(feature = "cuda")]
        Device::Cuda => {
            let device = dfdx::prelude::Cuda::try_build(0, 0);
            on(device.map_err(|e| Error::Device(format!("CUDA device 0: {e}")))?, a, world)
        }
        #[cfg(not(feature = "cuda"))]
        Device::Cuda => unreachable!("refused where the command line is read"),
    }
}

fn on<D: Kit>(device: D, a: &AutoencoderArgs, world: &Rc<dyn World>) -> Result<Ended> {
    launch::threads(a.threads)?;
    if a.shift >= a.size {
        return Err(Error::Usage(format!("--shift {}: expected less than --size {}", a.shift, a.size)));
    }
    a.prove(world.share(), &[("--data", &a.data)])?;
    let config = AutoencoderKlConfig {
        in_channels: 3,
        out_channels: 3,
        latent_channels: a.latent_channels,
        channels: a.channels.0.clone(),
        layers_per_block: a.layers,
        norm_groups: a.groups,
        mid_attention: false,
        quant_conv: false,
        post_quant_conv: false,
        packed: false,
    };
    let settings = AutoencoderKlSettings {
        batch: a.batch,
        l1_weight: a.l1_weight,
        kl_weight: a.kl_weight,
        shift: a.shift,
        seed: a.seed,
        precision: D::precision(&a.precision).map_err(|e| Error::Usage(format!("--precision {e}")))?,
    };
    let data = Captioned::load_telling(&a.data, a.size, Captions::Optional)?;
    let adam = AdamW { lr: a.lr, weight_decay: 0.0, warmup: a.warmup, clip: Some(a.clip), muon: None };
    let ema = Some(a.ema).filter(|e| *e > 0.0);
    let hold_out = data.hold_out_count(a.hold_out, HOLD_OUT);
    let fingerprint = Fingerprint::new("autoencoder")
        .with("--size", a.size)
        .with("--channels", &a.channels)
        .with("--latent-channels", a.latent_channels)
        .with("--layers", a.layers)
        .with("--groups", a.groups)
        .with("--batch", a.batch)
        .with("--l1-weight", a.l1_weight)
        .with("--kl-weight", a.kl_weight)
        .with("--shift", a.shift)
        .with("--hold-out", hold_out)
        .with("--seed", a.seed)
        .with("--precision", &a.precision)
        .with("the data", data.sum());
    let options = a.fit_options(adam, ema, fingerprint);
    let name = launch::model_name(a.name.as_ref(), &a.data, "autoencoder");
    let mut task = Fitting::new(device, settings, name, &config, data, hold_out, a.epochs)?;
    fit_in(&**world, &mut task, &options, &launch::interruptible()?)
}
