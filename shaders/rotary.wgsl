// Rotary positions (Su et al. 2021): pairs of a head's channels, turned by angles of their token. A pair is two neighbours, or
// HALVES: a channel of the head's first half and that of its last. In place where y lies on x: an invocation writes what it
// alone reads. Twin: runtime/src/cpu/rotary.rs.
struct Params {
  n: u32,      // invocations
  units: u32,  // of a head
  heads: u32,
  pairs: u32,  // of a head
  turns: u32,  // rows of angles; the first serves again after the last
}
@group(0) @binding(0) var<uniform> p: Params;
//#if !IN_PLACE
@group(0) @binding(1) var<storage, read_write> x: array<SV>;
//#end
@group(0) @binding(2) var<storage, read_write> y: array<SV>;
// Of a row the cosines of all pairs, then the sines.
@group(0) @binding(3) var<storage, read_write> angles: array<S>;
//#include "grid.wgsl"

//#if IN_PLACE
fn load(i: u32) -> V { return V(y[i]); }
//#else
fn load(i: u32) -> V { return V(x[i]); }
//#end

fn element(i: u32) {
  if (i >= p.n) { return; }
  let head = i / p.units;
  let unit = i % p.units;
  let row = head / p.heads % p.turns * p.pairs * 2u;
//#if HALVES
  let at = head * p.units * 2u + unit;
  let cosine = row + unit * UNIT;
  let sine = cosine + p.pairs;
//#if VEC4
  let c = V(f32(angles[cosine]), f32(angles[cosine + 1u]), f32(angles[cosine + 2u]), f32(angles[cosine + 3u]));
  let s = V(f32(angles[sine]), f32(angles[sine + 1u]), f32(angles[sine + 2u]), f32(angles[sine + 3u]));
//#else
  let c = f32(angles[cosine]);
  let s = f32(angles[sine]);
//#end
  let a = load(at);
  let b = load(at + p.units);
  y[at] = SV(a * c - b * s);
  y[at + p.units] = SV(b * c + a * s);
//#else
//#if VEC4
  let cosine = row + unit * 2u;
  let sine = cosine + p.pairs;
  let c = vec2<f32>(f32(angles[cosine]), f32(angles[cosine + 1u])).xxyy;
  let s = vec2<f32>(f32(angles[sine]), f32(angles[sine + 1u])).xxyy;
  let v = load(i);
  y[i] = SV(v * c + V(-v.y, v.x, -v.w, v.z) * s);
//#else
  let c = f32(angles[row + unit]);
  let s = f32(angles[row + unit + p.pairs]);
  let a = load(2u * i);
  let b = load(2u * i + 1u);
  y[2u * i] = S(a * c - b * s);
  y[2u * i + 1u] = S(b * c + a * s);
//#end
//#end
}
