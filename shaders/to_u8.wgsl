// From values to bytes, four to a word: the model's range to 0 to 255, clamped and truncated. Twin:
// runtime/src/cpu/to_u8.rs.
struct Params {
  n: u32,      // values
  low: f32,
  scale: f32,  // 255 / (high - low)
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;
//#include "grid.wgsl"

fn element(word: u32) {
  if (4u * word >= p.n) { return; }
  var bytes = 0u;
  for (var k = 0u; k < 4u; k++) {
    let i = 4u * word + k;
    if (i < p.n) { bytes |= u32(clamp((x[i] - p.low) * p.scale, 0.0, 255.0)) << (8u * k); }
  }
  y[word] = bytes;
}
