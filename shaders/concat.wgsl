// The channels of a, then those of b, plus `add`, one vector a picture. Twin: runtime/src/cpu/concat.rs.
struct Params {
  n: u32,       // units of y
  picture: u32, // units of a picture of y
  ca: u32,      // units of a pixel of a
  cb: u32,      // units of a pixel of b
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> a: array<SV>;
@group(0) @binding(2) var<storage, read_write> b: array<SV>;
@group(0) @binding(3) var<storage, read_write> y: array<SV>;
//#if ADD
@group(0) @binding(4) var<storage, read_write> add: array<SV>;
//#end
//#include "grid.wgsl"

@compute @workgroup_size(WX, 1, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = flat_index(group, groups, local);
  if (i >= p.n) { return; }
  let c = i % (p.ca + p.cb);
  let pixel = i / (p.ca + p.cb);
  var v: V;
  if (c < p.ca) { v = V(a[pixel * p.ca + c]); } else { v = V(b[pixel * p.cb + c - p.ca]); }
//#if ADD
  v += V(add[i / p.picture * (p.ca + p.cb) + c]);
//#end
  y[i] = SV(v);
}
