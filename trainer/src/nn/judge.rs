//! The judge: a small convolutional classifier of gray pictures, whose answers and features measure a generative model.
use super::layers::{BatchNormRelu, Conv2d, Linear};
use crate::ops::Kit;
use crate::param::{Module, Visitor};
use crate::tensor::{T2, T4, Tp};
use dfdx::prelude::*;

/// Length of the penultimate features.
pub const FEATURES: usize = 128;
/// Input and output channels of the convolutions; a 2x2 maximum follows every second one.
const CONVS: [(usize, usize); 4] = [(1, 32), (32, 32), (32, 64), (64, 64)];

/// Twice [conv3x3, batch norm, ReLU] x 2 and a 2x2 maximum, then a hidden layer with ReLU and a linear layer.
#[derive(Clone)]
pub struct Judge<D: Kit> {
    convs: Vec<(Conv2d<D>, BatchNormRelu<D>)>,
    hidden: Linear<D>,
    out: Linear<D>,
}

impl<D: Kit> Judge<D> {
    /// A network with random weights for pictures of `width` x `height`, both multiples of 4, and `labels` labels.
    pub fn new(device: &D, seed: u64, width: usize, height: usize, labels: usize) -> Self {
        let conv = |(i, (from, to)): (usize, &(usize, usize))| {
            (Conv2d::new(device, seed, &format!("convs.{i}.0"), *from, *to, 3), BatchNormRelu::new(device, *to))
        };
        let flat = CONVS[3].1 * (width / 4) * (height / 4);
        Self {
            convs: CONVS.iter().enumerate().map(conv).collect(),
            hidden: Linear::new(device, seed, "hidden", flat, FEATURES),
            out: Linear::new(device, seed, "out", FEATURES, labels),
        }
    }

    /// Training pass: batch statistics. `x` (n, 1, h, w) to logits (n, labels).
    pub fn train<T: Tp<D>>(&mut self, mut x: T4<D, T>) -> T2<D, T> {
        for (i, (conv, norm)) in self.convs.iter_mut().enumerate() {
            x = norm.forward_train(conv.forward(x));
            x = if i % 2 == 1 { D::max_pool2(x) } else { x };
        }
        self.out.forward(self.hidden.forward(flatten(x)).relu())
    }

    /// Evaluation pass: running statistics. `x` (n, 1, h, w) to features (n, [`FEATURES`]) and logits (n, labels).
    pub fn eval(&self, mut x: T4<D>) -> (T2<D>, T2<D>) {
        for (i, (conv, norm)) in self.convs.iter().enumerate() {
            x = norm.forward_eval(conv.forward(x));
            x = if i % 2 == 1 { D::max_pool2(x) } else { x };
        }
        let features = self.hidden.forward(flatten(x)).relu();
        (features.clone(), self.out.forward(features))
    }
}

fn flatten<D: Kit, T: Tp<D>>(x: T4<D, T>) -> T2<D, T> {
    let (n, c, h, w) = *x.shape();
    x.reshape_like(&(n, c * h * w))
}

impl<D: Kit> Module<D> for Judge<D> {
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        for (i, (conv, norm)) in self.convs.iter_mut().enumerate() {
            conv.visit(&format!("{prefix}convs.{i}.0"), v);
            norm.visit(&format!("{prefix}convs.{i}.1"), v);
        }
        self.hidden.visit(&format!("{prefix}hidden"), v);
        self.out.visit(&format!("{prefix}out"), v);
    }
}

/// Mean cross-entropy of logits (n, labels) against label ids, differentiable, and its value summed in f64 (dfdx's own
/// reduction is one running f32 sum).
pub fn cross_entropy<D: Kit, T: Tp<D>>(logits: T2<D, T>, labels: &[u8]) -> (Tensor<Rank0, f32, D, T>, f64) {
    let (n, count) = *logits.shape();
    let values = logits.as_vec();
    let rows = values.chunks_exact(count).zip(labels);
    let sum: f64 = rows.map(|(row, label)| log_sum_exp(row) - f64::from(row[usize::from(*label)])).sum();
    let mut one_hot = vec![0f32; n * count];
    for (row, label) in one_hot.chunks_exact_mut(count).zip(labels) {
        row[usize::from(*label)] = 1.0;
    }
    let target: T2<D> = logits.device().tensor_from_vec(one_hot, (n, count));
    (cross_entropy_with_logits_loss(logits, target), sum / n as f64)
}

fn log_sum_exp(row: &[f32]) -> f64 {
    let top = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    top + row.iter().map(|v| (f64::from(*v) - top).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen red: the division by the batch's size left out of the value; the one-hot rows shifted by one label.
    #[test]
    fn cross_entropy_gradient_is_that_of_its_value() {
        let device = Cpu::default();
        let logits = vec![0.3f32, -1.2, 2.5, 0.0, 0.7, -0.4, 1.1, -3.0, 0.2, 0.9, 0.1, -0.6];
        let labels = [2u8, 0, 3];
        let value = |v: &[f32]| cross_entropy::<Cpu, NoneTape>(device.tensor_from_vec(v.to_vec(), (3, 4)), &labels).1;
        let x: T2<Cpu> = device.tensor_from_vec(logits.clone(), (3, 4));
        let (loss, sum) = cross_entropy(x.leaky_trace(), &labels);
        assert!((f64::from(loss.array()) - sum).abs() < 1e-6, "{} {sum}", loss.array());
        // ln(e^0.3 + e^-1.2 + e^2.5 + 1) - 2.5, and so on, by hand.
        assert!((sum - 1.172_764_41).abs() < 1e-6, "{sum}");
        let gradients = loss.backward().get(&x).as_vec();
        for (i, g) in gradients.iter().enumerate() {
            let h = 1e-2f32;
            let (mut up, mut down) = (logits.clone(), logits.clone());
            up[i] += h;
            down[i] -= h;
            let slope = (value(&up) - value(&down)) / (f64::from(up[i]) - f64::from(down[i]));
            assert!((slope - f64::from(*g)).abs() < 2e-5, "logit {i}: {g} against {slope}");
        }
    }
}
