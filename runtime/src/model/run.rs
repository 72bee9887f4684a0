//! A run: one batch of pictures, from noise, one step at a time.

use super::RequestError;
use super::engine::{At, RunSettings, StepInfo, Values};
use super::machine::Machine;
use super::wait::wait;
use crate::Error;
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

/// Pictures in the making, of any model with steps: from [`Session::run`](super::Session::run) or
/// [`LatentSession::run`](super::LatentSession::run), which lend their memory, or from [`Diffusion::run`](super::Diffusion::run)
/// or [`TextToImage::run`](super::TextToImage::run), where it has its own and borrows nothing.
///
/// What the steps work on is a *sample* for each picture: the picture itself where a model diffuses pixels, else its
/// latents, which [`Self::pictures`], [`Self::to_u8`] and [`Self::draw_into`] decode.
///
/// On a device, a step is submitted and not waited for (two are under way at the most); what is read back is waited
/// for. A run may be dropped at any step.
///
/// In a browser nothing may wait for a device: what is made or read back there must be awaited, by the forms whose names end
/// in `_async`, since the others are errors. Elsewhere the awaited forms wait in place when they are first polled; on the CPU
/// all are ready at once.
pub struct Run<'a> {
    machine: Held<'a>,
    settings: RunSettings<'a>,
    /// The next call.
    next: usize,
}

/// Whose the machinery is.
enum Held<'a> {
    /// The run's own: the network goes when the last step is made, before another decodes.
    Own(Box<Machine>),
    Session(&'a mut Machine),
}

impl Held<'_> {
    fn get(&mut self) -> &mut Machine {
        match self {
            Self::Own(machine) => machine,
            Self::Session(machine) => machine,
        }
    }

    fn see(&self) -> &Machine {
        match self {
            Self::Own(machine) => machine,
            Self::Session(machine) => machine,
        }
    }
}

impl<'a> Run<'a> {
    /// With a machine that has begun.
    pub(super) fn of_session(machine: &'a mut Machine, settings: RunSettings<'a>) -> Self {
        Self { machine: Held::Session(machine), settings, next: 0 }
    }

    /// With a machine of its own that has begun.
    pub(super) fn alone(machine: Box<Machine>, settings: RunSettings<'_>) -> Self {
        let calls = settings.calls.into_owned().into();
        Self { machine: Held::Own(machine), settings: RunSettings { calls, ..settings }, next: 0 }
    }

    /// Makes the next step (some solvers ask the network more than once for one); `None` when all are made.
    ///
    /// # Errors
    /// [`RequestError::NotFinite`] if a NaN or an infinity appears, with the first operation that made it; on a device
    /// only what reads back finds it. The run is then lost; the session is not.
    pub fn step(&mut self) -> Result<Option<StepInfo>, Error> {
        wait(self.step_async())
    }

    /// [`Self::step`], awaited.
    ///
    /// # Errors
    /// As [`Self::step`] has.
    pub async fn step_async(&mut self) -> Result<Option<StepInfo>, Error> {
        let Self { machine, settings, next } = self;
        while *next < settings.calls.len() {
            let machine = machine.get();
            machine.call(settings, *next).await?;
            let at = At { settings, index: *next, inputs: &machine.inputs };
            let info = at.ends_step().then(|| at.info());
            *next += 1;
            if info.is_some() {
                if let (Held::Own(machine), true) = (&mut self.machine, *next == self.settings.calls.len()) {
                    machine.retire(&self.settings).await?;
                }
                return Ok(info);
            }
        }
        Ok(None)
    }

    /// How many pictures this run makes.
    pub fn len(&self) -> usize {
        self.settings.n
    }

    /// Never: a run has at least one picture.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Height, width and channels of a sample.
    pub fn sample_shape(&self) -> [usize; 3] {
        self.machine.see().shape
    }

    /// Height, width and channels of a picture.
    pub fn picture_shape(&self) -> [usize; 3] {
        self.machine.see().picture()
    }

    /// The samples as they are, noisy until the last step: `(n, h, w, c)` of [`Self::sample_shape`], not clipped.
    ///
    /// # Errors
    /// None on the CPU; a device error, and [`RequestError::NotFinite`] on one.
    pub fn sample(&mut self) -> Result<&[f32], Error> {
        wait(self.sample_async())
    }

    /// [`Self::sample`], awaited.
    ///
    /// # Errors
    /// As [`Self::sample`] has.
    pub async fn sample_async(&mut self) -> Result<&[f32], Error> {
        self.machine.get().values(Values::Sample, &self.settings, self.next).await
    }

    /// What the clean samples will be, as the network guessed at the last step; zeros before the first. Shape as in
    /// [`Self::sample`].
    ///
    /// # Errors
    /// As [`Self::sample`].
    pub fn estimate(&mut self) -> Result<&[f32], Error> {
        wait(self.estimate_async())
    }

    /// [`Self::estimate`], awaited.
    ///
    /// # Errors
    /// As [`Self::sample`] has.
    pub async fn estimate_async(&mut self) -> Result<&[f32], Error> {
        self.machine.get().values(Values::Estimate, &self.settings, self.next).await
    }

