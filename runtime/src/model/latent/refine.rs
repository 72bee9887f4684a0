//! SDXL's refiner: a second model that takes the last steps of a run, on the latents as the first one left them (Podell et al.
//! 2023, section 2.5; diffusers' "ensemble of expert denoisers").

use super::TextToImage;
use super::encoded::{Continued, EncodedInit};
use super::info::LatentInfo;
use super::request::LatentRequest;
use crate::Error;
use crate::model::options::{check, in_range};
use crate::model::run::Run;
use crate::model::wait::wait;
use crate::model::{ModelError, RequestError};
use crate::nn::{Denoiser, SdAdded, SdUnet};
use crate::sampler::{Calls, SolverSettings, is_edm};
use crate::schedule::Schedule;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Original height and width, the crop's top and left, and the aesthetic score in place of SDXL's target size.
const REFINER_SIZES: usize = 5;
/// SDXL's sizes: height, width, top, left, target height, target width.
pub(super) const SIZES: usize = 6;

/// The scores that a refiner is told of what a picture shall show, and of what it shall not (diffusers'
/// `aesthetic_score` and `negative_aesthetic_score`).
const SCORE: f64 = 6.0;
const NEGATIVE_SCORE: f64 = 2.5;

impl LatentInfo {
    /// Whether it is SDXL's refiner, which is told how well a picture shall please and has one text encoder. It draws over
    /// pictures, and goes on where another model stops ([`TextToImage::refine`]).
    pub fn refines(&self) -> bool {
        let told = |added: SdAdded| added.code > 0 && self.pooled() + REFINER_SIZES * added.code == added.width;
        self.texts.len() == 1 && self.added().is_some_and(told)
    }

    /// SDXL's second condition.
    fn added(&self) -> Option<SdAdded> {
        self.denoiser.unet().and_then(|unet| unet.added)
    }

    /// Numbers of the texts' pooled states.
    pub(super) fn pooled(&self) -> usize {
        let pooled = self.texts.iter().filter(|text| text.states.pooled);
        pooled.map(|text| text.network.projection.unwrap_or(text.network.width)).sum()
    }

    /// That `refiner` can go on with what this model draws: it is SDXL's refiner, this is SDXL, and both have the same latents and
    /// noise.
    ///
    /// # Errors
    /// [`ModelError::Joint`], with what is the one's and the other's.
    pub fn check_refiner(&self, refiner: &Self) -> Result<(), Error> {
        let joint = |one: &'static str, found: String, other: &'static str, expected: String| match found == expected {
            true => Ok(()),
            false => Err(Error::from(ModelError::Joint { one, found, other, expected })),
        };
        let kind = |info: &Self| match info.added() {
            _ if info.refines() => "SDXL's refiner",
            Some(added) if added.code > 0 && info.texts.len() == 2 => "SDXL",
            _ => "another model",
        };
        joint("the refiner is", kind(refiner).into(), "what goes on where another stops is", "SDXL's refiner".into())?;
        joint("the model that is refined is", kind(self).into(), "what a refiner goes on with is", "SDXL".into())?;
        let latents = |info: &Self| {
            let (channels, factor) = (info.autoencoder.latent_channels(), info.factor());
            let normal = if info.statistics.is_some() { ", normalized" } else { "" };
            let (scale, shift) = (info.scaling_factor, info.shift_factor);
            format!("{channels} channels, {factor} times smaller, scaled by {scale} from {shift}{normal}")
        };
        joint("the model's latents have", latents(self), "the refiner's have", latents(refiner))?;
        let noise = |info: &Self| if is_edm(&info.scheduler) { "EDM's" } else { "of trained timesteps" };
        joint("the model's noise is", noise(self).into(), "the refiner's is", noise(refiner).into())
    }

    /// The calls of this model, of `all` that it would make alone, and those of the `refiner`, which goes on after the share `start`
    /// of the noise levels; `ways` are schedule and settings of such a run of each.
    ///
    /// # Errors
    /// [`RequestError::Range`] of `refiner_start` where one of them is left none; settings that do not fit each other.
    pub fn refined(
        &self,
        all: Calls,
        refiner: &Self,
        start: f64,
        [(schedule, own), (other, mut settings)]: [(Schedule, SolverSettings); 2],
    ) -> Result<(Calls, Calls), Error> {
        let steps = own.steps;
        let refuse = |which: &str| {
            let expected = format!("another: it leaves {which} none of {steps} steps");
            Error::from(RequestError::Range { what: "refiner_start", found: format!("{start}"), expected })
        };
        let first = all.clone().until(all.step_at(&schedule, start));
        if first.calls().is_empty() {
            return Err(refuse("the model"));
        }
        // What is said of the first model's file is not said of this one.
        settings.prediction = refiner.settings_by(None, None, steps)?.1.prediction;
        let calls = |start| Calls::new(&other, &SolverSettings { start, ..settings });
        match calls(0)?.step_at(&other, start) {
            0 => Err(refuse("the model")),
            step if step >= steps => Err(refuse("the refiner")),
            step => Ok((first, calls(step)?)),
        }
    }

