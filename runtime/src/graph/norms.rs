//! Normalizations.

use super::{Activation, Graph, GraphError, Op, Shape, ValueId, WeightId, WeightKind};
use alloc::borrow::ToOwned;
use alloc::format;

impl Graph {
    /// Normalization over each picture's pixels and each of `groups` equal ranges of channels, with the tensors
    /// `{name}.weight` and `{name}.bias`.
    pub fn group_norm(&mut self, name: &str, x: ValueId, groups: usize, eps: f32) -> Result<ValueId, GraphError> {
        let s = self.found(name, x)?;
        self.divides(name, "groups", groups, s.c)?;
        let (scale, bias) = self.norm(name, s.c, eps)?;
        self.push(name, Op::GroupNorm { x, groups, eps, scale, bias, activation: Activation::None }, s)
    }

    /// Normalization over the channels of each pixel, with the tensors `{name}.weight` and `{name}.bias`.
    pub fn layer_norm(&mut self, name: &str, x: ValueId, eps: f32) -> Result<ValueId, GraphError> {
        let s = self.found(name, x)?;
        let (scale, bias) = self.norm(name, s.c, eps)?;
        self.push(name, Op::LayerNorm { x, eps, scale, bias }, s)
    }

    /// Normalization over the channels of each pixel, then `* (1 + scale) + shift`, both of shape `(n, 1, 1, c)`: see
    /// [`Op::AdaLayerNorm`].
    pub fn ada_layer_norm(
        &mut self,
        name: &str,
        x: ValueId,
        [scale, shift]: [ValueId; 2],
        eps: f32,
    ) -> Result<ValueId, GraphError> {
        self.ada(name, x, scale, Some(shift), eps)
    }

    /// Normalization over the channels of each pixel, then `* (1 + scale)`, of shape `(n, 1, 1, c)`: see [`Op::AdaLayerNorm`].
    pub fn scaled_layer_norm(
        &mut self,
        name: &str,
        x: ValueId,
        scale: ValueId,
        eps: f32,
    ) -> Result<ValueId, GraphError> {
        self.ada(name, x, scale, None, eps)
    }

    fn ada(
        &mut self,
        name: &str,
        x: ValueId,
        scale: ValueId,
        shift: Option<ValueId>,
        eps: f32,
    ) -> Result<ValueId, GraphError> {
        let s = self.found(name, x)?;
        for vector in [Some(scale), shift].into_iter().flatten() {
            self.vector(name, "ada_layer_norm", vector, s)?;
        }
        Self::epsilon(name, eps)?;
        self.push(name, Op::AdaLayerNorm { x, eps, scale, shift }, s)
    }

    /// Normalization by the root mean square of each of `groups` equal ranges of each pixel's channels, with the tensor
    /// `{name}.weight`.
    pub fn rms_norm(&mut self, name: &str, x: ValueId, groups: usize, eps: f32) -> Result<ValueId, GraphError> {
        self.rms(name, x, groups, None, eps)
    }

    /// Normalization by the root mean square of each pixel's channels, with the tensor `{name}.weight`, then
    /// `* (1 + modulation)`, of shape `(n, 1, 1, c)`.
    pub fn modulated_rms_norm(
        &mut self,
        name: &str,
        x: ValueId,
        modulation: ValueId,
        eps: f32,
    ) -> Result<ValueId, GraphError> {
        self.rms(name, x, 1, Some(modulation), eps)
    }

    fn rms(
        &mut self,
        name: &str,
        x: ValueId,
        groups: usize,
        modulation: Option<ValueId>,
        eps: f32,
    ) -> Result<ValueId, GraphError> {
        let s = self.found(name, x)?;
        self.divides(name, "groups", groups, s.c)?;
        if let Some(modulation) = modulation {
            self.vector(name, "rms_norm", modulation, s)?;
        }
        Self::epsilon(name, eps)?;
        let scale = self.weight(&format!("{name}.weight"), WeightKind::Vector { len: s.c / groups })?;
        self.push(name, Op::RmsNorm { x, groups, eps, scale, modulation }, s)
    }

    /// That `v` is one vector a picture of shape `s`.
    fn vector(&self, name: &str, kind: &'static str, v: ValueId, s: Shape) -> Result<(), GraphError> {
        self.same(name, kind, self.found(name, v)?, Shape::vector(s.n, s.c))
    }

    fn epsilon(name: &str, eps: f32) -> Result<(), GraphError> {
        if eps > 0.0 && eps.is_finite() {
            return Ok(());
        }
        Err(GraphError::Epsilon { name: name.to_owned(), found: format!("{eps}") })
    }

    fn norm(&mut self, name: &str, channels: usize, eps: f32) -> Result<(WeightId, WeightId), GraphError> {
        Self::epsilon(name, eps)?;
        let kind = WeightKind::Vector { len: channels };
        let scale = self.weight(&format!("{name}.weight"), kind)?;
        Ok((scale, self.weight(&format!("{name}.bias"), kind)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen red with the vector of a modulation, and that of a scale alone, not looked at.
    #[test]
    fn norms_are_checked() {
        let mut g = Graph::new();
        let x = g.input("x", Shape::new(2, 4, 4, 12)).unwrap();
        let v = g.input("v", Shape::vector(2, 12)).unwrap();
        let y = g.group_norm("norm", x, 4, 1e-5).unwrap();
        let y = g.layer_norm("norm2", y, 1e-5).unwrap();
        let y = g.rms_norm("norm3", y, 3, 1e-5).unwrap();
        let y = g.modulated_rms_norm("norm4", y, v, 1e-5).unwrap();
        let y = g.scaled_layer_norm("norm5", y, v, 1e-5).unwrap();
        let y = g.ada_layer_norm("norm6", y, [v, v], 1e-5).unwrap();
        assert_eq!(g.shape(y), Shape::new(2, 4, 4, 12));
        let lengths: alloc::vec::Vec<_> = g.weights().iter().map(|weight| weight.kind.elements()).collect();
        assert_eq!(lengths, [12, 12, 12, 12, 4, 12]);

        assert!(matches!(g.group_norm("n", x, 5, 1e-5), Err(GraphError::Parameter { parameter: "groups", .. })));
        assert!(matches!(g.group_norm("n", x, 0, 1e-5), Err(GraphError::Parameter { .. })));
        for eps in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(matches!(g.layer_norm("n", x, eps), Err(GraphError::Epsilon { .. })));
            assert!(matches!(g.scaled_layer_norm("n", x, v, eps), Err(GraphError::Epsilon { .. })));
            assert!(matches!(g.modulated_rms_norm("n", x, v, eps), Err(GraphError::Epsilon { .. })));
        }
        let short = g.slice("short", v, 0, 11).unwrap();
        assert!(matches!(g.ada_layer_norm("n", x, [v, short], 1e-5), Err(GraphError::Shape { .. })));
        assert!(matches!(g.scaled_layer_norm("n", x, short, 1e-5), Err(GraphError::Shape { .. })));
        assert!(matches!(g.modulated_rms_norm("n", x, short, 1e-5), Err(GraphError::Shape { .. })));
        assert!(matches!(g.modulated_rms_norm("n", x, ValueId(99), 1e-5), Err(GraphError::Foreign { .. })));
    }
}
