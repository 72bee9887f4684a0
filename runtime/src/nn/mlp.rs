//! The two small perceptrons that the book's autoencoders are made of.

use super::{NetworkError, range};
use crate::graph::{Activation, Graph, GraphError, Shape, ValueId};
use alloc::format;

/// The name of an encoder's output of means, `(n, 1, 1, latent)`.
pub(super) const MEAN: &str = "mu";
/// The name of an encoder's output of logarithms of variances, `(n, 1, 1, latent)`.
pub(super) const LOG_VARIANCE: &str = "logvar";

/// A picture, and the widths of the layers.
#[derive(Clone, Copy)]
pub(super) struct Widths {
    pub picture: [usize; 3],
    pub hidden: usize,
    pub latent: usize,
}

impl Widths {
    /// Values of a picture.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn validate(&self) -> Result<usize, NetworkError> {
        let [height, width, channels] = self.picture;
        range("height", height, 1, 16384)?;
        range("width", width, 1, 16384)?;
        range("channels", channels, 1, 1024)?;
        range("hidden", self.hidden, 1, 1 << 20)?;
        range("latent", self.latent, 1, 1 << 20)?;
        Ok(height * width * channels)
    }
}

/// `x -> relu(linear) -> (linear_mu, linear_logvar)`: a diagonal normal distribution, under the names `mu` and
/// `logvar`.
pub(super) fn encoder(
    name: &str,
    input: &str,
    batch: usize,
    [inp, hidden, latent]: [usize; 3],
) -> Result<Graph, GraphError> {
    let mut g = Graph::new();
    let x = g.input(input, Shape::vector(batch, inp))?;
    let h = g.linear(&format!("{name}.linear"), x, hidden, true)?;
    let h = g.relu(&format!("{name}.relu"), h)?;
    let mu = g.linear(&format!("{name}.linear_mu"), h, latent, true)?;
    let logvar = g.linear(&format!("{name}.linear_logvar"), h, latent, true)?;
    g.output(MEAN, mu)?;
    g.output(LOG_VARIANCE, logvar)?;
    Ok(g)
}

/// `z -> relu(linear1) -> linear2`, and a sigmoid if the output is a picture.
pub(super) fn decoder(
    name: &str,
    [input, output]: [&str; 2],
    batch: usize,
    [latent, hidden, out]: [usize; 3],
    last: Activation,
) -> Result<Graph, GraphError> {
    let mut g = Graph::new();
    let z = g.input(input, Shape::vector(batch, latent))?;
    let h = g.linear(&format!("{name}.linear1"), z, hidden, true)?;
    let h = g.relu(&format!("{name}.relu"), h)?;
    let mut y: ValueId = g.linear(&format!("{name}.linear2"), h, out, true)?;
    if last != Activation::None {
        y = g.activate(&format!("{name}.last"), y, last)?;
    }
    g.output(output, y)?;
    Ok(g)
}
