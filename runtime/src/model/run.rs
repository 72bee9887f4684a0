//! A run: one batch of pictures, from noise, one step at a time.

use super::RequestError;
use super::session::Session;
use crate::Error;
use crate::cpu::exec::ExecError;
use crate::cpu::to_u8;
use crate::guidance;
use crate::rng::normal_fill;
use crate::sampler::{self, StepCoefficients};
use alloc::vec;
use alloc::vec::Vec;

/// A request, checked.
#[derive(Clone, Copy)]
pub(super) struct Settings {
    pub pictures: usize,
    /// 0 for the batch; 1 for twice the batch, the second half without labels.
    pub plan: usize,
    pub guidance_scale: f32,
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
    settings: Settings,
    next: usize,
}

impl<'a> Run<'a> {
    pub(super) fn start(session: &'a mut Session, settings: Settings) -> Self {
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
    /// [`RequestError::NotFinite`] if a NaN or an infinity appears, with the first operation that made it. The run
    /// stays where it was.
    pub fn step(&mut self) -> Result<Option<StepInfo>, Error> {
        let (index, total) = (self.next, self.session.sampler.steps().len());
        let Some(&coefficients) = self.session.sampler.steps().get(index) else {
            return Ok(None);
        };
        let timestep = self.session.model.info.first_timestep + coefficients.t as u32;
        let lost = |source| RequestError::NotFinite { step: index + 1, total, source };

        self.fill(timestep);
        let Session { exec, ids, .. } = &mut *self.session;
        exec.run(self.settings.plan, ids);
        self.guide()?;
        let used = self.used();
        if !self.session.eps[..used].iter().all(|v| v.is_finite()) {
            return Err(lost(self.trace(timestep)).into());
        }
        if let Some(index) = self.update(&coefficients)? {
            return Err(lost(not_finite("sampler", "update", self.session.estimate[index], index)).into());
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

    /// The pictures as bytes, `(n, h, w, c)`: the model's range to 0..=255, clamped, truncated as in the book.
    pub fn to_u8(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.used()];
        // A step with a value that is not finite is an error, and the range was checked when the model was loaded.
        _ = to_u8(self.session.model.info.range, self.pictures(), &mut bytes);
        bytes
    }

    /// [`Self::to_u8`] into memory of the caller's.
    ///
    /// # Errors
    /// If `out` is not as long as the pictures.
    pub fn write_u8(&self, out: &mut [u8]) -> Result<(), Error> {
        Ok(to_u8(self.session.model.info.range, self.pictures(), out)?)
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
    fn guide(&mut self) -> Result<(), Error> {
        let Session { exec, ports, eps, .. } = &mut *self.session;
        let answer = exec.slot(ports[self.settings.plan].eps);
        if self.settings.plan == 0 {
            eps.copy_from_slice(answer);
        } else {
            let (conditional, unconditional) = answer.split_at(eps.len());
            eps.copy_from_slice(unconditional);
            guidance::classifier_free(self.settings.guidance_scale, conditional, eps)?;
        }
        Ok(())
    }

    /// Executes the step's plan again, looking at each result, to find where a number was lost.
    fn trace(&mut self, timestep: u32) -> ExecError {
        self.fill(timestep);
        let Session { exec, ids, eps, .. } = &mut *self.session;
        if let Err(found) = exec.run_checked(self.settings.plan, ids) {
            return found;
        }
        let index = eps.iter().position(|v| !v.is_finite()).unwrap_or(0);
        not_finite("guidance", "classifier_free", eps[index], index)
    }

    /// `x` one level on, and the estimate. Returns an element of the estimate that is not finite, if there is one.
    fn update(&mut self, c: &StepCoefficients) -> Result<Option<usize>, Error> {
        let used = self.used();
        let Session { x, eps, estimate, noise, seeds, .. } = &mut *self.session;
        let picture = noise.len();
        let pictures = x[..used].chunks_exact_mut(picture).zip(eps.chunks_exact(picture));
        for (((x, eps), x0), &seed) in pictures.zip(estimate.chunks_exact_mut(picture)).zip(&*seeds) {
            if c.sigma != 0.0 {
                // Draw 0 is the initial noise.
                normal_fill(seed, self.next as u32 + 1, noise);
            }
            sampler::step(c, x, eps, noise, x0)?;
        }
        Ok(estimate[..used].iter().position(|v| !v.is_finite()))
    }
}

fn not_finite(step: &str, kind: &'static str, value: f32, index: usize) -> ExecError {
    ExecError::NotFinite { step: step.into(), kind, value: alloc::format!("{value}"), index }
}
