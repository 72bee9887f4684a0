//! Data whose score is known at every level: a mixture of normals under q_t.

use super::to_epsilon;
use crate::dist::{DistError, Mixture};
use crate::schedule::Schedule;
use alloc::vec;
use alloc::vec::Vec;

/// x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) epsilon with x_0 from a mixture; label k is component k.
#[derive(Clone, Debug, PartialEq)]
pub struct Noised {
    data: Mixture,
    noised: Mixture,
    alpha_bar: f64,
}

impl Noised {
    /// Of `data`, at a level of this `alpha_bar`.
    ///
    /// # Errors
    /// An `alpha_bar` outside 0 to 1.
    pub fn new(data: &Mixture, alpha_bar: f64) -> Result<Self, DistError> {
        Ok(Self { data: data.clone(), noised: data.noised(alpha_bar)?, alpha_bar })
    }

    /// Levels 0..=T of a schedule; level t is at index t, the data themselves at 0.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn levels(data: &Mixture, schedule: &Schedule) -> Result<Vec<Self>, DistError> {
        schedule.alpha_bars().iter().map(|alpha_bar| Self::new(data, *alpha_bar)).collect()
    }

    /// The distribution of x_t.
    #[must_use]
    pub fn mixture(&self) -> &Mixture {
        &self.noised
    }

    /// grad log p(x_t) into `out`.
    ///
    /// # Panics
    /// Here and below, where a slice is not of as many numbers as there are dimensions.
    pub fn score(&self, x: &[f64], out: &mut [f64]) {
        self.noised.score(x, out);
    }

    /// grad log p(x_t | label) into `out`.
    ///
    /// # Panics
    /// Also where there is no such component, as indexing does.
    pub fn class_score(&self, x: &[f64], label: usize, out: &mut [f64]) {
        self.noised.components()[label].score(x, out);
    }

    /// E[epsilon | x_t] into `out`: what a perfect network answers.
    pub fn epsilon(&self, x: &[f64], out: &mut [f64]) {
        self.score(x, out);
        out.iter_mut().for_each(|v| *v = to_epsilon(self.alpha_bar, *v));
    }

    /// E[epsilon | x_t, label] into `out`.
    ///
    /// # Panics
    /// Also where there is no such component, as indexing does.
    pub fn class_epsilon(&self, x: &[f64], label: usize, out: &mut [f64]) {
        self.class_score(x, label, out);
        out.iter_mut().for_each(|v| *v = to_epsilon(self.alpha_bar, *v));
    }

    /// grad_x log p(label | x_t) into `out`: what a perfect classifier's gradient is. By its formula, not as a difference of
    /// scores: sum over k of p(k | x) (score of label - score of k).
    ///
    /// # Panics
    /// Also where there is no such component, as indexing does.
    pub fn class_gradient(&self, x: &[f64], label: usize, out: &mut [f64]) {
        let components = self.noised.components();
        let (mut shares, mut own, mut other) = (vec![0.0; components.len()], vec![0.0; x.len()], vec![0.0; x.len()]);
        self.noised.responsibilities(x, &mut shares);
        components[label].score(x, &mut own);
        out.fill(0.0);
        for (k, share) in shares.iter().enumerate().filter(|(k, _)| *k != label) {
            components[k].score(x, &mut other);
            out.iter_mut().zip(own.iter().zip(&other)).for_each(|(out, (own, other))| *out += share * (own - other));
        }
    }

    /// E[x_0 | x_t] into `out`: for each component the regression of x_0 on x_t, m + sqrt(A) S C^-1 (x - sqrt(A) m), by
    /// responsibility. Holds at every level, where Tweedie's formula divides by sqrt(A).
    pub fn x0(&self, x: &[f64], out: &mut [f64]) {
        let dim = x.len();
        let (mut shares, mut score) = (vec![0.0; self.data.weights().len()], vec![0.0; dim]);
        self.noised.responsibilities(x, &mut shares);
        out.fill(0.0);
        for ((share, data), noised) in shares.iter().zip(self.data.components()).zip(self.noised.components()) {
            // The score of a normal is -C^-1 (x - sqrt(A) m).
            noised.score(x, &mut score);
            for ((out, mean), row) in out.iter_mut().zip(data.mean()).zip(data.covariance().chunks_exact(dim)) {
                let moved: f64 = row.iter().zip(&score).map(|(s, score)| s * score).sum();
                *out += share * (mean - libm::sqrt(self.alpha_bar) * moved);
            }
        }
    }
}
