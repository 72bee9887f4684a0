// The numbers of one call of the network that are not the solver's.
struct Step {
  n: u32,                 // values of all samples
  each: u32,              // values of one
  index: u32,             // of the call, from 0
  guidance_scale: f32,
  guidance_rescale: f32,
  input_scale: f32,       // the network is given the sample times this
  alpha: f32,             // of what is put back after a step: alpha * known + sigma * noise
  sigma: f32,
  channels: u32,          // of the sample
  in_channels: u32,       // of the network's input, more where it sees something beside the sample
  gradient_weight: f32,   // of a classifier's gradient in the answer
  image_guidance_scale: f32,
}
@group(0) @binding(0) var<uniform> p: Step;

// Not a comparison with itself: compilers may take it for true.
fn is_finite(v: f32) -> bool { return (bitcast<u32>(v) & 0x7f800000u) != 0x7f800000u; }
