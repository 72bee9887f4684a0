//! The ladder: what each rung is, and how it is climbed.
use super::child;
use super::ladder::Ladder;
use super::record::Record;
use super::{appendix, ddpm, score, theory};
use crate::error::{Error, Result};
use std::ffi::OsString;
use std::path::Path;

/// A step of the book.
pub(super) struct Rung {
    /// The name of its folder, and in `--only`.
    pub key: &'static str,
    /// The book's steps.
    pub steps: &'static str,
    pub title: &'static str,
    /// What it is about, in a sentence.
    pub about: &'static str,
    /// Whether its numbers depend on the data.
    pub data: bool,
    /// Whether a quick run makes its model worse.
    pub trained: bool,
    pub work: fn(&Ladder, &Path, &mut Record) -> Result<()>,
}

/// All rungs, in the book's order.
pub(super) const RUNGS: [Rung; 15] = [
    Rung {
        key: "normal",
        steps: "1, 2",
        title: "Normal distribution",
        about: "The distribution, sums of uniforms, and heights fitted by maximum likelihood.",
        data: true,
        trained: false,
        work: |l, f, r| fit(l, f, r, "normal", Some(&l.sources.heights), &["--basics", "--names", "Height(cm)"]),
    },
    Rung {
        key: "mvn",
        steps: "3",
        title: "Multivariate normal distribution",
        about: "Heights and weights together: mean, covariance, surface and contours.",
        data: true,
        trained: false,
        work: |l, f, r| {
            fit(l, f, r, "mvn", Some(&l.sources.height_weight), &["--basics", "--names", "Height(cm),Weight(kg)"])
        },
    },
    Rung {
        key: "mixture",
        steps: "4, 5",
        title: "Gaussian mixture and EM",
        about: "Eruptions of a geyser: two components found by expectation-maximization.",
        data: true,
        trained: false,
        work: |l, f, r| {
            fit(
                l,
                f,
                r,
                "mixture",
                Some(&l.sources.faithful),
                &["--init", "book", "--names", "Eruptions(Min),Waiting(Min)"],
            )
        },
    },
    Rung {
        key: "descent",
        steps: "6.1",
        title: "Gradient descent",
        about: "The way down the Rosenbrock function.",
        data: false,
        trained: false,
        work: |l, f, r| fit(l, f, r, "descent", None, &["--way", "book"]),
    },
    Rung {
        key: "regression",
        steps: "6.2, 6.3",
        title: "Linear regression",
        about: "A line through a hundred points, by gradient descent and in closed form.",
        data: false,
        trained: false,
        work: |l, f, r| fit(l, f, r, "regression", None, &[]),
    },
    Rung {
        key: "mlp",
        steps: "6.4",
        title: "Neural network",
        about: "A sine curve fitted by ten hidden units.",
        data: false,
        trained: false,
        work: |l, f, r| fit(l, f, r, "mlp", None, &[]),
    },
    Rung {
        key: "vae",
        steps: "7",
        title: "Variational autoencoder",
        about: "Digits from twenty latent numbers.",
        data: true,
        trained: true,
        work: vae,
    },
    Rung {
        key: "hvae",
        steps: "C",
        title: "Hierarchical autoencoder",
        about: "Two levels of latent numbers.",
        data: true,
        trained: true,
        work: hvae,
    },
    Rung {
        key: "theory",
        steps: "8",
        title: "Diffusion: theory",
        about: "The schedule, the posterior, and the weights of the ELBO's terms.",
        data: false,
        trained: false,
        work: theory::work,
    },
    Rung {
        key: "ddpm",
        steps: "9, 10.1, 10.4",
        title: "Diffusion models and guidance",
        about: "The noise process on a picture, digits by label, and classifier-free guidance.",
        data: true,
        trained: false,
        work: ddpm::work,
    },
    Rung {
        key: "score",
        steps: "10.2",
        title: "Score",
        about: "The score of a noised mixture, and sampling along it.",
        data: false,
        trained: false,
        work: score::work,
    },
    Rung {
        key: "classifier",
        steps: "10.3",
        title: "Classifier of noised digits",
        about: "Digits recognized at every level of noise, for its gradient to lead a diffusion model.",
        data: true,
        trained: true,
        work: classifier,
    },
    Rung {
        key: "guided",
        steps: "10.3",
        title: "Classifier guidance",
        about: "Digits of a model without labels, led by a classifier's gradient, recognized by another classifier.",
        data: true,
        trained: true,
        work: guided,
    },
    Rung {
        key: "derivatives",
        steps: "A",
        title: "Derivatives of the likelihood",
        about: "The identities by which the likeliest multivariate normal is found, each side computed for itself.",
        data: false,
        trained: false,
        work: appendix::derivatives,
    },
    Rung {
        key: "jensen",
        steps: "B",
        title: "Jensen's inequality",
        about: "The mean of logarithms against the logarithm of the mean, and the ELBO's distance from the evidence.",
        data: false,
        trained: false,
        work: appendix::jensen,
    },
];

impl Rung {
    /// Whether this is of the book's step: `10` means all of its sections, `10.2` that one and rungs of all of step 10.
    pub fn is_of(&self, step: &str) -> bool {
        let whole = |a: &str, b: &str| a == b || a.strip_prefix(b).is_some_and(|rest| rest.starts_with('.'));
        self.sections().any(|own| whole(&own, step) || whole(step, &own))
    }

