//! `nijimi-train book`: every system of the book, from data to a report, in one command.
//!
//! A rung is a step of the book. Systems are fitted by the command lines that a user would give, each in a process of
//! its own, so that one that fails takes no other with it; what belongs to no system (schedule, noise process, score,
//! guidance) is reported here. `index.html` leads to all reports.
mod appendix;
mod child;
mod data;
mod ddpm;
mod index;
mod ladder;
mod made_up;
mod noise;
mod record;
mod rungs;
mod score;
mod theory;

use crate::error::{Error, Result};
use crate::launch;
use crate::say::tell;
use argh::{ArgsInfo, FromArgs};
use data::Sources;
use ladder::Ladder;
use nijimi_cli::number;
use record::{Record, State};
use rungs::{RUNGS, Rung};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Run the whole ladder of the book, from data to reports, and make a page that leads to them all.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "book")]
pub struct BookArgs {
    /// folder for reports, weight files and index.html
    #[argh(option)]
    out: PathBuf,
    /// folder with the book's data in book/ and pictures in mnist/ (default: made-up data)
    #[argh(option)]
    data: Option<PathBuf>,
    /// folder with digits-q8_0.gguf, used instead of the file that is built in
    #[argh(option)]
    weights: Option<PathBuf>,
    /// train the diffusion model too: hours, where the shipped weights are used otherwise
    #[argh(switch)]
    train_all: bool,
    /// few passes over little data: minutes for the whole ladder, worse models
    #[argh(switch)]
    quick: bool,
    /// only these rungs, with commas, as normal,theory (default: all)
    #[argh(option)]
    only: Option<String>,
    /// only the rungs of this step of the book: 3, 10, 10.2, A
    #[argh(option)]
    step: Option<String>,
    /// skip rungs that are done already with the same settings
    #[argh(switch)]
    resume: bool,
    /// keys everything random (default 0)
    #[argh(option, default = "0")]
    seed: u64,
    /// threads (default: all cores)
    #[argh(option, from_str_fn(number::threads), short = 't')]
    threads: Option<usize>,
}

/// Runs the command. A rung that fails does not stop the others.
///
/// # Errors
/// Settings that make no sense, data that cannot be read or made, an interruption, or, when all rungs were tried, those that failed.
pub fn run(a: &BookArgs) -> Result<()> {
    launch::obeyed(&[("--step", "rungs of its own choice (no --only)", a.only.is_some() && a.step.is_some())])?;
    let chosen = chosen(a.only.as_deref(), a.step.as_deref())?;
    launch::obeyed(&[("--weights", "--train-all, which trains its own", a.train_all && a.weights.is_some())])?;
    std::fs::create_dir_all(&a.out).map_err(Error::io(&a.out))?;
    // Processes are started with it, so it must not depend on the folder.
    let out = a.out.canonicalize().map_err(Error::io(&a.out))?;
    let begun = Instant::now();
    let sources = match &a.data {
        Some(folder) if a.quick => Sources::of(folder)?.few(&out.join("data").join("mnist"), made_up::QUICK_COUNTS)?,
        Some(folder) => Sources::of(folder)?,
        None => made_up::make(&out.join("data"), a.seed, a.quick, a.threads.unwrap_or(0), a.resume)?,
    };
    let ladder = Ladder {
        out,
        sources,
        weights: a.weights.clone(),
        train_all: a.train_all,
        quick: a.quick,
        seed: a.seed,
        threads: a.threads,
    };
    let mut failed = Vec::new();
    for (i, rung) in chosen.iter().enumerate() {
        tell!("[{}/{}] {} (step {})", i + 1, chosen.len(), rung.title, rung.steps);
        let climbed = climb(&ladder, rung, a.resume);
        if let Err(Error::Interrupted) = climbed {
            return climbed;
        }
        if let Err(e) = climbed {
            tell!("nijimi-train: {}: {e}", rung.key);
            failed.push(rung.key);
        }
        // After every rung, so that there is a page to look at while the others run.
        index::write(&ladder, &RUNGS)?;
    }
    let page = ladder.out.join(index::PAGE);
    tell!("{:.0} s; see {}", begun.elapsed().as_secs_f64(), page.display());
    if failed.is_empty() {
        return Ok(());
    }
    let what =
        format!("failed: {}; {} says why, --resume tries only what is missing", failed.join(", "), page.display());
    Err(Error::Failed(what))
}

