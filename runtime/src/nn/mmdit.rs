//! The transformer of Stable Diffusion 3 and 3.5, MMDiT: patches of latents and tokens of a text, each with weights of its own,
//! attend to one another in one sequence (Esser et al. 2024, "Scaling Rectified Flow Transformers for High-Resolution Image
//! Synthesis", figure 2).
//!
//! The tensors have the names of diffusers' `SD3Transformer2DModel`, but for the table of positions.

use super::patches::{PATCH, rows, unpatch};
use super::{NetworkError, SdCache, SdRequest, SdUnet, TimeCode, range};
use crate::graph::{Activation, Graph, GraphError, IdsId, Shape, ValueId};
use alloc::format;
use alloc::vec::Vec;

/// Added to variances, and to means of squares.
const EPS: f32 = 1e-6;

/// The transformer's configuration; the field in brackets is that of `config.json`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mmdit {
    /// Channels of the latents, which it reads and answers with (`in_channels`, `out_channels`).
    pub channels: usize,
    /// Blocks (`num_layers`).
    pub layers: usize,
    /// Heads of attention (`num_attention_heads`).
    pub heads: usize,
    /// Channels of a head (`attention_head_dim`).
    pub head_channels: usize,
    /// Width of the text's states (`joint_attention_dim`).
    pub text_width: usize,
    /// Length of the text's pooled state (`pooled_projection_dim`).
    pub pooled_width: usize,
    /// Rows and columns of the table of positions, in patches (`pos_embed_max_size`).
    pub positions: usize,
    /// The blocks in which patches also attend to one another alone, 3.5-medium's (`dual_attention_layers`).
    pub dual: Vec<usize>,
    /// Whether queries and keys are normalized, each head by itself, 3.5's (`qk_norm` `rms_norm`).
    pub qk_norm: bool,
}

