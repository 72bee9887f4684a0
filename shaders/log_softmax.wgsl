// y = x - log(sum(exp(x))) for each row: one invocation a row, since rows are as long as there are labels.
// Twin: runtime/src/cpu/log_softmax.rs.
struct Params {
  rows: u32,
  c: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<S>;
@group(0) @binding(2) var<storage, read_write> y: array<S>;
//#include "grid.wgsl"
//#include "log_sum_exp.wgsl"

fn element(row: u32) {
  if (row >= p.rows) { return; }
  let first = row * p.c;
  let sum = log_sum_exp(first);
  for (var i = first; i < first + p.c; i++) { y[i] = S(f32(x[i]) - sum); }
}
