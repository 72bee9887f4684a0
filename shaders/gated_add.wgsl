// y = x + gate * b, the gate one vector a picture, broadcast over rows and columns. In place where y lies on x. Twin:
// runtime/src/cpu/gated_add.rs.
struct Params {
  lines: u32,  // lines of y, of all pictures
  width: u32,  // units of a line of y
  h: u32,      // lines of a picture
  c: u32,      // units of a pixel
}
@group(0) @binding(0) var<uniform> p: Params;
//#if !IN_PLACE
@group(0) @binding(1) var<storage, read_write> x: array<SV>;
//#end
@group(0) @binding(2) var<storage, read_write> y: array<SV>;
@group(0) @binding(3) var<storage, read_write> gate: array<SV>;
@group(0) @binding(4) var<storage, read_write> b: array<SV>;
//#include "lines.wgsl"

// Unit `i` of a line, unit `at` of y.
fn element(line: u32, i: u32, at: u32) {
//#if IN_PLACE
  let v = V(y[at]);
//#else
  let v = V(x[at]);
//#end
  y[at] = SV(v + V(gate[line / p.h * p.c + i % p.c]) * V(b[at]));
}