/// One stream, patches or text: where it is, and the names of its layers in a block.
struct Stream {
    norm: &'static str,
    qkv: [&'static str; 3],
    qk_norms: [&'static str; 2],
    out: &'static str,
    ff: &'static str,
}

const IMAGE: Stream =
    Stream { norm: "norm1", qkv: ["to_q", "to_k", "to_v"], qk_norms: ["norm_q", "norm_k"], out: "to_out.0", ff: "ff" };
const TEXT: Stream = Stream {
    norm: "norm1_context",
    qkv: ["add_q_proj", "add_k_proj", "add_v_proj"],
    qk_norms: ["norm_added_q", "norm_added_k"],
    out: "to_add_out",
    ff: "ff_context",
};

impl Mmdit {
    /// Sides of a patch, in pixels of latents (`patch_size`).
    pub const PATCH: usize = PATCH;
    /// States of a third text encoder (T5, `max_sequence_length`), which are zeros where there is none.
    pub const THIRD_STATES: usize = 256;
    /// The name of the latents' input, `(n, h, w, channels)`.
    pub const LATENTS: &'static str = SdUnet::LATENTS;
    /// The name of the input of the timestep's code ([`Self::write_time`]), `(n, 1, 1, 256)`.
    pub const TIME: &'static str = SdUnet::TIME;
    /// The name of the text's states, `(n, 1, tokens, text_width)`.
    pub const TEXT: &'static str = SdUnet::TEXT;
    /// The name of the text's pooled state, `(n, 1, 1, pooled_width)`.
    pub const POOLED: &'static str = SdUnet::ADDED;
    /// The name of the input of the patches' places in the table ([`Self::places`]), for each picture of the batch.
    pub const PLACES: &'static str = "places";
    /// The name of the output, the velocity, `(n, h, w, channels)`.
    pub const OUTPUT: &'static str = SdUnet::OUTPUT;
    /// Length of the timestep's code.
    pub const TIME_WIDTH: usize = 256;

    /// Channels of a token.
    pub fn width(&self) -> usize {
        self.heads * self.head_channels
    }

    /// Whether the configuration is a network.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn validate(&self) -> Result<(), NetworkError> {
        range("channels", self.channels, 1, 1024)?;
        range("layers", self.layers, 1, 1024)?;
        range("heads", self.heads, 1, 1024)?;
        range("head_channels", self.head_channels, 1, 1024)?;
        range("text_width", self.text_width, 1, 65536)?;
        range("pooled_width", self.pooled_width, 1, 65536)?;
        range("positions", self.positions, 1, 4096)?;
        self.dual.iter().try_for_each(|&i| range("block with two attentions", i, 0, self.layers - 1))
    }

    /// Writes the timestep's code for each picture of a batch; `out` is `(n, 256)`. `timestep` is 1000 times the noise's share,
    /// not rounded.
    pub fn write_time(timestep: f64, out: &mut [f32]) {
        out.chunks_mut(Self::TIME_WIDTH).for_each(|row| TimeCode::default().write(timestep, row));
    }

    /// The rows of the table of positions of latents of that size: its middle part, row by row.
    ///
    /// # Errors
    /// Latents of an odd side, or larger than the table.
    pub fn places(&self, [height, width]: [usize; 2]) -> Result<Vec<u32>, NetworkError> {
        let [h, w] = self.patches([height, width])?;
        let (top, left) = ((self.positions - h) / 2, (self.positions - w) / 2);
        let place = |i: usize| ((top + i / w) * self.positions + left + i % w) as u32;
        Ok((0..h * w).map(place).collect())
    }

    fn patches(&self, [height, width]: [usize; 2]) -> Result<[usize; 2], NetworkError> {
        for (field, side) in [("height of the latents", height), ("width of the latents", width)] {
            range(field, side, Self::PATCH, Self::PATCH * self.positions)?;
            range(field, side % Self::PATCH, 0, 0)?;
        }
        Ok([height / Self::PATCH, width / Self::PATCH])
    }

    /// The network, its tensors' names after `prefix`.
    ///
    /// # Errors
    /// A configuration that is no network; latents of an odd side, or larger than the table of positions; residuals of a
    /// ControlNet, features of a T2I-Adapter, tokens of a picture, a cache, which it does not know.
    pub fn graph(&self, prefix: &str, request: &SdRequest) -> Result<Graph, NetworkError> {
        self.graph_skipping(prefix, request, &[])
    }

    /// The network, whose `skipped` blocks the last third of the batch leaves out: for skip-layer guidance.
    ///
    /// # Errors
    /// As [`Self::graph`]; a block that there is not; a batch that is no three times some pictures.
    pub fn graph_skipping(&self, prefix: &str, request: &SdRequest, skipped: &[usize]) -> Result<Graph, NetworkError> {
        self.validate()?;
        skipped.iter().try_for_each(|&i| range("skipped block", i, 0, self.layers - 1))?;
        if !skipped.is_empty() {
            range("texts beside three of each picture", request.batch % 3, 0, 0)?;
        }
        let &SdRequest { batch: n, height, width, tokens, control, adapter, image, cache } = request;
        range("ControlNets of a transformer", usize::from(control), 0, 0)?;
        range("features of a T2I-Adapter", adapter, 0, 0)?;
        range("tokens of a picture", image, 0, 0)?;
        range("cached features of a transformer", usize::from(cache != SdCache::Off), 0, 0)?;
        let [h, w] = self.patches([height, width])?;
        let d = self.width();
        let g = &mut Graph::new();
        let latents = g.input(Self::LATENTS, Shape::new(n, height, width, self.channels))?;
        let time = g.input(Self::TIME, Shape::vector(n, Self::TIME_WIDTH))?;
        let text = g.input(Self::TEXT, Shape::new(n, 1, tokens, self.text_width))?;
        let pooled = g.input(Self::POOLED, Shape::vector(n, self.pooled_width))?;
        let places = g.input_ids(Self::PLACES, n * h * w);

        let mut x = self.patch_embedding(g, prefix, latents, places)?;
        let condition = self.condition(g, prefix, time, pooled)?;
        let mut context = g.linear(&format!("{prefix}context_embedder"), text, d, true)?;
        for i in 0..self.layers {
            let name = format!("{prefix}transformer_blocks.{i}");
            if !skipped.contains(&i) {
                [x, context] = self.block(g, &name, i, [x, context], condition)?;
                continue;
            }
            let (skip, of) = (format!("{name}.skip"), [n - n / 3, n / 3]);
            let [condition, _] = split(g, &skip, condition, of)?;
            let ([x_2, x_1], [context_2, context_1]) = (split(g, &skip, x, of)?, split(g, &skip, context, of)?);
            let [x_2, context_2] = self.block(g, &name, i, [x_2, context_2], condition)?;
            [x, context] = [join(g, &skip, x_2, x_1)?, join(g, &skip, context_2, context_1)?];
        }
        let name = format!("{prefix}norm_out");
        let m = g.linear(&format!("{name}.linear"), condition, 2 * d, true)?;
        let [scale, shift] = rows(g, &name, m, 0, d)?;
        let x = g.ada_layer_norm(&name, x, [scale, shift], EPS)?;
        let x = g.linear(&format!("{prefix}proj_out"), x, Self::PATCH * Self::PATCH * self.channels, true)?;
        let out = unpatch(g, &format!("{prefix}unpatch"), x)?;
        g.output(Self::OUTPUT, out)?;
        Ok(core::mem::take(g))
    }

    /// Patches as tokens, each with what tells its place.
    fn patch_embedding(
        &self,
        g: &mut Graph,
        prefix: &str,
        latents: ValueId,
        places: IdsId,
    ) -> Result<ValueId, GraphError> {
        let d = self.width();
        let x = g.conv2d(&format!("{prefix}pos_embed.proj"), latents, d, [Self::PATCH, Self::PATCH, 0], true)?;
        let (shape, name) = (g.shape(x), format!("{prefix}pos_embed.table"));
        let x = g.reshape(&name, x, Shape::vector(shape.n * shape.h * shape.w, d))?;
        let x = g.embedding_add(&name, x, places, self.positions * self.positions)?;
        g.reshape(&name, x, shape)
    }

    /// What modulates: of the timestep and of the pooled text, after the SiLU that every block applies to it first.
    fn condition(&self, g: &mut Graph, prefix: &str, time: ValueId, pooled: ValueId) -> Result<ValueId, GraphError> {
        let d = self.width();
        let mut embed = |of: &str, x: ValueId| {
            let name = format!("{prefix}time_text_embed.{of}");
            let x = g.linear(&format!("{name}.linear_1"), x, d, true)?;
            let x = g.silu(&format!("{name}.act"), x)?;
            g.linear(&format!("{name}.linear_2"), x, d, true)
        };
        let (time, pooled) = (embed("timestep_embedder", time)?, embed("text_embedder", pooled)?);
        let sum = g.add(&format!("{prefix}time_text_embed.add"), pooled, time)?;
        g.silu(&format!("{prefix}time_text_embed.silu"), sum)
    }

    /// One block: patches and text after it. The last one's text is only attended to.
    fn block(
        &self,
        g: &mut Graph,
        name: &str,
        i: usize,
        [x, context]: [ValueId; 2],
        condition: ValueId,
    ) -> Result<[ValueId; 2], GraphError> {
        let (d, last, dual) = (self.width(), i + 1 == self.layers, self.dual.contains(&i));
        let image_norm = format!("{name}.{}", IMAGE.norm);
        let m = g.linear(&format!("{image_norm}.linear"), condition, if dual { 9 } else { 6 } * d, true)?;
        let [shift, scale, gate, shift_2, scale_2, gate_2] = rows(g, &image_norm, m, 0, d)?;
        let normed = g.ada_layer_norm(&image_norm, x, [scale, shift], EPS)?;

        let text_norm = format!("{name}.{}", TEXT.norm);
        let text = g.linear(&format!("{text_norm}.linear"), condition, if last { 2 } else { 6 } * d, true)?;
        // The last one's has its rows the other way round.
        let [first, second] = rows(g, &text_norm, text, 0, d)?;
        let affine = if last { [first, second] } else { [second, first] };
        let normed_text = g.ada_layer_norm(&text_norm, context, affine, EPS)?;

        let attention = format!("{name}.attn");
        let own = self.qkv(g, &attention, &IMAGE, normed)?;
        let other = self.qkv(g, &attention, &TEXT, normed_text)?;
        let shape = g.shape(x);
        let joint = |g: &mut Graph, j: usize| g.join_tokens(&format!("{attention}.join"), own[j], other[j]);
        let (k, v) = (joint(g, 1)?, joint(g, 2)?);
        // What the last block's text would ask is not needed.
        let q = if last { own[0] } else { joint(g, 0)? };
        let attended = g.attention(&attention, q, k, v, self.heads, false)?;
        let patches = if last { attended } else { g.slice_tokens(&format!("{attention}.split"), attended, 0, shape)? };
        let out = g.linear(&format!("{attention}.{}", IMAGE.out), patches, d, true)?;
        let mut y = g.gated_add(&format!("{name}.gate"), x, gate, out)?;
        if dual {
            let [shift, scale, gate] = rows(g, &image_norm, m, 6, d)?;
            let normed = g.ada_layer_norm(&format!("{image_norm}.2"), x, [scale, shift], EPS)?;
            let attention = format!("{name}.attn2");
            let [q, k, v] = self.qkv(g, &attention, &IMAGE, normed)?;
            let attended = g.attention(&attention, q, k, v, self.heads, false)?;
            let out = g.linear(&format!("{attention}.{}", IMAGE.out), attended, d, true)?;
            y = g.gated_add(&format!("{name}.gate_dual"), y, gate, out)?;
        }
        let y = self.perceptron(g, name, &IMAGE, y, [shift_2, scale_2, gate_2])?;
        if last {
            return Ok([y, context]);
        }
        let text_shape = g.shape(context);
        let [gate, shift, scale, gate_2] = rows(g, &text_norm, text, 2, d)?;
        let words = g.slice_tokens(&format!("{attention}.split"), attended, shape.h * shape.w, text_shape)?;
        let out = g.linear(&format!("{attention}.{}", TEXT.out), words, d, true)?;
        let context = g.gated_add(&format!("{name}.gate_context"), context, gate, out)?;
        Ok([y, self.perceptron(g, name, &TEXT, context, [shift, scale, gate_2])?])
    }

    fn qkv(&self, g: &mut Graph, name: &str, of: &Stream, x: ValueId) -> Result<[ValueId; 3], GraphError> {
        let d = self.width();
        let [q, k, v] = of.qkv.map(|of| g.linear(&format!("{name}.{of}"), x, d, true));
        let (mut q, mut k) = (q?, k?);
        if self.qk_norm {
            q = g.rms_norm(&format!("{name}.{}", of.qk_norms[0]), q, self.heads, EPS)?;
            k = g.rms_norm(&format!("{name}.{}", of.qk_norms[1]), k, self.heads, EPS)?;
        }
        Ok([q, k, v?])
    }

    fn perceptron(
        &self,
        g: &mut Graph,
        name: &str,
        of: &Stream,
        x: ValueId,
        [shift, scale, gate]: [ValueId; 3],
    ) -> Result<ValueId, GraphError> {
        let (d, name) = (self.width(), format!("{name}.{}", of.ff));
        let y = g.ada_layer_norm(&format!("{name}.norm"), x, [scale, shift], EPS)?;
        let y = g.linear(&format!("{name}.net.0.proj"), y, 4 * d, true)?;
        let y = g.activate(&format!("{name}.net.0.act"), y, Activation::GeluTanh)?;
        let y = g.linear(&format!("{name}.net.2"), y, d, true)?;
        g.gated_add(&format!("{name}.gate"), x, gate, y)
    }
}

/// The first pictures of a batch, and the others.
fn split(g: &mut Graph, name: &str, x: ValueId, of: [usize; 2]) -> Result<[ValueId; 2], GraphError> {
    let s = g.shape(x);
    let each = s.h * s.w * s.c;
    let flat = g.reshape(name, x, Shape::vector(1, s.n * each))?;
    let mut part = |from: usize, n: usize| {
        let part = g.slice(name, flat, from * each, n * each)?;
        g.reshape(name, part, Shape { n, ..s })
    };
    Ok([part(0, of[0])?, part(of[0], of[1])?])
}

/// The reverse of [`split`].
fn join(g: &mut Graph, name: &str, first: ValueId, others: ValueId) -> Result<ValueId, GraphError> {
    let (s, t) = (g.shape(first), g.shape(others));
    let each = s.h * s.w * s.c;
    let flat = [(first, s.n), (others, t.n)].map(|(x, n)| g.reshape(name, x, Shape::vector(1, n * each)));
    let [first, others] = flat;
    let joined = g.concat(name, first?, others?)?;
    g.reshape(name, joined, Shape { n: s.n + t.n, ..s })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Mmdit = Mmdit {
        channels: 4,
        layers: 2,
        heads: 2,
        head_channels: 8,
        text_width: 24,
        pooled_width: 12,
        positions: 6,
        dual: Vec::new(),
        qk_norm: true,
    };

    /// Seen red with the crop at the corner.
    #[test]
    fn places_are_the_middle_of_the_table() {
        assert_eq!(SMALL.places([4, 8]).unwrap(), [13, 14, 15, 16, 19, 20, 21, 22]);
        for size in [[3, 4], [4, 14], [0, 2]] {
            assert!(matches!(SMALL.places(size), Err(NetworkError::Range { .. })), "{size:?}");
        }
    }

    #[test]
    fn a_graph_answers_with_the_latents_shape() {
        let request = SdRequest::new(3, [4, 10], 7);
        let graph = Mmdit { dual: alloc::vec![0], ..SMALL }.graph("x.", &request).unwrap();
        assert_eq!(graph.shape(graph.outputs()[0].value), Shape::new(3, 4, 10, 4));
        let names = |of: &str| graph.weights().iter().filter(|w| w.name.contains(of)).count();
        assert_eq!((names("attn2"), names("norm_added_q"), names("ff_context")), (10, 2, 4));
        let wrong = Mmdit { dual: alloc::vec![2], ..SMALL }.graph("", &request);
        assert!(matches!(wrong, Err(NetworkError::Range { field: "block with two attentions", .. })));
    }
}
