// y = a * b, elementwise; in place where y lies on a. Twin: `multiply` in runtime/src/cpu/add.rs.
struct Params {
  n: u32,  // units of y
}
@group(0) @binding(0) var<uniform> p: Params;
//#if !IN_PLACE
@group(0) @binding(1) var<storage, read_write> a: array<SV>;
//#end
@group(0) @binding(2) var<storage, read_write> b: array<SV>;
@group(0) @binding(3) var<storage, read_write> y: array<SV>;
//#include "grid.wgsl"

fn element(i: u32) {
  if (i >= p.n) { return; }
//#if IN_PLACE
  y[i] = SV(V(y[i]) * V(b[i]));
//#else
  y[i] = SV(V(a[i]) * V(b[i]));
//#end
}
