// What happens to an element of a product on its way to memory: bias, residual, activation. Twin:
// runtime/src/cpu/epilogue.rs. `col` counts in this part of the weight; `p.first` is its first column in the output.
//#include "activation.wgsl"

fn biased(col: u32, v: f32) -> f32 {
//#if BIAS
  return v + bias[p.first + col];
//#else
  return v;
//#end
}

//#if GEGLU
// Hidden value and gate (Shazeer 2020, GEGLU); a residual comes after the product of the two.
fn finish_gated(row: u32, col: u32, value: f32, gate: f32) {
  if (row >= p.rows || col >= p.half) { return; }
  var v = biased(col, value) * gelu(biased(col + p.half, gate));
//#if RESIDUAL
  v += f32(residual[row * p.c_out + col]);
//#end
  y[row * p.c_out + col] = S(v);
}
//#else
fn finish(row: u32, col: u32, sum: f32) {
  if (row >= p.rows || col >= p.n) { return; }
  var v = biased(col, sum);
  let at = row * p.c_out + p.first + col;
//#if RESIDUAL
  v += f32(residual[at]);
//#end
  y[at] = S(activate(v));
}
//#end
