// Writes the network's inputs, which each execution overwrites: the pictures, once or (for guidance) twice, and the
// timestep. Twin: `Run::fill` in runtime/src/model.
//#include "step.wgsl"
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> input: array<S>;
@group(0) @binding(3) var<storage, read_write> t: array<S>;
//#include "grid.wgsl"

@compute @workgroup_size(WX, 1, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = flat_index(group, groups, local);
  if (i < arrayLength(&t)) { t[i] = S(p.timestep); }
  if (i >= arrayLength(&x)) { return; }
  let value = S(x[i]);
  for (var at = i; at < arrayLength(&input); at += arrayLength(&x)) { input[at] = value; }
}
