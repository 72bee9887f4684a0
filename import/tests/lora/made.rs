//! LoRA files made for a test, and what they add, from the definition.

use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A file that is removed with this value.
pub struct Temporary(pub PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A tensor of PyTorch's layout.
#[derive(Clone)]
pub struct Stored {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// A LoRA.
pub struct Made {
    pub path: Temporary,
    pub tensors: Vec<Stored>,
}

/// Numbers in -1..1 that depend on the name.
pub fn numbers(name: &str, n: usize) -> Vec<f32> {
    let mut state =
        name.bytes().fold(1_469_598_103_934_665_603u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100000001b3));
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..n).map(next).collect()
}

pub fn stored(name: &str, shape: &[usize]) -> Stored {
    Stored { name: name.into(), shape: shape.into(), values: numbers(name, shape.iter().product()) }
}

impl Made {
    /// Where a file may be.
    pub fn path() -> Temporary {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        Temporary(std::env::temp_dir().join(format!("nijimi-lora-{}-{n}.safetensors", std::process::id())))
    }

    /// A file of these tensors, in f32, with entries of `__metadata__`.
    pub fn new(tensors: Vec<Stored>, said: &[(&str, &str)]) -> Self {
        let (mut header, mut data) = (Map::new(), Vec::new());
        for Stored { name, shape, values } in &tensors {
            let start = data.len();
            data.extend(values.iter().flat_map(|v| v.to_le_bytes()));
            header.insert(name.clone(), json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]}));
        }
        if !said.is_empty() {
            let said = said.iter().map(|(key, value)| (key.to_string(), json!(value))).collect();
            header.insert("__metadata__".into(), Value::Object(said));
        }
        Self { path: Self::raw(&Value::Object(header).to_string(), &data), tensors }
    }

    /// A file of this header.
    pub fn raw(header: &str, data: &[u8]) -> Temporary {
        let path = Self::path();
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat();
        std::fs::write(&path.0, bytes).unwrap();
        path
    }

    /// One pair, for a layer of this shape in our layout.
    pub fn pair(module: &str, [down, up]: [&str; 2], layer: &[usize], rank: usize) -> Self {
        Self::new(factors(module, [down, up], layer, rank), &[])
    }

    pub fn values(&self, end: &str) -> &[f32] {
        &self.tensors.iter().find(|tensor| tensor.name.ends_with(end)).unwrap().values
    }
}

/// The two tensors of [`Made::pair`].
pub fn factors(module: &str, [down, up]: [&str; 2], layer: &[usize], rank: usize) -> Vec<Stored> {
    let [down, up] = [[module, down].concat(), [module, up].concat()];
    match *layer {
        [out, kh, kw, inp] => vec![stored(&down, &[rank, inp, kh, kw]), stored(&up, &[out, rank, 1, 1])],
        [out, inp] => vec![stored(&down, &[rank, inp]), stored(&up, &[out, rank])],
        _ => panic!("{layer:?} is no layer"),
    }
}

/// `up * down`, for a layer of this shape in our layout.
pub fn product(up: &[f32], down: &[f32], layer: &[usize], rank: usize) -> Vec<f64> {
    let (out, inp) = (layer[0], layer[layer.len() - 1]);
    let taps = layer[1..].iter().product::<usize>() / inp;
    let mut product = Vec::new();
    for o in 0..out {
        for tap in 0..taps {
            for i in 0..inp {
                let at = |r: usize| f64::from(up[o * rank + r]) * f64::from(down[(r * inp + i) * taps + tap]);
                product.push((0..rank).map(at).sum());
            }
        }
    }
    product
}
