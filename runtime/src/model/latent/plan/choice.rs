//! Ways of doing a run, from the one that takes the most memory to the one that takes the least.

use super::{LatentPlan, StagePlan};
use crate::model::latent::Tiling;
use crate::model::{RequestError, TooLarge};
use alloc::vec::Vec;

/// A way of doing a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Choice {
    /// Whether a part of the model is in memory only while it works. If not, and [`PlanRequest::stays`] is not asked for
    /// either, what several runs have in common stays: U-Net and decoder.
    ///
    /// [`PlanRequest::stays`]: super::PlanRequest::stays
    pub staged: bool,
    /// How pictures are cut to be encoded and decoded.
    pub tiling: Option<Tiling>,
    /// Bytes of the weights of a part that are in memory while it works, if the others are read from the file as they are used:
    /// what [`TextToImage::streamed`](crate::model::TextToImage::streamed) wants.
    pub held: Option<u64>,
}

impl LatentPlan {
    /// The ways, the best first: without tiles before with tiles, and what is used again in memory before parts alone.
    pub fn choices(&self) -> impl Iterator<Item = Choice> {
        // A single run uses no part again.
        let staged = match (self.stays, self.runs) {
            (true, _) => &[false][..],
            (false, 1) => &[true],
            (false, _) => &[false, true],
        };
        self.coders
            .iter()
            .flat_map(|coder| staged.iter().map(|&staged| Choice { staged, tiling: coder.tiling, held: None }))
    }

    /// The most bytes that the runs take at once in this way, the program itself not counted.
    pub fn peak(&self, choice: &Choice) -> u64 {
        let apart = if self.apart && !choice.staged { self.decoding(choice) } else { 0 };
        apart.saturating_add(match (choice.staged, self.stays) {
            (true, _) => self.most(choice, |_| true, |stage| stage.stays),
            (false, true) => self.resident(choice),
            (false, false) => {
                // Prompts and pictures have been read before what draws is loaded.
                let draws = |stage: &StagePlan| stage.drawn || stage.beside;
                let reading = self.most(choice, |stage| !draws(stage), |stage| stage.stays);
                reading.max(self.most(choice, draws, |stage| stage.stays || stage.drawn))
            }
        })
    }

    /// Bytes of the activations of the U-Net or of the decoder, whichever are less: what a session takes beside the other's.
    fn decoding(&self, choice: &Choice) -> u64 {
        let works = |stage: &StagePlan| stage.arena + stage.buffers;
        let unet = self.unet.iter().map(works).sum();
        self.stages(choice).last().map_or(0, works).min(unet)
    }

    /// [`Self::peak`] with all that the runs use in memory, whatever the request says.
    pub fn resident(&self, choice: &Choice) -> u64 {
        self.most(choice, |_| true, |stage| !stage.once)
    }

    /// The peak while some stages work, if the weights of some are in memory all the time.
    fn most(&self, choice: &Choice, works: impl Fn(&StagePlan) -> bool, stays: impl Fn(&StagePlan) -> bool) -> u64 {
        let weights = |stages: &[&StagePlan], staying: bool| {
            let stages = stages.iter().filter(|stage| stays(stage) == staying);
            let weights = |stage: &&&StagePlan| match choice.held {
                Some(held) if !stage.stays => stage.streamed(held),
                _ => stage.weights,
            };
            stages.map(|stage| weights(&stage)).fold(0, u64::saturating_add)
        };
        let stages: Vec<&StagePlan> = self.stages(choice).collect();
        let together = |stages: &[&StagePlan]| {
            let works: u64 = stages.iter().map(|stage| stage.arena + stage.buffers).sum();
            let loads = stages.iter().filter(|stage| !stays(stage)).map(|stage| stage.largest).max().unwrap_or(0);
            weights(stages, false).saturating_add(works.max(loads))
        };
        let working: Vec<&StagePlan> = stages.iter().copied().filter(|stage| works(stage)).collect();
        let most = working.chunk_by(|_, next| next.beside).map(together).max().unwrap_or(0);
        self.kept.saturating_add(weights(&stages, true)).saturating_add(most)
    }

    /// The ways for a network that is larger than memory, the best first: no matrix of a part is in memory but the one that is used.
    /// None on a device, where parts must stay, or where tensors are changed while they are loaded.
    pub fn streamed(&self) -> impl Iterator<Item = Choice> {
        let coders = if self.streams && !self.stays { &self.coders[..] } else { &[] };
        coders.iter().map(|coder| Choice { staged: true, tiling: coder.tiling, held: Some(0) })
    }

    /// That way with as much in memory as is allowed: up to the last of bytes, found by halving.
    fn holding(&self, choice: &Choice, allowed: u64) -> Choice {
        let (mut least, mut most) = (0, allowed);
        while most - least > 1 {
            let held = least.midpoint(most);
            match self.peak(&Choice { held: Some(held), ..*choice }) <= allowed {
                true => least = held,
                false => most = held,
            }
        }
        Choice { held: Some(least), ..*choice }
    }

    /// The best way that takes no more than `allowed` bytes.
    ///
    /// # Errors
    /// [`RequestError::TooLarge`] if there is none.
    pub fn fits(&self, allowed: u64) -> Result<Choice, RequestError> {
        if let Some(choice) = self.choices().find(|choice| self.peak(choice) <= allowed) {
            return Ok(choice);
        }
        let streamed: Vec<Choice> = self.streamed().collect();
        if let Some(none) = streamed.iter().find(|choice| self.peak(choice) <= allowed) {
            return Ok(self.holding(none, allowed));
        }
        let first = self.choices().next().unwrap_or_default();
        let staged = (!self.stays).then_some(Choice { staged: true, ..first });
        let least =
            self.choices().chain(streamed.iter().copied()).min_by_key(|choice| self.peak(choice)).unwrap_or_default();
        let tiled = (self.peak(&least) < self.peak(&staged.unwrap_or(first))).then_some(least);
        let Some(stage) = self.stages(&least).max_by_key(|stage| stage.peak()) else { return Ok(least) };
        let activations = stage.arena + stage.buffers;
        let remedy = match (activations > stage.weights, self.wide) {
            (true, _) if stage.name.contains("decoder") && !self.tiny => {
                "a smaller size, fewer pictures at once, or a tiny autoencoder"
            }
            (true, _) => "a smaller size, or fewer pictures at once",
            (false, true) => "a file of fewer bits a weight (q8_0 to q4_k), or more memory",
            (false, false) => "a smaller model, or more memory",
        };
        let peak = |choice: Choice| self.peak(&choice);
        let refused = TooLarge {
            what: self.request.clone(),
            resident: self.resident(&first),
            staged: staged.map(peak),
            tiled: tiled.filter(|choice| choice.held.is_none()).map(peak),
            streamed: streamed.into_iter().map(peak).min(),
            allowed,
            stage: stage.name.clone(),
            weights: stage.weights,
            activations,
            remedy,
        };
        Err(RequestError::TooLarge(refused.into()))
    }
}
