//! A classifier of noised pictures, told how noised they are: what guides a diffusion model to a label (Dhariwal and
//! Nichol 2021, "Diffusion Models Beat GANs on Image Synthesis"; "Deep Learning from Scratch 5", step 10.3).

use super::book_unet::block;
use super::{NetworkError, range};
use crate::graph::{Graph, Shape, ValueId};
use alloc::format;
use alloc::vec::Vec;

/// The classifier's configuration.
///
/// `channels` `[c1, .., cK]` gives the blocks `block1..blockK`, each as the U-Net's (its view of the time vector is
/// added to its input; two 3x3 convolutions, batch norm folded, ReLU). Pictures halve between blocks by their 2x2
/// maximum. Then `head`, a convolution as large as what is left of the picture, to [`Self::HIDDEN`] features, ReLU, and
/// `out`, one logit a label.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoisyClassifier {
    /// Channels of the picture.
    pub in_channels: usize,
    /// Channels of each level. The default of the trainer: 32, 64, 128.
    pub channels: Vec<usize>,
    /// Length of the time vector; at least 1. The default of the trainer: 100.
    pub time_dim: usize,
    /// Number of labels, at least 2.
    pub label_count: usize,
    /// Rows of the picture; as many as columns.
    pub height: usize,
    /// Columns of the picture.
    pub width: usize,
}

impl NoisyClassifier {
    /// The name of the pictures' input, `(n, h, w, c)`.
    pub const PICTURE: &'static str = "x";
    /// The name of the time input, `(n, 1, 1, 1)`.
    pub const TIME: &'static str = "t";
    /// The name of the output of logits, `(n, 1, 1, label_count)`.
    pub const LOGITS: &'static str = "logits";
    /// The name of the output of logarithms of probabilities, `(n, 1, 1, label_count)`.
    pub const LOG_PROBABILITIES: &'static str = "log_probabilities";
    /// The name of the labels' input.
    pub const LABELS: &'static str = "labels";
    /// The name of the output of gradients, `(n, h, w, c)`.
    pub const GRADIENT: &'static str = "gradient";
    /// Features of the head.
    pub const HIDDEN: usize = 128;

    /// Whether the configuration is a network.
    ///
    /// # Errors
    /// The first field that is out of its range, or sides that cannot be halved often enough.
    pub fn validate(&self) -> Result<(), NetworkError> {
        range("in_channels", self.in_channels, 1, 1024)?;
        range("number of levels", self.channels.len(), 1, 12)?;
        for &c in &self.channels {
            range("channels", c, 1, 16384)?;
        }
        range("time_dim", self.time_dim, 1, 16384)?;
        range("label_count", self.label_count, 2, 1 << 20)?;
        let (height, width, halvings) = (self.height, self.width, self.channels.len() - 1);
        let multiple = 1 << halvings;
        // The head's kernel is what is left of the picture, and a kernel has at most 64 rows.
        range("height", height, multiple, 64 * multiple)?;
        range("width", width, height, height)?;
        if height % multiple != 0 {
            return Err(NetworkError::Sides { height, width, halvings, multiple });
        }
        Ok(())
    }

    /// The network for `batch` pictures: pictures and times to logits.
    ///
    /// # Errors
    /// A configuration that is no network, or one whose activations exceed what can be addressed.
    pub fn graph(&self, batch: usize) -> Result<Graph, NetworkError> {
        let (mut g, [_, logits]) = self.build(batch)?;
        g.output(Self::LOGITS, logits)?;
        Ok(g)
    }

    /// Pictures and times to logarithms of the labels' probabilities.
    ///
    /// # Errors
    /// As [`Self::graph`].
    pub fn log_probabilities(&self, batch: usize) -> Result<Graph, NetworkError> {
        let (mut g, [_, logits]) = self.build(batch)?;
        let y = g.log_softmax("log_softmax", logits)?;
        g.output(Self::LOG_PROBABILITIES, y)?;
        Ok(g)
    }

    /// Pictures, times and labels to the gradient of each label's log-probability with respect to its picture; zeros
    /// for a picture without a label.
    ///
    /// # Errors
    /// As [`Self::graph`].
    pub fn gradient(&self, batch: usize) -> Result<Graph, NetworkError> {
        let (mut g, [picture, logits]) = self.build(batch)?;
        let labels = g.input_ids(Self::LABELS, batch);
        let y = g.log_probability_gradient("gradient", logits, labels, picture)?;
        g.output(Self::GRADIENT, y)?;
        Ok(g)
    }

    /// Without outputs: the pictures, the logits.
    fn build(&self, batch: usize) -> Result<(Graph, [ValueId; 2]), NetworkError> {
        self.validate()?;
        let mut g = Graph::new();
        let picture = g.input(Self::PICTURE, Shape::new(batch, self.height, self.width, self.in_channels))?;
        let t = g.input(Self::TIME, Shape::vector(batch, 1))?;
        let time = g.position_encoding("time", t, self.time_dim)?;
        let mut x = picture;
        for (i, &c) in self.channels.iter().enumerate() {
            let name = format!("block{}", i + 1);
            if i > 0 {
                x = g.max_pool2(&format!("block{i}.pool"), x)?;
            }
            x = block(&mut g, &name, x, Some(time), c)?;
        }
        let side = g.shape(x).h;
        let h = g.conv2d("head", x, Self::HIDDEN, [side, 1, 0], true)?;
        let h = g.relu("head.relu", h)?;
        let logits = g.linear("out", h, self.label_count, true)?;
        Ok((g, [picture, logits]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn digits() -> NoisyClassifier {
        let channels = vec![32, 64, 128];
        NoisyClassifier { in_channels: 1, channels, time_dim: 100, label_count: 10, height: 28, width: 28 }
    }

    #[test]
    fn names_and_shapes_are_the_trainers() {
        let graph = digits().graph(3).unwrap();
        let find = |name: &str| graph.weights().iter().find(|w| w.name == name).unwrap().kind.row_major();
        assert_eq!(find("block1.mlp.0.weight"), [1, 100]);
        assert_eq!(find("block3.mlp.2.weight"), [64, 64]);
        assert_eq!(find("block2.convs.0.weight"), [64, 3, 3, 32]);
        assert_eq!(find("block3.convs.3.bias"), [128]);
        assert_eq!(find("head.weight"), [128, 7, 7, 128]);
        assert_eq!(find("out.weight"), [10, 128]);
        assert_eq!(graph.weights().len(), 3 * 8 + 4);
        assert_eq!(graph.shape(graph.outputs()[0].value), Shape::vector(3, 10));
    }

    #[test]
    fn refusals_name_the_field() {
        let wrong = |network: NoisyClassifier| network.graph(1).unwrap_err();
        assert!(matches!(wrong(NoisyClassifier { width: 24, ..digits() }), NetworkError::Range { field: "width", .. }));
        let odd = NoisyClassifier { width: 30, height: 30, ..digits() };
        assert!(matches!(wrong(odd), NetworkError::Sides { multiple: 4, .. }));
        let one = NoisyClassifier { label_count: 1, ..digits() };
        assert!(matches!(wrong(one), NetworkError::Range { field: "label_count", .. }));
    }
}
