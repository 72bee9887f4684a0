// y = activation(x w^T + bias + residual) for each row of x: a linear layer, or a 1x1 convolution.
// Twin: runtime/src/cpu/linear.rs.
struct Params {
  rows: u32,   // rows of x and y
  n: u32,      // columns of w in this part
  c_in: u32,   // inputs
  c4: u32,     // inputs / 4, rounded up
  taps: u32,   // 1
  c_out: u32,  // columns of y
  first: u32,  // first column of this part in y
  half: u32,   // GEGLU: columns of y
}
@group(0) @binding(0) var<uniform> p: Params;

struct Row { offset: u32 }
fn row_of(row: u32) -> Row {
//#if X_VEC4
  return Row(row * p.c4);
//#else
  return Row(row * p.c_in);
//#end
}
fn address(row: Row, tap: u32) -> Address { return Address(row.offset, true); }
//#include "product.wgsl"
