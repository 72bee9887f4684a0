//! The processes of an MPI job, through the crate `mpi`.
use super::{Said, Share, World};
use crate::error::{Error, Result};
use mpi::Threading;
use mpi::collective::SystemOperation;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives};

/// Values summed at a time: bounds the buffer, and MPI counts in 32 bits.
const CHUNK: usize = 1 << 22;

/// All processes of the job. MPI ends the whole job if the connection to one of them is lost.
pub struct Mpi {
    all: SimpleCommunicator,
    /// Finalizes MPI when it is dropped, after the communicator.
    _universe: Universe,
}

impl Mpi {
    /// Initializes MPI; a process that `mpirun` did not start is a world of one.
    ///
    /// # Errors
    /// If it was initialized before.
    pub fn join() -> Result<Self> {
        // Other threads compute; the one that trains is the only one that calls MPI.
        let started = mpi::initialize_with_threading(Threading::Funneled);
        let (universe, _) = started.ok_or_else(|| Error::World("--world: MPI is initialized already".into()))?;
        Ok(Self { all: universe.world(), _universe: universe })
    }
}

impl World for Mpi {
    fn share(&self) -> Share {
        Share { rank: self.all.rank() as usize, size: self.all.size() as usize }
    }

    fn gather(&self, said: Said) -> Vec<Said> {
        let mut all = vec![0.0; said.len() * self.share().size];
        self.all.all_gather_into(&said, &mut all[..]);
        all.as_chunks().0.to_vec()
    }

    fn sum(&self, values: &mut [f32]) {
        let mut own = Vec::new();
        for chunk in values.chunks_mut(CHUNK) {
            own.clear();
            own.extend_from_slice(chunk);
            self.all.all_reduce_into(&own[..], chunk, SystemOperation::sum());
        }
    }
}

impl Drop for Mpi {
    /// Who panics does not wait for the others, who wait for it.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.all.abort(101);
        }
    }
}
