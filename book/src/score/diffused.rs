//! A mixture under the forward process: everything that a perfect network would know, in closed form.

use super::error::ScoreError;
use alloc::vec;
use alloc::vec::Vec;
use nijimi_runtime::raw::dist::Mixture;
use nijimi_runtime::schedule::Schedule;

/// q_t for data from a mixture: the sum of `w_k N(sqrt(alpha_bar) m_k, alpha_bar S_k + (1 - alpha_bar) I)`, and what is
/// known of x_0, the noise and the component (the *class* y) given x_t.
///
/// Where a method takes a batch, it is n rows of `dim()` numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Diffused {
    alpha_bar: f64,
    data: Mixture,
    noised: Mixture,
}

impl Diffused {
    /// Of `data` at a level of this `alpha_bar`, 0 (noise) to 1 (the data).
    ///
    /// # Errors
    /// An `alpha_bar` outside 0 to 1.
    pub fn new(data: &Mixture, alpha_bar: f64) -> Result<Self, ScoreError> {
        Ok(Self { alpha_bar, data: data.clone(), noised: data.noised(alpha_bar)? })
    }

    /// At levels 0..=T of a schedule; level t is at index t.
    ///
    /// # Errors
    /// None that a schedule's `alpha_bar` leads to.
    pub fn levels(data: &Mixture, schedule: &Schedule) -> Result<Vec<Self>, ScoreError> {
        schedule.alpha_bars().iter().map(|alpha_bar| Self::new(data, *alpha_bar)).collect()
    }

    /// The distribution of x_t.
    #[must_use]
    pub fn mixture(&self) -> &Mixture {
        &self.noised
    }

    /// Number of dimensions.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.noised.dim()
    }

    /// Gradient of log q_t(x_t), row by row of a batch.
    ///
    /// # Panics
    /// Where `x_t` is not n rows of `dim()` numbers, or `out` of another length.
    pub fn score(&self, x_t: &[f64], out: &mut [f64]) {
        self.rows(x_t, out, |x, out| self.noised.score(x, out));
    }

    /// E[epsilon | x_t] = -sqrt(1 - alpha_bar) score, what a perfect network predicts, row by row.
    ///
    /// # Panics
    /// As [`score`](Self::score).
    pub fn expected_epsilon(&self, x_t: &[f64], out: &mut [f64]) {
        self.score(x_t, out);
        let noise = libm::sqrt(1.0 - self.alpha_bar);
        out.iter_mut().for_each(|v| *v *= -noise);
    }

    /// E[epsilon | x_t, class]: what a perfect conditional network predicts, row by row.
    ///
    /// # Errors
    /// A class that is none.
    ///
    /// # Panics
    /// As [`score`](Self::score).
    pub fn expected_epsilon_of(&self, class: usize, x_t: &[f64], out: &mut [f64]) -> Result<(), ScoreError> {
        let classes = self.noised.components().len();
        let component = self.noised.components().get(class).ok_or(ScoreError::Class { class, classes })?;
        self.rows(x_t, out, |x, out| component.score(x, out));
        let noise = libm::sqrt(1.0 - self.alpha_bar);
        out.iter_mut().for_each(|v| *v *= -noise);
        Ok(())
    }

    /// E[x_0 | x_t], row by row. It holds at both ends: the mean of the data at `alpha_bar` 0, x_t itself at 1.
    ///
    /// # Panics
    /// As [`score`](Self::score).
    pub fn expected_x0(&self, x_t: &[f64], out: &mut [f64]) {
        let (dim, signal) = (self.dim(), libm::sqrt(self.alpha_bar));
        let mut shares = vec![0.0; self.noised.components().len()];
        let mut score = vec![0.0; dim];
        self.rows(x_t, out, |x, out| {
            self.noised.responsibilities(x, &mut shares);
            out.fill(0.0);
            // Of each component: m + sqrt(alpha_bar) S C^-1 (x - sqrt(alpha_bar) m), and C^-1 (..) is its score,
            // negative.
            for ((share, component), noised) in shares.iter().zip(self.data.components()).zip(self.noised.components())
            {
                noised.score(x, &mut score);
                for (i, row) in component.covariance().chunks_exact(dim).enumerate() {
                    let pull: f64 = row.iter().zip(&score).map(|(s, g)| s * g).sum();
                    out[i] += share * (component.mean()[i] - signal * pull);
                }
            }
        });
    }

    /// log p(class | x_t) of every class, for one row, into `out` (K).
    ///
    /// # Panics
    /// Where `x_t` is not of `dim()` numbers, or `out` not of K.
    pub fn log_classes(&self, x_t: &[f64], out: &mut [f64]) {
        self.noised.log_joint(x_t, out);
        let log_pdf = self.noised.log_pdf(x_t);
        out.iter_mut().for_each(|v| *v -= log_pdf);
    }

    /// Gradient of log p(class | x_t) by x_t, the perfect classifier's, row by row: the sum over j of
    /// `p(j | x_t) (score of class - score of j)`, which keeps its digits where the class is almost certain.
    ///
    /// # Errors
    /// A class that is none.
    ///
    /// # Panics
    /// As [`score`](Self::score).
    pub fn class_score(&self, class: usize, x_t: &[f64], out: &mut [f64]) -> Result<(), ScoreError> {
        let components = self.noised.components();
        let chosen = components.get(class).ok_or(ScoreError::Class { class, classes: components.len() })?;
        let mut shares = vec![0.0; components.len()];
        let (mut own, mut other) = (vec![0.0; self.dim()], vec![0.0; self.dim()]);
        self.rows(x_t, out, |x, out| {
            self.noised.responsibilities(x, &mut shares);
            chosen.score(x, &mut own);
            out.fill(0.0);
            for (j, (share, component)) in shares.iter().zip(components).enumerate() {
                if j != class {
                    component.score(x, &mut other);
                    out.iter_mut().zip(own.iter().zip(&other)).for_each(|(v, (a, b))| *v += share * (a - b));
                }
            }
        });
        Ok(())
    }

    fn rows(&self, x_t: &[f64], out: &mut [f64], mut row: impl FnMut(&[f64], &mut [f64])) {
        assert_eq!((x_t.len() % self.dim(), out.len()), (0, x_t.len()), "whole rows, and as many numbers out as in");
        x_t.chunks_exact(self.dim()).zip(out.chunks_exact_mut(self.dim())).for_each(|(x, out)| row(x, out));
    }
}
