// The channels of a, then those of b, plus `add`, one vector a picture. Twin: runtime/src/cpu/concat.rs.
struct Params {
  lines: u32,  // lines of y, of all pictures
  width: u32,  // units of a line of y
  h: u32,      // lines of a picture
  w: u32,      // pixels of a line
  ca: u32,     // units of a pixel of a
  cb: u32,     // units of a pixel of b
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> a: array<SV>;
@group(0) @binding(2) var<storage, read_write> b: array<SV>;
@group(0) @binding(3) var<storage, read_write> y: array<SV>;
//#if ADD
@group(0) @binding(4) var<storage, read_write> add: array<SV>;
//#end
//#include "lines.wgsl"

// Unit `i` of a line, unit `at` of y.
fn element(line: u32, i: u32, at: u32) {
  let c = i % (p.ca + p.cb);
  let pixel = line * p.w + i / (p.ca + p.cb);
  var v: V;
  if (c < p.ca) { v = V(a[pixel * p.ca + c]); } else { v = V(b[pixel * p.cb + c - p.ca]); }
//#if ADD
  v += V(add[line / p.h * (p.ca + p.cb) + c]);
//#end
  y[at] = SV(v);
}
