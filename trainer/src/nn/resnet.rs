//! The residual block of Stable Diffusion's networks: the twin of the runtime's `nn/resnet.rs`, under the same names.
use super::layers::{Conv2d, GroupNorm, Linear, Norm};
use crate::ops::{Activation, Kit, Precision};
use crate::param::{Module, Visitor};
use crate::tensor::{T2, T4, Tp};
use dfdx::prelude::*;

/// diffusers' `ResnetBlock2D`: norm, SiLU and 3x3 convolution, twice, beside a shortcut, which is a 1x1 convolution where the
/// number of channels changes.
#[derive(Clone)]
pub struct ResnetBlock<D: Kit> {
    norm1: GroupNorm<D>,
    conv1: Conv2d<D>,
    time_emb_proj: Option<Linear<D>>,
    norm2: GroupNorm<D>,
    conv2: Conv2d<D>,
    conv_shortcut: Option<Conv2d<D>>,
}

impl<D: Kit> ResnetBlock<D> {
    /// A block with random weights, which begins as its shortcut; `time_width` is the length of the time vector, if there is
    /// one.
    pub fn new(
        device: &D,
        seed: u64,
        name: &str,
        [input, output]: [usize; 2],
        norm: Norm,
        time_width: Option<usize>,
        precision: Precision,
    ) -> Self {
        let conv = |part: &str, from, to, k| {
            Conv2d::new(device, seed, &format!("{name}.{part}"), from, to, k).with_precision(precision)
        };
        let time = |width| Linear::new(device, seed, &format!("{name}.time_emb_proj"), width, output);
        Self {
            norm1: GroupNorm::new(device, input, norm),
            conv1: conv("conv1", input, output, 3),
            time_emb_proj: time_width.map(time),
            norm2: GroupNorm::new(device, output, norm),
            conv2: conv("conv2", output, output, 3).zeroed(),
            conv_shortcut: (input != output).then(|| conv("conv_shortcut", input, output, 1)),
        }
    }

    /// `(n, in, h, w)` to `(n, out, h, w)`; `time` (n, time_width), SiLU applied, whose tape is part of `x`'s.
    pub fn forward<T: Tp<D>>(&self, x: T4<D, T>, time: Option<&T2<D>>) -> T4<D, T> {
        let (x, tape) = x.split_tape();
        let shortcut: T4<D, T> = match &self.conv_shortcut {
            Some(conv) => conv.forward(x.retaped()),
            None => x.retaped(),
        };
        let mut y = self.conv1.forward(self.norm1.forward(x.put_tape(tape), Activation::Silu));
        if let (Some(project), Some(time)) = (&self.time_emb_proj, time) {
            y = D::add_channels(y, project.forward(time.retaped()));
        }
        let y = self.conv2.forward(self.norm2.forward(y, Activation::Silu));
        D::add(y, shortcut)
    }
}

impl<D: Kit> Module<D> for ResnetBlock<D> {
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<D>) {
        self.norm1.visit(&format!("{prefix}.norm1"), v);
        self.conv1.visit(&format!("{prefix}.conv1"), v);
        if let Some(project) = &mut self.time_emb_proj {
            project.visit(&format!("{prefix}.time_emb_proj"), v);
        }
        self.norm2.visit(&format!("{prefix}.norm2"), v);
        self.conv2.visit(&format!("{prefix}.conv2"), v);
        if let Some(shortcut) = &mut self.conv_shortcut {
            shortcut.visit(&format!("{prefix}.conv_shortcut"), v);
        }
    }
}
