//! A run's noise: ours, or what torch draws for the same seeds.

use crate::layout::channels_last_into;
use crate::rng::{TorchCpu, TorchCuda, normal_fill};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

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

    fn generator(self, seed: u64) -> Generator {
        match self {
            Self::Nijimi => Generator::Nijimi(seed),
            Self::TorchCpu => Generator::Cpu(Box::new(TorchCpu::new(seed))),
            Self::TorchCuda => Generator::Cuda(TorchCuda::new(seed)),
        }
    }
}

/// One sample's generator.
enum Generator {
    Nijimi(u64),
    Cpu(Box<TorchCpu>),
    Cuda(TorchCuda),
}

impl Generator {
    /// `draw` is 0 for the initial noise, then the call's number, which torch's generators do not look at: they go on from
    /// where they are.
    fn fill(&mut self, draw: u32, out: &mut [f32]) {
        match self {
            Self::Nijimi(seed) => normal_fill(*seed, draw, out),
            Self::Cpu(generator) => generator.normal_fill(out),
            Self::Cuda(generator) => generator.normal_fill(out),
        }
    }
}

/// The noise of a run: a generator a sample. A sample's noise depends on its own seed alone, never on its neighbours.
#[derive(Default)]
pub(super) struct Noise {
    source: NoiseSource,
    seeds: Vec<u64>,
    generators: Vec<Generator>,
    /// Channels of latents, which are drawn plane by plane, as torch lays them out, and one sample's planes; none where
    /// noise is drawn in the sample's own order.
    channels: usize,
    planes: Vec<f32>,
}

impl Noise {
    /// For samples of pixels.
    pub fn of_pixels() -> Self {
        Self::default()
    }

    /// For latents of so many values, `(h, w, channels)`.
    pub fn of_latents(values: usize, channels: usize) -> Self {
        Self { channels, planes: vec![0.0; values], ..Self::default() }
    }

    /// Begins a run. Our own generators take no memory but of their number.
    pub fn seed(&mut self, source: NoiseSource, seeds: &[u64]) {
        self.source = source;
        self.seeds.clear();
        self.seeds.extend_from_slice(seeds);
        self.restart();
    }

    /// The run from its beginning again.
    pub fn restart(&mut self) {
        let Self { source, seeds, generators, .. } = self;
        generators.clear();
        generators.extend(seeds.iter().map(|&seed| source.generator(seed)));
    }

    /// Standard normal noise for each seed's sample of `each` values, `(n, h, w, c)`; what `out` has more is not touched.
    /// Draw 0 is the initial noise.
    pub fn draw(&mut self, draw: u32, each: usize, out: &mut [f32]) {
        let Self { generators, channels, planes, .. } = self;
        for (generator, out) in generators.iter_mut().zip(out.chunks_exact_mut(each.max(1))) {
            if *channels == 0 {
                generator.fill(draw, out);
            } else {
                generator.fill(draw, planes);
                channels_last_into(planes, *channels, planes.len() / *channels, out);
            }
        }
    }

    /// After so many draws of another run, with which torch's generators go on; `scratch` has room for one draw.
    pub fn skip(&mut self, draws: usize, each: usize, scratch: &mut [f32]) {
        if self.source != NoiseSource::Nijimi {
            (0..draws).for_each(|_| self.draw(0, each, scratch));
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        4 * self.planes.len() + size_of_val(&self.seeds[..]) + size_of_val(&self.generators[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen red with the planes left as they are, and with torch's generators made anew for each draw.
    #[test]
    fn draws_are_the_generators() {
        let (channels, pixels) = (4, 6);
        for source in ["nijimi", "cpu", "cuda"].map(|name| NoiseSource::from_name(name).unwrap()) {
            let mut noise = Noise::of_latents(channels * pixels, channels);
            noise.seed(source, &[5]);
            let (mut cpu, mut cuda) = (TorchCpu::new(5), TorchCuda::new(5));
            for draw in 0..3 {
                let mut planes = vec![0.0; channels * pixels];
                match source {
                    NoiseSource::Nijimi => normal_fill(5, draw, &mut planes),
                    NoiseSource::TorchCpu => cpu.normal_fill(&mut planes),
                    NoiseSource::TorchCuda => cuda.normal_fill(&mut planes),
                }
                let mut drawn = vec![0.0; channels * pixels];
                noise.draw(draw, channels * pixels, &mut drawn);
                for (i, v) in drawn.iter().enumerate() {
                    assert_eq!(*v, planes[i % channels * pixels + i / channels], "{source:?} draw {draw} element {i}");
                }
            }
        }
        assert_eq!(NoiseSource::from_name("torch"), None);
    }
}
