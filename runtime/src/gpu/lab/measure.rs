//! Measures which tiles suit the products of a plan: not in a browser, where nothing may wait.

use super::{Case, ExecOptions, Gpu, Storage, Weights};
use crate::Error;
use crate::gpu::lower::halves;
use crate::gpu::tune::Question;
use crate::gpu::weights::Item;
use crate::graph::{Activation, Graph, Op};
use crate::plan::{Plan, Step};
use nijimi_shaders::table::{self, Machine, Product, Tile};

/// A tile that is further from the CPU than this is not taken, however fast: halves have 11 bits.
const TOLERANCE: f32 = 5e-3;

impl Gpu {
    /// Measures the products of a plan that were not measured before: each candidate of the table, on random weights of
    /// the same shape. A tenth of a second for each product, once.
    pub(in crate::gpu) fn tune(
        &self,
        plans: &[Plan],
        weights: &Weights,
        machine: Machine,
        options: &ExecOptions,
    ) -> Result<(), Error> {
        let mut measured = false;
        for step in plans.iter().flat_map(Plan::steps) {
            let Some((question, graph)) = single(step, weights, options.storage)? else { continue };
            if self.0.choices.get(&question, machine).is_some() {
                continue;
            }
            let case = Case::new(self, graph, question.dtype, 1)?;
            let mut best: Option<(f64, Tile)> = None;
            for tile in table::candidates(machine, question.product) {
                let options = ExecOptions { tile: Some(tile), ..*options };
                // One that fails or is wrong is no choice; the others are.
                let right = case.compare(&options).is_ok_and(|outcome| outcome.error <= TOLERANCE);
                let seconds = if right { Case::time(&case.executor(&options)?)? } else { f64::INFINITY };
                if seconds < best.map_or(f64::INFINITY, |(least, _)| least) {
                    best = Some((seconds, tile));
                }
            }
            if let Some((_, tile)) = best {
                self.0.choices.insert(&question, tile);
                measured = true;
            }
        }
        if measured {
            self.0.choices.store()?;
        }
        Ok(())
    }
}

/// A step that is a product whose weight lies in one part, as a graph of its own.
fn single(step: &Step, weights: &Weights, storage: Storage) -> Result<Option<(Question, Graph)>, Error> {
    let (x, weight, window, activation) = match step.op {
        Op::Conv2d { x, weight, kernel, stride, pad, pad_end, upsample: false, activation, .. } => {
            (x, weight, [kernel, stride, pad, pad_end], activation)
        }
        Op::Linear { x, weight, activation, .. } => (x, weight, [1, 1, 0, 0], activation),
        _ => return Ok(None),
    };
    let Item::Matrix { dtype, inp, taps, parts } = weights.item(weight) else { return Ok(None) };
    let [part] = &parts[..] else { return Ok(None) };
    let gated = activation == Activation::Geglu;
    let s = step.output.shape;
    let product = Product { rows: s.n * s.h * s.w, n: part.n, k: taps * inp, gated, halves: halves(*dtype) };
    let question = Question { conv: window != [1, 1, 0, 0], dtype: *dtype, storage, product };
    let mut g = Graph::new();
    let build = |g: &mut Graph| {
        let x = g.input("x", x.shape)?;
        let y = if gated {
            g.linear_geglu("y", x, s.c, true)?
        } else if question.conv {
            g.conv2d_padded("y", x, s.c, window, true)?
        } else {
            g.linear("y", x, s.c, true)?
        };
        g.output("y", y)
    };
    build(&mut g).map_err(|e| Error::Network(e.into()))?;
    Ok(Some((question, g)))
}
