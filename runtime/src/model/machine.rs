//! Everything that a run uses: the engine, what the network is given, noise, and what makes pictures of samples.

#[cfg(feature = "gpu")]
use super::RequestError;
use super::engine::{At, Beside, Engine, Inputs, RunSettings, Values};
use super::latent::LatentDecoder;
use super::noise::{Noise, NoiseSource};
use crate::Error;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// What a sample is.
pub(super) enum Output {
    /// A picture, whose values of black and white are these.
    Pixels([f32; 2]),
    /// Latents of a picture.
    Latents(Box<LatentDecoder>),
}

/// Memory and machinery of runs.
pub(super) struct Machine {
    pub engine: Engine,
    pub inputs: Inputs,
    pub noise: Noise,
    pub beside: Beside,
    pub output: Output,
    /// Height, width and channels of a sample.
    pub shape: [usize; 3],
    /// Whether the run's first noise was drawn, and not given.
    pub drawn: bool,
    /// The noise that a run of latents began with.
    pub first: Vec<f32>,
    /// Whether a run of its own gives the network's memory back after its last step on a device too, as the weights are no
    /// longer held.
    pub retires: bool,
    /// The pictures of latents, decoded last.
    pictures: Vec<f32>,
}

impl Machine {
    pub fn new(
        engine: Engine,
        inputs: Inputs,
        noise: Noise,
        beside: Beside,
        output: Output,
        shape: [usize; 3],
    ) -> Self {
        Self {
            engine,
            inputs,
            noise,
            beside,
            output,
            shape,
            drawn: true,
            first: Vec::new(),
            retires: false,
            pictures: Vec::new(),
        }
    }

    /// Values of a sample.
    pub fn each(&self) -> usize {
        self.shape.iter().product()
    }

    /// Height, width and channels of a picture.
    pub fn picture(&self) -> [usize; 3] {
        match &self.output {
            Output::Pixels(_) => self.shape,
            Output::Latents(decoder) => decoder.picture_shape(),
        }
    }

    /// Bytes of the machine's memory and the device's, weights not counted.
    pub fn bytes(&self) -> usize {
        let decoder = if let Output::Latents(decoder) = &self.output { decoder.bytes() } else { 0 };
        let own = 4 * (self.first.len() + self.pictures.len())
            + self.inputs.bytes()
            + self.noise.bytes()
            + self.beside.bytes();
        self.engine.bytes() + own + decoder
    }

    /// Begins a run with noise of the size `sigma`, and nothing else.
    pub fn start(&mut self, source: NoiseSource, seeds: &[u64], sigma: f32) -> Result<(), Error> {
        let each = self.each();
        let Self { engine, inputs, noise, .. } = self;
        noise.seed(source, seeds);
        self.drawn = true;
        engine.start(inputs, |x| {
            noise.draw(0, each, x);
            x.iter_mut().for_each(|x| *x *= sigma);
        })
    }

    /// Makes a call.
    pub async fn call(&mut self, settings: &RunSettings<'_>, index: usize) -> Result<(), Error> {
        let each = self.each();
        let Self { engine, inputs, noise, beside, .. } = self;
        if settings.calls[index].noise != 0.0 {
            // Draw 0 is the initial noise.
            noise.draw((settings.first_draw + index) as u32 + 1, each, engine.noise());
        }
        let at = At { settings, index, inputs };
        engine.step(at, beside).await.map_err(|e| at.named(e))
    }

    /// The values of the run's samples; `next` is the call that has not been made.
    pub async fn values(&mut self, which: Values, settings: &RunSettings<'_>, next: usize) -> Result<&[f32], Error> {
        let n = settings.n * self.each();
        let bad = self.engine.read(which, n).await?;
        self.check(bad, settings, next).await?;
        Ok(self.engine.values(which, n))
    }

    /// The pictures of the samples, or of the estimate.
    pub async fn pictures(&mut self, which: Values, settings: &RunSettings<'_>, next: usize) -> Result<&[f32], Error> {
        if let Output::Pixels(_) = self.output {
            return self.values(which, settings, next).await;
        }
        let mut pictures = core::mem::take(&mut self.pictures);
        pictures.clear();
        self.decode(which, settings, next, |_, picture| pictures.extend_from_slice(picture)).await?;
        self.pictures = pictures;
        Ok(&self.pictures)
    }

