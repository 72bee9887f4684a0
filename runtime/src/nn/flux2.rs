//! The transformer of FLUX.2-klein: tokens of a text, of latents and of pictures that are looked at in one sequence, first with weights
//! of their own, then with the same (Black Forest Labs 2025, FLUX.2; Dehghani et al. 2023, "Scaling Vision Transformers to 22
//! Billion Parameters", section 2, of the blocks whose attention and perceptron stand side by side).
//!
//! The tensors have the names of diffusers' `Flux2Transformer2DModel`, but that layers which are one there, below one another, are
//! apart here: `to_q`, `to_k`, `to_v`, `gate` and `up`. It has no biases.

use super::patches::{frequencies, rows, write_angles};
use super::{NetworkError, SdCache, SdRequest, SdUnet, TimeCode, range};
use crate::graph::{Graph, GraphError, Shape, ValueId};
use alloc::format;
use alloc::vec::Vec;

/// Added to variances, and to means of squares.
const EPS: f32 = 1e-6;

/// The transformer's configuration; the field in brackets is that of `config.json`.
#[derive(Clone, PartialEq, Debug)]
pub struct Flux2 {
    /// Channels of the latents, packed, which it reads and answers with (`in_channels`).
    pub channels: usize,
    /// Blocks of two streams (`num_layers`).
    pub layers: usize,
    /// Blocks of one stream (`num_single_layers`).
    pub single_layers: usize,
    /// Heads of attention (`num_attention_heads`).
    pub heads: usize,
    /// Width of the text's states (`joint_attention_dim`).
    pub text_width: usize,
    /// Channels of a head that tell the place along each axis: which picture, row, column, place in the text
    /// (`axes_dims_rope`).
    pub axes: [usize; 4],
    /// Features of a perceptron, so many times the width (`mlp_ratio`).
    pub mlp_ratio: f32,
    /// Base of the rotary positions' wavelengths (`rope_theta`).
    pub theta: f32,
    /// Whether guidance was distilled into it: it is then never guided (`is_distilled` of the pipeline).
    pub distilled: bool,
    /// A build without language models has no such network.
    #[cfg(not(feature = "language"))]
    pub never: core::convert::Infallible,
}

