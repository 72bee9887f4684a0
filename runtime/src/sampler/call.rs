//! One call of the network and what becomes of its answer: plain numbers, the same few lines for every sampler.

use super::SamplerError;
use alloc::vec;
use alloc::vec::Vec;

/// Values that a solver can keep from earlier calls.
pub const SLOTS: usize = 6;

/// A weighted sum of all that is at hand in a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mix {
    /// Weight of the sample.
    pub x: f32,
    /// Weight of the kept sample.
    pub base: f32,
    /// Weight of the estimate of the clean picture.
    pub x0: f32,
    /// Weight of the network's output.
    pub out: f32,
    /// Weights of the kept values.
    pub slots: [f32; SLOTS],
}

impl Mix {
    /// `x * sample + x0 * estimate`.
    pub(super) fn of(x: f64, x0: f64) -> Self {
        Self { x: x as f32, x0: x0 as f32, ..Self::default() }
    }

    /// The same with `out * the network's output`.
    pub(super) fn with_out(self, out: f64) -> Self {
        Self { out: out as f32, ..self }
    }

    /// The same with `base * kept sample`.
    pub(super) fn with_base(self, base: f64) -> Self {
        Self { base: base as f32, ..self }
    }

    /// The same with `weight` more of what is kept in `slot`.
    pub(super) fn with_slot(mut self, slot: usize, weight: f64) -> Self {
        self.slots[slot] += weight as f32;
        self
    }
}

/// A call of the network, and how its answer leads to the next sample; f32, in the order of a GPU's uniform.
///
/// ```text
/// out  = network(input_scale * x, t)
/// x0   = clamp(x0_from_x * x + x0_from_out * out, low, high)
/// slot = store[0] * x + store[1] * x0 + store[2] * out       where something is stored
/// x    = correct(...)                                        where the sample is corrected by the new value (UniPC)
/// base = x                                                   where the sample is kept
/// x    = next(x, base, x0, out, slots) + noise * n           n standard normal
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Call {
    /// The step of the run that this call belongs to; a step may have several.
    pub step: usize,
    /// What the network is told, 0-based and perhaps between two levels.
    pub t: f32,
    /// The sample here is `alpha * picture + sigma * noise`.
    pub alpha: f32,
    /// Standard deviation of the noise in the sample.
    pub sigma: f32,
    /// The network is given the sample times this.
    pub input_scale: f32,
    /// The estimate's share of the sample.
    pub x0_from_x: f32,
    /// The estimate's share of the network's output.
    pub x0_from_out: f32,
    /// The estimate is at least this; minus infinity where it is not clipped.
    pub low: f32,
    /// The estimate is at most this; infinity where it is not clipped.
    pub high: f32,
    /// The slot to write, and the weights of sample, estimate and output in it.
    pub store: Option<(usize, [f32; 3])>,
    /// The sample corrected before the step.
    pub correct: Option<Mix>,
    /// The sample is kept for later calls.
    pub keep: bool,
    /// The next sample.
    pub next: Mix,
    /// Standard deviation of the fresh noise; 0 for none.
    pub noise: f32,
}

/// What a run keeps between calls: allocated once, for samples of one length.
#[derive(Clone, Debug)]
pub struct SamplerState {
    x0: Vec<f32>,
    base: Vec<f32>,
    slots: Vec<f32>,
}

impl SamplerState {
    /// For samples of `n` values and these calls; only what the calls use is allocated.
    #[must_use]
    pub fn new(calls: &[Call], n: usize) -> Self {
        let slots = calls.iter().filter_map(|c| c.store).map(|(slot, _)| slot + 1).max().unwrap_or(0);
        let base = if calls.iter().any(|c| c.keep) { n } else { 0 };
        Self { x0: vec![0.0; n], base: vec![0.0; base], slots: vec![0.0; slots * n] }
    }

    /// For samples of `n` values and the calls of any solver.
    #[must_use]
    pub fn for_any(n: usize) -> Self {
        Self { x0: vec![0.0; n], base: vec![0.0; n], slots: vec![0.0; SLOTS * n] }
    }

    /// As it was when it was made, for another run.
    pub fn clear(&mut self) {
        [&mut self.x0, &mut self.base, &mut self.slots].into_iter().for_each(|values| values.fill(0.0));
    }

