// The sine and cosine code of one number a picture. Twin: runtime/src/cpu/position_encoding.rs.
//
// sin(1000 w) in f32 would lose 4 digits, and a device's own sine more. So frequencies come as turns (w / 2 pi) in three
// parts of 12 bits and the rest, t is split into two halves of 12 bits, and of each exact product only the fraction of
// a turn is kept.
struct Params {
  n: u32,    // elements of y
  dim: u32,  // elements a picture
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> t: array<S>;
@group(0) @binding(2) var<storage, read_write> y: array<S>;
@group(0) @binding(3) var<storage, read> turns: array<vec4<f32>>;
//#include "grid.wgsl"

fn fraction(v: f32) -> f32 { return v - floor(v); }

// sin(2 pi f) for f of any sign: the nearest quarter turn, then Taylor on at most an eighth of a turn.
fn sin_turns(f: f32) -> f32 {
  let quarter = floor(f * 4.0 + 0.5);
  let a = (f - quarter * 0.25) * 6.28318530717958648;
  let a2 = a * a;
  let s = a * (1.0 + a2 * (-1.0 / 6.0 + a2 * (1.0 / 120.0 + a2 * (-1.0 / 5040.0 + a2 / 362880.0))));
  let c = 1.0 + a2 * (-0.5 + a2 * (1.0 / 24.0 + a2 * (-1.0 / 720.0 + a2 / 40320.0)));
  let q = u32(i32(quarter) & 3);
  let v = select(s, c, (q & 1u) == 1u);
  return select(v, -v, q >= 2u);
}

fn element(i: u32) {
  if (i >= p.n) { return; }
  let w = turns[i % p.dim];
  let time = f32(t[i / p.dim]);
  let high = bitcast<f32>(bitcast<u32>(time) & 0xfffff000u);
  let low = time - high;
  let f = fraction(high * w.x) + fraction(high * w.y) + fraction(low * w.x) + (high * w.z + low * (w.y + w.z));
  // A cosine is a sine a quarter turn on.
  y[i] = S(sin_turns(fraction(f) + select(0.0, 0.25, i % p.dim % 2u == 1u)));
}
