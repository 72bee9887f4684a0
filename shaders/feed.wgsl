// Writes the network's inputs, which each execution overwrites: the sample, scaled, once or (for guidance) twice, with
// BESIDE further channels after it in each pixel, the same in all copies or of each its own, and the noise level's code, in every row the same. Twin: `Inputs` in
// runtime/src/model/engine/inputs.rs.
//#include "step.wgsl"
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> time: array<f32>; // a row
@group(0) @binding(3) var<storage, read_write> input: array<S>;
@group(0) @binding(4) var<storage, read_write> t: array<S>;
//#if BESIDE
@group(0) @binding(5) var<storage, read> beside: array<f32>;
//#end
//#include "grid.wgsl"

fn element(i: u32) {
  if (i < arrayLength(&t)) { t[i] = S(time[i % arrayLength(&time)]); }
//#if BESIDE
  let more = p.in_channels - p.channels;
  let all = arrayLength(&x) / p.channels * p.in_channels;
  if (i >= all) { return; }
  let pixel = i / p.in_channels;
  let c = i % p.in_channels;
  var value = 0.0;
  if (c < p.channels) { value = p.input_scale * x[pixel * p.channels + c]; }
  for (var at = i; at < arrayLength(&input); at += all) {
    if (c >= p.channels) { value = beside[(at / p.in_channels * more + c - p.channels) % arrayLength(&beside)]; }
    input[at] = S(value);
  }
//#else
  if (i >= arrayLength(&x)) { return; }
  let value = S(p.input_scale * x[i]);
  for (var at = i; at < arrayLength(&input); at += arrayLength(&x)) { input[at] = value; }
//#end
}
