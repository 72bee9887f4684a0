// The logarithm of the sum of exponentials of the c elements of x from `first`. A NaN makes it one.
fn log_sum_exp(first: u32) -> f32 {
  var top = f32(x[first]);
  for (var i = 1u; i < p.c; i++) {
    let v = f32(x[first + i]);
    top = select(top, v, v > top);
  }
  var sum = 0.0;
  for (var i = 0u; i < p.c; i++) { sum += exp(f32(x[first + i]) - top); }
  return top + log(sum);
}
