//! A network of linear layers with sigmoids between them (book step 6); with one layer, a linear model.
use super::layers::Linear;
use crate::mt19937::Mt19937;
use crate::ops::Kit;
use crate::param::{Module, Visitor};
use crate::tensor::{T2, Tp};

/// The network.
#[derive(Clone)]
pub struct Mlp<D: Kit> {
    layers: Vec<Linear<D>>,
}

impl<D: Kit> Mlp<D> {
    /// Weights and biases from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), drawn as `torch.nn.Linear` does: each layer's weight, then
    /// its bias. `widths` are those of the input, the hidden layers and the output.
    pub fn new(device: &D, widths: &[usize], random: &mut Mt19937) -> Self {
        let layer = |pair: &[usize]| {
            let bound = 1.0 / (pair[0] as f32).sqrt();
            let mut draw = |n: usize| (0..n).map(|_| random.uniform(-bound, bound)).collect::<Vec<f32>>();
            Linear::from_values(device, draw(pair[0] * pair[1]), draw(pair[1]))
        };
        Self { layers: widths.windows(2).map(layer).collect() }
    }

    /// All weights and biases 0: where the book's linear regression begins.
    pub fn zero(device: &D, widths: &[usize]) -> Self {
        let layer = |pair: &[usize]| Linear::from_values(device, vec![0.0; pair[0] * pair[1]], vec![0.0; pair[1]]);
        Self { layers: widths.windows(2).map(layer).collect() }
    }

    /// `(n, inputs)` to `(n, outputs)`.
    pub fn forward<T: Tp<D>>(&self, mut x: T2<D, T>) -> T2<D, T> {
        for (i, layer) in self.layers.iter().enumerate() {
            x = if i > 0 { x.sigmoid() } else { x };
            x = layer.forward(x);
        }
        x
    }
}

impl<D: Kit> Module<D> for Mlp<D> {
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        for (i, layer) in self.layers.iter_mut().enumerate() {
            layer.visit(&format!("{prefix}layers.{i}"), v);
        }
    }
}
