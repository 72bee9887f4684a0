// The operands of a matrix product y = activation(x w^T + bias + residual), x row by row from an image.
// A row is what `row_of` says (a token, an output pixel), and `address` finds the inputs that one tap sees there.
@group(0) @binding(1) var<storage, read_write> x: array<XV>;
@group(0) @binding(2) var<storage, read_write> y: array<S>;
//#include "weights.wgsl"
//#if BIAS
@group(0) @binding(5) var<storage, read> bias: array<f32>;
//#end
//#if RESIDUAL
@group(0) @binding(6) var<storage, read_write> residual: array<S>;
//#end

/// Where the inputs of one tap begin, and whether they lie in the picture.
struct Address { offset: u32, inside: bool }

// Inputs 4 c to 4 c + 3 of a pixel or token.
//#if X_VEC4
fn load_x(a: Address, c: u32) -> vec4<f32> {
  return select(vec4<f32>(0.0), vec4<f32>(x[a.offset + c]), a.inside);
}
//#else
fn load_x(a: Address, c: u32) -> vec4<f32> {
  let at = a.offset + 4u * c;
  let left = p.c_in - 4u * c;
  let v = vec4<f32>(f32(x[at]), f32(x[at + 1u]), f32(x[at + 2u]), f32(x[at + 3u]));
  return select(vec4<f32>(0.0), v, vec4<bool>(a.inside) & (vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(left)));
}
//#end

//#include "epilogue.wgsl"
//#if COOP
//#include "product_coop.wgsl"
//#else
//#if TILED
//#include "product_tiled.wgsl"
//#else
//#include "product_direct.wgsl"
//#end
//#end
