// y = onehot(id) - softmax(x) for each row, whose id is a label; zeros for the largest id. One invocation a row.
// Twin: runtime/src/cpu/log_softmax_backward.rs.
struct Params {
  rows: u32,
  c: u32,
  ids: u32,  // where this input's ids begin
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<S>;
@group(0) @binding(2) var<storage, read_write> y: array<S>;
@group(0) @binding(3) var<storage, read> ids: array<u32>;
//#include "grid.wgsl"
//#include "log_sum_exp.wgsl"

fn element(row: u32) {
  if (row >= p.rows) { return; }
  let first = row * p.c;
  let sum = log_sum_exp(first);
  let id = ids[p.ids + row];
  for (var i = 0u; i < p.c; i++) {
    let gradient = select(0.0, 1.0, i == id) - exp(f32(x[first + i]) - sum);
    y[first + i] = S(select(gradient, 0.0, id == 0xffffffffu));
  }
}
