//! Graphs of one operation each, with how near a device must come to the CPU: what the tests and [`super::self_test`]
//! compare. The tests take odd shapes, the self-test those of real networks.

use crate::graph::{Activation, Attend, Graph, GraphError, Shape, ValueId};
use crate::quant::DType;
use alloc::format;
use alloc::string::String;

/// One comparison.
pub(super) struct Spec {
    /// Kernel and shape.
    pub name: String,
    /// The matrices' type.
    pub dtype: DType,
    /// Greatest difference, as a share of the largest value, of f32 arithmetic that is exact but for the order of sums.
    pub tolerance: f32,
    pub graph: Graph,
}

type Made = Result<Spec, GraphError>;

fn spec(
    name: String,
    dtype: DType,
    tolerance: f32,
    build: impl FnOnce(&mut Graph) -> Result<ValueId, GraphError>,
) -> Made {
    let mut graph = Graph::new();
    let y = build(&mut graph)?;
    graph.output("y", y)?;
    Ok(Spec { name, dtype, tolerance, graph })
}

/// `n h w c` as people write it.
fn size([n, h, w, c]: [usize; 4]) -> String {
    format!("{n}x{h}x{w}x{c}")
}

fn shape([n, h, w, c]: [usize; 4]) -> Shape {
    Shape::new(n, h, w, c)
}

/// The function's name, after a blank.
fn function(activation: Activation) -> &'static str {
    match activation {
        Activation::None => "",
        Activation::Relu => " relu",
        Activation::LeakyRelu => " leaky_relu",
        Activation::ResidualScale => " residual_scale",
        Activation::Silu => " silu",
        Activation::Gelu => " gelu",
        Activation::QuickGelu => " quick_gelu",
        Activation::GeluTanh => " gelu_tanh",
        Activation::Sigmoid => " sigmoid",
        Activation::Tanh => " tanh",
        Activation::Negate => " negate",
        Activation::Geglu => " geglu",
    }
}

pub(super) fn linear(dtype: DType, [rows, inp, out]: [usize; 3], bias: bool) -> Made {
    let and = if bias { "" } else { " no bias" };
    spec(format!("linear {} {rows}x{inp}->{out}{and}", dtype.name()), dtype, 2e-6, |g| {
        let x = g.input("x", Shape::new(rows, 1, 1, inp))?;
        g.linear("l", x, out, bias)
    })
}

/// A linear layer with all that is folded into it.
pub(super) fn linear_then(f: Activation, residual: bool, x: [usize; 4], out: usize) -> Made {
    let and = if residual { " add" } else { "" };
    spec(format!("linear{and}{} {}->{out}", function(f), size(x)), DType::F32, 3e-6, |g| {
        let input = g.input("x", shape(x))?;
        let mut y = g.linear("l", input, out, true)?;
        if residual {
            let r = g.input("r", Shape { c: out, ..shape(x) })?;
            y = g.add("add", y, r)?;
        }
        g.activate("f", y, f)
    })
}

pub(super) fn geglu(dtype: DType, x: [usize; 4], out: usize) -> Made {
    spec(format!("linear geglu add {} {}->{out}", dtype.name(), size(x)), dtype, 3e-6, |g| {
        let input = g.input("x", shape(x))?;
        let r = g.input("r", Shape { c: out, ..shape(x) })?;
        let y = g.linear_geglu("l", input, out, true)?;
        g.add("add", y, r)
    })
}

/// `window` is size, stride and padding.
pub(super) fn conv2d(dtype: DType, x: [usize; 4], out: usize, window: [usize; 3]) -> Made {
    let [kernel, stride, _] = window;
    let by = if stride == 1 { String::new() } else { format!(" by {stride}") };
    // Longer sums round more.
    let tolerance = if kernel * kernel * x[3] > 2048 { 4e-6 } else { 2e-6 };
    spec(format!("conv2d {kernel}x{kernel}{by} {} {}->{out}", dtype.name(), size(x)), dtype, tolerance, |g| {
        let input = g.input("x", shape(x))?;
        g.conv2d("c", input, out, window, true)
    })
}

/// Zeros below and right of the picture alone.
pub(super) fn conv2d_end_padded(x: [usize; 4], out: usize) -> Made {
    spec(format!("conv2d 3x3 by 2 end padded {}->{out}", size(x)), DType::F32, 2e-6, |g| {
        let input = g.input("x", shape(x))?;
        g.conv2d_padded("c", input, out, [3, 2, 0, 1], true)
    })
}

pub(super) fn upsampled_conv2d(x: [usize; 4], out: usize) -> Made {
    spec(format!("conv2d 3x3 doubled silu {}->{out}", size(x)), DType::F32, 2e-6, |g| {
        let input = g.input("x", shape(x))?;
        let doubled = g.upsample_nearest2("up", input)?;
        let y = g.conv2d("c", doubled, out, [3, 1, 1], true)?;
        g.silu("f", y)
    })
}

