//! `nijimi-train evaluate`: judging a text-to-image model.
pub mod draw;
pub mod figures;
pub mod likeness;
pub mod prompts;

use super::frechet::{Gaussian, frechet_distance};
use super::neighbour::{Distribution, nearest};
use super::psnr::Psnr;
use crate::checkpoint::write_atomic;
use crate::data::captioned::{Captioned, Captions, Picture};
use crate::data::captions;
use crate::error::{Error, Result};
use crate::launch;
use crate::plot::{Figure, Pictures};
use crate::say::{self, say, tell};
use crate::systems::matcher::command::{AMONG, figures as matcher_figures};
use crate::systems::matcher::retrieval::retrieval;
use crate::systems::matcher::{Parts, TrainedMatcher, WIDTH};
use crate::target;
use argh::{ArgsInfo, FromArgs};
use dfdx::prelude::Cpu;
use draw::{Artist, Drawing, bytes};
use figures::{Figures, Matched};
use likeness::{Likeness, subjects_named};
use nijimi_cli::number;
use nijimi_runtime::raw::rng::Stream;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Judge a text-to-image model: whether its pictures are nearest to the set's of what was asked for, in the captions' words and in
/// others; whether a matcher finds their captions, Frechet distance; what quantization costs; and pictures to look at.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "evaluate")]
pub struct EvaluateArgs {
    /// the weight file to judge
    #[argh(positional)]
    model: PathBuf,
    /// folder with the pictures and captions that model and matcher were trained on
    #[argh(option)]
    data: PathBuf,
    /// a matcher's weights, from `nijimi-train matcher`, to judge by too
    #[argh(option)]
    matcher: Option<PathBuf>,
    /// folder for the figures and pictures
    #[argh(option)]
    report: PathBuf,
    /// another weight file of the same model, compared at the same seeds (may be given more than once)
    #[argh(option)]
    against: Vec<PathBuf>,
    /// captions, each of another subject that the matcher knows (default 300)
    #[argh(option, from_str_fn(number::count), default = "300")]
    captions: usize,
    /// pictures of each caption (default 4)
    #[argh(option, from_str_fn(number::count), default = "4")]
    seeds: usize,
    /// pictures compared with each file of --against (default 64)
    #[argh(option, from_str_fn(number::or_none))]
    compare: Option<usize>,
    /// first seed of a caption's pictures, and what keys the choice of captions (default 0)
    #[argh(option, short = 's', default = "0")]
    seed: u64,
    /// sampler steps (default: the file's own, or 20)
    #[argh(option, from_str_fn(number::count))]
    steps: Option<usize>,
    /// strength of guidance (default: the file's own, or 7)
    #[argh(option, from_str_fn(number::finite))]
    cfg_scale: Option<f32>,
    /// the solver (default: the file's own)
    #[argh(option)]
    sampling_method: Option<String>,
    /// pictures drawn at once (default 16)
    #[argh(option, from_str_fn(number::count), short = 'b', default = "16")]
    batch: usize,
    /// threads (default: all cores)
    #[argh(option, from_str_fn(number::threads), short = 't')]
    threads: Option<usize>,
}

/// Pictures compared with each file of --against.
const COMPARED: usize = 64;

/// Samples whose nearest picture of the set is shown.
const NEIGHBOURS: usize = 32;

/// Runs the command; the figures go to stdout and into the report.
///
/// # Errors
/// Files that are missing, damaged or do not belong together, and settings that make no sense.
pub fn run(a: &EvaluateArgs) -> Result<()> {
    if a.captions < 2 || a.captions.saturating_mul(a.seeds) > 1 << 20 {
        return Err(Error::Usage("--captions must be at least 2, and with --seeds together below 2^20".into()));
    }
    launch::threads(a.threads)?;
    let how = Drawing {
        method: a.sampling_method.clone(),
        steps: a.steps,
        guidance_scale: a.cfg_scale,
        batch: a.batch,
        threads: a.threads.unwrap_or(0),
    };
    target::prove_folder(&a.report, &[], &[("--data", &a.data)])?;
    launch::obeyed(&[("--compare", "no --against", a.against.is_empty() && a.compare.is_some())])?;
    // Opened first, so that a wrong file is found before minutes are spent.
    let artist = Artist::open(&a.model, &how)?;
    let others = a.against.iter().map(|path| Artist::open(path, &how)).collect::<Result<Vec<_>>>()?;
    if let Some(other) = others.iter().find(|o| o.side != artist.side) {
        let what = format!("draws {0}x{0}, the model {1}x{1}: not of one model", other.side, artist.side);
        return Err(Error::data(&other.path, what));
    }
    let matcher = a.matcher.as_ref().map(|path| matcher(path, artist.side)).transpose()?;
    let set = Captioned::load_telling(&a.data, artist.side, Captions::Needed)?;
    let parts = matcher.as_ref().map(|m| Parts::new(&set, m.held_out.0, m.held_out.1));
    let known = subjects(&set, parts.as_ref());
    if known.len() < 2 {
        return Err(Error::data(&a.data, "fewer than two subjects have captions: there is nothing to tell apart"));
    }
    std::fs::create_dir_all(&a.report).map_err(Error::io(&a.report))?;
    let figures = Bench { a, artist: &artist, matcher: matcher.as_ref(), set: &set, known: &known }.run(&others)?;
    say::out(format_args!("{}", figures.table()));
    say!("pictures are in {}", a.report.display());
    write_atomic(&a.report.join("figures.json"), format!("{:#}\n", figures.json()).as_bytes())
}

