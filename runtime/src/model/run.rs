//! A run: one batch of pictures, from noise, one step at a time.

use super::RequestError;
use super::session::Session;
use crate::Error;
use crate::cpu::exec::ExecError;
use crate::guidance::{self, GuidanceError};
use crate::rng::normal_fill;
use crate::sampler::{self, SamplerError, StepCoefficients};
use alloc::vec;
use alloc::vec::Vec;

/// A request, checked.
#[derive(Clone, Copy)]
pub(super) struct Settings<'a> {
    pub pictures: usize,
    /// 0 for the batch; 1 for twice the batch, the second half without labels.
    pub plan: usize,
    pub guidance_scale: f32,
    pub steps: &'a [StepCoefficients],
}

/// A step that was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StepInfo {
    /// Which, from 0.
    pub index: usize,
    /// Of how many.
    pub total: usize,
    /// The noise level at which the network was asked, as the network knows it.
    pub timestep: u32,
}

/// Pictures in the making. It borrows the session, whose memory it uses.
pub struct Run<'a> {
    session: &'a mut Session,
    settings: Settings<'a>,
    next: usize,
}

impl<'a> Run<'a> {
    pub(super) fn start(session: &'a mut Session, settings: Settings<'a>) -> Self {
        let picture = session.noise.len();
        session.x.fill(0.0);
        session.estimate.fill(0.0);
        for (x, &seed) in session.x.chunks_exact_mut(picture).zip(&session.seeds[..settings.pictures]) {
            normal_fill(seed, 0, x);
        }
        Self { session, settings, next: 0 }
    }

    /// Makes the next step; `None` when all are made.
    ///
    /// # Errors
    /// [`RequestError::NotFinite`] if a NaN or an infinity appears, with the first operation that made it. The run is
    /// then lost; the session is not.
    pub fn step(&mut self) -> Result<Option<StepInfo>, Error> {
        let (index, total) = (self.next, self.settings.steps.len());
        let Some(coefficients) = self.settings.steps.get(index) else { return Ok(None) };
        let timestep = coefficients.t as u32 + self.session.model.info.first_timestep;
        let lost = |source| RequestError::NotFinite { step: index + 1, total, source };

        self.fill(timestep);
        let Session { exec, ids, .. } = &mut *self.session;
        exec.run(self.settings.plan, ids);
        self.guide()?;
        if !finite(&self.session.eps[..self.used()]) {
            return Err(lost(self.trace(timestep)).into());
        }
        self.update(coefficients)?;
        if !finite(self.pictures()) || !finite(self.estimate()) {
            return Err(lost(not_finite("sampler", "step", self.pictures())).into());
        }
        self.next += 1;
        Ok(Some(StepInfo { index, total, timestep }))
    }

    /// How many pictures this run makes.
    pub fn len(&self) -> usize {
        self.settings.pictures
    }

    /// Never: a run has at least one picture.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pictures as they are, noisy until the last step: `(n, h, w, c)`, in the model's range, not clipped.
    pub fn pictures(&self) -> &[f32] {
        &self.session.x[..self.used()]
    }

    /// What the clean pictures will be, as the network guessed at the last step; zeros before the first. Shape and
    /// range as of [`Self::pictures`].
    pub fn estimate(&self) -> &[f32] {
        &self.session.estimate[..self.used()]
    }

    /// The pictures as bytes, `(n, h, w, c)`: the model's range mapped to 0 to 255 as [`crate::cpu::to_u8`] does.
    ///
    /// # Errors
    /// None after a step that succeeded.
    pub fn to_u8(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; self.used()];
        self.write_u8(&mut bytes)?;
        Ok(bytes)
    }

    /// [`Self::to_u8`] into memory of the caller's, as long as [`Self::pictures`].
    ///
    /// # Errors
    /// Another length.
    pub fn write_u8(&self, out: &mut [u8]) -> Result<(), Error> {
        Ok(crate::cpu::to_u8(self.session.model.info.range, self.pictures(), out)?)
    }

    /// Elements in use.
    fn used(&self) -> usize {
        self.settings.pictures * self.session.noise.len()
    }

    /// Writes the network's inputs, which each execution overwrites.
    fn fill(&mut self, timestep: u32) {
        let Session { exec, ports, x, .. } = &mut *self.session;
        let ports = ports[self.settings.plan];
        exec.slot_mut(ports.x).chunks_exact_mut(x.len()).for_each(|half| half.copy_from_slice(x));
        exec.slot_mut(ports.t).fill(timestep as f32);
    }

    /// Takes the network's answer, guided if the run is.
    fn guide(&mut self) -> Result<(), GuidanceError> {
        let Session { exec, ports, eps, .. } = &mut *self.session;
        let (answer, unconditional) = exec.slot(ports[self.settings.plan].eps).split_at(eps.len());
        if self.settings.plan == 0 {
            eps.copy_from_slice(answer);
            return Ok(());
        }
        eps.copy_from_slice(unconditional);
        guidance::classifier_free(self.settings.guidance_scale, answer, eps)
    }

    /// Executes the step's plan again, looking at each result, to find where a number was lost.
    fn trace(&mut self, timestep: u32) -> ExecError {
        self.fill(timestep);
        let Session { exec, ids, eps, .. } = &mut *self.session;
        let found = exec.run_checked(self.settings.plan, ids);
        found.err().unwrap_or_else(|| not_finite("guidance", "classifier_free", eps))
    }

    /// One level on, each picture with its own noise.
    fn update(&mut self, c: &StepCoefficients) -> Result<(), SamplerError> {
        let Session { x, eps, estimate, noise, seeds, .. } = &mut *self.session;
        let picture = noise.len();
        let pictures =
            x.chunks_exact_mut(picture).zip(eps.chunks_exact(picture)).zip(estimate.chunks_exact_mut(picture));
        for (((x, eps), x0), &seed) in pictures.zip(&seeds[..self.settings.pictures]) {
            let mut fresh: &[f32] = &[];
            if c.sigma != 0.0 {
                // Draw 0 is the initial noise.
                normal_fill(seed, self.next as u32 + 1, noise);
                fresh = noise;
            }
            sampler::step(c, x, eps, fresh, x0)?;
        }
        Ok(())
    }
}

fn finite(values: &[f32]) -> bool {
    values.iter().all(|v| v.is_finite())
}

fn not_finite(step: &str, kind: &'static str, values: &[f32]) -> ExecError {
    let index = values.iter().position(|v| !v.is_finite()).unwrap_or(0);
    ExecError::NotFinite { step: step.into(), kind, value: alloc::format!("{}", values[index]), index }
}
