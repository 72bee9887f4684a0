//! Models that are led by depth (Stable Diffusion 2's): a fifth channel beside the latents says how near everything is.

use super::info::LatentInfo;
use crate::Error;
use crate::model::RequestError;
use crate::model::options::in_range;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

/// A picture of depth, larger where it is nearer, in any unit: it is scaled to its own range.
#[derive(Clone, Copy, Debug)]
pub struct DepthMap<'a> {
    /// `(height, width)`.
    pub values: &'a [f32],
    /// Height and width. A shape that is not the picture's is stretched to it.
    pub size: [usize; 2],
}

/// Of Keys' cubic convolution (1981), as PyTorch has it.
const A: f32 = -0.75;

impl LatentInfo {
    /// Whether it is a model that is led by depth, which it sees beside the latents.
    pub fn sees_depth(&self) -> bool {
        self.reads(self.depth_channels())
    }

    /// What the U-Net of such a model reads: latents, and the depth.
    pub(super) fn depth_channels(&self) -> usize {
        self.autoencoder.latent_channels() + 1
    }
}

impl DepthMap<'_> {
    /// Of the latents' size, in [-1, 1], as diffusers' `prepare_depth_map` has it.
    pub(super) fn fitted(&self, to: [usize; 2]) -> Result<Vec<f32>, Error> {
        let Self { values, size: from @ [height, width] } = *self;
        for (what, side) in [("height of the depth picture", height), ("width of the depth picture", width)] {
            in_range(what, side, 1, 1 << 17)?;
        }
        in_range("values of the depth picture", values.len(), height * width, height * width)?;
        let mut fitted = cubic(values, from, to);
        let (least, most) = fitted.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
        let found = || format!("{least} to {most}");
        if !(most - least > 0.0 && fitted.iter().all(|v| v.is_finite())) {
            let expected = "numbers, of which some are nearer than others".to_string();
            return Err(RequestError::Range { what: "the depth picture", found: found(), expected }.into());
        }
        fitted.iter_mut().for_each(|v| *v = 2.0 * (*v - least) / (most - least) - 1.0);
        Ok(fitted)
    }
}

/// The four values that each of a line of `to` is made of, of a line of `from`, and their weights.
fn taps(from: usize, to: usize) -> Vec<([usize; 4], [f32; 4])> {
    let scale = from as f32 / to as f32;
    let tap = |i: usize| {
        let at = scale * (i as f32 + 0.5) - 0.5;
        let first = libm::floorf(at);
        let t = at - first;
        let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
        let far = |x: f32| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
        let place = |j: i64| (first as i64 - 1 + j).clamp(0, from as i64 - 1) as usize;
        ([0, 1, 2, 3].map(place), [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)])
    };
    (0..to).map(tap).collect()
}

/// Bicubic, of the pixels' centres, without a wider filter where it gets smaller: PyTorch's `interpolate`.
fn cubic(values: &[f32], [height, width]: [usize; 2], to: [usize; 2]) -> Vec<f32> {
    let (down, across) = (taps(height, to[0]), taps(width, to[1]));
    let mut out = Vec::with_capacity(to[0] * to[1]);
    for (rows, of_rows) in &down {
        for (columns, of_columns) in &across {
            let line = |row: usize| -> f32 {
                columns.iter().zip(of_columns).map(|(column, weight)| values[row * width + column] * weight).sum()
            };
            out.push(rows.iter().zip(of_rows).map(|(row, weight)| line(*row) * weight).sum());
        }
    }
    out
}
