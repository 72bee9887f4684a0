// After a step, what a mask keeps of the picture is put back at the next call's noise level (Lugmayr et al. 2022, eq. 8).
// Twin: `Kept::restore` in runtime/src/model/engine/inputs.rs.
//#include "step.wgsl"
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> known: array<f32>;
@group(0) @binding(3) var<storage, read> noise: array<f32>;
@group(0) @binding(4) var<storage, read> mask: array<f32>; // one a pixel, 0 where it is kept
//#include "grid.wgsl"

fn element(i: u32) {
  if (i >= p.n) { return; }
  if (mask[i / p.channels] == 0.0) { x[i] = p.alpha * known[i] + p.sigma * noise[i]; }
}
