//! The network of a model of pixels, planned as a stage of its runs.

use super::super::stages::{ModelPart, Stage};
use super::{PlanRequest, Planner, StagePlan};
use crate::Error;
use crate::gguf::File;
use crate::model::Info;
use crate::model::options::{MAX_BATCH, in_range};

impl StagePlan {
    /// What runs of the model of pixels in `file` take, of which no tensor is read; `info` is what [`Info::read`] found there. Of
    /// the request, its size is the model's, and only models of labels are guided.
    ///
    /// # Errors
    /// What loading the model would have against the tensors' shapes; activations that the device cannot bind at once.
    pub fn of_pixels(file: &File<'_>, info: &Info, request: &PlanRequest<'_>) -> Result<Self, Error> {
        let n = request.pictures;
        in_range("number of pictures", n, 1, MAX_BATCH)?;
        let batch = if request.guided { 2 * n } else { n };
        let stage = Stage::new("U-Net", Some(ModelPart::UNet), info.network.graph(batch)?);
        let values = n * info.network.size().iter().product::<usize>() * info.network.channels();
        // As of latents; the pictures lie in the samples' place, and are given as bytes.
        let buffers = (4 * 12 + 1) * values as u64;
        let evaluations = request.calls * request.runs.max(1);
        let planned = Planner::new(request).stage(file, &stage, evaluations)?;
        Ok(Self { drawn: true, buffers, ..planned })
    }
}
