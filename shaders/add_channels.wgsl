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

// Unit `i` of a line, unit `at` of y.
fn element(line: u32, i: u32, at: u32) {
  y[at] = SV(V(x[at]) + V(v[line / p.h * p.c + i % p.c]));
}
