//! A tiny model with random weights, written as a file.
#![allow(dead_code, reason = "not every test file uses everything")]

use nijimi_runtime::gguf::{MetaValue, Writer};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::graph::WeightKind;
use nijimi_runtime::raw::nn::BookUnet;
use nijimi_runtime::raw::rng::normal_fill;

pub struct Tiny {
    pub network: BookUnet,
    /// Metadata; a later entry of the same key replaces an earlier one.
    pub meta: Vec<(&'static str, Option<MetaValue>)>,
    /// Changes a tensor (name, row-major shape, values) before it is written; `false` leaves it out.
    #[allow(clippy::type_complexity)]
    pub edit: Box<dyn Fn(&str, &mut Vec<usize>, &mut Vec<f32>) -> bool>,
    /// A further tensor.
    pub extra: Option<&'static str>,
}

impl Tiny {
    pub fn new(label_count: usize) -> Self {
        let network =
            BookUnet { in_channels: 1, channels: vec![8, 16, 32], time_dim: 20, label_count, height: 8, width: 8 };
        Self { network, meta: Vec::new(), edit: Box::new(|_, _, _| true), extra: None }
    }

    pub fn meta(mut self, key: &'static str, value: impl Into<MetaValue>) -> Self {
        self.meta.push((key, Some(value.into())));
        self
    }

    pub fn without(mut self, key: &'static str) -> Self {
        self.meta.push((key, None));
        self
    }

    pub fn edit(mut self, edit: impl Fn(&str, &mut Vec<usize>, &mut Vec<f32>) -> bool + 'static) -> Self {
        self.edit = Box::new(edit);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let n = &self.network;
        let number = |x: usize| MetaValue::U32(x as u32);
        let labels = (0..n.label_count).map(|i| format!("{i}")).collect::<Vec<_>>();
        let mut meta: Vec<(&str, MetaValue)> = vec![
            ("general.architecture", "nijimi".into()),
            ("general.name", "tiny".into()),
            ("nijimi.format_version", 1u32.into()),
            ("nijimi.system", "ddpm".into()),
            ("nijimi.network", "book-unet".into()),
            ("nijimi.unet.in_channels", number(n.in_channels)),
            ("nijimi.unet.channels", MetaValue::U32s(n.channels.iter().map(|&c| c as u32).collect())),
            ("nijimi.unet.time_dim", number(n.time_dim)),
            ("nijimi.unet.label_count", number(n.label_count)),
            ("nijimi.image.width", number(n.width)),
            ("nijimi.image.height", number(n.height)),
            ("nijimi.image.channels", number(n.in_channels)),
            ("nijimi.image.range", MetaValue::F32s(vec![0.0, 1.0])),
            ("nijimi.labels", MetaValue::Strs(labels)),
            ("nijimi.schedule.kind", "linear".into()),
            ("nijimi.schedule.steps", 1000u32.into()),
            ("nijimi.schedule.beta_start", 1e-4f64.into()),
            ("nijimi.schedule.beta_end", 0.02f64.into()),
            ("nijimi.prediction_type", "epsilon".into()),
            ("nijimi.first_timestep", 1u32.into()),
            ("nijimi.sampler.method", "ddim".into()),
            ("nijimi.sampler.steps", 10u32.into()),
            ("nijimi.sampler.guidance_scale", 3.0f32.into()),
        ];
        for (key, value) in &self.meta {
            meta.retain(|(k, _)| k != key);
            meta.extend(value.clone().map(|value| (*key, value)));
        }
        let mut writer = Writer::new();
        for (key, value) in meta {
            writer.meta(key, value).unwrap();
        }
        for (i, weight) in n.graph(1).unwrap().weights().iter().enumerate() {
            let fan_in = match weight.kind {
                WeightKind::Conv { kernel, inp, .. } => kernel * kernel * inp,
                WeightKind::Linear { inp, .. } => inp,
                _ => 16,
            };
            let mut values = vec![0.0; weight.kind.elements()];
            normal_fill(77, i as u32, &mut values);
            values.iter_mut().for_each(|v| *v *= (1.5 / fan_in as f32).sqrt());
            let mut shape = weight.kind.row_major();
            if (self.edit)(&weight.name, &mut shape, &mut values) {
                writer.tensor(&weight.name, &shape, DType::F32, &values).unwrap();
            }
        }
        if let Some(name) = self.extra {
            writer.tensor(name, &[2, 3], DType::F32, &[0.0; 6]).unwrap();
        }
        writer.finish()
    }
}
