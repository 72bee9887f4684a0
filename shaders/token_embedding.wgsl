// y = the row of the table that each token's id names, and, with places, the row of positions that its place in the text names;
// the largest id names none. Twin: runtime/src/cpu/token_embedding.rs.
struct Params {
  n: u32,       // elements of y
  tokens: u32,  // of a text
  dim: u32,     // elements of a row
  ids: u32,     // where this input's ids begin
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> y: array<S>;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read> table: array<f32>;
//#if PLACES
@group(0) @binding(4) var<storage, read> positions: array<f32>;
//#end
//#include "grid.wgsl"

fn element(i: u32) {
  if (i >= p.n) { return; }
  let row = i / p.dim;
//#if PLACES
  var v = positions[row % p.tokens * p.dim + i % p.dim];
//#else
  var v = 0.0;
//#end
  let id = ids[p.ids + row];
  if (id != 0xffffffffu) { v += table[id * p.dim + i % p.dim]; }
  y[i] = S(v);
}
