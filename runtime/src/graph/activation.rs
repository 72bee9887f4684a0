//! The functions that end an operation.

/// The function that an operation applies last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activation {
    /// The value itself.
    None,
    /// max(v, 0). A NaN stays NaN, so that it is found at its source.
    Relu,
    /// v where v >= 0, else 0.2 v: the slope that ESRGAN has below zero. A NaN stays NaN.
    LeakyRelu,
    /// 0.2 v: what residual blocks of ESRGAN are multiplied with before they are added (residual scaling; Szegedy et al.
    /// 2016, "Inception-v4").
    ResidualScale,
    /// v * sigmoid(v), within 2 units in the last place of the true value's magnitude for |v| < 80.
    Silu,
    /// v * Φ(v), Φ the distribution function of the standard normal: the exact form, torch's default.
    Gelu,
    /// v * sigmoid(1.702 v), the approximation that CLIP's text encoder was trained with.
    QuickGelu,
    /// v (1 + tanh(√(2/π) (v + 0.044715 v³))) / 2, the approximation of [`Self::Gelu`] that most transformers were trained with
    /// (torch's `approximate="tanh"`, `gelu_new`).
    GeluTanh,
    /// 1 / (1 + exp(-v)), within 2 units in the last place of the true value for v > -87, and 0 below -88.
    Sigmoid,
    /// tanh(v), within 5e-7 of the true value's magnitude.
    Tanh,
    /// -v.
    Negate,
    /// Of a linear layer with `2 c` features: value * gelu(gate), value the first `c`, gate the last (Shazeer 2020,
    /// "GLU Variants Improve Transformer"; diffusers' order). The only one that comes before the residual.
    Geglu,
}

#[cfg(test)]
impl Activation {
    /// Those of one number, [`Self::None`] first.
    pub(crate) const OF_ONE: [Self; 11] = [
        Self::None,
        Self::Relu,
        Self::LeakyRelu,
        Self::ResidualScale,
        Self::Silu,
        Self::Gelu,
        Self::QuickGelu,
        Self::GeluTanh,
        Self::Sigmoid,
        Self::Tanh,
        Self::Negate,
    ];
}
