// A network's answer led by a classifier's gradient (Dhariwal and Nichol 2021, algorithm 2). Twin: `classifier` in
// runtime/src/guidance.rs.
//#include "step.wgsl"
@group(0) @binding(1) var<storage, read_write> gradient: array<S>;
@group(0) @binding(2) var<storage, read_write> eps: array<f32>;
//#include "grid.wgsl"

fn element(i: u32) {
  if (i < p.n) { eps[i] -= p.gradient_weight * f32(gradient[i]); }
}
