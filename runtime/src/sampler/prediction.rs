//! What a network answers, and what that says of the picture and of the noise.

/// What the network answers. The sample is `alpha * x_0 + sigma * epsilon`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prediction {
    /// The noise in x (Ho et al. 2020).
    #[default]
    Epsilon,
    /// `(alpha * epsilon - sigma * x_0) / sqrt(alpha^2 + sigma^2)` (Salimans and Ho 2022).
    V,
    /// The clean picture x_0.
    Sample,
    /// `epsilon - x_0` (Liu et al. 2022, "Flow Straight and Fast").
    Flow,
}

impl Prediction {
    /// By the name `diffusers` and our weight files give it: "epsilon", "v_prediction", "sample" (or "original_sample"),
    /// "flow_prediction".
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "epsilon" => Some(Self::Epsilon),
            "v_prediction" => Some(Self::V),
            "sample" | "original_sample" => Some(Self::Sample),
            "flow_prediction" => Some(Self::Flow),
            _ => None,
        }
    }

    /// x_0 = first * x + second * answer.
    pub(super) fn x0(self, alpha: f64, sigma: f64) -> (f64, f64) {
        let size = libm::sqrt(alpha * alpha + sigma * sigma);
        match self {
            Self::Epsilon => (1.0 / alpha, -sigma / alpha),
            Self::V => (alpha / (size * size), -sigma / size),
            Self::Sample => (0.0, 1.0),
            Self::Flow => (1.0 / (alpha + sigma), -sigma / (alpha + sigma)),
        }
    }

    /// epsilon = first * x + second * answer.
    pub(crate) fn epsilon(self, alpha: f64, sigma: f64) -> (f64, f64) {
        let size = libm::sqrt(alpha * alpha + sigma * sigma);
        match self {
            Self::Epsilon => (0.0, 1.0),
            Self::V => (sigma / (size * size), alpha / size),
            Self::Sample => (1.0 / sigma, -alpha / sigma),
            Self::Flow => (1.0 / (alpha + sigma), alpha / (alpha + sigma)),
        }
    }
}
