// A guided answer's spread brought back towards the conditional one's (Lin et al. 2023, eq. 15 and 16): a workgroup a
// picture, whose values it goes through twice for each mean and each spread. Twin: `rescale` in runtime/src/guidance.rs.
//#include "step.wgsl"
@group(0) @binding(1) var<storage, read_write> answer: array<S>; // the conditional half first
@group(0) @binding(2) var<storage, read_write> eps: array<f32>;  // guided

var<workgroup> partial: array<vec2<f32>, WX>;

// The sums over a workgroup's invocations; every one of them gets it.
fn summed(own: vec2<f32>, local: u32) -> vec2<f32> {
  partial[local] = own;
  workgroupBarrier();
  for (var half = WX / 2u; half > 0u; half /= 2u) {
    if (local < half) { partial[local] += partial[local + half]; }
    workgroupBarrier();
  }
  let sum = partial[0];
  workgroupBarrier();
  return sum;
}

@compute @workgroup_size(WX, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let n = p.each;
  let first = group.x * n;
  var own = vec2<f32>();
  for (var i = local; i < n; i += WX) { own += vec2<f32>(f32(answer[first + i]), eps[first + i]); }
  let mean = summed(own, local) / f32(n);
  own = vec2<f32>();
  for (var i = local; i < n; i += WX) {
    let away = vec2<f32>(f32(answer[first + i]), eps[first + i]) - mean;
    own += away * away;
  }
  let spread = sqrt(summed(own, local) / f32(n));
  if (spread[1] == 0.0) { return; }
  let factor = p.guidance_rescale * (spread[0] / spread[1]) + (1.0 - p.guidance_rescale);
  for (var i = local; i < n; i += WX) { eps[first + i] *= factor; }
}