    /// What the U-Net is told of a picture beside its pooled state: six numbers, and a refiner the first five.
    fn told(&self, [height, width]: [usize; 2], negative: bool) -> [f64; SIZES] {
        let [height, width] = [height as f64, width as f64];
        let last = match self.refines() {
            true if negative => NEGATIVE_SCORE,
            true => SCORE,
            false => height,
        };
        [height, width, 0.0, 0.0, last, width]
    }

    /// What the denoiser is told beside the texts' states, a row a text, the prompts before the negatives of a `guided` run: pooled
    /// state, and SDXL's sizes after it.
    pub(super) fn write_added(
        &self,
        pooled: &[f32],
        size: [usize; 2],
        guided: bool,
        rows: &mut [f32],
    ) -> Result<(), Error> {
        let Denoiser::Unet(unet @ SdUnet { added: Some(added), .. }) = &self.denoiser else {
            in_range("values of the pooled states", pooled.len(), rows.len(), rows.len())?;
            rows.copy_from_slice(pooled);
            return Ok(());
        };
        let sizes = if self.refines() { REFINER_SIZES } else { SIZES };
        let texts = rows.len() / added.width.max(1);
        let prompts = if guided { texts / self.guided_texts() } else { texts };
        let pooled = pooled.chunks_exact((pooled.len() / texts.max(1)).max(1));
        for (i, (row, pooled)) in rows.chunks_exact_mut(added.width.max(1)).zip(pooled).enumerate() {
            unet.write_added(pooled, &self.told(size, i >= prompts)[..sizes], row)?;
        }
        Ok(())
    }
}

impl TextToImage {
    /// What `run`, of another model, has drawn so far, for this one to go on with: for [`LatentRequest::encoded_init`] of `request`,
    /// whose calls begin where those of `first` end, and which has the same seeds.
    ///
    /// # Errors
    /// Models that do not go together ([`LatentInfo::check_refiner`]); a run of other pictures; calls that begin with the
    /// first step; a NaN or an infinity; a device error.
    pub fn refine(
        &self,
        run: &mut Run<'_>,
        first: &LatentRequest<'_>,
        of: &LatentInfo,
        request: &LatentRequest<'_>,
    ) -> Result<EncodedInit, Error> {
        wait(self.refine_async(run, first, of, request))
    }

    /// [`Self::refine`], awaited.
    ///
    /// # Errors
    /// As [`Self::refine`] has.
    pub async fn refine_async(
        &self,
        run: &mut Run<'_>,
        first: &LatentRequest<'_>,
        of: &LatentInfo,
        request: &LatentRequest<'_>,
    ) -> Result<EncodedInit, Error> {
        of.check_refiner(self.info())?;
        if request.mask.is_some() || request.latents.is_some() {
            let what = if request.mask.is_some() { "mask" } else { "latents" };
            return Err(RequestError::NotOf { what, of: "runs that go on where another stops" }.into());
        }
        let n = run.len();
        in_range("number of pictures", request.seeds.len(), n, n)?;
        let [height, width] = self.info().latent_size(request.size)?;
        let [rows, columns, _] = run.sample_shape();
        let words = |[height, width]: [usize; 2]| format!("{width}x{height}");
        check([rows, columns] == [height, width], "latents", words([rows, columns]), words([height, width]))?;
        let step = request.calls.calls().first().map_or(0, |call| call.step);
        check(step > 0, "the first step of a refiner", step, "1 and more")?;
        let latents = run.sample_async().await?.to_vec();
        let calls = first.calls.calls();
        let draws = calls.iter().filter(|call| call.noise != 0.0).count();
        let continued = Some(Continued { calls: calls.len(), draws });
        Ok(EncodedInit { made: ([n, height, width], step), latents, known: Vec::new(), mask: None, continued })
    }
}
