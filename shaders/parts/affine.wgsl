// What codes of q4_K and q5_K stand for. Of a block of 256 inputs `w_scales` has five words a column: the factors of scales and
// minima as f16, and for two parts each a scale and a minimum of a byte.
fn affine(k4: u32, col: u32, codes: vec4<u32>) -> vec4<f32> {
  let at = (k4 >> 6u) * 5u * p.n + col;
  let factors = unpack2x16float(w_scales[at]);
  let scales = w_scales[at + (1u + ((k4 >> 4u) & 3u)) * p.n] >> (16u * ((k4 >> 3u) & 1u));
  return vec4<f32>(codes) * (factors.x * f32(scales & 255u)) - factors.y * f32((scales >> 8u) & 255u);
}
