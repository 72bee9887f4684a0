// The numbers of one call of the network that are not the solver's.
struct Step {
  n: u32,                 // values of all pictures
  index: u32,             // of the call, from 0
  timestep: f32,          // as the network knows it
  guidance_scale: f32,
  input_scale: f32,       // the network is given the sample times this
}
@group(0) @binding(0) var<uniform> p: Step;

// Not a comparison with itself: compilers may take it for true.
fn is_finite(v: f32) -> bool { return (bitcast<u32>(v) & 0x7f800000u) != 0x7f800000u; }
