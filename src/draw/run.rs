//! One call of the program, from its arguments to its files.

use crate::cli::Cli;
use crate::draw::artist::{Artist, Drawing};
use crate::draw::diffusion::PixelArtist;
use crate::draw::latent::Latent;
use crate::draw::numbers;
use crate::draw::progress::tell;
use crate::draw::text_to_image::PromptArtist;
use crate::fault::Fault;
use crate::file::canvas::Canvas;
use crate::file::grid::{Grid, Size};
use crate::file::picture::png;
use crate::file::source::{Conversion, Role, Source};
use crate::file::target::{Target, writable};
use nijimi_runtime::gguf::write_atomic;
use nijimi_runtime::model::ModelKind;
use nijimi_runtime::quant::DType;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Instant;

/// Where pictures go if nothing is said.
const OUTPUT: &str = "output.png";

/// Draws what the command line asks for.
pub fn run(cli: &Cli) -> Result<(), Fault> {
    let started = Instant::now();
    let how = Conversion { dtype: cli.kind.unwrap_or(DType::F16), tokenizer: cli.tokenizer.as_deref() };
    let source = Source::open_or_convert(cli.model.as_deref(), Role::Model, how)?;
    let nothing = |what: &str, instead: &str| {
        Err(Fault::Input(format!("{} is {what}, which draws nothing by itself: give it {instead}", source.name)))
    };
    match ModelKind::of(&source.file()?).map_err(|e| source.wrong(e))? {
        ModelKind::Vae => pictures(cli, || Latent::vae(&source, cli, started)),
        ModelKind::Hvae => pictures(cli, || Latent::hvae(&source, cli, started)),
        ModelKind::TextToImage => pictures(cli, || PromptArtist::load(&source, cli, started)),
        ModelKind::Diffusion => pictures(cli, || PixelArtist::load(&source, cli, started)),
        ModelKind::Numbers => numbers::run(&source, cli, cli.seed.unwrap_or_else(random_seed)),
        ModelKind::Classifier => nothing("a classifier", "to a diffusion model with --classifier"),
        ModelKind::ControlNet => nothing("a ControlNet", "to a text-to-image model with --control-net"),
        ModelKind::TinyAutoencoder => nothing("a tiny autoencoder", "to a text-to-image model with --taesd"),
        ModelKind::Autoencoder => nothing("an autoencoder", "to nijimi-train text2image with --autoencoder FILE"),
        other => nothing(&format!("of a kind ({other:?})"), "to another program"),
    }
}

/// Draws pictures with the model that `load` gives.
fn pictures<A: Artist>(cli: &Cli, load: impl FnOnce() -> Result<A, Fault>) -> Result<(), Fault> {
    let target = Target::parse(cli.output.as_deref().unwrap_or(OUTPUT))?;
    target.check()?;
    for path in [&cli.preview, &cli.save_latents].into_iter().flatten() {
        writable(path)?;
    }
    let model = load()?;
    let drawing = model.drawing(cli, cli.seed.unwrap_or_else(random_seed))?;
    let mut sheet = Sheet::new(&target, &drawing, model.size(), cli)?;
    if cli.verbose {
        model.describe(cli);
    }
    // Before the work: a picture that was never finished can still be drawn again.
    match drawing.parameters.batch {
        1 => tell(&[format!("seed {}", drawing.seed(0))]),
        batch => tell(&[format!("seeds {} to {}", drawing.seed(0), drawing.seed(batch - 1))]),
    }
    model.draw(&drawing, cli, &mut |index, picture| sheet.place(index, picture))?;
    sheet.finish()
}

/// Short enough to be typed again.
fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish() >> 32
}

/// Where pictures are placed, and what becomes of them.
struct Sheet<'a> {
    target: &'a Target,
    drawing: &'a Drawing,
    width: usize,
    kind: Kind,
}

enum Kind {
    /// Each picture has its own canvas and file.
    Each {
        blank: Canvas,
        scale: usize,
    },
    Grid(Grid),
}

impl<'a> Sheet<'a> {
    fn new(target: &'a Target, drawing: &'a Drawing, size: Size, cli: &Cli) -> Result<Self, Fault> {
        let (width, height, channels) = size;
        let each = matches!(target, Target::Numbered(..)) || drawing.pictures() == 1;
        let kind = if each {
            let scale = cli.scale.unwrap_or(1);
            Kind::Each { blank: Canvas::new(width * scale, height * scale, channels), scale }
        } else {
            Kind::Grid(Grid::new(&drawing.words, cli.batch, size, cli.scale.unwrap_or(2))?)
        };
        Ok(Self { target, drawing, width, kind })
    }

    fn place(&mut self, index: usize, picture: &[u8]) -> Result<(), Fault> {
        match &mut self.kind {
            Kind::Grid(grid) => {
                grid.place(index, picture);
                Ok(())
            }
            Kind::Each { blank, scale } => {
                blank.put(0, 0, picture, self.width, *scale);
                let bytes = png(blank, self.drawing.alone(index).text())?;
                write(self.target, index, &bytes)
            }
        }
    }

    fn finish(self) -> Result<(), Fault> {
        if let Kind::Grid(grid) = self.kind {
            write(self.target, 0, &png(&grid.finish(), self.drawing.parameters.text())?)?;
        }
        let first = self.target.path(0);
        match (self.target, self.drawing.pictures()) {
            (Target::Numbered(..), 2..) => {
                let last = self.target.path(self.drawing.pictures() - 1);
                tell(&[format!("wrote {} to {}", first.display(), last.display())]);
            }
            _ => tell(&[format!("wrote {}", first.display())]),
        }
        Ok(())
    }
}

/// The file appears whole or not at all.
fn write(target: &Target, index: usize, bytes: &[u8]) -> Result<(), Fault> {
    write_atomic(target.path(index), bytes).map_err(|e| Fault::Input(format!("{e}: choose another place with -o")))
}
