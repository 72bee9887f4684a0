// Writes the network's inputs, which each execution overwrites: the pictures, scaled, once or (for guidance) twice, and
// the timestep. Twin: `CpuEngine::fill` in runtime/src/model/engine/cpu.rs.
//#include "step.wgsl"
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> input: array<S>;
@group(0) @binding(3) var<storage, read_write> t: array<S>;
//#include "grid.wgsl"

fn element(i: u32) {
  if (i < arrayLength(&t)) { t[i] = S(p.timestep); }
  if (i >= arrayLength(&x)) { return; }
  let value = S(p.input_scale * x[i]);
  for (var at = i; at < arrayLength(&input); at += arrayLength(&x)) { input[at] = value; }
}
