//! Pictures that are looked at while one is drawn, as tokens beside its own (FLUX.2).

use super::TextToImage;
use super::info::LatentInfo;
use super::request::{LatentRequest, ReferenceImage};
use crate::Error;
use crate::model::RequestError;
use crate::model::ip_adapter::Given;
use crate::model::options::in_range;
use crate::model::wait::wait;
use crate::nn::{Denoiser, Flux2};
use alloc::vec::Vec;

/// The most of them.
const MOST: usize = 10;

impl LatentInfo {
    /// Whether pictures can be looked at.
    pub fn sees_references(&self) -> bool {
        matches!(self.denoiser, Denoiser::Flux2(_))
    }

    /// The sizes of the latents of pictures that are looked at.
    ///
    /// # Errors
    /// Pictures that the model cannot look at, or too many.
    pub(super) fn reference_sizes(&self, sizes: &[[usize; 2]]) -> Result<Vec<[usize; 2]>, RequestError> {
        if !sizes.is_empty() && !self.sees_references() {
            return Err(RequestError::NotOf { what: "references", of: "models that look at pictures (FLUX.2)" });
        }
        in_range("number of references", sizes.len(), 0, MOST)?;
        sizes.iter().map(|size| self.latent_size(*size)).collect()
    }
}

/// Pictures that are looked at, encoded: for many runs.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct EncodedReferences {
    /// Heights and widths of their latents.
    pub(super) sizes: Vec<[usize; 2]>,
    /// The latents, one after the other.
    latents: Vec<f32>,
}

impl EncodedReferences {
    /// Their tokens.
    pub(super) fn tokens(&self) -> usize {
        self.sizes.iter().map(|[height, width]| height * width).sum()
    }

    /// By the name of the denoiser's input: for one text.
    pub(super) fn given(&self) -> Option<Given> {
        (!self.latents.is_empty()).then(|| (Flux2::REFERENCES.into(), self.latents.clone()))
    }
}

impl TextToImage {
    /// Encodes a request's [`references`](LatentRequest::references). The encoder's memory is given back.
    ///
    /// # Errors
    /// Pictures that the model cannot look at, of sizes that it cannot have, or too many; more memory than the options allow; a NaN
    /// or an infinity; a device error.
    pub fn encode_references(&self, request: &LatentRequest<'_>) -> Result<EncodedReferences, Error> {
        wait(self.encode_references_async(request))
    }

    /// [`Self::encode_references`], awaited.
    ///
    /// # Errors
    /// As [`Self::encode_references`] has.
    pub async fn encode_references_async(&self, request: &LatentRequest<'_>) -> Result<EncodedReferences, Error> {
        let sizes: Vec<_> = request.references.iter().map(|reference| reference.size).collect();
        let mut encoded = EncodedReferences { sizes: self.info().reference_sizes(&sizes)?, latents: Vec::new() };
        for &ReferenceImage { picture, size } in &request.references {
            encoded.latents.extend(self.encode_async(picture, size, request.decoding, &request.options).await?);
        }
        Ok(encoded)
    }
}
