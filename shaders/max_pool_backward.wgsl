// y, of the shape of x: the gradient g of each 2x2 square at its largest element, the first in row-major order of
// several, 0 elsewhere. Twin: runtime/src/cpu/max_pool_backward.rs.
struct Params {
  lines: u32,  // lines of y, of all pictures
  width: u32,  // units of a line of y
  h: u32,      // rows of x, even
  w: u32,      // columns of x, even
  c: u32,      // units of a pixel
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<SV>;
@group(0) @binding(2) var<storage, read_write> g: array<SV>;
@group(0) @binding(3) var<storage, read_write> y: array<SV>;
//#include "lines.wgsl"

struct Best { v: V, place: U }

// A NaN wins, told by its bits, as in max_pool.wgsl.
fn better(a: Best, v: V, place: u32) -> Best {
  let on = (v > a.v) | ((bitcast<U>(v) & U(0x7fffffffu)) > U(0x7f800000u));
  return Best(select(a.v, v, on), select(a.place, U(place), on));
}

// Unit `i` of a line, unit `at` of y.
fn element(line: u32, i: u32, at: u32) {
  let c = i % p.c;
  let column = i / p.c;
  let top = ((line - line % 2u) * p.w + column - column % 2u) * p.c + c;
  let bottom = top + p.w * p.c;
  var best = Best(V(x[top]), U(0u));
  best = better(best, V(x[top + p.c]), 1u);
  best = better(best, V(x[bottom]), 2u);
  best = better(best, V(x[bottom + p.c]), 3u);
  let gradient = V(g[(line / 2u * (p.w / 2u) + column / 2u) * p.c + c]);
  y[at] = SV(select(V(0.0), gradient, best.place == U(line % 2u * 2u + column % 2u)));
}