/// Of `n` pictures: queries, keys, channels.
pub(super) fn attention(n: usize, [queries, keys, c]: [usize; 3], heads: usize, causal: bool) -> Made {
    let and = if causal { " causal" } else { "" };
    spec(format!("attention{and} {n}x{queries}x{keys}x{c}/{heads}"), DType::F32, 3e-6, |g| {
        let q = g.input("q", Shape::new(n, queries, 1, c))?;
        let k = g.input("k", Shape::new(n, keys, 1, c))?;
        let v = g.input("v", Shape::new(n, keys, 1, c))?;
        g.attention("a", q, k, v, heads, causal)
    })
}

/// With a bias of each pair and head, and scores that are not divided.
pub(super) fn attention_biased(tokens: usize, c: usize, heads: usize) -> Made {
    spec(format!("attention bias {tokens}x{c}/{heads}"), DType::F32, 3e-6, |g| {
        let [q, k, v] = ["q", "k", "v"].map(|name| g.input(name, Shape::new(1, tokens, 1, c)));
        let bias = Some(g.input("bias", Shape::new(1, tokens, tokens, heads))?);
        g.attend("a", [q?, k?, v?], Attend { scale: Some(0.2), bias, ..Attend::heads(heads) })
    })
}

/// Of `n` pictures, each with a length of its own: queries, keys, channels of a head; heads of queries and of keys.
pub(super) fn attention_shared(n: usize, sizes: [usize; 3], heads: [usize; 2], causal: bool) -> Made {
    let ([queries, keys, d], [heads, kv_heads], and) = (sizes, heads, if causal { " causal" } else { "" });
    spec(format!("attention{and} lengths {n}x{queries}x{keys}x{d}*{heads}/{kv_heads}"), DType::F32, 3e-6, |g| {
        let q = g.input("q", Shape::new(n, queries, 1, d * heads))?;
        let [k, v] = ["k", "v"].map(|name| g.input(name, Shape::new(n, keys, 1, d * kv_heads)));
        g.input_ids("others", 2);
        let lengths = Some(g.input_ids("lengths", n));
        g.attend("a", [q, k?, v?], Attend { causal, lengths, ..Attend::heads(heads) })
    })
}

/// Angles of each picture's own, or the same for all.
pub(super) fn rotary(x: [usize; 4], heads: usize, halves: bool, own: bool) -> Made {
    let (pairs, of) = (if halves { "halves" } else { "neighbours" }, if own { " own" } else { "" });
    spec(format!("rotary {pairs}{of} {}/{heads}", size(x)), DType::F32, 3e-7, |g| {
        let [n, h, w, c] = x;
        let input = g.input("x", shape(x))?;
        let angles = g.input("angles", Shape::new(if own { n } else { 1 }, 1, h * w, c / heads))?;
        g.rotary("turn", input, angles, heads, halves)
    })
}

/// What is turned is needed afterwards, so that the result cannot lie on it.
#[cfg(test)]
pub(super) fn rotary_and_keep(x: [usize; 4], heads: usize, halves: bool) -> Made {
    spec(format!("rotary and keep {}/{heads}", size(x)), DType::F32, 3e-7, |g| {
        let input = g.input("x", shape(x))?;
        let angles = g.input("angles", Shape::new(1, 1, x[1] * x[2], x[3] / heads))?;
        g.output("x", input)?;
        g.rotary("turn", input, angles, heads, halves)
    })
}

pub(super) fn multiply(x: [usize; 4]) -> Made {
    spec(format!("multiply {}", size(x)), DType::F32, 1e-7, |g| {
        let (a, b) = (g.input("a", shape(x))?, g.input("b", shape(x))?);
        g.multiply("multiply", a, b)
    })
}

pub(super) fn group_norm(x: [usize; 4], groups: usize, f: Activation) -> Made {
    spec(format!("group_norm{} {}/{groups}", function(f), size(x)), DType::F32, 4e-6, |g| {
        let input = g.input("x", shape(x))?;
        let y = g.group_norm("norm", input, groups, 1e-5)?;
        if f == Activation::None { Ok(y) } else { g.activate("f", y, f) }
    })
}

pub(super) fn layer_norm(x: [usize; 4]) -> Made {
    spec(format!("layer_norm {}", size(x)), DType::F32, 4e-6, |g| {
        let input = g.input("x", shape(x))?;
        g.layer_norm("norm", input, 1e-5)
    })
}

