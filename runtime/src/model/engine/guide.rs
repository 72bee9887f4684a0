//! A classifier that guides a run (Dhariwal and Nichol 2021, algorithm 2).

use crate::model::ClassifierSession;
use crate::plan::ExecError;
use crate::sampler::{Call, Prediction};
use crate::{Error, guidance};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

/// The classifier, and the labels that it guides to.
pub(in crate::model) struct Guide {
    pub session: ClassifierSession,
    /// What the network answers.
    prediction: Prediction,
    /// One a sample; `None` is not guided.
    pub labels: Vec<Option<u32>>,
    /// Strength; with 0 the classifier is not asked.
    pub gamma: f32,
    /// What the network is given.
    input: Vec<f32>,
}

impl Guide {
    /// For `batch` samples of `each` values.
    pub fn new(session: ClassifierSession, prediction: Prediction, batch: usize, each: usize) -> Self {
        let (labels, input) = (vec![None; batch], vec![0.0; batch * each]);
        Self { session, prediction, labels, gamma: 0.0, input }
    }

    /// Sets labels and strength of a run.
    pub fn lead_to(&mut self, labels: &[Option<u32>], gamma: f32) -> Result<(), Error> {
        self.labels.fill(None);
        self.labels[..labels.len()].copy_from_slice(labels);
        self.gamma = gamma;
        self.session.set_labels(labels)
    }

    /// Bytes of memory, weights not counted.
    pub fn bytes(&self) -> usize {
        self.session.bytes() + size_of_val(&self.labels[..]) + 4 * self.input.len()
    }

    /// The noise level, as the classifier knows it.
    pub fn timestep(&self, call: &Call) -> f32 {
        call.t + self.session.info().first_timestep as f32
    }

    /// Standard deviation of the noise in what the networks are given, over the answer's share in epsilon.
    pub fn sigma(&self, call: &Call) -> f32 {
        let (alpha, sigma) = (call.alpha * call.input_scale, call.sigma * call.input_scale);
        let (alpha, sigma) = (f64::from(alpha), f64::from(sigma));
        let (_, share) = self.prediction.epsilon(alpha, sigma);
        (sigma / share) as f32
    }

    /// The gradient of the labels' log-probability with respect to `x`, `n` samples.
    pub async fn gradient(&mut self, call: &Call, x: &[f32], n: usize) -> Result<&[f32], Error> {
        let timestep = self.timestep(call);
        let input = &mut self.input[..x.len()];
        call.scale_input(x, input)?;
        self.session.gradient_async(input, timestep, &self.labels[..n]).await.map_err(the_classifiers)
    }

    /// Guides the network's answer.
    pub async fn lead(&mut self, call: &Call, x: &[f32], n: usize, answer: &mut [f32]) -> Result<(), Error> {
        let (gamma, sigma) = (self.gamma, self.sigma(call));
        let gradient = self.gradient(call, x, n).await?;
        Ok(guidance::classifier(gamma, sigma, gradient, answer)?)
    }
}

/// An operation of the classifier's is told apart from the network's.
pub(super) fn the_classifiers(e: Error) -> Error {
    match e {
        Error::Exec(ExecError::NotFinite { step, kind, value, index }) => {
            ExecError::NotFinite { step: format!("the classifier's {step}"), kind, value, index }.into()
        }
        e => e,
    }
}
