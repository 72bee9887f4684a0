// y = x + v, v one vector a picture, broadcast over rows and columns. Twin: runtime/src/cpu/add.rs.
struct Params {
  n: u32,       // units of y
  picture: u32, // units of a picture
  c: u32,       // units of a pixel
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<SV>;
@group(0) @binding(2) var<storage, read_write> v: array<SV>;
@group(0) @binding(3) var<storage, read_write> y: array<SV>;
//#include "grid.wgsl"

@compute @workgroup_size(WX, 1, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = flat_index(group, groups, local);
  if (i >= p.n) { return; }
  y[i] = SV(V(x[i]) + V(v[i / p.picture * p.c + i % p.c]));
}
