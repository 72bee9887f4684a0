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

//#if TANH
// v P(v^2) / Q(v^2), the rational minimax approximation of Eigen and XLA.
fn hyperbolic_tangent(v: V) -> V {
  let a = select(v, V(7.905311), v > V(7.905311));
  let z = select(a, V(-7.905311), a < V(-7.905311));
  let w = z * z;
  var top = V(-2.7607685e-16) * w + V(2.000188e-13);
  top = ((top * w - V(8.604672e-11)) * w + V(5.122297e-8)) * w + V(1.4857224e-5);
  top = (top * w + V(6.3726193e-4)) * w + V(4.8935246e-3);
  let below = ((V(1.1982584e-6) * w + V(1.1853471e-4)) * w + V(2.2684346e-3)) * w + V(4.893525e-3);
  return z * top / below;
}
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
//#if TANH
  return hyperbolic_tangent(v);
//#else
//#if NEGATE
  return -v;
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
//#end
//#end
}
