//! The hierarchical variational autoencoder of two levels of "Deep Learning from Scratch 5", appendix C.

use super::NetworkError;
use super::mlp::{self, Widths};
use crate::graph::{Activation, Graph};

/// The autoencoder's configuration: x, z1 and z2, each from the next; pictures of `height * width * channels` values in
/// [0, 1], as vectors; both latent vectors of the same length.
///
/// Tensors: `encoder1` (x to z1) and `encoder2` (z1 to z2) with `.linear`, `.linear_mu`, `.linear_logvar`; `decoder1`
/// (z1 to x) and `decoder2` (z2 to z1) with `.linear1`, `.linear2`; each with `.weight`, `[out][in]`, and `.bias`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MlpHvae {
    /// Rows of the picture.
    pub height: usize,
    /// Columns of the picture.
    pub width: usize,
    /// Channels of the picture.
    pub channels: usize,
    /// Width of the hidden layers. The book: 100.
    pub hidden: usize,
    /// Length of each latent vector. The book: 20.
    pub latent: usize,
}

impl MlpHvae {
    /// The name of encoder 1's input and of decoder 1's output, `(n, 1, 1, height * width * channels)`.
    pub const PICTURE: &'static str = "x";
    /// The name of encoder 2's and decoder 1's input and of decoder 2's output, `(n, 1, 1, latent)`.
    pub const LATENT1: &'static str = "z1";
    /// The name of decoder 2's input, `(n, 1, 1, latent)`.
    pub const LATENT2: &'static str = "z2";
    /// The name of an encoder's output of means, `(n, 1, 1, latent)`.
    pub const MEAN: &'static str = mlp::MEAN;
    /// The name of an encoder's output of logarithms of variances, `(n, 1, 1, latent)`.
    pub const LOG_VARIANCE: &'static str = mlp::LOG_VARIANCE;

    fn widths(&self) -> Widths {
        let picture = [self.height, self.width, self.channels];
        Widths { picture, hidden: self.hidden, latent: self.latent }
    }

    /// Whether the configuration is a network.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn validate(&self) -> Result<(), NetworkError> {
        self.widths().validate().map(drop)
    }

    /// Pictures to `mu` and `logvar` of q(z1|x).
    ///
    /// # Errors
    /// A configuration that is no network, or a batch that exceeds what can be addressed.
    pub fn encoder1(&self, batch: usize) -> Result<Graph, NetworkError> {
        let picture = self.widths().validate()?;
        Ok(mlp::encoder("encoder1", Self::PICTURE, batch, [picture, self.hidden, self.latent])?)
    }

    /// z1 to `mu` and `logvar` of q(z2|z1).
    ///
    /// # Errors
    /// As [`Self::encoder1`].
    pub fn encoder2(&self, batch: usize) -> Result<Graph, NetworkError> {
        self.validate()?;
        Ok(mlp::encoder("encoder2", Self::LATENT1, batch, [self.latent, self.hidden, self.latent])?)
    }

    /// z2 to the mean of p(z1|z2), whose covariance is I.
    ///
    /// # Errors
    /// As [`Self::encoder1`].
    pub fn decoder2(&self, batch: usize) -> Result<Graph, NetworkError> {
        self.validate()?;
        let (ports, widths) = ([Self::LATENT2, Self::LATENT1], [self.latent, self.hidden, self.latent]);
        Ok(mlp::decoder("decoder2", ports, batch, widths, Activation::None)?)
    }

    /// z1 to pictures in [0, 1]: the mean of p(x|z1) = N(x, I).
    ///
    /// # Errors
    /// As [`Self::encoder1`].
    pub fn decoder1(&self, batch: usize) -> Result<Graph, NetworkError> {
        let picture = self.widths().validate()?;
        let (ports, widths) = ([Self::LATENT1, Self::PICTURE], [self.latent, self.hidden, picture]);
        Ok(mlp::decoder("decoder1", ports, batch, widths, Activation::Sigmoid)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOK: MlpHvae = MlpHvae { height: 28, width: 28, channels: 1, hidden: 100, latent: 20 };

    /// The figure of the book's own module.
    #[test]
    fn parameters_are_the_books() {
        let parts = [BOOK.encoder1(1), BOOK.encoder2(1), BOOK.decoder1(1), BOOK.decoder2(1)];
        assert_eq!(parts.map(|graph| graph.unwrap().parameters()).iter().sum::<usize>(), 174_084);
        let decoder2 = BOOK.decoder2(2).unwrap();
        assert_eq!(decoder2.weights()[2].name, "decoder2.linear2.weight");
        assert_eq!(decoder2.weights()[2].kind.row_major(), [20, 100]);
    }
}
