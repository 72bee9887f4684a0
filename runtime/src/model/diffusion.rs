//! A model in memory: its description and packed weights.

use super::device::Device;
use super::loaded::Loaded;
use super::network::Network;
use super::options::SessionOptions;
use super::run::Run;
use super::session::{Request, Session};
use super::wait::wait;
use super::{Info, RequestError, info};
use crate::Error;
use crate::gguf::File;
use crate::sampler::{Calls, Solver};
use alloc::vec;

/// A loaded model of pictures in pixels. A file's `nijimi.system` is `ddpm`.
pub type Diffusion = Loaded<Info>;

impl Diffusion {
    /// Loads a model for a device. The weights are copied and packed for the kernels, and the file's bytes are not needed
    /// afterwards; except for [`Device::CpuInPlace`], which reads them where they lie.
    ///
    /// # Errors
    /// Metadata that is missing, of the wrong type or unknown to this version; tensors that are missing, too many, or
    /// of another shape than the network's; a device error.
    pub fn load(file: &File<'_>, device: &Device) -> Result<Self, Error> {
        let info = Info::read(file)?;
        let network = Network::load(file, vec![info.network.graph(1)?], device)?;
        Ok(Self::new(info, network))
    }

    /// The id of a label.
    ///
    /// # Errors
    /// [`RequestError::UnknownLabel`], which lists the labels that exist.
    pub fn label(&self, name: &str) -> Result<u32, RequestError> {
        info::label(&self.info().labels, name)
    }

    /// The calls of the network that a run with this solver makes, all worked out. [`Info::defaults`] has the solver and
    /// the number of steps that suit the model.
    ///
    /// # Errors
    /// More steps than the schedule has, or none; settings of the solver that are out of range.
    pub fn calls(&self, solver: Solver, steps: usize) -> Result<Calls, Error> {
        Ok(Calls::new(&self.info().schedule, &self.info().settings(solver, steps)?)?)
    }

    /// Makes a session: plans, then allocates all memory that its runs use.
    ///
    /// # Errors
    /// A batch out of range, or more memory than the options allow; the error has both figures.
    pub fn session(&self, options: &SessionOptions) -> Result<Session, Error> {
        Session::new(self.clone(), options, None)
    }

    /// Starts one run, with a session's memory of its own: it borrows nothing, and may be kept.
    ///
    /// # Errors
    /// As [`Self::session`] for as many pictures as are asked for, and as [`Session::run`]; the options' batch is ignored.
    pub fn run(&self, request: &Request<'_>, options: &SessionOptions) -> Result<Run<'static>, Error> {
        let guidance = ![0.0, 1.0].contains(&request.guidance_scale);
        let batch = request.labels.len();
        self.session(&SessionOptions { batch, guidance, ..*options })?.into_run(request)
    }

    /// As [`Self::session`], with its large memory (activations and scratch, all but a few pictures) lent by the caller: a
    /// static, or a bank of memory of its own. Of any content; at least as long as the error for too short memory says.
    /// [`Session::into_lent`] gives it back.
    ///
    /// # Errors
    /// As [`Self::session`]; [`ExecError::Lent`](crate::plan::ExecError::Lent) if the memory is too short;
    /// [`RequestError::DeviceMemory`] of a model on a device.
    pub fn session_in(&self, options: &SessionOptions, memory: &'static mut [f32]) -> Result<Session, Error> {
        Session::new(self.clone(), options, Some(memory))
    }

    /// Why a picture may be of one color: [`ExecError::Constant`](crate::plan::ExecError::Constant) with the first operation that
    /// makes the same number everywhere, if there is one.
    ///
    /// # Errors
    /// As said; more memory than the options allow; a device error.
    pub fn check_constant(&self, options: &SessionOptions) -> Result<(), Error> {
        wait(self.check_constant_async(options))
    }

    /// [`Self::check_constant`], awaited.
    ///
    /// # Errors
    /// As [`Self::check_constant`] has.
    pub async fn check_constant_async(&self, options: &SessionOptions) -> Result<(), Error> {
        self.networks().evaluator(vec![self.info().network.graph(1)?], options)?.check_constant_async(0).await
    }
}
