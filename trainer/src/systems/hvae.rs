//! The book's appendix C: a variational autoencoder with a chain of two latent vectors.
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::fit::Ended;
use crate::fit_command::{FitCommand, fit_command};
use crate::nn::hvae::{Estimator, Hvae};
use crate::nn::vae::{Scalar, Terms, VaeConfig};
use crate::ops::Kit;
use crate::optim::AdamW;
use crate::param::{Module, Visitor};
use crate::systems::autoencoder::{Asked, Autoencoder, AutoencoderSettings, command};
use crate::tensor::{T2, Tp};
use nijimi_cli::number;
use nijimi_runtime::quant::DType;

fit_command! {
    /// Train a variational autoencoder with two levels of latent vectors (book appendix C).
    HvaeArgs "hvae" {
        idx;
        out;
        report("log, curve, pictures and checkpoint");
        epochs("passes over the data", "30");
        batch("32");
        lr("learning rate", "1e-3");
        /// width of the hidden layers (default 100)
        #[argh(option, from_str_fn(number::width), default = "100")]
        hidden: usize,
        /// length of a latent vector (default 20)
        #[argh(option, from_str_fn(number::width), default = "20")]
        latent: usize,
        /// what the divergence is multiplied by; 1 is the ELBO (default 1)
        #[argh(option, from_str_fn(number::not_negative), default = "1.0")]
        beta: f64,
        /// estimate the ELBO without the bias of the book's loss, which takes the two latent vectors for independent
        #[argh(switch)]
        exact: bool,
        ema("0", "0.0");
        clip;
        dtype("; rows that are not whole blocks stay f16", "f16", "DType::F16");
        name("the data folder");
        seed;
        checkpoints;
        max_steps;
        /// threads; a step is too small to gain by many (default 1)
        #[argh(option, from_str_fn(number::threads), short = 't', default = "1")]
        threads: usize,
    }
}

/// The network with the estimator that it is trained with.
#[derive(Clone)]
pub struct Estimated<D: Kit> {
    /// The network.
    pub network: Hvae<D>,
    /// The estimator.
    pub estimator: Estimator,
}

impl<D: Kit> Module<D> for Estimated<D> {
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        self.network.visit(prefix, v);
    }
}

impl<D: Kit> Autoencoder<D> for Estimated<D> {
    const LEVELS: usize = 2;

    fn config(&self) -> &VaeConfig {
        self.network.config()
    }

    fn objective<T: Tp<D>>(&self, x: T2<D, T>, eps: &[T2<D>], beta: f64) -> (Scalar<D, T>, Terms) {
        self.network.loss(x, [&eps[0], &eps[1]], beta, self.estimator)
    }
}

/// What the book's notebook prints: the mean loss of each epoch on MNIST.
const BOOK: [f64; 30] = [
    49.704_394_667_561_85,
    42.936_693_465_169_27,
    41.386_288_490_804_034,
    40.729_166_137_695_316,
    40.316_895_951_334_64,
    40.068_805_192_057_29,
    39.881_839_831_542_97,
    39.751_061_332_194_01,
    39.596_484_006_754_56,
    39.533_329_164_632_164,
    39.459_045_416_259_76,
    39.406_576_959_228_516,
    39.311_387_253_824_87,
    39.246_048_238_118_49,
    39.240_251_792_399_086,
    39.162_320_452_880_86,
    39.136_861_494_954_424,
    39.101_595_729_573_57,
    39.097_359_875_488_28,
    39.028_374_251_302_08,
    38.997_316_172_281_9,
    38.972_286_543_782_55,
    38.976_072_235_107_424,
    38.916_179_522_705_08,
    38.925_981_420_898_44,
    38.887_253_187_052_41,
    38.873_799_818_929_04,
    38.885_284_623_209_635,
    38.814_232_434_082_03,
    38.857_866_589_355_47,
];

impl From<&HvaeArgs> for Asked {
    fn from(a: &HvaeArgs) -> Self {
        let as_in_book = a.batch == 32
            && a.lr == 1e-3
            && a.hidden == 100
            && a.latent == 20
            && a.beta == 1.0
            && a.ema == 0.0
            && !a.exact;
        let adam = AdamW { lr: a.lr, weight_decay: 0.0, warmup: 0, clip: a.clip, muon: None };
        let fingerprint = Fingerprint::new("hvae")
            .with("--batch", a.batch)
            .with("--hidden", a.hidden)
            .with("--latent", a.latent)
            .with("--beta", a.beta)
            .with("--exact", a.exact)
            .with("--seed", a.seed);
        Asked {
            system: "hvae",
            network: "mlp-hvae",
            title: "Hierarchical variational autoencoder (appendix C)",
            book: as_in_book.then_some(&BOOK[..]),
            layers: &[
                "encoder1.linear",
                "encoder1.linear_mu",
                "encoder1.linear_logvar",
                "encoder2.linear",
                "encoder2.linear_mu",
                "encoder2.linear_logvar",
                "decoder1.linear1",
                "decoder1.linear2",
                "decoder2.linear1",
                "decoder2.linear2",
            ],
            data: a.data.clone(),
            name: a.name.clone(),
            settings: AutoencoderSettings { batch: a.batch, beta: a.beta, seed: a.seed },
            hidden: a.hidden,
            latent: a.latent,
            options: a.fit_options(adam, Some(a.ema).filter(|e| *e > 0.0), fingerprint),
            threads: a.threads,
        }
    }
}

impl HvaeArgs {
    fn estimator(&self) -> Estimator {
        if self.exact { Estimator::Exact } else { Estimator::Surrogate }
    }
}

/// Runs the command.
///
/// # Errors
/// Data that cannot be read, settings that make no sense, a loss that is lost.
pub fn hvae(args: &HvaeArgs) -> Result<Ended> {
    let estimator = args.estimator();
    command(&args.into(), |device, seed, config| Estimated { network: Hvae::new(device, seed, config), estimator })
}
