// Layer normalization over the channels (Ba, Kiros, Hinton 2016): one workgroup a row. ADA: scale and, with BIAS, bias are each
// picture's own, the former less one (Peebles and Xie 2022). Twin: runtime/src/cpu/layer_norm.rs.
struct Params {
  rows: u32,
  c: u32,
  eps: f32,
//#if ADA
  per: u32,  // rows of a picture
//#end
}
@group(0) @binding(0) var<uniform> p: Params;
//#if ADA
@group(0) @binding(3) var<storage, read_write> scale: array<S>;
//#if BIAS
@group(0) @binding(4) var<storage, read_write> bias: array<S>;
//#end
//#else
@group(0) @binding(3) var<storage, read> scale: array<f32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
//#end
//#include "rows.wgsl"

fn normalize(number: u32, local: u32, lane: u32, subgroup: u32, subgroups: u32) {
  let row = number * p.c;
  var sum = 0.0;
  for (var i = local; i < p.c; i += WX) { sum += load(row + i); }
  let mean = total(local, lane, subgroup, subgroups, sum) / f32(p.c);
  var squares = 0.0;
  for (var i = local; i < p.c; i += WX) {
    let d = load(row + i) - mean;
    squares += d * d;
  }
  let inverse = 1.0 / sqrt(total(local, lane, subgroup, subgroups, squares) / f32(p.c) + p.eps);
//#if ADA
  let at = number / p.per * p.c;
//#end
  for (var i = local; i < p.c; i += WX) {
    let v = (load(row + i) - mean) * inverse;
//#if ADA
//#if BIAS
    y[row + i] = S(v * (1.0 + f32(scale[at + i])) + f32(bias[at + i]));
//#else
    y[row + i] = S(v * (1.0 + f32(scale[at + i])));
//#end
//#else
    y[row + i] = S(v * scale[i] + bias[i]);
//#end
  }
}
