// y = the average of each 2x2 square of x, or of what is there of one, where a side is odd. Twin: runtime/src/cpu/avg_pool.rs.
struct Params {
  lines: u32,  // lines of y, of all pictures
  width: u32,  // units of a line of y
  h: u32,      // rows of x
  w: u32,      // columns of x
  c: u32,      // units of a pixel
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<SV>;
@group(0) @binding(2) var<storage, read_write> y: array<SV>;
//#include "lines.wgsl"

// Unit `i` of a line, unit `at` of y.
fn element(line: u32, i: u32, at: u32) {
  let c = i % p.c;
  let left = i / p.c * 2u;
  // A row that is not there is the one above once more, and so is a column.
  let right = min(left + 1u, p.w - 1u);
  let rows = (p.h + 1u) / 2u;
  let first = line / rows * p.h;
  let row = line % rows * 2u;
  let top = (first + row) * p.w;
  let bottom = (first + min(row + 1u, p.h - 1u)) * p.w;
  let above = V(x[(top + left) * p.c + c]) + V(x[(top + right) * p.c + c]);
  let below = V(x[(bottom + left) * p.c + c]) + V(x[(bottom + right) * p.c + c]);
  y[at] = SV(V(0.25) * (above + below));
}
