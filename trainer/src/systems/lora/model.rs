//! The trained factors as a module: what optimizer, checkpoint and export visit.
use super::network::{Layer, Pair};
use crate::finetune::adapter::Factors;
use crate::ops::Kit;
use crate::ops::cpu::storage::data;
use crate::param::{Kind, Module, Visitor};
use crate::tensor::T2;
use dfdx::prelude::*;
use nijimi_runtime::raw::rng::Stream;

/// Factors, by the layers' order.
#[derive(Clone)]
pub struct Lora<D: Kit> {
    names: Vec<String>,
    pairs: Vec<[T2<D>; 2]>,
}

impl<D: Kit> Lora<D> {
    /// Factors that change nothing yet: `down` is uniform in ±1/√inputs, `up` is 0.
    pub fn new(device: &D, layers: &[Layer], rank: usize, seed: u64) -> Self {
        let pair = |(i, layer): (usize, &Layer)| {
            let ([inp, out], mut draw) = (layer.sides, Stream::new(seed, "lora", i as u64));
            let bound = 1.0 / (inp as f32).sqrt();
            let down = (0..rank * inp).map(|_| (2.0 * draw.uniform() - 1.0) * bound).collect::<Vec<f32>>();
            [device.tensor_from_vec(down, (rank, inp)), device.tensor_from_vec(vec![0f32; out * rank], (out, rank))]
        };
        let pairs = layers.iter().enumerate().map(pair).collect();
        Self { names: layers.iter().map(|layer| layer.name.clone()).collect(), pairs }
    }

    /// Writes gradients.
    ///
    /// # Panics
    /// If they are not these factors'.
    pub fn give(&self, all: &[Factors], gradients: &mut Gradients<f32, D>) {
        for (pair, own) in self.pairs.iter().zip(all) {
            for (t, values) in pair.iter().zip([&own.down, &own.up]) {
                let g = gradients.get_or_alloc_mut(t).expect("allocation of a gradient");
                t.device().upload(g, values);
            }
        }
    }
}

impl Lora<Cpu> {
    /// The factors' values.
    pub fn values(&self) -> Vec<Pair<'_>> {
        self.pairs.iter().map(|[down, up]| [data(down), data(up)]).collect()
    }
}

impl<D: Kit> Module<D> for Lora<D> {
    fn visit(&mut self, prefix: &str, visitor: &mut impl Visitor<D>) {
        for (name, pair) in self.names.iter().zip(&mut self.pairs) {
            for (t, factor) in pair.iter_mut().zip(["lora_A", "lora_B"]) {
                visitor.visit(&format!("{prefix}{name}.{factor}"), t, Kind::Weight);
            }
        }
    }
}