    /// The pictures of the samples, or of the estimate, as bytes.
    pub async fn write_u8(
        &mut self,
        which: Values,
        out: &mut [u8],
        settings: &RunSettings<'_>,
        next: usize,
    ) -> Result<(), Error> {
        match self.output {
            Output::Latents(_) => {
                let one = out.len() / settings.n;
                let write = |i, picture: &[f32]| super::latent::write_u8(picture, &mut out[i * one..][..one]);
                self.decode(which, settings, next, write).await
            }
            Output::Pixels(range) if which == Values::Sample => {
                let bad = self.engine.write_u8(range, out).await?;
                self.check(bad, settings, next).await
            }
            Output::Pixels(range) => {
                let values = self.values(which, settings, next).await?;
                Ok(crate::cpu::to_u8(range, values, out)?)
            }
        }
    }

    /// Decodes latents; each picture is handed on with its number.
    async fn decode(
        &mut self,
        which: Values,
        settings: &RunSettings<'_>,
        next: usize,
        mut done: impl FnMut(usize, &[f32]),
    ) -> Result<(), Error> {
        let (n, each) = (settings.n, self.each());
        let bad = self.engine.read(which, n * each).await?;
        self.check(bad, settings, next).await?;
        let Self { engine, output: Output::Latents(decoder), .. } = self else { return Ok(()) };
        #[cfg(feature = "gpu")]
        if let Some(sources) = engine.buffers()
            && decoder.is_on_device(sources)?
        {
            for i in 0..n {
                done(i, decoder.decode_from(which, i).await?);
            }
            return Ok(());
        }
        decoder.make()?;
        // Only one of the two works at a time: they share their memory.
        decoder.give_memory(engine.take_memory());
        let mut result = Ok(());
        for (i, latents) in engine.values(which, n * each).chunks_exact(each).enumerate() {
            match decoder.decode_async(latents).await {
                Ok(picture) => done(i, picture),
                Err(e) => {
                    result = Err(e);
                    break;
                }
            }
        }
        engine.give_memory(decoder.take_memory());
        result
    }

    /// Gives the network's memory back, and that of what works beside it: the run has made its last step.
    pub async fn retire(&mut self, settings: &RunSettings<'_>) -> Result<(), Error> {
        let goes = self.retires || matches!(self.engine, Engine::Cpu(_));
        if goes {
            let calls = settings.calls.len();
            let sample = self.values(Values::Sample, settings, calls).await?.to_vec();
            let estimate = self.values(Values::Estimate, settings, calls).await?.to_vec();
            self.engine = Engine::Done([sample, estimate]);
        }
        self.beside = Beside::default();
        Ok(())
    }

    /// Draws a picture of the samples, or of the estimate, into a texture of the engine's device.
    #[cfg(feature = "gpu")]
    pub fn draw_into(&mut self, which: Values, picture: usize, view: &wgpu::TextureView) -> Result<(), Error> {
        let (each, shape) = (self.each(), self.shape);
        let Self { engine, output, .. } = self;
        let (Some(exec), Some(sources)) = (engine.on_device(), engine.buffers()) else {
            return Err(RequestError::NoDevice.into());
        };
        match output {
            Output::Latents(decoder) => decoder.draw_into(sources, which, picture, view),
            Output::Pixels(range) => {
                let buffer = sources[which as usize];
                let shown = crate::gpu::Shown { buffer, first: picture * each, shape, range: *range };
                Ok(crate::gpu::draw_into(exec, &shown, view)?)
            }
        }
    }

    /// Makes the run again up to the call that went wrong on a device, to name the operation.
    async fn check(&mut self, bad: Option<usize>, settings: &RunSettings<'_>, next: usize) -> Result<(), Error> {
        #[cfg(feature = "gpu")]
        if let Some(bad) = bad.filter(|bad| *bad < next) {
            let each = self.each();
            let Self { noise, engine, .. } = self;
            engine.restart()?;
            noise.restart();
            if self.drawn {
                // Generators of torch go on from where they are.
                noise.draw(0, each, engine.noise());
            }
            for index in 0..bad {
                self.call(settings, index).await?;
            }
            let Self { engine, inputs, beside, .. } = self;
            return Err(engine.trace(At { settings, index: bad, inputs }, beside).await);
        }
        let _ = (bad, settings, next);
        Ok(())
    }
}
