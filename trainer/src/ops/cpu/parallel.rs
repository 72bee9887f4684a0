//! Slices in pieces on all threads: what the operations need of rayon, under rayon's names, on the runtime's [`Pool`]. A step
//! has over a thousand short regions, and rayon puts its threads to sleep between them: a seventh of a step went into waking
//! them. Each item is given out once and written in one place, so results do not depend on the number of threads.
#![allow(unsafe_code)] // Disjoint parts of a slice cross to other threads by index; `Pool::run` ends before the borrow does.
use nijimi_runtime::raw::cpu::Pool;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// The methods of slices, vectors and ranges.
pub mod prelude {
    pub use super::{IntoItems as _, Items as _, Slices as _};
}

static THREADS: OnceLock<Pool> = OnceLock::new();

thread_local! {
    /// What [`with_threads`] put in place of all.
    static OWN: RefCell<Option<Arc<Pool>>> = const { RefCell::new(None) };
}

/// Runs `f` with so many threads behind the operations that it calls.
pub fn with_threads<R>(count: usize, f: impl FnOnce() -> R) -> R {
    let before = OWN.replace(Some(Arc::new(Pool::new(count))));
    let result = f();
    OWN.set(before);
    result
}

fn on_threads<R>(f: impl FnOnce(&Pool) -> R) -> R {
    match OWN.with_borrow(Clone::clone) {
        Some(pool) => f(&pool),
        // As many as rayon has, which the rest of the trainer computes on: one setting for both.
        None => f(THREADS.get_or_init(|| Pool::new(rayon::current_num_threads()))),
    }
}

/// Pieces of a region for each thread, so that a slow one does not make the others wait.
const SHARES: usize = 8;

/// Items that can be given out by index.
///
/// # Safety
/// Items of different indices share nothing that can be written.
pub unsafe trait Items: Sync + Sized {
    /// What is given out.
    type Item;
    /// How many there are.
    fn count(&self) -> usize;
    /// Item `i`.
    ///
    /// # Safety
    /// `i` is below [`Self::count`], and is asked for once.
    unsafe fn item(&self, i: usize) -> Self::Item;

    /// Pairs with the items of `other`, as many as both have.
    fn zip<O: Items>(self, other: O) -> Zip<Self, O> {
        Zip(self, other)
    }
    /// Items with their numbers.
    fn enumerate(self) -> Enumerate<Self> {
        Enumerate(self)
    }
    /// What `f` makes of each item.
    fn map<R, F: Fn(Self::Item) -> R + Sync>(self, f: F) -> Map<Self, F> {
        Map(self, f)
    }
    /// `f` of each item, on any thread.
    fn for_each(self, f: impl Fn(Self::Item) + Sync) {
        self.for_each_init(|| (), |(), item| f(item));
    }
    /// As [`Self::for_each`] with something that `init` makes for each thread.
    fn for_each_init<W>(self, init: impl Fn() -> W + Sync, f: impl Fn(&mut W, Self::Item) + Sync) {
        let n = self.count();
        let all = |w: &mut W, range: std::ops::Range<usize>| {
            // SAFETY: each index lies in one range, which is taken once.
            range.for_each(|i| f(w, unsafe { self.item(i) }));
        };
        on_threads(|pool| {
            let threads = pool.threads().min(n);
            if threads < 2 {
                return all(&mut init(), 0..n);
            }
            let (piece, next) = (n.div_ceil(threads * SHARES), AtomicUsize::new(0));
            pool.run(threads, &|_| {
                let mut own = None;
                loop {
                    let from = next.fetch_add(piece, Relaxed);
                    if from >= n {
                        return;
                    }
                    all(own.get_or_insert_with(&init), from..(from + piece).min(n));
                }
            });
        });
    }
    /// As [`Self::for_each`] where items take long and not equally long: each is fetched alone. Put the longest first.
    fn for_each_alone(self, f: impl Fn(Self::Item) + Sync) {
        let n = self.count();
        // SAFETY: `run` hands out each number once.
        on_threads(|pool| pool.run(n, &|i| f(unsafe { self.item(i) })));
    }
    /// All items, in order.
    fn collect<R: Send>(self) -> Vec<R>
    where
        Self: Items<Item = R>,
    {
        let n = self.count();
        let mut all: Vec<R> = Vec::with_capacity(n);
        let places = ChunksMut::new(&mut all.spare_capacity_mut()[..n], 1);
        self.zip(places).for_each(|(item, place)| _ = place[0].write(item));
        // SAFETY: each place was written.
        unsafe { all.set_len(n) };
        all
    }
}

