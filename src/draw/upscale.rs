//! `nijimi upscale`: a picture of twice or four times the size.

use crate::cli::Upscale;
use crate::draw::artist::{failed, ms};
use crate::draw::backend;
use crate::draw::progress::StatusLine;
use crate::draw::text_to_image::planning;
use crate::fault::Fault;
use crate::file;
use crate::file::canvas::Canvas;
use crate::file::image_in;
use crate::file::source::{Conversion, Role, Source};
use crate::file::target::Target;
use nijimi_cli::print::tell;
use nijimi_cli::target;
use nijimi_pictures::{Facts, Infotext};
use nijimi_runtime::Error;
use nijimi_runtime::error::Fault as Whose;
use nijimi_runtime::gguf::write_atomic;
use nijimi_runtime::model::{Picture, SessionOptions, Upscaler};
use nijimi_runtime::quant::DType;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Instant;

/// Enlarges a picture, and writes it.
pub fn run(asked: &Upscale) -> Result<(), Fault> {
    let Target::One(output) = Target::parse(&asked.output)? else {
        return Err(Fault::Usage(format!("-o {}: one picture is written, so leave out %d", asked.output)));
    };
    target::check(&[("-o", &output)], &[("the picture", &*asked.picture), ("-m", &asked.model)], |_| true)?;
    // A size that is no number of pixels is refused before a model is loaded.
    image_in::size(&asked.picture, 1)?;
    let how = Conversion { dtype: asked.kind.unwrap_or(DType::F16), ..Conversion::default() };
    let source = Source::open_or_convert(Some(&asked.model), Role::Upscaler, how)?;
    let started = Instant::now();
    let file = source.file()?;
    let on = backend::load(asked.place(), false, |device| Upscaler::load(&file, device), |e| source.wrong(e))?;
    let upscaler = &on.model;
    if asked.verbose {
        on.describe(asked.threads);
        tell(&[format!("weights: {} bytes, loaded in {}", upscaler.weight_bytes(), ms(started.elapsed()))]);
    }
    let channels = upscaler.info().network.channels;
    if channels != 3 {
        let message = format!("it enlarges pictures of {channels} channels, and PNG and JPEG are read with 3");
        return Err(Fault::Input(format!("{}: {message}: take another upscaler", source.name)));
    }
    let (picture, size) = image_in::whole(&asked.picture)?;
    let mut request = upscaler.request(&picture, size);
    request.tile = asked.tile_size.unwrap_or(request.tile);
    let memory_limit = planning::allowed(asked.memory_limit, on.gpu());
    request.options = SessionOptions { threads: asked.threads, memory_limit, ..SessionOptions::default() };
    let mut run = upscaler.run(request).map_err(|e| refused(asked, e))?;
    if asked.verbose {
        tell(&[format!("memory: {} bytes, in {} tiles", run.bytes(), run.len())]);
    }
    let (mut line, total) = (StatusLine::new(), run.len());
    while let Some(tiles) = run.step().map_err(failed)? {
        line.show(|| format!("tile {tiles} of {total}, {:.0} s left", left(started, tiles, total)));
    }
    line.clear();
    let Picture { width, height, channels, bytes } = run.finish().map_err(failed)?;
    if asked.verbose {
        tell(&[format!("enlarged in {}", ms(started.elapsed()))]);
    }
    let text = text(&asked.picture, upscaler, &source.name, [height, width]);
    let png = Canvas { width, height, channels, pixels: bytes }.png(text)?;
    write_atomic(&output, &png).map_err(|e| Fault::Input(format!("{e}: write to another place with -o")))?;
    tell(&[format!("wrote {}, {width}x{height}", output.display())]);
    Ok(())
}

/// Seconds that are left, if the other tiles take as long.
fn left(started: Instant, tiles: usize, total: usize) -> f64 {
    started.elapsed().as_secs_f64() / tiles as f64 * (total - tiles) as f64
}

/// The fault of a picture that cannot be enlarged so.
fn refused(asked: &Upscale, e: Error) -> Fault {
    match (&e, e.fault()) {
        (Error::Request(_), Whose::Request) => Fault::Usage(format!("{}: {e} (--tile-size)", asked.picture.display())),
        (Error::Plan(_) | Error::Exec(_), Whose::Request | Whose::Device) => {
            Fault::Input(format!("{e}: give a smaller --tile-size"))
        }
        _ => failed(e),
    }
}

/// What the picture says of itself, if it does, and that it was enlarged, as the web UI says it.
fn text(picture: &Path, upscaler: &Upscaler, source: &str, [height, width]: [usize; 2]) -> String {
    let facts = File::open(picture).ok().and_then(|file| Facts::read(BufReader::new(file)).ok());
    let mut text = facts.and_then(|facts| facts.parameters).map(|text| Infotext::parse(&text)).unwrap_or_default();
    let name = &upscaler.info().name;
    let name = if name.is_empty() { file::name(Path::new(source)) } else { name.clone() };
    let mut put = |key: &str, value: String| text.pairs.push((key.into(), value));
    put("Postprocess upscale by", upscaler.factor().to_string());
    put("Postprocess upscaler", name);
    if text.pairs.len() < 3 {
        text.pairs.insert(0, ("Size".into(), format!("{width}x{height}")));
    }
    text.to_string()
}
