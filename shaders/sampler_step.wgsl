// One level on: the estimate of the clean picture, then the next sample. With NOISE, fresh noise is added. A number
// that is none is reported by its step, the first one found. Twin: `step` in runtime/src/sampler/mod.rs.
//#include "step.wgsl"
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> eps: array<f32>;
@group(0) @binding(3) var<storage, read_write> estimate: array<f32>;
@group(0) @binding(4) var<storage, read_write> first_bad: array<atomic<u32>>; // [0]: step + 1 of the first, else the largest
//#if NOISE
@group(0) @binding(5) var<storage, read> noise: array<f32>;
//#end
//#include "grid.wgsl"

fn element(i: u32) {
  if (i >= p.n) { return; }
  let answer = eps[i];
  var x0 = p.x0_from_x * x[i] + p.x0_from_out * answer;
  // Not min and max: they would turn NaN into a number.
  x0 = select(x0, p.high, x0 > p.high);
  x0 = select(x0, p.low, x0 < p.low);
  var next = p.x_from_x * x[i] + p.x_from_x0 * x0 + p.x_from_out * answer;
//#if NOISE
  next += p.sigma * noise[i];
//#end
  if (!(is_finite(answer) && is_finite(x0) && is_finite(next))) { atomicMin(&first_bad[0], p.index + 1u); }
  x[i] = next;
  estimate[i] = x0;
}
