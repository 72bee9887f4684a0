// y = of each text, the tokens whose places its ids name; zeros for the largest id. Twin: runtime/src/cpu/select_token.rs.
struct Params {
  n: u32,       // elements of y
  tokens: u32,  // of a text
  dim: u32,     // elements of a token
  ids: u32,     // where this input's ids begin
  each: u32,    // ids of a text
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<S>;
@group(0) @binding(2) var<storage, read_write> y: array<S>;
@group(0) @binding(3) var<storage, read> ids: array<u32>;
//#include "grid.wgsl"

fn element(i: u32) {
  if (i >= p.n) { return; }
  let row = i / p.dim;
  let id = ids[p.ids + row];
  var v = S(0.0);
  if (id != 0xffffffffu) { v = x[(row / p.each * p.tokens + id) * p.dim + i % p.dim]; }
  y[i] = v;
}
