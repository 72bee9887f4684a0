//! `--refiner`: SDXL's second model, which takes the last steps on the latents as the first one left them.

use super::{PromptArtist, Saved, asked};
use crate::draw::artist::{Drawing, failed};
use crate::draw::progress::Progress;
use crate::fault::Fault;
use crate::file::source::{Conversion, Role, Source};
use nijimi_import::is_checkpoint;
use nijimi_runtime::model::{
    Choice, Device, EncodedInit, EncodedPrompts, LatentInfo, LatentRequest, ModelPart, OpenOptions, TextToImage,
};
use nijimi_runtime::quant::DType;
use nijimi_runtime::sampler::{Calls, SolverSettings};
use nijimi_runtime::schedule::Schedule;
use std::path::Path;

/// Where the refiner goes on if nothing is said, as in diffusers' documentation.
pub const START: f64 = 0.8;

/// The refiner's file.
pub struct RefinerFile {
    pub source: Source,
    pub info: LatentInfo,
}

impl RefinerFile {
    /// Opens it, and looks whether it goes on with what the model of `info` draws; of a checkpoint perhaps the header alone.
    pub fn open(
        path: &Path,
        info: &LatentInfo,
        dtype: DType,
        tokenizer: Option<&Path>,
        header: bool,
    ) -> Result<Self, Fault> {
        // A weight file and a folder have vocabularies.
        let tokenizer = tokenizer.filter(|_| !path.is_dir() && is_checkpoint(path));
        let how = Conversion { dtype, tokenizer, header, ..Conversion::default() };
        let source = Source::open_or_convert(Some(path), Role::Refiner, how)?;
        let own = LatentInfo::read(&source.file()?).map_err(|e| source.wrong(e))?;
        info.check_refiner(&own).map_err(|e| Fault::Input(format!("--refiner {}: {e}", source.name)))?;
        Ok(Self { source, info: own })
    }
}

/// The second model, ready to draw.
pub struct Refiner {
    model: TextToImage,
    pub calls: Calls,
}

impl Refiner {
    /// Opens it on that device, for these calls, in that way.
    pub fn new(file: &RefinerFile, device: &Device, calls: Calls, choice: Choice) -> Result<Self, Fault> {
        let options = OpenOptions { device: device.clone(), ..OpenOptions::default() };
        let wrong = |e| file.source.wrong(e);
        let mut model = TextToImage::open(file.source.stored(), options).map_err(wrong)?;
        if let Some(held) = choice.held {
            model = model.streamed(held).map_err(wrong)?;
        }
        Ok(Self { model, calls })
    }
}

/// The calls of the first model, of `all` that it would make, and those of the refiner, which goes on at `start`; `of` has the
/// schedule and the settings of such a run of each.
pub fn split(
    [info, refiner]: [&LatentInfo; 2],
    start: f64,
    of: impl Fn(&LatentInfo) -> Result<(Schedule, SolverSettings), Fault>,
    all: Calls,
) -> Result<(Calls, Calls), Fault> {
    let ways = [of(info)?, of(refiner)?];
    info.refined(all, refiner, start, ways).map_err(|e| Fault::Usage(format!("--refiner-start: {e}")))
}

impl PromptArtist<'_> {
    /// Draws all pictures with the first model, then with the refiner, so that one U-Net is in memory at a time; their latents.
    /// `prompts` are as the first model reads them.
    pub(super) fn refined(
        &self,
        refiner: &Refiner,
        drawing: &Drawing,
        (prompts, init): (&[EncodedPrompts], Option<&EncodedInit>),
        progress: &mut Progress,
    ) -> Result<Vec<Vec<f32>>, Fault> {
        let (total, batch, first) = (drawing.pictures(), drawing.parameters.batch, &self.parts.on.model);
        let read = |prompt: &str| refiner.model.encode_prompts(&self.refining(refiner, prompt, 0, 0)).map_err(asked);
        let refined = match &drawing.words[..] {
            [] => vec![read(&drawing.parameters.prompt)?],
            words => words.iter().map(|word| read(word)).collect::<Result<_, _>>()?,
        };
        let (network, mut saved) = ([ModelPart::UNet], Saved::default());
        let mut session = first.hold(&network).map_err(failed)?.session();
        let mut begun = Vec::new();
        for index in 0..total {
            let request = LatentRequest {
                encoded_prompts: Some(&prompts[index / batch]),
                encoded_init: init,
                ..self.request("", index, drawing.seed(index))
            };
            let mut run = session.run(&request).map_err(asked)?;
            self.steps(drawing, &mut run, progress, &mut saved)?;
            let next = self.refining(refiner, "", index, drawing.seed(index));
            let init = refiner.model.refine(&mut run, &request, first.info(), &next);
            begun.push(init.map_err(|e| self.lost(drawing, e))?);
        }
        drop(session);
        let mut session = refiner.model.hold(&network).map_err(failed)?.session();
        let mut drawn = Vec::new();
        for (index, init) in begun.iter().enumerate() {
            let request = LatentRequest {
                encoded_prompts: Some(&refined[index / batch]),
                encoded_init: Some(init),
                ..self.refining(refiner, "", index, drawing.seed(index))
            };
            let mut run = session.run(&request).map_err(asked)?;
            self.steps(drawing, &mut run, progress, &mut saved)?;
            drawn.push(run.sample().map_err(|e| self.lost(drawing, e))?.to_vec());
        }
        Ok(drawn)
    }

    /// What the refiner is asked for: what the first model is, but for what leads that one alone.
    fn refining<'r>(&'r self, refiner: &'r Refiner, prompt: &'r str, index: usize, seed: u64) -> LatentRequest<'r> {
        LatentRequest {
            calls: &refiner.calls,
            latents: None,
            init_image: None,
            controls: Vec::new(),
            image_prompt: None,
            ..self.request(prompt, index, seed)
        }
    }
}
