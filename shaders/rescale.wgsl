// A guided answer's spread brought back towards the conditional one's (Lin et al. 2023, eq. 15 and 16): a workgroup a
// picture, whose values it goes through twice for each mean and each spread. Twin: `rescale` in runtime/src/guidance.rs.
// Below 0: its length shortened to so many times the conditional one's. Twin: `normalize`.
//#include "step.wgsl"
@group(0) @binding(1) var<storage, read_write> answer: array<S>; // the conditional half first
@group(0) @binding(2) var<storage, read_write> eps: array<f32>;  // guided

//#include "total.wgsl"

@compute @workgroup_size(WX, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let n = p.each;
  let first = group.x * n;
  var own = vec2<f32>();
  for (var i = local; i < n; i += WX) { own += vec2<f32>(f32(answer[first + i]), eps[first + i]); }
  let shortens = p.guidance_rescale < 0.0;
  var mean = vec2<f32>(total(local, 0u, 0u, 0u, own[0]), total(local, 0u, 0u, 0u, own[1])) / f32(n);
  if (shortens) { mean = vec2<f32>(); }
  own = vec2<f32>();
  for (var i = local; i < n; i += WX) {
    let away = vec2<f32>(f32(answer[first + i]), eps[first + i]) - mean;
    own += away * away;
  }
  let spread = sqrt(vec2<f32>(total(local, 0u, 0u, 0u, own[0]), total(local, 0u, 0u, 0u, own[1])) / f32(n));
  if (spread[1] == 0.0) { return; }
  let ratio = spread[0] / spread[1];
  var factor = p.guidance_rescale * ratio + (1.0 - p.guidance_rescale);
  if (shortens) { factor = min(1.0, -p.guidance_rescale * ratio); }
  for (var i = local; i < n; i += WX) { eps[first + i] *= factor; }
}
