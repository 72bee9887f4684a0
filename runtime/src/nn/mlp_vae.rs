//! The variational autoencoder of "Deep Learning from Scratch 5", step 7: a perceptron each way (Kingma and Welling
//! 2014, "Auto-Encoding Variational Bayes").

use super::NetworkError;
use super::mlp::{self, Widths};
use crate::graph::{Activation, Graph};

/// The autoencoder's configuration: pictures of `height * width * channels` values in [0, 1], as vectors.
///
/// Tensors: `encoder.linear`, `encoder.linear_mu`, `encoder.linear_logvar`, `decoder.linear1`, `decoder.linear2`, each
/// with `.weight`, `[out][in]`, and `.bias`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MlpVae {
    /// Rows of the picture.
    pub height: usize,
    /// Columns of the picture.
    pub width: usize,
    /// Channels of the picture.
    pub channels: usize,
    /// Width of the hidden layers. The book: 200.
    pub hidden: usize,
    /// Length of the latent vector. The book: 20.
    pub latent: usize,
}

impl MlpVae {
    /// The name of the encoder's input and of the decoder's output, `(n, 1, 1, height * width * channels)`.
    pub const PICTURE: &'static str = "x";
    /// The name of the decoder's input, `(n, 1, 1, latent)`.
    pub const LATENT: &'static str = "z";
    /// The name of the encoder's output of means, `(n, 1, 1, latent)`.
    pub const MEAN: &'static str = mlp::MEAN;
    /// The name of the encoder's output of logarithms of variances, `(n, 1, 1, latent)`.
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

    /// Pictures to `mu` and `logvar`: q(z|x) = N(mu, exp(logvar)).
    ///
    /// # Errors
    /// A configuration that is no network, or a batch that exceeds what can be addressed.
    pub fn encoder(&self, batch: usize) -> Result<Graph, NetworkError> {
        let picture = self.widths().validate()?;
        Ok(mlp::encoder("encoder", Self::PICTURE, batch, [picture, self.hidden, self.latent])?)
    }

    /// Latent vectors to pictures in [0, 1]: the mean of p(x|z) = N(x, I).
    ///
    /// # Errors
    /// As [`Self::encoder`].
    pub fn decoder(&self, batch: usize) -> Result<Graph, NetworkError> {
        let picture = self.widths().validate()?;
        let (ports, widths) = ([Self::LATENT, Self::PICTURE], [self.latent, self.hidden, picture]);
        Ok(mlp::decoder("decoder", ports, batch, widths, Activation::Sigmoid)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOK: MlpVae = MlpVae { height: 28, width: 28, channels: 1, hidden: 200, latent: 20 };

    /// The figure of the book's own module.
    #[test]
    fn parameters_are_the_books() {
        let [encoder, decoder] = [BOOK.encoder(1).unwrap(), BOOK.decoder(3).unwrap()];
        assert_eq!(encoder.parameters() + decoder.parameters(), 326_824);
        let names: alloc::vec::Vec<&str> = encoder.weights().iter().map(|w| w.name.as_str()).collect();
        assert_eq!(names[..2], ["encoder.linear.weight", "encoder.linear.bias"]);
        assert_eq!(names[4..], ["encoder.linear_logvar.weight", "encoder.linear_logvar.bias"]);
        assert_eq!(decoder.weights()[0].kind.row_major(), [200, 20]);
        assert_eq!(decoder.weights()[2].name, "decoder.linear2.weight");
    }

    #[test]
    fn refusals_name_the_field() {
        let error = MlpVae { latent: 0, ..BOOK }.encoder(1).unwrap_err();
        assert_eq!(alloc::string::ToString::to_string(&error), "latent is 0, must be 1 to 1048576");
        assert!(BOOK.decoder(0).is_err());
    }
}
