//! `nijimi-train matcher`.
use super::retrieval::{Retrieval, retrieval};
use super::{MatcherSettings, Parts, TrainedMatcher, WIDTH};
use crate::data::captioned::{Captioned, Captions, Picture};
use crate::data::captions;
use crate::error::{Error, Result};
use crate::launch;
use crate::ops::Kit;
use crate::say::say;
use crate::target;
use argh::{ArgsInfo, FromArgs};
use nijimi_cli::number;
use std::path::PathBuf;

/// Train the matcher that judges text-to-image models: it finds the caption of a picture. It learns from real pictures
/// alone.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "matcher")]
pub struct MatcherArgs {
    /// folder with pictures and captions
    #[argh(option)]
    data: PathBuf,
    /// the file to write (.safetensors)
    #[argh(option)]
    out: PathBuf,
    /// side of the pictures in pixels, a multiple of 16 (default 64)
    #[argh(option, from_str_fn(number::count), default = "64")]
    size: usize,
    /// passes over the subjects (default 120)
    #[argh(option, from_str_fn(number::times), default = "120")]
    epochs: u64,
    /// subjects in a batch (default 128)
    #[argh(option, from_str_fn(number::count), default = "128")]
    batch: usize,
    /// learning rate, which falls to 0 along half a cosine (default 2e-3)
    #[argh(option, from_str_fn(number::positive), default = "2e-3")]
    lr: f64,
    /// pictures, of whole subjects, that are held out (default 160, or a tenth of them if that is less)
    #[argh(option, from_str_fn(number::or_none))]
    hold_out: Option<usize>,
    /// keys everything random (default 1)
    #[argh(option, default = "1")]
    seed: u64,
    /// threads (default: all cores)
    #[argh(option, from_str_fn(number::threads), short = 't')]
    threads: Option<usize>,
}

/// Captions among which the right one is looked for.
pub const AMONG: usize = 100;

/// Trains, says how well captions are found, and writes the file.
///
/// # Errors
/// Data that cannot be read, settings that make no sense, a loss that is lost.
pub fn run(a: &MatcherArgs) -> Result<()> {
    launch::threads(a.threads)?;
    target::prove(&[("--out", &a.out)], &[("--data", &a.data)])?;
    let set = Captioned::load_telling(&a.data, a.size, Captions::Needed)?;
    let defaults = MatcherSettings::default();
    let hold_out = set.hold_out_count(a.hold_out, defaults.hold_out);
    let settings = MatcherSettings { epochs: a.epochs, batch: a.batch, lr: a.lr, hold_out, seed: a.seed, ..defaults };
    let mut matcher = TrainedMatcher::train(dfdx::prelude::Cpu::default(), &set, &settings)?;
    let figures = figures(&matcher, &set)?;
    let mut facts = vec![("command", launch::command_line())];
    for (name, r) in [("known", &figures.known), ("variants", &figures.variants), ("unknown", &figures.unknown)] {
        facts.push((name, r.as_ref().map_or("none".into(), |r| r.json().to_string())));
    }
    matcher.save(&a.out, &facts)?;
    let told = |r: &Option<Retrieval>| r.as_ref().map_or("none".into(), ToString::to_string);
    say!("pictures of training, changed anew: {}", told(&figures.known));
    say!("variants of known subjects that were held out: {}", told(&figures.variants));
    say!("subjects that were held out: {}", told(&figures.unknown));
    Ok(())
}

/// How well a matcher finds captions; none where there are no such pictures.
#[derive(Clone, Debug)]
pub struct MatcherFigures {
    /// Pictures of training, changed in ways that training did not show.
    pub known: Option<Retrieval>,
    /// Variants of known subjects that were held out, as they are: those of other skin tones.
    pub variants: Option<Retrieval>,
    /// Subjects that were held out, among each other's captions.
    pub unknown: Option<Retrieval>,
}

/// Asks a matcher for captions among [`AMONG`], without skin tones.
///
/// # Errors
/// If the set is not of the matcher's size.
pub fn figures<D: Kit>(matcher: &TrainedMatcher<D>, set: &Captioned) -> Result<MatcherFigures> {
    if set.side != matcher.side() {
        return Err(Error::Usage(format!(
            "the matcher judges {0}x{0}, the pictures are {1}x{1}",
            matcher.side(),
            set.side
        )));
    }
    let (count, seed) = matcher.held_out;
    let parts = Parts::new(set, count, seed);
    let first: Vec<u32> = parts.train.values().map(|p| p[0]).collect();
    let picture = |i: &u32| &set.pictures[*i as usize];
    let name = |i: &u32| captions::subject(picture(i));
    let known: Vec<String> = first.iter().map(name).collect();
    let captions = matcher.captions(&known);
    let own = |pictures: &[u32]| -> Vec<usize> {
        let place = |i: &u32| first.iter().position(|f| picture(f).subject == picture(i).subject);
        pictures.iter().filter_map(place).collect()
    };
    let changed: Vec<&Picture> = first.iter().map(picture).collect();
    let ask = |pictures: &[f32], captions: &[f32], own: &[usize]| {
        (own.len() > 1).then(|| retrieval(pictures, captions, own, WIDTH, AMONG, seed))
    };
    let plain = |pictures: &[u32]| {
        matcher.pictures(&pictures.iter().flat_map(|i| picture(i).pixels.iter().copied()).collect::<Vec<u8>>())
    };
    // One picture a subject, and the captions of all of them: so there are fewer than 100 where few are held out.
    let mut unknown = parts.unknown.clone();
    unknown.sort_by_key(|i| picture(i).subject);
    unknown.dedup_by_key(|i| picture(i).subject);
    let unknown_captions = matcher.captions(&unknown.iter().map(name).collect::<Vec<_>>());
    Ok(MatcherFigures {
        known: ask(&matcher.changed(&changed, seed ^ 1), &captions, &own(&first)),
        variants: ask(&plain(&parts.variants), &captions, &own(&parts.variants)),
        unknown: ask(&plain(&unknown), &unknown_captions, &(0..unknown.len()).collect::<Vec<_>>()),
    })
}
