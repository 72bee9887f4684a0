// The network's answer, with GUIDED by classifier-free guidance: answer holds the conditional half, then the
// unconditional one. Twin: runtime/src/guidance.rs.
//#include "step.wgsl"
@group(0) @binding(1) var<storage, read_write> answer: array<S>;
@group(0) @binding(2) var<storage, read_write> eps: array<f32>;
//#include "grid.wgsl"

@compute @workgroup_size(WX, 1, 1)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = flat_index(group, groups, local);
  if (i >= p.n) { return; }
//#if GUIDED
  let unconditional = f32(answer[i + arrayLength(&eps)]);
  eps[i] = unconditional + p.guidance_scale * (f32(answer[i]) - unconditional);
//#else
  eps[i] = f32(answer[i]);
//#end
}
