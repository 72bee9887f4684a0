// Normalization by the root of the mean square (Zhang, Sennrich 2019) of each row of c elements, a head's channels for
// instance: one workgroup a row. In place where y lies on x. Twin: runtime/src/cpu/rms_norm.rs.
struct Params {
  rows: u32,
  c: u32,
  eps: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
//#if !IN_PLACE
@group(0) @binding(1) var<storage, read_write> x: array<S>;
//#end
@group(0) @binding(2) var<storage, read_write> y: array<S>;
@group(0) @binding(3) var<storage, read> scale: array<f32>;

//#if IN_PLACE
fn load(i: u32) -> f32 { return f32(y[i]); }
//#else
fn load(i: u32) -> f32 { return f32(x[i]); }
//#end

//#include "total.wgsl"

@compute @workgroup_size(WX, 1, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
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
  // The same for the whole group, so that all its invocations meet the barriers or none does.
  let number = group.y * groups.x + group.x;
  if (number >= p.rows) { return; }
  let row = number * p.c;
  var squares = 0.0;
  for (var i = local; i < p.c; i += WX) {
    let v = load(row + i);
    squares += v * v;
  }
  let inverse = 1.0 / sqrt(total(local, lane, subgroup, subgroups, squares) / f32(p.c) + p.eps);
  for (var i = local; i < p.c; i += WX) { y[row + i] = S(load(row + i) * inverse * scale[i]); }
}