/// See [`Items::zip`].
pub struct Zip<A, B>(A, B);
// SAFETY: as both parts.
unsafe impl<A: Items, B: Items> Items for Zip<A, B> {
    type Item = (A::Item, B::Item);
    fn count(&self) -> usize {
        self.0.count().min(self.1.count())
    }
    unsafe fn item(&self, i: usize) -> Self::Item {
        // SAFETY: the caller's word.
        unsafe { (self.0.item(i), self.1.item(i)) }
    }
}

/// See [`Items::enumerate`].
pub struct Enumerate<A>(A);
// SAFETY: as the part.
unsafe impl<A: Items> Items for Enumerate<A> {
    type Item = (usize, A::Item);
    fn count(&self) -> usize {
        self.0.count()
    }
    unsafe fn item(&self, i: usize) -> Self::Item {
        // SAFETY: the caller's word.
        (i, unsafe { self.0.item(i) })
    }
}

/// See [`Items::map`].
pub struct Map<A, F>(A, F);
// SAFETY: as the part.
unsafe impl<A: Items, R, F: Fn(A::Item) -> R + Sync> Items for Map<A, F> {
    type Item = R;
    fn count(&self) -> usize {
        self.0.count()
    }
    unsafe fn item(&self, i: usize) -> R {
        // SAFETY: the caller's word.
        (self.1)(unsafe { self.0.item(i) })
    }
}

/// Consecutive parts of a slice; the last may be shorter.
pub struct Chunks<'a, T>(&'a [T], usize);
// SAFETY: read only.
unsafe impl<'a, T: Sync> Items for Chunks<'a, T> {
    type Item = &'a [T];
    fn count(&self) -> usize {
        self.0.len().div_ceil(self.1)
    }
    unsafe fn item(&self, i: usize) -> &'a [T] {
        &self.0[i * self.1..((i + 1) * self.1).min(self.0.len())]
    }
}

/// Consecutive parts of a slice to be written; the last may be shorter.
pub struct ChunksMut<'a, T> {
    first: *mut T,
    len: usize,
    chunk: usize,
    of: PhantomData<&'a mut [T]>,
}
impl<'a, T> ChunksMut<'a, T> {
    fn new(values: &'a mut [T], chunk: usize) -> Self {
        assert!(chunk > 0, "a chunk has at least one value");
        Self { first: values.as_mut_ptr(), len: values.len(), chunk, of: PhantomData }
    }
}
// SAFETY: threads see disjoint parts only.
unsafe impl<T: Send> Sync for ChunksMut<'_, T> {}
// SAFETY: chunks are disjoint.
unsafe impl<'a, T: Send> Items for ChunksMut<'a, T> {
    type Item = &'a mut [T];
    fn count(&self) -> usize {
        self.len.div_ceil(self.chunk)
    }
    unsafe fn item(&self, i: usize) -> &'a mut [T] {
        let from = i * self.chunk;
        // SAFETY: inside the slice, which is borrowed for 'a; no other index has these values.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(from), self.chunk.min(self.len - from)) }
    }
}

