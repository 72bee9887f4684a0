//! Small networks with random weights.
use dfdx::prelude::*;
use nijimi_runtime::raw::graph::Activation;
use nijimi_runtime::raw::nn::{SdAdded, SdLevel, TimeCode};
use nijimi_runtime::raw::rng::Stream;
use nijimi_trainer::nn::clip_text::ClipTextConfig;
use nijimi_trainer::nn::sd_unet::SdUnetConfig;
use nijimi_trainer::param::{self, Module};

/// Standard normal numbers.
pub fn normal(purpose: &str, n: usize) -> Vec<f32> {
    let mut stream = Stream::new(3, purpose, 0);
    (0..n).map(|_| stream.normal()).collect()
}

/// Gives every weight random values, so that branches that begin at zero take part: scales near 1, products that keep
/// their size.
pub fn random(model: &mut impl Module<Cpu>) {
    let mut state = param::state(model, "");
    for (name, v) in &mut state {
        let inputs: usize = v.shape[1..].iter().product();
        let (at, by) = match v.shape.len() {
            1 if name.ends_with("weight") => (1.0, 0.2),
            1 => (0.0, 0.2),
            _ => (0.0, (1.0 / inputs as f32).sqrt()),
        };
        v.data = normal(name, v.data.len()).iter().map(|x| at + by * x).collect();
    }
    param::load(model, "", &state).unwrap();
}

/// A text encoder.
pub fn text() -> ClipTextConfig {
    ClipTextConfig {
        vocabulary: 23,
        positions: 8,
        width: 24,
        layers: 2,
        heads: 3,
        hidden: 40,
        activation: Activation::QuickGelu,
        eps: 1e-5,
        projection: None,
    }
}

/// Token ids.
pub fn ids(config: &ClipTextConfig, n: usize) -> Vec<u32> {
    let mut stream = Stream::new(3, "ids", 0);
    (0..n).map(|_| stream.below(config.vocabulary as u64) as u32).collect()
}

fn level(channels: usize, heads: usize, layers: usize, attends: bool) -> SdLevel {
    SdLevel { channels, heads, layers, attends }
}

/// A U-Net of two levels, both of which attend.
pub fn unet() -> SdUnetConfig {
    SdUnetConfig {
        in_channels: 4,
        out_channels: 4,
        levels: vec![level(16, 2, 1, true), level(24, 3, 2, true)],
        layers_per_block: 1,
        text_width: 24,
        norm_groups: 4,
        norm_eps: 1e-5,
        linear_projection: true,
        time_code: TimeCode::default(),
        added: None,
        guidance_code: 0,
    }
}

/// U-Nets of all forms.
pub fn unets() -> [(&'static str, SdUnetConfig); 6] {
    let base = unet();
    let alone = SdUnetConfig { levels: vec![level(16, 4, 1, true)], layers_per_block: 2, ..base.clone() };
    let middle = vec![level(8, 1, 1, false), level(16, 2, 1, true), level(12, 3, 2, false)];
    let none = vec![level(8, 1, 0, false), level(16, 1, 0, false)];
    [
        ("both attend, linear projections", base.clone()),
        ("convolutional projections", SdUnetConfig { linear_projection: false, in_channels: 9, ..base.clone() }),
        ("one level, two blocks", alone),
        ("the middle of three levels attends", SdUnetConfig { levels: middle, out_channels: 8, ..base.clone() }),
        ("told the pooled state", SdUnetConfig { added: Some(SdAdded { code: 0, width: 24 }), ..base.clone() }),
        ("none attends", SdUnetConfig { levels: none, norm_groups: 2, ..base }),
    ]
}
