//! The transformer of Z-Image: patches of latents and tokens of a text, refined apart, then in one sequence with the same weights
//! (Z-Image Team 2025, "Z-Image: An Efficient Image Generation Foundation Model with Single-Stream Diffusion Transformer").
//!
//! The tensors have the names of diffusers' `ZImageTransformer2DModel`, but for the rows that fill up sequences, which are tables
//! of one row.

use super::patches::{PATCH, frequencies, rows, unpatch, write_angles};
use super::{NetworkError, SdCache, SdRequest, SdUnet, TimeCode, range};
use crate::graph::{Activation, Attend, Graph, GraphError, IdsId, Shape, ValueId};
use alloc::format;
use alloc::vec::Vec;

/// Added to the means of squares of queries and keys, to those of the text's states, and to the last norm's variance.
const EPS: f32 = 1e-6;
/// Features between the layers that make a condition of the timestep's code.
const TIME_HIDDEN: usize = 1024;
/// The most numbers that such a condition has.
const CONDITION: usize = 256;

/// The transformer's configuration; the field in brackets is that of `config.json`.
#[derive(Clone, PartialEq, Debug)]
pub struct ZImage {
    /// Channels of the latents, which it reads and answers with (`in_channels`).
    pub channels: usize,
    /// Blocks of the whole sequence (`n_layers`).
    pub layers: usize,
    /// Blocks that refine patches, and as many that refine the text (`n_refiner_layers`).
    pub refiner_layers: usize,
    /// Heads of attention (`n_heads`).
    pub heads: usize,
    /// Width of the text's states (`cap_feat_dim`).
    pub text_width: usize,
    /// Channels of a head that tell the place along each axis: of the text, of rows, of columns (`axes_dims`).
    pub axes: [usize; 3],
    /// Places that there are along each axis (`axes_lens`).
    pub places: [usize; 3],
    /// Base of the rotary positions' wavelengths (`rope_theta`).
    pub theta: f32,
    /// Added to means of squares (`norm_eps`).
    pub eps: f32,
    /// What a time from 0 to 1 is multiplied by before it is coded (`t_scale`).
    pub time_scale: f32,
    /// A build without language models has no such network.
    #[cfg(not(feature = "language"))]
    pub never: core::convert::Infallible,
}

impl ZImage {
    /// Sequences are filled up to a multiple of so many tokens.
    pub const MULTIPLE: usize = 32;
    /// The name of the latents' input, `(n, h, w, channels)`.
    pub const LATENTS: &'static str = SdUnet::LATENTS;
    /// The name of the input of the timestep's code ([`Self::write_time`]), `(n, 1, 1, 256)`.
    pub const TIME: &'static str = SdUnet::TIME;
    /// The name of the text's states, `(n, 1, tokens, text_width)`, of a multiple of [`Self::MULTIPLE`].
    pub const TEXT: &'static str = SdUnet::TEXT;
    /// The name of the angles of the tokens' places ([`Self::angles`]), `(n, 1, patches + tokens, head_channels)`.
    pub const ANGLES: &'static str = "angles";
    /// The name of the output, the velocity, `(n, h, w, channels)`.
    pub const OUTPUT: &'static str = SdUnet::OUTPUT;
    /// Length of the timestep's code.
    pub const TIME_WIDTH: usize = 256;

    /// Channels of a head.
    pub fn head_channels(&self) -> usize {
        self.axes.iter().sum()
    }

    /// Channels of a token.
    pub fn width(&self) -> usize {
        self.heads * self.head_channels()
    }

    /// Features between the linear layers of a perceptron.
    fn hidden(&self) -> usize {
        (self.width() as f64 / 3.0 * 8.0) as usize
    }

