//! One call of the program, from its arguments to its files.

use crate::cli::Draw;
use crate::draw::artist::{Artist, Drawing};
use crate::draw::diffusion::PixelArtist;
use crate::draw::latent::Latent;
use crate::draw::listed;
use crate::draw::numbers;
use crate::draw::text_to_image::{PromptArtist, hires};
use crate::fault::Fault;
use crate::file::canvas::Canvas;
use crate::file::grid::{Grid, Size};
use crate::file::source::{Conversion, Role, Source};
use crate::file::target::Target;
use nijimi_cli::print::tell;
use nijimi_cli::target::{self, Named};
use nijimi_import::is_checkpoint;
use nijimi_pictures::Parameters;
use nijimi_runtime::gguf::write_atomic;
use nijimi_runtime::model::{ModelKind, is_of_one_color, random_seed};
use nijimi_runtime::quant::DType;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Where pictures go if nothing is said.
const OUTPUT: &str = "output.png";

/// Draws what the command line asks for.
pub fn run(mut asked: Draw) -> Result<(), Fault> {
    let started = Instant::now();
    if asked.subject.prompt == "-" {
        asked.subject.prompt = listed::read(std::io::stdin().lock())?;
        asked.subject.listed = true;
    }
    let asked = &asked;
    let Draw { model, subject, sampling, text, machine, output } = asked;
    let dtype = text.dtype.unwrap_or(DType::F16);
    let how = Conversion {
        dtype,
        parts: &text.parts,
        tokenizer: text.tokenizer.as_deref(),
        prediction_type: text.prediction_type.as_deref(),
        variant: text.variant.as_deref(),
        header: false,
    };
    let source = Source::open_or_convert(model.as_deref(), Role::Model, how)?;
    let one_step = |what: &str| {
        sampling.refuse(&format!("{what} in one step"))?;
        text.refuse(false)
    };
    let nothing = |what: &str, instead: &str| {
        Err(Fault::Input(format!("{} is {what}, which draws nothing by itself: give it {instead}", source.name)))
    };
    match ModelKind::of(&source.file()?).map_err(|e| source.wrong(e))? {
        ModelKind::Vae => {
            one_step("an autoencoder draws")?;
            pictures(asked, || Latent::vae(&source, machine, started))
        }
        ModelKind::Hvae => {
            one_step("an autoencoder draws")?;
            pictures(asked, || Latent::hvae(&source, machine, started))
        }
        ModelKind::TextToImage => {
            pictures(asked, || PromptArtist::load(&source, subject, sampling, text, machine, started))
        }
        ModelKind::Diffusion => {
            text.refuse(model.as_deref().is_some_and(is_checkpoint))?;
            pictures(asked, || PixelArtist::load(&source, sampling, machine, started))
        }
        ModelKind::Numbers => {
            one_step("numbers are drawn")?;
            let file = output.file.as_ref().map(|file| ("-o", Path::new(file)));
            target::check(&file.into_iter().collect::<Vec<_>>(), &inputs(asked), |_| true)?;
            numbers::run(&source, subject, output, subject.seed.unwrap_or_else(random_seed))
        }
        ModelKind::Classifier => nothing("a classifier", "to a diffusion model with --classifier"),
        ModelKind::ControlNet => nothing("a ControlNet", "to a text-to-image model with --control-net"),
        ModelKind::IpAdapter => nothing("an IP-Adapter", "to a text-to-image model with --ip-adapter"),
        ModelKind::ImageEncoder => nothing("an image encoder", "to an IP-Adapter with --clip-vision"),
        ModelKind::TinyAutoencoder => nothing("a tiny autoencoder", "to a text-to-image model with --taesd"),
        ModelKind::Upscaler => nothing("an upscaler", "to nijimi upscale PICTURE"),
        ModelKind::Autoencoder => nothing("an autoencoder", "to nijimi-train text2image with --autoencoder FILE"),
        other => nothing(&format!("of a kind ({other:?})"), "to another program"),
    }
}