/// A matcher of pictures of a size.
fn matcher(path: &Path, side: usize) -> Result<TrainedMatcher<Cpu>> {
    let matcher = TrainedMatcher::load(Cpu::default(), path)?;
    if matcher.side() != side {
        let what = format!("judges {0}x{0}, the model draws {side}x{side}: train one of that --size", matcher.side());
        return Err(Error::data(path, what));
    }
    Ok(matcher)
}

/// A picture of each subject, of those that a matcher knows where there is one: that of the shortest caption, which tells no skin tone where there is
/// such a one. All of them had a part in the matcher's training, but for those that stood for variants there.
fn subjects<'a>(set: &'a Captioned, parts: Option<&Parts>) -> Vec<&'a Picture> {
    let known = |p: &Picture| parts.is_none_or(|parts| parts.train.contains_key(&p.subject));
    let named = set.pictures.iter().filter(|p| !p.name.is_empty() && known(p));
    let mut of = std::collections::BTreeMap::<u32, &Picture>::new();
    for picture in named {
        let best = of.entry(picture.subject).or_insert(picture);
        if picture.name.len() < best.name.len() {
            *best = picture;
        }
    }
    of.into_values().collect()
}

struct Bench<'a> {
    a: &'a EvaluateArgs,
    artist: &'a Artist,
    matcher: Option<&'a TrainedMatcher<Cpu>>,
    set: &'a Captioned,
    known: &'a [&'a Picture],
}

