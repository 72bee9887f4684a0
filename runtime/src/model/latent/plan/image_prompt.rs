//! Pictures that lead by an IP-Adapter, planned: the image encoder, which says all before anything is drawn.

use super::super::info::LatentInfo;
use super::super::stages::Stage;
use super::{Planner, StagePlan};
use crate::Error;
use crate::gguf::File;
use crate::model::options::in_range;
use crate::model::{ImageEncoderInfo, IpAdapterInfo};
use crate::nn::VisionStates;

/// What an IP-Adapter leads by.
#[derive(Clone, Copy, Debug)]
pub struct ImagePromptPlan<'a> {
    /// Its file.
    pub adapter: &'a File<'a>,
    /// That of the image encoder.
    pub encoder: &'a File<'a>,
    /// Pictures that are shown.
    pub pictures: usize,
}

impl ImagePromptPlan<'_> {
    /// The adapter and the encoder, if they fit to the model and to each other; pictures, and states of each.
    pub(super) fn read(&self, info: &LatentInfo) -> Result<(IpAdapterInfo, ImageEncoderInfo, [usize; 2]), Error> {
        in_range("number of pictures that lead", self.pictures, 1, IpAdapterInfo::MAX_PICTURES)?;
        let (adapter, encoder) = (IpAdapterInfo::read(self.adapter)?, ImageEncoderInfo::read(self.encoder)?);
        adapter.check(info)?;
        adapter.check_encoder(&encoder)?;
        let [_, states] = encoder.network.states(adapter.network.reads());
        Ok((adapter, encoder, [self.pictures, states]))
    }

    /// The encoder's: of all pictures, and of none where patches are wanted.
    pub(super) fn encoder_stage(
        &self,
        planner: &Planner<'_>,
        adapter: &IpAdapterInfo,
        encoder: &ImageEncoderInfo,
    ) -> Result<StagePlan, Error> {
        let nothing = usize::from(adapter.network.reads() == VisionStates::Patches);
        let stage = planner.stage(self.encoder, &Stage::image_encoder(encoder, adapter)?, self.pictures + nothing)?;
        Ok(StagePlan { stays: false, once: true, ..stage })
    }
}
