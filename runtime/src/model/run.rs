//! A run: one batch of pictures, from noise, one step at a time.

use super::RequestError;
use super::session::Session;
use crate::Error;
use crate::cpu::exec::ExecError;
use crate::guidance;
use crate::rng::normal_fill;
use crate::sampler::{self, Coefficients, Method};
use alloc::vec;
use alloc::vec::Vec;

/// A request, checked.
#[derive(Clone, Copy)]
pub(super) struct Settings {
    pub pictures: usize,
    /// 0 for the batch; 1 for twice the batch, the second half without labels.
    pub plan: usize,
    pub guidance_scale: f32,
    pub method: Method,
    pub steps: usize,
    pub eta: f32,
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
        let (index, total) = (self.next, self.settings.steps);
        if index == total {
            return Ok(None);
        }
        let info = &self.session.model.info;
        let (level, to) = sampler::levels(&info.schedule, total, index);
        let timestep = info.first_timestep + (level - 1) as u32;
        let coefficients = sampler::coefficients(&info.schedule, self.settings.method, self.settings.eta, level, to);
        let lost = |source| RequestError::NotFinite { step: index + 1, total, source };

        self.fill(timestep);
        let Session { exec, ids, .. } = &mut *self.session;
        exec.run(self.settings.plan, ids);
        self.guide();
        let used = self.used();
        if !self.session.eps[..used].iter().all(|v| v.is_finite()) {
            return Err(lost(self.trace(timestep)).into());
        }
        if let Some(index) = self.update(&coefficients) {
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

    /// The pictures as bytes, 0 to 255, `(n, h, w, c)`: clipped to the model's range, rounded to nearest.
    pub fn to_u8(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.used()];
        self.write_u8(&mut bytes);
        bytes
    }

    /// [`Self::to_u8`] into memory of the caller's; what does not fit is left out.
    pub fn write_u8(&self, out: &mut [u8]) {
        let [low, high] = self.session.model.info.range;
        let scale = 255.0 / (high - low);
        // `as` clips, so that only the rounding is to be done.
        out.iter_mut().zip(self.pictures()).for_each(|(out, &v)| *out = ((v - low) * scale + 0.5) as u8);
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
    fn guide(&mut self) {
        let Session { exec, ports, eps, .. } = &mut *self.session;
        let answer = exec.slot(ports[self.settings.plan].eps);
        if self.settings.plan == 0 {
            eps.copy_from_slice(answer);
        } else {
            let (conditional, unconditional) = answer.split_at(eps.len());
            guidance::classifier_free(self.settings.guidance_scale, conditional, unconditional, eps);
        }
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

    /// `x` one level on, and the estimate. Returns an element of the estimate that is not finite, if there is one,
    /// with `x` as it was.
    fn update(&mut self, c: &Coefficients) -> Option<usize> {
        let used = self.used();
        let Session { x, eps, estimate, noise, seeds, .. } = &mut *self.session;
        for ((x0, &x), &eps) in estimate[..used].iter_mut().zip(&*x).zip(&*eps) {
            *x0 = c.x0_x * x + c.x0_eps * eps;
        }
        if let Some(index) = estimate[..used].iter().position(|v| !v.is_finite()) {
            return Some(index);
        }
        let picture = noise.len();
        let pictures = x[..used].chunks_exact_mut(picture).zip(eps.chunks_exact(picture)).zip(&*seeds);
        for ((x, eps), &seed) in pictures {
            for (x, &eps) in x.iter_mut().zip(eps) {
                *x = c.x * *x + c.eps * eps;
            }
            if c.noise != 0.0 {
                // Draw 0 is the initial noise.
                normal_fill(seed, self.next as u32 + 1, noise);
                x.iter_mut().zip(&*noise).for_each(|(x, z)| *x += c.noise * z);
            }
        }
        None
    }
}

fn not_finite(step: &str, kind: &'static str, value: f32, index: usize) -> ExecError {
    ExecError::NotFinite { step: step.into(), kind, value: alloc::format!("{value}"), index }
}
