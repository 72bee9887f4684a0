//! Random networks for tests, and their evaluation without a plan.

use crate::cpu::exec::Weights;
use crate::cpu::{AttentionShape, ImageShape, definition};
use crate::graph::{Activation, Attend, Graph, IdsId, Op, Shape, ValueId, WeightId, WeightKind};
use crate::quant::DType;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

/// A small deterministic generator (SplitMix64): tests only.
pub(crate) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// In [-1, 1).
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    pub fn fill(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.unit()).collect()
    }
}

/// A network of some 5 to 40 operations that uses every kind of operation, with dead ends and values used often.
pub(crate) fn graph(seed: u64) -> Graph {
    let r = &mut Random(seed);
    let g = &mut Graph::new();
    let n = 1 + r.below(3);
    let picture = g.input("x", Shape::new(n, 4, 8, 1 + r.below(5))).unwrap();
    let t = g.input("t", Shape::vector(n, 1)).unwrap();
    let ids = g.input_ids("labels", n);
    let mut values = vec![picture, g.position_encoding("pos", t, 1 + r.below(20)).unwrap()];
    let tokens = [1 + r.below(8), 1 + r.below(24)];
    let texts = g.input_ids("tokens", n * tokens[0]);
    let [places, lengths] = [("places", 3 * n), ("lengths", n)].map(|(name, n)| g.input_ids(name, n));
    let count = 5 + r.below(36);
    for i in 0..count {
        // Mostly recent values, so that chains form.
        let back = if r.below(3) == 0 { values.len() } else { values.len().min(2) };
        let x = values[values.len() - 1 - r.below(back)];
        let other = values[r.below(values.len())];
        let (s, name) = (g.shape(x), format!("op{i}"));
        // Half of them unchanged, so that sums are possible.
        let channels = if r.below(2) == 0 { s.c } else { 1 + r.below(24) };
        // An operation that does not suit the shapes is refused by the graph, and left out.
        let y = match r.below(33) {
            0 | 1 => g.conv2d(&name, x, channels, [3, 1, 1], r.below(4) > 0),
            2 => g.conv2d_padded(&name, x, channels, [3, 2, r.below(2), 1], true),
            3 | 4 => g.linear(&name, x, channels, r.below(4) > 0),
            5 => g.relu(&name, x),
            6 => g.silu(&name, x),
            7 => {
                let same: Vec<ValueId> = values.iter().copied().filter(|&v| g.shape(v) == s).collect();
                let other = same[r.below(same.len())];
                match r.below(3) {
                    0 => g.add(&name, x, other),
                    1 => g.multiply(&name, x, other),
                    _ => g.add(&name, other, x),
                }
            }
            8 => {
                let mlp = values.iter().copied().rfind(|&v| g.shape(v).h * g.shape(v).w == 1).unwrap_or(x);
                let v = g.linear(&format!("{name}.v"), mlp, s.c, true).unwrap();
                values.push(v);
                g.add_channels(&name, x, v)
            }
            9 => g.max_pool2(&name, x),
            29 => g.avg_pool2(&name, x),
            10 if s.h <= 16 => g.upsample_bilinear2(&name, x),
            10 => g.upsample_nearest(&name, x, [2 * s.h - r.below(2), 2 * s.w - r.below(2)]),
            11 => g.concat(&name, x, other),
            12 => g.embedding_add(&name, x, ids, 7),
            // Nearest upsampling, its convolution and what may follow.
            13 if s.h <= 8 => {
                let sides = [2 * s.h - r.below(2), 2 * s.w - r.below(2)];
                let up = g.upsample_nearest(&format!("{name}.up"), x, sides).unwrap();
                values.extend((r.below(4) == 0).then_some(up));
                g.conv2d(&name, up, channels, [3, 1 + r.below(2), 1], true)
            }
            13 => g.gelu(&name, x),
            14 => {
                use Activation as A;
                let linear = [A::None, A::LeakyRelu, A::ResidualScale, A::Negate];
                let curved = [A::Gelu, A::QuickGelu, A::GeluTanh, A::Sigmoid, A::Tanh];
                let i = r.below(linear.len() + curved.len());
                g.activate(&name, x, linear.into_iter().chain(curved).nth(i).unwrap())
            }
            // A large epsilon: a small one would amplify what rounding left of equal values.
            15 | 16 => g.group_norm(&name, x, 1 + r.below(4), 0.1),
            17 => g.layer_norm(&name, x, 0.1),
            19 => g.log_softmax(&name, x),
            20 => {
                let logits = values.iter().copied().rfind(|&v| g.shape(v).h * g.shape(v).w == 1).unwrap_or(x);
                g.log_softmax_backward(&name, logits, ids)
            }
            21 => {
                let same: Vec<ValueId> = values.iter().copied().filter(|&v| g.shape(v) == s).collect();
                g.relu_backward(&name, x, same[r.below(same.len())])
            }
            22 => {
                let pooled = g.max_pool2(&format!("{name}.pool"), x);
                pooled.and_then(|pooled| {
                    values.push(pooled);
                    g.max_pool2_backward(&name, x, pooled)
                })
            }
            23 if r.below(2) == 0 => g.token_rows("token", texts, [n, tokens[0], tokens[1]], 7),
            23 => g.token_embedding(["token", "place"], texts, [n, tokens[0], tokens[1]], [7, 8]),
            24 if s.h * s.w >= 7 => g.select_token(&name, x, ids),
            25 | 26 => {
                let vectors: Vec<ValueId> =
                    values.iter().copied().filter(|&v| g.shape(v) == Shape::vector(s.n, s.c)).collect();
                let vector = |r: &mut Random, g: &mut Graph| match vectors.len() {
                    0 => g.slice(&format!("{name}.v"), values[1], 0, s.c),
                    n => Ok(vectors[r.below(n)]),
                };
                let same: Vec<ValueId> = values.iter().copied().filter(|&v| g.shape(v) == s).collect();
                let b = same[r.below(same.len())];
                vector(r, g).and_then(|a| {
                    let b_vector = vector(r, g)?;
                    match r.below(5) {
                        0 => g.ada_layer_norm(&name, x, [a, b_vector], 0.1),
                        1 => g.scaled_layer_norm(&name, x, a, 0.1),
                        2 => g.modulated_rms_norm(&name, x, a, 0.1),
                        _ => g.gated_add(&name, x, a, b),
                    }
                })
            }
            27 => g.rms_norm(&name, x, 1 + r.below(4), 0.1),
            28 => {
                let from = r.below(s.c);
                g.slice(&name, x, from, 1 + r.below(s.c - from))
            }
            30 => {
                // Angles of the tokens' own, no larger than cosines and sines.
                let (heads, x) = (1 + r.below(2), if r.below(2) == 0 { x } else { other });
                let s = g.shape(x);
                let shape = Shape::new(s.n, 1, s.h * s.w, s.c.div_ceil(heads));
                let part = g.slice(&format!("{name}.part"), x, 0, shape.c).unwrap();
                let angles = g.reshape(&format!("{name}.angles"), part, shape).unwrap();
                let angles = g.activate(&format!("{name}.bound"), angles, Activation::Tanh).unwrap();
                g.rotary(&name, x, angles, heads, r.below(2) == 0)
            }
            31 if s.h * s.w >= 7 => g.select_tokens(&name, x, places, 3),
            18 => g.linear_geglu(&name, x, channels, r.below(4) > 0),
            _ if s.h * s.w <= 128 => {
                let fits = |&v: &ValueId| (g.shape(v).n, g.shape(v).c) == (s.n, s.c) && g.shape(v).h <= 8;
                let like: Vec<ValueId> = values.iter().copied().filter(fits).collect();
                let k = like[r.below(like.len())];
                let v = *like.iter().rfind(|&&v| g.shape(v) == g.shape(k)).unwrap();
                let (heads, causal) = (1 + r.below(3), r.below(3) == 0);
                let lengths = (r.below(3) == 0).then_some(lengths);
                let how = Attend { causal, lengths, ..Attend::heads(heads) };
                match r.below(3) {
                    // One head of keys for all of queries.
                    0 => {
                        let c = s.c.div_ceil(heads);
                        let [k, v] = [("k", k), ("v", v)].map(|(own, x)| g.slice(&format!("{name}.{own}"), x, 0, c));
                        g.attend(&name, [x, k.unwrap(), v.unwrap()], how)
                    }
                    _ => g.attend(&name, [x, k, v], how),
                }
            }
            _ => g.silu(&name, x),
        };
        let Ok(mut y) = y else { continue };
        // What fusion looks for: functions and sums of a result that nothing else reads.
        for j in 1..r.below(4) {
            let (s, name) = (g.shape(y), format!("{name}.{j}"));
            let same = values.iter().copied().rfind(|&v| g.shape(v) == s);
            y = match (r.below(5), same) {
                (0, Some(other)) => g.add(&name, y, other),
                (1, Some(other)) => g.add(&name, other, y),
                (0..=2, _) => g.relu(&name, y),
                (3, _) => g.silu(&name, y),
                _ => g.gelu(&name, y),
            }
            .unwrap();
        }
        values.push(y);
    }
    let last = *values.last().unwrap();
    g.output("y", last).unwrap();
    if r.below(2) == 0 {
        let any = values[r.below(values.len())];
        g.output("z", any).unwrap();
    }
    core::mem::take(g)
}

