//! A picture's noise: ours, or what torch draws for the same seed.

use crate::layout::channels_last_into;
use crate::rng::{TorchCpu, TorchCuda, normal_fill};
use alloc::boxed::Box;

/// Which generator draws the noise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoiseSource {
    /// Philox, keyed by seed and step: the same on every machine.
    #[default]
    Nijimi,
    /// As `torch.Generator("cpu")` of the seed: [`TorchCpu`].
    TorchCpu,
    /// As `torch.Generator("cuda")` of the seed: [`TorchCuda`].
    TorchCuda,
}

impl NoiseSource {
    /// By the names of `--rng`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "nijimi" => Some(Self::Nijimi),
            "cpu" => Some(Self::TorchCpu),
            "cuda" => Some(Self::TorchCuda),
            _ => None,
        }
    }

    pub(super) fn generator(self, seed: u64) -> Generator {
        match self {
            Self::Nijimi => Generator::Nijimi(seed),
            Self::TorchCpu => Generator::Cpu(Box::new(TorchCpu::new(seed))),
            Self::TorchCuda => Generator::Cuda(TorchCuda::new(seed)),
        }
    }
}

/// One picture's generator.
pub(super) enum Generator {
    Nijimi(u64),
    Cpu(Box<TorchCpu>),
    Cuda(TorchCuda),
}

impl Generator {
    /// Standard normal noise of one picture, `(h, w, channels)`; `draw` is 0 for the initial noise, then the call's number,
    /// which torch's generators do not look at: they go on from where they are. Drawn plane by plane, as torch lays
    /// latents out, into `planes`; both are as long as a picture.
    pub(super) fn draw(&mut self, draw: u32, channels: usize, planes: &mut [f32], out: &mut [f32]) {
        match self {
            Self::Nijimi(seed) => normal_fill(*seed, draw, planes),
            Self::Cpu(generator) => generator.normal_fill(planes),
            Self::Cuda(generator) => generator.normal_fill(planes),
        }
        channels_last_into(planes, channels, planes.len() / channels.max(1), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// Seen red with the planes left as they are, and with torch's generators made anew for each draw.
    #[test]
    fn draws_are_the_generators() {
        let (channels, pixels) = (4, 6);
        for source in ["nijimi", "cpu", "cuda"].map(|name| NoiseSource::from_name(name).unwrap()) {
            let mut generator = source.generator(5);
            let (mut cpu, mut cuda) = (TorchCpu::new(5), TorchCuda::new(5));
            for draw in 0..3 {
                let mut planes = vec![0.0; channels * pixels];
                match source {
                    NoiseSource::Nijimi => normal_fill(5, draw, &mut planes),
                    NoiseSource::TorchCpu => cpu.normal_fill(&mut planes),
                    NoiseSource::TorchCuda => cuda.normal_fill(&mut planes),
                }
                let (mut scratch, mut drawn) = (vec![0.0; channels * pixels], vec![0.0; channels * pixels]);
                generator.draw(draw, channels, &mut scratch, &mut drawn);
                for (i, v) in drawn.iter().enumerate() {
                    assert_eq!(*v, planes[i % channels * pixels + i / channels], "{source:?} draw {draw} element {i}");
                }
            }
        }
        assert_eq!(NoiseSource::from_name("torch"), None);
    }
}