    /// The last estimate of the clean picture.
    #[must_use]
    pub fn x0(&self) -> &[f32] {
        &self.x0
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        4 * (self.x0.len() + self.base.len() + self.slots.len())
    }

    /// Takes the network's answer `out` and moves `x` on, in place; `noise` is standard normal and may be empty where
    /// `call.noise` is 0. The calls come in their order. Nothing is allocated.
    ///
    /// # Errors
    /// Lengths that differ, or no noise where it is needed; `x` is then untouched.
    pub fn accept(&mut self, call: &Call, x: &mut [f32], out: &[f32], noise: &[f32]) -> Result<(), SamplerError> {
        let n = x.len();
        if call.noise != 0.0 && noise.is_empty() && n > 0 {
            return Err(SamplerError::NoNoise { timestep: call.t as usize, sigma: call.noise });
        }
        same("the sampler's state", self.x0.len(), n)?;
        same("the network's output", out.len(), n)?;
        same("the noise", if noise.is_empty() { n } else { noise.len() }, n)?;
        if let Some((slot, _)) = call.store
            && self.slots.len() < (slot + 1) * n
        {
            return Err(SamplerError::Length {
                what: "the sampler's history",
                got: self.slots.len(),
                want: (slot + 1) * n,
            });
        }
        if call.keep {
            same("the sampler's kept sample", self.base.len(), n)?;
        }
        for ((x0, x), out) in self.x0.iter_mut().zip(&*x).zip(out) {
            let estimate = call.x0_from_x * x + call.x0_from_out * out;
            // Not min and max: they would turn NaN into a number.
            *x0 = if estimate > call.high { call.high } else { estimate };
            *x0 = if *x0 < call.low { call.low } else { *x0 };
        }
        if let Some((slot, [from_x, from_x0, from_out])) = call.store {
            let stored = &mut self.slots[slot * n..(slot + 1) * n];
            for (((stored, x), x0), out) in stored.iter_mut().zip(&*x).zip(&self.x0).zip(out) {
                *stored = from_x * x + from_x0 * x0 + from_out * out;
            }
        }
        if let Some(mix) = &call.correct {
            self.mix(mix, x, out);
        }
        if call.keep {
            self.base.copy_from_slice(x);
        }
        self.mix(&call.next, x, out);
        if call.noise != 0.0 {
            x.iter_mut().zip(noise).for_each(|(x, noise)| *x += call.noise * noise);
        }
        Ok(())
    }

    fn mix(&self, mix: &Mix, x: &mut [f32], out: &[f32]) {
        for ((x, x0), out) in x.iter_mut().zip(&self.x0).zip(out) {
            *x = mix.x * *x + mix.x0 * x0 + mix.out * out;
        }
        let slots = self.slots.chunks_exact(x.len().max(1)).zip(mix.slots);
        let base = (self.base.as_slice(), mix.base);
        for (values, weight) in slots.chain(core::iter::once(base)).filter(|(_, weight)| *weight != 0.0) {
            x.iter_mut().zip(values).for_each(|(x, value)| *x += weight * value);
        }
    }
}

fn same(what: &'static str, got: usize, want: usize) -> Result<(), SamplerError> {
    if got == want { Ok(()) } else { Err(SamplerError::Length { what, got, want }) }
}

impl Call {
    /// The network's input, `input_scale * x`. Nothing is allocated.
    ///
    /// # Errors
    /// Lengths that differ.
    pub fn scale_input(&self, x: &[f32], input: &mut [f32]) -> Result<(), SamplerError> {
        same("the network's input", input.len(), x.len())?;
        input.iter_mut().zip(x).for_each(|(input, x)| *input = self.input_scale * x);
        Ok(())
    }

    /// All weights are numbers: a level of pure noise may have none.
    pub(super) fn is_finite(&self) -> bool {
        let mixes = self.correct.iter().chain(core::iter::once(&self.next));
        let mut weights = mixes.flat_map(|m| [m.x, m.base, m.x0, m.out].into_iter().chain(m.slots));
        let stored = self.store.map_or([0.0; 3], |(_, weights)| weights);
        let own = [self.x0_from_x, self.x0_from_out, self.input_scale, self.noise];
        weights.all(f32::is_finite) && own.iter().chain(&stored).all(|w| w.is_finite())
    }
}
