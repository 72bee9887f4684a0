//! Cooperative matrices are experimental in wgpu and new in drivers: they are used where they were seen to work.

use super::check::Case;
use super::exec::ExecOptions;
use super::{Gpu, GpuError};
use crate::Error;
use crate::graph::{Graph, Shape};
use crate::quant::DType;
use nijimi_shaders::table::{Class, Coop, Machine, Tile};

/// Halves have 11 bits; sums are f32.
const TOLERANCE: f32 = 2e-3;

impl Gpu {
    /// What the table is asked for.
    pub(super) fn machine(&self, options: &ExecOptions) -> Result<Machine, GpuError> {
        let class = options.class.unwrap_or(self.0.class);
        // Whoever names a tile knows what is being tried; a CPU has no use for them.
        let wanted = !options.no_cooperative && options.tile.is_none() && class == Class::Gpu;
        let coop = self.0.coop.filter(|_| wanted).filter(|coop| self.proven(*coop));
        Ok(Machine { class, coop, spills: self.0.spills })
    }

    /// The cooperative matrices that the adapter says it has.
    pub fn cooperative(&self) -> Option<Coop> {
        self.0.coop
    }

    /// Whether a small product comes out right; tried once.
    fn proven(&self, coop: Coop) -> bool {
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