    /// Whether the configuration is a network.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn validate(&self) -> Result<(), NetworkError> {
        range("channels", self.channels, 1, 1024)?;
        range("layers", self.layers, 1, 1024)?;
        range("refiner_layers", self.refiner_layers, 0, 1024)?;
        range("heads", self.heads, 1, 1024)?;
        range("text_width", self.text_width, 1, 65536)?;
        for (channels, places) in self.axes.into_iter().zip(self.places) {
            range("channels of an axis", channels, 2, 1024)?;
            range("odd channels of an axis", channels % 2, 0, 0)?;
            range("places of an axis", places, 1, 1 << 20)?;
        }
        Ok(())
    }

    /// Writes the timestep's code for each picture of a batch; `out` is `(n, 256)`. `timestep` is 1000 times the noise's share,
    /// not rounded; the network is told the picture's share.
    pub fn write_time(&self, timestep: f64, out: &mut [f32]) {
        let time = (1.0 - timestep / 1000.0) * f64::from(self.time_scale);
        out.chunks_mut(Self::TIME_WIDTH).for_each(|row| TimeCode::default().write(time, row));
    }

    /// The longest side of latents that it has places for.
    pub const fn longest(&self) -> usize {
        let [_, rows, columns] = self.places;
        PATCH * if rows < columns { rows } else { columns }
    }

    /// Rows and columns of patches of latents of that size, and how many tokens fill them up.
    fn patches(&self, [height, width]: [usize; 2]) -> Result<([usize; 2], usize), NetworkError> {
        let [_, rows, columns] = self.places;
        for (field, side, places) in [("height of the latents", height, rows), ("width of the latents", width, columns)]
        {
            range(field, side, PATCH, PATCH * places)?;
            range(field, side % PATCH, 0, 0)?;
        }
        let [h, w] = [height / PATCH, width / PATCH];
        Ok(([h, w], (h * w).next_multiple_of(Self::MULTIPLE) - h * w))
    }

    /// What the network's inputs of ids are given, of texts of so many tokens each.
    ///
    /// # Errors
    /// As [`Self::graph`]; a text of more tokens than the request has.
    pub fn ids(&self, request: &SdRequest, lengths: &[usize]) -> Result<Vec<Option<u32>>, NetworkError> {
        let ([h, w], fill) = self.patches([request.height, request.width])?;
        let (tokens, id) = (request.tokens, |i: usize| Some(i as u32));
        let mut ids = alloc::vec![id(0); lengths.len() * (fill.max(1) + 1)];
        for &length in lengths {
            range("tokens of a text", length, 0, tokens)?;
            // The row after all is the one that fills up.
            ids.extend((0..tokens).map(|j| id(if j < length { j } else { tokens })));
        }
        let filled = |length: &usize| length.next_multiple_of(Self::MULTIPLE).min(tokens);
        ids.extend(lengths.iter().map(|length| id(filled(length))));
        ids.extend(lengths.iter().map(|length| id(h * w + fill + filled(length))));
        Ok(ids)
    }

    /// The angles of each text's tokens, whose number is `lengths`: those of the patches, then those of the text.
    ///
    /// # Errors
    /// As [`Self::ids`]; more tokens than there are places.
    pub fn angles(&self, request: &SdRequest, lengths: &[usize]) -> Result<Vec<f32>, NetworkError> {
        let ([h, w], fill) = self.patches([request.height, request.width])?;
        range("tokens", request.tokens, 1, self.places[0].saturating_sub(2))?;
        let mut out = Vec::with_capacity(lengths.len() * (h * w + fill + request.tokens) * self.head_channels());
        for length in lengths {
            // Places of the text begin at 1, and the picture's is the one after them.
            let first = 1 + length.next_multiple_of(Self::MULTIPLE);
            let picture = (0..h * w).map(|i| [first, i / w, i % w]);
            let text = (0..request.tokens).map(|i| [1 + i, 0, 0]);
            for place in picture.chain((0..fill).map(|_| [0; 3])).chain(text) {
                let axes = self.axes.into_iter().zip(place);
                let of = axes
                    .flat_map(|(dim, at)| frequencies(f64::from(self.theta), dim).map(move |f| (f * at as f64) as f32));
                write_angles(of.collect::<Vec<_>>().into_iter(), &mut out);
            }
        }
        Ok(out)
    }

    /// The network, its tensors' names after `prefix`.
    ///
    /// # Errors
    /// A configuration that is no network; latents of an odd side, or larger than there are places; texts that are not filled up;
    /// residuals of a ControlNet, features of a T2I-Adapter, tokens of a picture, a cache, which it does not know.
    pub fn graph(&self, prefix: &str, request: &SdRequest) -> Result<Graph, NetworkError> {
        self.validate()?;
        let &SdRequest { batch: n, height, width, tokens, control, adapter, image, cache } = request;
        range("ControlNets of a transformer", usize::from(control), 0, 0)?;
        range("features of a T2I-Adapter", adapter, 0, 0)?;
        range("tokens of a picture", image, 0, 0)?;
        range("cached features of a transformer", usize::from(cache != SdCache::Off), 0, 0)?;
        range("tokens", tokens, 1, self.places[0].saturating_sub(2))?;
        range("tokens beside whole fillings", tokens % Self::MULTIPLE, 0, 0)?;
        let ([h, w], fill) = self.patches([height, width])?;
        let (d, patches) = (self.width(), h * w + fill);
        let g = &mut Graph::new();
        let latents = g.input(Self::LATENTS, Shape::new(n, height, width, self.channels))?;
        let time = g.input(Self::TIME, Shape::vector(n, Self::TIME_WIDTH))?;
        let text = g.input(Self::TEXT, Shape::new(n, 1, tokens, self.text_width))?;
        let angles = g.input(Self::ANGLES, Shape::new(n, 1, patches + tokens, self.head_channels()))?;

        let condition = self.condition(g, prefix, time)?;
        let x = g.conv2d(&format!("{prefix}all_x_embedder.2-1"), latents, d, [PATCH, PATCH, 0], true)?;
        let mut x = g.reshape(&format!("{prefix}x_tokens"), x, Shape::new(n, 1, h * w, d))?;
        // One at least, so that all sizes have the same weights.
        let (name, rows) = (format!("{prefix}x_pad_token"), fill.max(1));
        let zeros = g.input_ids("fill_picture", n * rows);
        let rows = g.token_rows(&name, zeros, [n, rows, d], 1)?;
        x = g.join_tokens(&name, x, rows)?;
        if fill == 0 {
            x = g.slice_tokens(&name, x, 0, Shape::new(n, 1, h * w, d))?;
        }
        let mut context = self.text(g, prefix, text)?;
        let lengths = ["text_lengths", "lengths"].map(|name| g.input_ids(name, n));
        let own = |g: &mut Graph, from: usize, tokens: usize| {
            let shape = Shape::new(n, 1, tokens, self.head_channels());
            g.slice_tokens(&format!("{prefix}angles"), angles, from, shape)
        };
        let (angles_x, angles_text) = (own(g, 0, patches)?, own(g, patches, tokens)?);
        for i in 0..self.refiner_layers {
            let name = format!("{prefix}noise_refiner.{i}");
            x = self.block(g, &name, x, Some(condition), angles_x, None)?;
        }
        for i in 0..self.refiner_layers {
            let name = format!("{prefix}context_refiner.{i}");
            context = self.block(g, &name, context, None, angles_text, Some(lengths[0]))?;
        }
        x = g.join_tokens(&format!("{prefix}join"), x, context)?;
        for i in 0..self.layers {
            x = self.block(g, &format!("{prefix}layers.{i}"), x, Some(condition), angles, Some(lengths[1]))?;
        }
        let name = format!("{prefix}all_final_layer.2-1");
        let x = g.slice_tokens(&format!("{prefix}split"), x, 0, Shape::new(n, h, w, d))?;
        let m = g.silu(&format!("{name}.act"), condition)?;
        let scale = g.linear(&format!("{name}.adaLN_modulation.1"), m, d, true)?;
        let x = g.scaled_layer_norm(&format!("{name}.norm_final"), x, scale, EPS)?;
        let x = g.linear(&format!("{name}.linear"), x, PATCH * PATCH * self.channels, true)?;
        // It answers with the way to the noise's other side.
        let x = g.activate(&format!("{name}.negate"), x, Activation::Negate)?;
        let out = unpatch(g, &format!("{prefix}unpatch"), x)?;
        g.output(Self::OUTPUT, out)?;
        Ok(core::mem::take(g))
    }

    /// What modulates, of the timestep.
    fn condition(&self, g: &mut Graph, prefix: &str, time: ValueId) -> Result<ValueId, GraphError> {
        let name = format!("{prefix}t_embedder.mlp");
        let x = g.linear(&format!("{name}.0"), time, TIME_HIDDEN, true)?;
        let x = g.silu(&format!("{name}.1"), x)?;
        g.linear(&format!("{name}.2"), x, self.width().min(CONDITION), true)
    }

    /// The text's tokens, of which those that it does not have are the row that fills up.
    fn text(&self, g: &mut Graph, prefix: &str, text: ValueId) -> Result<ValueId, GraphError> {
        let (s, d) = (g.shape(text), self.width());
        let x = g.rms_norm(&format!("{prefix}cap_embedder.0"), text, 1, EPS)?;
        let x = g.linear(&format!("{prefix}cap_embedder.1"), x, d, true)?;
        let name = format!("{prefix}cap_pad_token");
        let zeros = g.input_ids("fill_text", s.n);
        let row = g.token_rows(&name, zeros, [s.n, 1, d], 1)?;
        let x = g.join_tokens(&name, x, row)?;
        let ids = g.input_ids("text_rows", s.n * s.w);
        g.select_tokens(&name, x, ids, s.w)
    }

    /// One block; a text's is not modulated.
    fn block(
        &self,
        g: &mut Graph,
        name: &str,
        x: ValueId,
        condition: Option<ValueId>,
        angles: ValueId,
        lengths: Option<IdsId>,
    ) -> Result<ValueId, GraphError> {
        let d = self.width();
        let modulation = match condition {
            None => None,
            Some(condition) => {
                let name = format!("{name}.adaLN_modulation.0");
                let m = g.linear(&name, condition, 4 * d, true)?;
                let [scale, gate, scale_2, gate_2] = rows(g, &name, m, 0, d)?;
                let [gate, gate_2] = [gate, gate_2].map(|gate| g.activate(&name, gate, Activation::Tanh));
                Some([[scale, gate?], [scale_2, gate_2?]])
            }
        };
        let mut x = x;
        for (i, (of, inner)) in ["attention", "ffn"].into_iter().zip(["attention", "feed_forward"]).enumerate() {
            let modulation = modulation.map(|m| m[i]);
            let (first, inner) = (format!("{name}.{of}_norm1"), format!("{name}.{inner}"));
            let y = match modulation {
                Some([scale, _]) => g.modulated_rms_norm(&first, x, scale, self.eps)?,
                None => g.rms_norm(&first, x, 1, self.eps)?,
            };
            let y = match i {
                0 => self.attention(g, &inner, y, angles, lengths)?,
                _ => self.perceptron(g, &inner, y)?,
            };
            let y = g.rms_norm(&format!("{name}.{of}_norm2"), y, 1, self.eps)?;
            let sum = format!("{name}.{of}_add");
            x = match modulation {
                Some([_, gate]) => g.gated_add(&sum, x, gate, y)?,
                None => g.add(&sum, x, y)?,
            };
        }
        Ok(x)
    }

    fn attention(
        &self,
        g: &mut Graph,
        name: &str,
        x: ValueId,
        angles: ValueId,
        lengths: Option<IdsId>,
    ) -> Result<ValueId, GraphError> {
        let d = self.width();
        let mut turned = |of: &str| {
            let y = g.linear(&format!("{name}.to_{of}"), x, d, false)?;
            let y = g.rms_norm(&format!("{name}.norm_{of}"), y, self.heads, EPS)?;
            g.rotary(&format!("{name}.rotary_{of}"), y, angles, self.heads, false)
        };
        let (q, k) = (turned("q")?, turned("k")?);
        let v = g.linear(&format!("{name}.to_v"), x, d, false)?;
        let y = g.attend(name, [q, k, v], Attend { lengths, ..Attend::heads(self.heads) })?;
        g.linear(&format!("{name}.to_out.0"), y, d, false)
    }

    fn perceptron(&self, g: &mut Graph, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
        let gate = g.linear(&format!("{name}.w1"), x, self.hidden(), false)?;
        let gate = g.silu(&format!("{name}.act"), gate)?;
        let up = g.linear(&format!("{name}.w3"), x, self.hidden(), false)?;
        let y = g.multiply(&format!("{name}.multiply"), gate, up)?;
        g.linear(&format!("{name}.w2"), y, self.width(), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: ZImage = ZImage {
        channels: 4,
        layers: 2,
        refiner_layers: 1,
        heads: 2,
        text_width: 24,
        axes: [2, 4, 4],
        places: [130, 8, 6],
        theta: 256.0,
        eps: 1e-5,
        time_scale: 1000.0,
    };

    #[test]
    fn a_graph_answers_with_the_latents_shape() {
        let request = SdRequest::new(3, [4, 10], 64);
        let graph = SMALL.graph("x.", &request).unwrap();
        assert_eq!(graph.shape(graph.outputs()[0].value), Shape::new(3, 4, 10, 4));
        let names = |of: &str| graph.weights().iter().filter(|w| w.name.contains(of)).count();
        assert_eq!((names("adaLN_modulation.0"), names("norm_q"), names("pad_token")), (6, 4, 2));
        let ids = SMALL.ids(&request, &[5, 33, 64]).unwrap();
        let expected: usize = graph.ids().iter().map(|(_, n)| n).sum();
        assert_eq!(ids.len(), expected);
        assert_eq!(&ids[ids.len() - 6..], [32, 64, 64, 64, 96, 96].map(Some));
        assert_eq!(SMALL.angles(&request, &[5, 33, 64]).unwrap().len(), 3 * (32 + 64) * 10);
    }

    /// Where the picture is, by the text's length; rows that fill up stand at no place.
    #[test]
    fn places_go_on_behind_the_text() {
        let wide = ZImage { axes: [2, 2, 2], ..SMALL };
        let angles = wide.angles(&SdRequest::new(2, [4, 4], 64), &[5, 40]).unwrap();
        let row = |text: usize, token: usize| &angles[(text * 96 + token) * 6..][..6];
        let at = |place: [f32; 3]| [place.map(libm::cosf), place.map(libm::sinf)].concat();
        for (text, token, place) in [
            (0, 0, [33.0, 0.0, 0.0]),
            (0, 3, [33.0, 1.0, 1.0]),
            (0, 4, [0.0; 3]),
            (0, 32, [1.0, 0.0, 0.0]),
            (1, 2, [65.0, 1.0, 0.0]),
        ] {
            let near = row(text, token).iter().zip(at(place)).all(|(a, b)| (a - b).abs() < 1e-6);
            assert!(near, "{text} {token} {:?}", row(text, token));
        }
    }

    #[test]
    fn what_it_cannot_have_is_refused() {
        for (size, tokens) in [([3, 4], 32), ([4, 14], 32), ([18, 4], 32), ([4, 4], 31), ([4, 4], 160)] {
            let request = SdRequest::new(1, size, tokens);
            assert!(matches!(SMALL.graph("", &request), Err(NetworkError::Range { .. })), "{size:?} {tokens}");
        }
        assert!(ZImage { axes: [2, 3, 4], ..SMALL }.validate().is_err());
    }
}