/// The values of a vector, one by one.
pub struct Owned<T> {
    values: Vec<ManuallyDrop<T>>,
    /// Says that values move to other threads.
    of: PhantomData<MaybeUninit<T>>,
}
// SAFETY: each value moves to one thread.
unsafe impl<T: Send> Sync for Owned<T> {}
// SAFETY: each value is taken once; those that a panic leaves behind are never dropped.
unsafe impl<T: Send> Items for Owned<T> {
    type Item = T;
    fn count(&self) -> usize {
        self.values.len()
    }
    unsafe fn item(&self, i: usize) -> T {
        // SAFETY: read once, and not dropped with the vector.
        unsafe { std::ptr::read(&*self.values[i]) }
    }
}

/// Numbers.
#[derive(Clone)]
pub struct Numbers(std::ops::Range<usize>);
// SAFETY: numbers.
unsafe impl Items for Numbers {
    type Item = usize;
    fn count(&self) -> usize {
        self.0.len()
    }
    unsafe fn item(&self, i: usize) -> usize {
        self.0.start + i
    }
}

/// What can be given out item by item.
pub trait IntoItems {
    /// The items.
    type Items: Items;
    /// Turns into them.
    fn into_par_iter(self) -> Self::Items;
}
impl IntoItems for std::ops::Range<usize> {
    type Items = Numbers;
    fn into_par_iter(self) -> Numbers {
        Numbers(self)
    }
}
impl<T: Send> IntoItems for Vec<T> {
    type Items = Owned<T>;
    fn into_par_iter(self) -> Owned<T> {
        Owned { values: self.into_iter().map(ManuallyDrop::new).collect(), of: PhantomData }
    }
}

/// Slices in chunks.
pub trait Slices<T> {
    /// Parts of `chunk` values; the last may be shorter.
    fn par_chunks(&self, chunk: usize) -> Chunks<'_, T>;
    /// The same, to be written.
    fn par_chunks_mut(&mut self, chunk: usize) -> ChunksMut<'_, T>;
}
impl<T> Slices<T> for [T] {
    fn par_chunks(&self, chunk: usize) -> Chunks<'_, T> {
        assert!(chunk > 0, "a chunk has at least one value");
        Chunks(self, chunk)
    }
    fn par_chunks_mut(&mut self, chunk: usize) -> ChunksMut<'_, T> {
        ChunksMut::new(self, chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen red with pieces that overlap (`from + piece + 1`), and with `fetch_add(1)`.
    #[test]
    fn each_item_is_given_out_once() {
        for threads in [1, 2, 5] {
            with_threads(threads, || {
                for n in [0, 1, 7, 40, 1003] {
                    let (mut counts, doubled) = (vec![0u32; n], (0..n).into_par_iter().map(|i| 2 * i).collect());
                    assert_eq!(doubled, (0..n).map(|i| 2 * i).collect::<Vec<_>>());
                    counts.par_chunks_mut(3).zip(doubled.par_chunks(3)).enumerate().for_each(
                        |(i, (counts, doubled))| {
                            assert_eq!(doubled[0], 6 * i);
                            counts.iter_mut().for_each(|c| *c += 1);
                        },
                    );
                    assert!(counts.iter().all(|c| *c == 1), "{threads} threads, {n} values");
                }
            });
        }
    }

    /// Seen red with the values dropped with their vector too.
    #[test]
    fn values_move_out_of_a_vector() {
        let texts: Vec<String> = (0..100).map(|i| i.to_string()).collect();
        let lengths = with_threads(3, || texts.clone().into_par_iter().map(|t| t + "!").collect());
        assert!(texts.iter().zip(&lengths).all(|(a, b)| format!("{a}!") == *b));
    }

    #[test]
    fn every_thread_has_scratch_of_its_own() {
        let made = AtomicUsize::new(0);
        with_threads(2, || {
            (0..100).into_par_iter().for_each_init(|| made.fetch_add(1, Relaxed), |_, _| {});
        });
        assert!((1..=2).contains(&made.load(Relaxed)));
    }
}
