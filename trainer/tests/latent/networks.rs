//! Small networks with random weights.
use dfdx::prelude::*;
use nijimi_runtime::raw::graph::Activation;
use nijimi_runtime::raw::nn::{SdAdded, SdLevel, SdMiddle, TimeCode};
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

/// A U-Net of two levels, both of which attend.
pub fn unet() -> SdUnetConfig {
    SdUnetConfig {
        in_channels: 4,
        out_channels: 4,
        levels: vec![SdLevel::new(16, 2, 1, 1), SdLevel::new(24, 3, 1, 2)],
        middle: SdMiddle::Transformer(2),
        text_width: 24,
        norm_groups: 4,
        norm_eps: 1e-5,
        linear_projection: true,
        pads_below: false,
        time_code: TimeCode::default(),
        added: None,
        guidance_code: 0,
    }
}

/// U-Nets of all forms.
pub fn unets() -> [(&'static str, SdUnetConfig); 8] {
    let base = unet();
    let (one, two) = (SdMiddle::Transformer(1), SdMiddle::Transformer(2));
    let alone = SdUnetConfig { levels: vec![SdLevel::new(16, 4, 2, 1)], middle: one, ..base.clone() };
    let middle = vec![SdLevel::new(8, 1, 1, 0), SdLevel::new(16, 2, 1, 1), SdLevel::new(12, 3, 1, 0)];
    let none = vec![SdLevel::new(8, 1, 1, 0), SdLevel::new(16, 1, 1, 0)];
    let deep = SdLevel { down: vec![2, 0], up: vec![0, 1, 2], ..SdLevel::new(8, 2, 2, 0) };
    let uneven = SdUnetConfig { levels: vec![deep], middle: SdMiddle::Resnet, ..base.clone() };
    [
        ("both attend, linear projections", base.clone()),
        ("convolutional projections", SdUnetConfig { linear_projection: false, in_channels: 9, ..base.clone() }),
        ("one level, two blocks", alone),
        (
            "the middle of three levels attends",
            SdUnetConfig { levels: middle, middle: two, out_channels: 8, ..base.clone() },
        ),
        ("told the pooled state", SdUnetConfig { added: Some(SdAdded { code: 0, width: 24 }), ..base.clone() }),
        ("depths that differ, a middle of one block", uneven),
        ("no middle", SdUnetConfig { middle: SdMiddle::None, ..base.clone() }),
        ("none attends", SdUnetConfig { levels: none, middle: SdMiddle::Transformer(0), norm_groups: 2, ..base }),
    ]
}
