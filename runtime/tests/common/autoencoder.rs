//! Autoencoders with random weights, written as files, and what they compute, in f64.
#![allow(dead_code, reason = "not every test file uses everything")]

use nijimi_runtime::gguf::{MetaValue, Writer};
use nijimi_runtime::quant::{self, DType};
use nijimi_runtime::raw::graph::{Graph, WeightKind};
use nijimi_runtime::raw::rng::normal_fill;
use std::collections::HashMap;

pub const HEIGHT: usize = 6;
pub const WIDTH: usize = 8;
pub const HIDDEN: usize = 32;
pub const LATENT: usize = 5;
pub const PICTURE: usize = HEIGHT * WIDTH;

pub fn meta(system: &str) -> Vec<(&'static str, MetaValue)> {
    let number = |n: usize| MetaValue::U32(n as u32);
    vec![
        ("general.architecture", "nijimi".into()),
        ("general.name", "tiny".into()),
        ("nijimi.format_version", 1u32.into()),
        ("nijimi.system", system.into()),
        ("nijimi.network", format!("mlp-{system}").as_str().into()),
        ("nijimi.vae.hidden", number(HIDDEN)),
        ("nijimi.vae.latent", number(LATENT)),
        ("nijimi.image.height", number(HEIGHT)),
        ("nijimi.image.width", number(WIDTH)),
        ("nijimi.image.channels", number(1)),
        ("nijimi.image.range", MetaValue::F32s(vec![0.0, 1.0])),
    ]
}

/// A file's bytes, and its tensors as they are decoded.
pub struct Made {
    pub bytes: Vec<u8>,
    pub tensors: HashMap<String, Vec<f32>>,
}

/// `dtype` where a row allows it, else f16; biases f32.
pub fn write(meta: Vec<(&'static str, MetaValue)>, graphs: &[Graph], dtype: DType) -> Made {
    write_edited(meta, graphs, dtype, |_, _| {})
}

/// `edit` changes the values of a tensor, by its name.
pub fn write_edited(
    meta: Vec<(&'static str, MetaValue)>,
    graphs: &[Graph],
    dtype: DType,
    edit: impl Fn(&str, &mut Vec<f32>),
) -> Made {
    let mut writer = Writer::new();
    for (key, value) in meta {
        writer.meta(key, value).unwrap();
    }
    let mut tensors = HashMap::new();
    for (i, weight) in graphs.iter().flat_map(|graph| graph.weights()).enumerate() {
        let (fan_in, dtype) = match weight.kind {
            WeightKind::Conv { kernel, inp, .. } => (kernel * kernel * inp, fitting(dtype, inp)),
            WeightKind::Linear { inp, .. } => (inp, fitting(dtype, inp)),
            _ => (16, DType::F32),
        };
        let mut values = vec![0.0; weight.kind.elements()];
        normal_fill(77, i as u32, &mut values);
        values.iter_mut().for_each(|v| *v *= (2.0 / fan_in as f32).sqrt());
        edit(&weight.name, &mut values);
        writer.tensor(&weight.name, &weight.kind.row_major(), dtype, &values).unwrap();
        let mut data = Vec::new();
        quant::encode(dtype, &values, &mut data).unwrap();
        quant::decode(dtype, &data, &mut values).unwrap();
        tensors.insert(weight.name.clone(), values);
    }
    Made { bytes: writer.finish(), tensors }
}

pub fn fitting(dtype: DType, inp: usize) -> DType {
    dtype.of_rows(inp)
}

impl Made {
    /// `w x + b`.
    pub fn linear(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let (w, b) = (&self.tensors[&format!("{name}.weight")], &self.tensors[&format!("{name}.bias")]);
        let rows = w.chunks_exact(x.len()).zip(b);
        rows.map(|(w, b)| w.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum::<f64>() + f64::from(*b)).collect()
    }

    pub fn encode(&self, name: &str, x: &[f64]) -> [Vec<f64>; 2] {
        let h: Vec<f64> = self.linear(&format!("{name}.linear"), x).into_iter().map(|v| v.max(0.0)).collect();
        ["linear_mu", "linear_logvar"].map(|part| self.linear(&format!("{name}.{part}"), &h))
    }

    pub fn decode(&self, name: &str, z: &[f64], sigmoid: bool) -> Vec<f64> {
        let h: Vec<f64> = self.linear(&format!("{name}.linear1"), z).into_iter().map(|v| v.max(0.0)).collect();
        let y = self.linear(&format!("{name}.linear2"), &h);
        y.into_iter().map(|v| if sigmoid { 1.0 / (1.0 + (-v).exp()) } else { v }).collect()
    }
}

pub fn normals(seed: u64, draw: u32, n: usize) -> Vec<f64> {
    let mut values = vec![0.0; n];
    normal_fill(seed, draw, &mut values);
    values.into_iter().map(f64::from).collect()
}
