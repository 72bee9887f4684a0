//! Cooperative matrices are experimental in wgpu and new in drivers: they are used where they were seen to work.

use super::{Case, ExecOptions, Gpu};
use crate::Error;
use crate::graph::{Graph, Shape};
use crate::quant::DType;
use nijimi_shaders::table::{Coop, Tile};

/// Halves have 11 bits; sums are f32.
const TOLERANCE: f32 = 2e-3;

impl Gpu {
    /// Whether a small product comes out right; tried once.
    pub(in crate::gpu) fn proven(&self, coop: Coop) -> bool {
        *self.0.proven.get_or_init(|| {
            let tile = Tile::coop(coop, 2, 2, 2, 2, 8);
            let graph = || -> Result<Graph, Error> {
                let mut g = Graph::new();
                let wrong = |e| Error::Network(crate::nn::NetworkError::Graph(e));
                let x = g.input("x", Shape::new(1, 5, 15, 96)).map_err(wrong)?;
                let y = g.linear("l", x, 70, true).map_err(wrong)?;
                g.output("y", y).map_err(wrong)?;
                Ok(g)
            };
            let options = ExecOptions { tile: Some(tile), ..Default::default() };
            let case = graph().and_then(|graph| Case::new(self, graph, DType::F16, 5));
            case.is_ok_and(|case| case.compare(&options).is_ok_and(|outcome| outcome.error <= TOLERANCE))
        })
    }
}
