// The numbers of one step: `StepCoefficients` in runtime/src/sampler/mod.rs, and what the device needs beside them.
struct Step {
  n: u32,                 // values of all pictures
  index: u32,             // of the step, from 0
  timestep: f32,          // as the network knows it
  guidance_scale: f32,
  x0_from_x: f32,
  x0_from_out: f32,
  low: f32,
  high: f32,
  x_from_x: f32,
  x_from_x0: f32,
  x_from_out: f32,
  sigma: f32,
}
@group(0) @binding(0) var<uniform> p: Step;

// Not a comparison with itself: compilers may take it for true.
fn is_finite(v: f32) -> bool { return (bitcast<u32>(v) & 0x7f800000u) != 0x7f800000u; }