/// Weights for a network, small enough that deep ones stay finite; as values, and packed.
pub(crate) fn weights(graph: &Graph, r: &mut Random) -> (Vec<Vec<f32>>, Weights) {
    let mut packed = Weights::new();
    let mut plain = Vec::new();
    for weight in graph.weights() {
        let fan_in = match weight.kind {
            WeightKind::Conv { kernel, inp, .. } => kernel * kernel * inp,
            WeightKind::Linear { inp, .. } => inp,
            _ => 1,
        };
        let scale = libm::sqrtf(2.0 / fan_in as f32);
        let values: Vec<f32> = r.fill(weight.kind.elements()).iter().map(|v| v * scale).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        packed.push(weight.kind, DType::F32, &bytes).unwrap();
        plain.push(values);
    }
    (plain, packed)
}

/// Every value of the graph, each in memory of its own, computed in the plainest way.
pub(crate) fn evaluate(g: &Graph, weights: &[Vec<f32>], inputs: &[Vec<f32>], ids: &[Option<u32>]) -> Vec<Vec<f32>> {
    let mut values: Vec<Vec<f32>> = vec![Vec::new(); g.values().len()];
    for (port, input) in g.inputs().iter().zip(inputs) {
        values[port.value.index()] = input.clone();
    }
    for node in g.nodes() {
        let out = g.shape(node.output);
        let read = |value: ValueId| Picture { shape: g.shape(value), data: &values[value.index()] };
        if let Some(y) = whole(&node.op, g, weights, &values, ids) {
            values[node.output.index()] = y;
            continue;
        }
        let y = each(out, |[n, i, j, c]| match node.op {
            Op::Conv2d { x, weight, bias, kernel, stride, pad, .. } => {
                let (x, w) = (read(x), &weights[weight.index()]);
                let mut sum = 0.0;
                for tap in 0..kernel * kernel {
                    let (row, column) = (i * stride + tap / kernel, j * stride + tap % kernel);
                    if row < pad || column < pad || row - pad >= x.shape.h || column - pad >= x.shape.w {
                        continue;
                    }
                    for k in 0..x.shape.c {
                        let w = w[(c * kernel * kernel + tap) * x.shape.c + k];
                        sum = libm::fmaf(x.at(n, row - pad, column - pad, k), w, sum);
                    }
                }
                sum + bias.map_or(0.0, |b| weights[b.index()][c])
            }
            Op::Linear { x, weight, bias, activation, .. } => {
                let (x, w) = (read(x), &weights[weight.index()]);
                let feature = |c: usize| {
                    let term = |sum, k| libm::fmaf(x.at(n, i, j, k), w[c * x.shape.c + k], sum);
                    (0..x.shape.c).fold(0.0, term) + bias.map_or(0.0, |b| weights[b.index()][c])
                };
                if activation != Activation::Geglu {
                    feature(c)
                } else {
                    feature(c) * definition::activate(Activation::Gelu, f64::from(feature(out.c + c))) as f32
                }
            }
            Op::Activate { x, activation } => {
                definition::activate(activation, f64::from(read(x).at(n, i, j, c))) as f32
            }
            Op::Add { a, b } => read(a).at(n, i, j, c) + read(b).at(n, i, j, c),
            Op::Multiply { a, b } => read(a).at(n, i, j, c) * read(b).at(n, i, j, c),
            Op::AddChannels { x, v } => read(x).at(n, i, j, c) + read(v).at(n, 0, 0, c),
            Op::GatedAdd { x, gate, b } => read(x).at(n, i, j, c) + read(gate).at(n, 0, 0, c) * read(b).at(n, i, j, c),
            Op::Slice { x, from } => read(x).at(n, i, j, from + c),
            Op::MaxPool2 { x, .. } => {
                let at = |di, dj| read(x).at(n, 2 * i + di, 2 * j + dj, c);
                at(0, 0).max(at(0, 1)).max(at(1, 0)).max(at(1, 1))
            }
            Op::AvgPool2 { x } => {
                let x = read(x);
                let at =
                    |di: usize, dj: usize| x.at(n, (2 * i + di).min(x.shape.h - 1), (2 * j + dj).min(x.shape.w - 1), c);
                0.25 * (at(0, 0) + at(0, 1) + (at(1, 0) + at(1, 1)))
            }
            Op::UpsampleNearest2 { x } => read(x).at(n, i / 2, j / 2, c),
            Op::UpsampleBilinear2 { x } => {
                let x = read(x);
                let ((i0, i1), (j0, j1)) = (neighbours(i, x.shape.h), neighbours(j, x.shape.w));
                let row = |i| 0.75 * x.at(n, i, j0, c) + 0.25 * x.at(n, i, j1, c);
                0.75 * row(i0) + 0.25 * row(i1)
            }
            Op::Concat { a, b, .. } => {
                let (a, b) = (read(a), read(b));
                if c < a.shape.c { a.at(n, i, j, c) } else { b.at(n, i, j, c - a.shape.c) }
            }
            Op::PositionEncoding { t, dim } => {
                let angle = f64::from(read(t).at(n, 0, 0, 0)) / libm::pow(10000.0, c as f64 / dim as f64);
                (if c % 2 == 0 { libm::sin(angle) } else { libm::cos(angle) }) as f32
            }
            Op::TokenEmbedding { table, positions, .. } => {
                let row = ids[out.n + n * out.w + j].map_or(0.0, |id| weights[table.index()][id as usize * out.c + c]);
                row + positions.map_or(0.0, |positions| weights[positions.index()][j * out.c + c])
            }
            Op::SelectToken { x, ids: input } => {
                let x = read(x);
                ids[first_id(g, input) + n * out.w + j]
                    .map_or(0.0, |id| x.at(n, id as usize / x.shape.w, id as usize % x.shape.w, c))
            }
            Op::EmbeddingAdd { x, table, .. } => {
                let row = ids[n].map_or(0.0, |id| weights[table.index()][id as usize * out.c + c]);
                read(x).at(n, i, j, c) + row
            }
            Op::ReluBackward { g, relu } => {
                if read(relu).at(n, i, j, c) > 0.0 {
                    read(g).at(n, i, j, c)
                } else {
                    0.0
                }
            }
            Op::MaxPool2Backward { x, g } => {
                let at = |k: usize| read(x).at(n, i / 2 * 2 + k / 2, j / 2 * 2 + k % 2, c);
                let first = (1..4).fold(0, |first, k| if at(k) > at(first) { k } else { first });
                if first == i % 2 * 2 + j % 2 { read(g).at(n, i / 2, j / 2, c) } else { 0.0 }
            }
            _ => unreachable!("in whole"),
        });
        values[node.output.index()] = y;
    }
    values
}

