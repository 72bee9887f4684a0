//! What is trained beside a frozen layer: `scale * up (down x)` is added to what it makes of `x` (Hu et al. 2021, "LoRA: Low-Rank
//! Adaptation of Large Language Models").
use crate::ops::cpu::parallel::prelude::*;
use crate::ops::cpu::parts;
use crate::ops::cpu::storage::{Operand, as_uninit, gemm, gemm_scaled};

/// Rows in one piece of work.
const ROWS: usize = 128;

/// The two factors of a layer of `inp` inputs and `out` outputs.
#[derive(Clone, Copy)]
pub struct Adapter<'a> {
    /// `[rank][inp]`.
    pub down: &'a [f32],
    /// `[out][rank]`.
    pub up: &'a [f32],
    /// Columns of `up`.
    pub rank: usize,
    /// alpha / rank.
    pub scale: f32,
    /// Its number among all.
    pub index: usize,
}

/// The gradients of an adapter's factors.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Factors {
    /// Of `down`.
    pub down: Vec<f32>,
    /// Of `up`.
    pub up: Vec<f32>,
}

impl Factors {
    /// Adds `factor` times another's.
    pub fn add(&mut self, other: &Self, factor: f32) {
        for (sum, part) in [(&mut self.down, &other.down), (&mut self.up, &other.up)] {
            sum.resize(part.len(), 0.0);
            sum.iter_mut().zip(part).for_each(|(sum, v)| *sum += factor * v);
        }
    }
}

impl Adapter<'_> {
    fn sizes(&self) -> [usize; 3] {
        [self.down.len() / self.rank, self.up.len() / self.rank, self.rank]
    }

    /// `scale * down x` of some rows.
    fn hidden(&self, x: &[f32]) -> Vec<f32> {
        let [inp, _, rank] = self.sizes();
        let rows = x.len() / inp;
        let mut h = vec![0f32; rows * rank];
        gemm_scaled(rows, rank, inp, Operand(x, inp, 1), Operand(self.down, 1, inp), &mut h, self.scale);
        h
    }

    /// Adds to `y` what it makes of `x`.
    pub fn add(&self, x: &[f32], y: &mut [f32]) {
        let [inp, out, rank] = self.sizes();
        y.par_chunks_mut(ROWS * out).zip(x.par_chunks(ROWS * inp)).for_each(|(y, x)| {
            let h = self.hidden(x);
            gemm(y.len() / out, out, rank, Operand(&h, rank, 1), Operand(self.up, 1, rank), as_uninit(y), true);
        });
    }

    /// The factors' gradients, and, added to `gx`, that of `x`, where `go` is that of the output.
    pub fn backward(&self, x: &[f32], go: &[f32], gx: Option<&mut [f32]>) -> Factors {
        let [inp, out, rank] = self.sizes();
        let rows = x.len() / inp;
        // `scale * go up`
        let hidden = |go: &[f32]| {
            let mut gh = vec![0f32; go.len() / out * rank];
            gemm_scaled(go.len() / out, rank, out, Operand(go, out, 1), Operand(self.up, rank, 1), &mut gh, self.scale);
            gh
        };
        let ranges = parts(rows);
        let sums: Vec<Factors> = (0..ranges.len())
            .into_par_iter()
            .map(|i| {
                let r = ranges[i].clone();
                let (x, go) = (&x[r.start * inp..r.end * inp], &go[r.start * out..r.end * out]);
                let (h, gh) = (self.hidden(x), hidden(go));
                let mut sum = Factors { down: vec![0f32; rank * inp], up: vec![0f32; out * rank] };
                let (of_x, of_go) = (Operand(x, inp, 1), Operand(&h, rank, 1));
                gemm(rank, inp, r.len(), Operand(&gh, 1, rank), of_x, as_uninit(&mut sum.down), false);
                gemm(out, rank, r.len(), Operand(go, 1, out), of_go, as_uninit(&mut sum.up), false);
                sum
            })
            .collect();
        if let Some(gx) = gx {
            gx.par_chunks_mut(ROWS * inp).zip(go.par_chunks(ROWS * out)).for_each(|(gx, go)| {
                let gh = hidden(go);
                let (gh, down) = (Operand(&gh, rank, 1), Operand(self.down, inp, 1));
                gemm(gx.len() / inp, inp, rank, gh, down, as_uninit(gx), true);
            });
        }
        let mut total = Factors::default();
        sums.iter().for_each(|sum| total.add(sum, 1.0));
        total
    }
}
