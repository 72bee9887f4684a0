// A picture into a texture of the host's, each pixel of it enlarged to fill the texture. One channel is gray, three are
// red, green and blue; the values are as to_u8.wgsl makes them.
struct Params {
  first: u32,  // first value of the picture
  h: u32,      // rows
  w: u32,      // columns
  c: u32,      // channels, 1 or 3
  low: f32,
  scale: f32,  // 1 / (high - low)
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var picture: texture_storage_2d<rgba8unorm, write>;

@compute @workgroup_size(WX, WY, 1)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  let size = textureDimensions(picture);
  if (at.x >= size.x || at.y >= size.y) { return; }
  let pixel = (at.y * p.h / size.y) * p.w + at.x * p.w / size.x;
  var rgb: vec3<f32>;
  for (var k = 0u; k < 3u; k++) { rgb[k] = x[p.first + pixel * p.c + min(k, p.c - 1u)]; }
  rgb = clamp((rgb - vec3<f32>(p.low)) * p.scale, vec3<f32>(0.0), vec3<f32>(1.0));
  textureStore(picture, at.xy, vec4<f32>(rgb, 1.0));
}
