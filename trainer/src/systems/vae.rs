//! The book's step 7: a variational autoencoder of gray pictures. Kingma and Welling 2014.
use crate::error::Result;
use crate::fit::Ended;
use crate::launch;
use crate::nn::vae::{Config, Scalar, Terms, Vae};
use crate::ops::Kit;
use crate::optim::AdamW;
use crate::systems::autoencoder::{Asked, Autoencoder, Settings, command};
use crate::tensor::{T2, Tp};
use argh::FromArgs;
use nijimi_runtime::quant::DType;
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
    #[argh(option, long = "type", from_str_fn(launch::dtype), default = "DType::F16")]
    dtype: DType,
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
}

/// What the book's notebook prints: the mean loss of each epoch on MNIST.
const BOOK: [f64; 30] = [
    54.047_605_944_824_22,
    45.276_906_994_628_91,
    43.451_184_116_617_84,
    42.353_020_381_673_176,
    41.598_957_519_531_25,
    41.104_056_953_938_8,
    40.693_682_391_357_42,
    40.430_086_907_958_99,
    40.174_811_783_854_17,
    39.967_409_686_279_3,
    39.848_685_054_524_736,
    39.721_785_089_111_33,
    39.589_868_845_621_744,
    39.521_744_673_665_37,
    39.355_507_989_501_95,
    39.272_993_992_106_12,
    39.258_720_072_428_39,
    39.119_287_900_797_524,
    39.099_513_057_454_43,
    39.030_941_693_115_23,
    38.974_561_830_647_79,
    38.883_357_102_457_68,
    38.870_197_753_906_25,
    38.781_715_563_964_845,
    38.765_310_990_397_13,
    38.712_842_236_328_12,
    38.675_155_362_955_73,
    38.617_891_853_841_144,
    38.595_848_671_468_1,
    38.600_760_223_388_67,
];

impl From<&VaeArgs> for Asked {
    fn from(a: &VaeArgs) -> Self {
        let as_in_book =
            a.batch == 32 && a.lr == 3e-4 && a.hidden == 200 && a.latent == 20 && a.beta == 1.0 && a.ema == 0.0;
        Asked {
            system: "vae",
            network: "mlp-vae",
            title: "Variational autoencoder (step 7)",
            book: as_in_book.then_some(&BOOK[..]),
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
            adam: AdamW { lr: a.lr, weight_decay: 0.0, warmup: 0, clip: a.clip, muon: None },
            ema: Some(a.ema).filter(|e| *e > 0.0),
            dtype: a.dtype,
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
    command(&args.into(), Vae::new)
}
