// Some neighbouring channels of each pixel. Twin: runtime/src/cpu/slice.rs.
struct Params {
  lines: u32,  // lines of y, of all pictures
  width: u32,  // units of a line of y
  w: u32,      // pixels of a line
  c: u32,      // units of a pixel of x
  part: u32,   // units of a pixel of y
  first: u32,  // the first of them
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<SV>;
@group(0) @binding(2) var<storage, read_write> y: array<SV>;
//#include "lines.wgsl"

// Unit `i` of a line, unit `at` of y.
fn element(line: u32, i: u32, at: u32) {
  y[at] = x[(line * p.w + i / p.part) * p.c + p.first + i % p.part];
}
