//! What a network is given at a call: the sample, the noise level, and what stays the same for a run.

use crate::nn::Denoiser;
use crate::sampler::{Call, SamplerError};
use alloc::borrow::Cow;
use alloc::vec::Vec;

/// How a network is told the noise level.
pub(in crate::model) enum Time {
    /// As a number for each sample.
    Number,
    /// As a code for each text.
    Code(Denoiser),
}

impl Time {
    /// Values of a row: a device is given one.
    #[cfg(feature = "gpu")]
    pub fn width(&self) -> usize {
        match self {
            Self::Number => 1,
            Self::Code(network) => network.time_width().max(1),
        }
    }

    /// Fills rows.
    pub fn write(&self, timestep: f32, rows: &mut [f32]) {
        match self {
            Self::Number => rows.fill(timestep),
            Self::Code(network) => network.write_time(f64::from(timestep), rows),
        }
    }
}

/// All that a network is given beside the sample.
pub(in crate::model) struct Inputs {
    pub time: Time,
    /// Of the plan's inputs of ids, one after the other.
    pub ids: Vec<Option<u32>>,
    /// The same for all calls of a run, by the names of the plan's inputs.
    pub constants: Vec<(Cow<'static, str>, Vec<f32>)>,
    /// Channels of the sample, and of the network's input.
    pub channels: [usize; 2],
    /// What a network sees in each pixel after the sample's channels, `(n, h, w, c)`, the same for each text of a picture or,
    /// where it is told of a picture or not, one after the other for all texts; else empty.
    pub beside: Vec<f32>,
    /// What is put back after every step, if something is kept.
    pub kept: Option<Kept>,
}

impl Inputs {
    /// Writes the network's view of the sample, once for each text of a picture.
    pub fn write_sample(&self, call: &Call, x: &[f32], input: &mut [f32]) -> Result<(), SamplerError> {
        let [channels, in_channels] = self.channels;
        if self.beside.is_empty() {
            for half in input.chunks_exact_mut(x.len().max(1)) {
                call.scale_input(x, half)?;
            }
            return Ok(());
        }
        let beside = self.beside.chunks_exact(in_channels - channels).cycle();
        let mut beside = beside.take(input.len() / in_channels);
        for half in input.chunks_exact_mut(x.len() / channels * in_channels) {
            let pixels = x.chunks_exact(channels).zip(beside.by_ref());
            for (input, (x, beside)) in half.chunks_exact_mut(in_channels).zip(pixels) {
                call.scale_input(x, &mut input[..channels])?;
                input[channels..].copy_from_slice(beside);
            }
        }
        Ok(())
    }

    /// What stays the same for a run.
    pub fn constants(&self) -> impl Iterator<Item = (&str, &[f32])> {
        self.constants.iter().map(|(name, values)| (&**name, values.as_slice()))
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let constants = self.constants.iter().map(|(_, values)| values.len()).sum::<usize>();
        let kept = self.kept.as_ref().map_or(0, |kept| kept.latents.len() + kept.noise.len() + kept.mask.len());
        4 * (constants + self.beside.len() + kept) + size_of_val(&self.ids[..])
    }
}

/// What a mask keeps of the pictures that a run begins with.
pub(in crate::model) struct Kept {
    /// Their latents, `(n, h, w, c)`.
    pub latents: Vec<f32>,
    /// The run's first noise, of the same size.
    pub noise: Vec<f32>,
    /// 1 where a latent is repainted, 0 where it is kept, `(n, h, w)`.
    pub mask: Vec<f32>,
}

impl Kept {
    /// Shares of the picture and of the noise at the level of `next`, the call that follows; at the end the picture is
    /// clean.
    pub fn level(next: Option<&Call>) -> (f32, f32) {
        next.map_or((1.0, 0.0), |call| (call.alpha, call.sigma))
    }

    /// Puts the kept part into `x`.
    pub fn restore(&self, x: &mut [f32], next: Option<&Call>) {
        let (alpha, sigma) = Self::level(next);
        let channels = (x.len() / self.mask.len().max(1)).max(1);
        let pixels = x.chunks_exact_mut(channels).zip(&self.mask);
        for (i, (x, _)) in pixels.enumerate().filter(|(_, (_, mask))| **mask == 0.0) {
            let from = i * channels;
            for (c, x) in x.iter_mut().enumerate() {
                *x = alpha * self.latents[from + c] + sigma * self.noise[from + c];
            }
        }
    }
}
