//! How much memory a run takes, known before it begins.
use super::network::{Layer, Networks};
use crate::error::{Error, Result};
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::LatentInfo;
use nijimi_runtime::raw::cpu::footprint;
use nijimi_runtime::raw::graph::Weight;

/// The most bytes of pictures of these sizes, where a batch has so many.
///
/// # Errors
/// A size that the network cannot have.
pub fn bytes(
    file: &File<'_>,
    info: &LatentInfo,
    (layers, rank): (&[Layer], usize),
    (batch, sizes, tokens): (usize, &[[usize; 2]], usize),
    texts: bool,
) -> Result<u64> {
    let held = |weights: &[Weight]| -> u64 {
        let of = |w: &Weight| file.tensor(&w.name).map_or(0, |t| footprint::weight(w.kind, t.dtype));
        weights.iter().map(of).sum()
    };
    let mut weights = 0;
    for graph in Networks::graphs(info, texts)? {
        weights += held(graph.weights());
    }
    let mut step = 0;
    for size in sizes {
        step = step.max(Networks::step_bytes(info, batch, *size, tokens)? as u64);
    }
    // Values, two moments, gradients of a step, and their sum.
    let factors: usize = layers.iter().map(|layer| rank * (layer.sides[0] + layer.sides[1])).sum();
    Ok(weights + step + 5 * (size_of::<f32>() * factors) as u64)
}

/// That a run keeps to a limit.
///
/// # Errors
/// If it does not, with what takes less.
pub fn within(needed: u64, limit: Option<u64>) -> Result<()> {
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    match limit.filter(|limit| *limit < needed) {
        None => Ok(()),
        Some(limit) => Err(Error::Usage(format!(
            "the training takes up to {:.2} GiB of memory, and --memory-limit allows {:.2}: give a smaller --batch (with \
             --accumulate for as large a step) or --size, or a model of smaller weights (`nijimi convert --type q8_0`)",
            gib(needed),
            gib(limit)
        ))),
    }
}
