//! Threads that stay: a job is handed out by index, the caller works along, nothing is allocated per job.
#![allow(unsafe_code)] // a borrowed closure crosses to threads that outlive the borrow; `run` waits until none uses it

/// A set of threads. Share it freely: a call while another is running, from another thread or from inside a task,
/// does its work on the calling thread alone.
#[derive(Debug)]
pub struct Pool {
    #[cfg(feature = "std")]
    inner: Option<threaded::Threads>,
}

#[cfg(feature = "std")]
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Pool>();
};

impl Pool {
    /// `threads` threads, the caller's among them; 0: one for each core. Without `std`, or where the system gives no
    /// more threads, fewer.
    pub fn new(threads: usize) -> Self {
        #[cfg(feature = "std")]
        {
            let threads = match threads {
                0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
                n => n,
            };
            Self { inner: (threads > 1).then(|| threaded::Threads::new(threads - 1)) }
        }
        #[cfg(not(feature = "std"))]
        {
            let _ = threads;
            Self {}
        }
    }

    /// How many threads work on a job.
    pub fn threads(&self) -> usize {
        #[cfg(feature = "std")]
        if let Some(t) = &self.inner {
            return t.len() + 1;
        }
        1
    }

    /// Calls `f(0)` to `f(tasks - 1)`, each once, in any order and on any thread; returns when all are done.
    ///
    /// # Panics
    /// With the first panic of a task; tasks not yet begun are then left out.
    pub fn run(&self, tasks: usize, f: &(dyn Fn(usize) + Sync)) {
        #[cfg(feature = "std")]
        if let Some(t) = &self.inner
            && tasks > 1
            && t.run(tasks, f)
        {
            return;
        }
        (0..tasks).for_each(f);
    }

    /// Calls `f` on consecutive parts of `out`, each of `chunk` elements (the last may be shorter), with its number.
    pub fn for_chunks<T: Send>(&self, out: &mut [T], chunk: usize, f: &(dyn Fn(usize, &mut [T]) + Sync)) {
        let chunk = chunk.max(1);
        let len = out.len();
        let parts = Parts(out.as_mut_ptr());
        self.run(len.div_ceil(chunk), &|i| {
            let start = i * chunk;
            // SAFETY: task i alone touches [start, start + chunk), which lies inside `out`, borrowed for all of run.
            let part = unsafe { core::slice::from_raw_parts_mut(parts.get().add(start), chunk.min(len - start)) };
            f(i, part);
        });
    }
}

/// Start of an array whose disjoint parts are written by several threads.
#[derive(Clone, Copy)]
pub(super) struct Parts<T>(pub *mut T);
// SAFETY: only the address is shared; each user of it keeps its writes apart and says how.
unsafe impl<T: Send> Sync for Parts<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Parts<T> {}
impl<T> Parts<T> {
    pub fn get(&self) -> *mut T {
        self.0
    }
}

