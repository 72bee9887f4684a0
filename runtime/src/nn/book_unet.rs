//! The U-Net of "Deep Learning from Scratch 5", steps 9.1, 9.2 and 10.1, of any depth and width.

use super::range;
use crate::graph::{Graph, GraphError, IdsId, Shape, ValueId};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The U-Net's configuration.
///
/// `channels` `[c1, .., cK, cm]` gives the blocks `down1..downK`, `bot1`, `upK..up1`. A block adds its view of the time
/// vector to its input and has two 3x3 convolutions, each followed by a batch norm (folded into the convolution in
/// the file) and ReLU. Pictures halve between blocks on the way down, and double, bilinearly, on the way up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BookUnet {
    /// Channels of the picture.
    pub in_channels: usize,
    /// Channels of each level, the middle last. The book: 64, 128, 256.
    pub channels: Vec<usize>,
    /// Length of the time vector (the book: 100); 0 makes the network of step 9.1, which knows no time.
    pub time_dim: usize,
    /// Number of labels; 0 is an unconditional network.
    pub label_count: usize,
    /// Rows of the picture.
    pub height: usize,
    /// Columns of the picture.
    pub width: usize,
}

/// A configuration that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// A number out of its range.
    #[error("{field} is {found}, must be {min} to {max}")]
    Range {
        /// Field of the configuration.
        field: &'static str,
        /// Its value.
        found: usize,
        /// The least allowed.
        min: usize,
        /// The most allowed.
        max: usize,
    },
    /// The picture cannot be halved often enough.
    #[error(
        "a picture of {height}x{width} cannot be halved {halvings} times: both sides must be multiples of {multiple}"
    )]
    Sides {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// How often the network halves.
        halvings: usize,
        /// What the sides must be multiples of.
        multiple: usize,
    },
    /// Labels reach the network through the time vector.
    #[error("a network of {label_count} labels needs a time vector: time_dim is 0")]
    LabelsWithoutTime {
        /// Number of labels.
        label_count: usize,
    },
    /// A token that the embedding has no row for.
    #[error("a token id is {id}, must be less than {vocabulary}: the tokenizer is of another model")]
    Token {
        /// The token.
        id: u32,
        /// Rows of the embedding.
        vocabulary: usize,
    },
    /// The graph refused an operation.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

impl BookUnet {
    /// The name of the pictures' input, `(n, h, w, c)`, and of the output of the same shape.
    pub const PICTURE: &'static str = "x";
    /// The name of the time input, `(n, 1, 1, 1)`; absent if `time_dim` is 0.
    pub const TIME: &'static str = "t";
    /// The name of the labels' input; absent if `label_count` is 0.
    pub const LABELS: &'static str = "labels";

    /// Whether the configuration is a network.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn validate(&self) -> Result<(), NetworkError> {
        range("in_channels", self.in_channels, 1, 1024)?;
        range("number of levels", self.channels.len(), 1, 12)?;
        for &c in &self.channels {
            range("channels", c, 1, 16384)?;
        }
        range("time_dim", self.time_dim, 0, 16384)?;
        range("label_count", self.label_count, 0, 1 << 20)?;
        range("height", self.height, 1, 16384)?;
        range("width", self.width, 1, 16384)?;
        let (height, width, halvings) = (self.height, self.width, self.channels.len() - 1);
        let multiple = 1 << halvings;
        if height % multiple != 0 || width % multiple != 0 {
            return Err(NetworkError::Sides { height, width, halvings, multiple });
        }
        if self.label_count > 0 && self.time_dim == 0 {
            return Err(NetworkError::LabelsWithoutTime { label_count: self.label_count });
        }
        Ok(())
    }

    /// Number of trainable parameters, batch norms counted as such (4 an output channel: scale and shift of two), as
    /// the book's network has them. The file has fewer: see [`Graph::parameters`].
    ///
    /// # Errors
    /// As [`Self::graph`].
    pub fn trained_parameters(&self) -> Result<usize, NetworkError> {
        let folded = self.graph(1)?.parameters();
        let norms: usize = self.channels.iter().map(|c| 8 * c).sum();
        Ok(folded + norms - 4 * self.channels.last().copied().unwrap_or(0))
    }

    /// The network for `batch` pictures.
    ///
    /// # Errors
    /// A configuration that is no network, or one whose activations exceed what can be addressed.
    pub fn graph(&self, batch: usize) -> Result<Graph, NetworkError> {
        self.validate()?;
        // Validated: there is at least one level.
        let (middle, levels) = self.channels.split_last().unwrap_or((&1, &[]));
        let g = &mut Graph::new();
        let picture = g.input(Self::PICTURE, Shape::new(batch, self.height, self.width, self.in_channels))?;
        let time = self.time(g, batch)?;

        let mut skips = Vec::with_capacity(levels.len());
        let mut x = picture;
        for (i, &c) in levels.iter().enumerate() {
            let name = format!("down{}", i + 1);
            let skip = block(g, &name, x, time, c)?;
            skips.push(skip);
            x = g.max_pool2(&format!("{name}.pool"), skip)?;
        }
        x = block(g, "bot1", x, time, *middle)?;
        for (i, &c) in levels.iter().enumerate().rev() {
            let name = format!("up{}", i + 1);
            let upsampled = g.upsample_bilinear2(&format!("{name}.upsample"), x)?;
            let joined = g.concat(&format!("{name}.concat"), upsampled, skips[i])?;
            x = block(g, &name, joined, time, c)?;
        }
        let out = g.conv2d("out", x, self.in_channels, [1, 1, 0], true)?;
        g.output(Self::PICTURE, out)?;
        Ok(core::mem::take(g))
    }

    /// The time vector, with the labels' embedding added.
    fn time(&self, g: &mut Graph, batch: usize) -> Result<Option<ValueId>, GraphError> {
        if self.time_dim == 0 {
            return Ok(None);
        }
        let t = g.input(Self::TIME, Shape::vector(batch, 1))?;
        let mut time = g.position_encoding("time", t, self.time_dim)?;
        if self.label_count > 0 {
            let labels: IdsId = g.input_ids(Self::LABELS, batch);
            time = g.embedding_add("label_emb", time, labels, self.label_count)?;
        }
        Ok(Some(time))
    }
}

