//! Data-parallel training: every process takes its share of each batch, gradients are averaged over all, and all take
//! the same step.
//!
//! Processes speak at fixed places only. [`agree`] is where each says whether it has failed; [`World::sum`] follows an
//! agreement that all were well, with nothing between that can fail. So a failure anywhere ends all of them: the process
//! that fails goes to [`close`], which the others meet in their next agreement.
use crate::error::{Error, Result};
use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

#[cfg(feature = "mpi")]
mod mpi;

/// Which part of every batch is a process's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    /// Number of this process, from 0.
    pub rank: usize,
    /// Number of processes, at least 1.
    pub size: usize,
}

impl Share {
    /// All of it, for a single process.
    pub const WHOLE: Self = Self { rank: 0, size: 1 };

    fn own(self, len: usize) -> Range<usize> {
        self.rank * len / self.size..(self.rank + 1) * len / self.size
    }

    /// The rows of a batch of `len` that this process computes. Where there are fewer rows than processes, one without a
    /// row of its own computes the last one as well, at weight 0: no system has to care for empty shares.
    pub fn rows(self, len: usize) -> Range<usize> {
        let own = self.own(len);
        if own.is_empty() { len.saturating_sub(1)..len } else { own }
    }

    /// What a mean over [`Self::rows`] weighs in the mean over all `len` rows; over all processes these sum to 1.
    pub fn weight(self, len: usize) -> f64 {
        self.own(len).len() as f64 / len.max(1) as f64
    }
}

/// What a process tells the others: how it is, and two numbers.
pub type Said = [f64; 3];

const WORKING: f64 = 0.0;
const FAILED: f64 = 1.0;
const DONE: f64 = 2.0;

/// The processes that train one model together. Every call is collective: it returns once all have made it.
pub trait World {
    /// This process's part.
    fn share(&self) -> Share;
    /// What each process says, by rank.
    fn gather(&self, said: Said) -> Vec<Said>;
    /// Replaces each value by its sum over all processes: the same bits on all of them. All give equally many.
    fn sum(&self, values: &mut [f32]);
}

/// A single process.
pub struct Alone;

impl World for Alone {
    fn share(&self) -> Share {
        Share::WHOLE
    }
    fn gather(&self, said: Said) -> Vec<Said> {
        vec![said]
    }
    fn sum(&self, _: &mut [f32]) {}
}

/// Means over a whole batch within the network, as batch normalization takes them. A system that has such layers must not
/// fail between its forward pass and the end of its backward pass: the others would wait.
pub struct Across {
    world: Rc<dyn World>,
    weight: Cell<f64>,
}

impl Across {
    /// For a network that trains in `world`; `None` where that is one process.
    pub fn new(world: Rc<dyn World>) -> Option<Rc<Self>> {
        (world.share().size > 1).then(|| Rc::new(Self { world, weight: Cell::new(1.0) }))
    }

    /// Before each step: rows of the whole batch.
    pub fn begin(&self, rows: usize) {
        self.weight.set(self.world.share().weight(rows));
    }

    /// Replaces each value, a mean over this share, by that over the batch.
    pub fn mean(&self, values: &mut [f32]) {
        let weight = self.weight.get() as f32;
        values.iter_mut().for_each(|v| *v *= weight);
        self.world.sum(values);
    }

    /// A count over this share, to that over the batch.
    pub fn count(&self, own: usize) -> f64 {
        // A row that another process counts has weight 0.
        let counted = if self.weight.get() > 0.0 { own as f64 } else { 0.0 };
        self.world.gather([WORKING, counted, 0.0]).iter().map(|s| s[1]).sum()
    }
}

/// Joins the processes that `mpirun` has started, if `asked`.
///
/// # Errors
/// If this build is without MPI, or MPI cannot be started.
pub fn join(asked: bool) -> Result<Rc<dyn World>> {
    if !asked {
        return Ok(Rc::new(Alone));
    }
    #[cfg(feature = "mpi")]
    return Ok(Rc::new(mpi::Mpi::join()?));
    #[cfg(not(feature = "mpi"))]
    Err(Error::World(
        "--world: this build is without MPI; `cargo build --release -p nijimi-trainer --features mpi` makes one with it \
         (see docs/world.md)"
            .into(),
    ))
}

/// Tells all processes whether this one is well so far, and two numbers; gives what was to be told of here, and all
/// processes' numbers by rank.
///
/// # Errors
/// This process's own, or that another has failed.
pub fn agree<T>(world: &dyn World, so_far: Result<T>, numbers: [f64; 2]) -> Result<(T, Vec<[f64; 2]>)> {
    let state = if so_far.is_ok() { WORKING } else { FAILED };
    let said = world.gather([state, numbers[0], numbers[1]]);
    let value = so_far?;
    match said.iter().position(|s| s[0] != WORKING) {
        Some(rank) => Err(Error::Elsewhere { rank }),
        None => Ok((value, said.into_iter().map(|[_, a, b]| [a, b]).collect())),
    }
}

/// An agreement that numbers are the same on all processes; `what` they stand for.
///
/// # Errors
/// If they are not, or a process has failed.
pub fn same(world: &dyn World, what: &str, numbers: [f64; 2]) -> Result<()> {
    let ((), all) = agree(world, Ok(()), numbers)?;
    match all.iter().position(|n| *n != all[0]) {
        Some(rank) => Err(Error::World(format!("process {rank} has other {what} than process 0"))),
        None => Ok(()),
    }
}

/// The end of what the processes do together, reached with `result`, early or late: all leave at once.
///
/// # Errors
/// `result`'s own, or that another process has failed.
pub fn close<T>(world: &dyn World, result: Result<T>) -> Result<T> {
    let failed = if result.is_err() { FAILED } else { WORKING };
    let said = loop {
        // Whoever is not here yet may be at any agreement; it learns from this that it is to come.
        let said = world.gather([DONE, failed, 0.0]);
        if said.iter().all(|s| s[0] == DONE) {
            break said;
        }
    };
    let value = result?;
    match said.iter().position(|s| s[1] == FAILED) {
        Some(rank) => Err(Error::Elsewhere { rank }),
        None => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen red with shares that overlap.
    #[test]
    fn shares_are_the_batch_once() {
        for (len, size) in [(8, 2), (7, 2), (1, 2), (5, 3), (2, 5), (128, 7)] {
            let shares = || (0..size).map(|rank| Share { rank, size });
            let all: Vec<usize> = shares().filter(|s| s.weight(len) > 0.0).flat_map(|s| s.rows(len)).collect();
            assert_eq!(all, (0..len).collect::<Vec<_>>(), "{len} rows, {size} processes");
            assert!((shares().map(|s| s.weight(len)).sum::<f64>() - 1.0).abs() < 1e-12);
            assert!(shares().all(|s| !s.rows(len).is_empty()), "no share is empty");
        }
    }

    /// Without the feature the option says what to do.
    #[cfg(not(feature = "mpi"))]
    #[test]
    fn a_build_without_mpi_says_how_to_make_one() {
        let e = join(true).err().expect("no MPI").to_string();
        assert!(e.contains("--features mpi") && e.contains("docs/world.md"), "{e}");
        assert_eq!(join(false).expect("alone").share(), Share::WHOLE);
    }
}
