// Four weights of one column, inputs 4 k4 to 4 k4 + 3 (each tap's inputs padded to a multiple of 4): read as they are
// stored, in whichever format, and turned into f32 in registers. Layout: [k4][n], so that neighbouring invocations,
// which hold neighbouring columns, read neighbouring words.
//#if W_F32
@group(0) @binding(3) var<storage, read> w: array<vec4<f32>>;
fn load_w(k4: u32, col: u32) -> vec4<f32> { return w[k4 * p.n + col]; }
//#end
//#if W_F16
@group(0) @binding(3) var<storage, read> w: array<vec2<u32>>;
fn load_w(k4: u32, col: u32) -> vec4<f32> {
  let v = w[k4 * p.n + col];
  return vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y));
}
//#end
//#if W_BF16
@group(0) @binding(3) var<storage, read> w: array<vec2<u32>>;
fn load_w(k4: u32, col: u32) -> vec4<f32> {
  let v = w[k4 * p.n + col];
  return bitcast<vec4<f32>>(vec4<u32>(v.x << 16u, v.x & 0xffff0000u, v.y << 16u, v.y & 0xffff0000u));
}
//#end
//#if W_Q8_0
// Blocks of 32 inputs with one f16 scale; two columns' scales in a word.
@group(0) @binding(3) var<storage, read> w: array<u32>;
@group(0) @binding(4) var<storage, read> w_scales: array<u32>;
fn load_w(k4: u32, col: u32) -> vec4<f32> {
  let at = (k4 >> 3u) * p.n + col;
  return vec4<f32>(unpack4xI8(w[k4 * p.n + col])) * unpack2x16float(w_scales[at >> 1u])[at & 1u];
}
//#end
//#if W_Q4_0
// As Q8_0, with 8 codes of 4 bits, biased by 8, in a word: [k8][n].
@group(0) @binding(3) var<storage, read> w: array<u32>;
@group(0) @binding(4) var<storage, read> w_scales: array<u32>;
fn load_w(k4: u32, col: u32) -> vec4<f32> {
  let at = (k4 >> 3u) * p.n + col;
  let word = w[(k4 >> 1u) * p.n + col] >> (16u * (k4 & 1u));
  let codes = vec4<i32>((vec4<u32>(word) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u)) - vec4<i32>(8);
  return vec4<f32>(codes) * unpack2x16float(w_scales[at >> 1u])[at & 1u];
}
//#end
//#if W_Q4_K
// Blocks of 256 inputs in parts of 32, codes as Q4_0's but not biased: [k8][n].
@group(0) @binding(3) var<storage, read> w: array<u32>;
@group(0) @binding(4) var<storage, read> w_scales: array<u32>;
//#include "affine.wgsl"
fn load_w(k4: u32, col: u32) -> vec4<f32> {
  let word = w[(k4 >> 1u) * p.n + col] >> (16u * (k4 & 1u));
  return affine(k4, col, (vec4<u32>(word) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u));
}
//#end
//#if W_Q5_K
// As Q4_K, each part's four words followed by one with the fifth bits.
@group(0) @binding(3) var<storage, read> w: array<u32>;
@group(0) @binding(4) var<storage, read> w_scales: array<u32>;
//#include "affine.wgsl"
fn load_w(k4: u32, col: u32) -> vec4<f32> {
  let part = (k4 >> 3u) * 5u;
  let word = w[(part + ((k4 >> 1u) & 3u)) * p.n + col] >> (16u * (k4 & 1u));
  let upper = w[(part + 4u) * p.n + col] >> (4u * (k4 & 7u));
  let low = (vec4<u32>(word) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
  return affine(k4, col, low + (((vec4<u32>(upper) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(1u)) << vec4<u32>(4u)));
}
//#end
//#if W_Q6_K
// Codes biased by 32: each part's four words of the lower four bits, then two of the upper two. Of a block five words a
// column: the factor as f16, and 16 signed bytes, the scales of 16 inputs each.
@group(0) @binding(3) var<storage, read> w: array<u32>;
@group(0) @binding(4) var<storage, read> w_scales: array<u32>;
fn load_w(k4: u32, col: u32) -> vec4<f32> {
  let at = (k4 >> 6u) * 5u * p.n + col;
  let factor = unpack2x16float(w_scales[at]).x;
  let scales = w_scales[at + (1u + ((k4 >> 4u) & 3u)) * p.n];
  let scale = f32(i32(scales << (24u - 8u * ((k4 >> 2u) & 3u))) >> 24u);
  let part = (k4 >> 3u) * 6u;
  let word = w[(part + ((k4 >> 1u) & 3u)) * p.n + col] >> (16u * (k4 & 1u));
  let upper = w[(part + 4u + ((k4 >> 2u) & 1u)) * p.n + col] >> (8u * (k4 & 3u));
  let low = (vec4<u32>(word) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
  let codes = low + (((vec4<u32>(upper) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(3u)) << vec4<u32>(4u));
  return vec4<f32>(vec4<i32>(codes) - vec4<i32>(32)) * (factor * scale);
}
//#end