/// A block: its view of the time vector, if there is one, is added to its input; then twice convolution and ReLU.
pub(super) fn block(
    g: &mut Graph,
    name: &str,
    mut x: ValueId,
    time: Option<ValueId>,
    out: usize,
) -> Result<ValueId, GraphError> {
    let at = |part: &str| -> String { format!("{name}.{part}") };
    let inp = g.shape(x).c;
    if let Some(time) = time {
        let v = g.linear(&at("mlp.0"), time, inp, true)?;
        let v = g.relu(&at("mlp.1"), v)?;
        let v = g.linear(&at("mlp.2"), v, inp, true)?;
        x = g.add_channels(&at("time"), x, v)?;
    }
    // 1 and 4 are the batch norms, folded into 0 and 3.
    x = g.conv2d(&at("convs.0"), x, out, [3, 1, 1], true)?;
    x = g.relu(&at("convs.2"), x)?;
    x = g.conv2d(&at("convs.3"), x, out, [3, 1, 1], true)?;
    g.relu(&at("convs.5"), x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    fn book(time_dim: usize, label_count: usize) -> BookUnet {
        BookUnet { in_channels: 1, channels: vec![64, 128, 256], time_dim, label_count, height: 28, width: 28 }
    }

    // Figures of the book's own modules. Seen red: the bottom block's norms counted twice; `up` blocks given the
    // skip's channels alone.
    #[test]
    fn parameter_counts_are_the_books() {
        assert_eq!(book(0, 0).trained_parameters().unwrap(), 1_884_545);
        assert_eq!(book(100, 0).trained_parameters().unwrap(), 2_167_784);
        assert_eq!(book(100, 10).trained_parameters().unwrap(), 2_168_784);
    }

    #[test]
    fn the_books_network_costs_what_it_should() {
        let plan = crate::plan::Plan::new(&book(0, 0).graph(1).unwrap(), &Default::default()).unwrap();
        assert_eq!(plan.macs(), 347_318_272);
    }

    #[test]
    fn names_are_the_trainers() {
        let graph = book(100, 10).graph(2).unwrap();
        let find = |name: &str| graph.weights().iter().find(|w| w.name == name).unwrap().kind.ne();
        assert_eq!(find("label_emb.weight"), [100, 10, 1, 1]);
        assert_eq!(find("down1.mlp.0.weight"), [100, 1, 1, 1]);
        assert_eq!(find("bot1.convs.0.weight"), [128, 3, 3, 256]);
        assert_eq!(find("up2.convs.0.weight"), [384, 3, 3, 128]);
        assert_eq!(find("up1.mlp.2.bias"), [192, 1, 1, 1]);
        assert_eq!(find("up1.convs.3.weight"), [64, 3, 3, 64]);
        assert_eq!(find("out.weight"), [64, 1, 1, 1]);
        // 63 tensors in the book, less 4 of each folded norm's scale and shift.
        assert_eq!(graph.weights().len(), 63 - 5 * 4);
    }

    #[test]
    fn any_depth() {
        let mut unet = book(100, 10);
        for channels in [vec![8], vec![8, 16], vec![4, 8, 12, 16]] {
            unet.channels = channels;
            (unet.height, unet.width) = (24, 16);
            let graph = unet.graph(3).unwrap();
            assert_eq!(graph.shape(graph.outputs()[0].value), Shape::new(3, 24, 16, 1));
        }
    }

    #[test]
    fn weights_do_not_depend_on_the_batch() {
        assert_eq!(book(100, 10).graph(1).unwrap().weights(), book(100, 10).graph(8).unwrap().weights());
    }

    #[test]
    fn refusals_say_why() {
        let mut unet = book(100, 10);
        unet.height = 30;
        let error = unet.graph(1).unwrap_err().to_string();
        assert_eq!(error, "a picture of 30x28 cannot be halved 2 times: both sides must be multiples of 4");
        assert!(matches!(book(0, 10).validate(), Err(NetworkError::LabelsWithoutTime { label_count: 10 })));
        unet.channels.clear();
        assert!(matches!(unet.validate(), Err(NetworkError::Range { field: "number of levels", .. })));
        let mut wide = book(100, 0);
        wide.channels[1] = usize::MAX;
        assert!(matches!(wide.validate(), Err(NetworkError::Range { field: "channels", .. })));
        let mut big = book(100, 0);
        (big.height, big.width) = (16384, 16384);
        assert!(matches!(big.graph(64), Err(NetworkError::Graph(GraphError::Extent { .. }))));
        assert!(matches!(book(100, 0).graph(0), Err(NetworkError::Graph(GraphError::Extent { .. }))));
    }
}
