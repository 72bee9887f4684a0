// One picture's latents as an autoencoder's decoder takes them: x / scaling_factor + shift_factor. Twin: `Decoder` in
// runtime/src/model/latent/decoder.rs.
struct Params {
  first: u32,  // first value of the picture's latents
  n: u32,      // their number
  scale: f32,
  shift: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<S>;
//#include "grid.wgsl"

fn element(i: u32) {
  if (i < p.n) { y[i] = S(x[p.first + i] * p.scale + p.shift); }
}
