//! The residual block of Stable Diffusion's networks.

use crate::graph::{Graph, GraphError, ValueId};
use alloc::format;

/// Group normalization as a whole network has it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Norm {
    /// Ranges of channels.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f32,
}

/// diffusers' `ResnetBlock2D`, of `out` channels: norm, SiLU and 3x3 convolution, twice, beside a shortcut, which is a
/// 1x1 convolution (`conv_shortcut`) where the number of channels changes. `time`, SiLU applied, is `(n, 1, 1, c)`.
pub(super) fn resnet(
    g: &mut Graph,
    name: &str,
    x: ValueId,
    out: usize,
    norm: Norm,
    time: Option<ValueId>,
) -> Result<ValueId, GraphError> {
    let at = |part: &str| format!("{name}.{part}");
    let inp = g.shape(x).c;
    let project = |g: &mut Graph| g.conv2d(&at("conv_shortcut"), x, out, [1, 1, 0], true);
    // Whichever way fewer channels wait: a shortcut that is made first lets the norm take the input's place.
    let early = if inp > out { Some(project(g)?) } else { None };
    let mut y = g.group_norm(&at("norm1"), x, norm.groups, norm.eps)?;
    y = g.silu(&at("nonlinearity1"), y)?;
    y = g.conv2d(&at("conv1"), y, out, [3, 1, 1], true)?;
    if let Some(time) = time {
        let v = g.linear(&at("time_emb_proj"), time, out, true)?;
        y = g.add_channels(&at("time"), y, v)?;
    }
    y = g.group_norm(&at("norm2"), y, norm.groups, norm.eps)?;
    y = g.silu(&at("nonlinearity2"), y)?;
    let shortcut = match early {
        Some(early) => early,
        None if inp == out => x,
        None => project(g)?,
    };
    y = g.conv2d(&at("conv2"), y, out, [3, 1, 1], true)?;
    g.add(&at("add"), y, shortcut)
}