    /// The standard normal noise that a run of latents began with, `(n, h, w, c)` of [`Self::sample_shape`]; empty for
    /// pixels.
    pub fn noise(&self) -> &[f32] {
        &self.machine.see().first
    }

    /// The pictures, `(n, h, w, c)` of [`Self::picture_shape`]: of a model of pixels in its range and not clipped, of one of
    /// latents decoded, in [0, 1].
    ///
    /// # Errors
    /// As [`Self::sample`]; of latents also more memory than the options allow, and a NaN that the decoder makes.
    pub fn pictures(&mut self) -> Result<&[f32], Error> {
        wait(self.pictures_async())
    }

    /// [`Self::pictures`], awaited.
    ///
    /// # Errors
    /// As [`Self::pictures`] has.
    pub async fn pictures_async(&mut self) -> Result<&[f32], Error> {
        self.machine.get().pictures(Values::Sample, &self.settings, self.next).await
    }

    /// The pictures as bytes, `(n, h, w, c)`: of a model of pixels its range mapped to 0 to 255 as [`crate::cpu::to_u8`]
    /// does, of one of latents each value rounded.
    ///
    /// # Errors
    /// As [`Self::pictures`].
    pub fn to_u8(&mut self) -> Result<Vec<u8>, Error> {
        wait(self.to_u8_async())
    }

    /// [`Self::to_u8`], awaited.
    ///
    /// # Errors
    /// As [`Self::pictures`] has.
    pub async fn to_u8_async(&mut self) -> Result<Vec<u8>, Error> {
        self.bytes(Values::Sample).await
    }

    /// [`Self::to_u8`] into memory of the caller's.
    ///
    /// # Errors
    /// Another length, and as [`Self::pictures`].
    pub fn write_u8(&mut self, out: &mut [u8]) -> Result<(), Error> {
        wait(self.write_u8_async(out))
    }

    /// [`Self::write_u8`], awaited.
    ///
    /// # Errors
    /// As [`Self::write_u8`] has.
    pub async fn write_u8_async(&mut self, out: &mut [u8]) -> Result<(), Error> {
        self.write(Values::Sample, out).await
    }

    /// The pictures of the estimate as bytes, as [`Self::to_u8`] makes them: a preview of what the run will draw.
    ///
    /// # Errors
    /// As [`Self::pictures`].
    pub fn preview(&mut self) -> Result<Vec<u8>, Error> {
        wait(self.preview_async())
    }

    /// [`Self::preview`], awaited.
    ///
    /// # Errors
    /// As [`Self::preview`] has.
    pub async fn preview_async(&mut self) -> Result<Vec<u8>, Error> {
        self.bytes(Values::Estimate).await
    }

    /// [`Self::preview`] into memory of the caller's.
    ///
    /// # Errors
    /// Another length, and as [`Self::pictures`].
    pub fn write_preview(&mut self, out: &mut [u8]) -> Result<(), Error> {
        wait(self.write_preview_async(out))
    }

    /// [`Self::write_preview`], awaited.
    ///
    /// # Errors
    /// As [`Self::write_preview`] has.
    pub async fn write_preview_async(&mut self, out: &mut [u8]) -> Result<(), Error> {
        self.write(Values::Estimate, out).await
    }

    async fn bytes(&mut self, which: Values) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; self.bytes_of_pictures()];
        self.write(which, &mut bytes).await?;
        Ok(bytes)
    }

    async fn write(&mut self, which: Values, out: &mut [u8]) -> Result<(), Error> {
        if out.len() != self.bytes_of_pictures() {
            let (found, expected) = (out.len().to_string(), self.bytes_of_pictures().to_string());
            return Err(RequestError::Range { what: "bytes for pictures", found, expected }.into());
        }
        self.machine.get().write_u8(which, out, &self.settings, self.next).await
    }

    fn bytes_of_pictures(&self) -> usize {
        self.len() * self.picture_shape().iter().product::<usize>()
    }
}

#[cfg(feature = "gpu")]
impl Run<'_> {
    /// The samples, or the estimate, on the device of a run that has one, without a copy to the host: a storage buffer of
    /// f32, `(n, h, w, c)` of [`Self::sample_shape`], not clipped. It is the session's; commands that the caller submits
    /// after [`Self::step`] see what that step made.
    pub fn buffer(&self, which: Values) -> Option<&wgpu::Buffer> {
        Some(self.machine.see().engine.buffers()?[which as usize])
    }

    /// Draws picture `picture` into a texture of the same device, of the format `rgba8unorm` and usable as a storage
    /// texture: each pixel is enlarged to fill it. Latents are decoded on the device, by the model's own autoencoder.
    /// Nothing is copied to the host, and nothing is waited for.
    ///
    /// # Errors
    /// A picture out of range, a run on the CPU, latents that are decoded in tiles or by a tiny autoencoder, or a device
    /// error.
    pub fn draw_into(&mut self, which: Values, picture: usize, view: &wgpu::TextureView) -> Result<(), Error> {
        if picture >= self.len() {
            let (found, expected) = (picture.to_string(), alloc::format!("0 to {}", self.len() - 1));
            return Err(RequestError::Range { what: "picture", found, expected }.into());
        }
        self.machine.get().draw_into(which, picture, view)
    }
}
