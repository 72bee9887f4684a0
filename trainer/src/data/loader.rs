//! Mini-batches: a shuffled pass over the data an epoch (book step 6.5).
use nijimi_runtime::raw::rng::Stream;

/// Which rows a step is given. Any step's batch can be asked for: it is a function of seed, epoch and index.
#[derive(Clone, Debug)]
pub struct Loader {
    len: usize,
    batch: usize,
    seed: u64,
    /// The order of this epoch, and which epoch that is.
    order: (u64, Vec<u32>),
}

impl Loader {
    /// Batches of `batch` out of `len` rows, shuffled anew each epoch.
    ///
    /// # Panics
    /// If `batch` is 0.
    pub fn new(len: usize, batch: usize, seed: u64) -> Self {
        assert!(batch > 0, "a batch has at least one row");
        Self { len, batch, seed, order: (u64::MAX, Vec::new()) }
    }

    /// Batches in an epoch; the last one may be smaller.
    pub fn batches(&self) -> u64 {
        self.len.div_ceil(self.batch) as u64
    }

    /// Rows of batch `index` of any epoch.
    pub fn rows_in(&self, index: u64) -> usize {
        self.len.saturating_sub(index as usize * self.batch).min(self.batch)
    }

    /// The rows of batch `index` of `epoch`, both counted from 0.
    ///
    /// # Panics
    /// If an epoch has no such batch.
    pub fn rows(&mut self, epoch: u64, index: u64) -> &[u32] {
        if self.order.0 != epoch {
            let mut order: Vec<u32> = (0..self.len as u32).collect();
            Stream::new(self.seed, "data order", epoch).shuffle(&mut order);
            self.order = (epoch, order);
        }
        let from = index as usize * self.batch;
        &self.order.1[from..(from + self.batch).min(self.len)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen red with one order for all epochs.
    #[test]
    fn an_epoch_shows_every_row_once_in_an_order_of_its_own() {
        let mut loader = Loader::new(23, 5, 7);
        assert_eq!(loader.batches(), 5);
        let mut epoch = |e| (0..5).map(|i| loader.rows(e, i).to_vec()).collect::<Vec<_>>();
        let (first, second) = (epoch(0), epoch(1));
        assert_eq!(first, epoch(0), "a function of epoch and index");
        assert_eq!(first.iter().map(Vec::len).collect::<Vec<_>>(), [5, 5, 5, 5, 3]);
        assert_ne!(first, second);
        for order in [first, second] {
            let mut rows = order.concat();
            assert_ne!(rows, (0..23).collect::<Vec<_>>());
            rows.sort_unstable();
            assert_eq!(rows, (0..23).collect::<Vec<_>>());
        }
    }
}
