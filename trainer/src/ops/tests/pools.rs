use super::{Form, Outcome, check, finish, normal};
use crate::ops::{Kit, composed};
use crate::tensor::{T2, T4};
use dfdx::prelude::*;
use nijimi_runtime::raw::rng::Stream;

fn pictures(
    v: &[f32],
    shape: (usize, usize, usize, usize),
    run: impl Fn(super::Traced<(usize, usize, usize, usize)>) -> super::Traced<(usize, usize, usize, usize)>,
) -> Outcome {
    let x: T4<Cpu> = Cpu::default().tensor_from_vec(v.to_vec(), shape);
    finish(run(x.leaky_trace()), &[&x])
}

const SHAPES: [(usize, usize, usize, usize); 3] = [(1, 1, 2, 2), (3, 5, 6, 10), (11, 2, 4, 14)];

/// In each 2x2 window the values 0, 1, 2, 3 in random order, give or take 0.3: no step changes which is the largest.
fn windows((n, c, h, w): (usize, usize, usize, usize)) -> Vec<f32> {
    let mut stream = Stream::new(9, "windows", 0);
    let mut v = vec![0f32; n * c * h * w];
    for plane in v.chunks_exact_mut(h * w) {
        for i in 0..h / 2 {
            for j in 0..w / 2 {
                let mut values = [0.0, 1.0, 2.0, 3.0];
                stream.shuffle(&mut values);
                for (t, value) in values.iter().enumerate() {
                    plane[(2 * i + t / 2) * w + 2 * j + t % 2] = value + 0.3 * stream.uniform();
                }
            }
        }
    }
    v
}

/// Seen red with the gradient going to the upper row always (`t / 2` left out).
#[test]
fn max_pool2() {
    for shape in SHAPES {
        check(&[windows(shape)], 1e-2, |v, form| {
            pictures(&v[0], shape, if form == Form::Fused { Cpu::max_pool2 } else { composed::max_pool2 })
        });
    }
}

/// Seen red with the gradient of the right pixel left out in every second row.
#[test]
fn avg_pool2() {
    for shape in SHAPES {
        check(&[normal("x", shape.0 * shape.1 * shape.2 * shape.3)], 1e-2, |v, form| {
            pictures(&v[0], shape, if form == Form::Fused { Cpu::avg_pool2 } else { composed::avg_pool2 })
        });
    }
}

const ODD_SHAPES: [(usize, usize, usize, usize); 4] = [(1, 1, 1, 1), (3, 5, 7, 5), (11, 2, 1, 6), (2, 3, 4, 1)];

/// Seen red with the weights of the two rows exchanged in the backward pass.
#[test]
fn upsample_bilinear2() {
    for shape in ODD_SHAPES {
        check(&[normal("x", shape.0 * shape.1 * shape.2 * shape.3)], 1e-2, |v, form| {
            pictures(
                &v[0],
                shape,
                if form == Form::Fused { Cpu::upsample_bilinear2 } else { composed::upsample_bilinear2 },
            )
        });
    }
}

/// Seen red with the lower row's gradient left out.
#[test]
fn upsample_nearest2() {
    for shape in ODD_SHAPES {
        check(&[normal("x", shape.0 * shape.1 * shape.2 * shape.3)], 1e-2, |v, form| {
            pictures(
                &v[0],
                shape,
                if form == Form::Fused { Cpu::upsample_nearest2 } else { composed::upsample_nearest2 },
            )
        });
    }
}

/// Known values: PyTorch's `Upsample(scale_factor=2, mode="bilinear")` of a row 0, 4.
#[test]
fn bilinear_has_half_pixel_centres() {
    let x: T4<Cpu> = Cpu::default().tensor_from_vec(vec![0.0, 4.0], (1, 1, 1, 2));
    assert_eq!(Cpu::upsample_bilinear2(x).as_vec(), [0.0, 1.0, 3.0, 4.0, 0.0, 1.0, 3.0, 4.0]);
}

/// Seen red with the gradient of `v` doubled.
#[test]
fn add_channels() {
    for (n, c, h, w) in [(1, 1, 1, 1), (3, 5, 7, 5), (11, 2, 3, 6)] {
        check(&[normal("x", n * c * h * w), normal("v", n * c)], 1e-2, |v, form| {
            let d = Cpu::default();
            let x: T4<Cpu> = d.tensor_from_vec(v[0].clone(), (n, c, h, w));
            let t: T2<Cpu> = d.tensor_from_vec(v[1].clone(), (n, c));
            let y = match form {
                Form::Fused => Cpu::add_channels(x.leaky_trace(), t.retaped()),
                Form::Composed => composed::add_channels(x.leaky_trace(), t.retaped()),
            };
            finish(y, &[&x, &t])
        });
    }
}
