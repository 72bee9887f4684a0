//! What a network computes, by how fast machines are at it.

use crate::graph::{Graph, Op};
use crate::plan::Plan;
use crate::quant::DType;
use alloc::vec::Vec;

/// What one evaluation computes and moves.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Work {
    /// Multiply-accumulates of convolutions and of linear layers, by the format of the weights.
    pub matrices: Vec<(DType, [u64; 2])>,
    /// Multiply-accumulates of attention.
    pub attention: u64,
    /// Bytes of weights that are read.
    pub weights: u64,
    /// Bytes of activations that operations without multiply-accumulates read and write.
    pub moved: u64,
}

impl Work {
    /// Of a plan, `dtypes` being the formats of its graph's weights.
    pub(super) fn of(plan: &Plan, graph: &Graph, dtypes: &[DType]) -> Self {
        let mut work = Self::default();
        for step in plan.steps() {
            let (weight, linear) = match step.op {
                Op::Conv2d { weight, .. } => (weight, 0),
                Op::Linear { weight, .. } => (weight, 1),
                Op::Attention { .. } => {
                    work.attention += step.macs;
                    continue;
                }
                _ => {
                    work.moved += step.bytes();
                    continue;
                }
            };
            let (dtype, kind) = (dtypes[weight.index()], graph.weights()[weight.index()].kind);
            work.weights += crate::cpu::footprint::weight(kind, dtype);
            let mut macs = [0; 2];
            macs[linear] = step.macs;
            work.add_matrices(dtype, macs);
        }
        work
    }

    /// The same `times` more.
    pub(super) fn add(&mut self, other: &Self, times: u64) {
        other.matrices.iter().for_each(|(dtype, macs)| self.add_matrices(*dtype, macs.map(|n| n * times)));
        self.attention += other.attention * times;
        self.weights += other.weights * times;
        self.moved += other.moved * times;
    }

    fn add_matrices(&mut self, dtype: DType, macs: [u64; 2]) {
        match self.matrices.iter_mut().find(|(known, _)| *known == dtype) {
            Some((_, sums)) => sums.iter_mut().zip(macs).for_each(|(sum, macs)| *sum += macs),
            None => self.matrices.push((dtype, macs)),
        }
    }

    /// Multiply-accumulates in all.
    pub fn macs(&self) -> u64 {
        self.attention + self.matrices.iter().flat_map(|(_, macs)| macs).sum::<u64>()
    }

    /// Seconds that it takes the CPU whose rates these are.
    #[cfg(feature = "std")]
    pub fn seconds(&self, rates: &crate::cpu::rates::Rates) -> f64 {
        let matrix = |(dtype, macs): &(DType, [u64; 2])| {
            let rate = rates.of(*dtype);
            macs[0] as f64 / rate.conv + macs[1] as f64 / rate.linear
        };
        let matrices: f64 = self.matrices.iter().map(matrix).sum();
        matrices + self.attention as f64 / rates.attention + (self.weights + self.moved) as f64 / rates.bytes
    }
}
