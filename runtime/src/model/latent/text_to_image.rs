//! A model of prompts in memory, or opened.

use super::embedding::{Embedding, Rows};
use super::info::LatentInfo;
use super::parts::Parts;
use super::stages::{ModelPart, Stage};
use crate::Error;
use crate::gguf::File;
use crate::model::wait::wait;
use crate::model::{Device, Patch, SessionOptions, Stored, TinyAutoencoder};
use crate::nn::SdRequest;
use crate::sampler::{Calls, Field, Sigmas, Solver};
use crate::sync::Arc;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// A model, immutable; clones share it.
///
/// [`Self::load`] puts all of its networks into memory; [`Self::open`] keeps the file, and loads each network when a run
/// comes to it: text encoders, then the U-Net, then the decoder, whose memory is taken one after the other.
#[derive(Clone)]
pub struct TextToImage {
    info: Arc<LatentInfo>,
    pub(super) parts: Parts,
}

/// How a model is opened.
#[derive(Clone, Default)]
pub struct OpenOptions {
    /// Changes to the file's tensors, in their order: LoRAs.
    pub patches: Vec<Arc<dyn Patch>>,
    /// Words that it is taught.
    pub embeddings: Vec<Embedding>,
    /// Where the networks go.
    pub device: Device,
}

impl TextToImage {
    /// Loads a model for a device.
    ///
    /// # Errors
    /// Metadata that is missing, of the wrong type or unknown to this version; tensors that are missing, too many, or of
    /// another shape than the networks'; a device error.
    pub fn load(file: &File<'_>, device: &Device) -> Result<Self, Error> {
        let info = LatentInfo::read(file)?;
        Ok(Self { parts: Parts::load(file, &info, device)?, info: info.into() })
    }

    /// Opens a model, of which nothing is loaded yet. Names and shapes of all tensors are looked at now; numbers when they
    /// are loaded.
    ///
    /// # Errors
    /// As [`Self::load`]; embeddings of another model, or of words that it knows already.
    pub fn open(stored: Arc<dyn Stored>, options: OpenOptions) -> Result<Self, Error> {
        let OpenOptions { patches, embeddings, device } = options;
        let mut info = LatentInfo::read(&stored.file()?)?;
        Parts::check(&*stored, &info)?;
        let taught = match &embeddings[..] {
            [] => None,
            // By way of a box, which casts where the pointer is portable-atomic-util's.
            words => Some(Arc::from(Box::new(Rows::add(&mut info, words)?) as Box<dyn Patch>)),
        };
        Ok(Self { parts: Parts::open(stored, device, patches, taught), info: info.into() })
    }

    /// The same model with other patches in place of its own: LoRAs of other strengths, or others. Of the networks in memory, only
    /// tensors that are not changed by the same patches as before are read and packed anew; the others are shared by both
    /// models. While the first model lives, what changed is in memory twice: of SD 1.5 in f16 (1.7 GB), 187 MB by a LoRA of the
    /// attention's layers, 534 MB by one of all layers of the transformers.
    ///
    /// # Errors
    /// What a patch says; a file that cannot be read again; [`RequestError::NotOf`](crate::model::RequestError::NotOf) of a model
    /// from [`Self::load`], which keeps no file.
    pub fn with_patches(&self, patches: Vec<Arc<dyn Patch>>) -> Result<Self, Error> {
        Ok(Self { parts: self.parts.with_patches(&self.info, patches)?, info: self.info.clone() })
    }

    /// The same model with some networks in memory for as long as it lives: for many runs.
    ///
    /// # Errors
    /// Numbers that are damaged, what a patch says, a device error.
    pub fn hold(&self, parts: &[ModelPart]) -> Result<Self, Error> {
        Ok(Self { info: self.info.clone(), parts: self.parts.hold(&self.info, parts.iter().copied())? })
    }

    /// The networks that runs use: without an init image not the encoder, and not what `tiny` does in its place.
    pub fn used(&self, encodes: bool, tiny: Option<&TinyAutoencoder>) -> Vec<ModelPart> {
        let uses = |part: &ModelPart| match part {
            ModelPart::Text(_) | ModelPart::UNet => true,
            ModelPart::Encoder => encodes && tiny.is_none_or(|tiny| !tiny.info().has_encoder),
            ModelPart::Decoder => tiny.is_none(),
        };
        ModelPart::all(&self.info).filter(uses).collect()
    }

    /// The same model, none of whose networks is in memory: of each, while it works, about `held` bytes of weights are, and the others are
    /// read from the file and packed each time that they are used. Pictures are the same. It is for networks that are larger than memory:
    /// [`Choice::held`](super::Choice::held) has what a run is allowed.
    ///
    /// # Errors
    /// [`RequestError::NotOf`](crate::model::RequestError::NotOf) of a model from [`Self::load`], or on a device.
    pub fn streamed(&self, held: u64) -> Result<Self, Error> {
        Ok(Self { parts: self.parts.streamed(held)?, info: self.info.clone() })
    }

    /// [`Self::hold`], of all.
    ///
    /// # Errors
    /// As [`Self::hold`].
    pub fn hold_all(&self) -> Result<Self, Error> {
        Ok(Self { info: self.info.clone(), parts: self.parts.hold_all(&self.info)? })
    }

    /// What the file says of the model.
    pub fn info(&self) -> &LatentInfo {
        &self.info
    }

    /// Bytes of the packed weights that are held in memory.
    pub fn weight_bytes(&self) -> usize {
        self.parts.bytes()
    }

    /// [`LatentInfo::calls_by`] of this model.
    ///
    /// # Errors
    /// SolverSettings that do not fit each other.
    pub fn calls_by(&self, solver: Option<Solver>, sigmas: Option<Sigmas>, steps: usize) -> Result<Calls, Error> {
        self.info.calls_by(solver, sigmas, steps)
    }

    /// [`LatentInfo::calls`] of this model.
    ///
    /// # Errors
    /// A class or a setting that is not known, or does not fit.
    pub fn calls(&self, class: Option<&str>, changed: &[(&str, Field)], steps: usize) -> Result<Calls, Error> {
        self.info.calls(class, changed, steps)
    }

    /// How many times a picture's side is that of its latents.
    pub fn factor(&self) -> usize {
        self.info.autoencoder.factor()
    }

    /// Why a picture may be of one color: [`ExecError::Constant`](crate::plan::ExecError::Constant) with the first operation of
    /// the denoiser, then of the decoder, that makes the same number everywhere, if there is one.
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
        let smallest = self.info.denoiser.smallest();
        // Not so small that a norm has one number to look at.
        let unet = SdRequest { height: 2 * smallest.height, width: 2 * smallest.width, ..smallest };
        for stage in [Stage::denoiser(&self.info, &unet)?, Stage::decoder(&self.info, None, [4, 4])?] {
            self.parts.evaluator(&self.info, stage, options)?.check_constant_async(0).await?;
        }
        Ok(())
    }
}

impl core::fmt::Debug for TextToImage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TextToImage").field("info", self.info()).finish_non_exhaustive()
    }
}
