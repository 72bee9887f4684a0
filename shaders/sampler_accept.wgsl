// A network's answer taken: the estimate of the clean picture, what the solver keeps of it, then the next sample. With
// NOISE, fresh noise is added. A number that is none is reported by its call, the first one found. Twin: `accept` in
// runtime/src/sampler/call.rs.
//#include "step.wgsl"
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> eps: array<f32>;
@group(0) @binding(3) var<storage, read_write> estimate: array<f32>;
@group(0) @binding(4) var<storage, read_write> history: array<f32>; // the slots, then the kept sample
@group(0) @binding(5) var<storage, read_write> first_bad: array<atomic<u32>>; // [0]: call + 1 of the first, else the largest
@group(0) @binding(6) var<uniform> c: Call;
//#if NOISE
@group(0) @binding(7) var<storage, read> noise: array<f32>;
//#end

const SLOTS = 6u;
// Weights of all that is at hand.
struct Mix {
  x: f32,
  base: f32,
  x0: f32,
  out: f32,
  slots: array<vec4<f32>, 2>, // of which SLOTS are used
}
// `Call` in runtime/src/sampler/call.rs.
struct Call {
  x0_from_x: f32,
  x0_from_out: f32,
  low: f32,
  high: f32,
  store: vec3<f32>,       // weights of sample, estimate and output
  noise: f32,
  slot: u32,              // to be stored, plus 1; 0 for none
  corrects: u32,
  keeps: u32,
  correct: Mix,
  next: Mix,
}
//#include "grid.wgsl"

fn mixed(mix: Mix, i: u32, sample: f32, x0: f32, answer: f32) -> f32 {
  let stride = arrayLength(&x);
  var sum = mix.x * sample + mix.x0 * x0 + mix.out * answer;
  // What has no weight may hold anything.
  for (var slot = 0u; slot < SLOTS; slot += 1u) {
    let weight = mix.slots[slot / 4u][slot % 4u];
    if (weight != 0.0) { sum += weight * history[slot * stride + i]; }
  }
  if (mix.base != 0.0) { sum += mix.base * history[SLOTS * stride + i]; }
  return sum;
}

fn element(i: u32) {
  if (i >= p.n) { return; }
  let stride = arrayLength(&x);
  let answer = eps[i];
  var sample = x[i];
  var x0 = c.x0_from_x * sample + c.x0_from_out * answer;
  // Not min and max: they would turn NaN into a number.
  x0 = select(x0, c.high, x0 > c.high);
  x0 = select(x0, c.low, x0 < c.low);
  if (c.slot != 0u) {
    history[(c.slot - 1u) * stride + i] = c.store.x * sample + c.store.y * x0 + c.store.z * answer;
  }
  if (c.corrects != 0u) { sample = mixed(c.correct, i, sample, x0, answer); }
  if (c.keeps != 0u) { history[SLOTS * stride + i] = sample; }
  var next = mixed(c.next, i, sample, x0, answer);
//#if NOISE
  next += c.noise * noise[i];
//#end
  if (!(is_finite(answer) && is_finite(x0) && is_finite(next))) { atomicMin(&first_bad[0], p.index + 1u); }
  x[i] = next;
  estimate[i] = x0;
}
