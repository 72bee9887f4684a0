// The network's answer, with GUIDED by classifier-free guidance: answer holds the conditional half, then the
// unconditional one; with EDITS what is told of text and picture, of the picture, of neither. Twin: runtime/src/guidance.rs.
//#include "step.wgsl"
@group(0) @binding(1) var<storage, read_write> answer: array<S>;
@group(0) @binding(2) var<storage, read_write> eps: array<f32>;
//#include "grid.wgsl"

fn element(i: u32) {
  if (i >= p.n) { return; }
//#if EDITS
  let image = f32(answer[i + arrayLength(&eps)]);
  let neither = f32(answer[i + 2u * arrayLength(&eps)]);
  eps[i] = neither + p.guidance_scale * (f32(answer[i]) - image) + p.image_guidance_scale * (image - neither);
//#else
//#if GUIDED
  let unconditional = f32(answer[i + arrayLength(&eps)]);
  eps[i] = unconditional + p.guidance_scale * (f32(answer[i]) - unconditional);
//#else
  eps[i] = f32(answer[i]);
//#end
//#end
}
