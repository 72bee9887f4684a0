// y = f(x), elementwise; in place where y lies on x. Twin: `Activate` in runtime/src/cpu/exec.rs.
struct Params {
  n: u32,  // units of y
}
@group(0) @binding(0) var<uniform> p: Params;
//#if !IN_PLACE
@group(0) @binding(1) var<storage, read_write> x: array<SV>;
//#end
@group(0) @binding(2) var<storage, read_write> y: array<SV>;
//#include "grid.wgsl"
//#include "activation.wgsl"

fn element(i: u32) {
  if (i >= p.n) { return; }
//#if IN_PLACE
  y[i] = SV(activate(V(y[i])));
//#else
  y[i] = SV(activate(V(x[i])));
//#end
}
