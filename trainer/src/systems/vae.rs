//! The book's step 7: a variational autoencoder of gray pictures. Kingma and Welling 2014.
use crate::error::Result;
use crate::fit::Ended;
use crate::nn::vae::{Config, Scalar, Terms, Vae};
use crate::ops::Kit;
use crate::optim::AdamW;
use crate::systems::autoencoder::{Asked, Autoencoder, Settings, run};
use crate::tensor::{T2, Tp};
use argh::FromArgs;
use std::path::PathBuf;

/// Train a variational autoencoder on gray pictures (book step 7).
#[derive(FromArgs)]
#[argh(subcommand, name = "vae")]
pub struct VaeArgs {
    /// folder with IDX files: MNIST, Fashion-MNIST, or your own in that form
    #[argh(option)]
    data: PathBuf,
    /// the weight file to write
    #[argh(option)]
    out: PathBuf,
    /// folder for log, curve, pictures and checkpoint (default: the weight file's name without its extension, with -report)
    #[argh(option)]
    report: Option<PathBuf>,
    /// passes over the data (default 30)
    #[argh(option, default = "30")]
    epochs: u64,
    /// pictures in a batch (default 32)
    #[argh(option, default = "32")]
    batch: usize,
    /// learning rate (default 3e-4)
    #[argh(option, default = "3e-4")]
    lr: f64,
    /// width of the hidden layers (default 200)
    #[argh(option, default = "200")]
    hidden: usize,
    /// length of a latent vector (default 20)
    #[argh(option, default = "20")]
    latent: usize,
    /// what the divergence is multiplied by; 1 is the ELBO (default 1)
    #[argh(option, default = "1.0")]
    beta: f64,
    /// decay of the averaged weights that are exported; 0 exports the raw ones (default 0)
    #[argh(option, default = "0.0")]
    ema: f64,
    /// largest norm of the gradients; longer ones are scaled down (default: no limit)
    #[argh(option)]
    clip: Option<f64>,
    /// type of the exported weights: f32, f16, q8_0 or q4_0; rows that are not whole blocks stay f16 (default f16)
    #[argh(option, long = "type", default = "String::from(\"f16\")")]
    dtype: String,
    /// name of the model in the file (default: the data folder's)
    #[argh(option)]
    name: Option<String>,
    /// keys everything random (default 0)
    #[argh(option, default = "0")]
    seed: u64,
    /// go on from the checkpoint in the report folder
    #[argh(switch)]
    resume: bool,
    /// minutes between checkpoints (default 5)
    #[argh(option, default = "5.0")]
    checkpoint_minutes: f64,
    /// stop after this many steps
    #[argh(option)]
    max_steps: Option<u64>,
    /// threads; a step is too small to gain by many (default 1)
    #[argh(option, short = 't', default = "1")]
    threads: usize,
}

impl<D: Kit> Autoencoder<D> for Vae<D> {
    const LEVELS: usize = 1;

    fn config(&self) -> &Config {
        self.config()
    }

    fn objective<T: Tp<D>>(&self, x: T2<D, T>, eps: &[T2<D>], beta: f64) -> (Scalar<D, T>, Terms) {
        self.loss(x, &eps[0], beta)
    }

    fn posteriors(&self, x: T2<D>, _: &[T2<D>]) -> Vec<(T2<D>, T2<D>)> {
        vec![self.encode(x)]
    }
}

impl From<&VaeArgs> for Asked {
    fn from(a: &VaeArgs) -> Self {
        Asked {
            system: "vae",
            network: "mlp-vae",
            layers: &[
                "encoder.linear",
                "encoder.linear_mu",
                "encoder.linear_logvar",
                "decoder.linear1",
                "decoder.linear2",
            ],
            data: a.data.clone(),
            out: a.out.clone(),
            report: a.report.clone(),
            epochs: a.epochs,
            settings: Settings { batch: a.batch, beta: a.beta, seed: a.seed },
            hidden: a.hidden,
            latent: a.latent,
            adam: AdamW { lr: a.lr, weight_decay: 0.0, warmup: 0, clip: a.clip },
            ema: Some(a.ema).filter(|e| *e > 0.0),
            dtype: a.dtype.clone(),
            name: a.name.clone(),
            resume: a.resume,
            checkpoint_minutes: a.checkpoint_minutes,
            max_steps: a.max_steps,
            threads: a.threads,
            variant: String::new(),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// Data that cannot be read, settings that make no sense, a loss that is lost.
pub fn vae(args: &VaeArgs) -> Result<Ended> {
    run(&args.into(), Vae::new)
}
