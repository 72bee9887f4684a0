// The network's answer, with GUIDED by classifier-free guidance: answer holds the conditional half, then the
// unconditional one. Twin: runtime/src/guidance.rs.
//#include "step.wgsl"
@group(0) @binding(1) var<storage, read_write> answer: array<S>;
@group(0) @binding(2) var<storage, read_write> eps: array<f32>;
//#include "grid.wgsl"

fn element(i: u32) {
  if (i >= p.n) { return; }
//#if GUIDED
  let unconditional = f32(answer[i + arrayLength(&eps)]);
  eps[i] = unconditional + p.guidance_scale * (f32(answer[i]) - unconditional);
//#else
  eps[i] = f32(answer[i]);
//#end
}