#[cfg(feature = "std")]
mod threaded {
    use std::any::Any;
    use std::boxed::Box;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering::*};
    use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
    use std::thread::{Builder, JoinHandle};
    use std::vec::Vec;

    /// Rounds of spinning before sleeping: some tens of microseconds, the gap between two layers.
    const SPIN: usize = 4000;

    #[derive(Debug)]
    pub struct Threads {
        shared: Arc<Shared>,
        /// Held for the length of a job: a second caller finds it taken and works alone.
        caller: Mutex<()>,
        workers: Vec<JoinHandle<()>>,
    }

    #[derive(Debug)]
    struct Shared {
        state: Mutex<State>,
        wake: Condvar,
        done: Condvar,
        /// Number of jobs begun; watched while spinning.
        begun: AtomicUsize,
        /// Workers inside the present job (a copy of `State::active` to spin on).
        active: AtomicUsize,
        /// Next task of the present job.
        next: AtomicUsize,
    }

    #[derive(Debug)]
    struct State {
        job: Option<Job>,
        active: usize,
        /// Workers that have begun to wait for jobs.
        ready: usize,
        stop: bool,
        panic: Option<Box<dyn Any + Send>>,
    }

    #[derive(Clone, Copy, Debug)]
    struct Job {
        f: *const (dyn Fn(usize) + Sync),
        tasks: usize,
    }
    // SAFETY: the closure is Sync, and `run` keeps it alive until no worker can reach it.
    unsafe impl Send for Job {}

    fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
        m.lock().unwrap_or_else(PoisonError::into_inner) // no user code runs under these locks
    }

    impl Shared {
        /// Takes tasks until none is left; a panic ends the job and is kept for the caller.
        fn work(&self, tasks: usize, f: &(dyn Fn(usize) + Sync)) {
            let result = catch_unwind(AssertUnwindSafe(|| {
                loop {
                    let i = self.next.fetch_add(1, Relaxed);
                    if i >= tasks {
                        return;
                    }
                    f(i);
                }
            }));
            if let Err(payload) = result {
                self.next.store(tasks, Relaxed);
                lock(&self.state).panic.get_or_insert(payload);
            }
        }

        fn worker(&self) {
            lock(&self.state).ready += 1;
            self.done.notify_one();
            let mut seen = 0;
            loop {
                let mut spins = 0;
                while self.begun.load(Acquire) == seen && spins < SPIN {
                    core::hint::spin_loop();
                    spins += 1;
                }
                let mut state = lock(&self.state);
                while self.begun.load(Relaxed) == seen && !state.stop {
                    state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                if state.stop {
                    return;
                }
                seen = self.begun.load(Relaxed);
                let Some(job) = state.job else { continue }; // over before this thread woke
                state.active += 1;
                self.active.store(state.active, Relaxed);
                drop(state);
                // SAFETY: `active` was raised under the lock while the job was open; `run` closes the job and waits for
                // `active` to fall to 0 before the closure's borrow ends.
                self.work(job.tasks, unsafe { &*job.f });
                let mut state = lock(&self.state);
                state.active -= 1;
                self.active.store(state.active, Release);
                if state.active == 0 {
                    self.done.notify_one();
                }
            }
        }
    }

    impl Threads {
        pub fn new(workers: usize) -> Self {
            let shared = Arc::new(Shared {
                state: Mutex::new(State { job: None, active: 0, ready: 0, stop: false, panic: None }),
                wake: Condvar::new(),
                done: Condvar::new(),
                begun: AtomicUsize::new(0),
                active: AtomicUsize::new(0),
                next: AtomicUsize::new(0),
            });
            let spawn = |_| {
                let shared = shared.clone();
                Builder::new().name("nijimi".into()).spawn(move || shared.worker()).ok()
            };
            let workers: Vec<_> = (0..workers).map_while(spawn).collect();
            // A thread allocates while it starts: over before anyone counts on nothing being allocated.
            let mut state = lock(&shared.state);
            while state.ready < workers.len() {
                state = shared.done.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            drop(state);
            Self { shared, caller: Mutex::new(()), workers }
        }

        pub fn len(&self) -> usize {
            self.workers.len()
        }

        /// False if the pool is busy; nothing was done then.
        pub fn run(&self, tasks: usize, f: &(dyn Fn(usize) + Sync)) -> bool {
            let _caller = match self.caller.try_lock() {
                Ok(guard) => guard,
                // A panic of a task left through here while the guard was held; the state is whole.
                Err(std::sync::TryLockError::Poisoned(p)) => p.into_inner(),
                Err(std::sync::TryLockError::WouldBlock) => return false,
            };
            let s = &*self.shared;
            // SAFETY: only the lifetime is erased; workers reach the pointer through `State::job`, which is emptied
            // below, and none is left inside when this function returns or unwinds (`work` itself never unwinds).
            let f_static: *const (dyn Fn(usize) + Sync) =
                unsafe { core::mem::transmute::<&(dyn Fn(usize) + Sync), *const (dyn Fn(usize) + Sync)>(f) };
            let mut state = lock(&s.state);
            state.job = Some(Job { f: f_static, tasks });
            s.next.store(0, Relaxed);
            s.begun.fetch_add(1, Release);
            drop(state);
            s.wake.notify_all();
            s.work(tasks, f);
            let mut state = lock(&s.state);
            state.job = None;
            if state.active > 0 {
                drop(state);
                let mut spins = 0;
                while s.active.load(Acquire) > 0 && spins < SPIN {
                    core::hint::spin_loop();
                    spins += 1;
                }
                state = lock(&s.state);
                while state.active > 0 {
                    state = s.done.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
            if let Some(payload) = state.panic.take() {
                drop(state);
                resume_unwind(payload);
            }
            true
        }
    }

    impl Drop for Threads {
        fn drop(&mut self) {
            lock(&self.shared.state).stop = true;
            self.shared.begun.fetch_add(1, Release); // ends the spinning
            self.shared.wake.notify_all();
            for w in self.workers.drain(..) {
                let _ = w.join();
            }
        }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicUsize, Ordering::*};
    use std::vec;

    /// Seen red with the counter starting at 1.
    #[test]
    fn every_task_runs_once() {
        for threads in [1, 2, 3, 7] {
            let pool = Pool::new(threads);
            assert_eq!(pool.threads(), threads);
            for tasks in [0, 1, 2, 5, 100] {
                let counts: vec::Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.run(tasks, &|i| {
                    counts[i].fetch_add(1, Relaxed);
                });
                assert!(counts.iter().all(|c| c.load(Relaxed) == 1), "{threads} threads, {tasks} tasks");
            }
        }
    }

    /// Seen red with `run` not waiting for workers that are still inside.
    #[test]
    fn run_waits_for_the_last_task() {
        let pool = Pool::new(3);
        for round in 0..300usize {
            let sum = AtomicUsize::new(0);
            pool.run(4, &|i| {
                if i % 2 == 1 {
                    std::thread::sleep(core::time::Duration::from_micros(50));
                }
                sum.fetch_add(i + round, Relaxed);
            });
            assert_eq!(sum.load(Relaxed), 6 + 4 * round);
        }
    }

    /// Seen red with chunks that begin too early.
    #[test]
    fn chunks_cover_the_slice() {
        let pool = Pool::new(2);
        let mut y = vec![0.0; 103];
        pool.for_chunks(&mut y, 10, &|i, part| part.iter_mut().for_each(|v| *v += i as f32));
        for (j, v) in y.iter().enumerate() {
            assert_eq!(*v, (j / 10) as f32);
        }
    }

    /// Seen red (by the time limit) with `run` locking `caller` instead of trying it.
    #[test]
    fn nested_and_concurrent_calls_do_not_deadlock() {
        let pool = Pool::new(2);
        let n = AtomicUsize::new(0);
        std::thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    for _ in 0..50 {
                        pool.run(3, &|_| {
                            pool.run(2, &|_| {
                                n.fetch_add(1, Relaxed);
                            })
                        });
                    }
                });
            }
        });
        assert_eq!(n.load(Relaxed), 3 * 50 * 6);
    }

    /// Seen red (the panic lost) with `resume_unwind` left out.
    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(2);
        for bad in 0..8 {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                pool.run(8, &|i| assert!(i != bad, "task {i}"));
            }));
            assert!(result.is_err());
        }
        let n = AtomicUsize::new(0);
        pool.run(8, &|_| {
            n.fetch_add(1, Relaxed);
        });
        assert_eq!(n.load(Relaxed), 8);
    }
}
