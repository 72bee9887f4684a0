//! What `torch.randn` draws on the CPU.

use super::mt19937::Mt19937;
use core::f64::consts::TAU;

/// Elements of torch's vectorised path, which draws as many uniforms before it makes as many normals.
const BLOCK: usize = 16;

/// PyTorch's generator on the CPU: `torch.Generator("cpu").manual_seed(seed)`.
///
/// A tensor's elements depend on its size, and on what was drawn before: one [`TorchCpu::normal_fill`] stands for one
/// `torch.randn(shape, generator=...)` in f32, elements in row-major order of that shape (pictures: channels, rows,
/// columns). The uniforms are torch's to the bit; the normals are worked out in f64 and rounded once, where torch uses
/// vectors of f32, so they agree to about 1e-6.
#[derive(Clone, Debug)]
pub struct TorchCpu {
    twister: Mt19937,
    /// The second normal of a pair, kept by the scalar path for the next element, in whichever tensor it is.
    cached: Option<f64>,
}

impl TorchCpu {
    /// As `manual_seed` leaves it.
    pub fn new(seed: u64) -> Self {
        Self { twister: Mt19937::new(seed), cached: None }
    }

    /// Fills `out` as `torch.randn(out.len())` (ATen, `DistributionTemplates.h`, `normal_fill` from 16 elements on, and
    /// `normal_kernel` with `normal_distribution<double>` below).
    pub fn normal_fill(&mut self, out: &mut [f32]) {
        if out.len() < BLOCK {
            out.iter_mut().for_each(|v| *v = self.scalar() as f32);
            return;
        }
        out.iter_mut().for_each(|v| *v = self.twister.rand());
        let whole = out.len() / BLOCK * BLOCK;
        out[..whole].chunks_exact_mut(BLOCK).for_each(box_muller);
        if whole < out.len() {
            // The last 16 are drawn anew, some of them for the second time.
            let at = out.len() - BLOCK;
            out[at..].iter_mut().for_each(|v| *v = self.twister.rand());
            box_muller(&mut out[at..]);
        }
    }

    /// One normal in f64, of four words, or the second of the pair that was made last.
    fn scalar(&mut self) -> f64 {
        if let Some(second) = self.cached.take() {
            return second;
        }
        let (angle, u) = (TAU * self.twister.rand_f64(), self.twister.rand_f64());
        let radius = libm::sqrt(-2.0 * libm::log1p(-u));
        self.cached = Some(radius * libm::sin(angle));
        radius * libm::cos(angle)
    }
}

/// Eight pairs of uniforms, each eight places apart, to eight pairs of normals.
fn box_muller(block: &mut [f32]) {
    let (radii, angles) = block.split_at_mut(BLOCK / 2);
    for (a, b) in radii.iter_mut().zip(angles) {
        let radius = libm::sqrt(-2.0 * libm::log(f64::from(1.0 - *a)));
        let angle = TAU * f64::from(*b);
        (*a, *b) = ((radius * libm::cos(angle)) as f32, (radius * libm::sin(angle)) as f32);
    }
}

#[cfg(test)]
mod tests;
