//! What every model of pictures does, whatever its network.

use crate::cli::Subject;
use crate::fault::Fault;
use crate::file::grid::Size;
use nijimi_cli::print::tell;
use nijimi_pictures::Parameters;
use nijimi_runtime::error::{self, Error};
use nijimi_runtime::gguf;
use nijimi_runtime::model::RequestError;
use nijimi_runtime::raw::plan::ExecError;
use nijimi_runtime::sampler::Calls;
use std::ops::Range;
use std::time::Duration;

/// Pictures drawn at a time: more would need more memory and be no faster.
const WORKING_SET: usize = 32;

/// Takes a picture with its number: `(h, w, c)` bytes.
pub type Done<'a> = &'a mut dyn FnMut(usize, &[u8]) -> Result<(), Fault>;

/// A model, ready to draw.
pub trait Artist {
    /// Width, height and channels of its pictures.
    fn size(&self) -> Size;

    /// Works out what is asked of this model.
    fn drawing(&self, subject: &Subject, seed: u64) -> Result<Drawing, Fault>;

    /// Draws, and hands each picture to `done` with its number, counted word by word. Memory, latents aside, does
    /// not depend on the number of pictures.
    fn draw(&self, drawing: &Drawing, done: Done<'_>) -> Result<(), Fault>;

    /// That no operation of its networks makes the same number of everything: asked when a picture is of one color.
    fn check_constant(&self) -> Result<(), Error>;

    /// Writes what `-v` shows before anything is drawn.
    fn describe(&self);
}

/// What to draw, and how.
pub struct Drawing {
    /// One a word; a single `None` for any.
    pub labels: Vec<Option<u32>>,
    /// Their names; none for any, and of models that read prompts.
    pub words: Vec<String>,
    /// The way from noise to picture, where it has steps.
    pub calls: Option<Calls>,
    /// The first picture's.
    pub parameters: Parameters,
}

impl Drawing {
    /// How many, of all words.
    pub fn pictures(&self) -> usize {
        self.labels.len() * self.parameters.batch
    }

    /// The seed of picture `index`: each word has the same seeds, so that a column of a grid can be compared.
    pub fn seed(&self, index: usize) -> u64 {
        self.parameters.seed.wrapping_add((index % self.parameters.batch) as u64)
    }

    /// Picture `index` alone.
    pub fn alone(&self, index: usize) -> Parameters {
        let word = self.words.get(index / self.parameters.batch);
        let prompt = word.unwrap_or(&self.parameters.prompt).clone();
        Parameters { prompt, seed: self.seed(index), batch: 1, ..self.parameters.clone() }
    }

    /// How many pictures a session makes at a time: rounds of equal size, since its time is that of its full batch.
    pub fn round(&self) -> usize {
        self.pictures().div_ceil(self.rounds())
    }

    /// How often it does so.
    pub fn rounds(&self) -> usize {
        self.pictures().div_ceil(WORKING_SET)
    }

    /// Each round's pictures, with their labels and seeds.
    pub fn each_round(&self) -> impl Iterator<Item = Round> {
        let (total, at_a_time) = (self.pictures(), self.round());
        (0..total).step_by(at_a_time).map(move |first| {
            let pictures = first..total.min(first + at_a_time);
            let labels = pictures.clone().map(|i| self.labels[i / self.parameters.batch]).collect();
            let seeds = pictures.clone().map(|i| self.seed(i)).collect();
            Round { pictures, labels, seeds }
        })
    }
}

/// Pictures that are drawn together.
pub struct Round {
    /// Their numbers.
    pub pictures: Range<usize>,
    /// What each shall show.
    pub labels: Vec<Option<u32>>,
    /// One each.
    pub seeds: Vec<u64>,
}

/// The lines of `-v` that tell of a model: what it is called, where it is from, its license, its pictures' size.
pub fn describe(name: &str, source: &str, license: &str, size: Size, more: &str, weight_bytes: usize) {
    let license = if license.is_empty() { "no license stated" } else { license };
    let (version, (width, height, channels)) = (env!("CARGO_PKG_VERSION"), size);
    tell(&[
        format!("version {version}, GGUF version {}", gguf::VERSION),
        format!("model: {name} from {source}, {license}"),
        format!("pictures: {width}x{height}x{channels}{more}"),
        format!("weights: {weight_bytes} bytes"),
    ]);
}

/// A time, as `-v` writes it.
pub fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// The fault of a model that cannot draw.
pub fn failed(e: Error) -> Fault {
    match e.fault() {
        error::Fault::Request => Fault::Usage(e.to_string()),
        error::Fault::Input => match e {
            // Numbers that are none come from damaged weights, or from guidance that is too strong.
            Error::Request(RequestError::NotFinite { .. }) => {
                Fault::Input(format!("{e}: the weights are damaged, or --cfg-scale is too large"))
            }
            Error::Exec(ExecError::NotFinite { .. }) | Error::ToU8(_) => {
                Fault::Input(format!("{e}: the model's weights are damaged"))
            }
            e => Fault::Input(e.to_string()),
        },
        error::Fault::Device => Fault::Device(e.to_string()),
        error::Fault::Internal => Fault::Internal(e.to_string()),
    }
}