    /// The files of the repository that do it: what is computed, and what fits or reports it.
    pub fn files(&self) -> &'static [&'static str] {
        match self.key {
            "normal" => &["runtime/src/dist/normal.rs", "trainer/src/systems/normal.rs"],
            "mvn" => &["runtime/src/dist/multivariate.rs", "trainer/src/systems/mvn.rs"],
            "mixture" => &["runtime/src/dist/mixture.rs", "trainer/src/systems/mixture"],
            "descent" => &["trainer/src/systems/descent.rs"],
            "regression" => &["trainer/src/systems/regression/linear.rs"],
            "mlp" => &["runtime/src/nn/mlp.rs", "trainer/src/systems/regression/mlp.rs"],
            "vae" => &["runtime/src/nn/mlp_vae.rs", "trainer/src/systems/vae.rs"],
            "hvae" => &["runtime/src/nn/mlp_hvae.rs", "trainer/src/systems/hvae.rs"],
            "theory" => &["book/src/diffusion.rs", "trainer/src/systems/book/theory.rs"],
            "ddpm" => &["runtime/src/nn/book_unet.rs", "runtime/src/guidance.rs", "trainer/src/systems/ddpm.rs"],
            "score" => &["book/src/score", "trainer/src/systems/book/score.rs"],
            "classifier" => &["runtime/src/nn/noisy_classifier.rs", "trainer/src/systems/classifier"],
            "guided" => &["runtime/src/guidance.rs", "trainer/src/systems/classifier"],
            _ => &["book/tests/identities.rs", "trainer/src/systems/book/appendix.rs"],
        }
    }

    /// The book's steps and sections, one by one.
    fn sections(&self) -> impl Iterator<Item = String> {
        self.steps.split(',').map(|s| s.trim().to_owned())
    }
}

/// Systems that draw from a stream. The examples of step 6 keep the book's seed, which its numbers belong to.
const SEEDED: [&str; 5] = ["normal", "mixture", "vae", "hvae", "classifier"];
/// Settings of a quick run: little of the data is seen, whatever there is of it.
const QUICK: [&str; 2] = ["--max-steps", "1900"];
/// The same for the classifier, whose steps are longer.
const QUICK_CLASSIFIER: [&str; 2] = ["--max-steps", "40"];

fn vae(ladder: &Ladder, folder: &Path, record: &mut Record) -> Result<()> {
    fit(ladder, folder, record, "vae", Some(&ladder.sources.digits), if ladder.quick { &QUICK } else { &[] })
}

fn hvae(ladder: &Ladder, folder: &Path, record: &mut Record) -> Result<()> {
    fit(ladder, folder, record, "hvae", Some(&ladder.sources.digits), if ladder.quick { &QUICK } else { &[] })
}

fn classifier(ladder: &Ladder, folder: &Path, record: &mut Record) -> Result<()> {
    let more: &[&str] = if ladder.quick { &QUICK_CLASSIFIER } else { &[] };
    fit(ladder, folder, record, "classifier", Some(&ladder.sources.digits), more)
}

/// The classifier's file among given weights.
const CLASSIFIER_NAME: &str = "digits-classifier-q8_0.gguf";
/// Settings of a quick run of guidance.
const QUICK_GUIDED: [&str; 4] = ["--samples", "40", "--steps", "20"];

fn guided(ladder: &Ladder, folder: &Path, record: &mut Record) -> Result<()> {
    let model = ddpm::model(ladder, folder)?;
    let given = ladder.weights.as_ref().map(|w| w.join(CLASSIFIER_NAME)).filter(|p| p.is_file());
    let classifier = given.unwrap_or_else(|| ladder.out.join("classifier").join("classifier.gguf"));
    if !classifier.is_file() {
        let what = format!("{} is not there: the rung classifier makes it", classifier.display());
        return Err(Error::Usage(what));
    }
    let judge = folder.join("judge.safetensors");
    let paths = [
        ("--model", &model),
        ("--classifier", &classifier),
        ("--data", &ladder.sources.digits),
        ("--judge", &judge),
        ("--report", &folder.to_path_buf()),
    ];
    let mut args: Vec<OsString> = vec!["guided".into()];
    args.extend(paths.iter().flat_map(|(name, path)| [OsString::from(name), path.as_os_str().to_owned()]));
    args.extend(["--seed".into(), ladder.seed.to_string().into()]);
    if ladder.quick {
        args.extend(QUICK_GUIDED.iter().map(OsString::from));
    }
    child::run(ladder, folder, record, &args)
}

/// The command line of a system: `nijimi-train SYSTEM --data DATA --out FOLDER/NAME.gguf --report FOLDER ...`.
fn fit(
    ladder: &Ladder,
    folder: &Path,
    record: &mut Record,
    system: &str,
    data: Option<&Path>,
    more: &[&str],
) -> Result<()> {
    let name = format!("{system}.gguf");
    let mut args: Vec<OsString> = vec![system.into()];
    if let Some(data) = data {
        args.extend(["--data".into(), data.into()]);
    }
    args.extend(["--out".into(), folder.join(&name).into(), "--report".into(), folder.into()]);
    args.extend(more.iter().map(OsString::from));
    if SEEDED.contains(&system) {
        args.extend(["--seed".into(), ladder.seed.to_string().into()]);
    }
    child::run(ladder, folder, record, &args)?;
    record.weights.push(name);
    Ok(())
}