/// Affine parts of each picture's own.
pub(super) fn ada_layer_norm(x: [usize; 4]) -> Made {
    spec(format!("ada_layer_norm {}", size(x)), DType::F32, 4e-6, |g| {
        let input = g.input("x", shape(x))?;
        let [scale, shift] =
            [g.input("scale", Shape::vector(x[0], x[3]))?, g.input("shift", Shape::vector(x[0], x[3]))?];
        g.ada_layer_norm("norm", input, [scale, shift], 1e-5)
    })
}

/// A scale of each picture's own, and no shift.
pub(super) fn scaled_layer_norm(x: [usize; 4]) -> Made {
    spec(format!("scaled_layer_norm {}", size(x)), DType::F32, 4e-6, |g| {
        let input = g.input("x", shape(x))?;
        let scale = g.input("scale", Shape::vector(x[0], x[3]))?;
        g.scaled_layer_norm("norm", input, scale, 1e-5)
    })
}

/// With factors of each picture's own.
pub(super) fn modulated_rms_norm(x: [usize; 4]) -> Made {
    spec(format!("modulated_rms_norm {}", size(x)), DType::F32, 4e-6, |g| {
        let input = g.input("x", shape(x))?;
        let modulation = g.input("modulation", Shape::vector(x[0], x[3]))?;
        g.modulated_rms_norm("norm", input, modulation, 1e-5)
    })
}

pub(super) fn rms_norm(x: [usize; 4], groups: usize) -> Made {
    spec(format!("rms_norm {}/{groups}", size(x)), DType::F32, 4e-6, |g| {
        let input = g.input("x", shape(x))?;
        g.rms_norm("norm", input, groups, 1e-5)
    })
}

pub(super) fn gated_add(x: [usize; 4]) -> Made {
    spec(format!("gated_add {}", size(x)), DType::F32, 2e-7, |g| {
        let a = g.input("x", shape(x))?;
        let gate = g.input("gate", Shape::vector(x[0], x[3]))?;
        let b = g.input("b", shape(x))?;
        g.gated_add("add", a, gate, b)
    })
}

/// The middle half of the channels.
pub(super) fn slice(x: [usize; 4]) -> Made {
    spec(format!("slice {}", size(x)), DType::F32, 0.0, |g| {
        let input = g.input("x", shape(x))?;
        g.slice("slice", input, x[3] / 4, x[3].div_ceil(2))
    })
}

pub(super) fn max_pool(x: [usize; 4], added: bool) -> Made {
    let (and, tolerance) = if added { (" add", 1e-7) } else { ("", 0.0) };
    spec(format!("max_pool{and} {}", size(x)), DType::F32, tolerance, |g| {
        let input = g.input("x", shape(x))?;
        let y = if added { Some(g.input("v", Shape::vector(x[0], x[3]))?) } else { None };
        let pooled = g.max_pool2("pool", input)?;
        y.map_or(Ok(pooled), |v| g.add_channels("add", pooled, v))
    })
}

pub(super) fn avg_pool(x: [usize; 4]) -> Made {
    spec(format!("avg_pool {}", size(x)), DType::F32, 3e-7, |g| {
        let input = g.input("x", shape(x))?;
        g.avg_pool2("pool", input)
    })
}

pub(super) fn upsample_bilinear(x: [usize; 4]) -> Made {
    spec(format!("upsample bilinear {}", size(x)), DType::F32, 3e-7, |g| {
        let input = g.input("x", shape(x))?;
        g.upsample_bilinear2("up", input)
    })
}

/// Each pixel repeated, but for the last `less` rows and columns.
pub(super) fn upsample_nearest(x: [usize; 4], less: [usize; 2]) -> Made {
    spec(format!("upsample nearest {} less {}x{}", size(x), less[0], less[1]), DType::F32, 0.0, |g| {
        let input = g.input("x", shape(x))?;
        g.upsample_nearest("up", input, [2 * x[1] - less[0], 2 * x[2] - less[1]])
    })
}

/// Channels joined, and a vector added to each pixel.
pub(super) fn concat(x: [usize; 4], cb: usize) -> Made {
    spec(format!("concat add {}+{cb}", size(x)), DType::F32, 1e-7, |g| {
        let a = g.input("x", shape(x))?;
        let b = g.input("b", Shape { c: cb, ..shape(x) })?;
        let v = g.input("v", Shape::vector(x[0], x[3] + cb))?;
        let joined = g.concat("cat", a, b)?;
        g.add_channels("add", joined, v)
    })
}

pub(super) fn activate(f: Activation, x: [usize; 4]) -> Made {
    spec(format!("activate{} {}", function(f), size(x)), DType::F32, 5e-7, |g| {
        let input = g.input("x", shape(x))?;
        g.activate("f", input, f)
    })
}