impl Bench<'_> {
    fn run(&self, others: &[Artist]) -> Result<Figures> {
        let (a, artist) = (self.a, self.artist);
        let size = artist.side * artist.side * 3;
        self.look()?;

        let chosen = chosen(self.known.len(), a.captions, a.seed);
        let names: Vec<String> = self.known.iter().map(|p| captions::subject(p)).collect();
        let prompts: Vec<(&str, u64)> = (0..a.seeds as u64)
            .flat_map(|s| chosen.iter().map(move |c| (*c, a.seed.wrapping_add(s))))
            .map(|(c, seed)| (names[c].as_str(), seed))
            .collect();
        tell!("drawing {} pictures with {}", prompts.len(), artist.path.display());
        let (samples, seconds) = artist.draw(&prompts)?;
        let own: Vec<usize> = (0..a.seeds).flat_map(|_| chosen.iter().copied()).collect();

        let pixels: Vec<u8> = self.set.pictures.iter().flat_map(|p| p.pixels.iter().copied()).collect();
        let near = nearest(&samples, &pixels, size);
        let shown = NEIGHBOURS.min(prompts.len());
        let pairs = (0..shown).flat_map(|i| {
            let other = pixels[near[i].index * size..(near[i].index + 1) * size].iter().map(|b| f32::from(*b) / 255.0);
            samples[i * size..(i + 1) * size].iter().copied().chain(other)
        });
        let pairs = Pictures::new(artist.side, artist.side, 3, pairs.collect()).columns(8).zoom(2);
        pairs.save(&a.report.join("nearest.png"))?;
        let first = samples[..size * prompts.len().min(64)].to_vec();
        let labels = prompts.iter().take(64).map(|(prompt, _)| short(prompt, 18));
        let sheet = Pictures::new(artist.side, artist.side, 3, first).on_white().zoom(3).labels(labels);
        sheet.save(&a.report.join("samples.png"))?;

        let n = a.compare.unwrap_or(COMPARED).min(prompts.len());
        let against = others.iter().map(|other| {
            tell!("drawing {n} pictures with {}", other.path.display());
            let (drawn, seconds) = other.draw(&prompts[..n])?;
            let psnr = Psnr::of_pairs(&samples[..n * size], &drawn, size);
            Ok((other.path.display().to_string(), other.bytes, seconds / n.max(1) as f64, psnr))
        });
        let right: Vec<Vec<u32>> = own.iter().map(|i| vec![self.known[*i].subject]).collect();
        Ok(Figures {
            command: launch::command_line(),
            settings: json!({
                "data": a.data, "captions": chosen.len(), "seeds": a.seeds, "seed": a.seed, "steps": artist.steps,
                "sampling_method": artist.method, "guidance_scale": artist.guidance_scale,
                "known_subjects": self.known.len(),
            }),
            captions: chosen.len(),
            matched: self.matcher.map(|m| self.matched(m, &names, &chosen, (&samples, &own))).transpose()?,
            likeness: Likeness::of(&samples, &right, self.set),
            asked: self.asked()?,
            neighbours: Distribution::of(&near),
            model: (artist.path.display().to_string(), artist.bytes, seconds / prompts.len() as f64),
            against: against.collect::<Result<Vec<_>>>()?,
            compared: n,
        })
    }

    /// What a matcher says of samples, each of which shows one of the `known`.
    fn matched(
        &self,
        matcher: &TrainedMatcher<Cpu>,
        names: &[String],
        chosen: &[usize],
        (samples, own): (&[f32], &[usize]),
    ) -> Result<Matched> {
        let captions = matcher.captions(names);
        let features = matcher.pictures(&bytes(samples));
        let real = matcher.pictures(&self.known.iter().flat_map(|p| p.pixels.iter().copied()).collect::<Vec<u8>>());
        let row = |i: &usize| &real[i * WIDTH..(i + 1) * WIDTH];
        let chosen_real: Vec<f32> = chosen.iter().flat_map(row).copied().collect();
        let fit = |features: &[f32]| Gaussian::fit(features, WIDTH);
        let mut order: Vec<usize> = (0..self.known.len()).collect();
        Stream::new(self.a.seed, "halves of the real set", 0).shuffle(&mut order);
        let [left, right] = [0, 1].map(|half| {
            let rows = order.iter().skip(half).step_by(2).flat_map(row).copied();
            fit(&rows.collect::<Vec<f32>>())
        });
        let whole = fit(&real);
        let ask = |pictures: &[f32], own: &[usize]| retrieval(pictures, &captions, own, WIDTH, AMONG, self.a.seed);
        let file = self.a.matcher.as_ref().map_or_else(String::new, |path| path.display().to_string());
        Ok(Matched {
            matcher: (file, matcher_figures(matcher, self.set)?),
            real: ask(&chosen_real, chosen),
            samples: ask(&features, own),
            frechet: frechet_distance(&fit(&features), &whole),
            floor: frechet_distance(&left, &right),
            chosen: frechet_distance(&fit(&chosen_real), &whole),
        })
    }

    /// Prompts in other words than the captions', as far as the set has what they ask for.
    fn asked(&self) -> Result<Option<Likeness>> {
        let asked = prompts::ASKED.iter().map(|(prompt, names)| (*prompt, subjects_named(names, self.set)));
        let (prompts, right): (Vec<&str>, Vec<Vec<u32>>) = asked.filter(|(_, right)| !right.is_empty()).unzip();
        if prompts.is_empty() {
            return Ok(None);
        }
        let seeded: Vec<(&str, u64)> = prompts.iter().map(|p| (*p, self.a.seed)).collect();
        let (pictures, _) = self.artist.draw(&seeded)?;
        let side = self.artist.side;
        let sheet = Pictures::new(side, side, 3, pictures.clone()).on_white().zoom(3).labels(prompts.iter().copied());
        sheet.save(&self.a.report.join("other-words.png"))?;
        Ok(Some(Likeness::of(&pictures, &right, self.set)))
    }

    /// The grid of known subjects and the prompts of things that are not in the set, all at the first seed.
    fn look(&self) -> Result<()> {
        let side = self.artist.side;
        let draw = |prompts: &[&'static str]| {
            let seeded: Vec<(&str, u64)> = prompts.iter().map(|p| (*p, self.a.seed)).collect();
            self.artist.draw(&seeded).map(|(pictures, _)| pictures)
        };
        let grid = Pictures::new(side, side, 3, draw(&prompts::GRID)?).on_white();
        grid.clone().zoom(1).save(&self.a.report.join("grid.png"))?;
        grid.zoom(3).labels(prompts::GRID).save(&self.a.report.join("grid-labelled.png"))?;
        let novel = Pictures::new(side, side, 3, draw(&prompts::NOVEL)?).on_white().zoom(4).labels(prompts::NOVEL);
        novel.save(&self.a.report.join("novel.png"))
    }
}

/// `count` different numbers below `of`, keyed by `seed`: all of them if there are fewer.
fn chosen(of: usize, count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..of).collect();
    Stream::new(seed, "captions of an evaluation", 0).shuffle(&mut order);
    order.truncate(count);
    order
}

/// A text of at most so many characters.
fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.into();
    }
    text.chars().take(most - 2).chain("..".chars()).collect()
}

#[cfg(test)]
mod tests;