/// Where an input's ids begin.
fn first_id(g: &Graph, input: IdsId) -> usize {
    g.ids()[..input.index()].iter().map(|(_, n)| n).sum()
}

/// The operations whose elements depend on many others.
fn whole(
    op: &Op<ValueId>,
    g: &Graph,
    weights: &[Vec<f32>],
    values: &[Vec<f32>],
    ids: &[Option<u32>],
) -> Option<Vec<f32>> {
    let (w, x) = (|id: WeightId| &weights[id.index()][..], |id: ValueId| &values[id.index()][..]);
    let y = match *op {
        Op::GroupNorm { x: value, groups, eps, scale, bias, .. } => {
            let Shape { n, h, w: width, c } = g.shape(value);
            definition::group_norm(ImageShape { n, h, w: width, c }, groups, eps, x(value), [w(scale), w(bias)])
        }
        Op::LayerNorm { x: value, eps, scale, bias } => {
            definition::layer_norm(g.shape(value).c, eps, x(value), [w(scale), w(bias)])
        }
        Op::AdaLayerNorm { x: value, eps, scale, shift } => {
            let s = g.shape(value);
            definition::ada_layer_norm([s.c, s.h * s.w], eps, x(value), x(scale), shift.map(x))
        }
        Op::RmsNorm { x: value, eps, scale, modulation, .. } => {
            let (s, y) = (g.shape(value), definition::rms_norm(eps, x(value), w(scale)));
            match modulation {
                None => y,
                Some(modulation) => definition::modulated([s.c, s.h * s.w], y, x(modulation)),
            }
        }
        Op::Rotary { x: value, angles, heads, halves } => {
            definition::rotary([g.shape(value).c, heads], halves, x(value), x(angles))
        }
        Op::Attention { q, k, v, heads, causal, scale, bias, lengths } => {
            let (s, keys) = (g.shape(q), g.shape(k).h * g.shape(k).w);
            let kv_heads = g.shape(k).c / (s.c / heads);
            let shape = AttentionShape { n: s.n, queries: s.h * s.w, keys, c: s.c, heads, kv_heads, causal, scale };
            let lengths = lengths.map(|input| &ids[first_id(g, input)..][..s.n]);
            definition::attention(&shape, [x(q), x(k), x(v)], bias.map(x), lengths)
        }
        Op::LogSoftmax { x: value } => definition::log_softmax(g.shape(value).c, x(value)),
        Op::LogSoftmaxBackward { x: value, .. } => {
            let c = g.shape(value).c;
            let own = |i: usize| ids[i / c].map(|id| if id as usize == i % c { 1.0 } else { 0.0 });
            let logs = definition::log_softmax(c, x(value));
            logs.iter().enumerate().map(|(i, log)| own(i).map_or(0.0, |own| own - libm::exp(*log))).collect()
        }
        _ => return None,
    };
    Some(y.into_iter().map(|v| v as f32).collect())
}

struct Picture<'a> {
    shape: Shape,
    data: &'a [f32],
}

impl Picture<'_> {
    fn at(&self, n: usize, i: usize, j: usize, c: usize) -> f32 {
        let s = self.shape;
        self.data[((n * s.h + i) * s.w + j) * s.c + c]
    }
}

fn each(s: Shape, f: impl Fn([usize; 4]) -> f32) -> Vec<f32> {
    (0..s.elements()).map(|e| f([e / s.c / s.w / s.h, e / s.c / s.w % s.h, e / s.c % s.w, e % s.c])).collect()
}

/// The pixel that contains the upsampled one, and its neighbour on the near side.
fn neighbours(o: usize, len: usize) -> (usize, usize) {
    (o / 2, if o.is_multiple_of(2) { (o / 2).saturating_sub(1) } else { (o / 2 + 1).min(len - 1) })
}
