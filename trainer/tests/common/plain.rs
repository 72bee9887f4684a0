//! A system without batch statistics: two convolutions that learn to take noise off made-up pictures.
use dfdx::prelude::{Cpu, Gradients, TensorFromVec as _, Trace as _};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::rng::Stream;
use nijimi_trainer::data::loader::Loader;
use nijimi_trainer::error::{Error, Result};
use nijimi_trainer::fit::{At, Record, StepResult, Task};
use nijimi_trainer::nn::layers::Conv2d;
use nijimi_trainer::ops::Kit as _;
use nijimi_trainer::param::{self, Module, Visitor};
use nijimi_trainer::tensor::T4;
use std::path::Path;

/// The network.
#[derive(Clone)]
pub struct Net(Conv2d<Cpu>, Conv2d<Cpu>);

impl Module<Cpu> for Net {
    fn visit(&mut self, prefix: &str, v: &mut impl Visitor<Cpu>) {
        self.0.visit(&format!("{prefix}first"), v);
        self.1.visit(&format!("{prefix}second"), v);
    }
}

const SIZE: usize = 6;

/// The system.
pub struct Plain {
    net: Net,
    loader: Loader,
    /// Fails at this step.
    pub fails_at: Option<u64>,
}

impl Plain {
    /// On `rows` made-up pictures, in batches of `batch`.
    pub fn new(rows: usize, batch: usize) -> Self {
        let device = Cpu::default();
        let conv = |name, from, to| Conv2d::new(&device, 5, name, from, to, 3);
        let net = Net(conv("first", 1, 6), conv("second", 6, 1));
        Self { net, loader: Loader::new(rows, batch, 5), fails_at: None }
    }
}

impl Task<Cpu> for Plain {
    type Model = Net;
    fn model(&mut self) -> &mut Net {
        &mut self.net
    }
    fn steps_per_epoch(&self) -> u64 {
        self.loader.batches()
    }
    fn batch(&self, at: At) -> Option<usize> {
        Some(self.loader.rows_in(at.index))
    }
    fn step(&mut self, at: At, gradients: Gradients<f32, Cpu>) -> Result<StepResult<Cpu>> {
        if self.fails_at == Some(at.step) {
            return Err(Error::Usage("made to fail".into()));
        }
        let picked = self.loader.rows(at.epoch, at.index);
        let (mut x, mut y) = (Vec::new(), Vec::new());
        let own = at.share.rows(picked.len());
        for i in own.clone() {
            let mut picture = Stream::new(5, "picture", u64::from(picked[i]));
            let mut noise = Stream::new(5, "noise", at.step * 64 + i as u64);
            let clean: Vec<f32> = (0..SIZE * SIZE).map(|_| picture.uniform()).collect();
            x.extend(clean.iter().map(|c| c + 0.3 * noise.normal()));
            y.extend(clean);
        }
        let device = Cpu::default();
        let tensor = |v: Vec<f32>| -> T4<Cpu> { device.tensor_from_vec(v, (own.len(), 1, SIZE, SIZE)) };
        let hidden = Cpu::silu(self.net.0.forward(tensor(x).traced(gradients)));
        let (loss, value) = Cpu::mse(self.net.1.forward(hidden), &tensor(y));
        Ok(StepResult { loss: value, gradients: dfdx::prelude::Backward::backward(loss), skip: None })
    }
    /// All tensors' values, one after the other.
    fn export(&self, model: &mut Net, _: &Record, _: DType) -> Result<Vec<u8>> {
        let values = param::state(model, "");
        Ok(values.values().flat_map(|v| &v.data).flat_map(|v| v.to_le_bytes()).collect())
    }
    fn preview(&self, _: &[u8], _: &Path) -> Result<()> {
        Ok(())
    }
}

/// The values of an exported file.
pub fn values(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("the file");
    bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// The largest difference, relative to the largest value.
pub fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = a.iter().fold(0f32, |m, v| m.max(v.abs()));
    a.iter().zip(b).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / largest
}
