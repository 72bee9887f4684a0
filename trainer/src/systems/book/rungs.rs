//! The ladder: what each rung is, and how it is climbed.
use super::child;
use super::record::Record;
use super::{Ladder, ddpm, score, theory};
use crate::error::Result;
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
pub(super) const RUNGS: [Rung; 3] = [
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
];

/// The command line of a system: `nijimi-train SYSTEM --data DATA --out FOLDER/NAME.gguf --report FOLDER ...`.
#[allow(dead_code)]
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
    child::run(ladder, folder, record, &args)?;
    record.weights.push(name);
    Ok(())
}
