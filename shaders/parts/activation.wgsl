// Twin: runtime/src/cpu/epilogue.rs. `V` is f32 or vec4<f32>. Comparisons are written so that a NaN stays one.
//#if GELU
// Abramowitz and Stegun 7.1.26: absolute error below 1.5e-7.
fn erf(v: V) -> V {
  let a = abs(v);
  let t = V(1.0) / (V(1.0) + V(0.3275911) * a);
  let poly = ((((V(1.061405429) * t - V(1.453152027)) * t + V(1.421413741)) * t - V(0.284496736)) * t + V(0.254829592)) * t;
  let e = V(1.0) - poly * exp(-min(a * a, V(80.0)));
  return select(e, -e, v < V(0.0));
}
fn gelu(v: V) -> V { return V(0.5) * v * (V(1.0) + erf(v * V(0.70710678118654752))); }
//#end

fn activate(v: V) -> V {
//#if RELU
  return select(v, V(0.0), v < V(0.0));
//#else
//#if LEAKY_RELU
  return select(v, V(0.2) * v, v < V(0.0));
//#else
//#if RESIDUAL_SCALE
  return V(0.2) * v;
//#else
//#if SILU
  // The argument is bounded, since an exponential that overflows is not defined.
  return v / (V(1.0) + exp(min(-v, V(88.0))));
//#else
//#if QUICK_GELU
  return v / (V(1.0) + exp(min(V(-1.702) * v, V(88.0))));
//#else
//#if GELU_TANH
  return v / (V(1.0) + exp(min(V(-1.5957691) * v * (V(1.0) + V(0.044715) * v * v), V(88.0))));
//#else
//#if GELU
  return gelu(v);
//#else
//#if SIGMOID
  return V(1.0) / (V(1.0) + exp(select(-v, V(88.0), v < V(-88.0))));
//#else
  return v;
//#end
//#end
//#end
//#end
//#end
//#end
//#end
//#end
}
