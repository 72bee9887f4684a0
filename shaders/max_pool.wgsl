// y = the largest of each 2x2 square of x, plus `add`, one vector a picture. An odd last row or column belongs to no
// square. Twin: runtime/src/cpu/max_pool.rs.
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
//#if ADD
@group(0) @binding(3) var<storage, read_write> add: array<SV>;
//#end
//#include "lines.wgsl"

// The larger; NaN wins, so that it is not lost on the way to whoever reports it. Told by its bits: compilers may take a
// comparison with itself for true.
fn larger(a: V, b: V) -> V {
  return select(a, b, (b > a) | ((bitcast<U>(b) & U(0x7fffffffu)) > U(0x7f800000u)));
}

// Unit `i` of a line, unit `at` of y.
fn element(line: u32, i: u32, at: u32) {
  let c = i % p.c;
  let column = i / p.c;
  let image = line / (p.h / 2u);
  let top = ((image * p.h + 2u * (line % (p.h / 2u))) * p.w + 2u * column) * p.c + c;
  let bottom = top + p.w * p.c;
  var v = larger(larger(V(x[top]), V(x[top + p.c])), larger(V(x[bottom]), V(x[bottom + p.c])));
//#if ADD
  v += V(add[image * p.c + c]);
//#end
  y[at] = SV(v);
}
