// y = x + v, v one vector a picture, broadcast over rows and columns. Twin: runtime/src/cpu/add.rs.
struct Params {
  lines: u32,  // lines of y, of all pictures
  width: u32,  // units of a line of y
  h: u32,      // lines of a picture
  c: u32,      // units of a pixel
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<SV>;
@group(0) @binding(2) var<storage, read_write> v: array<SV>;
@group(0) @binding(3) var<storage, read_write> y: array<SV>;
//#include "lines.wgsl"

@compute @workgroup_size(WX, 1, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let line = line_of(group, groups);
  let i = group.x * WX + local;
  if (line >= p.lines || i >= p.width) { return; }
  let at = line * p.width + i;
  y[at] = SV(V(x[at]) + V(v[line / p.h * p.c + i % p.c]));
}
