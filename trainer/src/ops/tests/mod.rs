//! Gradient checks. Every fused form is held against its composed form, against finite differences, and against itself
//! on one and on two threads. Above each test stands the mutation of the fused backward pass that it was seen red
//! with by the comparison of the forms. With that comparison taken out, the finite differences were seen red too, with
//! the same mutation (`attention_causal` and `attention_masked` with that of `attention`, `group_norm_silu` with that
//! of `group_norm`); those of `transformer` and `conv2d_stride2_without_lead` by the comparison of the forms alone.
mod attention;
mod concat;
mod conv;
mod embedding;
mod mse;
mod norms;
mod pools;
mod rates;
mod silu;
mod speed;
mod transformer;

use dfdx::prelude::*;
use nijimi_runtime::raw::rng::Stream;

/// Which form of an operation to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Fused,
    Composed,
}

/// What an operation gave: its output, and the gradients of `sum(r * output)` with fixed random `r`.
struct Outcome {
    y: Vec<f64>,
    gradients: Vec<Vec<f32>>,
}

type Traced<S> = Tensor<S, f32, Cpu, OwnedTape<f32, Cpu>>;

/// An input whose gradient is asked for.
trait Leaf {
    fn gradient<'g>(&self, g: &'g mut Gradients<f32, Cpu>) -> &'g mut Vec<f32>;
    fn duplicate(&self) -> Box<dyn Leaf>;
}

impl<S: Shape> Leaf for Tensor<S, f32, Cpu> {
    fn gradient<'g>(&self, g: &'g mut Gradients<f32, Cpu>) -> &'g mut Vec<f32> {
        g.get_or_alloc_mut(self).expect("allocation of a gradient")
    }
    fn duplicate(&self) -> Box<dyn Leaf> {
        Box::new(self.clone())
    }
}

/// `n` standard normal values, the same for the same name.
fn normal(name: &str, n: usize) -> Vec<f32> {
    let mut stream = Stream::new(7, name, 0);
    (0..n).map(|_| stream.normal()).collect()
}

/// `n` values of size 1 to 1.6 and random sign: none near 0, also after normalization.
fn away_from_zero(name: &str, n: usize) -> Vec<f32> {
    let mut stream = Stream::new(8, name, 0);
    (0..n).map(|_| (1.0 + 0.6 * stream.uniform()) * if stream.uniform() < 0.5 { -1.0 } else { 1.0 }).collect()
}

/// What gradients hold before the backward pass: an operation must add to it.
const BEFORE: f32 = 0.125;

/// Runs the backward pass from the output `y` and collects the gradients of `leaves`.
fn finish<S: Shape>(y: Traced<S>, leaves: &[&dyn Leaf]) -> Outcome {
    finish_with(y, leaves, |r| r.to_vec())
}

/// As [`finish`] with another `r`, made from the random one.
fn finish_with<S: Shape>(y: Traced<S>, leaves: &[&dyn Leaf], r: impl Fn(&[f32]) -> Vec<f32>) -> Outcome {
    let (y, mut tape) = y.split_tape();
    let values = y.as_vec();
    let (ghost, r) = (y.ghost(), r(&normal("r", values.len())));
    let copies: Vec<Box<dyn Leaf>> = leaves.iter().map(|l| l.duplicate()).collect();
    tape.add_backward_op(move |g| {
        for leaf in copies {
            leaf.gradient(g).fill(BEFORE);
        }
        g.get_or_alloc_mut(&ghost)?.copy_from_slice(&r);
        Ok(())
    });
    let end: Tensor<Rank0, f32, Cpu> = y.device().tensor_from_vec(vec![0.0], ());
    let mut g = end.put_tape(tape).backward();
    let gradients = leaves.iter().map(|l| l.gradient(&mut g).iter().map(|x| x - BEFORE).collect()).collect();
    Outcome { y: values.into_iter().map(f64::from).collect(), gradients }
}

/// Differences are measured against the largest value.
fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    let largest = expected.iter().fold(0f64, |a, b| a.max(b.abs()));
    assert!(largest > 0.0, "{what}: nothing to compare");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= tolerance * largest, "{what}[{i}]: {f}, expected {e} (largest {largest})");
    }
}

fn wide(v: &[f32]) -> Vec<f64> {
    v.iter().map(|x| f64::from(*x)).collect()
}

/// All checks of one operation at one shape; `step` is that of the finite differences, in random directions of unit
/// variance.
fn check(inputs: &[Vec<f32>], step: f32, run: impl Fn(&[Vec<f32>], Form) -> Outcome + Sync) {
    let fused = run(inputs, Form::Fused);
    let composed = run(inputs, Form::Composed);
    assert_close(&fused.y, &composed.y, 1e-5, "forward: fused against composed");
    for (i, (f, c)) in fused.gradients.iter().zip(&composed.gradients).enumerate() {
        assert_close(&wide(f), &wide(c), 1e-5, &format!("gradient {i}: fused against composed"));
    }
    for threads in [1, 2] {
        let other = crate::ops::cpu::parallel::with_threads(threads, || run(inputs, Form::Fused));
        assert!(other.y == fused.y, "the output changes with {threads} threads");
        assert!(other.gradients == fused.gradients, "the gradients change with {threads} threads");
    }
    finite_differences(inputs, step, &fused.gradients, |v| run(v, Form::Fused).y);
}

/// Central differences of `sum(r * output)`, summed in f64, against the gradients.
fn finite_differences(inputs: &[Vec<f32>], step: f32, gradients: &[Vec<f32>], f: impl Fn(&[Vec<f32>]) -> Vec<f64>) {
    for (i, gradient) in gradients.iter().enumerate() {
        let size = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        for n in 0..3 {
            let direction = normal(&format!("direction {i} {n}"), gradient.len());
            let moved = |by: f32| {
                let mut v = inputs.to_vec();
                v[i].iter_mut().zip(&direction).for_each(|(x, d)| *x += by * d);
                v
            };
            let (up, down) = (moved(step), moved(-step));
            let sum = |y: Vec<f64>| -> f64 { y.iter().zip(normal("r", y.len())).map(|(y, r)| y * f64::from(r)).sum() };
            let slope = (sum(f(&up)) - sum(f(&down))) / 2.0;
            // The step as it was after rounding.
            let expected: f64 = (0..gradient.len())
                .map(|j| f64::from(gradient[j]) * (f64::from(up[i][j]) - f64::from(down[i][j])) / 2.0)
                .sum();
            let error = (slope - expected).abs() / f64::from(step);
            assert!(
                error <= 1e-3 * size,
                "gradient {i}, direction {n}: {expected:e}, finite difference {slope:e}, |gradient| {size:e}"
            );
        }
    }
}