fn chosen(only: Option<&str>, step: Option<&str>) -> Result<Vec<&'static Rung>> {
    if let Some(step) = step {
        let rungs: Vec<&Rung> = RUNGS.iter().filter(|r| r.is_of(step)).collect();
        if rungs.is_empty() {
            let known: Vec<&str> = RUNGS.iter().map(|r| r.steps).collect();
            return Err(Error::Usage(format!("--step {step}: no rung is of it; there are {}", known.join(", "))));
        }
        return Ok(rungs);
    }
    let Some(only) = only else { return Ok(RUNGS.iter().collect()) };
    let names: Vec<&str> = only.split(',').map(str::trim).collect();
    let known: Vec<&str> = RUNGS.iter().map(|r| r.key).collect();
    if let Some(wrong) = names.iter().find(|n| !known.contains(n)) {
        return Err(Error::Usage(format!("--only {wrong}: the rungs are {}", known.join(", "))));
    }
    Ok(RUNGS.iter().filter(|r| names.contains(&r.key)).collect())
}

/// One rung, in a folder of its own.
fn climb(ladder: &Ladder, rung: &Rung, resume: bool) -> Result<()> {
    let folder = ladder.out.join(rung.key);
    let fingerprint = ladder.fingerprint(rung.key);
    let before = Record::load(&folder)?;
    let same = before.as_ref().is_some_and(|r| r.fingerprint == fingerprint);
    if resume && same && before.as_ref().is_some_and(|r| r.state == State::Done && r.is_whole(&folder)) {
        tell!("  done already");
        return Ok(());
    }
    // What another run with other settings left is not mixed with this one's; what someone else put there is kept.
    if folder.exists() && !(resume && same) {
        if before.is_none() && folder.read_dir().is_ok_and(|mut d| d.next().is_some()) {
            return Err(Error::Usage(format!("{}: not made by this command; choose another --out", folder.display())));
        }
        std::fs::remove_dir_all(&folder).map_err(Error::io(&folder))?;
    }
    std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    let mut record =
        Record { fingerprint, state: State::Begun, seconds: 0.0, weights: Vec::new(), commands: Vec::new() };
    record.save(&folder)?;
    let begun = Instant::now();
    let result = (rung.work)(ladder, &folder, &mut record).and_then(|()| note(ladder, rung, &folder));
    record.seconds = begun.elapsed().as_secs_f64();
    record.state = match &result {
        Ok(()) => State::Done,
        Err(e) => State::Failed(e.to_string()),
    };
    record.save(&folder)?;
    if result.is_ok() {
        tell!("  {:.1} s", record.seconds);
    }
    result
}

/// Says in a report what its numbers cannot say for themselves.
fn note(ladder: &Ladder, rung: &Rung, folder: &Path) -> Result<()> {
    if rung.data && ladder.sources.made_up {
        let what =
            "The data are made up: drawn by this command, not measured. Numbers are not comparable with the book's.";
        crate::report::add_note(folder, what)?;
    }
    if ladder.quick && rung.trained {
        let what = "A quick run (--quick): few passes over little data. The model is worse than the system allows.";
        crate::report::add_note(folder, what)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page that names a file which is not there leads nowhere. Seen red with `book/src/score.rs`, which is a folder.
    #[test]
    fn the_files_of_every_rung_are_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for file in RUNGS.iter().flat_map(|r| r.files()) {
            assert!(root.join(file).exists(), "{file}");
        }
    }

    /// 10 is of all its sections, and 1 is not of 10.
    #[test]
    fn a_step_has_its_rungs() {
        let keys = |step: &str| chosen(None, Some(step)).map(|r| r.iter().map(|r| r.key).collect::<Vec<_>>());
        assert_eq!(keys("1").expect("step 1"), ["normal"]);
        assert_eq!(keys("10").expect("step 10"), ["ddpm", "score", "classifier", "guided"]);
        assert_eq!(keys("10.2").expect("a section"), ["score"]);
        assert_eq!(keys("7.3").expect("a section of a step"), ["vae"]);
        assert!(keys("11").is_err() && keys("").is_err());
    }
}
