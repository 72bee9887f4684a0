//! The book's step 7: a variational autoencoder of gray pictures. Kingma and Welling 2014.
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::fit::Ended;
use crate::fit_command::{FitCommand, fit_command};
use crate::nn::vae::{Scalar, Terms, Vae, VaeConfig};
use crate::ops::Kit;
use crate::optim::AdamW;
use crate::systems::autoencoder::{Asked, Autoencoder, AutoencoderSettings, command};
use crate::tensor::{T2, Tp};
use nijimi_cli::number;
use nijimi_runtime::quant::DType;

fit_command! {
    /// Train a variational autoencoder on gray pictures (book step 7).
    VaeArgs "vae" {
        idx;
        out;
        report("log, curve, pictures and checkpoint");
        epochs("passes over the data", "30");
        batch("32");
        lr("learning rate", "3e-4");
        /// width of the hidden layers (default 200)
        #[argh(option, from_str_fn(number::width), default = "200")]
        hidden: usize,
        /// length of a latent vector (default 20)
        #[argh(option, from_str_fn(number::width), default = "20")]
        latent: usize,
        /// what the divergence is multiplied by; 1 is the ELBO (default 1)
        #[argh(option, from_str_fn(number::not_negative), default = "1.0")]
        beta: f64,
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

impl<D: Kit> Autoencoder<D> for Vae<D> {
    const LEVELS: usize = 1;

    fn config(&self) -> &VaeConfig {
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
        let adam = AdamW { lr: a.lr, weight_decay: 0.0, warmup: 0, clip: a.clip, muon: None };
        let fingerprint = Fingerprint::new("vae")
            .with("--batch", a.batch)
            .with("--hidden", a.hidden)
            .with("--latent", a.latent)
            .with("--beta", a.beta)
            .with("--seed", a.seed);
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
            name: a.name.clone(),
            settings: AutoencoderSettings { batch: a.batch, beta: a.beta, seed: a.seed },
            hidden: a.hidden,
            latent: a.latent,
            options: a.fit_options(adam, Some(a.ema).filter(|e| *e > 0.0), fingerprint),
            threads: a.threads,
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
