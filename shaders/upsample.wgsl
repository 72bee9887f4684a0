// Twice the size: BILINEAR with half-pixel centres and clamped edges, otherwise each pixel repeated, perhaps without the last
// row or column.
// Twin: runtime/src/cpu/upsample.rs, in whose order rows are blended first.
struct Params {
  lines: u32,  // lines of y, of all pictures
  width: u32,  // units of a line of y
  out_h: u32,  // rows of y
  h: u32,      // rows of x
  w: u32,      // columns of x
  c: u32,      // units of a pixel
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<SV>;
@group(0) @binding(2) var<storage, read_write> y: array<SV>;
//#include "lines.wgsl"

// The neighbour of pixel `o / 2` that output `o` leans to, of `len` pixels.
fn far(o: u32, len: u32) -> u32 {
  let near = o / 2u;
  return select(min(near + 1u, len - 1u), max(near, 1u) - 1u, o % 2u == 0u);
}

// Unit `i` of a line, unit `at` of y.
fn element(line: u32, i: u32, at: u32) {
  let c = i % p.c;
  let ox = i / p.c;
  let oy = line % p.out_h;
  let image = line / p.out_h * p.h;
  let near_row = (image + oy / 2u) * p.w;
  let near = (near_row + ox / 2u) * p.c + c;
//#if BILINEAR
  let far_row = (image + far(oy, p.h)) * p.w;
  let far_column = far(ox, p.w);
  let a = V(0.75) * V(x[near]) + V(0.25) * V(x[(far_row + ox / 2u) * p.c + c]);
  let b = V(0.75) * V(x[(near_row + far_column) * p.c + c]) + V(0.25) * V(x[(far_row + far_column) * p.c + c]);
  y[at] = SV(V(0.75) * a + V(0.25) * b);
//#else
  y[at] = x[near];
//#end
}