/// One stream of a block of two: the names of its layers.
struct Stream {
    qkv: [&'static str; 3],
    qk_norms: [&'static str; 2],
    out: &'static str,
    ff: &'static str,
}

const IMAGE: Stream =
    Stream { qkv: ["to_q", "to_k", "to_v"], qk_norms: ["norm_q", "norm_k"], out: "to_out.0", ff: "ff" };
const TEXT: Stream = Stream {
    qkv: ["add_q_proj", "add_k_proj", "add_v_proj"],
    qk_norms: ["norm_added_q", "norm_added_k"],
    out: "to_add_out",
    ff: "ff_context",
};

impl Flux2 {
    /// States of a text: all of its window, those of what fills it up, too.
    pub const TOKENS: usize = 512;
    /// The longest side of packed latents: what 4 pixels of 4096 are.
    pub const LONGEST: usize = 1024;
    /// The name of the latents' input, `(n, h, w, channels)`.
    pub const LATENTS: &'static str = SdUnet::LATENTS;
    /// The name of the latents of pictures that are looked at, `(n, 1, tokens, channels)`.
    pub const REFERENCES: &'static str = "references";
    /// The name of the input of the timestep's code ([`Self::write_time`]), `(n, 1, 1, 256)`.
    pub const TIME: &'static str = SdUnet::TIME;
    /// The name of the text's states, `(n, 1, tokens, text_width)`.
    pub const TEXT: &'static str = SdUnet::TEXT;
    /// The name of the angles of the tokens' places ([`Self::angles`]), `(1, 1, all tokens, head_channels)`.
    pub const ANGLES: &'static str = super::Denoiser::ANGLES;
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

    fn hidden(&self) -> usize {
        (self.width() as f32 * self.mlp_ratio) as usize
    }

    /// Whether the configuration is a network.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn validate(&self) -> Result<(), NetworkError> {
        range("channels", self.channels, 1, 4096)?;
        range("layers", self.layers, 1, 1024)?;
        range("single_layers", self.single_layers, 0, 1024)?;
        range("heads", self.heads, 1, 1024)?;
        range("text_width", self.text_width, 1, 65536)?;
        for channels in self.axes {
            range("channels of an axis", channels, 2, 1024)?;
            range("odd channels of an axis", channels % 2, 0, 0)?;
        }
        range("features of a perceptron", self.hidden(), 1, 1 << 20)
    }

    /// Writes the timestep's code for each picture of a batch; `out` is `(n, 256)`. `timestep` is 1000 times the noise's share,
    /// not rounded.
    pub fn write_time(timestep: f64, out: &mut [f32]) {
        out.chunks_mut(Self::TIME_WIDTH).for_each(|row| TimeCode::default().write(timestep, row));
    }

    /// The angles of all tokens: those of the text, of the latents, and of pictures that are looked at, of these sizes.
    ///
    /// # Errors
    /// Pictures that have not the request's tokens.
    pub fn angles(&self, request: &SdRequest, references: &[[usize; 2]]) -> Result<Vec<f32>, NetworkError> {
        let looked_at = references.iter().map(|[h, w]| h * w).sum();
        range("tokens of pictures that are looked at", looked_at, request.image, request.image)?;
        let picture = |which: usize, [h, w]: [usize; 2]| (0..h * w).map(move |i| [which, i / w, i % w, 0]);
        let text = (0..request.tokens).map(|i| [0, 0, 0, i]);
        let others = references.iter().enumerate().flat_map(|(i, size)| picture(10 + 10 * i, *size));
        let mut out = Vec::new();
        for place in text.chain(picture(0, [request.height, request.width])).chain(others) {
            let axes = self.axes.into_iter().zip(place);
            let of =
                axes.flat_map(|(dim, at)| frequencies(f64::from(self.theta), dim).map(move |f| (f * at as f64) as f32));
            write_angles(of.collect::<Vec<_>>().into_iter(), &mut out);
        }
        Ok(out)
    }

    /// The shift of the noise's shares for latents of that size in so many steps (diffusers' `compute_empirical_mu`).
    pub fn shift([height, width]: [usize; 2], steps: usize) -> f64 {
        let tokens = (height * width) as f64;
        let many = 0.00016927 * tokens + 0.45666666;
        if tokens > 4300.0 {
            return libm::exp(many);
        }
        let few = 8.73809524e-05 * tokens + 1.89833333;
        let slope = (many - few) / 190.0;
        libm::exp(slope * steps as f64 + many - 200.0 * slope)
    }

    /// The network, its tensors' names after `prefix`.
    ///
    /// # Errors
    /// A configuration that is no network; residuals of a ControlNet, features of a T2I-Adapter, a cache, which it does not know.
    pub fn graph(&self, prefix: &str, request: &SdRequest) -> Result<Graph, NetworkError> {
        self.validate()?;
        let &SdRequest { batch: n, height, width, tokens, control, adapter, image, cache } = request;
        range("ControlNets of a transformer", usize::from(control), 0, 0)?;
        range("features of a T2I-Adapter", adapter, 0, 0)?;
        range("cached features of a transformer", usize::from(cache != SdCache::Off), 0, 0)?;
        range("tokens", tokens, 1, 4096)?;
        for (field, side) in [("height of the latents", height), ("width of the latents", width)] {
            range(field, side, 1, Self::LONGEST)?;
        }
        let d = self.width();
        let g = &mut Graph::new();
        let latents = g.input(Self::LATENTS, Shape::new(n, height, width, self.channels))?;
        let time = g.input(Self::TIME, Shape::vector(n, Self::TIME_WIDTH))?;
        let text = g.input(Self::TEXT, Shape::new(n, 1, tokens, self.text_width))?;
        let all = tokens + height * width + image;
        let angles = g.input(Self::ANGLES, Shape::new(1, 1, all, self.head_channels()))?;

        let condition = self.condition(g, prefix, time)?;
        let modulation = |g: &mut Graph, of: &str, vectors: usize| {
            g.linear(&format!("{prefix}{of}.linear"), condition, vectors * d, false)
        };
        let image_m = modulation(g, "double_stream_modulation_img", 6)?;
        let text_m = modulation(g, "double_stream_modulation_txt", 6)?;
        let single_m = modulation(g, "single_stream_modulation", 3)?;
        let name = format!("{prefix}x_embedder");
        let mut x = g.reshape(&name, latents, Shape::new(n, 1, height * width, self.channels))?;
        if image > 0 {
            let references = g.input(Self::REFERENCES, Shape::new(n, 1, image, self.channels))?;
            x = g.join_tokens(&name, x, references)?;
        }
        let mut x = g.linear(&name, x, d, false)?;
        let mut context = g.linear(&format!("{prefix}context_embedder"), text, d, false)?;
        let image_m: [ValueId; 6] = rows(g, &format!("{prefix}modulation_img"), image_m, 0, d)?;
        let text_m: [ValueId; 6] = rows(g, &format!("{prefix}modulation_txt"), text_m, 0, d)?;
        for i in 0..self.layers {
            let name = format!("{prefix}transformer_blocks.{i}");
            [x, context] = self.double(g, &name, [x, context], [image_m, text_m], angles)?;
        }
        let mut x = g.join_tokens(&format!("{prefix}join"), context, x)?;
        let single_m = rows(g, &format!("{prefix}modulation_single"), single_m, 0, d)?;
        for i in 0..self.single_layers {
            x = self.single(g, &format!("{prefix}single_transformer_blocks.{i}"), x, single_m, angles)?;
        }
        let name = format!("{prefix}norm_out");
        let x = g.slice_tokens(&format!("{prefix}split"), x, tokens, Shape::new(n, height, width, d))?;
        let m = g.linear(&format!("{name}.linear"), condition, 2 * d, false)?;
        let affine = rows(g, &name, m, 0, d)?;
        let x = g.ada_layer_norm(&name, x, affine, EPS)?;
        let out = g.linear(&format!("{prefix}proj_out"), x, self.channels, false)?;
        g.output(Self::OUTPUT, out)?;
        Ok(core::mem::take(g))
    }

    /// What modulates, of the timestep, after the SiLU that every modulation applies to it first.
    fn condition(&self, g: &mut Graph, prefix: &str, time: ValueId) -> Result<ValueId, GraphError> {
        let (d, name) = (self.width(), format!("{prefix}time_guidance_embed.timestep_embedder"));
        let x = g.linear(&format!("{name}.linear_1"), time, d, false)?;
        let x = g.silu(&format!("{name}.act"), x)?;
        let x = g.linear(&format!("{name}.linear_2"), x, d, false)?;
        g.silu(&format!("{name}.silu"), x)
    }

    /// A block of two streams: what is after it.
    fn double(
        &self,
        g: &mut Graph,
        name: &str,
        [x, context]: [ValueId; 2],
        [image_m, text_m]: [[ValueId; 6]; 2],
        angles: ValueId,
    ) -> Result<[ValueId; 2], GraphError> {
        let (d, attention) = (self.width(), format!("{name}.attn"));
        let mut qkv = |of: &Stream, x: ValueId, [shift, scale, ..]: [ValueId; 6]| {
            let normed = g.ada_layer_norm(&format!("{name}.norm1_{}", of.ff), x, [scale, shift], EPS)?;
            self.qkv(g, &attention, (of.qkv, of.qk_norms), normed)
        };
        let (own, other) = (qkv(&IMAGE, x, image_m)?, qkv(&TEXT, context, text_m)?);
        let mut joint = |i: usize| g.join_tokens(&format!("{attention}.join"), other[i], own[i]);
        let joined = [joint(0)?, joint(1)?, joint(2)?];
        let attended = self.attention(g, &attention, joined, angles)?;
        let (shape, text_shape) = (g.shape(x), g.shape(context));
        let mut after = |of: &Stream, x: ValueId, shape: Shape, from: usize, m: [ValueId; 6]| {
            let [_, _, gate, shift, scale, gate_2] = m;
            let own = g.slice_tokens(&format!("{attention}.split"), attended, from, shape)?;
            let out = g.linear(&format!("{attention}.{}", of.out), own, d, false)?;
            let x = g.gated_add(&format!("{name}.gate_{}", of.ff), x, gate, out)?;
            let name = format!("{name}.{}", of.ff);
            let y = g.ada_layer_norm(&format!("{name}.norm"), x, [scale, shift], EPS)?;
            let y = self.gated(g, &name, y)?;
            let y = g.linear(&format!("{name}.linear_out"), y, d, false)?;
            g.gated_add(&format!("{name}.add"), x, gate_2, y)
        };
        let context = after(&TEXT, context, text_shape, 0, text_m)?;
        Ok([after(&IMAGE, x, shape, text_shape.h * text_shape.w, image_m)?, context])
    }

    /// A block of one stream: attention and a perceptron side by side.
    fn single(
        &self,
        g: &mut Graph,
        name: &str,
        x: ValueId,
        [shift, scale, gate]: [ValueId; 3],
        angles: ValueId,
    ) -> Result<ValueId, GraphError> {
        let y = g.ada_layer_norm(&format!("{name}.norm"), x, [scale, shift], EPS)?;
        let name = format!("{name}.attn");
        let qkv = self.qkv(g, &name, (IMAGE.qkv, IMAGE.qk_norms), y)?;
        let attended = self.attention(g, &name, qkv, angles)?;
        let features = self.gated(g, &name, y)?;
        let both = g.concat(&format!("{name}.join"), attended, features)?;
        let y = g.linear(&format!("{name}.to_out"), both, self.width(), false)?;
        g.gated_add(&format!("{name}.add"), x, gate, y)
    }

    fn qkv(
        &self,
        g: &mut Graph,
        name: &str,
        (qkv, norms): ([&str; 3], [&str; 2]),
        x: ValueId,
    ) -> Result<[ValueId; 3], GraphError> {
        let [q, k, v] = qkv.map(|of| g.linear(&format!("{name}.{of}"), x, self.width(), false));
        let q = g.rms_norm(&format!("{name}.{}", norms[0]), q?, self.heads, EPS)?;
        let k = g.rms_norm(&format!("{name}.{}", norms[1]), k?, self.heads, EPS)?;
        Ok([q, k, v?])
    }

    fn attention(
        &self,
        g: &mut Graph,
        name: &str,
        [q, k, v]: [ValueId; 3],
        angles: ValueId,
    ) -> Result<ValueId, GraphError> {
        let q = g.rotary(&format!("{name}.rotary_q"), q, angles, self.heads, false)?;
        let k = g.rotary(&format!("{name}.rotary_k"), k, angles, self.heads, false)?;
        g.attention(name, q, k, v, self.heads, false)
    }

    /// `silu(gate) * up`.
    fn gated(&self, g: &mut Graph, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
        let gate = g.linear(&format!("{name}.gate"), x, self.hidden(), false)?;
        let gate = g.silu(&format!("{name}.act"), gate)?;
        let up = g.linear(&format!("{name}.up"), x, self.hidden(), false)?;
        g.multiply(&format!("{name}.multiply"), gate, up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Flux2 = Flux2 {
        channels: 8,
        layers: 2,
        single_layers: 1,
        heads: 2,
        text_width: 24,
        axes: [2, 4, 4, 2],
        mlp_ratio: 3.0,
        theta: 2000.0,
        distilled: false,
    };

    #[test]
    fn a_graph_answers_with_the_latents_shape() {
        let request = SdRequest { image: 6, ..SdRequest::new(3, [4, 5], 7) };
        let graph = SMALL.graph("x.", &request).unwrap();
        assert_eq!(graph.shape(graph.outputs()[0].value), Shape::new(3, 4, 5, 8));
        let names = |of: &str| graph.weights().iter().filter(|w| w.name.contains(of)).count();
        assert_eq!((names("norm_added_q"), names(".gate"), names("bias")), (2, 5, 0));
        let angles = SMALL.angles(&request, &[[2, 3]]).unwrap();
        assert_eq!(angles.len(), (7 + 20 + 6) * 12);
        assert!(SMALL.angles(&request, &[]).is_err());
        // The second row's first token of the picture that is looked at: (10, 1, 0, 0).
        let row = &angles[(7 + 20 + 3) * 12..][..12];
        let cosines = [libm::cosf(10.0), libm::cosf(1.0), libm::cosf(libm::powf(2000.0, -0.5)), 1.0, 1.0, 1.0];
        assert!(row.iter().zip(cosines).all(|(a, b)| (a - b).abs() < 1e-6), "{row:?}");
    }

    /// As diffusers 0.42.1's `compute_empirical_mu`.
    #[test]
    fn shifts_depend_on_size_and_steps() {
        for (size, steps, mu) in [([64, 64], 4, 2.291), ([32, 32], 4, 2.0307), ([96, 64], 4, 1.4967)] {
            let found = libm::log(Flux2::shift(size, steps));
            assert!((found - mu).abs() < 1e-2, "{size:?}: {found}");
        }
    }
}