pub(super) fn add(x: [usize; 4]) -> Made {
    spec(format!("add {}", size(x)), DType::F32, 1e-7, |g| {
        let a = g.input("x", shape(x))?;
        let b = g.input("b", shape(x))?;
        g.add("add", a, b)
    })
}

/// Both operands are needed afterwards, so the sum cannot lie on one of them.
#[cfg(test)]
pub(super) fn add_and_keep(x: [usize; 4]) -> Made {
    spec(format!("add and keep {}", size(x)), DType::F32, 1e-7, |g| {
        let a = g.input("x", shape(x))?;
        let b = g.input("b", shape(x))?;
        let s = g.silu("f", a)?;
        let s = g.add("add", s, b)?;
        g.output("a", a)?;
        g.output("b", b)?;
        Ok(s)
    })
}

pub(super) fn add_channels(x: [usize; 4]) -> Made {
    spec(format!("add_channels {}", size(x)), DType::F32, 1e-7, |g| {
        let input = g.input("x", shape(x))?;
        let v = g.input("v", Shape::vector(x[0], x[3]))?;
        g.add_channels("add", input, v)
    })
}

pub(super) fn relu_backward(x: [usize; 4]) -> Made {
    spec(format!("relu_backward {}", size(x)), DType::F32, 0.0, |g| {
        let input = g.input("x", shape(x))?;
        let gradient = g.input("g", shape(x))?;
        let relu = g.relu("f", input)?;
        g.relu_backward("b", gradient, relu)
    })
}

#[cfg(test)]
/// The gradient is needed afterwards, so that the result cannot lie on it.
pub(super) fn relu_backward_and_keep(x: [usize; 4]) -> Made {
    spec(format!("relu_backward and keep {}", size(x)), DType::F32, 0.0, |g| {
        let input = g.input("x", shape(x))?;
        let gradient = g.input("g", shape(x))?;
        let y = g.relu_backward("b", gradient, input)?;
        g.output("g", gradient)?;
        Ok(y)
    })
}

/// Where ReLU made zeros, squares have several largest elements.
pub(super) fn max_pool_backward(x: [usize; 4]) -> Made {
    spec(format!("max_pool_backward {}", size(x)), DType::F32, 0.0, |g| {
        let input = g.input("x", shape(x))?;
        let relu = g.relu("f", input)?;
        let gradient = g.input("g", Shape::new(x[0], x[1] / 2, x[2] / 2, x[3]))?;
        g.max_pool2_backward("b", relu, gradient)
    })
}

pub(super) fn log_softmax(n: usize, labels: usize) -> Made {
    spec(format!("log_softmax {n}x{labels}"), DType::F32, 2e-6, |g| {
        let x = g.input("x", Shape::vector(n, labels))?;
        g.log_softmax("l", x)
    })
}

pub(super) fn log_softmax_backward(n: usize, labels: usize) -> Made {
    spec(format!("log_softmax_backward {n}x{labels}"), DType::F32, 2e-6, |g| {
        let x = g.input("x", Shape::vector(n, labels))?;
        let ids = g.input_ids("labels", n);
        g.log_softmax_backward("l", x, ids)
    })
}

pub(super) fn position_encoding(n: usize, dim: usize) -> Made {
    spec(format!("position_encoding {n}x{dim}"), DType::F32, 2e-6, |g| {
        let t = g.input("t", Shape::vector(n, 1))?;
        g.position_encoding("time", t, dim)
    })
}

pub(super) fn token_embedding([n, tokens, dim]: [usize; 3]) -> Made {
    spec(format!("token_embedding {n}x{tokens}x{dim}"), DType::F32, 2e-6, |g| {
        g.input_ids("others", 2);
        let ids = g.input_ids("tokens", n * tokens);
        g.token_embedding(["token", "position"], ids, [n, tokens, dim], [50, tokens + 1])
    })
}

/// `each` of every text.
pub(super) fn select_tokens([n, tokens, dim]: [usize; 3], each: usize) -> Made {
    spec(format!("select_token {each} of {n}x{tokens}x{dim}"), DType::F32, 2e-6, |g| {
        let ids = g.input_ids("tokens", n * tokens);
        let x = g.token_embedding(["token", "position"], ids, [n, tokens, dim], [tokens, tokens])?;
        let places = g.input_ids("places", n * each);
        g.select_tokens("some", x, places, each)
    })
}

pub(super) fn embedding_add(n: usize, dim: usize) -> Made {
    spec(format!("embedding_add {n}x{dim}"), DType::F32, 2e-6, |g| {
        let t = g.input("t", Shape::vector(n, 1))?;
        let x = g.position_encoding("time", t, dim)?;
        let ids = g.input_ids("labels", n);
        g.embedding_add("label_emb", x, ids, 10)
    })
}
