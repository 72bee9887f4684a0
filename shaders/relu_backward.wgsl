// y = g where relu, the function's result, is above 0, else 0; in place where y lies on g. A NaN of relu passes the
// gradient on. Twin: runtime/src/cpu/relu_backward.rs.
struct Params {
  n: u32,  // units of y
}
@group(0) @binding(0) var<uniform> p: Params;
//#if !IN_PLACE
@group(0) @binding(1) var<storage, read_write> g: array<SV>;
//#end
@group(0) @binding(2) var<storage, read_write> relu: array<SV>;
@group(0) @binding(3) var<storage, read_write> y: array<SV>;
//#include "grid.wgsl"

fn element(i: u32) {
  if (i >= p.n) { return; }
//#if IN_PLACE
  let gradient = V(y[i]);
//#else
  let gradient = V(g[i]);
//#end
  y[i] = SV(select(gradient, V(0.0), V(relu[i]) <= V(0.0)));
}