/// Draws pictures with the model that `load` gives.
fn pictures<A: Artist>(asked: &Draw, load: impl FnOnce() -> Result<A, Fault>) -> Result<(), Fault> {
    let target = Target::parse(asked.output.file.as_deref().unwrap_or(OUTPUT))?;
    let check = |pictures: usize| {
        let paths: Vec<PathBuf> = target.paths(pictures).collect();
        let beside = [("--preview", &asked.text.preview), ("--save-latents", &asked.text.save_latents)];
        let beside = beside.into_iter().filter_map(|(option, path)| Some((option, path.as_deref()?)));
        let outputs: Vec<Named<'_>> = beside.chain(paths.iter().map(|path| ("-o", &**path))).collect();
        target::check(&outputs, &inputs(asked), |_| true)
    };
    // What can be known is said before a model is loaded.
    check(1)?;
    if let Some(path) = asked.text.preview.as_deref().filter(|path| path.exists() && !path.is_file()) {
        return Err(Fault::Input(format!("--preview {}: it is rewritten, so it must be a file", path.display())));
    }
    let model = load()?;
    let mut drawing = model.drawing(&asked.subject, asked.subject.seed.unwrap_or_else(random_seed))?;
    // One file has been looked at.
    if matches!(target, Target::Numbered(..)) {
        check(drawing.pictures())?;
    }
    let each = matches!(target, Target::Numbered(..)) || drawing.pictures() == 1;
    drawing.parameters.scale = asked.output.scale;
    let mut sheet = Sheet::new(&target, &drawing, model.size(), each)?;
    if asked.machine.verbose {
        model.describe();
    }
    // Before the work: a picture that was never finished can still be drawn again.
    match drawing.parameters.batch {
        1 => tell(&[format!("seed {}", drawing.seed(0))]),
        batch => tell(&[format!("seeds {} to {}", drawing.seed(0), drawing.seed(batch - 1))]),
    }
    let mut constant = None;
    model.draw(&drawing, &mut |index, picture| {
        if constant.is_none() && is_of_one_color(picture, model.size().2) {
            model.check_constant().map_err(|e| Fault::Input(format!("the picture is of one color: {e}")))?;
            constant = Some(index + 1);
        }
        sheet.place(index, picture)
    })?;
    // Not before: the status line stands until then.
    if let Some(n) = constant {
        tell(&[format!("warning: picture {n} is of one color, which few models mean")]);
    }
    sheet.finish()
}

/// The files that are read.
fn inputs(asked: &Draw) -> Vec<Named<'_>> {
    let Draw { model, sampling, text, .. } = asked;
    let one = [
        ("-m", model),
        ("--classifier", &sampling.classifier),
        ("-i", &text.init_img),
        ("--mask", &text.mask),
        ("--depth-image", &text.depth_image),
        ("--taesd", &text.taesd),
        ("--refiner", &text.refiner),
        ("--tokenizer", &text.tokenizer),
    ];
    let one = one.into_iter().filter_map(|(option, path)| Some((option, path.as_deref()?)));
    let upscaler = hires::upscaler(text.hires_upscaler.as_ref()).map(|path| ("--hires-upscaler", path));
    let one = one.chain(upscaler);
    let parts = text.parts.iter().map(|(part, path)| (part.option(), &**path));
    let loras = text.lora.iter().map(|lora| ("--lora", &*lora.path));
    let embeddings = text.embedding.iter().map(|embedding| ("--embedding", &*embedding.path));
    let controls = text.controls.iter();
    let controls = controls.flat_map(|c| [("--control-net", &*c.network), ("--control-image", &*c.image)]);
    let led = text.image_prompt.iter().flat_map(|led| {
        let images = led.images.iter().map(|image| ("--ip-adapter-image", &**image));
        [("--ip-adapter", &*led.adapter), ("--clip-vision", &*led.encoder)].into_iter().chain(images)
    });
    one.chain(parts)
        .chain(loras)
        .chain(embeddings)
        .chain(controls)
        .chain(led)
        .chain(text.latents.iter().map(|latents| ("--latents", &*latents.path)))
        .collect()
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
    fn new(target: &'a Target, drawing: &'a Drawing, size: Size, each: bool) -> Result<Self, Fault> {
        let ((width, height, channels), Parameters { scale, batch, .. }) = (size, &drawing.parameters);
        let (scale, batch) = (scale.unwrap_or(if each { 1 } else { 2 }), *batch);
        let kind = if each {
            Kind::Each { blank: Canvas::new(width * scale, height * scale, channels), scale }
        } else {
            Kind::Grid(Grid::new(&drawing.words, batch, size, scale)?)
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
                let bytes = blank.png(self.drawing.alone(index).text())?;
                write(self.target, index, &bytes)
            }
        }
    }

    fn finish(self) -> Result<(), Fault> {
        if let Kind::Grid(grid) = self.kind {
            write(self.target, 0, &grid.finish().png(self.drawing.parameters.text())?)?;
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
    write_atomic(target.path(index), bytes).map_err(|e| Fault::Input(format!("{e}: write to another place with -o")))
}
