// y = activation(conv(x, w) + bias + residual), zero padded, NHWC: an implicit matrix product, one row an output pixel,
// one tap a position of the kernel. With UPSAMPLE, x is first doubled by nearest neighbour. Twin:
// runtime/src/cpu/conv2d.rs.
struct Params {
  rows: u32,   // output pixels of all pictures
  n: u32,      // output channels in this part
  c_in: u32,   // input channels
  c4: u32,     // input channels / 4, rounded up
  taps: u32,   // kernel * kernel
  c_out: u32,  // output channels
  first: u32,  // first output channel of this part
  half: u32,   // 0
  h: u32,      // input rows
  w: u32,      // input columns
  out_h: u32,
  out_w: u32,
  kernel: u32,
  stride: u32,
  pad: u32,
}
@group(0) @binding(0) var<uniform> p: Params;

/// An output pixel: the first input pixel of its picture, and the input row and column of its first tap.
struct Row { image: u32, y: i32, x: i32 }
fn row_of(row: u32) -> Row {
  let column = row % p.out_w;
  let line = row / p.out_w;
  let image = line / p.out_h;
  return Row(image * p.h * p.w, i32((line % p.out_h) * p.stride) - i32(p.pad), i32(column * p.stride) - i32(p.pad));
}
fn address(row: Row, tap: u32) -> Address {
  let y = row.y + i32(tap / p.kernel);
  let x = row.x + i32(tap % p.kernel);
//#if UPSAMPLE
  let inside = y >= 0 && x >= 0 && y < i32(2u * p.h) && x < i32(2u * p.w);
  let pixel = row.image + (u32(y) / 2u) * p.w + u32(x) / 2u;
//#else
  let inside = y >= 0 && x >= 0 && y < i32(p.h) && x < i32(p.w);
  let pixel = row.image + u32(y) * p.w + u32(x);
//#end
//#if X_VEC4
  return Address(select(0u, pixel * p.c4, inside), inside);
//#else
  return Address(select(0u, pixel * p.c_in, inside), inside);
//#end
}
//#include "product.wgsl"
