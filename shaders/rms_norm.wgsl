// Normalization by the root of the mean square (Zhang, Sennrich 2019) of each row of c elements, a head's channels for
// instance: one workgroup a row. ADA: then multiplied by each picture's own vector, less one. Twin:
// runtime/src/cpu/rms_norm.rs.
struct Params {
  rows: u32,
  c: u32,
  eps: f32,
//#if ADA
  per: u32,  // rows of a picture
//#end
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(3) var<storage, read> scale: array<f32>;
//#if ADA
@group(0) @binding(4) var<storage, read_write> modulation: array<S>;
//#end
//#include "rows.wgsl"

fn normalize(number: u32, local: u32, lane: u32, subgroup: u32, subgroups: u32) {
  let row = number * p.c;
  var squares = 0.0;
  for (var i = local; i < p.c; i += WX) {
    let v = load(row + i);
    squares += v * v;
  }
  let inverse = 1.0 / sqrt(total(local, lane, subgroup, subgroups, squares) / f32(p.c) + p.eps);
//#if ADA
  let at = number / p.per * p.c;
  for (var i = local; i < p.c; i += WX) {
    y[row + i] = S(load(row + i) * inverse * scale[i] * (1.0 + f32(modulation[at + i])));
  }
//#else
  for (var i = local; i < p.c; i += WX) { y[row + i] = S(load(row + i) * inverse * scale[i]); }
//#end
}
