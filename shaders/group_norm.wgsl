// Group normalization (Wu and He 2018), y = f((x - mean) / sqrt(var + eps) * scale + bias), in three stages, so that
// every access runs along the channels. Twin: runtime/src/cpu/group_norm.rs.
//
// SUMS: one group of WX invocations for WX channels and one chunk of a picture's pixels -> per channel the sums of
//       (x - s) and (x - s)^2, with s the channel's first value, so that a large mean cancels nothing.
// FOLD: one workgroup for each picture and group of channels -> per channel the factors a and b of y = f(a x + b): all
//       pictures' a, then all their b.
// else: y, in place where it lies on x.
struct Params {
  lines: u32,     // lines of y, of all pictures
  width: u32,     // units of a line
  h: u32,         // lines of a picture
  pictures: u32,
  picture: u32,   // elements of a picture
  c: u32,       // channels
  pixels: u32,  // pixels of a picture
  chunks: u32,  // parts into which a picture's pixels are cut
  per_chunk: u32,  // pixels of a chunk; the last may have fewer
  per_group: u32,  // channels of a group
  eps: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
//#if !IN_PLACE
@group(0) @binding(1) var<storage, read_write> x: array<SV>;
//#end

//#if SUMS
@group(0) @binding(2) var<storage, read_write> sums: array<vec2<f32>>; // [picture][chunk][c]

@compute @workgroup_size(WX, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let c = group.x * WX + local;
  if (c >= p.c) { return; }
  let image = group.z * p.picture + c;
  let shift = f32(x[image]);
  var sum = vec2<f32>(0.0);
  let end = min((group.y + 1u) * p.per_chunk, p.pixels);
  for (var i = group.y * p.per_chunk; i < end; i++) {
    let d = f32(x[image + i * p.c]) - shift;
    sum += vec2<f32>(d, d * d);
  }
  sums[(group.z * p.chunks + group.y) * p.c + c] = sum;
}
//#else
//#if FOLD
@group(0) @binding(2) var<storage, read_write> sums: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> factors: array<f32>; // [2][picture][c]
@group(0) @binding(4) var<storage, read> scale: array<f32>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;
//#include "total.wgsl"

// A channel's sums over all chunks.
fn channel_sums(image: u32, c: u32) -> vec2<f32> {
  var sum = vec2<f32>(0.0);
  for (var k = 0u; k < p.chunks; k++) { sum += sums[(image * p.chunks + k) * p.c + c]; }
  return sum;
}

@compute @workgroup_size(WX, 1, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
//#if SUBGROUPS
  @builtin(subgroup_invocation_id) lane: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(num_subgroups) subgroups: u32,
//#end
) {
//#if !SUBGROUPS
  let lane = 0u;
  let subgroup = 0u;
  let subgroups = 1u;
//#end
  let first = group.x * p.per_group;
  let image = group.y;
  let pixels = f32(p.pixels);
  // Means of the channels, then squares around the group's mean (Chan, Golub, LeVeque 1979).
  var means = 0.0;
  for (var i = local; i < p.per_group; i += WX) {
    let c = first + i;
    means += f32(x[image * p.picture + c]) + channel_sums(image, c).x / pixels;
  }
  let mean = total(local, lane, subgroup, subgroups, means) / f32(p.per_group);
  var squares = 0.0;
  for (var i = local; i < p.per_group; i += WX) {
    let c = first + i;
    let sum = channel_sums(image, c);
    let d = f32(x[image * p.picture + c]) + sum.x / pixels - mean;
    squares += max(sum.y - sum.x * sum.x / pixels, 0.0) / pixels + d * d;
  }
  let variance = total(local, lane, subgroup, subgroups, squares) / f32(p.per_group);
  let inverse = 1.0 / sqrt(variance + p.eps);
  for (var i = local; i < p.per_group; i += WX) {
    let c = first + i;
    let a = scale[c] * inverse;
    factors[image * p.c + c] = a;
    factors[(p.pictures + image) * p.c + c] = bias[c] - mean * a;
  }
}
//#else
@group(0) @binding(2) var<storage, read_write> y: array<SV>;
@group(0) @binding(3) var<storage, read_write> factors: array<V>;
//#include "lines.wgsl"
//#include "activation.wgsl"

// Unit `i` of a line, unit `at` of y.
fn element(line: u32, i: u32, at: u32) {
  // Units of a picture's factors.
  let c = p.c / UNIT;
  let a = factors[line / p.h * c + i % c];
  let b = factors[(p.pictures + line / p.h) * c + i % c];
//#if IN_PLACE
  y[at] = SV(activate(V(y[at]) * a + b));
//#else
  y[at] = SV(activate(V(x[at]) * a + b));
//#end
}
//#end
//#end
