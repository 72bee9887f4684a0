// y = x + the row of the table that each picture's id names; the largest id adds nothing. In place where y lies on x.
// Twin: runtime/src/cpu/embedding.rs.
struct Params {
  n: u32,      // elements of y
  dim: u32,    // elements of a row
  ids: u32,    // where this input's ids begin
}
@group(0) @binding(0) var<uniform> p: Params;
//#if !IN_PLACE
@group(0) @binding(1) var<storage, read_write> x: array<S>;
//#end
@group(0) @binding(2) var<storage, read_write> y: array<S>;
@group(0) @binding(3) var<storage, read> ids: array<u32>;
@group(0) @binding(4) var<storage, read> table: array<f32>;
//#include "grid.wgsl"

fn element(i: u32) {
  if (i >= p.n) { return; }
//#if IN_PLACE
  var v = f32(y[i]);
//#else
  var v = f32(x[i]);
//#end
  let id = ids[p.ids + i / p.dim];
  if (id != 0xffffffffu) { v += table[id * p.dim + i % p.dim]; }
  y[i] = S(v);
}
