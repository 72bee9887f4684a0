//! ControlNets beside the U-Net: what they say of a picture, call by call.

use super::inputs::Inputs;
use crate::Error;
use crate::model::network::Evaluator;
use crate::nn::{ControlNet, SdUnet};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// The ControlNets of a run, ready.
#[derive(Default)]
pub(in crate::model) struct Controls {
    all: Vec<Controlled>,
    /// Their residuals, added up, by the names of the U-Net's inputs.
    sums: Vec<(String, Vec<f32>)>,
}

/// One of them.
pub(in crate::model) struct Controlled {
    pub evaluator: Evaluator,
    /// Of every text.
    pub picture: Vec<f32>,
    pub strength: f32,
}

impl Controls {
    /// Of the same `residuals`.
    pub fn new(all: Vec<Controlled>, residuals: Vec<String>) -> Self {
        Self { all, sums: residuals.into_iter().map(|name| (name, Vec::new())).collect() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Bytes held, weights not counted.
    pub fn bytes(&self) -> usize {
        let sums = self.sums.iter().map(|(_, values)| 4 * values.len()).sum::<usize>();
        self.all.iter().map(|c| c.evaluator.bytes() + 4 * c.picture.len()).sum::<usize>() + sums
    }

    /// Asks them for a call; `latents` and `time` are what the U-Net is given.
    pub async fn evaluate(&mut self, latents: &[f32], time: &[f32], inputs: &Inputs) -> Result<(), Error> {
        self.sums.iter_mut().for_each(|(_, sum)| sum.fill(0.0));
        for Controlled { evaluator, picture, strength } in &mut self.all {
            let mut given = vec![(SdUnet::LATENTS, latents), (SdUnet::TIME, time), (ControlNet::PICTURE, &*picture)];
            // A network into which guidance was distilled is told the scale; its ControlNet is not, nor is it adapted.
            let told = |name: &str| [SdUnet::TEXT, SdUnet::ADDED].contains(&name);
            given.extend(inputs.constants().filter(|(name, _)| told(name)));
            evaluator.evaluate_async(0, &given, &[]).await?;
            for (name, sum) in &mut self.sums {
                let residual = evaluator.output(name)?;
                sum.resize(residual.len(), 0.0);
                sum.iter_mut().zip(residual).for_each(|(sum, x)| *sum += *strength * x);
            }
        }
        Ok(())
    }

    /// What they said last, times their strengths, added up, by the names of the U-Net's inputs.
    pub fn residuals(&self) -> impl Iterator<Item = (&str, &[f32])> {
        self.sums.iter().map(|(name, values)| (name.as_str(), values.as_slice()))
    }
}
