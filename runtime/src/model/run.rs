//! A run: one batch of pictures, from noise, one step at a time.

use super::RequestError;
use super::engine::{At, Which};
use super::session::Session;
use super::wait::wait;
use crate::Error;
use crate::sampler::Call;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

/// A request, checked.
#[derive(Clone, Copy)]
pub(super) struct Settings<'a> {
    pub pictures: usize,
    /// 0 for the batch; 1 for twice the batch, the second half without labels.
    pub plan: usize,
    pub guidance_scale: f32,
    pub calls: &'a [Call],
    /// Of the noise that the run begins with.
    pub init_noise_sigma: f32,
    pub first_timestep: u32,
}

/// A step that was made.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct StepInfo {
    /// Which, from 0.
    pub index: usize,
    /// Of how many.
    pub total: usize,
    /// The noise level at which the network was asked, as the network knows it; it may lie between two trained levels.
    pub timestep: f32,
}

/// Pictures in the making. It borrows the session, whose memory it uses.
///
/// On a device, a step is submitted and not waited for (two are under way at the most); what is read back is waited
/// for. A run may be dropped at any step.
///
/// In a browser nothing may wait for a device: what is made or read back there must be awaited, by the forms whose names end
/// in `_async`, since the others are errors. Elsewhere the awaited forms wait in place when they are first polled; on the CPU
/// all are ready at once.
pub struct Run<'a> {
    session: &'a mut Session,
    settings: Settings<'a>,
    /// The next call.
    next: usize,
}

impl<'a> Run<'a> {
    pub(super) fn start(session: &'a mut Session, settings: Settings<'a>) -> Result<Self, Error> {
        let Session { engine, seeds, ids, .. } = &mut *session;
        engine.start(settings.init_noise_sigma, &seeds[..settings.pictures], ids)?;
        Ok(Self { session, settings, next: 0 })
    }

    /// Makes the next step (some solvers ask the network more than once for one); `None` when all are made.
    ///
    /// # Errors
    /// [`RequestError::NotFinite`] if a NaN or an infinity appears, with the first operation that made it; on a device
    /// only [`Self::pictures`], [`Self::estimate`] and [`Self::write_u8`] find it. The run is then lost; the session is
    /// not.
    pub fn step(&mut self) -> Result<Option<StepInfo>, Error> {
        wait(self.step_async())
    }

    /// [`Self::step`], awaited.
    ///
    /// # Errors
    /// As [`Self::step`] has.
    pub async fn step_async(&mut self) -> Result<Option<StepInfo>, Error> {
        let Self { session: Session { engine, seeds, ids, .. }, settings, next } = self;
        while let Some(at) = at(settings, *next, seeds, ids) {
            engine.step(at).await?;
            *next += 1;
            if at.ends_step() {
                return Ok(Some(at.info()));
            }
        }
        Ok(None)
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
    ///
    /// # Errors
    /// None on the CPU; on a device what it has to say, and [`RequestError::NotFinite`].
    pub fn pictures(&mut self) -> Result<&[f32], Error> {
        wait(self.pictures_async())
    }

    /// [`Self::pictures`], awaited.
    ///
    /// # Errors
    /// As [`Self::pictures`] has.
    pub async fn pictures_async(&mut self) -> Result<&[f32], Error> {
        self.values(Which::Pictures).await
    }

    /// What the clean pictures will be, as the network guessed at the last step; zeros before the first. Shape and
    /// range as in [`Self::pictures`].
    ///
    /// # Errors
    /// As [`Self::pictures`].
    pub fn estimate(&mut self) -> Result<&[f32], Error> {
        wait(self.estimate_async())
    }

    /// [`Self::estimate`], awaited.
    ///
    /// # Errors
    /// As [`Self::pictures`] has.
    pub async fn estimate_async(&mut self) -> Result<&[f32], Error> {
        self.values(Which::Estimate).await
    }

    async fn values(&mut self, which: Which) -> Result<&[f32], Error> {
        let n = self.used();
        let Session { engine, seeds, ids, .. } = &mut *self.session;
        engine.values(which, n, last(&self.settings, self.next, seeds, ids)).await
    }

    /// The pictures as bytes, `(n, h, w, c)`: the model's range mapped to 0 to 255 as [`crate::cpu::to_u8`] does.
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
        let mut bytes = vec![0; self.used()];
        self.write_u8_async(&mut bytes).await?;
        Ok(bytes)
    }

    /// [`Self::to_u8`] into memory of the caller's, as long as [`Self::pictures`].
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
        self.check_length(out)?;
        let Session { engine, seeds, ids, .. } = &mut *self.session;
        engine.write_u8(out, last(&self.settings, self.next, seeds, ids)).await
    }

    fn check_length(&self, out: &[u8]) -> Result<(), RequestError> {
        if out.len() == self.used() {
            return Ok(());
        }
        let (found, expected) = (out.len().to_string(), self.used().to_string());
        Err(RequestError::Range { what: "bytes for pictures", found, expected })
    }

    /// Elements in use.
    fn used(&self) -> usize {
        self.settings.pictures * self.session.picture()
    }
}

#[cfg(feature = "gpu")]
impl Run<'_> {
    /// The values on the device of a session that has one, without a copy to the host: a storage buffer of f32,
    /// `(n, h, w, c)`, in the model's range, not clipped. It is the session's; commands that the caller submits after
    /// [`Self::step`] see what that step made.
    pub fn buffer(&self, which: crate::gpu::Values) -> Option<&wgpu::Buffer> {
        match &self.session.engine {
            super::engine::Engine::Gpu(engine) => Some(engine.buffer(which)),
            super::engine::Engine::Cpu(_) => None,
        }
    }

    /// Draws picture `picture` into a texture of the same device, of the format `rgba8unorm` and usable as a storage
    /// texture: each pixel is enlarged to fill it. Nothing is copied to the host, and nothing is waited for.
    ///
    /// # Errors
    /// A picture out of range, a session on the CPU, or what the device has to say.
    pub fn draw_into(&self, which: crate::gpu::Values, picture: usize, view: &wgpu::TextureView) -> Result<(), Error> {
        let network = &self.session.model.info.network;
        if picture >= self.len() {
            let (found, expected) = (picture.to_string(), alloc::format!("0 to {}", self.len() - 1));
            return Err(RequestError::Range { what: "picture", found, expected }.into());
        }
        let super::engine::Engine::Gpu(engine) = &self.session.engine else {
            return Err(RequestError::NoDevice.into());
        };
        Ok(engine.draw_into(which, [picture, network.height, network.width, network.in_channels], view)?)
    }
}

/// A call of a run, if it has so many.
fn at<'a>(settings: &'a Settings<'a>, index: usize, seeds: &'a [u64], ids: &'a [Option<u32>]) -> Option<At<'a>> {
    (index < settings.calls.len()).then(|| At { settings, index, seeds: &seeds[..settings.pictures], ids })
}

/// The call made last.
fn last<'a>(settings: &'a Settings<'a>, next: usize, seeds: &'a [u64], ids: &'a [Option<u32>]) -> Option<At<'a>> {
    at(settings, next.checked_sub(1)?, seeds, ids)
}
