//! ControlNets beside the U-Net: what they say of a picture, call by call.

use super::info::LatentInfo;
use super::request::LatentRequest;
use super::start::each;
use crate::Error;
use crate::model::network::Evaluator;
use crate::model::session::check;
use crate::nn::{ControlNet, SdRequest, SdUnet};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// The ControlNets of a run, ready.
#[derive(Default)]
pub(super) struct Controls {
    all: Vec<Controlled>,
    /// Names of the residuals.
    residuals: Vec<String>,
}

struct Controlled {
    evaluator: Evaluator,
    /// Of every text.
    picture: Vec<f32>,
    strength: f32,
}

impl Controls {
    pub fn new(info: &LatentInfo, request: &LatentRequest<'_>, graph: &SdRequest) -> Result<Self, Error> {
        let mut controls = Self::default();
        for control in &request.controls {
            check(control.strength.is_finite(), "strength of a ControlNet", control.strength, "a finite number")?;
            control.network.check(info)?;
            let channels = control.network.info().network.picture_channels;
            let one = request.size[0] * request.size[1] * channels;
            let picture = each(control.picture, 1, one, "values of the picture that controls")?.repeat(graph.batch);
            let evaluator = control.network.evaluator(graph, &request.options)?;
            controls.all.push(Controlled { evaluator, picture, strength: control.strength });
            controls.residuals = control.network.residuals();
        }
        Ok(controls)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The residuals, times their strengths, added up, by the names of the U-Net's inputs; `inputs` are the U-Net's own.
    pub async fn evaluate(&mut self, inputs: &[(&str, &[f32])]) -> Result<Vec<(String, Vec<f32>)>, Error> {
        let mut sums: Vec<(String, Vec<f32>)> = self.residuals.iter().map(|name| (name.clone(), vec![])).collect();
        // A network into which guidance was distilled is told the scale; its ControlNet is not.
        let known = inputs.iter().copied().filter(|(name, _)| *name != SdUnet::GUIDANCE);
        let known: Vec<_> = known.collect();
        for Controlled { evaluator, picture, strength } in &mut self.all {
            let mut inputs = known.clone();
            inputs.push((ControlNet::PICTURE, picture));
            evaluator.evaluate_async(0, &inputs, &[]).await?;
            for (name, sum) in &mut sums {
                let residual = evaluator.output(name)?;
                sum.resize(residual.len(), 0.0);
                sum.iter_mut().zip(residual).for_each(|(sum, x)| *sum += *strength * x);
            }
        }
        Ok(sums)
    }
}
